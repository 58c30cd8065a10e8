//! Deadlines pass in any wait of a run, in virtual time.

use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use allclear_core::{Clock, Rehearsal, VirtualClock};
use allclear_engine::*;
use async_trait::async_trait;
use jiff::Timestamp;

use crate::toy::*;

const WATCH: Step = Step { id: "TOY-E1", phase: Phase::Escalate, title: "Sound the alarm after a while" };
const ASK: Step = Step { id: "TOY-I2", phase: Phase::Immediate, title: "Ask" };

/// Flips the alarm.
struct Alarm(Shared);

#[async_trait]
impl Escalation for Alarm {
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        run.perform(&WATCH, Flip::new(&self.0, "alarm")).await.map(drop)
    }
}

/// Where a run waits while its deadline passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Gate,
    ForTheWorld,
    ToRetry,
    Nowhere,
}

/// Sets a deadline of 15 minutes, and then waits somewhere.
struct Waits {
    world: Shared,
    at: Place,
    disarmed: bool,
}

impl Waits {
    fn at(world: &Shared, at: Place) -> Self {
        Self { world: Arc::clone(world), at, disarmed: false }
    }
}

#[async_trait]
impl Runbook for Waits {
    fn id(&self) -> &'static str {
        "waits"
    }
    fn title(&self) -> &'static str {
        "Waits"
    }
    fn version(&self) -> u32 {
        1
    }
    fn steps(&self) -> &'static [Step] {
        &[WATCH, ASK, FLIP]
    }
    fn rehearsal(&self) -> Option<Rehearsal> {
        Some(sandbox())
    }
    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        let at = run.now() + Duration::from_mins(15);
        let alarm = Arc::new(Alarm(Arc::clone(&self.world)));
        let deadline = run.deadline(&WATCH, at, "it lasts more than 15 minutes", alarm).await?;
        if self.disarmed {
            run.disarm(deadline);
        }
        match self.at {
            Place::Gate => run.approve(&ASK, Gate::new("Go on?", Approval::Approve)).await?,
            Place::ForTheWorld => {
                let until = run.now() + Duration::from_hours(1);
                run.wait_until(&ASK, until, "an hour").await?;
            }
            Place::ToRetry | Place::Nowhere => {}
        }
        run.perform(&FLIP, Flip::new(&self.world, "lamp")).await?;
        run.resolve("the lamp is on", run.proof(&FLIP)?)
    }
}

fn lamps() -> Shared {
    world(&["lamp", "alarm"])
}

fn ledger(world: &Shared) -> Vec<String> {
    world.lock().unwrap().ledger.clone()
}

/// Somebody who says yes when asked at a certain time; the clock is the run's.
struct AnswersAt {
    clock: Arc<VirtualClock>,
    at: Timestamp,
    asked: Mutex<u32>,
}

#[async_trait]
impl Humans for AnswersAt {
    async fn ask(&self, question: &Question, _given: &[Answer]) -> Attention {
        *self.asked.lock().unwrap() += 1;
        // In virtual time it is the run that lets the time pass.
        let late = || self.clock.now() >= self.at;
        std::future::poll_fn(|_| if late() { Poll::Ready(()) } else { Poll::Pending }).await;
        Attention::Answer(Answer::to(question, "approve", "ann"))
    }
}

fn passed(journal: &MemoryJournal) -> Vec<Timestamp> {
    let entries = journal.entries().unwrap();
    entries.iter().filter(|e| matches!(e.event, Event::DeadlinePassed { .. })).map(|e| e.at).collect()
}

fn quarter_past() -> Timestamp {
    "2026-11-23T09:15:00Z".parse().unwrap()
}

#[tokio::test]
async fn c7_a_deadline_passes_while_a_question_is_open_and_the_question_stays() {
    let (shared, clock, journal) = (lamps(), clock(), MemoryJournal::new());
    let ann = Arc::new(AnswersAt { clock: Arc::clone(&clock), at: quarter_past(), asked: Mutex::new(0) });
    let terms = Terms { humans: ann.clone(), ..terms() };
    let finished = run_on(&journal, &Waits::at(&shared, Place::Gate), clock, terms).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(ledger(&shared), ["alarm", "lamp"]);
    assert_eq!(passed(&journal), [quarter_past()]);
    assert_eq!(*ann.asked.lock().unwrap(), 1, "the prompt outlives the deadline");
}

#[tokio::test]
async fn c7_a_deadline_passes_in_every_kind_of_wait_and_once() {
    for place in [Place::ForTheWorld, Place::ToRetry] {
        let (shared, journal) = (lamps(), MemoryJournal::new());
        if place == Place::ToRetry {
            // Busy for longer than the deadline; the alarm itself finds it working.
            shared.lock().unwrap().moods = vec![Mood::Busy, Mood::Works, Mood::Busy];
        }
        let hour = Duration::from_hours(1);
        let retry = RetryPolicy { first_wait: hour, longest_wait: hour, ..RetryPolicy::default() };
        let terms = Terms { retry, ..terms() };
        let finished = run_on(&journal, &Waits::at(&shared, place), clock(), terms).await;
        assert_eq!(finished.outcome, Outcome::Verified, "{place:?}: {}", finished.says);
        assert_eq!(ledger(&shared), ["alarm", "lamp"], "{place:?}");
        assert_eq!(passed(&journal), [quarter_past()], "{place:?}");
    }
}

