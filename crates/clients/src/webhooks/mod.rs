//! Webhooks: what services send to us, and whether it is really from them.
//!
//! Pure functions: the raw body, the headers, the time and the secrets go in; a verified event or a named [`Refused`] comes
//! out. Whoever runs a server calls them before anything else looks at the body, and makes the event durable before it
//! answers.
//!
//! ```
//! use allclear_clients::webhooks::{HeaderMap, Refused, Secrets, pagerduty};
//!
//! let secrets = Secrets::new("the-current-secret".into())?.with_previous("the-one-before".into())?;
//! let now = "2026-11-23T09:00:00Z".parse().unwrap();
//! let refused = pagerduty::verify(b"{}", &HeaderMap::new(), now, &secrets).unwrap_err();
//! assert_eq!(refused, Refused::NoSignature { header: "x-pagerduty-signature" });
//! # Ok::<_, Refused>(())
//! ```
//!
//! | module | scheme | protected against replay by |
//! |---|---|---|
//! | [`pagerduty`] | `v1=` HMAC of the body, several at a time | the event's id, and its age |
//! | [`slack`] | `v0=` HMAC of version, timestamp and body | the timestamp, and the click's id |
//! | [`whatsapp`] | `sha256=` HMAC of the body | the order of statuses, and the body's digest |
//!
//! [`approval`] reads what a click on a button of ours says.
//!
//! The signature is always of the bytes as they came: a body that was parsed and written again is another one. Only what is
//! signed is believed, so an id in a header that no signature covers is not used.

pub mod approval;
#[cfg(test)]
mod fuzz;
pub mod pagerduty;
mod replay;
pub mod slack;
#[cfg(test)]
mod tests;
pub mod whatsapp;

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
pub use replay::ReplayGuard;
pub use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

/// The longest body that is looked at. PagerDuty drops events above 256 KB; nobody's are larger than this.
pub const LONGEST_BODY: usize = 1 << 20;
/// A shorter secret can be guessed, and an empty one is known to everybody.
const SHORTEST_SECRET: usize = 8;
/// Signatures of one header that are compared: during a rotation there are two.
const SIGNATURES: usize = 8;

/// Why a webhook is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is not even looked at.
    #[error("the body has {bytes} bytes; at most {LONGEST_BODY} are read")]
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// Nobody signed it.
    #[error("there is no header `{header}`; check that the sender signs and that no proxy drops it")]
    NoSignature {
        /// Which header is missing.
        header: &'static str,
    },
    /// The header says it twice, and which one is meant cannot be known.
    #[error("there are several headers `{header}`")]
    Ambiguous {
        /// Which header.
        header: &'static str,
    },
    /// It is signed in a way that we do not know.
    #[error("no signature of the version `{known}`; the sender may have introduced a new one")]
    WrongVersion {
        /// The one that we know.
        known: &'static str,
    },
    /// It is not from them, it was changed on its way, or the secret was rotated without us.
    #[error("no signature matches; check the secret, and that nothing on the way changes the body")]
    BadSignature,
    /// It does not say when it was sent.
    #[error("the time in `{place}` cannot be read")]
    NoTime {
        /// Where it should stand.
        place: &'static str,
    },
    /// It was sent long ago, or the clocks differ.
    #[error("it is from {seconds} s ago, which is too old; check both clocks")]
    TooOld {
        /// How long ago.
        seconds: i64,
    },
    /// It says it was sent in the future.
    #[error("it is from {seconds} s ahead of us; check both clocks")]
    TooNew {
        /// How far ahead.
        seconds: i64,
    },
    /// It came before.
    #[error("it came before; it is answered and not acted upon")]
    Replayed,
    /// No more ids can be remembered, and what cannot be remembered could be replayed.
    #[error("too many events are remembered already; the sender will try again")]
    Busy,
    /// It is signed and still not what the service's contract promises.
    #[error("the body cannot be read: {detail}")]
    Unreadable {
        /// What is wrong with it, without its words.
        detail: &'static str,
    },
    /// The secret cannot protect anything.
    #[error("a webhook secret needs at least {SHORTEST_SECRET} characters; set it again")]
    WeakSecret,
}

