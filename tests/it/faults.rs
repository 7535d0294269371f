//! Docker that is away, hangs, is slow, or answers nonsense (L12): nothing is concluded from it, and all goes on when it
//! is back.

use std::time::Duration;

use crate::support::config::{alice, and_bob};
use crate::support::proxy::{Fault, Proxy};
use crate::support::{Daemon, Image, Ran, docker, took, wait_for};

/// What a command may take while Docker is away, and what this machine's load may add.
const SOON: Duration = Duration::from_secs(5 + 3);

/// Has alice/main run behind a proxy, with a process in it that must live through everything.
fn running(image: &crate::support::ImageTag) -> (Proxy, Daemon) {
    let proxy = Proxy::start();
    let daemon = Daemon::start_with(&proxy.server(), &alice(image));
    daemon.wait_state("alice/main", "running");
    daemon.inside("alice/main", &["sh", "-c", "sleep 10000 > /dev/null 2>&1 & echo $! > ~/pid"]);
    (proxy, daemon)
}

#[track_caller]
fn soon(daemon: &Daemon, args: &[&str]) -> Ran {
    let (ran, time) = took(|| daemon.hearth(args));
    assert!(time < SOON, "{args:?} took {time:?}: {ran}");
    ran
}

/// While `fault` lasts, commands that need Docker say so, and those that show say what was seen last.
#[track_caller]
fn survives(fault: Fault) {
    let image = Image::coder().import();
    let (proxy, daemon) = running(&image);
    let before = daemon.show("alice/main");
    proxy.set(Some(fault));
    // Nobody knows yet.
    assert_eq!(soon(&daemon, &["why", "alice/main"]).code, 0);
    for args in [&["stop", "alice/main"][..], &["start", "alice/main"], &["rebuild", "alice/main"]] {
        let ran = soon(&daemon, args);
        assert_eq!(ran.code, 3, "{ran}");
        assert!(ran.stderr().contains("Docker does not answer"), "{ran}");
    }
    assert!(proxy.hits() > 0, "the fault was never met");
    for args in [&["list"][..], &["show", "alice/main"], &["why", "alice/main"], &["status"]] {
        let ran = soon(&daemon, args);
        assert_eq!(ran.code, 0, "{ran}");
        assert!(ran.stderr().contains("Docker does not answer since"), "{ran}");
        let on = if args[0] == "why" { "alice/main stays on" } else { "running" };
        assert!(ran.stdout().contains(on), "{ran}");
    }
    proxy.set(None);
    wait_for("Docker to be back", || match daemon.hearth(&["status", "--json"]).json() {
        status if status["docker"]["reachable"] == true => Ok(()),
        status => Err(status.to_string()),
    });
    let after = daemon.wait_state("alice/main", "running");
    for key in ["container", "build", "since"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    daemon.inside("alice/main", &["sh", "-c", "kill -0 $(cat ~/pid)"]);
    let list = daemon.hearth(&["list"]);
    assert!(!list.stderr().contains("Docker"), "{list}");
    daemon.hearth(&["stop", "alice/main"]).ok();
    assert!(daemon.containers().is_empty());
}

#[test]
fn l12_docker_refuses_connections() {
    survives(Fault::Refuse);
}

#[test]
fn l12_docker_hangs() {
    survives(Fault::Hang);
}

#[test]
fn l12_docker_hangs_at_its_list_of_containers_alone() {
    survives(Fault::HangAt("/containers/json"));
}

#[test]
fn l12_a_container_that_docker_is_stuck_on_holds_nobody_else_up() {
    let image = Image::coder().import();
    let proxy = Proxy::start();
    let daemon = Daemon::start_with(&proxy.server(), &format!("{}{}", alice(&image), and_bob()));
    for id in ["alice/main", "bob/main"] {
        daemon.wait_state(id, "running");
    }
    let container = daemon.container("alice/main");
    for fault in [Fault::HangAt as fn(&'static str) -> Fault, Fault::Fails] {
        // One per container of the test: the proxy's faults are of static paths.
        let id = docker(&["inspect", "--format", "{{.Id}}", &container]).ok();
        let path: &'static str = format!("/containers/{}/json", id.trim()).leak();
        let asked = proxy.asked(path);
        proxy.set(Some(fault(path)));
        docker(&["kill", &container]).ok();
        wait_for("hearthd to ask", || match proxy.asked(path) - asked {
            0..3 => Err("not yet".to_owned()),
            _ => Ok(()),
        });
        for args in [&["stop", "bob/main"][..], &["start", "bob/main"], &["hold", "bob/main", "1h"]] {
            daemon.hearth(args).ok();
        }
        assert_eq!(daemon.hearth(&["status", "--json"]).json()["docker"]["reachable"], true);
        proxy.set(None);
        wait_for("alice's to run again", || match daemon.hearth(&["ssh", "alice/main", "--", "true"]) {
            ran if ran.code == 0 => Ok(()),
            ran => Err(ran.to_string()),
        });
        assert_eq!(daemon.container("alice/main"), container);
    }
}

#[test]
fn l12_docker_hangs_up_in_the_middle_of_its_answers() {
    survives(Fault::Cut(30));
}

#[test]
fn l12_docker_answers_garbage() {
    survives(Fault::Garbage);
}

#[test]
fn l12_docker_answers_every_look_with_an_error() {
    survives(Fault::Fails("/containers/json"));
}

#[test]
fn l12_a_slow_docker_is_waited_for() {
    let image = Image::coder().import();
    let (proxy, daemon) = running(&image);
    proxy.set(Some(Fault::Slow(Duration::from_millis(300))));
    daemon.hearth(&["rebuild", "alice/main"]).ok();
    daemon.inside("alice/main", &["true"]);
    assert!(proxy.hits() > 0);
    daemon.hearth(&["stop", "alice/main"]).ok();
}

#[test]
fn l12_a_build_that_docker_cuts_off_is_taken_up_again() {
    let image = Image::coder().configure("while [ ! -e ~/go ]; do sleep 0.1; done").import();
    let proxy = Proxy::start();
    let daemon = Daemon::start_with(&proxy.server(), &alice(&image));
    let at = |stage: &str| match daemon.show("alice/main") {
        shown if shown["build"]["stage"] == stage => Ok(()),
        shown => Err(shown.to_string()),
    };
    wait_for("configure", || at("configure"));
    proxy.set(Some(Fault::Refuse));
    wait_for("hearthd to notice", || match daemon.hearth(&["status", "--json"]).json() {
        status if status["docker"]["reachable"] == false => Ok(()),
        status => Err(status.to_string()),
    });
    assert_ne!(daemon.show("alice/main")["state"], "failed");
    proxy.set(None);
    wait_for("the door", || match daemon.hearth(&["ssh", "alice/main", "--", "touch", "go"]) {
        ran if ran.code == 0 => Ok(()),
        ran => Err(ran.to_string()),
    });
    let shown = daemon.wait_state("alice/main", "running");
    assert_eq!((&shown["build"]["result"], &shown["build"]["number"]), (&"ok".into(), &1.into()), "{shown}");
    assert_eq!(daemon.containers().len(), 1, "L1");
}

#[test]
fn l12_hearthd_starts_without_docker_and_goes_on_when_it_comes() {
    let image = Image::coder().import();
    let proxy = Proxy::start();
    proxy.set(Some(Fault::Hang));
    let mut daemon = Daemon::prepare(&proxy.server(), &alice(&image));
    daemon.up();
    let ran = soon(&daemon, &["start", "alice/main"]);
    assert_eq!(ran.code, 3, "{ran}");
    assert_eq!(soon(&daemon, &["list"]).code, 0);
    proxy.set(None);
    daemon.wait_state("alice/main", "running");
}

#[test]
fn l12_what_is_set_while_docker_goes_away_is_saved_and_counts_when_it_is_back() {
    let image = Image::coder().import();
    let (proxy, daemon) = running(&image);
    let limits = || {
        let format = "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}}";
        docker(&["inspect", "--format", format, &daemon.container("alice/main")]).ok().trim().to_owned()
    };
    let wait_limits = |expected: &str| {
        wait_for("the limits", || match limits() {
            found if found.contains(expected) => Ok(()),
            found => Err(found),
        });
    };
    for (fault, pair, text, expected) in [
        // It hangs from here on, which nobody knows yet.
        (Fault::Hang, "cpus=0.5", "alice/main: cpus takes effect when Docker is back", "500000000 "),
        (Fault::Refuse, "memory=300MiB", "alice/main: memory takes effect when Docker is back", " 314572800"),
    ] {
        proxy.set(Some(fault.clone()));
        if fault == Fault::Refuse {
            wait_for("hearthd to notice", || match daemon.hearth(&["status", "--json"]).json() {
                status if status["docker"]["reachable"] == false => Ok(()),
                status => Err(status.to_string()),
            });
        }
        let ran = soon(&daemon, &["set", "alice/main", pair]);
        assert_eq!(ran.code, 0, "{ran}");
        assert!(ran.stdout().contains(text), "{ran}");
        assert!(proxy.hits() > 0, "the fault was never met");
        proxy.set(None);
        wait_limits(expected);
    }
    let audit = daemon.hearth(&["audit", "--json"]).json();
    let set = audit.as_array().unwrap().iter().filter(|line| line["what"] == "set");
    assert!(set.map(|line| line["result"].as_str()).all(|result| result == Some("ok")), "{audit}");
}
