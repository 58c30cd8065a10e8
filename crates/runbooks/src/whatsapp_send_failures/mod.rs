//! WhatsApp Send Failures: the procedure, bullet by bullet.
//!
//! | bullet | step | what the platform's reality adds |
//! |---|---|---|
//! | Detect | [`WA_D1`] | failures are counted from the send log and told apart by error code; the status page is no evidence |
//! | Pause campaigns (`Stop` action) | [`WA_I1`] | *pause*, because stop is terminal in the data; and proof that sending stopped, because the dispatcher never looks at a campaign's status |
//! | Check quiet hours and throttle | [`WA_I2`] | a broken policy is repaired when a person agrees; 0 is never written |
//! | Rate-limited: honour `retry-after`, reschedule | [`WA_M1`] | the wait comes from a header, a body or WhatsApp's usage header |
//! | Invalid numbers: export failed targets | [`WA_M2`] | digits that survive a spreadsheet, and no formulas |
//! | Notify the provider after 15 minutes | [`WA_E1`] | counted from the first failure, not from the start of the run |
//! | Resume once the function returns `202` | [`WA_R1`] | 202 is acceptance: a canary must be *delivered*; only what this run paused is resumed, one campaign at a time, outside quiet hours, and paused again on relapse |
//! | Log `incident_resolution` | [`WA_R2`] | read back, because the platform loses audit rows silently |

mod contingencies;
mod detect;
mod effects;
mod escalate;
mod export;
mod messages;
mod resume;
#[cfg(test)]
mod tests;

use std::time::Duration;

use allclear_core::ports::Artifact;
use allclear_core::{CampaignId, Platform, PortError};
use allclear_engine::{
    Achieving, Approval, Gate, Halt, Note, Phase, Resolution, Run, Runbook, Step, Verdict, Watch,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use contingencies::StopTheQueue;
use detect::{Cause, SendHealth, Signal};
use effects::{PostponeSends, RepairPolicy, RequeueNotifications, SendCanary};
use escalate::NotifyProvider;
use export::ExportFailedTargets;

use crate::effects::{AuditNote, PauseCampaign, Paused, record_bad_end};
use crate::probes::{RunningCampaigns, StoredSendPolicy};
use crate::words::counted;

/// Detect: elevated failures, `send_failed`, or the function answering 5xx/429.
pub const WA_D1: Step = Step {
    id: "WA-D1",
    phase: Phase::Detect,
    title: "Elevated failures in Notifications, toast error `send_failed`, or EF returning 5xx/429",
};
/// Pause campaigns, and prove that sending stopped.
pub const WA_I1: Step = Step {
    id: "WA-I1",
    phase: Phase::Immediate,
    title: "Pause campaigns via Admin Panel (`Stop` action) to prevent further sends",
};
/// Check quiet hours and throttle.
pub const WA_I2: Step = Step {
    id: "WA-I2",
    phase: Phase::Immediate,
    title: "Check quiet hours and throttle settings to ensure they are not misconfigured",
};
/// Rate-limited: wait as told and reschedule.
pub const WA_M1: Step = Step {
    id: "WA-M1",
    phase: Phase::Mitigate,
    title: "If rate-limited (429), honor `retry-after` and reschedule sends",
};
/// Invalid numbers: export for data cleanup.
pub const WA_M2: Step = Step {
    id: "WA-M2",
    phase: Phase::Mitigate,
    title: "If invalid numbers, export failed targets for data cleanup",
};
/// Tell the provider when it lasts.
pub const WA_E1: Step =
    Step { id: "WA-E1", phase: Phase::Escalate, title: "Notify WABA provider if issue persists >15 minutes" };
/// Resume once sending provably works.
pub const WA_R1: Step =
    Step { id: "WA-R1", phase: Phase::Resolve, title: "Resume campaigns once EF returns `202`" };
/// Put it on the platform's record.
pub const WA_R2: Step = Step {
    id: "WA-R2",
    phase: Phase::Resolve,
    title: "Log incident summary in audit log under `incident_resolution`",
};

/// The bullets, in the order of the text.
pub const STEPS: &[Step] = &[WA_D1, WA_I1, WA_I2, WA_M1, WA_M2, WA_E1, WA_R1, WA_R2];

/// How long the failures may last before the provider is told: the runbook's own figure.
const ESCALATE_AFTER: Duration = Duration::from_mins(15);
/// How often a canary is tried.
const CANARY_EVERY: Duration = Duration::from_secs(30);
/// After this long without a delivered canary the run ends; the campaigns stay paused.
const GIVE_UP_AFTER: Duration = Duration::from_hours(4);

/// What the procedure may be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Input {
    /// Only these campaigns are paused; all that run when empty.
    pub campaigns: Vec<CampaignId>,
    /// How far back failures are counted, in minutes.
    pub window_minutes: u32,
    /// From which share of failures on it counts as elevated, in percent of all sends.
    pub elevated_percent: u64,
}

