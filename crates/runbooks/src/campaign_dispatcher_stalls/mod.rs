//! Campaign Dispatcher Stalls: the procedure, bullet by bullet.
//!
//! | bullet | step | what the platform's reality adds |
//! |---|---|---|
//! | Detect | [`CD_D1`] | a stall is told from a frozen list (the database is read, not the admin pages), from quiet hours and from an empty queue; two looks, at least a minute apart, and a third at what moved between them |
//! | Confirm queue length | [`CD_I1`] | there is no `status` endpoint: the queue is counted by status |
//! | Pause | [`CD_I2`] | paused, and proven to send nothing |
//! | Replay once healthy | [`CD_M1`] | health is read from the host and its log, because calling the dispatcher makes it send; replay is pause → start, and the text's stop → start by explicit choice only, since stop is final in the data |
//! | If unreachable, stay paused and notify engineering | [`CD_M2`] | with what was seen |
//! | Statuses update within 5 minutes | [`CD_R1`] | over several runs of the dispatcher and not one, and the send log must agree |
//! | Record in `audit_log` | [`CD_R2`] | one row an action, read back |

mod detect;
mod engineering;
mod messages;
mod movement;
mod night;
mod replay;
mod stall;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use allclear_core::clock::after;
use allclear_core::{Campaign, CampaignId, CampaignStatus, Platform, QueueRows, Rehearsal};
use allclear_engine::{
    Account, Approval, Claim, Escalation, Gate, Halt, Observing, OnlyWhile, Phase, Proof, Refusal,
    Resolution, Run, Runbook, Settled, Step, Verdict, Watch,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::effects::{
    AlarmKeys, AuditNote, DIAGNOSIS_HOLDS, Held, HeldByEnded, Inherited, PageSomebody, Paused,
    ResolveIncident, ResumeCampaign, STUCK, SkippedByEnded, StoppedByEnded, Stuck, owe_skipped,
    record_bad_end, record_pauses,
};
use crate::probes::{may_not_hold, started_by_us, still_started};
use crate::quiet::{Days, Start};
use crate::skipped::{Handled, SkippedByOthers, tell_skipped_since};
use crate::whatsapp_send_failures;
use crate::words::counted;
use detect::{
    CampaignLook, DispatcherHealth, Health, Look, QueueLengths, RecentStarts, SentTwice, Since, StillStalls,
    Which,
};
use engineering::NotifyEngineering;
use movement::as_running;
use replay::{Moved, StartStopped, StopCampaign};
use stall::Stall;

/// Detect: running, and nothing moves.
pub const CD_D1: Step = Step {
    id: "CD-D1",
    phase: Phase::Detect,
    title: "Campaign detail shows running but targets not advancing; Integrations Status amber/red",
};
/// Confirm the queue's length.
pub const CD_I1: Step =
    Step { id: "CD-I1", phase: Phase::Immediate, title: "Hit `status` endpoint; confirm queue length" };
/// Pause.
pub const CD_I2: Step =
    Step { id: "CD-I2", phase: Phase::Immediate, title: "Pause campaign to prevent stale state" };
/// Replay, once the dispatcher is healthy.
pub const CD_M1: Step = Step {
    id: "CD-M1",
    phase: Phase::Mitigate,
    title: "Replay dispatcher by calling `stop` then `start` once EF healthy",
};
/// Unreachable: stay paused, tell engineering.
pub const CD_M2: Step = Step {
    id: "CD-M2",
    phase: Phase::Mitigate,
    title: "If EF unreachable, keep campaign paused and notify engineering",
};
/// Verify that targets advance.
pub const CD_R1: Step =
    Step { id: "CD-R1", phase: Phase::Resolve, title: "Verify target statuses update within 5 minutes" };
/// Put it on the platform's record.
pub const CD_R2: Step = Step { id: "CD-R2", phase: Phase::Resolve, title: "Record actions in `audit_log`" };

/// The bullets, in the order of the text.
pub const STEPS: &[Step] = &[CD_D1, CD_I1, CD_I2, CD_M1, CD_M2, CD_R1, CD_R2];

/// What its runs raise.
const ALARMS: &[AlarmKeys] = &[
    AlarmKeys { page: Some("/unreachable"), line: "/unreachable", over: "/unreachable/over" },
    AlarmKeys { page: Some("/still-stalled"), line: "/still-stalled", over: "/still-stalled/over" },
    STUCK,
];
/// The runbook's own figure.
const ADVANCE_WITHIN: Duration = Duration::from_mins(5);
/// How often the dispatcher's health is looked at while it cannot be reached.
const HEALTH_EVERY: Duration = Duration::from_mins(1);
/// After this long without a healthy dispatcher the run ends; the campaigns stay paused.
const GIVE_UP_AFTER: Duration = Duration::from_hours(4);
/// A campaign that was started within this time is not started again without asking: a stall that keeps coming back is
/// not cured by one more replay.
const REPLAY_AGAIN_AFTER: Duration = Duration::from_mins(30);

/// How the dispatcher is made to take a campaign up again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Replay {
    /// Pause, then start: nothing final is written in between.
    #[default]
    PauseStart,
    /// Stop, then start, as the written runbook says. Stop writes that the campaign is done.
    StopStart,
}

