//! Who may answer, what counts, and what happens when nobody does.

use std::sync::Arc;
use std::time::Duration;

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
    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        run.approve(&ASK, self.0.clone()).await?;
        Ok(Resolution::verified("approved"))
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
