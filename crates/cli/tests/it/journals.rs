//! What the commands say of runs that are not what was written; and a resume whose disk fails at each read and write in turn.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::desk::{ALLCLEAR, Desk, stderr, stdout};
use crate::gates::{Running, desk};

const RUNBOOK: &str = "whatsapp-send-failures";

/// A run that waits at its first gate, and its id.
fn waiting(desk: &Desk) -> String {
    let output = desk.call(&["run", RUNBOOK, "--yes", "--no-input"]);
    assert_eq!(output.status.code(), Some(11), "{}", stderr(&output));
    run_of(desk)
}

fn run_of(desk: &Desk) -> String {
    let status: Value = serde_json::from_str(&stdout(&desk.call(&["status", "--json"]))).unwrap();
    status["runs"][0]["id"].as_str().unwrap().to_owned()
}

fn said(output: &Output) -> String {
    format!("{}{}", stdout(output), stderr(output))
}

fn sql(desk: &Desk, text: &str) {
    rusqlite::Connection::open(desk.state().join("runs.db")).unwrap().execute_batch(text).unwrap();
}

#[test]
fn d1_another_valid_plan_in_the_place_of_a_runs_own_is_refused_by_name() {
    let desk = desk();
    let run = waiting(&desk);
    let file = desk.state().join("runs").join(&run).join("plan.json");
    let own = std::fs::read_to_string(&file).unwrap();
    let hash = |text: &str| serde_json::from_str::<Value>(text).unwrap()["hash"].as_str().unwrap().to_owned();
    let other = desk.folder().join("other.json");
    let planned = desk.call(&["plan", "voucher-preview-failures", "-o", other.to_str().unwrap()]);
    assert!(planned.status.success(), "{}", stderr(&planned));
    let foreign = std::fs::read_to_string(&other).unwrap();
    let remarked = own.replacen("\"ends\": \"", "\"ends\": \"not really ", 1);
    let before = desk.digest();
    for text in [&foreign, &remarked, &own.replacen("\"before\": \"", "\"before\": \"x", 1), "{}", ""] {
        std::fs::write(&file, text).unwrap();
        let output = desk.call(&["resume", &run, "--no-input"]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(16), "{said}");
        assert!(
            said.contains("plan.json") && said.contains(&run) && said.contains("allclear resume"),
            "{said}"
        );
        let verified = desk.call(&["audit", "verify", &run]);
        assert_eq!(verified.status.code(), Some(1), "{}", stdout(&verified));
        assert!(stdout(&verified).contains("plan.json"), "{}", stdout(&verified));
    }
    std::fs::write(&file, &foreign).unwrap();
    let output = desk.call(&["resume", &run, "--no-input"]);
    assert!(
        stderr(&output).contains(&hash(&foreign)) && stderr(&output).contains(&hash(&own)),
        "{}",
        stderr(&output)
    );
    assert_eq!(desk.digest(), before);
    std::fs::write(&file, own).unwrap();
    assert_eq!(desk.call(&["resume", &run, "--no-input"]).status.code(), Some(11));
    assert_eq!(desk.call(&["audit", "verify"]).status.code(), Some(0));
}

#[test]
fn b6_a_damaged_run_is_listed_reported_as_far_as_it_is_whole_and_ended_with_a_reason() {
    let desk = desk();
    let run = waiting(&desk);
    sql(&desk, "UPDATE entry SET body = replace(body, '\"seq\":4', '\"seq\":5') WHERE seq = 4");
    let status = desk.call(&["status"]);
    assert_eq!(status.status.code(), Some(0), "{}", stderr(&status));
    assert!(stdout(&status).contains("damaged at entry 4"), "{}", stdout(&status));
    for args in
        [&["resume", &run][..], &["approve", &run], &["abort", &run], &["hand-over", &run, "--to", "lea"]]
    {
        let output = desk.call(args);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(
            said.contains(&run) && said.contains("entry 4") && said.contains("--damaged"),
            "{args:?}: {said}"
        );
    }
    let report = desk.call(&["report", &run]);
    assert_eq!(report.status.code(), Some(1));
    assert!(
        stderr(&report).contains("ends after entry 3") && stdout(&report).contains("WhatsApp"),
        "{}",
        said(&report)
    );
    let verified = desk.call(&["audit", "verify", "--json"]);
    let verified: Value = serde_json::from_str(&stdout(&verified)).unwrap();
    assert_eq!((&verified["good"], &verified["runs"][0]["entry"]), (&json!(false), &json!(4)), "{verified}");

    assert_eq!(desk.call(&["abort", &run, "--damaged"]).status.code(), Some(2), "a reason is needed");
    let ended = desk.call(&["abort", &run, "--damaged", "--reason", "looked at the platform"]);
    assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
    assert!(stdout(&desk.call(&["status"])).contains("looked at the platform"));
    // What it held is free again.
    let next = desk.call(&["run", RUNBOOK, "--yes", "--no-input"]);
    assert!(!stderr(&next).contains("is held by"), "{}", stderr(&next));
}

