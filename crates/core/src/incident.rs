//! Incidents: what PagerDuty knows of the thing we are handling.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

open_enum! {
    /// Where an incident stands in PagerDuty.
    IncidentStatus {
        /// Nobody took it yet.
        Triggered = "triggered",
        /// Somebody took it.
        Acknowledged = "acknowledged",
        /// Closed.
        Resolved = "resolved",
    }
}

/// One PagerDuty incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// PagerDuty's id, e.g. `PABC123`.
    pub id: String,
    /// The dedup key of the alert behind it.
    pub dedup_key: Option<String>,
    /// Its title.
    pub title: String,
    /// Where it stands.
    pub status: IncidentStatus,
    /// When it was opened, by PagerDuty's clock.
    pub created_at: Option<Timestamp>,
}

/// How bad an alert says that it is: PagerDuty's four words. Services route and wake people by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Somebody must act now.
    Critical,
    /// Something fails.
    Error,
    /// Something may fail.
    Warning,
    /// Nothing is wrong: an exercise.
    Info,
}

impl Severity {
    /// PagerDuty's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}
