//! The rules of section 6 on a host whose clocks the test turns.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use jiff::SignedDuration;

use super::*;
use crate::model::{Evidence, EvidenceKind, Live, LiveKey, Measure, Now, Sample, Stamp};

mod evidence;
mod property;
mod rule;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const PEER: &str = "192.0.2.7";

/// One running workspace, sampled and stepped as the daemon does it.
#[derive(Debug, Clone)]
struct World {
    now: Now,
    boot: &'static str,
    policy: Policy,
    ledger: Ledger,
    container: &'static str,
    connections: BTreeMap<u64, Connection>,
    others: Vec<Live>,
    blind: bool,
    /// What was done, and when, counted from the start.
    done: Vec<(Step, Duration)>,
    began: Now,
}

#[derive(Debug, Clone, Copy)]
struct Connection {
    payload: u64,
    /// Bytes a minute.
    rate: u64,
    data_at: Stamp,
    heard_at: Stamp,
}

impl World {
    fn new(auto_off: Duration) -> Self {
        let now = Now { wall: "2026-11-24T08:00:00Z".parse().unwrap(), boot: 10 * HOUR };
        let policy = Policy {
            org: "acme".parse().unwrap(),
            auto_off: Limit::After(auto_off),
            said_in: Origin::Default,
            activity: ActivityKind::Traffic,
            floor: 1024,
            ignore: vec![],
            hold_max: 24 * HOUR,
        };
        let ledger = Ledger::new(now);
        let connections = BTreeMap::new();
        Self {
            now,
            boot: "a",
            policy,
            ledger,
            container: "c1",
            connections,
            others: vec![],
            blind: false,
            done: vec![],
            began: now,
        }
    }

    fn open(mut self) -> Self {
        self.policy.activity = ActivityKind::Open;
        self
    }

    fn connect(&mut self, cookie: u64, payload: u64, rate: u64) {
        let (data_at, heard_at) = (self.now.stamp(), self.now.stamp());
        self.connections.insert(cookie, Connection { payload, rate, data_at, heard_at });
    }

    fn sample(&self) -> Sample {
        let connection = |(cookie, connection): (&u64, &Connection)| Live {
            key: LiveKey::Connection(*cookie),
            who: None,
            from: Some(PEER.into()),
            measure: Measure::Connection {
                peer: PEER.parse().unwrap(),
                port: 22,
                payload: connection.payload,
                data_idle: self.now.since(connection.data_at),
                silent: self.now.since(connection.heard_at),
            },
        };
        Sample {
            container: self.container.into(),
            live: self.connections.iter().map(connection).chain(self.others.iter().cloned()).collect(),
            outgoing: vec![],
            blind: self.blind.then(|| "no CAP_SYS_ADMIN".into()),
        }
    }

    fn look(&mut self) {
        self.ledger.observe(self.sample(), &self.policy, self.now);
    }

    fn outlook(&self) -> Outlook {
        self.ledger.outlook(&self.policy, self.now)
    }

    /// Lets time pass on both clocks, and bytes flow.
    fn pass(&mut self, span: Duration) {
        self.now = Now { wall: self.now.wall + span, boot: self.now.boot + span };
        for connection in self.connections.values_mut() {
            let bytes = connection.rate * span.as_millis() as u64 / 60_000;
            if bytes > 0 {
                connection.payload += bytes;
                (connection.data_at, connection.heard_at) = (self.now.stamp(), self.now.stamp());
            }
        }
    }

    /// Does what the daemon does until something is decided; `false` when the workspace is off.
    fn act(&mut self) -> bool {
        for _ in 0..5 {
            let step = self.outlook().step;
            match step {
                Step::Wait => return true,
                Step::Warn => self.ledger.warned(&self.policy, self.now),
                Step::Look => self.look(),
                Step::Stop => {}
            }
            if step != Step::Look {
                self.done.push((step, self.now.boot - self.began.boot));
            }
            if step == Step::Stop {
                return false;
            }
        }
        panic!("no fixed point: {:?}", self.outlook());
    }

    /// Runs for a while with samples at their times, and returns whether the workspace is on at the end.
    fn run(&mut self, span: Duration) -> bool {
        let end = self.now.boot + span;
        while self.now.boot < end {
            self.look();
            if !self.act() {
                return false;
            }
            // The next sample, or earlier what the outlook asks for.
            let window = self.policy.window();
            let asked = self.outlook().ask_again_at.map(|at| at.duration_since(self.now.wall).unsigned_abs());
            let asked = asked.filter(|asked| *asked > Duration::ZERO && *asked < window);
            if let Some(asked) = asked {
                self.pass(asked.min(end - self.now.boot));
                if !self.act() {
                    return false;
                }
                self.pass((window - asked).min(end.saturating_sub(self.now.boot)));
            } else {
                self.pass(window.min(end - self.now.boot));
            }
        }
        self.act()
    }

    fn restart(&mut self, boot: &'static str) {
        self.go_on(self.now, boot);
    }

    /// The host boots; what is done counts from there.
    fn boot(&mut self, now: Now) {
        self.go_on(now, "b");
        self.began = now;
        self.done.clear();
    }

    /// Another hearthd goes on with what this one has kept.
    fn go_on(&mut self, now: Now, boot: &'static str) {
        let json = serde_json::to_string(&self.ledger.save(self.now, self.boot)).unwrap();
        let holds: Vec<_> = self.ledger.holds().iter().map(|hold| SavedHold::of(hold, self.boot)).collect();
        (self.now, self.boot) = (now, boot);
        let holds = holds.into_iter().map(|hold| hold.hold(HoldId(1), self.now, boot)).collect();
        let saved: SavedLedger = serde_json::from_str(&json).unwrap();
        self.ledger = saved.ledger(self.now, boot).with_holds(holds);
    }

    fn hold(&mut self, lasts: Duration, command: bool) {
        let (since, renewed) = (self.now.stamp(), command.then(|| self.now.stamp()));
        let (by, from) = ("alice".into(), "host".into());
        self.ledger.hold(Hold { id: HoldId(1), by, from, message: Some("training".into()), since, lasts, renewed });
    }

    fn done_at(&self, step: Step) -> Option<Duration> {
        self.done.iter().rev().find(|(done, _)| *done == step).map(|(_, at)| *at)
    }
}

fn terminal(touched: Stamp) -> Live {
    let measure = Measure::Terminal { touched: touched.wall, unnoticed: 8 * SECOND };
    Live { key: LiveKey::Exec("e1".into()), who: None, from: Some("host".into()), measure }
}

fn entry(number: u64) -> Live {
    let (who, from) = (Some("alice".into()), Some("host".into()));
    Live { key: LiveKey::Entry(number), who, from, measure: Measure::Open }
}
