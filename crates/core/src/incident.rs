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