#[test]
fn the_log_stays_while_a_run_has_it_whoever_looks_meanwhile() {
    let desk = desk();
    let mut running = Running::start(&desk, &["run", RUNBOOK, "--yes", "--wait"], Stdio::null());
    let log = desk.state().join("runs.db-wal");
    running.until_said("The run asked:");
    for _ in 0..3 {
        assert!(desk.call(&["status"]).status.success());
        assert!(log.exists(), "a reader that left took the log of a running process with it");
    }
    let run = run_of(&desk);
    assert!(desk.call(&["abort", &run]).status.success());
    assert_eq!(running.exit_code(), Some(12), "{}", running.said());
    assert_eq!(desk.call(&["audit", "verify"]).status.code(), Some(0));
}

#[test]
fn a17_a_state_folder_removed_under_a_run_is_told_with_exit_1() {
    let desk = desk();
    let mut running = Running::start(&desk, &["run", RUNBOOK, "--yes", "--wait"], Stdio::null());
    running.until_said("The run asked:");
    let run = run_of(&desk);
    std::fs::remove_dir_all(desk.state()).unwrap();
    std::fs::create_dir_all(desk.state()).unwrap();
    assert_eq!(desk.call(&["report", &run]).status.code(), Some(2), "there is no empty report of it");
    // The deadline of the gate, or the next record: here the run is told to let go, and wants to write that.
    running.interrupt();
    assert_eq!(running.exit_code(), Some(1), "{}", running.said());
    assert!(running.said().contains("was removed or replaced"), "{}", running.said());
}

