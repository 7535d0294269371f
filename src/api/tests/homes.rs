//! Homes (rule L10): who may see, delete and restore them, and what the audit log says.

use super::super::testing::{World, account};
use crate::access::Person;

const CURRENT: &str = "/v1/homes/hearth.alice.main.home-2";
const TRASHED: &str = "/v1/homes/hearth.alice.main.home";

fn inside() -> Person {
    Person::Inside { workspace: "alice/main".parse().unwrap() }
}

#[tokio::test]
async fn l10_homes_are_seen_by_those_who_see_their_workspace() {
    let world = World::new();
    for (person, sees) in [
        (account("alice.example"), 2),
        (account("ops"), 2),
        (account("dana"), 2),
        (account("audrey"), 2),
        (inside(), 2),
        (account("bob"), 0),
        (account("nobody"), 0),
    ] {
        let homes = world.ask_as(&person, "GET", "/v1/homes", "").await.json();
        assert_eq!(homes.as_array().unwrap().len(), sees, "{person:?}");
    }
    let homes = world.ask_as(&account("ops"), "GET", "/v1/homes", "").await.json();
    assert_eq!((&homes[0]["state"], &homes[1]["state"]), (&"in-use".into(), &"in-trash".into()));
}

#[tokio::test]
async fn l10_homes_are_deleted_and_restored_by_owner_and_admin_alone_and_never_from_inside() {
    let world = World::new();
    for (person, status) in [
        (account("alice.example"), 200),
        (account("ops"), 200),
        (account("dana"), 403),
        (account("audrey"), 403),
        (inside(), 403),
        (account("bob"), 404),
    ] {
        for (method, uri) in [("DELETE", CURRENT.to_owned()), ("POST", format!("{TRASHED}/restore"))] {
            let answer = world.ask_as(&person, method, &uri, "").await;
            assert_eq!(answer.status, status, "{person:?} {method}: {}", answer.text);
        }
    }
    assert_eq!(
        *world.asked.lock().unwrap(),
        [
            "trash alice/main hearth.alice.main.home-2 alice.example",
            "restore alice/main hearth.alice.main.home alice.example",
            "trash alice/main hearth.alice.main.home-2 ops",
            "restore alice/main hearth.alice.main.home ops",
        ]
    );
    let audited = world.audited().await;
    assert_eq!(audited.iter().filter(|line| line.contains("delete-home alice/main")).count(), 6, "{audited:#?}");
    assert!(
        audited
            .iter()
            .any(|line| line.contains("hearth.alice.main.home-2 → hearth.alice.main.home-2 in the trash until")),
        "{audited:#?}"
    );
    let unknown = world.ask_as(&account("ops"), "DELETE", "/v1/homes/hearth.alice.main.home-9", "").await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "not_found"));
}

#[tokio::test]
async fn l10_a_workspace_that_a_file_declares_is_not_deleted_and_the_place_is_named() {
    let world = World::new();
    let refused = world.ask_as(&account("alice.example"), "DELETE", "/v1/workspaces/alice/side", "").await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "conflict"));
    assert!(refused.text.contains("hearth.toml:22:"), "{}", refused.text);
    assert!(world.asked.lock().unwrap().is_empty());
    let deleted = world.ask_as(&account("ops"), "DELETE", "/v1/workspaces/carol/old", "").await;
    assert_eq!((deleted.status, &deleted.json()["home"]), (200, &"hearth.carol.old.home".into()));
    for person in [account("dana"), account("audrey")] {
        assert_eq!(world.ask_as(&person, "DELETE", "/v1/workspaces/carol/old", "").await.status, 403);
    }
}
