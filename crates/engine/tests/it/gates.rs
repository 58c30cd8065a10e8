//! Who may answer, what counts, and what happens when nobody does.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::Rehearsal;
use allclear_engine::*;
use async_trait::async_trait;

use crate::crash::open_question;
use crate::toy::*;

const ASK: Step = Step { id: "TOY-I2", phase: Phase::Immediate, title: "Ask" };

pub(crate) struct Asking(pub(crate) Gate<Approval>);

#[async_trait]
impl Runbook for Asking {
    fn id(&self) -> &'static str {
        "asking"
    }
    fn title(&self) -> &'static str {
        "Asking"
    }
    fn version(&self) -> u32 {
        1
    }
    fn steps(&self) -> &'static [Step] {
        &[ASK]
    }
    fn rehearsal(&self) -> Option<Rehearsal> {
        Some(sandbox())
    }
    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        run.approve(&ASK, self.0.clone()).await?;
        run.resolve("approved", run.proof(&ASK)?)
    }
}

pub(crate) fn gate() -> Gate<Approval> {
    Gate::new("Go on?", Approval::Approve)
}

fn answer(question: &Question, choice: &str, by: &str) -> Answer {
    Answer::to(question, choice, by)
}

#[tokio::test]
async fn a_gate_waits_across_processes_and_a_no_ends_the_run() {
    for (choice, outcome) in [("approve", Outcome::Verified), ("reject", Outcome::Rejected)] {
        let journal = MemoryJournal::new();
        let first = run_on(&journal, &Asking(gate()), clock(), terms()).await;
        assert_eq!(first.outcome, Outcome::WaitingForHuman);
        let question = open_question(&journal);
        journal.answer(&question.gate, answer(&question, choice, "alex"));
        assert_eq!(run_on(&journal, &Asking(gate()), clock(), terms()).await.outcome, outcome);
    }
}

#[tokio::test]
async fn answers_that_do_not_count_are_recorded_and_change_nothing() {
    let four_eyes = Approvers {
        needed: 2,
        among: vec!["alex".into(), "kim".into(), "robin".into()],
        not_the_requester: true,
    };
    let runbook = Asking(gate().answered_by(four_eyes));
    let journal = MemoryJournal::new();
    run_on(&journal, &runbook, clock(), terms()).await;
    let question = open_question(&journal);
    let foreign = Answer { binding: "of-another-plan".into(), ..answer(&question, "approve", "alex") };
    let bad = [
        foreign,
        answer(&question, "maybe", "alex"),
        answer(&question, "approve", "kim"),
        answer(&question, "approve", "a stranger"),
    ];
    for one in bad {
        journal.answer(&question.gate, one);
    }
    let finished = run_on(&journal, &runbook, clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::WaitingForHuman);
    let refused =
        journal.entries().unwrap().iter().filter(|e| matches!(e.event, Event::AnswerRefused { .. })).count();
    assert_eq!(refused, 4);

    journal.answer(&question.gate, answer(&question, "approve", "alex"));
    journal.answer(&question.gate, answer(&question, "approve", "alex"));
    assert_eq!(
        run_on(&journal, &runbook, clock(), terms()).await.outcome,
        Outcome::WaitingForHuman,
        "one person is not two"
    );
    journal.answer(&question.gate, answer(&question, "approve", "robin"));
    assert_eq!(run_on(&journal, &runbook, clock(), terms()).await.outcome, Outcome::Verified);
}

#[tokio::test]
async fn at_the_deadline_the_declared_answer_counts() {
    for (declared, outcome) in [(Approval::Approve, Outcome::Verified), (Approval::Reject, Outcome::Rejected)]
    {
        let runbook = Asking(gate().expires(Duration::from_mins(10), declared));
        let journal = MemoryJournal::new();
        let clock = clock();
        let waiting = Terms { humans: Arc::new(Elsewhere), ..terms() };
        let finished = run_on(&journal, &runbook, clock.clone(), waiting).await;
        assert_eq!(finished.outcome, outcome);
        let expired = journal
            .entries()
            .unwrap()
            .into_iter()
            .find(|e| matches!(e.event, Event::GateExpired { .. }))
            .unwrap();
        assert_eq!(expired.at, "2026-11-23T09:10:00Z".parse().unwrap());
    }
}

