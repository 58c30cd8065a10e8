//! Voucher Preview Failures: the procedure, bullet by bullet.
//!
//! | bullet | step | what the platform's reality adds |
//! |---|---|---|
//! | Detect | [`VP_D1`] | a real preview, fetched and decoded: the status page's light can be a year old and still green |
//! | Confirm the deployment | [`VP_I1`] | the host's Management API: served, throttled, removed or unknown to it; a refused token is named as what it is |
//! | Retry the probe | [`VP_I2`] | `force=true` is not read by the platform, so the real call is made again |
//! | Tell support | [`VP_M1`] | once, in the runbook's words, and once more when it is over |
//! | Degraded copy is visible | [`VP_M2`] | the admin API must say of itself that it is degraded |
//! | Redeploy or repair the network | [`VP_R1`] | the pinned source only, one deployment, read back; what a program cannot repair waits for a person |
//! | Verify; close the incident | [`VP_R2`] | a picture that decodes, then vouchers of customers, then PagerDuty |
//! | Postmortem inputs | [`VP_P1`] | impacted vouchers by id: their codes are money |

mod detect;
mod messages;
mod redeploy;
#[cfg(test)]
mod tests;

use std::time::Duration;

use allclear_core::function::{FunctionStatus, Preview, PreviewFault};
use allclear_core::ports::Posted;
use allclear_core::{Platform, VoucherId};
use allclear_engine::{Approval, Gate, Halt, Note, Observing, Phase, Resolution, Run, Runbook, Step, Watch};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::effects::{PostMessage, ResolveIncident, go_on_without};
use crate::words::counted;
use detect::{HostView, Impacted, PinnedBundle, PreviewCheck, PreviewFunction, PreviewsOf, WithoutPicture};
use redeploy::DeployFunction;

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

/// Between the first look and the second.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// How often a preview is tried after the repair, and for how long.
const TRY_EVERY: Duration = Duration::from_secs(30);
const GIVE_UP_AFTER: Duration = Duration::from_mins(30);
/// How many customers' vouchers are rendered to prove it: each one is load on a function that has just come back.
const SAMPLE: usize = 10;
/// How many impacted vouchers are listed; the rest is counted.
const LISTED: usize = 50;

/// What the procedure may be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Input {
    /// The voucher that previews are tried with; the newest one that can be redeemed if not given.
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

/// What must be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repair {
    Redeploy,
    Network,
    Configuration,
    Throttle,
    Credential,
}

impl Repair {
    /// What a fault and the host's view of the function come to. A refused token hides the view, so it comes first.
    fn of(fault: &PreviewFault, host: &HostView) -> Self {
        match (fault, host) {
            (PreviewFault::NotConfigured, _) => Self::Configuration,
            (PreviewFault::Timeout, _) => Self::Network,
            (_, HostView::NoAccess { .. }) => Self::Credential,
            (_, HostView::Seen { function }) if function.status == FunctionStatus::Throttled => {
                Self::Throttle
            }
            (
                PreviewFault::NotDeployed | PreviewFault::HttpError { .. } | PreviewFault::NoPicture { .. },
                _,
            ) => Self::Redeploy,
        }
    }
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

    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        let on = &self.on;
        let voucher = self.voucher_to_try(run).await?;
        let first = run.probe(&VP_D1, PreviewCheck::of(on, voucher, "first look")).await?;
        run.conclude_unless(detect::fails(&first), "all clear: previews are rendered")?;
        let impacted = self.capture_impact(run).await?;

        let host = run.probe(&VP_I1, PreviewFunction::of(on, "before")).await?;
        let again = run.now() + LOOK_AGAIN_AFTER;
        run.wait_until(&VP_I2, again, "look again before anything is changed").await?;
        let second = run.probe(&VP_I2, PreviewCheck::of(on, voucher, "second look")).await?;
        let Preview::Failed { fault, says_degraded } = second else {
            return Err(Halt::NothingToDo {
                says: "all clear: on the second look previews are rendered".to_owned(),
            });
        };

        let thread = self.tell_support(run).await?;
        self.check_degraded_copy(run, says_degraded).await?;
        self.repair(run, &fault, host).await?;
        self.prove(run, voucher, &impacted).await?;

        run.perform(&VP_R2, ResolveIncident::of(on, &self.input.incident)).await?;
        let over = messages::over(&on.limits.ops_channel, run.id());
        let over = PostMessage::of(on, over).in_thread_of(thread);
        let told = run.attempt(&VP_R2, over).await.map(drop);
        go_on_without(run, &VP_R2, "tell support by hand that previews work again", told).await?;
        Ok(Resolution::verified(
            "previews are rendered again: a picture was fetched and decoded, and the incident is closed",
        ))
    }
}

impl VoucherPreviewFailures {
    async fn voucher_to_try(&self, run: &mut Run) -> Result<VoucherId, Halt> {
        if let Some(voucher) = self.input.voucher {
            return Ok(voucher);
        }
        let newest = run.probe(&VP_D1, detect::NewestVoucher::of(&self.on)).await?;
        newest.ok_or_else(|| Halt::Unverified {
            step: VP_D1.id.to_owned(),
            says: "there is no voucher to try a preview with; name one with --set voucher=ID".to_owned(),
        })
    }

