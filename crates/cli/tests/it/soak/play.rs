//! Plays a case, and judges what it left by what an undisturbed run leaves.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::runtime::Runtime;

use super::case::{Beside, Case, Kill, Leg};
use super::place::{Place, Process, Stored, World};
use super::scene::Scene;

/// How often a run is taken up in peace before it counts as one that never ends.
const PATIENCE: usize = 12;

/// What an undisturbed run leaves.
#[derive(Debug, Clone)]
pub(crate) struct Calm {
    outcome: String,
    world: World,
    /// From the moment at which it has its run to its end, on this machine.
    takes: Duration,
}

/// What a case came to.
#[derive(Debug, Default)]
pub(crate) struct Played {
    /// Where each kill hit a run that had started and had not ended.
    pub(crate) hits: Vec<String>,
    /// Calls that went wrong.
    pub(crate) troubled: u64,
    /// Processes of others beside it.
    pub(crate) beside: u64,
    /// Whether it ended unverified for nothing but a message that did not get through.
    pub(crate) untold: bool,
    /// Whether a person was asked whether something happened.
    pub(crate) in_doubt: bool,
    /// What was said last, where something is wrong.
    pub(crate) said: String,
    pub(crate) duplicates: Vec<String>,
    pub(crate) lost: Vec<String>,
    pub(crate) ended: Vec<String>,
}

impl Played {
    pub(crate) fn wrong(&self) -> Vec<&str> {
        [&self.duplicates, &self.lost, &self.ended].into_iter().flatten().map(String::as_str).collect()
    }
}

pub(crate) fn calm(scene: &Scene, program: &Path, runtime: &Runtime) -> Calm {
    let place = Place::of(scene, program, runtime);
    let mut process = place.spawn(&scene.start());
    let began = process.run().map(|_| Instant::now());
    process.wait();
    let takes = began.map(|began| began.elapsed());
    let runs = place.runs();
    let outcome = runs.first().and_then(|run| run.outcome.clone());
    let (Some(takes), Some(outcome)) = (takes, outcome) else {
        panic!("{scene}: the undisturbed run does not end: {}", process.said());
    };
    Calm { outcome, world: place.world(), takes }
}

impl Calm {
    fn part(&self, part: f64) -> Duration {
        self.takes.mul_f64(part.min(3.0))
    }
}

pub(crate) fn play(case: &Case, calm: &Calm, program: &Path, runtime: &Runtime) -> Played {
    let place = Place::of(case.scene(), program, runtime);
    let mut played = Played::default();
    let mut run = None;
    for leg in &case.legs {
        perform(&place, case, leg, calm, &mut run, &mut played);
        let runs = place.runs();
        if !runs.is_empty() && runs.iter().all(|run| run.outcome.is_some()) {
            break;
        }
    }
    played.troubled = place.sandbox.with_world(allclear_sandbox::World::calm);
    let said = settle(&place, case, calm, &mut played);
    judge(&place, case, calm, &mut played);
    if !played.wrong().is_empty() {
        played.said = said;
    }
    played
}