#[tokio::test]
async fn an_abort_ends_the_run_before_the_next_effect() {
    let shared = world(&["a", "b"]);
    let journal = MemoryJournal::new();
    journal.abort("alex");
    let finished = run_on(&journal, &FlipAll::of(&shared), clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Rejected);
    assert!(shared.lock().unwrap().ledger.is_empty());
}

#[tokio::test]
async fn a_detached_run_goes_on_where_it_was() {
    let shared = world(&["a", "b"]);
    let journal = MemoryJournal::new();
    let detach = Detach::default();
    detach.request();
    let finished = run_on(&journal, &FlipAll::of(&shared), clock(), Terms { detach, ..terms() }).await;
    assert_eq!(finished.outcome, Outcome::Detached);
    assert!(shared.lock().unwrap().ledger.is_empty());
    assert_eq!(run_on(&journal, &FlipAll::of(&shared), clock(), terms()).await.outcome, Outcome::Verified);
}

pub(crate) fn two_others() -> Approvers {
    Approvers { needed: 2, among: vec![], not_the_requester: true }
}

fn refusals(journal: &MemoryJournal) -> usize {
    journal.entries().unwrap().iter().filter(|e| matches!(e.event, Event::AnswerRefused { .. })).count()
}

#[tokio::test]
async fn a_repeated_approval_is_one_and_two_people_are_two() {
    let runbook = Asking(gate().answered_by(two_others()));
    let journal = MemoryJournal::new();
    run_on(&journal, &runbook, clock(), terms()).await;
    let question = open_question(&journal);
    for by in ["alex", "alex"] {
        journal.answer(&question.gate, answer(&question, "approve", by));
    }
    assert_eq!(run_on(&journal, &runbook, clock(), terms()).await.outcome, Outcome::WaitingForHuman);
    assert_eq!(refusals(&journal), 1);
    journal.answer(&question.gate, answer(&question, "approve", "robin"));
    assert_eq!(run_on(&journal, &runbook, clock(), terms()).await.outcome, Outcome::Verified);
}

