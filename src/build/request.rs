//! What inject is told: the user, a new token, the Git key pair, pinned hosts, the org's secrets (rule H1).

use std::path::PathBuf;

use super::keys::{self, Token};
use super::run::Broken;
use crate::blocking;
use crate::config::Effective;
use crate::config::settings::{Org, Sourced};
use crate::helper::bundle::{Git, Inhabitant, InjectRequest};

/// A request, and what is stored of its token.
pub(super) struct Prepared {
    pub(super) request: InjectRequest,
    pub(super) token_hash: String,
}

/// Stands for what inject brings besides the token: it changes with that, as far as the files' stamps tell. It is kept,
/// so it is the same from one hearthd to the next.
pub fn fingerprint(workspace: &Effective, org: &Org) -> String {
    let text = |value: &Option<Sourced<String>>| value.as_ref().map(|text| text.value.clone());
    let brought = (&org.secrets, &org.git_hosts, text(&workspace.full_name), text(&workspace.email));
    let brought = serde_json::to_vec(&brought).expect("names and paths are text of the files");
    blake3::hash(&brought).to_hex().to_string()
}

/// Collects it all, reading keys and secrets from the host's files.
pub(super) async fn collect(
    data_dir: PathBuf,
    workspace: &Effective,
    org: &Org,
    user: Inhabitant,
    fresh_home: bool,
) -> Result<Prepared, Broken> {
    let (owner, files) = (workspace.id.user.clone(), org.secrets.clone());
    let known_hosts = org.git_hosts.values().flatten().cloned().collect();
    let text = |value: &Option<Sourced<String>>| value.as_ref().map(|text| text.value.clone());
    let (name, email) = (text(&workspace.full_name), text(&workspace.email));
    let reading = blocking::run(move || {
        let key = keys::git_key(&data_dir, &owner)?;
        let (secrets, token) = (keys::read_secrets(&files)?, Token::random()?);
        let git = Git { private_key: key.private, public_key: key.public, known_hosts, name, email };
        let token_hash = token.hash;
        let request = InjectRequest { user, fresh_home, token: Some(token.secret), git, secrets };
        Ok(Prepared { request, token_hash })
    });
    let read = reading.await.map_err(|error| Broken::Failed(format!("cannot read keys and secrets: {error}")))?;
    read.map_err(|error: keys::KeyError| Broken::Failed(format!("{:#}", anyhow::Error::from(error))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::effective::effective;
    use crate::config::{Members, Settings, settings_from};

    const TEXT: &str = r#"
[orgs.acme]
image = "dev"
git.hosts."git.example".known_hosts = []
secrets.NPM.file = "/etc/npm"
[users.alice]
orgs = ["acme"]
email = "alice@acme.example"
[users.alice.workspaces.main]
"#;

    fn of(settings: &Settings) -> String {
        let workspace = &settings.workspaces[&"alice/main".parse().unwrap()];
        fingerprint(&effective(settings, workspace, &Members::default()), settings.org_of(workspace))
    }

    #[test]
    fn c6_what_stands_for_what_was_injected_is_the_same_from_one_hearthd_to_the_next() {
        insta::assert_snapshot!(of(&settings_from(TEXT)), @"a0e1df6bd37dca5b08d107cde039a36469165aceeb1ee2371188530f7f593eb6");
    }

    #[test]
    fn c6_what_stands_for_what_was_injected_changes_with_each_part_of_it() {
        let before = settings_from(TEXT);
        let mut rotated = before.clone();
        for org in rotated.orgs.values_mut() {
            org.secrets.values_mut().for_each(|file| file.stamp.modified.1 += 1);
        }
        assert_ne!(of(&rotated), of(&before));
        for (was, is) in [
            ("/etc/npm", "/etc/other"),
            ("NPM", "TOKEN"),
            ("git.example", "other.example"),
            ("alice@", "a@"),
            ("email", "name"),
        ] {
            assert_ne!(of(&settings_from(&TEXT.replace(was, is))), of(&before), "{was}");
        }
        let policy = TEXT.replace("image = \"dev\"", "image = \"other\"\nauto_off = \"1h\"");
        assert_eq!(of(&settings_from(&policy)), of(&before));
    }
}
