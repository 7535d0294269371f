//! Members' own settings, laid over the files and bounded by the org.

use std::time::Duration;

use crate::config::effective::{Effective, effective};
use crate::config::settings::{AutoStart, Limit, Origin};
use crate::config::{MemberUser, MemberWorkspace, Members, Settings, settings_from, show};
use crate::model::{Bytes, Cpus, WorkspaceId};

const ORG: &str = "[orgs.acme]\nimage = \"dev\"\nimages = [\"dev\", \"tools/*\"]\nauto_off = \"2h\"\n";
const ALICE: &str = "[users.alice]\norgs = [\"acme\"]\n[users.alice.workspaces.main]\n";

fn main() -> WorkspaceId {
    "alice/main".parse().unwrap()
}

/// Alice's workspace where the org says `org` besides, and her table says `table`.
fn settings(org: &str, table: &str) -> Settings {
    settings_from(&format!("{ORG}{org}\n{ALICE}{table}\n"))
}

fn with(settings: &Settings, own: MemberWorkspace) -> Effective {
    let members = Members { workspaces: [(main(), own)].into(), ..Members::default() };
    effective(settings, &settings.workspaces[&main()], &members)
}

fn hours(hours: u64) -> Limit {
    Limit::After(Duration::from_secs(hours * 3600))
}

fn auto_off(org: &str, asked: Limit) -> (Limit, Origin, usize) {
    let own = MemberWorkspace { auto_off: Some(asked), ..MemberWorkspace::default() };
    let effective = with(&settings(org, ""), own);
    (effective.auto_off.value, effective.auto_off.origin, effective.cuts.len())
}

#[test]
fn p2_what_members_may_do_to_auto_off() {
    let (deny, modify, disable) = ("", "auto_off_override = \"modify\"", "auto_off_override = \"disable\"");
    let (modify_12h, disable_12h) =
        (format!("{modify}\nauto_off_max = \"12h\""), format!("{disable}\nauto_off_max = \"12h\""));
    let file = |value| (value, "hearth.toml:4:12".to_owned(), 1);
    let member = |value| (value, "hearth set".to_owned(), 0);
    let bounded = |value| (value, "hearth set, bounded by the org".to_owned(), 1);
    for (org, asked, expected) in [
        (deny, hours(1), file(hours(2))),
        (deny, Limit::Never, file(hours(2))),
        (modify, hours(99), member(hours(99))),
        (modify, Limit::Never, file(hours(2))),
        (&modify_12h, hours(12), member(hours(12))),
        (&modify_12h, hours(13), bounded(hours(12))),
        (&modify_12h, Limit::Never, bounded(hours(12))),
        (disable, Limit::Never, member(Limit::Never)),
        (&disable_12h, Limit::Never, member(Limit::Never)),
        (&disable_12h, hours(13), member(hours(13))),
    ] {
        let (value, origin, cuts) = auto_off(org, asked);
        assert_eq!((value, origin.to_string(), cuts), expected, "{org} {asked}");
    }
}

#[test]
fn c7_a_lowered_ceiling_wins_at_once() {
    let own = MemberWorkspace {
        cpus: Some(Cpus::new(6.0).unwrap()),
        memory: Some(Bytes(12 << 30)),
        ..MemberWorkspace::default()
    };
    let high = with(&settings("[orgs.acme.limits]\ncpus = 8\nmemory = \"16GiB\"", ""), own.clone());
    assert_eq!((high.resources.cpus.value.unwrap().as_f64(), high.cuts.len()), (6.0, 0));
    let low = with(&settings("[orgs.acme.limits]\ncpus = 2\nmemory = \"4GiB\"", ""), own.clone());
    assert_eq!((low.resources.cpus.value.unwrap().as_f64(), &low.resources.cpus.origin), (2.0, &Origin::Bounded));
    assert_eq!(low.resources.memory.value, Some(Bytes(4 << 30)));
    assert_eq!(low.cuts[0].to_string(), "cpus = 2.0 instead of 6.0: org `acme` limits `cpus` to 2.0");
    let none = with(&settings("", ""), own);
    assert_eq!((none.resources.cpus.value.unwrap().as_f64(), none.cuts.len()), (6.0, 0), "no limit is no limit");
}

#[test]
fn c7_an_image_that_is_permitted_no_longer_gives_way_to_the_files() {
    let own = |image: &str| MemberWorkspace { image: Some(image.to_owned()), ..MemberWorkspace::default() };
    let settings = settings("", "image = \"dev:2026\"");
    assert_eq!(with(&settings, own("tools/rust:1")).image.to_string(), "tools/rust:1");
    for refused in ["other/rust:1", "Not An Image", ""] {
        let effective = with(&settings, own(refused));
        assert_eq!((effective.image.to_string().as_str(), effective.cuts.len()), ("dev:2026", 1), "{refused}");
    }
}

#[test]
fn c7_ports_are_those_that_the_org_lets_members_publish() {
    let own = |ports: &[&str]| MemberWorkspace {
        ports: Some(ports.iter().map(|port| port.parse().unwrap()).collect()),
        ..MemberWorkspace::default()
    };
    let settings = settings("[orgs.acme.limits]\nports = [\"8000-8999\"]", "ports = [\"0.0.0.0:80:80\"]");
    let given =
        |ports: &[&str]| with(&settings, own(ports)).ports.value.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(given(&[]), Vec::<String>::new(), "members may take what the file gives and leave it");
    assert_eq!(given(&["8080:80"]), ["127.0.0.1:8080:80"]);
    assert_eq!(given(&["0.0.0.0:80:80", "8999:1"]), ["0.0.0.0:80:80", "127.0.0.1:8999:1"], "the file's stays");
    assert_eq!(given(&["9000:80", "0.0.0.0:8080:80", "127.0.0.2:8080:80", "8081:80"]), ["127.0.0.1:8081:80"]);
    assert_eq!(with(&settings, own(&["9000:80", "8080:80"])).cuts.len(), 1);
}

