//! WhatsApp's error codes as data: what each means and what to do.
//!
//! Facts from Meta's error-code reference and its mirrors. Meta asks to build logic on the code and never on
//! the title or the HTTP status: rate limits arrive as 400 as well as 429. A code that is not in the table is
//! treated as permanent, because retrying what one does not understand is how quality ratings are lost.

use serde::{Deserialize, Serialize};

use crate::error::StopReason;

/// What kind of failure a code stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SendFault {
    /// Too fast: wait as told, then go on.
    RateLimited,
    /// This number cannot receive: clean the data.
    InvalidNumber,
    /// The platform's own policy held it back: quiet hours or throttle.
    HeldByPolicy,
    /// The token is expired, revoked or lacks a right, or the sending number is not registered: nothing works until a person
    /// corrects it. [`Code::stop`] says which.
    Credential,
    /// WhatsApp restricted the account, the template or the country: every further call makes it worse.
    PolicyBlock,
    /// This recipient does not want, or may not get, this message; the number itself is fine.
    Recipient,
    /// Too many messages to this recipient at once: only this one waits.
    PairLimit,
    /// The request or the template is wrong: fix it, all targets fail alike.
    Template,
    /// The message's picture or document cannot be had, or is of a kind that WhatsApp does not take: fix it.
    Media,
    /// WhatsApp or the function is failing for now.
    Transient,
    /// None of the above.
    Unknown,
}

/// One line of Meta's reference: a code, or a range of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// The first code that the line is about.
    pub first: u32,
    /// The last one.
    pub last: u32,
    /// What kind of failure it stands for.
    pub fault: SendFault,
    /// Why all calls of this kind must stop, where they must.
    pub stop: Option<StopReason>,
    /// What is to be done, in a few words.
    pub advice: &'static str,
}

const fn code(code: u32, fault: SendFault, advice: &'static str) -> Code {
    codes(code, code, fault, advice)
}

const fn codes(first: u32, last: u32, fault: SendFault, advice: &'static str) -> Code {
    let stop = match fault {
        SendFault::Credential => Some(StopReason::Credential),
        SendFault::PolicyBlock => Some(StopReason::Policy),
        _ => None,
    };
    Code { first, last, fault, stop, advice }
}

/// The token is good and may not do this, or the number may not.
const fn not_allowed(first: u32, last: u32, advice: &'static str) -> Code {
    Code { stop: Some(StopReason::Permission), ..codes(first, last, SendFault::Credential, advice) }
}

