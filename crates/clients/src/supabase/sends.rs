//! What was sent: the send log and the notifications.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use allclear_core::clock::before;
use allclear_core::delivery::StatusReport;
use allclear_core::notification::{FailedNotification, NotificationId, RetryAnswer};
use allclear_core::ports::{Delivery, DeliveryReports, FailedSend, Notifications, SendLog};
use allclear_core::target::SendTally;
use allclear_core::{CampaignId, Msisdn, Recipient};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::wire::{DeliveryRow, ErrorText, NotificationRow, Numbered, SendRow, SentTo, WebhookRow};
use super::{Result, Supabase, read};
use crate::http::Call;
use crate::webhooks::whatsapp::reports_in;

/// Adds one failure to a tally.
fn count_failure(tally: &mut SendTally, at: Timestamp, text: &str) {
    let error = ErrorText::parse(text);
    // The latest failure's wait counts: it is the one that still runs.
    if tally.last_failure_at.is_none_or(|last| at >= last) {
        tally.retry_after_seconds = error.retry_after.or(tally.retry_after_seconds);
    }
    tally.count_failure(&error.code, at);
}

/// How far back it is looked whether deliveries are reported.
const REPORTS_OF: Duration = Duration::from_hours(7 * 24);
/// How long a message may be on its way before it says something that nobody reports it.
const ON_ITS_WAY: Duration = Duration::from_mins(10);

/// How many of the latest rows of `webhook_logs` are looked through: the table has no index but its key, and holds the requests
/// of all that the platform answers.
const LATEST_REQUESTS: i64 = 5_000;

/// What a row of the send log says.
pub(super) enum Tried<'a> {
    WentOut,
    Failed(&'a str),
    NotYet,
}

/// Reads a row of the send log. The real dispatcher writes its statuses in capitals.
pub(super) fn tried<'a>(status: Option<&str>, error: Option<&'a str>) -> Tried<'a> {
    let is = |word: &str| status.is_some_and(|status| status.eq_ignore_ascii_case(word));
    match error {
        Some(text) => Tried::Failed(text),
        None if is("failed") => Tried::Failed("unknown"),
        None if is("pending") => Tried::NotYet,
        None => Tried::WentOut,
    }
}

#[async_trait]
impl SendLog for Supabase {
    /// `GET /send_logs?sent_at=gte.T&id=gt.N&order=id`, page by page; only counts are kept, and which rows of the queue went out:
    /// a second send of one is a repeat.
    async fn tally(&self, campaign: Option<CampaignId>, since: Timestamp) -> Result<SendTally> {
        let mut list = read("send_logs")
            .query("select", "id,queue_id,sent_at,delivery_status,error")
            .query("sent_at", format!("gte.{since}"));
        if let Some(campaign) = campaign {
            list = list.query("campaign_id", format!("eq.{campaign}"));
        }
        let mut tally = SendTally::default();
        let mut gone_out = HashSet::new();
        let count = |row: SendRow| match tried(row.delivery_status.as_deref(), row.error.as_deref()) {
            Tried::Failed(text) => count_failure(&mut tally, row.sent_at, text),
            Tried::NotYet => {}
            Tried::WentOut if row.queue_id.is_some_and(|id| !gone_out.insert(id)) => tally.repeats += 1,
            Tried::WentOut => tally.sent += 1,
        };
        self.walk(list, |row| row.id, usize::MAX, count).await?;
        Ok(tally)
    }

    /// `GET /send_logs?delivery_status=in.(…)&limit=1`, at most twice: anything delivered within a week, else anything that went
    /// out long enough ago to be. Where the log does not tell, the requests that WhatsApp made do, if they are kept.
    async fn delivery_reports(&self, now: Timestamp) -> Result<DeliveryReports> {
        let since = before(now, REPORTS_OF);
        let any = |statuses: &str| {
            read("send_logs")
                .query("select", "id")
                .query("sent_at", format!("gte.{since}"))
                .query("delivery_status", format!("in.({statuses})"))
                .query("limit", 1)
        };
        if !self.rows::<Numbered>(any("delivered,read,DELIVERED,READ")).await?.is_empty() {
            return Ok(DeliveryReports::Written);
        }
        let long_ago = format!("lt.{}", before(now, ON_ITS_WAY));
        let sent = self.rows::<Numbered>(any("sent,SENT").query("sent_at", long_ago)).await?;
        if sent.is_empty() {
            return Ok(DeliveryReports::Written);
        }
        let delivered = json!({ "status": "delivered" });
        match self.kept_reports(&delivered, since, Some(1)).await {
            Ok(kept) if kept.is_empty() => Ok(DeliveryReports::NeverWritten),
            Ok(_) => Ok(DeliveryReports::ByWebhook),
            // No such table here, or none that can be read: it is no witness, and holds up nothing.
            Err(_) => Ok(DeliveryReports::NeverWritten),
        }
    }

    async fn status_reports(&self, message_id: &str, since: Timestamp) -> Result<Vec<StatusReport>> {
        let mut reports = self.kept_reports(&json!({ "id": message_id }), since, None).await?;
        reports.retain(|report| report.message_id == message_id);
        Ok(reports)
    }

