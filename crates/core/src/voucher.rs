//! Vouchers.

use jiff::Timestamp;

use crate::{CampaignId, Money, Msisdn, station::StationId};

uuid_id! {
    /// Identifies a voucher. Codes do not: two rows may share one.
    VoucherId, "voucher id"
}

open_enum! {
    /// Where a voucher stands. Intended moves: issued→sent→redeemed, issued→expired, issued or sent→void.
    VoucherStatus {
        /// Made, not sent.
        Issued = "issued",
        /// Sent to the customer.
        Sent = "sent",
        /// Used up.
        Redeemed = "redeemed",
        /// Past its date.
        Expired = "expired",
        /// Taken back.
        Void = "void",
        /// An older word that the database still accepts; we write `void`.
        Cancelled = "cancelled",
    }
}

/// One voucher. Its redeemable code is left out on purpose: whoever holds the code holds the money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voucher {
    /// Which one.
    pub id: VoucherId,
    /// Where it stands.
    pub status: VoucherStatus,
    /// What it is worth.
    pub value: Money,
    /// Whose it is.
    pub msisdn: Msisdn,
    /// The campaign it came from.
    pub campaign: Option<CampaignId>,
    /// The only station that may redeem it; any station when `None`.
    pub station_scope: Option<StationId>,
    /// When it was redeemed.
    pub redeemed_at: Option<Timestamp>,
    /// When the row last changed; part of the expected state of a guarded change.
    pub updated_at: Option<Timestamp>,
}
