//! One owner of a runbook on a platform: a run announces itself, and says that it has ended, whoever embeds it and wherever
//! it is killed.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use allclear::core::owner::{
    Announced, AnnouncedEffect, Announcement, EffectFound, EffectPlace, Ended, Owner, Told, announce, end,
};
use allclear::core::ports::Announcements;
use allclear::core::{Clock, PortError, Service};
use allclear::engine::report::Postmortem;
use allclear::engine::seam::{Recorded, Seam, SeamError, Woken};
use allclear::engine::{
    Announcing, Entry, Event, Finished, Known, MemoryJournal, Nobody, Outcome, Plan, Terms, execute,
};
use allclear::sandbox::Scenario;
use async_trait::async_trait;
use jiff::Timestamp;

use crate::scene::{Scene, approved, small};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

const RUNBOOK: &str = "whatsapp-send-failures";

pub(crate) async fn outage() -> Scene {
    Scene::of(small(Scenario::Outage { minutes: 3 })).await
}

pub(crate) fn terms(scene: &Scene, run: &str, announcing: Announcing) -> Terms {
    Terms { run: run.to_owned(), announcing: Some(announcing), ..scene.terms() }
}

pub(crate) fn announcing(scene: &Scene, host: &str) -> Announcing {
    Announcing::on(scene.platform.announcements.clone(), host)
}

pub(crate) async fn go(
    scene: &Scene,
    journal: &MemoryJournal,
    plan: &Plan,
    terms: Terms,
) -> Result<Finished, SeamError> {
    let seam = journal.seam(scene.clock.clone()).unwrap();
    let approved = approved(plan, &terms.run);
    execute(&*scene.runbook(), Box::new(seam), approved, terms).await
}

/// How often runs said that they go on, and that they have ended, as the platform has it.
pub(crate) fn on_record(scene: &Scene) -> (usize, usize) {
    let ledger = scene.sandbox.ledger();
    let rows = |action: &str| {
        ledger.iter().filter(|entry| entry.changed && entry.subject.starts_with(action)).count()
    };
    (rows("allclear_run_started"), rows("allclear_run_ended"))
}

/// What the world saw, without what runs say of themselves.
pub(crate) fn acted(scene: &Scene) -> BTreeMap<(String, String), usize> {
    let mut effects = scene.effects();
    effects.retain(|(_, subject), _| !subject.starts_with("allclear_run_"));
    effects
}

