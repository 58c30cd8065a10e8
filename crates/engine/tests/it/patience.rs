//! Waiting between attempts, always; and what a process gives up on, the next one goes on with.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use allclear_core::{Clock, PortError, Service};
use allclear_engine::journal::Waiting;
use allclear_engine::*;
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use crate::toy::*;

const LOOK: Step = Step { id: "TOY-D1", phase: Phase::Detect, title: "Look" };
const TELL: Step = Step { id: "TOY-E1", phase: Phase::Escalate, title: "Tell" };
const WAIT: Step = Step { id: "TOY-R1", phase: Phase::Resolve, title: "Wait" };

/// The times at which an effect was intended.
fn intents(journal: &MemoryJournal) -> Vec<Timestamp> {
    let entries = journal.entries().unwrap();
    entries.iter().filter(|e| matches!(e.event, Event::Intended { .. })).map(|e| e.at).collect()
}

fn gaps(times: &[Timestamp]) -> Vec<SignedDuration> {
    times.windows(2).map(|pair| pair[1].duration_since(pair[0])).collect()
}

fn moods(shared: &Shared, moods: Vec<Mood>) {
    shared.lock().unwrap().moods = moods;
}

#[tokio::test]
async fn b1_every_repeated_attempt_waits_also_after_it_did_not_happen() {
    for (mood, repeat) in
        [(Mood::Vanishes, Repeat::Readable), (Mood::Vanishes, Repeat::Keyed), (Mood::Busy, Repeat::Readable)]
    {
        let shared = world(&["a"]);
        moods(&shared, vec![mood; 9]);
        let journal = MemoryJournal::new();
        let runbook = FlipAll { repeat, ..FlipAll::of(&shared) };
        let finished = run_on(&journal, &runbook, clock(), terms()).await;
        assert_eq!(finished.outcome, Outcome::Verified, "{mood:?}: {}", finished.says);
        let gaps = gaps(&intents(&journal));
        assert_eq!(gaps.len(), 9);
        assert!(gaps.iter().all(|gap| *gap >= SignedDuration::from_secs(2)), "{mood:?} {repeat:?}: {gaps:?}");
        assert!(gaps.last().unwrap() >= &SignedDuration::from_secs(60), "the waits grow: {gaps:?}");
    }
}

