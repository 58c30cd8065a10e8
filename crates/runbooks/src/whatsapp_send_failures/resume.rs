//! Resuming: only what this run paused, one campaign after the other, never into quiet hours, and paused again when
//! sends fail again.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use allclear_core::ports::{Campaigns, SendLog, SendQueue};
use allclear_core::{CampaignId, Platform, PortError};
use allclear_engine::{Claim, Evidence, Halt, Note, Observation, Observing, Probe, Run, Settled, Watch};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::contingencies::PauseAgain;
use super::effects::RestoreQueue;
use super::parts::{Parts, Share};
use super::{WA_R1, WhatsAppSendFailures};
use crate::effects::{
    GivenUp, GivenUpMessages, MayBeGivenUp, Paused, PutBack, ResumeCampaign, Resumed, Whose,
};
use crate::probes::{
    RELAPSE_PERCENT, StoredSendPolicy, look_for_taken, may_not_hold, percent_of_our_failures, started_by_us,
    still_started,
};
use crate::quiet::{Start, recipients_zone};
use crate::spread::spread;
use crate::words::counted;

/// A resumed campaign that sends nothing for this long is no proof of anything.
const SEND_WITHIN: Duration = Duration::from_mins(10);

/// What was resumed.
#[derive(Debug, Default)]
pub(super) struct ResumedCampaigns {
    pub(super) campaigns: Vec<Paused>,
    /// Whether customers' messages were seen to go out since. Where nothing was left to send, a canary alone says that sending works.
    pub(super) seen_sending: bool,
}

impl ResumedCampaigns {
    /// What is to be said beside how many run again.
    pub(super) fn unseen(&self) -> &'static str {
        if self.campaigns.is_empty() || self.seen_sending {
            ""
        } else {
            "; nothing was left to send, so no customer's message was seen to go out"
        }
    }
}

impl WhatsAppSendFailures {
    /// Resumes what this run paused, with what the dispatcher gave up of it. Returns those campaigns.
    pub(super) async fn resume_campaigns(
        &self,
        run: &mut Run,
        paused: &[Paused],
        over: Over,
    ) -> Result<ResumedCampaigns, Halt> {
        let on = &self.on;
        self.tell_what_stays_skipped(run, paused).await?;
        let ours: Vec<Paused> = paused.iter().filter(|campaign| campaign.by_us).cloned().collect();
        if ours.is_empty() {
            return Ok(ResumedCampaigns::default());
        }
        let given_up = run.probe(&WA_R1, GivenUpMessages::of(on, &named(&ours), over.lifted)).await?;
        let may_be = ours.iter().map(|one| (one.campaign, one.name.clone(), Whose::Pausers(one.clone())));
        MayBeGivenUp::name(run, &WA_R1, (on, &given_up), may_be.collect()).await?;
        let unsent = run.probe(&WA_R1, UnsentMessages::of(on, &ours, &given_up)).await?;
        let parts = self.in_parts(run, &unsent).await?;
        may_not_hold(run, &WA_R1, on).await?;
        run.in_case("sends fail again after the resume", &PauseAgain::of(on, &ours)).await?;
        let mut resumed: Vec<Paused> = Vec::new();
        let mut started = Vec::new();
        // A plan foresees that they do.
        let mut seen_sending = run.is_plan();
        for (number, part) in (1..).zip(&parts.parts) {
            self.wait_for_part(run, &parts, number).await?;
            for share in &part.stages {
                let stage = share.stage();
                let Some(campaign) = ours.iter().find(|campaign| campaign.campaign == stage.campaign) else {
                    continue;
                };
                match share {
                    Share::Begins { later, .. } => {
                        let start = self.start_of(campaign, share.messages());
                        if let Some(found) = given_up.iter().find(|one| one.campaign == stage.campaign) {
                            let whose = Whose::Pausers(campaign.clone());
                            self.put_back(run, found, whose, over, start.clone()).await?;
                        }
                        spread(run, &WA_R1, &self.on, campaign, later).await?;
                        let Some(one) = self.resume_one(run, campaign, start).await? else { continue };
                        // As our start left it: should it be paused again, then only where nobody started it since.
                        resumed.push(Paused { started_at: one.receipt().started_at, ..campaign.clone() });
                        started.push(one);
                    }
                    // Somebody else has it meanwhile.
                    Share::GoesOn(_) if resumed.iter().all(|one| one.campaign != campaign.campaign) => {
                        continue;
                    }
                    Share::GoesOn(_) => {}
                }
                if stage.unsent > 0 && !run.is_plan() {
                    let since = run.now();
                    seen_sending |= self.watch_for_relapse(run, (campaign, number), since, &resumed).await?;
                }
            }
        }
        let claim = Claim::counted(
            &started,
            "campaign was resumed and watched for new failures",
            "campaigns were resumed one after the other, each watched for new failures",
        );
        if let Some(claim) = claim {
            run.note(&WA_R1, claim).await?;
        }
        Ok(ResumedCampaigns { campaigns: resumed, seen_sending })
    }

