//! Messages: an answer says that one was accepted, and nothing of whether it arrives.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use super::{answer, no_object, refusal, refused, refused_because, tell_usage, templates};
use crate::fault::Fault;
use crate::server::Shared;
use crate::world::rows::wamid;
use crate::world::{SendError, World};

/// Kinds of messages that are taken as they are.
const KINDS: [&str; 9] =
    ["image", "document", "video", "audio", "sticker", "location", "contacts", "interactive", "reaction"];

pub(super) async fn send(
    State(shared): State<Shared>,
    Path((version, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut world = shared.world();
    if let Some(refused) = refusal(&world, &version, &headers) {
        return refused;
    }
    if id != crate::PHONE_ID {
        return no_object(&id);
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if body["messaging_product"] != "whatsapp" {
        return refused(400, 100, "(#100) The parameter messaging_product is required.");
    }
    let to = body["to"].as_str().unwrap_or_default();
    let Some(msisdn) = digits(to) else {
        return refused_because(
            400,
            131_009,
            "(#131009) Parameter value is not valid",
            "Recipient is not a phone number",
        );
    };
    let kind = body["type"].as_str().unwrap_or("text");
    if let Some(refused) = fault(kind, &body[kind]) {
        return refused;
    }
    let now = world.now();
    if let Some(error) = world.send_error(now, false) {
        return failure(&world, &error);
    }
    let is_dropped = world.has(Fault::AcceptedAndDropped);
    let number = if is_dropped { world.new_number() } else { world.log_send(None, None, msisdn, now) };
    world.ledger.note(now, "message.send", "direct", !is_dropped);
    let mut message = json!({ "id": wamid(number) });
    if kind == "template" {
        message["message_status"] = json!("accepted");
    }
    answer(
        200,
        json!({
            "messaging_product": "whatsapp", "messages": [message],
            "contacts": [{ "input": to, "wa_id": msisdn.to_string() }],
        }),
    )
}

/// A number as people write it.
fn digits(text: &str) -> Option<u64> {
    let digits: String = text.chars().filter(|one| !" +-()".contains(*one)).collect();
    (7..=15).contains(&digits.len()).then(|| digits.parse().ok())?
}

/// What is wrong with a message.
fn fault(kind: &str, content: &Value) -> Option<Response> {
    match kind {
        "text" => {
            let text = content["body"].as_str().unwrap_or_default();
            let fits = (1..=4_096).contains(&text.chars().count());
            (!fits).then(|| refused(400, 100, "(#100) Invalid parameter: text.body"))
        }
        "template" => templates::fault(content),
        kind if KINDS.contains(&kind) && !content.is_null() => None,
        kind => Some(refused(400, 100, &format!("(#100) Invalid parameter: type {kind}"))),
    }
}

/// What Graph says while it does not send.
fn failure(world: &World, error: &SendError) -> Response {
    let mut response = match error.code.parse() {
        Ok(code) => refused(error.http, code, &format!("(#{code}) send failed")),
        Err(_) => refused(error.http, 131_016, "(#131016) Service unavailable"),
    };
    tell_usage(world, Some(error), &mut response);
    response
}
