//! `[server]`.

use std::path::{Path, PathBuf};

use super::{Check, values};
use crate::config::file::ServerTable;
use crate::config::problem::Fault;
use crate::config::settings::{Server, Sourced, Zone};
use crate::config::source::At;
use crate::config::text;

/// What a Unix socket's address holds, its NUL not counted.
const LONGEST_SOCKET: usize = 107;
/// The longest path of a socket below the run directory.
const LONGEST_BELOW: &str = "/workspace/4294967295/sock";

impl Check<'_> {
    pub(super) fn server(&self, table: Option<&ServerTable>) -> Server {
        let path = |at: Option<&At<PathBuf>>, default: &str| at.map_or_else(|| default.into(), |at| at.value.clone());
        let of = |get: fn(&ServerTable) -> &Option<At<PathBuf>>| table.and_then(|table| get(table).as_ref());
        let max_builds = table.and_then(|table| table.max_builds.as_ref());
        if let Some(zero) = max_builds.filter(|builds| builds.value == 0) {
            let message = "with `max_builds = 0` nothing could ever be built";
            self.error(Fault::new(zero.place, message).help("write at least 1"));
        }
        if let Some(run_dir) = of(|table| &table.run_dir) {
            self.run_dir(run_dir, of(|table| &table.data_dir).map_or(Path::new("/var/lib/hearth"), |at| at.as_path()));
        }
        Server {
            docker: path(of(|table| &table.docker), "/var/run/docker.sock"),
            data_dir: path(of(|table| &table.data_dir), "/var/lib/hearth"),
            run_dir: path(of(|table| &table.run_dir), "/run/hearth"),
            timezone: self.server_zone(table),
            admins: table.map(|table| values(&table.admins)).unwrap_or_default(),
            auditors: table.map(|table| values(&table.auditors)).unwrap_or_default(),
            max_builds: max_builds.map_or(4, |builds| builds.value as usize),
            instance: table
                .and_then(|table| table.instance.as_ref())
                .map_or_else(|| "hearth".parse().expect("`hearth` is a name"), |instance| instance.value.clone()),
        }
    }

    fn server_zone(&self, table: Option<&ServerTable>) -> Sourced<Zone> {
        let host = || self.host.timezone().and_then(|name| text::zone(&name).ok()).unwrap_or_else(Zone::utc);
        match table.and_then(|table| table.timezone.as_ref()) {
            Some(zone) => self.sourced(zone),
            None => Sourced::default_of(host()),
        }
    }

    fn run_dir(&self, run_dir: &At<PathBuf>, data_dir: &Path) {
        let room = LONGEST_SOCKET - LONGEST_BELOW.len();
        if run_dir.as_os_str().len() > room {
            let message = format!("`run_dir` is too long: no socket below it could be reached (at most {room} bytes)");
            self.error(Fault::new(run_dir.place, message).help("choose a shorter path, such as `/run/hearth`"));
        }
        if run_dir.as_path() == data_dir {
            let message = "`run_dir` and `data_dir` are the same directory";
            self.error(
                Fault::new(run_dir.place, message).help("`data_dir` is kept for ever, `run_dir` until the next boot"),
            );
        }
    }
}
