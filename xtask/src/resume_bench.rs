//! How long `allclear resume` takes from the start of its process until the run is taken up: its first record is on the disk
//! then. Beside a sandbox on this machine, with a run that waits for a person.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Half of all resumes must be faster.
const MOST: Duration = Duration::from_millis(10);
const ROUNDS: usize = 31;

pub(crate) fn run() -> bool {
    if !crate::cargo(&["build", "--release", "-p", "allclear-cli"], &[]) {
        return false;
    }
    let state = Path::new("target/resume-bench");
    let _ = std::fs::remove_dir_all(state);
    let drill = ["drill", "whatsapp-send-failures", "--yes", "--no-input", "--virtual", "--keep-sandbox"];
    if let Err(what) = allclear(state, &drill).output() {
        eprintln!("the drill did not start: {what}");
        return false;
    }
    let times = (0..ROUNDS).map(|_| resume(state)).collect::<Option<Vec<_>>>();
    // Its sandbox ends with the run.
    for end in [&["abort", "@last"][..], &["resume", "@last", "--no-input"]] {
        let _ = allclear(state, end).output();
    }
    let Some(mut times) = times else {
        eprintln!(
            "a run was not taken up; see `allclear status` with ALLCLEAR_STATE_DIR={}",
            state.display()
        );
        return false;
    };
    times.sort();
    let (half, most) = (times[ROUNDS / 2], times[ROUNDS - 1]);
    let in_ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    println!(
        "process start to taken up  {:>10.2} ms   at most {:.2} ms in {ROUNDS} resumes",
        in_ms(half),
        in_ms(most)
    );
    if half > MOST {
        eprintln!("more than {} ms", MOST.as_millis());
    }
    half <= MOST
}

fn allclear(state: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("target/release/allclear");
    command.args(arguments).env("ALLCLEAR_STATE_DIR", state).env("ALLCLEAR_OPERATOR", "bench");
    command.stdin(Stdio::null());
    command
}

/// From before the process is started until it says that it has recorded the resume.
fn resume(state: &Path) -> Option<Duration> {
    let began = Instant::now();
    let mut process = allclear(state, &["resume", "@last", "--no-input"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let said = BufReader::new(process.stderr.take()?);
    let mut taken_up = None;
    for line in said.lines().map_while(Result::ok) {
        if taken_up.is_none() && line.contains("took the run up again") {
            taken_up = Some(began.elapsed());
        }
    }
    process.wait().ok()?;
    taken_up
}
