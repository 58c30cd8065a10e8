//! PagerDuty's webhooks, version 3.
//!
//! * `X-PagerDuty-Signature: v1=<hex>,v1=<hex>`: HMAC-SHA256 of the raw body; there are two while a secret is rotated, and
//!   any one that matches is enough. Other versions are passed over.
//! * The signature holds no time. `event.id` is the same in each retry and signed with the body, so it is what a replay is
//!   known by; `X-Webhook-Id` is not signed, so it is not used.
//! * Retries go on for 48 hours. Answer within 5 seconds; a 4xx drops the event, and three drops in a row silence the
//!   subscription for a day.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::{HeaderMap, Refused, Secrets, check_age, check_length, parse, signatures};

const HEADER: &str = "x-pagerduty-signature";
/// How long after it happened an event is accepted: retries last 48 hours.
pub const WINDOW: Duration = Duration::from_hours(49);

/// A verified event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its id, the same in each retry: what the [`ReplayGuard`](super::ReplayGuard) is asked about.
    pub id: String,
    /// For example `incident.acknowledged`. There may be new ones: one that is not known is no error.
    pub kind: String,
    /// When it happened, by PagerDuty's clock.
    pub occurred_at: Timestamp,
    /// Who did it. Only a [user](Agent::is_user) is a person; an acknowledgement by a service is nobody's.
    pub agent: Option<Agent>,
    /// What it is about, as PagerDuty has it.
    pub data: Value,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Agent {
    /// Its id.
    pub id: String,
    /// `user_reference`, `service_reference`, `integration_reference` and so on.
    #[serde(rename = "type")]
    pub kind: String,
}

impl Agent {
    /// Whether it is a person.
    pub fn is_user(&self) -> bool {
        matches!(self.kind.as_str(), "user" | "user_reference")
    }
}

#[derive(Deserialize)]
struct Envelope {
    event: Wire,
}

#[derive(Deserialize)]
struct Wire {
    id: String,
    event_type: String,
    occurred_at: String,
    agent: Option<Agent>,
    #[serde(default)]
    data: Value,
}

/// Verifies one delivery.
pub fn verify(body: &[u8], headers: &HeaderMap, now: Timestamp, secrets: &Secrets) -> Result<Event, Refused> {
    check_length(body)?;
    if !headers.contains_key(HEADER) {
        return Err(Refused::NoSignature { header: HEADER });
    }
    // A header that may hold a list may as well come in several lines.
    let lines = headers.get_all(HEADER).iter().filter_map(|value| value.to_str().ok());
    let claimed = signatures(lines, "v1=")?;
    if !secrets.signed(&[body], &claimed) {
        return Err(Refused::BadSignature);
    }
    let Envelope { event } = parse(body)?;
    if event.id.is_empty() {
        return Err(Refused::Unreadable { detail: "the event has no id" });
    }
    let no_time = Refused::NoTime { place: "event.occurred_at" };
    let occurred_at: Timestamp = event.occurred_at.parse().map_err(|_| no_time)?;
    check_age(occurred_at, now, SignedDuration::try_from(WINDOW).unwrap_or(SignedDuration::MAX))?;
    let Wire { id, event_type: kind, agent, data, .. } = event;
    Ok(Event { id, kind, occurred_at, agent, data })
}
