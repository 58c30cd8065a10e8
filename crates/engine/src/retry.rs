//! When to try again: decided by the error's class, above the engine, one recorded attempt at a time.
//!
//! Every repeated attempt waits, whatever became of the one before: also where the service lost the answer and reading
//! shows that nothing happened. A service that is away for minutes is waited out; one that is away for longer interrupts
//! the run, which goes on from there, with fresh patience, when it is taken up again.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use allclear_core::{Class, PortError, Service};
use jiff::{SignedDuration, Timestamp};

use crate::journal::digest;

/// How often and how patiently calls are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many tries one call gets in one process, the first included. With the waits of the default these are about
    /// fifteen minutes; past them the run is interrupted.
    pub tries: u32,
    /// How many repeated tries the whole run gets within an hour. Keeps many dying services from a storm.
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
            tries: 13,
            budget: 60,
            first_wait: Duration::from_secs(2),
            longest_wait: Duration::from_mins(2),
            longest_asked: Duration::from_hours(1),
        }
    }
}

/// How often something is tried that nothing may wait for.
const BRIEF_TRIES: u32 = 3;
/// The longest wait that somebody asks for and that is worth it where nothing may wait.
const BRIEF_WAIT: Duration = Duration::from_secs(30);
/// After so many failures in a row a service is left alone for a while, whichever call it is.
const OPENS_AFTER: u32 = 5;
/// How long, at first; doubles with each failure up to the policy's longest wait.
const FIRST_REST: Duration = Duration::from_secs(30);

impl RetryPolicy {
    /// For plans: a person waits at the terminal. Half a minute of a service that restarts is ridden out; more is told.
    pub const fn planning() -> Self {
        Self {
            tries: 5,
            budget: 12,
            first_wait: Duration::from_secs(2),
            longest_wait: Duration::from_secs(16),
            longest_asked: BRIEF_WAIT,
        }
    }

    /// One try and no more.
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

/// How persistently one thing is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// By the policy; past it the run is interrupted.
    Full,
    /// A few times within a minute: nothing may wait for it.
    Brief,
    /// Once; the caller has its own rhythm.
    Once,
}

impl Persistence {
    /// How persistently it is read what became of it: a caller's rhythm is for doing.
    pub(crate) fn of_reads(self) -> Self {
        match self {
            Self::Once => Self::Full,
            other => other,
        }
    }
}

/// A call that failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) error: PortError,
    /// Whether it failed in this process. What an earlier one went through does not count against this one's patience.
    pub(crate) fresh: bool,
}

/// The tries of one call in this process.
#[derive(Debug)]
pub(crate) struct Tries {
    pub(crate) persistence: Persistence,
    /// How many failed in this process.
    pub(crate) failed: u32,
    /// Whose failures these are.
    pub(crate) service: Option<Service>,
}

impl Tries {
    pub(crate) fn new(persistence: Persistence) -> Self {
        Self { persistence, failed: 0, service: None }
    }
}

/// What this process knows of services that fail: how often it repeated calls, and whom it leaves alone for now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Strain {
    repeats: VecDeque<Timestamp>,
    services: HashMap<Service, Circuit>,
}

/// Open after a few failures in a row; closed again by the first success.
#[derive(Debug, Clone, Default)]
struct Circuit {
    failures: u32,
    rests_until: Option<Timestamp>,
}

impl Strain {
    /// Notes a failed call, and says how long to wait before the next try; `None` when it is of no use or there were enough.
    pub(crate) fn after_failure(
        &mut self,
        policy: &RetryPolicy,
        tries: &mut Tries,
        error: &PortError,
        key: &str,
        now: Timestamp,
    ) -> Option<Duration> {
        tries.failed += 1;
        tries.service = Some(error.service());
        let asked = match error.class() {
            Class::RetryAfter(asked) => asked,
            Class::OutcomeUnknown => None,
            Class::Permanent if error.says_nothing() => None,
            Class::AlreadyDone | Class::Permanent | Class::Stop(_) => return None,
        };
        let was_open = self.is_open(error.service(), now);
        let rest = self.rest(policy, error.service(), now);
        let wait = policy.wait(key, tries.failed, asked).max(rest);
        let hour = SignedDuration::from_hours(1);
        while self.repeats.front().is_some_and(|at| now.duration_since(*at) > hour) {
            self.repeats.pop_front();
        }
        self.repeats.push_back(now);
        let most = match tries.persistence {
            Persistence::Brief if was_open => 1,
            Persistence::Brief => BRIEF_TRIES.min(policy.tries),
            // What answers so for long does not get better by asking.
            Persistence::Full | Persistence::Once if error.says_nothing() => BRIEF_TRIES.min(policy.tries),
            Persistence::Full | Persistence::Once => policy.tries,
        };
        // Where nothing may wait, giving up is better than coming back before the service said.
        let is_brief = tries.persistence == Persistence::Brief
            || policy.longest_asked <= RetryPolicy::planning().longest_asked;
        let is_too_long = is_brief && wait.max(asked.unwrap_or_default()) > BRIEF_WAIT;
        let may_repeat = tries.failed < most && self.repeats.len() <= policy.budget as usize;
        (may_repeat && !is_too_long).then_some(wait)
    }

    /// Notes that a service works again.
    pub(crate) fn works(&mut self, service: Option<Service>) {
        if let Some(service) = service {
            self.services.remove(&service);
        }
    }

    fn is_open(&self, service: Service, now: Timestamp) -> bool {
        self.services.get(&service).and_then(|circuit| circuit.rests_until).is_some_and(|until| now < until)
    }

    /// Counts a failure in a row; returns how long the service is left alone because of those.
    fn rest(&mut self, policy: &RetryPolicy, service: Service, now: Timestamp) -> Duration {
        let circuit = self.services.entry(service).or_default();
        circuit.failures += 1;
        let Some(beyond) = circuit.failures.checked_sub(OPENS_AFTER) else {
            return Duration::ZERO;
        };
        let rest = FIRST_REST.saturating_mul(1 << beyond.min(8)).min(policy.longest_wait);
        circuit.rests_until = Some(now + rest);
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_cap_and_never_undercut_what_was_asked() {
        let policy = RetryPolicy::default();
        let waits: Vec<_> = (1..8).map(|attempt| policy.wait("k", attempt, None)).collect();
        assert!(waits.windows(2).all(|pair| pair[1] + Duration::from_secs(30) >= pair[0]));
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(150)));
        assert_eq!(policy.wait("k", 1, Some(Duration::from_secs(90))), Duration::from_secs(90));
        assert_eq!(policy.wait("k", 1, Some(Duration::from_hours(10))), Duration::from_hours(1));
        assert_eq!(policy.wait("k", 3, None), policy.wait("k", 3, None));
    }
}
