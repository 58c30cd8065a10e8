//! Redeeming: what stations tried, what came of it, and the history of one voucher.

use jiff::{SignedDuration, Timestamp};
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

/// What several redemptions of one voucher mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repetition {
    /// There is one redemption, or none.
    None,
    /// One attempt that was stored again: the same station, the same key, within [`PLAYED_AGAIN_WITHIN`].
    Replayed,
    /// The same station and the same key, but later than the station app tries again. Its key can be the same for every
    /// voucher of a station, and its offline queue can be hours late, so only a person can tell.
    Doubtful,
    /// At least two attempts: at two stations, or with two keys.
    Double,
}

/// How long the station app goes on with one attempt: it tries again after 1, 5 and 15 seconds, each with a timeout.
pub const PLAYED_AGAIN_WITHIN: SignedDuration = SignedDuration::from_mins(2);

impl VoucherHistory {
    /// What its redemptions mean, by station and time first and by key last: the app's keys cover as little as half a
    /// station's id, so an equal key alone proves nothing.
    pub fn repetition(&self) -> Repetition {
        let mut verdict = Repetition::None;
        for (place, one) in self.redemptions.iter().enumerate() {
            let earlier = &self.redemptions[..place];
            let Some(first) = earlier.iter().find(|other| other.is_one_attempt_with(one)) else {
                if place > 0 {
                    return Repetition::Double;
                }
                continue;
            };
            verdict = match verdict {
                Repetition::Doubtful => Repetition::Doubtful,
                _ if one.at.duration_since(first.at).abs() > PLAYED_AGAIN_WITHIN => Repetition::Doubtful,
                _ => Repetition::Replayed,
            };
        }
        verdict
    }

    /// How many events say that it was redeemed. Nothing keeps them and the redemptions in step.
    pub fn redeemed_events(&self) -> usize {
        self.events.iter().filter(|event| event.kind == "redeemed").count()
    }

    /// How many redemptions only repeat an earlier one, as far as station and key tell.
    pub fn replays(&self) -> usize {
        let repeats = |(place, one): &(usize, &Redemption)| {
            self.redemptions[..*place].iter().any(|earlier| earlier.is_one_attempt_with(one))
        };
        self.redemptions.iter().enumerate().filter(repeats).count()
    }
}

impl Redemption {
    fn is_one_attempt_with(&self, other: &Self) -> bool {
        self.key.is_some() && self.key == other.key && self.station == other.station
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redeemed(id: u128, station: u128, key: Option<&str>, minute: i64) -> Redemption {
        let at = Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute);
        let station = Some(Uuid::from_u128(station));
        Redemption { id: Uuid::from_u128(id), station, key: key.map(str::to_owned), at }
    }

    #[test]
    fn a5_two_stations_are_a_double_whatever_the_key_says() {
        let of =
            |redemptions: Vec<Redemption>| VoucherHistory { events: Vec::new(), redemptions }.repetition();
        let key = Some("k");
        assert_eq!(of(vec![redeemed(1, 1, key, 0)]), Repetition::None);
        assert_eq!(of(vec![redeemed(1, 1, key, 0), redeemed(2, 1, key, 1)]), Repetition::Replayed);
        assert_eq!(of(vec![redeemed(1, 1, key, 0), redeemed(2, 2, key, 20)]), Repetition::Double);
        assert_eq!(of(vec![redeemed(1, 1, key, 0), redeemed(2, 1, key, 180)]), Repetition::Doubtful);
        assert_eq!(of(vec![redeemed(1, 1, key, 0), redeemed(2, 1, Some("l"), 0)]), Repetition::Double);
        assert_eq!(of(vec![redeemed(1, 1, None, 0), redeemed(2, 1, None, 0)]), Repetition::Double);
        let late_then_elsewhere =
            vec![redeemed(1, 1, key, 0), redeemed(2, 1, key, 90), redeemed(3, 2, key, 91)];
        assert_eq!(of(late_then_elsewhere), Repetition::Double);
        let late_then_soon = vec![redeemed(1, 1, key, 0), redeemed(2, 1, key, 90), redeemed(3, 1, key, 0)];
        assert_eq!(of(late_then_soon), Repetition::Doubtful);
    }
}
