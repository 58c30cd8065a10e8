//! Slack: failures come as 200 with `ok: false`. Messages are posted to a channel's name or id; everything else knows a
//! channel by its id only. An incoming webhook takes messages for one channel and answers in plain text.
//!
//! Parameters come in the address, as JSON, or as a form by POST, which is how the official client sends all of them.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{answer, has_bearer, header_text};
use crate::fault::Fault;
use crate::server::Shared;
use crate::world::World;
use crate::world::rows::SlackMessage;

/// Name and id of each channel.
const CHANNELS: &[(&str, &str)] =
    &[("ops", "C0OPS"), ("ops-status", "C0STATUS"), ("data-ops", "C0DATA"), ("vendor-support", "C0VENDOR")];
/// The last part of the webhook's address; it is the channel for operations' one.
const WEBHOOK: &str = "sandboxwebhook";

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/slack/api/chat.postMessage", post(post_message))
        .route("/slack/api/conversations.list", get(list).post(list))
        .route("/slack/api/conversations.history", get(history).post(history))
        .route("/slack/api/conversations.replies", get(replies).post(replies))
        .route("/slack/api/auth.test", post(auth_test).get(auth_test))
        .route("/slack/api/{method}", any(async || failed("unknown_method")))
        .route("/slack/services/{team}/{bot}/{secret}", post(webhook))
}

fn failed(error: &str) -> Response {
    answer(200, json!({ "ok": false, "error": error }))
}

fn by_id(id: &str) -> Option<&'static str> {
    CHANNELS.iter().map(|(_, id)| *id).find(|known| *known == id)
}

fn by_name_or_id(channel: &str) -> Option<&'static str> {
    let named = CHANNELS.iter().find(|(name, _)| *name == channel.trim_start_matches('#'));
    named.map(|(_, id)| *id).or_else(|| by_id(channel))
}

/// Whether a body is a form.
fn is_form(headers: &HeaderMap) -> bool {
    header_text(headers, "content-type").starts_with("application/x-www-form-urlencoded")
}

/// The token may come as a form's parameter too.
fn is_authorized(headers: &HeaderMap, body: &[u8]) -> bool {
    let by_form = || {
        let mut pairs = form_urlencoded::parse(body);
        is_form(headers) && pairs.any(|(name, value)| name == "token" && value == crate::SLACK_TOKEN)
    };
    has_bearer(headers, crate::SLACK_TOKEN) || by_form()
}

/// A body's arguments. A form has texts only: what is not one is written as JSON in it.
fn arguments(headers: &HeaderMap, body: &[u8]) -> Value {
    if !is_form(headers) {
        return serde_json::from_slice(body).unwrap_or_default();
    }
    let read = |name: &str, text: &str| match name {
        "metadata" | "blocks" | "attachments" | "reply_broadcast" => {
            serde_json::from_str(text).unwrap_or_else(|_| json!(text))
        }
        _ => json!(text),
    };
    let pairs = form_urlencoded::parse(body);
    Value::Object(pairs.map(|(name, text)| (name.to_string(), read(&name, &text))).collect())
}

async fn auth_test(headers: HeaderMap, body: Bytes) -> Response {
    if is_authorized(&headers, &body) {
        answer(200, json!({ "ok": true, "team": "Sandbox", "user": "allclear", "bot_id": "B0SBX" }))
    } else {
        failed("invalid_auth")
    }
}

/// What is wrong with a message's metadata.
fn metadata_fault(metadata: &Value) -> Option<&'static str> {
    let well_formed = metadata["event_type"].is_string() && metadata["event_payload"].is_object();
    (!metadata.is_null() && !well_formed).then_some("invalid_metadata_format")
}

async fn post_message(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    if !is_authorized(&headers, &body) {
        return failed("invalid_auth");
    }
    let body = arguments(&headers, &body);
    let Some(channel) = body["channel"].as_str().and_then(by_name_or_id) else {
        return failed("channel_not_found");
    };
    let Some(text) = body["text"].as_str().filter(|text| !text.is_empty()) else { return failed("no_text") };
    if let Some(fault) = metadata_fault(&body["metadata"]) {
        return failed(fault);
    }
    let mut world = shared.world();
    let thread_ts = body["thread_ts"].as_str();
    let known = |ts: &str| world.slack.iter().any(|one| one.channel == channel && one.ts == ts);
    if thread_ts.is_some_and(|ts| !known(ts)) || body["thread_ts"].is_number() {
        return failed("cannot_reply_to_message");
    }
    // Several messages to one channel are several effects: a marker of the sender's tells them apart.
    let marker = body["metadata"]["event_payload"]["marker"].as_str().unwrap_or_default();
    let message = SlackMessage {
        channel: channel.to_owned(),
        ts: String::new(),
        text: text.to_owned(),
        thread_ts: thread_ts.map(str::to_owned),
        broadcast: body["reply_broadcast"] == true,
        metadata: body.get("metadata").cloned(),
    };
    let ts = keep(&mut world, message, &format!("{channel} {marker}"));
    answer(200, json!({ "ok": true, "channel": channel, "ts": ts, "message": { "text": text, "ts": ts } }))
}

/// Puts a message into its channel; returns its `ts`.
fn keep(world: &mut World, mut message: SlackMessage, subject: &str) -> String {
    let now = world.now();
    message.ts = format!("{}.{:06}", now.as_second(), world.slack.len() + 1);
    let (ts, lost) = (message.ts.clone(), world.has(Fault::SlackMessageLost));
    world.ledger.note(now, "slack.post", subject.trim_end(), !lost);
    if !lost {
        world.slack.push(message);
    }
    ts
}

