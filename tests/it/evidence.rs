//! The sensors, on real connections into real containers (rules P3, P4).

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hearthd::docker::{BollardEngine, ContainerId, Engine, EngineError, EngineEvent};
use hearthd::evidence::{Connection, Connections, Execs, ExecsSeen, Look, Looked, Scanner, Seen, Target};
use hearthd::model::{LiveKey, Measure, PortMapping, Protocol};
use nix::time::{ClockId, clock_gettime};

use crate::support::command::docker_sweep;
use crate::support::{Image, ImageTag, bridge_address, docker, free_port, unique, wait_for};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Busybox's server that echoes, and goes on listening.
const ECHO: &str = "nc -ll -p 80 -e cat";

/// Containers on a network of their own, as the workspaces of an org are. Removed in the end.
struct Site {
    image: ImageTag,
    name: String,
    connections: Connections,
    /// The network's, of workspaces.
    subnet: String,
}

struct Guest {
    id: ContainerId,
    name: String,
    address: IpAddr,
    target: Target,
}

impl Site {
    fn new() -> Self {
        Self::of(&Image::busybox())
    }

    fn of(image: &Image) -> Self {
        let name = unique();
        docker(&["network", "create", "--label", &format!("hearth.instance={name}"), &name]).ok();
        let format = "{{(index .IPAM.Config 0).Subnet}}";
        let subnet = docker(&["network", "inspect", "--format", format, &name]).ok().trim().to_owned();
        Self { image: image.import(), name, connections: Connections::start().unwrap(), subnet }
    }

    /// Starts a container that runs `script` as a background job.
    fn guest(&self, ports: &[PortMapping], script: &str) -> Guest {
        let (label, name) = (format!("hearth.instance={}", self.name), unique());
        let ports: Vec<String> = ports.iter().map(|port| format!("--publish={port}")).collect();
        let script = format!("{script} & sleep 1000");
        let mut args = vec!["run", "-d", "--name", &name, "--network", &self.name, "--label", &label];
        args.extend(ports.iter().map(String::as_str));
        args.extend([self.image.tag.as_str(), "sh", "-c", &script]);
        let id = docker(&args).ok().trim().to_owned();
        let format = "{{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let shown = docker(&["inspect", "--format", format, &id]).ok();
        let (pid, address) = shown.trim().split_once(' ').unwrap();
        let ports = ports.iter().map(|port| port.strip_prefix("--publish=").unwrap().parse().unwrap()).collect();
        let target = Target { container: ContainerId(id.clone()), pid: pid.parse().unwrap(), ports };
        Guest { id: ContainerId(id), name, address: address.parse().unwrap(), target }
    }

    fn look_at(&self, guests: &[&Guest]) -> BTreeMap<ContainerId, Seen> {
        let targets = guests.iter().map(|guest| guest.target.clone()).collect();
        let look = Look { targets, ours: vec![self.subnet.parse().unwrap()], datagrams: true, ..Look::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.connections.look(look))
    }

    fn look(&self, guest: &Guest) -> Looked {
        match self.look_at(&[guest]).remove(&guest.id).unwrap() {
            Seen::Open(looked) => looked,
            other @ (Seen::Gone | Seen::Blind(_)) => panic!("{other:?}"),
        }
    }

    /// Waits until so many connections from outside are seen.
    #[track_caller]
    fn inbound(&self, guest: &Guest, count: usize) -> Vec<Connection> {
        wait_for(&format!("{count} connections from outside"), || {
            let seen = self.look(guest).inbound;
            if seen.len() == count { Ok(seen) } else { Err(format!("{seen:?}")) }
        })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let label = format!("label=hearth.instance={}", self.name);
        docker_sweep(&["ps", "-aq", "--filter", &label], &["rm", "-fv"]);
        docker_sweep(&["network", "ls", "-q", "--filter", &label], &["network", "rm"]);
    }
}

/// Publishes the container's port 80.
fn published(host: IpAddr) -> PortMapping {
    PortMapping { host, host_port: free_port(host), container_port: 80, protocol: Protocol::Tcp }
}

/// Connects to a server that has begun to listen a moment ago or will in the next, and exchanges some bytes: through
/// the engine's proxy a connection says nothing by itself.
fn talk(address: SocketAddr) -> TcpStream {
    wait_for(&format!("an echo from {address}"), || {
        let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        stream.write_all(b"hello").map_err(|error| error.to_string())?;
        stream.read_exact(&mut [0; 5]).map_err(|error| error.to_string())?;
        Ok(stream)
    })
}

