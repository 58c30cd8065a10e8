//! WhatsApp's webhooks: what became of messages.
//!
//! * `X-Hub-Signature-256: sha256=<hex>` is the HMAC-SHA256 of the raw body with the app's secret. Meta signs characters
//!   beyond ASCII as `\u` escapes, so only the bytes that came can be verified.
//! * Statuses come out of order, twice, and with gaps: `read` may come without `delivered`. A [`MessageStatus`] therefore only
//!   ever rises, and the order in which its reports come makes no difference.
//! * Retries go on for 7 days.

use std::time::Duration;

use allclear_core::delivery::{MessageStatus, StatusReport};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;
use subtle::ConstantTimeEq as _;

use super::{HeaderMap, Refused, Secrets, check_age, check_length, digest, parse, signatures, single};

const HEADER: &str = "x-hub-signature-256";
/// How long after it happened a status is accepted: retries last 7 days.
pub const WINDOW: Duration = Duration::from_hours(8 * 24);
/// A challenge is a number; a longer one is something else.
const LONGEST_CHALLENGE: usize = 64;

/// A verified delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// What the [`ReplayGuard`](super::ReplayGuard) is asked about: the body's digest, since a delivery has no id. A
    /// delivery that comes again in other words does no harm, because statuses only rise.
    pub id: String,
    /// The reports in it that can be read.
    pub reports: Vec<StatusReport>,
    /// How many reports there are that cannot be read, are too old, or have a word for a status that is not known. They do
    /// not take those beside them down.
    pub passed_over: usize,
    /// What else it is about, e.g. `account_update`.
    pub other_fields: Vec<String>,
}

#[derive(Deserialize)]
struct Wire {
    object: String,
    #[serde(default)]
    entry: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    changes: Vec<Change>,
}

#[derive(Deserialize)]
struct Change {
    field: String,
    #[serde(default)]
    value: Value,
}

#[derive(Deserialize)]
struct StatusWire {
    id: String,
    status: String,
    timestamp: String,
    biz_opaque_callback_data: Option<String>,
    #[serde(default)]
    errors: Vec<ErrorWire>,
}

#[derive(Deserialize)]
struct ErrorWire {
    code: u32,
}

/// Verifies one delivery.
pub fn verify(
    body: &[u8],
    headers: &HeaderMap,
    now: Timestamp,
    secrets: &Secrets,
) -> Result<Delivery, Refused> {
    check_length(body)?;
    let claimed = signatures(std::iter::once(single(headers, HEADER)?), "sha256=")?;
    if !secrets.signed(&[body], &claimed) {
        return Err(Refused::BadSignature);
    }
    let wire: Wire = parse(body)?;
    if wire.object != "whatsapp_business_account" {
        return Err(Refused::Unreadable { detail: "it is not about a WhatsApp business account" });
    }
    let oldest = SignedDuration::try_from(WINDOW).unwrap_or(SignedDuration::MAX);
    let mut delivery =
        Delivery { id: digest(body), reports: Vec::new(), passed_over: 0, other_fields: Vec::new() };
    for change in wire.entry.into_iter().flat_map(|entry| entry.changes) {
        if change.field != "messages" {
            delivery.other_fields.push(change.field);
            continue;
        }
        for status in statuses(&change.value) {
            match report(status).filter(|report| check_age(report.at, now, oldest).is_ok()) {
                Some(report) => delivery.reports.push(report),
                None => delivery.passed_over += 1,
            }
        }
    }
    Ok(delivery)
}

/// The reports in a delivery that somebody else has verified and kept. What cannot be read is no report.
pub(crate) fn reports_in(kept: &Value) -> Vec<StatusReport> {
    let Ok(wire) = Wire::deserialize(kept) else { return Vec::new() };
    let changes = wire.entry.into_iter().flat_map(|entry| entry.changes);
    changes.flat_map(|change| statuses(&change.value).iter().filter_map(report).collect::<Vec<_>>()).collect()
}

fn statuses(value: &Value) -> &[Value] {
    value["statuses"].as_array().map_or(&[], Vec::as_slice)
}

fn status(word: &str) -> Option<MessageStatus> {
    Some(match word {
        "sent" => MessageStatus::Sent,
        "delivered" => MessageStatus::Delivered,
        "read" => MessageStatus::Read,
        "failed" => MessageStatus::Failed,
        _ => return None,
    })
}

fn report(kept: &Value) -> Option<StatusReport> {
    let wire = StatusWire::deserialize(kept).ok()?;
    Some(StatusReport {
        message_id: wire.id,
        status: status(&wire.status)?,
        at: Timestamp::from_second(wire.timestamp.parse().ok()?).ok()?,
        callback_data: wire.biz_opaque_callback_data,
        error_codes: wire.errors.into_iter().map(|error| error.code).collect(),
    })
}

/// Answers the question that Meta asks when a webhook is set up: `GET ?hub.mode=subscribe&hub.verify_token=T&hub.challenge=C`
/// is answered with the challenge, if the token is ours.
pub fn handshake(query: &str, token: &SecretString) -> Result<String, Refused> {
    let field = |name: &str| form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name);
    let value = |name: &str| field(name).map(|(_, value)| value.into_owned()).unwrap_or_default();
    let (given, ours) = (value("hub.verify_token"), token.expose_secret());
    if ours.trim().len() < super::SHORTEST_SECRET {
        return Err(Refused::WeakSecret);
    }
    if value("hub.mode") != "subscribe" || !bool::from(given.as_bytes().ct_eq(ours.as_bytes())) {
        return Err(Refused::BadSignature);
    }
    let challenge = value("hub.challenge");
    // It is echoed to whoever asks, so it must not be able to be a page.
    let plain = challenge.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if challenge.is_empty() || challenge.len() > LONGEST_CHALLENGE || !plain {
        return Err(Refused::Unreadable { detail: "the challenge is no number" });
    }
    Ok(challenge)
}
