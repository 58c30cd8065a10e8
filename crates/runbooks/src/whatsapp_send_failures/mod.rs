//! WhatsApp Send Failures: the procedure, bullet by bullet.
//!
//! | bullet | step | what the platform's reality adds |
//! |---|---|---|
//! | Detect | [`WA_D1`] | failures are counted from the send log and told apart by error code; the status page is no evidence |
//! | Pause campaigns (`Stop` action) | [`WA_I1`] | *pause*, because stop is terminal in the data; and proof that sending stopped, because the dispatcher never looks at a campaign's status |
//! | Check quiet hours and throttle | [`WA_I2`] | a broken policy is repaired when a person agrees; 0 is never written |
//! | Rate-limited: honour `retry-after`, reschedule | [`WA_M1`] | the wait comes from a header, a body or WhatsApp's usage header |
//! | Invalid numbers: export failed targets | [`WA_M2`] | digits that survive a spreadsheet, and no formulas |
//! | Notify the provider after 15 minutes | [`WA_E1`] | counted from the first of the failures that are the incident, not from the start of the run; passes also while people are awaited |
//! | Resume once the function returns `202` | [`WA_R1`] | 202 is acceptance: a canary must be *delivered* by the send log, or by WhatsApp's own reports to the webhook, or be seen on the phone where neither is kept; only what this run paused is resumed, one campaign at a time, outside quiet hours and over several days where one is too short, and paused again on relapse |
//! | Log `incident_resolution` | [`WA_R2`] | read back, because the platform loses audit rows silently |

mod causes;
mod contingencies;
mod detect;
mod effects;
mod escalate;
mod export;
mod give_back;
mod given_up;
mod messages;
mod parts;
mod policy;
mod prove;
mod requeue;
mod resume;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use allclear_core::clock::{after, before};
use allclear_core::ports::Artifact;
use allclear_core::{CampaignId, CampaignStatus, Platform, PortError, QueueRows, Rehearsal};
use allclear_engine::{
    Approval, Claim, Gate, Halt, Note, OnlyWhile, Phase, Proof, Resolution, Run, Runbook, Settled, Step,
    Verdict, Watch,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use causes::Cause;
use contingencies::{StopTheQueue, Stopped};
use detect::{SendHealth, Signal, StillFails};
use effects::PostponeSends;
use escalate::NotifyProvider;
use export::ExportFailedTargets;
use resume::Over;

use crate::effects::{
    AlarmKeys, AuditNote, DIAGNOSIS_HOLDS, Held, HeldByEnded, Inherited, PauseCampaign, Paused, STUCK,
    SkippedByEnded, SkippedMessages, Stuck, owe_skipped, record_bad_end, record_pauses,
};
use crate::probes::SendingCampaigns;
use crate::skipped::{Handled, LookForSkipped, SkippedByOthers, tell_skipped_since};
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

/// Its name, for people and on the platform's record.
pub(crate) const ID: &str = "whatsapp-send-failures";
/// What its runs raise.
const ALARMS: &[AlarmKeys] =
    &[AlarmKeys { page: Some(""), line: "/escalated", over: "/escalated/over" }, STUCK];
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
    let campaign = Paused {
        campaign,
        name: campaign.to_string(),
        by_us: false,
        skipped: QueueRows::default(),
        started_at: None,
        taken_over_from: None,
    };
    let exported = ExportFailedTargets::of(on, &campaign).write().await?;
    Ok((exported.artifact, exported.rows))
}

/// What has been done so far, for the record at the end, whichever way it ends.
#[derive(Debug, Default)]
struct Done {
    paused: Vec<Paused>,
    /// What others had skipped of them by then.
    skipped: Vec<SkippedByOthers>,
    cause: Option<String>,
}

impl Done {
    /// The campaigns, for a count of their skipped messages at the end: what was given back is skipped by others.
    fn handled(&self, given_back: &[CampaignId]) -> Vec<Handled> {
        let at_the_end = |one: &Paused| {
            let is_back = given_back.contains(&one.campaign);
            Handled { ours: if is_back { QueueRows::default() } else { one.skipped.clone() }, ..handled(one) }
        };
        self.paused.iter().map(at_the_end).collect()
    }
}

