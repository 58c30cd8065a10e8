//! A clock that runs faster than the wall's.

use std::time::Duration;

use allclear_core::Clock;
use async_trait::async_trait;
use jiff::Timestamp;

/// Real time, scaled: an hour of the world in half a minute of ours. Two processes with the same anchors agree on the
/// time without talking, which is how a drill and its sandbox do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScaledClock {
    /// The real moment at which the world's clock showed [`anchor`](Self::anchor).
    pub real_anchor: Timestamp,
    /// What the world's clock showed then.
    pub anchor: Timestamp,
    /// Seconds of the world for each real second; 1 for real time.
    pub speed: f64,
}

impl ScaledClock {
    /// Starts now at `anchor`.
    pub fn starting_at(anchor: Timestamp, speed: f64) -> Self {
        Self { real_anchor: real_now(), anchor, speed }
    }
}

/// This is the one place of the sandbox where real time comes in: a clock must get it from somewhere.
#[allow(clippy::disallowed_methods)]
fn real_now() -> Timestamp {
    Timestamp::now()
}

#[async_trait]
impl Clock for ScaledClock {
    fn now(&self) -> Timestamp {
        self.anchor + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        let real = real_now().duration_since(self.real_anchor).unsigned_abs();
        // Whole microseconds, so that times survive a database's precision.
        Duration::from_micros((real.as_micros() as f64 * self.speed) as u64)
    }

    async fn sleep_until(&self, at: Timestamp) {
        loop {
            let left = at.duration_since(self.now());
            if left.is_negative() || left.is_zero() {
                return;
            }
            tokio::time::sleep(left.unsigned_abs().div_f64(self.speed)).await;
        }
    }
}
