//! When to try again: decided by the error's class, above the engine, one recorded attempt at a time.

use std::time::Duration;

use crate::journal::digest;

/// How often and how patiently calls are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many tries one call gets, the first included.
    pub tries: u32,
    /// How many repeated tries the whole run gets: past it, failures are final. Keeps a dying service from a storm.
    pub budget: u32,
    /// The wait after the first failure; doubles from try to try.
    pub first_wait: Duration,
    /// The longest wait that we choose.
    pub longest_wait: Duration,
    /// The longest wait that a service may ask for; a longer one is cut to this.
    pub longest_asked: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries: 6,
            budget: 60,
            first_wait: Duration::from_secs(2),
            longest_wait: Duration::from_mins(1),
            longest_asked: Duration::from_hours(1),
        }
    }
}

impl RetryPolicy {
    /// For plans: a person waits at the terminal, so a failure is told at once.
    pub const fn none() -> Self {
        Self {
            tries: 1,
            budget: 0,
            first_wait: Duration::ZERO,
            longest_wait: Duration::ZERO,
            longest_asked: Duration::ZERO,
        }
    }

    /// How long to wait after failed try number `attempt` of the call `key`. What a service asked for is never
    /// undercut; our own waits get up to a quarter of jitter, derived from the key so that a replay agrees.
    pub fn wait(&self, key: &str, attempt: u32, asked: Option<Duration>) -> Duration {
        if let Some(asked) = asked {
            return asked.min(self.longest_asked).max(Duration::from_secs(1));
        }
        let doubled =
            self.first_wait.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(self.longest_wait);
        let first_byte =
            u8::from_str_radix(&digest(format!("{key}#{attempt}").as_bytes())[..2], 16).unwrap_or(0);
        doubled + doubled.mul_f64(f64::from(first_byte) / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_cap_and_never_undercut_what_was_asked() {
        let policy = RetryPolicy::default();
        let waits: Vec<_> = (1..8).map(|attempt| policy.wait("k", attempt, None)).collect();
        assert!(waits.windows(2).all(|pair| pair[1] + Duration::from_secs(15) >= pair[0]));
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(75)));
        assert_eq!(policy.wait("k", 1, Some(Duration::from_secs(90))), Duration::from_secs(90));
        assert_eq!(policy.wait("k", 1, Some(Duration::from_hours(10))), Duration::from_hours(1));
        assert_eq!(policy.wait("k", 3, None), policy.wait("k", 3, None));
    }
}