#[test]
fn c7_environment_is_laid_over_name_by_name_and_reserved_names_are_not() {
    let own = MemberWorkspace {
        env: [("EDITOR", "vi"), ("HOME", "/"), ("HEARTH_TOKEN", "x"), ("A B", "1"), ("NUL", "\0")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..MemberWorkspace::default()
    };
    let effective = with(&settings("env = { A = \"1\", EDITOR = \"ed\" }", "env = { B = \"2\" }"), own);
    let env: Vec<String> =
        effective.env.iter().map(|(name, value)| format!("{name}={value} {}", value.origin)).collect();
    assert_eq!(env, ["A=1 hearth.toml:5:13", "B=2 hearth.toml:9:13", "EDITOR=vi hearth set"]);
    assert_eq!(effective.cuts.len(), 4);
}

#[test]
fn c7_layers_of_auto_start_and_zone() {
    let at = |text: &str| Some(text.parse::<AutoStart>().unwrap());
    let shown = |table: &str, user: &str, own: Option<AutoStart>, me: Option<AutoStart>| {
        let text = format!("{ORG}[users.alice]\norgs = [\"acme\"]\n{user}\n[users.alice.workspaces.main]\n{table}\n");
        let settings = settings_from(&text);
        let members = Members {
            workspaces: [(main(), MemberWorkspace { auto_start: own, ..MemberWorkspace::default() })].into(),
            users: [(
                "alice".parse().unwrap(),
                MemberUser { auto_start: me, timezone: Some("Asia/Tokyo".into()), ..MemberUser::default() },
            )]
            .into(),
        };
        let effective = effective(&settings, &settings.workspaces[&main()], &members);
        (effective.auto_start.to_string(), effective.timezone.name.clone())
    };
    let tokyo = |auto_start: &str| (auto_start.to_owned(), "Asia/Tokyo".to_owned());
    assert_eq!(shown("", "", None, None), tokyo("never"));
    assert_eq!(shown("", "auto_start = \"01:00\"", None, None), tokyo("01:00"));
    assert_eq!(shown("", "auto_start = \"01:00\"", None, at("02:00")), tokyo("02:00"));
    assert_eq!(shown("auto_start = \"03:00\"", "auto_start = \"01:00\"", None, at("02:00")), tokyo("03:00"));
    assert_eq!(shown("auto_start = \"03:00\"", "", at("04:00"), at("02:00")), tokyo("04:00"));
    assert_eq!(shown("timezone = \"Europe/Paris\"", "", None, None).1, "Europe/Paris");
}

#[test]
fn c7_what_a_member_says_of_themselves() {
    let settings =
        settings_from(&format!("{ORG}[users.alice]\norgs = [\"acme\"]\nname = \"A\"\n[users.alice.workspaces.main]\n"));
    let me = MemberUser {
        name: Some("Alice".to_owned()),
        email: Some("no address".to_owned()),
        dotfiles: Some("--upload-pack=x".to_owned()),
        timezone: Some("Mars/Olympus".to_owned()),
        auto_start: None,
    };
    let members = Members { users: [("alice".parse().unwrap(), me)].into(), ..Members::default() };
    let effective = effective(&settings, &settings.workspaces[&main()], &members);
    assert_eq!(effective.full_name.as_ref().map(ToString::to_string).as_deref(), Some("Alice"));
    assert_eq!((effective.email, effective.dotfiles, effective.timezone.name.as_str()), (None, None, "UTC"));
    assert_eq!(effective.cuts.len(), 3);
}

#[test]
fn members_settings_are_the_same_after_the_store() {
    let json = r#"{"image":"dev","cpus":1.5,"memory":"8GiB","auto_off":"never","auto_start":"09:00","env":{"A":"1"},"ports":["127.0.0.1:8080:80"]}"#;
    let own: MemberWorkspace = serde_json::from_str(json).unwrap();
    assert_eq!(serde_json::to_string(&own).unwrap(), json);
    assert_eq!(serde_json::from_str::<MemberWorkspace>("{}").unwrap(), MemberWorkspace::default());
}

#[test]
fn c4_every_value_is_shown_with_where_it_came_from() {
    let host = super::MadeUp;
    let sources = crate::config::Sources::new("hearth.toml", &super::good::sample());
    let settings = crate::config::read(&sources, &host).unwrap().settings;
    let own = MemberWorkspace {
        memory: Some(Bytes(1 << 40)),
        auto_off: Some(hours(3)),
        env: [("PAGER".to_owned(), "less".to_owned())].into(),
        ..MemberWorkspace::default()
    };
    let rows = show::rows(&settings, &with(&settings, own));
    let rows: Vec<String> = rows.iter().map(|row| format!("{:24} {:44} {}", row.key, row.value, row.origin)).collect();
    insta::with_settings!({ snapshot_path => ".", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("show", rows.join("\n"));
    });
}