#[tokio::test]
async fn whoever_was_handed_the_run_does_not_approve_it_either() {
    let runbook = Asking(gate().answered_by(two_others()));
    let journal = MemoryJournal::new();
    run_on(&journal, &runbook, clock(), terms()).await;
    let question = open_question(&journal);
    journal.hand_over("kim", "robin");
    for by in ["robin", "alex", "sam"] {
        journal.answer(&question.gate, answer(&question, "approve", by));
    }
    assert_eq!(run_on(&journal, &runbook, clock(), terms()).await.outcome, Outcome::Verified);
    let entries = journal.entries().unwrap();
    let counted: Vec<&str> = entries
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::Answered { answer, .. } => Some(answer.by.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(counted, ["alex", "sam"]);
    let handed = entries
        .iter()
        .any(|e| matches!(&e.event, Event::HandedOver { from, to } if from == "kim" && to == "robin"));
    assert!(handed && refusals(&journal) == 1);
}

#[tokio::test]
async fn whoever_takes_a_run_up_does_not_become_its_requester() {
    let runbook = Asking(gate().answered_by(Approvers { needed: 1, ..two_others() }));
    let journal = MemoryJournal::new();
    run_on(&journal, &runbook, clock(), terms()).await;
    let question = open_question(&journal);
    for by in ["kim", "robin"] {
        journal.answer(&question.gate, answer(&question, "approve", by));
    }
    let robin = Terms { operator: "robin".to_owned(), ..terms() };
    assert_eq!(run_on(&journal, &runbook, clock(), robin).await.outcome, Outcome::WaitingForHuman);
    assert_eq!(refusals(&journal), 2, "neither who started it nor who has it now");
}

#[tokio::test]
async fn somebody_who_may_not_answer_is_not_asked_for_ever() {
    let runbook = Asking(gate().answered_by(two_others()));
    let journal = MemoryJournal::new();
    let stubborn = Terms { humans: Arc::new(AutoApprove { role: "kim".to_owned() }), ..terms() };
    let finished = run_on(&journal, &runbook, clock(), stubborn).await;
    assert_eq!((finished.outcome, refusals(&journal)), (Outcome::WaitingForHuman, 5));
}

fn counted(journal: &MemoryJournal) -> Vec<String> {
    let entries = journal.entries().unwrap().into_iter();
    let answers = entries.filter_map(|entry| match entry.event {
        Event::Answered { answer, .. } => Some(format!("{} {}", answer.by, answer.choice)),
        _ => None,
    });
    answers.collect()
}

/// Why answers were refused, as they are journalled.
fn reasons(journal: &MemoryJournal) -> Vec<String> {
    let entries = journal.entries().unwrap().into_iter();
    let reasons = entries.filter_map(|entry| match entry.event {
        Event::AnswerRefused { by, why, .. } => Some(format!("{by}: {why}")),
        _ => None,
    });
    reasons.collect()
}

fn typed_gate() -> Gate<Approval> {
    gate().confirmed_by(Approval::Approve, "the last two characters of the code", "Q7")
}

#[tokio::test]
async fn what_a_gate_wants_typed_must_be_right_and_is_written_nowhere() {
    let journal = MemoryJournal::new();
    run_on(&journal, &Asking(typed_gate()), clock(), terms()).await;
    let question = open_question(&journal);
    assert_eq!(question.choices[0].typing.as_deref(), Some("the last two characters of the code"));
    let yes = || answer(&question, "approve", "alex");
    for one in [yes(), yes().typing("k9"), yes().typing("")] {
        journal.answer(&question.gate, one);
    }
    let finished = run_on(&journal, &Asking(typed_gate()), clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::WaitingForHuman);
    assert_eq!(reasons(&journal).len(), 3);
    journal.answer(&question.gate, yes().typing(" q7 "));
    assert_eq!(run_on(&journal, &Asking(typed_gate()), clock(), terms()).await.outcome, Outcome::Verified);
    let written: String = journal.links().into_iter().map(|link| link.body).collect();
    for secret in ["Q7", "q7", "k9", "typed\":"] {
        assert!(!written.contains(secret), "{secret} is in the journal");
    }
    assert!(!format!("{:?} {:?}", typed_gate(), yes().typing("q7")).to_lowercase().contains("q7"));
}

#[tokio::test]
async fn a_no_needs_nothing_typed_and_no_second() {
    let runbook = || Asking(typed_gate().answered_by(two_others()));
    let journal = MemoryJournal::new();
    run_on(&journal, &runbook(), clock(), terms()).await;
    let question = open_question(&journal);
    journal.answer(&question.gate, answer(&question, "reject", "alex"));
    assert_eq!(run_on(&journal, &runbook(), clock(), terms()).await.outcome, Outcome::Rejected);
}

#[tokio::test]
async fn a_drill_role_is_typed_for_and_plays_those_who_may_answer() {
    let among = ["kim", "alex", "robin"].map(str::to_owned).to_vec();
    let gate = typed_gate().answered_by(Approvers { among, ..two_others() });
    let journal = MemoryJournal::new();
    let role = Terms { humans: Arc::new(AutoApprove { role: "role".to_owned() }), ..terms() };
    assert_eq!(run_on(&journal, &Asking(gate), clock(), role).await.outcome, Outcome::Verified);
    assert_eq!(counted(&journal), ["alex approve", "robin approve"]);
}

#[tokio::test]
async fn a_gate_that_nobody_could_settle_is_refused_at_once() {
    let among = vec!["kim".to_owned(), "alex".to_owned()];
    let gate = gate().answered_by(Approvers { among, ..two_others() });
    let journal = MemoryJournal::new();
    let finished = run_on(&journal, &Asking(gate), clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Refused);
    assert!(finished.says.contains("TOY-I2 takes 2 of kim, alex, and 1 of them"), "{}", finished.says);
}

#[tokio::test]
async fn an_answer_to_a_closed_gate_is_told_and_changes_nothing() {
    let journal = MemoryJournal::new();
    run_on(&journal, &Asking(gate()), clock(), terms()).await;
    let question = open_question(&journal);
    for (choice, by) in [("approve", "alex"), ("reject", "robin"), ("reject", "sam")] {
        journal.answer(&question.gate, answer(&question, choice, by));
    }
    assert_eq!(run_on(&journal, &Asking(gate()), clock(), terms()).await.outcome, Outcome::Verified);
    assert_eq!(counted(&journal), ["alex approve"]);
    let closed = ["robin", "sam"].map(|by| format!("{by}: the gate is closed: settled by alex"));
    assert_eq!(reasons(&journal), closed);
}

#[tokio::test]
async fn an_answer_given_before_the_question_counts_for_nothing() {
    let journal = MemoryJournal::new();
    let early = Answer {
        choice: "approve".into(),
        by: "alex".into(),
        binding: "0123456789ab".into(),
        comment: None,
        typed: None,
        accepted: None,
    };
    journal.answer("TOY-I2", early);
    let finished = run_on(&journal, &Asking(gate()), clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::WaitingForHuman);
    assert_eq!((counted(&journal).len(), reasons(&journal).len()), (0, 1));
}

#[tokio::test]
async fn an_answer_that_lies_ready_beats_the_deadline() {
    let runbook = || Asking(gate().expires(Duration::from_mins(10), Approval::Reject));
    let journal = MemoryJournal::new();
    let clock = clock();
    run_on(&journal, &runbook(), clock.clone(), terms()).await;
    let question = open_question(&journal);
    journal.answer(&question.gate, answer(&question, "approve", "alex"));
    clock.advance(Duration::from_hours(1));
    assert_eq!(run_on(&journal, &runbook(), clock.clone(), terms()).await.outcome, Outcome::Verified);

    let journal = MemoryJournal::new();
    run_on(&journal, &runbook(), clock.clone(), terms()).await;
    clock.advance(Duration::from_hours(1));
    assert_eq!(run_on(&journal, &runbook(), clock, terms()).await.outcome, Outcome::Rejected);
}

#[tokio::test]
async fn a_hand_over_outlives_the_process_that_recorded_it() {
    let runbook = || Asking(gate().answered_by(Approvers::somebody_else()));
    let journal = MemoryJournal::new();
    run_on(&journal, &runbook(), clock(), terms()).await;
    let question = open_question(&journal);
    journal.hand_over("kim", "robin");
    run_on(&journal, &runbook(), clock(), terms()).await;
    for by in ["robin", "kim", "sam"] {
        journal.answer(&question.gate, answer(&question, "approve", by));
    }
    let sam = Terms { operator: "alex".to_owned(), ..terms() };
    assert_eq!(run_on(&journal, &runbook(), clock(), sam).await.outcome, Outcome::Verified);
    assert_eq!(counted(&journal), ["sam approve"]);
    assert_eq!(
        allclear_engine::gate::holders(&journal.entries().unwrap()),
        ["robin", "alex"],
        "who has it, and who took it up"
    );
}

#[tokio::test]
async fn d3_whoever_started_a_run_is_one_person_under_every_spelling() {
    for by in ["kim", "Kim", "KIM", " kim", "kim\u{a0}", "ｋｉｍ", "KİM", "kım", "kim\u{200b}", "ki\u{34f}m"]
    {
        let runbook = || Asking(gate().answered_by(Approvers::somebody_else()));
        let journal = MemoryJournal::new();
        run_on(&journal, &runbook(), clock(), terms()).await;
        let question = open_question(&journal);
        journal.answer(&question.gate, answer(&question, "approve", by));
        let finished = run_on(&journal, &runbook(), clock(), terms()).await;
        assert_eq!(finished.outcome, Outcome::WaitingForHuman, "{by:?}");
        assert_eq!((counted(&journal).len(), refusals(&journal)), (0, 1), "{by:?}");
    }
}

#[tokio::test]
async fn d3_a_second_spelling_is_no_second_person_and_a_listed_one_may_be_spelled_otherwise() {
    let among = vec!["Jos\u{e9}".to_owned(), "lea".to_owned()];
    let runbook = || Asking(gate().answered_by(Approvers { among: among.clone(), ..two_others() }));
    let journal = MemoryJournal::new();
    run_on(&journal, &runbook(), clock(), terms()).await;
    let question = open_question(&journal);
    for by in ["jose\u{301}", "JOS\u{c9}", "ＬＥＡ"] {
        journal.answer(&question.gate, answer(&question, "approve", by));
    }
    assert_eq!(run_on(&journal, &runbook(), clock(), terms()).await.outcome, Outcome::Verified);
    assert_eq!(counted(&journal), ["jose\u{301} approve", "ＬＥＡ approve"]);
}

#[tokio::test]
async fn d3_a_hand_over_to_oneself_under_another_spelling_makes_no_second_person() {
    let runbook = || Asking(gate().answered_by(Approvers::somebody_else()));
    let journal = MemoryJournal::new();
    run_on(&journal, &runbook(), clock(), terms()).await;
    let question = open_question(&journal);
    journal.hand_over("kim", "Robin");
    for by in ["ROBIN", "Kim"] {
        journal.answer(&question.gate, answer(&question, "approve", by));
    }
    assert_eq!(run_on(&journal, &runbook(), clock(), terms()).await.outcome, Outcome::WaitingForHuman);
    assert_eq!((counted(&journal).len(), refusals(&journal)), (0, 2));
}

/// The same question at a platform that acts for real.
struct ForReal(Gate<Approval>);

#[async_trait]
impl Runbook for ForReal {
    fn id(&self) -> &'static str {
        "asking"
    }
    fn title(&self) -> &'static str {
        "Asking"
    }
    fn version(&self) -> u32 {
        1
    }
    fn steps(&self) -> &'static [Step] {
        &[ASK]
    }
    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        run.approve(&ASK, self.0.clone()).await?;
        run.resolve("approved", run.proof(&ASK)?)
    }
}

