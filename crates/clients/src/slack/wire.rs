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
    pub(super) ts: String,
}

#[derive(Deserialize)]
pub(super) struct History {
    #[serde(default)]
    pub(super) messages: Vec<Message>,
    response_metadata: Option<Cursor>,
}

#[derive(Deserialize)]
struct Cursor {
    #[serde(default)]
    next_cursor: String,
}

impl History {
    pub(super) fn next_cursor(&self) -> String {
        self.response_metadata.as_ref().map(|cursor| cursor.next_cursor.clone()).unwrap_or_default()
    }
}

#[derive(Deserialize)]
pub(super) struct Message {
    pub(super) ts: String,
    #[serde(default)]
    metadata: Value,
}

impl Message {
    pub(super) fn is_ours(&self, event_type: &str, marker: &str) -> bool {
        self.metadata["event_type"] == event_type && self.metadata["event_payload"]["marker"] == marker
    }
}
