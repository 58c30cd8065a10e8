//! Voucher Preview Failures: the procedure, bullet by bullet.
//!
//! | bullet | step | what the platform's reality adds |
//! |---|---|---|
//! | Detect | [`VP_D1`] | real previews of several vouchers, fetched and decoded, and one at least made just now: the status page's light can be a year old and still green, and a stored picture older than the fault |
//! | Confirm the deployment | [`VP_I1`] | the host's Management API: served, throttled, removed or unknown to it; a refused token is named as what it is |
//! | Retry the probe | [`VP_I2`] | `force=true` is not read by the platform, so the real call is made again |
//! | Tell support | [`VP_M1`] | once, in the runbook's words, and once more when it is over |
//! | Degraded copy is visible | [`VP_M2`] | the admin API must say of itself that it is degraded |
//! | Redeploy or repair the network | [`VP_R1`] | each fault its own repair; only a missing function and a bad build are redeployed, from the pinned source, read back; what a program cannot repair or tell waits for a person |
//! | Verify; close the incident | [`VP_R2`] | a picture that decodes, then vouchers of customers, then PagerDuty |
//! | Postmortem inputs | [`VP_P1`] | impacted vouchers by id: their codes are money |

mod detect;
mod messages;
mod redeploy;
mod repair;
#[cfg(test)]
mod tests;

use std::time::Duration;

use allclear_core::clock::{after, before};
use allclear_core::ports::Posted;
use allclear_core::{Platform, Rehearsal, VoucherId};
use allclear_engine::{
    Claim, Halt, Note, Observing, OnlyWhile, Phase, Proof, Resolution, Run, Runbook, Step, Watch,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::effects::{
    AlarmKeys, DIAGNOSIS_HOLDS, Inherited, PostMessage, ResolveIncident, STUCK, Stuck, Told, tell, tell_last,
};
use crate::words::counted;
use detect::{
    Impacted, Looked, PreviewCheck, PreviewFunction, PreviewsOf, Sample, StillFails, StillOver,
    WithoutPicture,
};

/// Detect: no preview.
pub const VP_D1: Step = Step {
    id: "VP-D1",
    phase: Phase::Detect,
    title: "Integrations Status shows voucher PNG = red or preview modal error reports `not_configured`/`timeout`",
};
/// What the host says of the function.
pub const VP_I1: Step = Step {
    id: "VP-I1",
    phase: Phase::Immediate,
    title: "Confirm Supabase Edge Function deployment status via Supabase dashboard",
};
/// Look again.
pub const VP_I2: Step = Step {
    id: "VP-I2",
    phase: Phase::Immediate,
    title: "Retry probe using `/api/integrations/status?force=true`",
};
/// Tell support.
pub const VP_M1: Step = Step {
    id: "VP-M1",
    phase: Phase::Mitigate,
    title: "Communicate to support team: \"Voucher previews unavailable; fallback to code view.\" (Slack #ops channel)",
};
/// What people see meanwhile.
pub const VP_M2: Step =
    Step { id: "VP-M2", phase: Phase::Mitigate, title: "Ensure Admin UI degraded copy is visible" };
/// Repair.
pub const VP_R1: Step =
    Step { id: "VP-R1", phase: Phase::Resolve, title: "Redeploy EF or fix network issue" };
/// Prove it, then close.
pub const VP_R2: Step =
    Step { id: "VP-R2", phase: Phase::Resolve, title: "Verify preview works; close incident in PagerDuty" };
/// What is kept for afterwards.
pub const VP_P1: Step = Step {
    id: "VP-P1",
    phase: Phase::Postmortem,
    title: "Capture timeline, impacted vouchers, and mitigations used",
};

/// The bullets, in the order of the text.
pub const STEPS: &[Step] = &[VP_D1, VP_I1, VP_I2, VP_M1, VP_M2, VP_R1, VP_R2, VP_P1];

/// What its runs raise.
const ALARMS: &[AlarmKeys] = &[AlarmKeys { page: None, line: "/unavailable", over: "/over" }, STUCK];
/// Between the first look and the second.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// How often a preview is tried after the repair, and for how long.
const TRY_EVERY: Duration = Duration::from_secs(30);
const GIVE_UP_AFTER: Duration = Duration::from_mins(30);
/// How many customers' vouchers are rendered to prove it: each one is load on a function that has just come back.
const SAMPLE: usize = 10;
/// How often those without a picture are looked at before it counts.
const LOOKS: u32 = 3;
/// How many impacted vouchers are listed; the rest is counted.
const LISTED: usize = 50;

/// What the run owes to those whom it told that there are no previews.
const SUPPORT: &str = "support uses code view";
/// What it owes to those who look at the pages.
const DEGRADED: &str = "degraded copy";

/// What the procedure may be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Input {
    /// A voucher that previews are tried with, beside some without a picture and the newest ones.
    pub voucher: Option<VoucherId>,
    /// The dedup key of the alert to close.
    pub incident: String,
    /// How far back impacted vouchers are looked for, in minutes.
    pub window_minutes: u32,
}

