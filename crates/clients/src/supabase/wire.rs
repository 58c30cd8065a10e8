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
pub(super) struct SentFrom {
    pub(super) id: i64,
    pub(super) queue_id: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct SendRow {
    pub(super) id: i64,
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

/// What the platform writes into `send_logs.error` and `notifications.error_message`: JSON, or words with a code among
/// them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ErrorText {
    pub(super) code: String,
    pub(super) retry_after: Option<u64>,
}

impl ErrorText {
    pub(super) fn parse(text: &str) -> Self {
        if let Ok(body) = serde_json::from_str::<Value>(text)
            && !body["code"].is_null()
        {
            let code = body["code"].as_str().map_or_else(|| body["code"].to_string(), str::to_owned);
            let code = if is_code(&code) { code } else { code_in_prose(&code) };
            return Self { code, retry_after: body["retry_after"].as_u64() };
        }
        Self { code: code_in_prose(text), retry_after: None }
    }
}

/// A word that can stand for a failure. It becomes a key of tallies, which are journaled and reported, so nothing with
/// as many digits as a phone number passes.
fn is_code(word: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=40).contains(&word.len())
        && word.bytes().all(plain)
        && word.bytes().filter(u8::is_ascii_digit).count() <= 6
}

/// The code in a sentence: the platform's own words have an underscore, WhatsApp's numbers are known and most have five
/// digits or more. A smaller one counts only where it is announced and set off: "after 200 ms" is no code 200, which
/// would mean that our credential is refused.
fn code_in_prose(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = text;
    let mut words = 0;
    while let Some(start) = rest.find(is_part) {
        let (before, from_word) = (rest[..start].trim_end(), &rest[start..]);
        let (word, after) = from_word.split_at(from_word.find(|c| !is_part(c)).unwrap_or(from_word.len()));
        let alone = words == 0 && after.trim().is_empty();
        let announced = before.ends_with([':', '#', '(', '=']) || words == 0;
        let set_off = !after.trim_start().starts_with(is_part);
        let stands_for_a_failure = match word.parse::<u32>() {
            Ok(number) => {
                let known = SendFault::from_code(number) != SendFault::Unknown;
                known && (number >= 10_000 || (announced && set_off) || follows_code(text, word))
            }
            Err(_) => word.contains('_') || alone,
        };
        if stands_for_a_failure && is_code(word) {
            return word.to_owned();
        }
        words += 1;
        rest = after;
    }
    "unknown".to_owned()
}

/// Whether the text calls that number a code: "error code 190 expired".
fn follows_code(text: &str, number: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let phrase = format!("code {number}");
    text.split(&phrase).skip(1).any(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
}
