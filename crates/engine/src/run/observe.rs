//! Looking.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::clock::after;

use super::{Call, Escalation, Mode, Run, key_of, of, to_value};
use crate::journal::{Doing, Entry, Event, Waiting};
use crate::outcome::Halt;
use crate::plan::Seen;
use crate::probe::{OnlyWhile, Probe};
use crate::replay::BESIDE;
use crate::retry::{Failure, Persistence, Tries};
use crate::seam::Recorded;
use crate::step::Step;

/// So many looks must say that something is not so any more.
const LOOKS: u32 = 3;
/// The time between them.
const BETWEEN_LOOKS: Duration = Duration::from_secs(30);

/// What is looked at whether it is so still, and under which key.
pub(super) struct Looking<'a> {
    pub(super) step: &'a Step,
    pub(super) still: &'a OnlyWhile,
    pub(super) subject: String,
    pub(super) base: String,
}

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

    /// Names what a good end rests on. It is looked at once more right before the run's last word, by each process that comes to
    /// it: what was proven may have been proven by an earlier one, hours ago. Where it is not so any more, the run ends as refuted.
    pub fn ends_only_while(&mut self, step: &Step, still: OnlyWhile) {
        self.ends_only_while.push((*step, still));
    }

    /// Has somebody told where it is not so any more: people may have heard that all is well.
    pub fn when_not_so(&mut self, escalation: Arc<dyn Escalation>) {
        self.when_not_so = Some(escalation);
    }

    /// What is not so any more, for whoever tells it.
    pub fn not_so(&self) -> &str {
        &self.not_so
    }

    async fn tell_not_so(&mut self) -> Result<(), Halt> {
        let Some(escalation) = self.when_not_so.clone() else { return Ok(()) };
        match self.beside(&*escalation).await {
            Err(halt @ Halt::Seam(_)) => Err(halt),
            // Whoever could not be told finds the run refuted.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Looks at it. Returns the step and why, where something of it is not so any more.
    pub(crate) async fn look_before_the_end(&mut self) -> Result<Option<(Step, String)>, Halt> {
        let incarnation = self.seam.incarnation();
        let all = std::mem::take(&mut self.ends_only_while);
        let looks: Vec<Looking<'_>> = (1..)
            .zip(&all)
            .map(|(place, (step, still))| Looking {
                step,
                still,
                subject: still.subject(),
                base: format!("{BESIDE}before the end {incarnation}/{place}"),
            })
            .collect();
        self.beside = true;
        let not_so = self.not_so_any_more(&looks).await;
        self.beside = false;
        let not_so = not_so?;
        let Some((first, _)) = not_so.first() else { return Ok(None) };
        let step = *looks[*first].step;
        let says = not_so.iter().map(|(_, says)| says.as_str()).collect::<Vec<_>>().join("; ");
        self.not_so.clone_from(&says);
        self.tell_not_so().await?;
        Ok(Some((step, says)))
    }

    /// What is not so any more, each with its place: several looks in turn say so, because one may have met a glitch.
    pub(super) async fn not_so_any_more(
        &mut self,
        looks: &[Looking<'_>],
    ) -> Result<Vec<(usize, String)>, Halt> {
        let mut left: Vec<usize> = (0..looks.len()).collect();
        for round in 1.. {
            let mut not_so = Vec::new();
            for place in left {
                let Looking { step, still, subject, base } = &looks[place];
                let key = if round == 1 { base.clone() } else { format!("{base}, look {round}") };
                let says = self.observe(step, *still, subject, &key).await?;
                not_so.extend(says.map(|says| (place, says)));
            }
            let Some((first, _)) = not_so.first() else { return Ok(Vec::new()) };
            if round == LOOKS {
                return Ok(not_so);
            }
            let Looking { step, subject, base, .. } = &looks[*first];
            let (again, key) = (after(self.now, BETWEEN_LOOKS), format!("{base}, look again {round}"));
            let why = "look again before it is believed that it is not so any more".to_owned();
            self.sleep(&key, of(step, subject), again, Waiting::ForTheWorld, why).await?;
            left = not_so.into_iter().map(|(place, _)| place).collect();
        }
        unreachable!("it returns after a fixed number of looks")
    }

    /// Whether a good end rests on something that is looked at before it.
    pub(crate) fn rests_on_a_look(&self) -> bool {
        !self.ends_only_while.is_empty()
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
