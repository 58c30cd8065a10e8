//! Why sends fail: every cause that is there, told apart by WhatsApp's codes and not by which is the most frequent.

use std::collections::BTreeMap;

use allclear_core::ports::{CanSend, PhoneHealth};
use allclear_core::send_fault::SendFault;
use allclear_core::target::SendTally;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Fewer failures than this are never an incident, whatever their share: one wrong number in three sends is no outage.
pub(super) const FEWEST_FAILURES: u64 = 10;
/// So many minutes without a failure of its kind end a series: what failed before was something else. An incident has at
/// least ten failures within its window, so its own do not lie this far apart.
pub(super) const PAUSE_BETWEEN_SERIES: i64 = 5;

/// Why sends fail. In the order in which they are dealt with: what gets worse with every call first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cause {
    /// WhatsApp restricts the account.
    PolicyBlock,
    /// The token is expired or lacks a right.
    Credential,
    /// WhatsApp or the function fails.
    Outage,
    /// What the platform stored says nothing that is known. Nothing is presumed: what runs is paused, and what failed is not
    /// retried.
    Unknown,
    /// Our own quiet hours or throttle hold everything back.
    Misconfigured,
    /// Too fast for WhatsApp.
    RateLimited,
    /// The numbers cannot receive.
    InvalidNumbers,
    /// A campaign's template or its parameters are wrong.
    Template,
    /// A campaign's picture or document cannot be had.
    Media,
    /// Too many messages to single recipients: those wait, and nobody else.
    PairLimit,
    /// Recipients do not want, or may not get, these messages.
    Recipients,
}

impl Cause {
    const ALL: [Self; 11] = [
        Self::PolicyBlock,
        Self::Credential,
        Self::Outage,
        Self::Unknown,
        Self::Misconfigured,
        Self::RateLimited,
        Self::InvalidNumbers,
        Self::Template,
        Self::Media,
        Self::PairLimit,
        Self::Recipients,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::RateLimited => "WhatsApp limits our rate",
            Self::InvalidNumbers => "the numbers cannot receive",
            Self::Misconfigured => "our own sending policy holds messages back",
            Self::Credential => "WhatsApp does not accept our credential",
            Self::PolicyBlock => "WhatsApp restricts the account",
            Self::Outage => "WhatsApp or the send function fails",
            Self::Unknown => "sends fail for a reason that is not known",
            Self::Template => "a template or its parameters are wrong",
            Self::Media => "a campaign's media cannot be sent",
            Self::PairLimit => "single recipients got too many messages at once",
            Self::Recipients => "recipients do not want, or may not get, these messages",
        }
    }

    /// What a person must confirm before anything is sent again; `None` where nobody must.
    pub(super) fn question(self) -> Option<&'static str> {
        match self {
            Self::PolicyBlock => {
                Some("WhatsApp restricts the account; every send makes it worse. Has the provider lifted it?")
            }
            Self::Credential => Some(
                "WhatsApp does not accept the credential. Has the token been replaced where the function reads it?",
            ),
            _ => None,
        }
    }

    /// What a failure of this kind is a sign of.
    pub(super) fn of_fault(fault: SendFault) -> Self {
        match fault {
            SendFault::RateLimited => Self::RateLimited,
            SendFault::InvalidNumber => Self::InvalidNumbers,
            SendFault::HeldByPolicy => Self::Misconfigured,
            SendFault::Credential => Self::Credential,
            SendFault::PolicyBlock => Self::PolicyBlock,
            SendFault::Template => Self::Template,
            SendFault::Media => Self::Media,
            SendFault::PairLimit => Self::PairLimit,
            SendFault::Recipient => Self::Recipients,
            SendFault::Transient => Self::Outage,
            SendFault::Unknown => Self::Unknown,
        }
    }

    /// Whether failures with this code are a sign of it.
    pub(super) fn shows_in(self, code: &str) -> bool {
        self == Self::of_fault(SendFault::from_text(code))
    }

    /// Whether it hits whatever is sent, and not single campaigns.
    pub(super) fn hits_all(self) -> bool {
        matches!(
            self,
            Self::PolicyBlock
                | Self::Credential
                | Self::Outage
                | Self::Unknown
                | Self::Misconfigured
                | Self::RateLimited
        )
    }

    /// Whether pausing helps against it: not where the failures are single recipients' own.
    pub(super) fn is_paused_for(self) -> bool {
        !matches!(self, Self::PairLimit | Self::Recipients)
    }

    /// Whether a campaign that it hits stays paused until a person has mended the campaign itself.
    pub(super) fn holds_campaign(self) -> bool {
        matches!(self, Self::Template | Self::Media)
    }

    /// How many failures are a sign of it.
    pub(super) fn failures_in(self, tally: &SendTally) -> u64 {
        tally.failed.iter().filter(|(code, _)| self.shows_in(code)).map(|(_, count)| count).sum()
    }

    /// The end of the last minute in which a failure was a sign of it.
    pub(super) fn last_seen(self, tally: &SendTally) -> Option<Timestamp> {
        let minutes = tally.failing_minutes.iter().filter(|(code, _)| self.shows_in(code));
        let last = minutes.filter_map(|(_, of_code)| of_code.keys().next_back()).max()?;
        Timestamp::from_second((last + 1) * 60).ok()
    }
}

