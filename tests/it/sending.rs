//! What the real platform's sending is like: its texts, its throttle, its slowness, and what it never writes down. Judged by
//! the platform's rows and ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use allclear::core::notification::{Blocked, FailedNotification, NotificationId, RetryAnswer, RetryBlock};
use allclear::core::ports::{Notifications, Targets};
use allclear::core::target::{SendTally, TargetProgress, TargetRange};
use allclear::core::{CampaignId, Clock, PortError, Service, Target, VirtualClock};
use allclear::engine::gate::Question;
use allclear::engine::{Answer, Attention, Event, Finished, Humans, Outcome, Terms};
use allclear::sandbox::{Fault, FaultSet, Profile, Scenario, WorldSpec};
use jiff::Timestamp;

use crate::parts::rows;
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
        // The plan named them all in one line, so nobody is asked again for each batch.
        let drifted =
            scene.entries().into_iter().filter(|entry| matches!(entry.event, Event::Drifted { .. }));
        assert_eq!(drifted.count(), 0, "{many}");
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

/// Invalid numbers on a platform that marks no target.
async fn unmarked(profile: Profile) -> Scene {
    let scenario = Scenario::named("invalid-numbers").unwrap();
    let faults = FaultSet::of(profile).with(Fault::TargetsStayQueued);
    Scene::of(WorldSpec { profile, faults: Some(faults), ..small(scenario) }).await
}

/// The numbers in the exported files, and those that had failed when they were written.
async fn exported_and_failed(scene: &Scene) -> (BTreeSet<String>, BTreeSet<String>) {
    let is_export =
        |event: &Event| matches!(event, Event::Applied { effect, .. } if effect == "artifact.write");
    let at = scene.entries().iter().find(|one| is_export(&one.event)).map(|one| one.at);
    let mut exported = BTreeSet::new();
    for (name, text) in scene.files().iter().filter(|(name, _)| name.starts_with("failed-targets-")) {
        for line in text.lines().skip(1) {
            let digits = line.split(',').nth(1).unwrap();
            assert!(exported.insert(format!("+{digits}")), "twice in {name}: {line}");
        }
    }
    let mut failed = BTreeSet::new();
    for row in rows(scene, "send_logs?select=id,msisdn_e164,sent_at,error&error=not.is.null").await {
        let sent_at: Timestamp = row["sent_at"].as_str().unwrap().parse().unwrap();
        if at.is_some_and(|at| sent_at <= at) {
            failed.insert(row["msisdn_e164"].as_str().unwrap().to_owned());
        }
    }
    (exported, failed)
}

#[tokio::test]
async fn a14_failures_that_stand_only_in_the_log_are_exported_from_there() {
    for profile in [Profile::AsIs, Profile::Target] {
        let scene = unmarked(profile).await;
        let (plan, finished) = scene.plan_and_run().await;
        verified(&finished);
        assert!(plan.effects.iter().any(|one| one.effect == "artifact.write"), "{:?}", plan.effects);
        let (exported, failed) = exported_and_failed(&scene).await;
        assert!(failed.len() > 5, "{profile:?}: {failed:?}");
        assert_eq!(exported, failed, "{profile:?}");
    }
}

/// One target of each campaign is marked as failed, whatever failed.
struct HardlyMarked(Arc<dyn Targets>);

#[async_trait::async_trait]
impl Targets for HardlyMarked {
    async fn failed(
        &self,
        campaign: CampaignId,
        range: TargetRange,
        _: u32,
    ) -> Result<Vec<Target>, PortError> {
        self.0.failed(campaign, range, 1).await
    }

    async fn count_failed(&self, _: CampaignId) -> Result<u64, PortError> {
        Ok(1)
    }

    async fn progress(&self, campaign: CampaignId) -> Result<TargetProgress, PortError> {
        self.0.progress(campaign).await
    }
}

#[tokio::test]
async fn a14_where_only_some_are_marked_the_log_is_asked() {
    let mut scene = Scene::of(small(Scenario::named("invalid-numbers").unwrap())).await;
    scene.platform.targets = Arc::new(HardlyMarked(Arc::clone(&scene.platform.targets)));
    let (_, finished) = scene.plan_and_run().await;
    verified(&finished);
    let (exported, failed) = exported_and_failed(&scene).await;
    assert!(exported.len() > 8, "{exported:?}");
    assert_eq!(exported, failed);
}

