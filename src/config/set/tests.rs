//! What members may set, what they may not, and what they are told.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::config::settings_from;

const FILE: &str = r#"
[ssh]
listen = "127.0.0.1:8022"
[orgs.acme]
image = "dev"
images = ["tools/*"]
auto_off = "2h"
auto_off_override = "modify"
auto_off_max = "12h"
[orgs.acme.limits]
cpus = 4.0
memory = "8GiB"
ports = ["8000-8999"]
[users.alice]
orgs = ["acme"]
[users.alice.workspaces.main]
[users.bob]
orgs = ["acme"]
[users.bob.workspaces.main]
ports = ["127.0.0.1:8080:80"]
"#;

fn in_force(file: &str) -> InForce {
    InForce { settings: Arc::new(settings_from(file)), members: Arc::default() }
}

fn edits(pairs: &[(&str, Value)], reset: &[&str]) -> Edits {
    Edits {
        set: pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        reset: reset.iter().map(|key| (*key).to_owned()).collect(),
    }
}

/// What is set after `pairs` were set on nothing.
fn set(pairs: &[(&str, Value)]) -> Result<BTreeMap<String, String>, Refused> {
    workspace(&in_force(FILE), &"alice/main".parse().unwrap(), &edits(pairs, &[])).map(|own| own.as_set())
}

fn one(key: &str, value: Value) -> Result<String, Refused> {
    let set = set(&[(key, value)])?;
    Ok(set.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" "))
}

#[test]
fn c7_values_are_read_as_in_a_file_and_as_json() {
    for (key, value, expected) in [
        ("image", json!("tools/go:1"), "image=tools/go:1"),
        ("cpus", json!("0.5"), "cpus=0.5"),
        ("cpus", json!(2), "cpus=2.0"),
        ("memory", json!("4G"), "memory=4GiB"),
        ("auto_off", json!("12h"), "auto_off=12h"),
        ("auto_start", json!("09:00"), "auto_start=09:00"),
        ("auto_start", json!("never"), "auto_start=never"),
        ("auto_start", json!("09:00 on tue, mon"), "auto_start=09:00 on mon tue"),
        ("auto_start", json!("{ at = \"09:00\", days = [\"fri\"] }"), "auto_start=09:00 on fri"),
        ("auto_start", json!({"at": "09:00", "days": ["fri"]}), "auto_start=09:00 on fri"),
        ("auto_start", json!({"at": "09:00"}), "auto_start=09:00"),
        ("ports", json!("8000:80, 127.0.0.1:8001:81"), "ports=127.0.0.1:8000:80,127.0.0.1:8001:81"),
        ("ports", json!("[\"8000:80\"]"), "ports=127.0.0.1:8000:80"),
        ("ports", json!(["8000:80"]), "ports=127.0.0.1:8000:80"),
        ("ports", json!(""), "ports="),
        ("env.EDITOR", json!("{ not a table }"), "env.EDITOR={ not a table }"),
        ("env.N", json!(7), "env.N=7"),
        ("env", json!("{ A = \"1\", B = \"x y\" }"), "env.A=1 env.B=x y"),
        ("env", json!({"A": "1"}), "env.A=1"),
        ("env", json!("{}"), ""),
    ] {
        assert_eq!(one(key, value.clone()).as_deref(), Ok(expected), "{key} = {value}");
    }
}