#[tokio::test]
async fn b1_a_service_that_is_away_for_ten_minutes_is_ridden_out() {
    let shared = world(&["a"]);
    moods(&shared, vec![Mood::Busy; 11]);
    let journal = MemoryJournal::new();
    let finished = run_on(&journal, &FlipAll::of(&shared), clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let times = intents(&journal);
    let took = times.last().unwrap().duration_since(times[0]);
    assert!(took >= SignedDuration::from_mins(10) && took < SignedDuration::from_mins(20), "{took:?}");
}

#[tokio::test]
async fn b1_a_service_that_is_away_for_hours_interrupts_and_each_resume_has_fresh_patience() {
    for (mood, repeat) in
        [(Mood::Busy, Repeat::Readable), (Mood::Vanishes, Repeat::Readable), (Mood::Vanishes, Repeat::Keyed)]
    {
        let shared = world(&["a", "b"]);
        moods(&shared, vec![mood; 1_000]);
        let journal = MemoryJournal::new();
        let runbook = FlipAll { repeat, ..FlipAll::of(&shared) };
        let tries = RetryPolicy::default().tries as usize;
        for process in 1..=3 {
            let later = clock();
            later.advance(Duration::from_hours(process as u64));
            let finished = run_on(&journal, &runbook, later, terms()).await;
            assert_eq!(finished.outcome, Outcome::Interrupted, "{}", finished.says);
            assert!(!finished.outcome.is_final());
            assert!(finished.says.contains("tried 13 times"), "{}", finished.says);
            assert_eq!(shared.lock().unwrap().moods.len(), 1_000 - process * tries, "{mood:?} {process}");
        }
        moods(&shared, vec![]);
        let later = clock();
        later.advance(Duration::from_hours(9));
        let finished = run_on(&journal, &runbook, later, terms()).await;
        assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
        assert_eq!(shared.lock().unwrap().ledger, ["a", "b"]);
    }
}

#[tokio::test]
async fn b1_what_a_person_must_change_interrupts_and_is_tried_once_by_each_resume() {
    let shared = world(&["a"]);
    moods(&shared, vec![Mood::Works, Mood::Refuses, Mood::Refuses]);
    let journal = MemoryJournal::new();
    for _ in 0..2 {
        let finished = run_on(&journal, &FlipAll::of(&shared), clock(), terms()).await;
        assert_eq!(finished.outcome, Outcome::Interrupted, "{}", finished.says);
    }
    let finished = run_on(&journal, &FlipAll::of(&shared), clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(shared.lock().unwrap().ledger, ["a"]);
}

#[tokio::test]
async fn an_interrupted_run_says_so_in_its_journal_and_a_cut_anywhere_goes_on() {
    let shared = world(&["a", "b"]);
    moods(&shared, vec![Mood::Busy; 13]);
    let journal = MemoryJournal::new();
    run_on(&journal, &FlipAll::of(&shared), clock(), terms()).await;
    let entries = journal.entries().unwrap();
    let last = &entries.last().unwrap().event;
    assert!(
        matches!(last, Event::Detached { outcome: Some(Outcome::Interrupted), why } if why.contains("toy")),
        "{last:?}"
    );
    run_on(&journal, &FlipAll::of(&shared), clock(), terms()).await;
    let links = journal.entries().unwrap().len();
    for cut in 0..links {
        let shared = world(&["a", "b"]);
        moods(&shared, vec![Mood::Busy; 13]);
        let again = MemoryJournal::new();
        run_on(&again, &FlipAll::of(&shared), clock(), terms()).await;
        run_on(&again, &FlipAll::of(&shared), clock(), terms()).await;
        again.cut(cut);
        let finished = run_on(&again, &FlipAll::of(&shared), clock(), terms()).await;
        assert_eq!(finished.outcome, Outcome::Verified, "cut after {cut}: {}", finished.says);
        assert_eq!(shared.lock().unwrap().ledger, ["a", "b"], "cut after {cut}");
    }
}

/// A switch whose reads fail for a while.
#[derive(Clone)]
struct Hidden {
    flip: Flip,
    /// How many more reads fail.
    unreadable: Arc<AtomicUsize>,
    /// Whether looking what became of it fails as well.
    also_reconciling: bool,
    /// Whether they are answered, with something that says nothing.
    with_another_shape: bool,
}

impl Hidden {
    fn read(&self) -> Result<(), PortError> {
        let fails =
            self.unreadable.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        let (service, call) = (Service::Supabase, "GET /switch".to_owned());
        match fails {
            Ok(_) if self.with_another_shape => {
                Err(PortError::Malformed { service, call, detail: "it is no list".to_owned() })
            }
            Ok(_) => Err(PortError::Unavailable { service, call, detail: "520".to_owned() }),
            Err(_) => Ok(()),
        }
    }
}

#[async_trait]
impl Effect for Hidden {
    type Receipt = String;
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        self.flip.name()
    }
    fn subject(&self) -> String {
        self.flip.subject()
    }
    fn title(&self) -> String {
        self.flip.title()
    }
    fn repeat(&self) -> Repeat {
        self.flip.repeat
    }
    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        self.flip.predict(foreseen).await
    }
    fn foresee(&self, prediction: &Prediction) -> String {
        self.flip.foresee(prediction)
    }
    async fn apply(&self, intent: &Intent) -> Result<Applied<String>, PortError> {
        self.flip.apply(intent).await
    }
    async fn reconcile(&self, intent: &Intent) -> Result<Reconciled<String>, PortError> {
        if self.also_reconciling {
            self.read()?;
        }
        self.flip.reconcile(intent).await
    }
    fn patience(&self) -> Patience {
        self.flip.patience()
    }
    async fn verify(
        &self,
        intent: &Intent,
        receipt: &String,
        now: Timestamp,
    ) -> Result<Judgement, PortError> {
        self.read()?;
        self.flip.verify(intent, receipt, now).await
    }
}

/// A procedure made of a closure.
pub(crate) struct Doing<F>(F);

#[async_trait]
impl<F> Runbook for Doing<F>
where
    F: for<'r> Fn(&'r mut Run) -> BoxFuture<'r, Result<String, Halt>> + Send + Sync,
{
    fn id(&self) -> &'static str {
        "doing"
    }
    fn title(&self) -> &'static str {
        "Doing"
    }
    fn version(&self) -> u32 {
        1
    }
    fn steps(&self) -> &'static [Step] {
        &[LOOK, FLIP, TELL, WAIT]
    }
    fn rehearsal(&self) -> Option<allclear_core::Rehearsal> {
        Some(sandbox())
    }
    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        let says = (self.0)(run).await?;
        let proof = run.proof(&FLIP).or_else(|_| run.proof(&WAIT))?;
        run.resolve(says, proof)
    }
}

