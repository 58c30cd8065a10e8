//! A run that a person ends, and what is known of it afterwards: why it was ended, what it left, and who may give it back.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::desk::{ALLCLEAR, Desk, STATUS, stderr, stdout, world};
use crate::gates::{RUN, desk};

/// The run that this desk began last.
fn last_run(desk: &Desk) -> String {
    let status: Value = serde_json::from_str(&stdout(&desk.call(&STATUS))).unwrap();
    status["runs"][0]["id"].as_str().unwrap().to_owned()
}

/// A command at another machine: another store of runs, the same platform.
fn elsewhere(desk: &Desk, args: &[&str]) -> Output {
    let mut command = desk.command(Path::new(ALLCLEAR), args);
    command.env("ALLCLEAR_STATE_DIR", desk.folder().join("lea")).env("ALLCLEAR_OPERATOR", "lea");
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
}

/// Begins a run that comes to wait for people, and ends it there.
fn ended(desk: &Desk) -> (String, Output) {
    let waits = desk.call(&RUN);
    assert_eq!(waits.status.code(), Some(11), "{}", stderr(&waits));
    let run = last_run(desk);
    assert_eq!(desk.call(&["abort", &run]).status.code(), Some(0));
    let ended = desk.call(&["resume", &run, "--no-input"]);
    assert_eq!(ended.status.code(), Some(12), "{}", stderr(&ended));
    (run, ended)
}

#[test]
fn an_undo_beside_a_run_of_another_machine_that_goes_on_changes_nothing_until_that_has_ended() {
    let desk = desk();
    let (run, _) = ended(&desk);
    let other = elsewhere(&desk, &RUN);
    assert_eq!(other.status.code(), Some(11), "{}", stderr(&other));
    let before = desk.effects();
    for how in [&["--plan-only"][..], &["--no-input"], &["--yes"]] {
        let refused = desk.call(&[&["undo", run.as_str()][..], how].concat());
        assert_eq!(refused.status.code(), Some(16), "{how:?}: {}", stderr(&refused));
        assert!(stderr(&refused).contains("has not ended and may have taken over"), "{}", stderr(&refused));
        assert!(stderr(&refused).contains(&format!("allclear undo {run}")), "{}", stderr(&refused));
    }
    assert_eq!(desk.effects(), before, "nothing was given back beside it");

    assert_eq!(elsewhere(&desk, &["abort", "@last"]).status.code(), Some(0));
    assert_eq!(elsewhere(&desk, &["resume", "@last", "--no-input"]).status.code(), Some(12));
    let free = desk.call(&["undo", &run, "--yes"]);
    assert_eq!(free.status.code(), Some(14), "{}{}", stdout(&free), stderr(&free));
}

#[test]
fn why_a_run_was_ended_is_on_record() {
    let desk = desk();
    let waits = desk.call(&RUN);
    assert_eq!(waits.status.code(), Some(11), "{}", stderr(&waits));
    let run = last_run(&desk);
    let empty = desk.call(&["abort", &run, "--reason", " "]);
    assert_eq!(empty.status.code(), Some(2), "{}", stderr(&empty));
    let abort = desk.call(&["abort", &run, "--reason", "the alarm was a test"]);
    assert_eq!(abort.status.code(), Some(0), "{}", stderr(&abort));
    let ended = desk.call(&["resume", &run, "--no-input"]);
    assert_eq!(ended.status.code(), Some(12), "{}", stderr(&ended));
    assert!(stdout(&ended).contains("kim ended the run: the alarm was a test"), "{}", stdout(&ended));
    let report = desk.call(&["report", &run]);
    assert!(stdout(&report).contains("the alarm was a test"), "{}", stdout(&report));
    let store = rusqlite::Connection::open(desk.state().join("runs.db")).unwrap();
    let concluded = "SELECT count(*) FROM entry WHERE body LIKE '%concluded%the alarm was a test%'";
    let rows: i64 = store.query_row(concluded, [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1, "the chained end says it");
}

#[test]
fn a_page_of_a_run_that_was_ended_is_named_with_its_key_also_after_the_undo() {
    let desk = Desk::with(&world(&json!({ "scenario": "policy-blocked", "minutes": 600 }), "target"));
    let (run, end) = ended(&desk);
    assert!(desk.effects().contains_key("pagerduty.trigger incident"), "{:?}", desk.effects());
    let key = format!("whatsapp-send-failures/{run}");
    let undo = format!("allclear undo {run}");
    let status = desk.call(&["status", &run]);
    for said in [stdout(&end), stdout(&status)] {
        assert!(said.contains(&key) && said.contains("Still open:") && said.contains("#ops"), "{said}");
        assert!(said.contains(&undo) && said.contains("ticket"), "{said}");
    }
    let undone = desk.call(&["undo", &run, "--yes"]);
    assert_eq!(undone.status.code(), Some(14), "{}{}", stdout(&undone), stderr(&undone));
    let status = stdout(&desk.call(&["status", &run]));
    assert!(status.contains(&key) && !status.contains(&format!("give it back with: {undo}")), "{status}");
}