#[tokio::test]
async fn a_drill_role_answers_nothing_where_anything_is_real_and_never_after_a_run_began_there() {
    let role = || Terms { humans: Arc::new(AutoApprove { role: "role".to_owned() }), ..terms() };
    for gate in [gate(), typed_gate()] {
        let shown = plan(&ForReal(gate.clone()), terms(), clock()).await.unwrap();
        let nothing = || ApprovedPlan::changes_nothing(shown.clone(), "run-1").unwrap();
        let journal = MemoryJournal::new();
        let finished = run_planned_on(&journal, &ForReal(gate.clone()), clock(), nothing(), role()).await;
        assert_eq!(finished.outcome, Outcome::WaitingForHuman);
        // Taken up as a rehearsal it is none: it began for real.
        let finished = run_planned_on(&journal, &Asking(gate), clock(), nothing(), role()).await;
        assert_eq!(finished.outcome, Outcome::WaitingForHuman);
        assert!(counted(&journal).is_empty());
    }
}

/// A switch that stays as it was flipped.
struct Weld {
    flip: Flip,
    danger: Danger,
    /// How many things depend on it.
    extent: u64,
}

#[async_trait]
impl Effect for Weld {
    type Receipt = String;
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "switch.weld"
    }
    fn subject(&self) -> String {
        self.flip.subject()
    }
    fn title(&self) -> String {
        format!("weld {}", self.flip.name)
    }
    fn repeat(&self) -> Repeat {
        self.flip.repeat()
    }
    fn danger(&self) -> Danger {
        self.danger.clone()
    }
    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, allclear_core::PortError> {
        Ok(self.flip.predict(foreseen).await?.concerning(self.extent))
    }
    fn foresee(&self, prediction: &Prediction) -> String {
        self.flip.foresee(prediction)
    }
    async fn apply(&self, intent: &Intent) -> Result<Applied<String>, allclear_core::PortError> {
        self.flip.apply(intent).await
    }
    async fn reconcile(&self, intent: &Intent) -> Result<Reconciled<String>, allclear_core::PortError> {
        self.flip.reconcile(intent).await
    }
    async fn verify(
        &self,
        intent: &Intent,
        receipt: &String,
        now: jiff::Timestamp,
    ) -> Result<Judgement, allclear_core::PortError> {
        self.flip.verify(intent, receipt, now).await
    }
}

