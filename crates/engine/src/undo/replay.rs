//! A seam that only remembers.

use std::sync::Arc;

use allclear_core::Clock;
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

use crate::journal::{Entry, Event};
use crate::replay::Replay;
use crate::seam::{Recorded, Seam, SeamError, Woken};

/// Gives back what was recorded and nothing else: what was not recorded is an error, and the body that would find it out
/// never runs. So a procedure on it touches nothing, and ends where its journal ends.
pub(super) struct ReplayOnly {
    replay: Replay,
    clock: Arc<dyn Clock>,
}

impl ReplayOnly {
    pub(super) fn of(entries: Vec<Entry>, clock: Arc<dyn Clock>) -> Self {
        Self { replay: Replay::of(entries), clock }
    }
}

#[async_trait]
impl Seam for ReplayOnly {
    async fn record(&mut self, key: &str, _body: BoxFuture<'_, Event>) -> Result<Recorded, SeamError> {
        // The order does not matter here: entries are found by key.
        let (Some(entry), _) = self.replay.take(key) else {
            return Err(SeamError::NotRecorded { key: key.to_owned() });
        };
        Ok(Recorded { entry, replayed: true, out_of_order: None, more: self.replay.has_more() })
    }

    fn recorded(&self, key: &str) -> Option<&Entry> {
        self.replay.peek(key)
    }

    async fn sleep(&mut self, _until: Timestamp) -> Result<Woken, SeamError> {
        Ok(Woken::Time)
    }

    async fn signal(
        &mut self,
        _gate: &str,
        _until: Option<Timestamp>,
        _patience: bool,
    ) -> Result<Woken, SeamError> {
        Ok(Woken::Time)
    }

    async fn claim(&mut self, _resource: &str) -> Result<(), SeamError> {
        Ok(())
    }

    fn incarnation(&self) -> u32 {
        // No intent is of this incarnation: nothing may be taken for being under way here.
        u32::MAX
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }
}
