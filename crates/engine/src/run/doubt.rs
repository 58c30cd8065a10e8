//! What people are asked about an effect: whether it happened, and whether to go on although the world has moved.
//!
//! Apart from how effects are performed (`settle`), because these are words for people and hold no promise of their own:
//! nothing is sent here.

use super::settle::{Named, Went};
use super::{Run, to_value};
use crate::effect::{Change, Effect, Intent, Prediction};
use crate::gate::{Approval, Choice, Gate};
use crate::outcome::Halt;

/// What a person can say about an effect in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    Happened,
    DidNot,
    Stop,
}

impl Choice for Doubt {
    const ALL: &'static [Self] = &[Self::Happened, Self::DidNot, Self::Stop];

    fn id(self) -> &'static str {
        match self {
            Self::Happened => "happened",
            Self::DidNot => "did-not-happen",
            Self::Stop => "stop",
        }
    }

    fn says(self) -> &'static str {
        match self {
            Self::Happened => "I looked: it happened; go on without doing it again",
            Self::DidNot => "I looked: it did not happen; do it now",
            Self::Stop => "it cannot be told; end the run here",
        }
    }

    fn alone(self) -> bool {
        self == Self::Stop
    }
}

impl Run {
    /// Asks whether to go on where the plan showed something else.
    pub(super) async fn ask_about_drift<E: Effect>(
        &mut self,
        named: &Named<'_, E>,
        attempt: u32,
        planned: &[Change],
        found: &[Change],
    ) -> Result<(), Halt> {
        // One thing may go through several effects, and each of them may meet a world that has moved.
        let mut about = format!("{} {} drift", named.subject, named.effect.name());
        if named.round > 0 || attempt > 1 {
            // An attempt that did not happen is made anew, and the world may have moved again meanwhile.
            about = format!("{about} {}.{attempt}", named.round);
        }
        let mut gate = Gate::new(
            format!("{}: the world has moved since the plan; go on?", named.effect.title()),
            Approval::Approve,
        )
        .about(about)
        .covering(named.effect);
        for change in planned {
            gate = gate.showing(format!("planned: {change}"));
        }
        if planned.is_empty() {
            gate = gate.showing("planned: not at all");
        }
        for change in found {
            gate = gate.showing(format!("now: {change}"));
        }
        self.approve(named.step, gate).await
    }

    /// Asks whether an effect happened, where nothing else can tell.
    pub(super) async fn ask_about_doubt<E: Effect>(
        &mut self,
        named: &Named<'_, E>,
        attempt: u32,
        intent: &Intent,
        why: &str,
    ) -> Result<Went, Halt> {
        let mut about = format!("{} {}", named.subject, named.effect.name());
        if named.round > 0 || attempt > 1 {
            about = format!("{about} {}.{attempt}", named.round);
        }
        let mut gate = Gate::new(format!("Did this happen: {}?", named.effect.title()), Doubt::Stop)
            .asking_for_a_fact()
            .about(about)
            .showing(why)
            .showing(format!("it was about to be sent at {} under key {}", intent.at, intent.key));
        for change in &intent.changes {
            gate = gate.showing(change.to_string());
        }
        let in_doubt = |says: &str| Halt::InDoubt {
            step: named.step.id.to_owned(),
            says: format!("{}: {says}", named.effect.title()),
        };
        match self.ask(named.step, gate).await {
            Ok(Doubt::Happened) => {
                let prediction = Prediction { changes: intent.changes.clone(), ..Prediction::default() };
                Ok(Went::Done(to_value(&named.effect.foresee(&prediction))))
            }
            Ok(Doubt::DidNot) => Ok(Went::DidNot { after: None }),
            Ok(Doubt::Stop) => Err(Halt::Unverified {
                step: named.step.id.to_owned(),
                says: format!("{}: whether it happened could not be told", named.effect.title()),
            }),
            Err(Halt::Waiting { .. }) => Err(in_doubt(why)),
            Err(other) => Err(other),
        }
    }
}