/// What the procedure may be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Input {
    /// Only these campaigns; all that run when empty.
    pub campaigns: Vec<CampaignId>,
    /// For how long nothing must have moved to call it a stall, in minutes.
    pub stalled_minutes: u32,
    /// How to replay.
    pub replay: Replay,
}

impl Default for Input {
    fn default() -> Self {
        // The runbook expects movement within five minutes.
        Self { campaigns: Vec::new(), stalled_minutes: 5, replay: Replay::default() }
    }
}

/// The runbook, on a platform.
#[derive(Debug, Clone)]
pub struct CampaignDispatcherStalls {
    /// The ports.
    pub on: Platform,
    /// What it was told.
    pub input: Input,
}

/// What has been done so far, for the record at the end, whichever way it ends.
#[derive(Debug, Default)]
struct Done {
    paused: Vec<Paused>,
    /// What became of the pauses: sends after one are made up for when the campaign provably moves.
    pauses: Vec<Account>,
    replayed: Vec<CampaignId>,
    /// When each of those was started, by the platform's own time.
    started_at: BTreeMap<CampaignId, Timestamp>,
    /// Over how many days what they have waiting is spread.
    days: Days,
    /// Whether anything was seen to move: that none can stall, or that all rest, says nothing of the dispatcher.
    moves: bool,
    /// Those whose messages wait for a morning: none of theirs is due before.
    held: Vec<CampaignId>,
}

impl Done {
    /// What this run paused and neither started again nor keeps from being sent.
    fn still_paused(&self) -> Vec<Paused> {
        let rests = |one: &&Paused| {
            one.by_us && !self.replayed.contains(&one.campaign) && !self.held.contains(&one.campaign)
        };
        self.paused.iter().filter(rests).cloned().collect()
    }

    /// The campaign as its start left it, where it was started anew.
    fn as_started(&self, look: &CampaignLook) -> Option<CampaignLook> {
        let started_at = self.started_at.get(&look.id).copied();
        self.replayed.contains(&look.id).then(|| CampaignLook { started_at, ..look.clone() })
    }

    fn facts(&self, says: &str) -> serde_json::Value {
        let paused: Vec<String> = self.paused.iter().map(|paused| paused.campaign.to_string()).collect();
        serde_json::json!({ "runbook": "campaign-dispatcher-stalls", "paused": paused, "replayed": self.replayed, "says": says })
    }
}