/// Tells the compiler what kind of closure it is.
pub(crate) fn doing<F>(does: F) -> Doing<F>
where
    F: for<'r> Fn(&'r mut Run) -> BoxFuture<'r, Result<String, Halt>> + Send + Sync,
{
    Doing(does)
}

fn flip_hidden(hidden: &Hidden) -> impl Runbook + use<> {
    let hidden = hidden.clone();
    doing(move |run: &mut Run| {
        let hidden = hidden.clone();
        Box::pin(async move { run.perform(&FLIP, hidden).await })
    })
}

#[tokio::test]
async fn b3_what_cannot_be_read_back_for_a_while_interrupts_and_is_read_back_by_the_next_process() {
    for also_reconciling in [false, true] {
        let shared = world(&["a"]);
        if also_reconciling {
            moods(&shared, vec![Mood::LosesAnswer]);
        }
        let unreadable = Arc::new(AtomicUsize::new(14));
        let hidden =
            Hidden { flip: Flip::new(&shared, "a"), unreadable, also_reconciling, with_another_shape: false };
        let journal = MemoryJournal::new();
        let finished = run_on(&journal, &flip_hidden(&hidden), clock(), terms()).await;
        assert_eq!(finished.outcome, Outcome::Interrupted, "{}", finished.says);
        let later = clock();
        later.advance(Duration::from_hours(5));
        let finished = run_on(&journal, &flip_hidden(&hidden), later, terms()).await;
        assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
        assert_eq!(shared.lock().unwrap().ledger, ["a"]);
    }
}

#[tokio::test]
async fn b3_an_answer_that_says_nothing_is_asked_for_again_and_not_for_ever() {
    for (mood, also_reconciling) in [(Mood::Works, false), (Mood::LosesAnswer, true)] {
        for (unreadable, outcome) in [(2, Outcome::Verified), (1_000, Outcome::Interrupted)] {
            let shared = world(&["a"]);
            moods(&shared, vec![mood]);
            let left = Arc::new(AtomicUsize::new(unreadable));
            let hidden = Hidden {
                flip: Flip::new(&shared, "a"),
                unreadable: Arc::clone(&left),
                also_reconciling,
                with_another_shape: true,
            };
            let finished = run_on(&MemoryJournal::new(), &flip_hidden(&hidden), clock(), terms()).await;
            assert_eq!(finished.outcome, outcome, "{mood:?} {unreadable}: {}", finished.says);
            assert_eq!(unreadable - left.load(Ordering::SeqCst), unreadable.min(3), "{mood:?}");
            assert_eq!(shared.lock().unwrap().ledger, ["a"]);
        }
    }
}

#[tokio::test]
async fn b3_time_in_which_nothing_could_be_read_takes_no_patience_from_what_is_not_seen_yet() {
    // It is off for one more look after the reads work again.
    let shared = world(&["a"]);
    moods(&shared, vec![Mood::Lies]);
    let hidden = Hidden {
        flip: Flip::new(&shared, "a"),
        unreadable: Arc::new(AtomicUsize::new(6)),
        also_reconciling: false,
        with_another_shape: false,
    };
    let journal = MemoryJournal::new();
    let finished = run_on(&journal, &flip_hidden(&hidden), clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Refuted, "{}", finished.says);
    let judged = journal.entries().unwrap();
    let judged = judged.iter().filter(|entry| matches!(entry.event, Event::Judged { .. })).count();
    assert!(judged > 1, "it was looked at once and condemned");
}

/// What a procedure does that goes on where something fails for good: first one switch, then another.
fn going_on(shared: &Shared) -> impl Runbook + use<> {
    let shared = Arc::clone(shared);
    doing(move |run: &mut Run| {
        let shared = Arc::clone(&shared);
        Box::pin(async move {
            let mut failed = 0;
            for name in ["a", "b"] {
                match run.attempt(&FLIP, Flip::new(&shared, name)).await {
                    Err(Halt::Failed { .. }) => failed += 1,
                    other => drop(other?),
                }
            }
            run.note(&FLIP, Note::OpenQuestion { says: format!("{failed} failed") }).await?;
            Ok(format!("{failed} failed"))
        })
    })
}

