//! Vouchers and stations.

use allclear_core::ports::{Stations, Vouchers};
use allclear_core::station::{Station, StationId, StationLookup, StationStatus};
use allclear_core::voucher::{AsSeen, IssuingPath, StoredAmount};
use allclear_core::{CampaignId, Currency, Msisdn, PortError, Voucher, VoucherId, VoucherStatus};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Result, Supabase, read, table};

/// The columns of a voucher that we read: its code is not among them.
const VOUCHER: &str = "id,status,amount_minor,amount,currency,issued_by_admin,created_by,whatsapp_e164,campaign_id,\
station_scope,redeemed_at,expires_at,updated_at,metadata";

#[derive(Deserialize)]
pub(super) struct VoucherRow {
    id: VoucherId,
    status: VoucherStatus,
    amount_minor: i64,
    amount: Option<Value>,
    currency: Currency,
    issued_by_admin: Option<Uuid>,
    created_by: Option<Uuid>,
    whatsapp_e164: Msisdn,
    campaign_id: Option<CampaignId>,
    station_scope: Option<StationId>,
    redeemed_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    updated_at: Timestamp,
    #[serde(default)]
    metadata: Value,
}

impl From<VoucherRow> for Voucher {
    fn from(row: VoucherRow) -> Self {
        let path = match (row.issued_by_admin, row.created_by) {
            (Some(_), None) => IssuingPath::WhatsApp,
            (None, Some(_)) => IssuingPath::AdminApi,
            _ => IssuingPath::Unknown,
        };
        let amount_hundredths = row.amount.as_ref().and_then(hundredths);
        Self {
            id: row.id,
            status: row.status,
            amount: StoredAmount {
                amount_minor: row.amount_minor,
                amount_hundredths,
                currency: row.currency,
                path,
            },
            msisdn: row.whatsapp_e164,
            campaign: row.campaign_id,
            station_scope: row.station_scope,
            redeemed_at: row.redeemed_at,
            expires_at: row.expires_at,
            updated_at: row.updated_at,
            replaces: row.metadata["replaces"].as_str().and_then(|id| id.parse().ok()),
            replaced_by: row.metadata["replaced_by"].as_str().and_then(|id| id.parse().ok()),
            held_by: row.metadata["held_by"].as_str().map(str::to_owned),
        }
    }
}

/// A numeric with two decimals, exactly: `20`, `20.0`, `20.05`, as a number or as text.
fn hundredths(value: &Value) -> Option<i64> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    let decimals = format!("{decimals:0<2}");
    let (two, rest) = decimals.split_at_checked(2)?;
    if rest.bytes().any(|digit| digit != b'0') {
        return None;
    }
    let sign = if whole.starts_with('-') { -1 } else { 1 };
    Some(whole.parse::<i64>().ok()? * 100 + sign * two.parse::<i64>().ok()?)
}

/// The filters of a guarded change.
pub(super) fn as_seen(id: VoucherId, seen: &AsSeen) -> Vec<(&'static str, String)> {
    vec![
        ("id", format!("eq.{id}")),
        ("status", format!("eq.{}", seen.status)),
        ("updated_at", format!("eq.{}", seen.updated_at)),
    ]
}

impl Supabase {
    /// Vouchers by a condition on one column.
    pub(super) async fn vouchers_where(&self, column: &str, condition: String) -> Result<Vec<Voucher>> {
        let call = read("vouchers").query("select", VOUCHER).query(column, condition).query("order", "id");
        Ok(self.rows::<VoucherRow>(call).await?.into_iter().map(Voucher::from).collect())
    }
}

#[derive(Deserialize)]
struct Named {
    id: VoucherId,
}

#[async_trait]
impl Vouchers for Supabase {
    /// `GET /vouchers?id=eq.X`.
    async fn find(&self, id: VoucherId) -> Result<Voucher> {
        let service = self.http.service();
        let found = self.vouchers_where("id", format!("eq.{id}")).await?.pop();
        found.ok_or_else(|| PortError::NotFound { service, what: format!("voucher {id}") })
    }

    /// `GET /vouchers?status=in.(issued,sent)&order=issued_at.desc,id&limit=N`.
    async fn newest_redeemable(&self, limit: u32) -> Result<Vec<VoucherId>> {
        let call = read("vouchers")
            .query("select", "id")
            .query("status", "in.(issued,sent)")
            .query("order", "issued_at.desc,id")
            .query("limit", limit);
        Ok(self.rows::<Named>(call).await?.into_iter().map(|row| row.id).collect())
    }

    /// `GET /vouchers?png_url=is.null&issued_at=gte.T&order=issued_at,id`.
    async fn without_picture(&self, since: Timestamp, limit: u32) -> Result<Vec<VoucherId>> {
        let call = read("vouchers")
            .query("select", "id")
            .query("png_url", "is.null")
            .query("issued_at", format!("gte.{since}"))
            .query("order", "issued_at,id")
            .query("limit", limit);
        Ok(self.rows::<Named>(call).await?.into_iter().map(|row| row.id).collect())
    }

    /// `PATCH /vouchers?id=eq.X&status=eq.S&updated_at=eq.T {station_scope}` with `max-affected=1`.
    async fn set_scope(&self, id: VoucherId, seen: &AsSeen, scope: StationId) -> Result<u64> {
        self.change_one(&table("vouchers"), &as_seen(id, seen), json!({ "station_scope": scope })).await
    }
}

#[derive(Deserialize)]
struct StationRow {
    id: StationId,
    name: String,
    status: StationStatus,
}

impl Supabase {
    async fn stations_where(&self, table: &str, column: &str, value: &str) -> Result<Vec<Station>> {
        let call = read(table)
            .query("select", "id,name,status")
            .query(column, format!("eq.{value}"))
            .query("order", "id");
        let station =
            |row: StationRow| Station { id: row.id, name: self.http.clean(&row.name), status: row.status };
        Ok(self.rows::<StationRow>(call).await?.into_iter().map(station).collect())
    }
}

#[async_trait]
impl Stations for Supabase {
    /// `GET /stations?id=eq.X` and `GET /petrol_stations?id=eq.X`.
    async fn look_up(&self, id: Uuid) -> Result<StationLookup> {
        let text = id.to_string();
        let station = self.stations_where("stations", "id", &text).await?.pop();
        let petrol = self.stations_where("petrol_stations", "id", &text).await?.pop();
        Ok(StationLookup { station, petrol_station: petrol.map(|station| station.name) })
    }

    /// `GET /stations?name=eq.N`.
    async fn named(&self, name: &str) -> Result<Vec<Station>> {
        self.stations_where("stations", "name", name).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_exactly_or_not_at_all() {
        let cases =
            [(json!(20), 2_000), (json!(20.5), 2_050), (json!("20.05"), 2_005), (json!("-0.50"), -50)];
        for (value, wanted) in cases {
            assert_eq!(hundredths(&value), Some(wanted), "{value}");
        }
        assert_eq!(hundredths(&json!("20.005")), None);
        assert_eq!(hundredths(&json!("twenty")), None);
    }
}