#[tokio::test]
async fn c7_what_ends_in_time_or_was_disarmed_sounds_no_alarm() {
    let shared = lamps();
    let finished = run_on(&MemoryJournal::new(), &Waits::at(&shared, Place::Nowhere), clock(), terms()).await;
    assert_eq!((finished.outcome, ledger(&shared)), (Outcome::Verified, vec!["lamp".to_owned()]));

    let shared = lamps();
    let waits = Waits { disarmed: true, ..Waits::at(&shared, Place::ForTheWorld) };
    run_on(&MemoryJournal::new(), &waits, clock(), terms()).await;
    assert_eq!(ledger(&shared), ["lamp"]);
}

/// The run lets go at the gate, and is taken up again an hour later.
#[tokio::test]
async fn c7_a_deadline_that_passed_while_nobody_worked_passes_when_the_run_is_taken_up() {
    let (shared, clock, journal) = (lamps(), clock(), MemoryJournal::new());
    let waits = Waits::at(&shared, Place::Gate);
    let finished = run_on(&journal, &waits, clock.clone(), terms()).await;
    assert_eq!(finished.outcome, Outcome::WaitingForHuman);
    assert_eq!(ledger(&shared), [""; 0]);

    clock.advance(Duration::from_hours(1));
    let finished = run_on(&journal, &waits, clock.clone(), terms()).await;
    assert_eq!(finished.outcome, Outcome::WaitingForHuman, "the question is still open");
    assert_eq!(ledger(&shared), ["alarm"]);

    let Some(Event::Asked { question, .. }) =
        journal.entries().unwrap().into_iter().map(|e| e.event).find(|e| matches!(e, Event::Asked { .. }))
    else {
        panic!("it was asked")
    };
    journal.answer(&question.gate, Answer::to(&question, "approve", "ann"));
    let finished = run_on(&journal, &waits, clock, terms()).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(ledger(&shared), ["alarm", "lamp"]);
}

/// An answer that lies there when the run is taken up counts before the deadline; the deadline then passes in the next
/// wait, or never.
#[tokio::test]
async fn c7_an_answer_that_lies_ready_comes_before_the_deadline() {
    let (shared, clock, journal) = (lamps(), clock(), MemoryJournal::new());
    let waits = Waits::at(&shared, Place::Gate);
    run_on(&journal, &waits, clock.clone(), terms()).await;
    let Some(Event::Asked { question, .. }) =
        journal.entries().unwrap().into_iter().map(|e| e.event).find(|e| matches!(e, Event::Asked { .. }))
    else {
        panic!("it was asked")
    };
    journal.answer(&question.gate, Answer::to(&question, "approve", "ann"));
    clock.advance(Duration::from_hours(1));
    let finished = run_on(&journal, &waits, clock, terms()).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(ledger(&shared), ["lamp"]);
    assert_eq!(passed(&journal), [Timestamp::MIN; 0]);
}

/// A journal cut anywhere, resumed an hour later: strict order, nothing twice, whichever side of the gate the deadline
/// fell on.
#[tokio::test]
async fn c7_a_replay_passes_deadlines_where_they_passed() {
    for place in [Place::Gate, Place::ForTheWorld, Place::ToRetry] {
        let whole = |journal: &MemoryJournal| {
            let (shared, clock, journal) = (lamps(), clock(), journal.clone());
            async move {
                if place == Place::ToRetry {
                    shared.lock().unwrap().moods = vec![Mood::Busy, Mood::Works, Mood::Busy];
                }
                let ann =
                    Arc::new(AnswersAt { clock: clock.clone(), at: quarter_past(), asked: Mutex::new(0) });
                let hour = Duration::from_hours(1);
                let retry = RetryPolicy { first_wait: hour, longest_wait: hour, ..RetryPolicy::default() };
                let terms = Terms { humans: ann, retry, ..terms() };
                let finished =
                    run_on(&journal, &Waits::at(&shared, place), clock.clone(), terms.clone()).await;
                assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
                (shared, clock, terms)
            }
        };
        let journal = MemoryJournal::new();
        whole(&journal).await;
        let length = journal.entries().unwrap().len();
        for cut in 1..length {
            let journal = MemoryJournal::new();
            let (shared, clock, terms) = whole(&journal).await;
            journal.cut(cut);
            clock.advance(Duration::from_hours(1));
            let finished = run_on(&journal, &Waits::at(&shared, place), clock, terms).await;
            assert_eq!(finished.outcome, Outcome::Verified, "{place:?} cut after {cut}: {}", finished.says);
            let mut seen = ledger(&shared);
            seen.sort();
            assert_eq!(seen, ["alarm", "lamp"], "{place:?} cut after {cut}");
        }
    }
}

