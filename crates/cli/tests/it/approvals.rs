//! Several people at one gate, as processes of their own.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::desk::{ALLCLEAR, Desk, stderr, stdout, world};

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
    desk.call(&["approve", "@last", "--as", name]).status.code().unwrap()
}

#[test]
fn two_people_at_once_and_again_void_each_voucher_once() {
    let desk = Desk::with(&double_redemption());
    let mut run = waiting_run(&desk);
    assert_eq!(answer_as(&desk, "kim"), 16, "whoever started it does not approve it");
    let (folder, state) = (desk.folder().to_owned(), desk.state());
    let codes: Vec<i32> = std::thread::scope(|scope| {
        let lanes: Vec<_> = ["lea", "ren", "lea", "ren"]
            .into_iter()
            .map(|name| {
                let (folder, state) = (&folder, &state);
                scope.spawn(move || {
                    let mut command = std::process::Command::new(ALLCLEAR);
                    command.args(["approve", "@last", "--as", name]).current_dir(folder);
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
    let refused = desk.call(&["approve", "@last", "--as", "mia"]);
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
