//! One real message to our own number: the only proof that sending works.
//!
//! 202 is acceptance. What counts is that WhatsApp reports the message delivered, in the send log or to the platform's webhook.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::delivery::{MessageStatus, StatusReport};
use allclear_core::ports::{Delivery, SendLog, Sender};
use allclear_core::{Platform, PortError};
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Intent, Judgement, NoUndo, Patience, Prediction, Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::effects::change;

/// Our time is the platform's to a second or two (`Date` knows whole seconds), and canaries are half a minute apart.
const TO_THE_SECOND: Duration = Duration::from_secs(5);
/// A message whose id is known is looked up by it, however the clocks differ; the time only bounds the read.
const ANY_CLOCK: Duration = Duration::from_hours(24);

/// How long one canary has before the next is sent. Each is a message that somebody pays for.
pub(in super::super) const BETWEEN_CANARIES: Duration = Duration::from_mins(5);

/// Who says that a canary arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Witness {
    /// The send log, which hears it from WhatsApp.
    Log,
    /// WhatsApp's reports, as the platform keeps them.
    Webhook,
    /// A person who looks at the phone: here it is proven that it was sent, and no more.
    Person,
}

/// Sends one canary and waits until it is delivered.
#[derive(Clone)]
pub(in super::super) struct SendCanary {
    sender: Arc<dyn Sender>,
    log: Arc<dyn SendLog>,
    run: String,
    number: u32,
    witness: Witness,
}

/// The canary that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Canary {
    pub(in super::super) message_id: String,
}

impl SendCanary {
    pub(in super::super) fn of(on: &Platform, run: &str, witness: Witness) -> Self {
        let (sender, log) = (Arc::clone(&on.sender), Arc::clone(&on.send_log));
        Self { sender, log, run: run.to_owned(), number: 1, witness }
    }

    /// The run's canary with this number, where only a person can say whether it arrived.
    pub(in super::super) fn seen_by_a_person(on: &Platform, run: &str, number: u32) -> Self {
        Self { number, ..Self::of(on, run, Witness::Person) }
    }

    /// Judges by what WhatsApp told the platform of it.
    async fn judge_reports(&self, message_id: &str, since: Timestamp) -> Result<Judgement, PortError> {
        let reports = self.log.status_reports(message_id, since).await?;
        let status = reports.iter().map(|report| report.status).reduce(MessageStatus::after);
        let evidence = vec![Evidence::new("webhook_logs (PostgREST)", shown(message_id, &reports))];
        Ok(match status {
            Some(MessageStatus::Delivered | MessageStatus::Read) => {
                Judgement::verified("WhatsApp reported the canary as delivered", evidence)
            }
            Some(MessageStatus::Failed) => Judgement::refuted("the canary failed", evidence),
            Some(MessageStatus::Sent) | None => Judgement::pending("the canary is on its way", evidence),
        })
    }
}

/// The reports in words, in the order in which they came.
fn shown(message_id: &str, reports: &[StatusReport]) -> String {
    let words = reports.iter().map(|report| {
        let codes: Vec<String> = report.error_codes.iter().map(u32::to_string).collect();
        let codes = if codes.is_empty() { String::new() } else { format!(", code {}", codes.join(", ")) };
        format!("{:?} at {}{codes}", report.status, report.at).to_lowercase()
    });
    let words: Vec<String> = words.collect();
    format!("{message_id}: {}", if words.is_empty() { "no report".to_owned() } else { words.join("; ") })
}

/// The sentence of a canary that only a person sees arrive.
fn sent(evidence: Vec<Evidence>) -> Judgement {
    Judgement::verified("the canary was accepted; a person is asked whether it arrived", evidence)
}

#[async_trait]
impl Effect for SendCanary {
    type Receipt = Canary;
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "message.send"
    }

    fn subject(&self) -> String {
        if self.number == 1 { "canary".to_owned() } else { format!("canary {}", self.number) }
    }

    fn title(&self) -> String {
        format!("send a canary message to our own number {}", self.sender.canary_number())
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("a message that was sent stays sent")
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let number = self.sender.canary_number();
        let (becomes, note) = match self.witness {
            Witness::Log | Witness::Webhook => (
                "delivered",
                "tried every 30 s until one is accepted; three at most, five minutes apart; none goes to a customer",
            ),
            Witness::Person => ("sent", "three at most, and a person says of each whether it arrived"),
        };
        let sent = change("message", "canary", "canary", &format!("to {number}"), "not sent", becomes);
        Ok(Prediction::of(sent).note(note))
    }

    fn foresee(&self, _prediction: &Prediction) -> Canary {
        Canary { message_id: String::new() }
    }

    async fn apply(&self, intent: &Intent) -> Result<Applied<Canary>, PortError> {
        let accepted = self.sender.send_canary(&format!("{} {}", self.run, intent.key)).await?;
        let says = format!("the function accepted the canary as {}", accepted.message_id);
        Ok(Applied { receipt: Canary { message_id: accepted.message_id }, says })
    }

    async fn reconcile(&self, intent: &Intent) -> Result<Reconciled<Canary>, PortError> {
        // Nothing but canaries goes to this number, so any message since the intent is the one.
        let sent = self.log.to_number(&self.sender.canary_number(), intent.at - TO_THE_SECOND).await?;
        Ok(match sent.into_iter().next_back() {
            Some(Delivery { message_id, sent_at, .. }) => Reconciled::Happened(Applied {
                receipt: Canary { message_id },
                says: format!("the send log has a message to the canary's number at {sent_at}"),
            }),
            None => {
                Reconciled::DidNot { why: "the send log has no message to the canary's number".to_owned() }
            }
        })
    }

    fn patience(&self) -> Patience {
        Patience { every: Duration::from_secs(10), within: BETWEEN_CANARIES }
    }

    async fn verify(
        &self,
        intent: &Intent,
        canary: &Canary,
        _now: Timestamp,
    ) -> Result<Judgement, PortError> {
        let is_known = !canary.message_id.is_empty();
        let since = intent.at - if is_known { ANY_CLOCK } else { TO_THE_SECOND };
        let messages = self.log.to_number(&self.sender.canary_number(), since).await?;
        let source = "send_logs (PostgREST)";
        // Where a person vouched for the send, its id is not known, and any message since the intent counts.
        let ours = messages.iter().rfind(|message| !is_known || message.message_id == canary.message_id);
        let Some(message) = ours else {
            let evidence = vec![Evidence::new(source, "no message to the canary's number")];
            if self.witness == Witness::Person {
                return Ok(sent(evidence));
            }
            return Ok(Judgement::pending(
                "the canary was accepted, and the send log does not have it",
                evidence,
            ));
        };
        if self.witness == Witness::Webhook {
            return self.judge_reports(&message.message_id, since).await;
        }
        let status = message.status.as_deref().unwrap_or("none yet");
        let code = message.error_code.as_deref().map_or_else(String::new, |code| format!(", code {code}"));
        let evidence = vec![Evidence::new(source, format!("{}: {status}{code}", message.message_id))];
        if self.witness == Witness::Person {
            return Ok(sent(evidence));
        }
        Ok(match status.to_ascii_lowercase().as_str() {
            "delivered" | "read" => Judgement::verified("the canary was delivered", evidence),
            "failed" => Judgement::refuted("the canary failed", evidence),
            _ => Judgement::pending("the canary is on its way", evidence),
        })
    }
}
