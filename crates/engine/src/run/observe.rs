//! Looking.

use super::{Mode, Run, key_of, of, to_value};
use crate::journal::{Doing, Entry, Event};
use crate::outcome::Halt;
use crate::plan::Seen;
use crate::probe::Probe;
use crate::step::Step;

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
        for attempt in 1.. {
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
            let entry = self.record(&key, body).await?.entry;
            match &entry.event {
                Event::Observed { value, says, .. } => {
                    self.list_seen(step, says);
                    return self.decode(&entry, value);
                }
                Event::Failed { error, .. } => {
                    let error = error.clone();
                    self.wait_to_retry(step, subject, &format!("{base}/observe"), attempt, error).await?;
                }
                _ => return Err(self.not_an_observation(&entry)),
            }
        }
        unreachable!("tries are bounded by the retry policy")
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
