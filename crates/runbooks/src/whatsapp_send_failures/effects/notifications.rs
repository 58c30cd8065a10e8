//! Putting failed notifications back in the queue.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use allclear_core::notification::{Blocked, FailedNotification, NotificationId, RetryAnswer, RetryBlock};
use allclear_core::ports::Notifications;
use allclear_core::send_fault::SendFault;
use allclear_core::{Platform, PortError};
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Intent, Judgement, NoUndo, NotBefore, Prediction, Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::effects::{change, passes};
use crate::quiet::Start;
use crate::words::counted;

/// The admin API takes no more ids in one request.
const MOST_IDS: usize = 50;
/// How many the first request is about: few, for nobody knows yet how long the platform takes for one.
const FIRST_IDS: usize = 10;
/// How long a request should take. The platform makes about five database calls for each id, so that 50 took 15 s and more
/// where a call took 60 ms; clients and gateways give up long before that.
const TIME_FOR_A_BATCH: Duration = Duration::from_secs(5);
/// Rows looked at in one go.
pub(in super::super) const ROWS: u32 = 10_000;

/// How many notifications one request is about, from how long the last one took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct BatchSize(usize);

impl BatchSize {
    pub(in super::super) const FIRST: Self = Self(FIRST_IDS);

    /// At most twice as many as in the last one, and so few that the time for one is kept.
    pub(in super::super) fn after(self, took: Duration) -> Self {
        let fit = (TIME_FOR_A_BATCH.as_millis() * self.0 as u128).checked_div(took.as_millis());
        let fit = fit.and_then(|fit| usize::try_from(fit).ok()).unwrap_or(usize::MAX);
        Self(fit.min(self.0 * 2).clamp(1, MOST_IDS))
    }
}

/// Retries some of the notifications that failed since the incident began and may be retried. Uses the platform's `retry`,
/// which queues; its `resend` would send *and* queue.
///
/// Each batch is an effect of its own. Where its answer is lost, what is failed is read anew before anything else is asked
/// for: what was queued is not failed any more, so that none is queued twice.
#[derive(Clone)]
pub(in super::super) struct RequeueNotifications {
    notifications: Arc<dyn Notifications>,
    since: Timestamp,
    /// Whether a restriction of the account is known to be lifted.
    lifted: bool,
    number: u32,
    size: BatchSize,
    /// Those that the platform does not put back, by earlier batches' answers.
    without: BTreeSet<NotificationId>,
    not_before: NotBefore,
}

/// What one batch came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Requeued {
    queued: Vec<NotificationId>,
    /// Held back for another reason than the throttle and the hour: asking again changes nothing.
    pub(in super::super) blocked: Vec<Blocked>,
    pub(in super::super) missing: Vec<NotificationId>,
    /// How many the throttle held back.
    pub(in super::super) throttled: u64,
    /// When the throttle lets more through, where the platform said so.
    pub(in super::super) throttled_until: Option<Timestamp>,
    /// How many were held back because the platform takes it for quiet hours.
    #[serde(default)]
    pub(in super::super) quiet: u64,
    /// How many are failed still and may be retried.
    pub(in super::super) left: u64,
}

impl Requeued {
    /// How many were put back.
    pub(in super::super) fn count(&self) -> usize {
        self.queued.len()
    }

    fn of(answer: RetryAnswer, asked_of: usize) -> Self {
        let (throttled, blocked): (Vec<_>, Vec<_>) =
            answer.blocked.into_iter().partition(|one| one.reason == RetryBlock::Throttled);
        let (quiet, blocked): (Vec<_>, Vec<_>) =
            blocked.into_iter().partition(|one| one.reason == RetryBlock::QuietHours);
        let settled = answer.queued.len() + blocked.len() + answer.missing.len();
        Self {
            queued: answer.queued,
            blocked,
            missing: answer.missing,
            throttled: throttled.len() as u64,
            throttled_until: throttled.iter().filter_map(|one| one.until).max(),
            quiet: quiet.len() as u64,
            left: asked_of.saturating_sub(settled) as u64,
        }
    }

    fn says(&self) -> String {
        let mut says =
            counted(self.queued.len(), "notification is queued again", "notifications are queued again");
        if self.throttled > 0 {
            let _ = write!(says, ", {} wait for the sending throttle", self.throttled);
        }
        if self.quiet > 0 {
            let _ = write!(says, ", {} wait for the end of the quiet hours", self.quiet);
        }
        if !self.blocked.is_empty() {
            let reasons: BTreeSet<&str> = self.blocked.iter().map(|one| one.reason.as_str()).collect();
            let reasons: Vec<&str> = reasons.into_iter().collect();
            let _ = write!(says, ", {} held back ({})", self.blocked.len(), reasons.join(", "));
        }
        if self.left > 0 {
            let _ = write!(says, "; {} still to be retried", self.left);
        }
        says
    }
}