impl Default for Input {
    fn default() -> Self {
        Self { voucher: None, incident: "voucher-preview".to_owned(), window_minutes: 60 }
    }
}

/// The runbook, on a platform.
#[derive(Debug, Clone)]
pub struct VoucherPreviewFailures {
    /// The ports.
    pub on: Platform,
    /// What it was told.
    pub input: Input,
}

#[async_trait]
impl Runbook for VoucherPreviewFailures {
    fn id(&self) -> &'static str {
        "voucher-preview-failures"
    }

    fn title(&self) -> &'static str {
        "Voucher Preview Failures"
    }

    fn version(&self) -> u32 {
        1
    }

    fn steps(&self) -> &'static [Step] {
        STEPS
    }

    fn rehearsal(&self) -> Option<Rehearsal> {
        self.on.rehearsal.clone()
    }

    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        let stuck = Stuck::watch(run, &self.on, &VP_M1, self.id()).await?;
        let handled = self.handle(run).await;
        let was_clear = matches!(handled, Err(Halt::NothingToDo { .. }));
        let left = Inherited { on: &self.on, runbook: self.id(), step: &VP_R2, alarms: ALARMS, whole: true };
        let handled = left.end(run, handled, true).await;
        if was_clear && handled.is_ok() {
            // Whoever repaired them did not come to close it.
            let _ = run.attempt(&VP_R2, ResolveIncident::of(&self.on, &self.input.incident)).await?;
        }
        stuck.over(run, handled.as_ref().err()).await?;
        let (says, proof) = handled?;
        run.resolve(says, proof)
    }
}

/// Nothing is wrong where pictures are rendered; where they are only shown, nothing is known.
fn nothing_fails(step: &Step, looked: &Looked) -> Halt {
    match looked.works() {
        Ok(()) => Halt::NothingToDo { says: looked.all_clear() },
        Err(why) => Halt::Unverified {
            step: step.id.to_owned(),
            says: format!("{why}; name a voucher that has no picture with --set voucher=ID"),
        },
    }
}

impl VoucherPreviewFailures {
    /// The runbook, from the first look to previews that work: what is resolved, and by what it is proven.
    async fn handle(&self, run: &mut Run) -> Result<(String, Proof), Halt> {
        let on = &self.on;
        let since = before(run.now(), Duration::from_secs(u64::from(self.input.window_minutes) * 60));
        let sample = self.vouchers_to_try(run, since).await?;
        let first = run.probe(&VP_D1, PreviewCheck::of(on, &sample, "first look")).await?;
        if !first.fails() {
            return Err(nothing_fails(&VP_D1, &first));
        }
        let impacted = self.capture_impact(run, since).await?;

        let host = run.probe(&VP_I1, PreviewFunction::of(on, "before")).await?;
        let again = after(run.now(), LOOK_AGAIN_AFTER);
        run.wait_until(&VP_I2, again, "look again before anything is changed").await?;
        let second = run.probe(&VP_I2, PreviewCheck::of(on, &sample, "second look")).await?;
        let Some((fault, says_degraded)) = second.fault() else {
            return Err(nothing_fails(&VP_I2, &second));
        };

        let told = self.tell_support(run, &sample).await?;
        self.check_degraded_copy(run, says_degraded).await?;
        self.repair(run, (&fault, host), &sample).await?;
        let rendered = self.prove(run, &sample, &impacted).await?;

        // Whether the incident is closed or not: support works by code view until it is told otherwise.
        let closed = run.attempt(&VP_R2, ResolveIncident::of(on, &self.input.incident)).await?;
        let closed_key = closed.is_proven().then(|| self.input.incident.clone());
        self.tell_support_that_it_is_over(run, told, (&sample, closed_key.clone())).await?;
        let check = PreviewCheck::of(on, &sample, "before the last word");
        run.ends_only_while(&VP_R2, OnlyWhile::of(StillOver::of(on, check, closed_key)));
        let incident = if closed.is_proven() { "is" } else { "is not" };
        let says = format!(
            "previews are rendered again: a picture was fetched and decoded, and the incident {incident} closed"
        );
        Ok((says, closed.account().proof().into_iter().fold(rendered, Proof::and)))
    }

    async fn vouchers_to_try(&self, run: &mut Run, since: Timestamp) -> Result<Vec<VoucherId>, Halt> {
        let sample = run.probe(&VP_D1, Sample::of(&self.on, self.input.voucher, since)).await?;
        if sample.is_empty() {
            return Err(Halt::Unverified {
                step: VP_D1.id.to_owned(),
                says: "there is no voucher to try a preview with; name one with --set voucher=ID".to_owned(),
            });
        }
        Ok(sample)
    }

