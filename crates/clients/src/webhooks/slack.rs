//! Slack's interactivity: somebody clicked a button.
//!
//! * `X-Slack-Signature: v0=<hex>` is the HMAC-SHA256 of `v0:<timestamp>:<raw body>`, and `X-Slack-Request-Timestamp` must be
//!   within five minutes of our clock.
//! * The body is a form with one field, `payload`, which is JSON. Answer within 3 seconds.
//! * One click may be delivered twice; its `trigger_id` stays the same.
//!
//! Who clicked is Slack's word. Whether that person may decide is for whoever holds the list of approvers.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde::Deserialize;

use super::{HeaderMap, Refused, Secrets, check_age, check_length, digest, parse, signatures, single};

const HEADER: &str = "x-slack-signature";
const TIMESTAMP: &str = "x-slack-request-timestamp";
const SECONDS: u64 = 300;
/// How long a click can be replayed: as long as its timestamp is accepted on both sides of now.
pub const WINDOW: Duration = Duration::from_secs(2 * SECONDS);
/// Answers to a click go here and nowhere else.
const RESPONSES: &str = "https://hooks.slack.com/";

/// A verified interaction.
#[derive(Debug, Clone)]
pub struct Interaction {
    /// What the [`ReplayGuard`](super::ReplayGuard) is asked about.
    pub id: String,
    /// For example `block_actions`. One that is not known is no error.
    pub kind: String,
    /// Slack's id of whoever clicked.
    pub user: String,
    /// The channel it happened in.
    pub channel: Option<String>,
    /// The message that was clicked on.
    pub message_ts: Option<String>,
    /// What was clicked.
    pub actions: Vec<Action>,
    /// Where an answer may be posted for half an hour. Whoever knows it may post, so it is a secret.
    pub response_url: Option<SecretString>,
    /// When Slack sent it.
    pub sent_at: Timestamp,
}

/// One click.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Action {
    /// Which button.
    pub action_id: String,
    /// Which block it stands in.
    #[serde(default)]
    pub block_id: String,
    /// What we gave the button: an opaque id of ours.
    #[serde(default)]
    pub value: Option<String>,
    /// When it was clicked, as Slack counts.
    #[serde(default)]
    pub action_ts: Option<String>,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "type")]
    kind: String,
    user: Id,
    channel: Option<Id>,
    message: Option<Message>,
    container: Option<Container>,
    #[serde(default)]
    actions: Vec<Action>,
    response_url: Option<String>,
    trigger_id: Option<String>,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct Message {
    ts: String,
}

#[derive(Deserialize)]
struct Container {
    message_ts: Option<String>,
}

/// Verifies one delivery.
pub fn verify(
    body: &[u8],
    headers: &HeaderMap,
    now: Timestamp,
    secrets: &Secrets,
) -> Result<Interaction, Refused> {
    check_length(body)?;
    let signature = single(headers, HEADER)?;
    let stamp = single(headers, TIMESTAMP)?;
    let claimed = signatures(std::iter::once(signature), "v0=")?;
    if !secrets.signed(&[b"v0:", stamp.as_bytes(), b":", body], &claimed) {
        return Err(Refused::BadSignature);
    }
    // Only now: an unsigned time is anybody's word.
    let no_time = || Refused::NoTime { place: TIMESTAMP };
    let seconds: i64 = stamp.parse().map_err(|_| no_time())?;
    let sent_at = Timestamp::from_second(seconds).map_err(|_| no_time())?;
    check_age(sent_at, now, SignedDuration::from_secs(SECONDS.cast_signed()))?;

    let mut payloads = form_urlencoded::parse(body).filter(|(name, _)| name == "payload");
    let (Some((_, payload)), None) = (payloads.next(), payloads.next()) else {
        return Err(Refused::Unreadable { detail: "the form has not exactly one payload" });
    };
    let wire: Wire = parse(payload.as_bytes())?;
    let message_ts =
        wire.message.map(|message| message.ts).or_else(|| wire.container.and_then(|c| c.message_ts));
    Ok(Interaction {
        id: wire.trigger_id.filter(|id| !id.is_empty()).unwrap_or_else(|| digest(body)),
        kind: wire.kind,
        user: wire.user.id,
        channel: wire.channel.map(|channel| channel.id),
        message_ts,
        actions: wire.actions,
        response_url: wire.response_url.filter(|url| url.starts_with(RESPONSES)).map(Into::into),
        sent_at,
    })
}
