//! Resuming: only what this run paused, one campaign after the other, never into quiet hours, and paused again when
//! sends fail again.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::ports::{Limits, SendLog, SendQueue};
use allclear_core::send_fault::SendFault;
use allclear_core::target::SendTally;
use allclear_core::{CampaignId, Platform, PortError};
use allclear_engine::{Evidence, Halt, Note, Observation, Observing, Probe, Run, Watch};
use async_trait::async_trait;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::contingencies::PauseAgain;
use super::effects::RestoreQueue;
use super::{WA_R1, WhatsAppSendFailures};
use crate::effects::{Paused, ResumeCampaign};
use crate::probes::StoredSendPolicy;
use crate::words::counted;

/// From this share of failures on a resumed campaign has relapsed, in percent.
const RELAPSE_PERCENT: u64 = 5;
/// A resumed campaign that sends nothing for this long is no proof of anything.
const SEND_WITHIN: Duration = Duration::from_mins(10);

impl WhatsAppSendFailures {
    /// Resumes what this run paused. Returns how many campaigns that were.
    pub(super) async fn resume_campaigns(&self, run: &mut Run, paused: &[Paused]) -> Result<usize, Halt> {
        let on = &self.on;
        let ours: Vec<Paused> = paused.iter().filter(|campaign| campaign.by_us).cloned().collect();
        if ours.is_empty() {
            return Ok(0);
        }
        let unsent = run.probe(&WA_R1, UnsentMessages::of(on, &ours)).await?;
        self.wait_for_allowed_hours(run, &unsent).await?;
        run.in_case("sends fail again after the resume", &PauseAgain::of(on, &ours)).await?;
        let mut resumed: Vec<Paused> = Vec::new();
        for stage in unsent.smallest_first() {
            let Some(campaign) = ours.iter().find(|campaign| campaign.campaign == stage.campaign) else {
                continue;
            };
            let Some(resume) = ResumeCampaign::only(on, campaign) else {
                continue;
            };
            let receipt = run.perform(&WA_R1, resume).await?;
            if !receipt.by_us {
                continue;
            }
            let since = run.now();
            if campaign.queue_stopped {
                run.perform(&WA_R1, RestoreQueue::of(on, campaign)).await?;
            }
            resumed.push(campaign.clone());
            if stage.unsent > 0 && !run.is_plan() {
                self.watch_for_relapse(run, campaign, since, &resumed).await?;
            }
        }
        let says = format!(
            "{} resumed one after the other, each watched for new failures",
            counted(resumed.len(), "campaign was", "campaigns were")
        );
        run.note(&WA_R1, Note::Mitigation { says }).await?;
        Ok(resumed.len())
    }

    /// Waits until sending is allowed for as long as the queues need to drain.
    async fn wait_for_allowed_hours(&self, run: &mut Run, unsent: &Unsent) -> Result<(), Halt> {
        let policy = run
            .probe(&WA_R1, StoredSendPolicy::read(&self.on))
            .await?
            .repaired(&self.on.limits.default_policy);
        let zone = TimeZone::get(&self.on.limits.recipients_zone).unwrap_or(TimeZone::UTC);
        let needed = unsent.drain_time(&self.on.limits, policy.throttle_per_minute);
        let hours = needed.as_secs().div_ceil(3600);
        match policy.quiet_hours.next_allowed(run.now(), &zone, needed) {
            None => Err(Halt::Unverified {
                step: WA_R1.id.to_owned(),
                says: format!(
                    "the queues need about {hours} h to drain, longer than the day without quiet hours {}; the campaigns stay paused: resume them by hand in parts",
                    policy.quiet_hours
                ),
            }),
            Some(at) if at > run.now() => {
                let says = format!(
                    "sending about {hours} h from now on would reach into quiet hours {}",
                    policy.quiet_hours
                );
                run.wait_until(&WA_R1, at, says).await
            }
            Some(_) => Ok(()),
        }
    }

    async fn watch_for_relapse(
        &self,
        run: &mut Run,
        campaign: &Paused,
        since: Timestamp,
        resumed: &[Paused],
    ) -> Result<(), Halt> {
        let watch = Watch::every(self.on.limits.dispatcher_interval, SEND_WITHIN);
        let health = Observing {
            probe: SendsAfterResume::of(&self.on, campaign, since),
            satisfied: Sends::are_conclusive,
        };
        let sends = run.until(&WA_R1, watch, health).await?;
        if sends.percent < RELAPSE_PERCENT {
            return Ok(());
        }
        PauseAgain::of(&self.on, resumed).pause(run).await?;
        Err(Halt::Refuted {
            step: WA_R1.id.to_owned(),
            says: format!(
                "{} % of the sends of {} failed again after it was resumed; what was resumed is paused again",
                sends.percent, campaign.name
            ),
        })
    }
}

