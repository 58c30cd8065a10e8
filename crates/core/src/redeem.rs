//! Redeeming: what stations tried, what came of it, and the history of one voucher.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::VoucherId;

open_enum! {
    /// What a station was told about a redeem attempt: the words of the station app.
    RedeemOutcome {
        /// It was redeemed.
        Redeemed = "redeemed",
        /// It had been before. The only implemented redeem also says so of void, expired and merely sent vouchers.
        AlreadyRedeemed = "already_redeemed",
        /// No such code.
        NotFound = "not_found",
        /// Another station than its scope.
        InvalidStation = "invalid_station",
        /// The same idempotency key came before.
        Replay = "replay",
    }
}

/// One redemption, as little of it as a search over millions needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedemptionSeen {
    /// The redemption's own id.
    pub id: Uuid,
    /// Of which voucher.
    pub voucher: VoucherId,
}

/// One attempt of a station to redeem, from the request log. Without the code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedeemAttempt {
    /// Its place in the log.
    pub id: i64,
    /// Which voucher, where the code was one.
    pub voucher: Option<VoucherId>,
    /// The station's id, as its app sent it.
    pub station: Option<Uuid>,
    /// The idempotency key that came with it.
    pub key: Option<String>,
    /// What the station was told.
    pub outcome: RedeemOutcome,
    /// When.
    pub at: Timestamp,
}

/// One redemption of a voucher, in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redemption {
    /// Its own id.
    pub id: Uuid,
    /// Where: an id of `petrol_stations`, which are not `stations`.
    pub station: Option<Uuid>,
    /// The idempotency key, where it was kept.
    pub key: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// One event of a voucher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoucherEvent {
    /// Its own id.
    pub id: Uuid,
    /// What happened, e.g. `issued`.
    pub kind: String,
    /// Where: an id of `stations`.
    pub station: Option<Uuid>,
    /// When.
    pub at: Timestamp,
}

/// What the platform kept about one voucher, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoucherHistory {
    /// Its events.
    pub events: Vec<VoucherEvent>,
    /// Its redemptions.
    pub redemptions: Vec<Redemption>,
}

impl VoucherHistory {
    /// How often it was really redeemed. Redemptions with the same idempotency key are one attempt that was played
    /// again; those without a key, or with different ones, are different attempts.
    pub fn times_redeemed(&self) -> usize {
        let mut keys = BTreeSet::new();
        self.redemptions.iter().filter(|one| one.key.as_ref().is_none_or(|key| keys.insert(key))).count()
    }

    /// How many redemptions only repeat an earlier one.
    pub fn replays(&self) -> usize {
        self.redemptions.len() - self.times_redeemed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redeemed(id: u128, key: Option<&str>) -> Redemption {
        let at = Timestamp::UNIX_EPOCH;
        Redemption { id: Uuid::from_u128(id), station: None, key: key.map(str::to_owned), at }
    }

    #[test]
    fn the_same_key_is_one_attempt_played_again_and_not_a_double() {
        let history = |redemptions| VoucherHistory { events: Vec::new(), redemptions };
        let replayed = history(vec![redeemed(1, Some("k")), redeemed(2, Some("k"))]);
        assert_eq!((replayed.times_redeemed(), replayed.replays()), (1, 1));
        let doubled = history(vec![redeemed(1, Some("k")), redeemed(2, Some("l"))]);
        assert_eq!(doubled.times_redeemed(), 2);
        let unkeyed = history(vec![redeemed(1, None), redeemed(2, None)]);
        assert_eq!(unkeyed.times_redeemed(), 2, "without a key nothing says that it is a repetition");
    }
}
