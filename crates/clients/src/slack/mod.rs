//! Slack's Web API. A failure is a 200 with `ok: false`.
//!
//! There is no idempotency key, so each message carries a marker in its metadata, and after a lost answer the channel's
//! history is searched for it. Posting with metadata and reading history need the bot scopes `chat:write` and
//! `channels:history`.

mod error;
#[cfg(test)]
mod tests;
mod wire;

use allclear_core::PortError;
use allclear_core::ports::{Chat, ChatMessage, Posted};
use async_trait::async_trait;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::http::{Call, Http};

/// Pages of history that are searched: our message is recent.
const PAGES: usize = 5;
const EVENT_TYPE: &str = "allclear_message";

/// The client.
#[derive(Debug)]
pub struct Slack {
    http: Http,
}

impl Slack {
    pub(crate) fn new(http: Http) -> Self {
        Self { http }
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
}

#[async_trait]
impl Chat for Slack {
    async fn post(&self, message: &ChatMessage) -> Result<Posted, PortError> {
        let body = json!({
            "channel": message.channel,
            "text": escape(&message.text),
            "unfurl_links": false,
            "metadata": { "event_type": EVENT_TYPE, "event_payload": { "marker": message.marker } },
        });
        let posted: wire::Posted = self.call(Call::write(Method::POST, "/chat.postMessage", body)).await?;
        Ok(Posted { ts: posted.ts })
    }

    /// `conversations.history` with metadata, newest first, a few pages.
    async fn find(&self, channel: &str, marker: &str) -> Result<Option<Posted>, PortError> {
        let mut cursor = String::new();
        for _ in 0..PAGES {
            let mut call = Call::read("/conversations.history")
                .query("channel", channel)
                .query("include_all_metadata", "true")
                .query("limit", 200);
            if !cursor.is_empty() {
                call = call.query("cursor", &cursor);
            }
            let history: wire::History = self.call(call).await?;
            if let Some(message) = history.messages.iter().find(|message| message.is_ours(EVENT_TYPE, marker))
            {
                return Ok(Some(Posted { ts: message.ts.clone() }));
            }
            cursor = history.next_cursor();
            if cursor.is_empty() {
                break;
            }
        }
        Ok(None)
    }
}

/// Slack's three control characters: without this, `<!channel>` in a campaign's name would wake everybody.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
