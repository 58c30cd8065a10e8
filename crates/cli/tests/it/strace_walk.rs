//! The same walk without any hook: strace kills the product's own binary at its n-th mutating system call.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::desk::{ALLCLEAR, Desk, stderr, world};
use crate::kill_walk::{Path as WalkPath, finish};

/// Calls that change a file or send bytes. `openat` is left out: opening alone changes nothing that counts here.
const CALLS: &str = "write,writev,pwrite64,sendto,fsync,fdatasync,ftruncate,rename,unlink";
/// How many points are walked unless `ALLCLEAR_WALK=all`.
const POINTS: u64 = 160;

fn strace(desk: &Desk, inject: &str) -> Command {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "--seccomp-bpf", "-o"])
        .arg(desk.folder().join("trace"))
        .args(["-e", &format!("trace={CALLS}")]);
    if !inject.is_empty() {
        command.args(["-e", &format!("inject={CALLS}:{inject}")]);
    }
    command.arg(ALLCLEAR).args(["run", "whatsapp-send-failures", "--yes", "--auto-approve"]);
    command
        .current_dir(desk.folder())
        .env("ALLCLEAR_STATE_DIR", desk.state())
        .env("ALLCLEAR_OPERATOR", "kim")
        .stdin(Stdio::null());
    command
}

#[test]
fn killed_at_mutating_system_calls_nothing_is_repeated_and_nothing_is_lost() {
    let installed = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
    assert!(installed, "strace is not installed; `cargo xtask test` installs it");
    let world = world(&json!({ "scenario": "outage", "minutes": 4 }), "target");
    let path = WalkPath { runbook: "whatsapp-send-failures", world: world.clone(), more: &[] };
    let desk = Desk::with(&world);
    desk.start_over(&world);
    let output = strace(&desk, "").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let calls = std::fs::read_to_string(desk.folder().join("trace"))
        .unwrap()
        .lines()
        .filter(|line| line.contains('('))
        .count() as u64;
    let (effects, digest) = (desk.effects(), desk.digest());

    let all = std::env::var("ALLCLEAR_WALK").is_ok_and(|value| value == "all");
    let stride = if all { 1 } else { calls.div_ceil(POINTS) };
    // Another offset on each day would walk all points in time; a fixed one makes a failure repeatable.
    let (mut walked, mut wrong) = (0, Vec::new());
    for point in (1..=calls).step_by(usize::try_from(stride).unwrap()) {
        desk.start_over(&world);
        let _ = strace(&desk, &format!("signal=KILL:when={point}")).output().unwrap();
        let (code, _) = finish(&desk, &path, Path::new(ALLCLEAR), false);
        walked += 1;
        if code != 0 {
            wrong.push(format!("call {point}: exit code {code}"));
        } else if desk.effects() != effects {
            wrong.push(format!("call {point}: effects {:?}", desk.effects()));
        } else if desk.digest() != digest {
            wrong.push(format!("call {point}: another final world"));
        }
    }
    println!("killed at {walked} of {calls} mutating system calls: {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}