#[async_trait]
impl Runbook for CampaignDispatcherStalls {
    fn id(&self) -> &'static str {
        "campaign-dispatcher-stalls"
    }

    fn title(&self) -> &'static str {
        "Campaign Dispatcher Stalls"
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
        let mut done = Done::default();
        let stuck = Stuck::watch(run, &self.on, &CD_M2, self.id()).await?;
        let handled = self.handle(run, &mut done).await;
        let whole = self.input.campaigns.is_empty();
        let left = Inherited { on: &self.on, runbook: self.id(), step: &CD_R1, alarms: ALARMS, whole };
        let handled = left.end(run, handled, done.moves).await;
        stuck.over(run, handled.as_ref().err()).await?;
        let result = handled.and_then(|(says, proof)| run.resolve(says, proof));
        let says = match &result {
            Ok(resolution) => resolution.says().to_owned(),
            Err(halt) => halt.to_string(),
        };
        let note = AuditNote::incident_resolution(&self.on, run.id(), "campaigns", &done.facts(&says));
        match result {
            Ok(resolution) => {
                run.perform(&CD_R2, note).await?;
                stuck.over(run, None).await?;
                Ok(resolution)
            }
            Err(halt) => {
                record_bad_end(run, &CD_R2, note, &halt, !done.paused.is_empty()).await?;
                Err(halt)
            }
        }
    }
}

impl CampaignDispatcherStalls {
    /// The runbook, from detection to campaigns that move: what is resolved, and by what it is proven.
    async fn handle(&self, run: &mut Run, done: &mut Done) -> Result<(String, Proof), Halt> {
        let on = &self.on;
        let held = HeldByEnded::of(on, self.id(), run.id(), &self.input.campaigns);
        let held = run.probe(&CD_D1, held).await?;
        self.owe_stopped(run).await?;
        // Its runs alone mark messages as skipped.
        let skipped = SkippedByEnded::of(on, whatsapp_send_failures::ID, run.id(), &self.input.campaigns);
        let skipped = run.probe(&CD_D1, skipped).await?;
        let unknown: Vec<_> = skipped.into_iter().filter(|one| one.keeps.is_none()).collect();
        owe_skipped(run, &CD_D1, &unknown).await?;
        let Stall { mut stalled, moved } = match self.find_stalled(run, &held, done).await {
            // Nothing stalls, and a run that has ended left campaigns paused: they are brought back.
            Err(Halt::NothingToDo { .. }) if !held.is_empty() => Stall::default(),
            found => found?,
        };
        let seen_at = run.now();
        run.probe(&CD_I1, QueueLengths::of(on, &stalled)).await?;
        let ids = stalled.iter().map(|look| look.id).chain(held.iter().map(|one| one.campaign));
        let recorded = record_pauses(run, &CD_I2, (on, self.id()), ids).await?;
        self.pause(run, &stalled, done).await?;
        recorded.make_sure(run).await?;
        if !held.is_empty() {
            done.paused.extend(held.iter().map(Held::taken_over));
            let campaigns: Vec<Campaign> = held.iter().map(as_campaign).collect();
            stalled.extend(run.probe(&CD_D1, Look::of(Which::OfHeld, on, &campaigns, self.window())).await?);
        }

        let health = run.probe(&CD_M1, DispatcherHealth::of(on)).await?;
        let told = self.wait_until_healthy(run, &health, &stalled).await?;

        run.probe(&CD_M1, SentTwice::of(on, &stalled)).await?.must_be_none()?;
        self.ask_about_recent_starts(run, &stalled).await?;
        self.spread_over_days(run, &stalled, done).await?;
        let since = Since { seen: seen_at, replay: run.now() };
        self.replay(run, &stalled, done).await?;
        self.verify_movement(run, &stalled, since, done).await?;
        self.tell_moved_once(run, &moved, seen_at).await?;
        self.put_back_given_up(run, &stalled, done).await?;
        self.tell_skipped_since(run, &stalled).await?;
        // Of what had nothing to send it is proven that it was started.
        let moving = run.proof(&CD_R1).or_else(|_| run.proof(&CD_M1));
        if let Some(engineering) = told {
            let over = "The campaign dispatcher works again and the campaigns move.";
            engineering.alarm.answer(run, over).await?;
        }

        for campaign in &done.replayed {
            let facts = serde_json::json!({ "run": run.id(), "replay": self.input.replay });
            let note =
                AuditNote::of(on, run.id(), "dispatcher_replay", "campaigns", &campaign.to_string(), &facts);
            run.perform(&CD_R2, note).await?;
        }
        let replayed = stalled.iter().filter(|look| done.replayed.contains(&look.id));
        let replayed: Vec<(CampaignId, String)> = replayed.map(|look| (look.id, look.name.clone())).collect();
        let run_again = still_started(run, &CD_R1, on, &replayed).await?;
        if done.replayed.is_empty() {
            let says = if done.paused.iter().any(|paused| paused.by_us) {
                "no campaign was started again, because somebody else took each of them since this run paused it"
            } else {
                "no campaign was started again, because this run had paused none; whoever paused them must start them"
            };
            return Err(Halt::Unverified { step: CD_M1.id.to_owned(), says: says.to_owned() });
        }
        Ok((resolved(&stalled, &run_again), moving?))
    }

