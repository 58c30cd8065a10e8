//! Telling a chat channel.

use std::sync::Arc;

use allclear_core::error::StopReason;
use allclear_core::ports::{Chat, ChatMessage, Posted};
use allclear_core::{Class, Platform, PortError};
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Intent, Judgement, NoUndo, OnlyWhile, Prediction, Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;

use super::change;

/// Posts one message to a channel.
///
/// When the token fails or the API is not reached, the channel's incoming webhook is used if there is one. It names no
/// message, so such a one is accepted and, as long as the API fails, not verifiable. After an unknown outcome nothing is sent
/// by any way before the channel was read.
#[derive(Clone)]
pub(crate) struct PostMessage {
    chat: Arc<dyn Chat>,
    message: ChatMessage,
    /// The message in whose thread it stands.
    thread: Option<Posted>,
    /// What it says must still be so.
    only_while: Option<OnlyWhile>,
}

impl PostMessage {
    pub(crate) fn of(on: &Platform, message: ChatMessage) -> Self {
        Self { chat: Arc::clone(&on.chat), message, thread: None, only_while: None }
    }

    /// In the thread of a message of the same channel, where that was posted and has a place.
    pub(crate) fn in_thread_of(self, thread: Option<Posted>) -> Self {
        Self { thread, ..self }
    }

    /// Not where what it says is not so any more.
    pub(crate) fn only_while(self, only_while: OnlyWhile) -> Self {
        Self { only_while: Some(only_while), ..self }
    }

    async fn post(&self) -> Result<Posted, PortError> {
        match &self.thread {
            Some(thread) => self.chat.reply(thread, &self.message).await,
            None => self.chat.post(&self.message).await,
        }
    }

    async fn find(&self) -> Result<Option<Posted>, PortError> {
        let ChatMessage { channel, marker, .. } = &self.message;
        if let Some(thread) = &self.thread
            && let Some(answer) = self.chat.find_reply(channel, thread, marker).await?
        {
            return Ok(Some(answer));
        }
        // What came by the webhook stands in no thread.
        self.chat.find(channel, marker).await
    }
}

/// Whether the API took nothing and would take nothing now. What its policy forbids is not done another way.
fn may_go_another_way(error: &PortError) -> bool {
    let stopped = |reason: &StopReason| matches!(reason, StopReason::Credential | StopReason::Permission);
    match error {
        PortError::Unavailable { .. } => true,
        PortError::Stopped { reason, .. } => stopped(reason),
        _ => false,
    }
}

/// Whether asking again would come to the same.
fn may_never_be_read(error: &PortError) -> bool {
    matches!(error, PortError::Stopped { .. }) || error.class() == Class::Permanent && !error.says_nothing()
}

/// The API's error, with what the webhook said.
fn both(error: PortError, webhook: &PortError) -> PortError {
    let more = |detail: String| format!("{detail}; and {webhook}");
    match error {
        PortError::Stopped { service, call, reason, detail } => {
            PortError::Stopped { service, call, reason, detail: more(detail) }
        }
        PortError::Unavailable { service, call, detail } => {
            PortError::Unavailable { service, call, detail: more(detail) }
        }
        other => other,
    }
}

