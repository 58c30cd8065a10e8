//! Several people at one gate, as processes of their own.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::desk::{ALLCLEAR, Desk, STATUS, binding, stderr, stdout, world};
use crate::gates::{RUN, desk};

fn double_redemption() -> serde_json::Value {
    world(&json!({ "scenario": "double-redemption" }), "target")
}

/// Starts the run as kim, waiting at its gates, and returns when it asks.
fn waiting_run(desk: &Desk) -> Child {
    let args = ["run", "station-redeem-anomalies", "--yes", "--wait"];
    let mut child =
        desk.command(Path::new(ALLCLEAR), &args).stderr(std::process::Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while !stdout(&desk.call(&["report", "@last"])).contains("the run asked") {
        if began.elapsed() > Duration::from_secs(30) {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the run does not come to its gate");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child
}

fn answer_as(desk: &Desk, name: &str) -> i32 {
    desk.answer(&["approve", "@last", "--as", name]).status.code().unwrap()
}

#[test]
fn two_people_at_once_and_again_void_each_voucher_once() {
    let desk = Desk::with(&double_redemption());
    let mut run = waiting_run(&desk);
    assert_eq!(answer_as(&desk, "kim"), 16, "whoever started it does not approve it");
    let (folder, state) = (desk.folder().to_owned(), desk.state());
    let binding = binding(&desk.call(&STATUS));
    let codes: Vec<i32> = std::thread::scope(|scope| {
        let lanes: Vec<_> = ["lea", "ren", "lea", "ren"]
            .into_iter()
            .map(|name| {
                let (folder, state, binding) = (&folder, &state, &binding);
                scope.spawn(move || {
                    let mut command = std::process::Command::new(ALLCLEAR);
                    command
                        .args(["approve", "@last", "--as", name, "--binding", binding])
                        .current_dir(folder);
                    command.env("ALLCLEAR_STATE_DIR", state).env_remove("ALLCLEAR_CONFIG");
                    command.output().unwrap().status.code().unwrap()
                })
            })
            .collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).collect()
    });
    assert!(codes.iter().all(|code| matches!(code, 0 | 16)), "{codes:?}");
    assert_eq!(run.wait().unwrap().code(), Some(0));
    let effects = desk.effects();
    let of = |name: &str| -> Vec<usize> {
        effects.iter().filter(|(effect, _)| effect.starts_with(name)).map(|(_, times)| *times).collect()
    };
    for effect in ["voucher.void", "voucher.reserve", "voucher.release"] {
        assert_eq!(of(effect), [1, 1, 1], "{effect}: {effects:?}");
    }
    assert_eq!(answer_as(&desk, "sam"), 16, "the run is over");
}

#[test]
fn a_run_that_is_handed_over_is_nobodys_to_approve_alone() {
    let desk = Desk::with(&double_redemption());
    let args = ["run", "station-redeem-anomalies", "--yes", "--no-input"];
    assert_eq!(desk.call(&args).status.code(), Some(11));
    let handed = desk.call(&["hand-over", "@last", "--to", "lea"]);
    assert_eq!(handed.status.code(), Some(0), "{}", stderr(&handed));
    assert!(stdout(&handed).contains("from kim to lea"), "{}", stdout(&handed));
    let resumed = desk.call(&["resume", "@last", "--no-input", "--as", "lea"]);
    assert_eq!(resumed.status.code(), Some(11), "{}", stderr(&resumed));
    for name in ["kim", "lea"] {
        assert_eq!(answer_as(&desk, name), 16, "{name} started it or has it");
    }
    assert_eq!((answer_as(&desk, "ren"), answer_as(&desk, "sam")), (0, 0));
    let finished = desk.call(&["resume", "@last", "--as", "lea"]);
    assert_eq!(finished.status.code(), Some(0), "{}", stderr(&finished));
    let report = stdout(&desk.call(&["report", "@last"]));
    assert!(report.contains("kim handed the run over to lea"), "{report}");
    let nobody = desk.call(&["hand-over", "@last", "--to", " "]);
    assert_eq!(nobody.status.code(), Some(2), "{}", stderr(&nobody));
}

fn asked(desk: &Desk) {
    let args = ["run", "station-redeem-anomalies", "--yes", "--no-input"];
    assert_eq!(desk.call(&args).status.code(), Some(11));
}

#[test]
fn only_those_whom_the_environment_names_approve_and_as_many_as_it_wants() {
    let desk = Desk::with(&double_redemption());
    desk.configure(
        "[environment.box.approvers]\ndangerous = [\"lea\", \"ren\", \"sam\", \"kim\"]\nneeded = 3\n",
    );
    asked(&desk);
    let refused = desk.answer(&["approve", "@last", "--as", "mia"]);
    assert_eq!(refused.status.code(), Some(16), "mia is not listed");
    assert!(stderr(&refused).contains("lea or ren or sam or kim"), "{}", stderr(&refused));
    assert_eq!(answer_as(&desk, "kim"), 16, "kim is listed and started the run");
    assert_eq!((answer_as(&desk, "lea"), answer_as(&desk, "lea")), (0, 16), "nobody counts twice");
    assert_eq!(answer_as(&desk, "ren"), 0);
    let waiting = desk.call(&["resume", "@last", "--no-input"]);
    assert_eq!(waiting.status.code(), Some(11), "two of three: {}", stderr(&waiting));
    assert!(desk.effects().keys().all(|effect| !effect.starts_with("voucher.")), "{:?}", desk.effects());
    assert_eq!(answer_as(&desk, "sam"), 0);
    let finished = desk.call(&["resume", "@last", "--no-input"]);
    assert_eq!(finished.status.code(), Some(0), "{}", stderr(&finished));
}

#[test]
fn a_run_keeps_its_approvers_when_the_file_changes() {
    let desk = Desk::with(&double_redemption());
    let before = std::fs::read_to_string(desk.folder().join("allclear.toml")).unwrap();
    desk.configure("[environment.box.approvers]\ndangerous = [\"lea\", \"ren\"]\n");
    asked(&desk);
    std::fs::write(desk.folder().join("allclear.toml"), before).unwrap();
    assert_eq!(desk.call(&["resume", "@last", "--no-input"]).status.code(), Some(11));
    assert_eq!(answer_as(&desk, "mia"), 16);
    assert_eq!((answer_as(&desk, "lea"), answer_as(&desk, "ren")), (0, 0));
    assert_eq!(desk.call(&["resume", "@last", "--no-input"]).status.code(), Some(0));
}

/// In virtual time a wait takes no time, so nobody can answer before the deadline.
#[test]
fn an_approval_that_does_not_come_in_time_is_a_no() {
    let desk = Desk::with(&double_redemption());
    desk.configure("[environment.box.approvers]\nvalid_minutes = 15\n");
    let args = ["run", "station-redeem-anomalies", "--yes", "--wait"];
    let run = desk.call(&args);
    assert_eq!(run.status.code(), Some(12), "{}", stderr(&run));
    assert!(desk.effects().keys().all(|effect| !effect.starts_with("voucher.")), "{:?}", desk.effects());
    assert_eq!(answer_as(&desk, "lea"), 16, "too late");
}

#[test]
fn approvers_that_could_never_agree_are_refused_before_anything_happens() {
    let cases = [
        (
            "dangerous = [\"lea\"]\nneeded = 2",
            "environment.box.approvers.needed is 2 and only lea may answer",
        ),
        ("needed = 0", "environment.box.approvers.needed is 0"),
        ("valid_minutes = 0", "environment.box.approvers.valid_minutes is 0"),
        ("dangerous = [\"lea\", \"lea\"]", "names lea twice"),
        ("dangerous = [\"lea\", \"LEA\"]", "names lea twice, as LEA too"),
        ("dangerous = [\"ren\", \"jos\u{e9}\", \"Jose\u{301}\"]", "twice"),
        ("dangerous = [\"le\u{200b}a\"]", "invisible character U+200B"),
        ("dangerous = [\"l\u{435}a\"]", "mixes Latin letters with those of Cyrillic"),
        ("dangerous = [\" \"]", "has an empty name"),
        ("dangerus = []", "unknown field `dangerus`"),
    ];
    let desk = Desk::with(&double_redemption());
    let before = std::fs::read_to_string(desk.folder().join("allclear.toml")).unwrap();
    for (table, told) in cases {
        std::fs::write(desk.folder().join("allclear.toml"), &before).unwrap();
        desk.configure(&format!("[environment.box.approvers]\n{table}\n"));
        let plan = desk.call(&["plan", "station-redeem-anomalies"]);
        assert_eq!(plan.status.code(), Some(2), "{table}");
        assert!(stderr(&plan).contains(told), "{table}: {}", stderr(&plan));
    }
}

/// Case 71: whoever started the run is one person, however the name is typed.
#[test]
fn d3_the_starter_does_not_approve_under_another_spelling() {
    let desk = Desk::with(&double_redemption());
    asked(&desk);
    for name in ["kim", "Kim", "KIM", " kim", "ｋｉｍ", "KİM", "kim\u{a0}"] {
        let refused = desk.answer(&["approve", "@last", "--as", name]);
        assert_eq!(refused.status.code(), Some(16), "{name:?}: {}", stderr(&refused));
        assert!(stderr(&refused).contains("somebody other than kim"), "{name:?}: {}", stderr(&refused));
    }
    for name in ["kim\u{200b}", "\u{202e}mik", "k\u{456}m"] {
        let refused = desk.answer(&["approve", "@last", "--as", name]);
        assert_eq!(refused.status.code(), Some(2), "{name:?}: {}", stderr(&refused));
    }
    assert_eq!((answer_as(&desk, "Lea"), answer_as(&desk, "LEA"), answer_as(&desk, "ren")), (0, 16, 0));
}

#[test]
fn b9_who_approved_in_time_may_take_the_run_up_after_the_deadline() {
    let desk = Desk::with(&double_redemption());
    desk.configure("[environment.box.approvers]\nvalid_minutes = 15\n");
    asked(&desk);
    assert_eq!((answer_as(&desk, "lea"), answer_as(&desk, "ren")), (0, 0));
    desk.with_control(async |_| {
        use allclear_core::Clock as _;
        let clock = allclear_clients::sandbox::SandboxClock::at(&desk.url).await.unwrap();
        clock.sleep_until(clock.now() + Duration::from_hours(1)).await;
    });
    assert_eq!(answer_as(&desk, "sam"), 16, "too late");
    let finished = desk.call(&["resume", "@last", "--no-input", "--as", "lea"]);
    assert_eq!(finished.status.code(), Some(0), "{}", stderr(&finished));
}

#[test]
fn d5c_nobody_approves_or_takes_over_a_run_that_somebody_ended() {
    let desk = Desk::with(&double_redemption());
    asked(&desk);
    assert_eq!(desk.call(&["abort", "@last", "--as", "mia"]).status.code(), Some(0));
    for args in [
        &["approve", "@last", "--as", "lea"][..],
        &["reject", "@last", "--as", "lea"],
        &["hand-over", "@last", "--to", "lea"],
    ] {
        let refused = desk.call(args);
        assert_eq!(refused.status.code(), Some(16), "{args:?}: {}", stderr(&refused));
        assert!(stderr(&refused).contains("mia asked the run to end"), "{args:?}: {}", stderr(&refused));
    }
    assert_eq!(answer_as(&desk, "lea"), 16);
    assert_eq!(desk.call(&["resume", "@last", "--no-input"]).status.code(), Some(12));
    assert!(desk.effects().keys().all(|effect| !effect.starts_with("voucher.")), "{:?}", desk.effects());
}

#[test]
fn an_approval_of_a_stopped_run_is_kept_and_said_to_wait() {
    let desk = Desk::with(&double_redemption());
    asked(&desk);
    desk.call(&["stop-all", "--reason", "the platform is restored", "--as", "mia"]);
    let kept = desk.answer(&["approve", "@last", "--as", "lea"]);
    assert_eq!(kept.status.code(), Some(0), "{}", stderr(&kept));
    assert!(stderr(&kept).contains("mia stopped all automation"), "{}", stderr(&kept));
}

#[test]
fn a_table_of_approvers_that_cannot_be_read_is_nobodys_leave() {
    for table in ["null", "[]", "{}", "{\"among\":\"anybody\",\"needed\":1,\"valid_for\":null}"] {
        let desk = Desk::with(&double_redemption());
        desk.configure("[environment.box.approvers]\ndangerous = [\"lea\", \"ren\"]\n");
        asked(&desk);
        let store = rusqlite::Connection::open(desk.state().join("runs.db")).unwrap();
        let set = format!("UPDATE run SET context = json_set(context, '$.approvers', json('{table}'))");
        store.execute(&set, []).unwrap();
        drop(store);
        let refused = desk.call(&["resume", "@last", "--no-input"]);
        assert_ne!(refused.status.code(), Some(11), "{table}: {}", stderr(&refused));
        assert_ne!(refused.status.code(), Some(0), "{table}: {}", stderr(&refused));
        assert!(desk.effects().keys().all(|effect| !effect.starts_with("voucher.")), "{:?}", desk.effects());
    }
}

#[test]
fn d5c_a_status_says_what_was_handed_in_and_what_takes_it_up() {
    let desk = desk();
    assert_eq!(desk.call(&RUN).status.code(), Some(11));
    let binding = binding(&desk.call(&STATUS));
    let approve =
        |more: &[&str]| desk.call(&[&["approve", "@last", "--binding", &binding][..], more].concat());
    let elsewhere = approve(&["--gate", "WA-X9 another"]);
    assert_eq!(elsewhere.status.code(), Some(16));
    assert!(stderr(&elsewhere).contains(", and not at `WA-X9 another`"), "{}", stderr(&elsewhere));
    assert_eq!(approve(&["--as", "lea", "--comment", "  "]).status.code(), Some(0));

    let told: serde_json::Value = serde_json::from_str(&stdout(&desk.call(&STATUS))).unwrap();
    let run = told["runs"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        told["runs"][0]["handed_in"],
        serde_json::json!({ "handed_in": "answer", "by": "lea", "choice": "approve" })
    );
    assert_eq!(told["runs"][0]["next"], format!("allclear resume {run}"));
    let status = stdout(&desk.call(&["status", "@last"]));
    assert!(
        status.contains(&format!("lea answered `approve`; it takes that up with: allclear resume {run}")),
        "{status}"
    );
    assert!(!status.contains("CHOICE"), "nobody is asked a second time: {status}");

    let resumed = desk.call(&["resume", "@last"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", stderr(&resumed));
    let journal = stdout(&desk.call(&["report", "@last", "--format", "json"]));
    assert!(!journal.contains("-009999"), "an answer has a time");

    let again = crate::gates::desk();
    assert_eq!(again.call(&RUN).status.code(), Some(11));
    for _ in 0..2 {
        assert_eq!(again.call(&["abort", "@last", "--as", "lea"]).status.code(), Some(0), "twice is once");
    }
    let status = stdout(&again.call(&["status", "@last"]));
    assert!(status.contains("lea asked it to end; it takes that up with: allclear resume "), "{status}");
    assert_eq!(again.call(&["resume", "@last", "--no-input"]).status.code(), Some(12));
}
