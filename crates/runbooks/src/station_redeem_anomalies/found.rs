//! What detection found, and what is said of it.

use std::collections::BTreeSet;

use allclear_core::VoucherId;
use allclear_core::redeem::RedeemOutcome;
use allclear_engine::Halt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::SR_D1;
use super::cases::Case;
use super::detect::MOST_REFUSED;
use crate::words::counted;

/// A valid voucher that a station refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refused {
    pub(super) voucher: VoucherId,
    pub(super) station: Option<Uuid>,
    pub(super) outcome: RedeemOutcome,
    pub(super) times: u64,
    /// When first. A journal that does not know it takes the voucher for valid then.
    #[serde(default)]
    pub(super) first_at: Timestamp,
}

/// What detection found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) redemptions: u64,
    pub(super) attempts: u64,
    /// Vouchers that were asked about by name and read one by one.
    #[serde(default)]
    pub(super) named: u64,
    /// Redeemed by two different attempts.
    pub(super) doubles: Vec<VoucherId>,
    /// Redeemed once and stored again by a replay.
    pub(super) replayed: Vec<VoucherId>,
    /// Redeemed again at the same station under the same key, too late for a repetition of the app.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) doubtful: Vec<VoucherId>,
    /// Claimed to be redeemed more than once by a file, and not by the platform. Empty where no file was given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) unconfirmed: Vec<VoucherId>,
    /// Redemptions in the file, where one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) in_file: Option<u64>,
    /// Redeemed more than once by what the platform says, and not in the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) unfiled: Vec<VoucherId>,
    /// Redeemed more than once by their events, and once or never by their redemptions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) by_events: Vec<VoucherId>,
    /// Asked about by name, and neither redeemed nor tried: nothing is known of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) silent: Vec<VoucherId>,
    /// Refused while they were valid, and expired since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) expired_since: Vec<VoucherId>,
    /// Attempts whose code is nobody's, or of two vouchers, though the station was not told so.
    #[serde(default)]
    pub(super) unknown: u64,
    /// Refused vouchers that were not looked at, because there were too many.
    #[serde(default)]
    pub(super) beyond: u64,
    pub(super) refused: Vec<Refused>,
}

impl Found {
    /// Whether somebody must do something.
    pub(super) fn needs_hands(&self) -> bool {
        !(self.doubles.is_empty() && self.refused.is_empty() && self.left_to_people().is_empty())
    }

    /// Nothing seen is no sign of health: without redemptions and attempts in the window, nothing was looked at. Vouchers that
    /// were asked about by name are what the question is about, so each of them must show something.
    pub(super) fn must_rest_on_samples(&self) -> Result<(), Halt> {
        let missing = match (self.nothing_seen_of(), self.named, self.redemptions, self.attempts) {
            _ if self.in_file == Some(0) => "no redemption in the file".to_owned(),
            (Some(of), ..) => of,
            (None, 1.., ..) | (None, 0, 1.., 1..) => return Ok(()),
            (None, 0, 0, 0) => "no redemption and no attempt of a station".to_owned(),
            (None, 0, 0, _) => "no redemption".to_owned(),
            (None, 0, _, 0) => "no attempt of a station in the request log".to_owned(),
        };
        let says = format!(
            "{missing} was found to look at, so nothing can be said; widen the window with --set window_hours=N, or \
             check that the platform still records them"
        );
        Err(Halt::Unverified { step: SR_D1.id.to_owned(), says })
    }

    /// What only a person can tell.
    pub(super) fn left_to_people(&self) -> Vec<String> {
        let doubtful = self.doubtful.iter().map(|voucher| {
            format!(
                "voucher {voucher} was redeemed again at the same station under the same key, too late for a \
                 repetition of the app: ask the station whether it was one fill or two; if two, void and replace it by hand"
            )
        });
        let unconfirmed = self.unconfirmed.iter().map(|voucher| {
            format!(
                "the file shows voucher {voucher} redeemed more than once and the platform does not: find out which \
                 of them lacks rows"
            )
        });
        let unfiled = self.unfiled.iter().map(|voucher| {
            format!(
                "the platform shows voucher {voucher} redeemed more than once and the file does not, so this run leaves it \
                 alone: run again without the file, or with all of the export"
            )
        });
        let by_events = self.by_events.iter().map(|voucher| {
            format!(
                "voucher {voucher} has more `redeemed` events than redemptions: find out whether it was redeemed more than \
                 once; if it was, void and replace it by hand"
            )
        });
        let expired = self.expired_since.iter().map(|voucher| {
            format!(
                "voucher {voucher} was refused while it was valid and has expired since: decide by hand whether to give another"
            )
        });
        let unknown = (self.unknown > 0).then(|| {
            format!(
                "{} a code that is no voucher's, or two vouchers', and the station was told otherwise: ask the vendor which \
                 vouchers these are",
                counted(self.unknown, "attempt names", "attempts name")
            )
        });
        let beyond = (self.beyond > 0).then(|| {
            format!(
                "{} beyond the first {MOST_REFUSED} and not looked at: that many are the vendor's to explain",
                counted(self.beyond, "refusal is of a voucher", "refusals are of vouchers")
            )
        });
        let told = doubtful.chain(unconfirmed).chain(unfiled).chain(by_events).chain(expired);
        told.chain(unknown).chain(beyond).collect()
    }

