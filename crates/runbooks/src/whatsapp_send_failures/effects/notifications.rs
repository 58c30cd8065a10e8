//! Putting failed notifications back in the queue.

use std::sync::Arc;

use allclear_core::notification::NotificationId;
use allclear_core::ports::Notifications;
use allclear_core::send_fault::SendFault;
use allclear_core::{Platform, PortError};
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Intent, Judgement, NoUndo, Prediction, Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::effects::change;
use crate::words::counted;

/// The admin API takes no more ids in one request.
const BATCH: u32 = 50;
/// More than this many are left to a person: something else is wrong then.
const MOST: usize = 1_000;

/// Retries the notifications that failed since the incident began and may be retried. Uses the platform's `retry`,
/// which queues; its `resend` would send *and* queue.
///
/// A crash between two batches is harmless: what was queued is not failed any more, so the next go takes the rest.
#[derive(Clone)]
pub(in super::super) struct RequeueNotifications {
    notifications: Arc<dyn Notifications>,
    since: Timestamp,
}

/// What was put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Requeued {
    queued: Vec<NotificationId>,
    blocked: u64,
}

impl RequeueNotifications {
    pub(in super::super) fn failed_since(on: &Platform, since: Option<Timestamp>) -> Self {
        Self { notifications: Arc::clone(&on.notifications), since: since.unwrap_or(Timestamp::UNIX_EPOCH) }
    }

    async fn to_retry(&self) -> Result<Vec<NotificationId>, PortError> {
        let failed = self.notifications.failed(self.since, MOST as u32).await?;
        let may_be_retried = |code: &str| SendFault::from_text(code).may_be_retried();
        Ok(failed.iter().filter(|one| may_be_retried(&one.code)).map(|one| one.id).collect())
    }
}

#[async_trait]
impl Effect for RequeueNotifications {
    type Receipt = Requeued;
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "notification.retry"
    }

    fn subject(&self) -> String {
        "notifications".to_owned()
    }

    fn title(&self) -> String {
        "put the notifications that failed back in the queue".to_owned()
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("notifications that are in the queue again go out by themselves")
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let ids = self.to_retry().await?;
        if ids.is_empty() {
            return Ok(Prediction::default());
        }
        let again = change(
            "notifications",
            "failed since the first failure",
            "failed notifications",
            "status",
            "failed",
            "queued",
        );
        Ok(Prediction::of(again).note(counted(ids.len(), "notification now", "notifications now")))
    }

    fn foresee(&self, _prediction: &Prediction) -> Requeued {
        Requeued { queued: Vec::new(), blocked: 0 }
    }

    async fn apply(&self, _intent: &Intent) -> Result<Applied<Requeued>, PortError> {
        let mut done = Requeued { queued: Vec::new(), blocked: 0 };
        for batch in self.to_retry().await?.chunks(BATCH as usize) {
            let answer = self.notifications.retry(batch).await?;
            done.queued.extend(answer.queued);
            done.blocked += answer.blocked.len() as u64;
        }
        let says = format!(
            "{} queued again, {} held back by policy",
            counted(done.queued.len(), "notification is", "notifications are"),
            counted(done.blocked, "was", "were")
        );
        Ok(Applied { receipt: done, says })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<Requeued>, PortError> {
        let left = self.to_retry().await?.len();
        if left > 0 {
            return Ok(Reconciled::DidNot {
                why: format!("{left} are still failed; queueing the rest repeats none"),
            });
        }
        let receipt = Requeued { queued: Vec::new(), blocked: 0 };
        Ok(Reconciled::Happened(Applied { receipt, says: "none are failed any more".to_owned() }))
    }

    async fn verify(
        &self,
        _intent: &Intent,
        receipt: &Requeued,
        _now: Timestamp,
    ) -> Result<Judgement, PortError> {
        let failed = self.notifications.still_failed(&receipt.queued).await?;
        let shows = format!("{failed} of {} are failed", receipt.queued.len());
        let evidence = vec![Evidence::new("notifications (PostgREST)", shows)];
        Ok(if failed == 0 {
            Judgement::verified("what was put back in the queue is not failed any more", evidence)
        } else {
            Judgement::refuted(
                counted(failed, "notification is still failed", "notifications are still failed"),
                evidence,
            )
        })
    }
}
