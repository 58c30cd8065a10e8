//! Telling a chat channel.

use std::sync::Arc;

use allclear_core::ports::{Chat, ChatMessage};
use allclear_core::{Platform, PortError};
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Halt, Intent, Judgement, NoUndo, Note, Prediction, Reconciled,
    Repeat, Run, Step,
};
use async_trait::async_trait;
use jiff::Timestamp;

use super::change;

/// Posts one message to a channel.
#[derive(Clone)]
pub(crate) struct PostMessage {
    chat: Arc<dyn Chat>,
    message: ChatMessage,
}

impl PostMessage {
    pub(crate) fn of(on: &Platform, message: ChatMessage) -> Self {
        Self { chat: Arc::clone(&on.chat), message }
    }
}

#[async_trait]
impl Effect for PostMessage {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "slack.post"
    }

    fn subject(&self) -> String {
        format!("channel {} {}", self.message.channel, self.message.about)
    }

    fn title(&self) -> String {
        format!("tell {}", self.message.channel)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let channel = &self.message.channel;
        let posted = change("message", channel, channel, &self.message.about, "not posted", "posted");
        Ok(Prediction::of(posted).note(self.message.text.clone()))
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        let posted = self.chat.post(&self.message).await?;
        Ok(Applied { receipt: (), says: format!("Slack accepted the message as {}", posted.ts) })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        Ok(match self.chat.find(&self.message.channel, &self.message.marker).await? {
            Some(posted) => Reconciled::Happened(Applied {
                receipt: (),
                says: format!("the channel has it as {}", posted.ts),
            }),
            None => Reconciled::DidNot { why: "the channel does not have it".to_owned() },
        })
    }

    async fn verify(&self, _intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        let source = "Slack, conversations.history";
        Ok(match self.chat.find(&self.message.channel, &self.message.marker).await? {
            Some(posted) => Judgement::verified(
                "the channel has the message",
                vec![Evidence::new(source, format!("message {}", posted.ts))],
            ),
            None => Judgement::pending(
                "Slack accepted the message and does not show it",
                vec![Evidence::new(source, "none")],
            ),
        })
    }
}

/// A failed telling is noted as an open question and holds nothing up; everything else that stops a run stops this one
/// too.
pub(crate) async fn go_on_without(
    run: &mut Run,
    step: &Step,
    by_hand: &str,
    told: Result<(), Halt>,
) -> Result<(), Halt> {
    match told {
        Err(Halt::Failed { error, .. }) => {
            run.note(step, Note::OpenQuestion { says: format!("{by_hand}: {error}") }).await
        }
        other => other,
    }
}