impl Refused {
    /// The HTTP status to answer with. A replay is answered as a success, or it would be sent for ever; what is refused for
    /// good gets a 4xx; what may be sent again gets a 503.
    pub fn status(&self) -> u16 {
        match self {
            Self::TooLong { .. } => 413,
            Self::NoSignature { .. }
            | Self::WrongVersion { .. }
            | Self::BadSignature
            | Self::NoTime { .. }
            | Self::TooOld { .. }
            | Self::TooNew { .. } => 401,
            Self::Ambiguous { .. } | Self::Unreadable { .. } => 400,
            Self::Replayed => 200,
            Self::Busy | Self::WeakSecret => 503,
        }
    }
}

/// The secrets that a sender may sign with: the current one and, while it is being rotated, the one before.
#[derive(Debug, Clone)]
pub struct Secrets {
    current: SecretString,
    previous: Option<SecretString>,
}

impl Secrets {
    /// The current secret.
    pub fn new(current: SecretString) -> Result<Self, Refused> {
        Ok(Self { current: strong(current)?, previous: None })
    }

    /// Also accepts the secret before this one.
    pub fn with_previous(self, previous: SecretString) -> Result<Self, Refused> {
        Ok(Self { previous: Some(strong(previous)?), ..self })
    }

    /// Whether any of these signatures is one of these parts by any of our secrets.
    fn signed(&self, parts: &[&[u8]], signatures: &[[u8; 32]]) -> bool {
        // All are compared, each in constant time, so that the time taken tells nothing about any of them.
        let secrets = std::iter::once(&self.current).chain(&self.previous);
        secrets.fold(false, |matched, secret| {
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()) else {
                return matched;
            };
            for part in parts {
                mac.update(part);
            }
            signatures
                .iter()
                .fold(matched, |matched, signature| matched | mac.clone().verify_slice(signature).is_ok())
        })
    }
}

fn strong(secret: SecretString) -> Result<SecretString, Refused> {
    if secret.expose_secret().trim().len() < SHORTEST_SECRET { Err(Refused::WeakSecret) } else { Ok(secret) }
}

/// The header's only value.
fn single<'a>(headers: &'a HeaderMap, header: &'static str) -> Result<&'a str, Refused> {
    let mut values = headers.get_all(header).iter();
    let value = values.next().ok_or(Refused::NoSignature { header })?;
    if values.next().is_some() {
        return Err(Refused::Ambiguous { header });
    }
    value.to_str().map_err(|_| Refused::BadSignature)
}

/// The signatures of a known version in a comma-separated list such as `v1=ab,v1=cd`.
fn signatures<'a>(
    list: impl Iterator<Item = &'a str>,
    version: &'static str,
) -> Result<Vec<[u8; 32]>, Refused> {
    let ours = list.flat_map(|line| line.split(',')).filter_map(|one| one.trim().strip_prefix(version));
    let digits: Vec<&str> = ours.take(SIGNATURES).collect();
    if digits.is_empty() {
        return Err(Refused::WrongVersion { known: version });
    }
    Ok(digits.into_iter().filter_map(unhex).collect())
}

/// A SHA-256 in hex.
fn unhex(digits: &str) -> Option<[u8; 32]> {
    let digits = digits.as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

fn check_length(body: &[u8]) -> Result<(), Refused> {
    if body.len() > LONGEST_BODY { Err(Refused::TooLong { bytes: body.len() }) } else { Ok(()) }
}

/// Neither older than `oldest` nor from the future, some difference of the clocks allowed.
fn check_age(at: Timestamp, now: Timestamp, oldest: SignedDuration) -> Result<(), Refused> {
    const AHEAD: SignedDuration = SignedDuration::from_secs(300);
    let age = now.duration_since(at);
    if age > oldest {
        return Err(Refused::TooOld { seconds: age.as_secs() });
    }
    if -age > AHEAD {
        return Err(Refused::TooNew { seconds: (-age).as_secs() });
    }
    Ok(())
}

/// Reads a body that is known to be theirs.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    // The parser's own words may repeat what they complain about.
    serde_json::from_slice(body)
        .map_err(|_| Refused::Unreadable { detail: "it is not the JSON that the contract promises" })
}

/// What stands for a body that names no id of its own.
fn digest(body: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(body).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
