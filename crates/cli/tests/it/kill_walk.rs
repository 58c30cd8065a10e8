//! kill -9 at every journal boundary: a real child process, a real sandbox process, resumed until it ends.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path as FilePath;

use serde_json::{Value, json};

use crate::desk::{ALLCLEAR, Desk, stderr, walker, world};

pub(crate) const SIGKILL: i32 = 9;

/// What is walked: a runbook in a world.
#[derive(Clone)]
pub(crate) struct Path {
    pub(crate) runbook: &'static str,
    pub(crate) world: Value,
    /// Beside the runbook's name.
    pub(crate) more: &'static [&'static str],
}

impl Path {
    fn of(runbook: &'static str, scenario: &Value, profile: &str) -> Self {
        Self { runbook, world: world(scenario, profile), more: &[] }
    }

    pub(crate) fn args(&self) -> Vec<&'static str> {
        [&["run", self.runbook, "--yes", "--auto-approve"], self.more].concat()
    }
}

/// An outage that lasts long enough for the provider to be told.
fn outage() -> Path {
    Path::of("whatsapp-send-failures", &json!({ "scenario": "outage", "minutes": 6 }), "as-is")
}

fn double_redemption() -> Path {
    Path::of("station-redeem-anomalies", &json!({ "scenario": "double-redemption" }), "as-is")
}

struct Expected {
    effects: BTreeMap<String, usize>,
    digest: String,
    /// The same as data, without the provider's tickets.
    world: Value,
}

fn baseline(desk: &Desk, path: &Path) -> (Expected, u64) {
    desk.start_over(&path.world);
    let count = desk.folder().join("count");
    let output = desk.command(&walker(), &path.args()).env("WALK_COUNT", &count).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let boundaries = std::fs::read_to_string(count).unwrap().parse().unwrap();
    let (effects, digest, world) = (desk.effects(), desk.digest(), desk.world_without_tickets());
    (Expected { effects, digest, world }, boundaries)
}

/// The provider's intake drops no repetition and cannot be asked what it has, and a second ticket is harmless: after a doubt
/// it is sent once more, which its effect declares.
const TICKET: &str = "provider.ticket provider ticket";

/// So many runs of half an hour one sandbox sees before its evening.
pub(crate) const WALKS_OF_A_DAY: u64 = 20;

/// How one walk ended.
#[derive(Debug, Default)]
struct Walk {
    second_ticket: bool,
    wrong: Option<String>,
}

/// Resumes a run whose process was killed; says how it ended. Nobody is there to be asked.
pub(crate) fn finish(desk: &Desk, path: &Path, program: &FilePath, mutant: bool) -> i32 {
    let mutant_flag = if mutant { "1" } else { "0" };
    let output = desk
        .command(program, &["resume", "@last", "--auto-approve"])
        .env("WALK_MUTANT", mutant_flag)
        .output()
        .unwrap();
    match output.status.code() {
        // Nothing was begun before the process was killed.
        Some(2) if stderr(&output).contains("no runs yet") => {
            desk.command(program, &path.args()).output().unwrap().status.code().unwrap_or(-1)
        }
        // The run had ended just before.
        Some(16) if stderr(&output).contains("has ended verified") => 0,
        code => code.unwrap_or(-1),
    }
}

/// Takes a second ticket out of these effects, and says whether there was one.
pub(crate) fn forgive_second_ticket(effects: &mut BTreeMap<String, usize>) -> bool {
    let Some(tickets) = effects.get_mut(TICKET).filter(|tickets| **tickets == 2) else { return false };
    *tickets = 1;
    true
}

fn walk_to(desk: &Desk, path: &Path, expected: &Expected, boundary: u64, mutant: bool) -> Walk {
    desk.start_over(&path.world);
    let killed =
        desk.command(&walker(), &path.args()).env("WALK_KILL_AT", boundary.to_string()).output().unwrap();
    assert_eq!(killed.status.signal(), Some(SIGKILL), "boundary {boundary}: {}", stderr(&killed));
    let program = if mutant { walker() } else { ALLCLEAR.into() };
    let code = finish(desk, path, &program, mutant);
    let (mut effects, digest) = (desk.effects(), desk.digest());
    let second_ticket = forgive_second_ticket(&mut effects);
    let wrong = if code != 0 {
        Some(format!("exit code {code}"))
    } else if effects != expected.effects {
        Some(format!("effects {effects:?}"))
    } else if second_ticket && desk.world_without_tickets() != expected.world {
        Some("another final world beside the second ticket".to_owned())
    } else if !second_ticket && digest != expected.digest {
        Some("another final world".to_owned())
    } else {
        None
    };
    Walk { second_ticket, wrong }
}

