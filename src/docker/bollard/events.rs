//! Events of our containers, as "look again"; reconnects by itself.
//!
//! The stream is asked for from the engine's own time of a moment before, so nothing is lost between the list that
//! `Connected` asks for and the stream. Only what changes a container is asked for, and the ends of execs: the names of
//! their other events hold whole command lines, secrets and all. One item that cannot be read ends the stream, and everything is looked at.
//!
//! Volumes have a stream of their own: their events carry no labels to ask for, so what is told is every mount there is
//! of a volume with our instance's name in front. They are asked for from the beginning of what the engine remembers
//! (its last 256 events, none from before its start): so hearth hears of most that it was not there to hear.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::containers::owned;
use super::link::sorted;
use super::{BollardEngine, LOOK, Reply};
use crate::docker::labels::HOME_APART;
use crate::docker::{ContainerId, EngineError, EngineEvent};
use crate::model::Moment;

const ACTIONS: [&str; 12] =
    ["create", "start", "die", "stop", "kill", "oom", "pause", "unpause", "rename", "update", "destroy", EXEC_ENDED];
const EXEC_ENDED: &str = "exec_die";
const MOUNTED: &str = "mount";
/// Before everything that the engine remembers.
const BEGINNING: &str = "0";
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

pub(super) fn watch(engine: &BollardEngine, instance: &str) -> mpsc::Receiver<EngineEvent> {
    let (events, receiver) = mpsc::channel(256);
    let (engine, instance) = (engine.clone(), instance.to_owned());
    let tasks = engine.tasks.clone();
    tasks.spawn(async move {
        let closing = engine.closing.clone();
        tokio::select! {
            () = closing.cancelled() => {}
            () = events.closed() => {}
            () = follow(&engine, &instance, &events) => {}
        }
    });
    receiver
}

/// Follows the stream for ever. A break is told once, however long it lasts.
async fn follow(engine: &BollardEngine, instance: &str, events: &mpsc::Sender<EngineEvent>) {
    let mut pause = FIRST_PAUSE;
    let mut told = false;
    loop {
        let mut connected = false;
        let broken = stream(engine, instance, events, &mut connected).await;
        if connected {
            (pause, told) = (FIRST_PAUSE, false);
        }
        if !told {
            let _ = events.send(EngineEvent::Disconnected(broken.reason())).await;
            told = true;
        }
        // The version is agreed on again: another engine may come back.
        let _ = engine.link.noticed(Err::<(), _>(EngineError::Away(broken.to_string())));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// Delivers events until the stream breaks, and returns why.
async fn stream(
    engine: &BollardEngine,
    instance: &str,
    events: &mpsc::Sender<EngineEvent>,
    connected: &mut bool,
) -> EngineError {
    let (docker, since) = match beginning(engine).await {
        Ok(begun) => begun,
        Err(error) => return error,
    };
    let filters = HashMap::from([
        ("type", vec!["container".to_owned()]),
        ("label", vec![format!("hearth.instance={instance}")]),
        ("event", ACTIONS.map(str::to_owned).to_vec()),
    ]);
    let mounts = HashMap::from([("type", vec!["volume".to_owned()]), ("event", vec![MOUNTED.to_owned()])]);
    let [containers, mounts] = [(filters, since.as_str()), (mounts, BEGINNING)].map(|(filters, since)| {
        let options = EventsOptionsBuilder::default().since(since).filters(&owned(filters)).build();
        Box::pin(docker.events(Some(options)).map(Some).chain(futures_util::stream::iter([None])))
    });
    // The end of either is the end of both.
    let mut stream = futures_util::stream::select(containers, mounts).map(|item| item.transpose());
    *connected = true;
    if events.send(EngineEvent::Connected).await.is_err() {
        return EngineError::Away("nobody listens".to_owned());
    }
    loop {
        match stream.next().await {
            Some(Ok(Some(event))) => {
                if let Some(event) = event_of(event, instance) {
                    let _ = events.send(event).await;
                }
            }
            Some(Err(error)) => return sorted(error),
            Some(Ok(None)) | None => return EngineError::Away("the stream of events ended".to_owned()),
        }
    }
}

fn event_of(event: EventMessage, instance: &str) -> Option<EngineEvent> {
    let actor = event.actor?;
    let (id, at) = (actor.id?, event.time_nano.and_then(|at| Moment::from_nanosecond(at.into()).ok()));
    match event.action.as_deref() {
        Some(MOUNTED) => {
            let ours = id.strip_prefix(instance).is_some_and(|rest| rest.starts_with('.'));
            let target = actor.attributes.unwrap_or_default().remove("destination");
            let apart = target.is_some_and(|target| target == HOME_APART);
            Some(EngineEvent::Mounted { volume: id, at: at? }).filter(|_| ours && !apart)
        }
        Some(EXEC_ENDED) => {
            let exec = actor.attributes?.remove("execID")?;
            Some(EngineEvent::ExecEnded { id: ContainerId(id), exec, at: at? })
        }
        _ => Some(EngineEvent::Container { id: ContainerId(id) }),
    }
}

/// Returns a client and the engine's own time, `SECONDS.NANOSECONDS`.
async fn beginning(engine: &BollardEngine) -> Reply<(bollard::Docker, String)> {
    let info = engine.call("info", LOOK, |docker| async move { docker.info().await }).await?;
    let time = info.system_time.as_deref().and_then(|time| time.parse::<Moment>().ok());
    let Some(time) = time else { return Err(EngineError::Away("it does not say what time it is".to_owned())) };
    Ok((engine.link.docker().await?, format!("{}.{:09}", time.as_second(), time.subsec_nanosecond())))
}