#[tokio::test]
async fn a_plan_lists_what_a_deadline_would_do_under_its_condition() {
    let shared = lamps();
    let plan = plan(&Waits::at(&shared, Place::Nowhere), terms(), clock()).await.unwrap();
    let named: Vec<_> = plan.effects.iter().map(|e| (e.subject.as_str(), e.condition.as_deref())).collect();
    assert_eq!(named, [("lamp", None), ("alarm", Some("it lasts more than 15 minutes"))]);
}

/// Tells by flipping the bell, and remembers what the run waited for.
struct Bell(Shared);

#[async_trait]
impl Escalation for Bell {
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        assert!(run.is_plan() || run.waits_for().contains("TOY-I1"), "{:?}", run.waits_for());
        run.perform(&WATCH, Flip::new(&self.0, "bell")).await.map(drop)
    }
}

/// Flips the lamp on a service that is away, and has somebody told when that lasts.
struct Stuck {
    world: Shared,
    after: Duration,
}

#[async_trait]
impl Runbook for Stuck {
    fn id(&self) -> &'static str {
        "stuck"
    }
    fn title(&self) -> &'static str {
        "Stuck"
    }
    fn version(&self) -> u32 {
        1
    }
    fn steps(&self) -> &'static [Step] {
        &[WATCH, FLIP]
    }
    fn rehearsal(&self) -> Option<Rehearsal> {
        Some(sandbox())
    }
    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        run.when_stuck(self.after, Arc::new(Bell(Arc::clone(&self.world)))).await?;
        run.perform(&FLIP, Flip::new(&self.world, "lamp")).await?;
        run.resolve("the lamp is on", run.proof(&FLIP)?)
    }
}

/// Moods are taken from the end: the first call finds the last.
fn away(moods: &[Mood]) -> Shared {
    let shared = world(&["lamp", "bell"]);
    shared.lock().unwrap().moods = moods.iter().rev().copied().collect();
    shared
}

#[tokio::test]
async fn somebody_is_told_once_when_the_run_waits_long_for_a_service() {
    use Mood::{Busy, Works};
    let minute = Duration::from_mins(1);
    let retry = RetryPolicy { first_wait: minute, longest_wait: minute, ..RetryPolicy::default() };
    // Told in the second wait, with the bell working; the lamp works in the end.
    let (shared, journal) = (away(&[Busy, Busy, Works, Busy, Busy, Works]), MemoryJournal::new());
    let stuck = Stuck { world: Arc::clone(&shared), after: Duration::from_secs(90) };
    let finished = run_on(&journal, &stuck, clock(), Terms { retry, ..terms() }).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(ledger(&shared), ["bell", "lamp"]);

    // Cut anywhere: told once all the same, and the rest goes on in its order.
    let length = journal.entries().unwrap().len();
    for cut in 1..length {
        let (shared, journal, clock) =
            (away(&[Busy, Busy, Works, Busy, Busy, Works]), MemoryJournal::new(), clock());
        let stuck = Stuck { world: Arc::clone(&shared), after: Duration::from_secs(90) };
        run_on(&journal, &stuck, clock.clone(), Terms { retry, ..terms() }).await;
        journal.cut(cut);
        let finished = run_on(&journal, &stuck, clock, Terms { retry, ..terms() }).await;
        assert_eq!(finished.outcome, Outcome::Verified, "cut after {cut}: {}", finished.says);
        assert_eq!(ledger(&shared), ["bell", "lamp"], "cut after {cut}");
    }
}

#[tokio::test]
async fn somebody_is_told_right_before_a_run_is_interrupted_and_not_again_later() {
    use Mood::{Busy, Works};
    let retry = RetryPolicy { tries: 2, ..RetryPolicy::default() };
    let (shared, journal, clock) = (away(&[Busy, Busy, Works]), MemoryJournal::new(), clock());
    let stuck = Stuck { world: Arc::clone(&shared), after: Duration::from_hours(1) };
    let finished = run_on(&journal, &stuck, clock, Terms { retry, ..terms() }).await;
    assert_ne!(finished.outcome, Outcome::Verified);
    assert_eq!(ledger(&shared), ["bell"], "{}", finished.says);
    let said = journal.entries().unwrap().into_iter().find_map(|e| match e.event {
        Event::WaitsLong { says } => Some(says),
        _ => None,
    });
    assert!(said.is_some_and(|said| said.contains("TOY-I1")));
}

#[tokio::test]
async fn a_short_trouble_is_told_to_nobody() {
    let shared = away(&[Mood::Busy, Mood::Works]);
    let stuck = Stuck { world: Arc::clone(&shared), after: Duration::from_hours(1) };
    let finished = run_on(&MemoryJournal::new(), &stuck, clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(ledger(&shared), ["lamp"]);
}
