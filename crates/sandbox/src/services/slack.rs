//! Slack: failures come as 200 with `ok: false`. Messages are posted to a channel's name or id; everything else knows a
//! channel by its id only. An incoming webhook takes messages for one channel and answers in plain text.
//!
//! Parameters come in the address, as JSON, or as a form by POST, which is how the official client sends all of them.

mod changes;

use std::cmp::Ordering;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{answer, header_text};
use crate::fault::Fault;
use crate::server::Shared;
use crate::world::World;
use crate::world::rows::SlackMessage;

/// Name and id of each channel.
const CHANNELS: &[(&str, &str)] =
    &[("ops", "C0OPS"), ("ops-status", "C0STATUS"), ("data-ops", "C0DATA"), ("vendor-support", "C0VENDOR")];
/// Ids of the workspace, and of ourselves in it.
const TEAM: &str = "T0SBX";
const USER: &str = "U0SBX";
const BOT: &str = "B0SBX";
/// Somebody else in it.
const PERSON: &str = "U0PERSON";
/// The last part of the webhook's address; it is the channel for operations' one.
const WEBHOOK: &str = "sandboxwebhook";

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/slack/api/chat.postMessage", post(post_message))
        .route("/slack/api/chat.update", post(changes::update))
        .route("/slack/api/chat.delete", post(changes::delete))
        .route("/slack/api/reactions.add", post(changes::react))
        .route("/slack/api/reactions.remove", post(changes::unreact))
        .route("/slack/api/reactions.get", get(changes::reactions).post(changes::reactions))
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

/// Why a call is refused before anything of it is looked at. The token may come as a form's parameter too.
fn refusal(headers: &HeaderMap, body: &[u8]) -> Option<Response> {
    let in_form = || {
        let mut pairs = form_urlencoded::parse(body);
        pairs.find(|(name, _)| is_form(headers) && name == "token").map(|(_, token)| token.into_owned())
    };
    let header = header_text(headers, header::AUTHORIZATION.as_str());
    match header.strip_prefix("Bearer ").map(str::to_owned).or_else(in_form) {
        Some(token) if token == crate::SLACK_TOKEN => None,
        Some(_) => Some(failed("invalid_auth")),
        None => Some(failed("not_authed")),
    }
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
    let who = || {
        json!({
            "ok": true, "url": "https://sandbox.slack.com/", "team": "Sandbox", "user": "allclear",
            "team_id": TEAM, "user_id": USER, "bot_id": BOT, "is_enterprise_install": false,
        })
    };
    refusal(&headers, &body).unwrap_or_else(|| answer(200, who()))
}

/// What is wrong with a message's metadata.
fn metadata_fault(metadata: &Value) -> Option<&'static str> {
    let well_formed = metadata["event_type"].is_string() && metadata["event_payload"].is_object();
    (!metadata.is_null() && !well_formed).then_some("invalid_metadata_format")
}

async fn post_message(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(refused) = refusal(&headers, &body) {
        return refused;
    }
    let body = arguments(&headers, &body);
    let Some(channel) = body["channel"].as_str().and_then(by_name_or_id) else {
        return failed("channel_not_found");
    };
    let has_blocks = body["blocks"].as_array().is_some_and(|blocks| !blocks.is_empty());
    let text = body["text"].as_str().unwrap_or_default();
    if text.is_empty() && !has_blocks {
        return failed("no_text");
    }
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
        blocks: body.get("blocks").cloned(),
        reactions: Vec::new(),
        by_person: false,
    };
    let mut shown = shown(&message);
    let ts = keep(&mut world, message, &format!("{channel} {marker}"));
    shown["ts"] = json!(ts);
    answer(200, json!({ "ok": true, "channel": channel, "ts": ts, "message": shown }))
}

/// A message, without what a list may add.
fn shown(message: &SlackMessage) -> Value {
    let mut shown = json!({ "type": "message", "ts": message.ts, "text": message.text, "team": TEAM });
    if message.by_person {
        shown["user"] = json!(PERSON);
    } else {
        shown["user"] = json!(USER);
        shown["bot_id"] = json!(BOT);
    }
    if let Some(thread) = &message.thread_ts {
        shown["thread_ts"] = json!(thread);
    }
    if let Some(blocks) = &message.blocks {
        shown["blocks"] = blocks.clone();
    }
    if !message.reactions.is_empty() {
        let reaction = |name: &String| json!({ "name": name, "count": 1, "users": [USER] });
        shown["reactions"] = message.reactions.iter().map(reaction).collect();
    }
    shown
}

/// A time that no other message has, also none that was taken back.
fn next_ts(world: &World) -> String {
    format!("{}.{:06}", world.now().as_second(), world.slack.len() + world.slack_taken_back + 1)
}

/// Puts a message into its channel; returns its `ts`.
fn keep(world: &mut World, mut message: SlackMessage, subject: &str) -> String {
    let now = world.now();
    message.ts = next_ts(world);
    let (ts, lost) = (message.ts.clone(), world.has(Fault::SlackMessageLost));
    world.ledger.note(now, "slack.post", subject.trim_end(), !lost);
    if !lost {
        world.slack.push(message);
    }
    ts
}

