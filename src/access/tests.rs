//! All roles × verbs, what is hidden and what forbidden, and that no settings let anybody else in (rule X1).

use proptest::prelude::*;

use super::testing::{account, read, settings};
use super::*;

const VERBS: [Verb; 13] = [
    Verb::See,
    Verb::Logs,
    Verb::Config,
    Verb::Start,
    Verb::Stop,
    Verb::Rebuild,
    Verb::Cancel,
    Verb::Personalize,
    Verb::Set,
    Verb::Hold,
    Verb::Release,
    Verb::Delete,
    Verb::Enter,
];

fn id(text: &str) -> WorkspaceId {
    text.parse().unwrap()
}

fn inside(text: &str) -> Person {
    Person::Inside { workspace: id(text) }
}

fn in_group(group: &str) -> Person {
    Person::Account { uid: 1234, account: "someone".into(), groups: vec!["users".into(), group.into()] }
}

/// What a person may do to a workspace of acme, as words; "-" is hidden, "!" is refused for every verb but seeing.
fn may_do(person: &Person, workspace: &str) -> String {
    let acme = if workspace.starts_with("bob") { "globex" } else { "acme" }.parse().unwrap();
    let settings = settings();
    let mut words = Vec::new();
    for verb in VERBS {
        match check(&settings, person, verb, &id(workspace), &acme) {
            Ok(allowed) => {
                assert_eq!((allowed.workspace(), allowed.verb()), (&id(workspace), verb));
                assert_eq!(allowed.requester(), &person.requester());
                words.push(verb.name());
            }
            Err(Refused::NotVisible(_)) => return "-".into(),
            Err(Refused::NotPermitted { .. } | Refused::OtherWorkspace(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    words.join(" ")
}

#[test]
fn x1_who_may_do_what() {
    let everything = "see logs config start stop rebuild cancel personalize set hold release delete enter";
    let manager = "see logs stop rebuild";
    let root = Person::Account { uid: 0, account: "root".into(), groups: vec![] };
    for (person, workspace, expected) in [
        (root, "alice/main", everything),
        (account("ops"), "alice/main", everything),
        (in_group("wheel"), "bob/main", everything),
        (account("alice.example"), "alice/main", everything),
        (account("dana"), "dana/main", everything),
        (account("dana"), "alice/main", manager),
        (in_group("leads"), "alice/main", manager),
        (account("audrey"), "alice/main", "see logs config"),
        (inside("alice/main"), "alice/main", "see logs config start stop rebuild cancel personalize set hold release"),
        (inside("alice/main"), "alice/side", "see"),
        // Another org's manager, another user, an account that only has a user's name, and nobody.
        (account("dana"), "bob/main", "-"),
        (in_group("leads"), "bob/main", "-"),
        (account("bob"), "alice/main", "-"),
        (account("alice"), "alice/main", "-"),
        (account(""), "alice/main", "-"),
        (in_group("ops"), "alice/main", "-"),
        (account("wheel"), "alice/main", "-"),
        // From inside one is its owner alone, whatever else the owner may do from the host.
        (inside("dana/main"), "alice/main", "-"),
        (inside("bob/main"), "alice/main", "-"),
    ] {
        assert_eq!(may_do(&person, workspace), expected, "{person:?} → {workspace}");
    }
}

#[test]
fn x1_a_member_of_several_roles_has_the_sum_of_them() {
    let mut settings = settings();
    settings.server.auditors.push(Principal::Account("dana".into()));
    let (alice, acme) = (id("alice/main"), "acme".parse().unwrap());
    let dana = account("dana");
    assert_eq!(check(&settings, &dana, Verb::Config, &alice, &acme).unwrap().role(), Role::Auditor);
    assert_eq!(check(&settings, &dana, Verb::Stop, &alice, &acme).unwrap().role(), Role::Manager);
    assert_eq!(check(&settings, &dana, Verb::Start, &id("dana/main"), &acme).unwrap().role(), Role::Owner);
    let ops = account("ops");
    settings.users.get_mut(&"alice".parse().unwrap()).unwrap().account = "ops".into();
    assert_eq!(check(&settings, &ops, Verb::Start, &alice, &acme).unwrap().role(), Role::Owner);
    assert_eq!(check(&settings, &ops, Verb::Start, &id("dana/main"), &acme).unwrap().role(), Role::Admin);
}

#[test]
fn x1_what_is_hidden_says_the_same_as_what_is_not_there() {
    let settings = settings();
    let refused = check(&settings, &account("bob"), Verb::Enter, &id("alice/main"), &"acme".parse().unwrap());
    let absent = check(&settings, &account("bob"), Verb::See, &id("alice/none"), &"acme".parse().unwrap());
    assert_eq!(refused.unwrap_err().to_string(), "there is no workspace `alice/main` that you may see");
    assert_eq!(absent.unwrap_err().to_string(), "there is no workspace `alice/none` that you may see");
}

#[test]
fn what_is_forbidden_says_who_may_not() {
    let settings = settings();
    let acme = "acme".parse().unwrap();
    let error =
        |person: &Person, verb| check(&settings, person, verb, &id("alice/side"), &acme).unwrap_err().to_string();
    assert_eq!(error(&account("dana"), Verb::Enter), "a manager may not enter `alice/side`");
    assert_eq!(error(&account("audrey"), Verb::Cancel), "an auditor may not cancel a build of `alice/side`");
    assert_eq!(error(&inside("alice/side"), Verb::Enter), "a process inside a workspace may not enter `alice/side`");
    let other = "from inside a workspace you can act on that workspace alone, not on `alice/side`";
    assert_eq!(error(&inside("alice/main"), Verb::Stop), other);
}

#[test]
fn x1_a_removed_workspace_is_its_owners_and_its_recorded_orgs() {
    let (old, acme, gone) = (id("carol/old"), "acme".parse().unwrap(), "gone".parse().unwrap());
    let settings = settings();
    let may = |person: &Person, org| check(&settings, person, Verb::See, &old, org).is_ok();
    assert!(may(&account("dana"), &acme) && !may(&account("dana"), &gone));
    assert!(may(&account("ops"), &gone) && may(&account("audrey"), &gone));
    assert!(!may(&account("carol"), &acme), "carol is a user no more");
}

#[test]
fn the_daemon_is_the_admins() {
    let settings = settings();
    for (person, reload, audit) in [
        (account("ops"), true, true),
        (account("audrey"), false, true),
        (account("dana"), false, false),
        (account("alice.example"), false, false),
        (inside("alice/main"), false, false),
    ] {
        let may = |verb| check_daemon(&settings, &person, verb).is_ok();
        let seen = [DaemonVerb::Status, DaemonVerb::Reload, DaemonVerb::Plan, DaemonVerb::ReadAudit].map(may);
        assert_eq!(seen, [true, reload, audit, audit], "{person:?}");
    }
}

#[test]
fn x1_what_is_a_users_is_theirs_and_the_admins_and_auditors_see_it() {
    let settings = settings();
    let alice = "alice".parse().unwrap();
    for (person, may) in [
        (account("alice.example"), "see set away"),
        (account("ops"), "see set away"),
        (account("audrey"), "see"),
        (inside("alice/side"), "see away"),
        (account("dana"), ""),
        (account("bob"), ""),
        (inside("bob/main"), ""),
    ] {
        let verbs = [UserVerb::See, UserVerb::Set, UserVerb::Away];
        let allowed = verbs.into_iter().filter(|verb| check_user(&settings, &person, &alice, *verb).is_ok());
        assert_eq!(allowed.map(UserVerb::name).collect::<Vec<_>>().join(" "), may, "{person:?}");
    }
    let nobody = check_user(&settings, &account("ops"), &"nobody".parse().unwrap(), UserVerb::See).unwrap_err();
    assert_eq!(nobody.to_string(), "there is no user `nobody` that you may see");
}

const NAMES: [&str; 5] = ["ann", "ben", "cat", "dot", "eve"];
const ORGS: [&str; 3] = ["red", "green", "blue"];

fn principals() -> impl Strategy<Value = Vec<Principal>> {
    let name = prop::sample::select(&NAMES[..]);
    let one = (name, any::<bool>())
        .prop_map(|(name, group)| if group { Principal::Group(name.into()) } else { Principal::Account(name.into()) });
    prop::collection::vec(one, 0..3)
}

/// Settings in which users have any account, workspaces any org, orgs any manager and the server any admin.
fn any_settings() -> impl Strategy<Value = Settings> {
    let mut base = String::new();
    for org in ORGS {
        base += &format!("[orgs.{org}]\nimage = 'debian:12'\n");
    }
    for user in NAMES {
        base += &format!("[users.{user}]\norgs = {ORGS:?}\nworkspaces.main = {{ org = 'red' }}\n");
    }
    let base = read(&base);
    let managers = prop::collection::vec(principals(), ORGS.len());
    let users = prop::collection::vec((prop::sample::select(&NAMES[..]), prop::sample::select(&ORGS[..])), NAMES.len());
    (principals(), principals(), managers, users).prop_map(move |(admins, auditors, managers, users)| {
        let mut settings = base.clone();
        (settings.server.admins, settings.server.auditors) = (admins, auditors);
        for (org, managers) in settings.orgs.values_mut().zip(managers) {
            org.managers = managers;
        }
        let workspaces = settings.workspaces.values_mut();
        for ((user, workspace), (account, org)) in settings.users.values_mut().zip(workspaces).zip(users) {
            user.account = account.into();
            workspace.org = org.parse().unwrap();
        }
        settings
    })
}

fn anybody() -> impl Strategy<Value = Person> {
    let name = prop::sample::select(&NAMES[..]);
    let account = (prop::sample::select(vec![0, 1000]), name.clone(), prop::collection::vec(name.clone(), 0..3));
    prop_oneof![
        account.prop_map(|(uid, account, groups)| Person::Account {
            uid,
            account: account.into(),
            groups: groups.into_iter().map(Into::into).collect(),
        }),
        name.prop_map(|user| inside(&format!("{user}/main"))),
    ]
}

/// Whether a list names the person, written as plainly as the rule.
fn named(list: &[Principal], person: &Person) -> bool {
    let Person::Account { account, groups, .. } = person else { return false };
    list.contains(&Principal::Account(account.clone()))
        || groups.iter().any(|group| list.contains(&Principal::Group(group.clone())))
}

proptest! {
    #[test]
    fn x1_only_owner_managers_admins_and_auditors_reach_a_workspace(settings in any_settings(), person in anybody()) {
        for workspace in settings.workspaces.values() {
            let admin = matches!(person, Person::Account { uid: 0, .. }) || named(&settings.server.admins, &person);
            let auditor = named(&settings.server.auditors, &person);
            let manager = named(&settings.orgs[&workspace.org].managers, &person);
            let owner = match &person {
                Person::Account { account, .. } => settings.users[&workspace.id.user].account == *account,
                Person::Inside { workspace: own } => own.user == workspace.id.user,
            };
            for verb in VERBS {
                let checked = check(&settings, &person, verb, &workspace.id, &workspace.org);
                let hidden = matches!(checked, Err(Refused::NotVisible(_)));
                prop_assert_eq!(hidden, !(owner || manager || admin || auditor), "{:?}", checked);
                if checked.is_ok() && !matches!(verb, Verb::See | Verb::Logs | Verb::Config) {
                    prop_assert!(owner || admin || (manager && matches!(verb, Verb::Stop | Verb::Rebuild)), "{:?}", verb);
                }
                if checked.is_ok() && verb == Verb::Enter {
                    let from_host = matches!(person, Person::Account { .. });
                    prop_assert!(from_host && (owner || admin));
                }
            }
        }
    }
}
