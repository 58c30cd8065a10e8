//! What the report says about journals that were built by hand.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod journal;
mod whatsapp;

use allclear_engine::effect::{Repeat, Verdict};
use allclear_engine::gate::Accepted;
use allclear_engine::journal::{Doing, Entry, Event, Waiting};
use allclear_engine::report::{
    CitationError, Form, Postmortem, TimeSpent, check_citations, time_spent, timeline, to_markdown,
};
use allclear_engine::{Outcome, Phase, Step};
use jiff::SignedDuration;

use journal::{Fx, Journal, of};
use whatsapp::{HOSTILE, STEPS};

const S1: Step = Step { id: "S1", phase: Phase::Mitigate, title: "One" };

fn tell(journal: &Journal) -> Postmortem {
    Postmortem::from_entries(journal.entries(), STEPS)
}

fn sum(spent: &TimeSpent) -> SignedDuration {
    [spent.machine, spent.human, spent.waiting, spent.verifying, spent.interrupted].iter().sum()
}

fn thing() -> Fx {
    Fx {
        of: of(&S1, "thing"),
        effect: "thing.do",
        title: "do the thing".to_owned(),
        change: ["thing", "it", "state", "undone", "done"],
        repeat: Repeat::Readable,
    }
}

#[test]
fn a_whole_incident_reads_well() {
    insta::assert_snapshot!("resolved", to_markdown(&tell(&whatsapp::resolved()), Form::Full));
}

#[test]
fn the_short_form_is_a_paragraph_and_what_is_open() {
    insta::assert_snapshot!("short", to_markdown(&tell(&whatsapp::resolved()), Form::Short));
    let unfinished = to_markdown(&tell(&whatsapp::unfinished()), Form::Short);
    assert!(unfinished.contains("has not ended"), "{unfinished}");
    assert!(!unfinished.contains("Nothing is left open"), "{unfinished}");
}

#[test]
fn the_review_form_has_neither_evidence_nor_time_tables() {
    let page = to_markdown(&tell(&whatsapp::resolved()), Form::Review);
    for there in ["## Timeline", "## What was changed", "## People"] {
        assert!(page.contains(there), "{there}: {page}");
    }
    for not_there in ["## Evidence", "## Where the time went", "## Verification"] {
        assert!(!page.contains(not_there), "{not_there}: {page}");
    }
}

#[test]
fn an_interrupted_run_says_that_it_has_not_ended() {
    let told = tell(&whatsapp::unfinished());
    assert_eq!((told.header.outcome, told.header.ended), (None, None));
    insta::assert_snapshot!("unfinished", to_markdown(&told, Form::Full));
}

#[test]
fn every_statement_cites_entries_that_exist() {
    for journal in [whatsapp::resolved(), whatsapp::unfinished(), whatsapp::hostile()] {
        for length in 0..=journal.entries().len() {
            let entries = &journal.entries()[..length];
            let told = Postmortem::from_entries(entries, STEPS);
            assert!(told.statements().all(|statement| !statement.cites().is_empty()));
            check_citations(&told, entries).unwrap();
        }
    }
}

#[test]
fn a_report_of_another_journal_is_noticed() {
    let journal = whatsapp::resolved();
    let told = tell(&journal);
    let cut = &journal.entries()[..journal.entries().len() - 1];
    assert!(matches!(check_citations(&told, cut), Err(CitationError::Missing { .. })));
    let mut other = journal.entries().to_vec();
    other[0].key = "another".to_owned();
    assert_eq!(check_citations(&told, &other), Err(CitationError::Differs { seq: 1 }));
}

#[test]
fn hostile_text_stays_text() {
    let journal = whatsapp::hostile();
    let told = tell(&journal);
    let page = to_markdown(&told, Form::Full);
    for bad in ["<script", "\u{1b}", "\u{202e}", "\r", " `x`", "https://", "[31m"] {
        assert!(!page.contains(bad), "{bad:?} in\n{page}");
    }
    assert!(!page.replace("\\]", "").contains("]("));
    assert!(page.lines().all(|line| !line.starts_with("# Owned") && line != "| --- |"));
    // Every row of a table has the cells that its header has.
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    for rows in page.split("\n\n").filter(|part| part.starts_with('|')) {
        let header = rows.lines().next().map(cells);
        assert!(rows.lines().all(|row| Some(cells(row)) == header), "{rows}");
    }
    for moment in timeline(journal.entries()) {
        assert!(!moment.says.chars().any(char::is_control), "{moment:?}");
    }
    assert!(told.statements().all(|statement| !statement.text().contains(HOSTILE)));
}

#[test]
fn the_parts_of_time_are_what_the_entries_say() {
    let spent = time_spent(whatsapp::resolved().entries());
    assert_eq!(sum(&spent), spent.wall_clock);
    assert_eq!(spent.interrupted, SignedDuration::from_secs(372));
    assert_eq!(spent.human, SignedDuration::from_secs(65 + 127));
    assert!(spent.verifying > SignedDuration::from_secs(65), "{spent:?}");
    assert!(spent.set_back.is_empty());
}

