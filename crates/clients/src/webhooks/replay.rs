//! Remembers which events came, for as long as they could come again.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::Refused;

/// Lets each event through once.
///
/// It forgets an id when its window is over, so the window must be as long as the verifier accepts an event at all
/// (`WINDOW` in each module). It takes 64 bytes for an event, however long the id is. When it is full it refuses instead of
/// forgetting: what is forgotten too early could be replayed, and the sender of what is refused tries again.
///
/// It lives in memory. Whoever restarts within the window needs a durable one as well.
#[derive(Debug)]
pub struct ReplayGuard {
    window: Duration,
    capacity: usize,
    known: HashSet<[u8; 32]>,
    order: VecDeque<(Timestamp, [u8; 32])>,
}

impl ReplayGuard {
    /// Remembers up to `capacity` events for `window`.
    pub fn new(window: Duration, capacity: usize) -> Self {
        Self { window, capacity, known: HashSet::new(), order: VecDeque::new() }
    }

    /// Only for events that are verified: an id that anybody may choose could be used to fill it, or to block a real one.
    pub fn admit(&mut self, id: &str, now: Timestamp) -> Result<(), Refused> {
        self.forget(now);
        let id: [u8; 32] = Sha256::digest(id.as_bytes()).into();
        if self.known.contains(&id) {
            return Err(Refused::Replayed);
        }
        if self.known.len() >= self.capacity {
            return Err(Refused::Busy);
        }
        self.known.insert(id);
        self.order.push_back((now, id));
        Ok(())
    }

    /// How many it remembers.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether it remembers none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// In the order in which they came: a clock that is set back makes it remember for longer, never for shorter.
    fn forget(&mut self, now: Timestamp) {
        while let Some((at, id)) = self.order.front() {
            let age = now.duration_since(*at);
            if age.is_negative() || age.unsigned_abs() <= self.window {
                return;
            }
            self.known.remove(id);
            self.order.pop_front();
        }
    }
}
