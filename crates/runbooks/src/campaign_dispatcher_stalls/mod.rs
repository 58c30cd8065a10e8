//! Campaign Dispatcher Stalls: the procedure, bullet by bullet.
//!
//! | bullet | step | what the platform's reality adds |
//! |---|---|---|
//! | Detect | [`CD_D1`] | a stall is told from a frozen list (the database is read, not the admin pages), from quiet hours and from an empty queue; two looks, at least a minute apart |
//! | Confirm queue length | [`CD_I1`] | there is no `status` endpoint: the queue is counted by status |
//! | Pause | [`CD_I2`] | paused, and proven to send nothing |
//! | Replay once healthy | [`CD_M1`] | health is read from the host and its log, because calling the dispatcher makes it send; replay is pause → start, and the text's stop → start by explicit choice only, since stop is final in the data |
//! | If unreachable, stay paused and notify engineering | [`CD_M2`] | with what was seen |
//! | Statuses update within 5 minutes | [`CD_R1`] | over several runs of the dispatcher and not one, and the send log must agree |
//! | Record in `audit_log` | [`CD_R2`] | one row an action, read back |

mod detect;
mod messages;
mod replay;
#[cfg(test)]
mod tests;

use std::time::Duration;

use allclear_core::policy::QuietHours;
use allclear_core::{Campaign, CampaignId, Platform};
use allclear_engine::{
    Approval, Escalation, Gate, Halt, Note, Observing, Phase, Refusal, Resolution, Run, Runbook, Step,
    Verdict, Watch,
};
use async_trait::async_trait;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::effects::{
    AuditNote, PageSomebody, PauseCampaign, Paused, PostMessage, ResolveIncident, ResumeCampaign,
    go_on_without, record_bad_end,
};
use crate::probes::{RunningCampaigns, StoredSendPolicy};
use crate::words::counted;
use detect::{
    AfterReplay, CampaignLook, DispatcherHealth, Health, Look, Movement, QueueLengths, RecentStarts,
    SentTwice,
};
use replay::{StartStopped, StopCampaign};

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
    replayed: Vec<CampaignId>,
}

