//! A service that fails again and again is left alone for a while, whichever call it is: what reached it, and when, is
//! counted where it happened.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use allclear_core::error::WaitSource;
use allclear_core::{Clock, PortError, Rehearsal, Service, VirtualClock};
use allclear_engine::*;
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use crate::toy::{FLIP, clock, run_on, sandbox, terms};

const TELL: Step = Step { id: "TOY-E1", phase: Phase::Escalate, title: "Tell" };

/// What one call comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Works,
    /// It is away and nothing happened.
    Away,
    /// It asks to be left alone for so many seconds.
    Asks(u64),
}
use self::Says::{Asks, Away, Works};

/// What the services answer, call by call, and every call that reached them.
#[derive(Debug, Default)]
struct Town {
    answers: Mutex<VecDeque<Says>>,
    calls: Mutex<Vec<(String, Timestamp)>>,
}

impl Town {
    fn answering(answers: impl IntoIterator<Item = Says>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), calls: Mutex::default() })
    }

    /// When `name` was called, in seconds since the first call of all.
    fn called(&self, name: &str) -> Vec<f64> {
        let calls = self.calls.lock().unwrap();
        let first = calls[0].1;
        calls
            .iter()
            .filter(|(called, _)| called == name)
            .map(|(_, at)| at.duration_since(first).as_secs_f64())
            .collect()
    }

    /// The seconds between the calls of `name`.
    fn gaps(&self, name: &str) -> Vec<f64> {
        self.called(name).windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

/// A call of one service.
#[derive(Clone)]
struct Ring {
    town: Arc<Town>,
    clock: Arc<VirtualClock>,
    service: Service,
    name: &'static str,
}

#[async_trait]
impl Effect for Ring {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "bell.ring"
    }
    fn subject(&self) -> String {
        self.name.to_owned()
    }
    fn title(&self) -> String {
        format!("ring {}", self.name)
    }
    fn repeat(&self) -> Repeat {
        Repeat::Keyed
    }
    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        Ok(Prediction::of(Change {
            kind: "bell".to_owned(),
            id: self.name.to_owned(),
            label: self.name.to_owned(),
            field: "state".to_owned(),
            before: "silent".to_owned(),
            after: "rung".to_owned(),
        }))
    }
    fn foresee(&self, _prediction: &Prediction) {}
    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        self.town.calls.lock().unwrap().push((self.name.to_owned(), self.clock.now()));
        let (service, call, detail) = (self.service, "POST /ring".to_owned(), "toy".to_owned());
        match self.town.answers.lock().unwrap().pop_front().unwrap_or(Works) {
            Works => Ok(Applied { receipt: (), says: "rung".to_owned() }),
            Away => Err(PortError::Unavailable { service, call, detail }),
            Asks(seconds) => Err(PortError::RateLimited {
                service,
                call,
                detail,
                wait_seconds: Some(seconds),
                source_of_wait: WaitSource::RetryAfterHeader,
            }),
        }
    }
    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        Ok(Reconciled::Unknown { why: "nobody counts".to_owned() })
    }
    async fn verify(&self, _intent: &Intent, _receipt: &(), _now: Timestamp) -> Result<Judgement, PortError> {
        Ok(Judgement::verified("it rang", vec![Evidence::new("the bell", "rung")]))
    }
}

