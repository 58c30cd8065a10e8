//! Undo, and what every end says is left changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use allclear_core::{PortError, Rehearsal, Service};
use allclear_engine::report::{Left, Postmortem, Remedy, check_citations, left};
use allclear_engine::*;
use async_trait::async_trait;
use jiff::Timestamp;

use crate::toy::{clock, run_on, run_planned_on, sandbox, terms, unplanned_for};

const TURN: Step = Step { id: "TOY-M1", phase: Phase::Mitigate, title: "Turn the dials" };

/// Dials, and everything that was done to them by whom.
#[derive(Debug, Default)]
struct Dials {
    at: BTreeMap<String, u32>,
    ledger: Vec<String>,
    posted: Vec<String>,
    /// While a run is only replayed: nothing of its own may look or act.
    frozen: bool,
    /// Loses the answer of the next request, after it was done.
    loses: bool,
}

type World = Arc<Mutex<Dials>>;

fn dials() -> World {
    let at = ["a", "b", "c"].map(|name| (name.to_owned(), 0)).into_iter().collect();
    Arc::new(Mutex::new(Dials { at, ..Dials::default() }))
}

fn at(world: &World) -> BTreeMap<String, u32> {
    world.lock().unwrap().at.clone()
}

/// Turns a dial; its undo turns it back.
#[derive(Clone)]
struct Turn {
    world: World,
    dial: String,
    from: u32,
    to: u32,
    back: bool,
}

impl Turn {
    fn now(&self) -> u32 {
        let world = self.world.lock().unwrap();
        assert!(self.back || !world.frozen, "a replay looks at nothing");
        world.at[&self.dial]
    }
}

#[async_trait]
impl Effect for Turn {
    type Receipt = u32;
    type Undo = Self;

    fn name(&self) -> &'static str {
        "dial.turn"
    }

    fn subject(&self) -> String {
        format!("dial {}", self.dial)
    }

    fn title(&self) -> String {
        format!("turn {} to {}", self.dial, self.to)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let now = foreseen.or("dial", &self.dial, "at", self.now().to_string());
        if now == self.to.to_string() {
            return Ok(Prediction::default());
        }
        Ok(Prediction::of(Change::new("dial", &self.dial, "at", &now, &self.to.to_string())))
    }

    fn foresee(&self, prediction: &Prediction) -> u32 {
        prediction.changes.first().map_or(self.from, |change| change.before.parse().unwrap())
    }

    async fn apply(&self, intent: &Intent) -> Result<Applied<u32>, PortError> {
        let from = self.now();
        let mut world = self.world.lock().unwrap();
        world.ledger.push(format!("{} {}", self.dial, self.to));
        world.at.insert(self.dial.clone(), self.to);
        if std::mem::take(&mut world.loses) {
            let (service, call) = (Service::Sandbox, "turn".to_owned());
            return Err(PortError::OutcomeUnknown { service, call, detail: intent.key.clone() });
        }
        Ok(Applied { receipt: from, says: format!("{} is at {}", self.dial, self.to) })
    }

    async fn reconcile(&self, intent: &Intent) -> Result<Reconciled<u32>, PortError> {
        if self.now() != self.to {
            return Ok(Reconciled::DidNot { why: "it is elsewhere".to_owned() });
        }
        let receipt = intent.changes[0].before.parse().unwrap();
        Ok(Reconciled::Happened(Applied { receipt, says: "it is there".to_owned() }))
    }

    async fn verify(&self, _: &Intent, _: &u32, _: Timestamp) -> Result<Judgement, PortError> {
        let now = self.now();
        Ok(if now == self.to {
            Judgement::verified("it is there", vec![])
        } else {
            Judgement::refuted(format!("it is at {now}"), vec![])
        })
    }

    fn undo(&self, before: &u32) -> Option<Self> {
        Some(Self { from: self.to, to: *before, back: true, ..self.clone() })
    }
}

/// A message: it stays.
struct Post(World);