/// Welds all switches: at once, or one after the other; asking first, or not.
struct Welding {
    world: Shared,
    danger: Danger,
    extent: u64,
    covered: bool,
    at_once: bool,
}

impl Welding {
    fn of(world: &Shared) -> Self {
        let danger = Danger::CannotBeTakenBack { why: "it is welded" };
        Self { world: Arc::clone(world), danger, extent: 0, covered: false, at_once: true }
    }

    fn welds(&self) -> Vec<Weld> {
        let names: Vec<String> = self.world.lock().unwrap().on.keys().cloned().collect();
        let weld = |name: &String| Weld {
            flip: Flip::new(&self.world, name),
            danger: self.danger.clone(),
            extent: self.extent,
        };
        names.iter().map(weld).collect()
    }
}

#[async_trait]
impl Runbook for Welding {
    fn id(&self) -> &'static str {
        "welding"
    }
    fn title(&self) -> &'static str {
        "Welding"
    }
    fn version(&self) -> u32 {
        1
    }
    fn steps(&self) -> &'static [Step] {
        &[ASK]
    }
    fn rehearsal(&self) -> Option<Rehearsal> {
        Some(sandbox())
    }
    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        if self.covered {
            let gate = self.welds().iter().fold(gate().about("weld"), Gate::covering);
            run.approve(&ASK, gate).await?;
        }
        if self.at_once {
            run.perform_each(&ASK, self.welds()).await?;
        } else {
            for weld in self.welds() {
                run.perform(&ASK, weld).await?;
            }
        }
        run.resolve("welded", run.proof(&ASK)?)
    }
}

