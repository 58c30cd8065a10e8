//! Slack's JSON.

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub(super) struct Verdict {
    pub(super) ok: bool,
    pub(super) error: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Posted {
    /// A text that looks like a number: as a number it would lose digits.
    pub(super) ts: String,
}

#[derive(Deserialize)]
pub(super) struct Messages {
    #[serde(default)]
    pub(super) messages: Vec<Message>,
    response_metadata: Option<Cursor>,
}

#[derive(Deserialize)]
pub(super) struct Channels {
    #[serde(default)]
    pub(super) channels: Vec<Channel>,
    response_metadata: Option<Cursor>,
}

#[derive(Deserialize)]
pub(super) struct Channel {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
}

#[derive(Deserialize)]
struct Cursor {
    #[serde(default)]
    next_cursor: String,
}

/// A page of a list.
pub(super) trait Page {
    /// Where the next one begins; empty after the last one.
    fn next_cursor(&self) -> &str;
}

impl Page for Messages {
    fn next_cursor(&self) -> &str {
        self.response_metadata.as_ref().map_or("", |cursor| &cursor.next_cursor)
    }
}

impl Page for Channels {
    fn next_cursor(&self) -> &str {
        self.response_metadata.as_ref().map_or("", |cursor| &cursor.next_cursor)
    }
}

#[derive(Deserialize)]
pub(super) struct Message {
    pub(super) ts: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    metadata: Value,
}

impl Message {
    /// By its metadata, or by the end of its text: what comes by a webhook has no metadata.
    pub(super) fn is_ours(&self, event_type: &str, marker: &str) -> bool {
        let ours =
            self.metadata["event_type"] == event_type && self.metadata["event_payload"]["marker"] == marker;
        ours || self.text.ends_with(&super::signed(marker))
    }
}
