//! Waiting for the world, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::Rehearsal;
use allclear_core::{PortError, Service};
use allclear_engine::*;
use async_trait::async_trait;
use jiff::Timestamp;

use crate::toy::*;

const WAIT: Step = Step { id: "TOY-R1", phase: Phase::Resolve, title: "Wait for the lamp" };

/// Flips the alarm.
struct Alarm {
    world: Shared,
}

#[async_trait]
impl Escalation for Alarm {
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        run.perform(&FLIP, Flip::new(&self.world, "alarm")).await.map(drop)
    }
}

/// Waits until a switch can be flipped; flips another as the escalation.
struct WaitForLamp {
    world: Shared,
}

#[async_trait]
impl Runbook for WaitForLamp {
    fn id(&self) -> &'static str {
        "wait"
    }
    fn title(&self) -> &'static str {
        "Wait"
    }
    fn version(&self) -> u32 {
        1
    }
    fn steps(&self) -> &'static [Step] {
        &[FLIP, WAIT]
    }
    fn rehearsal(&self) -> Option<Rehearsal> {
        Some(sandbox())
    }
    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        let deadline = run.now() + Duration::from_mins(15);
        let alarm = Arc::new(Alarm { world: Arc::clone(&self.world) });
        let deadline = run.deadline(&WAIT, deadline, "it lasts more than 15 minutes", alarm).await?;
        let watch = Watch::every(Duration::from_secs(30), Duration::from_hours(4));
        run.until(&WAIT, watch, Achieving(Flip::new(&self.world, "lamp"))).await?;
        run.disarm(deadline);
        run.resolve("the lamp is on", run.proof(&WAIT)?)
    }
}

fn busy_for(rounds: usize) -> Shared {
    let shared = world(&["lamp", "alarm"]);
    let mut moods = vec![Mood::Busy; rounds];
    if rounds > 31 {
        // The alarm is flipped at the deadline, after the looks at 0, 30, ... 900 s.
        moods.insert(rounds - 31, Mood::Works);
    }
    shared.lock().unwrap().moods = moods;
    shared
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[tokio::test]
async fn what_comes_about_in_time_escalates_nothing() {
    let shared = busy_for(5);
    let clock = clock();
    let finished =
        run_on(&MemoryJournal::new(), &WaitForLamp { world: shared.clone() }, clock, terms()).await;
    assert_eq!(finished.outcome, Outcome::Verified);
    assert_eq!(shared.lock().unwrap().ledger, ["lamp"]);
}

#[tokio::test]
async fn the_escalation_fires_once_at_the_deadline_and_a_crash_does_not_repeat_it() {
    let shared = busy_for(40);
    let journal = MemoryJournal::new();
    let finished = run_on(&journal, &WaitForLamp { world: shared.clone() }, clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Verified);
    assert_eq!(shared.lock().unwrap().ledger, ["alarm", "lamp"]);
    let entries = journal.entries().unwrap();
    let passed: Vec<_> = entries.iter().filter(|e| matches!(e.event, Event::DeadlinePassed { .. })).collect();
    assert_eq!(passed.len(), 1);
    assert_eq!(passed[0].at, at("2026-11-23T09:15:00Z"));

    let length = entries.len();
    for cut in (0..length).step_by(7) {
        let again = MemoryJournal::new();
        let shared = busy_for(40);
        run_on(&again, &WaitForLamp { world: shared.clone() }, clock(), terms()).await;
        again.cut(cut);
        let later = clock();
        later.advance(Duration::from_hours(1));
        let finished = run_on(&again, &WaitForLamp { world: shared.clone() }, later, terms()).await;
        assert_eq!(finished.outcome, Outcome::Verified);
        let ledger = shared.lock().unwrap().ledger.clone();
        assert_eq!(ledger.len(), 2, "cut after {cut}: {ledger:?}");
    }
}

#[tokio::test]
async fn what_never_comes_about_interrupts_the_run() {
    let shared = busy_for(2_000);
    let finished = run_on(&MemoryJournal::new(), &WaitForLamp { world: shared }, clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Interrupted);
    assert!(finished.says.contains("gave up after 240 min"), "{}", finished.says);
}

#[tokio::test]
async fn a_plan_names_the_escalation_with_its_condition() {
    let shared = world(&["lamp", "alarm"]);
    let plan = plan(&WaitForLamp { world: Arc::clone(&shared) }, terms(), clock()).await.unwrap();
    let named: Vec<_> = plan.effects.iter().map(|e| (e.subject.as_str(), e.condition.as_deref())).collect();
    assert_eq!(named, [("alarm", Some("it lasts more than 15 minutes")), ("lamp", None)]);
}

/// Rings a bell that nobody may listen to: each ring is one more, and reading back is forbidden.
struct RingUnheard(Flip);

#[async_trait]
impl Effect for RingUnheard {
    type Receipt = String;
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "bell.ring"
    }

    fn subject(&self) -> String {
        self.0.subject()
    }

    fn title(&self) -> String {
        "ring the bell".to_owned()
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        Ok(Prediction::of(Change::new("bell", "bell", "rung", "no", "yes")))
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

    fn patience(&self) -> Patience {
        self.0.patience()
    }

    async fn verify(
        &self,
        _intent: &Intent,
        _receipt: &String,
        _now: Timestamp,
    ) -> Result<Judgement, PortError> {
        let (call, detail) = ("GET /bell".to_owned(), "no".to_owned());
        let reason = allclear_core::error::StopReason::Permission;
        Err(PortError::Stopped { service: Service::Sandbox, call, reason, detail })
    }
}

struct WaitForBell(Shared);

#[async_trait]
impl Runbook for WaitForBell {
    fn id(&self) -> &'static str {
        "bell"
    }
    fn title(&self) -> &'static str {
        "Bell"
    }
    fn version(&self) -> u32 {
        1
    }
    fn steps(&self) -> &'static [Step] {
        &[WAIT]
    }
    fn rehearsal(&self) -> Option<Rehearsal> {
        Some(sandbox())
    }
    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        let watch = Watch::every(Duration::from_secs(30), Duration::from_hours(4));
        run.until(&WAIT, watch, Achieving(RingUnheard(Flip::new(&self.0, "bell")))).await?;
        run.resolve("the bell rings", run.proof(&WAIT)?)
    }
}

#[tokio::test]
async fn what_was_done_and_cannot_be_read_back_is_not_done_again() {
    let shared = world(&["bell"]);
    let finished = run_on(&MemoryJournal::new(), &WaitForBell(shared.clone()), clock(), terms()).await;
    assert_eq!(shared.lock().unwrap().ledger, ["bell"], "{}", finished.says);
    assert_eq!(finished.outcome, Outcome::Interrupted);
    assert!(finished.says.contains("GET /bell"), "{}", finished.says);
}
