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

/// A request that the platform keeps as it came.
#[derive(Deserialize)]
pub(super) struct WebhookRow {
    #[serde(default)]
    pub(super) payload: Value,
}

#[derive(Deserialize)]
pub(super) struct QueuedAs {
    pub(super) id: i64,
    pub(super) status: String,
}

#[derive(Deserialize)]
pub(super) struct QueuedTo {
    pub(super) id: i64,
    pub(super) status: String,
    pub(super) msisdn_e164: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct TriedRow {
    pub(super) id: i64,
    pub(super) queue_id: Option<i64>,
    pub(super) msisdn_e164: Option<String>,
    pub(super) delivery_status: Option<String>,
    pub(super) error: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct OptedOut {
    pub(super) id: Uuid,
    pub(super) msisdn: Option<String>,
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
pub(super) struct SentTo {
    pub(super) id: i64,
    pub(super) msisdn_e164: Option<String>,
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
/// | `{"error":{"message":…,"code":190}}`, also cut off or as a string in another body | the dispatcher: Graph's own body |
/// | `{"errors":[{"code":131026,…}]}` | Graph's status webhook |
/// | `WhatsApp send failed (503): ` and Graph's body or `null` | the notification sender |
/// | `(#130429) Rate limit hit` | Graph's message alone |
/// | `quiet_hours`, `throttled`, `opt_out`, `http_503` | the platform's own words |
/// | words about a timeout or a connection | the runtime's `fetch` |
///
/// A code is read from its field and never from prose: a time such as 17:04:10 holds three codes of WhatsApp's table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ErrorText {
    pub(super) code: String,
    pub(super) retry_after: Option<u64>,
}

/// Bodies that stand as strings in bodies: the platform wraps twice at most.
const NESTED: u32 = 3;

impl ErrorText {
    pub(super) fn parse(text: &str) -> Self {
        let text = text.trim();
        let retry_after = body_of(text)
            .and_then(|body| body["retry_after"].as_u64().or_else(|| body["error"]["retry_after"].as_u64()));
        let code = code_of(text, NESTED).unwrap_or_else(|| "unknown".to_owned());
        Self { code, retry_after }
    }
}

fn code_of(text: &str, nested: u32) -> Option<String> {
    let body = body_of(text);
    // Where there is a body, its prose is not looked at: it quotes what customers wrote.
    let Some(body) = body else {
        return code_in_mark(text)
            .or_else(|| status_of_sender(text))
            .or_else(|| word_of_platform(text))
            .or_else(|| word_of_runtime(text));
    };
    code_in_body(&body, nested).or_else(|| status_of_sender(text))
}

/// The JSON that a text is, or ends with after a sentence. Columns cut long texts, and a body that is cut still has the fields
/// before the cut.
fn body_of(text: &str) -> Option<Value> {
    let start = if text.starts_with('"') { 0 } else { text.find('{')? };
    let text = &text[start..];
    let whole = serde_json::Deserializer::from_str(text).into_iter().next();
    let body: Value = whole.and_then(Result::ok).or_else(|| serde_json::from_str(&mended(text)?).ok())?;
    (body.is_object() || body.is_string()).then_some(body)
}

/// A cut body up to its last whole field, closed. A number that the cut may have shortened is no whole field.
fn mended(text: &str) -> Option<String> {
    let (mut open, mut in_string, mut escaped) = (Vec::new(), false, false);
    let mut whole = None;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' => open.push('}'),
            b'[' => open.push(']'),
            b'}' | b']' => {
                open.pop();
                whole = Some((at + 1, open.clone()));
            }
            b',' => whole = Some((at, open.clone())),
            _ => {}
        }
    }
    let (end, open) = whole?;
    Some(text[..end].chars().chain(open.into_iter().rev()).collect())
}

/// `error.code` of Graph's body, or the `code` or `error` of the platform's own, also where the body stands as a string in
/// another.
fn code_in_body(body: &Value, nested: u32) -> Option<String> {
    if let Some(text) = body.as_str() {
        return code_in_text(text, nested);
    }
    let fields = [&body["error"]["code"], &body["errors"][0]["code"], &body["code"], &body["error"]];
    let is_scalar = |code: &&&Value| code.is_number() || code.is_string();
    let read = |code: &Value| code.as_str().map_or_else(|| code.to_string(), str::to_owned);
    let code = fields.iter().filter(is_scalar).map(|code| read(code)).find(|code| is_code(code));
    let marked = || code_in_mark(body["error"]["message"].as_str()?);
    let bodies =
        [&body["error"], &body["error"]["message"], &body["message"], &body["details"], &body["body"]];
    let inner = || bodies.into_iter().find_map(|inner| code_in_text(inner.as_str()?, nested));
    code.or_else(marked).or_else(inner)
}

/// The code of a body, or of the sender's sentence, that stands as a string in another body.
fn code_in_text(text: &str, nested: u32) -> Option<String> {
    let text = text.trim();
    let is_body = text.starts_with(['{', '"']) || text.starts_with(SENDER);
    if nested == 0 || !is_body { None } else { code_of(text, nested - 1) }
}

/// Graph marks its code at the beginning of a message: `(#131048) Spam rate limit hit`.
fn code_in_mark(text: &str) -> Option<String> {
    let text = text.strip_prefix("WhatsApp error ").unwrap_or(text);
    let (code, _) = text.strip_prefix("(#")?.split_once(')')?;
    (is_code(code) && code.bytes().all(|byte| byte.is_ascii_digit())).then(|| code.to_owned())
}

/// How the notification sender's text begins.
const SENDER: &str = "WhatsApp send failed (";

/// The notification sender's text names the HTTP status in its first words.
fn status_of_sender(text: &str) -> Option<String> {
    let (status, _) = text.strip_prefix(SENDER)?.split_once(')')?;
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

/// How the runtimes word that no answer came: Deno's and Node's `fetch`, and the operating system below them.
const TIMEOUTS: [&str; 5] =
    ["timeout", "timed out", "etimedout", "the operation was aborted", "signal has been aborted"];
const CONNECTIONS: [&str; 12] = [
    "fetch failed",
    "error sending request",
    "connection reset",
    "connection refused",
    "connection closed",
    "econnreset",
    "econnrefused",
    "enotfound",
    "eai_again",
    "socket hang up",
    "network error",
    "dns error",
];

fn word_of_runtime(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let speaks_of = |words: &[&str]| words.iter().any(|words| text.contains(words));
    let word = match () {
        () if speaks_of(&TIMEOUTS) => "timeout",
        () if speaks_of(&CONNECTIONS) => "network_error",
        () => return None,
    };
    Some(word.to_owned())
}

/// A word that can stand for a failure. It becomes a key of tallies, which are journaled and reported, so nothing with
/// as many digits as a phone number passes.
fn is_code(word: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=40).contains(&word.len())
        && word.bytes().all(plain)
        && word.bytes().filter(u8::is_ascii_digit).count() <= 6
}
