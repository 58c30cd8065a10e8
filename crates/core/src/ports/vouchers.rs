//! Vouchers, their replacements, and what stations did with them.

use std::path::Path;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::Result;
use crate::redeem::{RedeemAttempt, RedemptionSeen, VoucherHistory};
use crate::station::{Station, StationId, StationLookup};
use crate::voucher::{AsSeen, StoredAmount};
use crate::{CampaignId, Msisdn, Voucher, VoucherId};

/// Vouchers, read fresh from the database: the admin API's list falls back to invented vouchers when its read fails.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Vouchers: Send + Sync {
    /// One voucher. [`PortError::NotFound`](crate::PortError::NotFound) where there is none.
    async fn find(&self, id: VoucherId) -> Result<Voucher>;

    /// Up to `limit` of the newest vouchers that a station could redeem, newest first: what previews are tried with.
    async fn newest_redeemable(&self, limit: u32) -> Result<Vec<VoucherId>>;

    /// Up to `limit` vouchers issued at or after `since` that have no picture, by issue, then id.
    async fn without_picture(&self, since: Timestamp, limit: u32) -> Result<Vec<VoucherId>>;

    /// Sets the only station that may redeem a voucher, if the row is as seen. Returns how many rows changed: 0 says
    /// that it was not as seen.
    async fn set_scope(&self, id: VoucherId, seen: &AsSeen, scope: StationId) -> Result<u64>;
}

/// A replacement to make. It costs money once it is released, so everything about it is decided before.
#[derive(Clone, PartialEq, Eq)]
pub struct NewReplacement {
    /// Derived from the original's id, so that there can be one only.
    pub id: VoucherId,
    /// The voucher that it replaces.
    pub original: VoucherId,
    /// Its worth: the original's columns, copied as they are, so that every reader sees the same worth.
    pub amount: StoredAmount,
    /// Whose it is.
    pub msisdn: Msisdn,
    /// Where it may be redeemed.
    pub station_scope: Option<StationId>,
    /// The original's campaign.
    pub campaign: Option<CampaignId>,
    /// The original's date: a replacement is good for as long as what it replaces.
    pub expires_at: Option<Timestamp>,
    /// The run that makes it.
    pub held_by: String,
}

impl std::fmt::Debug for NewReplacement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewReplacement")
            .field("id", &self.id)
            .field("original", &self.original)
            .field("held_by", &self.held_by)
            .finish_non_exhaustive()
    }
}

/// Replacing a voucher in three moves, each guarded and each visible: make the replacement *held* (nobody can redeem
/// it), void the original, release the replacement. A crash between two of them leaves the customer with one voucher or
/// with a held one, never with two.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Replacements: Send + Sync {
    /// Every voucher that says it replaces this one.
    async fn of(&self, original: VoucherId) -> Result<Vec<Voucher>>;

    /// Inserts a replacement, not redeemable yet. Keyed by its id: a second insert changes nothing.
    async fn reserve(&self, replacement: &NewReplacement) -> Result<()>;

    /// Takes a held replacement over from the run `from`, which has ended, for the run `to`. Still nobody can redeem it. Returns
    /// how many rows changed: 0 says that it is not held, or not by that run.
    async fn adopt(&self, id: VoucherId, from: &str, to: &str) -> Result<u64>;

    /// Voids the original, if the row is as seen. Returns how many rows changed.
    async fn void_original(&self, id: VoucherId, seen: &AsSeen, replaced_by: VoucherId) -> Result<u64>;

    /// Lets the customer have a replacement that this run holds. Returns how many rows changed.
    async fn release(&self, id: VoucherId, held_by: &str) -> Result<u64>;
}

/// An event to add to a voucher's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVoucherEvent {
    /// Chosen by us, so that inserting it twice is inserting it once.
    pub id: Uuid,
    /// Whose history.
    pub voucher: VoucherId,
    /// What happened, e.g. `void`.
    pub kind: String,
    /// Why and by which run, as JSON.
    pub context: serde_json::Value,
}

/// What stations tried and what was redeemed.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait RedemptionLog: Send + Sync {
    /// Up to `limit` redemptions at or after `since` with ids above `after`, by id.
    async fn redemptions(
        &self,
        since: Timestamp,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<RedemptionSeen>>;

    /// Those of `vouchers` that have a redemption before `before`; each once. A window shows only the second half of a double
    /// whose first half is older.
    async fn redeemed_before(&self, vouchers: &[VoucherId], before: Timestamp) -> Result<Vec<VoucherId>>;

    /// Up to `limit` attempts of stations at or after `since` with ids above `after`, by id.
    async fn attempts(&self, since: Timestamp, after: Option<i64>, limit: u32) -> Result<Vec<RedeemAttempt>>;

    /// All events and redemptions of one voucher.
    async fn history(&self, voucher: VoucherId) -> Result<VoucherHistory>;

    /// Adds an event to a voucher's history. Keyed by its id: a second insert changes nothing.
    async fn add_event(&self, event: &NewVoucherEvent) -> Result<()>;
}

/// What a file of exported redemptions claims.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportedRepeats {
    /// How many rows it has.
    pub rows: u64,
    /// How many of them are redemptions.
    pub redemptions: u64,
    /// The vouchers that have more than one, replays included; sorted.
    pub vouchers: Vec<VoucherId>,
}

/// Files of redemptions that people exported. A file is a hint and no proof: it may be old, cut or edited, so whoever acts reads
/// each voucher fresh first.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait RedemptionExports: Send + Sync {
    /// The vouchers that a file (CSV or NDJSON, seen from its content) shows with more than one redemption.
    /// [`PortError::Rejected`](crate::PortError::Rejected) names the file, the line and the field that cannot be read; a file
    /// that is right only in part claims nothing.
    async fn repeats(&self, file: &Path) -> Result<ExportedRepeats>;
}

/// The two tables of stations.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Stations: Send + Sync {
    /// What an id means in each table.
    async fn look_up(&self, id: Uuid) -> Result<StationLookup>;

    /// The stations of that exact name.
    async fn named(&self, name: &str) -> Result<Vec<Station>>;
}
