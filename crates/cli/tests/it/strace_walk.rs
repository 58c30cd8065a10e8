//! The same walk without any hook: strace kills the product's own binary at its n-th mutating system call.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::desk::{ALLCLEAR, Desk, stderr, world};
use crate::exercise::{self, Stage};
use crate::kill_walk::{Path as WalkPath, SIGKILL, WALKS_OF_A_DAY, finish, forgive_second_ticket};

/// Calls that change a file or send bytes. `openat` is left out: opening alone changes nothing that counts here.
const CALLS: &str = "write,writev,pwrite64,sendto,fsync,fdatasync,ftruncate,rename,unlink";
/// How many points are walked unless `ALLCLEAR_WALK=all`.
const POINTS: usize = 100;
/// The same for the exercise, where each takes seconds.
const POINTS_OF_AN_EXERCISE: usize = 6;

fn strace(desk: &Desk, inject: &str, args: &[&str]) -> Command {
    let mut command = Command::new("strace");
    // Without `--seccomp-bpf`, which would be faster: strace 6.1 injects nothing then, and nobody would be killed.
    command
        .args(["-f", "-qq", "-o"])
        .arg(desk.folder().join("trace"))
        .args(["-e", &format!("trace={CALLS}")]);
    if !inject.is_empty() {
        command.args(["-e", &format!("inject={inject}")]);
    }
    command.arg(ALLCLEAR).args(args);
    command
        .current_dir(desk.folder())
        .env("ALLCLEAR_STATE_DIR", desk.state())
        .env("ALLCLEAR_OPERATOR", "kim")
        .stdin(Stdio::null());
    command
}

fn assert_installed() {
    let installed = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
    assert!(installed, "strace is not installed; `cargo xtask test` installs it");
}

fn walks_all() -> bool {
    std::env::var("ALLCLEAR_WALK").is_ok_and(|value| value == "all")
}

#[test]
fn killed_at_mutating_system_calls_nothing_is_repeated_and_nothing_is_lost() {
    assert_installed();
    let world = world(&json!({ "scenario": "outage", "minutes": 4 }), "target");
    let path = WalkPath { runbook: "whatsapp-send-failures", world: world.clone(), more: &[] };
    let mut desk = Desk::with(&world);
    desk.start_over(&world);
    let output = strace(&desk, "", &path.args()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let points = Point::all_of_ours(&desk);
    let (effects, digest, calm) = (desk.effects(), desk.digest(), desk.world_without_tickets());

    let stride = if walks_all() { 1 } else { points.len().div_ceil(POINTS) };
    // Another offset on each day would walk all points in time; a fixed one makes a failure repeatable.
    let (mut walked, mut died, mut wrong) = (0, 0, Vec::new());
    for point in points.iter().step_by(stride) {
        if walked % WALKS_OF_A_DAY == 0 {
            desk = Desk::with(&world);
        }
        desk.start_over(&world);
        let killed = strace(&desk, &point.inject(), &path.args()).output().unwrap();
        died += u64::from(killed.status.signal() == Some(SIGKILL));
        let code = finish(&desk, &path, Path::new(ALLCLEAR), false);
        let mut left = desk.effects();
        let second_ticket = forgive_second_ticket(&mut left);
        let same_world =
            if second_ticket { desk.world_without_tickets() == calm } else { desk.digest() == digest };
        walked += 1;
        if code != 0 {
            wrong.push(format!("call {point}: exit code {code}"));
        } else if left != effects {
            wrong.push(format!("call {point}: effects {left:?}"));
        } else if !same_world {
            wrong.push(format!("call {point}: another final world"));
        }
    }
    println!("killed at {died} of {} mutating system calls: {} wrong", points.len(), wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Another run makes a few calls more or fewer of each name, so the last points may be past its end.
    assert!(died * 10 >= walked * 9, "of {walked} runs only {died} were killed");
}

/// One call of our own thread. strace counts the calls of each name, and those of each thread and process, by itself, so this is
/// what names one of them.
struct Point {
    name: String,
    /// The how manieth of its name, from 1.
    nth: usize,
}

impl Point {
    /// The calls that our own thread made in the run that was traced last, in their order.
    fn all_of_ours(desk: &Desk) -> Vec<Self> {
        let trace = std::fs::read_to_string(desk.folder().join("trace")).unwrap();
        let ours = trace.split(' ').next().unwrap_or_default().to_owned();
        let mut times = BTreeMap::<String, usize>::new();
        let mut points = Vec::new();
        for line in trace.lines() {
            let mut words = line.split_whitespace();
            // A call that was interrupted is told twice, the second time as `<... write resumed>`.
            let (Some(tracee), Some(call)) = (words.next(), words.next()) else { continue };
            let Some((name, _)) = call.split_once('(').filter(|_| tracee == ours) else { continue };
            let nth = times.entry(name.to_owned()).or_default();
            *nth += 1;
            points.push(Self { name: name.to_owned(), nth: *nth });
        }
        points
    }

    /// Kills whoever comes here.
    fn inject(&self) -> String {
        format!("{}:signal=KILL:when={}", self.name, self.nth)
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.nth)
    }
}

/// What dies at a point is whoever comes there first: the exercise, or `pg_dump` or `pg_restore` under it, whose end it must
/// notice.
#[test]
fn killed_at_mutating_system_calls_an_exercise_restores_and_tells_once() {
    assert_installed();
    let stage = Stage::set();
    let desk = &stage.0;
    let run = |backup: &str, inject: &str| {
        let args = exercise::args(backup);
        strace(desk, inject, &args.iter().map(String::as_str).collect::<Vec<_>>()).output().unwrap()
    };
    let output = run("strace-0", "");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let points = Point::all_of_ours(desk);
    let effects = desk.effects();
    assert_eq!(exercise::wrong(&stage, "strace-0", &effects), Vec::<String>::new());

    let stride = if walks_all() { 1 } else { points.len().div_ceil(POINTS_OF_AN_EXERCISE) };
    let (mut walked, mut died, mut wrong) = (0, 0, Vec::new());
    for (number, point) in points.iter().enumerate().skip(stride / 2).step_by(stride) {
        desk.start_over(&exercise::exercise());
        let backup = format!("strace-{}", number + 1);
        let killed = run(&backup, &point.inject());
        died += u64::from(killed.status.signal() == Some(SIGKILL));
        let (ended, said) = exercise::take_up(desk, &backup);
        walked += 1;
        if ended != Some(0) {
            wrong.push(format!("call {point}: exit code {ended:?}: {said}"));
        }
        let odd = exercise::wrong(&stage, &backup, &effects);
        wrong.extend(odd.into_iter().map(|why| format!("call {point}: {why}")));
    }
    println!(
        "dr-tabletop: killed at {died} of {} mutating system calls: {} wrong",
        points.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Another run makes a few calls more or fewer, and where `pg_dump` dies the exercise goes on.
    assert!(died * 3 >= walked * 2, "of {walked} runs only {died} were killed");
}
