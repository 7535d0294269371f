//! The sensor of `docker exec`: commands that a person talks to, by a terminal or an open standard input (P3).
//!
//! A look lists what runs; what began and ended between two looks is told by events. Health checks have neither
//! terminal nor input, hearthd's own commands run `hearth`, and `-d` leaves nobody attached: none of them counts.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::place::{NoEntry, Process};
use crate::docker::labels::BINARY;
use crate::docker::{ContainerId, Engine, EngineError, ExecDetail};
use crate::model::{Evidence, EvidenceKind, Live, LiveKey, Measure, Moment};

/// Of how many ended commands of a container it is asked, between two looks, what they were. Health checks a second
/// apart are sixty.
const MOST_ENDED: usize = 64;

/// The kernel moves a terminal's times in steps of so much.
const UNNOTICED: Duration = Duration::from_secs(8);

/// Only the host's own accounts can reach the engine's socket.
const FROM: &str = "host";

/// The sensor: what it heard since the last look.
#[derive(Debug, Clone, Default)]
pub struct Execs {
    ended: BTreeMap<ContainerId, VecDeque<(String, Moment)>>,
}

/// What a look showed of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecsSeen {
    /// What runs.
    pub live: Vec<Live>,
    /// What has ended since the last look.
    pub passed: Vec<Evidence>,
}

impl Execs {
    /// Takes in an event.
    pub fn ended(&mut self, container: ContainerId, exec: String, at: Moment) {
        let ended = self.ended.entry(container).or_default();
        if ended.len() == MOST_ENDED {
            ended.pop_front();
        }
        ended.push_back((exec, at));
    }

    /// Takes out what was heard of some containers, for a look that goes on elsewhere.
    #[must_use]
    pub fn take(&mut self, containers: &[ContainerId]) -> Self {
        let ended = containers.iter().filter_map(|container| self.ended.remove_entry(container));
        Self { ended: ended.collect() }
    }

    /// Forgets what was heard of all containers but those.
    pub fn retain(&mut self, containers: &[ContainerId]) {
        self.ended.retain(|container, _| containers.contains(container));
    }

    /// Looks at the commands of running containers. One that is gone is not in the answer; of one that the engine says
    /// nothing of, the answer is why.
    ///
    /// # Errors
    /// When the engine is away: nothing can be said of any.
    pub async fn look(
        mut self,
        engine: &dyn Engine,
        containers: &[ContainerId],
    ) -> Result<BTreeMap<ContainerId, Result<ExecsSeen, EngineError>>, EngineError> {
        let mut answer = BTreeMap::new();
        for container in containers {
            let ended = self.ended.remove(container).unwrap_or_default();
            let seen = match look_at(engine, container, ended).await {
                Err(error @ EngineError::Away(_)) => return Err(error),
                seen => seen,
            };
            answer.extend(seen.transpose().map(|seen| (container.clone(), seen)));
        }
        Ok(answer)
    }
}

async fn look_at(
    engine: &dyn Engine,
    container: &ContainerId,
    ended: VecDeque<(String, Moment)>,
) -> Result<Option<ExecsSeen>, EngineError> {
    let Some(running) = engine.execs(container).await? else { return Ok(None) };
    let mut seen = ExecsSeen::default();
    for exec in running {
        let Some(detail) = engine.exec_detail(&exec).await?.filter(is_interactive) else { continue };
        let Some(measure) = measure(&detail, container).await else { continue };
        seen.live.push(Live { key: LiveKey::Exec(exec), who: None, from: Some(FROM.into()), measure });
    }
    for (exec, at) in ended {
        if engine.exec_detail(&exec).await?.as_ref().is_some_and(is_interactive) {
            seen.passed.push(Evidence { at, kind: EvidenceKind::Exec, who: None, from: Some(FROM.into()) });
        }
    }
    Ok(Some(seen))
}

fn is_interactive(detail: &ExecDetail) -> bool {
    (detail.stdin || (detail.terminal && detail.attached)) && detail.program != BINARY
}

/// Returns how its use is told; `None` where it has ended.
async fn measure(detail: &ExecDetail, container: &ContainerId) -> Option<Measure> {
    let pid = detail.pid.filter(|_| detail.running)?;
    if !detail.terminal {
        return Some(Measure::Open);
    }
    let id = container.0.clone();
    let looking = tokio::task::spawn_blocking(move || Process::of(pid, &id)?.terminal_used_at());
    match looking.await {
        Ok(Ok(Some(touched))) => Some(Measure::Terminal { touched, unnoticed: UNNOTICED }),
        Ok(Err(NoEntry::Gone)) => None,
        // It has let its terminal go, or may not be looked at: then it counts while it is open.
        Ok(Ok(None) | Err(NoEntry::Refused(_))) | Err(_) => Some(Measure::Open),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(terminal: bool, stdin: bool, attached: bool) -> ExecDetail {
        ExecDetail { running: true, pid: Some(1), program: "sh".into(), terminal, stdin, attached }
    }

    #[test]
    fn p3_a_terminal_or_an_open_input_is_a_person() {
        assert!(is_interactive(&detail(true, true, true)), "-it");
        assert!(is_interactive(&detail(true, false, true)), "-t");
        assert!(is_interactive(&detail(false, true, true)), "-i");
        assert!(!is_interactive(&detail(false, false, true)), "a health check, and `docker exec` with neither");
        assert!(!is_interactive(&detail(false, false, false)), "-d");
        assert!(!is_interactive(&detail(true, false, false)), "-dt");
    }

    #[test]
    fn p4_hearthds_own_is_nobodys_use() {
        assert!(!is_interactive(&ExecDetail { program: BINARY.into(), ..detail(false, true, true) }));
    }

    #[test]
    fn x4_of_what_ended_only_the_latest_is_kept() {
        let mut execs = Execs::default();
        let container = ContainerId("c".into());
        for second in 0..1000 {
            execs.ended(container.clone(), second.to_string(), Moment::from_second(second).unwrap());
        }
        let other = ContainerId("d".into());
        execs.ended(other.clone(), "x".into(), Moment::UNIX_EPOCH);
        let kept = &execs.take(std::slice::from_ref(&container)).ended[&container];
        assert_eq!((kept.len(), kept.back().unwrap().0.as_str()), (MOST_ENDED, "999"));
        assert_eq!(execs.ended.keys().collect::<Vec<_>>(), [&other], "of others nothing is taken");
        execs.retain(&[container]);
        assert!(execs.ended.is_empty());
    }
}
