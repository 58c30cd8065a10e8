//! kill -9 at every journal boundary: a real child process, a real sandbox process, resumed until it ends.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::desk::{ALLCLEAR, Desk, stderr, walker, world};

const RUN: [&str; 4] = ["run", "whatsapp-send-failures", "--yes", "--auto-approve"];
const SIGKILL: i32 = 9;

/// An outage that lasts long enough for the provider to be told: the one effect that is neither keyed nor readable.
fn outage() -> Value {
    json!({ "scenario": "outage", "minutes": 6 })
}

struct Expected {
    effects: BTreeMap<String, usize>,
    digest: String,
}

fn baseline(desk: &Desk, world: &Value) -> (Expected, u64) {
    desk.start_over(world);
    let count = desk.folder().join("count");
    let output = desk.command(&walker(), &RUN).env("WALK_COUNT", &count).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let boundaries = std::fs::read_to_string(count).unwrap().parse().unwrap();
    (Expected { effects: desk.effects(), digest: desk.digest() }, boundaries)
}

/// How one walk ended.
#[derive(Debug, Default)]
struct Walk {
    asked_in_doubt: bool,
    wrong: Option<String>,
}

/// Resumes until the run has ended. Where it is in doubt, a person looks and tells.
pub(crate) fn finish(desk: &Desk, program: &Path, mutant: bool) -> (i32, bool) {
    let mut asked = false;
    for _ in 0..6 {
        let mutant_flag = if mutant { "1" } else { "0" };
        let output = desk
            .command(program, &["resume", "@last", "--auto-approve"])
            .env("WALK_MUTANT", mutant_flag)
            .output()
            .unwrap();
        match output.status.code() {
            Some(15) => {
                asked = true;
                let is_there = desk.effects().contains_key("provider.ticket provider ticket");
                let choice = if is_there { "happened" } else { "did-not-happen" };
                let answered = desk.call(&["answer", "@last", choice]);
                assert!(answered.status.success(), "{}", stderr(&answered));
            }
            // Nothing was begun before the process was killed.
            Some(2) if stderr(&output).contains("no runs yet") => {
                let output = desk.command(program, &RUN).output().unwrap();
                return (output.status.code().unwrap_or(-1), asked);
            }
            // The run had ended just before.
            Some(16) if stderr(&output).contains("has ended verified") => return (0, asked),
            Some(code) => return (code, asked),
            None => return (-1, asked),
        }
    }
    (-2, asked)
}

fn walk_to(desk: &Desk, world: &Value, expected: &Expected, boundary: u64, mutant: bool) -> Walk {
    desk.start_over(world);
    let killed = desk.command(&walker(), &RUN).env("WALK_KILL_AT", boundary.to_string()).output().unwrap();
    assert_eq!(killed.status.signal(), Some(SIGKILL), "boundary {boundary}: {}", stderr(&killed));
    let program = if mutant { walker() } else { ALLCLEAR.into() };
    let (code, asked_in_doubt) = finish(desk, &program, mutant);
    let (effects, digest) = (desk.effects(), desk.digest());
    let wrong = if code != 0 {
        Some(format!("exit code {code}"))
    } else if effects != expected.effects {
        Some(format!("effects {effects:?}"))
    } else if digest != expected.digest {
        Some("another final world".to_owned())
    } else {
        None
    };
    Walk { asked_in_doubt, wrong }
}

/// Walks every `stride`-th boundary, on two desks at a time.
fn walk_all(profile: &str, mutant: bool, stride: u64) -> (u64, u64, Vec<String>) {
    let world = world(&outage(), profile);
    let first = Desk::with(&world);
    let (expected, boundaries) = baseline(&first, &world);
    let second = Desk::with(&world);
    let walked: Vec<(u64, Walk)> = std::thread::scope(|scope| {
        let lanes: Vec<_> = [(first, 0), (second, 1)]
            .into_iter()
            .map(|(desk, lane)| {
                let (world, expected) = (&world, &expected);
                scope.spawn(move || {
                    let mine = (1..=boundaries)
                        .step_by(usize::try_from(stride).unwrap())
                        .filter(|n| (n / stride) % 2 == lane);
                    mine.map(|n| (n, walk_to(&desk, world, expected, n, mutant))).collect::<Vec<_>>()
                })
            })
            .collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    });
    let asked = walked.iter().filter(|(_, walk)| walk.asked_in_doubt).count() as u64;
    let wrong = walked
        .iter()
        .filter_map(|(n, walk)| walk.wrong.as_ref().map(|why| format!("boundary {n}: {why}")))
        .collect();
    (walked.len() as u64, asked, wrong)
}

#[test]
fn killed_at_every_boundary_nothing_is_repeated_and_nothing_is_lost() {
    let (walked, asked, wrong) = walk_all("as-is", false, 1);
    println!(
        "killed at {walked} journal boundaries: {} wrong, {asked} in doubt with a person asked",
        wrong.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(asked >= 1, "the ticket is neither keyed nor readable, so some kill must leave it in doubt");
}

#[test]
fn without_reconciliation_the_same_walk_fails() {
    let (walked, _, wrong) = walk_all("as-is", true, 2);
    let percent = wrong.len() as u64 * 100 / walked.max(1);
    println!("without reconciliation: {} of {walked} boundaries wrong ({percent} %)", wrong.len());
    assert!(wrong.len() >= 5, "the oracle does not bite: {wrong:#?}");
}
