//! How far a message has come, as WhatsApp reports it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How far a message has come. Greater is further; `Failed` is the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    /// WhatsApp took it.
    Sent,
    /// It is on the phone.
    Delivered,
    /// It was opened.
    Read,
    /// It will not arrive.
    Failed,
}

impl MessageStatus {
    /// What is known after one more report, whichever came first.
    #[must_use]
    pub fn after(self, report: Self) -> Self {
        self.max(report)
    }

    /// Whether no further report can change it.
    pub fn is_final(self) -> bool {
        self == Self::Failed
    }
}

/// One report about one message. The recipient's number is left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusReport {
    /// WhatsApp's message id.
    pub message_id: String,
    /// How far it has come.
    pub status: MessageStatus,
    /// When, by WhatsApp's clock.
    pub at: Timestamp,
    /// What we gave the message when we sent it.
    pub callback_data: Option<String>,
    /// Why it failed.
    pub error_codes: Vec<u32>,
}
