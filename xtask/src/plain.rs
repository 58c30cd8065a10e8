//! Plain worlds: one cause, nobody interferes, nothing lies. How many runs end verified there, and how often a person is asked: what
//! makes the product careful must not make it timid. `--program` plays the same worlds with another build, e.g. an older one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

/// Runbooks and what goes wrong, as older builds know it, too.
const PLAIN: [(&str, &str); 14] = [
    ("whatsapp-send-failures", "rate-limited"),
    ("whatsapp-send-failures", "invalid-numbers"),
    ("whatsapp-send-failures", "outage"),
    ("whatsapp-send-failures", "throttle-misconfigured"),
    ("whatsapp-send-failures", "healthy"),
    ("campaign-dispatcher-stalls", "stalled"),
    ("campaign-dispatcher-stalls", "unreachable"),
    ("campaign-dispatcher-stalls", "empty-queue"),
    ("campaign-dispatcher-stalls", "healthy"),
    ("voucher-preview-failures", "function-removed"),
    ("voucher-preview-failures", "timeout"),
    ("station-redeem-anomalies", "double-redemption"),
    ("station-redeem-anomalies", "wrong-scope"),
    ("station-redeem-anomalies", "wrong-station"),
];
/// How many runs at a time.
const LANES: usize = 2;

/// What runs of one kind came to.
#[derive(Debug, Default)]
struct Tally {
    worlds: u64,
    verified: u64,
    questions: u64,
}

pub(crate) fn run(arguments: &[String]) -> bool {
    let given: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (worlds, program) = match given[..] {
        [] => ("1400", None),
        [worlds] => (worlds, None),
        [worlds, "--program", path] => (worlds, Some(PathBuf::from(path))),
        _ => ("", None),
    };
    let Ok(worlds) = worlds.parse::<u64>() else {
        eprintln!("give the number of worlds, and `--program` with a path for another build");
        return false;
    };
    let program = match program {
        Some(path) => path,
        None if crate::cargo(&["build", "--release", "-p", "allclear-cli"], &[]) => {
            PathBuf::from("target/release/allclear")
        }
        None => return false,
    };
    let Ok(folder) = std::fs::canonicalize("target").map(|target| target.join("plain")) else {
        return false;
    };
    let tallies = Mutex::new(BTreeMap::<(&str, &str), Tally>::new());
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= worlds {
                        return;
                    }
                    let kind = PLAIN[number as usize % PLAIN.len()];
                    let (verified, questions) = play(&program, &folder, kind, number);
                    let Ok(mut tallies) = tallies.lock() else { return };
                    let tally = tallies.entry(kind).or_default();
                    tally.worlds += 1;
                    tally.verified += u64::from(verified);
                    tally.questions += questions;
                }
            });
        }
    });
    let _ = std::fs::remove_dir_all(&folder);
    let Ok(tallies) = tallies.into_inner() else { return false };
    show(&tallies);
    tallies.values().map(|tally| tally.worlds).sum::<u64>() == worlds
}

/// Whether the run ended verified, and how many questions people answered.
fn play(program: &Path, folder: &Path, (runbook, scenario): (&str, &str), number: u64) -> (bool, u64) {
    let state = folder.join(number.to_string());
    let call = |args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).arg("--state-dir").arg(&state).stdin(Stdio::null()).output()
    };
    let seed = number.to_string();
    let profile = if number.is_multiple_of(2) { "as-is" } else { "target" };
    let drill =
        ["drill", runbook, "--scenario", scenario, "--seed", &seed, "--profile", profile, "--targets", "120"];
    let ended = call(&[&drill[..], &["--virtual", "--auto-approve"]].concat());
    let verified = ended.is_ok_and(|output| output.status.success());
    let report = call(&["report", "@last", "--json"]);
    let report = report.ok().and_then(|output| serde_json::from_slice::<Value>(&output.stdout).ok());
    let questions = report.and_then(|report| report["approvals"].as_array().map(Vec::len)).unwrap_or(0);
    let _ = std::fs::remove_dir_all(&state);
    (verified, questions as u64)
}

fn show(tallies: &BTreeMap<(&str, &str), Tally>) {
    println!("{:<52}{:>8}{:>10}{:>11}", "", "worlds", "verified", "questions");
    for ((runbook, scenario), one) in tallies {
        let kind = format!("{runbook}, {scenario}");
        println!("{kind:<52}{:>8}{:>10}{:>11}", one.worlds, one.verified, one.questions);
    }
    let sum = |of: fn(&Tally) -> u64| tallies.values().map(of).sum::<u64>();
    let (worlds, verified, questions) =
        (sum(|one| one.worlds), sum(|one| one.verified), sum(|one| one.questions));
    println!("{:<52}{worlds:>8}{verified:>10}{questions:>11}", "all");
}
