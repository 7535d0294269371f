//! Which socket to talk to: the one that was named, inside a workspace that workspace's, else the host's.

use std::path::{Path, PathBuf};

use super::error::{Error, Kind, Result};

const HOST_SOCKET: &str = "/run/hearth/hearth.sock";
const INSIDE_SOCKET: &str = "/run/hearth/workspace/sock";
const TOKEN_FILE: &str = "/run/hearth/token";

/// A way to hearthd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// The host's socket, where the caller is known by uid.
    Host(PathBuf),
    /// The socket of the workspace that we run in, where the caller shows a token.
    Inside { socket: PathBuf, token: String },
}

impl Endpoint {
    /// Returns the way to hearthd; `named` comes from `--socket` or `HEARTH_SOCKET`.
    pub(crate) fn find(named: Option<PathBuf>) -> Result<Self> {
        match named {
            Some(socket) => Ok(Endpoint::Host(socket)),
            None => Self::find_in(Path::new(HOST_SOCKET), Path::new(INSIDE_SOCKET), Path::new(TOKEN_FILE)),
        }
    }

    fn find_in(host: &Path, inside: &Path, token_file: &Path) -> Result<Self> {
        if !inside.exists() {
            return Ok(Endpoint::Host(host.to_owned()));
        }
        let token = std::fs::read_to_string(token_file).map_err(|error| {
            let message = format!("cannot read this workspace's token {}: {error}", token_file.display());
            if error.kind() == std::io::ErrorKind::PermissionDenied {
                Error::new(Kind::NotPermitted, message)
                    .hint("it belongs to the workspace's user: run hearth as that user")
            } else {
                Error::new(Kind::Failed, message).hint("it comes with the next build: hearth rebuild, on the host")
            }
        })?;
        Ok(Endpoint::Inside { socket: inside.to_owned(), token: token.trim().to_owned() })
    }

    /// Returns the socket's path.
    pub(crate) fn socket(&self) -> &Path {
        match self {
            Endpoint::Host(socket) | Endpoint::Inside { socket, .. } => socket,
        }
    }

    /// Returns the token to show, inside a workspace.
    pub(crate) fn token(&self) -> Option<&str> {
        match self {
            Endpoint::Host(_) => None,
            Endpoint::Inside { token, .. } => Some(token),
        }
    }

    /// Returns the failure of not reaching hearthd, with what to look at.
    pub(crate) fn unreachable(&self, error: &std::io::Error) -> Error {
        use std::io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied, TimedOut};
        let socket = self.socket().display();
        let told = [
            (NotFound, format!("hearthd is not there: no socket at {socket}")),
            (ConnectionRefused, format!("hearthd is not there: nobody listens on {socket}")),
            (PermissionDenied, format!("hearthd's socket {socket} may not be opened by this account")),
            (TimedOut, format!("hearthd does not answer on {socket}")),
        ];
        let message = told.into_iter().find_map(|(kind, message)| (kind == error.kind()).then_some(message));
        let message = message.unwrap_or_else(|| format!("cannot talk to hearthd on {socket}: {error}"));
        let hint = match (self, error.kind()) {
            (Endpoint::Inside { .. }, _) => {
                "it may be restarting: try again in a minute, then ask who runs this server".to_owned()
            }
            (Endpoint::Host(_), PermissionDenied) => {
                format!("look at the directories above it: namei -l {socket} (or try with sudo)")
            }
            (Endpoint::Host(path), _) if path == Path::new(HOST_SOCKET) => {
                "systemctl status hearth; another socket is named with --socket or HEARTH_SOCKET".to_owned()
            }
            (Endpoint::Host(_), _) => {
                "start the hearthd whose `[server] run_dir` this is, or name another socket with --socket".to_owned()
            }
        };
        Error::new(Kind::Unreachable, message).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_a_workspace_its_own_socket_is_taken_with_the_token() {
        let dir = tempfile::tempdir().unwrap();
        let (host, inside, token) = (dir.path().join("host"), dir.path().join("sock"), dir.path().join("token"));
        assert_eq!(Endpoint::find_in(&host, &inside, &token).unwrap(), Endpoint::Host(host.clone()));

        std::fs::write(&inside, "").unwrap();
        let error = Endpoint::find_in(&host, &inside, &token).unwrap_err();
        assert!(error.message.contains("cannot read this workspace's token"), "{error:?}");

        std::fs::write(&token, "secret\n").unwrap();
        let endpoint = Endpoint::find_in(&host, &inside, &token).unwrap();
        assert_eq!(endpoint, Endpoint::Inside { socket: inside, token: "secret".into() });
    }

    #[test]
    fn a_named_socket_wins() {
        assert_eq!(Endpoint::find(Some("/x/y".into())).unwrap(), Endpoint::Host("/x/y".into()));
    }

    #[test]
    fn each_way_of_not_reaching_hearthd_says_what_to_type() {
        use std::io::{Error as Io, ErrorKind};
        let host = Endpoint::Host(HOST_SOCKET.into());
        for kind in [ErrorKind::NotFound, ErrorKind::ConnectionRefused, ErrorKind::TimedOut] {
            let error = host.unreachable(&Io::from(kind));
            assert_eq!(error.kind.exit_code(), 3);
            assert!(error.hint.unwrap().starts_with("systemctl status hearth"));
        }
        assert!(host.unreachable(&Io::from(ErrorKind::PermissionDenied)).hint.unwrap().contains("namei"));
    }
}
