//! What the dispatcher gave up and nobody would send any more: of campaigns that run while the incident is over, and the last
//! look at those of the run. Of what a run paused it is put back at the resume.

use allclear_core::CampaignId;
use allclear_engine::{Halt, Note, Proof, Run};

use super::detect::Signal;
use super::resume::{Over, UnsentMessages, named};
use super::{WA_M1, WA_R1, WhatsAppSendFailures};
use crate::effects::{GivenUp, GivenUpMessages, Paused, Whose, account_for_given_up};
use crate::probes::RunningCampaigns;
use crate::words::counted;

/// What was given up of the campaigns that run.
struct InRunning {
    running: Vec<Paused>,
    found: Vec<GivenUp>,
}

impl InRunning {
    fn count(&self) -> u64 {
        self.found.iter().map(GivenUp::count).sum()
    }
}

impl WhatsAppSendFailures {
    /// The last look at the campaigns of a run that paused them. Those of `ours` are the run's to answer for; others are left as
    /// somebody else has them.
    pub(super) async fn account_for_given_up(
        &self,
        run: &mut Run,
        paused: &[Paused],
        ours: &[CampaignId],
        over: Over,
    ) -> Result<(), Halt> {
        let is_ours = |id| ours.contains(&id);
        account_for_given_up(run, &WA_R1, (&self.on, over.lifted), &named(paused), is_ours).await
    }

    /// Sends fail no more than they normally do. What an incident before left given up is no all-clear: it is put back. `None`
    /// where there is none.
    pub(super) async fn put_back_late(
        &self,
        run: &mut Run,
        signal: &Signal,
    ) -> Result<Option<(String, Proof)>, Halt> {
        let there = self.given_up_in_running(run, signal).await?;
        if there.count() == 0 {
            for says in there.found.iter().filter_map(GivenUp::left) {
                run.note(&WA_M1, Note::OpenQuestion { says }).await?;
            }
            return Ok(None);
        }
        if signal.sent == 0 {
            let says = format!(
                "{} given up for what passes, and nothing was sent that proves that it has passed",
                counted(there.count(), "message was", "messages were")
            );
            run.owe(&WA_M1, "messages given up", says).await?;
            return Ok(None);
        }
        let says = format!(
            "nothing is paused: send failures are within the normal range; {} put back that had been given up",
            counted(there.count(), "message was", "messages were")
        );
        self.put_back_these(run, signal, &there).await?;
        Ok(Some((says, run.proof(&WA_R1)?)))
    }

    /// The same where an incident is over that nothing was paused for.
    pub(super) async fn put_back_in_running(&self, run: &mut Run, signal: &Signal) -> Result<(), Halt> {
        let there = self.given_up_in_running(run, signal).await?;
        self.put_back_these(run, signal, &there).await
    }

    async fn given_up_in_running(&self, run: &mut Run, signal: &Signal) -> Result<InRunning, Halt> {
        let running = run.probe(&WA_M1, RunningCampaigns::of(&self.on, &self.input.campaigns)).await?;
        let running: Vec<Paused> = running.iter().map(Paused::not_by_us).collect();
        let look = GivenUpMessages::of(&self.on, &named(&running), signal.was_restricted());
        let found = run.probe(&WA_M1, look).await?;
        Ok(InRunning { running, found })
    }

    async fn put_back_these(&self, run: &mut Run, signal: &Signal, there: &InRunning) -> Result<(), Halt> {
        let InRunning { running, found } = there;
        let over = Over { lifted: signal.was_restricted(), not_before: None };
        if there.count() > 0 {
            let unsent = run.probe(&WA_M1, UnsentMessages::of(&self.on, running, found)).await?;
            for campaign in running {
                let Some(one) = found.iter().find(|one| one.campaign == campaign.campaign) else { continue };
                let start = self.start_of(campaign, unsent.of_campaign(campaign.campaign));
                self.put_back(run, one, Whose::Runs, over, start).await?;
            }
        }
        let ours: Vec<CampaignId> = running.iter().map(|one| one.campaign).collect();
        self.account_for_given_up(run, running, &ours, over).await
    }
}
