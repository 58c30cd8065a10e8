//! What the real platform's sending is like: its texts, its throttle, its slowness, and what it never writes down. Judged by
//! the platform's rows and ledger.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use allclear::core::notification::{Blocked, FailedNotification, NotificationId, RetryAnswer, RetryBlock};
use allclear::core::ports::Notifications;
use allclear::core::target::SendTally;
use allclear::core::{Clock, PortError, Service, VirtualClock};
use allclear::engine::{Event, Finished, Outcome};
use allclear::sandbox::{Profile, Scenario, WorldSpec};
use jiff::Timestamp;

use crate::scene::{Scene, approved, small};

const BY_503: &str = "WhatsApp send failed (503): null";

/// An outage, with so many notifications failed by it.
async fn outage(notifications: usize, text: &str) -> Scene {
    let spec =
        WorldSpec { profile: Profile::AsIs, notifications: 1_000, ..small(Scenario::Outage { minutes: 6 }) };
    let scene = Scene::of(spec).await;
    scene.sandbox.with_world(|world| world.let_notifications_fail(notifications, text));
    scene
}

fn failed(scene: &Scene) -> usize {
    scene.sandbox.with_world(|world| world.notification_statuses().get("failed").copied().unwrap_or(0))
}

/// How often each notification was put back, and how many in each minute.
fn retried(scene: &Scene) -> (BTreeMap<String, usize>, BTreeMap<i64, usize>) {
    let (mut each, mut minutes) = (BTreeMap::new(), BTreeMap::new());
    for entry in scene.sandbox.ledger().into_iter().filter(|entry| entry.effect == "notification.retry") {
        *each.entry(entry.subject).or_default() += 1;
        *minutes.entry(entry.at.as_second() / 60).or_default() += 1;
    }
    (each, minutes)
}

fn verified(finished: &Finished) {
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
}

#[tokio::test]
async fn a13_all_are_retried_as_the_throttle_lets_them_through() {
    for many in [61, 200, 400] {
        let scene = outage(many, BY_503).await;
        let before = failed(&scene);
        let (_, finished) = scene.plan_and_run().await;
        verified(&finished);
        assert_eq!(failed(&scene), 0, "{many}: {}", finished.says);
        let (each, minutes) = retried(&scene);
        assert_eq!(each.len(), before, "{many}");
        assert!(each.values().all(|times| *times == 1), "{many}: each once");
        assert!(minutes.values().all(|count| *count <= 60) && minutes.len() > before / 60, "{minutes:?}");
    }
}

#[tokio::test]
async fn a13_killed_in_between_none_is_retried_twice() {
    let calm = outage(130, BY_503).await;
    calm.plan_and_run().await;
    let is_retry = |event: &Event| matches!(event, Event::Intended { effect, .. } | Event::Applied { effect, .. } if effect == "notification.retry");
    let entries = calm.entries();
    let marks: Vec<u64> = entries.iter().filter(|one| is_retry(&one.event)).map(|one| one.seq).collect();
    assert!(marks.len() > 6, "several batches: {marks:?}");
    for at in marks {
        let scene = outage(130, BY_503).await;
        let plan = scene.plan().await;
        scene.run_until_killed(approved(&plan, "drill-run"), at).await;
        let finished = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
        verified(&finished);
        let (each, _) = retried(&scene);
        assert_eq!((failed(&scene), each.values().max()), (0, Some(&1)), "killed at {at}");
    }
}

/// What the platform answers to a retry.
#[derive(Clone, Copy)]
enum Answers {
    /// Whatever is asked for, the throttle is full.
    AlwaysFull,
    /// Every other one has no number.
    HalfWithoutNumber,
    /// Each id takes so long, and whoever waits longer than the limit hears nothing: the platform goes on all the same.
    Slow { each: Duration, limit: Duration },
}

/// The platform's notifications, with another way to answer retries. Keeps how many each request was about.
struct Notified {
    real: Arc<dyn Notifications>,
    answers: Answers,
    clock: Arc<VirtualClock>,
    batches: Arc<Mutex<Vec<usize>>>,
}

impl Notified {
    fn put_into(scene: &mut Scene, answers: Answers) -> Arc<Mutex<Vec<usize>>> {
        let batches: Arc<Mutex<Vec<usize>>> = Arc::default();
        scene.platform.notifications = Arc::new(Self {
            real: Arc::clone(&scene.platform.notifications),
            answers,
            clock: Arc::clone(&scene.clock),
            batches: Arc::clone(&batches),
        });
        batches
    }
}

fn held(id: NotificationId, reason: RetryBlock, until: Option<Timestamp>) -> Blocked {
    Blocked { id, reason, until }
}

#[async_trait::async_trait]
impl Notifications for Notified {
    async fn tally(&self, since: Timestamp) -> Result<SendTally, PortError> {
        self.real.tally(since).await
    }

    async fn failed(&self, since: Timestamp, limit: u32) -> Result<Vec<FailedNotification>, PortError> {
        self.real.failed(since, limit).await
    }

