//! Measures how much disk the home of a running workspace takes: hearth's own binary looks, as the image's user.
//!
//! The engine's own answer would read everything that it has, for everybody, at once.

use std::time::Duration;

use super::apart::{Answer, answer};
use super::tend::inhabitant;
use crate::docker::{ContainerId, Engine, EngineError, ExecEnd, ExecSpec};
use crate::helper::bundle::{BINARY, MEASURE_LIMIT, Measured};
use crate::store::ContainerRecord;

/// What it may take beyond its limit to start and to be ended.
const MARGIN: Duration = Duration::from_secs(10);
/// No engine lets us wait for longer.
const GIVEN_UP: Duration = Duration::from_secs(120);
/// Exit codes above it are signals; it ends itself by SIGALRM at its limit.
const SIGNALS: i64 = 128;
const ALARM: i64 = SIGNALS + 14;
/// No home is larger, whatever a process inside says (rule X4): a pebibyte.
const LARGEST: u64 = 1 << 50;
/// Disk space comes in these.
const BLOCK: u64 = 512;

/// Why nobody knows how large a home is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmeasured {
    /// It said why.
    #[error("hearth measure ended with exit code {code}: {said}")]
    Failed { code: i64, said: String },
    #[error("it did not end within {MEASURE_LIMIT:?}")]
    TooSlow,
    /// By the end of its container, or by somebody in it.
    #[error("it was ended before it had an answer")]
    CutOff,
    #[error("the answer makes no sense")]
    Nonsense,
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Measures it, in bytes. Dropping the call cuts it off.
///
/// # Errors
/// When there is no answer, or none that can be true.
pub async fn measure(engine: &dyn Engine, container: &ContainerRecord) -> Result<u64, Unmeasured> {
    let (id, user) = (ContainerId(container.id.clone()), inhabitant(container));
    let exec = ExecSpec {
        argv: [BINARY, "measure", &user.home].map(str::to_owned).to_vec(),
        user: format!("{}:{}", user.uid, user.gid),
        env: Vec::new(),
        working_dir: "/".to_owned(),
        // With nothing to read it is nobody's use (rule P4).
        stdin: Vec::new().into(),
        deadline: MEASURE_LIMIT + MARGIN,
    };
    let answered = tokio::time::timeout(GIVEN_UP, answer(engine, &id, exec)).await.map_err(|_| Unmeasured::CutOff)?;
    let Answer { end, report, said } = answered?;
    match end {
        ExecEnd::Exited(0) => read(&report),
        ExecEnd::TimedOut | ExecEnd::Exited(ALARM) => Err(Unmeasured::TooSlow),
        ExecEnd::Exited(code) if code > SIGNALS => Err(Unmeasured::CutOff),
        ExecEnd::Exited(code) => Err(Unmeasured::Failed { code, said }),
    }
}

fn read(report: &[u8]) -> Result<u64, Unmeasured> {
    let measured = serde_json::from_slice(report).ok();
    let Some(Measured { bytes }) = measured else { return Err(Unmeasured::Nonsense) };
    if bytes > LARGEST || bytes % BLOCK != 0 { Err(Unmeasured::Nonsense) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::fake::Ran;
    use crate::docker::fake::tests::{engine, spec};
    use crate::docker::{Output, Stream};
    use crate::model::BuildNumber;

    /// Measures a home in a container whose processes answer like this.
    async fn answered(ran: Ran) -> Result<u64, Unmeasured> {
        let engine = engine();
        engine.script(move |_, spec| {
            assert_eq!(spec.argv, [BINARY, "measure", "/home/coder"]);
            assert_eq!((spec.user.as_str(), spec.stdin.len()), ("1000:1000", 0));
            ran.clone()
        });
        let id = engine.run_by_hand(&spec("hearth.alice.main")).unwrap();
        measure(&engine, &record(&id.0)).await
    }

    fn record(id: &str) -> ContainerRecord {
        ContainerRecord {
            id: id.into(),
            build: BuildNumber(1),
            image_id: "sha256:1".into(),
            username: "coder".into(),
            uid: 1000,
            gid: 1000,
            token_hash: String::new(),
            spec: "{}".into(),
            started_at: None,
            door: None,
            injected: None,
        }
    }

    #[tokio::test]
    async fn x4_of_what_a_process_inside_says_only_a_size_that_can_be_is_believed() {
        assert_eq!(answered(Ran::well("{\"bytes\":5242880}")).await, Ok(5 << 20));
        assert_eq!(answered(Ran::well("{\"bytes\":0}\n")).await, Ok(0));
        let hostile = [
            String::new(),
            "5242880".into(),
            "{\"bytes\":-512}".into(),
            "{\"bytes\":1e6}".into(),
            "{\"bytes\":\"512\"}".into(),
            "{\"bytes\":513}".into(),
            "{\"bytes\":2251799813685248}".into(),
            "{\"bytes\":18446744073709551615}".into(),
            "{\"bytes\":512}{\"bytes\":512}".into(),
            format!("{}{{\"bytes\":512}}", " ".repeat(1 << 20)),
        ];
        for said in hostile {
            let what = said.chars().take(40).collect::<String>();
            assert_eq!(answered(Ran::well(said)).await, Err(Unmeasured::Nonsense), "{what}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn x4_one_that_fails_or_does_not_end_has_no_answer_and_is_not_quoted_as_it_is() {
        let said = Output { stream: Stream::Stderr, bytes: "\u{1b}[2J cannot".into() };
        let good = Output { stream: Stream::Stdout, bytes: "{\"bytes\":512}".into() };
        let failed = Ran { output: vec![good.clone(), said], end: Some(ExecEnd::Exited(1)) };
        let error = answered(failed).await.unwrap_err().to_string();
        assert!(error.contains("exit code 1") && error.contains("cannot") && !error.contains('\u{1b}'), "{error}");
        let endless = Ran { output: vec![good], end: None };
        assert_eq!(answered(endless).await, Err(Unmeasured::TooSlow));
        let ended = |code| Ran { output: Vec::new(), end: Some(ExecEnd::Exited(code)) };
        assert_eq!(answered(ended(142)).await, Err(Unmeasured::TooSlow), "by its own alarm");
        assert_eq!(answered(ended(137)).await, Err(Unmeasured::CutOff), "with its container");
    }
}
