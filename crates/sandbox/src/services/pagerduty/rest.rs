//! The REST API.
#![expect(clippy::result_large_err, reason = "a refusal is an answer like any other, made once a request")]

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::wire;
use super::{POLICY, SERVICE, USERS, User, answer, people, refused};
use crate::server::Shared;
use crate::services::header_text;
use crate::world::World;
use crate::world::rows::Incident;

const STATUSES: [&str; 3] = ["triggered", "acknowledged", "resolved"];

/// What every request must have.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Response> {
    let key = header_text(headers, header::AUTHORIZATION.as_str()).strip_prefix("Token token=");
    if key != Some(crate::PAGERDUTY_KEY) {
        return Err(refused(401, 2006, "Unauthorized"));
    }
    // It says which version of the API is meant.
    if header_text(headers, header::ACCEPT.as_str()).is_empty() {
        return Err(refused(400, 2001, "Invalid Input Provided: Accept header is missing"));
    }
    Ok(())
}

/// In whose name a write is made.
pub(super) fn writer(headers: &HeaderMap) -> Result<&'static User, Response> {
    check(headers)?;
    let from = header_text(headers, "from");
    let user = USERS.iter().find(|user| user.email == from);
    user.ok_or_else(|| refused(400, 1008, "Requester User Not Found"))
}

fn missing() -> Response {
    refused(404, 2100, "Not Found")
}

pub(super) fn invalid(what: &str) -> Response {
    refused(400, 2001, &format!("Invalid Input Provided: {what}"))
}

/// The parameters of a list.
#[derive(Default)]
struct Query {
    pairs: Vec<(String, String)>,
    limit: usize,
    offset: usize,
}

impl Query {
    fn parse(query: Option<String>) -> Result<Self, Response> {
        let query = query.unwrap_or_default();
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let number = |name: &str, otherwise: usize| match pairs.iter().find(|(key, _)| key == name) {
            Some((_, text)) => text.parse::<usize>().map_err(|_| invalid(name)),
            None => Ok(otherwise),
        };
        let (limit, offset) = (number("limit", 25)?.min(100), number("offset", 0)?);
        if limit.saturating_add(offset) > 10_000 {
            return Err(invalid("offset and limit go beyond 10000"));
        }
        let flag = |name: &str| {
            let mut values = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
            if values.all(|value| matches!(value, "true" | "false")) { Ok(()) } else { Err(invalid(name)) }
        };
        ["is_overview", "total", "earliest"].into_iter().try_for_each(flag)?;
        Ok(Self { pairs, limit, offset })
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn page(&self, name: &str, rows: Vec<Value>) -> Response {
        let total = self.all("total").any(|asked| asked == "true").then_some(rows.len());
        answer(200, wire::page(name, rows, self.limit, self.offset, total))
    }
}

pub(super) type Answered = Result<Response, Response>;

/// Answers and refusals go out alike.
pub(super) fn either(answered: Answered) -> Response {
    answered.unwrap_or_else(|refused| refused)
}

pub(super) fn parsed(body: &Bytes) -> Result<Value, Response> {
    serde_json::from_slice(body).map_err(|_| invalid("the body is no JSON"))
}

pub(super) fn found<'a>(world: &'a mut World, id: &str) -> Result<&'a mut Incident, Response> {
    world.incidents.iter_mut().find(|incident| incident.id == id).ok_or_else(missing)
}

pub(super) async fn list(
    State(shared): State<Shared>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    either((|| {
        check(&headers)?;
        let query = Query::parse(query)?;
        if query.all("date_range").any(|range| range != "all") {
            return Err(invalid("date_range"));
        }
        if query.all("statuses[]").any(|status| !STATUSES.contains(&status)) {
            return Err(invalid("statuses"));
        }
        let world = shared.world();
        let key = query.all("incident_key").next();
        let matches = |incident: &&Incident| {
            key.is_none_or(|key| key == incident.dedup_key)
                && (query.all("service_ids[]").next().is_none()
                    || query.all("service_ids[]").any(|service| service == SERVICE))
                && (query.all("statuses[]").next().is_none()
                    || query.all("statuses[]").any(|status| status == incident.status))
        };
        let rows = world.incidents.iter().rev().filter(matches).map(wire::incident).collect();
        Ok(query.page("incidents", rows))
    })())
}

pub(super) async fn one(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    either((|| {
        check(&headers)?;
        let mut world = shared.world();
        let shown = wire::incident(found(&mut world, &id)?);
        Ok(answer(200, json!({ "incident": shown })))
    })())
}

fn note_of(text: &str) -> Value {
    json!({
        "id": "NSBX", "content": text, "user": wire::user_reference(USERS[0].id),
        "channel": { "summary": "The PagerDuty website or APIs" },
    })
}

pub(super) async fn notes(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    either((|| {
        check(&headers)?;
        let mut world = shared.world();
        let notes: Vec<Value> = found(&mut world, &id)?.notes.iter().map(|text| note_of(text)).collect();
        Ok(answer(200, json!({ "notes": notes })))
    })())
}

pub(super) async fn note(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    either((|| {
        writer(&headers)?;
        let body = parsed(&body)?;
        let text = body["note"]["content"].as_str().ok_or_else(|| invalid("note.content"))?;
        let mut world = shared.world();
        let now = world.now();
        found(&mut world, &id)?.notes.push(text.to_owned());
        world.ledger.note(now, "pagerduty.note", &id, true);
        Ok(answer(200, json!({ "note": note_of(text) })))
    })())
}