#[tokio::test]
async fn a14_whoever_got_the_message_later_is_not_exported() {
    let scene = unmarked(Profile::AsIs).await;
    let campaign = scene.platform.campaigns.running().await.unwrap()[0].id;
    let before = scene.platform.send_log.failed_sends(campaign).await.unwrap();
    let number = before[0].recipient.number().unwrap().clone();
    scene.sandbox.with_world(|world| world.let_message_go_out(campaign.0, number.expose()));
    let after = scene.platform.send_log.failed_sends(campaign).await.unwrap();
    assert_eq!(after.len() + 1, before.len());
    assert!(after.iter().all(|one| one.recipient.number() != Some(&number)));
}

/// Approves everything, and says of each canary in turn whether it is on the phone; of those beyond, that it is not.
struct AtThePhone {
    sees: Mutex<Vec<bool>>,
    asked: Arc<Mutex<u32>>,
}

#[async_trait::async_trait]
impl Humans for AtThePhone {
    async fn ask(&self, question: &Question, _given: &[Answer]) -> Attention {
        if question.choice("arrived").is_none() {
            return Attention::Answer(Answer::to(question, "approve", "alex"));
        }
        *self.asked.lock().unwrap() += 1;
        assert!(!question.question.contains("25078"), "{}", question.question);
        let sees = self.sees.lock().unwrap().pop().unwrap_or(false);
        Attention::Answer(Answer::to(question, if sees { "arrived" } else { "not-arrived" }, "alex"))
    }
}

/// A platform that never writes down a delivery; `sees` is what a person sees, the last first. Also how often they were asked.
async fn without_reports(scenario: Scenario, sees: Vec<bool>) -> (Scene, Finished, u32) {
    let faults = FaultSet::of(Profile::AsIs).with(Fault::DeliveryNeverLogged);
    let scene = Scene::of(WorldSpec { faults: Some(faults), ..small(scenario) }).await;
    let plan = scene.plan().await;
    let told = plan.seen.iter().any(|seen| seen.says.contains("a person is asked to look at the phone"));
    assert!(told, "{:?}", plan.seen);
    let asked = Arc::new(Mutex::new(0));
    let humans = Arc::new(AtThePhone { sees: Mutex::new(sees), asked: Arc::clone(&asked) });
    let terms = Terms { humans, ..scene.terms() };
    let finished = scene.run(approved(&plan, "drill-run"), terms).await;
    let asked = *asked.lock().unwrap();
    (scene, finished, asked)
}

/// When canaries were sent.
fn canaries(scene: &Scene) -> Vec<Timestamp> {
    let ledger = scene.sandbox.ledger().into_iter();
    ledger.filter(|entry| entry.effect == "message.send").map(|entry| entry.at).collect()
}

fn running(scene: &Scene) -> usize {
    crate::drills::statuses(scene).iter().filter(|status| *status == "running").count()
}

#[tokio::test]
async fn c5_where_no_delivery_is_written_down_a_person_looks_at_the_phone() {
    for named in ["outage", "rate-limited", "invalid-numbers"] {
        let (scene, finished, asked) = without_reports(Scenario::named(named).unwrap(), vec![true]).await;
        verified(&finished);
        assert!(finished.says.contains("a person saw a canary arrive"), "{}", finished.says);
        assert_eq!((canaries(&scene).len(), asked, running(&scene)), (1, 1, 4), "{named}");
    }
}

#[tokio::test]
async fn c5_canaries_that_do_not_arrive_are_few_and_nothing_is_resumed() {
    let (scene, finished, asked) = without_reports(Scenario::Outage { minutes: 6 }, Vec::new()).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert_eq!((canaries(&scene).len(), asked, running(&scene)), (3, 3, 0), "{}", finished.says);
    let (scene, finished, asked) = without_reports(Scenario::Outage { minutes: 6 }, vec![true, false]).await;
    verified(&finished);
    assert_eq!((canaries(&scene).len(), asked, running(&scene)), (2, 2, 4), "{}", finished.says);
}

#[tokio::test]
async fn c5_a_drills_roles_do_not_say_what_is_on_a_phone() {
    let faults = FaultSet::of(Profile::AsIs).with(Fault::DeliveryNeverLogged);
    let spec = WorldSpec { faults: Some(faults), ..small(Scenario::Outage { minutes: 6 }) };
    let scene = Scene::of(spec).await;
    let (_, finished) = scene.plan_and_run().await;
    assert_eq!(finished.outcome, Outcome::WaitingForHuman, "{}", finished.says);
    assert_eq!((canaries(&scene).len(), running(&scene)), (1, 0));
}

