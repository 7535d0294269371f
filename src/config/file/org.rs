//! `[orgs.NAME]` and what is below it.

use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::Date;

use super::table::{Places, Table};
use super::value::{Wrong, as_, count, named, number, parsed, path, switch};
use crate::config::settings::{ActivityKind, Day, Ignored, Limit, Override, Principal, Pull, Subnet};
use crate::config::source::At;
use crate::config::{image, text};
use crate::model::{Bytes, Cpus, OrgName, PortRange, QuantityError, Span, WorkspaceName};

type List<T> = Option<At<Vec<At<T>>>>;

/// `[orgs.NAME]`
#[derive(Debug)]
pub(crate) struct OrgTable {
    pub(crate) name: At<OrgName>,
    pub(crate) managers: List<Principal>,
    pub(crate) image: Option<At<String>>,
    pub(crate) images: List<String>,
    pub(crate) pull: Option<At<Pull>>,
    pub(crate) auto_off: Option<At<Limit>>,
    pub(crate) auto_off_override: Option<At<Override>>,
    pub(crate) auto_off_max: Option<At<Duration>>,
    pub(crate) activity: Option<At<ActivityKind>>,
    pub(crate) activity_floor: Option<At<Bytes>>,
    pub(crate) activity_ignore: List<Ignored>,
    pub(crate) auto_start_days: List<Day>,
    pub(crate) auto_start_pause_after: Option<At<Limit>>,
    pub(crate) holidays: List<Date>,
    pub(crate) hold_max: Option<At<Duration>>,
    pub(crate) trash_keep: Option<At<Duration>>,
    pub(crate) build_on_create: Option<At<bool>>,
    pub(crate) user: Option<At<String>>,
    pub(crate) stop_grace: Option<At<Duration>>,
    pub(crate) hook_timeout: Option<At<Duration>>,
    pub(crate) default_workspace: Option<At<WorkspaceName>>,
    pub(crate) network_isolation: Option<At<bool>>,
    pub(crate) runtime: Option<At<String>>,
    pub(crate) subnet: Option<At<Subnet>>,
    pub(crate) resources: ResourcesTable,
    pub(crate) limits: LimitsTable,
    pub(crate) env: Vec<(At<String>, At<String>)>,
    pub(crate) mounts: Vec<MountTable>,
    /// The host's name with the lines that pin its keys.
    pub(crate) git_hosts: Vec<(At<String>, Vec<At<String>>)>,
    pub(crate) registries: Vec<(At<String>, RegistryTable)>,
    pub(crate) secrets: Vec<(At<String>, Option<At<PathBuf>>)>,
    pub(crate) places: Places,
}

/// `[orgs.NAME.resources]`, and the same keys of a workspace's own table.
#[derive(Debug, Default)]
pub(crate) struct ResourcesTable {
    pub(crate) cpus: Option<At<Cpus>>,
    pub(crate) memory: Option<At<Bytes>>,
    pub(crate) pids: Option<At<u32>>,
    pub(crate) shm: Option<At<Bytes>>,
    pub(crate) gpus: Option<At<u32>>,
}

/// `[orgs.NAME.limits]`
#[derive(Debug, Default)]
pub(crate) struct LimitsTable {
    pub(crate) resources: ResourcesTable,
    pub(crate) workspaces_per_user: Option<At<u32>>,
    pub(crate) ports: List<PortRange>,
}

/// `[[orgs.NAME.mounts]]`
#[derive(Debug)]
pub(crate) struct MountTable {
    pub(crate) source: Option<At<PathBuf>>,
    pub(crate) target: Option<At<PathBuf>>,
    pub(crate) read_only: Option<At<bool>>,
}

/// `[orgs.NAME.registries.HOST]`
#[derive(Debug)]
pub(crate) struct RegistryTable {
    pub(crate) username: Option<At<String>>,
    pub(crate) password_file: Option<At<PathBuf>>,
}

