//! What the helper tells init: which sessions it began and which ended by themselves, so that init can end the rest
//! when the helper is killed.
//!
//! Records of five bytes (`+` or `-`, the session's number) on a pipe that is the helper's standard output; a session
//! writes its own `+` before it runs anything, so that none is missed.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// A record: written in one piece, as pipes promise for so few bytes.
pub(super) type Record = [u8; 5];

/// The most sessions that init remembers.
const MOST: usize = 4096;

/// Returns the record of a session that begins.
pub(super) fn began(session: i32) -> Record {
    record(b'+', session)
}

/// Returns the record of a session that ended by itself.
pub(super) fn ended(session: i32) -> Record {
    record(b'-', session)
}

fn record(mark: u8, session: i32) -> Record {
    let [a, b, c, d] = session.to_be_bytes();
    [mark, a, b, c, d]
}

/// Makes the pipe: init's end, which never blocks, and the helper's.
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((reader, writer))
}

/// Reads all records that are there; false when the helper has closed its end.
pub(super) fn read(reader: impl AsFd, sessions: &mut BTreeSet<i32>) -> bool {
    let mut bytes = [0; 5 * 64];
    loop {
        match nix::unistd::read(&reader, &mut bytes) {
            Ok(0) => return false,
            Ok(length) => bytes[..length].as_chunks::<5>().0.iter().for_each(|record| note(*record, sessions)),
            Err(_) => return true,
        }
    }
}

fn note([mark, session @ ..]: Record, sessions: &mut BTreeSet<i32>) {
    let session = i32::from_be_bytes(session);
    match mark {
        b'+' if session > 1 && sessions.len() < MOST => drop(sessions.insert(session)),
        b'-' => drop(sessions.remove(&session)),
        _ => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_come_and_go() {
        let (reader, writer) = pipe().unwrap();
        let mut sessions = BTreeSet::new();
        assert!(read(&reader, &mut sessions));
        for record in [began(7), began(9), began(1), ended(7)] {
            nix::unistd::write(&writer, &record).unwrap();
        }
        assert!(read(&reader, &mut sessions));
        assert_eq!(sessions, BTreeSet::from([9]));
        drop(writer);
        assert!(!read(&reader, &mut sessions));
    }
}
