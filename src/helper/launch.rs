//! A file that is to be run, and what to tell its author when it cannot be (rules H2, L8).
//!
//! The kernel says "no such file" for a missing interpreter and for Windows line endings alike; a person wants to know
//! which.

use std::io::{self, Read};
use std::path::Path;
use std::process::Command;

use super::bundle::Note;
use super::facts::is_program;
use crate::model::{WarningKind, neutralise};

/// No interpreter line is read further by the kernel.
const FIRST_LINE: u64 = 256;
const SHELL: &str = "/bin/sh";

/// Returns the command that runs the file as a shell would; `None` where there is none.
///
/// # Errors
/// Says why it cannot be run and what to do about it.
pub(super) fn prepare(path: &Path) -> Result<Option<Command>, Note> {
    let shown = path.display();
    match path.metadata() {
        Ok(found) if found.is_file() => {}
        Ok(_) => return refuse(format!("`{shown}` is not a file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => return Ok(None),
        Err(error) => return refuse(format!("`{shown}` cannot be looked at: {error}")),
    }
    if !is_program(path) {
        return refuse(format!("`{shown}` is not executable: run `chmod +x {shown}`"));
    }
    let beginning = beginning(path);
    if let Some(line) = beginning.strip_prefix(b"#!") {
        check_interpreter(path, line)?;
        return Ok(Some(Command::new(path)));
    }
    if beginning.starts_with(b"\x7fELF") {
        check_machine(path, &beginning)?;
        return Ok(Some(Command::new(path)));
    }
    // One that we may run and not read is a program.
    if beginning.is_empty() && path.metadata().is_ok_and(|found| found.len() > 0) {
        return Ok(Some(Command::new(path)));
    }
    if !is_program(Path::new(SHELL)) {
        return refuse(format!("`{shown}` has no `#!` line, and the image has no `{SHELL}` to run it with"));
    }
    let mut command = Command::new(SHELL);
    command.arg(path);
    Ok(Some(command))
}

/// Returns what to say of a file that the kernel would not run after all.
pub(super) fn explain(path: &Path, error: &io::Error) -> Note {
    let shown = path.display();
    let reason = if error.kind() == io::ErrorKind::NotFound {
        "the program that it needs to start is not in the image".to_owned()
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "permission denied, for it or for its interpreter".to_owned()
    } else {
        error.to_string()
    };
    Note::new(WarningKind::NotExecutable, format!("`{shown}` cannot be run: {reason}"))
}

fn refuse<T>(message: String) -> Result<T, Note> {
    Err(Note::new(WarningKind::NotExecutable, message))
}

fn beginning(path: &Path) -> Vec<u8> {
    let mut bytes = vec![];
    if let Ok(file) = std::fs::File::open(path) {
        let _ = file.take(FIRST_LINE).read_to_end(&mut bytes);
    }
    bytes
}

fn check_interpreter(path: &Path, line: &[u8]) -> Result<(), Note> {
    let shown = path.display();
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.ends_with(b"\r") {
        return refuse(format!(
            "`{shown}` has Windows line endings (CRLF), so no interpreter is found for it: run `sed -i 's/\\r$//' {shown}`"
        ));
    }
    let mut words = line.split(|byte| b" \t".contains(byte)).filter(|word| !word.is_empty());
    let interpreter = String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
    let found = Path::new(&interpreter);
    if interpreter.starts_with('/') && !is_program(found) {
        let interpreter = neutralise(interpreter.as_bytes());
        let what = if found.exists() { "cannot be run" } else { "is not in the image" };
        return refuse(format!("`{shown}` asks for the interpreter `{interpreter}`, which {what}"));
    }
    Ok(())
}

/// Offset 18 of an ELF header names the machine.
fn check_machine(path: &Path, header: &[u8]) -> Result<(), Note> {
    let ours: Option<u16> = match std::env::consts::ARCH {
        "x86_64" => Some(62),
        "aarch64" => Some(183),
        _ => None,
    };
    let its = header.get(18..20).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    if ours.is_some() && its != ours {
        return refuse(format!("`{}` is a program for another kind of machine", path.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn check(name: &str, mode: u32, content: &[u8]) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let shorten = |text: String| text.replace(dir.path().to_str().unwrap(), "");
        match prepare(&path) {
            Ok(command) => Ok(shorten(format!("{:?}", command.unwrap()))),
            Err(note) => {
                assert_eq!(note.kind, WarningKind::NotExecutable);
                Err(shorten(note.message))
            }
        }
    }

    #[test]
    fn h2_what_cannot_be_run_is_explained() {
        assert_eq!(check("f", 0o644, b"#!/bin/sh\n").unwrap_err(), "`/f` is not executable: run `chmod +x /f`");
        assert!(check("f", 0o755, b"#!/bin/sh\r\nexit\r\n").unwrap_err().contains("CRLF"));
        assert!(check("f", 0o755, b"#!/usr/bin/env sh\r\n").unwrap_err().contains("CRLF"));
        let error = check("f", 0o755, b"#! /no/such -x\n").unwrap_err();
        assert_eq!(error, "`/f` asks for the interpreter `/no/such`, which is not in the image");
        assert!(check("f", 0o755, b"#!/etc/passwd\n").unwrap_err().contains("cannot be run"));
        assert!(
            check("f", 0o755, b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x99\x99").unwrap_err().contains("machine")
        );
    }

    #[test]
    fn h2_the_rest_runs_as_from_a_shell() {
        assert_eq!(check("f", 0o755, b"#!/bin/sh -e\n").unwrap(), "\"/f\"");
        assert_eq!(check("f", 0o755, b"echo no interpreter\n").unwrap(), "\"/bin/sh\" \"/f\"");
        assert_eq!(check("f", 0o755, b"").unwrap(), "\"/bin/sh\" \"/f\"");
    }

    #[test]
    fn h2_nothing_there_is_nothing_and_a_link_to_nowhere_is_not() {
        let dir = tempfile::tempdir().unwrap();
        assert!(prepare(&dir.path().join("nothing")).unwrap().is_none());
        symlink("nowhere", dir.path().join("link")).unwrap();
        assert!(prepare(&dir.path().join("link")).is_err());
        assert!(prepare(dir.path()).unwrap_err().message.contains("is not a file"));
    }
}
