//! The edge function that sends through WhatsApp: `POST /functions/v1/<slug> {msisdn, template_id, context}`.
//!
//! * 202 with a `message_id` is acceptance. 202 `skipped` means that nothing was sent.
//! * It is not keyed, so an answer that is lost leaves the outcome unknown.
//! * What the gateway says in the function's place: `sb-error-code`, and statuses such as 540 and 546.
//! * A body with WhatsApp's error code says that WhatsApp refused, so nothing was sent; a bare 5xx says nothing.

pub(crate) mod gateway;
#[cfg(test)]
mod tests;

use allclear_core::error::StopReason;
use allclear_core::ports::{Accepted, Sender};
use allclear_core::send_fault::SendFault;
use allclear_core::{Msisdn, PortError};
use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};

use crate::config::WhatsAppNumber;
use crate::http::{Call, Http, Reply};

/// The client.
#[derive(Debug)]
pub struct SendFunction {
    http: Http,
    path: String,
    number: WhatsAppNumber,
}

impl SendFunction {
    pub(crate) fn new(http: Http, slug: &str, number: WhatsAppNumber) -> Self {
        Self { http, path: format!("/functions/v1/{slug}"), number }
    }
}

#[async_trait]
impl Sender for SendFunction {
    async fn send_canary(&self, marker: &str) -> Result<Accepted, PortError> {
        let body = json!({
            "msisdn": self.number.canary.expose(),
            "template_id": self.number.canary_template,
            "context": { "marker": marker },
        });
        let reply = self.http.send(Call::write(Method::POST, &self.path, body)).await?;
        accepted(&reply)
    }

    fn canary_number(&self) -> Msisdn {
        self.number.canary.clone()
    }
}

fn accepted(reply: &Reply) -> Result<Accepted, PortError> {
    if !reply.is_success() {
        return Err(classify(reply));
    }
    let body: Value = reply.expect()?;
    // A 202 "skipped" is an answer, and it says that nothing was sent, whatever else it says.
    if body["status"] == "skipped" {
        return Err(reply.rejected("skipped", "it skipped the message; nothing was sent"));
    }
    match body["message_id"].as_str().filter(|id| !id.is_empty()) {
        Some(id) => Ok(Accepted { message_id: id.to_owned() }),
        None => Err(reply.unusable("it accepted the message and gave no message id")),
    }
}

fn classify(reply: &Reply) -> PortError {
    let code = reply
        .json()
        .and_then(|body| body["error"]["code"].as_u64())
        .and_then(|code| u32::try_from(code).ok());
    let (service, call) = (reply.service, reply.call.clone());
    let Some(code) = code else {
        if let Some(said) = gateway::meaning(reply) {
            return said;
        }
        return match reply.status {
            // The platform's gateway answers 503 without having started the function.
            503 => PortError::Unavailable { service, call, detail: "HTTP 503".to_owned() },
            _ => reply.failure(),
        };
    };
    let detail = format!("WhatsApp error {code}");
    match SendFault::from_code(code) {
        SendFault::RateLimited => reply.rate_limited(detail),
        SendFault::Credential => PortError::Stopped { service, call, reason: StopReason::Credential, detail },
        SendFault::PolicyBlock => PortError::Stopped { service, call, reason: StopReason::Policy, detail },
        SendFault::Transient | SendFault::HeldByPolicy => PortError::Unavailable { service, call, detail },
        SendFault::InvalidNumber | SendFault::Recipient | SendFault::Template | SendFault::Unknown => {
            PortError::Rejected { service, call, code: Some(code.to_string()), detail }
        }
    }
}