fn exec(guest: &Guest, script: &str) {
    docker(&["exec", "-d", &guest.id.0, "sh", "-c", script]).ok();
}

#[test]
fn p3_a_connection_over_a_published_port_has_its_account_and_its_bytes() {
    let (site, port) = (Site::new(), published(LOOPBACK));
    let guest = site.guest(&[port], ECHO);
    let mut stream = talk((LOOPBACK, port.host_port).into());
    let seen = site.inbound(&guest, 1).remove(0);
    assert_eq!((seen.peer, seen.port, seen.uid), (LOOPBACK, 80, Some(nix::unistd::getuid().as_raw())));
    assert!(matches!(seen.key, LiveKey::HostConnection(_)));
    assert_eq!(seen.payload, 10);
    // Idle: no byte moves, and it ages.
    let later = wait_for("it to be idle for a second", || {
        let seen = site.inbound(&guest, 1).remove(0);
        if seen.data_idle >= Duration::from_secs(1) { Ok(seen) } else { Err(format!("{seen:?}")) }
    });
    assert_eq!((later.key, later.payload), (seen.key.clone(), 10));
    stream.write_all(&[1; 1000]).unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    let used = site.inbound(&guest, 1).remove(0);
    assert_eq!(used.payload, 2010);
    assert!(used.data_idle < Duration::from_secs(1));
    drop(stream);
    site.inbound(&guest, 0);
}

#[test]
fn p3_a_program_on_the_host_may_dial_the_containers_address() {
    let site = Site::new();
    let guest = site.guest(&[], ECHO);
    let _stream = talk((guest.address, 80).into());
    let seen = site.inbound(&guest, 1).remove(0);
    assert_eq!((seen.port, seen.uid, seen.payload), (80, Some(nix::unistd::getuid().as_raw()), 10));
    assert!(matches!(seen.key, LiveKey::Connection(_)));
}

#[test]
fn p4_a_port_scanner_carries_no_payload() {
    let (site, port) = (Site::new(), published(LOOPBACK));
    let (by_address, by_port) = (site.guest(&[], ECHO), site.guest(&[port], ECHO));
    drop(talk((by_address.address, 80).into()));
    drop(talk((LOOPBACK, port.host_port).into()));
    let _direct = TcpStream::connect((by_address.address, 80)).unwrap();
    let _published = TcpStream::connect((LOOPBACK, port.host_port)).unwrap();
    for guest in [by_address, by_port] {
        assert_eq!(site.inbound(&guest, 1)[0].payload, 0);
    }
}

