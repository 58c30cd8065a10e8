//! The sandbox's clock, seen from another process.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use allclear_core::{Clock, PortError};
use async_trait::async_trait;
use jiff::Timestamp;

use super::SandboxControl;
use crate::config::ConfigError;

/// Lives in a sandbox's time: a virtual clock is asked and moved over HTTP, a scaled one is computed from its anchors.
#[derive(Debug)]
pub struct SandboxClock {
    control: SandboxControl,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// What it showed last, and at the first look.
    Virtual {
        now: Mutex<Timestamp>,
        first: Timestamp,
    },
    Scaled {
        anchor: Timestamp,
        real_anchor: Timestamp,
        speed: f64,
    },
}

/// Why a sandbox's clock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// Its address is none.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It does not answer.
    #[error(transparent)]
    Port(#[from] PortError),
    /// It answers something else.
    #[error("the sandbox's clock says {said}, which cannot be read")]
    Unreadable {
        /// What it said.
        said: String,
    },
}

impl SandboxClock {
    /// The clock of the sandbox at `base`.
    pub async fn at(base: &str) -> Result<Self, ClockError> {
        let control = SandboxControl::at(base)?;
        let said = control.clock().await?;
        let unreadable = || ClockError::Unreadable { said: said.to_string() };
        let time = |name: &str| said[name].as_str().and_then(|text| text.parse().ok()).ok_or_else(unreadable);
        let kind = match said["kind"].as_str() {
            Some("virtual") => Kind::Virtual { now: Mutex::new(time("now")?), first: time("now")? },
            Some("scaled") => Kind::Scaled {
                anchor: time("anchor")?,
                real_anchor: time("real_anchor")?,
                speed: said["speed"].as_f64().filter(|speed| *speed > 0.0).ok_or_else(unreadable)?,
            },
            _ => return Err(unreadable()),
        };
        Ok(Self { control, kind })
    }
}

/// Sandbox time is derived from real time here and nowhere else in the clients: this is a clock.
#[allow(clippy::disallowed_methods)]
fn real_now() -> Timestamp {
    Timestamp::now()
}

#[async_trait]
impl Clock for SandboxClock {
    fn now(&self) -> Timestamp {
        match &self.kind {
            Kind::Virtual { now, .. } => *now.lock().unwrap_or_else(PoisonError::into_inner),
            Kind::Scaled { anchor, .. } => *anchor + self.monotonic(),
        }
    }

    fn monotonic(&self) -> Duration {
        match &self.kind {
            Kind::Virtual { first, .. } => self.now().duration_since(*first).unsigned_abs(),
            Kind::Scaled { real_anchor, speed, .. } => {
                let real = real_now().duration_since(*real_anchor).unsigned_abs();
                Duration::from_micros((real.as_micros() as f64 * speed) as u64)
            }
        }
    }

    async fn sleep_until(&self, at: Timestamp) {
        match &self.kind {
            Kind::Virtual { now, .. } => {
                // A sandbox that went away cannot be waited for; its next call says so.
                let shown = self.control.advance(at).await.unwrap_or(at);
                *now.lock().unwrap_or_else(PoisonError::into_inner) = shown;
            }
            Kind::Scaled { speed, .. } => loop {
                let left = at.duration_since(self.now());
                if left.is_negative() || left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.unsigned_abs().div_f64(*speed)).await;
            },
        }
    }
}
