//! What it costs to see who uses running workspaces: the CPU of one look, by the thread that takes it.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use hearthd::docker::ContainerId;
use hearthd::evidence::{Look, Scanner, Seen, Target};
use nix::time::{ClockId, clock_gettime};

use crate::measure::{Figure, Table, median_of};
use crate::support::command::docker_sweep;
use crate::support::{Image, ImageTag, docker, unique, wait_for};

/// The bar, in milliseconds of CPU for each container.
const BAR: f64 = 0.365;
/// The most that looking at 200 may take of a core, where the threshold is two hours: a look a minute.
const SHARE: f64 = 0.5;

/// Containers that somebody is connected to. Removed in the end.
struct Guests {
    _image: ImageTag,
    label: String,
    targets: Vec<Target>,
    _connections: Vec<TcpStream>,
}

impl Guests {
    fn start(count: usize) -> Self {
        let (image, label) = (Image::busybox().import(), format!("hearth.instance={}", unique()));
        let mut guests = Self { _image: image, label, targets: Vec::new(), _connections: Vec::new() };
        let tag = guests._image.tag.clone();
        for _ in 0..count {
            let run = ["run", "-d", "--label", &guests.label, &tag, "sh", "-c", "nc -ll -p 80 -e cat & sleep 10000"];
            let id = docker(&run).ok().trim().to_owned();
            let format = "{{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}:80";
            let shown = docker(&["inspect", "--format", format, &id]).ok();
            let (pid, address) = shown.trim().split_once(' ').unwrap();
            guests.targets.push(Target { container: ContainerId(id), pid: pid.parse().unwrap(), ports: Vec::new() });
            let address: SocketAddr = address.parse().unwrap();
            let connect = || TcpStream::connect(address).map_err(|error| error.to_string());
            guests._connections.push(wait_for("a server", connect));
        }
        guests
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        let label = format!("label={}", self.label);
        docker_sweep(&["ps", "-aq", "--filter", &label], &["rm", "-fv"]);
    }
}

/// One look at 1, 50 and 200 running containers.
pub(crate) fn a_look(table: &mut Table) {
    let guests = Guests::start(200);
    for count in [1, 50, 200] {
        let took = look_at(guests.targets[..count].to_vec());
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
