//! Reading an effect back, for as long as it has patience.

use std::time::Duration;

use allclear_core::clock::after;
use jiff::SignedDuration;

use super::super::{Call, Run, of};
use super::{Brought, Named};
use crate::effect::{Effect, Verdict};
use crate::journal::{Doing, Event, Waiting};
use crate::outcome::Halt;
use crate::retry::{Failure, Persistence, Tries};
use crate::seam::Recorded;

/// How often what reads as not so is read again before that is believed.
const LOOKS_AGAIN: u32 = 2;
/// After how long.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);

impl Run {
    /// Reads the effect back until the verdict is final.
    pub(super) async fn verify<E: Effect>(
        &mut self,
        named: &Named<'_, E>,
        brought: &Brought<E::Receipt>,
        persistence: Persistence,
    ) -> Result<Verdict, Halt> {
        let Named { step, effect, subject, base, .. } = named;
        let Brought { intent, receipt, since } = brought;
        let patience = effect.patience();
        // Patience is for time in which the effect can be seen: it begins anew where reading failed, where a process was
        // away, and is not used up by a clock that is set.
        let mut since = *since;
        let [within, every] = [patience.within, patience.every]
            .map(|time| SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX));
        let mut seen_here = false;
        let mut tries = Tries::new(persistence.of_reads());
        let (mut failures, mut refuted, mut is_watched) = (0, 0, false);
        for look in 1.. {
            let clock = self.seam.clock();
            let of_entry = of(step, subject);
            let name = effect.name().to_owned();
            let stopwatch = self.stopwatch(since);
            let is_first_here = !seen_here && self.taken_up_at.is_some();
            let body = async move {
                let now = clock.now();
                let is_last = stopwatch.read(&*clock) >= within && !is_first_here && failures == 0;
                match effect.verify(intent, receipt, now).await {
                    Ok(judgement) => {
                        let verdict = match judgement.verdict {
                            Verdict::Pending { says } if is_last => Verdict::Refuted { says },
                            verdict => verdict,
                        };
                        Event::Judged { of: of_entry, effect: name, verdict, evidence: judgement.evidence }
                    }
                    Err(error) => {
                        Event::Failed { of: of_entry, doing: Doing::Verifying, attempt: look, error }
                    }
                }
            };
            let Recorded { entry, replayed, .. } =
                self.record(&format!("{base}/verify {look}"), body).await?;
            match entry.event {
                Event::Judged { verdict: Verdict::Pending { says }, .. } => {
                    // It is looked at several times anyway.
                    is_watched = true;
                    self.strain.works(tries.service.take());
                    if failures > 0 || (is_first_here && !replayed) {
                        since = self.moment();
                    }
                    seen_here |= !replayed;
                    (failures, tries.failed) = (0, 0);
                    let left = within - self.passed_since(since);
                    let next = self.now + every.min(left).max(SignedDuration::ZERO);
                    let key = format!("{base}/look again {look}");
                    self.sleep(&key, of(step, subject), next, Waiting::ToVerify, says).await?;
                }
                Event::Judged { verdict: Verdict::Refuted { says }, .. }
                    if persistence == Persistence::Full && !is_watched && refuted < LOOKS_AGAIN =>
                {
                    // One read may be stale. What an earlier process went by is gone by.
                    let key = format!("{base}/look again {look}");
                    if replayed && self.ahead && self.seam.recorded(&self.placed(&key)).is_none() {
                        return Ok(Verdict::Refuted { says });
                    }
                    refuted += 1;
                    let next = after(self.now, LOOK_AGAIN_AFTER);
                    self.sleep(&key, of(step, subject), next, Waiting::ToVerify, says).await?;
                }
                Event::Judged { verdict, .. } => {
                    self.strain.works(tries.service);
                    return Ok(verdict);
                }
                Event::Failed { error, .. } => {
                    failures += 1;
                    let key = format!("{base}/verify");
                    let call = Call { step, subject, key: &key };
                    let failure = Failure { error, fresh: !replayed };
                    let waited = self.wait_to_retry(call, &mut tries, look, failure).await;
                    match waited {
                        // Nothing waits for it; it is not proven then.
                        Err(Halt::Failed { error, .. }) if persistence == Persistence::Brief => {
                            let says = format!("it could not be read back: {error}");
                            return Ok(Verdict::Unverifiable { says });
                        }
                        waited => waited?,
                    }
                }
                _ => return Err(self.unreadable(&entry, "it is no verdict")),
            }
        }
        unreachable!("looks are bounded by the effect's patience")
    }
}
