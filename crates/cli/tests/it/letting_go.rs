//! Runs that are let go, and runs that nobody can take up any more.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::desk::ALLCLEAR;

const DRILL: [&str; 5] = ["drill", "whatsapp-send-failures", "--auto-approve", "--targets", "100"];

fn allclear(state: &std::path::Path, args: &[&str]) -> Command {
    let mut command = Command::new(ALLCLEAR);
    command.args(args).current_dir(state).env("ALLCLEAR_STATE_DIR", state).env("ALLCLEAR_OPERATOR", "kim");
    command.env_remove("ALLCLEAR_CONFIG").env_remove("ALLCLEAR_ENV").stdin(Stdio::null());
    command
}

/// A drill in real time that waits, half a minute long, to see whether sending stopped; and its run's id.
fn waiting_drill(state: &std::path::Path) -> (Child, String) {
    let mut args = DRILL.to_vec();
    args.extend(["--speed", "1"]);
    let mut child = allclear(state, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(100));
        let Ok(raw) = rusqlite::Connection::open(state.join("runs.db")) else { continue };
        let slept =
            "SELECT run.id FROM entry JOIN run ON run.number = entry.run WHERE body LIKE '%\"slept\"%'";
        if let Ok(id) = raw.query_row(slept, [], |row| row.get(0)) {
            return (child, id);
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("the drill does not come to its wait");
}

fn interrupt(child: &Child, how: Signal) {
    let process = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(process, how).unwrap();
}

fn end_sandbox(state: &std::path::Path, run: &str) {
    let raw = rusqlite::Connection::open(state.join("runs.db")).unwrap();
    let context: String =
        raw.query_row("SELECT context FROM run WHERE id = ?", [run], |row| row.get(0)).unwrap();
    let context: Value = serde_json::from_str(&context).unwrap();
    let control =
        allclear_clients::sandbox::SandboxControl::at(context["sandbox"].as_str().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(control.shutdown()).unwrap();
    // It answers first and ends then.
    std::thread::sleep(Duration::from_secs(1));
}

#[test]
fn ctrl_c_does_not_sit_a_wait_out_and_a_run_without_its_sandbox_can_be_ended() {
    let state = tempfile::tempdir().unwrap();
    let (child, id) = waiting_drill(state.path());
    let began = Instant::now();
    interrupt(&child, Signal::INT);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    assert!(said.contains(&format!("allclear resume {id}")), "{said}");

    end_sandbox(state.path(), &id);
    let resumed = allclear(state.path(), &["resume", &id]).output().unwrap();
    assert_eq!(resumed.status.code(), Some(10));
    assert!(String::from_utf8_lossy(&resumed.stderr).contains(&format!("allclear abort {id}")));
    let aborted = allclear(state.path(), &["abort", &id]).output().unwrap();
    assert_eq!(aborted.status.code(), Some(0), "{}", String::from_utf8_lossy(&aborted.stderr));

    let mut args = DRILL.to_vec();
    args.push("--virtual");
    let next = allclear(state.path(), &args).output().unwrap();
    assert_eq!(next.status.code(), Some(0), "{}", String::from_utf8_lossy(&next.stderr));
}

#[test]
fn a_terminal_that_closes_lets_the_run_go_after_the_effect_in_hand() {
    let state = tempfile::tempdir().unwrap();
    let (child, id) = waiting_drill(state.path());
    interrupt(&child, Signal::HUP);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    let watched = allclear(state.path(), &["watch", &id, "--json"]).output().unwrap();
    let shown: Value = serde_json::from_slice(&watched.stdout).unwrap();
    assert_eq!((&shown["schema"], &shown["outcome"]), (&"allclear.watch/1".into(), &"interrupted".into()));
    assert!(allclear(state.path(), &["abort", &id]).output().unwrap().status.success());
    let watched = allclear(state.path(), &["watch", &id, "--json"]).output().unwrap();
    let shown: Value = serde_json::from_slice(&watched.stdout).unwrap();
    assert_eq!((&shown["run"], &shown["outcome"]), (&id.into(), &"rejected".into()));
}

#[test]
fn a_result_that_cannot_be_written_is_no_success() {
    let state = tempfile::tempdir().unwrap();
    for args in [&["list"][..], &["list", "--json"], &["show", "whatsapp-send-failures"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = allclear(state.path(), args).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("could not be written to stdout"), "{args:?}: {said}");
    }
}

#[test]
fn a_secret_is_no_input() {
    let state = tempfile::tempdir().unwrap();
    for secret in ["xoxb-1234567890-hunter2hunter2", "Bearer hunter2hunter2hunter2", "token=hunter2hunter2"] {
        let set = format!("replay={secret}");
        let drill = ["drill", "campaign-dispatcher-stalls", "--virtual", "--auto-approve", "--set", &set];
        let output = allclear(state.path(), &drill).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("`replay`") && said.contains("configuration"), "{said}");
    }
}

#[test]
fn a_credential_in_the_configuration_is_refused_and_never_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let head = "[environment.s]\nkind = \"staging\"\n[environment.s.credentials]\n";
    for line in
        ["slack_token = \"xoxb-hunter2\"", "slack_token = \"xoxb-hunter2", "slack_token = xoxb-hunter2"]
    {
        std::fs::write(folder.path().join("allclear.toml"), format!("{head}{line}\n")).unwrap();
        let output = allclear(folder.path(), &["plan", "whatsapp-send-failures"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("line") && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn production_is_not_entered_by_a_variable() {
    let folder = tempfile::tempdir().unwrap();
    let at = "\"http://127.0.0.1:9\"";
    let endpoints = ["admin", "supabase", "graph", "pagerduty_events", "pagerduty_rest", "slack", "provider"];
    let endpoints: String = endpoints.iter().fold(String::new(), |all, name| all + name + " = " + at + "\n");
    let config = format!(
        "[environment.live]\nkind = \"production\"\npagerduty_from = \"a@b.example\"\nsupabase_project = \"ref\"\n[environment.live.endpoints]\n{endpoints}\
         [environment.live.credentials]\n[environment.live.whatsapp]\nphone_id = \"1\"\nbusiness_account = \"2\"\n\
         canary_number = \"+250788000001\"\ncanary_template = \"t\"\n[environment.live.limits]\nrecipients_zone = \"Africa/Kigali\"\n\
         quiet_start = \"22:00\"\nquiet_end = \"06:00\"\nthrottle_per_minute = 60\nops_channel = \"#ops\"\n"
    );
    std::fs::write(folder.path().join("allclear.toml"), config).unwrap();
    let mut by_variable = allclear(folder.path(), &["plan", "whatsapp-send-failures"]);
    let output = by_variable.env("ALLCLEAR_ENV", "live").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("never a default"), "{said}");
}
