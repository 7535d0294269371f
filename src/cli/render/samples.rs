//! Values to render in tests.

use crate::api::wire::{
    AutoOff, AutoStart, Build, BuildDetail, Resources, StageTime, Usage, Workspace, WorkspaceDetail,
};
use crate::model::{
    BuildNumber, BuildReason, BuildResult, Hook, Moment, Outdated, Stage, StateName, Warning, WarningKind,
};

/// 2026-07-01T12:00:00Z
pub(crate) const EPOCH: i64 = 1_782_907_200;

pub(crate) fn at(second: i64) -> Moment {
    Moment::from_second(EPOCH + second).unwrap()
}

pub(crate) fn stage(stage: Stage, started: i64, seconds: Option<f64>) -> StageTime {
    StageTime { stage, started_at: at(started), seconds }
}

pub(crate) fn build() -> Build {
    Build {
        number: BuildNumber(17),
        reason: BuildReason::User,
        stage: Some(Stage::Personalize),
        requester: "alice".into(),
        started_at: Some(at(0)),
        ended_at: Some(at(41)),
        result: Some(BuildResult::Ok),
    }
}

/// A build that runs.
pub(crate) fn build_detail() -> BuildDetail {
    BuildDetail {
        build: Build { stage: Some(Stage::Pull), ended_at: None, result: None, ..build() },
        queued_at: at(0),
        image: "debian:12".into(),
        image_digest: None,
        failure: None,
        warnings: vec![],
        stages: vec![],
    }
}

pub(crate) fn warning() -> Warning {
    Warning {
        hook: Hook::Configure,
        kind: WarningKind::Exit,
        exit_code: Some(7),
        message: "configure ended with exit code 7".into(),
        tail: vec!["installing".into(), "no\x1b[2J such file".into()],
    }
}

pub(crate) fn workspace(id: &str) -> Workspace {
    let workspace: crate::model::WorkspaceId = id.parse().unwrap();
    Workspace {
        user: workspace.user.clone(),
        name: workspace.name.clone(),
        workspace,
        org: "acme".parse().unwrap(),
        image: Some("debian:12".into()),
        state: StateName::Running,
        since: at(41),
        warnings: vec![],
        outdated: vec![],
        build: Some(build()),
        last_activity: None,
        auto_off: AutoOff { threshold: Some(7_200), at: None, held_until: None },
        auto_start: AutoStart { at: Some("08:30".into()), zone: "Europe/Lisbon".into(), next: None },
        resources: Resources { cpus: Some(2.0), memory: Some(4 << 30), pids: Some(4096) },
        usage: Usage::default(),
        connections: None,
    }
}

pub(crate) fn detail(id: &str) -> WorkspaceDetail {
    let mut summary = workspace(id);
    summary.warnings = vec![warning()];
    summary.outdated = vec![Outdated::Image, Outdated::Env];
    WorkspaceDetail {
        summary,
        declared: true,
        home: Some("hearth.alice.main.home".into()),
        container: Some("0123456789abcdef".into()),
        username: Some("coder".into()),
        image_digest: Some("sha256:0123456789abcdef0123456789abcdef".into()),
        failure: None,
        because: "it runs and nothing is to be done".into(),
        stages: vec![stage(Stage::Pull, 0, Some(3.2)), stage(Stage::Create, 3, Some(0.01))],
        ports: vec!["127.0.0.1:8080:8080".into()],
    }
}