impl Default for Input {
    fn default() -> Self {
        // 5 % is the alert threshold of the platform's own monitoring for WhatsApp delivery failures.
        Self { campaigns: Vec::new(), window_minutes: 30, elevated_percent: 5 }
    }
}

/// The runbook, on a platform.
#[derive(Debug, Clone)]
pub struct WhatsAppSendFailures {
    /// The ports.
    pub on: Platform,
    /// What it was told.
    pub input: Input,
}

/// Writes the failed targets of one campaign to a file of the run: the export alone, for services that want it without
/// the runbook. Returns the file and how many rows it has.
pub async fn export_failed_targets(
    on: &Platform,
    campaign: CampaignId,
) -> Result<(Artifact, u64), PortError> {
    let campaign = Paused { campaign, name: campaign.to_string(), by_us: false, queue_stopped: false };
    let exported = ExportFailedTargets::of(on, &campaign).write().await?;
    Ok((exported.artifact, exported.rows))
}

/// What has been done so far, for the record at the end, whichever way it ends.
#[derive(Debug, Default)]
struct Done {
    paused: Vec<Paused>,
    cause: Option<String>,
}

#[async_trait]
impl Runbook for WhatsAppSendFailures {
    fn id(&self) -> &'static str {
        "whatsapp-send-failures"
    }

    fn title(&self) -> &'static str {
        "WhatsApp Send Failures"
    }

    fn version(&self) -> u32 {
        1
    }

    fn steps(&self) -> &'static [Step] {
        STEPS
    }

    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        let mut done = Done::default();
        match self.handle(run, &mut done).await {
            Ok(resolution) => {
                run.perform(
                    &WA_R2,
                    AuditNote::incident_resolution(
                        &self.on,
                        run.id(),
                        "campaigns",
                        &done.facts(&resolution.says),
                    ),
                )
                .await?;
                Ok(resolution)
            }
            Err(halt) => {
                let facts = done.facts(&halt.to_string());
                let note = AuditNote::incident_resolution(&self.on, run.id(), "campaigns", &facts);
                record_bad_end(run, &WA_R2, note, &halt, !done.paused.is_empty()).await?;
                Err(halt)
            }
        }
    }
}

impl WhatsAppSendFailures {
    /// The runbook, from detection to resumed campaigns.
    async fn handle(&self, run: &mut Run, done: &mut Done) -> Result<Resolution, Halt> {
        let on = &self.on;

        let signal = run.probe(&WA_D1, SendHealth::over(on, &self.input)).await?;
        signal.must_rest_on_samples()?;
        run.conclude_unless(signal.elevated, "all clear: send failures are within the normal range")?;
        self.note_impact(run, &signal).await?;
        done.cause = Some(signal.cause.title());

        self.pause_campaigns(run, &signal, done).await?;
        self.check_policy(run).await?;

        let mut limit_ends = None;
        match &signal.cause {
            Cause::RateLimited => limit_ends = Some(self.reschedule(run, &signal, &done.paused).await?),
            Cause::InvalidNumbers => self.export_failed_targets(run, &done.paused).await?,
            Cause::Credential | Cause::PolicyBlock => self.wait_for_people(run, &signal).await?,
            Cause::Misconfigured | Cause::Outage => {}
        }

        let provider = NotifyProvider::about(on, &signal, run.id());
        let deadline = signal.first_failure_at.unwrap_or(run.now()) + ESCALATE_AFTER;
        let mut watch = Watch::every(CANARY_EVERY, GIVE_UP_AFTER).escalate_at(
            deadline,
            "the failures last more than 15 minutes",
            &provider,
        );
        if let Some(limit_ends) = limit_ends {
            watch = watch.not_before(limit_ends, "the rate limit ends then; nothing is sent before");
        }
        run.until(&WA_R1, watch, Achieving(SendCanary::through(on, run.id()))).await?;

        let resumed = self.resume_campaigns(run, &done.paused).await?;
        if matches!(signal.cause, Cause::RateLimited | Cause::Outage) {
            run.perform(&WA_M1, RequeueNotifications::failed_since(on, signal.first_failure_at)).await?;
        }
        Ok(Resolution::verified(format!(
            "a canary was delivered and {resumed} of the campaigns that this run paused send again"
        )))
    }

    async fn note_impact(&self, run: &mut Run, signal: &Signal) -> Result<(), Halt> {
        for (code, count) in &signal.failed {
            run.note(&WA_D1, Note::Count { what: format!("failed sends with code {code}"), count: *count })
                .await?;
        }
        Ok(())
    }