#[async_trait]
impl Effect for Post {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "message.post"
    }

    fn subject(&self) -> String {
        "message".to_owned()
    }

    fn title(&self) -> String {
        "tell everybody".to_owned()
    }

    fn repeat(&self) -> Repeat {
        Repeat::Keyed
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("a message that was sent stays sent")
    }

    async fn predict(&self, _: &Foreseen) -> Result<Prediction, PortError> {
        Ok(Prediction::of(Change::new("message", "all", "state", "not posted", "posted")))
    }

    fn foresee(&self, _: &Prediction) {}

    async fn apply(&self, intent: &Intent) -> Result<Applied<()>, PortError> {
        let mut world = self.0.lock().unwrap();
        assert!(!world.frozen, "a replay tells nobody");
        if !world.posted.contains(&intent.key) {
            world.posted.push(intent.key.clone());
        }
        Ok(Applied { receipt: (), says: "told".to_owned() })
    }

    async fn reconcile(&self, _: &Intent) -> Result<Reconciled<()>, PortError> {
        unreachable!("it is keyed")
    }

    async fn verify(&self, _: &Intent, (): &(), _: Timestamp) -> Result<Judgement, PortError> {
        Ok(Judgement::verified("told", vec![]))
    }
}

struct Look(World);

#[async_trait]
impl Probe for Look {
    type Value = u32;

    async fn observe(&self, _: Timestamp) -> Result<Observation<u32>, PortError> {
        let world = self.0.lock().unwrap();
        assert!(!world.frozen, "a replay looks at nothing");
        Ok(Observation { value: world.at["a"], says: "looked".to_owned(), evidence: vec![] })
    }
}

/// a and b are turned together, c there and back, then a further; somebody is told in between.
struct Turning {
    world: World,
    approver: bool,
}

impl Turning {
    fn turn(&self, dial: &str, from: u32, to: u32) -> Turn {
        Turn { world: Arc::clone(&self.world), dial: dial.to_owned(), from, to, back: false }
    }
}

const THERE: Step = Step { id: "TOY-I1", phase: Phase::Immediate, title: "There" };
const BACK: Step = Step { id: "TOY-R1", phase: Phase::Resolve, title: "And back" };

#[async_trait]
impl Runbook for Turning {
    fn id(&self) -> &'static str {
        "turning"
    }

    fn title(&self) -> &'static str {
        "Turning"
    }

    fn version(&self) -> u32 {
        1
    }

    fn steps(&self) -> &'static [Step] {
        &[THERE, TURN, BACK]
    }

    fn rehearsal(&self) -> Option<Rehearsal> {
        Some(sandbox())
    }

    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        let seen = run.probe(&THERE, Look(Arc::clone(&self.world))).await?;
        run.perform_each(&THERE, vec![self.turn("a", seen, 1), self.turn("b", 0, 5)]).await?;
        run.perform(&THERE, self.turn("c", 0, 7)).await?;
        run.perform(&TURN, Post(Arc::clone(&self.world))).await?;
        run.perform(&TURN, self.turn("a", 1, 2)).await?;
        run.perform(&BACK, self.turn("c", 7, 0)).await?;
        if self.approver {
            run.approve(&BACK, Gate::new("Well?", Approval::Approve)).await?;
        }
        run.resolve("turned", run.proof(&BACK)?)
    }
}

/// Whether `world` does what a run of `Turning` records, up to a cut: everything that was intended was done, the last
/// one perhaps not.
fn replay_world(world: &World, journal: &MemoryJournal, last_happened: bool) {
    let mut at: BTreeMap<String, u32> = dials().lock().unwrap().at.clone();
    let entries = journal.entries().unwrap();
    let answered = entries.iter().filter(|e| matches!(e.event, Event::Applied { .. })).count();
    let intents = entries.iter().filter_map(|entry| match &entry.event {
        Event::Intended { changes, .. } => Some(changes),
        _ => None,
    });
    for (count, changes) in intents.enumerate() {
        if count < answered || last_happened {
            for change in changes.iter().filter(|change| change.kind == "dial") {
                at.insert(change.id.clone(), change.after.parse().unwrap());
            }
        }
    }
    world.lock().unwrap().at = at;
}

fn undo_of(world: &World, journal: &MemoryJournal) -> Result<UndoRun, Halt> {
    let original = Turning { world: Arc::clone(world), approver: true };
    UndoRun::of(Box::new(original), journal.journal("run-1").unwrap())
}