#[test]
fn d6_an_interruption_while_a_person_is_asked_is_peoples_time() {
    let mut j = Journal::at("2026-11-23T09:00:00Z");
    let gate = of(&S1, "");
    j.asked(&gate, "Go on?", &[], &["approve"]).secs(10).detached("nobody is here");
    j.secs(60).resumed("kim", 1).secs(5).answered(&gate, "kim", "approve", None);
    let spent = time_spent(j.entries());
    assert_eq!(spent.human, SignedDuration::from_secs(75));
    assert_eq!(spent.interrupted, SignedDuration::ZERO);
    assert_eq!(spent.by_step[0].human, spent.human);
    assert_eq!(sum(&spent), spent.wall_clock);
}

#[test]
fn d6_an_interruption_before_a_question_is_an_interruption() {
    let mut j = Journal::at("2026-11-23T09:00:00Z");
    let gate = of(&S1, "");
    j.started("kim").secs(10).detached("killed").secs(60).resumed("kim", 1);
    j.secs(1).asked(&gate, "Go on?", &[], &["approve"]).secs(5).answered(&gate, "kim", "approve", None);
    j.secs(2).detached("killed").secs(30).resumed("kim", 2);
    let spent = time_spent(j.entries());
    assert_eq!((spent.human.as_secs(), spent.interrupted.as_secs()), (5, 90));
    assert_eq!(sum(&spent), spent.wall_clock);
}

/// The process died twice at the gate; the answer was handed in 40 s into the second absence of 100 s.
#[test]
fn d6_an_answer_handed_in_while_nobody_ran_ends_peoples_time() {
    let mut j = Journal::at("2026-11-23T09:00:00Z");
    let gate = of(&S1, "");
    j.asked(&gate, "Go on?", &[], &["approve"]).secs(10).resumed("kim", 1).secs(10).detached("killed");
    let accepted = Accepted { at: j.now() + SignedDuration::from_secs(40), holders: Vec::new() };
    j.secs(100).resumed("kim", 2).ms(3).answered(&gate, "kim", "approve", None);
    let mut entries = j.entries().to_vec();
    if let Event::Answered { answer, .. } = &mut entries.last_mut().unwrap().event {
        answer.accepted = Some(accepted);
    }
    let spent = time_spent(&entries);
    assert_eq!(spent.interrupted, SignedDuration::from_secs(60));
    assert_eq!(spent.human, SignedDuration::from_millis(60_003));
    assert_eq!(sum(&spent), spent.wall_clock);
}

#[test]
fn a_clock_that_was_set_back_keeps_the_sum_and_is_told() {
    let mut j = Journal::at("2026-11-23T09:00:00Z");
    j.started("kim").secs(10).observed(&of(&S1, ""), "seen", &[]).secs(-60);
    j.concluded(Outcome::Verified, "done");
    let told = tell(&j);
    assert_eq!(told.time.spent.wall_clock, SignedDuration::from_secs(-50));
    assert_eq!(sum(&told.time.spent), told.time.spent.wall_clock);
    assert_eq!(told.time.spent.set_back, [3]);
    assert!(to_markdown(&told, Form::Full).contains("set back once before this entry"));
}

#[test]
fn the_parts_add_up_in_any_journal() {
    let mut state: u64 = 0x5eed;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for journal in 0..200 {
        let mut j = Journal::at("2026-11-23T09:00:00Z");
        let fx = thing();
        for incarnation in 0..next(60) as u32 {
            // Mostly forward, sometimes back, never by whole milliseconds alone.
            j.ms(next(9_000) as i64 - 500);
            match next(11) {
                0 => j.started("kim"),
                1 => j.resumed("kim", incarnation),
                2 => j.asked(&fx.of, "Go on?", &[], &["approve", "did-not-happen"]),
                3 => j.answered(&fx.of, "kim", "approve", None),
                4 => j.refused(&fx.of, "lee"),
                5 => j.slept(&fx.of, 7, Waiting::ToVerify, "look again"),
                6 => j.slept(&fx.of, 7, Waiting::ForTheWorld, "wait"),
                7 => j.judged(&fx, whatsapp::verified("done"), &[]),
                8 => j.intended(&fx, 1, incarnation),
                9 => j.in_doubt(&fx, "lost"),
                _ => j.applied(&fx, 1, "done"),
            };
        }
        let mut entries: Vec<Entry> = j.entries().to_vec();
        for entry in &mut entries {
            entry.at += SignedDuration::from_nanos(next(1_000) as i64);
        }
        let spent = time_spent(&entries);
        assert_eq!(sum(&spent), spent.wall_clock, "journal {journal}");
        let told = Postmortem::from_entries(&entries, &[S1]);
        check_citations(&told, &entries).unwrap();
    }
}