fn strict_terms() -> Terms {
    let dangerous = allclear_core::ports::DangerousApprovals {
        among: vec!["kim".into(), "lea".into(), "ren".into()],
        needed: 2,
        valid_for: Some(Duration::from_mins(15)),
        most_messages: None,
    };
    Terms { dangerous, ..terms() }
}

/// The questions that were asked, each with who may answer.
fn asked(journal: &MemoryJournal) -> Vec<Question> {
    let entries = journal.entries().unwrap().into_iter();
    let asked = entries.filter_map(|entry| match entry.event {
        Event::Asked { question, .. } => Some(question),
        _ => None,
    });
    asked.collect()
}

#[tokio::test]
async fn what_cannot_be_taken_back_is_asked_about_by_the_engine_once_for_all_of_it() {
    let shared = world(&["a", "b"]);
    let journal = MemoryJournal::new();
    let runbook = || Welding::of(&shared);
    let shown = plan(&runbook(), strict_terms(), clock()).await.unwrap();
    assert_eq!(run_on(&journal, &runbook(), clock(), strict_terms()).await.outcome, Outcome::WaitingForHuman);
    assert!(shared.lock().unwrap().ledger.is_empty());
    let questions = asked(&journal);
    assert_eq!(questions.len(), 1);
    let question = &questions[0];
    assert_eq!(shown.gates.iter().map(|gate| &gate.question).collect::<Vec<_>>(), [&question.question]);
    assert!(question.shown.iter().any(|line| line.contains("switch b: state off → on")), "{question:?}");
    assert_eq!(
        question.approvers,
        Approvers { needed: 2, not_the_requester: true, ..question.approvers.clone() }
    );
    assert!(question.deadline.is_some() && question.at_deadline.as_deref() == Some("reject"));
    for by in ["kim", "mia", "lea", "Lea", "ren"] {
        journal.answer(&question.gate, answer(question, "approve", by));
    }
    assert_eq!(run_on(&journal, &runbook(), clock(), strict_terms()).await.outcome, Outcome::Verified);
    assert_eq!(counted(&journal), ["lea approve", "ren approve"]);
    assert_eq!(
        (asked(&journal).len(), shared.lock().unwrap().ledger.clone()),
        (1, vec!["a".into(), "b".into()])
    );
}

#[tokio::test]
async fn what_a_gate_covered_is_not_asked_about_again_and_that_gate_takes_whom_the_environment_names() {
    for at_once in [true, false] {
        let shared = world(&["a", "b"]);
        let journal = MemoryJournal::new();
        let runbook = || Welding { covered: true, at_once, ..Welding::of(&shared) };
        let shown = plan(&runbook(), strict_terms(), clock()).await.unwrap();
        assert_eq!(shown.gates.len(), 1);
        run_on(&journal, &runbook(), clock(), strict_terms()).await;
        let question = open_question(&journal);
        for by in ["kim", "mia", "lea", "ren"] {
            journal.answer(&question.gate, answer(&question, "approve", by));
        }
        assert_eq!(run_on(&journal, &runbook(), clock(), strict_terms()).await.outcome, Outcome::Verified);
        assert_eq!((asked(&journal).len(), counted(&journal).len(), refusals(&journal)), (1, 2, 2));
    }
}

