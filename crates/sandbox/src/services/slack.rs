//! Slack: failures come as 200 with `ok: false`.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::{answer, has_bearer};
use crate::fault::Fault;
use crate::server::Shared;
use crate::world::rows::SlackMessage;

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/slack/api/chat.postMessage", post(post_message))
        .route("/slack/api/conversations.history", get(history))
        .route("/slack/api/auth.test", post(auth_test).get(auth_test))
}

fn failed(error: &str) -> Response {
    answer(200, json!({ "ok": false, "error": error }))
}

/// Channels go by name or by id.
fn channel_id(name: &str) -> Option<&'static str> {
    match name.trim_start_matches('#') {
        "ops" | "C0OPS" => Some("C0OPS"),
        "ops-status" | "C0STATUS" => Some("C0STATUS"),
        "data-ops" | "C0DATA" => Some("C0DATA"),
        "vendor-support" | "C0VENDOR" => Some("C0VENDOR"),
        _ => None,
    }
}

async fn auth_test(headers: HeaderMap) -> Response {
    if has_bearer(&headers, crate::SLACK_TOKEN) {
        answer(200, json!({ "ok": true, "team": "Sandbox", "user": "allclear", "bot_id": "B0SBX" }))
    } else {
        failed("invalid_auth")
    }
}

async fn post_message(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    if !has_bearer(&headers, crate::SLACK_TOKEN) {
        return failed("invalid_auth");
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(channel) = body["channel"].as_str().and_then(channel_id) else {
        return failed("channel_not_found");
    };
    let Some(text) = body["text"].as_str().filter(|text| !text.is_empty()) else { return failed("no_text") };
    let mut world = shared.world();
    let now = world.now();
    let ts = format!("{}.{:06}", now.as_second(), world.slack.len() + 1);
    let lost = world.has(Fault::SlackMessageLost);
    // Several messages to one channel are several effects: a marker of the sender's tells them apart.
    let marker = body["metadata"]["event_payload"]["marker"].as_str().unwrap_or_default();
    world.ledger.note(now, "slack.post", format!("{channel} {marker}").trim_end(), !lost);
    if !lost {
        world.slack.push(SlackMessage {
            channel: channel.to_owned(),
            ts: ts.clone(),
            text: text.to_owned(),
            thread_ts: body["thread_ts"].as_str().map(str::to_owned),
            metadata: body.get("metadata").cloned(),
        });
    }
    answer(200, json!({ "ok": true, "channel": channel, "ts": ts, "message": { "text": text, "ts": ts } }))
}

async fn history(State(shared): State<Shared>, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    if !has_bearer(&headers, crate::SLACK_TOKEN) {
        return failed("invalid_auth");
    }
    let query = query.unwrap_or_default();
    let (mut channel, mut with_metadata, mut limit) = (None, false, 100);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "channel" => channel = channel_id(&value),
            "include_all_metadata" => with_metadata = value == "true",
            "limit" => limit = value.parse().unwrap_or(100),
            _ => {}
        }
    }
    let Some(channel) = channel else { return failed("channel_not_found") };
    let world = shared.world();
    let messages: Vec<Value> = world
        .slack
        .iter()
        .rev()
        .filter(|message| message.channel == channel)
        .take(limit)
        .map(|message| {
            let mut rendered = json!({ "type": "message", "ts": message.ts, "text": message.text, "thread_ts": message.thread_ts });
            if let (true, Some(metadata)) = (with_metadata, &message.metadata) {
                rendered["metadata"] = metadata.clone();
            }
            rendered
        })
        .collect();
    answer(
        200,
        json!({ "ok": true, "messages": messages, "has_more": false, "response_metadata": { "next_cursor": "" } }),
    )
}
