//! What it costs to see who uses running workspaces: the CPU of one look, by the thread that takes it.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use hearthd::docker::ContainerId;
use hearthd::evidence::{Look, Scanner, Seen, Target};
use nix::time::{ClockId, clock_gettime};

use crate::measure::{Figure, Table, idle_cpu, median_of};
use crate::support::command::docker_sweep;
use crate::support::config::alice;
use crate::support::{Daemon, Image, ImageTag, docker, unique, wait_for};

/// The bar, in milliseconds of CPU for each container.
const BAR: f64 = 0.365;
/// The most that looking at 200 may take of a core, where the threshold is two hours: a look a minute.
const SHARE: f64 = 0.5;

/// Containers that somebody is connected to. Removed in the end.
struct Guests {
    image: ImageTag,
    label: String,
    targets: Vec<Target>,
    _connections: Vec<TcpStream>,
}

impl Guests {
    fn none() -> Self {
        let (image, label) = (Image::busybox().import(), format!("hearth.instance={}", unique()));
        Self { image, label, targets: Vec::new(), _connections: Vec::new() }
    }

    fn grow_to(&mut self, count: usize) {
        while self.targets.len() < count {
            let serve = ["sh", "-c", "nc -ll -p 80 -e cat & sleep 10000"];
            let id = docker(&[&["run", "-d", "--label", &self.label, &self.image.tag][..], &serve].concat()).ok();
            let id = id.trim().to_owned();
            let format = "{{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}:80";
            let shown = docker(&["inspect", "--format", format, &id]).ok();
            let (pid, address) = shown.trim().split_once(' ').unwrap();
            self.targets.push(Target { container: ContainerId(id), pid: pid.parse().unwrap(), ports: Vec::new() });
            let address: SocketAddr = address.parse().unwrap();
            let connect = || TcpStream::connect(address).map_err(|error| error.to_string());
            self._connections.push(wait_for("a server", connect));
        }
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        let label = format!("label={}", self.label);
        docker_sweep(&["ps", "-aq", "--filter", &label], &["rm", "-fv"]);
    }
}

/// hearthd itself, with its questions to the engine, while workspaces run: what a minute takes where it looks once, as
/// if there were 200.
pub(crate) fn a_minute(table: &mut Table) {
    const RUNNING: u8 = 25;
    /// A look every ten seconds, as long as a workspace has this threshold. It is held.
    const QUICK: &str = "[users.alice.workspaces.quick]\nauto_off = \"80s\"\n";
    const LOOKS: f64 = 6.0;
    let image = Image::coder().import();
    let more: String = (2..RUNNING).map(|n| format!("[users.alice.workspaces.w{n}]\n")).collect();
    let daemon = Daemon::start(&format!("{}{QUICK}{more}", alice(&image)));
    for workspace in daemon.hearth(&["list", "--json"]).json().as_array().unwrap() {
        daemon.wait_state(workspace["workspace"].as_str().unwrap(), "running");
    }
    daemon.hearth(&["hold", "alice/quick", "1h"]).ok();
    eprintln!("  and a minute of nothing but looks …");
    let share = idle_cpu(daemon.pid()) / LOOKS * 200.0 / f64::from(RUNNING);
    table.figure("CPU of hearthd with 200 running, once a minute", Figure::Percent(share), SHARE);
}

/// One look at 1, 50 and 200 running containers.
pub(crate) fn a_look(table: &mut Table) {
    let mut guests = Guests::none();
    for count in [1, 50, 200] {
        guests.grow_to(count);
        let took = look_at(guests.targets.clone());
        let each = took / u32::try_from(count).unwrap();
        table.figure(&format!("CPU of a look at {count} running, each"), Figure::Time(each), BAR);
        if count == 200 {
            let share = took.as_secs_f64() / 60.0 * 100.0;
            table.figure("CPU of a look at 200 running, once a minute", Figure::Percent(share), SHARE);
        }
    }
}

fn look_at(targets: Vec<Target>) -> Duration {
    let looking = move || {
        let mut scanner = Scanner::new().unwrap();
        let look = Look { targets, ..Look::default() };
        let cpu = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
        median_of((0..21).map(|_| {
            let before = cpu();
            let seen = scanner.scan(&look);
            let took = cpu() - before;
            assert!(seen.values().all(|seen| matches!(seen, Seen::Open(_))), "{seen:?}");
            took
        }))
    };
    std::thread::spawn(looking).join().unwrap()
}
