//! What inject brings into `/run/hearth` (rule H1) and the default `~/personalize` (rule H3), written as the user.

use std::io;
use std::path::Path;

use super::bundle::{BINARY, InjectReport, InjectRequest, Note, RUN_DIR};
use super::facts::{self, DEFAULT_PERSONALIZE};
use super::nofollow::Dir;
use super::{askpass, inject};
use crate::model::WarningKind;

/// Fills `/run/hearth`, writes the default `~/personalize`, looks around.
pub(super) fn fill(request: &InjectRequest) -> InjectReport {
    if let Err(failure) = fill_run_dir(Path::new(RUN_DIR), request) {
        return inject::failed(failure);
    }
    let mut notes = vec![];
    if let Err(error) = write_personalize(Path::new(&request.user.home))
        && !facts::is_full(&error)
    {
        let message = format!("cannot write a default `{}/personalize`: {error}", request.user.home);
        notes.push(Note::new(WarningKind::Other, message));
    }
    InjectReport { failure: None, notes, given: 0, facts: facts::look(&request.user.home) }
}

fn write_personalize(home: &Path) -> io::Result<bool> {
    Dir::follow(home)?.make_if_absent("personalize", DEFAULT_PERSONALIZE.as_bytes(), 0o755)
}

fn fill_run_dir(path: &Path, request: &InjectRequest) -> Result<(), String> {
    let wrong = |what: &str, error: io::Error| format!("cannot write {what}: {error}");
    let dir = Dir::follow(path).map_err(|error| wrong(&path.display().to_string(), error))?;
    let write = |dir: &Dir, inner: &str, name: &str, content: &[u8]| {
        let what = path.join(inner).join(name).display().to_string();
        dir.replace(name, content, 0o600, None).map_err(|error| wrong(&what, error))
    };
    let enter = |name: &str| {
        dir.enter_or_make(name, 0o700).map_err(|error| wrong(&path.join(name).display().to_string(), error))
    };

    let git = enter("git")?;
    let hosts: String = request.git.known_hosts.iter().map(|line| format!("{}\n", line.trim_end())).collect();
    write(&git, "git", "id_ed25519", request.git.private_key.expose())?;
    write(&git, "git", "id_ed25519.pub", format!("{}\n", request.git.public_key.trim_end()).as_bytes())?;
    write(&git, "git", "known_hosts", hosts.as_bytes())?;
    write_secrets(&enter("secrets")?, request, &write)?;
    dir.link(askpass::NAME, BINARY).map_err(|error| wrong(askpass::NAME, error))?;
    // The token last: who finds it finds all the rest.
    request.token.as_ref().map_or(Ok(()), |token| write(&dir, "", "token", token.expose()))
}

fn write_secrets(
    dir: &Dir,
    request: &InjectRequest,
    write: &impl Fn(&Dir, &str, &str, &[u8]) -> Result<(), String>,
) -> Result<(), String> {
    for (name, secret) in &request.secrets {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return Err(format!("`{name}` cannot be the name of a secret"));
        }
        write(dir, "secrets", name, secret.expose())?;
    }
    let present = dir.names().map_err(|error| format!("cannot list {RUN_DIR}/secrets: {error}"))?;
    for name in present {
        if !name.to_str().is_some_and(|name| request.secrets.contains_key(name)) {
            // A directory there is the user's own, no secret that we brought.
            let _ = dir.remove(&name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::super::bundle::{Git, Inhabitant, Secret};
    use super::*;

    fn request(secrets: &[(&str, &str)]) -> InjectRequest {
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        InjectRequest {
            user: Inhabitant { name: "coder".into(), uid: 1000, gid: 1000, home: "/home/coder".into() },
            fresh_home: true,
            token: Some(secret("token")),
            git: Git {
                private_key: secret("private"),
                public_key: "ssh-ed25519 AAAA".into(),
                known_hosts: vec!["a ssh-ed25519 AAAA".into(), "b ssh-ed25519 BBBB\n".into()],
                name: None,
                email: None,
            },
            secrets: secrets.iter().map(|(name, text)| ((*name).to_owned(), secret(text))).collect::<BTreeMap<_, _>>(),
        }
    }

    #[test]
    fn h1_files_are_the_users_alone_and_secrets_that_are_gone_go() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().canonicalize().unwrap();
        fill_run_dir(&path, &request(&[("ONE", "1"), ("TWO", "2")])).unwrap();
        for (file, content) in [
            ("token", "token"),
            ("git/id_ed25519", "private"),
            ("git/id_ed25519.pub", "ssh-ed25519 AAAA\n"),
            ("git/known_hosts", "a ssh-ed25519 AAAA\nb ssh-ed25519 BBBB\n"),
            ("secrets/ONE", "1"),
        ] {
            assert_eq!(std::fs::read_to_string(path.join(file)).unwrap(), content, "{file}");
            assert_eq!(path.join(file).metadata().unwrap().mode() & 0o777, 0o600, "{file}");
        }
        assert_eq!(path.join("git").metadata().unwrap().mode() & 0o777, 0o700);

        let again = InjectRequest { token: None, ..request(&[("TWO", "changed")]) };
        fill_run_dir(&path, &again).unwrap();
        assert_eq!(std::fs::read_to_string(path.join("token")).unwrap(), "token");
        assert!(!path.join("secrets/ONE").exists());
        assert_eq!(std::fs::read_to_string(path.join("secrets/TWO")).unwrap(), "changed");
        assert_eq!(std::fs::read_dir(path.join("secrets")).unwrap().count(), 1);
    }

    #[test]
    fn h1_a_secret_is_named_like_a_file() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().canonicalize().unwrap();
        for bad in ["", "..", ".", "a/b", ".x"] {
            assert!(fill_run_dir(&path, &request(&[(bad, "1")])).is_err(), "{bad}");
        }
    }

    #[test]
    fn h3_the_users_personalize_is_never_overwritten() {
        let temp = tempfile::tempdir().unwrap();
        let home = temp.path().canonicalize().unwrap();
        assert!(write_personalize(&home).unwrap());
        assert!(!write_personalize(&home).unwrap());
        std::fs::remove_file(home.join("personalize")).unwrap();
        symlink("elsewhere", home.join("personalize")).unwrap();
        assert!(!write_personalize(&home).unwrap());
        assert!(!home.join("elsewhere").exists());
    }
}