#[test]
fn c7_what_cannot_be_read_says_what_would_be_right() {
    for (key, value, message, hint) in [
        ("cpus", json!("many"), "`cpus`: `many` is not a number of cpus", "0.5"),
        ("cpus", json!("0"), "`cpus`: 0 is not a number of cpus", "0.01"),
        ("cpus", json!("nan"), "`cpus`: NaN is not a number of cpus", "0.01"),
        ("cpus", json!(["1"]), "`cpus`: a single value is needed", "text"),
        ("memory", json!("4GB"), "`memory`: `4GB` is decimal", "write `4GiB`"),
        ("memory", json!("1M"), "`memory`: `1M` is too little memory", "6MiB"),
        ("auto_off", json!("2 h"), "`auto_off`: `2 h` is not a duration", "never"),
        ("auto_start", json!("9am"), "`auto_start`: `9am` is not a time of day", "08:30"),
        ("auto_start", json!("09:00 on Monday"), "`Monday` is not a day", "did you mean `mon`?"),
        ("auto_start", json!({"time": "09:00"}), "`time` does not belong there", "`at`"),
        ("ports", json!("80"), "`80` is not a published port", "HOST_PORT"),
        ("ports", json!("8000:80,8000:81"), "8000 is given twice", "another"),
        ("ports", json!("[8000"), "`[8000` cannot be read", "file"),
        ("image", json!("a b"), "`image`: ", ""),
        ("image", json!("x".repeat(2000)), "`image`: the value is too long", "1024"),
        ("env.HOME", json!("/x"), "hearth sets `HOME` itself", "another name"),
        ("env.hearth-x", json!("/x"), "not the name of an environment variable", "letters"),
        ("env.X", json!("a\0b"), "NUL", ""),
        ("env", json!("EDITOR=vim"), "this is no table", "env.EDITOR=vim"),
        ("env.X", json!("x".repeat(70_000)), "too large", "64 KiB"),
        ("auto-off", json!("2h"), "there is no key `auto-off`", "did you mean `auto_off`?"),
        ("colour", json!("blue"), "there is no key `colour`", "`image`"),
        ("dotfiles", json!("x"), "`dotfiles` is not set here", "hearth set --me dotfiles="),
    ] {
        let refused = one(key, value.clone()).unwrap_err();
        assert_eq!(refused.kind, Kind::Malformed, "{key} = {value}: {refused}");
        assert!(refused.message.contains(message) && refused.hint.contains(hint), "{key} = {value}: {refused:?}");
    }
}

#[test]
fn c7_what_the_org_forbids_names_its_key_and_place() {
    for (key, value, message) in [
        ("cpus", json!("5"), "`cpus` = 5.0 is not allowed: org `acme` limits `cpus` to 4.0 (hearth.toml:10)"),
        ("memory", json!("9GiB"), "org `acme` limits `memory` to 8GiB (hearth.toml:10)"),
        ("image", json!("debian:12"), "org `acme` does not permit this image (hearth.toml:6)"),
        ("auto_off", json!("13h"), "org `acme` has `auto_off_max = \"12h\"` (hearth.toml:9)"),
        ("auto_off", json!("never"), "org `acme` has `auto_off_max = \"12h\"` (hearth.toml:9)"),
        ("ports", json!("9000:80"), "org `acme` lets members publish `8000-8999` on 127.0.0.1 (hearth.toml:10)"),
        ("ports", json!("0.0.0.0:8001:80"), "org `acme` lets members publish"),
        ("pids", json!(7), "`pids` is not a member's to set"),
        ("org", json!("globex"), "`org` is not a member's to set"),
    ] {
        let refused = one(key, value.clone()).unwrap_err();
        assert_eq!(refused.kind, Kind::Forbidden, "{key} = {value}: {refused:?}");
        assert!(refused.message.contains(message), "{key} = {value}: {refused:?}");
    }
    let denied = FILE.replace("auto_off_override = \"modify\"\nauto_off_max = \"12h\"\n", "");
    let asked = edits(&[("auto_off", json!("1h"))], &[]);
    let refused = workspace(&in_force(&denied), &"alice/main".parse().unwrap(), &asked).unwrap_err();
    assert!(refused.message.contains("`auto_off_override = \"deny\"`"), "{refused:?}");
    assert_eq!(refused.hint, "it stays `2h`");
}

#[test]
fn c7_a_port_that_somebody_has_is_a_conflict_that_tells_no_names() {
    let refused = one("ports", json!("8080:80")).unwrap_err();
    assert_eq!(
        (refused.kind, refused.message.as_str()),
        (Kind::Taken, "`ports`: host port 8080 is taken by another workspace")
    );
    assert_eq!(
        one("ports", json!("8022:22")).unwrap_err().message,
        "`ports`: host port 8022 is taken by hearthd itself"
    );
    assert!(one("ports", json!("8080:80/udp")).is_ok());
    // Also one that a member set.
    let mut in_force = in_force(FILE);
    let bob = MemberWorkspace { ports: Some(vec!["8001:80".parse().unwrap()]), ..MemberWorkspace::default() };
    in_force.members =
        Arc::new(Members { workspaces: [("bob/main".parse().unwrap(), bob)].into(), ..Members::default() });
    let alice = "alice/main".parse().unwrap();
    assert_eq!(
        workspace(&in_force, &alice, &edits(&[("ports", json!("8001:80"))], &[])).unwrap_err().kind,
        Kind::Taken
    );
    assert!(workspace(&in_force, &alice, &edits(&[("ports", json!("8080:80"))], &[])).is_ok(), "bob's own replaced it");
}

