//! What is done to messages that are there: changed, taken back, reacted to.

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use super::{answer, arguments, by_id, failed, metadata_fault, refusal, shown};
use crate::server::Shared;
use crate::world::World;

/// What a call says, from its body or its address.
fn asked(query: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Value {
    let mut asked = Some(arguments(headers, body)).filter(Value::is_object).unwrap_or_else(|| json!({}));
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        asked[name.as_ref()] = json!(value);
    }
    asked
}

/// Which message a call means; `ts` is what it calls the message's time.
fn place(world: &World, asked: &Value, ts: &str) -> Result<usize, &'static str> {
    let channel = asked["channel"].as_str().and_then(by_id).ok_or("channel_not_found")?;
    let ts = asked[ts].as_str();
    let found = world.slack.iter().position(|one| one.channel == channel && Some(one.ts.as_str()) == ts);
    found.ok_or("message_not_found")
}

/// A call that changes the world.
fn change(
    shared: &Shared,
    headers: &HeaderMap,
    body: &[u8],
    change: impl FnOnce(&mut World, &Value) -> Result<Value, &'static str>,
) -> Response {
    if let Some(refused) = refusal(headers, body) {
        return refused;
    }
    let done = change(&mut shared.world(), &asked(None, headers, body));
    done.map_or_else(failed, |done| answer(200, done))
}

pub(super) async fn update(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    change(&shared, &headers, &body, |world, asked| {
        let place = place(world, asked, "ts")?;
        if let Some(fault) = metadata_fault(&asked["metadata"]) {
            return Err(fault);
        }
        let text = asked["text"].as_str().filter(|text| !text.is_empty());
        let blocks = asked["blocks"].as_array().filter(|blocks| !blocks.is_empty());
        if text.is_none() && blocks.is_none() {
            return Err("no_text");
        }
        let now = world.now();
        let message = &mut world.slack[place];
        text.unwrap_or_default().clone_into(&mut message.text);
        message.blocks = blocks.map(|blocks| json!(blocks));
        if !asked["metadata"].is_null() {
            message.metadata = Some(asked["metadata"].clone());
        }
        let done = json!({
            "ok": true, "channel": message.channel, "ts": message.ts, "text": message.text, "message": shown(message),
        });
        let subject = format!("{} {}", message.channel, message.ts);
        world.ledger.note(now, "slack.update", subject, true);
        Ok(done)
    })
}

pub(super) async fn delete(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    change(&shared, &headers, &body, |world, asked| {
        let place = place(world, asked, "ts")?;
        let message = world.slack.remove(place);
        world.slack_taken_back += 1;
        let now = world.now();
        world.ledger.note(now, "slack.delete", format!("{} {}", message.channel, message.ts), true);
        Ok(json!({ "ok": true, "channel": message.channel, "ts": message.ts }))
    })
}

pub(super) async fn react(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    change(&shared, &headers, &body, |world, asked| {
        let name = asked["name"].as_str().filter(|name| !name.is_empty()).ok_or("no_reaction")?;
        let place = place(world, asked, "timestamp")?;
        let reactions = &mut world.slack[place].reactions;
        if reactions.iter().any(|one| one == name) {
            return Err("already_reacted");
        }
        reactions.push(name.to_owned());
        Ok(json!({ "ok": true }))
    })
}

pub(super) async fn unreact(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    change(&shared, &headers, &body, |world, asked| {
        let place = place(world, asked, "timestamp")?;
        let reactions = &mut world.slack[place].reactions;
        let before = reactions.len();
        reactions.retain(|one| asked["name"] != one.as_str());
        if reactions.len() == before { Err("no_reaction") } else { Ok(json!({ "ok": true })) }
    })
}

pub(super) async fn reactions(
    State(shared): State<Shared>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    if let Some(refused) = refusal(&headers, &body) {
        return refused;
    }
    let world = shared.world();
    let asked = asked(query.as_deref(), &headers, &body);
    let found = place(&world, &asked, "timestamp").map(|place| &world.slack[place]);
    let done = found
        .map(|one| json!({ "ok": true, "type": "message", "channel": one.channel, "message": shown(one) }));
    done.map_or_else(failed, |done| answer(200, done))
}
