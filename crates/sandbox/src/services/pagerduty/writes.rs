//! Incidents that people open and change through the REST API.
#![expect(clippy::result_large_err, reason = "a refusal is an answer like any other, made once a request")]

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use super::rest::{either, found, invalid, parsed, writer};
use super::wire::{self, Agent};
use super::{SERVICE, User, answer, events, refused};
use crate::server::Shared;
use crate::world::World;

/// What a change makes of an incident.
struct Change {
    status: &'static str,
    kind: &'static str,
}

impl Change {
    fn parse(incident: &Value) -> Result<Self, Response> {
        if !matches!(incident["type"].as_str(), Some("incident" | "incident_reference")) {
            return Err(invalid("incident.type"));
        }
        match incident["status"].as_str() {
            Some("resolved") => Ok(Self { status: "resolved", kind: "resolve" }),
            Some("acknowledged") => Ok(Self { status: "acknowledged", kind: "acknowledge" }),
            _ => Err(invalid("incident.status")),
        }
    }

    /// What it is counts, and not what was asked for: a resolved incident is resolved to an acknowledgement too.
    fn check(&self, world: &mut World, id: &str) -> Result<(), Response> {
        match found(world, id)?.status {
            "resolved" => Err(refused(400, 1001, "Incident Already Resolved")),
            now if now == self.status => Err(refused(400, 1002, "Incident Already Acknowledged")),
            _ => Ok(()),
        }
    }

    fn apply(&self, world: &mut World, id: &str, user: &User) -> Result<Value, Response> {
        self.check(world, id)?;
        let now = world.now();
        let incident = found(world, id)?;
        incident.status = self.status;
        wire::log(incident, self.kind, now, Agent::User(user.id));
        let shown = wire::incident(incident);
        world.ledger.note(now, &format!("pagerduty.{}", self.kind), id, true);
        Ok(shown)
    }
}

/// In the name of the user in `From`.
pub(super) async fn update(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    either((|| {
        let user = writer(&headers)?;
        let change = Change::parse(&parsed(&body)?["incident"])?;
        let shown = change.apply(&mut shared.world(), &id, user)?;
        Ok(answer(200, json!({ "incident": shown })))
    })())
}

/// All or none.
pub(super) async fn update_several(
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    either((|| {
        let user = writer(&headers)?;
        let body = parsed(&body)?;
        let incidents = body["incidents"].as_array().ok_or_else(|| invalid("incidents"))?;
        let change = |incident: &Value| {
            let id = incident["id"].as_str().ok_or_else(|| invalid("incident.id"))?;
            Ok((id.to_owned(), Change::parse(incident)?))
        };
        let changes = incidents.iter().map(change).collect::<Result<Vec<_>, Response>>()?;
        let mut world = shared.world();
        changes.iter().try_for_each(|(id, change)| change.check(&mut world, id))?;
        let shown = changes.iter().map(|(id, change)| change.apply(&mut world, id, user));
        let shown = shown.collect::<Result<Vec<_>, Response>>()?;
        Ok(answer(200, json!({ "incidents": shown })))
    })())
}

/// Opens an incident; one with a key of an open one is refused.
pub(super) async fn create(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    either((|| {
        let user = writer(&headers)?;
        let body = parsed(&body)?;
        let asked = &body["incident"];
        if asked["type"] != "incident" {
            return Err(invalid("incident.type"));
        }
        let title = asked["title"].as_str().filter(|title| !title.is_empty());
        let title = title.ok_or_else(|| invalid("incident.title"))?;
        if asked["service"]["id"] != SERVICE {
            return Err(invalid("incident.service"));
        }
        let mut world = shared.world();
        let given = asked["incident_key"].as_str().map(str::to_owned);
        let key = given.unwrap_or_else(|| format!("sbx{}", world.new_number()));
        let now = world.now();
        let is_open = |one: &crate::world::rows::Incident| one.dedup_key == key && one.status != "resolved";
        let there = world.incidents.iter().any(is_open);
        world.ledger.note(now, "pagerduty.create", &key, !there);
        if there {
            return Err(invalid("Open incident with matching dedup key already exists on this service"));
        }
        let id = events::begin(&mut world, &key, title, Agent::User(user.id));
        let shown = wire::incident(found(&mut world, &id)?);
        Ok(answer(201, json!({ "incident": shown })))
    })())
}