/// The calls of a process on files of the state folder, each with how often.
fn traced(desk: &Desk, inject: &str, args: &[&str]) -> Output {
    let mut command = Command::new("strace");
    let calls = "openat,read,pread64,write,pwrite64,fsync,fdatasync,ftruncate,flock,fcntl,rename,unlink,newfstatat,statx";
    command
        .args(["-f", "-qq", "-y", "-o"])
        .arg(desk.folder().join("trace"))
        .args(["-e", &format!("trace={calls}")]);
    if !inject.is_empty() {
        command.args(["-e", &format!("inject={inject}")]);
    }
    command.arg(ALLCLEAR).args(args);
    command
        .current_dir(desk.folder())
        .env("ALLCLEAR_STATE_DIR", desk.state())
        .env("ALLCLEAR_OPERATOR", "kim")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

pub(crate) fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target: PathBuf = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The reads and writes of our own thread on files of the state folder: the name of the call, and the how manieth of its name.
fn points(desk: &Desk) -> Vec<(String, usize)> {
    let trace = std::fs::read_to_string(desk.folder().join("trace")).unwrap();
    let ours = trace.split(' ').next().unwrap_or_default().to_owned();
    let state = desk.state().display().to_string();
    let mut times = BTreeMap::<String, usize>::new();
    let mut points = Vec::new();
    for line in trace.lines() {
        let mut words = line.split_whitespace();
        let (Some(tracee), Some(call)) = (words.next(), words.next()) else { continue };
        let Some((name, _)) = call.split_once('(').filter(|_| tracee == ours) else { continue };
        let nth = times.entry(name.to_owned()).or_default();
        *nth += 1;
        if line.contains(&state) {
            points.push((name.to_owned(), *nth));
        }
    }
    points
}

#[test]
fn b6_a_resume_whose_disk_fails_at_any_read_or_write_loses_and_ends_nothing() {
    let desk = desk();
    let run = waiting(&desk);
    let kept = desk.folder().join("kept");
    copy_all(&desk.state(), &kept);
    let back = || {
        std::fs::remove_dir_all(desk.state()).unwrap();
        copy_all(&kept, &desk.state());
    };
    let resume = ["resume", &run, "--no-input"];
    let output = traced(&desk, "", &resume);
    assert_eq!(output.status.code(), Some(11), "{}", stderr(&output));
    let (effects, points) = (desk.effects(), points(&desk));
    assert!(points.len() > 40, "{points:?}");
    let all = std::env::var("ALLCLEAR_WALK").is_ok_and(|value| value == "all");
    // Half of the calls lock and unlock; SQLite tries those again, so they tell little of what a failing disk does.
    let (locks, data): (Vec<_>, Vec<_>) = points.iter().partition(|(name, _)| name == "fcntl");
    let some = |of: &[&(String, usize)], most: usize| {
        let stride = if all { 1 } else { of.len().div_ceil(most) };
        of.iter().step_by(stride).map(|&point| point.clone()).collect::<Vec<_>>()
    };
    let (locks, data) = (some(&locks, 15), some(&data, 45));
    let (walked, mut failed, mut wrong) = (data.len(), 0, Vec::new());
    for (name, nth) in data.iter().chain(&locks) {
        back();
        let output = traced(&desk, &format!("{name}:error=EIO:when={nth}"), &resume);
        let said = said(&output);
        failed += usize::from(name != "fcntl" && output.status.code() != Some(11));
        if output.status.code() == Some(1)
            && !(said.contains(&run) || said.contains("runs.db") || said.contains("state"))
        {
            wrong.push(format!("{name} {nth}: names nothing: {said}"));
        }
        if said.contains("a defect at") || output.status.code().is_none() {
            wrong.push(format!("{name} {nth}: a panic: {said}"));
        }
        // Without the fault everything is there, and the run goes on where it was.
        let status = desk.call(&["status"]);
        if !status.status.success() {
            wrong.push(format!("{name} {nth}: status fails: {}", stderr(&status)));
        }
        let audit = desk.call(&["audit", "verify"]);
        if audit.status.code() != Some(0) {
            wrong.push(format!("{name} {nth}: {}", stdout(&audit)));
        }
        let again = desk.call(&resume);
        if again.status.code() != Some(11) {
            wrong.push(format!("{name} {nth}: resumed with {:?}: {}", again.status.code(), stderr(&again)));
        }
        if desk.effects() != effects {
            wrong.push(format!("{name} {nth}: other effects"));
        }
    }
    println!(
        "EIO at {walked} of {} reads and writes of a resume: {failed} failed; at {} of its locks; {} wrong",
        points.len(),
        locks.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(failed * 2 >= walked, "the oracle does not bite: {failed} of {walked}");
}

#[test]
fn d1_an_answer_that_was_changed_while_it_waited_is_refused_by_name_and_hides_no_other_run() {
    let desk = desk();
    let run = waiting(&desk);
    let shown: Value = serde_json::from_str(&stdout(&desk.call(&["status", "--json"]))).unwrap();
    let binding = shown["runs"][0]["binding"].as_str().unwrap().to_owned();
    let answered = desk.call(&["answer", &run, "approve", "--binding", &binding, "--as", "alex"]);
    assert!(answered.status.success(), "{}", stderr(&answered));
    sql(&desk, "UPDATE signal SET body = replace(body, 'alex', 'mallory')");
    let before = desk.digest();

    let resumed = desk.call(&["resume", &run, "--no-input"]);
    assert_eq!(resumed.status.code(), Some(16), "{}", said(&resumed));
    let told = said(&resumed);
    assert!(told.contains(&format!("allclear audit mend {run}")) && told.contains("answer"), "{told}");
    assert_eq!(desk.digest(), before, "something was done");
    let status = desk.call(&["status"]);
    assert!(status.status.success(), "{}", said(&status));
    assert!(stdout(&status).contains("altered") && stdout(&status).contains(&run), "{}", stdout(&status));
    assert_eq!(desk.call(&["audit", "verify"]).status.code(), Some(1));

    let mended = desk.call(&["audit", "mend", &run, "--reason", "looked"]);
    assert!(mended.status.success(), "{}", said(&mended));
    assert!(desk.call(&["audit", "verify"]).status.success());
    assert_eq!(desk.call(&["resume", &run, "--no-input"]).status.code(), Some(11), "it waits again");
}