#[test]
fn p4_a_workspace_that_dials_published_ports_is_not_a_person() {
    let site = Site::new();
    // A port that a container can reach, at the gateway of its own network.
    let port = published(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let guest = site.guest(&[port], ECHO);
    let format = "{{(index .IPAM.Config 0).Gateway}}";
    let gateway = docker(&["network", "inspect", "--format", format, &site.name]).ok();
    let other = site.guest(&[], "sleep 1000");
    for dialler in [&guest, &other] {
        exec(
            dialler,
            &format!("(while echo 0123456789; do usleep 100000; done) | nc {} {}", gateway.trim(), port.host_port),
        );
    }
    // Both are there, and neither counts; what they dialled is outgoing.
    wait_for("both to have dialled", || {
        let seen = [site.look(&guest), site.look(&other)];
        let dialled =
            |looked: &Looked| looked.outgoing.iter().any(|out| out.peer.ends_with(&port.host_port.to_string()));
        if seen.iter().all(dialled) { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    assert_eq!(site.look(&guest).inbound, []);
    // A person at the same port is told apart from them.
    let _person = talk((LOOPBACK, port.host_port).into());
    let seen = site.inbound(&guest, 1).remove(0);
    assert_eq!((seen.peer, seen.payload), (LOOPBACK, 10));
}

#[test]
fn p4_what_runs_out_of_the_container_and_inside_it_does_not_count() {
    let site = Site::new();
    let listener = TcpListener::bind((bridge_address(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let busy = "nc -ll -p 81 -e cat & sleep 1; (while echo 0123456789; do usleep 100000; done) | nc 127.0.0.1 81";
    let guest = site.guest(&[], &format!("({busy}) & sleep 1000 | nc {} {}", address.ip(), address.port()));
    let (mut download, _) = listener.accept().unwrap();
    download.write_all(&[0; 100_000]).unwrap();
    // A mosh server, as far as anybody can see: opened from here, since busybox has nothing of the kind.
    let namespace = std::fs::File::open(format!("/proc/{}/ns/net", guest.target.pid)).unwrap();
    let open = move || {
        nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        UdpSocket::bind("0.0.0.0:60001").unwrap()
    };
    let _mosh = std::thread::spawn(open).join().unwrap();
    let seen = wait_for("the download and the datagrams", || {
        let seen = site.look(&guest);
        let named = |peer: &str| seen.outgoing.iter().any(|out| out.peer == peer);
        if named(&address.to_string()) && named("port 60001") { Ok(seen) } else { Err(format!("{seen:?}")) }
    });
    assert_eq!(seen.inbound, []);
}

#[test]
fn p3_from_a_neighbour_that_is_no_workspace_it_counts() {
    let site = Site::new();
    let guest = site.guest(&[], ECHO);
    // Another container, on the same network for this test, but of no subnet of ours: a proxy that serves people.
    let proxy = site.guest(&[], "sleep 1000");
    exec(&proxy, &format!("(echo hello; sleep 1000) | nc {} 80", guest.address));
    wait_for("the neighbour", || {
        let targets = vec![guest.target.clone()];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let seen = runtime.block_on(site.connections.look(Look { targets, ..Look::default() }));
        let from_proxy = |inbound: &[Connection]| inbound.len() == 1 && inbound[0].peer == proxy.address;
        let counts = matches!(&seen[&guest.id], Seen::Open(Looked { inbound, .. }) if from_proxy(inbound));
        if counts { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    assert_eq!(site.look(&guest).inbound, [], "as a workspace it does not");
}

#[test]
fn a_container_that_vanishes_is_gone_and_the_others_are_seen() {
    let site = Site::new();
    let (first, second) = (site.guest(&[], ECHO), site.guest(&[], ECHO));
    docker(&["rm", "-f", &first.name]).ok();
    let seen = site.look_at(&[&first, &second]);
    assert_eq!(seen[&first.id], Seen::Gone);
    assert!(matches!(seen[&second.id], Seen::Open(_)));
    // A pid that is another container's is not followed.
    let target = Target { pid: second.target.pid, ..first.target.clone() };
    let mistaken = Guest { target, ..first };
    assert_eq!(site.look_at(&[&mistaken])[&mistaken.id], Seen::Gone);
}

/// A process that is ended with the test.
struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn client(args: &[&str]) -> Held {
    let mut command = Command::new("docker");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    Held(command.spawn().unwrap())
}

/// `docker exec` with a terminal, which needs one on this side as well.
fn on_a_terminal(command: &str) -> expectrl::session::OsSession {
    expectrl::spawn(command).unwrap()
}

fn execs(execs: &mut Execs, guest: &Guest) -> ExecsSeen {
    let engine = BollardEngine::connect(Path::new("/var/run/docker.sock"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let taken = execs.take(std::slice::from_ref(&guest.id));
    // A busy machine's engine may take longer than hearthd waits.
    for _ in 0..10 {
        let seen = runtime.block_on(taken.clone().look(&engine, std::slice::from_ref(&guest.id)));
        match seen.unwrap().remove(&guest.id).transpose() {
            Err(EngineError::Slow { .. }) => {}
            seen => return seen.unwrap().unwrap_or_default(),
        }
    }
    panic!("the engine does not say what runs in {}", guest.id.0)
}

#[test]
fn p3_an_exec_counts_by_its_terminal_or_its_open_input_and_no_other_does() {
    let site = Site::of(&Image::busybox().change("HEALTHCHECK --interval=1s CMD sleep 0.5"));
    let guest = site.guest(&[], "true");
    let live = |count: usize| {
        wait_for(&format!("{count} execs"), || {
            let live = execs(&mut Execs::default(), &guest).live;
            if live.len() == count { Ok(live) } else { Err(format!("{live:?}")) }
        })
    };
    docker(&["exec", "-d", &guest.id.0, "sleep", "1000"]).ok();
    let _output_only = client(&["exec", &guest.id.0, "sleep", "1000"]);
    live(0);
    let piped = client(&["exec", "-i", &guest.id.0, "cat"]);
    assert_eq!(live(1)[0].measure, Measure::Open);
    drop(piped);
    let mut terminal = on_a_terminal(&format!("docker exec -it {} sh", guest.id.0));
    let touched = |live: Vec<hearthd::model::Live>| match live[0].measure {
        Measure::Terminal { touched, .. } => touched,
        ref other @ (Measure::Connection { .. } | Measure::Open) => panic!("{other:?}"),
    };
    let opened = wait_for("the exec with a terminal", || {
        let live = execs(&mut Execs::default(), &guest).live;
        match live.as_slice() {
            [one] if matches!(one.measure, Measure::Terminal { .. }) => Ok(touched(live)),
            other => Err(format!("{other:?}")),
        }
    });
    // Idle: its times come to stand still, whatever health checks do.
    let mut before = opened;
    let opened = wait_for("its times to stand still", || {
        let seen = touched(live(1));
        if seen == std::mem::replace(&mut before, seen) { Ok(seen) } else { Err(seen.to_string()) }
    });
    // Busy: they move, in the kernel's steps of eight seconds.
    wait_for("its times to move", || {
        terminal.write_all(b"echo\n").unwrap();
        let used = touched(live(1));
        if used > opened { Ok(()) } else { Err(used.to_string()) }
    });
}

#[test]
fn p3_an_exec_between_two_looks_is_told_by_its_end_and_a_health_check_is_not() {
    let site = Site::of(&Image::busybox().change("HEALTHCHECK --interval=1s CMD true"));
    let engine = BollardEngine::connect(Path::new("/var/run/docker.sock"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut events = runtime.block_on(async { engine.watch(&site.name) });
    assert_eq!(runtime.block_on(events.recv()), Some(EngineEvent::Connected));
    let guest = site.guest(&[], "true");
    docker(&["exec", "-i", &guest.id.0, "true"]).ok();
    docker(&["exec", "-d", &guest.id.0, "true"]).ok();
    let (mut sensor, mut heard) = (Execs::default(), 0);
    // The two, and some health checks.
    while heard < 5 {
        match runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), events.recv()).await }) {
            Ok(Some(EngineEvent::ExecEnded { id, exec, at })) => {
                assert_eq!(id, guest.id);
                sensor.ended(id, exec, at);
                heard += 1;
            }
            Ok(Some(_)) => {}
            other => panic!("{other:?} after {heard}"),
        }
    }
    let seen = execs(&mut sensor, &guest);
    assert_eq!(seen.passed.len(), 1, "{seen:?}");
}

/// Returns the CPU that a scan takes for each container, the median of some, and what a bare walk through the kernel's
/// table of connections takes on the same machine at the same time.
fn cost_of_a_scan(look: Look) -> Duration {
    let scanning = move || {
        let mut scanner = Scanner::new().unwrap();
        let containers = u32::try_from(look.targets.len()).unwrap();
        let cpu = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
        let mut spent: Vec<Duration> = (0..21)
            .map(|_| {
                let before = cpu();
                assert!(scanner.scan(&look).values().all(|seen| matches!(seen, Seen::Open(_))));
                (cpu() - before) / containers
            })
            .collect();
        spent.sort();
        spent[10]
    };
    std::thread::spawn(scanning).join().unwrap()
}

#[test]
fn p3_a_scan_of_ten_containers_stays_within_its_bar() {
    let site = Site::new();
    let guests: Vec<Guest> = (0..10).map(|_| site.guest(&[], ECHO)).collect();
    let look = Look { targets: guests.iter().map(|guest| guest.target.clone()).collect(), ..Look::default() };
    let idle = cost_of_a_scan(look.clone());
    let streams: Vec<TcpStream> = guests.iter().map(|guest| talk((guest.address, 80).into())).collect();
    let used = cost_of_a_scan(look);
    drop(streams);
    eprintln!("CPU per container and scan: {idle:?} with nobody connected, {used:?} with somebody");
    // The bar is 365 µs with a release build on a machine that does nothing else; `cargo bench` holds it.
    assert!(idle < Duration::from_millis(1) && used < Duration::from_millis(5), "{idle:?} {used:?}");
}
