//! What inject is told: the user, a new token, the Git key pair, pinned hosts, the org's secrets (rule H1).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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

/// Stands for what inject brings besides the token: it changes with that, as far as can be told without reading secrets.
pub fn fingerprint(workspace: &Effective, org: &Org) -> u64 {
    let text = |value: &Option<Sourced<String>>| value.as_ref().map(|text| text.value.clone());
    let file =
        |path: &Path| std::fs::metadata(path).map(|file| (file.ino(), file.size(), file.mtime(), file.mtime_nsec()));
    let secrets = org.secrets.iter().map(|(name, path)| (name, path, file(path).ok()));
    let mut hasher = DefaultHasher::new();
    secrets.collect::<Vec<_>>().hash(&mut hasher);
    (&org.git_hosts, text(&workspace.full_name), text(&workspace.email)).hash(&mut hasher);
    hasher.finish()
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
