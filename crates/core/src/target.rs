//! Targets: one recipient of one campaign, and what is counted about them.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{CampaignId, Msisdn};

uuid_id! {
    /// Identifies a campaign's target.
    TargetId, "target id"
}

open_enum! {
    /// What became of a target. The database checks nothing here.
    TargetStatus {
        /// Waiting to be sent.
        Queued = "queued",
        /// Waiting because of the throttle.
        QueuedThrottled = "queued_throttled",
        /// Handed to WhatsApp.
        Sent = "sent",
        /// WhatsApp reports it delivered.
        Delivered = "delivered",
        /// WhatsApp reports it read.
        Read = "read",
        /// Not sent; `error_code` says why.
        Failed = "failed",
        /// The recipient does not want messages.
        OptedOut = "opted_out",
    }
}

/// Whom a target is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// A number.
    Number(Msisdn),
    /// What is stored is none. It still fails and must still be counted and cleaned, so it is not an error; what is stored
    /// may be most of a number, so only its size is kept.
    Unreadable {
        /// How many characters are stored.
        characters: usize,
        /// How many of them are digits.
        digits: usize,
    },
}

impl Recipient {
    /// Reads what is stored.
    pub fn read(stored: &str) -> Self {
        stored.parse().map_or_else(
            |_| Self::Unreadable {
                characters: stored.chars().count(),
                digits: stored.chars().filter(char::is_ascii_digit).count(),
            },
            Self::Number,
        )
    }

    /// The number, where there is one.
    pub fn number(&self) -> Option<&Msisdn> {
        match self {
            Self::Number(number) => Some(number),
            Self::Unreadable { .. } => None,
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Unreadable { characters, digits } => {
                write!(f, "no phone number ({characters} characters, {digits} of them digits)")
            }
        }
    }
}

/// One recipient of one campaign. Not serializable, because it holds a phone number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which one.
    pub id: TargetId,
    /// Of which campaign.
    pub campaign: CampaignId,
    /// The number, or that there is none.
    pub recipient: Recipient,
    /// What became of it.
    pub status: TargetStatus,
    /// Why it failed, as WhatsApp or the platform coded it.
    pub error_code: Option<String>,
    /// When that last changed.
    pub last_update_at: Option<Timestamp>,
}

/// Targets by id: above one, up to and including another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TargetRange {
    /// Only ids above this one.
    pub after: Option<TargetId>,
    /// Only ids up to this one.
    pub until: Option<TargetId>,
}

impl TargetRange {
    /// All ids, cut into `parts` ranges of equal width, in order. Random ids fall evenly into them.
    pub fn parts(parts: u32) -> Vec<Self> {
        let width = u128::MAX / u128::from(parts.max(1));
        let end = |part: u32| TargetId(Uuid::from_u128(width * u128::from(part)));
        (0..parts.max(1))
            .map(|part| Self {
                after: (part > 0).then(|| end(part)),
                until: (part + 1 < parts).then(|| end(part + 1)),
            })
            .collect()
    }
}

/// How far a campaign is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetProgress {
    /// How many targets there are by status, as the platform words it.
    pub by_status: BTreeMap<String, u64>,
    /// When a target last changed.
    pub last_update_at: Option<Timestamp>,
}

impl TargetProgress {
    /// Targets that are still to be sent.
    pub fn waiting(&self) -> u64 {
        let of = |status: TargetStatus| self.by_status.get(status.as_str()).copied().unwrap_or(0);
        of(TargetStatus::Queued) + of(TargetStatus::QueuedThrottled)
    }
}

impl std::fmt::Display for TargetProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts: Vec<String> =
            self.by_status.iter().map(|(status, count)| format!("{count} {status}")).collect();
        let last = self.last_update_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
        write!(f, "{}; last change {last}", counts.join(", "))
    }
}

/// Sends of a span of time, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendTally {
    /// Messages that were accepted, each counted once.
    pub sent: u64,
    /// Sends of a message that had gone out already within the span: its recipient has it twice.
    pub repeats: u64,
    /// Sends that failed, by error code.
    pub failed: BTreeMap<String, u64>,
    /// The longest wait that a failed send was told, in seconds.
    pub retry_after_seconds: Option<u64>,
    /// When the first of the failures happened.
    pub first_failure_at: Option<Timestamp>,
    /// When the last of the failures happened.
    pub last_failure_at: Option<Timestamp>,
    /// By error code: the first failure of each minute that had any, by the minute's number since 1970. Enough to tell
    /// when a series of failures began, and small however many there are.
    pub failing_minutes: BTreeMap<String, BTreeMap<i64, Timestamp>>,
}