    async fn still_failed(&self, ids: &[NotificationId]) -> Result<u64, PortError> {
        self.real.still_failed(ids).await
    }

    async fn retry(&self, ids: &[NotificationId]) -> Result<RetryAnswer, PortError> {
        self.batches.lock().unwrap().push(ids.len());
        let until = self.clock.now() + Duration::from_secs(30);
        match self.answers {
            Answers::AlwaysFull => {
                let blocked = ids.iter().map(|id| held(*id, RetryBlock::Throttled, Some(until))).collect();
                Ok(RetryAnswer { blocked, ..RetryAnswer::default() })
            }
            Answers::HalfWithoutNumber => {
                let (without, with): (Vec<_>, Vec<_>) = ids.iter().partition(|id| id.0.as_u128() % 2 == 0);
                let mut answer =
                    if with.is_empty() { RetryAnswer::default() } else { self.real.retry(&with).await? };
                answer
                    .blocked
                    .extend(without.into_iter().map(|id| held(id, RetryBlock::MissingMsisdn, None)));
                Ok(answer)
            }
            Answers::Slow { each, limit } => {
                let takes = each * u32::try_from(ids.len()).unwrap();
                let answer = self.real.retry(ids).await;
                self.clock.advance(takes.min(limit));
                if takes <= limit {
                    return answer;
                }
                let (service, call) = (Service::AdminApi, "POST /api/notifications/retry".to_owned());
                Err(PortError::OutcomeUnknown { service, call, detail: "no answer in time".to_owned() })
            }
        }
    }
}

#[tokio::test]
async fn a13_what_the_throttle_never_lets_through_is_counted_and_open() {
    let mut scene = outage(120, BY_503).await;
    Notified::put_into(&mut scene, Answers::AlwaysFull);
    let before = failed(&scene);
    let (_, finished) = scene.plan_and_run().await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert_eq!(failed(&scene), before);
    assert!(finished.says.contains(&format!("{before} notifications are still failed")), "{}", finished.says);
}

#[tokio::test]
async fn a13_what_the_platform_does_not_put_back_is_counted_and_open() {
    let mut scene = outage(120, BY_503).await;
    Notified::put_into(&mut scene, Answers::HalfWithoutNumber);
    let (_, finished) = scene.plan_and_run().await;
    let left = failed(&scene);
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(left > 20, "{left}");
    let says = format!("{left} notifications are still failed (held back as missing_msisdn)");
    assert!(finished.says.contains(&says), "{}", finished.says);
}

#[tokio::test]
async fn c10_batches_fit_the_time_limit_of_a_call() {
    for (millis, limit) in [(0, 10), (100, 10), (320, 10), (900, 20)] {
        let mut scene = outage(130, BY_503).await;
        let slow = Answers::Slow { each: Duration::from_millis(millis), limit: Duration::from_secs(limit) };
        let batches = Notified::put_into(&mut scene, slow);
        let (_, finished) = scene.plan_and_run().await;
        verified(&finished);
        assert_eq!(failed(&scene), 0, "{millis} ms");
        let (each, _) = retried(&scene);
        assert_eq!(each.values().max(), Some(&1), "{millis} ms");
        let largest = *batches.lock().unwrap().iter().max().unwrap() as u64;
        assert!(largest * millis <= limit * 1_000, "{millis} ms: {:?}", batches.lock().unwrap());
    }
}

#[tokio::test]
async fn c10_a_batch_without_an_answer_is_read_before_anything_is_asked_again() {
    // Even the first batch takes longer than anybody waits.
    let mut scene = outage(130, BY_503).await;
    let slow = Answers::Slow { each: Duration::from_millis(1_500), limit: Duration::from_secs(10) };
    Notified::put_into(&mut scene, slow);
    let (_, finished) = scene.plan_and_run().await;
    let (each, _) = retried(&scene);
    assert_eq!(each.values().max(), Some(&1), "{}", finished.says);
    assert!(finished.outcome != Outcome::Verified || failed(&scene) == 0, "{}", finished.says);
}

#[tokio::test]
async fn c4_what_passes_is_retried_and_what_does_not_is_not() {
    for (text, again) in [
        (BY_503, true),
        ("WhatsApp send failed (429): null", true),
        ("TypeError: fetch failed", true),
        ("Signal timed out.", true),
        (r#"WhatsApp send failed (500): {"error":{"message":"at 17:04:10","code":131016}}"#, true),
        (r#"WhatsApp send failed (400): {"error":{"message":"at 17:04:10","code":131026}}"#, false),
        (r#"WhatsApp send failed (503): {"error":{"message":"at 17:04:10","code":131048}}"#, false),
        ("WhatsApp send failed (400): null", false),
        ("it broke at 17:04:10", false),
    ] {
        let scene = outage(9, text).await;
        let (_, finished) = scene.plan_and_run().await;
        assert_eq!(failed(&scene), if again { 0 } else { 9 }, "{text}: {}", finished.says);
    }
}