fn perform(
    place: &Place,
    case: &Case,
    leg: &Leg,
    calm: &Calm,
    run: &mut Option<String>,
    played: &mut Played,
) {
    let acted = place.sandbox.with_world(|world| {
        leg.troubles.iter().for_each(|one| world.trouble(one.clone()));
        world.ledger().entries().len()
    });
    let has = run.clone();
    let mut args = match &has {
        None => case.scene().start(),
        Some(id) => vec!["resume", id, "--auto-approve"],
    };
    if leg.beside == Beside::Answer {
        args.iter_mut().filter(|word| **word == "--auto-approve").for_each(|word| *word = "--no-input");
    }
    let mut process = place.spawn(&args);
    let mut other = beside(place, leg, &args, has.as_deref());
    let taken = match leg.kill {
        Kill::Spawned(part) => {
            std::thread::sleep(calm.part(part));
            None
        }
        Kill::Taken(part) => process.run().inspect(|_| std::thread::sleep(calm.part(part))),
        Kill::TakenMs(ms) => {
            process.run().inspect(|_| std::thread::sleep(Duration::from_secs_f64(ms / 1_000.0)))
        }
        Kill::Acted(writes) => {
            let so_many = || place.sandbox.with_world(|world| world.ledger().entries().len() - acted);
            while so_many() <= writes && process.lives() {
                std::thread::sleep(Duration::from_micros(500));
            }
            None
        }
    };
    let mut killed = process.kill();
    if let Some(other) = &mut other {
        played.beside += 1;
        if leg.beside == Beside::Second {
            killed |= other.kill();
        } else {
            other.wait();
        }
    }
    let runs = place.runs();
    if leg.beside == Beside::Answer
        && let Some(run) = runs.first()
    {
        answer(place, run, "lea");
        played.beside += 1;
    }
    let open = |run: &&Stored| run.outcome.is_none() && run.entries > 0;
    match runs.iter().rev().find(open) {
        Some(hit) if killed => played.hits.push(format!("{} at entry {}, {}", hit.id, hit.entries, hit.last)),
        _ => {}
    }
    *run = has.or(taken).or_else(|| runs.first().map(|run| run.id.clone()));
}

/// Whoever else is at the run.
fn beside(place: &Place, leg: &Leg, args: &[&str], run: Option<&str>) -> Option<Process> {
    match (leg.beside, run) {
        (Beside::Second | Beside::SecondGoesOn, _) => Some(place.spawn(args)),
        (Beside::Abort, Some(run)) => Some(place.spawn_as("lea", &["abort", run])),
        (Beside::HandOver, Some(run)) => Some(place.spawn_as("kim", &["hand-over", run, "--to", "lea"])),
        _ => None,
    }
}

/// Takes everything up in peace until it has ended. Returns what was said last.
fn settle(place: &Place, case: &Case, calm: &Calm, played: &mut Played) -> String {
    if place.runs().is_empty() {
        place.spawn(&case.scene().start()).wait();
    }
    let mut said = String::new();
    let is_calm = |run: &Stored| run.outcome.as_deref() == Some(calm.outcome.as_str());
    for _ in 0..PATIENCE {
        let Some(open) = place.runs().into_iter().find(|run| run.outcome.is_none()) else { return said };
        if place.runs().iter().any(is_calm) {
            // Two were started and one has done it all; a person ends the other.
            place.spawn_as("lea", &["abort", &open.id]).wait();
        }
        let mut process = place.spawn(&["resume", &open.id, "--auto-approve"]);
        let code = process.wait();
        said = process.said();
        if code == Some(15) {
            played.in_doubt = true;
            if let Some(run) = place.runs().into_iter().find(|run| run.id == open.id) {
                answer(place, &run, "kim");
            }
        }
    }
    let open: Vec<Stored> = place.runs().into_iter().filter(|run| run.outcome.is_none()).collect();
    if !open.is_empty() {
        played.ended.push(format!("taken up {PATIENCE} times, it does not end: {open:?}"));
    }
    said
}

/// A person says what lets the run go on, as they saw the question. Where it asks whether something happened, they look.
fn answer(place: &Place, run: &Stored, who: &str) {
    let Some(asked) = &run.asked else { return };
    let there = run.in_doubt.as_ref().is_some_and(|effect| {
        place.sandbox.ledger().iter().any(|entry| entry.changed && entry.effect == *effect)
    });
    let choice = match (asked.fact, there) {
        (true, true) => "happened",
        (true, false) => "did-not-happen",
        (false, _) => &asked.choice,
    };
    place.spawn_as(who, &["answer", &run.id, choice, "--binding", &asked.binding]).wait();
}

