//! Telling people: a ticket at the provider, a page, and a line in the operations channel.
//!
//! None of these may hold up a safe mitigation: when a service for telling is itself down, the run goes on, says so, and
//! cannot end as verified before somebody was told another way. The provider's intake cannot be read back at all, and a
//! second ticket is harmless: the ticket's type says that it need not be proven, and the words say that it is not.

use std::sync::{Arc, OnceLock};

use allclear_core::clock::after;
use allclear_core::ports::{AccountIds, Provider, Ticket};
use allclear_core::{Platform, PortError};
use allclear_engine::{
    Applied, Because, Effect, Escalation, Foreseen, Halt, Intent, Judgement, NoUndo, Prediction, Reconciled,
    Repeat, Run,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::detect::{Signal, StillFails};
use super::messages;
use super::{ESCALATE_AFTER, Input, WA_E1};
use crate::effects::{Alarm, DIAGNOSIS_HOLDS, Words, change, tell};

/// Tells everybody who must know that the failures last.
pub(super) struct NotifyProvider {
    on: Platform,
    signal: Signal,
    input: Input,
    run: String,
    begun: OnceLock<()>,
    pub(super) alarm: Alarm,
}

impl NotifyProvider {
    pub(super) fn about(on: &Platform, (signal, input): (&Signal, &Input), run: &str) -> Self {
        let (alarm, run) = (Alarm::of(on, "escalation"), run.to_owned());
        let (signal, input) = (signal.clone(), input.clone());
        Self { on: on.clone(), signal, input, run, begun: OnceLock::new(), alarm }
    }

    /// Once, whether a block or the deadline comes first; the deadline may pass while the block is told.
    pub(super) async fn tell(&self, run: &mut Run) -> Result<(), Halt> {
        if !run.is_plan() && self.begun.set(()).is_err() {
            return Ok(());
        }
        let ticket = tell(run, &WA_E1, OpenTicket::about(&self.on, &self.signal, &self.run)).await?;
        let has_ticket = run
            .told(
                &WA_E1,
                "a ticket was handed in at the WhatsApp provider",
                "the WhatsApp provider was not told, as far as is known: open a ticket by hand",
                &[ticket.account()],
            )
            .await?;
        let page = messages::page(&self.signal, &self.run, has_ticket);
        let channel = &self.on.limits.ops_channel;
        let chat = |_| messages::chat(channel, &self.signal, &self.run, has_ticket);
        let words = Words {
            paged: "whoever is on call was told that WhatsApp sends fail".to_owned(),
            written: format!(
                "{channel} was told that WhatsApp sends fail, and whoever is on call was not paged, as far as is known"
            ),
            untold: "nobody was told that WhatsApp sends fail: page somebody by hand".to_owned(),
        };
        self.alarm.raise(run, &WA_E1, page, chat, words).await.map(drop)
    }
}

#[async_trait]
impl Escalation for NotifyProvider {
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        if self.is_over_meanwhile(run).await? { Ok(()) } else { self.tell(run).await }
    }
}

impl NotifyProvider {
    /// Whether the failures ended before anybody came to tell of them: the deadline passed while the run was away. What cannot be
    /// looked at is told.
    async fn is_over_meanwhile(&self, run: &mut Run) -> Result<bool, Halt> {
        let passed = after(self.signal.began_at().unwrap_or(run.now()), ESCALATE_AFTER);
        if run.is_plan() || run.now() < after(passed, DIAGNOSIS_HOLDS) {
            return Ok(false);
        }
        let still = StillFails::since(&self.on, &self.input, passed);
        match run.probe(&WA_E1, still).await {
            Ok(over) => Ok(over.is_some()),
            Err(Halt::Failed { .. }) => Ok(false),
            Err(halt) => Err(halt),
        }
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
        Repeat::Harmless
    }

    fn excuse(&self) -> Option<Because> {
        Some(Because::ReceiverCannotBeRead)
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("a ticket that was opened is closed by the provider")
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
