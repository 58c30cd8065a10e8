//! The tables' rows, the columns that we read.

use std::borrow::Cow;

use allclear_core::notification::NotificationId;
use allclear_core::send_fault::SendFault;
use allclear_core::{CampaignId, CampaignStatus, TargetId};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

#[derive(Deserialize)]
pub(super) struct CampaignRow {
    pub(super) id: CampaignId,
    pub(super) name: String,
    pub(super) status: CampaignStatus,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
}

#[derive(Deserialize)]
pub(super) struct TargetRow<'a> {
    pub(super) id: TargetId,
    /// As it is stored: nothing stops a row from holding something else than a number.
    #[serde(borrow)]
    pub(super) msisdn: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) error_code: Option<Text<'a>>,
    pub(super) last_update_at: Option<Timestamp>,
}

/// A text that stays in the answer where it has no escapes. Serde borrows a `Cow` on its own, but not inside an `Option`.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

#[derive(Deserialize)]
pub(super) struct Changed {
    pub(super) last_update_at: Timestamp,
}

#[derive(Deserialize)]
pub(super) struct Numbered {
    pub(super) id: i64,
}

#[derive(Deserialize)]
pub(super) struct QueuedAs {
    pub(super) id: i64,
    pub(super) status: String,
}

#[derive(Deserialize)]
pub(super) struct OfCampaign {
    pub(super) campaign_id: allclear_core::CampaignId,
}

#[derive(Deserialize)]
pub(super) struct SentFrom {
    pub(super) id: i64,
    pub(super) queue_id: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct SendRow {
    pub(super) id: i64,
    pub(super) queue_id: Option<i64>,
    pub(super) sent_at: Timestamp,
    pub(super) delivery_status: Option<String>,
    pub(super) error: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct DeliveryRow {
    pub(super) id: i64,
    pub(super) provider_msg_id: Option<String>,
    pub(super) sent_at: Timestamp,
    pub(super) delivery_status: Option<String>,
    pub(super) error: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct NotificationRow {
    pub(super) id: NotificationId,
    pub(super) status: String,
    pub(super) error_message: Option<String>,
    pub(super) created_at: Timestamp,
}

#[derive(Deserialize)]
pub(super) struct SettingRow {
    pub(super) key: String,
    pub(super) value: Value,
}

#[derive(Deserialize)]
pub(super) struct AuditRow {
    pub(super) id: Uuid,
    pub(super) actor_id: Option<String>,
    pub(super) action: String,
    pub(super) target_table: Option<String>,
    pub(super) target_id: Option<String>,
    #[serde(default)]
    pub(super) diff: Value,
    pub(super) created_at: Timestamp,
}

/// What the platform writes into `send_logs.error` and `notifications.error_message`:
///
/// | text | who writes it |
/// |---|---|
/// | `{"error":{"message":…,"code":190}}` | the dispatcher: Graph's own body |
/// | `WhatsApp send failed (503): ` and Graph's body or `null` | the notification sender |
/// | `(#130429) Rate limit hit` | Graph's message alone |
/// | `quiet_hours`, `throttled`, `opt_out`, `http_503` | the platform's own words |
/// | words about a timeout | the runtime's `fetch` |
///
/// A code is read from its field and never from prose: a time such as 17:04:10 holds three codes of WhatsApp's table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ErrorText {
    pub(super) code: String,
    pub(super) retry_after: Option<u64>,
}

impl ErrorText {
    pub(super) fn parse(text: &str) -> Self {
        let body: Option<Value> = text.find('{').and_then(|start| serde_json::from_str(&text[start..]).ok());
        let retry_after = body
            .as_ref()
            .and_then(|body| body["retry_after"].as_u64().or_else(|| body["error"]["retry_after"].as_u64()));
        let code = body
            .as_ref()
            .and_then(code_in_body)
            .or_else(|| code_in_mark(text))
            .or_else(|| status_of_sender(text))
            .or_else(|| word_of_platform(text))
            .or_else(|| speaks_of_timeout(text).then(|| "timeout".to_owned()))
            .unwrap_or_else(|| "unknown".to_owned());
        Self { code, retry_after }
    }
}

/// `error.code` of Graph's body, or the `code` or `error` of the platform's own.
fn code_in_body(body: &Value) -> Option<String> {
    let code = [&body["error"]["code"], &body["code"], &body["error"]]
        .into_iter()
        .find(|code| code.is_number() || code.is_string())?;
    let text = code.as_str().map_or_else(|| code.to_string(), str::to_owned);
    is_code(&text).then_some(text)
}

/// Graph marks its code in a message: `(#131048) Spam rate limit hit`.
fn code_in_mark(text: &str) -> Option<String> {
    let (code, _) = text.split_once("(#")?.1.split_once(')')?;
    (is_code(code) && code.bytes().all(|byte| byte.is_ascii_digit())).then(|| code.to_owned())
}

/// The notification sender's text names the HTTP status in its first words.
fn status_of_sender(text: &str) -> Option<String> {
    let (status, _) = text.strip_prefix("WhatsApp send failed (")?.split_once(')')?;
    let status: u16 = status.parse().ok().filter(|status| (100..600).contains(status))?;
    Some(format!("http_{status}"))
}

/// The whole text is one word of the platform's, or begins with one as a label.
fn word_of_platform(text: &str) -> Option<String> {
    let word = text.split_once(':').map_or(text, |(label, _)| label).trim();
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    let known = SendFault::from_text(word) != SendFault::Unknown;
    (is_code(word) && known && (!is_number || word == text.trim())).then(|| word.to_owned())
}

fn speaks_of_timeout(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["timeout", "timed out", "etimedout", "the operation was aborted"]
        .iter()
        .any(|words| text.contains(words))
}

/// A word that can stand for a failure. It becomes a key of tallies, which are journaled and reported, so nothing with
/// as many digits as a phone number passes.
fn is_code(word: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=40).contains(&word.len())
        && word.bytes().all(plain)
        && word.bytes().filter(u8::is_ascii_digit).count() <= 6
}