pub(super) fn org(name: At<OrgName>, mut table: Table<'_>) -> OrgTable {
    OrgTable {
        name,
        managers: table.list("managers", parsed),
        image: table.value("image", as_(reference)),
        images: table.list("images", as_(pattern)),
        pull: table.value("pull", parsed),
        auto_off: table.value("auto_off", parsed),
        auto_off_override: table.value("auto_off_override", parsed),
        auto_off_max: table.value("auto_off_max", as_(some_time)),
        activity: table.value("activity", parsed),
        activity_floor: table.value("activity_floor", parsed),
        activity_ignore: table.list("activity_ignore", parsed),
        auto_start_days: table.list("auto_start_days", parsed),
        auto_start_pause_after: table.value("auto_start_pause_after", parsed),
        holidays: table.list("holidays", as_(text::date)),
        hold_max: table.value("hold_max", as_(span)),
        trash_keep: table.value("trash_keep", as_(span)),
        build_on_create: table.value("build_on_create", switch),
        user: table.value("user", as_(image_user)),
        stop_grace: table.value("stop_grace", as_(span)),
        hook_timeout: table.value("hook_timeout", as_(some_time)),
        default_workspace: table.value("default_workspace", named),
        network_isolation: table.value("network_isolation", switch),
        runtime: table.value("runtime", as_(word)),
        subnet: table.value("subnet", parsed),
        resources: table.table("resources").map(resources).unwrap_or_default(),
        limits: table.table("limits").map(limits).unwrap_or_default(),
        env: table.entries("env", name_of_variable, as_(variable)),
        mounts: table.tables("mounts").into_iter().map(mount).collect(),
        git_hosts: table.table("git").map(git_hosts).unwrap_or_default(),
        registries: table.named("registries", registry_host).into_iter().map(|(host, t)| (host, registry(t))).collect(),
        secrets: table.named("secrets", secret_name).into_iter().map(|(name, t)| (name, secret(t))).collect(),
        places: table.finish(),
    }
}

/// Takes the keys that `[orgs.NAME.resources]`, `[orgs.NAME.limits]` and a workspace share.
pub(super) fn shared(table: &mut Table<'_>) -> ResourcesTable {
    ResourcesTable {
        cpus: table.value("cpus", |value| Ok(Cpus::new(number(value)?)?)),
        memory: table.value("memory", as_(memory)),
        pids: table.value("pids", |value| at_least_one(count(value)?)),
        shm: table.value("shm", as_(shm)),
        gpus: table.value("gpus", count),
    }
}

fn resources(mut table: Table<'_>) -> ResourcesTable {
    let resources = shared(&mut table);
    table.finish();
    resources
}

fn limits(mut table: Table<'_>) -> LimitsTable {
    let limits = LimitsTable {
        resources: shared(&mut table),
        workspaces_per_user: table.value("workspaces_per_user", count),
        ports: table.list("ports", parsed),
    };
    table.finish();
    limits
}

fn mount(mut table: Table<'_>) -> MountTable {
    let mount = MountTable {
        source: table.value("source", path),
        target: table.value("target", path),
        read_only: table.value("read_only", switch),
    };
    table.finish();
    mount
}

fn git_hosts(mut table: Table<'_>) -> Vec<(At<String>, Vec<At<String>>)> {
    let hosts = table.named("hosts", git_host).into_iter().map(|(host, mut table)| {
        let lines = table.list("known_hosts", as_(text::line)).map(|list| list.value).unwrap_or_default();
        table.finish();
        (host, lines)
    });
    let hosts = hosts.collect();
    table.finish();
    hosts
}

fn registry(mut table: Table<'_>) -> RegistryTable {
    let registry = RegistryTable {
        username: table.value("username", as_(text::line)),
        password_file: table.value("password_file", path),
    };
    table.finish();
    registry
}

fn secret(mut table: Table<'_>) -> Option<At<PathBuf>> {
    let file = table.value("file", path);
    table.finish();
    file
}

fn wrong<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, QuantityError> {
    Err(QuantityError { message: message.into(), hint: hint.into() })
}

