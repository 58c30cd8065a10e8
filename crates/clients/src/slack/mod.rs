//! Slack: the Web API, and an incoming webhook for when that fails.
//!
//! | fact | from |
//! |---|---|
//! | a failure is a 200 with `ok: false` and a word; all words are in a table, and one that is not is refused | method reference |
//! | after `fatal_error`, `internal_error` and `request_timeout` some of it may have happened | method reference |
//! | there is no public idempotency key, so each message carries a marker in its metadata, and after a lost answer the channel's history is searched for it | `chat.postMessage`, message metadata |
//! | a message is posted to a channel's name or id, and history is read by id only; `conversations.list` knows the ids | `conversations.history`, arguments |
//! | `ts` is a text, and so is `thread_ts`; an answer names the thread's first message, never another answer | `chat.postMessage`, arguments |
//! | answers in a thread are not in the channel's history but in `conversations.replies` | `conversations.replies` |
//! | lists have a cursor, which is empty after the last page | pagination |
//! | `&`, `<` and `>` are Slack's control characters | formatting |
//! | 429 has `Retry-After` in seconds | rate limits |
//! | an incoming webhook belongs to one channel, answers in plain text, and names no `ts` | incoming webhooks |
//!
//! Bot scopes: `chat:write`, `channels:history`, and `channels:read` where channels are configured by name. A private channel
//! is configured by its id, and needs `groups:history`.
//!
//! What it deliberately does not do: post as anybody else, change or delete messages, post to another channel than the
//! webhook's own by the webhook (somebody else would read it), or retry.

mod error;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use allclear_core::ports::{Chat, ChatMessage, Posted};
use allclear_core::text::neutral;
use allclear_core::{PortError, Service};
use async_trait::async_trait;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::http::{Call, Http};

/// Pages of history that are searched: our message is recent.
const PAGES: usize = 5;
/// Pages of channels that are searched.
const CHANNEL_PAGES: usize = 50;
const EVENT_TYPE: &str = "allclear_message";

/// The client.
#[derive(Debug)]
pub struct Slack {
    http: Http,
    webhook: Option<Webhook>,
    /// Ids of channels by their names, as far as they were asked for.
    ids: Mutex<BTreeMap<String, String>>,
}

/// The way that is left when the token fails.
#[derive(Debug)]
struct Webhook {
    http: Http,
    /// The one channel that it posts to.
    channel: String,
}

impl Slack {
    pub(crate) fn new(http: Http) -> Self {
        Self { http, webhook: None, ids: Mutex::default() }
    }

    /// Adds the incoming webhook of one channel.
    pub(crate) fn with_webhook(self, http: Http, channel: &str) -> Self {
        Self { webhook: Some(Webhook { http, channel: channel.to_owned() }), ..self }
    }

    async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, PortError> {
        let reply = self.http.send(call).await?;
        let verdict: wire::Verdict = reply.expect()?;
        if verdict.ok {
            reply.expect()
        } else {
            Err(error::classify(&reply, verdict.error.as_deref().unwrap_or("unknown")))
        }
    }

    async fn send(&self, body: Value) -> Result<Posted, PortError> {
        let posted: wire::Posted = self.call(Call::write(Method::POST, "/chat.postMessage", body)).await?;
        Ok(Posted { ts: posted.ts })
    }

    /// The first page in which something is found.
    async fn search<P: DeserializeOwned + wire::Page, T>(
        &self,
        call: Call,
        pages: usize,
        found: impl Fn(&P) -> Option<T> + Send,
    ) -> Result<Option<T>, PortError> {
        let mut cursor = String::new();
        for _ in 0..pages {
            let call = if cursor.is_empty() { call.clone() } else { call.clone().query("cursor", &cursor) };
            let page: P = self.call(call).await?;
            if let Some(one) = found(&page) {
                return Ok(Some(one));
            }
            page.next_cursor().clone_into(&mut cursor);
            if cursor.is_empty() {
                break;
            }
        }
        Ok(None)
    }

