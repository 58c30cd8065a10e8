//! Redemptions, and which vouchers were redeemed more than once.
//!
//! Nothing in the platform prevents a second redemption of a voucher: `voucher_redemptions` has no unique constraint, and
//! `voucher_events` takes any number of `redeemed` rows. So repeats are looked for, in two steps, because rows are many and
//! repeats are few: [`Repeats`] names candidates in a few bytes per voucher, and [`Findings::of`] judges the candidates' rows,
//! read again in full.
//!
//! ```
//! use allclear_core::redemption::Repeats;
//! use uuid::Uuid;
//!
//! let mut repeats = Repeats::with_capacity(3);
//! for voucher in [1, 2, 1] {
//!     repeats.see(Uuid::from_u128(voucher));
//! }
//! assert_eq!(repeats.repeated().len(), 1);
//! ```

mod repeats;

pub use repeats::{Place, Repeats, Watcher};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::VoucherId;

/// One row of an export of redemptions or voucher events. [`redeem::Redemption`](crate::redeem::Redemption) is what the
/// platform itself says of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExportedRedemption {
    /// What was redeemed.
    pub voucher: VoucherId,
    /// When.
    pub at: Timestamp,
    /// The row's id: a UUID in one deployment, a number in another, so it is kept as text.
    pub event: String,
    /// Where, as the row names it. Events point at `stations`, redemption rows at `petrol_stations`, so this is no
    /// [`StationId`](crate::station::StationId).
    pub station: Option<Uuid>,
    /// The idempotency key that the station sent along.
    pub key: Option<String>,
}

/// A voucher that has more than one redemption row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeated {
    /// Which one.
    pub voucher: VoucherId,
    /// Its redemptions, oldest first; each row once.
    pub redemptions: Vec<ExportedRedemption>,
}

/// What a set of redemptions shows. A finding is a reason to look, never to void: an equal key does not prove a replay (the
/// station app's keys cover as little as half a station's id), and unequal keys do not prove fraud.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Redeemed twice or more: at least two rows with different keys, or with none. By voucher.
    pub doubles: Vec<Repeated>,
    /// Recorded twice or more under one key: the station tried again, and the platform took it for another redemption. By
    /// voucher.
    pub replays: Vec<Repeated>,
}

impl Findings {
    /// Judges redemptions in any order. A row that is there twice (same voucher, same event) counts once; a voucher with one
    /// row is no finding.
    ///
    /// ```
    /// use allclear_core::redemption::{Findings, ExportedRedemption};
    ///
    /// let row = |event: &str, key: &str| ExportedRedemption {
    ///     voucher: "6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90".parse().unwrap(),
    ///     at: "2026-11-23T07:00:00Z".parse().unwrap(),
    ///     event: event.to_owned(),
    ///     station: None,
    ///     key: Some(key.to_owned()),
    /// };
    /// assert_eq!(Findings::of(vec![row("1", "a"), row("2", "a")]).replays.len(), 1);
    /// assert_eq!(Findings::of(vec![row("1", "a"), row("2", "b")]).doubles.len(), 1);
    /// ```
    pub fn of(mut rows: Vec<ExportedRedemption>) -> Self {
        rows.sort_unstable();
        let mut findings = Self::default();
        for of_voucher in rows.chunk_by(|one, next| one.voucher == next.voucher) {
            let redemptions = each_once(of_voucher);
            if redemptions.len() < 2 {
                continue;
            }
            let first = &redemptions[0];
            let one_key = first.key.is_some() && redemptions.iter().all(|row| row.key == first.key);
            let list = if one_key { &mut findings.replays } else { &mut findings.doubles };
            list.push(Repeated { voucher: first.voucher, redemptions });
        }
        findings
    }
}

/// The rows without those whose event came before. They are in order of time, so the oldest of equals stays.
fn each_once(rows: &[ExportedRedemption]) -> Vec<ExportedRedemption> {
    let mut seen = std::collections::HashSet::new();
    rows.iter().filter(|row| seen.insert(row.event.as_str())).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(voucher: u128, event: &str, key: Option<&str>) -> ExportedRedemption {
        ExportedRedemption {
            voucher: VoucherId(Uuid::from_u128(voucher)),
            at: "2026-11-23T07:00:00Z".parse().unwrap(),
            event: event.to_owned(),
            station: None,
            key: key.map(str::to_owned),
        }
    }

    fn vouchers(found: &[Repeated]) -> Vec<u128> {
        found.iter().map(|repeated| repeated.voucher.0.as_u128()).collect()
    }

    #[test]
    fn replays_are_told_from_doubles() {
        let found = Findings::of(vec![
            row(5, "j", Some("k")),
            row(5, "k", Some("k")),
            row(5, "l", Some("other")),
            row(4, "h", Some("k")),
            row(4, "i", None),
            row(3, "f", None),
            row(3, "g", None),
            row(2, "d", Some("k")),
            row(2, "e", Some("k")),
            row(1, "a", Some("k")),
        ]);
        assert_eq!(vouchers(&found.doubles), [3, 4, 5]);
        assert_eq!(vouchers(&found.replays), [2]);
        assert_eq!(found.doubles[2].redemptions.len(), 3, "a double shows its replayed rows too");
    }

    #[test]
    fn a_row_that_is_there_twice_counts_once() {
        let found = Findings::of(vec![row(1, "a", None), row(1, "a", None), row(2, "a", None)]);
        assert_eq!(found, Findings::default());
    }
}
