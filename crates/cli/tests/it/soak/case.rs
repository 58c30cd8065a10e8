//! One case: what is done to one run, all of it drawn from a number.

use std::fmt::Write as _;

use allclear_sandbox::Trouble;
use allclear_sandbox::trouble::Answer;

use super::scene;

/// The same numbers from the same seed, on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to and without `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or(0)
    }

    /// From 0 up to and without 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -(1.0 - self.unit()).ln() * mean
    }

    fn one_of<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

/// When a process is killed. A part of a run is a part of the time that an undisturbed one takes on this machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kill {
    /// So long after it was started, whatever it does by then.
    Spawned(f64),
    /// That part of a run after it said that it has the run.
    Taken(f64),
    /// That many milliseconds after it said so.
    TakenMs(f64),
    /// When the platform has acted upon so many of its writes, counted from 0. Answers are late then, so that none of them
    /// has come.
    Acted(usize),
}

/// Who else is at the run meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    Nobody,
    /// A second process takes the run up, or starts the runbook, at the same time; it is killed when the first one is.
    Second,
    /// As before, and nobody kills it.
    SecondGoesOn,
    /// Another person ends the run.
    Abort,
    /// Another person hands it over.
    HandOver,
    /// Nobody is at the run's terminal, and another person answers what it asked when its process is gone.
    Answer,
}

/// One process of the run, from its start to its death.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Leg {
    pub(crate) kill: Kill,
    pub(crate) beside: Beside,
    /// What goes wrong on the way from its start on.
    pub(crate) troubles: Vec<Trouble>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Case {
    pub(crate) seed: u64,
    /// Which of [`scene::ALL`].
    pub(crate) scene: usize,
    pub(crate) legs: Vec<Leg>,
}

impl Case {
    pub(crate) fn drawn(seed: u64) -> Self {
        let mut dice = Dice::of(seed);
        // One scene after the other, so that a few cases see them all.
        let scene = usize::try_from(seed % scene::ALL.len() as u64).unwrap_or(0);
        let legs = dice.one_of(&[2, 3, 3, 4, 4, 5, 5, 6, 7, 8]);
        let quiet = dice.below(3) == 0;
        let legs = (0..legs).map(|leg| Leg::drawn(&mut dice, leg, quiet)).collect();
        Self { seed, scene, legs }
    }

    pub(crate) fn scene(&self) -> &'static scene::Scene {
        &scene::ALL[self.scene]
    }

    /// Whether somebody ends the run on purpose.
    pub(crate) fn is_aborted(&self) -> bool {
        self.legs.iter().any(|leg| leg.beside == Beside::Abort)
    }
}

impl Leg {
    fn drawn(dice: &mut Dice, number: usize, quiet: bool) -> Self {
        let kill = match dice.below(10) {
            // Only a process that takes a run up can be killed while it does so.
            0 | 1 if number > 0 => Kill::Spawned(dice.unit() * 0.3),
            0..=2 => Kill::TakenMs(dice.unit() * 12.0),
            3..=5 => Kill::Acted(dice.below(5)),
            6 | 7 => Kill::Taken(dice.exponential(0.2)),
            _ => Kill::Taken(dice.exponential(0.6)),
        };
        let beside = match dice.below(50) {
            0..=2 => Beside::Second,
            3 | 4 => Beside::SecondGoesOn,
            5 if number > 0 => Beside::Abort,
            6 | 7 if number > 0 => Beside::HandOver,
            8..=13 => Beside::Answer,
            _ => Beside::Nobody,
        };
        let mut troubles: Vec<Trouble> =
            if quiet { Vec::new() } else { (0..dice.below(3)).map(|_| trouble(dice)).collect() };
        if let Kill::Acted(writes) = kill {
            let times = u32::try_from(writes).unwrap_or(0) + 2;
            troubles.push(Trouble {
                writes: true,
                times,
                answer: Answer::Own,
                late_ms: 40,
                ..Trouble::default()
            });
        }
        Self { kill, beside, troubles }
    }
}

/// Whose calls go wrong.
const CALLS: [&str; 7] = ["", "", "/admin/", "/rest/v1/", "/slack/", "/pagerduty", "/functions/"];

fn trouble(dice: &mut Dice) -> Trouble {
    let calls = dice.one_of(&CALLS).to_owned();
    let lost =
        Trouble { skip: skip(dice, 6), writes: true, acted: true, ..Trouble::lost_answer(calls.clone()) };
    match dice.below(10) {
        0..=3 => lost,
        4 => Trouble { acted: false, ..lost },
        5 => Trouble { answer: gateway(dice, true), ..lost },
        6 => Trouble { writes: false, skip: skip(dice, 40), ..lost },
        7 => {
            let answer = gateway(dice, false);
            Trouble { calls, skip: skip(dice, 40), times: 1 + skip(dice, 4), answer, ..Trouble::default() }
        }
        8 => {
            let (answer, lasts) = (gateway(dice, false), Some(3 + u64::from(skip(dice, 90))));
            Trouble { calls, skip: skip(dice, 40), answer, lasts, ..Trouble::default() }
        }
        _ => {
            let answer = restarting();
            let (calls, lasts) = ("/rest/v1/".to_owned(), Some(u64::from(1 + skip(dice, 30))));
            Trouble { calls, skip: skip(dice, 40), answer, lasts, ..Trouble::default() }
        }
    }
}

fn skip(dice: &mut Dice, end: usize) -> u32 {
    u32::try_from(dice.below(end)).unwrap_or(0)
}

/// Whoever has acted does not say that it was asked too often: that is a promise that nothing was done.
fn gateway(dice: &mut Dice, acted: bool) -> Answer {
    const ANSWERS: [(u16, &str); 5] = [
        (502, "<html><body>502 Bad Gateway</body></html>"),
        (503, r#"{"message":"the service is restarting"}"#),
        (504, "<html><body>504 Gateway Time-out</body></html>"),
        (500, r#"{"message":"no"}"#),
        (429, r#"{"message":"slow down"}"#),
    ];
    let (status, body) = dice.one_of(&ANSWERS[..if acted { 4 } else { 5 }]);
    Answer::Says { status, body: body.to_owned() }
}

/// What PostgREST says while its database restarts.
fn restarting() -> Answer {
    let body = r#"{"code":"57P01","details":null,"hint":null,"message":"terminating connection due to administrator command"}"#;
    Answer::Says { status: 503, body: body.to_owned() }
}

impl std::fmt::Display for Case {
    /// The schedule, a line for each process.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "case {}: {}", self.seed, self.scene())?;
        for (number, leg) in self.legs.iter().enumerate() {
            let mut troubles = String::new();
            for trouble in &leg.troubles {
                let _ = write!(troubles, ", {}", serde_json::to_string(trouble).unwrap_or_default());
            }
            writeln!(
                f,
                "  process {}: killed {:?}, beside it {:?}{troubles}",
                number + 1,
                leg.kill,
                leg.beside
            )?;
        }
        Ok(())
    }
}
