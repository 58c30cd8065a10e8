//! The admin API's JSON.

use allclear_core::notification::{Blocked, NotificationId, RetryBlock};
use serde::Deserialize;

use crate::http::Reply;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Login {
    pub(super) actor_id: String,
}

/// The part of every answer that tells whether what lies behind the API works.
#[derive(Deserialize)]
pub(super) struct Envelope {
    integration: Option<Integration>,
}

#[derive(Deserialize)]
struct Integration {
    status: String,
    reason: Option<String>,
}

impl Envelope {
    /// A 200 whose integration is degraded is no success.
    pub(super) fn healthy(&self) -> Result<(), String> {
        match &self.integration {
            Some(integration) if integration.status != "ok" => {
                let reason = integration.reason.as_deref().unwrap_or("no reason given");
                Err(format!("the integration is {} ({reason})", integration.status))
            }
            _ => Ok(()),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Light {
    pub(super) status: String,
    #[serde(default)]
    pub(super) message: String,
}

#[derive(Deserialize)]
pub(super) struct Retried {
    #[serde(default)]
    pub(super) queued: Vec<NotificationId>,
    #[serde(default)]
    pub(super) blocked: Vec<Held>,
    #[serde(default)]
    pub(super) missing: Vec<NotificationId>,
}

#[derive(Deserialize)]
pub(super) struct Held {
    id: NotificationId,
    reason: String,
    throttle: Option<Throttle>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Throttle {
    window_end: Option<String>,
}

impl Held {
    /// A window's end that is no time is left out: the platform's default is waited for then.
    pub(super) fn cleaned(self, reply: &Reply) -> Blocked {
        let until = self.throttle.and_then(|throttle| throttle.window_end?.parse().ok());
        Blocked { id: self.id, reason: RetryBlock::from(reply.clean(&self.reason).as_str()), until }
    }
}
