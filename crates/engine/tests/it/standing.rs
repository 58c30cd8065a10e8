//! Which question of a journal is open, and who holds its run: read from entries alone.

use allclear_engine::gate::{AnswerRefused, Standing, holders};
use allclear_engine::*;
use serde_json::{Value, json};

use crate::crash::open_question;
use crate::gates::{Asking, gate};
use crate::toy::*;

fn entries(events: &[Value]) -> Vec<Entry> {
    let entry = |(seq, event): (usize, &Value)| {
        let whole = json!({ "seq": seq + 1, "at": "2026-11-23T07:00:00Z", "mono_us": 0, "key": format!("k{seq}"), "event": event });
        serde_json::from_value(whole).unwrap()
    };
    events.iter().enumerate().map(entry).collect()
}

async fn asked() -> (Question, Vec<Entry>) {
    let journal = MemoryJournal::new();
    run_on(&journal, &Asking(gate().answered_by(Approvers::somebody_else())), clock(), terms()).await;
    (open_question(&journal), journal.entries().unwrap())
}

#[tokio::test]
async fn a_question_whose_time_is_up_or_whose_run_has_ended_is_not_open() {
    let (_, mut open) = asked().await;
    open.retain(|entry| !matches!(entry.event, Event::Detached { .. }));
    assert!(Standing::of(&open).is_some());
    let of = json!({ "step": "TOY-I2", "phase": "immediate" });
    for after in [
        json!({ "is": "gate_expired", "of": of, "choice": "reject" }),
        json!({ "is": "concluded", "outcome": "rejected", "says": "ended" }),
    ] {
        let closed: Vec<Entry> = open.iter().cloned().chain(entries(&[after])).collect();
        assert!(Standing::of(&closed).is_none());
    }
}

#[tokio::test]
async fn whoever_started_a_run_holds_it_until_somebody_else_does() {
    let (_, open) = asked().await;
    let started: Vec<Entry> =
        open.into_iter().filter(|entry| matches!(entry.event, Event::Started { .. })).collect();
    let Event::Started { operator, .. } = &started[0].event else { panic!("it has not started") };
    assert_eq!(holders(&started), std::slice::from_ref(operator));
    let over = entries(&[json!({ "is": "handed_over", "from": operator, "to": "lea" })]);
    assert_eq!(holders(&[started, over].concat()), ["lea"]);
}

#[tokio::test]
async fn whoever_is_refused_reads_each_name_once() {
    let (question, _) = asked().await;
    let answer = Answer::to(&question, "approve", question.requester.clone());
    let refused = question.check(&answer, &[], &[question.requester.as_str(), "lea"]).unwrap_err();
    let AnswerRefused::NotAllowed { who, .. } = refused else { panic!("{refused:?}") };
    assert_eq!(who, format!("somebody other than {} and lea", question.requester));
}
