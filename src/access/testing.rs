//! Settings and people for tests.

use super::Person;
use crate::config::{self, Settings, Sources};

/// Returns the settings that a file says.
pub(crate) fn read(toml: &str) -> Settings {
    let checked = config::read_accepted(&Sources::new("hearth.toml", toml), Some("UTC".into()));
    checked.unwrap_or_else(|problems| panic!("{problems}")).settings
}

/// acme: alice (account `alice.example`) and dana, who manages it; globex: bob. ops administers, audrey audits.
pub(crate) fn settings() -> Settings {
    read(
        r#"
        [server]
        admins = ["ops", "@wheel"]
        auditors = ["audrey"]

        [orgs.acme]
        image = "debian:12"
        managers = ["dana", "@leads"]
        auto_off = "2h"
        default_workspace = "main"
        resources = { cpus = 2.0 }

        [orgs.globex]
        image = "debian:12"
        default_workspace = "main"

        [users.alice]
        account = "alice.example"
        orgs = ["acme"]
        auto_start = "08:30"
        workspaces.main = { ports = ["127.0.0.1:8080:80"] }
        workspaces.side = {}

        [users.dana]
        orgs = ["acme"]

        [users.bob]
        orgs = ["globex"]
        "#,
    )
}

/// A host account in no group.
pub(crate) fn account(name: &str) -> Person {
    Person::Account { uid: 1234, account: name.into(), groups: vec![] }
}
