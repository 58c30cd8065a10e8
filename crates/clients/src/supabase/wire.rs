//! The tables' rows, the columns that we read.

use allclear_core::notification::NotificationId;
use allclear_core::{CampaignId, CampaignStatus, Msisdn, TargetId, TargetStatus};
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
pub(super) struct TargetRow {
    pub(super) id: TargetId,
    pub(super) campaign_id: CampaignId,
    pub(super) msisdn: Msisdn,
    pub(super) status: TargetStatus,
    pub(super) error_code: Option<String>,
    pub(super) last_update_at: Option<Timestamp>,
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
            return Self { code, retry_after: body["retry_after"].as_u64() };
        }
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let looks_like_a_code =
            |word: &&str| word.len() >= 3 && (word.bytes().all(|b| b.is_ascii_digit()) || word.contains('_'));
        Self {
            code: words.into_iter().find(looks_like_a_code).unwrap_or("unknown").to_owned(),
            retry_after: None,
        }
    }
}
