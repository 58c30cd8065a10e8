//! What is done when things go another way, named in the plan beforehand.

use allclear_core::{Platform, QueueRows};
use allclear_engine::{Approval, Claim, Escalation, Gate, Halt, Note, Proof, Run, Settled, Step, Verdict};
use async_trait::async_trait;

use super::effects::{RestoreQueue, SkipQueue, Skipped, StandsAsLeft, Stood, WaitingMessages};
use super::{ID, WA_I1, WA_R1};
use crate::effects::{PauseCampaign, Paused, record_skipped, record_skips};

/// Sending goes on although the campaigns are paused: stop the queue itself, when a person agrees.
pub(super) struct StopTheQueue {
    step: Step,
    on: Platform,
    campaigns: Vec<Paused>,
}

/// A campaign whose queue was stopped: which of its messages, and by what that is proven; `None` where some of them wait again.
pub(super) struct Stopped {
    pub(super) campaign: Paused,
    pub(super) proof: Option<Proof>,
}

impl StopTheQueue {
    pub(super) fn of(on: &Platform, step: &Step, campaigns: &[Paused]) -> Self {
        Self { step: *step, on: on.clone(), campaigns: campaigns.to_vec() }
    }

    /// Returns what was stopped, each with its proof. What somebody took meanwhile is told, and is not among them.
    pub(super) async fn stop(&self, run: &mut Run) -> Result<Vec<Stopped>, Halt> {
        let mut ours = Vec::new();
        for campaign in &self.campaigns {
            // In a plan it is not paused yet, so nobody can have taken it.
            if run.is_plan() {
                ours.push((campaign.clone(), None));
                continue;
            }
            let stood = run.probe(&self.step, StandsAsLeft::of(&self.on, campaign)).await?;
            match &stood.theirs {
                Some(why) => self.tell_left_alone(run, campaign, why).await?,
                None => ours.push((campaign.clone(), Some(stood))),
            }
        }
        if ours.is_empty() {
            return Ok(Vec::new());
        }
        self.ask(run, &ours).await?;
        let mut stopping = Vec::new();
        for (campaign, _) in &ours {
            let rows = if run.is_plan() {
                QueueRows::default()
            } else {
                run.probe(&self.step, WaitingMessages::of(&self.on, campaign)).await?
            };
            stopping.push(Paused { skipped: campaign.skipped.and(&rows), ..campaign.clone() });
        }
        record_skips(run, &self.step, (&self.on, ID), &stopping).await?;
        let skips = stopping
            .iter()
            .zip(&ours)
            .map(|(one, (before, stood))| SkipQueue::of(&self.on, (one, &before.skipped), stood.as_ref()));
        let settled = run.attempt_each(&self.step, skips.collect()).await?;
        for (campaign, one) in stopping.iter_mut().zip(&settled) {
            if let Some(which) = &one.receipt().which {
                campaign.skipped.clone_from(which);
            }
        }
        record_skipped(run, &self.step, (&self.on, ID), &stopping).await?;
        self.tell(run, stopping, settled).await
    }

    async fn ask(&self, run: &mut Run, ours: &[(Paused, Option<Stood>)]) -> Result<(), Halt> {
        let mut gate = Gate::new(
            "The dispatcher goes on sending although these campaigns are paused. Mark their unsent messages as skipped?",
            Approval::Approve,
        )
        .about("queue")
        .showing("this is the only thing that stops the dispatcher; the messages are given back at the resume");
        for (campaign, _) in ours {
            gate = gate.showing(format!("campaign {} ({})", campaign.name, campaign.campaign));
        }
        run.approve(&self.step, gate).await.map(drop)
    }

    async fn tell(
        &self,
        run: &mut Run,
        stopping: Vec<Paused>,
        settled: Vec<Settled<Skipped>>,
    ) -> Result<Vec<Stopped>, Halt> {
        let claim = Claim::counted(
            settled.iter().filter(|one| one.receipt().left_alone.is_none()),
            "campaign's unsent messages were marked as skipped, because it went on sending",
            "campaigns' unsent messages were marked as skipped, because they went on sending",
        );
        if let Some(claim) = claim {
            run.note(&self.step, claim).await?;
        }
        let mut stopped = Vec::new();
        for (campaign, one) in stopping.into_iter().zip(settled) {
            let proof = one.account().proof();
            if let Verdict::Unverifiable { says } = one.verdict() {
                // Somebody acts on this campaign; the others are handled without it, and what is still skipped is given back.
                let says =
                    format!("{says}; what waits is sent although campaign {} is paused", campaign.name);
                let id = format!("waiting messages of campaign {}", campaign.campaign);
                run.owe(&self.step, &id, says).await?;
                stopped.push(Stopped { campaign, proof: None });
                continue;
            }
            match one.proven(&self.step)?.left_alone {
                Some(why) => self.tell_left_alone(run, &campaign, &why).await?,
                None => stopped.push(Stopped { campaign, proof }),
            }
        }
        Ok(stopped)
    }

    /// That it sends is by somebody's decision now; that its pause does not hold keeps the run from ending as verified.
    async fn tell_left_alone(&self, run: &mut Run, campaign: &Paused, why: &str) -> Result<(), Halt> {
        let note = Note::Affected {
            kind: "campaign".to_owned(),
            id: campaign.campaign.to_string(),
            label: campaign.name.clone(),
            says: format!("its messages were left as they are: {why}"),
        };
        run.note(&self.step, note).await
    }
}

#[async_trait]
impl Escalation for StopTheQueue {
    /// Only for the plan, which names what is stopped now and given back later.
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        let stopped = self.stop(run).await?;
        if self.step != WA_I1 {
            return Ok(());
        }
        let restores = stopped.iter().map(|one| RestoreQueue::of(&self.on, &one.campaign)).collect();
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
        let pause =
            |one: &Paused| PauseCampaign::of(&self.on, one.campaign, &one.name).seen_started(one.started_at);
        let pauses = self.campaigns.iter().map(pause).collect();
        let settled = run.attempt_each(&WA_R1, pauses).await?;
        let still_sending: Vec<Paused> =
            settled.iter().filter(|one| !one.is_proven()).map(|one| one.receipt().clone()).collect();
        if still_sending.is_empty() {
            return Ok(());
        }
        StopTheQueue::of(&self.on, &WA_R1, &still_sending).stop(run).await.map(drop)
    }
}

#[async_trait]
impl Escalation for PauseAgain {
    /// Only for the plan: at that point the campaigns run again.
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        self.pause(run).await?;
        StopTheQueue::of(&self.on, &WA_R1, &self.campaigns).stop(run).await.map(drop)
    }
}
