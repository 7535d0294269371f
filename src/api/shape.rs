//! What the daemon knows → the JSON of `wire`. Pure.

use std::time::Duration;

use super::wire::{
    self, AutoOff, AutoStart, Build, BuildDetail, LastActivity, Resources, StageTime, Usage, Workspace, WorkspaceDetail,
};
use crate::config::effective::effective;
use crate::config::settings::{AutoStart as StartAt, Limit};
use crate::config::show::Row;
use crate::config::{Effective, Members, Settings};
use crate::handle::{Schedule, Snapshot, View};
use crate::model::{BuildRecord, Evidence, State, WorkspaceId};
use crate::schedule::NextStart;
use crate::store::AuditEntry;

/// Returns a workspace's effective values; `None` where no file declares it.
pub(super) fn in_force(settings: &Settings, members: &Members, id: &WorkspaceId) -> Option<Effective> {
    settings.workspaces.get(id).map(|workspace| effective(settings, workspace, members))
}

/// Returns a workspace as `hearth list` shows it.
pub(super) fn workspace(view: &View, settings: &Settings, snapshot: &Snapshot) -> Workspace {
    let wanted = in_force(settings, &snapshot.members, &view.id);
    let (warnings, outdated) = match &view.state {
        State::Running { warnings, outdated, .. } => (warnings.clone(), outdated.clone()),
        State::Building { .. } => (view.build.as_ref().map(|build| build.warnings.clone()).unwrap_or_default(), vec![]),
        State::Off { .. } | State::Queued { .. } | State::Stopping { .. } | State::Failed { .. } => (vec![], vec![]),
    };
    Workspace {
        workspace: view.id.clone(),
        user: view.id.user.clone(),
        name: view.id.name.clone(),
        org: view.org.clone(),
        image: image(view, wanted.as_ref()),
        state: view.state.name(),
        since: view.state.since(),
        warnings,
        outdated,
        build: view.build.as_ref().map(build),
        last_activity: view.activity.last.as_ref().map(last_activity),
        auto_off: AutoOff {
            threshold: wanted.as_ref().and_then(threshold),
            at: view.activity.off_at,
            held_until: view.activity.held_until,
        },
        auto_start: auto_start(wanted.as_ref(), settings, snapshot.schedules.get(&view.id).map(AsRef::as_ref)),
        resources: resources(wanted.as_ref()),
        usage: Usage {
            cpu: view.activity.usage.cpu,
            memory: view.activity.usage.memory,
            home_bytes: view.activity.home_bytes,
        },
        connections: view.activity.connections.and_then(|count| u32::try_from(count).ok()),
    }
}

/// Returns a workspace in full; `home` is the volume's name.
pub(super) fn detail(view: &View, settings: &Settings, snapshot: &Snapshot, home: Option<String>) -> WorkspaceDetail {
    let wanted = in_force(settings, &snapshot.members, &view.id);
    let last = view.build.as_ref();
    WorkspaceDetail {
        summary: workspace(view, settings, snapshot),
        declared: view.declared,
        home,
        container: view.inside.as_ref().map(|inside| inside.container.clone()),
        username: view.inside.as_ref().map(|inside| inside.username.clone()),
        image_digest: last.and_then(|build| build.image_digest.clone()),
        failure: last.and_then(|build| build.failure.clone()),
        because: view.because.clone(),
        stages: last.map(stages).unwrap_or_default(),
        ports: wanted.map(|w| w.ports.value.iter().map(ToString::to_string).collect()).unwrap_or_default(),
    }
}

/// Returns a build as it stands in a workspace.
pub(super) fn build(record: &BuildRecord) -> Build {
    Build {
        number: record.number,
        reason: record.reason,
        stage: record.stage,
        requester: record.requester.to_string(),
        started_at: record.started_at,
        ended_at: record.ended_at,
        result: record.result,
    }
}

/// Returns a build in full.
pub(super) fn build_detail(record: &BuildRecord) -> BuildDetail {
    BuildDetail {
        build: build(record),
        queued_at: record.queued_at,
        image: record.image.clone(),
        image_digest: record.image_digest.clone(),
        failure: record.failure.clone(),
        warnings: record.warnings.clone(),
        stages: stages(record),
    }
}

/// Returns a value with where it came from.
pub(super) fn effective_value(row: Row) -> wire::EffectiveValue {
    wire::EffectiveValue { key: row.key, value: row.value, origin: row.origin.to_string() }
}

/// Returns a line of the audit log.
pub(super) fn audit_line((number, entry): (i64, AuditEntry)) -> wire::AuditLine {
    let AuditEntry { at, who, from, what, workspace, before, after, result } = entry;
    wire::AuditLine { number, at, who: who.0, from, what, workspace, before, after, result }
}

fn stages(record: &BuildRecord) -> Vec<StageTime> {
    let time = |stage: &crate::model::StageTiming| StageTime {
        stage: stage.stage,
        started_at: stage.started_at,
        seconds: stage.took.as_ref().map(Duration::as_secs_f64),
    };
    record.stages.iter().map(time).collect()
}

fn image(view: &View, wanted: Option<&Effective>) -> Option<String> {
    let declared = wanted.map(|wanted| wanted.image.value.clone());
    declared.or_else(|| view.build.as_ref().map(|build| build.image.clone()))
}

fn last_activity(evidence: &Evidence) -> LastActivity {
    let Evidence { at, kind, who, from } = evidence.clone();
    LastActivity { at, kind: kind.to_string(), who, from }
}

fn threshold(wanted: &Effective) -> Option<u64> {
    match wanted.auto_off.value {
        Limit::After(after) => Some(after.as_secs()),
        Limit::Never => None,
    }
}

fn auto_start(wanted: Option<&Effective>, settings: &Settings, schedule: Option<&Schedule>) -> AutoStart {
    let next = schedule.and_then(|schedule| match schedule.next {
        NextStart::At(at) => Some(at),
        NextStart::Paused { .. } | NextStart::None(_) => None,
    });
    let at = wanted.and_then(|wanted| match &wanted.auto_start.value {
        StartAt::At { time, .. } => Some(time.strftime("%H:%M").to_string()),
        StartAt::Never => None,
    });
    let zone = wanted.map_or(&settings.server.timezone.value, |wanted| &wanted.timezone.value);
    AutoStart { at, zone: zone.name.clone(), next }
}

fn resources(wanted: Option<&Effective>) -> Resources {
    let of = wanted.map(|wanted| &wanted.resources);
    Resources {
        cpus: of.and_then(|r| r.cpus.value).map(crate::model::Cpus::as_f64),
        memory: of.and_then(|r| r.memory.value).map(|bytes| bytes.0),
        pids: of.map(|r| r.pids.value),
    }
}
