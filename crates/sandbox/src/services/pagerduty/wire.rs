//! What PagerDuty's answers look like.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{POLICY, SERVICE, SERVICE_NAME, USERS, User};
use crate::world::rows::Incident;

/// Who did something.
#[derive(Clone, Copy)]
pub(super) enum Agent {
    /// What an event came through.
    Integration,
    /// A person, by id.
    User(&'static str),
}

/// Where the API says that it is. A client that follows an answer's `self` asks it there.
const API: &str = "https://api.example.test";

/// A thing that an answer points at; its address is what a client asks for more of it.
pub(super) fn reference(id: &str, kind: &str, summary: &str) -> Value {
    let resource = match kind.trim_end_matches("_reference") {
        "incident" => "incidents",
        "user" => "users",
        "service" => "services",
        "escalation_policy" => "escalation_policies",
        _ => "log_entries",
    };
    json!({
        "id": id, "type": kind, "summary": summary,
        "self": format!("{API}/{resource}/{id}"), "html_url": format!("https://sandbox.example.test/{resource}/{id}"),
    })
}

pub(super) fn service() -> Value {
    let mut shown = reference(SERVICE, "service", SERVICE_NAME);
    shown["name"] = json!(SERVICE_NAME);
    shown["status"] = json!("active");
    shown["escalation_policy"] = reference(POLICY, "escalation_policy_reference", "Everybody");
    shown
}

pub(super) fn policy() -> Value {
    let mut shown = reference(POLICY, "escalation_policy", "Everybody");
    shown["name"] = json!("Everybody");
    shown["escalation_rules"] = json!([{
        "id": "PSBXRULE", "escalation_delay_in_minutes": 30, "targets": [user_reference(USERS[0].id)],
    }]);
    shown["services"] = json!([reference(SERVICE, "service_reference", SERVICE_NAME)]);
    shown
}

/// A user that an answer points at.
pub(super) fn user_reference(id: &str) -> Value {
    let name = USERS.iter().find(|user| user.id == id).map_or("somebody", |user| user.name);
    reference(id, "user_reference", name)
}

pub(super) fn user(user: &User) -> Value {
    let mut shown = reference(user.id, "user", user.name);
    shown["name"] = json!(user.name);
    shown["email"] = json!(user.email);
    shown["time_zone"] = json!("Africa/Kigali");
    shown["role"] = json!("user");
    shown
}

/// Adds an entry to an incident's log, and gives it for what else belongs into it.
pub(super) fn log<'a>(incident: &'a mut Incident, kind: &str, at: Timestamp, by: Agent) -> &'a mut Value {
    let number = incident.log.len() + 1;
    let mut entry = reference(&format!("{}L{number}", incident.id), &format!("{kind}_log_entry"), kind);
    let (agent, channel) = match by {
        Agent::Integration => (reference("PSBXEVENTS", "integration_reference", "Events API"), "api"),
        Agent::User(id) => (user_reference(id), "website"),
    };
    entry["created_at"] = json!(at);
    entry["agent"] = agent;
    entry["channel"] = json!({ "type": channel });
    entry["incident"] = reference(&incident.id, "incident_reference", &incident.title);
    entry["teams"] = json!([]);
    entry["contexts"] = json!([]);
    incident.log.push(entry);
    incident.log.last_mut().expect("it was just added")
}

/// An incident. Whom it is assigned to is forgotten when it is resolved; its log is not.
pub(super) fn incident(incident: &Incident) -> Value {
    let changed = incident.log.last().map_or_else(|| json!(incident.created_at), |e| e["created_at"].clone());
    let open = incident.status != "resolved";
    let mut shown = reference(&incident.id, "incident", &incident.title);
    shown["incident_number"] = json!(incident.id.bytes().map(u64::from).sum::<u64>());
    shown["title"] = json!(incident.title);
    shown["created_at"] = json!(incident.created_at);
    shown["updated_at"] = changed.clone();
    shown["last_status_change_at"] = changed.clone();
    shown["status"] = json!(incident.status);
    shown["incident_key"] = json!(incident.dedup_key);
    shown["urgency"] = json!("high");
    shown["service"] = reference(SERVICE, "service_reference", SERVICE_NAME);
    shown["escalation_policy"] = reference(POLICY, "escalation_policy_reference", "Everybody");
    shown["assigned_via"] = json!("escalation_policy");
    shown["assignments"] = if open {
        json!([{ "at": incident.created_at, "assignee": user_reference(USERS[0].id) }])
    } else {
        json!([])
    };
    shown["acknowledgements"] = match incident.status {
        "acknowledged" => incident
            .log
            .iter()
            .filter(|entry| entry["type"] == "acknowledge_log_entry")
            .map(|entry| json!({ "at": entry["created_at"], "acknowledger": entry["agent"] }))
            .collect(),
        _ => json!([]),
    };
    shown["incidents_responders"] =
        incident.called_in.iter().map(|(id, at)| responder(incident, id, *at)).collect();
    if !open {
        shown["resolved_at"] = changed;
    }
    shown
}

/// One who was asked to respond.
pub(super) fn responder(incident: &Incident, id: &str, at: Timestamp) -> Value {
    json!({
        "state": "pending", "user": user_reference(id), "updated_at": at, "requested_at": at,
        "incident": reference(&incident.id, "incident_reference", &incident.title),
    })
}

/// Any page of a list, as `limit` and `offset` cut it. How many there are is told only where it was asked for.
pub(super) fn page(name: &str, rows: Vec<Value>, limit: usize, offset: usize, total: Option<usize>) -> Value {
    let more = rows.len() > offset.saturating_add(limit);
    let rows: Vec<Value> = rows.into_iter().skip(offset).take(limit).collect();
    json!({ name: rows, "limit": limit, "offset": offset, "more": more, "total": total })
}
