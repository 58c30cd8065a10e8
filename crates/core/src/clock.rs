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

    /// Returns once `now()` has reached `at`, or as much time has passed as was missing when it was called: a wall clock
    /// that is set back meanwhile prolongs no wait. At once if `at` has passed already.
    async fn sleep_until(&self, at: Timestamp);
}

/// `by` after `at`; the end of time where that lies beyond it. `+` panics there, and both may come from outside.
pub fn after(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// `by` before `at`; the beginning of time where that lies before it.
pub fn before(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
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
        self.advance_to(after(self.now(), by))
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
    fn no_span_is_too_long_to_be_added_or_taken_off() {
        let at: Timestamp = "2026-11-23T09:00:00Z".parse().unwrap();
        assert_eq!(after(at, Duration::from_mins(5)), at + Duration::from_mins(5));
        assert_eq!(before(at, Duration::from_mins(5)), at - Duration::from_mins(5));
        for long in [Duration::MAX, Duration::from_hours(4_000_000_000)] {
            assert_eq!(after(at, long), Timestamp::MAX);
            assert_eq!(before(at, long), Timestamp::MIN);
        }
    }

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
