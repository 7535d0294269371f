//! `hearth completion`

use clap_complete::env::Shells;

use crate::cli::Context;
use crate::cli::complete::VARIABLE;
use crate::cli::error::{Error, Kind, Result};

/// Print the completion script of a shell, workspaces included
///
/// bash: hearth completion bash > ~/.local/share/bash-completion/completions/hearth
/// zsh:  hearth completion zsh > "${fpath[1]}/_hearth"
/// fish: hearth completion fish > ~/.config/fish/completions/hearth.fish
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Shell to complete in
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let name = match self.shell {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        };
        let shells = Shells::builtins();
        let shell =
            shells.completer(name).ok_or_else(|| Error::new(Kind::Failed, format!("no completion for {name}")))?;
        let mut script = vec![];
        shell.write_registration(VARIABLE, "hearth", "hearth", "hearth", &mut script)?;
        context.out.print(String::from_utf8_lossy(&script))
    }
}
