//! Time, as the only way it may come in: through a [`Clock`] that somebody handed over.
//!
//! Procedures, effects and the sandbox never ask the operating system. That is what lets a drill of
//! fifteen minutes run in milliseconds and lets the same seed write the same journal bytes.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

/// Tells the time and waits for it.
#[async_trait]
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The wall clock, UTC.
    fn now(&self) -> Timestamp;

    /// Time since an arbitrary fixed point that no clock change moves. Comparable between processes on
    /// one machine until it reboots.
    fn monotonic(&self) -> Duration;

    /// Returns once `now()` has reached `at`; at once if it already has.
    async fn sleep_until(&self, at: Timestamp);
}

/// A clock that stands still until somebody sleeps on it, and then jumps.
///
/// Share one (in an `Arc`) between the engine and the sandbox and both live in the same virtual time.
#[derive(Debug)]
pub struct VirtualClock {
    start: Timestamp,
    elapsed_ns: AtomicI64,
}

impl VirtualClock {
    /// A clock that shows `start`.
    pub fn at(start: Timestamp) -> Self {
        Self { start, elapsed_ns: AtomicI64::new(0) }
    }

    /// Moves to `at`, never backwards. Returns the time it shows afterwards.
    pub fn advance_to(&self, at: Timestamp) -> Timestamp {
        let target = i64::try_from(at.duration_since(self.start).as_nanos()).unwrap_or(i64::MAX);
        self.elapsed_ns.fetch_max(target, Ordering::SeqCst);
        self.now()
    }

    /// Moves on by `by`.
    pub fn advance(&self, by: Duration) -> Timestamp {
        self.advance_to(self.now() + by)
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.start + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.elapsed_ns.load(Ordering::SeqCst).unsigned_abs())
    }

    async fn sleep_until(&self, at: Timestamp) {
        self.advance_to(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_time_never_runs_backwards() {
        let start: Timestamp = "2026-11-23T09:00:00Z".parse().unwrap();
        let clock = VirtualClock::at(start);
        clock.advance(Duration::from_mins(5));
        clock.advance_to(start);
        assert_eq!(clock.now(), start + Duration::from_mins(5));
        assert_eq!(clock.monotonic(), Duration::from_mins(5));
    }
}
