//! Looking.

use super::{Call, Mode, Run, key_of, of, to_value};
use crate::journal::{Doing, Entry, Event};
use crate::outcome::Halt;
use crate::plan::Seen;
use crate::probe::Probe;
use crate::retry::{Failure, Persistence, Tries};
use crate::seam::Recorded;
use crate::step::Step;

/// What one look came to.
pub(super) enum Looked<V> {
    Seen(V),
    Failed(Failure),
}

impl Run {
    /// Looks, and records what is seen. A look that fails is tried again as the error's class says.
    pub async fn probe<P: Probe>(&mut self, step: &Step, probe: P) -> Result<P::Value, Halt> {
        self.check_stop().await?;
        let subject = probe.subject();
        let base = key_of(step, &subject, 0);
        self.once(&format!("{base}/observe"))?;
        self.observe(step, &probe, &subject, &base).await
    }

    pub(super) async fn observe<P: Probe>(
        &mut self,
        step: &Step,
        probe: &P,
        subject: &str,
        base: &str,
    ) -> Result<P::Value, Halt> {
        let mut tries = Tries::new(Persistence::Full);
        for attempt in 1.. {
            match self.look(step, probe, subject, base, attempt).await? {
                Looked::Seen(value) => {
                    self.strain.works(tries.service);
                    return Ok(value);
                }
                Looked::Failed(failure) => {
                    let key = format!("{base}/observe");
                    self.wait_to_retry(Call { step, subject, key: &key }, &mut tries, attempt, failure)
                        .await?;
                }
            }
        }
        unreachable!("tries are bounded by the retry policy")
    }

    /// Looks once.
    pub(super) async fn look<P: Probe>(
        &mut self,
        step: &Step,
        probe: &P,
        subject: &str,
        base: &str,
        attempt: u32,
    ) -> Result<Looked<P::Value>, Halt> {
        let key = format!("{base}/observe {attempt}");
        let clock = self.seam.clock();
        let of = of(step, subject);
        let body = async move {
            match probe.observe(clock.now()).await {
                Ok(seen) => Event::Observed {
                    of,
                    value: to_value(&seen.value),
                    says: seen.says,
                    evidence: seen.evidence,
                },
                Err(error) => Event::Failed { of, doing: Doing::Observing, attempt, error },
            }
        };
        let Recorded { entry, replayed, .. } = self.record(&key, body).await?;
        match &entry.event {
            Event::Observed { value, says, .. } => {
                self.list_seen(step, says);
                self.decode(&entry, value).map(Looked::Seen)
            }
            Event::Failed { error, .. } => {
                Ok(Looked::Failed(Failure { error: error.clone(), fresh: !replayed }))
            }
            _ => Err(self.not_an_observation(&entry)),
        }
    }

    fn list_seen(&mut self, step: &Step, says: &str) {
        if let Mode::Planning(planning) = &mut self.mode {
            planning.seen.push(Seen { step: step.id.to_owned(), says: says.to_owned() });
        }
    }

    fn not_an_observation(&self, entry: &Entry) -> Halt {
        self.unreadable(entry, "it is no observation")
    }
}
