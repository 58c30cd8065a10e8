//! Vouchers, and what their two money columns are worth.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{CampaignId, Currency, Money, Msisdn, station::StationId};

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

impl VoucherStatus {
    /// Whether a station may still redeem it.
    pub fn is_redeemable(&self) -> bool {
        matches!(self, Self::Issued | Self::Sent)
    }
}

/// Which flow made a voucher. It decides what the money columns mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IssuingPath {
    /// The WhatsApp flow (`issued_by_admin` is set): `amount_minor` holds whole francs.
    WhatsApp,
    /// The admin API (`created_by` is set): `amount` holds whole francs.
    AdminApi,
    /// The row does not tell.
    Unknown,
}

/// What the two money columns of a voucher's row hold.
///
/// A trigger keeps `amount = amount_minor / 100`, but the two flows disagree about which of them counts francs, so the
/// same voucher is worth 100 times more or less depending on who reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAmount {
    /// The column `amount_minor`.
    pub amount_minor: i64,
    /// The column `amount`, in hundredths; absent where the row has none.
    pub amount_hundredths: Option<i64>,
    /// The column `currency`.
    pub currency: Currency,
    /// Which flow wrote them.
    pub path: IssuingPath,
}

/// Why a voucher's worth cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum AmountFault {
    /// The columns do not fit each other, so one of them was written past the trigger.
    #[error(
        "amount_minor is {amount_minor} and amount is {amount_hundredths} hundredths; correct the row by hand first"
    )]
    ColumnsDisagree {
        /// `amount_minor`.
        amount_minor: i64,
        /// `amount` × 100.
        amount_hundredths: i64,
    },
    /// Nothing tells which flow issued it, so the columns may mean 100 times more or less.
    #[error(
        "the row does not tell which flow issued it, so {amount_minor} may count francs or hundredths; look it up first"
    )]
    UnknownPath {
        /// `amount_minor`.
        amount_minor: i64,
    },
    /// Nothing, or less.
    #[error("amount_minor is {amount_minor}, which is no worth")]
    NotPositive {
        /// `amount_minor`.
        amount_minor: i64,
    },
}

impl StoredAmount {
    /// What the voucher is worth, or why that cannot be told.
    pub fn worth(&self) -> Result<Money, AmountFault> {
        let amount_minor = self.amount_minor;
        if amount_minor <= 0 {
            return Err(AmountFault::NotPositive { amount_minor });
        }
        if let Some(amount_hundredths) =
            self.amount_hundredths.filter(|hundredths| *hundredths != amount_minor)
        {
            return Err(AmountFault::ColumnsDisagree { amount_minor, amount_hundredths });
        }
        let minor = match (self.path, self.currency.minor_per_unit()) {
            // A currency with hundredths means the same to both flows.
            (_, 100) | (IssuingPath::WhatsApp, _) => amount_minor,
            (IssuingPath::AdminApi, _) => amount_minor / 100,
            (IssuingPath::Unknown, _) => return Err(AmountFault::UnknownPath { amount_minor }),
        };
        Ok(Money { minor, currency: self.currency.clone() })
    }
}

/// One voucher. Its redeemable code is left out on purpose: whoever holds the code holds the money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voucher {
    /// Which one.
    pub id: VoucherId,
    /// Where it stands.
    pub status: VoucherStatus,
    /// What its money columns hold.
    pub amount: StoredAmount,
    /// Whose it is.
    pub msisdn: Msisdn,
    /// The campaign it came from.
    pub campaign: Option<CampaignId>,
    /// The only station that may redeem it; any station when `None`.
    pub station_scope: Option<StationId>,
    /// When it was redeemed.
    pub redeemed_at: Option<Timestamp>,
    /// From when on nobody may redeem it, whatever its status says: nothing in the platform moves that in time.
    pub expires_at: Option<Timestamp>,
    /// When the row last changed; part of the expected state of a guarded change.
    pub updated_at: Timestamp,
    /// The voucher that this one replaces.
    pub replaces: Option<VoucherId>,
    /// The voucher that replaces this one.
    pub replaced_by: Option<VoucherId>,
    /// The run that holds it back: made, and not yet given to the customer.
    pub held_by: Option<String>,
}

impl Voucher {
    /// Whether its date had passed at a time.
    pub fn is_expired_at(&self, at: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires| expires <= at)
    }

    /// What a guarded change of this row expects to find.
    pub fn as_seen(&self) -> AsSeen {
        AsSeen { status: self.status.clone(), updated_at: self.updated_at }
    }
}

/// The state that a guarded change expects: it goes into the request itself, so a row that changed meanwhile is left
/// alone by the database and not by our good will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsSeen {
    /// Its status then.
    pub status: VoucherStatus,
    /// When it had last changed then.
    pub updated_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(amount_minor: i64, amount_hundredths: i64, path: IssuingPath) -> StoredAmount {
        StoredAmount {
            amount_minor,
            amount_hundredths: Some(amount_hundredths),
            currency: Currency::Rwf,
            path,
        }
    }

    #[test]
    fn the_issuing_path_decides_what_the_columns_are_worth() {
        let francs = |minor| Ok(Money { minor, currency: Currency::Rwf });
        assert_eq!(stored(2_000, 2_000, IssuingPath::WhatsApp).worth(), francs(2_000));
        assert_eq!(stored(200_000, 200_000, IssuingPath::AdminApi).worth(), francs(2_000));
    }

    #[test]
    fn what_cannot_be_told_is_refused() {
        let disagree = stored(2_000, 200_000, IssuingPath::WhatsApp).worth();
        assert!(matches!(disagree, Err(AmountFault::ColumnsDisagree { .. })));
        let unknown = stored(2_000, 2_000, IssuingPath::Unknown).worth();
        assert!(matches!(unknown, Err(AmountFault::UnknownPath { .. })));
        assert!(matches!(stored(0, 0, IssuingPath::WhatsApp).worth(), Err(AmountFault::NotPositive { .. })));
    }
}