impl SendTally {
    /// Counts one failure, by its code.
    pub fn count_failure(&mut self, code: &str, at: Timestamp) {
        *self.failed.entry(code.to_owned()).or_default() += 1;
        self.first_failure_at = self.first_failure_at.into_iter().chain([at]).min();
        self.last_failure_at = self.last_failure_at.max(Some(at));
        let minutes = self.failing_minutes.entry(code.to_owned()).or_default();
        let first = minutes.entry(at.as_second().div_euclid(60)).or_insert(at);
        *first = at.min(*first);
    }

    /// When the latest series of failures with the codes that `counts` accepts began: the first of those before which
    /// there was none for `pause` minutes. `None` where no such failure is known.
    pub fn series_began_at(&self, counts: impl Fn(&str) -> bool, pause: i64) -> Option<Timestamp> {
        let mut minutes: BTreeMap<i64, Timestamp> = BTreeMap::new();
        for (_, of_code) in self.failing_minutes.iter().filter(|(code, _)| counts(code)) {
            for (minute, at) in of_code {
                let first = minutes.entry(*minute).or_insert(*at);
                *first = (*at).min(*first);
            }
        }
        let mut latest_first = minutes.into_iter().rev();
        let (mut minute, mut began) = latest_first.next()?;
        for (earlier, at) in latest_first {
            if minute - earlier > pause {
                break;
            }
            (minute, began) = (earlier, at);
        }
        Some(began)
    }

    /// How many failed.
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// How many were tried.
    pub fn tries(&self) -> u64 {
        self.sent + self.repeats + self.failures()
    }

    /// Failures among all tries, in percent; `None` when nothing was tried, for no sends prove nothing.
    pub fn failure_percent(&self) -> Option<u64> {
        (self.tries() > 0).then(|| self.failures() * 100 / self.tries())
    }
}

impl std::fmt::Display for SendTally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} sent, ", self.sent)?;
        if self.repeats > 0 {
            write!(f, "{} of them sent again, ", self.repeats)?;
        }
        f.write_str("failed: ")?;
        if self.failed.is_empty() {
            return f.write_str("none");
        }
        for (n, (code, count)) in self.failed.iter().enumerate() {
            write!(f, "{}{count} × {code}", if n > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_named_without_its_digits() {
        let unreadable = Recipient::read("0788 123 012");
        assert_eq!(unreadable.to_string(), "no phone number (12 characters, 10 of them digits)");
        assert_eq!(unreadable.number(), None);
        assert!(!format!("{unreadable:?}").contains("788"));
        assert_eq!(Recipient::read("250788123012").to_string(), "+250 78* *** 012");
    }

    #[test]
    fn ranges_leave_no_gap_and_do_not_overlap() {
        for parts in [1, 2, 7, 1_024] {
            let ranges = TargetRange::parts(parts);
            assert_eq!(ranges.len(), parts as usize);
            assert!(ranges[0].after.is_none() && ranges[ranges.len() - 1].until.is_none());
            assert!(ranges.windows(2).all(|pair| pair[0].until.is_some() && pair[0].until == pair[1].after));
        }
    }

    #[test]
    fn no_sends_are_no_evidence_of_health() {
        assert_eq!(SendTally::default().failure_percent(), None);
        let mut mixed = SendTally::default();
        let at = |text: &str| format!("2026-11-23T{text}Z").parse::<Timestamp>().unwrap();
        mixed.count_failure("131026", at("08:35:00"));
        mixed.count_failure("130429", at("08:41:00"));
        for time in ["08:55:30", "08:55:10", "08:57:00", "09:00:00"] {
            mixed.count_failure("130429", at(time));
        }
        assert_eq!(mixed.first_failure_at, Some(at("08:35:00")));
        assert_eq!(mixed.series_began_at(|code| code == "130429", 5), Some(at("08:55:10")));
        assert_eq!(mixed.series_began_at(|code| code == "130429", 15), Some(at("08:41:00")));
        assert_eq!(mixed.series_began_at(|code| code == "190", 5), None);

        let tally = SendTally { sent: 95, failed: [("131026".to_owned(), 5)].into(), ..SendTally::default() };
        assert_eq!(tally.failure_percent(), Some(5));
    }
}
