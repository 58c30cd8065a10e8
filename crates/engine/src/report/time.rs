//! Where the time went. Each interval between two entries belongs to exactly one kind, so the parts add up to the wall
//! clock to the nanosecond, clock changes included.

use jiff::SignedDuration;
use serde::Serialize;

use crate::journal::{Entry, Event, Waiting};

/// How a run's time was spent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TimeSpent {
    /// Working: calls, records.
    pub machine: SignedDuration,
    /// Waiting for people.
    pub human: SignedDuration,
    /// Waiting for the world, or before trying again.
    pub waiting: SignedDuration,
    /// Reading effects back.
    pub verifying: SignedDuration,
    /// No process had the run.
    pub interrupted: SignedDuration,
    /// From the first entry to the last.
    pub wall_clock: SignedDuration,
    /// The same by step, in order of appearance; the run itself has an empty id.
    pub by_step: Vec<StepTime>,
}

/// One step's share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepTime {
    /// The step's id.
    pub step: String,
    /// All its time.
    pub total: SignedDuration,
}

impl TimeSpent {
    /// The sum of the parts; equal to `wall_clock`.
    pub fn sum(&self) -> SignedDuration {
        self.machine + self.human + self.waiting + self.verifying + self.interrupted
    }

    fn part(&mut self, kind: Kind) -> &mut SignedDuration {
        match kind {
            Kind::Machine => &mut self.machine,
            Kind::Human => &mut self.human,
            Kind::Waiting => &mut self.waiting,
            Kind::Verifying => &mut self.verifying,
            Kind::Interrupted => &mut self.interrupted,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Machine,
    Human,
    Waiting,
    Verifying,
    Interrupted,
}

/// Accounts for the time between the first and the last entry.
pub fn time_spent(entries: &[Entry]) -> TimeSpent {
    let mut spent = TimeSpent::default();
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return spent };
    spent.wall_clock = last.at.duration_since(first.at);
    for pair in entries.windows(2) {
        let [from, to] = pair else { continue };
        let took = to.at.duration_since(from.at);
        *spent.part(kind_of(&from.event, &to.event)) += took;
        let of = from.event.of().filter(|_| is_wait(&from.event)).or_else(|| to.event.of());
        let step = of.map(|of| of.step.as_str()).unwrap_or_default();
        match spent.by_step.iter_mut().find(|time| time.step == step) {
            Some(time) => time.total += took,
            None => spent.by_step.push(StepTime { step: step.to_owned(), total: took }),
        }
    }
    spent
}

fn is_wait(event: &Event) -> bool {
    matches!(event, Event::Slept { .. } | Event::Asked { .. })
}

fn kind_of(from: &Event, to: &Event) -> Kind {
    match (from, to) {
        (_, Event::Resumed { .. }) => Kind::Interrupted,
        (Event::Asked { .. } | Event::AnswerRefused { .. }, _)
        | (Event::Answered { .. }, Event::Answered { .. } | Event::AnswerRefused { .. }) => Kind::Human,
        (Event::Slept { waiting: Waiting::ToVerify, .. }, _) | (_, Event::Judged { .. }) => Kind::Verifying,
        (Event::Slept { .. }, _) => Kind::Waiting,
        _ => Kind::Machine,
    }
}