impl RequeueNotifications {
    /// The first batch of those that failed since then, once sending is proven to work.
    pub(in super::super) fn failed_since(on: &Platform, since: Option<Timestamp>, lifted: bool) -> Self {
        Self {
            notifications: Arc::clone(&on.notifications),
            since: since.unwrap_or(Timestamp::UNIX_EPOCH),
            lifted,
            number: 1,
            size: BatchSize::FIRST,
            without: BTreeSet::new(),
            not_before: Start::of_notifications(on, "notifications").not_before(),
        }
    }

    /// The batch after this one.
    pub(in super::super) fn next(mut self, done: &Requeued, took: Duration) -> Self {
        self.number += 1;
        self.size = self.size.after(took);
        self.without.extend(done.blocked.iter().map(|one| one.id).chain(done.missing.iter().copied()));
        self
    }

    async fn to_retry(&self) -> Result<Vec<NotificationId>, PortError> {
        let failed = self.notifications.failed(self.since, ROWS).await?;
        let may_be_retried = |one: &&FailedNotification| {
            passes(SendFault::from_text(&one.code), self.lifted) && !self.without.contains(&one.id)
        };
        Ok(failed.iter().filter(may_be_retried).map(|one| one.id).collect())
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
        if self.number == 1 { "notifications".to_owned() } else { format!("notifications {}", self.number) }
    }

    fn planned_as(&self) -> String {
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

    fn not_before(&self) -> Option<NotBefore> {
        Some(self.not_before.clone())
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
        let now = counted(ids.len(), "notification now", "notifications now");
        let batches =
            "in batches that the platform answers in time, each as its sending throttle lets it through";
        Ok(Prediction::of(again).note(format!("{now}, {batches}")))
    }

    fn foresee(&self, _prediction: &Prediction) -> Requeued {
        Requeued::default()
    }

    async fn apply(&self, _intent: &Intent) -> Result<Applied<Requeued>, PortError> {
        let ids = self.to_retry().await?;
        let batch = &ids[..ids.len().min(self.size.0)];
        let answer =
            if batch.is_empty() { RetryAnswer::default() } else { self.notifications.retry(batch).await? };
        let receipt = Requeued::of(answer, ids.len());
        Ok(Applied { says: receipt.says(), receipt })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<Requeued>, PortError> {
        let left = self.to_retry().await?.len();
        if left > 0 {
            return Ok(Reconciled::DidNot {
                why: format!("{left} are still failed; queueing the rest repeats none"),
            });
        }
        let receipt = Requeued::default();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c10_batches_fit_the_time_of_a_call() {
        let second = Duration::from_secs(1);
        let first = BatchSize::FIRST;
        // As measured: 50 in 16 s.
        assert_eq!(first.after(Duration::from_millis(3_200)), BatchSize(15));
        assert_eq!(BatchSize(15).after(Duration::from_millis(4_800)), BatchSize(15));
        assert_eq!(first.after(Duration::ZERO), BatchSize(20));
        assert_eq!(BatchSize(40).after(second), BatchSize(50));
        assert_eq!(first.after(second * 600), BatchSize(1));
        assert_eq!(BatchSize(1).after(second), BatchSize(2));
    }

    #[test]
    fn a13_what_the_throttle_holds_back_is_left_and_what_nobody_wants_is_not() {
        let id = |n: u128| NotificationId(uuid::Uuid::from_u128(n));
        let until: Timestamp = "2026-11-23T07:01:00Z".parse().unwrap();
        let held = |n, reason: RetryBlock, until| Blocked { id: id(n), reason, until };
        let answer = RetryAnswer {
            queued: vec![id(1), id(2)],
            blocked: vec![
                held(3, RetryBlock::Throttled, Some(until)),
                held(4, RetryBlock::OptOut, None),
                held(5, RetryBlock::MissingMsisdn, None),
                held(7, RetryBlock::QuietHours, None),
            ],
            missing: vec![id(6)],
        };
        let done = Requeued::of(answer, 10);
        assert_eq!((done.count(), done.throttled, done.throttled_until, done.left), (2, 1, Some(until), 5));
        assert_eq!(done.quiet, 1, "what the night holds back is left, and asked for again");
        assert_eq!(done.blocked.iter().filter(|one| !one.reason.is_fine()).count(), 1);
        assert!(done.says().contains("2 notifications are queued again, 1 wait"), "{}", done.says());
    }
}