pub(super) async fn status_update(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    either((|| {
        let user = writer(&headers)?;
        let body = parsed(&body)?;
        let text = body["message"].as_str().ok_or_else(|| invalid("message"))?;
        let mut world = shared.world();
        let now = world.now();
        found(&mut world, &id)?;
        world.ledger.note(now, "pagerduty.status_update", &id, true);
        let update = json!({
            "id": "USBX", "message": text, "created_at": now, "sender": wire::user_reference(user.id),
        });
        Ok(answer(200, json!({ "status_update": update })))
    })())
}

/// Newest first, as PagerDuty has it.
pub(super) async fn log(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    either((|| {
        check(&headers)?;
        let query = Query::parse(query)?;
        let mut world = shared.world();
        people::answer(&mut world);
        let rows = found(&mut world, &id)?.log.iter().rev().cloned().collect();
        Ok(query.page("log_entries", rows))
    })())
}

/// Asks again whoever is asked for again: PagerDuty has no key for it.
pub(super) async fn call_in(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    either((|| {
        check(&headers)?;
        let body = parsed(&body)?;
        let message = body["message"].as_str().ok_or_else(|| invalid("message"))?;
        let requester = body["requester_id"].as_str().ok_or_else(|| invalid("requester_id"))?;
        let targets = body["responder_request_targets"].as_array().ok_or_else(|| invalid("targets"))?;
        if !USERS.iter().any(|user| user.id == requester) {
            return Err(refused(400, 1008, "Requester User Not Found"));
        }
        let known = |target: &Value| {
            let target = &target["responder_request_target"];
            USERS.iter().find(|user| target["type"] == "user_reference" && target["id"] == user.id)
        };
        let users: Option<Vec<&User>> = targets.iter().map(known).collect();
        let users = users.filter(|users| !users.is_empty()).ok_or_else(|| invalid("targets"))?;
        let mut world = shared.world();
        let now = world.now();
        let incident = found(&mut world, &id)?;
        let mut asked = Vec::new();
        for user in &users {
            let first = !incident.called_in.iter().any(|(id, _)| *id == user.id);
            if first {
                incident.called_in.push((user.id, now));
            }
            asked.push((first, user.id));
        }
        let shown = |user: &&User| {
            json!({ "responder_request_target": {
                "type": "user", "id": user.id, "incidents_responders": [wire::responder(incident, user.id, now)],
            }})
        };
        let request = json!({
            "incident": wire::reference(&incident.id, "incident_reference", &incident.title),
            "requester": wire::user_reference(requester), "requested_at": now, "message": message,
            "responder_request_targets": users.iter().map(shown).collect::<Vec<_>>(),
        });
        for (first, user) in asked {
            world.ledger.note(now, "pagerduty.call_in", format!("{id} {user}"), first);
        }
        Ok(answer(200, json!({ "responder_request": request })))
    })())
}

pub(super) async fn users(headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    either((|| {
        check(&headers)?;
        let query = Query::parse(query)?;
        let named = |user: &&User| {
            query.all("query").map(str::to_lowercase).all(|text| {
                user.name.to_lowercase().contains(&text) || user.email.to_lowercase().contains(&text)
            })
        };
        Ok(query.page("users", USERS.iter().filter(named).map(wire::user).collect()))
    })())
}

/// A thing of which there is one, by its id.
fn only(headers: &HeaderMap, asked: &str, name: &str, shown: &Value) -> Response {
    either(check(headers).and_then(|()| {
        if shown["id"] == asked { Ok(answer(200, json!({ name: shown }))) } else { Err(missing()) }
    }))
}

/// The list of a thing of which there is one; `query` is a part of its name.
fn only_list(headers: &HeaderMap, query: Option<String>, name: &str, shown: Value) -> Response {
    either((|| {
        check(headers)?;
        let query = Query::parse(query)?;
        let called = shown["name"].as_str().unwrap_or_default().to_lowercase();
        let is_meant = query.all("query").all(|text| called.contains(&text.to_lowercase()));
        Ok(query.page(name, if is_meant { vec![shown] } else { Vec::new() }))
    })())
}

pub(super) async fn services(headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    only_list(&headers, query, "services", wire::service())
}

pub(super) async fn service(headers: HeaderMap, Path(id): Path<String>) -> Response {
    only(&headers, &id, "service", &wire::service())
}

pub(super) async fn policies(headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    only_list(&headers, query, "escalation_policies", wire::policy())
}

pub(super) async fn policy(headers: HeaderMap, Path(id): Path<String>) -> Response {
    only(&headers, &id, "escalation_policy", &wire::policy())
}

pub(super) async fn user(headers: HeaderMap, Path(id): Path<String>) -> Response {
    either(check(&headers).and_then(|()| {
        let user = USERS.iter().find(|user| user.id == id).ok_or_else(missing)?;
        Ok(answer(200, json!({ "user": wire::user(user) })))
    }))
}

pub(super) async fn on_calls(headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    either((|| {
        check(&headers)?;
        let query = Query::parse(query)?;
        let asked = query.all("escalation_policy_ids[]").next().is_none()
            || query.all("escalation_policy_ids[]").any(|id| id == POLICY);
        let on_call = json!({
            "user": wire::user_reference(USERS[0].id), "escalation_level": 1,
            "escalation_policy": wire::reference(POLICY, "escalation_policy_reference", "Everybody"),
        });
        Ok(query.page("oncalls", if asked { vec![on_call] } else { Vec::new() }))
    })())
}