    /// `GET /send_logs?campaign_id=eq.X&id=gt.N&order=id`, page by page. The log's order is that of the tries, so that whoever
    /// got the message later is not among them.
    async fn failed_sends(&self, campaign: CampaignId) -> Result<Vec<FailedSend>> {
        let list = read("send_logs")
            .query("select", "id,msisdn_e164,sent_at,delivery_status,error")
            .query("campaign_id", format!("eq.{campaign}"));
        let mut latest: HashMap<String, (i64, FailedSend)> = HashMap::new();
        let keep = |row: SentTo| {
            let number = row.msisdn_e164.unwrap_or_default();
            match tried(row.delivery_status.as_deref(), row.error.as_deref()) {
                Tried::Failed(text) => {
                    let recipient = Recipient::read(&number);
                    let code = ErrorText::parse(text).code;
                    latest.insert(number, (row.id, FailedSend { recipient, code, at: row.sent_at }));
                }
                Tried::WentOut => {
                    latest.remove(&number);
                }
                Tried::NotYet => {}
            }
        };
        self.walk(list, |row| row.id, usize::MAX, keep).await?;
        let mut failed: Vec<_> = latest.into_values().collect();
        failed.sort_by_key(|(id, _)| *id);
        Ok(failed.into_iter().map(|(_, one)| one).collect())
    }

    /// `GET /send_logs?msisdn_e164=eq.N&sent_at=gte.T&id=gt.N&order=id`, page by page, then put in the order of time.
    async fn to_number(&self, number: &Msisdn, since: Timestamp) -> Result<Vec<Delivery>> {
        let list = read("send_logs")
            .query("select", "id,provider_msg_id,sent_at,delivery_status,error")
            .query("msisdn_e164", format!("eq.{}", number.expose()))
            .query("sent_at", format!("gte.{since}"));
        let mut rows = self.all(list, |row: &DeliveryRow| row.id).await?;
        rows.sort_by_key(|row| row.sent_at);
        let delivery = |row: DeliveryRow| Delivery {
            message_id: row.provider_msg_id.unwrap_or_default(),
            sent_at: row.sent_at,
            status: row.delivery_status,
            error_code: row.error.map(|text| ErrorText::parse(&text).code),
        };
        Ok(rows.into_iter().map(delivery).collect())
    }
}

impl Supabase {
    /// `GET /webhook_logs?id=gt.N&status_code=eq.200&payload=cs.{…}`: among the latest requests of WhatsApp that the platform
    /// answered well, those with such a report. What it refused may be forged.
    async fn kept_reports(
        &self,
        such: &Value,
        since: Timestamp,
        limit: Option<u32>,
    ) -> Result<Vec<StatusReport>> {
        let newest = read("webhook_logs").query("select", "id").query("order", "id.desc").query("limit", 1);
        let Some(newest) = self.rows::<Numbered>(newest).await?.into_iter().next() else {
            return Ok(Vec::new());
        };
        let such = json!({ "entry": [{ "changes": [{ "value": { "statuses": [such] } }] }] });
        let mut kept = read("webhook_logs")
            .query("select", "payload")
            .query("id", format!("gt.{}", newest.id - LATEST_REQUESTS))
            .query("received_at", format!("gte.{since}"))
            .query("status_code", "eq.200")
            .query("payload", format!("cs.{such}"))
            .query("order", "id");
        if let Some(limit) = limit {
            kept = kept.query("limit", limit);
        }
        let rows: Vec<WebhookRow> = self.rows(kept).await?;
        Ok(rows.iter().flat_map(|row| reports_in(&row.payload)).collect())
    }
}

#[async_trait]
impl Notifications for Supabase {
    /// `GET /notifications?created_at=gte.T`: the admin API's list has no time filter and may be frozen.
    async fn tally(&self, since: Timestamp) -> Result<SendTally> {
        let mut tally = SendTally::default();
        let count = |row: NotificationRow| match row.status.as_str() {
            "sent" => tally.sent += 1,
            "failed" => {
                let error = row.error_message.as_deref().unwrap_or("unknown");
                count_failure(&mut tally, row.created_at, error);
            }
            _ => {}
        };
        self.walk(notifications_since(since), |row| row.id, usize::MAX, count).await?;
        Ok(tally)
    }

    async fn failed(&self, since: Timestamp, limit: u32) -> Result<Vec<FailedNotification>> {
        let list = notifications_since(since).query("status", "eq.failed");
        let mut failed = Vec::new();
        let keep = |row: NotificationRow| {
            let code = ErrorText::parse(row.error_message.as_deref().unwrap_or_default()).code;
            failed.push(FailedNotification { id: row.id, code });
        };
        self.walk(list, |row| row.id, limit as usize, keep).await?;
        Ok(failed)
    }

    /// `HEAD /notifications?id=in.(...)&status=eq.failed`, fifty ids at a time to keep the URL short.
    async fn still_failed(&self, ids: &[NotificationId]) -> Result<u64> {
        let mut failed = 0;
        for some in ids.chunks(50) {
            let list: Vec<String> = some.iter().map(ToString::to_string).collect();
            let call = read("notifications")
                .query("id", format!("in.({})", list.join(",")))
                .query("status", "eq.failed");
            failed += self.count(call).await?;
        }
        Ok(failed)
    }

    /// `POST /api/notifications/retry` of the admin API.
    async fn retry(&self, ids: &[NotificationId]) -> Result<RetryAnswer> {
        self.admin.retry(ids).await
    }
}

fn notifications_since(since: Timestamp) -> Call {
    read("notifications")
        .query("select", "id,status,error_message,created_at")
        .query("created_at", format!("gte.{since}"))
}