fn undo_terms(undo: &UndoRun) -> Terms {
    Terms { input: undo.input(), ..Terms::new("undo-1", "lea", "toy") }
}

async fn planned(undo: &UndoRun) -> Plan {
    plan(undo, undo_terms(undo), clock()).await.unwrap()
}

/// Plans, approves and undoes.
async fn undo_on(journal: &MemoryJournal, undo: &UndoRun) -> Finished {
    undo_as_planned(journal, undo, planned(undo).await).await
}

async fn undo_as_planned(journal: &MemoryJournal, undo: &UndoRun, plan: Plan) -> Finished {
    let yes = PlanApproval::of(&plan, "undo-1", "alex", Shown::Hash);
    let rules = PlanRules::anyone("lea", plan.made_at);
    let approved = ApprovedPlan::by(plan, "undo-1", vec![yes], &rules).unwrap();
    run_planned_on(journal, undo, clock(), approved, undo_terms(undo)).await
}

/// Runs to the gate and says no: what was done stays done.
async fn rejected(world: &World) -> MemoryJournal {
    let journal = MemoryJournal::new();
    let runbook = Turning { world: Arc::clone(world), approver: true };
    let finished = run_on(&journal, &runbook, clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::WaitingForHuman);
    journal.abort("kim");
    let finished = run_on(&journal, &runbook, clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Rejected);
    journal
}

#[tokio::test]
async fn undo_takes_back_the_net_of_what_a_run_changed_newest_first() {
    let world = dials();
    let journal = rejected(&world).await;
    let before = world.lock().unwrap().ledger.len();
    let undo = undo_of(&world, &journal).unwrap();
    let undone = MemoryJournal::new();
    let finished = undo_on(&undone, &undo).await;
    assert_eq!(finished.outcome, Outcome::Undone, "{}", finished.says);
    assert_eq!(at(&world), at(&dials()));
    // a went 0, 1, 2; c came back by itself and is not touched.
    assert_eq!(world.lock().unwrap().ledger[before..], ["a 1", "b 0", "a 0"]);
    let said = undone.entries().unwrap().into_iter().find_map(|entry| match entry.event {
        Event::Observed { says, .. } => Some(says),
        _ => None,
    });
    let said = said.unwrap();
    assert!(said.contains("3 changes") && said.contains("a message that was sent stays sent"), "{said}");
}

#[tokio::test]
async fn undo_plans_every_change_and_touches_nothing_while_it_replays() {
    let world = dials();
    let journal = rejected(&world).await;
    world.lock().unwrap().frozen = true;
    let undo = undo_of(&world, &journal).unwrap();
    let plan = plan(&undo, undo_terms(&undo), clock()).await.unwrap();
    let changes: Vec<String> =
        plan.effects.iter().flat_map(|effect| &effect.changes).map(ToString::to_string).collect();
    assert_eq!(changes, ["dial a: at 2 → 1", "dial b: at 5 → 0", "dial a: at 1 → 0"]);
    assert_eq!(world.lock().unwrap().ledger.len(), 5, "a plan changes nothing");
}

#[tokio::test]
async fn undo_leaves_alone_what_somebody_changed_since_and_says_what_it_is_now() {
    let world = dials();
    let journal = rejected(&world).await;
    world.lock().unwrap().at.insert("b".to_owned(), 9);
    let undo = undo_of(&world, &journal).unwrap();
    let finished = undo_on(&MemoryJournal::new(), &undo).await;
    assert_eq!(finished.outcome, Outcome::Undone);
    assert!(finished.says.contains("at is 9 now, and run run-1 left 5"), "{}", finished.says);
    assert_eq!(at(&world)["b"], 9);
    assert_eq!(at(&world)["a"], 0);
}

#[tokio::test]
async fn undo_of_a_run_twice_says_that_nothing_is_left() {
    let world = dials();
    let journal = rejected(&world).await;
    let undo = undo_of(&world, &journal).unwrap();
    undo_on(&MemoryJournal::new(), &undo).await;
    let again = plan(&undo, undo_terms(&undo), clock()).await.unwrap();
    assert!(!again.has_effects());
    assert!(again.ends.contains("nothing of run run-1 is left"), "{}", again.ends);
}

