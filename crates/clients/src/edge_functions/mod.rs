//! The edge function that sends through WhatsApp: `POST /functions/v1/<slug> {msisdn, template_id, context}`.
//!
//! | fact | from |
//! |---|---|
//! | 202 with a `message_id` is acceptance, and no delivery; 202 `skipped` means that nothing was sent | the platform's function |
//! | it is not keyed, so an answer that is lost leaves the outcome unknown | same |
//! | a body with WhatsApp's error code says that WhatsApp refused, so nothing was sent; a bare 5xx says nothing | same |
//! | what the gateway says in the function's place: `sb-error-code`, and statuses such as 540 and 546; a table in `gateway` | Supabase, edge function error codes; platform status codes |
//! | `x-region` pins the region that runs it, and then no other steps in; the one that answered is in `x-sb-edge-region`, and in what is said of a failure where one was pinned | Supabase, regional invocations |
//! | functions verify JWTs: one that is called with a key of the new kind must be deployed without that check | Supabase, API keys |

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
    region: Option<String>,
}

impl SendFunction {
    pub(crate) fn new(http: Http, slug: &str, number: WhatsAppNumber) -> Self {
        Self { http, path: format!("/functions/v1/{slug}"), number, region: None }
    }

    /// Pins the region that runs it, e.g. `eu-west-3`; `None` leaves the choice to the platform.
    pub(crate) fn in_region(self, region: Option<String>) -> Self {
        Self { region, ..self }
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
        let mut call = Call::write(Method::POST, &self.path, body);
        if let Some(region) = &self.region {
            call = call.header("x-region", region);
        }
        let reply = self.http.send(call).await?;
        let answer = accepted(&reply);
        if self.region.is_some() { answer.map_err(|error| with_region(error, &reply)) } else { answer }
    }

    fn canary_number(&self) -> Msisdn {
        self.number.canary.clone()
    }
}

/// Names the region that failed. With one that is pinned no other steps in, and another may be well.
fn with_region(mut error: PortError, reply: &Reply) -> PortError {
    let Some(region) = reply.header("x-sb-edge-region") else { return error };
    let region = format!(" (in the region {})", reply.clean(region));
    match &mut error {
        PortError::AlreadyDone { detail, .. }
        | PortError::RateLimited { detail, .. }
        | PortError::Unavailable { detail, .. }
        | PortError::OutcomeUnknown { detail, .. }
        | PortError::Rejected { detail, .. }
        | PortError::Malformed { detail, .. }
        | PortError::Damaged { detail, .. }
        | PortError::Stopped { detail, .. } => detail.push_str(&region),
        PortError::NotFound { .. } => {}
    }
    error
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
        SendFault::RateLimited | SendFault::PairLimit => reply.rate_limited(detail),
        SendFault::Credential => PortError::Stopped { service, call, reason: StopReason::Credential, detail },
        SendFault::PolicyBlock => PortError::Stopped { service, call, reason: StopReason::Policy, detail },
        SendFault::Transient | SendFault::HeldByPolicy => PortError::Unavailable { service, call, detail },
        SendFault::InvalidNumber
        | SendFault::Recipient
        | SendFault::Template
        | SendFault::Media
        | SendFault::Unknown => PortError::Rejected { service, call, code: Some(code.to_string()), detail },
    }
}
