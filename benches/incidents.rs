//! Whole simulated incidents in virtual time, over real HTTP: `cargo bench --bench incidents`.
//!
//! Each is a world of its own with its own sandbox: planned, approved, run to its end, and judged by its outcome. The same seed must
//! give the same journal to the byte, so each tenth is played twice.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

#[path = "../tests/it/scene.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod scene;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use allclear::engine::Outcome;
use allclear::sandbox::{Scenario, WorldSpec};

use scene::{Scene, small};

const FOR: Duration = Duration::from_secs(20);
const KINDS: [&str; 6] =
    ["rate-limited", "stalled", "unreachable", "double-redemption", "wrong-scope", "function-removed"];

fn main() {
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let (next, made, twice) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                while began.elapsed() < FOR {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let journal = runtime.block_on(incident(seed));
                    made.fetch_add(1, Ordering::Relaxed);
                    if seed.is_multiple_of(10) {
                        assert_eq!(runtime.block_on(incident(seed)), journal, "seed {seed}");
                        made.fetch_add(1, Ordering::Relaxed);
                        twice.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let (made, seconds) = (made.into_inner(), began.elapsed().as_secs_f64());
    println!(
        "{:.0} incidents a minute: {made} in {seconds:.1} s on {workers} cores; {} of them twice, byte for byte the same",
        made as f64 / seconds * 60.0,
        twice.into_inner()
    );
}

/// One incident from its detection to its end; its journal as text.
async fn incident(seed: u64) -> String {
    let scenario = Scenario::named(KINDS[seed as usize % KINDS.len()]).unwrap();
    let spec = WorldSpec {
        seed,
        targets_per_campaign: 60,
        notifications: 20,
        vouchers: 20,
        stations: 4,
        ..small(scenario)
    };
    let scene = Scene::of(spec).await;
    let (_, finished) = scene.plan_and_run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "seed {seed}, {scenario:?}: {}", finished.says);
    serde_json::to_string(&scene.entries()).unwrap()
}