    /// Vouchers that were asked about by name and show nothing, beside others that do.
    pub(super) fn nothing_seen_of(&self) -> Option<String> {
        if self.silent.is_empty() {
            return None;
        }
        let ids: Vec<String> = self.silent.iter().map(ToString::to_string).collect();
        Some(format!("neither a redemption nor an attempt of voucher {}", ids.join(", ")))
    }

    pub(super) fn all_clear(&self, hours: u32) -> String {
        format!(
            "all clear: {} and {} of the last {} show no double redemption and no valid voucher that was refused; {} stored again by replays",
            counted(self.redemptions, "redemption", "redemptions"),
            counted(self.attempts, "attempt", "attempts"),
            counted(hours, "hour", "hours"),
            counted(self.replayed.len(), "was", "were")
        )
    }

    /// How many vouchers were read one by one.
    pub(super) fn candidates(&self) -> u64 {
        let claimed = self.doubles.len() + self.replayed.len() + self.doubtful.len();
        (claimed + self.unconfirmed.len() + self.by_events.len()) as u64
    }

    /// Each affected voucher once.
    pub(super) fn affected(&self) -> Vec<VoucherId> {
        let refused = self.refused.iter().map(|refused| refused.voucher);
        let repeated = self.doubles.iter().chain(&self.doubtful).copied();
        repeated.chain(refused).collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
        let mut counts = vec![
            ("redemptions looked at", self.redemptions),
            ("attempts of stations looked at", self.attempts),
            ("vouchers redeemed twice", self.doubles.len() as u64),
            ("vouchers stored again by a replay", self.replayed.len() as u64),
            ("valid vouchers that a station refused", self.refused.len() as u64),
        ];
        if !self.doubtful.is_empty() {
            counts.push(("vouchers redeemed again that only a person can tell", self.doubtful.len() as u64));
        }
        if !self.unconfirmed.is_empty() {
            counts.push(("vouchers that only the file shows twice", self.unconfirmed.len() as u64));
        }
        counts.extend(self.in_file.map(|count| ("redemptions in the file", count)));
        let others = [
            ("vouchers redeemed more than once that the file lacks", self.unfiled.len() as u64),
            ("vouchers with more events of redemption than redemptions", self.by_events.len() as u64),
            ("vouchers refused while valid and expired since", self.expired_since.len() as u64),
            ("attempts with a code that is no one voucher's", self.unknown),
            ("refusals not looked at", self.beyond),
        ];
        counts.extend(others.into_iter().filter(|(_, count)| *count > 0));
        counts
    }

    pub(super) fn facts(&self) -> serde_json::Value {
        self.counts()
            .iter()
            .map(|(what, count)| ((*what).to_owned(), (*count).into()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    /// Refusals that neither a scope nor a key explains.
    pub(super) fn unexplained(&self, cases: &[Case]) -> Vec<String> {
        let explained = |refused: &&Refused| {
            matches!(refused.outcome, RedeemOutcome::InvalidStation | RedeemOutcome::Replay)
        };
        let status = |voucher: VoucherId| {
            cases
                .iter()
                .find(|case| case.id == voucher)
                .map_or_else(String::new, |case| format!(", it is {}", case.status))
        };
        self.refused
            .iter()
            .filter(|refused| !explained(refused))
            .map(|refused| {
                format!(
                    "voucher {} is valid and a station was told {}{}",
                    refused.voucher,
                    refused.outcome,
                    status(refused.voucher)
                )
            })
            .collect()
    }
}
