//! Durable steps a second at concurrency 1, 16 and 64, and the time to resume, beside the rate at which the same disk takes
//! an append with fdatasync, in the same run: ratios are comparable between machines, figures are not.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use allclear_core::{PortError, Rehearsal, VirtualClock};
use allclear_engine::sqlite::{NewRun, Store};
use allclear_engine::{
    ApprovedPlan, Halt, Observation, Outcome, Phase, Probe, Resolution, Run, Runbook, Step, Terms, execute,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

const STEP: Step = Step { id: "B-1", phase: Phase::Detect, title: "a step that does nothing" };
const ROUNDS: usize = 5;

/// One durable record: one commit.
struct Nothing(u32);

#[async_trait]
impl Probe for Nothing {
    type Value = u32;

    fn subject(&self) -> String {
        self.0.to_string()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<u32>, PortError> {
        Ok(Observation { value: self.0, says: String::new(), evidence: Vec::new() })
    }
}

struct Steps(u32);

#[async_trait]
impl Runbook for Steps {
    fn id(&self) -> &'static str {
        "bench"
    }
    fn title(&self) -> &'static str {
        "Bench"
    }
    fn version(&self) -> u32 {
        1
    }
    fn steps(&self) -> &'static [Step] {
        &[STEP]
    }
    fn rehearsal(&self) -> Option<Rehearsal> {
        Some(sandbox())
    }
    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        for n in 0..self.0 {
            run.probe(&STEP, Nothing(n)).await?;
        }
        run.resolve("done", run.proof(&STEP)?)
    }
}

/// Appends of 256 bytes, each synced: what the disk can do.
fn raw_rate(folder: &Path) -> f64 {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("raw"))
        .expect("a file in a new folder");
    let block = [7_u8; 256];
    let began = Instant::now();
    let count = 2_000;
    for _ in 0..count {
        file.write_all(&block).and_then(|()| file.sync_data()).expect("an append");
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}

fn new_run(id: &str) -> NewRun {
    NewRun {
        id: id.to_owned(),
        runbook: "bench".to_owned(),
        // Each its own, so that none has to wait for another's claim.
        environment: id.to_owned(),
        platform: id.to_owned(),
        operator: "bench".to_owned(),
        input: Value::Null,
        context: Value::Null,
    }
}

fn clock() -> Arc<VirtualClock> {
    Arc::new(VirtualClock::at(Timestamp::UNIX_EPOCH))
}

fn sandbox() -> Rehearsal {
    Rehearsal::at("http://127.0.0.1:1").expect("an address of this machine")
}

fn unplanned(run: &str) -> ApprovedPlan {
    ApprovedPlan::unplanned(&sandbox(), run)
}

async fn one_run(store: Store, id: String, steps: u32) {
    let seam = store.begin(&new_run(&id), clock()).expect("a new run");
    let approved = unplanned(&id);
    let terms = Terms::new(id.clone(), "bench", id);
    let finished = execute(&Steps(steps), Box::new(seam), approved, terms).await.expect("a journal");
    assert_eq!(finished.outcome, Outcome::Verified);
}

/// Steps a second of `concurrency` runs at a time.
fn steps_rate(folder: &Path, concurrency: u32) -> f64 {
    let threads = if concurrency == 1 { 1 } else { 2 };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .expect("a runtime");
    let store = Store::open(&folder.join("bench.db")).expect("a store");
    let steps = if concurrency == 1 { 2_000 } else { 1_000 };
    runtime.block_on(async {
        let began = Instant::now();
        let runs: Vec<_> =
            (0..concurrency).map(|n| tokio::spawn(one_run(store.clone(), format!("r{n}"), steps))).collect();
        for run in runs {
            run.await.expect("a run that does not panic");
        }
        f64::from(steps * concurrency) / began.elapsed().as_secs_f64()
    })
}

/// From opening the store to the first new record of an interrupted run of a hundred entries.
fn resume_time(folder: &Path) -> Duration {
    let path = folder.join("resume.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(&path).expect("a store");
        one_run(store.clone(), "other".to_owned(), 2_000).await;
        let seam = store.begin(&new_run("stopped"), clock()).expect("a new run");
        let terms = Terms::new("stopped", "bench", "stopped");
        // An observer that lets go after a hundred entries.
        let detach = terms.detach.clone();
        let listener = Arc::new(move |entry: &allclear_engine::Entry| {
            if entry.seq == 100 {
                detach.request();
            }
        });
        let terms = Terms { listener: Some(listener), ..terms };
        execute(&Steps(200), Box::new(seam), unplanned("stopped"), terms).await.expect("a journal");
    });
    let began = Instant::now();
    let first_record = Arc::new(std::sync::OnceLock::new());
    let seen = Arc::clone(&first_record);
    runtime.block_on(async {
        let store = Store::open(&path).expect("a store");
        let seam = store.take_up("stopped", clock()).expect("an interrupted run");
        let listener = Arc::new(move |_: &allclear_engine::Entry| {
            let _ = seen.set(Instant::now());
        });
        let terms = Terms { listener: Some(listener), ..Terms::new("stopped", "bench", "stopped") };
        execute(&Steps(200), Box::new(seam), unplanned("stopped"), terms).await.expect("a journal");
    });
    first_record.get().expect("a new record").duration_since(began)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// At one run, of the rate at which the disk takes appends.
const LEAST_AT_ONE: f64 = 0.7;
/// At 64 runs, the same.
const LEAST_AT_64: f64 = 10.0;

fn main() -> ExitCode {
    // On the disk that holds the build, not in a memory file system.
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut figures: Vec<[f64; 5]> = Vec::new();
    for _ in 0..ROUNDS {
        let folder = tempfile::tempdir_in(base).expect("a folder");
        let inner = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).expect("a folder");
            path
        };
        let raw = raw_rate(folder.path());
        let rates =
            [1, 16, 64].map(|concurrency| steps_rate(&inner(&format!("c{concurrency}")), concurrency));
        let resume = resume_time(&inner("resume")).as_secs_f64() * 1_000.0;
        figures.push([raw, rates[0], rates[1], rates[2], resume]);
    }
    let of = |n: usize| median(figures.iter().map(|round| round[n]).collect());
    println!("medians of {ROUNDS} rounds");
    println!("raw append + fdatasync     {:>10.0} /s", of(0));
    println!("durable steps, c = 1       {:>10.0} /s   {:.0} % of raw", of(1), of(1) * 100.0 / of(0));
    println!("durable steps, c = 16      {:>10.0} /s", of(2));
    println!("durable steps, c = 64      {:>10.0} /s   {:.1} times raw", of(3), of(3) / of(0));
    println!("resume to the first record {:>10.2} ms", of(4));
    let holds = of(1) >= LEAST_AT_ONE * of(0) && of(3) >= LEAST_AT_64 * of(0);
    if holds {
        return ExitCode::SUCCESS;
    }
    eprintln!(
        "less than {:.0} % of the disk's own rate at one run, or than {LEAST_AT_64} times it at 64",
        LEAST_AT_ONE * 100.0
    );
    ExitCode::FAILURE
}