#[tokio::test]
async fn undo_killed_after_any_entry_is_taken_up_and_does_nothing_twice() {
    let whole = {
        let world = dials();
        let journal = rejected(&world).await;
        let undone = MemoryJournal::new();
        undo_on(&undone, &undo_of(&world, &journal).unwrap()).await;
        undone.links().len()
    };
    for cut in 0..whole {
        for happened in [true, false] {
            let world = dials();
            let journal = rejected(&world).await;
            let left = at(&world);
            let undo = undo_of(&world, &journal).unwrap();
            let plan = planned(&undo).await;
            let undone = MemoryJournal::new();
            undo_as_planned(&undone, &undo, plan.clone()).await;
            undone.cut(cut);
            // The world as it was when the undo was killed.
            let mut as_cut = left.clone();
            let entries = undone.entries().unwrap();
            let applied = entries.iter().filter(|e| matches!(e.event, Event::Applied { .. })).count();
            let mut done = 0;
            for entry in &entries {
                if let Event::Intended { changes, .. } = &entry.event {
                    done += 1;
                    if done <= applied || happened {
                        as_cut.insert(changes[0].id.clone(), changes[0].after.parse().unwrap());
                    }
                }
            }
            let sent = if happened { done } else { applied };
            {
                let mut world = world.lock().unwrap();
                world.at = as_cut;
                world.ledger.truncate(5 + sent);
            }
            let undo = undo_of(&world, &journal).unwrap();
            let finished = undo_as_planned(&undone, &undo, plan).await;
            assert_eq!(finished.outcome, Outcome::Undone, "cut after {cut}: {}", finished.says);
            assert_eq!(at(&world), at(&dials()), "cut after {cut}");
            let ledger = world.lock().unwrap().ledger[5..].to_vec();
            assert_eq!(ledger, ["a 1", "b 0", "a 0"], "cut after {cut}, {happened}");
        }
    }
}

#[tokio::test]
async fn undo_of_a_run_that_was_cut_anywhere_gives_the_world_back() {
    let whole = rejected(&dials()).await.links().len();
    for cut in 1..whole {
        for happened in [true, false] {
            let world = dials();
            let journal = rejected(&world).await;
            journal.cut(cut);
            replay_world(&world, &journal, happened);
            // Somebody ends it; what is in doubt stays in doubt.
            let runbook = Turning { world: Arc::clone(&world), approver: true };
            let finished = run_on(&journal, &runbook, clock(), terms()).await;
            assert_eq!(finished.outcome, Outcome::Rejected);
            let undo = undo_of(&world, &journal).unwrap();
            let finished = undo_on(&MemoryJournal::new(), &undo).await;
            assert_eq!(finished.outcome, Outcome::Undone, "cut after {cut}: {}", finished.says);
            assert_eq!(at(&world), at(&dials()), "cut after {cut}, last happened {happened}");
        }
    }
}

/// The same procedure, a version later.
struct Newer(Turning);
#[async_trait]
impl Runbook for Newer {
    fn id(&self) -> &'static str {
        self.0.id()
    }
    fn title(&self) -> &'static str {
        self.0.title()
    }
    fn version(&self) -> u32 {
        2
    }
    fn steps(&self) -> &'static [Step] {
        self.0.steps()
    }
    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        self.0.procedure(run).await
    }
}

#[tokio::test]
async fn undo_refuses_what_has_not_ended_what_is_an_undo_and_what_another_version_did() {
    let world = dials();
    let journal = MemoryJournal::new();
    let runbook = Turning { world: Arc::clone(&world), approver: true };
    run_on(&journal, &runbook, clock(), terms()).await;
    let refused = undo_of(&world, &journal).unwrap_err().to_string();
    assert!(refused.contains("has not ended") && refused.contains("allclear abort run-1"), "{refused}");

    let journal = rejected(&world).await;
    let undo = undo_of(&world, &journal).unwrap();
    let undone = MemoryJournal::new();
    undo_on(&undone, &undo).await;
    let refused = UndoRun::of(Box::new(undo), undone.journal("undo-1").unwrap()).unwrap_err().to_string();
    assert!(refused.contains("is an undo"), "{refused}");

    let newer = Newer(Turning { world: Arc::clone(&world), approver: true });
    let refused = UndoRun::of(Box::new(newer), journal.journal("run-1").unwrap()).unwrap_err().to_string();
    assert!(refused.contains("version 1") && refused.contains("version 2"), "{refused}");
}