fn is_about_owning(entry: &Entry) -> bool {
    matches!(
        entry.event,
        Event::Announced { .. } | Event::NotAnnounced { .. } | Event::Owned { .. } | Event::GaveBack { .. }
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d5_whoever_embeds_runs_has_one_owner_by_passing_the_platforms_record() {
    let calm = outage().await;
    let (_, ended) = calm.plan_and_run().await;
    assert_eq!(ended.outcome, Outcome::Verified, "{}", ended.says);

    let scene = outage().await;
    let plan = scene.plan().await;
    let journals = [MemoryJournal::new(), MemoryJournal::new()];
    let runs = ["run-1", "run-2"].map(|run| terms(&scene, run, announcing(&scene, "a service")));
    let [first, second] = runs;
    let (one, two) =
        tokio::join!(go(&scene, &journals[0], &plan, first), go(&scene, &journals[1], &plan, second));
    let ended = [one.unwrap(), two.unwrap()];
    let lost = ended.iter().position(|one| one.outcome == Outcome::Refused).unwrap();
    let (loser, winner) = (&ended[lost], &ended[1 - lost]);
    assert_eq!(winner.outcome, Outcome::Verified, "{}", winner.says);
    let who = format!("run run-{} of {RUNBOOK}, started by kim on a service, since ", 2 - lost);
    for words in
        [&*who, "has not ended", "allclear watch run-", "allclear hand-over run-", "--take-over run-"]
    {
        assert!(loser.says.contains(words), "{words}: {}", loser.says);
    }
    assert_eq!(
        acted(&scene),
        calm.effects(),
        "the loser changed nothing, and the winner what one run changes"
    );
    assert_eq!(on_record(&scene), (1, 1));
    let intended = |entry: &Entry| matches!(entry.event, Event::Intended { .. } | Event::Asked { .. });
    assert!(!journals[lost].entries().unwrap().iter().any(intended));
}

#[tokio::test]
async fn d5_the_first_thing_in_the_world_is_the_announcement_and_the_last_is_its_end() {
    let scene = outage().await;
    let plan = scene.plan().await;
    let journal = MemoryJournal::new();
    go(&scene, &journal, &plan, terms(&scene, "run-1", announcing(&scene, "a laptop"))).await.unwrap();
    let entries = journal.entries().unwrap();
    let about: Vec<&Entry> = entries.iter().filter(|entry| is_about_owning(entry)).collect();
    assert!(matches!(about[0].event, Event::Announced { number: 0, .. }), "{about:?}");
    let before = &entries[..usize::try_from(about[0].seq).unwrap() - 1];
    let begins = |entry: &Entry| matches!(entry.event, Event::Started { .. } | Event::PlanApproved { .. });
    assert!(matches!(before[0].event, Event::Started { .. }) && before.iter().all(begins), "{before:?}");
    assert!(matches!(about[1].event, Event::GaveBack { untold: None }), "{about:?}");
    assert!(matches!(entries.last().unwrap().event, Event::Concluded { .. }));
    assert_eq!(about[1].seq + 1, entries.last().unwrap().seq);
    let changed: Vec<_> = scene.sandbox.ledger().into_iter().filter(|entry| entry.changed).collect();
    assert!(changed.first().unwrap().subject.starts_with("allclear_run_started"));
    assert!(changed.last().unwrap().subject.starts_with("allclear_run_ended"));
}

/// Dies at the `at`-th boundary: two for each entry, before it is recorded and after.
pub(crate) struct Killed {
    pub(crate) inner: Box<dyn Seam>,
    pub(crate) left: u32,
}

impl Killed {
    fn dies(&mut self) -> Result<(), SeamError> {
        self.left -= 1;
        if self.left > 0 { Ok(()) } else { Err(died()) }
    }
}

pub(crate) fn died() -> SeamError {
    SeamError::Store { doing: "living", detail: "killed".to_owned() }
}

#[async_trait]
impl Seam for Killed {
    async fn record(&mut self, key: &str, body: BoxFuture<'_, Event>) -> Result<Recorded, SeamError> {
        if self.inner.recorded(key).is_some() {
            return self.inner.record(key, body).await;
        }
        let event = body.await;
        self.dies()?;
        let recorded = self.inner.record(key, Box::pin(async move { event })).await?;
        self.dies()?;
        Ok(recorded)
    }

    fn recorded(&self, key: &str) -> Option<&Entry> {
        self.inner.recorded(key)
    }

    async fn sleep(&mut self, until: Timestamp) -> Result<Woken, SeamError> {
        self.inner.sleep(until).await
    }

    async fn signal(
        &mut self,
        gate: &str,
        until: Option<Timestamp>,
        patience: bool,
    ) -> Result<Woken, SeamError> {
        self.inner.signal(gate, until, patience).await
    }

    async fn claim(&mut self, resource: &str) -> Result<(), SeamError> {
        self.inner.claim(resource).await
    }

    fn incarnation(&self) -> u32 {
        self.inner.incarnation()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.inner.clock()
    }
}

#[tokio::test]
async fn d5_killed_between_any_two_points_a_run_is_announced_once_and_blocks_nobody_in_the_end() {
    // As many boundaries as the undisturbed run has, and of those the first and the last: what is in between is walked with
    // real kills.
    let scene = outage().await;
    let plan = scene.plan().await;
    let journal = MemoryJournal::new();
    go(&scene, &journal, &plan, terms(&scene, "run-1", announcing(&scene, "a laptop"))).await.unwrap();
    let boundaries = 2 * u32::try_from(journal.entries().unwrap().len()).unwrap();
    for at in (1..=10).chain(boundaries - 8..=boundaries) {
        let scene = outage().await;
        let plan = scene.plan().await;
        let journal = MemoryJournal::new();
        let inner = Box::new(journal.seam(scene.clock.clone()).unwrap());
        let seam = Box::new(Killed { inner, left: at });
        let first = terms(&scene, "run-1", announcing(&scene, "a laptop"));
        let killed = execute(&*scene.runbook(), seam, approved(&plan, "run-1"), first).await;
        assert_eq!(killed, Err(died()), "boundary {at}");
        if matches!(journal.entries().unwrap().last().map(|last| &last.event), Some(Event::Concluded { .. }))
        {
            assert_eq!(on_record(&scene), (1, 1), "boundary {at}");
            continue;
        }
        let again = terms(&scene, "run-1", announcing(&scene, "a laptop"));
        let ended = go(&scene, &journal, &plan, again).await.unwrap();
        assert_eq!(ended.outcome, Outcome::Verified, "boundary {at}: {}", ended.says);
        assert_eq!(on_record(&scene), (1, 1), "boundary {at}");
        let next = terms(&scene, "run-2", announcing(&scene, "another laptop"));
        let next = go(&scene, &MemoryJournal::new(), &plan, next).await.unwrap();
        assert!(!next.says.contains("has not ended"), "boundary {at}: {}", next.says);
    }
}

/// A record that cannot be reached as often as told.
struct Away {
    record: Arc<dyn Announcements>,
    fails: Arc<AtomicU32>,
}

impl Away {
    fn on(scene: &Scene, fails: u32) -> (Announcing, Arc<AtomicU32>) {
        let fails = Arc::new(AtomicU32::new(fails));
        let away = Self { record: scene.platform.announcements.clone(), fails: Arc::clone(&fails) };
        (Announcing::on(Arc::new(away), "a laptop"), fails)
    }

    fn call(&self) -> Result<(), PortError> {
        let less = |fails: u32| fails.checked_sub(1);
        match self.fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) {
            Ok(_) => Err(PortError::Unavailable {
                service: Service::Supabase,
                call: "GET audit_log".to_owned(),
                detail: "503 from the gateway".to_owned(),
            }),
            Err(_) => Ok(()),
        }
    }
}

#[async_trait]
impl Announcements for Away {
    async fn all(&self, runbook: &str) -> Result<Vec<Announced>, PortError> {
        self.call()?;
        self.record.all(runbook).await
    }

    async fn announce(&self, number: u32, says: &Announcement) -> Result<(), PortError> {
        self.call()?;
        self.record.announce(number, says).await
    }

    async fn end(&self, one: &Announced, ended: &Ended) -> Result<(), PortError> {
        self.call()?;
        self.record.end(one, ended).await
    }

    async fn announce_effect(
        &self,
        at: &EffectPlace,
        effect: &AnnouncedEffect,
    ) -> Result<EffectFound, PortError> {
        self.call()?;
        self.record.announce_effect(at, effect).await
    }
}

#[tokio::test]
async fn d5_a_platform_that_is_away_holds_nothing_up_and_is_told_when_the_run_is_taken_up() {
    let scene = outage().await;
    let plan = scene.plan().await;
    let journal = MemoryJournal::new();
    let (away, _) = Away::on(&scene, 1_000);
    let waits = Terms { humans: Arc::new(Nobody), ..terms(&scene, "run-1", away) };
    let waits = go(&scene, &journal, &plan, waits).await.unwrap();
    assert_eq!(waits.outcome, Outcome::WaitingForHuman, "{}", waits.says);
    let told = Postmortem::from_entries(&journal.entries().unwrap(), scene.runbook().steps());
    let told = allclear::engine::report::to_markdown(&told, allclear::engine::report::Form::Full);
    assert!(told.contains("nothing proves that no other machine ran the same"), "{told}");
    assert_eq!(on_record(&scene), (0, 0));

    let again = go(&scene, &journal, &plan, terms(&scene, "run-1", announcing(&scene, "a laptop"))).await;
    assert_eq!(again.unwrap().outcome, Outcome::Verified);
    assert_eq!(on_record(&scene), (1, 1));
    let told = Postmortem::from_entries(&journal.entries().unwrap(), scene.runbook().steps());
    assert!(
        !allclear::engine::report::to_markdown(&told, allclear::engine::report::Form::Full)
            .contains("nothing proves")
    );
}

#[tokio::test]
async fn d5_a_blip_of_the_record_is_waited_out() {
    for fails in [1, 2] {
        let scene = outage().await;
        let plan = scene.plan().await;
        let journal = MemoryJournal::new();
        let (away, _) = Away::on(&scene, fails);
        let ended = go(&scene, &journal, &plan, terms(&scene, "run-1", away)).await.unwrap();
        assert_eq!(ended.outcome, Outcome::Verified, "{}", ended.says);
        assert_eq!(on_record(&scene), (1, 1));
    }
}

#[tokio::test]
async fn d5_a_run_that_ended_while_the_platform_was_away_blocks_no_later_one_of_its_store() {
    let scene = outage().await;
    let plan = scene.plan().await;
    let journal = MemoryJournal::new();
    let (away, fails) = Away::on(&scene, 0);
    let waits = Terms { humans: Arc::new(Nobody), ..terms(&scene, "run-1", away.clone()) };
    assert_eq!(go(&scene, &journal, &plan, waits).await.unwrap().outcome, Outcome::WaitingForHuman);
    assert_eq!(on_record(&scene), (1, 0), "a run that can be resumed keeps its announcement");
    // It looks whether it is still its own, and from then on the platform is away.
    journal.abort("lea");
    fails.store(1_000, Ordering::SeqCst);
    let ended = go(&scene, &journal, &plan, terms(&scene, "run-1", away)).await.unwrap();
    assert_eq!(ended.outcome, Outcome::Rejected);
    let told = Postmortem::from_entries(&journal.entries().unwrap(), scene.runbook().steps());
    let told = allclear::engine::report::to_markdown(&told, allclear::engine::report::Form::Full);
    assert!(told.contains("The platform could not be told that the run has ended"), "{told}");

    let stranger = terms(&scene, "run-2", announcing(&scene, "another laptop"));
    let refused = go(&scene, &MemoryJournal::new(), &plan, stranger).await.unwrap();
    assert_eq!(refused.outcome, Outcome::Refused, "nobody there can know: {}", refused.says);

    let knows = |run: &str| {
        if run == "run-1" { Known::Ended("rejected".to_owned()) } else { Known::Elsewhere }
    };
    let next = terms(&scene, "run-3", announcing(&scene, "a laptop").knowing(knows));
    let next = go(&scene, &MemoryJournal::new(), &plan, next).await.unwrap();
    assert_eq!(next.outcome, Outcome::Verified, "{}", next.says);
    assert_eq!(on_record(&scene), (2, 2));
}

#[tokio::test]
async fn d5_a_run_that_was_taken_over_goes_on_no_more_and_can_be_ended() {
    let scene = outage().await;
    let plan = scene.plan().await;
    let journal = MemoryJournal::new();
    let first = terms(&scene, "run-1", announcing(&scene, "a laptop"));
    let waits = Terms { humans: Arc::new(Nobody), ..first.clone() };
    assert_eq!(go(&scene, &journal, &plan, waits).await.unwrap().outcome, Outcome::WaitingForHuman);
    let before = (journal.entries().unwrap().len(), acted(&scene));

    let gone = Ended::taken_over("taken over by ren on another laptop: that one burnt");
    let told = end(&*scene.platform.announcements, RUNBOOK, "run-1", &gone).await.unwrap();
    assert_eq!(told, Told::Yes);
    let back = go(&scene, &journal, &plan, first.clone()).await.unwrap_err().to_string();
    assert!(back.contains("taken over by ren on another laptop: that one burnt"), "{back}");
    assert!(back.contains("allclear abort run-1"), "{back}");
    let is_new = |entry: &Entry| !matches!(entry.event, Event::Resumed { .. } | Event::Owned { .. });
    assert!(!journal.entries().unwrap()[before.0..].iter().any(is_new), "it did nothing");
    assert_eq!(acted(&scene), before.1);

    journal.abort("kim");
    let ended = go(&scene, &journal, &plan, first).await.unwrap();
    assert_eq!(ended.outcome, Outcome::Rejected, "{}", ended.says);
    assert_eq!(on_record(&scene), (1, 1), "its end was on record already");
}

#[tokio::test]
async fn d5_a_run_that_acted_and_finds_another_is_left_as_it_was() {
    let scene = outage().await;
    let plan = scene.plan().await;
    // It could not be announced when it began, and another began meanwhile.
    let journal = MemoryJournal::new();
    let (away, _) = Away::on(&scene, 1_000);
    let waits = Terms { humans: Arc::new(Nobody), ..terms(&scene, "run-1", away) };
    assert_eq!(go(&scene, &journal, &plan, waits).await.unwrap().outcome, Outcome::WaitingForHuman);
    let [run, by, host, environment] = ["run-2", "ren", "another laptop", "sandbox"].map(str::to_owned);
    let other = Announcement { run, runbook: RUNBOOK.to_owned(), by, host, environment };
    assert_eq!(announce(&*scene.platform.announcements, &other, None).await.unwrap(), Owner::Ours(0));
    let held = go(&scene, &journal, &plan, terms(&scene, "run-1", announcing(&scene, "a laptop"))).await;
    let held = held.unwrap_err().to_string();
    assert!(held.contains("run run-2 of ") && held.contains("The run is as it was"), "{held}");
    let concluded = |entry: &Entry| matches!(entry.event, Event::Concluded { .. });
    assert!(!journal.entries().unwrap().iter().any(concluded));
}

#[tokio::test]
async fn d5_a_run_whose_plan_was_overtaken_by_another_run_is_refused() {
    let scene = outage().await;
    let seen = announcing(&scene, "a laptop").ended_before(RUNBOOK).await;
    assert_eq!(seen, Some(0));
    let plan = scene.plan().await;
    let first = terms(&scene, "run-1", announcing(&scene, "another laptop"));
    assert_eq!(go(&scene, &MemoryJournal::new(), &plan, first).await.unwrap().outcome, Outcome::Verified);
    let before = acted(&scene);
    let late = terms(&scene, "run-2", announcing(&scene, "a laptop").seen(seen));
    let late = go(&scene, &MemoryJournal::new(), &plan, late).await.unwrap();
    assert_eq!(late.outcome, Outcome::Refused, "{}", late.says);
    for words in
        ["run run-1 of ", "another laptop", "ended verified after this plan was made", "make a new plan"]
    {
        assert!(late.says.contains(words), "{words}: {}", late.says);
    }
    assert_eq!((acted(&scene), on_record(&scene)), (before, (1, 1)));
}

#[tokio::test]
async fn d5_a_run_that_changes_nothing_announces_nothing() {
    let scene = Scene::with(RUNBOOK, serde_json::Value::Null, small(Scenario::Healthy)).await;
    let plan = scene.plan().await;
    assert!(!plan.has_effects());
    let journal = MemoryJournal::new();
    let ended = go(&scene, &journal, &plan, terms(&scene, "run-1", announcing(&scene, "a laptop"))).await;
    assert_eq!(ended.unwrap().outcome, Outcome::Verified);
    assert_eq!(on_record(&scene), (0, 0));
    assert!(!journal.entries().unwrap().iter().any(is_about_owning));
}
