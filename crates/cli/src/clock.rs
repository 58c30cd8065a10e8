//! The machine's clock.

use std::time::Duration;

use allclear_core::Clock;
use async_trait::async_trait;
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Wall clock and a clock that goes on while the machine sleeps.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    /// The one place where the command line asks the operating system for the time.
    #[allow(clippy::disallowed_methods)]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        let now = clock_gettime(ClockId::Boottime);
        Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
    }

    async fn sleep_until(&self, at: Timestamp) {
        // In small pieces, so that a machine that slept wakes us in time. By the clock that nobody sets: a wall clock that is
        // set back by a day makes no wait a day longer.
        let left = at.duration_since(self.now());
        if left.is_negative() || left.is_zero() {
            return;
        }
        let until = self.monotonic() + left.unsigned_abs();
        loop {
            let left = until.saturating_sub(self.monotonic());
            if left.is_zero() || self.now() >= at {
                return;
            }
            tokio::time::sleep(left.min(Duration::from_secs(1))).await;
        }
    }
}
