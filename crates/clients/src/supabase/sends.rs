//! What was sent: the send log and the notifications.

use std::collections::HashSet;

use allclear_core::notification::{FailedNotification, NotificationId, RetryAnswer};
use allclear_core::ports::{Delivery, Notifications, SendLog};
use allclear_core::target::SendTally;
use allclear_core::{CampaignId, Msisdn};
use async_trait::async_trait;
use jiff::Timestamp;

use super::wire::{DeliveryRow, ErrorText, NotificationRow, SendRow};
use super::{Result, Supabase, read};
use crate::http::Call;

/// Adds one failure to a tally.
fn count_failure(tally: &mut SendTally, at: Timestamp, text: &str) {
    let error = ErrorText::parse(text);
    // The latest failure's wait counts: it is the one that still runs.
    if tally.last_failure_at.is_none_or(|last| at >= last) {
        tally.retry_after_seconds = error.retry_after.or(tally.retry_after_seconds);
    }
    tally.count_failure(&error.code, at);
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
        // The real dispatcher writes its statuses in capitals.
        let count = |row: SendRow| match (&row.error, row.delivery_status.as_deref()) {
            (Some(error), _) => count_failure(&mut tally, row.sent_at, error),
            (None, Some(status)) if status.eq_ignore_ascii_case("failed") => {
                count_failure(&mut tally, row.sent_at, "unknown");
            }
            // Not tried yet: neither a send nor a failure.
            (None, Some(status)) if status.eq_ignore_ascii_case("pending") => {}
            _ if row.queue_id.is_some_and(|id| !gone_out.insert(id)) => tally.repeats += 1,
            _ => tally.sent += 1,
        };
        self.walk(list, |row| row.id, usize::MAX, count).await?;
        Ok(tally)
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
