//! How long and how often an effect is read back before it is said not to hold: the looks are counted where they happened.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use allclear_core::{Clock, PortError, Service, VirtualClock};
use allclear_engine::*;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::patience::doing;
use crate::toy::*;

/// An effect that is seen some time after it was applied.
#[derive(Clone)]
struct Slow {
    clock: Arc<VirtualClock>,
    /// How many seconds after it was applied it is seen.
    shows_after: i64,
    patience: Patience,
    applied_at: Arc<Mutex<Vec<Timestamp>>>,
    /// The looks that saw something, in seconds since it was applied.
    looks: Arc<Mutex<Vec<i64>>>,
    /// How many more looks see nothing at all.
    dark: Arc<AtomicUsize>,
}

impl Slow {
    fn new(clock: &Arc<VirtualClock>, shows_after: i64, every: u64, within: u64) -> Self {
        Self {
            clock: Arc::clone(clock),
            shows_after,
            patience: Patience { every: Duration::from_secs(every), within: Duration::from_secs(within) },
            applied_at: Arc::default(),
            looks: Arc::default(),
            dark: Arc::default(),
        }
    }

    fn since_applied(&self) -> i64 {
        let applied = *self.applied_at.lock().unwrap().last().expect("it was applied");
        self.clock.now().duration_since(applied).as_secs()
    }

    fn looks(&self) -> Vec<i64> {
        self.looks.lock().unwrap().clone()
    }
}

#[async_trait]
impl Effect for Slow {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "lamp.light"
    }
    fn subject(&self) -> String {
        "the lamp".to_owned()
    }
    fn title(&self) -> String {
        "light the lamp".to_owned()
    }
    fn repeat(&self) -> Repeat {
        Repeat::Keyed
    }
    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        Ok(Prediction::of(Change {
            kind: "lamp".to_owned(),
            id: "1".to_owned(),
            label: "the lamp".to_owned(),
            field: "state".to_owned(),
            before: "dark".to_owned(),
            after: "lit".to_owned(),
        }))
    }
    fn foresee(&self, _prediction: &Prediction) {}
    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        self.applied_at.lock().unwrap().push(self.clock.now());
        Ok(Applied { receipt: (), says: "lit".to_owned() })
    }
    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        Ok(Reconciled::Unknown { why: "it is dark".to_owned() })
    }
    fn patience(&self) -> Patience {
        self.patience
    }
    async fn verify(&self, _intent: &Intent, _receipt: &(), _now: Timestamp) -> Result<Judgement, PortError> {
        if self.dark.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            let (call, detail) = ("GET /lamp".to_owned(), "520".to_owned());
            return Err(PortError::Unavailable { service: Service::Supabase, call, detail });
        }
        let since = self.since_applied();
        self.looks.lock().unwrap().push(since);
        Ok(if since >= self.shows_after {
            Judgement::verified("it is lit", vec![Evidence::new("the lamp", "lit")])
        } else {
            Judgement::pending("it is still dark", vec![Evidence::new("the lamp", "dark")])
        })
    }
}

fn lighting(slow: &Slow) -> impl Runbook + use<> {
    let slow = slow.clone();
    doing(move |run: &mut Run| {
        let slow = slow.clone();
        Box::pin(async move {
            run.perform(&FLIP, slow).await?;
            Ok("the lamp is lit".to_owned())
        })
    })
}

#[tokio::test]
async fn an_effect_is_looked_at_until_it_is_seen_or_its_patience_is_used_up_and_the_last_look_is_at_its_end()
{
    let never = i64::MAX;
    for (shows_after, every, within, looks) in [
        (0, 1, 3, vec![0]),
        (2, 1, 3, vec![0, 1, 2]),
        (3, 1, 3, vec![0, 1, 2, 3]),
        (never, 1, 3, vec![0, 1, 2, 3]),
        (never, 2, 3, vec![0, 2, 3]),
        (never, 5, 3, vec![0, 3]),
        // Without patience; one read may be stale.
        (never, 1, 0, vec![0, 5, 10]),
    ] {
        let clock = clock();
        let slow = Slow::new(&clock, shows_after, every, within);
        let finished = run_on(&MemoryJournal::new(), &lighting(&slow), clock, terms()).await;
        let seen = shows_after != never;
        let outcome = if seen { Outcome::Verified } else { Outcome::Refuted };
        assert_eq!(finished.outcome, outcome, "{}", finished.says);
        assert_eq!(slow.looks(), looks, "seen after {shows_after} s, every {every} s within {within} s");
    }
}