    /// What a run stopped to start it again, and ended in between: only its undo, or a person, starts it.
    async fn owe_stopped(&self, run: &mut Run) -> Result<(), Halt> {
        let stopped = StoppedByEnded::of(&self.on, self.id(), run.id(), &self.input.campaigns);
        for one in run.probe(&CD_D1, stopped).await? {
            let says = format!(
                "campaign {} was stopped by run {}, which ended before it started it again: `allclear undo {}` starts it",
                one.name, one.by, one.by
            );
            run.owe(&CD_D1, &format!("campaign {} stopped by an ended run", one.campaign), says).await?;
        }
        Ok(())
    }

    async fn pause(&self, run: &mut Run, stalled: &[CampaignLook], done: &mut Done) -> Result<(), Halt> {
        let campaigns: Vec<Campaign> = stalled.iter().map(as_running).collect();
        let still = StillStalls(Look::of(Which::BeforeThePause, &self.on, &campaigns, self.window()));
        let still = OnlyWhile::of(still).from(after(run.now(), DIAGNOSIS_HOLDS));
        // The first alone: once one is paused, all are handled as it was meant.
        let mut pauses: Vec<_> = stalled.iter().map(|look| look.pause(&self.on)).collect();
        if !pauses.is_empty() {
            pauses[0] = pauses[0].clone().only_while(still);
        }
        let settled = run.attempt_each(&CD_I2, pauses).await?;
        // The receipts first: however the proofs came out, these campaigns were paused.
        done.paused = settled.iter().map(|one| one.receipt().clone()).collect();
        done.pauses = settled.iter().map(|one| one.account().clone()).collect();
        let claim = Claim::counted(
            settled.iter().filter(|one| one.receipt().by_us),
            "campaign was paused while the dispatcher did not take up its messages",
            "campaigns were paused while the dispatcher did not take up their messages",
        );
        if let Some(claim) = claim {
            run.note(&CD_I2, claim).await?;
        }
        for one in settled {
            // Sends after the pause say that the dispatcher woke up meanwhile; whether it goes on is seen below.
            if !matches!(one.verdict(), Verdict::Refuted { .. }) {
                one.proven(&CD_I2)?;
            }
        }
        Ok(())
    }

    async fn wait_until_healthy(
        &self,
        run: &mut Run,
        health: &Health,
        stalled: &[CampaignLook],
    ) -> Result<Option<NotifyEngineering>, Halt> {
        let engineering = NotifyEngineering::about(&self.on, run.id(), "unreachable", stalled);
        // By the time the campaigns are paused it may be back, so a plan names the telling as what may happen.
        if health.is_healthy() || run.is_plan() {
            run.in_case("the dispatcher cannot be reached", &engineering).await?;
            return Ok(None);
        }
        engineering.escalate(run).await?;
        let watch = Watch::every(HEALTH_EVERY, GIVE_UP_AFTER);
        let condition =
            Observing { probe: DispatcherHealth::again(&self.on), satisfied: Health::must_be_healthy };
        run.until(&CD_M2, watch, condition).await?;
        Ok(Some(engineering))
    }

