//! `hearth set` and `hearth reset` (rule C7).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::wire::{SettingsChanged, SettingsEffect, SettingsRequest, TakesEffect};
use crate::cli::Context;
use crate::cli::client::Client;
use crate::cli::endpoint::Endpoint;
use crate::cli::error::{Error, Kind, Result};
use crate::cli::render::visible;
use crate::cli::target::{Name, Target, person};
use crate::config::set::WORKSPACE_KEYS;
use crate::model::UserName;

/// Set values of a workspace, or of yourself, within what the org allows
///
/// Of a workspace: image, cpus, memory, auto_off, auto_start, ports, env, and env.NAME for one variable.
/// Of yourself, with --me: dotfiles, timezone, name, email, auto_start.
///
/// Values are written as in the configuration: `auto_off=4h`, `memory=8GiB`, `auto_start='09:00 on mon tue'`,
/// `ports=127.0.0.1:8080:80`, `env.EDITOR=vim`. Of several all are set or none. `hearth config show` shows what is in
/// force and where it comes from; `hearth reset` takes a setting back.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "hearth set [OPTIONS] [WORKSPACE] KEY=VALUE...\n       hearth set [OPTIONS] --me KEY=VALUE..."
)]
pub(crate) struct SetArgs {
    /// Set what is yours in every workspace
    #[arg(long)]
    me: bool,
    /// Whose values --me means, for admins; you if it is left out
    #[arg(long, value_name = "USER", requires = "me")]
    user: Option<UserName>,
    /// Workspace, which can be left out inside of one, and what to set
    #[arg(value_name = "WORKSPACE|KEY=VALUE", required = true)]
    words: Vec<String>,
}

/// Take settings of a workspace, or of yourself, back
///
/// What the configuration on the server says holds again.
#[derive(Debug, clap::Args)]
#[command(override_usage = "hearth reset [OPTIONS] [WORKSPACE] KEY...\n       hearth reset [OPTIONS] --me KEY...")]
pub(crate) struct ResetArgs {
    /// Take back what is yours in every workspace
    #[arg(long)]
    me: bool,
    /// Whose values --me means, for admins; you if it is left out
    #[arg(long, value_name = "USER", requires = "me")]
    user: Option<UserName>,
    /// Workspace, which can be left out inside of one, and the keys
    #[arg(value_name = "WORKSPACE|KEY", required = true)]
    words: Vec<String>,
}

impl SetArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let (workspace, pairs) = match self.words.split_first() {
            Some((first, rest)) if !self.me && !first.contains('=') => (Some(first.clone()), rest.to_vec()),
            _ => (None, self.words),
        };
        let request = SettingsRequest { set: read(&pairs)?, ..SettingsRequest::default() };
        let client = context.client()?;
        let path = path(&client, self.me, self.user, workspace).await?;
        change(context, &client, &path, &request).await
    }
}

impl ResetArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let client = context.client()?;
        let inside = matches!(client.endpoint(), Endpoint::Inside { .. });
        let (workspace, keys) = match self.words.split_first() {
            Some((first, rest)) if !(self.me || inside && is_key(first)) => (Some(first.clone()), rest.to_vec()),
            _ => (None, self.words),
        };
        if keys.is_empty() {
            return Err(Error::new(Kind::Usage, "what is to be taken back?").hint("hearth reset WORKSPACE KEY…"));
        }
        let request = SettingsRequest { reset: keys.into_iter().collect(), ..SettingsRequest::default() };
        let path = path(&client, self.me, self.user, workspace).await?;
        change(context, &client, &path, &request).await
    }
}

/// Inside a workspace its name can be left out, so that the first word may be a key.
fn is_key(word: &str) -> bool {
    WORKSPACE_KEYS.contains(&word) || word.starts_with("env.")
}

