//! What inject brings that hearthd itself makes or reads: each user's Git key pair, a workspace's token, an org's secrets
//! (rule H1). They are in no message and in no `Debug`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ssh_key::private::Ed25519Keypair;
use ssh_key::{LineEnding, PrivateKey};
use zeroize::{Zeroize, Zeroizing};

use crate::config::settings::SecretFile;
use crate::helper::bundle::Secret;
use crate::model::UserName;

/// No secret is larger: they share a tmpfs of 16 MiB.
const LARGEST_SECRET: u64 = 1 << 20;

/// Why a key or a secret is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot {what} `{}`", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("`{}` is not an OpenSSH private key: move it away, and a new one is made", path.display())]
    NotAKey { path: PathBuf },
    #[error("`{}` can be read or changed by others: run `chmod 600 {}`", path.display(), path.display())]
    Exposed { path: PathBuf },
    #[error("`{}` belongs to uid {owner}, who could change it: run `chown root {}`", path.display(), path.display())]
    Foreign { path: PathBuf, owner: u32 },
    #[error("`{}` is not a file of at most 1 MiB", path.display())]
    NotASecret { path: PathBuf },
    #[error("the system has no random numbers: {0}")]
    Random(getrandom::Error),
}

/// A user's Git key pair.
#[derive(Debug, Clone)]
pub struct GitKey {
    /// In OpenSSH's format.
    pub private: Secret,
    /// One line, `ssh-ed25519 AAAA… hearth:alice`.
    pub public: String,
}

fn io(what: &'static str, path: &Path) -> impl Fn(io::Error) -> KeyError {
    move |source| KeyError::Io { what, path: path.to_owned(), source }
}

/// Returns the user's key pair, made at the first call and the same ever after.
///
/// # Errors
/// When it can be neither read nor made. A key that is there is never overwritten.
pub fn git_key(data_dir: &Path, user: &UserName) -> Result<GitKey, KeyError> {
    let dir = data_dir.join("keys").join(user.as_str());
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(io("make", &dir))?;
    let path = dir.join("id_ed25519");
    let private = match read_limited(&path) {
        Ok(private) => private,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = make_key(&dir, user)?;
            // Where two made one, the first to get there wins.
            publish(&dir, &path, made.as_bytes()).map_err(io("write", &path))?;
            read_limited(&path).map_err(io("read", &path))?
        }
        Err(error) => return Err(io("read", &path)(error)),
    };
    let key = PrivateKey::from_openssh(&*private).map_err(|_| KeyError::NotAKey { path: path.clone() })?;
    let public = key.public_key().to_openssh().map_err(|_| KeyError::NotAKey { path: path.clone() })?;
    let public_path = dir.join("id_ed25519.pub");
    if !public_path.exists() {
        publish(&dir, &public_path, format!("{public}\n").as_bytes()).map_err(io("write", &public_path))?;
    }
    Ok(GitKey { private: Secret::new(private.to_vec()), public })
}

fn make_key(dir: &Path, user: &UserName) -> Result<Zeroizing<String>, KeyError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(KeyError::Random)?;
    let pair = Ed25519Keypair::from_seed(&seed);
    seed.zeroize();
    PrivateKey::new(pair.into(), format!("hearth:{user}"))
        .and_then(|key| key.to_openssh(LineEnding::LF))
        .map_err(|_| KeyError::NotAKey { path: dir.join("id_ed25519") })
}

/// Puts a file there, whole and on disk, unless there is one.
fn publish(dir: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = [0; 8];
    getrandom::fill(&mut name).map_err(io::Error::other)?;
    let new = dir.join(format!(".new-{}", URL_SAFE_NO_PAD.encode(name)));
    let written = (|| {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        match std::fs::hard_link(&new, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => File::open(dir)?.sync_all(),
        }
    })();
    let removed = std::fs::remove_file(&new);
    written.and(removed)
}

fn read_limited(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(8 << 10));
    File::open(path)?.take(LARGEST_SECRET).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What a process inside a workspace shows to prove where it is.
#[derive(Debug, Clone)]
pub struct Token {
    pub secret: Secret,
    /// What is stored: blake3, hexadecimal.
    pub hash: String,
}

impl Token {
    /// Makes one.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn random() -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes).map_err(KeyError::Random)?;
        let text = URL_SAFE_NO_PAD.encode(*bytes).into_bytes();
        Ok(Self { hash: token_hash(&text), secret: Secret::new(text) })
    }
}

/// Returns what is stored of a token.
pub fn token_hash(token: &[u8]) -> String {
    blake3::hash(token).to_hex().to_string()
}

/// Returns whether a token is the one of which `hash` was stored; how long it takes tells nothing.
pub fn token_matches(token: &[u8], hash: &str) -> bool {
    // `blake3::Hash` compares in constant time.
    blake3::Hash::from_hex(hash).is_ok_and(|hash| blake3::hash(token) == hash)
}

