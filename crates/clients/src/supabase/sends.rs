//! What was sent: the send log and the notifications.

use allclear_core::notification::{FailedNotification, NotificationId, RetryAnswer};
use allclear_core::ports::{Delivery, Notifications, SendLog};
use allclear_core::target::SendTally;
use allclear_core::{CampaignId, Msisdn, PortError};
use async_trait::async_trait;
use jiff::Timestamp;

use super::wire::{DeliveryRow, ErrorText, NotificationRow, SendRow};
use super::{PAGE, Result, Supabase, read};

/// Adds one failure to a tally.
fn count_failure(tally: &mut SendTally, at: Timestamp, text: &str) {
    let error = ErrorText::parse(text);
    *tally.failed.entry(error.code).or_default() += 1;
    // The latest failure's wait counts: it is the one that still runs.
    if tally.last_failure_at.is_none_or(|last| at >= last) {
        tally.last_failure_at = Some(at);
        tally.retry_after_seconds = error.retry_after.or(tally.retry_after_seconds);
    }
    if tally.first_failure_at.is_none_or(|first| at < first) {
        tally.first_failure_at = Some(at);
    }
}

#[async_trait]
impl SendLog for Supabase {
    /// `GET /send_logs?sent_at=gte.T&id=gt.N&order=id`, page by page; only counts are kept.
    async fn tally(&self, campaign: Option<CampaignId>, since: Timestamp) -> Result<SendTally> {
        let mut tally = SendTally::default();
        let mut after = 0;
        loop {
            let mut call = read("send_logs")
                .query("select", "id,sent_at,delivery_status,error")
                .query("sent_at", format!("gte.{since}"))
                .query("id", format!("gt.{after}"))
                .query("order", "id")
                .query("limit", PAGE);
            if let Some(campaign) = campaign {
                call = call.query("campaign_id", format!("eq.{campaign}"));
            }
            let page: Vec<SendRow> = self.rows(call).await?;
            // Only an empty page is the end: a server may be configured to give fewer rows than asked for.
            let Some(last) = page.last().map(|row| row.id) else { return Ok(tally) };
            if last <= after {
                return Err(self.walks_in_circles("send_logs"));
            }
            after = last;
            for row in &page {
                match (&row.error, row.delivery_status.as_deref()) {
                    (Some(error), _) => count_failure(&mut tally, row.sent_at, error),
                    (None, Some("failed")) => count_failure(&mut tally, row.sent_at, "unknown"),
                    _ => tally.sent += 1,
                }
            }
        }
    }

    /// `GET /send_logs?msisdn_e164=eq.N&sent_at=gte.T&order=sent_at`.
    async fn to_number(&self, number: &Msisdn, since: Timestamp) -> Result<Vec<Delivery>> {
        let call = read("send_logs")
            .query("select", "provider_msg_id,sent_at,delivery_status,error")
            .query("msisdn_e164", format!("eq.{}", number.expose()))
            .query("sent_at", format!("gte.{since}"))
            .query("order", "sent_at")
            .query("limit", PAGE);
        let rows: Vec<DeliveryRow> = self.rows(call).await?;
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
        for row in self.notifications_since(since, None, usize::MAX).await? {
            match row.status.as_str() {
                "sent" => tally.sent += 1,
                "failed" => count_failure(
                    &mut tally,
                    row.created_at,
                    row.error_message.as_deref().unwrap_or("unknown"),
                ),
                _ => {}
            }
        }
        Ok(tally)
    }

    async fn failed(&self, since: Timestamp, limit: u32) -> Result<Vec<FailedNotification>> {
        let rows = self.notifications_since(since, Some("eq.failed"), limit as usize).await?;
        let failed = |row: NotificationRow| FailedNotification {
            id: row.id,
            error: self.http.clean(&row.error_message.unwrap_or_default()),
        };
        Ok(rows.into_iter().map(failed).collect())
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

impl Supabase {
    /// A server that does not heed the key would be asked for the same page for ever.
    fn walks_in_circles(&self, table: &str) -> PortError {
        PortError::Malformed {
            service: self.http.service(),
            call: format!("GET /rest/v1/{table}"),
            detail: "the next page does not begin after the last one".to_owned(),
        }
    }

    async fn notifications_since(
        &self,
        since: Timestamp,
        status: Option<&str>,
        limit: usize,
    ) -> Result<Vec<NotificationRow>> {
        let mut rows: Vec<NotificationRow> = Vec::new();
        let mut after: Option<NotificationId> = None;
        loop {
            let mut call = read("notifications")
                .query("select", "id,status,error_message,created_at")
                .query("created_at", format!("gte.{since}"))
                .query("order", "id")
                .query("limit", PAGE.min(limit - rows.len()));
            if let Some(status) = status {
                call = call.query("status", status);
            }
            if let Some(after) = after {
                call = call.query("id", format!("gt.{after}"));
            }
            let page: Vec<NotificationRow> = self.rows(call).await?;
            let Some(last) = page.last().map(|row| row.id) else { return Ok(rows) };
            if after.is_some_and(|after| last <= after) {
                return Err(self.walks_in_circles("notifications"));
            }
            after = Some(last);
            rows.extend(page);
            if rows.len() >= limit {
                return Ok(rows);
            }
        }
    }
}