/// The causes of these failures: each that is an incident by itself, or the most frequent where none is. An account that
/// WhatsApp restricts counts early, because going on costs most there.
pub(super) fn causes(
    tally: &SendTally,
    phone: Option<&PhoneHealth>,
    unauthorized: bool,
    elevated_percent: u64,
) -> Vec<Cause> {
    let counts: BTreeMap<Cause, u64> = Cause::ALL
        .into_iter()
        .map(|cause| (cause, cause.failures_in(tally)))
        .filter(|(_, count)| *count > 0)
        .collect();
    let is_incident =
        |count: u64| count >= FEWEST_FAILURES && count * 100 >= elevated_percent * tally.tries();
    let mut causes: Vec<Cause> =
        counts.iter().filter(|(_, count)| is_incident(**count)).map(|(cause, _)| *cause).collect();
    let blocked_sends = counts.get(&Cause::PolicyBlock).copied().unwrap_or(0);
    if is_blocked(phone) || blocked_sends * 20 > tally.failures() {
        causes.push(Cause::PolicyBlock);
    }
    if unauthorized {
        causes.push(Cause::Credential);
    }
    if causes.is_empty() {
        causes.extend(counts.iter().max_by_key(|(_, count)| **count).map(|(cause, _)| *cause));
    }
    causes.sort();
    causes.dedup();
    causes
}

/// Whether WhatsApp itself says that it restricts the account.
pub(super) fn is_blocked(phone: Option<&PhoneHealth>) -> bool {
    phone.is_some_and(|phone| {
        phone.can_send == CanSend::Blocked
            && phone.error_codes.iter().any(|code| SendFault::from_code(*code) == SendFault::PolicyBlock)
    })
}

/// The causes in words.
pub(super) fn titles(causes: &[Cause]) -> String {
    causes.iter().map(|cause| cause.title()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(sent: u64, failed: &[(&str, u64)]) -> SendTally {
        SendTally {
            sent,
            failed: failed.iter().map(|(code, count)| ((*code).to_owned(), *count)).collect(),
            ..SendTally::default()
        }
    }

    #[test]
    fn c1_two_causes_in_one_incident_are_two_causes_whichever_is_more_frequent() {
        let both = [Cause::RateLimited, Cause::InvalidNumbers];
        for (limited, invalid) in [(215, 77), (120, 172), (10, 100)] {
            let mixed = tally(40, &[("130429", limited), ("131026", invalid)]);
            assert_eq!(causes(&mixed, None, false, 5), both, "{limited} {invalid}");
        }
        let three = tally(100, &[("130429", 30), ("131026", 30), ("132001", 30), ("131049", 3)]);
        assert_eq!(
            causes(&three, None, false, 5),
            [Cause::RateLimited, Cause::InvalidNumbers, Cause::Template]
        );
    }

    #[test]
    fn c3_what_is_not_known_is_no_outage_and_hides_none() {
        assert_eq!(causes(&tally(10, &[("unknown", 90)]), None, false, 5), [Cause::Unknown]);
        let both = tally(10, &[("unknown", 40), ("http_503", 40)]);
        assert_eq!(causes(&both, None, false, 5), [Cause::Outage, Cause::Unknown]);
        let beside = tally(10, &[("unknown", 3), ("131026", 87)]);
        assert_eq!(causes(&beside, None, false, 5), [Cause::InvalidNumbers]);
        assert!(Cause::Unknown.is_paused_for() && Cause::Unknown.hits_all());
    }

    #[test]
    fn a_few_wrong_numbers_beside_an_outage_are_no_cause_of_it() {
        let noise = tally(1_000, &[("http_503", 400), ("131026", 12)]);
        assert_eq!(causes(&noise, None, false, 5), [Cause::Outage]);
    }

    #[test]
    fn where_no_cause_is_an_incident_by_itself_the_most_frequent_is_it() {
        let spread = tally(100, &[("130429", 4), ("131026", 3), ("http_503", 3)]);
        assert_eq!(causes(&spread, None, false, 5), [Cause::RateLimited]);
    }

    #[test]
    fn c2_every_code_of_the_vendors_table_has_its_own_cause() {
        for (code, cause) in [
            ("131053", Cause::Media),
            ("131052", Cause::Media),
            ("131056", Cause::PairLimit),
            ("131049", Cause::Recipients),
            ("131050", Cause::Recipients),
            ("132000", Cause::Template),
            ("132015", Cause::Template),
            ("131048", Cause::PolicyBlock),
            ("190", Cause::Credential),
            ("130429", Cause::RateLimited),
            ("131026", Cause::InvalidNumbers),
            ("quiet_hours", Cause::Misconfigured),
            ("http_503", Cause::Outage),
            ("http_408", Cause::Outage),
            ("network_error", Cause::Outage),
            ("http_400", Cause::Unknown),
            ("999999", Cause::Unknown),
            ("unknown", Cause::Unknown),
        ] {
            assert_eq!(causes(&tally(10, &[(code, 90)]), None, false, 5), [cause], "{code}");
        }
    }
}