#[tokio::test]
async fn undo_of_another_journal_than_was_planned_is_refused() {
    let world = dials();
    let journal = rejected(&world).await;
    let undo = undo_of(&world, &journal).unwrap();
    let terms = Terms {
        input: serde_json::json!({ "run": "run-1", "tail": "0000" }),
        ..Terms::new("undo-1", "lea", "toy")
    };
    let finished =
        run_planned_on(&MemoryJournal::new(), &undo, clock(), unplanned_for("undo-1"), terms).await;
    assert_eq!(finished.outcome, Outcome::Refused);
    assert_eq!(world.lock().unwrap().ledger.len(), 5);
}

/// What the list says, as `id now`, with what is not certain apart.
fn listed(entries: &[Entry]) -> (BTreeMap<String, u32>, Vec<String>) {
    let all: Vec<Left> = left(entries).into_iter().filter(|one| one.kind == "dial").collect();
    let certain =
        all.iter().filter(|one| one.certain).map(|one| (one.id.clone(), one.now.parse().unwrap())).collect();
    (certain, all.iter().filter(|one| !one.certain).map(|one| one.id.clone()).collect())
}

#[tokio::test]
async fn b3_every_cut_of_a_run_lists_exactly_what_is_left_changed() {
    let whole = rejected(&dials()).await.links().len();
    for cut in 0..=whole {
        for happened in [true, false] {
            let world = dials();
            let journal = rejected(&world).await;
            journal.cut(cut);
            replay_world(&world, &journal, happened);
            let entries = journal.entries().unwrap();
            let (certain, perhaps) = listed(&entries);
            let differs: BTreeMap<String, u32> = at(&world).into_iter().filter(|(_, at)| *at != 0).collect();
            for (dial, at) in &differs {
                let known = certain.get(dial) == Some(at) || perhaps.contains(dial);
                assert!(known, "cut after {cut}: {dial} is at {at} and not listed: {certain:?} {perhaps:?}");
            }
            for (dial, at) in &certain {
                assert_eq!(differs.get(dial), Some(at), "cut after {cut}");
            }
            assert!(perhaps.len() <= 1, "only the last one can be in doubt");
            check_citations(&Postmortem::from_entries(&entries, &[]), &entries).unwrap();
        }
    }
}

#[tokio::test]
async fn b3_an_end_says_what_is_left_and_with_which_command_it_comes_back() {
    let world = dials();
    let journal = rejected(&world).await;
    let entries = journal.entries().unwrap();
    let list = left(&entries);
    let texts: Vec<&str> = list.iter().map(|one| one.statement.text()).collect();
    assert_eq!(
        texts,
        [
            "dial a: at changed, 0 → 2; give it back with: allclear undo run-1.",
            "dial b: at changed, 0 → 5; give it back with: allclear undo run-1.",
            "message all: state changed, not posted → posted; it stays: a message that was sent stays sent.",
        ]
    );
    // Not ended: it goes on.
    journal.cut(entries.len() - 2);
    let list = left(&journal.entries().unwrap());
    assert_eq!(list[0].remedy, Remedy::Resume);
    assert_eq!(list[0].command("run-1").as_deref(), Some("allclear resume run-1"));
    // Verified: it was meant so.
    let world = dials();
    let journal = MemoryJournal::new();
    run_on(&journal, &Turning { world, approver: false }, clock(), terms()).await;
    assert!(left(&journal.entries().unwrap()).iter().all(|one| one.remedy == Remedy::OnPurpose));
}

#[tokio::test]
async fn undo_of_an_effect_whose_answer_was_lost_takes_it_back() {
    let world = dials();
    world.lock().unwrap().loses = true;
    let journal = rejected(&world).await;
    let undo = undo_of(&world, &journal).unwrap();
    let finished = undo_on(&MemoryJournal::new(), &undo).await;
    assert_eq!(finished.outcome, Outcome::Undone, "{}", finished.says);
    assert_eq!(at(&world), at(&dials()));
}