fn span(text: &str) -> Result<Duration, QuantityError> {
    match text.parse::<Span>() {
        Ok(span) => Ok(span.0),
        Err(error) if text == "never" => wrong("`never` is not possible here", error.hint),
        Err(error) => Err(error),
    }
}

fn some_time(text: &str) -> Result<Duration, QuantityError> {
    match span(text)? {
        Duration::ZERO => wrong(format!("`{text}` is no time at all"), "write a longer one, or leave the key out"),
        span => Ok(span),
    }
}

/// The engine refuses less.
const LEAST_MEMORY: Bytes = Bytes(6 << 20);

pub(in crate::config) fn memory(text: &str) -> Result<Bytes, QuantityError> {
    match text.parse::<Bytes>()? {
        memory if memory < LEAST_MEMORY => {
            wrong(format!("`{text}` is too little memory"), format!("write at least `{LEAST_MEMORY}`"))
        }
        memory => Ok(memory),
    }
}

fn shm(text: &str) -> Result<Bytes, QuantityError> {
    match text.parse::<Bytes>()? {
        Bytes(0) => wrong(format!("`{text}` is no size at all"), "write one such as `64MiB`, or leave the key out"),
        shm => Ok(shm),
    }
}

fn at_least_one(count: u32) -> Result<u32, Wrong> {
    if count == 0 { Ok(wrong("`0` is too few", "write at least 1")?) } else { Ok(count) }
}

pub(in crate::config) fn reference(text: &str) -> Result<String, QuantityError> {
    text.parse::<image::Reference>().map(|_| text.to_owned())
}

fn pattern(text: &str) -> Result<String, QuantityError> {
    text.parse::<image::Pattern>().map(|_| text.to_owned())
}

/// Reads what would stand in an image's `USER`: a name or uid, with a group or without, and never root.
fn image_user(text: &str) -> Result<String, QuantityError> {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.-".contains(c))
    };
    if user == "root" || (is_number(user) && user.trim_start_matches('0').is_empty()) {
        return wrong("workspaces do not run as root", "name another user of the image, such as `coder`");
    }
    let group_is_good = text.ends_with(group) && (!text.contains(':') || is_number(group) || is_name(group));
    if !(is_name(user) || (is_number(user) && user.parse::<u32>().is_ok())) || !group_is_good {
        return wrong(format!("`{text}` is not a user of an image"), "write it like `coder`, `1000` or `coder:staff`");
    }
    Ok(text.to_owned())
}

fn word(text: &str) -> Result<String, QuantityError> {
    let good = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    if good { Ok(text.to_owned()) } else { wrong(format!("`{text}` is not a name"), "write one word") }
}

pub(super) fn name_of_variable(text: &str) -> Result<String, Wrong> {
    Ok(text::env_name(text)?)
}

pub(in crate::config) fn variable(text: &str) -> Result<String, QuantityError> {
    match text.contains('\0') {
        true => wrong("the value has a NUL character", "no environment can hold it"),
        false => Ok(text.to_owned()),
    }
}

fn registry_host(text: &str) -> Result<String, Wrong> {
    if !image::is_registry(text) {
        let hint = "write the registry's host, with its port where there is one: `registry.acme.example:5000`";
        Ok(wrong(format!("`{text}` is not the host of a registry"), hint)?)
    } else {
        Ok(text.to_owned())
    }
}

fn git_host(text: &str) -> Result<String, Wrong> {
    let good = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || "/,@".contains(c));
    if good {
        Ok(text.to_owned())
    } else {
        Ok(wrong(format!("`{text}` is not a host"), "write it like `git.acme.example`")?)
    }
}

/// A secret becomes a file of its name in `/run/hearth/secrets`.
fn secret_name(text: &str) -> Result<String, Wrong> {
    let good = text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if good {
        Ok(text.to_owned())
    } else {
        Ok(wrong(format!("`{text}` is not the name of a secret"), "a name is letters, digits, `_`, `.` and `-`")?)
    }
}
