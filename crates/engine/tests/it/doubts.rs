//! Effects in doubt for a second time, effects that cannot be predicted for a while, and what a run says of both.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use allclear_core::{Clock as _, PortError, Service};
use allclear_engine::*;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::crash::open_question;
use crate::patience::doing;
use crate::toy::*;

const TELL: Step = Step { id: "TOY-E1", phase: Phase::Escalate, title: "Tell" };
const WAIT: Step = Step { id: "TOY-R1", phase: Phase::Resolve, title: "Wait" };

/// A switch that cannot be looked at for a while before it is flipped.
#[derive(Clone)]
pub(crate) struct Dark {
    flip: Flip,
    /// How many more predictions fail.
    pub(crate) unseen: Arc<AtomicUsize>,
}

impl Dark {
    pub(crate) fn new(world: &Shared, name: &str, unseen: usize) -> Self {
        Self { flip: Flip::new(world, name), unseen: Arc::new(AtomicUsize::new(unseen)) }
    }
}

#[async_trait]
impl Effect for Dark {
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
        let fails = self.unseen.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if fails.is_ok() {
            let (call, detail) = ("GET /switch".to_owned(), "520".to_owned());
            return Err(PortError::Unavailable { service: Service::Supabase, call, detail });
        }
        self.flip.predict(foreseen).await
    }
    fn foresee(&self, prediction: &Prediction) -> String {
        self.flip.foresee(prediction)
    }
    async fn apply(&self, intent: &Intent) -> Result<Applied<String>, PortError> {
        self.flip.apply(intent).await
    }
    async fn reconcile(&self, intent: &Intent) -> Result<Reconciled<String>, PortError> {
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
        self.flip.verify(intent, receipt, now).await
    }
}

fn moods(shared: &Shared, moods: &[Mood]) {
    shared.lock().unwrap().moods = moods.iter().rev().copied().collect();
}

fn answer(journal: &MemoryJournal, choice: &str) -> Question {
    let question = open_question(journal);
    journal.answer(&question.gate, Answer::to(&question, choice, "alex"));
    question
}

#[tokio::test]
async fn b5_a_second_doubt_about_one_effect_is_a_second_question_and_each_is_settled_by_its_own_answer() {
    let shared = world(&["a"]);
    moods(&shared, &[Mood::Vanishes, Mood::LosesAnswer, Mood::Works]);
    let runbook = FlipAll { repeat: Repeat::Neither, ..FlipAll::of(&shared) };
    let journal = MemoryJournal::new();
    let first = run_on(&journal, &runbook, clock(), terms()).await;
    assert_eq!(first.outcome, Outcome::InDoubt, "{}", first.says);
    assert!(shared.lock().unwrap().ledger.is_empty());
    let asked = answer(&journal, "did-not-happen");
    assert_eq!(asked.gate, "TOY-I1 a switch.flip");

    let second = run_on(&journal, &runbook, clock(), terms()).await;
    assert_eq!(second.outcome, Outcome::InDoubt, "{}", second.says);
    let again = answer(&journal, "happened");
    assert_eq!(again.gate, "TOY-I1 a switch.flip 0.2", "another question, with another name");
    assert_ne!(again.binding, asked.binding);
    let shown = again.shown.join("\n");
    assert!(shown.contains("it was about to be sent at 2026-11-23T09:00:00Z under key run-1-"), "{shown}");
    assert!(shown.contains("can neither be asked nor drop a repetition") && shown.contains("off"), "{shown}");

    let third = run_on(&journal, &runbook, clock(), terms()).await;
    assert_eq!(third.outcome, Outcome::Verified, "{}", third.says);
    assert_eq!(shared.lock().unwrap().ledger, ["a"]);
}

