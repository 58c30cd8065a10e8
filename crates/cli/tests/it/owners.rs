//! One owner: of a platform, whatever it is called, there is one run of a runbook at a time.

use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::desk::{ALLCLEAR, Desk, STATUS, stderr, stdout, world};
use crate::gates::{RUN, Running, desk};
use crate::journals::copy_all;

/// How often runs said that they go on, and that they have ended, as the platform has it.
fn on_record(desk: &Desk) -> (usize, usize) {
    let effects = desk.effects();
    let rows = |action: &str| effects.get(&format!("audit.insert {action}")).copied().unwrap_or(0);
    (rows("allclear_run_started"), rows("allclear_run_ended"))
}

/// The campaigns that are paused.
fn paused(desk: &Desk) -> Vec<Value> {
    let state = desk.with_control(async |control| control.state().await.unwrap());
    let campaigns = state["state"]["campaigns"].as_array().unwrap().iter();
    campaigns.filter(|one| one["status"] == "paused").map(|one| one["name"].clone()).collect()
}

/// The run that a process of this store began.
fn last_run(desk: &Desk) -> String {
    let status: Value = serde_json::from_str(&stdout(&desk.call(&STATUS))).unwrap();
    status["runs"][0]["id"].as_str().unwrap().to_owned()
}