/// Lets a person write to the channel of operations. It is no effect of ours, so the ledger does not have it.
pub(crate) fn let_somebody_post(world: &mut World, text: &str) {
    let ts = next_ts(world);
    world.slack.push(SlackMessage { ts, by_person: true, ..to_operations(text) });
}

/// A plain message in the channel of operations.
fn to_operations(text: &str) -> SlackMessage {
    SlackMessage {
        channel: CHANNELS[0].1.to_owned(),
        ts: String::new(),
        text: text.to_owned(),
        thread_ts: None,
        broadcast: false,
        metadata: None,
        blocks: None,
        reactions: Vec::new(),
        by_person: false,
    }
}

/// The parameters of a list.
struct Query {
    channel: Option<&'static str>,
    ts: String,
    with_metadata: bool,
    /// Messages after this, and before that; both are meant too where it says so.
    oldest: Option<Ts>,
    latest: Option<Ts>,
    inclusive: bool,
    limit: usize,
    /// Where the page begins; `None` for a cursor that we never gave.
    from: Option<usize>,
}

impl Query {
    /// From the address, and from a form where one was posted.
    fn parse(query: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Self {
        let mut parsed = Self {
            channel: None,
            ts: String::new(),
            with_metadata: false,
            oldest: None,
            latest: None,
            inclusive: false,
            limit: 100,
            from: Some(0),
        };
        let form = if is_form(headers) { body } else { &[] };
        let in_address = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        for (name, value) in in_address.chain(form_urlencoded::parse(form)) {
            match name.as_ref() {
                "channel" => parsed.channel = by_id(&value),
                "ts" => parsed.ts = value.into_owned(),
                "oldest" => parsed.oldest = moment(&value),
                "latest" => parsed.latest = moment(&value),
                "inclusive" => parsed.inclusive = matches!(value.as_ref(), "true" | "1"),
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

    /// Whether a message lies between the ends that were asked for.
    fn covers(&self, message: &SlackMessage) -> bool {
        let Some(at) = moment(&message.ts) else { return false };
        let within = |end: Option<Ts>, right: Ordering| {
            end.is_none_or(|end| at.cmp(&end) == right || (self.inclusive && at == end))
        };
        within(self.oldest, Ordering::Greater) && within(self.latest, Ordering::Less)
    }

    /// A message as lists show it; one that was answered says how often.
    fn render(&self, message: &SlackMessage, all: &[SlackMessage]) -> Value {
        let mut rendered = shown(message);
        let is_answer = |other: &&SlackMessage| {
            other.channel == message.channel && other.thread_ts.as_ref() == Some(&message.ts)
        };
        let answers: Vec<&SlackMessage> = all.iter().filter(is_answer).collect();
        if let Some(last) = answers.last() {
            rendered["thread_ts"] = json!(message.ts);
            rendered["reply_count"] = json!(answers.len());
            rendered["latest_reply"] = json!(last.ts);
        }
        if let (true, Some(metadata)) = (self.with_metadata, &message.metadata) {
            rendered["metadata"] = metadata.clone();
        }
        rendered
    }
}

/// A message's name is when it was posted: seconds, and a number that no other of the second has.
type Ts = (u64, u64);

fn moment(text: &str) -> Option<Ts> {
    let (seconds, number) = text.split_once('.').unwrap_or((text, "0"));
    Some((seconds.parse().ok()?, number.parse().ok()?))
}

async fn list(headers: HeaderMap, RawQuery(query): RawQuery, body: Bytes) -> Response {
    if let Some(refused) = refusal(&headers, &body) {
        return refused;
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
    if let Some(refused) = refusal(&headers, &body) {
        return refused;
    }
    let query = Query::parse(query.as_deref(), &headers, &body);
    let Some(channel) = query.channel else { return failed("channel_not_found") };
    let world = shared.world();
    let in_channel = |message: &&SlackMessage| {
        let is_shown = message.thread_ts.is_none() || message.broadcast;
        message.channel == channel && is_shown && query.covers(message)
    };
    let messages =
        world.slack.iter().rev().filter(in_channel).map(|message| query.render(message, &world.slack));
    query.page("messages", messages.collect())
}

/// The thread's first message and its answers, oldest first.
async fn replies(
    State(shared): State<Shared>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    if let Some(refused) = refusal(&headers, &body) {
        return refused;
    }
    let query = Query::parse(query.as_deref(), &headers, &body);
    let Some(channel) = query.channel else { return failed("channel_not_found") };
    let world = shared.world();
    let of_thread = |message: &&SlackMessage| {
        message.channel == channel
            && (message.ts == query.ts || message.thread_ts.as_deref() == Some(&query.ts))
    };
    let messages: Vec<Value> =
        world.slack.iter().filter(of_thread).map(|message| query.render(message, &world.slack)).collect();
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
    let message = to_operations(text);
    // It carries no metadata, so its text tells it from others.
    let digest = Sha256::digest(text.as_bytes());
    let about = format!("{} by webhook {:02x}{:02x}{:02x}", CHANNELS[0].1, digest[0], digest[1], digest[2]);
    keep(&mut shared.world(), message, &about);
    plain(StatusCode::OK, "ok")
}
