//! Telling people: a ticket at the provider, a page, and a line in the operations channel.
//!
//! None of these may hold up a safe mitigation: when a service for telling is itself down, the run notes it as an open
//! question and goes on. The one exception is a ticket *in doubt*. The provider's intake can neither be asked nor told to
//! drop a repetition, so a person must say whether it went out.

use std::sync::Arc;

use allclear_core::ports::{AccountIds, Provider, Ticket};
use allclear_core::{Platform, PortError};
use allclear_engine::{
    Applied, Effect, Escalation, Foreseen, Halt, Intent, Judgement, NoUndo, Note, Prediction, Reconciled,
    Repeat, Run,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::WA_E1;
use super::detect::Signal;
use super::messages;
use crate::effects::{PageSomebody, PostMessage, change, go_on_without};

/// Tells everybody who must know that the failures last.
pub(super) struct NotifyProvider {
    on: Platform,
    signal: Signal,
    run: String,
}

impl NotifyProvider {
    pub(super) fn about(on: &Platform, signal: &Signal, run: &str) -> Self {
        Self { on: on.clone(), signal: signal.clone(), run: run.to_owned() }
    }

    pub(super) async fn tell(&self, run: &mut Run) -> Result<(), Halt> {
        let ticket = OpenTicket::about(&self.on, &self.signal, &self.run);
        let told = run.attempt(&WA_E1, ticket).await.map(drop);
        go_on_without(run, &WA_E1, "open a ticket at the WhatsApp provider by hand", told).await?;

        let told = run
            .attempt(
                &WA_E1,
                PageSomebody::about(&self.on, messages::page(&self.signal, &self.run), "escalation"),
            )
            .await
            .map(drop);
        go_on_without(run, &WA_E1, "page somebody by hand", told).await?;

        let told = run
            .attempt(
                &WA_E1,
                PostMessage::of(
                    &self.on,
                    messages::chat(&self.on.limits.ops_channel, &self.signal, &self.run),
                ),
            )
            .await
            .map(drop);
        go_on_without(run, &WA_E1, "tell the operations channel by hand", told).await?;

        run.note(&WA_E1, Note::Mitigation { says: "the WhatsApp provider was notified".to_owned() }).await
    }
}

#[async_trait]
impl Escalation for NotifyProvider {
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        self.tell(run).await
    }
}

/// The provider's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Reference {
    reference: String,
}

/// Opens a ticket at the provider.
#[derive(Clone)]
struct OpenTicket {
    provider: Arc<dyn Provider>,
    ids: AccountIds,
    signal: Signal,
    run: String,
}

impl OpenTicket {
    fn about(on: &Platform, signal: &Signal, run: &str) -> Self {
        Self {
            provider: Arc::clone(&on.provider),
            ids: on.whatsapp.ids(),
            signal: signal.clone(),
            run: run.to_owned(),
        }
    }
}

#[async_trait]
impl Effect for OpenTicket {
    type Receipt = Reference;
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "provider.ticket"
    }

    fn subject(&self) -> String {
        "provider ticket".to_owned()
    }

    fn title(&self) -> String {
        "open a ticket at the WhatsApp provider".to_owned()
    }

    fn repeat(&self) -> Repeat {
        Repeat::Neither
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let ticket = messages::ticket(&self.ids, &self.signal, &self.run);
        let opened = change("ticket", "provider ticket", &ticket.subject, "state", "not opened", "open");
        Ok(Prediction::of(opened).note(ticket.body))
    }

    fn foresee(&self, _prediction: &Prediction) -> Reference {
        Reference { reference: "not known".to_owned() }
    }

    async fn apply(&self, _intent: &Intent) -> Result<Applied<Reference>, PortError> {
        let ticket: Ticket = messages::ticket(&self.ids, &self.signal, &self.run);
        let reference = self.provider.open_ticket(&ticket).await?;
        Ok(Applied {
            says: format!("the provider opened ticket {reference}"),
            receipt: Reference { reference },
        })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<Reference>, PortError> {
        Ok(Reconciled::Unknown { why: "the provider's intake cannot be read".to_owned() })
    }

    async fn verify(
        &self,
        _intent: &Intent,
        receipt: &Reference,
        _now: Timestamp,
    ) -> Result<Judgement, PortError> {
        let says = format!("the provider gave ticket {}; its intake cannot be read back", receipt.reference);
        Ok(Judgement::unverifiable(says))
    }
}