    /// Taken before anything is repaired: afterwards pictures appear and nobody could tell who was without.
    async fn capture_impact(&self, run: &mut Run) -> Result<Impacted, Halt> {
        let since = run.now() - Duration::from_secs(u64::from(self.input.window_minutes) * 60);
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

    /// Where it was said, for what is said about it later.
    async fn tell_support(&self, run: &mut Run) -> Result<Option<Posted>, Halt> {
        let message = messages::unavailable(&self.on.limits.ops_channel, run.id());
        let told = run.attempt(&VP_M1, PostMessage::of(&self.on, message)).await;
        let thread = told.as_ref().ok().and_then(|told| told.receipt.clone());
        let by_hand = "tell support by hand: fallback to code view";
        go_on_without(run, &VP_M1, by_hand, told.map(drop)).await?;
        run.note(&VP_M1, Note::Mitigation { says: "support was told to fall back to code view".to_owned() })
            .await?;
        Ok(thread)
    }

    /// The pages show what the API says of itself; that is all a program can see of them.
    async fn check_degraded_copy(&self, run: &mut Run, says_degraded: bool) -> Result<(), Halt> {
        let note = if says_degraded {
            Note::Mitigation { says: "the admin pages say that previews are degraded".to_owned() }
        } else {
            let says = "the admin API does not say that previews are degraded, so its pages do not either: tell its users";
            Note::OpenQuestion { says: says.to_owned() }
        };
        run.note(&VP_M2, note).await
    }

    async fn repair(&self, run: &mut Run, fault: &PreviewFault, host: HostView) -> Result<(), Halt> {
        let mut host = host;
        if let (Repair::Credential, HostView::NoAccess { says, .. }) = (Repair::of(fault, &host), &host) {
            let gate = Gate::new(
                "The host refuses the access token. Has it been replaced?",
                Approval::Approve,
            )
            .about("token")
            .showing(says.clone())
            .showing(
                "no API makes a new one: make it in the dashboard, put it where the configuration reads it",
            );
            run.approve(&VP_I1, gate).await?;
            host = run.probe(&VP_I1, PreviewFunction::of(&self.on, "with the new token")).await?;
        }
        match Repair::of(fault, &host) {
            Repair::Redeploy => self.redeploy(run, fault, &host).await,
            other => self.wait_for_a_person(run, other, fault, &host).await,
        }
    }

    /// Deploys the pinned source when a person agrees. Without one, a person deploys.
    async fn redeploy(&self, run: &mut Run, fault: &PreviewFault, host: &HostView) -> Result<(), Halt> {
        let slug = &self.on.limits.preview_function;
        let Some(pinned) = run.probe(&VP_R1, PinnedBundle::of(&self.on)).await? else {
            let question = format!("No source is pinned for {slug}. Has it been redeployed by hand?");
            return run
                .approve(&VP_R1, Gate::new(question, Approval::Approve).showing(fault.to_string()))
                .await;
        };
        let gate = Gate::new(format!("Redeploy {slug} from the pinned source?"), Approval::Approve)
            .about("redeploy")
            .showing(format!("project {}", self.on.functions.project()))
            .showing(format!("because {fault}"))
            .showing(format!("now: {host}"))
            .showing(format!(
                "source: {}, SHA-256 {}",
                counted(pinned.files, "file", "files"),
                pinned.sha256
            ));
        run.approve(&VP_R1, gate).await?;
        run.perform(&VP_R1, DeployFunction::pinned(&self.on, &pinned.sha256)).await?;
        let says = format!("{slug} was redeployed from the pinned source; before: {host}");
        run.note(&VP_R1, Note::Mitigation { says }).await
    }

    async fn wait_for_a_person(
        &self,
        run: &mut Run,
        repair: Repair,
        fault: &PreviewFault,
        host: &HostView,
    ) -> Result<(), Halt> {
        let question = match repair {
            Repair::Configuration => {
                "The admin API does not know where the preview function is. Has VOUCHER_PREVIEW_ENDPOINT been set and the app restarted?"
            }
            Repair::Network => {
                "The preview function does not answer in time. Has the network (or the function's own call) been repaired?"
            }
            Repair::Throttle => {
                "The host holds calls of the preview function back. Has the project's limit been lifted?"
            }
            Repair::Credential | Repair::Redeploy => {
                "The host still refuses the access token. Has the function been redeployed by hand?"
            }
        };
        let gate = Gate::new(question, Approval::Approve)
            .about("repair")
            .showing(fault.to_string())
            .showing(host.to_string());
        run.approve(&VP_R1, gate).await?;
        let says = format!("a person repaired what a program cannot: {fault}");
        run.note(&VP_R1, Note::Mitigation { says }).await
    }

    /// One picture first, then a few of the vouchers that had none.
    async fn prove(&self, run: &mut Run, voucher: VoucherId, impacted: &Impacted) -> Result<(), Halt> {
        let condition = Observing {
            probe: PreviewCheck::of(&self.on, voucher, "after the repair"),
            satisfied: |preview: &Preview| match preview {
                Preview::Rendered { .. } => Ok(()),
                Preview::Failed { fault, .. } => Err(fault.to_string()),
            },
        };
        run.until(&VP_R2, Watch::every(TRY_EVERY, GIVE_UP_AFTER), condition).await?;
        let sample: Vec<VoucherId> = impacted.vouchers.iter().take(SAMPLE).copied().collect();
        let failed = run.probe(&VP_R2, PreviewsOf::these(&self.on, &sample)).await?;
        if failed == 0 || run.is_plan() {
            return Ok(());
        }
        let says = format!(
            "{failed} of {} still without a preview",
            counted(sample.len(), "customer's voucher", "customers' vouchers")
        );
        Err(Halt::Refuted { step: VP_R2.id.to_owned(), says })
    }
}
