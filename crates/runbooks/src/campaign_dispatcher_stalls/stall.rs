//! Whether campaigns stall: what two looks show, and a third at what moved between them.

use std::time::Duration;

use allclear_core::clock::after;
use allclear_core::{Campaign, CampaignId};
use allclear_engine::{Halt, Note, Run, Step};
use jiff::Timestamp;

use super::detect::{CampaignLook, Look, Movement, Which};
use super::{CD_D1, CD_R1, CampaignDispatcherStalls, Done, messages};
use crate::effects::{Held, PausedByRuns};
use crate::probes::{RunningCampaigns, SendingCampaigns};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Stall {
    pub(super) stalled: Vec<CampaignLook>,
    /// What stood still on the first look, and moved on the second.
    pub(super) moved: Vec<CampaignLook>,
}

impl CampaignDispatcherStalls {
    /// Two looks, at least a minute apart, and a third at what moved between them: one frozen moment is no stall, and one movement no
    /// recovery.
    pub(super) async fn find_stalled(
        &self,
        run: &mut Run,
        held: &[Held],
        done: &mut Done,
    ) -> Result<Stall, Halt> {
        let running = self.running(run, held).await?;
        let first = self.first_look(run, &running, done).await?;
        let mut stall = self.second_look(run, &running, &first).await?;
        if stall.stalled.is_empty() {
            stall = self.see_that_it_goes_on(run, &stall.moved).await?;
        }
        for campaign in &stall.stalled {
            run.note(&CD_D1, campaign.affected()).await?;
        }
        Ok(stall)
    }

    async fn running(&self, run: &mut Run, held: &[Held]) -> Result<Vec<Campaign>, Halt> {
        let running = run.probe(&CD_D1, RunningCampaigns::of(&self.on, &self.input.campaigns)).await?;
        if running.is_empty() && !self.input.campaigns.is_empty() && held.is_empty() {
            let says =
                "none of the campaigns that were named is running, so whether they stall cannot be said";
            return Err(Halt::Unverified { step: CD_D1.id.to_owned(), says: says.to_owned() });
        }
        if running.is_empty() {
            return Err(self.nothing_runs(run, held).await?);
        }
        Ok(running)
    }

    /// Ends the run where nothing is to be suspected, or the quiet hours explain it.
    async fn first_look(
        &self,
        run: &mut Run,
        running: &[Campaign],
        done: &mut Done,
    ) -> Result<Vec<CampaignLook>, Halt> {
        let first = run.probe(&CD_D1, Look::of(Which::First, &self.on, running, self.window())).await?;
        self.tell_repeating(run, &first).await?;
        done.moves = first.iter().any(|look| look.movement == Movement::Moves);
        let nothing = "all clear: every running campaign moves or has nothing due to send";
        run.conclude_unless(first.iter().any(CampaignLook::is_suspect), nothing)?;
        self.conclude_in_quiet_hours(run, running, Which::First).await?;
        Ok(first)
    }

    /// Ends the run where nothing waits any more.
    async fn second_look(
        &self,
        run: &mut Run,
        running: &[Campaign],
        first: &[CampaignLook],
    ) -> Result<Stall, Halt> {
        let is_suspect =
            |campaign: &&Campaign| first.iter().any(|look| look.id == campaign.id && look.is_suspect());
        let suspects: Vec<Campaign> = running.iter().filter(is_suspect).cloned().collect();
        let again = run.now() + self.on.limits.dispatcher_interval.max(Duration::from_mins(1));
        run.wait_until(&CD_D1, again, "look a second time before calling it a stall").await?;
        let second = run.probe(&CD_D1, Look::of(Which::Second, &self.on, &suspects, self.window())).await?;
        self.tell_untold(run, first, &second).await?;
        let stalled = stalled_since(first, &second);
        let moved: Vec<CampaignLook> =
            second.into_iter().filter(|look| look.movement == Movement::Moves).collect();
        let anything = !stalled.is_empty() || !moved.is_empty();
        run.conclude_unless(anything, "all clear: on the second look nothing waits any more")?;
        Ok(Stall { stalled, moved })
    }

    /// What stood still and moves may have been taken up once, and never again. Ends the run where it goes on.
    async fn see_that_it_goes_on(&self, run: &mut Run, moved: &[CampaignLook]) -> Result<Stall, Halt> {
        let again = self.after_one_movement(run.now());
        run.wait_until(&CD_D1, again, "they moved: see that they did not move only once").await?;
        let (running, third) = self.third_look(run, &CD_D1, moved).await?;
        self.tell_untold(run, moved, &third).await?;
        let stalled: Vec<CampaignLook> = third.into_iter().filter(CampaignLook::stands_still).collect();
        run.conclude_unless(
            !stalled.is_empty(),
            "all clear: what did not move at first moves, as two more looks show",
        )?;
        self.conclude_in_quiet_hours(run, &running, Which::Third).await?;
        Ok(Stall { stalled, moved: Vec::new() })
    }