/// What a procedure does next.
#[derive(Debug, Clone, Copy)]
enum Does {
    /// Performs it, and goes on where it fails.
    Do(&'static str, Service),
    /// Tells, and holds nothing up.
    Tell(&'static str, Service),
    /// Waits for so many seconds.
    Wait(u64),
    /// Waits until so many seconds after the run began.
    Until(i64),
}
use self::Does::{Do, Tell, Until, Wait};

struct Acts {
    town: Arc<Town>,
    clock: Arc<VirtualClock>,
    all: Vec<Does>,
}

impl Acts {
    fn ring(&self, name: &'static str, service: Service) -> Ring {
        Ring { town: Arc::clone(&self.town), clock: Arc::clone(&self.clock), service, name }
    }

    fn act<'r>(&'r self, run: &'r mut Run, act: Does) -> BoxFuture<'r, Result<(), Halt>> {
        Box::pin(async move {
            match act {
                Do(name, service) => match run.attempt(&FLIP, self.ring(name, service)).await {
                    Err(Halt::Failed { .. }) => Ok(()),
                    other => other.map(drop),
                },
                Tell(name, service) => run.tell(&TELL, self.ring(name, service)).await.map(drop),
                Wait(seconds) => {
                    let at = run.now() + SignedDuration::from_secs(seconds.cast_signed());
                    run.wait_until(&FLIP, at, "a while").await
                }
                Until(seconds) => {
                    let began: Timestamp = "2026-11-23T09:00:00Z".parse().unwrap();
                    run.wait_until(&FLIP, began + SignedDuration::from_secs(seconds), "a while").await
                }
            }
        })
    }
}

#[async_trait]
impl Runbook for Acts {
    fn id(&self) -> &'static str {
        "acts"
    }
    fn title(&self) -> &'static str {
        "Acts"
    }
    fn version(&self) -> u32 {
        1
    }
    fn steps(&self) -> &'static [Step] {
        &[FLIP, TELL]
    }
    fn rehearsal(&self) -> Option<Rehearsal> {
        Some(sandbox())
    }
    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        for act in &self.all {
            self.act(run, *act).await?;
        }
        run.resolve("all rang", run.proof(&FLIP)?)
    }
}

async fn acted(answers: impl IntoIterator<Item = Says>, acts: &[Does], retry: RetryPolicy) -> Arc<Town> {
    let town = Town::answering(answers);
    let clock = clock();
    let runbook = Acts { town: Arc::clone(&town), clock: Arc::clone(&clock), all: acts.to_vec() };
    run_on(&MemoryJournal::new(), &runbook, clock, Terms { retry, ..terms() }).await;
    town
}

/// Whether each gap is the wait after so many failures, with up to a quarter of jitter.
fn assert_own_waits(gaps: &[f64], waits: &[f64]) {
    assert_eq!(gaps.len(), waits.len(), "{gaps:?}");
    for (gap, wait) in gaps.iter().zip(waits) {
        assert!((*wait..wait * 1.25).contains(gap), "{gaps:?}, and not {waits:?}");
    }
}

const ONE: Service = Service::Slack;
const OTHER: Service = Service::PagerDuty;

#[tokio::test]
async fn b1_a_service_that_failed_five_times_in_a_row_is_left_alone_whichever_call_it_was() {
    // Three failures of one call and eight of another are eleven of the service: from the fifth on it rests, longer each time.
    let answers = [vec![Away; 3], vec![Away; 8]].concat();
    let town = acted(answers, &[Tell("bell", ONE), Do("gong", ONE)], RetryPolicy::default()).await;
    assert_own_waits(&town.gaps("bell"), &[2.0, 4.0]);
    let gaps = town.gaps("gong");
    assert_own_waits(&gaps[..1], &[2.0]);
    assert_eq!(gaps[1..6], [30.0, 60.0, 120.0, 120.0, 120.0], "{gaps:?}");
    // Its own wait is as long by then.
    assert_own_waits(&gaps[6..], &[120.0, 120.0]);
}

#[tokio::test]
async fn b1_the_first_success_ends_the_rest_and_the_next_failures_are_counted_anew() {
    let answers = [vec![Away; 3], vec![Away; 2], vec![Works], vec![Away; 4]].concat();
    let acts = [Tell("bell", ONE), Do("gong", ONE), Do("horn", ONE)];
    let town = acted(answers, &acts, RetryPolicy::default()).await;
    let gong = town.gaps("gong");
    assert_eq!(gong[1..], [30.0], "{gong:?}");
    assert_own_waits(&town.gaps("horn"), &[2.0, 4.0, 8.0, 16.0]);
}

