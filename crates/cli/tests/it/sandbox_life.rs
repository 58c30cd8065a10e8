//! How long a drill's sandbox lives: as long as its run.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::desk::{ALLCLEAR, stderr, stdout};

/// A drill that comes to a gate which nobody here answers. Its sandbox looks after a second without a request.
const DRILL: [&str; 9] = [
    "drill",
    "whatsapp-send-failures",
    "--scenario",
    "policy-blocked",
    "--targets",
    "100",
    "--yes",
    "--virtual",
    "--sandbox-idle=1",
];

fn allclear(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(ALLCLEAR);
    command.args(args).current_dir(folder).env("ALLCLEAR_STATE_DIR", folder.join("state"));
    command
        .env_remove("ALLCLEAR_CONFIG")
        .env("ALLCLEAR_OPERATOR", "kim")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Where the drill's sandbox listens.
fn address(drill: &Output) -> String {
    let said = stderr(drill);
    let url = said.split("http://").nth(1).unwrap_or_else(|| panic!("{said}"));
    url.split(": ").next().unwrap().to_owned()
}

fn answers(address: &str) -> bool {
    std::net::TcpStream::connect(address).is_ok()
}

fn ends_within(address: &str, limit: Duration) -> bool {
    let began = Instant::now();
    while began.elapsed() < limit {
        if !answers(address) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    false
}

#[test]
fn b10_a_sandbox_outlives_a_gate_that_nobody_answers_and_ends_with_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let drill = allclear(folder.path(), &DRILL);
    assert_eq!(drill.status.code(), Some(11), "{}\n{}", stdout(&drill), stderr(&drill));
    let address = address(&drill);
    // Four times as long as it would stay for nobody, and the drill's process is gone.
    std::thread::sleep(Duration::from_secs(4));
    assert!(answers(&address), "the sandbox waits for its run");
    let status = allclear(folder.path(), &["status"]);
    assert!(stdout(&status).contains("at most seven days"), "{}", stdout(&status));

    let aborted = allclear(folder.path(), &["abort", "@last"]);
    assert_eq!(aborted.status.code(), Some(0), "{}\n{}", stdout(&aborted), stderr(&aborted));
    assert!(ends_within(&address, Duration::from_secs(15)), "it ends with its run");
}

#[test]
fn b10_a_sandbox_whose_state_is_gone_ends() {
    let folder = tempfile::tempdir().unwrap();
    let drill = allclear(folder.path(), &DRILL);
    let address = address(&drill);
    std::fs::remove_dir_all(folder.path().join("state")).unwrap();
    assert!(ends_within(&address, Duration::from_secs(15)), "nobody can come back for it");
    assert!(!folder.path().join("state").exists(), "looking makes no new one");
}
