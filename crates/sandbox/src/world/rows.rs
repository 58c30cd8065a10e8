//! Rows of the platform's tables, typed and small: there are tens of thousands of some.

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

/// `campaigns`.
#[derive(Debug, Clone)]
pub(crate) struct Campaign {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) status: String,
    pub(crate) created_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
}

/// `campaign_targets`. The number is kept as digits.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) id: Uuid,
    pub(crate) campaign: Uuid,
    pub(crate) msisdn: u64,
    pub(crate) status: &'static str,
    pub(crate) error_code: Option<String>,
    pub(crate) message_id: Option<u64>,
    pub(crate) last_update_at: Timestamp,
    /// The number cannot receive; not a column.
    pub(crate) bad: bool,
}

/// `send_queue`.
#[derive(Debug, Clone)]
pub(crate) struct Queued {
    pub(crate) id: i64,
    pub(crate) campaign: Uuid,
    pub(crate) msisdn: u64,
    pub(crate) attempt: u32,
    pub(crate) next_attempt_at: Timestamp,
    pub(crate) status: QueueStatus,
    /// Its target's place in the targets; not a column.
    pub(crate) target: usize,
}

/// What may stand in `send_queue.status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum QueueStatus {
    Pending,
    Sent,
    Failed,
    Skipped,
}

impl QueueStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Sent => "SENT",
            Self::Failed => "FAILED",
            Self::Skipped => "SKIPPED",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Sent, Self::Failed, Self::Skipped]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}

/// `send_logs`.
#[derive(Debug, Clone)]
pub(crate) struct SendLog {
    pub(crate) id: i64,
    pub(crate) queue: Option<i64>,
    pub(crate) campaign: Option<Uuid>,
    pub(crate) msisdn: u64,
    pub(crate) sent_at: Timestamp,
    pub(crate) message_id: Option<u64>,
    pub(crate) delivery_status: &'static str,
    pub(crate) error: Option<String>,
}

/// `notifications`.
#[derive(Debug, Clone)]
pub(crate) struct Notification {
    pub(crate) id: Uuid,
    pub(crate) msisdn: u64,
    pub(crate) status: &'static str,
    pub(crate) error_message: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) sent_at: Option<Timestamp>,
}

/// `settings`.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) key: &'static str,
    pub(crate) value: Value,
    pub(crate) updated_at: Timestamp,
}

/// `settings` as in the production dump: its only row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DumpedSettings;

/// `audit_log`.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    pub(crate) id: Uuid,
    pub(crate) actor_id: Uuid,
    pub(crate) action: String,
    pub(crate) target_table: String,
    pub(crate) target_id: String,
    pub(crate) diff: Value,
    pub(crate) created_at: Timestamp,
}

/// `vouchers`, what is needed of them.
#[derive(Debug, Clone)]
pub(crate) struct Voucher {
    pub(crate) id: Uuid,
    pub(crate) code: String,
    pub(crate) amount_minor: i64,
    /// The column `amount`, in hundredths: the trigger keeps it equal to `amount_minor`.
    pub(crate) amount_hundredths: i64,
    pub(crate) currency: String,
    pub(crate) plate: Option<String>,
    pub(crate) qr_payload: String,
    pub(crate) issued_by_admin: Option<Uuid>,
    pub(crate) created_by: Option<Uuid>,
    pub(crate) status: String,
    pub(crate) msisdn: u64,
    pub(crate) policy_number: String,
    pub(crate) station_scope: Option<Uuid>,
    pub(crate) campaign: Option<Uuid>,
    pub(crate) png_url: Option<String>,
    pub(crate) metadata: Value,
    pub(crate) issued_at: Timestamp,
    pub(crate) redeemed_at: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) updated_at: Timestamp,
}

impl Voucher {
    /// Whether it was issued within the last day before `start`: the vouchers that incidents are about.
    pub(crate) fn issued_recently(&self, start: Timestamp) -> bool {
        self.issued_at > start - jiff::SignedDuration::from_hours(24)
    }

    /// The row has changed: its time moves, also when the clock stands still.
    pub(crate) fn touch(&mut self, now: Timestamp) {
        self.updated_at = now.max(self.updated_at + jiff::SignedDuration::from_micros(1));
    }
}

/// `voucher_events`.
#[derive(Debug, Clone)]
pub(crate) struct VoucherEvent {
    pub(crate) id: Uuid,
    pub(crate) voucher: Uuid,
    pub(crate) event_type: String,
    pub(crate) actor: Option<Uuid>,
    pub(crate) station: Option<Uuid>,
    pub(crate) context: Value,
    pub(crate) created_at: Timestamp,
}

/// `voucher_redemptions`: no unique constraint, and stations of the other table.
#[derive(Debug, Clone)]
pub(crate) struct Redemption {
    pub(crate) id: Uuid,
    pub(crate) voucher: Uuid,
    pub(crate) station: Option<Uuid>,
    pub(crate) meta: Value,
    pub(crate) created_at: Timestamp,
}

/// `webhook_logs`: the station app's requests among them.
#[derive(Debug, Clone)]
pub(crate) struct WebhookLog {
    pub(crate) id: i64,
    pub(crate) endpoint: &'static str,
    pub(crate) status_code: u16,
    pub(crate) error_message: String,
    pub(crate) headers: Value,
    pub(crate) payload: Value,
    pub(crate) received_at: Timestamp,
}

/// `petrol_stations`.
#[derive(Debug, Clone)]
pub(crate) struct PetrolStation {
    pub(crate) id: Uuid,
    pub(crate) name: String,
}

/// An edge function at its host.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    pub(crate) slug: String,
    pub(crate) status: &'static str,
    pub(crate) version: u64,
    pub(crate) updated_at: Timestamp,
    /// Its code fails; not to be seen from outside but by calling it.
    pub(crate) broken: bool,
}

/// `stations`.
#[derive(Debug, Clone)]
pub(crate) struct Station {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) code: String,
    pub(crate) created_at: Timestamp,
}

/// A Slack message.
#[derive(Debug, Clone)]
pub(crate) struct SlackMessage {
    pub(crate) channel: String,
    pub(crate) ts: String,
    pub(crate) text: String,
    pub(crate) thread_ts: Option<String>,
    /// Whether an answer in a thread is shown in the channel too.
    pub(crate) broadcast: bool,
    pub(crate) metadata: Option<Value>,
    pub(crate) blocks: Option<Value>,
    /// The names of what we reacted with.
    pub(crate) reactions: Vec<String>,
    /// Whether somebody else than the bot wrote it.
    pub(crate) by_person: bool,
}

/// A PagerDuty incident with its alert.
#[derive(Debug, Clone)]
pub(crate) struct Incident {
    pub(crate) id: String,
    pub(crate) dedup_key: String,
    pub(crate) title: String,
    pub(crate) status: &'static str,
    pub(crate) created_at: Timestamp,
    pub(crate) notes: Vec<String>,
    pub(crate) log: Vec<Value>,
    /// Users who were asked by responder requests, and when.
    pub(crate) called_in: Vec<(&'static str, Timestamp)>,
}

/// A message id as WhatsApp writes it.
pub(crate) fn wamid(id: u64) -> String {
    format!("wamid.SBX{id:016X}")
}

/// A number as the database writes it.
pub(crate) fn e164(digits: u64) -> String {
    format!("+{digits}")
}
