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