/// The table, by code.
const CODES: &[Code] = &[
    code(0, SendFault::Credential, "the token is not valid; rotate it"),
    code(1, SendFault::Transient, "WhatsApp failed; try again later, a few times"),
    code(2, SendFault::Transient, "WhatsApp is down for now; try again later, a few times"),
    not_allowed(3, 3, "the app may not do this; fix its grants"),
    code(4, SendFault::RateLimited, "the app calls too often; all its calls wait"),
    not_allowed(10, 10, "the permission is missing or was taken back; fix the grants"),
    code(100, SendFault::Template, "the request is wrong, or what it names is not there; fix it"),
    code(190, SendFault::Credential, "the token has expired or was revoked; rotate it"),
    not_allowed(200, 299, "a permission is missing; fix the grants"),
    code(
        368,
        SendFault::PolicyBlock,
        "the account is blocked for a policy violation; escalate to the provider",
    ),
    code(80_007, SendFault::RateLimited, "the account calls too often; all its calls wait"),
    code(130_429, SendFault::RateLimited, "too many messages a second; send more slowly"),
    code(130_472, SendFault::Recipient, "the recipient is in an experiment and does not get this message"),
    code(
        130_497,
        SendFault::PolicyBlock,
        "the account may not send to this country; escalate to the provider",
    ),
    code(131_000, SendFault::Transient, "WhatsApp failed; try again later, a few times"),
    not_allowed(131_005, 131_005, "a permission is missing; fix the grants"),
    code(131_008, SendFault::Template, "a parameter is missing; fix the request"),
    code(131_009, SendFault::Template, "a parameter is wrong; fix the request"),
    code(131_016, SendFault::Transient, "WhatsApp is down for now; try again later, a few times"),
    code(131_021, SendFault::InvalidNumber, "sender and recipient are the same number"),
    code(131_026, SendFault::InvalidNumber, "the number cannot receive; clean the data"),
    code(131_030, SendFault::Template, "the recipient is not on the test number's list; fix the setup"),
    code(131_031, SendFault::PolicyBlock, "the account is locked; escalate to the provider"),
    code(131_042, SendFault::PolicyBlock, "billing: the payment method fails; have it corrected"),
    not_allowed(131_045, 131_045, "the number's certificate is wrong; register the number again"),
    code(131_047, SendFault::Recipient, "more than 24 h since the recipient wrote; a template is needed"),
    code(131_048, SendFault::PolicyBlock, "spam restriction; stop the campaign and escalate, do not retry"),
    code(131_049, SendFault::Recipient, "the recipient had enough marketing; not again within 24 h"),
    code(131_050, SendFault::Recipient, "the recipient opted out of marketing; record it"),
    codes(131_051, 131_053, SendFault::Media, "the media cannot be sent; look at its address, kind and size"),
    code(131_056, SendFault::PairLimit, "too many messages to this recipient; only this one waits"),
    code(131_057, SendFault::Transient, "the account is being maintained; try again later"),
    code(131_064, SendFault::PolicyBlock, "the messaging limit was cut; stop and look at the templates"),
    code(132_000, SendFault::Template, "the number of parameters is not the template's; fix the campaign"),
    code(132_001, SendFault::Template, "there is no such template in this language; fix the campaign"),
    code(132_005, SendFault::Template, "the filled text is too long; fix the campaign"),
    code(132_007, SendFault::Template, "the template breaks a policy; fix the campaign"),
    code(132_008, SendFault::Template, "the parameters have a wrong format; fix the campaign"),
    code(132_012, SendFault::Template, "the parameters have a wrong format; fix the campaign"),
    code(132_015, SendFault::Template, "the template is paused for its quality; change it"),
    code(132_016, SendFault::Template, "the template is disabled for its quality; make another"),
    code(132_068, SendFault::Template, "the flow is blocked; fix it"),
    code(132_069, SendFault::Template, "the flow is throttled; fix it"),
    not_allowed(133_000, 133_003, "the number's registration failed; ops must register it"),
    code(133_004, SendFault::Transient, "WhatsApp is down for now; try again later, a few times"),
    not_allowed(133_005, 133_009, "the number's registration failed; ops must register it"),
    not_allowed(133_010, 133_010, "the number is not registered; ops must register it"),
    not_allowed(133_011, 133_016, "the number's registration failed; ops must register it"),
];

/// What the table has for a WhatsApp error code.
pub fn look_up(code: u32) -> Option<&'static Code> {
    CODES.iter().find(|row| (row.first..=row.last).contains(&code))
}

impl SendFault {
    /// What a WhatsApp error code means.
    pub fn from_code(code: u32) -> Self {
        look_up(code).map_or(Self::Unknown, |row| row.fault)
    }

    /// What the text in an `error_code` column means: a WhatsApp code, a policy reason of the platform, or
    /// `http_503` and the like where the function itself failed.
    pub fn from_text(text: &str) -> Self {
        if let Ok(code) = text.parse() {
            return Self::from_code(code);
        }
        match text {
            "quiet_hours" | "throttled" => Self::HeldByPolicy,
            "opt_out" => Self::Recipient,
            "http_429" => Self::RateLimited,
            "http_401" => Self::Credential,
            "timeout" | "network_error" | "http_408" | "http_425" => Self::Transient,
            other if other.starts_with("http_5") => Self::Transient,
            _ => Self::Unknown,
        }
    }

    /// Whether trying again later may help.
    pub fn may_be_retried(self) -> bool {
        matches!(self, Self::RateLimited | Self::PairLimit | Self::Transient | Self::HeldByPolicy)
    }

    /// Whether the failure is the recipient's own, and nothing that we mend sends the message.
    pub fn is_the_recipients_own(self) -> bool {
        matches!(self, Self::InvalidNumber | Self::Recipient)
    }