fn read(pairs: &[String]) -> Result<BTreeMap<String, Value>> {
    let mut set = BTreeMap::new();
    for pair in pairs {
        let Some((key, value)) = pair.split_once('=') else {
            let hint = format!("hearth set WORKSPACE {pair}=VALUE");
            return Err(Error::new(Kind::Usage, format!("`{pair}` has no value")).hint(hint));
        };
        let key = key.trim();
        if set.insert(key.to_owned(), Value::from(value)).is_some() {
            return Err(Error::new(Kind::Usage, format!("`{key}` is given twice")));
        }
    }
    if set.is_empty() {
        return Err(Error::new(Kind::Usage, "what is to be set?").hint("hearth set WORKSPACE KEY=VALUE…"));
    }
    Ok(set)
}

async fn path(client: &Client, me: bool, user: Option<UserName>, workspace: Option<String>) -> Result<String> {
    if me {
        let user = person(user, client, "--me --user USER").await?;
        return Ok(format!("/v1/users/{user}/settings"));
    }
    let name = workspace.map(|name| name.parse::<Name>()).transpose();
    let name =
        name.map_err(|error| Error::new(Kind::Usage, error.to_string()).hint("hearth set WORKSPACE KEY=VALUE…"))?;
    Ok(format!("/v1/workspaces/{}/settings", Target::of(name).resolve(client).await?))
}

async fn change(context: &Context, client: &Client, path: &str, request: &SettingsRequest) -> Result<()> {
    let changed: SettingsChanged = client.patch(path, request).await?;
    context.out.print_as(&changed, text)
}

fn text(changed: &SettingsChanged) -> String {
    let mut out = String::new();
    for setting in &changed.settings {
        let line = format!("{} = {} ({})", setting.key, setting.value, setting.origin);
        out.push_str(&format!("{}\n", visible::line(&line)));
    }
    if changed.effects.is_empty() {
        out.push_str("nothing changes\n");
    }
    changed.effects.iter().for_each(|effect| out.push_str(&effect_text(effect)));
    out
}

fn effect_text(SettingsEffect { workspace, keys, takes_effect }: &SettingsEffect) -> String {
    let when = match takes_effect {
        TakesEffect::AtOnce => "at once".to_owned(),
        TakesEffect::DockerBack => "when Docker is back".to_owned(),
        TakesEffect::NextBuild => format!("at its next build: `hearth rebuild {workspace}`"),
    };
    format!("{workspace}: {} takes effect {when}\n", keys.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::Setting;

    #[test]
    fn c7_pairs_are_read_up_to_their_first_equals_sign() {
        let pairs = |words: &[&str]| read(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(pairs(&["env.URL=a=b", "cpus=2"]).unwrap()["env.URL"], "a=b");
        for wrong in [&["cpus"][..], &["cpus=1", "cpus=2"], &[]] {
            assert_eq!(pairs(wrong).unwrap_err().kind, Kind::Usage, "{wrong:?}");
        }
    }

    #[test]
    fn c7_the_reply_says_what_is_in_force_and_when_it_counts() {
        let setting = |key: &str, value: &str, origin: &str| Setting {
            key: key.into(),
            value: value.into(),
            origin: origin.into(),
            set: None,
        };
        let effect = |keys: &[&str], takes_effect| SettingsEffect {
            workspace: "alice/main".parse().unwrap(),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            takes_effect,
        };
        let settings = vec![setting("cpus", "4.0", "hearth set"), setting("image", "dev:2", "hearth set")];
        let effects = vec![effect(&["cpus"], TakesEffect::AtOnce), effect(&["image"], TakesEffect::NextBuild)];
        insta::assert_snapshot!(text(&SettingsChanged { settings, effects }), @r"
        cpus = 4.0 (hearth set)
        image = dev:2 (hearth set)
        alice/main: cpus takes effect at once
        alice/main: image takes effect at its next build: `hearth rebuild alice/main`
        ");
        assert_eq!(text(&SettingsChanged { settings: vec![], effects: vec![] }), "nothing changes\n");
    }
}
