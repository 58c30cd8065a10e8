//! Replaying a run to undo it: every effect that comes by says what takes it back.

use super::{Mode, Run, Terms};
use crate::effect::{Effect, Intent};
use crate::seam::Seam;
use crate::undo::{Collected, undoing};

impl Run {
    /// A run that keeps what takes its effects back. `seam` must be one that runs nothing.
    pub(crate) fn collecting(seam: Box<dyn Seam>, terms: Terms) -> Self {
        Self { collected: Some(Vec::new()), ..Self::new(seam, terms, Mode::Acting) }
    }

    /// What was kept, in the order of the intents.
    pub(crate) fn into_collected(self) -> Vec<Collected> {
        self.collected.unwrap_or_default()
    }

    /// Keeps what takes an effect back, if this run is replayed for that. Later knowledge comes after earlier.
    pub(super) fn collect<E: Effect>(&mut self, effect: &E, intent: &Intent, receipt: Option<&E::Receipt>) {
        if let Some(collected) = &mut self.collected {
            let undoing = undoing(effect, intent, receipt);
            collected.push(Collected { key: intent.key.clone(), undoing });
        }
    }
}
