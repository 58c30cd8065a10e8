//! WhatsApp's Graph API: the phone number's own view of its health. A read; it sends nothing.
//!
//! `health_status` is the best single diagnosis call. While a rate limit lasts, the header
//! `X-Business-Use-Case-Usage` says in *minutes* when access is regained; Meta documents no `Retry-After`.

#[cfg(test)]
mod tests;
mod wire;

use allclear_core::PortError;
use allclear_core::error::StopReason;
use allclear_core::ports::{AccountIds, PhoneHealth, WhatsAppAccount};
use allclear_core::send_fault::SendFault;
use async_trait::async_trait;

use crate::config::WhatsAppNumber;
use crate::http::{Call, Http, Reply};

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
        let usage = reply.header("x-business-use-case-usage").and_then(wire::regain_minutes);
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

/// Graph errors are told apart by their code: an unknown object is a 400 with code 100, a rate limit may be one too.
fn classify(reply: &Reply) -> PortError {
    let code = reply
        .json()
        .and_then(|body| body["error"]["code"].as_u64())
        .and_then(|code| u32::try_from(code).ok());
    let Some(code) = code else { return reply.failure() };
    let (service, call, detail) = (reply.service, reply.call.clone(), format!("WhatsApp error {code}"));
    match SendFault::from_code(code) {
        SendFault::Credential => PortError::Stopped { service, call, reason: StopReason::Credential, detail },
        SendFault::PolicyBlock => PortError::Stopped { service, call, reason: StopReason::Policy, detail },
        SendFault::RateLimited => reply.rate_limited(detail),
        SendFault::Transient => PortError::Unavailable { service, call, detail },
        _ => PortError::Rejected { service, call, code: Some(code.to_string()), detail },
    }
}
