//! `[server]`, `[ssh]` and `[metrics]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::table::Table;
use super::value::{absolute, as_, count, named, parsed, path};
use crate::config::settings::{Principal, Zone};
use crate::config::source::At;
use crate::config::text;
use crate::model::{InstanceName, QuantityError};

/// `[server]`
#[derive(Debug)]
pub(crate) struct ServerTable {
    pub(crate) docker: Option<At<PathBuf>>,
    pub(crate) data_dir: Option<At<PathBuf>>,
    pub(crate) run_dir: Option<At<PathBuf>>,
    pub(crate) timezone: Option<At<Zone>>,
    pub(crate) admins: Vec<At<Principal>>,
    pub(crate) auditors: Vec<At<Principal>>,
    pub(crate) max_builds: Option<At<u32>>,
    pub(crate) instance: Option<At<InstanceName>>,
}

pub(super) fn server(mut table: Table<'_>) -> ServerTable {
    let server = ServerTable {
        docker: table.value("docker", as_(docker)),
        data_dir: table.value("data_dir", path),
        run_dir: table.value("run_dir", path),
        timezone: table.value("timezone", as_(text::zone)),
        admins: table.list("admins", parsed).map(|list| list.value).unwrap_or_default(),
        auditors: table.list("auditors", parsed).map(|list| list.value).unwrap_or_default(),
        max_builds: table.value("max_builds", count),
        instance: table.value("instance", named),
    };
    table.finish();
    server
}

pub(super) fn listen(mut table: Table<'_>) -> Option<At<SocketAddr>> {
    let listen = table.value("listen", as_(address));
    table.finish();
    listen
}

fn docker(text: &str) -> Result<PathBuf, QuantityError> {
    let wrong =
        |hint: &str| QuantityError { message: format!("`{text}` is not the engine's socket"), hint: hint.to_owned() };
    match text.strip_prefix("unix://") {
        Some(path) => absolute(path).map_err(|_| wrong("write it like `unix:///var/run/docker.sock`")),
        None if text.starts_with('/') => Err(wrong(&format!("write `unix://{text}`"))),
        None => Err(wrong("hearth speaks to an engine on this machine: write it like `unix:///var/run/docker.sock`")),
    }
}

fn address(text: &str) -> Result<SocketAddr, QuantityError> {
    let address = text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
    address.ok_or_else(|| QuantityError {
        message: format!("`{text}` is not an address with a port"),
        hint: "write it like `0.0.0.0:2222` or `[::]:2222`".to_owned(),
    })
}
