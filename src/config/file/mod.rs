//! One file's text → plain structs, each value with its place. Notes what is wrong and goes on, where a serde derive
//! would stop at the first fault. Says nothing about what the values mean together: that is `check`'s.

mod org;
mod server;
mod syntax;
mod table;
mod user;
mod value;

pub(super) use org::{MountTable, OrgTable, ResourcesTable, memory, reference, variable};
pub(super) use server::ServerTable;
pub(super) use table::Places;
pub(super) use user::{UserTable, WorkspaceTable};

use std::net::SocketAddr;

use toml::de::DeTable;

use super::problem::{Fault, Notes};
use super::source::{At, Sources};
use table::Table;

/// What all files say, in their order; names may be taken twice.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) server: Option<ServerTable>,
    pub(super) ssh: Option<At<SocketAddr>>,
    pub(super) metrics: Option<At<SocketAddr>>,
    pub(super) orgs: Vec<OrgTable>,
    pub(super) users: Vec<UserTable>,
}

/// Reads all files. Where one has a syntax error, what it says before that place is judged, and the whole is not.
pub(super) fn read(sources: &Sources, notes: &Notes) -> (Tables, Syntax) {
    let mut tables = Tables::default();
    let mut syntax = Syntax::Sound;
    for (file, source) in sources.files().iter().enumerate() {
        let (tree, errors) = DeTable::parse_recoverable(&source.text);
        read_file(Table::root(tree.get_ref(), file, notes), &mut tables, notes);
        if syntax::note(file, &source.text, &errors, notes) {
            syntax = Syntax::Broken;
        }
    }
    (tables, syntax)
}

/// Whether all files are valid TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    Sound,
    Broken,
}

fn read_file(mut root: Table<'_>, tables: &mut Tables, notes: &Notes) {
    let is_main = root.place.file == 0;
    let in_main = |table: &Table<'_>| {
        if !is_main {
            let message = format!("{} stands only in the main file", table.shown());
            notes.error(Fault::new(table.place, message).help("move it there"));
        }
    };
    if let Some(table) = root.table("server") {
        in_main(&table);
        tables.server = Some(server::server(table));
    }
    if let Some(table) = root.table("ssh") {
        in_main(&table);
        tables.ssh = server::listen(table);
    }
    if let Some(table) = root.table("metrics") {
        in_main(&table);
        tables.metrics = server::listen(table);
    }
    tables.orgs.extend(root.named("orgs", value::name).into_iter().map(|(name, table)| org::org(name, table)));
    tables.users.extend(root.named("users", value::name).into_iter().map(|(name, table)| user::user(name, table)));
    root.finish();
}
