//! PagerDuty's JSON.

use allclear_core::incident::{Incident, IncidentStatus};
use jiff::Timestamp;
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Accepted {
    pub(super) status: String,
}

#[derive(Deserialize)]
pub(super) struct Incidents {
    pub(super) incidents: Vec<IncidentRow>,
}

#[derive(Deserialize)]
pub(super) struct IncidentRow {
    id: String,
    incident_key: Option<String>,
    #[serde(default)]
    title: String,
    status: IncidentStatus,
    created_at: Option<Timestamp>,
}

impl IncidentRow {
    /// `clean` makes the title fit to be shown.
    pub(super) fn into_incident(self, clean: impl Fn(&str) -> String) -> Incident {
        let Self { id, incident_key, title, status, created_at } = self;
        Incident { id, dedup_key: incident_key, title: clean(&title), status, created_at }
    }
}