/// Reads the files of an org's secrets.
///
/// # Errors
/// At the first that cannot be read or that others can.
pub fn read_secrets(files: &BTreeMap<String, SecretFile>) -> Result<BTreeMap<String, Secret>, KeyError> {
    files.iter().map(|(name, file)| Ok((name.clone(), read_secret(&file.path)?))).collect()
}

/// Reads a secret's file, as it is.
///
/// # Errors
/// When it cannot be read, is no file, is too large, or others can read or change it.
pub fn read_secret(path: &Path) -> Result<Secret, KeyError> {
    let io = io("read", path);
    // One that is a pipe would block.
    let found = std::fs::metadata(path).map_err(&io)?;
    if !found.is_file() {
        return Err(KeyError::NotASecret { path: path.to_owned() });
    }
    let file = File::open(path).map_err(&io)?;
    let found = file.metadata().map_err(&io)?;
    if found.mode() & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned() });
    }
    if ![0, nix::unistd::geteuid().as_raw()].contains(&found.uid()) {
        return Err(KeyError::Foreign { path: path.to_owned(), owner: found.uid() });
    }
    let mut bytes =
        Zeroizing::new(Vec::with_capacity(usize::try_from(found.len().min(LARGEST_SECRET)).unwrap_or(0) + 1));
    file.take(LARGEST_SECRET + 1).read_to_end(&mut bytes).map_err(&io)?;
    if bytes.len() as u64 > LARGEST_SECRET {
        return Err(KeyError::NotASecret { path: path.to_owned() });
    }
    Ok(Secret::new(bytes.to_vec()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn h1_a_key_is_made_once_per_user_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let key = |user: &str| git_key(dir.path(), &user.parse().unwrap()).unwrap();
        let alice = key("alice");
        assert!(alice.public.starts_with("ssh-ed25519 AAAA"));
        assert!(alice.public.ends_with(" hearth:alice"));
        assert!(alice.private.expose().starts_with(b"-----BEGIN OPENSSH PRIVATE KEY-----\n"));
        assert_eq!(key("alice").private.expose(), alice.private.expose());
        assert_ne!(key("bob").public, alice.public);

        let files = dir.path().join("keys/alice");
        for file in ["id_ed25519", "id_ed25519.pub"] {
            assert_eq!(files.join(file).metadata().unwrap().mode() & 0o777, 0o600);
        }
        assert_eq!(files.metadata().unwrap().mode() & 0o777, 0o700);
        assert_eq!(std::fs::read_dir(&files).unwrap().count(), 2);

        std::fs::write(files.join("id_ed25519"), "damaged").unwrap();
        assert!(git_key(dir.path(), &"alice".parse().unwrap()).unwrap_err().to_string().contains("id_ed25519"));
        assert_eq!(std::fs::read(files.join("id_ed25519")).unwrap(), b"damaged");
    }

    #[test]
    fn h1_two_who_make_it_at_once_get_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let keys = std::thread::scope(|scope| {
            let make = || git_key(dir.path(), &"alice".parse().unwrap()).unwrap().public;
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(keys.iter().all(|key| key == &keys[0]));
    }

    #[test]
    fn h1_the_key_is_one_that_openssh_reads() {
        let dir = tempfile::tempdir().unwrap();
        let key = git_key(dir.path(), &"alice".parse().unwrap()).unwrap();
        let mut keygen = std::process::Command::new("ssh-keygen");
        let shown = keygen.arg("-y").arg("-f").arg(dir.path().join("keys/alice/id_ed25519")).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), key.public);
    }

    #[test]
    fn h1_tokens_are_random_and_hashed_at_rest() {
        let (one, two) = (Token::random().unwrap(), Token::random().unwrap());
        assert_eq!(one.secret.expose().len(), 43);
        assert_ne!(one.hash, two.hash);
        assert!(token_matches(one.secret.expose(), &one.hash));
        assert!(!token_matches(two.secret.expose(), &one.hash));
        assert!(!token_matches(b"", ""));
        assert!(!format!("{one:?}").contains(std::str::from_utf8(one.secret.expose()).unwrap()));
    }

    #[test]
    fn c2_a_secret_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "s3cret\n").unwrap();
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        for exposed in [0o644, 0o640, 0o602] {
            mode(exposed);
            let error = read_secret(&path).unwrap_err();
            assert!(matches!(error, KeyError::Exposed { .. }), "{exposed:o}");
            assert!(error.to_string().contains("chmod 600 "), "{error}");
        }
        mode(0o600);
        assert_eq!(read_secret(&path).unwrap().expose(), b"s3cret\n");
        File::options().write(true).open(&path).unwrap().set_len(LARGEST_SECRET + 1).unwrap();
        assert!(matches!(read_secret(&path), Err(KeyError::NotASecret { .. })));
        assert!(matches!(read_secret(dir.path()), Err(KeyError::NotASecret { .. })));
        assert!(matches!(read_secret(&dir.path().join("none")), Err(KeyError::Io { .. })));
    }
}