#[tokio::test]
async fn a_procedure_that_went_on_without_something_goes_the_same_way_in_every_replay() {
    let troubled = |mood| {
        let shared = world(&["a", "b"]);
        moods(&shared, [vec![Mood::Works], vec![mood; if mood == Mood::Refuses { 1 } else { 13 }]].concat());
        shared
    };
    for mood in [Mood::Refuses, Mood::Busy, Mood::Vanishes] {
        let journal = MemoryJournal::new();
        let finished = run_on(&journal, &going_on(&troubled(mood)), clock(), terms()).await;
        assert_eq!(finished.outcome, Outcome::Unverified, "{mood:?}: {}", finished.says);
        let whole = journal.entries().unwrap();
        for cut in 0..whole.len() {
            let shared = troubled(mood);
            let journal = MemoryJournal::new();
            run_on(&journal, &going_on(&shared), clock(), terms()).await;
            journal.cut(cut);
            let finished = run_on(&journal, &going_on(&shared), clock(), terms()).await;
            let ends = [Outcome::Verified, Outcome::Unverified];
            assert!(ends.contains(&finished.outcome), "{mood:?} cut after {cut}: {}", finished.says);
        }
    }
}

fn telling(shared: &Shared, repeat: Repeat, verdicts: &Arc<Mutex<Vec<Verdict>>>) -> impl Runbook + use<> {
    let (shared, verdicts) = (Arc::clone(shared), Arc::clone(verdicts));
    doing(move |run: &mut Run| {
        let (shared, verdicts) = (Arc::clone(&shared), Arc::clone(&verdicts));
        Box::pin(async move {
            let told = run.tell(&TELL, Flip { repeat, ..Flip::new(&shared, "bell") }).await?;
            verdicts.lock().unwrap().push(told.verdict().clone());
            run.perform(&FLIP, Flip::new(&shared, "a")).await
        })
    })
}

#[tokio::test]
async fn b7_telling_holds_nothing_up_whatever_becomes_of_it_and_says_what_became_of_it() {
    let readable = Repeat::Readable;
    let cases = [
        (Mood::Works, readable, true, 1),
        (Mood::LosesAnswer, readable, true, 1),
        (Mood::LosesAnswer, Repeat::Neither, false, 1),
        (Mood::Vanishes, Repeat::Neither, false, 0),
        (Mood::Vanishes, Repeat::Harmless, false, 0),
        // It is on when it is looked at again, so not even a second is sent.
        (Mood::LosesAnswer, Repeat::Harmless, true, 1),
        (Mood::Vanishes, readable, false, 0),
        (Mood::Busy, readable, false, 0),
        (Mood::Refuses, readable, false, 0),
        (Mood::Lies, readable, false, 0),
    ];
    for (mood, repeat, proven, rung) in cases {
        let troubled = || {
            let shared = world(&["bell", "a"]);
            let tries = match (mood, repeat) {
                (Mood::Busy | Mood::Vanishes, Repeat::Readable) => 3,
                // A second, and no third.
                (Mood::Vanishes, Repeat::Harmless) => 2,
                _ => 1,
            };
            moods(&shared, [vec![Mood::Works], vec![mood; tries]].concat());
            shared
        };
        let (shared, verdicts) = (troubled(), Arc::default());
        let journal = MemoryJournal::new();
        let clock_here = clock();
        let began = clock_here.now();
        let finished =
            run_on(&journal, &telling(&shared, repeat, &verdicts), clock_here.clone(), terms()).await;
        assert_eq!(
            shared.lock().unwrap().ledger.iter().filter(|name| *name == "bell").count(),
            rung,
            "{mood:?} {repeat:?}"
        );
        assert!(shared.lock().unwrap().on["a"], "{mood:?}: {}", finished.says);
        assert_eq!(verdicts.lock().unwrap()[0].is_verified(), proven, "{mood:?} {repeat:?}");
        assert!(clock_here.now().duration_since(began) < SignedDuration::from_mins(2), "{mood:?} held it up");
        let whole = journal.entries().unwrap();
        assert!(!whole.iter().any(|entry| matches!(entry.event, Event::Asked { .. })), "nobody is asked");
        for cut in 0..whole.len() {
            let (shared, verdicts) = (troubled(), Arc::default());
            let journal = MemoryJournal::new();
            run_on(&journal, &telling(&shared, repeat, &verdicts), clock(), terms()).await;
            journal.cut(cut);
            run_on(&journal, &telling(&shared, repeat, &verdicts), clock(), terms()).await;
            let world = shared.lock().unwrap();
            assert!(world.on["a"], "{mood:?} cut after {cut}");
            let rung = world.ledger.iter().filter(|name| *name == "bell").count();
            assert!(rung <= 1, "{mood:?} cut after {cut}: {:?}", world.ledger);
        }
    }
}

