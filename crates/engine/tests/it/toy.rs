//! A world of switches, with a ledger: what the engine does to it can be counted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use allclear_core::{Clock, PortError, Rehearsal, Service, VirtualClock};
use allclear_engine::*;
use async_trait::async_trait;
use jiff::Timestamp;

pub(crate) const FLIP: Step = Step { id: "TOY-I1", phase: Phase::Immediate, title: "Flip the switches" };

/// What a service does with the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Works,
    /// Says that it is busy; nothing happened.
    Busy,
    /// Does it and loses the answer.
    LosesAnswer,
    /// Neither does it nor answers.
    Vanishes,
    /// Does it, loses the answer, and cannot be asked afterwards.
    GoesDark,
    /// Answers and does nothing.
    Lies,
    /// Refuses for good.
    Refuses,
}

#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) on: BTreeMap<String, bool>,
    /// Every time a request changed or would have changed something.
    pub(crate) ledger: Vec<String>,
    pub(crate) moods: Vec<Mood>,
    /// Whether nothing can be read any more.
    pub(crate) dark: bool,
}

pub(crate) type Shared = Arc<Mutex<World>>;

pub(crate) fn world(switches: &[&str]) -> Shared {
    let on = switches.iter().map(|name| ((*name).to_owned(), false)).collect();
    Arc::new(Mutex::new(World { on, ..World::default() }))
}

pub(crate) fn clock() -> Arc<VirtualClock> {
    Arc::new(VirtualClock::at("2026-11-23T09:00:00Z".parse().unwrap()))
}

/// Turns one switch on.
#[derive(Clone)]
pub(crate) struct Flip {
    pub(crate) world: Shared,
    pub(crate) name: String,
    pub(crate) repeat: Repeat,
}

impl Flip {
    pub(crate) fn new(world: &Shared, name: &str) -> Self {
        Self { world: Arc::clone(world), name: name.to_owned(), repeat: Repeat::Readable }
    }

    fn is_on(&self) -> bool {
        self.world.lock().unwrap().on[&self.name]
    }
}

fn error(kind: Mood) -> PortError {
    let (service, call, detail) = (Service::Sandbox, "POST /flip".to_owned(), "toy".to_owned());
    match kind {
        Mood::Busy => PortError::Unavailable { service, call, detail },
        Mood::LosesAnswer | Mood::Vanishes | Mood::GoesDark => {
            PortError::OutcomeUnknown { service, call, detail }
        }
        _ => PortError::Rejected { service, call, code: None, detail },
    }
}

#[async_trait]
impl Effect for Flip {
    type Receipt = String;
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "switch.flip"
    }

    fn subject(&self) -> String {
        self.name.clone()
    }

    fn title(&self) -> String {
        format!("flip {}", self.name)
    }

    fn repeat(&self) -> Repeat {
        self.repeat
    }

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let before = foreseen.or("switch", &self.name, "state", if self.is_on() { "on" } else { "off" });
        if before == "on" {
            return Ok(Prediction::default());
        }
        let (kind, id, label) = ("switch".to_owned(), self.name.clone(), self.name.clone());
        let after = "on".to_owned();
        Ok(Prediction::of(Change { kind, id, label, field: "state".to_owned(), before, after }))
    }

    fn foresee(&self, _prediction: &Prediction) -> String {
        "foreseen".to_owned()
    }

    async fn apply(&self, _intent: &Intent) -> Result<Applied<String>, PortError> {
        let mut world = self.world.lock().unwrap();
        let mood = world.moods.pop().unwrap_or(Mood::Works);
        world.dark |= mood == Mood::GoesDark;
        if matches!(mood, Mood::Works | Mood::LosesAnswer | Mood::GoesDark) {
            world.ledger.push(self.name.clone());
            world.on.insert(self.name.clone(), true);
        }
        match mood {
            Mood::Works | Mood::Lies => {
                Ok(Applied { receipt: "flipped".to_owned(), says: "flipped".to_owned() })
            }
            bad => Err(error(bad)),
        }
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<String>, PortError> {
        if self.world.lock().unwrap().dark {
            return Err(error(Mood::Busy));
        }
        Ok(if self.is_on() {
            Reconciled::Happened(Applied { receipt: "seen on".to_owned(), says: "it is on".to_owned() })
        } else {
            Reconciled::DidNot { why: "it is off".to_owned() }
        })
    }

    fn patience(&self) -> Patience {
        Patience { every: Duration::from_secs(1), within: Duration::from_secs(3) }
    }

    async fn verify(
        &self,
        _intent: &Intent,
        _receipt: &String,
        _now: Timestamp,
    ) -> Result<Judgement, PortError> {
        let evidence = vec![Evidence::new("the switch", if self.is_on() { "on" } else { "off" })];
        Ok(if self.is_on() {
            Judgement::verified("it is on", evidence)
        } else {
            Judgement::pending("it is still off", evidence)
        })
    }
}

/// Flips all switches, one after the other.
pub(crate) struct FlipAll {
    pub(crate) world: Shared,
    pub(crate) names: Vec<String>,
    pub(crate) repeat: Repeat,
}

impl FlipAll {
    pub(crate) fn of(world: &Shared) -> Self {
        let names = world.lock().unwrap().on.keys().cloned().collect();
        Self { world: Arc::clone(world), names, repeat: Repeat::Readable }
    }
}

#[async_trait]
impl Runbook for FlipAll {
    fn id(&self) -> &'static str {
        "flip-all"
    }

    fn title(&self) -> &'static str {
        "Flip all"
    }

    fn version(&self) -> u32 {
        1
    }

    fn steps(&self) -> &'static [Step] {
        &[FLIP]
    }

    fn rehearsal(&self) -> Option<Rehearsal> {
        Some(sandbox())
    }

    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        for name in &self.names {
            run.perform(&FLIP, Flip { repeat: self.repeat, ..Flip::new(&self.world, name) }).await?;
        }
        run.resolve("all switches are on", run.proof(&FLIP)?)
    }
}

pub(crate) fn terms() -> Terms {
    Terms::new("run-1", "kim", "toy")
}

/// Where toys are rehearsed on.
pub(crate) fn sandbox() -> Rehearsal {
    Rehearsal::at("http://127.0.0.1:1").unwrap()
}

/// No plan: most tests are not about how things were planned.
pub(crate) fn unplanned() -> ApprovedPlan {
    unplanned_for("run-1")
}

pub(crate) fn unplanned_for(run: &str) -> ApprovedPlan {
    ApprovedPlan::unplanned(&sandbox(), run)
}

/// A plan with somebody's yes.
pub(crate) fn approved(plan: &Plan) -> ApprovedPlan {
    let yes = PlanApproval::of(plan, "run-1", "alex", Shown::Hash);
    ApprovedPlan::by(plan.clone(), "run-1", vec![yes], &PlanRules::anyone("kim", plan.made_at)).unwrap()
}

/// Runs on a journal in memory, as one process would.
pub(crate) async fn run_on(
    journal: &MemoryJournal,
    runbook: &dyn Runbook,
    clock: Arc<dyn Clock>,
    terms: Terms,
) -> Finished {
    run_planned_on(journal, runbook, clock, unplanned(), terms).await
}

/// The same with a plan.
pub(crate) async fn run_planned_on(
    journal: &MemoryJournal,
    runbook: &dyn Runbook,
    clock: Arc<dyn Clock>,
    approved: ApprovedPlan,
    terms: Terms,
) -> Finished {
    let seam = journal.seam(clock).unwrap();
    execute(runbook, Box::new(seam), approved, terms).await.unwrap()
}