#[tokio::test]
async fn b7_what_is_harmless_twice_is_sent_twice_and_a_third_time_only_by_a_persons_word() {
    let shared = world(&["a"]);
    moods(&shared, &[Mood::LosesAnswer, Mood::LosesAnswer, Mood::LosesAnswer]);
    shared.lock().unwrap().on.insert("a".into(), false);
    let waits = Arc::clone(&shared);
    let runbook = doing(move |run: &mut Run| {
        let flip = Flip { repeat: Repeat::Harmless, ..Flip::new(&waits, "a") };
        Box::pin(async move { run.perform(&FLIP, Forgets(flip)).await })
    });
    let journal = MemoryJournal::new();
    let waiting = run_on(&journal, &runbook, clock(), terms()).await;
    assert_eq!(waiting.outcome, Outcome::InDoubt, "{}", waiting.says);
    assert_eq!(shared.lock().unwrap().ledger, ["a", "a"]);
    answer(&journal, "happened");
    let finished = run_on(&journal, &runbook, clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(shared.lock().unwrap().ledger.len(), 2);
}

/// A switch that is off again whenever somebody asks what a flip would change: a second flip is one.
#[derive(Clone)]
struct Forgets(Flip);

#[async_trait]
impl Effect for Forgets {
    type Receipt = String;
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn subject(&self) -> String {
        self.0.subject()
    }
    fn title(&self) -> String {
        self.0.title()
    }
    fn repeat(&self) -> Repeat {
        self.0.repeat
    }
    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let (kind, id, label) = ("switch".to_owned(), self.0.name.clone(), self.0.name.clone());
        let (field, before, after) = ("state".to_owned(), "off".to_owned(), "on".to_owned());
        Ok(Prediction::of(Change { kind, id, label, field, before, after }))
    }
    fn foresee(&self, prediction: &Prediction) -> String {
        self.0.foresee(prediction)
    }
    async fn apply(&self, intent: &Intent) -> Result<Applied<String>, PortError> {
        self.0.apply(intent).await
    }
    async fn reconcile(&self, intent: &Intent) -> Result<Reconciled<String>, PortError> {
        self.0.reconcile(intent).await
    }
    async fn verify(
        &self,
        intent: &Intent,
        receipt: &String,
        now: Timestamp,
    ) -> Result<Judgement, PortError> {
        self.0.verify(intent, receipt, now).await
    }
}

#[tokio::test]
async fn b5_a_doubt_that_nobody_can_settle_ends_the_run_and_sends_nothing_more() {
    let shared = world(&["a"]);
    moods(&shared, &[Mood::LosesAnswer, Mood::Works]);
    let runbook = FlipAll { repeat: Repeat::Neither, ..FlipAll::of(&shared) };
    let journal = MemoryJournal::new();
    run_on(&journal, &runbook, clock(), terms()).await;
    answer(&journal, "stop");
    let ended = run_on(&journal, &runbook, clock(), terms()).await;
    assert_eq!(ended.outcome, Outcome::Unverified, "{}", ended.says);
    assert!(ended.says.contains("whether it happened could not be told"), "{}", ended.says);
    assert_eq!(shared.lock().unwrap().ledger.len(), 1);
}