/// A process of another machine: another store of runs, the same platform.
fn on_machine(desk: &Desk, machine: &str, args: &[&str]) -> Child {
    let mut command = desk.command(Path::new(ALLCLEAR), args);
    command.env("ALLCLEAR_STATE_DIR", desk.folder().join(machine)).env("ALLCLEAR_OPERATOR", machine);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn d5b_another_name_of_the_same_platform_is_held_by_the_run_that_has_it() {
    let desk = desk();
    // The same place, written another way.
    let also = desk.url.replace("127.0.0.1", "LOCALHOST");
    desk.configure(&format!("\n[environment.also]\nkind = \"sandbox\"\nurl = \"{also}/\"\n"));
    let doctor = desk.call(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(10), "{}", stderr(&doctor));
    assert!(
        stdout(&doctor).contains("`also` and `box` are names of the same platform"),
        "{}",
        stdout(&doctor)
    );

    let run = Running::start(&desk, &[&RUN[..], &["--wait"]].concat(), Stdio::null());
    run.until_said("The run asked");
    let second = desk.call(&[&RUN[..], &["--env", "also"]].concat());
    assert_eq!(second.status.code(), Some(16), "{}", stderr(&second));
    let said = stderr(&second);
    assert!(
        said.contains("`also` here, and `box` there: both are names of the same platform")
            && said.contains("allclear watch "),
        "{said}"
    );
}

#[test]
fn d5_of_two_machines_that_start_at_once_exactly_one_goes_on() {
    let small = json!({ "scenario": "outage", "minutes": 3 });
    let desk = Desk::with(&world(&small, "as-is"));
    for round in 0..20 {
        for machine in ["lea", "ren"] {
            let _ = std::fs::remove_dir_all(desk.folder().join(machine));
        }
        desk.start_over(&world(&small, "as-is"));
        let both = ["lea", "ren"].map(|machine| on_machine(&desk, machine, &RUN));
        let ended = both.map(|child| child.wait_with_output().unwrap());
        let codes = ended.each_ref().map(|one| one.status.code().unwrap());
        let refused = ended.iter().filter(|one| one.status.code() == Some(16)).count();
        let said: String = ended.iter().map(stderr).collect();
        assert_eq!(refused, 1, "{round}: {codes:?}\n{said}");
        let twice: Vec<_> = desk.effects().into_iter().filter(|(_, times)| *times > 1).collect();
        assert!(twice.is_empty(), "{round}: {twice:?}\n{said}");
        let loser = ended.iter().find(|one| one.status.code() == Some(16)).map(stderr).unwrap();
        assert!(
            loser.contains("has not ended, so nothing was begun here") && loser.contains("--take-over"),
            "{loser}"
        );
        assert_eq!(on_record(&desk), (1, 0), "{round}: the one that goes on waits at a gate\n{said}");
    }
}

#[test]
fn d5_a_run_is_announced_until_it_ends_and_a_dead_machines_is_taken_over_by_a_persons_word() {
    let desk = desk();
    let before = paused(&desk);
    let waits = on_machine(&desk, "lea", &RUN).wait_with_output().unwrap();
    assert_eq!(waits.status.code(), Some(11), "{}", stderr(&waits));
    let doctor = desk.call(&["doctor"]);
    assert!(stdout(&doctor).contains("announced on the platform: run wsf-"), "{}", stdout(&doctor));
    assert!(stdout(&doctor).contains("started by lea on "), "{}", stdout(&doctor));
    let held = desk.call(&RUN);
    assert_eq!(held.status.code(), Some(16), "{}", stderr(&held));
    let said = stderr(&held);
    let run = said.split("run wsf-").nth(1).map(|rest| format!("wsf-{}", &rest[..6])).unwrap();
    let bare = desk.call(&[&RUN[..], &["--take-over", &run]].concat());
    assert_eq!(bare.status.code(), Some(2), "a reason is wanted: {}", stderr(&bare));
    let wrong = desk.call(&[&RUN[..], &["--take-over", "wsf-000000", "--reason", "it burnt"]].concat());
    assert_eq!(wrong.status.code(), Some(2), "{}", stderr(&wrong));
    assert!(stderr(&wrong).contains(&run), "{}", stderr(&wrong));
    let reason = "that laptop is broken, ask +250788123456; password=hunter3secret";
    let word = ["--take-over", &run, "--reason", reason, "--auto-approve"];
    let taken = desk.call(&[&RUN[..], &word].concat());
    assert!(stderr(&taken).contains("is on record as gone, by the word of kim"), "{}", stderr(&taken));
    assert_eq!(taken.status.code(), Some(0), "it comes to its end: {}", stderr(&taken));
    assert_eq!(paused(&desk), before, "what the dead machine paused is brought back: {}", stderr(&taken));
    let free = desk.call(&["doctor"]);
    assert!(!stdout(&free).contains("announced on the platform"), "{}", stdout(&free));
    // The machine that is not gone reads the word on the platform's record.
    let back = on_machine(&desk, "lea", &["resume", "@last"]).wait_with_output().unwrap();
    let told = stderr(&back);
    assert!(told.contains("that laptop is broken"), "{told}");
    assert!(!told.contains("788123456") && !told.contains("hunter3"), "{told}");
}

#[test]
fn d5_a_platform_that_cannot_be_told_holds_nothing_up() {
    let desk = desk();
    desk.with_control(async |control| control.faults(&["audit_write_lost"], &[], &[]).await.unwrap());
    let ran = desk.call(&RUN);
    assert_eq!(ran.status.code(), Some(11), "{}", stderr(&ran));
    assert!(stderr(&ran).contains("that no other machine runs the same is not proven"), "{}", stderr(&ran));
}

#[test]
fn d5_of_two_runs_of_one_store_at_once_exactly_one_goes_on() {
    let path = json!({ "scenario": "key-collision" });
    let spec = json!({ "seed": 7, "campaigns": 2, "targets_per_campaign": 20, "vouchers": 20, "stations": 3,
        "notifications": 10, "profile": "as-is", "scenario": path });
    let desk = Desk::with(&spec);
    let run = ["run", "station-redeem-anomalies", "--yes", "--auto-approve"];
    let alone = desk.call(&run);
    let (code, calm) = (alone.status.code(), desk.effects());
    for round in 0..5 {
        desk.start_over(&spec);
        let both = [(); 2].map(|()| {
            let mut command = desk.command(Path::new(ALLCLEAR), &run);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        });
        let ended = both.map(|child| child.wait_with_output().unwrap());
        let said: String = ended.iter().map(stderr).collect();
        let codes = ended.each_ref().map(|one| one.status.code());
        assert!(codes.contains(&code), "{round}: {codes:?} and {code:?} alone\n{said}");
        // One that begins when the other is through finds what is left to do, which may be nothing.
        if codes.contains(&Some(16)) {
            assert_eq!(desk.effects(), calm, "{round}: {said}");
        }
        let (began, through) = on_record(&desk);
        assert_eq!(began, through, "{round}: {said}");
    }
}

#[test]
fn d5_an_interrupted_run_of_this_store_is_named_with_what_goes_on_or_ends_it() {
    let desk = desk();
    assert_eq!(desk.call(&RUN).status.code(), Some(11));
    let first = last_run(&desk);
    assert_eq!(on_record(&desk), (1, 0), "a run that waits keeps its announcement");
    let second = desk.call(&RUN);
    assert_eq!(second.status.code(), Some(16), "{}", stderr(&second));
    let said = stderr(&second) + &stdout(&second);
    for next in ["resume", "hand-over", "abort"] {
        assert!(said.contains(&format!("allclear {next} {first}")), "{next}: {said}");
    }
    let taken = desk.call(&[&RUN[..], &["--take-over", &first, "--reason", "it is old"]].concat());
    assert_eq!(taken.status.code(), Some(2), "what is kept here is not gone: {}", stderr(&taken));
    assert!(stderr(&taken).contains(&format!("allclear resume {first}")), "{}", stderr(&taken));
    assert_eq!(on_record(&desk), (1, 0));

    // Ended without ever having a process again until it is taken up: nothing stands then.
    assert_eq!(desk.call(&["abort", &first]).status.code(), Some(0));
    let ended = desk.call(&["resume", &first, "--no-input"]);
    assert_eq!(ended.status.code(), Some(12), "{}", stderr(&ended));
    assert_eq!(on_record(&desk), (1, 1));
    let third = desk.call(&RUN);
    assert_ne!(third.status.code(), Some(16), "{}", stderr(&third));
}

#[test]
fn d5_a_run_that_is_ended_as_damaged_blocks_nobody() {
    let desk = desk();
    assert_eq!(desk.call(&RUN).status.code(), Some(11));
    let run = last_run(&desk);
    let store = rusqlite::Connection::open(desk.state().join("runs.db")).unwrap();
    store.execute("UPDATE entry SET body = replace(body, 'kim', 'kIm') WHERE seq = 1", []).unwrap();
    drop(store);
    assert_eq!(desk.call(&["resume", &run]).status.code(), Some(1), "it is damaged");
    let closed = desk.call(&["abort", &run, "--damaged", "--reason", "the disk flipped a bit"]);
    assert_eq!(closed.status.code(), Some(0), "{}", stderr(&closed));
    assert!(stderr(&closed).contains("the platform was told that run"), "{}", stderr(&closed));
    assert_eq!(on_record(&desk), (1, 1));
}

#[test]
fn d5_a_run_that_is_taken_over_while_its_machine_was_away_does_nothing_more() {
    let desk = desk();
    let waits = on_machine(&desk, "lea", &RUN).wait_with_output().unwrap();
    assert_eq!(waits.status.code(), Some(11), "{}", stderr(&waits));
    let said = stderr(&desk.call(&RUN));
    let run = said.split("run wsf-").nth(1).map(|rest| format!("wsf-{}", &rest[..6])).unwrap();
    let taken = desk.call(&[&RUN[..], &["--take-over", &run, "--reason", "that laptop is broken"]].concat());
    assert!(matches!(taken.status.code(), Some(0 | 10 | 11)), "{}", stderr(&taken));
    let before = desk.effects();
    let back = on_machine(&desk, "lea", &["resume", "@last", "--auto-approve"]).wait_with_output().unwrap();
    assert_eq!(back.status.code(), Some(16), "{}", stderr(&back));
    assert!(stderr(&back).contains("that laptop is broken"), "who did it and why: {}", stderr(&back));
    assert_eq!(desk.effects(), before);
}

#[test]
fn d5_a_run_that_is_taken_over_while_it_lives_applies_nothing_more() {
    let desk = desk();
    let mut lives = Running::start(&desk, &[&RUN[..], &["--wait"]].concat(), Stdio::null());
    lives.until_said("The run asked");
    let run = last_run(&desk);
    let word = ["--take-over", &run, "--reason", "nobody answers there"];
    let taken = on_machine(&desk, "ren", &[&RUN[..], &word].concat()).wait_with_output().unwrap();
    assert!(matches!(taken.status.code(), Some(0 | 10 | 11)), "{}", stderr(&taken));
    let before = desk.effects();
    assert_eq!(desk.answer(&["approve", "@last", "--as", "lea"]).status.code(), Some(0));
    assert_eq!(lives.exit_code(), Some(16), "{}", lives.said());
    assert!(lives.said().contains("nobody answers there"), "who did it and why: {}", lives.said());
    assert_eq!(desk.effects(), before);
}

#[test]
fn d2_an_old_copy_of_the_whole_state_folder_does_nothing_again() {
    let desk = desk();
    assert_eq!(desk.call(&RUN).status.code(), Some(11));
    copy_all(&desk.state(), &desk.folder().join("backup"));
    let ended = desk.call(&["resume", "@last", "--auto-approve"]);
    assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
    let (before, digest) = (desk.effects(), desk.digest());
    let old = on_machine(&desk, "backup", &["resume", "@last", "--auto-approve"]).wait_with_output().unwrap();
    assert_eq!(old.status.code(), Some(16), "{}", stderr(&old));
    assert!(stderr(&old).contains("it is an older copy"), "{}", stderr(&old));
    assert_eq!((desk.effects(), desk.digest()), (before, digest));
    let aborted = on_machine(&desk, "backup", &["abort", "@last"]).wait_with_output().unwrap();
    assert_eq!(aborted.status.code(), Some(0), "a person ends the copy: {}", stderr(&aborted));
}

#[test]
fn d2_of_two_copies_of_a_state_folder_at_once_only_one_acts() {
    let desk = desk();
    let begin = || {
        desk.start_over(&world(&json!({ "scenario": "outage", "minutes": 3 }), "as-is"));
        assert_eq!(desk.call(&RUN).status.code(), Some(11));
    };
    begin();
    assert_eq!(desk.call(&["resume", "@last", "--auto-approve"]).status.code(), Some(0));
    let calm = desk.effects();
    for round in 0..6 {
        begin();
        let copy = desk.folder().join("copy");
        let _ = std::fs::remove_dir_all(&copy);
        copy_all(&desk.state(), &copy);
        let both = ["state", "copy"].map(|of| on_machine(&desk, of, &["resume", "@last", "--auto-approve"]));
        let ended = both.map(|child| child.wait_with_output().unwrap());
        let codes = ended.each_ref().map(|one| one.status.code().unwrap());
        let said: String = ended.iter().map(stderr).collect();
        let more = |(effect, times): &(String, usize)| *times > calm.get(effect).copied().unwrap_or(1);
        let twice: Vec<_> = desk.effects().into_iter().filter(more).collect();
        assert!(twice.is_empty(), "{round}: {codes:?} {twice:?}\n{said}");
        assert!(codes.contains(&16), "{round}: {codes:?}\n{said}");
    }
}

#[test]
fn d5_a_run_whose_end_the_platform_lost_is_told_again_by_whoever_resumes_it() {
    let desk = desk();
    assert_eq!(desk.call(&RUN).status.code(), Some(11));
    let run = last_run(&desk);
    desk.with_control(async |control| control.faults(&["audit_write_lost"], &[], &[]).await.unwrap());
    assert_eq!(desk.call(&["abort", &run]).status.code(), Some(0));
    let ended = desk.call(&["resume", &run, "--no-input"]);
    assert_eq!(ended.status.code(), Some(12), "{}", stderr(&ended));
    assert!(stderr(&ended).contains("could not be told that the run has ended"), "{}", stderr(&ended));
    assert_eq!(on_record(&desk), (1, 0));
    desk.with_control(async |control| control.faults(&[], &["audit_write_lost"], &[]).await.unwrap());
    let told = desk.call(&["resume", &run]);
    assert_eq!(told.status.code(), Some(16), "it has ended: {}", stderr(&told));
    assert!(stderr(&told).contains("the platform was told that run"), "{}", stderr(&told));
    assert_eq!(on_record(&desk), (1, 1));
}

#[test]
fn d5_stop_all_says_what_it_reaches() {
    let desk = desk();
    let stopped = desk.call(&["stop-all"]);
    assert!(stderr(&stopped).contains("those of other machines go on"), "{}", stderr(&stopped));
}
