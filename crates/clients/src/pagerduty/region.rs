//! Where an account lives.

use std::str::FromStr;

use allclear_core::error::InvalidValue;

/// The region of an account. An account lives in one, and its keys are a 401 in the other, so it is said and never guessed
/// (PagerDuty, service regions).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Region {
    /// `api.pagerduty.com` and `events.pagerduty.com`.
    Us,
    /// `api.eu.pagerduty.com` and `events.eu.pagerduty.com`.
    Eu,
    /// Other addresses: a sandbox, or a proxy.
    Custom {
        /// The Events API, without `/v2`.
        events: String,
        /// The REST API.
        rest: String,
    },
}

impl Region {
    /// Base URL of the Events API, without `/v2`.
    pub fn events(&self) -> &str {
        match self {
            Self::Us => "https://events.pagerduty.com",
            Self::Eu => "https://events.eu.pagerduty.com",
            Self::Custom { events, .. } => events,
        }
    }

    /// Base URL of the REST API.
    pub fn rest(&self) -> &str {
        match self {
            Self::Us => "https://api.pagerduty.com",
            Self::Eu => "https://api.eu.pagerduty.com",
            Self::Custom { rest, .. } => rest,
        }
    }

    /// What to look at when it does not know the key.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Us => "is it the key of an account in the EU region? this is the US one",
            Self::Eu => "is it the key of an account in the US region? this is the EU one",
            Self::Custom { .. } => "is it the key of the other region?",
        }
    }
}

impl FromStr for Region {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text {
            "us" => Ok(Self::Us),
            "eu" => Ok(Self::Eu),
            other => Err(InvalidValue {
                field: "pagerduty_region",
                value: other.to_owned(),
                fix: "give \"us\" or \"eu\": the one that the account lives in",
            }),
        }
    }
}
