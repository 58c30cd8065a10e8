//! Whether what was started anew moves, and what is done where it does not.

use allclear_core::{Campaign, CampaignId, CampaignStatus, Platform};
use allclear_engine::{Escalation, Halt, Observing, Run, Watch};
use async_trait::async_trait;

use super::detect::{self, AfterReplay, CampaignLook, Look, Since, Which};
use super::engineering::NotifyEngineering;
use super::{ADVANCE_WITHIN, CD_R1, CampaignDispatcherStalls, Done};
use crate::effects::{GivenUpMessages, MayBeGivenUp, PutBack, Reached, Whose, account_for_given_up};
use crate::quiet::Start;

impl CampaignDispatcherStalls {
    /// Sustained movement within five minutes, or everything is paused again and engineering is told.
    pub(super) async fn verify_movement(
        &self,
        run: &mut Run,
        stalled: &[CampaignLook],
        since: Since,
        done: &Done,
    ) -> Result<(), Halt> {
        let replayed: Vec<CampaignLook> = stalled.iter().filter_map(|look| done.as_started(look)).collect();
        // What had nothing to send when it was taken over shows no movement, and needs none.
        let moving: Vec<CampaignLook> =
            replayed.iter().filter(|look| look.depth.pending > 0).cloned().collect();
        let halt =
            PauseAndTell { on: self.on.clone(), campaigns: replayed.clone(), run: run.id().to_owned() };
        run.in_case("the targets do not advance within five minutes", &halt).await?;
        if moving.is_empty() && !run.is_plan() {
            return Ok(());
        }
        let watch = Watch::every(self.on.limits.dispatcher_interval / 2, ADVANCE_WITHIN);
        let condition = Observing {
            probe: AfterReplay::of(&self.on, &moving, since, ADVANCE_WITHIN),
            satisfied: detect::Advance::is_decided,
        };
        match run.until(&CD_R1, watch, condition).await {
            Err(Halt::GaveUp { says, .. }) => {
                let Some(halt) = self.still_waiting(run, halt).await? else {
                    let says = format!("{says}; nothing waits in the queue any more, so nothing is paused");
                    return Err(Halt::Unverified { step: CD_R1.id.to_owned(), says });
                };
                let then = halt.pause_and_tell(run).await?;
                Err(Halt::Refuted { step: CD_R1.id.to_owned(), says: format!("{says}; {then}") })
            }
            Ok(advance) => match advance.repeating() {
                None => self.make_up_for_pauses(run, &advance, done).await,
                Some(repeating) => {
                    let then = halt.pause_and_tell(run).await?;
                    let says = format!("recipients get the same message again: {repeating}; {then}");
                    Err(Halt::Refuted { step: CD_R1.id.to_owned(), says })
                }
            },
            Err(other) => Err(other),
        }
    }

    /// What finished is not paused: of the campaigns those that have something waiting; `None` where none has.
    async fn still_waiting(&self, run: &mut Run, halt: PauseAndTell) -> Result<Option<PauseAndTell>, Halt> {
        let campaigns: Vec<Campaign> = halt.campaigns.iter().map(as_running).collect();
        let looks = run
            .probe(&CD_R1, Look::of(Which::BeforePausingAgain, &self.on, &campaigns, self.window()))
            .await?;
        let waits = |one: &CampaignLook| looks.iter().any(|now| now.id == one.id && now.depth.pending > 0);
        let campaigns: Vec<CampaignLook> = halt.campaigns.iter().filter(|one| waits(one)).cloned().collect();
        Ok((!campaigns.is_empty()).then_some(PauseAndTell { campaigns, ..halt }))
    }

    /// What the dispatcher gave up before is put back once the campaigns provably move: a try that fails would use up another.
    pub(super) async fn put_back_given_up(
        &self,
        run: &mut Run,
        stalled: &[CampaignLook],
        done: &Done,
    ) -> Result<(), Halt> {
        let on = &self.on;
        let started = stalled.iter().filter(|look| done.replayed.contains(&look.id));
        let started: Vec<(CampaignId, String)> = started.map(|look| (look.id, look.name.clone())).collect();
        let found = run.probe(&CD_R1, GivenUpMessages::of(on, &started, false)).await?;
        let may_be = started.iter().map(|(id, name)| (*id, name.clone(), Whose::Runs)).collect();
        MayBeGivenUp::name(run, &CD_R1, (on, &found), may_be).await?;
        for one in found.iter().filter(|one| one.count() > 0) {
            let start = Start::of(on, (one.campaign, &one.name), one.count());
            let back = PutBack::of(on, one, Whose::Runs, run.now()).outside_quiet_hours(start);
            run.perform(&CD_R1, back).await?;
        }
        account_for_given_up(run, &CD_R1, (on, false), &started, |_| true).await
    }

    /// A campaign that was paused and sent all the same is no open point once it provably moves.
    async fn make_up_for_pauses(
        &self,
        run: &mut Run,
        advance: &detect::Advance,
        done: &Done,
    ) -> Result<(), Halt> {
        let proof = run.proof(&CD_R1)?;
        for (paused, pause) in done.paused.iter().zip(&done.pauses) {
            if done.replayed.contains(&paused.campaign) && !advance.is_taken(paused.campaign) {
                let says = format!("{} sent although it was paused; it runs and moves now", paused.name);
                run.cure(&CD_R1, pause, says, &proof).await?;
            }
        }
        Ok(())
    }
}

/// The replay did not help: what was started is paused again, and engineering is told.
struct PauseAndTell {
    on: Platform,
    campaigns: Vec<CampaignLook>,
    run: String,
}

impl PauseAndTell {
    /// Returns what became of it, in words.
    async fn pause_and_tell(&self, run: &mut Run) -> Result<String, Halt> {
        let stopping = self.campaigns.iter().map(|look| look.pause(&self.on)).collect();
        let paused = run.attempt_each(&CD_R1, stopping).await?;
        let proven = paused.iter().filter(|one| one.is_proven()).count();
        let engineering = NotifyEngineering::about(&self.on, &self.run, "still-stalled", &self.campaigns);
        let told = match engineering.tell(run).await? {
            Reached::OnCall => "engineering was told".to_owned(),
            Reached::Channel => format!("only {} was told", self.on.limits.ops_channel),
            Reached::Nobody => "nobody was told".to_owned(),
        };
        Ok(if proven == paused.len() {
            format!("the campaigns are paused again and {told}")
        } else {
            format!("{proven} of {} campaigns are provably paused again and {told}", paused.len())
        })
    }
}

#[async_trait]
impl Escalation for PauseAndTell {
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        self.pause_and_tell(run).await.map(drop)
    }
}

/// A campaign that was started again, for a look at it.
pub(super) fn as_running(look: &CampaignLook) -> Campaign {
    let (id, name, status) = (look.id, look.name.clone(), CampaignStatus::Running);
    Campaign { id, name, status, started_at: look.started_at, finished_at: None }
}
