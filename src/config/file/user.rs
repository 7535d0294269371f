//! `[users.NAME]` and `[users.NAME.workspaces.NAME]`.

use std::collections::BTreeSet;

use super::org::{ResourcesTable, name_of_variable, shared, variable};
use super::table::{Places, Table};
use super::value::{as_, name, named, parsed, switch};
use crate::config::settings::{AutoStart, Day, Limit, Zone};
use crate::config::source::At;
use crate::config::{image, keys, ssh_key, text};
use crate::model::{OrgName, PortMapping, UserName, WorkspaceName};

type List<T> = Option<At<Vec<At<T>>>>;

/// `[users.NAME]`, or what a file says of the user's workspaces alone.
#[derive(Debug)]
pub(crate) struct UserTable {
    pub(crate) name: At<UserName>,
    /// Whether the user is defined here, and not only workspaces of theirs.
    pub(crate) defined: bool,
    pub(crate) account: Option<At<String>>,
    pub(crate) orgs: List<OrgName>,
    pub(crate) full_name: Option<At<String>>,
    pub(crate) email: Option<At<String>>,
    pub(crate) timezone: Option<At<Zone>>,
    pub(crate) ssh_keys: List<String>,
    pub(crate) authorized_keys: Option<At<bool>>,
    pub(crate) dotfiles: Option<At<String>>,
    pub(crate) auto_start: Option<At<AutoStart>>,
    pub(crate) workspaces: Vec<WorkspaceTable>,
    pub(crate) places: Places,
}

/// `[users.NAME.workspaces.NAME]`
#[derive(Debug)]
pub(crate) struct WorkspaceTable {
    pub(crate) name: At<WorkspaceName>,
    pub(crate) org: Option<At<OrgName>>,
    pub(crate) image: Option<At<String>>,
    pub(crate) resources: ResourcesTable,
    pub(crate) auto_off: Option<At<Limit>>,
    pub(crate) auto_start: Option<At<AutoStart>>,
    pub(crate) timezone: Option<At<Zone>>,
    pub(crate) ports: List<PortMapping>,
    pub(crate) env: Vec<(At<String>, At<String>)>,
    pub(crate) places: Places,
}

pub(super) fn user(user: At<UserName>, mut table: Table<'_>) -> UserTable {
    let explicit = table.explicit;
    let mut user = UserTable {
        name: user,
        defined: explicit,
        account: table.value("account", as_(text::account)),
        orgs: table.list("orgs", named),
        full_name: table.value("name", as_(text::line)),
        email: table.value("email", as_(text::email)),
        timezone: table.value("timezone", as_(text::zone)),
        ssh_keys: table.list("ssh_keys", as_(ssh_key::read)),
        authorized_keys: table.value("authorized_keys", switch),
        dotfiles: table.value("dotfiles", as_(text::repository)),
        auto_start: auto_start(&mut table),
        workspaces: table.named("workspaces", name).into_iter().map(|(name, table)| workspace(name, table)).collect(),
        places: table.finish(),
    };
    user.defined |= user.places.keys().any(|key| *key != "workspaces");
    user
}

fn workspace(name: At<WorkspaceName>, mut table: Table<'_>) -> WorkspaceTable {
    WorkspaceTable {
        name,
        org: table.value("org", named),
        image: table.value("image", as_(|text| text.parse::<image::Reference>().map(|_| text.to_owned()))),
        resources: shared(&mut table),
        auto_off: table.value("auto_off", parsed),
        auto_start: auto_start(&mut table),
        timezone: table.value("timezone", as_(text::zone)),
        ports: table.list("ports", parsed),
        env: table.entries("env", name_of_variable, as_(variable)),
        places: table.finish(),
    }
}

/// Reads `"09:00"`, `"never"` or `{ at = "08:30", days = ["mon"] }`.
fn auto_start(table: &mut Table<'_>) -> Option<At<AutoStart>> {
    let Some(mut long) = table.table_or_value("auto_start", &keys::AUTO_START) else {
        return table.value("auto_start", parsed);
    };
    let place = long.place;
    let time = long.value("at", as_(text::time));
    let days = long.list("days", parsed::<Day>);
    long.finish();
    let days = days.map(|days| days.value.into_iter().map(|day| day.value).collect::<BTreeSet<_>>());
    Some(At { value: AutoStart::At { time: time?.value, days }, place })
}
