//! Settings and schedules.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{Moment, WorkspaceId};

/// The body of a change of settings: what `hearth set` and `hearth reset` ask for.
///
/// A value is text as it stands in a configuration file, or JSON of the same meaning; `env.NAME` is one variable.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SettingsRequest {
    #[schema(value_type = Object, example = json!({"cpus": 4, "auto_start": "09:00", "env.EDITOR": "vim"}))]
    pub set: BTreeMap<String, serde_json::Value>,
    /// Keys whose setting is taken back, so that what the files say holds.
    pub reset: BTreeSet<String>,
}

/// One value that members can set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Setting {
    pub key: String,
    /// What is in force.
    pub value: String,
    /// `FILE:LINE:COL`, `default`, `hearth set`, or `hearth set, bounded by the org`.
    pub origin: String,
    /// What was set, whether or not the org allows it.
    pub set: Option<String>,
}

/// What a change of settings did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SettingsChanged {
    /// The keys that were named.
    pub settings: Vec<Setting>,
    pub effects: Vec<SettingsEffect>,
}

/// When a change counts for a workspace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SettingsEffect {
    #[schema(value_type = String)]
    pub workspace: WorkspaceId,
    pub keys: Vec<String>,
    pub takes_effect: TakesEffect,
}

/// See [`SettingsEffect`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TakesEffect {
    AtOnce,
    NextBuild,
    /// It is saved and Docker is away: a running container is changed when Docker is back.
    DockerBack,
}

/// The days to come of a workspace's schedule, as `hearth schedule --json` lists them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Schedule {
    #[schema(value_type = String)]
    pub workspace: WorkspaceId,
    /// The local time, null for "never".
    pub at: Option<String>,
    pub zone: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next: Option<Moment>,
    /// Why there is no next start; `unused` is a pause until somebody uses the workspace.
    pub no_next: Option<NoStart>,
    #[schema(value_type = Option<String>, format = Date)]
    pub away_until: Option<Date>,
    #[schema(value_type = String, format = DateTime)]
    pub last_used: Moment,
    pub last_start: Option<LastStart>,
    /// The next 14, today first, as the zone counts them.
    pub days: Vec<ScheduleDay>,
}

/// One day of a schedule: its start, which today may lie in the past, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleDay {
    #[schema(value_type = String, format = Date)]
    pub date: Date,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub start: Option<Moment>,
    pub no_start: Option<NoStart>,
}

/// Why a day has no auto-start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NoStart {
    Never,
    OrgForbids,
    NotChosen,
    Holiday,
    Away,
    NoSuchDay,
    Unused,
}

/// What became of the last auto-start: `started found-running missed paused gave-up stopped changed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LastStart {
    #[schema(value_type = String, format = DateTime)]
    pub at: Moment,
    pub outcome: String,
}

/// Until when a user is away: the day on which they are back, null where they are here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Away {
    #[schema(value_type = Option<String>, format = Date)]
    pub until: Option<Date>,
}