/// Sees whether a switch is on, when it can.
struct Watched(Hidden);

#[async_trait]
impl Probe for Watched {
    type Value = bool;

    fn subject(&self) -> String {
        self.0.flip.name.clone()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<bool>, PortError> {
        self.0.read()?;
        let value = self.0.flip.world.lock().unwrap().on[&self.0.flip.name];
        Ok(Observation { value, says: format!("it is {value}"), evidence: Vec::new() })
    }
}

fn looking(hidden: &Hidden) -> impl Runbook + use<> {
    let hidden = hidden.clone();
    doing(move |run: &mut Run| {
        let hidden = hidden.clone();
        Box::pin(async move {
            run.probe(&LOOK, Watched(hidden.clone())).await?;
            run.perform(&FLIP, hidden.flip).await
        })
    })
}

#[tokio::test]
async fn b8_a_failed_read_in_planning_is_tried_again_and_told_while_a_person_waits() {
    for (fails, made) in [(1, true), (4, true), (5, false)] {
        let shared = world(&["a"]);
        let hidden = Hidden {
            flip: Flip::new(&shared, "a"),
            unreadable: Arc::new(AtomicUsize::new(fails)),
            also_reconciling: false,
            with_another_shape: false,
        };
        let told = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&told);
        let listener: run::Listener = Arc::new(move |entry: &Entry| {
            let waits = matches!(entry.event, Event::Slept { waiting: Waiting::ToRetry, .. });
            counts.fetch_add(usize::from(waits), Ordering::SeqCst);
        });
        let clock = clock();
        let began = clock.now();
        let planned =
            plan(&looking(&hidden), Terms { listener: Some(listener), ..terms() }, clock.clone()).await;
        assert_eq!(planned.is_ok(), made, "{fails}: {planned:?}");
        assert_eq!(told.load(Ordering::SeqCst), fails.min(4));
        assert!(clock.now().duration_since(began) <= SignedDuration::from_mins(1));
    }
}

fn watching(hidden: &Hidden) -> impl Runbook + use<> {
    let hidden = hidden.clone();
    doing(move |run: &mut Run| {
        let hidden = hidden.clone();
        Box::pin(async move {
            let watch = Watch::every(Duration::from_secs(30), Duration::from_mins(10));
            let probe = Watched(hidden);
            let satisfied: fn(&bool) -> Result<(), String> =
                |on| if *on { Ok(()) } else { Err("it is off".to_owned()) };
            run.until(&WAIT, watch, Observing { probe, satisfied }).await?;
            Ok("it is on".to_owned())
        })
    })
}