#[async_trait]
impl Effect for PostMessage {
    /// Where it stands; `None` where it was accepted by a way that names no place.
    type Receipt = Option<Posted>;
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

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("a message that was sent stays sent")
    }

    fn only_while(&self) -> Option<OnlyWhile> {
        self.only_while.clone()
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let channel = &self.message.channel;
        let posted = change("message", channel, channel, &self.message.about, "not posted", "posted");
        Ok(Prediction::of(posted).note(self.message.text.clone()))
    }

    fn foresee(&self, _prediction: &Prediction) -> Option<Posted> {
        None
    }

    async fn apply(&self, _intent: &Intent) -> Result<Applied<Option<Posted>>, PortError> {
        let error = match self.post().await {
            Ok(posted) => {
                let says = format!("Slack accepted the message as {}", posted.ts);
                return Ok(Applied { receipt: Some(posted), says });
            }
            Err(error) if may_go_another_way(&error) => error,
            Err(error) => return Err(error),
        };
        match self.chat.post_by_webhook(&self.message).await {
            Ok(()) => {
                let says = format!("the incoming webhook accepted the message, because {error}");
                Ok(Applied { receipt: None, says })
            }
            Err(unknown @ PortError::OutcomeUnknown { .. }) => Err(unknown),
            // The environment has none for this channel.
            Err(PortError::NotFound { .. }) => Err(error),
            Err(webhook) => Err(both(error, &webhook)),
        }
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<Option<Posted>>, PortError> {
        Ok(match self.find().await? {
            Some(posted) => {
                let says = format!("the channel has it as {}", posted.ts);
                Reconciled::Happened(Applied { receipt: Some(posted), says })
            }
            None => Reconciled::DidNot { why: "the channel does not have it".to_owned() },
        })
    }

    async fn verify(
        &self,
        _intent: &Intent,
        receipt: &Option<Posted>,
        _now: Timestamp,
    ) -> Result<Judgement, PortError> {
        let source = "Slack, conversations.history";
        let found = match self.find().await {
            // What is only away for now is asked again, for as long as somebody has the patience.
            Err(error) if receipt.is_none() && may_never_be_read(&error) => {
                let says = format!(
                    "it was accepted by a way that names no message, and cannot be looked up: {error}"
                );
                return Ok(Judgement::unverifiable(says));
            }
            found => found?,
        };
        Ok(match found {
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

#[cfg(test)]
mod tests {
    use allclear_core::Service;
    use allclear_core::error::WaitSource;
    use allclear_core::ports::MockChat;

    use super::*;

    fn intent() -> Intent {
        let at = "2026-11-23T09:00:00Z".parse().unwrap();
        Intent { key: "k".to_owned(), at, changes: Vec::new() }
    }

    fn post(chat: MockChat) -> PostMessage {
        let word = || "x".to_owned();
        let message = ChatMessage { channel: "#ops".to_owned(), text: word(), about: word(), marker: word() };
        PostMessage { chat: Arc::new(chat), message, thread: None, only_while: None }
    }

    fn parts() -> (Service, String, String) {
        (Service::Slack, "POST /chat.postMessage".to_owned(), "d".to_owned())
    }

    fn stopped(reason: StopReason) -> PortError {
        let (service, call, detail) = parts();
        PortError::Stopped { service, call, reason, detail }
    }

    fn unavailable() -> PortError {
        let (service, call, detail) = parts();
        PortError::Unavailable { service, call, detail }
    }

    fn unknown() -> PortError {
        let (service, call, detail) = parts();
        PortError::OutcomeUnknown { service, call, detail }
    }

    fn refused(code: &str) -> PortError {
        let (service, call, detail) = parts();
        PortError::Rejected { service, call, code: Some(code.to_owned()), detail }
    }

    /// A chat whose API answers every message with an error.
    fn failing(error: PortError) -> MockChat {
        let mut chat = MockChat::new();
        chat.expect_post().times(1).returning(move |_| Err(error.clone()));
        chat
    }

    #[tokio::test]
    async fn the_webhook_is_used_when_nothing_was_sent_and_then_nothing_can_be_looked_up() {
        for error in [stopped(StopReason::Credential), stopped(StopReason::Permission)] {
            let mut chat = failing(error.clone());
            chat.expect_post_by_webhook().times(1).returning(|_| Ok(()));
            chat.expect_find().returning(move |_, _| Err(error.clone()));
            let post = post(chat);
            let applied = post.apply(&intent()).await.unwrap();
            assert_eq!(applied.receipt, None);
            assert!(applied.says.contains("incoming webhook"), "{}", applied.says);
            let judged = post.verify(&intent(), &None, intent().at).await.unwrap();
            assert!(matches!(judged.verdict, allclear_engine::Verdict::Unverifiable { .. }), "{judged:?}");
        }
    }

    #[tokio::test]
    async fn what_the_webhook_took_while_the_api_was_away_is_looked_up_once_it_is_back() {
        let mut chat = failing(unavailable());
        chat.expect_post_by_webhook().times(1).returning(|_| Ok(()));
        let mut looks = 0;
        chat.expect_find().times(2).returning(move |_, _| {
            looks += 1;
            if looks == 1 { Err(unavailable()) } else { Ok(Some(Posted { ts: "7".to_owned() })) }
        });
        let post = post(chat);
        let applied = post.apply(&intent()).await.unwrap();
        assert_eq!(applied.receipt, None);
        let away = post.verify(&intent(), &None, intent().at).await;
        assert_eq!(away.err(), Some(unavailable()), "the engine asks again");
        let judged = post.verify(&intent(), &None, intent().at).await.unwrap();
        assert!(judged.verdict.is_verified(), "{judged:?}");
    }

    /// The mock has no webhook: to use it would be a panic.
    #[tokio::test]
    async fn the_webhook_is_never_used_after_an_unknown_outcome_a_limit_a_refusal_or_a_policy() {
        let (service, call, detail) = parts();
        let limited = PortError::RateLimited {
            service,
            call,
            wait_seconds: Some(30),
            source_of_wait: WaitSource::RetryAfterHeader,
            detail,
        };
        for error in [unknown(), limited, refused("no_text"), stopped(StopReason::Policy)] {
            let applied = post(failing(error.clone())).apply(&intent()).await;
            assert_eq!(applied.err(), Some(error));
        }
    }

    #[tokio::test]
    async fn a_webhook_that_fails_too_is_told_and_an_unknown_outcome_of_it_stays_unknown() {
        let nobody = PortError::NotFound { service: Service::Slack, what: "incoming webhook".to_owned() };
        let cases = [
            (nobody, stopped(StopReason::Credential)),
            (unknown(), unknown()),
            (refused("no_service"), both(stopped(StopReason::Credential), &refused("no_service"))),
        ];
        for (webhook, expected) in cases {
            let mut chat = failing(stopped(StopReason::Credential));
            chat.expect_post_by_webhook().times(1).returning(move |_| Err(webhook.clone()));
            assert_eq!(post(chat).apply(&intent()).await.err(), Some(expected));
        }
        let told = both(unavailable(), &refused("no_service")).to_string();
        assert!(told.contains("no_service") && told.contains("unavailable"), "{told}");
    }

    #[tokio::test]
    async fn what_stands_in_a_thread_is_looked_for_there_and_then_in_the_channel() {
        let mut chat = MockChat::new();
        chat.expect_reply().times(1).returning(|_, _| Ok(Posted { ts: "2".to_owned() }));
        chat.expect_find_reply().times(1).returning(|_, _, _| Ok(None));
        chat.expect_find().times(1).returning(|_, _| Ok(Some(Posted { ts: "3".to_owned() })));
        let post = post(chat).in_thread_of(Some(Posted { ts: "1".to_owned() }));
        let applied = post.apply(&intent()).await.unwrap();
        assert_eq!(applied.receipt, Some(Posted { ts: "2".to_owned() }));
        let Reconciled::Happened(found) = post.reconcile(&intent()).await.unwrap() else {
            panic!("it is in the channel")
        };
        assert_eq!(found.receipt, Some(Posted { ts: "3".to_owned() }));
    }

    /// A journal of before there were receipts has nothing there.
    #[test]
    fn an_older_receipt_is_still_read() {
        let receipt: Option<Posted> = serde_json::from_str("null").unwrap();
        assert_eq!(receipt, None);
    }
}