    /// Taken before anything is repaired: afterwards pictures appear and nobody could tell who was without.
    async fn capture_impact(&self, run: &mut Run, since: Timestamp) -> Result<Impacted, Halt> {
        let impacted = run.probe(&VP_P1, WithoutPicture::since(&self.on, since)).await?;
        for voucher in impacted.vouchers.iter().take(LISTED) {
            let note = Note::Affected {
                kind: "voucher".to_owned(),
                id: voucher.to_string(),
                label: voucher.to_string(),
                says: "it was issued and has no picture".to_owned(),
            };
            run.note(&VP_P1, note).await?;
        }
        let what = "vouchers issued without a picture".to_owned();
        run.note(&VP_P1, Note::Count { what, count: impacted.vouchers.len() as u64 }).await?;
        Ok(impacted)
    }

    /// Holds nothing up: repairing it helps support more than to know of it.
    async fn tell_support(&self, run: &mut Run, sample: &[VoucherId]) -> Result<Told<Option<Posted>>, Halt> {
        let message = messages::unavailable(&self.on.limits.ops_channel, run.id());
        let check = PreviewCheck::of(&self.on, sample, "before support is told");
        let still = OnlyWhile::of(StillFails(check)).from(after(run.now(), DIAGNOSIS_HOLDS));
        let posted = tell(run, &VP_M1, PostMessage::of(&self.on, message).only_while(still)).await?;
        let told = "support was told to fall back to code view";
        let untold = "support was not told to fall back to code view: tell them by hand";
        run.told(&VP_M1, told, untold, &[posted.account()]).await?;
        if posted.may_be_there() {
            let says = format!(
                "{} says that previews are unavailable: say there when they work again",
                self.on.limits.ops_channel
            );
            run.owe(&VP_M1, SUPPORT, says).await?;
        }
        Ok(posted)
    }

    /// All else is done, so this one waits for the chat service. Whoever knows that previews work need not be told any more
    /// that they did not.
    async fn tell_support_that_it_is_over(
        &self,
        run: &mut Run,
        first: Told<Option<Posted>>,
        (sample, closed): (&[VoucherId], Option<String>),
    ) -> Result<(), Halt> {
        let over = messages::over(&self.on.limits.ops_channel, run.id());
        let check = PreviewCheck::of(&self.on, sample, "before people are told that they work");
        let over = PostMessage::of(&self.on, over)
            .in_thread_of(first.receipt.clone().flatten())
            .only_while(OnlyWhile::of(StillOver::of(&self.on, check, closed)));
        let posted = tell_last(run, &VP_R2, over).await?;
        let told = "support was told that previews work again";
        let untold = "support was not told that previews work again: tell them by hand";
        run.told(&VP_R2, told, untold, &[posted.account()]).await?;
        let Some(proof) = posted.account().proof() else { return Ok(()) };
        if run.owes(SUPPORT) {
            run.close(&VP_R2, SUPPORT, told, &proof).await?;
        }
        run.cure(&VP_R2, first.account(), told, &proof).await
    }

    /// The pages show what the API says of itself; that is all a program can see of them.
    async fn check_degraded_copy(&self, run: &mut Run, says_degraded: bool) -> Result<(), Halt> {
        if says_degraded {
            let says = "the admin pages say that previews are degraded";
            return run.note(&VP_M2, Claim::seen(&run.proof(&VP_I2)?, says)).await;
        }
        let says = "the admin API does not say that previews are degraded, so its pages do not either: tell its users";
        run.owe(&VP_M2, DEGRADED, says).await
    }

    /// The vouchers that were tried first, then a few of those that had no picture.
    async fn prove(&self, run: &mut Run, sample: &[VoucherId], impacted: &Impacted) -> Result<Proof, Halt> {
        let condition = Observing {
            probe: PreviewCheck::of(&self.on, sample, "after the repair"),
            satisfied: Looked::works,
        };
        run.until(&VP_R2, Watch::every(TRY_EVERY, GIVE_UP_AFTER), condition).await?;
        if run.owes(DEGRADED) {
            let says = "previews work, so nothing has to say that they are degraded";
            run.close(&VP_R2, DEGRADED, says, &run.proof(&VP_R2)?).await?;
        }
        self.prove_customers_vouchers(run, impacted).await
    }

    /// A picture may fail once for a reason of its own while everything works, so those without one are looked at again.
    async fn prove_customers_vouchers(&self, run: &mut Run, impacted: &Impacted) -> Result<Proof, Halt> {
        let sample: Vec<VoucherId> = impacted.vouchers.iter().take(SAMPLE).copied().collect();
        let mut failed = sample.clone();
        for look in 1..=LOOKS {
            failed = run.probe(&VP_R2, PreviewsOf::these(&self.on, &failed, look)).await?;
            if failed.is_empty() || run.is_plan() {
                return run.proof(&VP_R2);
            }
            if look < LOOKS {
                let again = after(run.now(), TRY_EVERY);
                run.wait_until(&VP_R2, again, "look again at those without a preview").await?;
            }
        }
        let says = format!(
            "{} of {} still without a preview",
            failed.len(),
            counted(sample.len(), "customer's voucher", "customers' vouchers")
        );
        Err(Halt::Refuted { step: VP_R2.id.to_owned(), says })
    }
}
