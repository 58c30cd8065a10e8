//! PagerDuty: the Events API (accepts at once, acts later) and the REST API.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::{answer, header_text};
use crate::fault::Fault;
use crate::server::Shared;
use crate::world::World;
use crate::world::rows::Incident;

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/pagerduty-events/v2/enqueue", post(enqueue))
        .route("/pagerduty/incidents", get(list))
        .route("/pagerduty/incidents/{id}", get(one).put(update))
        .route("/pagerduty/incidents/{id}/notes", post(note))
        .route("/pagerduty/incidents/{id}/log_entries", get(log))
}

async fn enqueue(State(shared): State<Shared>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if body["routing_key"].as_str() != Some(crate::PAGERDUTY_ROUTING_KEY) {
        let errors = json!(["'routing_key' is invalid"]);
        return answer(
            400,
            json!({ "status": "invalid event", "message": "Event object is invalid", "errors": errors }),
        );
    }
    let mut world = shared.world();
    let given = body["dedup_key"].as_str().map(str::to_owned);
    let key = given.unwrap_or_else(|| format!("sbx{}", world.new_number()));
    match body["event_action"].as_str() {
        Some("trigger") if body["payload"]["summary"].is_string() => trigger(&mut world, &key, &body),
        // Without an open alert both are dropped, and still accepted.
        Some("acknowledge") => set_open(&mut world, &key, "acknowledged", "pagerduty.acknowledge"),
        Some("resolve") => set_open(&mut world, &key, "resolved", "pagerduty.resolve"),
        _ => {
            let errors = json!(["'event_action' or 'payload' is invalid"]);
            return answer(
                400,
                json!({ "status": "invalid event", "message": "Event object is invalid", "errors": errors }),
            );
        }
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
    let number = world.new_number();
    world.incidents.push(Incident {
        id: format!("PSBX{number}"),
        dedup_key: key.to_owned(),
        title: body["payload"]["summary"].as_str().unwrap_or_default().to_owned(),
        status: "triggered",
        created_at: now,
        notes: Vec::new(),
        log: Vec::new(),
    });
}

fn set_open(world: &mut World, key: &str, status: &'static str, effect: &str) {
    let now = world.now();
    let found = world
        .incidents
        .iter_mut()
        .find(|incident| incident.dedup_key == key && incident.status != "resolved");
    let changed = found.is_some();
    if let Some(incident) = found {
        incident.status = status;
    }
    world.ledger.note(now, effect, key, changed);
}

fn is_authorized(headers: &HeaderMap) -> bool {
    header_text(headers, header::AUTHORIZATION.as_str()).strip_prefix("Token token=")
        == Some(crate::PAGERDUTY_KEY)
}

fn unauthorized() -> Response {
    answer(401, json!({ "error": { "message": "Unauthorized", "code": 2006 } }))
}

fn missing() -> Response {
    answer(404, json!({ "error": { "message": "Not Found", "code": 2100 } }))
}

fn render(incident: &Incident) -> Value {
    json!({
        "id": incident.id, "type": "incident", "incident_key": incident.dedup_key, "title": incident.title,
        "status": incident.status, "created_at": incident.created_at.to_string(),
    })
}

async fn list(State(shared): State<Shared>, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    if !is_authorized(&headers) {
        return unauthorized();
    }
    let query = query.unwrap_or_default();
    let (mut key, mut statuses) = (None, Vec::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "incident_key" => key = Some(value.into_owned()),
            "statuses[]" => statuses.push(value.into_owned()),
            _ => {}
        }
    }
    let world = shared.world();
    let matches = |incident: &&Incident| {
        key.as_ref().is_none_or(|key| *key == incident.dedup_key)
            && (statuses.is_empty() || statuses.iter().any(|status| status == incident.status))
    };
    let incidents: Vec<Value> = world.incidents.iter().rev().filter(matches).map(render).collect();
    answer(200, json!({ "incidents": incidents, "limit": 25, "offset": 0, "more": false, "total": null }))
}

async fn one(State(shared): State<Shared>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    if !is_authorized(&headers) {
        return unauthorized();
    }
    let world = shared.world();
    let found = world.incidents.iter().find(|incident| incident.id == id);
    found.map_or_else(missing, |incident| answer(200, json!({ "incident": render(incident) })))
}

async fn update(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    if !is_authorized(&headers) {
        return unauthorized();
    }
    if header_text(&headers, "from").is_empty() {
        return answer(400, json!({ "error": { "message": "Requester User Not Found", "code": 1008 } }));
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut world = shared.world();
    let now = world.now();
    let Some(incident) = world.incidents.iter_mut().find(|incident| incident.id == id) else {
        return missing();
    };
    let (status, code) = match body["incident"]["status"].as_str() {
        Some("resolved") => ("resolved", 1001),
        Some("acknowledged") => ("acknowledged", 1002),
        _ => return answer(400, json!({ "error": { "message": "Invalid Input Provided", "code": 2001 } })),
    };
    if incident.status == status || incident.status == "resolved" {
        return answer(
            400,
            json!({ "error": { "message": format!("Incident Already {status}"), "code": code } }),
        );
    }
    incident.status = status;
    incident.log.push(json!({ "type": format!("{}_log_entry", if code == 1001 { "resolve" } else { "acknowledge" }), "created_at": now.to_string(), "agent": { "type": "user_reference", "summary": "On call" } }));
    let rendered = render(incident);
    world.ledger.note(
        now,
        if code == 1001 { "pagerduty.resolve" } else { "pagerduty.acknowledge" },
        &id,
        true,
    );
    answer(200, json!({ "incident": rendered }))
}

async fn note(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    if !is_authorized(&headers) {
        return unauthorized();
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut world = shared.world();
    let now = world.now();
    let Some(incident) = world.incidents.iter_mut().find(|incident| incident.id == id) else {
        return missing();
    };
    incident.notes.push(body["note"]["content"].as_str().unwrap_or_default().to_owned());
    world.ledger.note(now, "pagerduty.note", &id, true);
    answer(201, json!({ "note": { "id": "NSBX", "content": body["note"]["content"] } }))
}

async fn log(State(shared): State<Shared>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    if !is_authorized(&headers) {
        return unauthorized();
    }
    let world = shared.world();
    let found = world.incidents.iter().find(|incident| incident.id == id);
    found.map_or_else(missing, |incident| answer(200, json!({ "log_entries": incident.log, "more": false })))
}
