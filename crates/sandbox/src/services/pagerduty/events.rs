//! The Events API.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::wire::{self, Agent};
use super::{USERS, answer};
use crate::fault::Fault;
use crate::server::Shared;
use crate::world::World;
use crate::world::rows::Incident;

const SEVERITIES: [&str; 4] = ["critical", "error", "warning", "info"];

/// What is wrong with an event.
fn faults(body: &Value) -> Vec<&'static str> {
    let mut faults = Vec::new();
    if body["routing_key"].as_str() != Some(crate::PAGERDUTY_ROUTING_KEY) {
        faults.push("'routing_key' is invalid");
    }
    let action = body["event_action"].as_str().unwrap_or_default();
    if !matches!(action, "trigger" | "acknowledge" | "resolve") {
        faults.push("'event_action' is invalid");
    }
    let key = &body["dedup_key"];
    if !(key.is_null() || key.as_str().is_some_and(|key| key.len() <= 255)) {
        faults.push("'dedup_key' is invalid");
    }
    if key.is_null() && matches!(action, "acknowledge" | "resolve") {
        faults.push("'dedup_key' is missing or blank");
    }
    let payload = &body["payload"];
    if action == "trigger" || !payload.is_null() {
        if payload["summary"].as_str().is_none_or(str::is_empty) {
            faults.push("'payload.summary' is missing or blank");
        }
        if payload["source"].as_str().is_none_or(str::is_empty) {
            faults.push("'payload.source' is missing or blank");
        }
        if !payload["severity"].as_str().is_some_and(|word| SEVERITIES.contains(&word)) {
            faults.push("'payload.severity' is invalid");
        }
        if !(payload["custom_details"].is_null() || payload["custom_details"].is_object()) {
            faults.push("'payload.custom_details' is invalid");
        }
    }
    faults
}

pub(super) async fn enqueue(State(shared): State<Shared>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let faults = faults(&body);
    if !faults.is_empty() {
        let message = "Event object is invalid";
        return answer(400, json!({ "status": "invalid event", "message": message, "errors": faults }));
    }
    let mut world = shared.world();
    let given = body["dedup_key"].as_str().map(str::to_owned);
    let key = given.unwrap_or_else(|| format!("sbx{}", world.new_number()));
    match body["event_action"].as_str() {
        // Without an open alert both are dropped, and still accepted.
        Some("acknowledge") => set_open(&mut world, &key, "acknowledged", "pagerduty.acknowledge"),
        Some("resolve") => set_open(&mut world, &key, "resolved", "pagerduty.resolve"),
        _ => trigger(&mut world, &key, &body),
    }
    answer(202, json!({ "status": "success", "message": "Event processed", "dedup_key": key }))
}

fn trigger(world: &mut World, key: &str, body: &Value) {
    let now = world.now();
    let open =
        world.incidents.iter().any(|incident| incident.dedup_key == key && incident.status != "resolved");
    let dropped = world.has(Fault::PagerDutyDropped);
    world.ledger.note(now, "pagerduty.trigger", key, !open && !dropped);
    if open || dropped {
        return;
    }
    let summary = body["payload"]["summary"].as_str().unwrap_or_default();
    begin(world, key, summary, Agent::Integration);
}

/// Opens an incident; returns its id.
pub(super) fn begin(world: &mut World, key: &str, title: &str, by: Agent) -> String {
    let (now, number) = (world.now(), world.new_number());
    let mut incident = Incident {
        id: format!("PSBX{number}"),
        dedup_key: key.to_owned(),
        title: title.chars().take(1_024).collect(),
        status: "triggered",
        created_at: now,
        notes: Vec::new(),
        log: Vec::new(),
        called_in: Vec::new(),
    };
    wire::log(&mut incident, "trigger", now, by);
    let on_call = wire::reference(USERS[0].id, "user_reference", USERS[0].name);
    wire::log(&mut incident, "assign", now, by)["assignees"] = json!([on_call]);
    let id = incident.id.clone();
    world.incidents.push(incident);
    id
}

/// In the integration's name: no person acknowledged or resolved anything.
fn set_open(world: &mut World, key: &str, status: &'static str, effect: &str) {
    let now = world.now();
    let found = world
        .incidents
        .iter_mut()
        .find(|incident| incident.dedup_key == key && incident.status != "resolved");
    let changed = found.is_some();
    if let Some(incident) = found {
        incident.status = status;
        let kind = if status == "resolved" { "resolve" } else { "acknowledge" };
        wire::log(incident, kind, now, Agent::Integration);
    }
    world.ledger.note(now, effect, key, changed);
}
