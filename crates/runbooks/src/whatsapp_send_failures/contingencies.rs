//! What is done when things go another way, named in the plan beforehand.

use allclear_core::Platform;
use allclear_engine::{Approval, Escalation, Gate, Halt, Run, Step};
use async_trait::async_trait;

use super::effects::{RestoreQueue, SkipQueue};
use super::{WA_I1, WA_R1};
use crate::effects::{PauseCampaign, Paused};

/// Sending goes on although the campaigns are paused: stop the queue itself, when a person agrees.
pub(super) struct StopTheQueue {
    step: Step,
    on: Platform,
    campaigns: Vec<Paused>,
}

impl StopTheQueue {
    pub(super) fn of(on: &Platform, step: &Step, campaigns: &[Paused]) -> Self {
        Self { step: *step, on: on.clone(), campaigns: campaigns.to_vec() }
    }

    pub(super) async fn stop(&self, run: &mut Run) -> Result<(), Halt> {
        let mut gate = Gate::new(
            "The dispatcher goes on sending although these campaigns are paused. Mark their unsent messages as skipped?",
            Approval::Approve,
        )
        .about("queue")
        .showing("this is the only thing that stops the dispatcher; the messages are given back at the resume");
        for campaign in &self.campaigns {
            gate = gate.showing(format!("campaign {} ({})", campaign.name, campaign.campaign));
        }
        run.approve(&self.step, gate).await?;
        let skips = self.campaigns.iter().map(|campaign| SkipQueue::of(&self.on, campaign)).collect();
        run.perform_each(&self.step, skips).await.map(drop)
    }
}

#[async_trait]
impl Escalation for StopTheQueue {
    /// Only for the plan, which names what is stopped now and given back later.
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        self.stop(run).await?;
        if self.step != WA_I1 {
            return Ok(());
        }
        let restores = self.campaigns.iter().map(|campaign| RestoreQueue::of(&self.on, campaign)).collect();
        run.perform_each(&WA_R1, restores).await.map(drop)
    }
}

/// Sends fail again after the resume: pause everything again that was resumed.
pub(super) struct PauseAgain {
    on: Platform,
    campaigns: Vec<Paused>,
}

impl PauseAgain {
    pub(super) fn of(on: &Platform, resumed: &[Paused]) -> Self {
        Self { on: on.clone(), campaigns: resumed.to_vec() }
    }

    pub(super) async fn pause(&self, run: &mut Run) -> Result<(), Halt> {
        let pauses =
            self.campaigns.iter().map(|c| PauseCampaign::of(&self.on, c.campaign, &c.name)).collect();
        let settled = run.attempt_each(&WA_R1, pauses).await?;
        let still_sending: Vec<Paused> =
            settled.into_iter().filter(|one| !one.verdict.is_verified()).map(|one| one.receipt).collect();
        if still_sending.is_empty() {
            return Ok(());
        }
        StopTheQueue::of(&self.on, &WA_R1, &still_sending).stop(run).await
    }
}

#[async_trait]
impl Escalation for PauseAgain {
    /// Only for the plan: at that point the campaigns run again.
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        self.pause(run).await?;
        StopTheQueue::of(&self.on, &WA_R1, &self.campaigns).stop(run).await
    }
}