/// Lets a person write to the channel of operations. It is no effect of ours, so the ledger does not have it.
pub(crate) fn let_somebody_post(world: &mut World, text: &str) {
    let ts = format!("{}.{:06}", world.now().as_second(), world.slack.len() + 1);
    world.slack.push(SlackMessage {
        channel: CHANNELS[0].1.to_owned(),
        ts,
        text: text.to_owned(),
        thread_ts: None,
        broadcast: false,
        metadata: None,
    });
}

/// The parameters of a list.
struct Query {
    channel: Option<&'static str>,
    ts: String,
    with_metadata: bool,
    limit: usize,
    /// Where the page begins; `None` for a cursor that we never gave.
    from: Option<usize>,
}

impl Query {
    /// From the address, and from a form where one was posted.
    fn parse(query: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Self {
        let mut parsed =
            Self { channel: None, ts: String::new(), with_metadata: false, limit: 100, from: Some(0) };
        let form = if is_form(headers) { body } else { &[] };
        let in_address = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        for (name, value) in in_address.chain(form_urlencoded::parse(form)) {
            match name.as_ref() {
                "channel" => parsed.channel = by_id(&value),
                "ts" => parsed.ts = value.into_owned(),
                "include_all_metadata" => parsed.with_metadata = matches!(value.as_ref(), "true" | "1"),
                "limit" => parsed.limit = value.parse().unwrap_or(100).clamp(1, 999),
                // A first page may come with an empty one.
                "cursor" if value.is_empty() => {}
                "cursor" => parsed.from = value.strip_prefix("next:").and_then(|place| place.parse().ok()),
                _ => {}
            }
        }
        parsed
    }

    fn page(&self, name: &str, rows: Vec<Value>) -> Response {
        let Some(from) = self.from else { return failed("invalid_cursor") };
        let end = from.saturating_add(self.limit);
        let next = if rows.len() > end { format!("next:{end}") } else { String::new() };
        let has_more = !next.is_empty();
        let rows: Vec<Value> = rows.into_iter().skip(from).take(self.limit).collect();
        let cursor = json!({ "next_cursor": next });
        answer(200, json!({ "ok": true, name: rows, "has_more": has_more, "response_metadata": cursor }))
    }

    fn render(&self, message: &SlackMessage) -> Value {
        let mut rendered = json!({ "type": "message", "ts": message.ts, "text": message.text });
        if let Some(thread) = &message.thread_ts {
            rendered["thread_ts"] = json!(thread);
        }
        if let (true, Some(metadata)) = (self.with_metadata, &message.metadata) {
            rendered["metadata"] = metadata.clone();
        }
        rendered
    }
}

async fn list(headers: HeaderMap, RawQuery(query): RawQuery, body: Bytes) -> Response {
    if !is_authorized(&headers, &body) {
        return failed("invalid_auth");
    }
    let channels = CHANNELS.iter().map(|(name, id)| json!({ "id": id, "name": name, "is_archived": false }));
    Query::parse(query.as_deref(), &headers, &body).page("channels", channels.collect())
}

/// Newest first, and without answers in threads that are not shown in the channel.
async fn history(
    State(shared): State<Shared>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    if !is_authorized(&headers, &body) {
        return failed("invalid_auth");
    }
    let query = Query::parse(query.as_deref(), &headers, &body);
    let Some(channel) = query.channel else { return failed("channel_not_found") };
    let world = shared.world();
    let in_channel = |message: &&SlackMessage| {
        message.channel == channel && (message.thread_ts.is_none() || message.broadcast)
    };
    let messages = world.slack.iter().rev().filter(in_channel).map(|message| query.render(message));
    query.page("messages", messages.collect())
}

/// The thread's first message and its answers, oldest first.
async fn replies(
    State(shared): State<Shared>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    if !is_authorized(&headers, &body) {
        return failed("invalid_auth");
    }
    let query = Query::parse(query.as_deref(), &headers, &body);
    let Some(channel) = query.channel else { return failed("channel_not_found") };
    let world = shared.world();
    let of_thread = |message: &&SlackMessage| {
        message.channel == channel
            && (message.ts == query.ts || message.thread_ts.as_deref() == Some(&query.ts))
    };
    let messages: Vec<Value> =
        world.slack.iter().filter(of_thread).map(|message| query.render(message)).collect();
    if messages.is_empty() {
        return failed("thread_not_found");
    }
    query.page("messages", messages)
}

async fn webhook(
    State(shared): State<Shared>,
    Path((_, _, secret)): Path<(String, String, String)>,
    body: Bytes,
) -> Response {
    let plain = |status: StatusCode, text: &'static str| {
        (status, [(header::CONTENT_TYPE, "text/html")], text).into_response()
    };
    if secret != WEBHOOK {
        return plain(StatusCode::NOT_FOUND, "no_service");
    }
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return plain(StatusCode::BAD_REQUEST, "invalid_payload");
    };
    let Some(text) = body["text"].as_str().filter(|text| !text.is_empty()) else {
        return plain(StatusCode::BAD_REQUEST, "no_text");
    };
    let message = SlackMessage {
        channel: CHANNELS[0].1.to_owned(),
        ts: String::new(),
        text: text.to_owned(),
        thread_ts: None,
        broadcast: false,
        metadata: None,
    };
    // It carries no metadata, so its text tells it from others.
    let digest = Sha256::digest(text.as_bytes());
    let about = format!("{} by webhook {:02x}{:02x}{:02x}", CHANNELS[0].1, digest[0], digest[1], digest[2]);
    keep(&mut shared.world(), message, &about);
    plain(StatusCode::OK, "ok")
}