#[tokio::test]
async fn a_no_or_no_answer_in_time_does_nothing_that_cannot_be_taken_back() {
    for said_no in [true, false] {
        let shared = world(&["a", "b"]);
        let journal = MemoryJournal::new();
        let clock = clock();
        let runbook = || Welding { at_once: false, ..Welding::of(&shared) };
        run_on(&journal, &runbook(), clock.clone(), strict_terms()).await;
        let question = open_question(&journal);
        if said_no {
            journal.answer(&question.gate, answer(&question, "reject", "lea"));
        } else {
            clock.advance(Duration::from_mins(15));
        }
        assert_eq!(run_on(&journal, &runbook(), clock, strict_terms()).await.outcome, Outcome::Rejected);
        assert!(shared.lock().unwrap().ledger.is_empty());
    }
}

#[tokio::test]
async fn what_moved_since_somebody_agreed_to_it_is_asked_about_again_and_what_is_so_already_is_not() {
    let shared = world(&["a"]);
    let journal = MemoryJournal::new();
    run_on(&journal, &Welding::of(&shared), clock(), terms()).await;
    let question = open_question(&journal);
    journal.answer(&question.gate, answer(&question, "approve", "lea"));
    shared.lock().unwrap().on.insert("a".into(), true);
    let finished = run_on(&journal, &Welding::of(&shared), clock(), terms()).await;
    assert_eq!((finished.outcome, asked(&journal).len()), (Outcome::Verified, 1));
    assert!(shared.lock().unwrap().ledger.is_empty(), "it was so already");

    let journal = MemoryJournal::new();
    let finished = run_on(&journal, &Welding::of(&shared), clock(), terms()).await;
    assert_eq!((finished.outcome, asked(&journal).len()), (Outcome::Verified, 0));
}

#[tokio::test]
async fn beyond_the_limit_somebody_else_agrees_and_within_it_nobody_has_to() {
    for (extent, questions) in [(0, 0), (100, 0), (101, 1)] {
        let shared = world(&["a"]);
        let danger = Danger::Beyond { what: "messages", limit: 100 };
        let runbook = Welding { danger, extent, ..Welding::of(&shared) };
        let journal = MemoryJournal::new();
        assert_eq!(plan(&runbook, terms(), clock()).await.unwrap().gates.len(), questions);
        let outcome = run_on(&journal, &runbook, clock(), terms()).await.outcome;
        assert_eq!(outcome == Outcome::WaitingForHuman, questions == 1, "{extent}");
        assert_eq!(asked(&journal).len(), questions);
    }
}

#[tokio::test]
async fn who_agrees_to_what_is_dangerous_stays_who_it_was_when_the_run_began() {
    let shared = world(&["a"]);
    let journal = MemoryJournal::new();
    let clock = clock();
    let detach = Detach::default();
    detach.request();
    run_on(&journal, &Welding::of(&shared), clock.clone(), Terms { detach, ..strict_terms() }).await;
    run_on(&journal, &Welding::of(&shared), clock, terms()).await;
    assert_eq!(open_question(&journal).approvers.among, ["kim", "lea", "ren"]);
}

/// A choice that says nothing of who may give it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl Choice for Side {
    const ALL: &'static [Self] = &[Self::Left, Self::Right];

    fn id(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
        }
    }

    fn says(self) -> &'static str {
        match self {
            Self::Left => "turn left",
            Self::Right => "turn right",
        }
    }
}

#[tokio::test]
async fn a_gate_that_takes_two_people_takes_two_for_every_answer_that_does_not_stop() {
    let runbook = crate::patience::doing(|run: &mut Run| {
        Box::pin(async move {
            let approvers = Approvers { needed: 2, ..Approvers::anyone() };
            let side = run.ask(&FLIP, Gate::new("Where to?", Side::Left).answered_by(approvers)).await?;
            Ok(format!("{side:?}"))
        })
    });
    let journal = MemoryJournal::new();
    run_on(&journal, &runbook, clock(), terms()).await;
    let question = open_question(&journal);
    let said: Vec<&str> = question.choices.iter().map(|one| one.says.as_str()).collect();
    assert_eq!(said, ["turn left", "turn right"]);
    for (by, outcome) in [("alex", Outcome::WaitingForHuman), ("robin", Outcome::Verified)] {
        journal.answer(&question.gate, answer(&question, "right", by));
        let finished = run_on(&journal, &runbook, clock(), terms()).await;
        assert_eq!(finished.outcome, outcome, "{by}: {}", finished.says);
    }
}