    /// No campaign runs. Those that would have something to send are named: somebody paused them, perhaps another runbook.
    async fn nothing_runs(&self, run: &mut Run, held: &[Held]) -> Result<Halt, Halt> {
        let waiting = run.probe(&CD_D1, SendingCampaigns::of(&self.on, &self.input.campaigns)).await?;
        let is_held = |campaign: &Campaign| held.iter().any(|one| one.campaign == campaign.id);
        let others: Vec<Campaign> = waiting.iter().filter(|one| !is_held(one)).cloned().collect();
        for (id, name) in run.probe(&CD_D1, PausedByRuns::of(&self.on, &others)).await? {
            let says = format!(
                "campaign {name} was paused by a run of this program, and nothing on record brings it back: start it, or have \
                 that run go on or be undone"
            );
            run.owe(&CD_D1, &format!("campaign {id} paused by a run"), says).await?;
        }
        let names: Vec<&str> = waiting.iter().map(|campaign| campaign.name.as_str()).collect();
        let mut says = "all clear: no campaign is running, so none can stall".to_owned();
        if !names.is_empty() {
            says = format!("{says}; not running, with messages waiting: {}", names.join(", "));
        }
        Ok(Halt::NothingToDo { says })
    }

    /// What two looks show and no replay cures.
    async fn tell_untold(
        &self,
        run: &mut Run,
        before: &[CampaignLook],
        now: &[CampaignLook],
    ) -> Result<(), Halt> {
        self.tell_repeating(run, now).await?;
        self.tell_silent_targets(run, now).await?;
        self.tell_lost_sight(run, before, now).await
    }

    /// Rows that are sent and go on waiting are sent again: a start would do it too.
    async fn tell_repeating(&self, run: &mut Run, looks: &[CampaignLook]) -> Result<(), Halt> {
        let repeating: Vec<&str> =
            looks.iter().filter(|look| look.repeats_itself()).map(|look| look.name.as_str()).collect();
        if repeating.is_empty() {
            return Ok(());
        }
        leave_to_people(run, messages::repeating(&repeating.join(", "))).await
    }

    /// What moved between the first two looks, as far as it runs still.
    async fn third_look(
        &self,
        run: &mut Run,
        step: &Step,
        moved: &[CampaignLook],
    ) -> Result<(Vec<Campaign>, Vec<CampaignLook>), Halt> {
        let moved: Vec<CampaignId> = moved.iter().map(|look| look.id).collect();
        let running = run.probe(step, RunningCampaigns::still(&self.on, &moved)).await?;
        let looks = run.probe(step, Look::of(Which::Third, &self.on, &running, self.window())).await?;
        Ok((running, looks))
    }

    /// What moved on the second look, while others were found to stall, may have moved only once.
    pub(super) async fn tell_moved_once(
        &self,
        run: &mut Run,
        moved: &[CampaignLook],
        since: Timestamp,
    ) -> Result<(), Halt> {
        if moved.is_empty() {
            return Ok(());
        }
        let again = self.after_one_movement(since);
        run.wait_until(&CD_R1, again, "see that what moved meanwhile did not move only once").await?;
        let (_, now) = self.third_look(run, &CD_R1, moved).await?;
        for look in now.iter().filter(|look| look.stands_still()) {
            let says = format!(
                "campaign {} did not move, moved once while others were handled, and does not move again: run the runbook once more",
                look.name
            );
            run.owe(&CD_R1, &format!("campaign {} moved only once", look.id), says).await?;
        }
        Ok(())
    }

    /// The dispatcher sends and the targets do not show it: another fault, which no replay cures.
    async fn tell_silent_targets(&self, run: &mut Run, looks: &[CampaignLook]) -> Result<(), Halt> {
        let silent: Vec<&str> = looks
            .iter()
            .filter(|look| look.movement == Movement::TargetsNotUpdated)
            .map(|look| look.name.as_str())
            .collect();
        if silent.is_empty() {
            return Ok(());
        }
        leave_to_people(run, messages::silent_targets(&silent.join(", "))).await
    }

    /// What was due is gone from the queue, and neither the log nor the targets say where to: nothing moved that anybody saw.
    async fn tell_lost_sight(
        &self,
        run: &mut Run,
        first: &[CampaignLook],
        second: &[CampaignLook],
    ) -> Result<(), Halt> {
        let before = |now: &CampaignLook| first.iter().find(|before| before.id == now.id);
        let gone = second.iter().filter(|now| before(now).is_some_and(|before| before.lost_sight_of(now)));
        let names: Vec<&str> = gone.map(|look| look.name.as_str()).collect();
        if names.is_empty() {
            return Ok(());
        }
        leave_to_people(run, messages::lost_sight(&names.join(", "))).await
    }

    /// When what moved only once has sent nothing for as long as makes a stall.
    fn after_one_movement(&self, seen: Timestamp) -> Timestamp {
        after(seen, self.window() + self.on.limits.dispatcher_interval)
    }

    /// For how long nothing must have moved to call it a stall.
    pub(super) fn window(&self) -> Duration {
        Duration::from_secs(u64::from(self.input.stalled_minutes.max(1)) * 60)
    }
}

/// What stalls, and has not changed since a look before.
fn stalled_since(before: &[CampaignLook], now: &[CampaignLook]) -> Vec<CampaignLook> {
    let unchanged =
        |now: &&CampaignLook| before.iter().any(|before| before.id == now.id && before.saw_the_same_as(now));
    now.iter().filter(|now| now.movement == Movement::Stalled).filter(unchanged).cloned().collect()
}

/// What no replay cures ends the run, and a person looks.
async fn leave_to_people(run: &mut Run, says: String) -> Result<(), Halt> {
    run.note(&CD_D1, Note::OpenQuestion { says: says.clone() }).await?;
    Err(Halt::Unverified { step: CD_D1.id.to_owned(), says })
}
