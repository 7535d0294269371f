use super::*;
use crate::docker::MountSpec;

pub(crate) fn engine() -> FakeEngine {
    let engine = FakeEngine::default();
    engine.load("dev", FakeImage::with_user("1", "coder", 1000));
    engine
}

pub(crate) fn spec(name: &str) -> ContainerSpec {
    ContainerSpec {
        name: name.to_owned(),
        hostname: "main".into(),
        image: "dev".into(),
        user: "1000:1000".into(),
        groups: Vec::new(),
        entrypoint: vec!["init".into()],
        env: Vec::new(),
        working_dir: "/".into(),
        labels: Labels::from([(INSTANCE.to_owned(), "hearth".to_owned())]),
        mounts: vec![MountSpec::Volume {
            name: format!("{name}.home"),
            target: "/home/coder".into(),
            read_only: false,
        }],
        network: None,
        ports: vec!["127.0.0.1:8080:80".parse().unwrap()],
        limits: Limits { nano_cpus: None, memory: None, pids: 10 },
        shm: 0,
        gpus: 0,
        runtime: None,
        stop_timeout: Duration::ZERO,
    }
}

#[tokio::test]
async fn it_enforces_what_the_engine_does() {
    let engine = engine();
    let id = engine.create(&spec("a")).await.unwrap();
    assert!(matches!(engine.create(&spec("a")).await, Err(EngineError::Conflict(_))));
    let unknown = ContainerSpec { image: "nothing".into(), ..spec("b") };
    assert!(matches!(engine.create(&unknown).await, Err(EngineError::NotFound(_))));
    let exec = ExecSpec {
        argv: vec!["true".into()],
        user: "0:0".into(),
        env: Vec::new(),
        working_dir: String::new(),
        stdin: Vec::new().into(),
        deadline: Duration::from_secs(1),
    };
    let (output, _received) = mpsc::channel(1);
    let early = engine.exec(&id, exec.clone(), output.clone()).await;
    assert!(matches!(early, Err(EngineError::Conflict(_))));
    engine.start(&id).await.unwrap();
    assert_eq!(engine.exec(&id, exec, output).await, Ok(ExecEnd::Exited(0)));
    let other = engine.create(&spec("b")).await.unwrap();
    assert!(matches!(engine.start(&other).await, Err(EngineError::Conflict(_))), "the port is taken");
    engine.stop(&id, Duration::ZERO).await.unwrap();
    engine.start(&other).await.unwrap();
    let lost = ContainerSpec { network: Some("gone".into()), ports: Vec::new(), ..spec("c") };
    let lost = engine.create(&lost).await.unwrap();
    assert!(matches!(engine.start(&lost).await, Err(EngineError::NotFound(_))));
    assert_eq!(engine.container("a").await.unwrap().unwrap().exit_code, Some(143));
    engine.remove(&id).await.unwrap();
    engine.remove(&id).await.unwrap();
    assert_eq!(engine.all_volumes(), ["a.home", "b.home", "c.home"]);
    let again = engine.create_volume("a.home", &Labels::from([("x".into(), "y".into())])).await.unwrap();
    assert_eq!(again.labels, Labels::new(), "get or create");
}

#[tokio::test]
async fn faults_come_around_the_call_that_they_were_ordered_for() {
    let engine = engine();
    engine.order("create", 2, Fault::Before(EngineError::Away("gone".into())));
    engine.order("create", 3, Fault::After(EngineError::Away("gone".into())));
    engine.order("create", 4, Fault::Hang);
    engine.create(&spec("a")).await.unwrap();
    assert!(engine.create(&spec("b")).await.is_err());
    assert!(engine.create(&spec("c")).await.is_err());
    let hung = tokio::time::timeout(Duration::from_millis(1), engine.create(&spec("d"))).await;
    assert!(hung.is_err());
    let names: Vec<String> = engine.all_containers().into_iter().map(|container| container.name).collect();
    assert_eq!(names, ["a", "c"]);
    assert_eq!(engine.calls(), ["create a", "create b", "create c", "create d"]);
    engine.set_away(Some("restarting"));
    assert_eq!(engine.container("a").await, Err(EngineError::Away("restarting".into())));
}

#[tokio::test]
async fn events_go_to_those_who_watch_the_instance() {
    let engine = engine();
    let (mut ours, mut others) = (engine.watch("hearth"), engine.watch("other"));
    let id = engine.create(&spec("a")).await.unwrap();
    engine.start(&id).await.unwrap();
    engine.end("a", 137, true).unwrap();
    engine.set_away(Some("restarting"));
    let mut seen = Vec::new();
    while let Ok(event) = ours.try_recv() {
        seen.push(event);
    }
    let happened = EngineEvent::Container { id };
    let away = EngineEvent::Disconnected("restarting".into());
    assert_eq!(seen, [EngineEvent::Connected, happened.clone(), happened.clone(), happened, away.clone()]);
    assert_eq!((others.try_recv(), others.try_recv()), (Ok(EngineEvent::Connected), Ok(away)));
}

#[tokio::test]
async fn a_pull_brings_what_was_published() {
    let engine = FakeEngine::default();
    let (progress, _told) = mpsc::channel(1);
    engine.publish("dev", Ok(FakeImage::with_user("1", "coder", 1000)));
    engine.publish("down", Err(PullError::Unreachable("no route".into())));
    engine.pull("dev", None, progress.clone()).await.unwrap();
    assert_eq!(engine.image("dev").await.unwrap().unwrap().user, "coder");
    assert!(matches!(engine.pull("down", None, progress.clone()).await, Err(PullError::Unreachable(_))));
    assert!(matches!(engine.pull("x", None, progress).await, Err(PullError::NotFound(_))));
    engine.unload("dev");
    assert_eq!(engine.image("sha256:1").await.unwrap(), None);
}
