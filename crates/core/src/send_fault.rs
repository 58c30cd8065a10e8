//! WhatsApp's error codes as data: what each means and what to do.
//!
//! Facts from Meta's error-code reference and its mirrors. Meta asks to build logic on the code and never on
//! the title or the HTTP status: rate limits arrive as 400 as well as 429. A code that is not in the table is
//! treated as permanent, because retrying what one does not understand is how quality ratings are lost.

use serde::{Deserialize, Serialize};

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
    /// The token is expired, revoked or lacks a right: nothing works until it is replaced.
    Credential,
    /// WhatsApp restricted the account, the template or the country: every further call makes it worse.
    PolicyBlock,
    /// This recipient does not want, or may not get, this message; the number itself is fine.
    Recipient,
    /// The request or the template is wrong: fix it, all targets fail alike.
    Template,
    /// WhatsApp or the function is failing for now.
    Transient,
    /// None of the above.
    Unknown,
}

/// The table: code, meaning.
const CODES: &[(u32, SendFault)] = &[
    (0, SendFault::Credential),
    (1, SendFault::Transient),
    (2, SendFault::Transient),
    (3, SendFault::Credential),
    (4, SendFault::RateLimited),
    (10, SendFault::Credential),
    (100, SendFault::Template),
    (190, SendFault::Credential),
    (368, SendFault::PolicyBlock),
    (80007, SendFault::RateLimited),
    (130_429, SendFault::RateLimited),
    (130_472, SendFault::Recipient),
    (130_497, SendFault::PolicyBlock),
    (131_000, SendFault::Transient),
    (131_005, SendFault::Credential),
    (131_008, SendFault::Template),
    (131_009, SendFault::Template),
    (131_016, SendFault::Transient),
    (131_021, SendFault::InvalidNumber),
    (131_026, SendFault::InvalidNumber),
    (131_030, SendFault::Template),
    (131_031, SendFault::PolicyBlock),
    (131_042, SendFault::PolicyBlock),
    (131_045, SendFault::Credential),
    (131_047, SendFault::Recipient),
    (131_048, SendFault::PolicyBlock),
    (131_049, SendFault::Recipient),
    (131_050, SendFault::Recipient),
    (131_056, SendFault::RateLimited),
    (131_057, SendFault::Transient),
    (131_064, SendFault::PolicyBlock),
    (132_000, SendFault::Template),
    (132_001, SendFault::Template),
    (132_005, SendFault::Template),
    (132_007, SendFault::Template),
    (132_008, SendFault::Template),
    (132_012, SendFault::Template),
    (132_015, SendFault::Template),
    (132_016, SendFault::Template),
    (132_068, SendFault::Template),
    (132_069, SendFault::Template),
    (133_004, SendFault::Transient),
    (133_010, SendFault::Credential),
];

impl SendFault {
    /// What a WhatsApp error code means.
    pub fn from_code(code: u32) -> Self {
        if (200..300).contains(&code) {
            return Self::Credential;
        }
        CODES.iter().find(|(known, _)| *known == code).map_or(Self::Unknown, |(_, fault)| *fault)
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
            "timeout" | "network_error" => Self::Transient,
            other if other.starts_with("http_5") => Self::Transient,
            _ => Self::Unknown,
        }
    }

    /// Whether trying again later may help.
    pub fn may_be_retried(self) -> bool {
        matches!(self, Self::RateLimited | Self::Transient | Self::HeldByPolicy)
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

    #[test]
    fn the_table_is_sorted_and_has_each_code_once() {
        assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