    async fn ask_about_recent_starts(&self, run: &mut Run, stalled: &[CampaignLook]) -> Result<(), Halt> {
        let recent = run.probe(&CD_M1, RecentStarts::of(&self.on, stalled, REPLAY_AGAIN_AFTER)).await?;
        if recent.is_empty() {
            return Ok(());
        }
        let question =
            "These campaigns were started within the last half hour and stalled again. Start them once more?";
        let gate = recent.iter().fold(Gate::new(question, Approval::Approve).about("again"), |gate, name| {
            gate.showing(format!("campaign {name}"))
        });
        run.approve(&CD_M1, gate).await
    }

    /// Starts what this run paused.
    async fn replay(&self, run: &mut Run, stalled: &[CampaignLook], done: &mut Done) -> Result<(), Halt> {
        let (one, many) = ("campaign was started anew", "campaigns were started anew");
        let (mut resumed, mut restarted) = (Vec::new(), Vec::new());
        if self.input.replay == Replay::PauseStart {
            may_not_hold(run, &CD_M1, &self.on).await?;
        }
        for paused in &done.paused.clone() {
            if !paused.by_us {
                self.owe_taken(run, paused).await?;
                continue;
            }
            let start = self.start_of(paused, (stalled, &done.days));
            self.wait_out_quiet_hours(run, paused, start.clone(), done).await?;
            match self.input.replay {
                Replay::PauseStart => {
                    let Some(resume) = ResumeCampaign::only(&self.on, paused) else { continue };
                    let settled = run.attempt(&CD_M1, resume.outside_quiet_hours(start)).await?;
                    let named = (paused.campaign, paused.name.as_str());
                    let Some(by_us) = started_by_us(run, &CD_M1, &self.on, named, &settled).await? else {
                        continue;
                    };
                    // Somebody else ended or started it meanwhile: left alone, and not claimed.
                    if !by_us {
                        self.owe_taken(run, paused).await?;
                        continue;
                    }
                    done.started_at
                        .extend(settled.receipt().started_at.map(|started_at| (paused.campaign, started_at)));
                    resumed.push(settled);
                }
                Replay::StopStart => {
                    let Some(one) = self.stop_and_start(run, paused, start).await? else {
                        self.owe_taken(run, paused).await?;
                        continue;
                    };
                    done.started_at
                        .extend(one.receipt().started_at.map(|started_at| (paused.campaign, started_at)));
                    restarted.push(one);
                }
            }
            done.replayed.push(paused.campaign);
        }
        let claims = [Claim::counted(&resumed, one, many), Claim::counted(&restarted, one, many)];
        for claim in claims.into_iter().flatten() {
            run.note(&CD_M1, claim).await?;
        }
        Ok(())
    }

    /// It stalled, and somebody else has it now: left as they have it, and nobody has seen it move.
    async fn owe_taken(&self, run: &mut Run, paused: &Paused) -> Result<(), Halt> {
        if run.is_plan() {
            return Ok(());
        }
        let says = format!(
            "campaign {} stalled, and somebody else took it while this run handled it: it was left as they have it and not started again",
            paused.name
        );
        run.owe(&CD_M1, &format!("campaign {} taken by somebody else", paused.campaign), says).await
    }