    async fn pause_campaigns(&self, run: &mut Run, signal: &Signal, done: &mut Done) -> Result<(), Halt> {
        let on = &self.on;
        let running = run.probe(&WA_I1, RunningCampaigns::of(on, &self.input.campaigns)).await?;
        for campaign in &running {
            let failed = signal.failed_of(campaign.id);
            let note = Note::Affected {
                kind: "campaign".to_owned(),
                id: campaign.id.to_string(),
                label: campaign.name.clone(),
                says: format!(
                    "it was running, with {} in the window",
                    counted(failed, "failed send", "failed sends")
                ),
            };
            run.note(&WA_I1, note).await?;
        }
        let wanted: Vec<_> = running.iter().map(|campaign| PauseCampaign::named(on, campaign)).collect();
        let mut paused = Vec::new();
        let mut still_sending = Vec::new();
        for one in run.attempt_each(&WA_I1, wanted).await? {
            match &one.verdict {
                Verdict::Verified { .. } => {}
                Verdict::Refuted { .. } => still_sending.push(one.receipt.clone()),
                Verdict::Pending { .. } | Verdict::Unverifiable { .. } => {
                    done.paused.push(one.receipt.clone());
                    one.proven(&WA_I1)?;
                    continue;
                }
            }
            paused.push(one.receipt);
        }
        done.paused = paused;
        let everything = StopTheQueue::of(on, &WA_I1, &done.paused);
        run.in_case("sending goes on although the campaigns are paused", &everything).await?;
        if !still_sending.is_empty() {
            StopTheQueue::of(on, &WA_I1, &still_sending).stop(run).await?;
            for receipt in &mut done.paused {
                receipt.queue_stopped =
                    still_sending.iter().any(|sending| sending.campaign == receipt.campaign);
            }
        }
        if !done.paused.is_empty() {
            let says = format!(
                "{} paused, and it was proven that nothing is sent any more",
                counted(done.paused.len(), "campaign was", "campaigns were")
            );
            run.note(&WA_I1, Note::Mitigation { says }).await?;
        }
        Ok(())
    }

    async fn check_policy(&self, run: &mut Run) -> Result<(), Halt> {
        let stored = run.probe(&WA_I2, StoredSendPolicy::read(&self.on)).await?;
        let faults = stored.faults();
        if faults.is_empty() {
            return Ok(());
        }
        let repair = RepairPolicy::of(&self.on, &stored);
        let mut gate = Gate::new("The sending policy is misconfigured. Repair it?", Approval::Approve);
        for fault in &faults {
            gate = gate.showing(fault.to_string());
        }
        gate = gate.showing(format!("it would become: {}", repair.wanted_text()));
        run.approve(&WA_I2, gate).await?;
        run.perform(&WA_I2, repair).await?;
        run.note(
            &WA_I2,
            Note::Mitigation { says: "the misconfigured sending policy was repaired".to_owned() },
        )
        .await
    }

    /// Moves queued sends to the end of the rate limit; returns when that is. The wait itself belongs to the watch
    /// below, so that the provider is told in time although we wait.
    async fn reschedule(&self, run: &mut Run, signal: &Signal, paused: &[Paused]) -> Result<Timestamp, Halt> {
        let until = signal.rate_limit_ends(run.now());
        let postpone = paused.iter().map(|campaign| PostponeSends::of(&self.on, campaign, until)).collect();
        run.perform_each(&WA_M1, postpone).await?;
        let says = format!(
            "the rate limit is honoured: nothing is sent before {until}, and queued sends were moved there"
        );
        run.note(&WA_M1, Note::Mitigation { says }).await?;
        Ok(until)
    }

    async fn export_failed_targets(&self, run: &mut Run, paused: &[Paused]) -> Result<(), Halt> {
        let exports = paused.iter().map(|campaign| ExportFailedTargets::of(&self.on, campaign)).collect();
        for file in run.perform_each(&WA_M2, exports).await?.into_iter().flatten() {
            let says = format!(
                "{} for data cleanup, SHA-256 {}",
                counted(file.rows, "failed target", "failed targets"),
                file.artifact.sha256
            );
            run.note(&WA_M2, Note::Artifact { name: file.artifact.name, says }).await?;
        }
        run.note(
            &WA_M2,
            Note::Mitigation { says: "failed targets were exported for data cleanup".to_owned() },
        )
        .await
    }

    /// A credential or a policy block cannot be waited out: a person must act, and every call before makes a block
    /// worse. The provider is told at once.
    async fn wait_for_people(&self, run: &mut Run, signal: &Signal) -> Result<(), Halt> {
        if signal.cause == Cause::PolicyBlock {
            NotifyProvider::about(&self.on, signal, run.id()).tell(run).await?;
        }
        let gate = Gate::new(signal.cause.question(), Approval::Approve).showing(signal.cause.title());
        run.approve(&WA_E1, gate).await
    }
}

impl Done {
    fn facts(&self, says: &str) -> serde_json::Value {
        let campaigns: Vec<String> = self.paused.iter().map(|paused| paused.campaign.to_string()).collect();
        serde_json::json!({ "runbook": "whatsapp-send-failures", "cause": self.cause, "paused": campaigns, "says": says })
    }
}
