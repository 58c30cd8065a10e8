//! Putting failed notifications back: batch after batch, as fast as the platform's throttle lets them through.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use allclear_core::clock::after;
use allclear_core::notification::{NotificationId, RetryBlock};
use allclear_core::ports::Notifications;
use allclear_core::send_fault::SendFault;
use allclear_core::{Platform, PortError};
use allclear_engine::{Evidence, Halt, Note, Observation, Probe, Run};
use async_trait::async_trait;
use jiff::Timestamp;

use super::detect::Signal;
use super::effects::{ROWS, RequeueNotifications, Requeued};
use super::{GIVE_UP_AFTER, WA_M1, WhatsAppSendFailures};
use crate::effects::passes;
use crate::words::counted;

/// The throttle's window, where the platform does not say when it ends.
const WINDOW: Duration = Duration::from_mins(1);
/// How long to leave the platform alone that takes it for quiet hours: it goes by its server's zone.
const QUIET: Duration = Duration::from_mins(30);
/// After so many requests that were held back the run stops asking: four hours of a full throttle.
const MOST_HELD_BACK: u64 = GIVE_UP_AFTER.as_secs() / WINDOW.as_secs();

/// What could not be put back so far.
#[derive(Debug, Default)]
struct NotPutBack {
    blocked: Vec<RetryBlock>,
    missing: Vec<NotificationId>,
    /// Still failed when the run stopped asking.
    left: u64,
}

impl NotPutBack {
    fn add(&mut self, done: &Requeued) {
        self.blocked.extend(done.blocked.iter().map(|one| one.reason.clone()).filter(|why| !why.is_fine()));
        self.missing.extend(&done.missing);
    }

    /// In words; `None` where all are on their way.
    fn says(&self) -> Option<String> {
        let count = self.left + (self.blocked.len() + self.missing.len()) as u64;
        if count == 0 {
            return None;
        }
        let mut why: Vec<String> =
            self.blocked.iter().map(|reason| format!("held back as {reason}")).collect();
        why.extend(self.missing.iter().map(|_| "not known to the platform".to_owned()));
        why.sort();
        why.dedup();
        if self.left > 0 {
            why.push("more than the sending throttle let through in time".to_owned());
        }
        let failed = counted(count, "notification is still failed", "notifications are still failed");
        Some(format!("{failed} ({}); retry them in the admin panel", why.join(", ")))
    }
}

impl WhatsAppSendFailures {
    /// What failed because of what is over is put back into the queue. What the platform does not put back, and what failed
    /// otherwise, is counted and open. Since the first failure that is seen, or since `began` where that is earlier.
    pub(super) async fn requeue_notifications(
        &self,
        run: &mut Run,
        signal: &Signal,
        began: Option<Timestamp>,
    ) -> Result<(), Halt> {
        let lifted = signal.was_restricted();
        let since = signal.first_failure_at.into_iter().chain(began).min();
        let mut batch = RequeueNotifications::failed_since(&self.on, since, lifted);
        let mut not = NotPutBack::default();
        // Requests are counted and not hours: a run that was away made none.
        let mut held_back = 0;
        loop {
            let began = run.now();
            let done = run.perform(&WA_M1, batch.clone()).await?;
            not.add(&done);
            if run.is_plan() || done.left == 0 {
                break;
            }
            held_back += u64::from(done.throttled + done.quiet > 0 || done.count() == 0);
            if held_back == MOST_HELD_BACK {
                not.left = done.left;
                break;
            }
            let took = Duration::try_from(run.now().duration_since(began)).unwrap_or_default();
            batch = batch.next(&done, took);
            if done.quiet > 0 {
                Self::wait_for_the_morning(run, &done).await?;
            } else if done.throttled > 0 {
                Self::wait_for_throttle(run, &done).await?;
            }
        }
        if let Some(says) = not.says() {
            run.owe(&WA_M1, "failed notifications", says).await?;
        }
        self.account_for_failed_notifications(run, signal, since).await
    }

    /// What stays failed, because nothing that this run can do sends it.
    async fn account_for_failed_notifications(
        &self,
        run: &mut Run,
        signal: &Signal,
        since: Option<Timestamp>,
    ) -> Result<(), Halt> {
        if run.is_plan() {
            return Ok(());
        }
        let failed = run.probe(&WA_M1, FailedNotifications::since(&self.on, since)).await?;
        let (own, other): (Vec<_>, Vec<_>) = failed
            .into_iter()
            .filter(|(fault, _)| !passes(*fault, signal.was_restricted()))
            .partition(|(fault, _)| fault.is_the_recipients_own());
        let own: u64 = own.iter().map(|(_, count)| count).sum();
        if own > 0 {
            let what = "notifications that failed because of their recipients".to_owned();
            run.note(&WA_M1, Note::Count { what, count: own }).await?;
        }
        if other.is_empty() {
            return Ok(());
        }
        let why: Vec<String> = other
            .iter()
            .map(|(fault, count)| format!("{count} because {}", fault.given_up_because()))
            .collect();
        let count: u64 = other.iter().map(|(_, count)| count).sum();
        let failed = counted(count, "notification stays failed", "notifications stay failed");
        let says = format!("{failed}: {}; look at them in the admin panel", why.join(", "));
        run.owe(&WA_M1, "notifications that stay failed", says).await
    }

    /// Where the recipients live the quiet hours are over, which a retry itself waits for; the platform's end later.
    async fn wait_for_the_morning(run: &mut Run, done: &Requeued) -> Result<(), Halt> {
        let says = format!(
            "the platform retries nothing in quiet hours; {} still to be retried",
            counted(done.left, "notification is", "notifications are")
        );
        run.wait_until(&WA_M1, after(run.now(), QUIET), says).await
    }

    async fn wait_for_throttle(run: &mut Run, done: &Requeued) -> Result<(), Halt> {
        let now = run.now();
        let earliest = after(now, Duration::from_secs(1));
        let window: Timestamp = done.throttled_until.unwrap_or(after(now, WINDOW));
        // A window that ends in an hour is none of this platform's.
        let until = window.clamp(earliest, after(now, WINDOW * 2));
        let says = format!(
            "the sending throttle let {} through; {} still to be retried",
            done.count(),
            counted(done.left, "notification is", "notifications are")
        );
        run.wait_until(&WA_M1, until, says).await
    }
}

/// Counts the notifications that are failed now, by why.
struct FailedNotifications {
    notifications: Arc<dyn Notifications>,
    since: Timestamp,
}

impl FailedNotifications {
    fn since(on: &Platform, since: Option<Timestamp>) -> Self {
        let notifications = Arc::clone(&on.notifications);
        Self { notifications, since: since.unwrap_or(Timestamp::UNIX_EPOCH) }
    }
}

#[async_trait]
impl Probe for FailedNotifications {
    type Value = BTreeMap<SendFault, u64>;

    fn subject(&self) -> String {
        "notifications that are failed at the end".to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Self::Value>, PortError> {
        let mut value: Self::Value = BTreeMap::new();
        for one in self.notifications.failed(self.since, ROWS).await? {
            *value.entry(SendFault::from_text(&one.code)).or_default() += 1;
        }
        let shows: Vec<String> = value.iter().map(|(fault, count)| format!("{count} {fault:?}")).collect();
        let failed =
            counted(value.values().sum::<u64>(), "notification is failed", "notifications are failed");
        let says = format!("{failed} since the first failure");
        let shows = if shows.is_empty() { "none".to_owned() } else { shows.join(", ") };
        Ok(Observation { value, says, evidence: vec![Evidence::new("notifications (PostgREST)", shows)] })
    }
}
