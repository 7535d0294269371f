//! hearth.toml(5), from the same tables as the reader of the files and the schema.

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use crate::config::keys::{self, Key, Kind, Table};

/// The name of the page.
pub(super) const NAME: &str = "hearth.toml";

const DESCRIPTION: &[&str] = &[
    "The configuration of hearth: who works on this server, in which workspaces, under which policy. \
     /etc/hearth/hearth.toml and /etc/hearth/conf.d/*.toml are one configuration, in the order of their names. A user, an \
     org or a workspace is defined in one place; a user's workspaces may stand in another file than the user. [server], \
     [ssh] and [metrics] stand in hearth.toml only. With none of it hearthd runs and has nothing to do.",
    "It is accepted whole or not at all: `hearth config check` says what is wrong, with line and column, and \
     `hearth config plan` what a reload would do to which workspaces. A file that is saved is taken into force; \
     `systemctl reload hearth` and `hearth config reload` do that at once, and answer when it is done. One that would \
     take workspaces away must stand for 20 seconds or be reloaded by hand. What is not accepted changes nothing, and \
     `hearth status` shows it until it is mended.",
    "Policy, cpus, memory, pids, secrets, Git hosts and names reach workspaces that run; image, env, mounts, ports, \
     runtime, shm, gpus, user and network isolation reach them at their next build, and `hearth list` says outdated until then. Values in a \
     workspace's table win over its user's, and those over its org's; members' own settings (`hearth set`) win over all \
     three, within what the org allows.",
    "Others than root must not be able to write these files or the directories above them, nor read the secret files \
     that they name.",
];

const VALUES: &[(&str, &str)] = &[
    ("names", "Of orgs, users and workspaces: a letter, then letters, digits and hyphens, 32 at most, all lower case."),
    ("durations", "30s, 90m, 2h, 1h30m, 7d; \"never\" where it is said."),
    ("sizes", "512MiB, 4GiB, or 512M, 4G for the same. MB and GB are refused, for Docker takes them as MiB and GiB."),
    ("times", "Local, \"08:30\", in the IANA zone of the workspace, else its user's, else the server's."),
    ("accounts", "As the host knows them, LDAP and the like included; a group stands with @ in front: \"@sudo\"."),
];

const EXAMPLE: &str = include_str!("../../../../config/hearth.toml");

/// Returns the page.
pub(super) fn page() -> String {
    let mut page = Roff::new();
    page.control("TH", [NAME, "5", "", concat!("hearth ", env!("CARGO_PKG_VERSION")), "hearth"]);
    page.control("SH", ["NAME"]);
    page.text([roman("hearth.toml - configuration of hearth")]);
    page.control("SH", ["DESCRIPTION"]);
    for paragraph in DESCRIPTION {
        page.control("PP", []);
        page.text([roman(*paragraph)]);
    }
    for table in keys::ALL {
        section(&mut page, table);
    }
    page.control("SH", ["VALUES"]);
    for (what, says) in VALUES {
        entry(&mut page, vec![bold(*what)], says);
    }
    page.control("SH", ["EXAMPLE"]);
    page.control("nf", []);
    for line in EXAMPLE.lines() {
        // An empty line of text would be swallowed.
        page.text([roman(if line.is_empty() { " " } else { line })]);
    }
    page.control("fi", []);
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("hearthd"), roman("(8), "), bold("hearth-config"), roman("(1), "), bold("hearth"), roman("(1)")]);
    page.render()
}

fn section(page: &mut Roff, table: &Table) {
    page.control("SH", [table.header]);
    page.text([roman(table.about)]);
    for key in table.keys.iter().filter(|key| !has_section(key)) {
        let mut head = vec![bold(key.name)];
        if !key.example.is_empty() {
            head.extend([roman(" = "), italic(key.example)]);
        }
        let mut says = key.about.to_owned();
        if let Kind::Choice(words) = key.kind {
            says.push_str(&format!(" One of {}.", words.join(", ")));
        }
        if key.required {
            says.push_str(" Required.");
        }
        if !key.default.is_empty() {
            says.push_str(&format!(" Default: {}.", key.default));
        }
        entry(page, head, &says);
    }
}

/// Whether a key is a table of its own, with a header and a section.
fn has_section(key: &Key) -> bool {
    match key.kind {
        Kind::Table(_) | Kind::Tables(_) | Kind::Named(..) => true,
        Kind::Text(_)
        | Kind::Choice(_)
        | Kind::Switch
        | Kind::Integer { .. }
        | Kind::Number
        | Kind::List(_)
        | Kind::Entries(..)
        | Kind::Either(_) => false,
    }
}

fn entry(page: &mut Roff, head: Vec<Inline>, says: &str) {
    page.control("TP", []);
    page.text(head);
    page.text([roman(says)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_the_manual() {
        let page = page();
        for table in keys::ALL {
            let header = table.header.replace('-', "\\-");
            assert!(page.contains(&format!(".SH \"{header}\"")) || page.contains(&format!(".SH {header}")), "{header}");
            for key in table.keys.iter().filter(|key| !has_section(key)) {
                assert!(page.contains(&format!("\n\\fB{}\\fR", key.name)), "{} {}", table.header, key.name);
            }
        }
    }

    #[test]
    fn nothing_in_the_example_reads_as_a_request() {
        let page = page();
        let example = page.split(".SH EXAMPLE").nth(1).unwrap().split("\n.fi").next().unwrap();
        let requests = example.lines().filter(|line| line.starts_with('.')).collect::<Vec<_>>();
        assert_eq!(requests, [".nf"]);
    }
}
