//! Who is defined where: each org, user and workspace once in all files; a user's workspaces may stand in other files.

use std::collections::BTreeMap;

use super::Check;
use crate::config::file::{OrgTable, Tables, UserTable, WorkspaceTable};
use crate::config::problem::Fault;
use crate::config::source::Place;
use crate::config::text::nearest;
use crate::model::{OrgName, UserName, WorkspaceName};

/// A user with the workspaces that all files give them.
pub(super) struct Person<'a> {
    pub(super) name: UserName,
    pub(super) table: &'a UserTable,
    pub(super) workspaces: Vec<&'a WorkspaceTable>,
}

impl Check<'_> {
    pub(super) fn names<'a>(&self, tables: &'a Tables) -> (Vec<&'a OrgTable>, Vec<Person<'a>>) {
        let mut orgs: BTreeMap<&OrgName, &OrgTable> = BTreeMap::new();
        for table in &tables.orgs {
            match orgs.get(&table.name.value) {
                Some(first) => self.taken("org", &table.name.value, table.name.place, first.name.place),
                None => drop(orgs.insert(&table.name.value, table)),
            }
        }
        (orgs.into_values().collect(), self.people(&tables.users))
    }

    fn people<'a>(&self, tables: &'a [UserTable]) -> Vec<Person<'a>> {
        let mut people: BTreeMap<&UserName, Person<'a>> = BTreeMap::new();
        for table in tables.iter().filter(|table| table.defined) {
            let name = &table.name.value;
            match people.get(name) {
                Some(first) => self.taken("user", name, table.name.place, first.table.name.place),
                None => drop(people.insert(name, Person { name: name.clone(), table, workspaces: Vec::new() })),
            }
        }
        let known: Vec<String> = people.keys().map(ToString::to_string).collect();
        let mut taken: BTreeMap<(&UserName, &WorkspaceName), Place> = BTreeMap::new();
        for user in tables {
            let Some(person) = people.get_mut(&user.name.value) else {
                self.undefined(user, &known);
                continue;
            };
            for workspace in &user.workspaces {
                match taken.get(&(&user.name.value, &workspace.name.value)) {
                    Some(first) => {
                        let name = format!("{}/{}", user.name.value, workspace.name.value);
                        self.taken("workspace", name, workspace.name.place, *first);
                    }
                    None => {
                        taken.insert((&user.name.value, &workspace.name.value), workspace.name.place);
                        person.workspaces.push(workspace);
                    }
                }
            }
        }
        people.into_values().collect()
    }

    fn taken(&self, what: &str, name: impl std::fmt::Display, second: Place, first: Place) {
        let fault = Fault::new(second, format!("{what} `{name}` is defined twice"));
        self.notes.forget_absences(second);
        self.error(fault.help("define it in one place").also(first, "the first is here"));
    }

    fn undefined(&self, user: &UserTable, known: &[String]) {
        let name = &user.name.value;
        let help = match nearest(name.as_str(), known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("define the user: `[users.{name}]` with `orgs = […]`"),
        };
        self.error(Fault::new(user.name.place, format!("user `{name}` is not defined in any file")).help(help));
    }
}
