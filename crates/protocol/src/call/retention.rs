//! The call about what is removed when it is old or too much.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Sequence;

/// Tells what the workspace keeps, what is removed, what would be removed now, and who holds that up; for admins. With other
/// limits, what these would remove. Nothing is removed by asking.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
pub struct GetRetention {
    /// Seconds that everything is kept, instead of what holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_for_seconds: Option<u64>,
    /// Events that are kept altogether, instead of what holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_events: Option<u64>,
    /// About how many bytes the log may have, instead of what holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_bytes: Option<u64>,
}

/// What is kept, what is removed, and what would be removed now.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RetentionInfo {
    /// What is kept, with the limits that were asked about.
    pub limits: RetentionLimits,
    /// Events that would be removed now.
    pub due_events: u64,
    /// About their bytes.
    pub due_bytes: u64,
    /// Events that would go as well, had everybody read them.
    pub waiting_events: u64,
    /// The places where something is removed, would be, or is held up: those with the most to remove first, at most 1,000.
    pub places: Vec<RetainedPlace>,
    /// Events removed since the server started.
    pub removed_events: u64,
    /// About their bytes.
    pub removed_bytes: u64,
    /// When the server looked last, in seconds since 1970; none: not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<f64>,
    /// How many agents held something up then.
    pub held_up_by: u64,
}

/// What is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RetentionLimits {
    /// Of everything together, but for the channels that are named below.
    pub workspace: Kept,
    /// In each channel that is not named.
    pub each_channel: Kept,
    /// In these channels, whatever the workspace says.
    pub channels: BTreeMap<String, Kept>,
    /// Seconds that the content of files is kept; none: as long as the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_for_seconds: Option<u64>,
    /// `kept` or `removed`: what happens to what was not read.
    pub unread: String,
    /// Agents that were away for longer need not have read what is removed.
    pub away_seconds: u64,
    /// What is younger is not too much, only too old.
    pub at_least_seconds: u64,
    /// Seconds between two looks.
    pub every_seconds: u64,
}

/// How much is kept; what is not said is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Kept {
    /// The oldest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<u64>,
    /// The most events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_events: Option<u64>,
    /// About the most bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

/// A channel, an inbox or everyone, and what is removed of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RetainedPlace {
    /// Its address.
    pub place: String,
    /// Everything through here is removed; none: nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_through: Option<Sequence>,
    /// Events that would be removed now.
    pub due_events: u64,
    /// About their bytes.
    pub due_bytes: u64,
    /// Events that are due, and that somebody has not read.
    pub waiting_events: u64,
    /// Who that is, the furthest behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_up_by: Option<HoldUp>,
}

/// An agent that was here lately and has not acknowledged what is due.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HoldUp {
    /// The agent.
    pub agent_id: String,
    /// It has acknowledged everything through here.
    pub acknowledged: Sequence,
    /// When the oldest that it has not was sent, in seconds since 1970.
    pub since: f64,
    /// Whether it is online.
    pub online: bool,
    /// When it was seen last, in seconds since 1970; of those online: when they joined.
    pub last_seen: f64,
}