    /// How many of those that were resumed still run before the last word.
    pub(super) async fn count_still_resumed(&self, run: &mut Run, resumed: &[Paused]) -> Result<usize, Halt> {
        Ok(still_started(run, &WA_R1, &self.on, &named(resumed)).await?.len())
    }

    /// Right before the start: a dispatcher that looks at no campaign's status sends what waits.
    pub(super) async fn put_back(
        &self,
        run: &mut Run,
        found: &GivenUp,
        whose: Whose,
        over: Over,
        start: Start,
    ) -> Result<u64, Halt> {
        if found.count() == 0 {
            return Ok(0);
        }
        let at = run.now().max(over.not_before.unwrap_or(run.now()));
        let back = PutBack::of(&self.on, found, whose, at).outside_quiet_hours(start);
        Ok(run.perform(&WA_R1, back).await?.rows)
    }

    /// What begins to send a campaign's messages: it waits until that would not reach into quiet hours. When that is was planned
    /// for all campaigns together, and a run may have been away since.
    pub(super) fn start_of(&self, campaign: &Paused, messages: u64) -> Start {
        Start::of(&self.on, (campaign.campaign, &campaign.name), messages)
    }

    /// Somebody took a campaign since this run paused it: it is theirs.
    async fn tell_left_alone(&self, run: &mut Run, campaign: &Paused) -> Result<(), Halt> {
        if run.is_plan() {
            return Ok(());
        }
        let note = Note::Affected {
            kind: "campaign".to_owned(),
            id: campaign.campaign.to_string(),
            label: campaign.name.clone(),
            says: format!(
                "{} paused it and somebody else took it since, so it was left as they have it",
                campaign.pauser()
            ),
        };
        run.note(&WA_R1, note).await
    }

    /// Messages of campaigns that others paused were stopped too, where they went on sending. Giving them back would send them.
    async fn tell_what_stays_skipped(&self, run: &mut Run, paused: &[Paused]) -> Result<(), Halt> {
        for campaign in paused.iter().filter(|campaign| !campaign.skipped.is_empty() && !campaign.by_us) {
            let why = "this run did not pause it, and the dispatcher would send them although it is paused";
            self.owe_messages(run, campaign, why).await?;
        }
        Ok(())
    }

    /// Messages that this run marked as skipped and does not give back keep it from ending as verified.
    async fn owe_messages(&self, run: &mut Run, campaign: &Paused, why: &str) -> Result<(), Halt> {
        let says = format!(
            "the unsent messages of campaign {} stay skipped: {why}. Whoever wants them sent gives them back with `allclear undo {}`",
            campaign.name,
            run.id()
        );
        run.owe(&WA_R1, &format!("unsent messages of campaign {}", campaign.campaign), says).await
    }

    /// Starts one campaign, and gives back its messages where its queue had to be stopped. `None` where somebody else has it
    /// meanwhile: a later pause by a person stands.
    async fn resume_one(
        &self,
        run: &mut Run,
        campaign: &Paused,
        start: Start,
    ) -> Result<Option<Settled<Resumed>>, Halt> {
        let Some(resume) = ResumeCampaign::only(&self.on, campaign) else { return Ok(None) };
        let one = run.attempt(&WA_R1, resume.outside_quiet_hours(start.clone())).await?;
        let named = (campaign.campaign, campaign.name.as_str());
        let Some(by_us) = started_by_us(run, &WA_R1, &self.on, named, &one).await? else { return Ok(None) };
        if !by_us {
            self.tell_left_alone(run, campaign).await?;
            if !campaign.skipped.is_empty() && !run.is_plan() {
                self.owe_messages(run, campaign, "somebody else took the campaign since").await?;
            }
            return Ok(None);
        }
        if !campaign.skipped.is_empty() {
            // Not proven, it stays open; the other campaigns come back all the same.
            let back = RestoreQueue::of(&self.on, campaign).outside_quiet_hours(start);
            let _ = run.attempt(&WA_R1, back).await?;
        }
        Ok(Some(one))
    }