#[tokio::test]
async fn b3_patience_begins_anew_when_the_service_can_be_read_again() {
    for dark in [1, 2, 5] {
        let clock = clock();
        let slow = Slow::new(&clock, i64::MAX, 1, 3);
        slow.dark.store(dark, Ordering::SeqCst);
        let finished = run_on(&MemoryJournal::new(), &lighting(&slow), clock, terms()).await;
        assert_eq!(finished.outcome, Outcome::Refuted, "{}", finished.says);
        let looks = slow.looks();
        assert!(looks[0] >= 2, "nothing was seen for a while: {looks:?}");
        let since_the_first: Vec<i64> = looks.iter().map(|look| look - looks[0]).collect();
        assert_eq!(since_the_first, [0, 1, 2, 3], "{dark} looks saw nothing");
    }
}

#[tokio::test]
async fn b3_patience_begins_anew_when_a_process_takes_the_run_up_and_no_first_look_condemns() {
    let whole = {
        let (clock, journal) = (clock(), MemoryJournal::new());
        run_on(&journal, &lighting(&Slow::new(&clock, i64::MAX, 1, 3)), clock, terms()).await;
        journal.entries().unwrap()
    };
    let judged = |entry: &Entry| matches!(entry.event, Event::Judged { .. });
    let looks: Vec<usize> = whole.iter().filter(|entry| judged(entry)).map(|e| e.seq as usize).collect();
    assert_eq!(looks.len(), 4);
    // Killed before the first look, after each that did not end it, and in the wait after each; hours pass.
    for keep in looks[0] - 1..looks[3] {
        for shows in [false, true] {
            let (clock, journal) = (clock(), MemoryJournal::new());
            let slow = Slow::new(&clock, i64::MAX, 1, 3);
            run_on(&journal, &lighting(&slow), clock.clone(), terms()).await;
            journal.cut(keep);
            slow.looks.lock().unwrap().clear();
            clock.advance(Duration::from_hours(5));
            let again = if shows {
                Slow { shows_after: slow.since_applied() + 2, ..slow.clone() }
            } else {
                slow.clone()
            };
            let finished = run_on(&journal, &lighting(&again), clock, terms()).await;
            let outcome = if shows { Outcome::Verified } else { Outcome::Refuted };
            assert_eq!(finished.outcome, outcome, "cut after {keep}: {}", finished.says);
            let looks = slow.looks();
            let since: Vec<i64> = looks.iter().map(|look| look - looks[0]).collect();
            let wanted: &[i64] = if shows { &[0, 1, 2] } else { &[0, 1, 2, 3] };
            assert_eq!(since, wanted, "cut after {keep}");
            assert_eq!(slow.applied_at.lock().unwrap().len(), 1, "cut after {keep}");
        }
    }
}

#[tokio::test]
async fn b8_what_cannot_be_predicted_for_hours_interrupts_each_process_after_as_many_tries() {
    let shared = world(&["a"]);
    let dark = crate::doubts::Dark::new(&shared, "a", 1_000);
    let unseen = Arc::clone(&dark.unseen);
    let runbook = doing(move |run: &mut Run| {
        let dark = dark.clone();
        Box::pin(async move { run.perform(&FLIP, dark).await })
    });
    let (journal, clock) = (MemoryJournal::new(), clock());
    for process in 1..=3 {
        let began = clock.now();
        let finished = run_on(&journal, &runbook, clock.clone(), terms()).await;
        assert_eq!(finished.outcome, Outcome::Interrupted, "{}", finished.says);
        assert_eq!(unseen.load(Ordering::SeqCst), 1_000 - process * 13);
        let passed = clock.now().duration_since(began);
        assert!(passed > SignedDuration::from_mins(10), "each is as patient: {passed:?}");
        clock.advance(Duration::from_hours(2));
    }
    unseen.store(0, Ordering::SeqCst);
    let finished = run_on(&journal, &runbook, clock, terms()).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(shared.lock().unwrap().ledger, ["a"]);
}

#[tokio::test]
async fn b7_a_message_that_went_out_and_cannot_be_read_back_is_sent_and_not_proven() {
    let clock = clock();
    let slow = Slow::new(&clock, 0, 1, 3);
    slow.dark.store(1_000, Ordering::SeqCst);
    let told = slow.clone();
    let runbook = doing(move |run: &mut Run| {
        let slow = told.clone();
        Box::pin(async move {
            let settled = run.tell(&FLIP, slow).await?;
            assert!(settled.receipt().is_some(), "it was sent");
            let says = settled.verdict().says().to_owned();
            assert!(says.contains("could not be read back"), "{says}");
            Ok("it was sent".to_owned())
        })
    });
    let finished = run_on(&MemoryJournal::new(), &runbook, clock.clone(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert_eq!(slow.applied_at.lock().unwrap().len(), 1);
    assert!(slow.since_applied() < 120, "it held the run up for {} s", slow.since_applied());
}
