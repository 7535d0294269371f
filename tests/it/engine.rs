//! The engine through our own interface: what is asked for is what Docker then has.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use hearthd::docker::{
    BollardEngine, ContainerId, ContainerSpec, Engine, EngineError, EngineEvent, ExecEnd, ExecSpec, FileKind, Limits,
    MountSpec, NetworkSpec, Output, Status, Stream, labels,
};
use tokio::sync::mpsc;

use crate::support::command::docker_sweep;
use crate::support::{Image, ImageTag, docker, free_port, unique, wait_for};

const DOCKER: &str = "/var/run/docker.sock";
const GRACE: Duration = Duration::from_secs(2);

/// An engine, an image whose user is `coder`, and an instance name; what carries its label is removed in the end.
pub(crate) struct Bench {
    pub(crate) engine: BollardEngine,
    pub(crate) image: ImageTag,
    pub(crate) instance: String,
}

impl Bench {
    fn new() -> Self {
        Self::of(&Image::coder())
    }

    pub(crate) fn of(image: &Image) -> Self {
        Self { engine: BollardEngine::connect(Path::new(DOCKER)), image: image.import(), instance: unique() }
    }

    /// A container that sleeps, as `coder`.
    fn spec(&self) -> ContainerSpec {
        ContainerSpec {
            name: format!("{}.alice.main", self.instance),
            hostname: "main".into(),
            image: self.image.id.clone(),
            user: "1000:1000".into(),
            groups: Vec::new(),
            entrypoint: vec!["/bin/sleep".into(), "1000".into()],
            env: vec!["HOME=/home/coder".into()],
            working_dir: "/home/coder".into(),
            labels: self.labels(),
            mounts: Vec::new(),
            network: None,
            ports: Vec::new(),
            limits: Limits { nano_cpus: None, memory: None, pids: 512 },
            shm: 64 << 20,
            gpus: 0,
            runtime: None,
            stop_timeout: GRACE,
        }
    }

    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("hearth.instance".to_owned(), self.instance.clone())])
    }

    async fn running(&self, spec: &ContainerSpec) -> ContainerId {
        let id = self.engine.create(spec).await.unwrap();
        self.engine.start(&id).await.unwrap();
        id
    }

    /// Runs a shell command in a container, and returns how it ended and what it said.
    async fn sh(&self, id: &ContainerId, user: &str, script: &str) -> (ExecEnd, String) {
        self.exec(id, exec(user, &["/bin/sh", "-c", script])).await
    }

    async fn exec(&self, id: &ContainerId, spec: ExecSpec) -> (ExecEnd, String) {
        let (sender, mut receiver) = mpsc::channel::<Output>(8);
        let collect = async move {
            let mut all = Vec::new();
            while let Some(output) = receiver.recv().await {
                all.extend_from_slice(&output.bytes);
            }
            String::from_utf8_lossy(&all).into_owned()
        };
        let (end, said) = tokio::join!(self.engine.exec(id, spec, sender), collect);
        (end.unwrap(), said)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let label = format!("label=hearth.instance={}", self.instance);
        docker_sweep(&["ps", "-aq", "--filter", &label], &["rm", "-fv"]);
        docker_sweep(&["volume", "ls", "-q", "--filter", &label], &["volume", "rm", "-f"]);
        docker_sweep(&["network", "ls", "-q", "--filter", &label], &["network", "rm"]);
    }
}

fn exec(user: &str, argv: &[&str]) -> ExecSpec {
    ExecSpec {
        argv: argv.iter().map(|arg| (*arg).to_owned()).collect(),
        user: user.into(),
        env: Vec::new(),
        working_dir: String::new(),
        stdin: Vec::new().into(),
        deadline: Duration::from_secs(60),
    }
}