#[tokio::test]
async fn a_question_says_what_each_answer_means_and_what_is_typed_shows_nowhere() {
    let gate = gate().confirmed_by(Approval::Approve, "the last two characters", "x7");
    let debugged = format!("{gate:?}");
    assert!(debugged.contains("the last two characters") && !debugged.contains("x7"), "{debugged}");
    let journal = MemoryJournal::new();
    run_on(&journal, &Asking(gate), clock(), terms()).await;
    let question = open_question(&journal);
    let said: Vec<&str> = question.choices.iter().map(|one| one.says.as_str()).collect();
    assert_eq!(said, ["go on as shown", "do not do this"]);
    let typed = format!("{:?}", answer(&question, "approve", "alex").typing("x7"));
    assert!(typed.contains("Typed(…)") && !typed.contains("x7"), "{typed}");
}

#[tokio::test]
async fn whoever_is_asked_about_a_doubt_reads_what_each_answer_does() {
    let shared = world(&["a"]);
    shared.lock().unwrap().moods = vec![Mood::LosesAnswer];
    let journal = MemoryJournal::new();
    let runbook = FlipAll { repeat: Repeat::Neither, ..FlipAll::of(&shared) };
    run_on(&journal, &runbook, clock(), terms()).await;
    let said: Vec<(String, String)> =
        open_question(&journal).choices.into_iter().map(|one| (one.id, one.says)).collect();
    let said: Vec<(&str, &str)> = said.iter().map(|(id, says)| (id.as_str(), says.as_str())).collect();
    assert_eq!(
        said,
        [
            ("happened", "I looked: it happened; go on without doing it again"),
            ("did-not-happen", "I looked: it did not happen; do it now"),
            ("stop", "it cannot be told; end the run here"),
        ]
    );
}

#[tokio::test]
async fn a_look_for_a_signal_returns_at_once_and_waits_for_nothing() {
    let (journal, clock) = (MemoryJournal::new(), clock());
    let mut seam = journal.seam(clock.clone()).unwrap();
    let began = allclear_core::Clock::now(&*clock);
    let later = began + Duration::from_hours(1);
    assert_eq!(seam.signal("TOY-I2", Some(later), false).await.unwrap(), seam::Woken::Time);
    assert_eq!(allclear_core::Clock::now(&*clock), began);
    assert_eq!(seam.signal("TOY-I2", Some(later), true).await.unwrap(), seam::Woken::Time);
    assert_eq!(allclear_core::Clock::now(&*clock), later);
}

#[tokio::test]
async fn b9_an_answer_that_was_taken_in_at_the_deadline_or_after_it_is_too_late() {
    let runbook = Asking(gate().expires(Duration::from_mins(30), Approval::Reject));
    let journal = MemoryJournal::new();
    run_on(&journal, &runbook, clock(), terms()).await;
    let question = journal.entries().unwrap().into_iter().find_map(|entry| match entry.event {
        Event::Asked { question, .. } => Some(question),
        _ => None,
    });
    let question = question.unwrap();
    let deadline = question.deadline.unwrap();
    for (seconds, counts) in [(-1, true), (0, false), (1, false)] {
        let at = deadline + jiff::SignedDuration::from_secs(seconds);
        let accepted = Some(allclear_engine::gate::Accepted { at, holders: vec!["kim".into()] });
        let late = Answer { accepted, ..answer(&question, "approve", "alex") };
        let judged = question.check(&late, &[], &["kim"]);
        assert_eq!(judged.is_ok(), counts, "{seconds} s after the deadline: {judged:?}");
        assert!(
            counts || matches!(judged, Err(allclear_engine::gate::AnswerRefused::TooLate { .. })),
            "{judged:?}"
        );
    }
}
