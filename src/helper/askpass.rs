//! The answer of a hook to ssh's questions (rule H1): no, at once, with what an admin has to write for the host to be
//! known.
//!
//! ssh runs `$SSH_ASKPASS QUESTION`, which hooks set to a link of this name on hearth's own binary. A service that a hook
//! leaves behind inherits it, and people may work in terminals of that service: where there is a terminal the question
//! is put to it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::process::ExitCode;

use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

use super::bundle::RUN_DIR;
use crate::model::neutralise;

/// The name that this binary is run by.
pub(super) const NAME: &str = "askpass";

/// Returns what to set for hooks, so that nothing in them waits for an answer.
pub(super) fn environment() -> [(&'static str, String); 2] {
    [("SSH_ASKPASS", format!("{RUN_DIR}/{NAME}")), ("SSH_ASKPASS_REQUIRE", "force".into())]
}

/// Answers a question.
pub(super) fn run(question: &str) -> ExitCode {
    let terminal = File::options().read(true).write(true).open("/dev/tty");
    match terminal.map(|terminal| ask(&terminal, question)) {
        Ok(Ok(answer)) if io::stdout().write_all(answer.as_bytes()).is_ok() => return ExitCode::SUCCESS,
        Ok(_) => {}
        Err(_) => {
            let org = std::env::var("HEARTH_ORG").unwrap_or_else(|_| "ORG".into());
            let _ = io::stderr().write_all(advice(question, &org).as_bytes());
        }
    }
    ExitCode::FAILURE
}

fn ask(terminal: &File, question: &str) -> io::Result<String> {
    let shown = ["yes/no", "Username"].iter().any(|word| question.contains(word));
    let before = tcgetattr(terminal)?;
    if !shown {
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(terminal, SetArg::TCSAFLUSH, &silent)?;
    }
    let mut answer = String::new();
    let asked =
        (&mut &*terminal).write_all(question.as_bytes()).and_then(|()| BufReader::new(terminal).read_line(&mut answer));
    if !shown {
        tcsetattr(terminal, SetArg::TCSAFLUSH, &before)?;
        let _ = (&mut &*terminal).write_all(b"\n");
    }
    asked.map(|_| answer)
}

/// What to tell somebody whose hook was asked something.
fn advice(question: &str, org: &str) -> String {
    let Some((_, rest)) = question.split_once("authenticity of host '") else {
        let question = neutralise(question.lines().last().unwrap_or_default().as_bytes());
        return format!("hearth: nobody can answer in a hook: {question}\n");
    };
    // `git.acme.example (192.0.2.1)`, `[git.acme.example]:2222 ([192.0.2.1]:2222)`
    let host = neutralise(rest.split([' ', '\'']).next().unwrap_or_default().as_bytes());
    let fingerprint = question.split_whitespace().find(|word| word.starts_with("SHA256:")).unwrap_or_default();
    let seen = neutralise(fingerprint.trim_end_matches('.').as_bytes());
    format!("hearth: the host key of `{host}` ({seen}) is not pinned.\n{}", lines_to_add(&host, org))
}

/// What an admin adds for a host to be known.
pub(super) fn lines_to_add(host: &str, org: &str) -> String {
    let (name, port) = match host.strip_prefix('[').and_then(|host| host.split_once("]:")) {
        Some((name, port)) => (name, format!("-p {port} ")),
        None => (host, String::new()),
    };
    format!(
        "hearth: to pin it, an admin adds to the configuration\n\
         hearth:     [orgs.{org}.git.hosts.\"{name}\"]\n\
         hearth:     known_hosts = [\"{host} ssh-ed25519 AAAA…\"]\n\
         hearth: with the line that `ssh-keyscan -t ed25519 {port}{name}` prints, once it was compared with what the \
         provider publishes.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h1_the_line_to_add_is_named() {
        let question = "The authenticity of host 'git.acme.example (192.0.2.1)' can't be established.\n\
                        ED25519 key fingerprint is SHA256:abc.\nThis key is not known by any other names.\n\
                        Are you sure you want to continue connecting (yes/no/[fingerprint])? ";
        let text = advice(question, "acme");
        assert!(text.contains("`git.acme.example` (SHA256:abc) is not pinned"), "{text}");
        assert!(text.contains("[orgs.acme.git.hosts.\"git.acme.example\"]"), "{text}");
        assert!(text.contains("known_hosts = [\"git.acme.example ssh-ed25519"), "{text}");

        let text = advice("The authenticity of host '[10.0.0.1]:2222 ([10.0.0.1]:2222)' can't be", "acme");
        assert!(text.contains("git.hosts.\"10.0.0.1\"]"), "{text}");
        assert!(text.contains("[\"[10.0.0.1]:2222 ssh-ed25519"), "{text}");
        assert!(text.contains("ssh-keyscan -t ed25519 -p 2222 10.0.0.1"), "{text}");
    }

    #[test]
    fn h4_any_other_question_is_refused_too() {
        assert_eq!(
            advice("Enter passphrase for key '/home/a/.ssh/id_rsa': ", "acme"),
            "hearth: nobody can answer in a hook: Enter passphrase for key '/home/a/.ssh/id_rsa': \n"
        );
    }
}