    async fn find_in(&self, call: Call, marker: &str) -> Result<Option<Posted>, PortError> {
        let call = call.query("include_all_metadata", "true").query("limit", 200);
        let ours = |page: &wire::Messages| {
            let message = page.messages.iter().find(|message| message.is_ours(EVENT_TYPE, marker))?;
            Some(Posted { ts: message.ts.clone() })
        };
        self.search(call, PAGES, ours).await
    }

    /// The id of a channel that may be given by its name.
    async fn channel_id(&self, channel: &str) -> Result<String, PortError> {
        if is_id(channel) {
            return Ok(channel.to_owned());
        }
        let name = channel.trim_start_matches('#');
        if let Some(known) = self.ids.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(known.clone());
        }
        let call = Call::read("/conversations.list")
            .query("types", "public_channel")
            .query("exclude_archived", "true")
            .query("limit", 999);
        let named = |page: &wire::Channels| {
            page.channels.iter().find(|channel| channel.name == name).map(|channel| channel.id.clone())
        };
        let id = self.search(call, CHANNEL_PAGES, named).await?.ok_or_else(|| PortError::NotFound {
            service: Service::Slack,
            what: format!("public channel `{channel}` (a private one is configured by its id)"),
        })?;
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), id.clone());
        Ok(id)
    }
}

#[async_trait]
impl Chat for Slack {
    async fn post(&self, message: &ChatMessage) -> Result<Posted, PortError> {
        self.send(body(message)).await
    }

    /// `conversations.history` with metadata, newest first, a few pages.
    async fn find(&self, channel: &str, marker: &str) -> Result<Option<Posted>, PortError> {
        let channel = self.channel_id(channel).await?;
        self.find_in(Call::read("/conversations.history").query("channel", channel), marker).await
    }

    async fn reply(&self, to: &Posted, message: &ChatMessage) -> Result<Posted, PortError> {
        let mut body = body(message);
        body["thread_ts"] = json!(to.ts);
        body["reply_broadcast"] = json!(true);
        self.send(body).await
    }

    /// `conversations.replies` with metadata, oldest first, a few pages.
    async fn find_reply(
        &self,
        channel: &str,
        to: &Posted,
        marker: &str,
    ) -> Result<Option<Posted>, PortError> {
        let channel = self.channel_id(channel).await?;
        let call = Call::read("/conversations.replies").query("channel", channel).query("ts", &to.ts);
        self.find_in(call, marker).await
    }

    /// `POST https://hooks.slack.com/services/T/B/X`, answered by `ok`. The marker stands at the end of the text.
    async fn post_by_webhook(&self, message: &ChatMessage) -> Result<(), PortError> {
        let webhook = self.webhook.as_ref().filter(|webhook| webhook.channel == message.channel);
        let Some(webhook) = webhook else {
            let what = format!("incoming webhook for {}", message.channel);
            return Err(PortError::NotFound { service: Service::Slack, what });
        };
        let text = format!("{}{}", escape(&message.text), signed(&message.marker));
        let call =
            Call::write(Method::POST, "", json!({ "text": text, "mrkdwn": false, "link_names": false }))
                .named("POST incoming webhook");
        let reply = webhook.http.send(call).await?;
        if !reply.is_success() {
            return Err(error::classify_webhook(&reply));
        }
        if reply.body.trim_ascii() == b"ok" { Ok(()) } else { Err(reply.unusable("it does not say ok")) }
    }
}

fn body(message: &ChatMessage) -> Value {
    json!({
        "channel": message.channel,
        "text": escape(&message.text),
        "mrkdwn": false,
        "link_names": false,
        "unfurl_links": false,
        "unfurl_media": false,
        "metadata": { "event_type": EVENT_TYPE, "event_payload": { "marker": message.marker } },
    })
}

/// Ids are capitals and digits after a letter for their kind; names have no capitals.
fn is_id(channel: &str) -> bool {
    channel.len() >= 5
        && channel.starts_with(['C', 'G', 'D'])
        && channel.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// What a text by webhook ends with.
fn signed(marker: &str) -> String {
    format!(" [{}]", escape(marker))
}

/// Slack's three control characters: without this, `<!channel>` in a campaign's name would wake everybody.
/// Nothing in a text hides either; `mrkdwn` is off, so that stars and backticks of a name are stars and backticks.
fn escape(text: &str) -> String {
    neutral(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