    /// When what is resumed: not into quiet hours, however long the queues need to drain.
    async fn in_parts(&self, run: &mut Run, unsent: &Unsent) -> Result<Parts, Halt> {
        let limits = &self.on.limits;
        let policy =
            run.probe(&WA_R1, StoredSendPolicy::read(&self.on)).await?.repaired(&limits.default_policy);
        let zone = recipients_zone(limits);
        let parts = Parts::of(unsent, (limits, &policy), &zone, run.now());
        let parts = parts.ok_or_else(|| Halt::Unverified {
            step: WA_R1.id.to_owned(),
            says: format!(
                "quiet hours {} leave no time of the day to send in; the campaigns stay paused",
                policy.quiet_hours
            ),
        })?;
        if parts.parts.len() > 1 {
            let what = "parts in which the campaigns are resumed, because their queues need more than a day";
            let count = parts.parts.len() as u64;
            run.note(&WA_R1, Note::Count { what: what.to_owned(), count }).await?;
        }
        Ok(parts)
    }

    /// Waits until a part may begin. A plan says of each when that is, and by when about all is sent.
    async fn wait_for_part(&self, run: &mut Run, parts: &Parts, number: usize) -> Result<(), Halt> {
        let part = &parts.parts[number - 1];
        let several = parts.parts.len() > 1;
        if part.begins <= run.now() && !(several && run.is_plan()) {
            return Ok(());
        }
        let says = if several {
            format!(
                "part {number} of {}, with {}; outside quiet hours the last of all is sent by about {}",
                parts.parts.len(),
                counted(part.messages(), "message", "messages"),
                parts.drained
            )
        } else {
            format!(
                "{} sent from now on would reach into quiet hours",
                counted(part.messages(), "message", "messages")
            )
        };
        run.wait_until(&WA_R1, part.begins.max(run.now()), says).await
    }

    /// Returns whether something of it was sent.
    async fn watch_for_relapse(
        &self,
        run: &mut Run,
        (campaign, part): (&Paused, usize),
        since: Timestamp,
        resumed: &[Paused],
    ) -> Result<bool, Halt> {
        let watch = Watch::every(self.on.limits.dispatcher_interval, SEND_WITHIN);
        let health = Observing {
            probe: SendsAfterResume::of(&self.on, (campaign, part), since),
            satisfied: Sends::are_conclusive,
        };
        let sends = run.until(&WA_R1, watch, health).await?;
        if sends.taken || sends.percent < RELAPSE_PERCENT {
            return Ok(sends.tries > 0);
        }
        PauseAgain::of(&self.on, resumed).pause(run).await?;
        let again = match sends.repeats {
            0 => format!("{} % of the sends of {} failed again", sends.percent, campaign.name),
            some => format!(
                "{} of {} went out again to who had it already, or failed: {} % of its sends,",
                counted(some, "message", "messages"),
                campaign.name,
                sends.percent
            ),
        };
        let says = format!("{again} after it was resumed; what was resumed is paused again");
        Err(Halt::Refuted { step: WA_R1.id.to_owned(), says })
    }
}

/// What is known to be over before anything is sent again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Over {
    /// Whether a restriction of the account was lifted.
    pub(super) lifted: bool,
    /// When the rate limit ends, where there was one.
    pub(super) not_before: Option<Timestamp>,
}

/// Which campaigns these are.
pub(super) fn named(campaigns: &[Paused]) -> Vec<(CampaignId, String)> {
    campaigns.iter().map(|one| (one.campaign, one.name.clone())).collect()
}

/// How much one campaign has left to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stage {
    pub(super) campaign: CampaignId,
    pub(super) unsent: u64,
}

/// How much all have left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unsent {
    pub(super) stages: Vec<Stage>,
}