#[tokio::test]
async fn b1_a_watch_rides_out_what_fails_for_longer_than_one_call_would_and_gives_up_on_what_it_saw() {
    let shared = world(&["a"]);
    shared.lock().unwrap().on.insert("a".to_owned(), true);
    let unreadable = Arc::new(AtomicUsize::new(12));
    let hidden = Hidden {
        flip: Flip::new(&shared, "a"),
        unreadable,
        also_reconciling: false,
        with_another_shape: false,
    };
    let finished = run_on(&MemoryJournal::new(), &watching(&hidden), clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);

    // Nothing could be seen: that is another thing than that it did not come about.
    hidden.unreadable.store(10_000, Ordering::SeqCst);
    let journal = MemoryJournal::new();
    let finished = run_on(&journal, &watching(&hidden), clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Interrupted);
    assert!(finished.says.contains("520"), "{}", finished.says);
    let looks = 10_000 - hidden.unreadable.load(Ordering::SeqCst);
    assert!(looks <= 30, "{looks} looks at a service that is away");
    hidden.unreadable.store(0, Ordering::SeqCst);
    let finished = run_on(&journal, &watching(&hidden), clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
}

#[tokio::test]
async fn b3_a_watch_that_gave_up_waits_on_with_fresh_patience_when_it_is_taken_up_again() {
    let shared = world(&["a"]);
    let hidden = Hidden {
        flip: Flip::new(&shared, "a"),
        unreadable: Arc::default(),
        also_reconciling: false,
        with_another_shape: false,
    };
    let journal = MemoryJournal::new();
    for hours in [0, 7, 30] {
        let before = journal.entries().unwrap().len();
        let later = clock();
        later.advance(Duration::from_hours(hours));
        let finished = run_on(&journal, &watching(&hidden), later, terms()).await;
        assert_eq!(finished.outcome, Outcome::Interrupted, "{}", finished.says);
        assert!(finished.says.contains("gave up after 10 min: it is off"), "{}", finished.says);
        let entries = journal.entries().unwrap();
        let looks = entries[before..].iter().filter(|e| matches!(e.event, Event::Observed { .. })).count();
        assert!((20..=22).contains(&looks), "after {hours} h: {looks} looks");
    }
    shared.lock().unwrap().on.insert("a".to_owned(), true);
    let later = clock();
    later.advance(Duration::from_hours(90));
    let finished = run_on(&journal, &watching(&hidden), later, terms()).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
}

/// A machine whose wall clock is set during its `at`th wait, while its monotonic time goes on.
#[derive(Debug)]
struct SetClock {
    start: Timestamp,
    passed_ms: AtomicI64,
    set_ms: AtomicI64,
    waits: AtomicUsize,
    at: usize,
    by: SignedDuration,
}

impl SetClock {
    fn passed(&self) -> SignedDuration {
        SignedDuration::from_millis(self.passed_ms.load(Ordering::SeqCst))
    }
}

#[async_trait]
impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        self.start + self.passed() + SignedDuration::from_millis(self.set_ms.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        self.passed().unsigned_abs() + Duration::from_hours(1)
    }

    async fn sleep_until(&self, at: Timestamp) {
        let left = at.duration_since(self.now());
        if left <= SignedDuration::ZERO {
            return;
        }
        let left = i64::try_from(left.as_millis()).unwrap();
        if self.waits.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
            self.set_ms.fetch_add(i64::try_from(self.by.as_millis()).unwrap(), Ordering::SeqCst);
            // Set forward it wakes at once; set back, when as much time has passed as was missing.
            self.passed_ms
                .fetch_add(if self.by.is_negative() { left } else { 1_000.min(left) }, Ordering::SeqCst);
        } else {
            self.passed_ms.fetch_add(left, Ordering::SeqCst);
        }
    }
}

#[tokio::test]
async fn d9_a_clock_that_is_set_makes_one_look_and_no_burst_and_takes_no_patience() {
    let years = SignedDuration::from_hours(24 * 3_652);
    for by in
        [years, SignedDuration::from_hours(1), -SignedDuration::from_hours(1), -SignedDuration::from_mins(3)]
    {
        for at in 1..=20 {
            let shared = world(&["a"]);
            let hidden = Hidden {
                flip: Flip::new(&shared, "a"),
                unreadable: Arc::default(),
                also_reconciling: false,
                with_another_shape: false,
            };
            let clock = Arc::new(SetClock {
                start: "2026-11-23T09:00:00Z".parse().unwrap(),
                passed_ms: AtomicI64::new(0),
                set_ms: AtomicI64::new(0),
                waits: AtomicUsize::new(0),
                at,
                by,
            });
            let journal = MemoryJournal::new();
            let finished = run_on(&journal, &watching(&hidden), clock.clone(), terms()).await;
            let entries = journal.entries().unwrap();
            let looks: Vec<i64> = entries
                .iter()
                .filter(|entry| matches!(entry.event, Event::Observed { .. }))
                .map(|entry| i64::try_from(entry.mono_us / 1_000_000).unwrap())
                .collect();
            let gaps: Vec<i64> = looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let early = gaps.iter().filter(|gap| **gap < 30).count();
            assert!(early <= 1, "set by {by:?} in wait {at}: a burst: {gaps:?}");
            assert!(gaps.iter().all(|gap| *gap <= 31), "set by {by:?} in wait {at}: skipped: {gaps:?}");
            let patience = clock.passed().as_secs();
            assert!(
                (570..=632).contains(&patience),
                "set by {by:?} in wait {at}: {patience} s, {}",
                finished.says
            );
        }
    }
}
