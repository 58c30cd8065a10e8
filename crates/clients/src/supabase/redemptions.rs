//! What stations tried, and what was redeemed.

use std::collections::{BTreeSet, HashMap};

use allclear_core::VoucherId;
use allclear_core::ports::{NewVoucherEvent, RedemptionLog};
use allclear_core::redeem::{
    RedeemAttempt, RedeemOutcome, Redemption, RedemptionSeen, VoucherEvent, VoucherHistory,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::{PAGE, Result, Supabase, read};

/// The route whose requests are attempts to redeem.
const ENDPOINT: &str = "/api/station/redeem";
/// Codes and ids asked for in one request: they stand in its URL.
const IN_ONE_URL: usize = 100;

#[derive(Deserialize)]
struct SeenRow {
    id: Uuid,
    voucher_id: VoucherId,
}

#[derive(Deserialize)]
struct AttemptRow {
    id: i64,
    error_message: Option<String>,
    received_at: Timestamp,
    key: Option<String>,
    code: Option<String>,
    station: Option<String>,
}

#[derive(Deserialize)]
struct CodeRow {
    id: VoucherId,
    code5: String,
}

#[derive(Deserialize)]
struct RedemptionRow {
    id: Uuid,
    station_id: Option<Uuid>,
    key: Option<String>,
    created_at: Timestamp,
}

#[derive(Deserialize)]
struct EventRow {
    id: Uuid,
    event_type: String,
    station_id: Option<Uuid>,
    created_at: Timestamp,
}

impl Supabase {
    /// Which voucher each code is. A code that two rows share is nobody's: acting on either would be a guess.
    async fn vouchers_by_code(&self, codes: &[String]) -> Result<HashMap<String, Option<VoucherId>>> {
        let mut found: HashMap<String, Option<VoucherId>> = HashMap::new();
        for some in codes.chunks(IN_ONE_URL) {
            let call = read("vouchers")
                .query("select", "id,code5")
                .query("code5", format!("in.({})", some.join(",")))
                .query("limit", PAGE);
            for row in self.rows::<CodeRow>(call).await? {
                found.entry(row.code5).and_modify(|id| *id = None).or_insert(Some(row.id));
            }
        }
        Ok(found)
    }
}

/// A code as the database writes it; anything else names no voucher and must not reach a filter.
fn plain_code(code: &str) -> Option<String> {
    let code = code.trim().to_ascii_uppercase();
    (code.len() == 5 && code.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(code)
}

#[async_trait]
impl RedemptionLog for Supabase {
    /// `GET /voucher_redemptions?created_at=gte.T&id=gt.N&order=id`.
    async fn redemptions(
        &self,
        since: Timestamp,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<RedemptionSeen>> {
        let mut call = read("voucher_redemptions")
            .query("select", "id,voucher_id")
            .query("created_at", format!("gte.{since}"))
            .query("order", "id")
            .query("limit", limit);
        if let Some(after) = after {
            call = call.query("id", format!("gt.{after}"));
        }
        let rows: Vec<SeenRow> = self.rows(call).await?;
        Ok(rows.into_iter().map(|row| RedemptionSeen { id: row.id, voucher: row.voucher_id }).collect())
    }

    /// `GET /voucher_redemptions?voucher_id=in.(…)&created_at=lt.T`, a hundred vouchers at a time, page by page by id.
    async fn redeemed_before(&self, vouchers: &[VoucherId], before: Timestamp) -> Result<Vec<VoucherId>> {
        let mut found = BTreeSet::new();
        for some in vouchers.chunks(IN_ONE_URL) {
            let ids: Vec<String> = some.iter().map(ToString::to_string).collect();
            let mut after: Option<Uuid> = None;
            loop {
                let mut call = read("voucher_redemptions")
                    .query("select", "id,voucher_id")
                    .query("voucher_id", format!("in.({})", ids.join(",")))
                    .query("created_at", format!("lt.{before}"))
                    .query("order", "id")
                    .query("limit", PAGE);
                if let Some(after) = after {
                    call = call.query("id", format!("gt.{after}"));
                }
                let rows: Vec<SeenRow> = self.rows(call).await?;
                let Some(last) = rows.last() else { break };
                after = Some(last.id);
                found.extend(rows.iter().map(|row| row.voucher_id));
            }
        }
        Ok(found.into_iter().collect())
    }

    /// `GET /webhook_logs?endpoint=eq./api/station/redeem&received_at=gte.T&id=gt.N&order=id`. A request names the code;
    /// it is looked up here and goes no further.
    async fn attempts(&self, since: Timestamp, after: Option<i64>, limit: u32) -> Result<Vec<RedeemAttempt>> {
        let columns = "id,error_message,received_at,key:headers->>idempotency-key,\
code:payload->>voucherCode,station:payload->>stationId";
        let mut call = read("webhook_logs")
            .query("select", columns)
            .query("endpoint", format!("eq.{ENDPOINT}"))
            .query("received_at", format!("gte.{since}"))
            .query("order", "id")
            .query("limit", limit);
        if let Some(after) = after {
            call = call.query("id", format!("gt.{after}"));
        }
        let rows: Vec<AttemptRow> = self.rows(call).await?;
        let codes: Vec<String> = rows.iter().filter_map(|row| plain_code(row.code.as_deref()?)).collect();
        let vouchers = self.vouchers_by_code(&codes).await?;
        let attempt = |row: AttemptRow| {
            let code = row.code.as_deref().and_then(plain_code);
            RedeemAttempt {
                id: row.id,
                voucher: code.and_then(|code| vouchers.get(&code).copied().flatten()),
                station: row.station.and_then(|id| id.parse().ok()),
                key: row.key.map(|key| self.http.clean(&key)),
                outcome: RedeemOutcome::from(row.error_message.as_deref().unwrap_or_default()),
                at: row.received_at,
            }
        };
        Ok(rows.into_iter().map(attempt).collect())
    }

    /// `GET /voucher_events?voucher_id=eq.X` and `GET /voucher_redemptions?voucher_id=eq.X`.
    async fn history(&self, voucher: VoucherId) -> Result<VoucherHistory> {
        let of = |table: &str, columns: &str| {
            read(table)
                .query("select", columns)
                .query("voucher_id", format!("eq.{voucher}"))
                .query("order", "created_at,id")
                .query("limit", PAGE)
        };
        let events: Vec<EventRow> =
            self.rows(of("voucher_events", "id,event_type,station_id,created_at")).await?;
        let columns = "id,station_id,key:meta->>idempotency_key,created_at";
        let redemptions: Vec<RedemptionRow> = self.rows(of("voucher_redemptions", columns)).await?;
        let event = |row: EventRow| VoucherEvent {
            id: row.id,
            kind: self.http.clean(&row.event_type),
            station: row.station_id,
            at: row.created_at,
        };
        let redemption = |row: RedemptionRow| Redemption {
            id: row.id,
            station: row.station_id,
            key: row.key.map(|key| self.http.clean(&key)),
            at: row.created_at,
        };
        Ok(VoucherHistory {
            events: events.into_iter().map(event).collect(),
            redemptions: redemptions.into_iter().map(redemption).collect(),
        })
    }

    /// `POST /voucher_events?on_conflict=id` with `resolution=ignore-duplicates`.
    async fn add_event(&self, event: &NewVoucherEvent) -> Result<()> {
        let row = json!({
            "id": event.id,
            "voucher_id": event.voucher,
            "event_type": event.kind,
            "context": event.context,
        });
        self.insert_once("voucher_events", row).await
    }
}
