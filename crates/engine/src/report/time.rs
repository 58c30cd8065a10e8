//! Where a run's time went.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::questions::questions;
use crate::journal::{Entry, Event, Of, Waiting};
use crate::step::Phase;

/// Where a run's time went. The five parts add up to [`wall_clock`](Self::wall_clock) to the nanosecond.
///
/// Every interval between two consecutive entries goes to one part, by the first rule that fits:
///
/// 1. it lies between a question and the answer (or expiry) that settled it: *human*, whether a process waited for it or
///    not. Where the answer was handed in while none did, the rest until the run is taken up again is *interrupted*;
/// 2. it ends with the run being taken up again: *interrupted*;
/// 3. it starts with a wait to verify, or ends with a verdict: *verifying*;
/// 4. it starts with any other wait: *waiting*;
/// 5. *machine*.
///
/// Where the clock was set back, an interval is negative. It counts, negative, in the part that it belongs to: a part
/// may look too short then, but the sum stays that of the entries' own times, which anybody can check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TimeSpent {
    /// Calls and computation.
    pub machine: SignedDuration,
    /// Waiting for a person's answer.
    pub human: SignedDuration,
    /// Waiting for the world, or to try again.
    pub waiting: SignedDuration,
    /// Reading effects back, and waiting to.
    pub verifying: SignedDuration,
    /// No process worked on the run.
    pub interrupted: SignedDuration,
    /// From the first entry to the last.
    pub wall_clock: SignedDuration,
    /// The same by step, in order of first appearance, interruptions left out. What lies between two entries that
    /// belong to no step is in the parts above only.
    pub by_step: Vec<StepTime>,
    /// The entries whose time is before that of their predecessor: the clock was set back.
    pub set_back: Vec<u64>,
}

/// Where a step's time went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepTime {
    /// The step's id.
    pub step: String,
    /// The step's phase.
    pub phase: Phase,
    /// Calls and computation.
    pub machine: SignedDuration,
    /// Waiting for a person's answer.
    pub human: SignedDuration,
    /// Waiting for the world, or to try again.
    pub waiting: SignedDuration,
    /// Reading effects back, and waiting to.
    pub verifying: SignedDuration,
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Machine,
    Human,
    Waiting,
    Verifying,
    Interrupted,
}

/// Tells where a run's time went, from the times of its entries.
pub fn time_spent(entries: &[Entry]) -> TimeSpent {
    let mut spent = TimeSpent::default();
    if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
        spent.wall_clock = last.at.duration_since(first.at);
    }
    let asking = questions_of_intervals(entries);
    for (index, pair) in entries.windows(2).enumerate() {
        let [from, to] = pair else { continue };
        let took = to.at.duration_since(from.at);
        if took.is_negative() {
            spent.set_back.push(to.seq);
        }
        let question = asking[index].as_ref();
        let part = part_of(&from.event, &to.event, question.is_some());
        let of = step_of(&from.event, &to.event).or(question.map(|question| question.of));
        let answered =
            question.and_then(|question| question.answered).filter(|_| matches!(part, Part::Human));
        match answered.filter(|_| !took.is_negative()) {
            // People were done then; what is left of it is the time in which nobody took their answer up.
            Some(answered) if answered < to.at && matches!(to.event, Event::Resumed { .. }) => {
                let people = answered.duration_since(from.at).max(SignedDuration::ZERO);
                spent.add(Part::Human, of, people);
                spent.add(Part::Interrupted, of, took - people);
            }
            _ => spent.add(part, of, took),
        }
    }
    spent.by_step.retain(|step| {
        [step.machine, step.human, step.waiting, step.verifying].iter().any(|part| !part.is_zero())
    });
    spent
}

impl TimeSpent {
    fn add(&mut self, part: Part, of: Option<&Of>, took: SignedDuration) {
        *match part {
            Part::Machine => &mut self.machine,
            Part::Human => &mut self.human,
            Part::Waiting => &mut self.waiting,
            Part::Verifying => &mut self.verifying,
            Part::Interrupted => &mut self.interrupted,
        } += took;
        let Some(of) = of else { return };
        let step = step_time(&mut self.by_step, of);
        match part {
            Part::Machine => step.machine += took,
            Part::Human => step.human += took,
            Part::Waiting => step.waiting += took,
            Part::Verifying => step.verifying += took,
            Part::Interrupted => {}
        }
    }
}

/// The question that is open in an interval.
#[derive(Clone)]
struct Open<'a> {
    of: &'a Of,
    /// When the answer that settled it was handed in, where the store says so.
    answered: Option<Timestamp>,
}

/// For each interval, the question that was open in it.
fn questions_of_intervals(entries: &[Entry]) -> Vec<Option<Open<'_>>> {
    let mut all = vec![None; entries.len()];
    for asking in questions(entries) {
        let answered = asking.settled.and_then(|settled| match &entries[settled].event {
            Event::Answered { answer, .. } => answer.accepted.as_ref().map(|accepted| accepted.at),
            _ => None,
        });
        // The store is not told the time where nothing depends on it.
        let answered = answered.filter(|at| *at >= entries[asking.asked].at);
        let open = Open { of: asking.of, answered };
        all[asking.asked..asking.settled.unwrap_or(entries.len())].fill(Some(open));
    }
    all
}

fn part_of(from: &Event, to: &Event, asking: bool) -> Part {
    match (from, to) {
        _ if asking => Part::Human,
        (_, Event::Resumed { .. }) => Part::Interrupted,
        (Event::Slept { waiting: Waiting::ToVerify, .. }, _) | (_, Event::Judged { .. }) => Part::Verifying,
        (Event::Slept { .. }, _) => Part::Waiting,
        _ => Part::Machine,
    }
}

/// A wait is its own step's; everything else is the step's whose entry it led to.
fn step_of<'a>(from: &'a Event, to: &'a Event) -> Option<&'a Of> {
    match from {
        Event::Slept { of, .. } => Some(of),
        _ => to.of().or_else(|| from.of()),
    }
}

fn step_time<'s>(steps: &'s mut Vec<StepTime>, of: &Of) -> &'s mut StepTime {
    let index = steps.iter().position(|step| step.step == of.step).unwrap_or_else(|| {
        steps.push(StepTime {
            step: of.step.clone(),
            phase: of.phase,
            machine: SignedDuration::ZERO,
            human: SignedDuration::ZERO,
            waiting: SignedDuration::ZERO,
            verifying: SignedDuration::ZERO,
        });
        steps.len() - 1
    });
    &mut steps[index]
}