#[test]
fn an_effect_that_came_out_in_the_end_leaves_no_question() {
    let mut j = Journal::at("2026-11-23T09:00:00Z");
    let fx = thing();
    j.started("kim").intended(&fx, 1, 1).applied(&fx, 1, "it was done");
    j.judged(&fx, Verdict::Refuted { says: "it is undone".to_owned() }, &[]);
    j.intended(&fx, 1, 2).applied(&fx, 1, "it was done");
    let before = tell(&j).open_questions.len();
    j.judged(&fx, whatsapp::verified("it is done"), &[]).concluded(Outcome::Verified, "done");
    let told = tell(&j);
    assert_eq!(before, 2, "not ended, and not read back");
    assert_eq!(told.open_questions.len(), 1);
    assert!(told.open_questions[0].text().starts_with("The journal leaves nothing open"));
    let verdicts: Vec<&str> = told.verification.iter().map(|row| row.verdict.as_str()).collect();
    assert_eq!(verdicts, ["refuted", "verified"]);
}

#[test]
fn an_intent_at_the_end_of_the_journal_is_in_doubt() {
    let mut j = Journal::at("2026-11-23T09:00:00Z");
    j.started("kim").intended(&thing(), 1, 0);
    let told = tell(&j);
    assert_eq!(told.doubts.len(), 1);
    assert!(told.changed.is_empty());
    assert!(told.open_questions.iter().any(|open| open.text().starts_with("Did “do the thing” happen?")));
}

#[test]
fn a_person_settles_a_doubt() {
    let mut j = Journal::at("2026-11-23T09:00:00Z");
    let fx = thing();
    let gate = of(&S1, "thing thing.do");
    j.started("kim").intended(&fx, 1, 0).in_doubt(&fx, "the answer was lost");
    j.asked(&gate, "Did this happen?", &[], &["happened", "did-not-happen", "stop"]);
    assert!(tell(&j).open_questions.iter().any(|open| open.text().starts_with("Did “do the thing” happen?")));
    j.answered(&gate, "kim", "happened", None).judged(&fx, whatsapp::verified("it is done"), &[]);
    j.concluded(Outcome::Verified, "done");
    let told = tell(&j);
    assert!(told.open_questions[0].text().starts_with("The journal leaves nothing open"));
    assert_eq!(told.changed.len(), 1);
    assert_eq!(told.doubts[0].then[0].text(), "kim looked and said that it had happened.");
}

#[test]
fn the_same_failure_again_is_counted_and_told_once() {
    let mut j = Journal::at("2026-11-23T09:00:00Z");
    let error = allclear_core::PortError::NotFound {
        service: allclear_core::Service::Supabase,
        what: "row".to_owned(),
    };
    for attempt in 1..=5 {
        j.secs(1).failed(&of(&S1, ""), Doing::Observing, attempt, error.clone());
    }
    j.concluded(Outcome::Unverified, "no row");
    assert_eq!(timeline(j.entries()).len(), 2);
    assert_eq!(tell(&j).failed_calls[0].count, 5);
}

#[test]
fn the_last_entry_is_always_told() {
    let journal = whatsapp::resolved();
    for length in 1..=journal.entries().len() {
        let entries = &journal.entries()[..length];
        let last = timeline(entries).pop().unwrap();
        assert_eq!(last.seq, length as u64);
        assert!(last.says.ends_with(['.', '?', '!', '…']), "{}", last.says);
    }
}

#[test]
fn the_json_names_its_schema_and_its_citations() {
    let json = serde_json::to_value(tell(&whatsapp::resolved())).unwrap();
    assert_eq!(json["schema"], "allclear.postmortem/1");
    assert_eq!(json["header"]["outcome"], "verified");
    assert_eq!(json["timeline"][0]["statement"]["cites"], serde_json::json!([1]));
}

#[test]
fn nothing_is_told_of_an_empty_journal() {
    let told = Postmortem::from_entries(&[], STEPS);
    assert_eq!(told.statements().count(), 0);
    assert!(to_markdown(&told, Form::Full).contains("nothing to tell"));
}

#[test]
fn a_question_that_takes_two_people_is_open_until_the_second() {
    let mut j = Journal::at("2026-11-23T09:00:00Z");
    let gate = of(&S1, "");
    j.asked(&gate, "Go on?", &[], &["approve"]);
    let mut entries = j
        .secs(5)
        .answered(&gate, "kim", "approve", None)
        .secs(7)
        .answered(&gate, "lee", "approve", None)
        .entries()
        .to_vec();
    if let Event::Asked { question, .. } = &mut entries[0].event {
        question.approvers.needed = 2;
    }
    assert_eq!(time_spent(&entries).human, SignedDuration::from_secs(12));
    let told = Postmortem::from_entries(&entries[..2], &[]);
    assert!(
        told.open_questions
            .iter()
            .any(|open| open.text() == "The run has not ended: it waits for an answer at S1: Go on?")
    );
}