impl Done {
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

    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        let mut done = Done::default();
        let result = self.handle(run, &mut done).await;
        let says = match &result {
            Ok(resolution) => resolution.says.clone(),
            Err(halt) => halt.to_string(),
        };
        let note = AuditNote::incident_resolution(&self.on, run.id(), "campaigns", &done.facts(&says));
        match result {
            Ok(resolution) => {
                run.perform(&CD_R2, note).await?;
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
    /// The runbook, from detection to campaigns that move.
    async fn handle(&self, run: &mut Run, done: &mut Done) -> Result<Resolution, Halt> {
        let on = &self.on;
        let stalled = self.find_stalled(run).await?;
        run.probe(&CD_I1, QueueLengths::of(on, &stalled)).await?;
        self.pause(run, &stalled, done).await?;

        let health = run.probe(&CD_M1, DispatcherHealth::of(on)).await?;
        self.wait_until_healthy(run, &health, &stalled).await?;

        run.probe(&CD_M1, SentTwice::of(on, &stalled)).await?.must_be_none()?;
        self.ask_about_recent_starts(run, &stalled).await?;
        self.replay(run, done).await?;
        self.verify_movement(run, &stalled, done).await?;

        for campaign in &done.replayed {
            let facts = serde_json::json!({ "run": run.id(), "replay": self.input.replay });
            let note =
                AuditNote::of(on, run.id(), "dispatcher_replay", "campaigns", &campaign.to_string(), &facts);
            run.perform(&CD_R2, note).await?;
        }
        Ok(Resolution::verified(format!(
            "{} again: targets advance over several runs of the dispatcher, and the send log agrees",
            counted(done.replayed.len(), "campaign moves", "campaigns move")
        )))
    }

    /// Two looks, at least a minute apart: one frozen moment is no stall.
    async fn find_stalled(&self, run: &mut Run) -> Result<Vec<CampaignLook>, Halt> {
        let on = &self.on;
        let running = run.probe(&CD_D1, RunningCampaigns::of(on, &self.input.campaigns)).await?;
        run.conclude_unless(!running.is_empty(), "all clear: no campaign is running, so none can stall")?;
        let first = run.probe(&CD_D1, Look::first(on, &running, self.window())).await?;
        let suspects: Vec<Campaign> = running
            .into_iter()
            .filter(|campaign| first.iter().any(|look| look.id == campaign.id && look.is_suspect()))
            .collect();
        let nothing = "all clear: every running campaign moves or has nothing due to send";
        run.conclude_unless(!suspects.is_empty(), nothing)?;
        self.conclude_in_quiet_hours(run).await?;

        let again = run.now() + on.limits.dispatcher_interval.max(Duration::from_mins(1));
        run.wait_until(&CD_D1, again, "look a second time before calling it a stall").await?;
        let second = run.probe(&CD_D1, Look::second(on, &suspects, self.window())).await?;
        self.tell_silent_targets(run, &second).await?;
        let stalled: Vec<CampaignLook> = second
            .into_iter()
            .filter(|now| {
                now.movement == Movement::Stalled
                    && first.iter().any(|before| before.id == now.id && before.saw_the_same_as(now))
            })
            .collect();
        run.conclude_unless(!stalled.is_empty(), "all clear: on the second look the campaigns move again")?;
        for campaign in &stalled {
            run.note(&CD_D1, campaign.affected()).await?;
        }
        Ok(stalled)
    }

    /// Messages that rest in quiet hours are no stall.
    async fn conclude_in_quiet_hours(&self, run: &mut Run) -> Result<(), Halt> {
        let stored = run.probe(&CD_D1, StoredSendPolicy::read(&self.on)).await?;
        let Ok(quiet) = QuietHours::parse(&stored.quiet_start, &stored.quiet_end) else {
            let says = "the stored quiet hours are no times; see whatsapp-send-failures, step WA-I2";
            return run.note(&CD_D1, Note::OpenQuestion { says: says.to_owned() }).await;
        };
        let zone = TimeZone::get(&self.on.limits.recipients_zone).unwrap_or(TimeZone::UTC);
        let is_quiet = quiet.contains(run.now().to_zoned_datetime(zone).time());
        run.conclude_unless(!is_quiet, format!("all clear: nothing moves because it is quiet hours {quiet}"))
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
        let says = messages::silent_targets(&silent.join(", "));
        run.note(&CD_D1, Note::OpenQuestion { says: says.clone() }).await?;
        Err(Halt::Unverified { step: CD_D1.id.to_owned(), says })
    }

    async fn pause(&self, run: &mut Run, stalled: &[CampaignLook], done: &mut Done) -> Result<(), Halt> {
        let pauses = stalled.iter().map(|look| PauseCampaign::of(&self.on, look.id, &look.name)).collect();
        let settled = run.attempt_each(&CD_I2, pauses).await?;
        // The receipts first: however the proofs came out, these campaigns were paused.
        done.paused = settled.iter().map(|one| one.receipt.clone()).collect();
        for one in settled {
            // Sends after the pause say that the dispatcher woke up meanwhile; whether it goes on is seen below.
            if !matches!(one.verdict, Verdict::Refuted { .. }) {
                one.proven(&CD_I2)?;
            }
        }
        let says = format!(
            "{} paused while the dispatcher did not take up their messages",
            counted(done.paused.len(), "campaign was", "campaigns were")
        );
        run.note(&CD_I2, Note::Mitigation { says }).await
    }

    async fn wait_until_healthy(
        &self,
        run: &mut Run,
        health: &Health,
        stalled: &[CampaignLook],
    ) -> Result<(), Halt> {
        let engineering = NotifyEngineering::about(&self.on, run.id(), "unreachable", stalled);
        // By the time the campaigns are paused it may be back, so a plan names the telling as what may happen.
        if health.is_healthy() || run.is_plan() {
            return run.in_case("the dispatcher cannot be reached", &engineering).await;
        }
        engineering.escalate(run).await?;
        let watch = Watch::every(HEALTH_EVERY, GIVE_UP_AFTER);
        let condition = Observing {
            probe: DispatcherHealth::again(&self.on),
            satisfied: |health: &Health| if health.is_healthy() { Ok(()) } else { Err(health.to_string()) },
        };
        run.until(&CD_M2, watch, condition).await.map(drop)
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
    async fn replay(&self, run: &mut Run, done: &mut Done) -> Result<(), Halt> {
        for paused in done.paused.clone().iter().filter(|paused| paused.by_us) {
            match self.input.replay {
                Replay::PauseStart => {
                    let Some(resume) = ResumeCampaign::only(&self.on, paused) else { continue };
                    run.perform(&CD_M1, resume).await?;
                }
                Replay::StopStart => self.stop_and_start(run, paused).await?,
            }
            done.replayed.push(paused.campaign);
        }
        let says = format!("{} started anew", counted(done.replayed.len(), "campaign was", "campaigns were"));
        run.note(&CD_M1, Note::Mitigation { says }).await
    }

    /// Between stop and start the campaign counts as done. An incident stays open for exactly that time, so that a run
    /// which never comes back leaves somebody paged and not a campaign that silently ended.
    async fn stop_and_start(&self, run: &mut Run, paused: &Paused) -> Result<(), Halt> {
        let gate = Gate::new("Stop this campaign and start it again, as the written runbook says?", Approval::Approve)
            .about(format!("stop campaign {}", paused.campaign))
            .showing(format!("campaign {} ({})", paused.name, paused.campaign))
            .showing("stop writes `done` and a finishing time; the start leaves that time and overwrites the starting time")
            .showing("pause and start would do without (replay = pause-start)");
        run.approve(&CD_M1, gate).await?;
        let about = format!("stop of campaign {}", paused.campaign);
        let page = PageSomebody::about(&self.on, messages::stopped(run.id(), paused), &about);
        run.perform(&CD_M1, page.clone()).await?;
        run.perform(&CD_M1, StopCampaign::of(&self.on, paused)).await?;
        run.perform(&CD_M1, StartStopped::of(&self.on, paused)).await?;
        run.perform(&CD_M1, ResolveIncident::of_page(&page)).await
    }

    /// Sustained movement within five minutes, or everything is paused again and engineering is told.
    async fn verify_movement(
        &self,
        run: &mut Run,
        stalled: &[CampaignLook],
        done: &Done,
    ) -> Result<(), Halt> {
        let replayed: Vec<CampaignLook> =
            stalled.iter().filter(|look| done.replayed.contains(&look.id)).cloned().collect();
        let halt =
            PauseAndTell { on: self.on.clone(), campaigns: replayed.clone(), run: run.id().to_owned() };
        run.in_case("the targets do not advance within five minutes", &halt).await?;
        if replayed.is_empty() {
            return Ok(());
        }
        let since: Timestamp = run.now();
        let watch = Watch::every(self.on.limits.dispatcher_interval / 2, ADVANCE_WITHIN);
        let condition = Observing {
            probe: AfterReplay::of(&self.on, &replayed, since, ADVANCE_WITHIN),
            satisfied: detect::Advance::is_sustained,
        };
        match run.until(&CD_R1, watch, condition).await {
            Err(Halt::Unverified { says, .. }) => {
                halt.escalate(run).await?;
                let says = format!("{says}; the campaigns are paused again and engineering was told");
                Err(Halt::Refuted { step: CD_R1.id.to_owned(), says })
            }
            other => other.map(drop),
        }
    }

    fn window(&self) -> Duration {
        Duration::from_secs(u64::from(self.input.stalled_minutes.max(1)) * 60)
    }
}

/// Tells engineering with what was seen.
struct NotifyEngineering {
    on: Platform,
    run: String,
    /// What is wrong, in a word: tells the two occasions apart.
    why: &'static str,
    campaigns: Vec<CampaignLook>,
}

impl NotifyEngineering {
    fn about(on: &Platform, run: &str, why: &'static str, campaigns: &[CampaignLook]) -> Self {
        Self { on: on.clone(), run: run.to_owned(), why, campaigns: campaigns.to_vec() }
    }
}

#[async_trait]
impl Escalation for NotifyEngineering {
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        let page = messages::page(&self.run, self.why, &self.campaigns);
        let told = run.attempt(&CD_M2, PageSomebody::about(&self.on, page, self.why)).await.map(drop);
        go_on_without(run, &CD_M2, "page engineering by hand", told).await?;
        let chat = messages::chat(&self.on.limits.ops_channel, &self.run, self.why, &self.campaigns);
        let told = run.attempt(&CD_M2, PostMessage::of(&self.on, chat)).await.map(drop);
        go_on_without(run, &CD_M2, "tell the operations channel by hand", told).await?;
        let says = format!("engineering was told that the dispatcher is {}", self.why.replace('-', " "));
        run.note(&CD_M2, Note::Mitigation { says }).await
    }
}

/// The replay did not help: what was started is paused again, and engineering is told.
struct PauseAndTell {
    on: Platform,
    campaigns: Vec<CampaignLook>,
    run: String,
}

#[async_trait]
impl Escalation for PauseAndTell {
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        let pauses =
            self.campaigns.iter().map(|look| PauseCampaign::of(&self.on, look.id, &look.name)).collect();
        run.attempt_each(&CD_R1, pauses).await?;
        NotifyEngineering::about(&self.on, &self.run, "still-stalled", &self.campaigns).escalate(run).await
    }
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