/// Walks every `stride`-th boundary, on two desks at a time.
fn walk_all(path: &Path, mutant: bool, stride: u64) -> (u64, u64, Vec<String>) {
    let first = Desk::with(&path.world);
    let (expected, boundaries) = baseline(&first, path);
    let second = Desk::with(&path.world);
    let walked: Vec<(u64, Walk)> = std::thread::scope(|scope| {
        let lanes: Vec<_> = [(first, 0), (second, 1)]
            .into_iter()
            .map(|(mut desk, lane)| {
                let expected = &expected;
                scope.spawn(move || {
                    let mine = (1..=boundaries)
                        .step_by(usize::try_from(stride).unwrap())
                        .filter(|n| (n / stride) % 2 == lane);
                    let mut walked = Vec::new();
                    for (nth, n) in (1..).zip(mine) {
                        walked.push((n, walk_to(&desk, path, expected, n, mutant)));
                        // A sandbox's clock goes on from world to world, and at night a run waits: another world.
                        if nth % WALKS_OF_A_DAY == 0 {
                            desk = Desk::with(&path.world);
                        }
                    }
                    walked
                })
            })
            .collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    });
    let twice = walked.iter().filter(|(_, walk)| walk.second_ticket).count() as u64;
    let wrong = walked
        .iter()
        .filter_map(|(n, walk)| walk.wrong.as_ref().map(|why| format!("boundary {n}: {why}")))
        .collect();
    (walked.len() as u64, twice, wrong)
}

/// Walks every boundary; returns how often the provider was told a second time.
fn walk_every_boundary(path: &Path) -> u64 {
    let (walked, twice, wrong) = walk_all(path, false, 1);
    println!(
        "{}: killed at {walked} journal boundaries: {} wrong, {twice} with a second ticket",
        path.runbook,
        wrong.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    twice
}

#[test]
fn killed_at_every_boundary_nothing_is_repeated_and_nothing_is_lost() {
    let twice = walk_every_boundary(&outage());
    assert!((1..=2).contains(&twice), "only a kill around its answer leaves the ticket in doubt: {twice}");
}

#[test]
fn killed_at_every_boundary_previews_are_repaired_once() {
    walk_every_boundary(&Path::of(
        "voucher-preview-failures",
        &json!({ "scenario": "preview-removed" }),
        "as-is",
    ));
}

#[test]
fn killed_at_every_boundary_the_dispatcher_is_replayed_once() {
    walk_every_boundary(&Path::of("campaign-dispatcher-stalls", &json!({ "scenario": "stalled" }), "target"));
}

#[test]
fn killed_at_every_boundary_between_stop_and_start_the_campaign_runs_in_the_end() {
    let mut path = Path::of("campaign-dispatcher-stalls", &json!({ "scenario": "stalled" }), "target");
    path.more = &["--set", "replay=stop-start"];
    path.world["campaigns"] = json!(1);
    walk_every_boundary(&path);
}

#[test]
fn killed_at_every_boundary_a_voucher_is_replaced_once() {
    walk_every_boundary(&double_redemption());
}

#[test]
fn without_reconciliation_the_same_walks_fail() {
    for (path, fewest) in [(outage(), 5), (double_redemption(), 1)] {
        let (walked, _, wrong) = walk_all(&path, true, 2);
        let percent = wrong.len() as u64 * 100 / walked.max(1);
        println!(
            "{}: without reconciliation {} of {walked} boundaries wrong ({percent} %)",
            path.runbook,
            wrong.len()
        );
        assert!(wrong.len() >= fewest, "{}: the oracle does not bite: {wrong:#?}", path.runbook);
    }
}
