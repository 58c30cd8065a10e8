//! WhatsApp's Graph API: the phone number's own view of its health. A read; it sends nothing.
//!
//! | fact | from |
//! |---|---|
//! | `health_status` of the phone number is the best single diagnosis; a word in it that is not known is no permission to send | Cloud API, health status |
//! | errors are told apart by `code`, never by title or status: a rate limit comes as 400 and as 429, an object that is not there as 400 with code 100 | error codes |
//! | all codes are in a table, [`send_fault`]; a code that is not there is what its status says, and is not retried | error codes |
//! | `X-Business-Use-Case-Usage` says in *minutes* when access is regained; `X-App-Usage` says in percent how much of its limit an app has used | Graph API, rate limits |
//! | Meta documents no `Retry-After`, but what stands between may add one; then that counts | — |
//! | `fbtrace_id` is what Meta's support asks for; it is kept in the error's words | error responses |
//!
//! What it deliberately does not do: send. Messages go through the platform's own [function](crate::edge_functions), which
//! keeps the log of them. WhatsApp has no key that would make a second send harmless, so a send whose outcome is unknown is
//! never made again: what became of it is read from that log, or comes by [webhook](crate::webhooks::whatsapp), whose statuses
//! only rise.

#[cfg(test)]
mod tests;
mod wire;

use std::time::Duration;

use allclear_core::PortError;
use allclear_core::error::WaitSource;
use allclear_core::ports::{AccountIds, PhoneHealth, WhatsAppAccount};
use allclear_core::send_fault::{self, SendFault};
use async_trait::async_trait;

use crate::config::WhatsAppNumber;
use crate::http::{Call, Http, Reply};

const ACCOUNT_USAGE: &str = "x-business-use-case-usage";
const APP_USAGE: &str = "x-app-usage";
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
        let usage = reply.header(ACCOUNT_USAGE).and_then(wire::regain_minutes);
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

/// The wait that the usage headers name, on a rate limit for which `Retry-After` names none.
fn with_usage(error: PortError, reply: &Reply) -> PortError {
    match error {
        PortError::RateLimited { service, call, wait_seconds: None, detail, .. } => {
            let of_account = reply.header(ACCOUNT_USAGE).and_then(wire::regain_minutes);
            let of_app = reply.header(APP_USAGE).and_then(wire::app_usage);
            let minutes = of_account.or_else(|| of_app.as_ref().and_then(wire::AppUsage::regain_minutes));
            let wait = minutes.map(|minutes| Duration::from_mins(minutes.min(MINUTES)).as_secs());
            let source_of_wait = if wait.is_some() { WaitSource::LimitHeader } else { WaitSource::Ours };
            let used = of_app.map(|usage| format!("; the app has used {} % of what it may", usage.most()));
            let detail = format!("{detail}{}", used.unwrap_or_default());
            PortError::RateLimited { service, call, wait_seconds: wait, source_of_wait, detail }
        }
        other => other,
    }
}

/// Graph errors are told apart by their code: an unknown object is a 400 with code 100, a rate limit may be one too. Of a code
/// that is not in the table the status must say what it is.
fn classify(reply: &Reply) -> PortError {
    let error: Option<wire::GraphError> =
        reply.json().and_then(|mut body| serde_json::from_value(body["error"].take()).ok());
    let Some(error) = error else { return with_usage(reply.failure(), reply) };
    let known = send_fault::look_up(error.code);
    let advice = known.map_or("a code that we do not know", |row| row.advice);
    let (service, call) = (reply.service, reply.call.clone());
    let detail = reply.clean(&format!("{}: {advice}{}", error.title(), error.trace()));
    let code = Some(error.code.to_string());
    let Some(known) = known else {
        return match reply.failure() {
            PortError::Rejected { .. } | PortError::NotFound { .. } => {
                PortError::Rejected { service, call, code, detail }
            }
            other => with_usage(other, reply),
        };
    };
    match (known.stop, known.fault) {
        (Some(reason), _) => PortError::Stopped { service, call, reason, detail },
        (None, SendFault::RateLimited | SendFault::PairLimit) => {
            with_usage(reply.rate_limited(detail), reply)
        }
        (None, SendFault::Transient) => PortError::Unavailable { service, call, detail },
        (None, _) => PortError::Rejected { service, call, code, detail },
    }
}