#[tokio::test]
async fn c5_where_whatsapps_own_reports_are_kept_nobody_is_asked_and_they_decide() {
    for (more, canaries_sent, resumed) in [(None, 1, 4), (Some(Fault::CanaryFails), 3, 0)] {
        let mut faults =
            FaultSet::of(Profile::AsIs).with(Fault::DeliveryNeverLogged).with(Fault::StatusWebhooksKept);
        if let Some(fault) = more {
            faults = faults.with(fault);
        }
        let scene =
            Scene::of(WorldSpec { faults: Some(faults), ..small(Scenario::Outage { minutes: 6 }) }).await;
        let (plan, finished) = scene.plan_and_run().await;
        let told = plan.seen.iter().any(|seen| seen.says.contains("reported to the platform's webhook"));
        assert!(told, "the plan does not say who tells whether a canary arrived: {:?}", plan.seen);
        assert_eq!((canaries(&scene).len(), running(&scene)), (canaries_sent, resumed), "{}", finished.says);
        assert_eq!(finished.outcome == Outcome::Verified, more.is_none(), "{}", finished.says);
    }
}

#[tokio::test]
async fn canaries_that_do_not_arrive_are_few_and_apart_and_the_end_says_what_next() {
    for fault in [Fault::CanaryFails, Fault::AcceptedAndDropped] {
        let faults = FaultSet::of(Profile::Target).with(fault);
        let scenario = Scenario::RateLimited { minutes: 3 };
        let spec = WorldSpec { profile: Profile::Target, faults: Some(faults), ..small(scenario) };
        let scene = Scene::of(spec).await;
        let (_, finished) = scene.plan_and_run().await;
        assert_eq!(finished.outcome, Outcome::Unverified, "{fault}: {}", finished.says);
        assert!(finished.says.contains("run the runbook again"), "{fault}: {}", finished.says);
        let sent = canaries(&scene);
        assert_eq!(sent.len(), 3, "{fault}: {sent:?}");
        let apart = |pair: &[Timestamp]| pair[1].duration_since(pair[0]).as_secs() >= 300;
        assert!(sent.windows(2).all(apart), "{fault}: {sent:?}");
        // What stays paused is brought back by the next run, once messages arrive.
        let started = scene.effects().keys().filter(|(effect, _)| effect == "campaign.start").count();
        assert_eq!(started, 0, "{fault}");
    }
}

#[tokio::test]
async fn a_canary_that_takes_minutes_is_waited_for() {
    let faults = FaultSet::of(Profile::Target).with(Fault::DeliverySlow);
    let scenario = Scenario::RateLimited { minutes: 3 };
    let spec = WorldSpec { profile: Profile::Target, faults: Some(faults), ..small(scenario) };
    let scene = Scene::of(spec).await;
    let (_, finished) = scene.plan_and_run().await;
    verified(&finished);
    assert_eq!(canaries(&scene).len(), 1);
}

#[tokio::test]
async fn what_the_platform_does_not_retry_in_its_quiet_hours_is_retried_after_them() {
    // The campaigns come back at six in Kigali; by its server's clock it is quiet for two hours more.
    let start = "2026-11-23T23:00:00Z".parse().unwrap();
    let spec = WorldSpec {
        profile: Profile::AsIs,
        notifications: 200,
        start,
        ..small(Scenario::Outage { minutes: 6 })
    };
    let scene = Scene::of(spec).await;
    scene.sandbox.with_world(|world| world.let_notifications_fail(90, BY_503));
    let (_, finished) = scene.plan_and_run().await;
    verified(&finished);
    assert_eq!(failed(&scene), 0, "{}", finished.says);
    let morning: Timestamp = "2026-11-24T06:00:00Z".parse().unwrap();
    let ledger = scene.sandbox.ledger();
    let retries: Vec<_> = ledger.iter().filter(|entry| entry.effect == "notification.retry").collect();
    assert!(retries.len() >= 90 && retries.iter().all(|entry| entry.at >= morning), "{retries:?}");
}

#[tokio::test]
async fn notifications_that_failed_by_what_people_mended_are_retried_and_others_are_told() {
    for (named, profile) in [
        ("auth-expired", Profile::AsIs),
        ("policy-blocked", Profile::AsIs),
        ("auth-expired", Profile::Target),
        ("policy-blocked", Profile::Target),
    ] {
        let spec = WorldSpec { profile, notifications: 400, ..small(Scenario::named(named).unwrap()) };
        let scene = Scene::of(spec.clone()).await;
        assert!(failed(&scene) > 0, "{named}");
        let (_, finished) = scene.plan_and_run().await;
        verified(&finished);
        assert_eq!(failed(&scene), 0, "{named} {profile:?}: {}", finished.says);

        let scene = Scene::of(spec).await;
        scene.sandbox.with_world(|world| world.let_notifications_fail(17, "the dog ate it"));
        let (_, finished) = scene.plan_and_run().await;
        assert_eq!(finished.outcome, Outcome::Unverified, "{named}: {}", finished.says);
        assert!(finished.says.contains("17 notifications stay failed"), "{named}: {}", finished.says);
    }
}