#[test]
fn c7_of_several_changes_all_are_made_or_none() {
    assert!(set(&[("cpus", json!(2)), ("memory", json!("9GiB"))]).is_err());
    let all = set(&[("cpus", json!(2)), ("env.A", json!("1")), ("env.B", json!("2"))]).unwrap();
    assert_eq!(all.len(), 3);
    let alice: WorkspaceId = "alice/main".parse().unwrap();
    let mut in_force = in_force(FILE);
    let own = workspace(&in_force, &alice, &edits(&[("cpus", json!(2)), ("env.A", json!("1"))], &[])).unwrap();
    in_force.members = Arc::new(Members { workspaces: [(alice.clone(), own)].into(), ..Members::default() });
    let next = workspace(&in_force, &alice, &edits(&[("env.B", json!("2"))], &["cpus", "env.A", "memory"])).unwrap();
    assert_eq!(next.as_set(), BTreeMap::from([("env.B".to_owned(), "2".to_owned())]));
    assert!(workspace(&in_force, &alice, &edits(&[], &["cpus", "env"])).unwrap().is_empty());
    for wrong in [edits(&[], &[]), edits(&[("cpus", json!(1))], &["cpus"]), edits(&[], &["cpu"])] {
        assert_eq!(workspace(&in_force, &alice, &wrong).unwrap_err().kind, Kind::Malformed);
    }
}

#[test]
fn p2_what_was_set_before_a_ceiling_fell_is_in_nobodys_way() {
    let alice: WorkspaceId = "alice/main".parse().unwrap();
    let own = MemberWorkspace { cpus: Some(crate::model::Cpus::new(16.0).unwrap()), ..MemberWorkspace::default() };
    let members = Arc::new(Members { workspaces: [(alice.clone(), own)].into(), ..Members::default() });
    let in_force = InForce { members, ..in_force(FILE) };
    let next = workspace(&in_force, &alice, &edits(&[("memory", json!("1GiB"))], &[])).unwrap();
    assert_eq!(next.as_set()["cpus"], "16.0");
    let (wanted, _) = in_force.workspace(&alice).unwrap();
    assert_eq!(wanted.resources.cpus.value.unwrap().as_f64(), 4.0);
}

#[test]
fn c7_what_people_set_of_themselves() {
    let alice = "alice".parse().unwrap();
    let set = |key: &str, value: &str| {
        user(&in_force(FILE), &alice, &edits(&[(key, json!(value))], &[])).map(|me| me.as_set())
    };
    for (key, value) in [
        ("dotfiles", "git@git.acme.example:alice/dotfiles.git"),
        ("timezone", "Europe/Lisbon"),
        ("name", "Alice Example"),
        ("email", "alice@acme.example"),
        ("auto_start", "08:30 on mon"),
    ] {
        assert_eq!(set(key, value).unwrap()[key], value);
    }
    for (key, value, hint) in [
        ("dotfiles", "--upload-pack=x", "git@"),
        ("timezone", "Europe/Berln", "did you mean `Europe/Berlin`?"),
        ("name", "a\nb", "one line"),
        ("email", "alice", "alice@acme.example"),
        ("cpus", "1", "hearth set WORKSPACE cpus="),
        ("e-mail", "a@b", "did you mean `email`?"),
    ] {
        let refused = set(key, value).unwrap_err();
        assert!(refused.kind == Kind::Malformed && refused.hint.contains(hint), "{key}: {refused:?}");
    }
    assert_eq!(set("ssh_keys", "x").unwrap_err().kind, Kind::Forbidden);
}