impl Unsent {
    pub(super) fn of_campaign(&self, campaign: CampaignId) -> u64 {
        self.stages.iter().find(|stage| stage.campaign == campaign).map_or(0, |stage| stage.unsent)
    }

    /// The smallest queue first: if sending is still broken, the fewest people notice.
    pub(super) fn smallest_first(&self) -> Vec<Stage> {
        let mut stages = self.stages.clone();
        stages.sort_by_key(|stage| (stage.unsent, stage.campaign));
        stages
    }
}

/// Counts what is left to send.
pub(super) struct UnsentMessages {
    queue: Arc<dyn SendQueue>,
    of: Vec<Paused>,
    given_up: Vec<GivenUp>,
}

impl UnsentMessages {
    /// With what was given up and is put back.
    pub(super) fn of(on: &Platform, campaigns: &[Paused], given_up: &[GivenUp]) -> Self {
        let queue = Arc::clone(&on.send_queue);
        Self { queue, of: campaigns.to_vec(), given_up: given_up.to_vec() }
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
            let skipped = self.queue.skipped(campaign.campaign, &campaign.skipped).await?;
            let given_up = self.given_up.iter().find(|one| one.campaign == campaign.campaign);
            let back = given_up.map_or(0, GivenUp::count);
            let mut shows = format!("{}: {waiting} waiting, {skipped} skipped", campaign.name);
            if back > 0 {
                let _ = write!(shows, ", {back} to be put back");
            }
            evidence.push(Evidence::new("send_queue (PostgREST)", shows));
            stages.push(Stage { campaign: campaign.campaign, unsent: waiting + skipped + back });
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
    /// Sends to who had the message already.
    #[serde(default)]
    repeats: u64,
    intervals: u64,
    /// Somebody else has it since: what it sends, or does not send, proves nothing any more.
    #[serde(default)]
    taken: bool,
    /// Nothing was tried, and nothing waits any more.
    #[serde(default)]
    drained: bool,
}

impl Sends {
    fn are_conclusive(&self) -> Result<(), String> {
        if self.taken {
            return Ok(());
        }
        if self.intervals < 2 {
            return Err("watch two runs of the dispatcher after the resume".to_owned());
        }
        // A run may have been away while a dispatcher that looks at no campaign's status sent all there was.
        if self.tries == 0 && !self.drained {
            return Err("nothing was sent yet after the resume".to_owned());
        }
        Ok(())
    }
}

struct SendsAfterResume {
    campaigns: Arc<dyn Campaigns>,
    queue: Arc<dyn SendQueue>,
    log: Arc<dyn SendLog>,
    campaign: Paused,
    /// Of which part of its messages.
    part: usize,
    since: Timestamp,
    interval: Duration,
}

impl SendsAfterResume {
    fn of(on: &Platform, (campaign, part): (&Paused, usize), since: Timestamp) -> Self {
        Self {
            campaigns: Arc::clone(&on.campaigns),
            queue: Arc::clone(&on.send_queue),
            log: Arc::clone(&on.send_log),
            campaign: campaign.clone(),
            part,
            since,
            interval: on.limits.dispatcher_interval,
        }
    }
}

#[async_trait]
impl Probe for SendsAfterResume {
    type Value = Sends;

    fn subject(&self) -> String {
        let campaign = format!("campaign {}", self.campaign.campaign);
        if self.part == 1 { campaign } else { format!("{campaign} part {}", self.part) }
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<Sends>, PortError> {
        let tally = self.log.tally(Some(self.campaign.campaign), self.since).await?;
        let elapsed = now.duration_since(self.since).as_secs().unsigned_abs();
        let (_, taken) = look_for_taken(&*self.campaigns, &*self.queue, self.campaign.campaign).await?;
        let value = Sends {
            taken,
            tries: tally.tries(),
            percent: percent_of_our_failures(&tally),
            repeats: tally.repeats,
            intervals: elapsed / self.interval.as_secs().max(1),
            drained: tally.tries() == 0 && self.queue.pending(self.campaign.campaign).await? == 0,
        };
        let mut says = format!("{} since its resume: {}", self.campaign.name, tally);
        if value.drained {
            says.push_str("; nothing waits any more");
        }
        let evidence = vec![Evidence::new("send_logs (PostgREST)", says.clone())];
        Ok(Observation { value, says, evidence })
    }
}