#[tokio::test]
async fn b1_one_service_that_rests_holds_up_no_other() {
    let answers = [vec![Away; 3], vec![Away; 2], vec![Works], vec![Away; 3], vec![Away; 2]].concat();
    let acts = [Tell("bell", ONE), Tell("horn", OTHER), Do("gong", OTHER)];
    // Three failures of one, then two of the other and a success of it, then five of the other.
    let town = acted(answers, &acts, RetryPolicy::default()).await;
    assert_own_waits(&town.gaps("horn"), &[2.0, 4.0]);
    assert_own_waits(&town.gaps("gong"), &[2.0, 4.0, 8.0, 16.0, 32.0]);
}

/// With waits that are short enough for what nothing may wait for.
const SHORT: RetryPolicy = RetryPolicy {
    tries: 5,
    budget: 60,
    first_wait: Duration::from_secs(1),
    longest_wait: Duration::from_secs(16),
    longest_asked: Duration::from_hours(1),
};

#[tokio::test]
async fn b1_what_nothing_may_wait_for_is_tried_once_at_a_service_that_rests_and_again_when_it_has_rested() {
    // Five failures of one call: the policy gives up, and the service rests for 16 s from then on.
    let answers = vec![Away; 40];
    for (after, tries) in [(0, 1), (15, 1), (16, 3), (17, 3)] {
        let acts = [Do("gong", ONE), Wait(after), Tell("bell", ONE)];
        let town = acted(answers.clone(), &acts, SHORT).await;
        assert_eq!(town.called("gong").len(), 5);
        assert_eq!(town.called("bell").len(), tries, "{after} s after the fifth failure");
        let elsewhere = [Do("gong", ONE), Wait(after), Tell("bell", OTHER)];
        let town = acted(answers.clone(), &elsewhere, SHORT).await;
        assert_eq!(town.called("bell").len(), 3, "another service");
    }
}

#[tokio::test]
async fn b1_a_message_comes_back_when_it_was_asked_to_within_half_a_minute_and_else_never() {
    for (asked, tries) in [(1, 3), (30, 3), (31, 1), (7_200, 1)] {
        let town = acted([Asks(asked); 3], &[Tell("bell", ONE)], RetryPolicy::default()).await;
        assert_eq!(town.called("bell").len(), tries, "asked for {asked} s");
        #[expect(clippy::cast_precision_loss, reason = "two hours at most")]
        let asked = asked as f64;
        assert!(town.gaps("bell").iter().all(|gap| (gap - asked).abs() < f64::EPSILON));
    }
}

#[tokio::test]
async fn b1_a_run_repeats_so_many_calls_an_hour_and_no_more() {
    let retry = RetryPolicy { budget: 3, ..RetryPolicy::default() };
    let town = acted(vec![Away; 9], &[Do("gong", ONE)], retry).await;
    assert_eq!(town.called("gong").len(), 4, "three were repeated");

    // Two of the three are used up; what is an hour old does not count any more.
    for (passed, tries) in [(3_000, 2), (3_500, 2), (3_700, 4)] {
        let answers = [vec![Away; 2], vec![Works], vec![Away; 9]].concat();
        let town = acted(answers, &[Do("gong", ONE), Wait(passed), Do("horn", ONE)], retry).await;
        assert_eq!(town.called("gong").len(), 3);
        assert_eq!(town.called("horn").len(), tries, "{passed} s later");
    }
}

#[tokio::test]
async fn b1_a_call_that_was_repeated_exactly_an_hour_ago_still_counts() {
    let retry = RetryPolicy { budget: 1, ..RetryPolicy::default() };
    for (at, tries) in [(3_600, 1), (3_601, 2)] {
        let answers = [vec![Away], vec![Works], vec![Away; 9]].concat();
        let town = acted(answers, &[Do("gong", ONE), Until(at), Do("horn", ONE)], retry).await;
        assert_eq!(town.called("gong").len(), 2);
        assert_eq!(town.called("horn").len(), tries, "{at} s after the first failure");
    }
}