#[tokio::test]
async fn b5_a_doubt_in_a_later_round_of_a_wait_is_a_question_of_that_round() {
    let shared = world(&["a"]);
    moods(&shared, &[Mood::Busy, Mood::Busy, Mood::Vanishes]);
    let waits = Arc::clone(&shared);
    let runbook = doing(move |run: &mut Run| {
        let flip = Flip { repeat: Repeat::Neither, ..Flip::new(&waits, "a") };
        Box::pin(async move {
            let watch = Watch::every(Duration::from_secs(30), Duration::from_hours(1));
            run.until(&WAIT, watch, Achieving(flip)).await
        })
    });
    let journal = MemoryJournal::new();
    let waiting = run_on(&journal, &runbook, clock(), terms()).await;
    assert_eq!(waiting.outcome, Outcome::InDoubt, "{}", waiting.says);
    let asked = answer(&journal, "did-not-happen");
    assert!(asked.gate.ends_with("switch.flip 3.1"), "{}", asked.gate);
    let finished = run_on(&journal, &runbook, clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(shared.lock().unwrap().ledger, ["a"]);
}

#[tokio::test]
async fn b8_an_effect_that_cannot_be_predicted_for_a_while_is_predicted_later_in_a_run_and_in_a_plan() {
    let shared = world(&["a", "b"]);
    let (a, b) = (Dark::new(&shared, "a", 2), Dark::new(&shared, "b", 1));
    let (first, second) = (a.clone(), b.clone());
    let runbook = doing(move |run: &mut Run| {
        let (first, second) = (first.clone(), second.clone());
        Box::pin(async move {
            run.perform(&FLIP, first).await?;
            run.perform(&FLIP, second).await
        })
    });
    let waits = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&waits);
    let listener: run::Listener = Arc::new(move |entry: &Entry| {
        if matches!(entry.event, Event::Slept { .. }) {
            seen.lock().unwrap().push(entry.key.clone());
        }
    });
    let planned = plan(&runbook, Terms { listener: Some(listener), ..terms() }, clock()).await.unwrap();
    assert_eq!(planned.effects.len(), 2);
    let keys = ["TOY-I1 a/predict 1, wait 1", "TOY-I1 a/predict 2, wait 2", "TOY-I1 b/predict 3, wait 1"];
    assert_eq!(*waits.lock().unwrap(), keys, "each wait of a plan has a name of its own");
    assert!(shared.lock().unwrap().ledger.is_empty());

    a.unseen.store(2, Ordering::SeqCst);
    let journal = MemoryJournal::new();
    let clock = clock();
    let began = clock.now();
    let finished = run_on(&journal, &runbook, clock.clone(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let passed = clock.now().duration_since(began);
    assert!((SignedDuration::from_secs(6)..SignedDuration::from_secs(8)).contains(&passed), "{passed:?}");
    assert_eq!(shared.lock().unwrap().ledger, ["a", "b"]);
}

#[tokio::test]
async fn b8_a_plan_that_cannot_see_what_would_be_told_is_not_made() {
    let shared = world(&["bell", "a"]);
    let bell = Dark::new(&shared, "bell", 100);
    let (told, flipped) = (bell.clone(), Arc::clone(&shared));
    let runbook = doing(move |run: &mut Run| {
        let (bell, flip) = (told.clone(), Flip::new(&flipped, "a"));
        Box::pin(async move {
            let _ = run.tell(&TELL, bell).await?;
            run.perform(&FLIP, flip).await
        })
    });
    let refused = plan(&runbook, terms(), clock()).await.unwrap_err();
    assert!(matches!(&refused, Halt::Failed { .. }), "{refused}");
    // A run goes on without it, and does not end as proven.
    let finished = run_on(&MemoryJournal::new(), &runbook, clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert_eq!(shared.lock().unwrap().ledger, ["a"]);
}

#[tokio::test]
async fn a_run_knows_what_it_changed_and_what_it_found_so_already_is_not_of_it() {
    let shared = world(&["a", "b"]);
    shared.lock().unwrap().on.insert("a".into(), true);
    let (world, knows) = (Arc::clone(&shared), Arc::new(Mutex::new(Vec::new())));
    let told = Arc::clone(&knows);
    let runbook = doing(move |run: &mut Run| {
        let (a, b, told) = (Flip::new(&world, "a"), Flip::new(&world, "b"), Arc::clone(&told));
        Box::pin(async move {
            let a = run.attempt(&FLIP, a).await?;
            let b = run.attempt(&FLIP, b).await?;
            assert!(a.is_proven() && b.is_proven());
            told.lock().unwrap().extend(run.changed().to_vec());
            Ok("done".to_owned())
        })
    });
    let finished = run_on(&MemoryJournal::new(), &runbook, clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(*knows.lock().unwrap(), ["flip b"]);
}

#[tokio::test]
async fn what_was_not_seen_to_hold_is_not_proven() {
    let shared = world(&["a"]);
    moods(&shared, &[Mood::Lies]);
    let world = Arc::clone(&shared);
    let runbook = doing(move |run: &mut Run| {
        let flip = Flip::new(&world, "a");
        Box::pin(async move {
            let settled = run.attempt(&FLIP, flip).await?;
            assert!(!settled.is_proven());
            Ok("done".to_owned())
        })
    });
    let finished = run_on(&MemoryJournal::new(), &runbook, clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
}
