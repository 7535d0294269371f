//! `hearth inject` (rule H1), run as root by `docker exec` before anybody may enter: a request on standard input, a report
//! on standard output.
//!
//! Root does what only root can: the ownership of the home (rule L5) and the system-wide configuration of git and ssh. All
//! else is done by a second process of this binary that is the user, so that no mistake there is root's.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use nix::unistd::geteuid;
use zeroize::Zeroizing;

use super::bundle::{BINARY, Facts, InjectReport, InjectRequest, Note, Owned};
use super::own::{self, Whose};
use super::{etc, facts, runtime};
use crate::model::WarningKind;

/// Secrets included, no request is longer: the tmpfs that takes them is 16 MiB.
const REQUEST_LIMIT: u64 = 32 << 20;

/// Runs `hearth inject`; with `as_user` its second half.
pub(super) fn run(as_user: bool) -> ExitCode {
    let report = match read_request() {
        Err(failure) => failed(failure),
        Ok((request, _)) if as_user => runtime::fill(&request),
        Ok((request, raw)) => as_root(&request, &raw),
    };
    match serde_json::to_vec(&report).map(|json| io::stdout().write_all(&json)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Returns the report of an inject that failed.
pub(super) fn failed(failure: String) -> InjectReport {
    InjectReport { failure: Some(failure), notes: vec![], given: 0, facts: Facts::default() }
}

fn read_request() -> Result<(InjectRequest, Zeroizing<Vec<u8>>), String> {
    // Growing would leave copies of the secrets behind.
    let mut raw = Zeroizing::new(Vec::with_capacity(64 << 10));
    io::stdin()
        .take(REQUEST_LIMIT)
        .read_to_end(&mut raw)
        .map_err(|error| format!("cannot read the request: {error}"))?;
    match serde_json::from_slice(&raw) {
        Ok(request) => Ok((request, raw)),
        Err(error) => Err(format!("cannot understand the request: {error}")),
    }
}

fn as_root(request: &InjectRequest, raw: &[u8]) -> InjectReport {
    if !geteuid().is_root() {
        return failed("inject has to be run as root".into());
    }
    let owned = match own_home(request) {
        Ok(owned) => owned,
        Err(error) => {
            return failed(format!("cannot give `{}` to `{}`: {error}", request.user.home, request.user.name));
        }
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has_ssh = facts::find_program("ssh", &path).is_some();
    let unwritten = etc::write(Path::new("/etc"), &request.git, has_ssh).into_iter().map(|(what, error)| {
        let message = format!("cannot write {what} for git and ssh to find hearth's key and hosts: {error}");
        Note::new(WarningKind::Other, message)
    });
    let mut report = second_half(request, raw).unwrap_or_else(failed);
    report.notes.extend(unwritten);
    report.notes.extend(owned.error.map(|error| {
        let message = format!("{} files of the home still have another owner: {error}", owned.failed);
        Note::new(WarningKind::Other, message)
    }));
    report.given = owned.given;
    report
}

/// Gives all of a fresh home to its user, later no more than a mount point that is root's (rule L5).
fn own_home(request: &InjectRequest) -> io::Result<Owned> {
    let whose = if request.fresh_home { Whose::All } else { Whose::MountPoint };
    own::give(Path::new(&request.user.home), whose, (request.user.uid, request.user.gid))
}

/// Runs this binary again as the user.
fn second_half(request: &InjectRequest, raw: &[u8]) -> Result<InjectReport, String> {
    let start = |error: io::Error| format!("cannot run {BINARY} as `{}`: {error}", request.user.name);
    let mut command = Command::new(BINARY);
    command.args(["inject", "--as-user"]).uid(request.user.uid).gid(request.user.gid).current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(start)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ended early says why in its report.
        let _ = stdin.write_all(raw);
    }
    let output = child.wait_with_output().map_err(start)?;
    serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("inject as `{}` ended with {} and no report", request.user.name, output.status))
}