    /// Between stop and start the campaign counts as done. An incident stays open for exactly that time, so that a run
    /// which never comes back leaves somebody paged and not a campaign that silently ended.
    /// `None` where somebody else took the campaign while people thought about it.
    async fn stop_and_start(
        &self,
        run: &mut Run,
        paused: &Paused,
        start: Start,
    ) -> Result<Option<Settled<Moved>>, Halt> {
        let gate = Gate::new("Stop this campaign and start it again, as the written runbook says?", Approval::Approve)
            .about(format!("stop campaign {}", paused.campaign))
            .showing(format!("campaign {} ({})", paused.name, paused.campaign))
            .showing("stop writes `done` and a finishing time; the start leaves that time and overwrites the starting time")
            .showing("pause and start would do without (replay = pause-start)");
        let stop = StopCampaign::of(&self.on, paused).outside_quiet_hours(start.clone());
        run.approve(&CD_M1, gate.covering(&stop)).await?;
        let about = format!("stop of campaign {}", paused.campaign);
        let page = PageSomebody::about(&self.on, messages::stopped(run.id(), paused), &about)
            .while_stopped(&self.on, paused.campaign);
        run.perform(&CD_M1, page.clone()).await?;
        let says = format!(
            "this run's own page about the stop of {} is still open in PagerDuty (dedup key {})",
            paused.name,
            page.dedup_key()
        );
        // By the same name as the page's own change, so that both are known for one thing.
        let about = page.id();
        run.owe(&CD_M1, &about, says).await?;
        let stopped = run.perform(&CD_M1, stop).await?;
        let started = if stopped.by_us {
            let started =
                run.attempt(&CD_M1, StartStopped::of(&self.on, paused).outside_quiet_hours(start)).await?;
            started.clone().proven(&CD_M1)?.by_us.then_some(started)
        } else {
            None
        };
        let closed = run.attempt(&CD_M1, ResolveIncident::of_page(&page)).await?;
        if let Some(proof) = closed.account().proof() {
            run.close(&CD_M1, &about, "this run's own page about the stop is resolved", &proof).await?;
        }
        Ok(started)
    }

    /// What somebody marked as skipped since the stall was seen.
    async fn tell_skipped_since(&self, run: &mut Run, stalled: &[CampaignLook]) -> Result<(), Halt> {
        let first = |look: &CampaignLook| SkippedByOthers { campaign: look.id, messages: look.depth.skipped };
        let first: Vec<SkippedByOthers> = stalled.iter().map(first).collect();
        let handled = |look: &CampaignLook| {
            let (campaign, name, ours) = (look.id, look.name.clone(), QueueRows::default());
            Handled { campaign, name, ours }
        };
        tell_skipped_since(run, &CD_R1, &self.on, &first, stalled.iter().map(handled).collect()).await
    }
}

/// What came of the campaigns that run again. Of those that had nothing waiting nobody has seen that they move.
fn resolved(looks: &[CampaignLook], run_again: &[CampaignId]) -> String {
    let is_idle = |id: &CampaignId| looks.iter().any(|look| look.id == *id && look.depth.pending == 0);
    let (idle, moving): (Vec<&CampaignId>, Vec<&CampaignId>) = run_again.iter().partition(|id| is_idle(id));
    let moves = format!(
        "{} again: targets advance over several runs of the dispatcher, and the send log agrees",
        counted(moving.len(), "campaign moves", "campaigns move")
    );
    let runs =
        format!("{} again with nothing left to send", counted(idle.len(), "campaign runs", "campaigns run"));
    match (moving.len(), idle.len()) {
        (_, 0) => moves,
        (0, _) => runs,
        _ => format!("{moves}; {runs}"),
    }
}

/// A held campaign, for a look at it.
fn as_campaign(held: &Held) -> Campaign {
    let (id, name, status) = (held.campaign, held.name.clone(), CampaignStatus::Paused);
    Campaign { id, name, status, started_at: None, finished_at: None }
}

impl detect::Doubles {
    /// A start would send these again.
    fn must_be_none(&self) -> Result<(), Halt> {
        if self.messages == 0 {
            return Ok(());
        }
        let what = format!(
            "{} gone out and still in the queue, so a start would send again; mark such rows SENT first, the campaigns stay paused",
            counted(self.messages, "message has", "messages have")
        );
        Err(Refusal::Limit { what }.into())
    }
}