fn inspected(id: &ContainerId) -> serde_json::Value {
    docker(&["inspect", &id.0]).json()[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_lives_from_create_to_remove() {
    let bench = Bench::new();
    assert!(bench.engine.version().await.unwrap().runtimes.contains(&"runc".to_owned()));
    let spec = bench.spec();
    let id = bench.engine.create(&spec).await.unwrap();
    assert!(matches!(bench.engine.create(&spec).await, Err(EngineError::Conflict(_))));
    let listed = bench.engine.containers(&bench.instance).await.unwrap();
    assert_eq!((listed.len(), &listed[0].name, listed[0].status), (1, &spec.name, Status::Created));
    assert_eq!(listed[0].image_id, bench.image.id);
    bench.engine.start(&id).await.unwrap();
    bench.engine.start(&id).await.unwrap();
    let detail = bench.engine.container(&spec.name).await.unwrap().unwrap();
    assert_eq!((&detail.container.id, detail.container.status), (&id, Status::Running));
    assert!(detail.pid.is_some() && detail.started_at.is_some() && detail.exit_code.is_none());
    bench.engine.stop(&id, Duration::ZERO).await.unwrap();
    let detail = bench.engine.container(&id.0).await.unwrap().unwrap();
    assert_eq!((detail.container.status, detail.exit_code, detail.pid), (Status::Exited, Some(137), None));
    bench.engine.remove(&id).await.unwrap();
    assert_eq!(bench.engine.container(&id.0).await.unwrap(), None);
    bench.engine.remove(&id).await.unwrap();
    bench.engine.stop(&id, GRACE).await.unwrap();
    assert!(matches!(bench.engine.start(&id).await, Err(EngineError::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn x2_limits_and_walls_are_really_set() {
    let bench = Bench::new();
    let mut spec = bench.spec();
    spec.limits = Limits { nano_cpus: Some(500_000_000), memory: Some(64 << 20), pids: 77 };
    spec.shm = 8 << 20;
    spec.groups = vec![27, 4242];
    let target = "/run/hearth".to_owned();
    spec.mounts = vec![
        MountSpec::Tmpfs { target, uid: 1000, gid: 1000, size: 16 << 20 },
        MountSpec::Bind { source: "/etc/hostname".into(), target: "/run/hearth/workspace".into(), read_only: true },
    ];
    let id = bench.running(&spec).await;
    let (end, said) = bench.sh(&id, "1000:1000", INSIDE).await;
    assert_eq!(end, ExecEnd::Exited(0), "{said}");
    let expected = "cpu 50000 100000\nmemory 67108864 67108864\npids 77\nshm 8.0M\ngroups 1000 27 4242\n\
                    700 1000 1000 tmpfs\nfull\nnot writable\nNoNewPrivs: 0\nSeccomp: 2\n";
    assert_eq!(said, expected);
    let all = inspected(&id);
    let host = &all["HostConfig"];
    assert_eq!(host["Privileged"], false);
    assert_eq!(host["CapAdd"], serde_json::Value::Null);
    assert_eq!(host["CapDrop"], serde_json::json!(["NET_RAW", "MKNOD"]));
    assert_eq!(host["SecurityOpt"], serde_json::Value::Null);
    assert_eq!(host["LogConfig"]["Config"], serde_json::json!({ "max-size": "10m", "max-file": "2" }));
    assert_eq!(host["RestartPolicy"]["Name"], "no");
    assert_eq!(host["Init"], false);
    assert_eq!((&host["IpcMode"], &host["CgroupnsMode"]), (&"private".into(), &"private".into()));
    assert_eq!((&host["PidMode"], &host["UTSMode"], &host["UsernsMode"]), (&"".into(), &"".into(), &"".into()));
    assert_eq!(all["Config"]["StopTimeout"], 2);
    assert_eq!(all["Config"]["Hostname"], "main");
}

/// Read from inside, where the cgroup of either version is mounted.
const INSIDE: &str = r#"
c=/sys/fs/cgroup
if [ -e $c/cgroup.controllers ]; then
    echo "cpu $(cat $c/cpu.max)"; echo "memory $(cat $c/memory.max) $(($(cat $c/memory.max) + $(cat $c/memory.swap.max)))"
    echo "pids $(cat $c/pids.max)"
else
    echo "cpu $(cat $c/cpu/cpu.cfs_quota_us) $(cat $c/cpu/cpu.cfs_period_us)"
    m=$(cat $c/memory/memory.limit_in_bytes); s=$c/memory/memory.memsw.limit_in_bytes
    echo "memory $m $([ -e $s ] && cat $s || echo $m)"
    echo "pids $(cat $c/pids/pids.max)"
fi
echo "shm $(df -h /dev/shm | awk 'NR==2{print $2}')"
echo "groups $(id -G)"
echo "$(stat -c '%a %u %g' /run/hearth) $(awk '$2=="/run/hearth"{print $3}' /proc/mounts)"
dd if=/dev/zero of=/run/hearth/big bs=1M count=20 2>/dev/null && echo fits || echo full
echo x 2>/dev/null >/run/hearth/workspace && echo writable || echo "not writable"
awk '/^(NoNewPrivs|Seccomp):/{print $1, $2}' /proc/self/status
"#;

#[tokio::test(flavor = "multi_thread")]
async fn c6_limits_change_while_it_runs() {
    let bench = Bench::new();
    let mut spec = bench.spec();
    spec.limits = Limits { nano_cpus: Some(500_000_000), memory: Some(64 << 20), pids: 77 };
    let id = bench.running(&spec).await;
    let limits = |nano_cpus, memory, pids| Limits { nano_cpus, memory, pids };
    bench.engine.update(&id, &limits(Some(1_000_000_000), Some(128 << 20), 99)).await.unwrap();
    let (_, said) = bench.sh(&id, "1000:1000", INSIDE).await;
    assert!(said.contains("cpu 100000 100000\nmemory 134217728 134217728\npids 99\n"), "{said}");
    bench.engine.update(&id, &limits(None, None, 99)).await.unwrap();
    bench.engine.update(&id, &limits(Some(500_000_000), Some(32 << 20), 50)).await.unwrap();
    let (_, said) = bench.sh(&id, "1000:1000", INSIDE).await;
    assert!(said.contains("cpu 50000 100000\nmemory 33554432 33554432\npids 50\n"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_gives_input_output_and_exit_code() {
    let bench = Bench::new();
    let id = bench.running(&bench.spec()).await;
    let spec = ExecSpec { stdin: vec![b'x'; 1 << 20].into(), ..exec("1000:1000", &["/bin/wc", "-c"]) };
    assert_eq!(bench.exec(&id, spec).await, (ExecEnd::Exited(0), "1048576\n".into()));
    let spec =
        ExecSpec { env: vec!["A=b c".into()], working_dir: "/tmp".into(), ..exec("0:0", &["/bin/sh", "-c", ENV]) };
    assert_eq!(bench.exec(&id, spec).await, (ExecEnd::Exited(7), "b c /tmp 0\n".into()));
    assert_eq!(bench.sh(&id, "1000:1000", "cat; kill -9 $$").await, (ExecEnd::Exited(137), String::new()));
    let (end, _) = bench.exec(&id, exec("1000:1000", &["/no/such/command"])).await;
    assert!(matches!(end, ExecEnd::Exited(126 | 127)), "{end:?}");
    // Input that nobody reads, output that nobody takes, and then another exec.
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    let spec =
        ExecSpec { stdin: vec![0; 1 << 20].into(), ..exec("1000:1000", &["/bin/sh", "-c", "yes | head -c 3000000"]) };
    assert_eq!(bench.engine.exec(&id, spec, sender).await.unwrap(), ExecEnd::Exited(0));
    let (sender, mut both) = mpsc::channel(8);
    bench
        .engine
        .exec(&id, exec("1000:1000", &["/bin/sh", "-c", "echo out; sleep 0.1; echo err >&2"]), sender)
        .await
        .unwrap();
    let (out, err) = (both.recv().await.unwrap(), both.recv().await.unwrap());
    assert_eq!(
        (out.stream, &out.bytes[..], err.stream, &err.bytes[..]),
        (Stream::Stdout, &b"out\n"[..], Stream::Stderr, &b"err\n"[..])
    );
    let stopped =
        bench.engine.create(&ContainerSpec { name: format!("{}.alice.off", bench.instance), ..bench.spec() }).await;
    let (sender, _receiver) = mpsc::channel(1);
    let refused = bench.engine.exec(&stopped.unwrap(), exec("0:0", &["/bin/true"]), sender).await;
    assert!(matches!(refused, Err(EngineError::Conflict(_))), "{refused:?}");
}

const ENV: &str = r#"echo "$A $PWD $(id -u)"; exit 7"#;

#[tokio::test(flavor = "multi_thread")]
async fn h4_a_background_child_does_not_hold_an_exec() {
    let bench = Bench::new();
    let id = bench.running(&bench.spec()).await;
    let (end, said) = bench.sh(&id, "1000:1000", "sleep 500 & echo started").await;
    assert_eq!((end, said.as_str()), (ExecEnd::Exited(0), "started\n"));
}

/// A trap that HUP does not end, with a child in the same session.
const STUBBORN: &str = "trap '' HUP TERM; sleep 333 & echo ready; while :; do sleep 333; done";

fn sleepers(id: &ContainerId) -> String {
    docker(&["exec", &id.0, "/bin/ps", "-o", "args"]).ok().lines().filter(|line| line.contains("333")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_a_deadline_ends_the_whole_group() {
    let bench = Bench::new();
    let id = bench.running(&bench.spec()).await;
    let spec = ExecSpec { deadline: Duration::from_secs(1), ..exec("1000:1000", &["/bin/sh", "-c", STUBBORN]) };
    assert_eq!(bench.exec(&id, spec).await, (ExecEnd::TimedOut, "ready\n".into()));
    assert_eq!(sleepers(&id), "");
    // The container itself is as it was, and takes the next exec.
    assert_eq!(bench.sh(&id, "1000:1000", "echo on").await.1, "on\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_exec_is_ended_too() {
    let bench = Bench::new();
    let id = bench.running(&bench.spec()).await;
    let (sender, mut output) = mpsc::channel(1);
    let call = bench.engine.exec(&id, exec("1000:1000", &["/bin/sh", "-c", STUBBORN]), sender);
    tokio::select! {
        end = call => panic!("it ended by itself: {end:?}"),
        said = output.recv() => assert_eq!(&said.unwrap().bytes[..], b"ready\n"),
    }
    wait_for("the dropped command to end", || match sleepers(&id) {
        none if none.is_empty() => Ok(()),
        some => Err(some),
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_container_that_never_ran() {
    let image = Image::coder()
        .configure("true")
        .file("/etc/data", 0o644, "hello")
        .file("/etc/big", 0o644, vec![b'x'; 100_000])
        .symlink("/etc/link", "/etc/second")
        .symlink("/etc/second", "../etc/data")
        .symlink("/etc/out", "/../../../../etc/hostname")
        .symlink("/etc/loop", "loop")
        .symlink("/home/bob", "/data");
    let bench = Bench::of(&image);
    let id = bench.engine.create(&bench.spec()).await.unwrap();
    let read = async |path: &str| bench.engine.read_file(&id, path, 1000).await;
    assert_eq!(read("/etc/data").await.unwrap().unwrap(), b"hello");
    assert_eq!(read("/etc/link").await.unwrap().unwrap(), b"hello");
    assert_eq!(read("/etc/nothing").await.unwrap(), None);
    assert_eq!(read("/etc").await.unwrap(), None);
    assert!(read("/etc/big").await.unwrap_err().to_string().contains("larger than 1000 bytes"));
    let host = std::fs::read("/etc/hostname").unwrap();
    assert_ne!(read("/etc/out").await.unwrap_or_default().unwrap_or_default(), host);
    let kind = async |path: &str| bench.engine.file_kind(&id, path).await;
    assert_eq!(kind("/coder/configure").await.unwrap(), FileKind::File { executable: true });
    assert_eq!(kind("/etc/data").await.unwrap(), FileKind::File { executable: false });
    assert_eq!(kind("/etc").await.unwrap(), FileKind::Directory);
    assert_eq!(kind("/home/bob").await.unwrap(), FileKind::Symlink { target: "/data".into() });
    assert_eq!(kind("/home/eve").await.unwrap(), FileKind::Missing);
    assert!(!matches!(kind("/etc/loop").await, Ok(FileKind::File { .. } | FileKind::Directory)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_of_other_labels_comes_back_with_them() {
    let bench = Bench::new();
    let name = format!("{}.alice.main.home", bench.instance);
    assert_eq!(bench.engine.volume(&name).await.unwrap(), None);
    let made = bench.engine.create_volume(&name, &bench.labels()).await.unwrap();
    assert_eq!((&made.name, &made.labels), (&name, &bench.labels()));
    let again = bench.engine.create_volume(&name, &BTreeMap::from([("x".into(), "y".into())])).await.unwrap();
    assert_eq!(again.labels, bench.labels());
    assert_eq!(bench.engine.volumes(&bench.instance).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn l7_anonymous_volumes_go_with_the_container_and_named_ones_stay() {
    let bench = Bench::of(&Image::coder().change("VOLUME /cache"));
    let name = format!("{}.alice.main.home", bench.instance);
    bench.engine.create_volume(&name, &bench.labels()).await.unwrap();
    let home = MountSpec::Volume { name: name.clone(), target: "/home/coder".into(), read_only: false };
    let id = bench.running(&ContainerSpec { mounts: vec![home], ..bench.spec() }).await;
    let mounts = bench.engine.container(&id.0).await.unwrap().unwrap().container.mounts;
    let volume = |target: &str| mounts.iter().find(|mount| mount.target == target).unwrap().volume.clone().unwrap();
    assert_eq!(volume("/home/coder"), name);
    bench.engine.remove(&id).await.unwrap();
    assert_eq!(bench.engine.volume(&volume("/cache")).await.unwrap(), None);
    assert!(bench.engine.volume(&name).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn x2_a_network_keeps_its_containers_apart() {
    let bench = Bench::new();
    let name = format!("{}.acme", bench.instance);
    let subnet = Some("10.213.77.0/24".to_owned());
    let network = NetworkSpec { name: name.clone(), labels: bench.labels(), subnet: subnet.clone(), icc: false };
    bench.engine.create_network(&network).await.unwrap();
    let seen = bench.engine.network(&name).await.unwrap().unwrap();
    assert_eq!((seen.icc, seen.containers, seen.subnets.first()), (false, 0, subnet.as_ref()));
    let port = free_port([127, 0, 0, 1].into());
    let server = ContainerSpec {
        entrypoint: ["/bin/nc", "-ll", "-p", "80", "-e", "/bin/echo", "hello"].map(String::from).to_vec(),
        ports: vec![format!("127.0.0.1:{port}:80").parse().unwrap()],
        network: Some(name.clone()),
        user: "0:0".into(),
        ..bench.spec()
    };
    let server = bench.running(&server).await;
    wait_for("the published port", || {
        let mut said = String::new();
        let read =
            std::net::TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| stream.read_to_string(&mut said));
        if read.is_ok() && said == "hello\n" { Ok(()) } else { Err(format!("{read:?} {said}")) }
    });
    let other =
        ContainerSpec { name: format!("{}.bob.main", bench.instance), network: Some(name.clone()), ..bench.spec() };
    let other = bench.running(&other).await;
    let networks = &inspected(&server)["NetworkSettings"]["Networks"];
    let address = networks[&name]["IPAddress"].as_str().unwrap();
    let dial = format!("nc -w 2 {address} 80");
    let (end, said) = bench.sh(&other, "1000:1000", &dial).await;
    assert_ne!(end, ExecEnd::Exited(0), "reached it: {said}");
    let (end, said) = bench.sh(&server, "1000:1000", &dial).await;
    assert_eq!((end, said.as_str()), (ExecEnd::Exited(0), "hello\n"));
    assert_eq!(bench.engine.network(&name).await.unwrap().unwrap().containers, 2);
    assert!(bench.engine.remove_network(&seen.id).await.is_err());
    bench.engine.remove(&other).await.unwrap();
    bench.engine.stop(&server, Duration::ZERO).await.unwrap();
    let stopped = bench.engine.networks(&bench.instance).await.unwrap();
    assert_eq!((stopped.len(), stopped[0].containers), (1, 1), "a stopped container needs its network");
    bench.engine.remove(&server).await.unwrap();
    bench.engine.remove_network(&seen.id).await.unwrap();
    assert_eq!(bench.engine.network(&name).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_say_look_again() {
    let bench = Bench::new();
    let mut events = bench.engine.watch(&bench.instance);
    let mut next = async || tokio::time::timeout(Duration::from_secs(30), events.recv()).await.unwrap().unwrap();
    assert_eq!(next().await, EngineEvent::Connected);
    let id = bench.running(&bench.spec()).await;
    assert_eq!(next().await, EngineEvent::Container { id: id.clone() });
    bench.engine.close().await;
    while tokio::time::timeout(Duration::from_secs(30), events.recv()).await.unwrap().is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn l10_a_mount_that_nobody_was_there_to_hear_of_is_told_later() {
    let bench = Bench::new();
    let name = |number| format!("{}.alice.main.home-{number}", bench.instance);
    let mount =
        |number, target: &str| vec![MountSpec::Volume { name: name(number), target: target.into(), read_only: true }];
    for number in [1, 2] {
        bench.engine.create_volume(&name(number), &bench.labels()).await.unwrap();
    }
    // One that hearth itself looks into is not told.
    let spec = ContainerSpec { mounts: mount(1, labels::HOME_APART), ..bench.spec() };
    let apart = bench.running(&spec).await;
    bench.engine.remove(&apart).await.unwrap();
    bench.running(&ContainerSpec { mounts: mount(2, "/mnt"), ..bench.spec() }).await;
    let mut events = bench.engine.watch(&bench.instance);
    let mounted = async {
        loop {
            match events.recv().await.unwrap() {
                EngineEvent::Mounted { volume, .. } => return volume,
                EngineEvent::Container { .. } | EngineEvent::Connected => {}
                other @ (EngineEvent::ExecEnded { .. } | EngineEvent::Disconnected(_)) => panic!("{other:?}"),
            }
        }
    };
    let volume = tokio::time::timeout(Duration::from_secs(30), mounted).await.unwrap();
    assert_eq!(volume, name(2));
    bench.engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l12_an_engine_that_is_away_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    let engine = BollardEngine::connect(&socket);
    let missing = engine.container("x").await.unwrap_err();
    assert!(matches!(&missing, EngineError::Away(text) if text.contains("there is no socket")), "{missing}");
    let listener = UnixListener::bind(&socket).unwrap();
    let garbage = std::thread::spawn(move || {
        let mut asked = [0; 4096];
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut asked).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>").unwrap();
        drop(stream);
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut asked).unwrap();
        stream.write_all(b"SSH-2.0-nothing\r\n").unwrap();
    });
    for _ in 0..2 {
        let nonsense = engine.container("x").await.unwrap_err();
        assert!(matches!(nonsense, EngineError::Away(_)), "{nonsense}");
    }
    garbage.join().unwrap();
    let refused = engine.container("x").await.unwrap_err();
    assert!(matches!(&refused, EngineError::Away(text) if text.contains("refused")), "{refused}");
    let mut events = engine.watch("x");
    assert!(matches!(events.recv().await.unwrap(), EngineEvent::Disconnected(_)));
    std::fs::remove_file(&socket).unwrap();
    std::os::unix::fs::symlink(DOCKER, &socket).unwrap();
    assert_eq!(events.recv().await.unwrap(), EngineEvent::Connected);
    assert_eq!(engine.container(&unique()).await.unwrap(), None);
}
