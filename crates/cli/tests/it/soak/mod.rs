//! A soak: runs that are killed at random in pairs and in longer rows, with lost answers, services that fail for a while,
//! a second process and other people beside them. What counts is what the platform has seen, and what an undisturbed run
//! of the same world leaves.
//!
//! Beside the kill walks, which die once and at each boundary in turn, this looks for what only a second misfortune
//! shows. A case follows from its number; `cargo xtask soak` plays many, and plays one again by its number.

mod case;
mod place;
mod play;
mod scene;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use case::Case;
use play::{Calm, Played, calm, play};
use tokio::runtime::Runtime;

use crate::desk::{ALLCLEAR, walker};

/// How many kills of started runs a test wants, unless `ALLCLEAR_SOAK` says.
const KILLS: u64 = 2_000;
/// How many cases are played at a time.
const LANES: usize = 3;

/// What all cases of a runbook came to.
#[derive(Debug, Default)]
struct Tally {
    cases: u64,
    kills: u64,
    pairs: u64,
    triples: u64,
    troubled: u64,
    beside: u64,
    in_doubt: u64,
    untold: u64,
    duplicates: u64,
    lost: u64,
    ended: u64,
}

impl Tally {
    fn add(&mut self, played: &Played) {
        let hits = played.hits.len() as u64;
        self.cases += 1;
        self.kills += hits;
        self.pairs += hits.saturating_sub(1);
        self.triples += hits.saturating_sub(2);
        self.troubled += played.troubled;
        self.beside += played.beside;
        self.in_doubt += u64::from(played.in_doubt);
        self.untold += u64::from(played.untold);
        self.duplicates += u64::from(!played.duplicates.is_empty());
        self.lost += u64::from(!played.lost.is_empty());
        self.ended += u64::from(!played.ended.is_empty());
    }
}

struct Soaked {
    tallies: BTreeMap<&'static str, Tally>,
    failures: Vec<String>,
}

impl Soaked {
    fn sum(&self, of: impl Fn(&Tally) -> u64) -> u64 {
        self.tallies.values().map(of).sum()
    }

    fn table(&self, took: f64) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{:<27}{:>6}{:>7}{:>7}{:>8}{:>9}{:>7}{:>7}{:>8}{:>11}{:>5}{:>6}",
            "",
            "runs",
            "kills",
            "pairs",
            "triples",
            "troubled",
            "beside",
            "asked",
            "untold",
            "duplicates",
            "lost",
            "ended"
        );
        for (runbook, t) in &self.tallies {
            let _ = writeln!(
                text,
                "{runbook:<27}{:>6}{:>7}{:>7}{:>8}{:>9}{:>7}{:>7}{:>8}{:>11}{:>5}{:>6}",
                t.cases,
                t.kills,
                t.pairs,
                t.triples,
                t.troubled,
                t.beside,
                t.in_doubt,
                t.untold,
                t.duplicates,
                t.lost,
                t.ended
            );
        }
        let (kills, runs) = (self.sum(|t| t.kills), self.sum(|t| t.cases));
        let _ = writeln!(text, "{kills} kills of {runs} started runs in {took:.0} s");
        text
    }
}

fn all_calm(program: &Path, runtime: &Runtime) -> Vec<Calm> {
    scene::ALL.iter().map(|scene| calm(scene, program, runtime)).collect()
}

fn failure(case: &Case, played: &Played) -> String {
    let mut text = format!("{case}");
    for hit in &played.hits {
        let _ = writeln!(text, "  hit {hit}");
    }
    for wrong in played.wrong() {
        let _ = writeln!(text, "  wrong: {wrong}");
    }
    let last: Vec<&str> = played.said.lines().rev().filter(|line| !line.trim().is_empty()).take(4).collect();
    for line in last.iter().rev() {
        let _ = writeln!(text, "  said: {line}");
    }
    let _ = writeln!(text, "  again: cargo xtask soak --case {}", case.seed);
    text
}

/// Plays cases from `first` on until there were `kills` kills, or so many cases went wrong.
fn soak(program: &Path, first: u64, kills: u64, failures: usize) -> Soaked {
    let runtime = Runtime::new().unwrap();
    let calm = all_calm(program, &runtime);
    let next = AtomicU64::new(first);
    let soaked = Mutex::new(Soaked { tallies: BTreeMap::new(), failures: Vec::new() });
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                loop {
                    {
                        let soaked = soaked.lock().unwrap();
                        if soaked.sum(|t| t.kills) >= kills || soaked.failures.len() >= failures {
                            return;
                        }
                    }
                    let case = Case::drawn(next.fetch_add(1, Ordering::SeqCst));
                    let played = play(&case, &calm[case.scene], program, &runtime);
                    let mut soaked = soaked.lock().unwrap();
                    soaked.tallies.entry(case.scene().runbook).or_default().add(&played);
                    if !played.wrong().is_empty() {
                        let text = failure(&case, &played);
                        eprintln!("{text}");
                        soaked.failures.push(text);
                    }
                }
            });
        }
    });
    soaked.into_inner().unwrap()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// The product, or another build of it: the same soak tells what an older one did wrong.
fn product() -> PathBuf {
    std::env::var_os("ALLCLEAR_SOAK_PROGRAM").map_or_else(|| ALLCLEAR.into(), PathBuf::from)
}

#[test]
fn killed_in_pairs_and_triples_nothing_is_repeated_nothing_is_lost_and_every_run_goes_on() {
    let began = Instant::now();
    let failures = usize::try_from(number("ALLCLEAR_SOAK_FAILURES").unwrap_or(20)).unwrap();
    let soaked = if let Some(case) = number("ALLCLEAR_SOAK_CASE") {
        // Where a kill hits depends on the machine's mood, so the same schedule is tried a few times.
        let mut all = Soaked { tallies: BTreeMap::new(), failures: Vec::new() };
        let runtime = Runtime::new().unwrap();
        let case = Case::drawn(case);
        let calm = calm(case.scene(), &product(), &runtime);
        for _ in 0..number("ALLCLEAR_SOAK").unwrap_or(20) {
            let played = play(&case, &calm, &product(), &runtime);
            all.tallies.entry(case.scene().runbook).or_default().add(&played);
            if !played.wrong().is_empty() {
                all.failures.push(failure(&case, &played));
            }
        }
        all
    } else {
        let kills = number("ALLCLEAR_SOAK").unwrap_or(KILLS);
        soak(&product(), number("ALLCLEAR_SOAK_FROM").unwrap_or(0), kills, failures)
    };
    println!("{}", soaked.table(began.elapsed().as_secs_f64()));
    assert!(soaked.failures.is_empty(), "{}", soaked.failures.join("\n"));
}

#[test]
fn without_reconciliation_the_same_soak_finds_duplicates() {
    let soaked = soak(&walker(), 0, 150, usize::MAX);
    let duplicates = soaked.sum(|t| t.duplicates);
    println!("without reconciliation: {duplicates} of {} runs with duplicates", soaked.sum(|t| t.cases));
    assert!(duplicates >= 5, "the oracle does not bite: {}", soaked.failures.join("\n"));
}
