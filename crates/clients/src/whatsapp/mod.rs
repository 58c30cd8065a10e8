//! WhatsApp's Graph API: the phone number's own view of its health. A read; it sends nothing.
//!
//! `health_status` is the best single diagnosis call. While a rate limit lasts, the header
//! `X-Business-Use-Case-Usage` says in *minutes* when access is regained; Meta documents no `Retry-After`.

#[cfg(test)]
mod tests;
mod wire;

use std::time::Duration;

use allclear_core::PortError;
use allclear_core::error::{StopReason, WaitSource};
use allclear_core::ports::{AccountIds, PhoneHealth, WhatsAppAccount};
use allclear_core::send_fault::SendFault;
use async_trait::async_trait;

use crate::config::WhatsAppNumber;
use crate::http::{Call, Http, Reply};

const USAGE: &str = "x-business-use-case-usage";
/// Access is regained within a day at most; a wait is cut to what one may be told anywhere.
const MINUTES: u64 = 60;

/// The client.
#[derive(Debug)]
pub struct GraphApi {
    http: Http,
    number: WhatsAppNumber,
}

impl GraphApi {
    pub(crate) fn new(http: Http, number: WhatsAppNumber) -> Self {
        Self { http, number }
    }
}

#[async_trait]
impl WhatsAppAccount for GraphApi {
    async fn health(&self) -> Result<PhoneHealth, PortError> {
        let call = Call::read(format!("/{}", self.number.phone_id))
            .query("fields", "quality_rating,throughput,health_status,status");
        let reply = self.http.send(call).await?;
        if !reply.is_success() {
            return Err(classify(&reply));
        }
        let phone: wire::Phone = reply.expect()?;
        let usage = reply.header(USAGE).and_then(wire::regain_minutes);
        let mut health = phone.health(usage);
        health.quality = self.http.clean(&health.quality);
        Ok(health)
    }

    fn ids(&self) -> AccountIds {
        AccountIds {
            business_account: self.number.business_account.clone(),
            phone: self.number.phone_id.clone(),
        }
    }
}

/// What the usage header says of the wait, on a rate limit for which no other header names one.
fn with_usage(error: PortError, reply: &Reply) -> PortError {
    match error {
        PortError::RateLimited { service, call, wait_seconds: None, detail, .. } => {
            let minutes = reply.header(USAGE).and_then(wire::regain_minutes);
            let wait = minutes.map(|minutes| Duration::from_mins(minutes.min(MINUTES)).as_secs());
            let source_of_wait = if wait.is_some() { WaitSource::LimitHeader } else { WaitSource::Ours };
            PortError::RateLimited { service, call, wait_seconds: wait, source_of_wait, detail }
        }
        other => other,
    }
}

/// Graph errors are told apart by their code: an unknown object is a 400 with code 100, a rate limit may be one too.
fn classify(reply: &Reply) -> PortError {
    let code = reply
        .json()
        .and_then(|body| body["error"]["code"].as_u64())
        .and_then(|code| u32::try_from(code).ok());
    let Some(code) = code else { return with_usage(reply.failure(), reply) };
    let (service, call, detail) = (reply.service, reply.call.clone(), format!("WhatsApp error {code}"));
    match SendFault::from_code(code) {
        SendFault::Credential => PortError::Stopped { service, call, reason: StopReason::Credential, detail },
        SendFault::PolicyBlock => PortError::Stopped { service, call, reason: StopReason::Policy, detail },
        SendFault::RateLimited => with_usage(reply.rate_limited(detail), reply),
        SendFault::Transient => PortError::Unavailable { service, call, detail },
        _ => PortError::Rejected { service, call, code: Some(code.to_string()), detail },
    }
}