    /// Of messages that were given up: because of what.
    pub fn given_up_because(self) -> &'static str {
        match self {
            Self::RateLimited => "WhatsApp limited our rate",
            Self::InvalidNumber => "the numbers cannot receive",
            Self::HeldByPolicy => "our own sending policy held messages back",
            Self::Credential => "WhatsApp did not accept our credential",
            Self::PolicyBlock => "WhatsApp restricted the account",
            Self::Recipient => "recipients do not want, or may not get, these messages",
            Self::PairLimit => "single recipients got too many messages at once",
            Self::Template => "a template or its parameters are wrong",
            Self::Media => "the campaign's media cannot be sent",
            Self::Transient => "WhatsApp or the send function failed",
            Self::Unknown => "of a reason that is not known",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spam_and_account_restrictions_are_never_retried() {
        for code in [131_048, 368, 131_031, 131_064, 130_497] {
            let fault = SendFault::from_code(code);
            assert_eq!(fault, SendFault::PolicyBlock, "{code}");
            assert!(!fault.may_be_retried());
        }
    }

    #[test]
    fn a_code_nobody_knows_is_not_retried() {
        assert_eq!(SendFault::from_code(999_999), SendFault::Unknown);
        assert!(!SendFault::Unknown.may_be_retried());
        assert_eq!(SendFault::from_text("http_503"), SendFault::Transient);
        assert_eq!(SendFault::from_text("250"), SendFault::Credential);
    }

    /// Meta's reference, code by code, with what the runner does about each.
    #[test]
    fn every_code_of_the_reference_has_its_meaning() {
        use SendFault::{
            Credential, InvalidNumber, Media, PairLimit, PolicyBlock, RateLimited, Recipient, Template,
            Transient, Unknown,
        };
        let wait = [(4, RateLimited), (80_007, RateLimited), (130_429, RateLimited), (131_056, PairLimit)];
        let media = [131_051, 131_052, 131_053].map(|code| (code, Media));
        let later = [1, 2, 131_000, 131_016, 131_057, 133_004].map(|code| (code, Transient));
        let stop = [368, 130_497, 131_031, 131_042, 131_048, 131_064].map(|code| (code, PolicyBlock));
        let key = [0, 190].map(|code| (code, Credential));
        let right = [3, 10, 200, 230, 299, 131_005, 131_045, 133_000, 133_003, 133_005, 133_010, 133_016]
            .map(|code| (code, Credential));
        let person = [130_472, 131_047, 131_049, 131_050].map(|code| (code, Recipient));
        let number = [131_021, 131_026].map(|code| (code, InvalidNumber));
        let ours = [
            100, 131_008, 131_009, 131_030, 132_000, 132_001, 132_005, 132_007, 132_008, 132_012, 132_015,
            132_016, 132_068, 132_069,
        ]
        .map(|code| (code, Template));
        let unknown = [5, 300, 131_001, 132_002, 133_017, 999_999].map(|code| (code, Unknown));
        let stops = |code: u32| look_up(code).and_then(|row| row.stop);
        for (expected, cases) in [
            (None, &wait[..]),
            (None, &later),
            (Some(StopReason::Policy), &stop),
            (Some(StopReason::Credential), &key),
            (Some(StopReason::Permission), &right),
            (None, &person),
            (None, &number),
            (None, &media),
            (None, &ours),
            (None, &unknown),
        ] {
            for (code, fault) in cases {
                assert_eq!(SendFault::from_code(*code), *fault, "{code}");
                assert_eq!(stops(*code), expected, "{code}");
                assert_eq!(
                    fault.may_be_retried(),
                    matches!(fault, RateLimited | PairLimit | Transient),
                    "{code}"
                );
                assert_eq!(look_up(*code).is_none(), *fault == Unknown, "{code}");
            }
        }
    }

    #[test]
    fn the_table_is_sorted_and_has_each_code_once() {
        assert!(CODES.iter().all(|row| row.first <= row.last));
        assert!(CODES.windows(2).all(|pair| pair[0].last < pair[1].first));
    }
}
