//! PagerDuty's JSON.

use allclear_core::incident::{Incident, IncidentStatus};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub(super) struct Accepted {
    pub(super) status: String,
}

#[derive(Deserialize)]
pub(super) struct Incidents {
    pub(super) incidents: Vec<IncidentRow>,
    #[serde(default)]
    pub(super) more: bool,
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

/// One thing that PagerDuty points at, such as a user.
#[derive(Deserialize)]
pub(super) struct Reference {
    pub(super) id: String,
    #[serde(rename = "type", default)]
    pub(super) kind: String,
}

impl Reference {
    /// Whether it is a person.
    fn is_user(&self) -> bool {
        matches!(self.kind.as_str(), "user" | "user_reference")
    }
}

#[derive(Deserialize)]
pub(super) struct OneIncident {
    incident: Responders,
}

/// Who was asked to respond to an incident.
#[derive(Deserialize)]
struct Responders {
    #[serde(default)]
    assignments: Vec<Assignment>,
    /// Accounts without the feature do not have these two.
    #[serde(default, rename = "incidents_responders")]
    asked: Vec<Responder>,
    #[serde(default)]
    responder_requests: Vec<ResponderRequest>,
}

#[derive(Deserialize)]
struct Assignment {
    assignee: Reference,
}

#[derive(Deserialize)]
struct Responder {
    user: Reference,
}

#[derive(Deserialize)]
struct ResponderRequest {
    #[serde(default)]
    responder_request_targets: Vec<Value>,
}

impl OneIncident {
    /// Users, in the order in which they are found.
    pub(super) fn asked(self) -> Vec<String> {
        let Responders { assignments, asked, responder_requests } = self.incident;
        let assigned = assignments.into_iter().map(|one| one.assignee).filter(Reference::is_user);
        let responding = asked.into_iter().map(|one| one.user);
        let requested = responder_requests
            .into_iter()
            .flat_map(|request| request.responder_request_targets)
            .filter_map(|target| target_of(&target))
            .filter(Reference::is_user);
        assigned.chain(responding).chain(requested).map(|user| user.id).collect()
    }
}

/// The description has targets bare, the examples have them wrapped.
fn target_of(target: &Value) -> Option<Reference> {
    let inner = target.get("responder_request_target").unwrap_or(target);
    Reference::deserialize(inner).ok()
}

#[derive(Deserialize)]
pub(super) struct LogPage {
    pub(super) log_entries: Vec<Value>,
    #[serde(default)]
    pub(super) more: bool,
}

/// That somebody took notice.
#[derive(Deserialize)]
pub(super) struct AcknowledgeEntry {
    pub(super) created_at: Timestamp,
    pub(super) agent: Option<Reference>,
}

/// Whether a log entry is an acknowledgement. The description's schema has one spelling, its reference and real entries the
/// other.
pub(super) fn is_acknowledgement(entry: &Value) -> bool {
    matches!(entry["type"].as_str(), Some("acknowledge_log_entry" | "acknowledgement_log_entry"))
}

/// Users to whom a log entry assigned the incident.
pub(super) fn assigned_by(entry: &Value) -> Vec<String> {
    if !matches!(entry["type"].as_str(), Some("assign_log_entry" | "escalate_log_entry")) {
        return Vec::new();
    }
    let assignees = entry["assignees"].as_array().into_iter().flatten();
    assignees
        .filter_map(|one| Reference::deserialize(one).ok())
        .filter(Reference::is_user)
        .map(|user| user.id)
        .collect()
}

#[derive(Deserialize)]
pub(super) struct Users {
    pub(super) users: Vec<User>,
    #[serde(default)]
    pub(super) more: bool,
}

#[derive(Deserialize)]
pub(super) struct User {
    pub(super) id: String,
    #[serde(default)]
    pub(super) email: String,
}

#[derive(Deserialize)]
pub(super) struct Requested {
    #[serde(rename = "responder_request")]
    pub(super) _request: Value,
}

#[derive(Deserialize)]
pub(super) struct OnCalls {
    pub(super) oncalls: Vec<OnCallRow>,
    #[serde(default)]
    pub(super) more: bool,
}

#[derive(Deserialize)]
pub(super) struct OnCallRow {
    pub(super) user: Reference,
    pub(super) escalation_level: u32,
    pub(super) end: Option<Timestamp>,
}

#[derive(Deserialize)]
pub(super) struct Notes {
    pub(super) notes: Vec<Note>,
}

#[derive(Deserialize)]
pub(super) struct Note {
    pub(super) content: String,
}

#[derive(Deserialize)]
pub(super) struct Noted {
    #[serde(rename = "note")]
    pub(super) _note: Note,
}

#[derive(Deserialize)]
pub(super) struct Updated {
    #[serde(rename = "status_update")]
    pub(super) _update: Value,
}