/// Of the world, what does not depend on how long it took.
fn essential(world: &World) -> Value {
    ["campaigns", "settings", "vouchers", "functions"]
        .iter()
        .map(|name| ((*name).to_owned(), world.state[name].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn tickets(world: &World) -> usize {
    world.effects.get("provider.ticket provider ticket").copied().unwrap_or(0)
}

fn judge(place: &Place, case: &Case, calm: &Calm, played: &mut Played) {
    let (world, runs) = (place.world(), place.runs());
    let same_time = world.at == calm.world.at;
    // On a busy machine the second of two may have looked at the world only after the first was through.
    let whole_runs = 1 + runs.iter().filter(|run| run.later).count();
    for (effect, times) in &world.effects {
        let allowed = whole_runs * calm.world.effects.get(effect).copied().unwrap_or(1).max(1);
        // Each look whether sending works again is a canary of its own; a wait that took longer has more of them.
        let waited = effect == "message.send canary" && !same_time;
        // The provider cannot be asked whether it has a ticket, and a second one is harmless; that is declared with the effect.
        let harmless = effect == "provider.ticket provider ticket" && *times <= 2;
        if *times > allowed && !waited && !harmless {
            let ends: Vec<_> = runs.iter().map(|run| (&run.id, &run.outcome, run.entries)).collect();
            played
                .duplicates
                .push(format!("{effect} happened {times} times, and {allowed} in peace: {ends:?}"));
        }
    }
    // Of runs at once one is announced, and once in its life, whatever killed it; and its end is, unless its journal says that
    // the platform was away then.
    let (began, ended) = world.announced;
    let untold = runs.iter().filter(|run| run.untold).count();
    if began > runs.len() || ended > began || began - ended.min(began) > untold {
        played.duplicates.push(format!(
            "{} runs announced themselves {began} times and their end {ended} times, and {untold} could not: {runs:?}",
            runs.len()
        ));
    }
    let ends: Vec<&str> = runs.iter().filter_map(|run| run.outcome.as_deref()).collect();
    if case.is_aborted() && ends.contains(&"rejected") {
        return;
    }
    // Telling people has a minute's patience and holds nothing up: where the service was away for longer, or a process died at
    // a ticket that nobody can ask for, everything else is done, and the run says who was not told and ends unverified.
    let told_nobody = |run: &Stored| {
        let untold = [
            "(not proven: tell ",
            "(not proven: page ",
            "(not proven: open a ticket ",
            "(not proven: close the page stuck ",
            "“tell #ops” was not done",
            "“page ",
            "“close the page stuck ",
        ];
        run.outcome.as_deref() == Some("unverified") && untold.iter().any(|words| run.says.contains(words))
    };
    let untold = !ends.contains(&calm.outcome.as_str()) && runs.iter().any(told_nobody);
    if !untold && !ends.contains(&calm.outcome.as_str()) {
        let says: Vec<&str> = runs.iter().map(|run| run.says.as_str()).collect();
        played.ended.push(format!("it ended {ends:?}, and {} in peace: {says:?}", calm.outcome));
        return;
    }
    played.untold = untold;
    let unpaged = runs.iter().any(|run| run.unpaged);
    let same_time =
        same_time && !untold && !unpaged && whole_runs == 1 && tickets(&world) == tickets(&calm.world);
    if same_time && world.effects != calm.world.effects {
        let more = world.effects.iter().filter(|one| !calm.world.effects.contains_key(one.0));
        let less = calm.world.effects.iter().filter(|one| !world.effects.contains_key(one.0));
        let (more, less): (Vec<_>, Vec<_>) = (more.collect(), less.collect());
        played.lost.push(format!("other effects: {more:?} more, {less:?} less"));
    }
    let (is, should) = if same_time {
        (world.state.clone(), calm.world.state.clone())
    } else {
        (essential(&world), essential(&calm.world))
    };
    if is != should {
        played.lost.push(format!("another world: {is} instead of {should}"));
    }
}