/// How much one campaign has left to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stage {
    campaign: CampaignId,
    unsent: u64,
}

/// How much all have left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unsent {
    stages: Vec<Stage>,
}

impl Unsent {
    /// The smallest queue first: if sending is still broken, the fewest people notice.
    fn smallest_first(&self) -> Vec<Stage> {
        let mut stages = self.stages.clone();
        stages.sort_by_key(|stage| (stage.unsent, stage.campaign));
        stages
    }

    fn drain_time(&self, limits: &Limits, throttle_per_minute: u32) -> Duration {
        let total: u64 = self.stages.iter().map(|stage| stage.unsent).sum();
        let by_throttle = Duration::from_mins(total.div_ceil(u64::from(throttle_per_minute.max(1))));
        let intervals = total.div_ceil(u64::from(limits.dispatcher_batch.max(1)));
        let by_dispatcher =
            limits.dispatcher_interval.saturating_mul(u32::try_from(intervals).unwrap_or(u32::MAX));
        by_throttle.max(by_dispatcher)
    }
}

/// Counts what is left to send.
struct UnsentMessages {
    queue: Arc<dyn SendQueue>,
    of: Vec<Paused>,
}

impl UnsentMessages {
    fn of(on: &Platform, campaigns: &[Paused]) -> Self {
        Self { queue: Arc::clone(&on.send_queue), of: campaigns.to_vec() }
    }
}

#[async_trait]
impl Probe for UnsentMessages {
    type Value = Unsent;

    fn subject(&self) -> String {
        "unsent messages".to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Unsent>, PortError> {
        let mut stages = Vec::new();
        let mut evidence = Vec::new();
        for campaign in &self.of {
            let waiting = self.queue.pending(campaign.campaign).await?;
            let skipped = self.queue.skipped(campaign.campaign).await?;
            let shows = format!("{}: {waiting} waiting, {skipped} skipped", campaign.name);
            evidence.push(Evidence::new("send_queue (PostgREST)", shows));
            stages.push(Stage { campaign: campaign.campaign, unsent: waiting + skipped });
        }
        let total: u64 = stages.iter().map(|stage| stage.unsent).sum();
        let says = format!(
            "{} of {} still to be sent",
            counted(total, "message", "messages"),
            counted(stages.len(), "campaign", "campaigns")
        );
        Ok(Observation { value: Unsent { stages }, says, evidence })
    }
}

/// Sends of a campaign since it was resumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sends {
    tries: u64,
    percent: u64,
    intervals: u64,
}

impl Sends {
    fn are_conclusive(&self) -> Result<(), String> {
        if self.intervals < 2 {
            return Err("watch two runs of the dispatcher after the resume".to_owned());
        }
        if self.tries == 0 { Err("nothing was sent yet after the resume".to_owned()) } else { Ok(()) }
    }
}

struct SendsAfterResume {
    log: Arc<dyn SendLog>,
    campaign: Paused,
    since: Timestamp,
    interval: Duration,
}

impl SendsAfterResume {
    fn of(on: &Platform, campaign: &Paused, since: Timestamp) -> Self {
        let interval = on.limits.dispatcher_interval;
        Self { log: Arc::clone(&on.send_log), campaign: campaign.clone(), since, interval }
    }
}

/// Failures that are not the recipient's: numbers that cannot receive are a matter of data, and pausing for them again
/// would never end.
fn percent_of_our_failures(tally: &SendTally) -> u64 {
    let is_theirs =
        |code: &str| matches!(SendFault::from_text(code), SendFault::InvalidNumber | SendFault::Recipient);
    let ours: u64 = tally.failed.iter().filter(|(code, _)| !is_theirs(code)).map(|(_, count)| count).sum();
    if tally.tries() == 0 { 0 } else { ours * 100 / tally.tries() }
}

#[async_trait]
impl Probe for SendsAfterResume {
    type Value = Sends;

    fn subject(&self) -> String {
        format!("campaign {}", self.campaign.campaign)
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<Sends>, PortError> {
        let tally = self.log.tally(Some(self.campaign.campaign), self.since).await?;
        let elapsed = now.duration_since(self.since).as_secs().unsigned_abs();
        let value = Sends {
            tries: tally.tries(),
            percent: percent_of_our_failures(&tally),
            intervals: elapsed / self.interval.as_secs().max(1),
        };
        let says = format!("{} since its resume: {}", self.campaign.name, tally);
        let evidence = vec![Evidence::new("send_logs (PostgREST)", says.clone())];
        Ok(Observation { value, says, evidence })
    }
}