fn handled(one: &Paused) -> Handled {
    Handled { campaign: one.campaign, name: one.name.clone(), ours: one.skipped.clone() }
}

#[async_trait]
impl Runbook for WhatsAppSendFailures {
    fn id(&self) -> &'static str {
        ID
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

    fn rehearsal(&self) -> Option<Rehearsal> {
        self.on.rehearsal.clone()
    }

    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        let mut done = Done::default();
        let stuck = Stuck::watch(run, &self.on, &WA_E1, self.id()).await?;
        let handled = self.handle(run, &mut done).await;
        let whole = self.input.campaigns.is_empty();
        let left = Inherited { on: &self.on, runbook: ID, step: &WA_R1, alarms: ALARMS, whole };
        let handled = left.end(run, handled, true).await;
        stuck.over(run, handled.as_ref().err()).await?;
        match handled.and_then(|(says, proof)| run.resolve(says, proof)) {
            Ok(resolution) => {
                run.perform(
                    &WA_R2,
                    AuditNote::incident_resolution(
                        &self.on,
                        run.id(),
                        "campaigns",
                        &done.facts(resolution.says()),
                    ),
                )
                .await?;
                stuck.over(run, None).await?;
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
    /// The runbook, from detection to resumed campaigns: what is resolved, and by what it is proven.
    async fn handle(&self, run: &mut Run, done: &mut Done) -> Result<(String, Proof), Halt> {
        let on = &self.on;

        let held = HeldByEnded::of(on, self.id(), run.id(), &self.input.campaigns);
        let held = run.probe(&WA_D1, held).await?;
        let skipped = SkippedByEnded::of(on, self.id(), run.id(), &self.input.campaigns);
        let skipped = run.probe(&WA_D1, skipped).await?;
        let (kept, skipped): (Vec<_>, Vec<_>) = skipped.into_iter().partition(|one| one.keeps.is_some());
        owe_skipped(run, &WA_D1, &kept).await?;
        let signal = run.probe(&WA_D1, SendHealth::over(on, &self.input)).await?;
        let is_on = signal.elevated && signal.must_be_paused_for();
        let anything_left = !held.is_empty() || !skipped.is_empty();
        if anything_left && !is_on {
            return self.bring_back(run, &signal, (&held, &skipped), done).await;
        }
        signal.must_rest_on_samples()?;
        if !signal.elevated {
            signal.must_not_repeat()?;
            if let Some(ended) = self.put_back_late(run, &signal).await? {
                return Ok(ended);
            }
            // A policy that holds messages back at other hours is no all-clear.
            if self.check_policy(run).await? {
                let says = "send failures are within the normal range; the misconfigured sending policy was repaired";
                return Ok((says.to_owned(), run.proof(&WA_I2)?));
            }
        }
        run.conclude_unless(signal.elevated, "all clear: send failures are within the normal range")?;
        self.note_impact(run, &signal).await?;
        done.cause = Some(signal.title());
        if !signal.must_be_paused_for() {
            return self.leave_running(run, &signal).await;
        }

        // Set before anything is done or asked: while people think, the failures last.
        let lasts = after(signal.began_at().unwrap_or(run.now()), ESCALATE_AFTER);
        let provider = Arc::new(NotifyProvider::about(on, (&signal, &self.input), run.id()));
        let deadline =
            run.deadline(&WA_E1, lasts, "the failures last more than 15 minutes", provider.clone()).await?;

        self.pause_campaigns(run, &signal, (&held, &skipped), done).await?;
        self.check_policy(run).await?;

        self.wait_for_people(run, &signal, &provider).await?;
        let mut limit_ends = None;
        if signal.has(Cause::RateLimited) {
            limit_ends = Some(self.reschedule(run, &signal, &done.paused).await?);
        }
        if signal.has(Cause::InvalidNumbers) || signal.is_over(Cause::InvalidNumbers) {
            self.export_failed_targets(run, &done.paused).await?;
        }
        self.tell_what_stays_paused(run, &signal, &done.paused).await?;

        let mut watch = Watch::every(CANARY_EVERY, GIVE_UP_AFTER);
        if let Some(limit_ends) = limit_ends {
            watch = watch.not_before(limit_ends, "the rate limit ends then; nothing is sent before");
        }
        let proven = self.prove_sending(run, watch).await?;
        run.disarm(deadline);

        let mended: Vec<Paused> =
            done.paused.iter().filter(|one| signal.holds(one.campaign).is_none()).cloned().collect();
        let over = Over { lifted: signal.was_restricted(), not_before: limit_ends };
        let came_back = self.resume_campaigns(run, &mended, over).await?;
        let (resumed, unseen) = (&came_back.campaigns, came_back.unseen());
        let is_held = |one: &&Paused| one.by_us && signal.holds(one.campaign).is_some();
        let ours = resumed.iter().chain(done.paused.iter().filter(is_held));
        let ours: Vec<CampaignId> = ours.map(|one| one.campaign).collect();
        self.account_for_given_up(run, &done.paused, &ours, over).await?;
        let back: Vec<CampaignId> = resumed.iter().map(|one| one.campaign).collect();
        self.give_back_of_ended(run, &skipped, done).await?;
        tell_skipped_since(run, &WA_R1, on, &done.skipped, done.handled(&back)).await?;
        self.requeue_notifications(run, &signal, None).await?;
        self.check_policy_again(run).await?;
        let works = run.proof(&WA_R1)?;
        provider.alarm.answer(run, "WhatsApp sends work again.").await?;
        let resumed = self.count_still_resumed(run, resumed).await?;
        if resumed == 0 && mended.iter().any(|campaign| campaign.by_us) && !run.is_plan() {
            let says = format!(
                "{proven}; none of the campaigns that {} paused runs again by this run: somebody else took them since",
                pausers(&mended)
            );
            return Err(Halt::Unverified { step: WA_R1.id.to_owned(), says });
        }
        let resumed = match resumed {
            0 => "this run had paused no campaign, so it resumed none".to_owned(),
            some => {
                format!(
                    "{} that {} had paused",
                    counted(some, "campaign runs again", "campaigns run again"),
                    pausers(&mended)
                ) + unseen
            }
        };
        Ok((format!("{proven}; {resumed}"), works))
    }

    /// Nothing fails any more, and a run that has ended left campaigns paused, or messages skipped: they are brought back by the same
    /// rules as its own.
    async fn bring_back(
        &self,
        run: &mut Run,
        signal: &Signal,
        (held, skipped): (&[Held], &[SkippedMessages]),
        done: &mut Done,
    ) -> Result<(String, Proof), Halt> {
        let left = if held.is_empty() { "messages skipped" } else { "campaigns paused" };
        done.cause = Some(format!("none any more; an ended run had left {left}"));
        let ids = held.iter().map(|one| one.campaign);
        record_pauses(run, &WA_I1, (&self.on, self.id()), ids).await?.make_sure(run).await?;
        done.paused = held.iter().map(Held::taken_over).collect();
        done.adopt(skipped);
        done.skipped = run.probe(&WA_I1, LookForSkipped::at_first(&self.on, done.handled(&[]))).await?;
        self.check_policy(run).await?;
        let watch = Watch::every(CANARY_EVERY, GIVE_UP_AFTER);
        let proven = self.prove_sending(run, watch).await?;
        let came_back = self.resume_campaigns(run, &done.paused, Over::default()).await?;
        let (resumed, unseen) = (&came_back.campaigns, came_back.unseen());
        let ours: Vec<CampaignId> = resumed.iter().map(|one| one.campaign).collect();
        self.account_for_given_up(run, &done.paused, &ours, Over::default()).await?;
        let given_back = self.give_back_of_ended(run, skipped, done).await?;
        tell_skipped_since(run, &WA_R1, &self.on, &done.skipped, done.handled(&ours)).await?;
        // What failed while the ended run had the campaigns failed of the same.
        let window = Duration::from_secs(u64::from(self.input.window_minutes) * 60);
        let since = held.iter().filter_map(|one| one.since).chain(skipped.iter().map(|one| one.since));
        let began = since.min().map(|at| before(at, window));
        if began.is_some() {
            self.requeue_notifications(run, signal, began).await?;
        }
        let resumed = self.count_still_resumed(run, resumed).await?;
        let mut says = proven.to_owned();
        if let Some(one) = held.first() {
            let campaigns = counted(resumed, "campaign runs", "campaigns run");
            let _ = write!(says, "; {campaigns} again that run {} had left paused{unseen}", one.by);
        }
        if let Some(one) = skipped.first().filter(|_| given_back > 0) {
            let campaigns = counted(given_back, "running campaign has", "running campaigns have");
            let _ = write!(says, "; {campaigns} the messages again that run {} had left skipped", one.by);
        }
        Ok((says, run.proof(&WA_R1)?))
    }

    /// What failed is over, or is single recipients' own: nothing that works is paused for it.
    async fn leave_running(&self, run: &mut Run, signal: &Signal) -> Result<(String, Proof), Halt> {
        let seen = run.proof(&WA_D1)?;
        let says = format!("nothing is paused: {}", signal.why_nothing_is_paused());
        run.note(&WA_I1, Claim::seen(&seen, says.clone())).await?;
        if signal.is_over(Cause::InvalidNumbers) {
            let failing = run.probe(&WA_M2, SendingCampaigns::of(&self.on, &self.input.campaigns)).await?;
            let failing: Vec<Paused> = failing
                .iter()
                .filter(|campaign| signal.failed_of(campaign.id) > 0)
                .map(Paused::not_by_us)
                .collect();
            self.export_failed_targets(run, &failing).await?;
        }
        self.put_back_in_running(run, signal).await?;
        self.requeue_notifications(run, signal, None).await?;
        Ok((says, seen))
    }

    /// A campaign whose template or media fail stays paused: nothing that this run can do mends it.
    async fn tell_what_stays_paused(
        &self,
        run: &mut Run,
        signal: &Signal,
        paused: &[Paused],
    ) -> Result<(), Halt> {
        for campaign in paused {
            let Some(why) = signal.holds(campaign.campaign) else { continue };
            let says = format!(
                "campaign {} stays paused: {why}. Mend the campaign, then start it; the others are resumed without it",
                campaign.name
            );
            run.owe(&WA_M2, &format!("campaign {}", campaign.campaign), says).await?;
        }
        Ok(())
    }

    async fn note_impact(&self, run: &mut Run, signal: &Signal) -> Result<(), Halt> {
        for (code, count) in &signal.failed {
            run.note(&WA_D1, Note::Count { what: format!("failed sends with code {code}"), count: *count })
                .await?;
        }
        Ok(())
    }

    async fn pause_campaigns(
        &self,
        run: &mut Run,
        signal: &Signal,
        (held, skipped): (&[Held], &[SkippedMessages]),
        done: &mut Done,
    ) -> Result<(), Halt> {
        let on = &self.on;
        let mut sending = run.probe(&WA_I1, SendingCampaigns::of(on, &self.input.campaigns)).await?;
        sending.retain(|campaign| signal.hits(campaign.id));
        for campaign in &sending {
            let failed = signal.failed_of(campaign.id);
            let note = Note::Affected {
                kind: "campaign".to_owned(),
                id: campaign.id.to_string(),
                label: campaign.name.clone(),
                says: format!(
                    "it was {}, with {} in the window",
                    campaign.status,
                    counted(failed, "failed send", "failed sends")
                ),
            };
            run.note(&WA_I1, note).await?;
        }
        // What others paused is only watched, and not held by this run.
        let running = sending.iter().filter(|campaign| campaign.status == CampaignStatus::Running);
        let ids = running.map(|campaign| campaign.id).chain(held.iter().map(|one| one.campaign));
        let recorded = record_pauses(run, &WA_I1, (on, self.id()), ids).await?;
        let before: Vec<Paused> =
            held.iter().map(Held::taken_over).chain(sending.iter().map(Paused::not_by_us)).collect();
        let before = LookForSkipped::at_first(on, before.iter().map(handled).collect());
        done.skipped = run.probe(&WA_I1, before).await?;
        let still_fails = OnlyWhile::of(StillFails::since(on, &self.input, run.now()))
            .from(after(run.now(), DIAGNOSIS_HOLDS));
        // The first alone: once one is paused, all are handled as it was meant.
        let mut wanted: Vec<_> = sending.iter().map(|campaign| PauseCampaign::named(on, campaign)).collect();
        if !wanted.is_empty() {
            wanted[0] = wanted[0].clone().only_while(still_fails);
        }
        let pauses = run.attempt_each(&WA_I1, wanted).await?;
        recorded.make_sure(run).await?;
        // The receipts first: however the proofs came out, these campaigns were paused.
        done.paused = pauses.iter().map(|one| one.receipt().clone()).collect();
        done.adopt(skipped);
        let proven_by_us = pauses.iter().filter(|one| one.is_proven() && one.receipt().by_us);
        let claim = Claim::counted(
            proven_by_us,
            "campaign was paused, and it was proven that it sends nothing any more",
            "campaigns were paused, and it was proven that they send nothing any more",
        );
        if let Some(claim) = claim {
            run.note(&WA_I1, claim).await?;
        }
        for (campaign, pause) in sending.iter().zip(&pauses) {
            if campaign.status == CampaignStatus::Running && !pause.receipt().by_us {
                let says = format!(
                    "somebody else took campaign {} as this run set out to pause it: it was left as they have it",
                    campaign.name
                );
                run.owe(&WA_I1, &format!("campaign {} taken by somebody else", campaign.id), says).await?;
            }
        }
        let silent = pauses.iter().filter(|one| one.is_proven() && !one.receipt().by_us);
        let claim = Claim::counted(
            silent,
            "campaign that was not running has messages waiting, and it was proven that it sends nothing",
            "campaigns that were not running have messages waiting, and it was proven that they send nothing",
        );
        if let Some(claim) = claim {
            run.note(&WA_I1, claim).await?;
        }
        done.paused.retain(|paused| held.iter().all(|one| one.campaign != paused.campaign));
        done.paused.extend(held.iter().map(Held::taken_over));
        let everything = StopTheQueue::of(on, &WA_I1, &done.paused);
        run.in_case("sending goes on although the campaigns are paused", &everything).await?;
        let (refuted, others): (Vec<_>, Vec<_>) =
            pauses.into_iter().partition(|one| matches!(one.verdict(), Verdict::Refuted { .. }));
        for one in others {
            one.proven(&WA_I1)?;
        }
        self.stop_queues(run, &refuted, done).await
    }

    /// What goes on sending although it is paused. A stopped queue makes up for the pause that did not hold.
    async fn stop_queues(
        &self,
        run: &mut Run,
        sending: &[Settled<Paused>],
        done: &mut Done,
    ) -> Result<(), Halt> {
        if sending.is_empty() {
            return Ok(());
        }
        let is_sending = |one: &&Paused| sending.iter().any(|pause| pause.receipt().campaign == one.campaign);
        let campaigns: Vec<Paused> = done.paused.iter().filter(is_sending).cloned().collect();
        let stopped = StopTheQueue::of(&self.on, &WA_I1, &campaigns).stop(run).await?;
        for receipt in &mut done.paused {
            if let Some(one) = stopped.iter().find(|one| one.campaign.campaign == receipt.campaign) {
                receipt.skipped = receipt.skipped.and(&one.campaign.skipped);
            }
        }
        for Stopped { campaign, proof } in &stopped {
            let Some(pause) = sending.iter().find(|one| one.receipt().campaign == campaign.campaign) else {
                continue;
            };
            let Some(proof) = proof else { continue };
            let says = format!("{} sends nothing any more: its queue is stopped", campaign.name);
            run.cure(&WA_I1, pause.account(), says, proof).await?;
        }
        Ok(())
    }

    /// Moves queued sends to the end of the rate limit; returns when that is. The wait itself belongs to the watch
    /// below, so that the provider is told in time although we wait.
    async fn reschedule(&self, run: &mut Run, signal: &Signal, paused: &[Paused]) -> Result<Timestamp, Halt> {
        let until = signal.rate_limit_ends(run.now());
        let postpone = paused.iter().map(|campaign| PostponeSends::of(&self.on, campaign, until)).collect();
        let moved = run.attempt_each(&WA_M1, postpone).await?;
        let honoured = format!("the rate limit is honoured: this run sends nothing before {until}");
        run.note(&WA_M1, Claim::seen(&run.proof(&WA_D1)?, honoured)).await?;
        let claim = Claim::counted(
            moved.iter().filter(|one| one.receipt().rows > 0),
            &format!("campaign's queued messages were moved to {until}"),
            &format!("campaigns' queued messages were moved to {until}"),
        );
        if let Some(claim) = claim {
            run.note(&WA_M1, claim).await?;
        }
        for one in moved {
            one.proven(&WA_M1)?;
        }
        Ok(until)
    }

    async fn export_failed_targets(&self, run: &mut Run, paused: &[Paused]) -> Result<(), Halt> {
        let exports = paused.iter().map(|campaign| ExportFailedTargets::of(&self.on, campaign)).collect();
        let exported = run.attempt_each(&WA_M2, exports).await?;
        let claim = Claim::counted(
            exported.iter().filter(|one| one.receipt().is_some()),
            "campaign's failed targets were exported for data cleanup",
            "campaigns' failed targets were exported for data cleanup",
        );
        match claim {
            Some(claim) => run.note(&WA_M2, claim).await?,
            None if run.is_plan() => {}
            None => {
                let says = "no failed target could be exported: the platform marks none of the campaigns' targets as failed, and its send log has no failed send of theirs";
                run.note(&WA_M2, Note::OpenQuestion { says: says.to_owned() }).await?;
            }
        }
        for one in exported {
            let Some(file) = one.proven(&WA_M2)? else { continue };
            let says = format!(
                "{} for data cleanup, SHA-256 {}",
                counted(file.rows, "failed target", "failed targets"),
                file.artifact.sha256
            );
            run.note(&WA_M2, Note::Artifact { name: file.artifact.name, says }).await?;
        }
        Ok(())
    }

    /// A credential or a policy block cannot be waited out: a person must act, and every call before makes a block
    /// worse. The provider is told at once.
    async fn wait_for_people(
        &self,
        run: &mut Run,
        signal: &Signal,
        provider: &NotifyProvider,
    ) -> Result<(), Halt> {
        if signal.has(Cause::PolicyBlock) {
            provider.tell(run).await?;
        }
        for cause in &signal.causes {
            let Some(question) = cause.question() else { continue };
            let gate = Gate::new(question, Approval::Approve).about(cause.title()).showing(cause.title());
            run.approve(&WA_E1, gate).await?;
        }
        Ok(())
    }
}

/// Which runs paused these, in words.
fn pausers(campaigns: &[Paused]) -> String {
    let ours = campaigns.iter().filter(|campaign| campaign.by_us);
    let mut all: Vec<String> = ours.map(Paused::pauser).collect();
    all.sort();
    all.dedup();
    all.join(" or ")
}

impl Done {
    fn facts(&self, says: &str) -> serde_json::Value {
        let campaigns: Vec<String> = self.paused.iter().map(|paused| paused.campaign.to_string()).collect();
        serde_json::json!({ "runbook": "whatsapp-send-failures", "cause": self.cause, "paused": campaigns, "says": says })
    }
}
