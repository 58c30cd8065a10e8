//! Runs that are let go for a while, all or one, and what people then read about them.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::desk::{ALLCLEAR, STATUS, binding, stderr, stdout};
use crate::gates::{RUN, Running, desk};

fn with<'a>(run: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [run, more].concat()
}

#[test]
fn a_run_whose_time_is_up_lets_go_and_goes_on_later() {
    let desk = desk();
    let timed_out = desk.call(&with(&RUN, &["--wait", "--timeout", "700ms"]));
    assert_eq!(timed_out.status.code(), Some(124), "{}", stderr(&timed_out));
    assert!(stderr(&timed_out).contains("the time is up"), "{}", stderr(&timed_out));
    for bad in ["0s", "-1m", "soon"] {
        let refused = desk.call(&with(&RUN, &[&format!("--timeout={bad}")]));
        assert_eq!(refused.status.code(), Some(2), "{bad}: {}", stderr(&refused));
    }
    assert_eq!(desk.answer(&["approve", "@last"]).status.code(), Some(0));
    let resumed = desk.call(&["resume", "@last", "--timeout", "5m"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", stderr(&resumed));
}

#[test]
fn while_everything_is_stopped_runs_let_go_and_none_begins_or_goes_on() {
    let desk = desk();
    let mut run = Running::start(&desk, &with(&RUN, &["--wait"]), Stdio::null());
    run.until_said("The run asked");
    let stopped = desk.call(&["stop-all", "--reason", "the platform is being restored", "--as", "lea"]);
    assert_eq!(stopped.status.code(), Some(0), "{}", stderr(&stopped));
    assert_eq!(run.exit_code(), Some(130), "{}", run.said());
    assert!(run.said().contains("lea stopped all automation"), "{}", run.said());

    let told = |output: &Output| {
        assert_eq!(output.status.code(), Some(16), "{}", stderr(output));
        let said = stderr(output);
        assert!(said.contains("lea stopped") && said.contains("the platform is being restored"), "{said}");
    };
    told(&desk.call(&RUN));
    told(&desk.call(&["resume", "@last"]));
    told(&desk.call(&["drill", "whatsapp-send-failures", "--virtual", "--auto-approve", "--targets", "50"]));
    assert_eq!(desk.call(&["plan", "whatsapp-send-failures"]).status.code(), Some(0), "looking is allowed");
    assert!(stdout(&desk.call(&["status"])).starts_with("lea stopped all automation"));
    assert_eq!(desk.answer(&["approve", "@last"]).status.code(), Some(0), "an answer waits");

    let lifted = desk.call(&["lift-stop", "--as", "ren"]);
    assert!(stdout(&lifted).contains("lifted: lea stopped"), "{}", stdout(&lifted));
    let resumed = desk.call(&["resume", "@last", "--as", "ren"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", stderr(&resumed));
    assert!(stdout(&desk.call(&["report", "@last"])).contains("ren took the run up again"));
}

#[test]
fn the_status_of_a_waiting_run_names_the_gate_and_the_command_that_answers_it() {
    let desk = desk();
    assert_eq!(desk.call(&with(&RUN, &["--no-input"])).status.code(), Some(11));
    let all = stdout(&desk.call(&["status"]));
    let (run, next) = all.split_once('\n').unwrap();
    assert!(run.contains(" waiting ") && !all.contains("interrupted"), "{all}");
    let id = run.split(' ').next().unwrap();
    assert!(
        next.contains(&format!(
            "allclear answer {id} approve|reject --binding {}, then: allclear resume {id}",
            binding(&desk.call(&STATUS))
        )),
        "{all}"
    );
    let said: Value = serde_json::from_str(&stdout(&desk.call(&["--json", "status"]))).unwrap();
    let told = &said["runs"][0];
    assert_eq!((told["state"].as_str(), told["held"].as_bool()), (Some("waiting"), Some(false)));
    assert!(next.contains(told["gate"].as_str().unwrap()), "{said}");
    let watched = desk.call(&["watch", "@last"]);
    assert_eq!(watched.status.code(), Some(11), "{}", stdout(&watched));
}

#[test]
fn a_plan_that_nobody_may_approve_is_kept_for_somebody_who_may() {
    let desk = desk();
    let kept = desk.call(&["--json", "run", "whatsapp-send-failures", "--no-input"]);
    assert_eq!(kept.status.code(), Some(11), "{}", stderr(&kept));
    assert!(desk.effects().is_empty());
    let said: Value = serde_json::from_str(&stdout(&kept)).unwrap();
    let (plan, hash) = (said["plan"].as_str().unwrap(), &said["hash"].as_str().unwrap()[..12]);
    let command = format!("run whatsapp-send-failures --plan {plan} --approve-plan {hash}");
    assert!(stderr(&kept).contains(&command), "{}", stderr(&kept));
    let mut args: Vec<&str> = command.split(' ').collect();
    args.push("--auto-approve");
    let run = desk.call(&args);
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
}

fn allclear(folder: &std::path::Path, args: &[&str]) -> Output {
    let mut command = Command::new(ALLCLEAR);
    command.args(args).current_dir(folder).env("ALLCLEAR_STATE_DIR", folder).env("ALLCLEAR_OPERATOR", "kim");
    command.env_remove("ALLCLEAR_CONFIG").env_remove("ALLCLEAR_ENV").stdin(Stdio::null());
    command.output().unwrap()
}

/// Whether the sandbox of a drill answers.
fn answers(drill: &Output) -> bool {
    let said = stderr(drill);
    let (_, rest) = said.split_once("runs at http://").unwrap();
    let address = rest.split([':', '/']).take(2).collect::<Vec<_>>().join(":");
    // It answers a request to end first, and ends then.
    for _ in 0..40 {
        if std::net::TcpStream::connect(&address).is_err() {
            return false;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    true
}

#[test]
fn the_sandbox_of_a_drill_ends_with_its_run_whoever_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let drill = ["drill", "whatsapp-send-failures", "--yes", "--no-input", "--virtual", "--targets", "100"];
    for keep in [false, true] {
        let waiting = allclear(folder.path(), &with(&drill, if keep { &["--keep-sandbox"] } else { &[] }));
        assert_eq!(waiting.status.code(), Some(11), "{}", stderr(&waiting));
        let binding = binding(&allclear(folder.path(), &STATUS));
        let approved = allclear(folder.path(), &["approve", "@last", "--binding", &binding]);
        assert_eq!(approved.status.code(), Some(0), "{}", stderr(&approved));
        let resumed = allclear(folder.path(), &["resume", "@last", "--no-input"]);
        assert_eq!(resumed.status.code(), Some(0), "{}", stderr(&resumed));
        assert_eq!(answers(&waiting), keep, "a sandbox that is to be kept is kept, and no other");
        if keep {
            let said = stderr(&waiting);
            let url = said.split("runs at ").nth(1).unwrap().split(": ").next().unwrap();
            let control = allclear_clients::sandbox::SandboxControl::at(url).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(control.shutdown()).unwrap();
        }
    }
}

#[test]
fn what_a_drill_needs_is_checked_without_any_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let fit = allclear(folder.path(), &["doctor", "--drill"]);
    assert_eq!(fit.status.code(), Some(0), "{}", stdout(&fit));
    let said = stdout(&fit);
    assert!(
        said.contains("sandbox") && !said.contains("PagerDuty") && !said.contains("configuration"),
        "{said}"
    );
    allclear(folder.path(), &["stop-all"]);
    let stopped = allclear(folder.path(), &["doctor", "--drill"]);
    assert_eq!(stopped.status.code(), Some(10), "{}", stdout(&stopped));
    std::fs::write(folder.path().join("runs.db"), "no database").unwrap();
    let broken = allclear(folder.path(), &["doctor", "--drill"]);
    assert_eq!(broken.status.code(), Some(10), "{}", stdout(&broken));
}
