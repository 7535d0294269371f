//! Pulls from a real registry: what is new, what is private, what is away.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use hearthd::docker::{BollardEngine, Credentials, Engine, PullError};
use tokio::sync::mpsc;

use crate::support::proxy::{Fault, Proxy};
use crate::support::registry::{PASSWORD, USERNAME};
use crate::support::{Daemon, Image, Registry, wait_for};

/// Pulls, and returns the layers that were told of.
async fn pull(reference: &str, credentials: Option<&Credentials>) -> Result<BTreeSet<String>, PullError> {
    let engine = BollardEngine::connect(Path::new("/var/run/docker.sock"));
    let (progress, mut told) = mpsc::channel(1000);
    engine.pull(reference, credentials, progress).await?;
    let mut layers = BTreeSet::new();
    while let Some(step) = told.recv().await {
        layers.extend(step.layer.filter(|_| !step.status.is_empty()));
    }
    Ok(layers)
}

async fn digest(reference: &str) -> Option<String> {
    let engine = BollardEngine::connect(Path::new("/var/run/docker.sock"));
    engine.image(reference).await.unwrap().unwrap().digest
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_a_tag_that_moved_is_picked_up() {
    let mut registry = Registry::start();
    let name = registry.push(&Image::coder().import(), "dev:latest");
    assert!(pull(&name, None).await.unwrap().len() > 1, "no layer was told of");
    let first = digest(&name).await.unwrap();
    assert!(first.starts_with(&registry.name("dev@sha256:")), "{first}");
    registry.push(&Image::coder().configure("true").import(), "dev:latest");
    pull(&name, None).await.unwrap();
    let second = digest(&name).await.unwrap();
    assert_ne!(first, second);
    pull(&second, None).await.unwrap();
    let missing = pull(&registry.name("dev:no-such-tag"), None).await.unwrap_err();
    assert!(matches!(missing, PullError::NotFound(_)), "{missing:?}");
    let missing = pull(&registry.name("nothing:latest"), None).await.unwrap_err();
    assert!(matches!(missing, PullError::NotFound(_)), "{missing:?}");
    registry.down();
    let down = pull(&name, None).await.unwrap_err();
    assert!(matches!(down, PullError::Unreachable(_)), "{down:?}");
    assert_eq!(digest(&name).await.unwrap(), second, "what is here stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_a_private_registry_wants_its_credentials() {
    let registry = Registry::start_private();
    let name = registry.push(&Image::coder().import(), "dev:latest");
    let credentials = |password: &str| Credentials { username: USERNAME.into(), password: password.into() };
    let refused = pull(&name, None).await.unwrap_err();
    assert!(matches!(refused, PullError::Denied(_)), "{refused:?}");
    let refused = pull(&name, Some(&credentials("wrong?>~"))).await.unwrap_err();
    assert!(matches!(refused, PullError::Denied(_)), "{refused:?}");
    assert!(!format!("{refused:?} {refused}").contains("wrong"), "{refused}");
    pull(&name, Some(&credentials(PASSWORD))).await.unwrap();
}

/// Declares six workspaces of one image, two to be built at a time; `fault`: of the engine, once the pull has begun.
fn six_at_once(fault: Option<Fault>) {
    let (proxy, registry) = (Proxy::start(), Registry::start());
    let name = registry.push(&Image::coder().import(), "dev:latest");
    let mut config = format!("[orgs.acme]\nimage = \"{name}\"\npull = \"always\"\nstop_grace = \"1s\"\n");
    for n in 0..6 {
        config += &format!("[users.u{n}]\norgs = [\"acme\"]\n[users.u{n}.workspaces.main]\n");
    }
    let daemon = Daemon::start_with(&format!("max_builds = 2\n{}", proxy.server()), &config);
    wait_for("the pull", || (proxy.asked("/images/create?") > 0).then_some(()).ok_or_else(|| "none".to_owned()));
    proxy.set(fault);
    wait_for("all to run", || {
        let list = daemon.hearth(&["list", "--json"]).json();
        let count = |state| list.as_array().unwrap().iter().filter(|one| one["state"] == state).count();
        assert_eq!(count("failed"), 0, "{list}");
        if count("running") == 6 { Ok(()) } else { Err(list.to_string()) }
    });
    assert_eq!(proxy.asked("/images/create?"), 1);
    daemon.hearth(&["rebuild", "u0/main"]).ok();
    assert_eq!(proxy.asked("/images/create?"), 2, "what is asked for later is pulled anew");
}

#[test]
fn s3_what_is_asked_for_together_pulls_its_image_once_whatever_max_builds_is() {
    six_at_once(None);
}

#[test]
fn s3_what_is_asked_for_together_pulls_its_image_once_however_slow_docker_is() {
    six_at_once(Some(Fault::Slow(Duration::from_millis(50))));
}
