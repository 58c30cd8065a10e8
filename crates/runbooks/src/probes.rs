//! Probes that several runbooks make.

use std::sync::Arc;
use std::time::Duration;

use crate::effects::{PostMessage, Resumed, tell};
use crate::quiet::recipients_zone;
use crate::words::counted;
use allclear_core::campaign::CampaignAction;
use allclear_core::clock::before;
use allclear_core::policy::{SendPolicy, StoredPolicy};
use allclear_core::ports::{Campaigns, ChatMessage, Limits, PolicyStore, SendLog, SendQueue};
use allclear_core::send_fault::SendFault;
use allclear_core::target::SendTally;
use allclear_core::{Campaign, CampaignId, CampaignStatus, Class, Platform, PortError};
use allclear_engine::{Escalation, Evidence, Halt, Observation, OnlyWhile, Probe, Run, Settled, Step};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The campaigns that run, or those of them that were named.
pub(crate) struct RunningCampaigns {
    campaigns: Arc<dyn Campaigns>,
    only: Vec<CampaignId>,
    subject: &'static str,
}

impl RunningCampaigns {
    pub(crate) fn of(on: &Platform, only: &[CampaignId]) -> Self {
        Self { campaigns: Arc::clone(&on.campaigns), only: only.to_vec(), subject: "running campaigns" }
    }

    /// Which of these run still.
    pub(crate) fn still(on: &Platform, of: &[CampaignId]) -> Self {
        Self { subject: "still running", ..Self::of(on, of) }
    }
}

#[async_trait]
impl Probe for RunningCampaigns {
    type Value = Vec<Campaign>;

    fn subject(&self) -> String {
        self.subject.to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Vec<Campaign>>, PortError> {
        let running = if self.only.is_empty() {
            self.campaigns.running().await?
        } else {
            let mut named = Vec::new();
            for id in &self.only {
                let campaign = self.campaigns.find(*id).await?;
                if campaign.status == CampaignStatus::Running {
                    named.push(campaign);
                }
            }
            named
        };
        let all: Vec<&Campaign> = running.iter().collect();
        let says = named(&all, "campaign is running", "campaigns are running");
        let evidence = vec![Evidence::new("campaigns (PostgREST)", says.clone())];
        Ok(Observation { value: running, says, evidence })
    }
}

/// The campaigns that may send: those that run, and those with messages waiting, because the dispatcher never looks at a
/// campaign's status.
pub(crate) async fn sending(
    campaigns: &dyn Campaigns,
    queue: &dyn SendQueue,
) -> Result<Vec<Campaign>, PortError> {
    let mut sending = campaigns.running().await?;
    for id in queue.waiting_campaigns().await? {
        if sending.iter().all(|campaign| campaign.id != id) {
            sending.push(campaigns.find(id).await?);
        }
    }
    Ok(sending)
}

/// The campaigns that may send, or those of them that were named.
pub(crate) struct SendingCampaigns {
    campaigns: Arc<dyn Campaigns>,
    queue: Arc<dyn SendQueue>,
    only: Vec<CampaignId>,
}

impl SendingCampaigns {
    pub(crate) fn of(on: &Platform, only: &[CampaignId]) -> Self {
        Self { campaigns: Arc::clone(&on.campaigns), queue: Arc::clone(&on.send_queue), only: only.to_vec() }
    }
}

#[async_trait]
impl Probe for SendingCampaigns {
    type Value = Vec<Campaign>;

    fn subject(&self) -> String {
        "campaigns that may send".to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Vec<Campaign>>, PortError> {
        for id in &self.only {
            self.campaigns.find(*id).await?;
        }
        let mut sending = sending(&*self.campaigns, &*self.queue).await?;
        sending.retain(|campaign| self.only.is_empty() || self.only.contains(&campaign.id));
        let (running, others): (Vec<_>, Vec<_>) =
            sending.iter().partition(|campaign| campaign.status == CampaignStatus::Running);
        let mut says = named(&running, "campaign is running", "campaigns are running");
        if !others.is_empty() {
            let waiting = "is not running and has messages waiting";
            let more = named(
                &others,
                &format!("campaign {waiting}"),
                "campaigns are not running and have messages waiting",
            );
            says = format!("{says}; {more}");
        }
        let evidence = vec![Evidence::new("campaigns and send_queue (PostgREST)", says.clone())];
        Ok(Observation { value: sending, says, evidence })
    }
}

/// A campaign that a run had started, and whether somebody else has it since. One that ended by itself has nothing waiting, and
/// nobody stopped it.
pub(crate) async fn look_for_taken(
    campaigns: &dyn Campaigns,
    queue: &dyn SendQueue,
    campaign: CampaignId,
) -> Result<(Campaign, bool), PortError> {
    let campaign = campaigns.find(campaign).await?;
    let is_taken = match campaign.status {
        CampaignStatus::Running => false,
        CampaignStatus::Done => {
            let last = campaigns.last_change(campaign.id).await?;
            let stopped = last.is_some_and(|last| last.action == CampaignAction::Stop && !last.ours);
            stopped || queue.pending(campaign.id).await? > 0
        }
        _ => true,
    };
    Ok((campaign, is_taken))
}

/// Whether what a run started is still as it left it, read once more before its last word. Gives those that somebody else
/// has taken since.
struct TakenSince {
    campaigns: Arc<dyn Campaigns>,
    queue: Arc<dyn SendQueue>,
    started: Vec<CampaignId>,
}

impl TakenSince {
    fn of(on: &Platform, started: &[CampaignId]) -> Self {
        Self {
            campaigns: Arc::clone(&on.campaigns),
            queue: Arc::clone(&on.send_queue),
            started: started.to_vec(),
        }
    }
}

#[async_trait]
impl Probe for TakenSince {
    type Value = Vec<Campaign>;

    fn subject(&self) -> String {
        "started campaigns before the end".to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Vec<Campaign>>, PortError> {
        let mut taken = Vec::new();
        let mut states = Vec::new();
        for id in &self.started {
            let (campaign, is_taken) = look_for_taken(&*self.campaigns, &*self.queue, *id).await?;
            states.push(format!("{} {}", campaign.name, campaign.status));
            if is_taken {
                taken.push(campaign);
            }
        }
        let all: Vec<&Campaign> = taken.iter().collect();
        let says = if taken.is_empty() {
            "what was started is still as it was left".to_owned()
        } else {
            named(
                &all,
                "campaign was taken by somebody else since",
                "campaigns were taken by somebody else since",
            )
        };
        let evidence = vec![Evidence::new("campaigns (PostgREST)", states.join(", "))];
        Ok(Observation { value: taken, says, evidence })
    }
}

/// Whether a campaign that a run started runs as it was started, and what waits of it goes out: for the run's last word.
struct StillRuns {
    campaigns: Arc<dyn Campaigns>,
    queue: Arc<dyn SendQueue>,
    log: Arc<dyn SendLog>,
    policy: Arc<dyn PolicyStore>,
    limits: Limits,
    campaign: CampaignId,
    name: String,
    /// When it was last seen to run as it should.
    seen_at: Timestamp,
}

/// From this share of failures on a campaign that was started again has relapsed, in percent.
pub(crate) const RELAPSE_PERCENT: u64 = 5;
/// So far back its sends are looked at, at least.
const LATELY: Duration = Duration::from_mins(10);

impl StillRuns {
    fn of(on: &Platform, campaign: CampaignId, name: &str, seen_at: Timestamp) -> Self {
        Self {
            campaigns: Arc::clone(&on.campaigns),
            queue: Arc::clone(&on.send_queue),
            log: Arc::clone(&on.send_log),
            policy: Arc::clone(&on.policy),
            limits: on.limits.clone(),
            campaign,
            name: name.to_owned(),
            seen_at,
        }
    }

    async fn not_any_more(&self, now: Timestamp) -> Result<Option<String>, PortError> {
        let name = &self.name;
        let (campaign, is_taken) = look_for_taken(&*self.campaigns, &*self.queue, self.campaign).await?;
        if is_taken {
            return Ok(Some(format!(
                "campaign {name} is {}: somebody else took it, and it was left as they have it",
                campaign.status
            )));
        }
        let interval = self.limits.dispatcher_interval;
        // What failed before is over.
        let since = before(now, LATELY.max(interval * 3)).max(self.seen_at);
        let sends = self.log.tally(Some(self.campaign), since).await?;
        let percent = percent_of_our_failures(&sends);
        if percent >= RELAPSE_PERCENT {
            return Ok(Some(format!(
                "{percent} % of the sends of {name} since {since} failed or went out again"
            )));
        }
        // What has been due for some runs of the dispatcher is not taken up any more, unless it rests.
        let was_due = self.queue.depth(self.campaign, before(now, interval * 3)).await?.due;
        if was_due == 0
            || sends.tries() > 0
            || since > before(now, interval * 3)
            || self.is_quiet(now).await?
        {
            return Ok(None);
        }
        Ok(Some(format!(
            "{} of {name} due, and none was tried since {since}",
            counted(was_due, "message is", "messages are")
        )))
    }

    async fn is_quiet(&self, now: Timestamp) -> Result<bool, PortError> {
        let stored = StoredSendPolicy::of(&self.policy).observe(now).await?.value;
        let hours = stored.repaired(&self.limits.default_policy).quiet_hours;
        Ok(hours.began_at(now, &recipients_zone(&self.limits)).is_some())
    }
}

#[async_trait]
impl Probe for StillRuns {
    type Value = Option<String>;

    fn subject(&self) -> String {
        format!("campaign {} before the end", self.campaign)
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<Option<String>>, PortError> {
        let value = self.not_any_more(now).await?;
        let says = value.clone().unwrap_or_else(|| format!("campaign {} runs as it was started", self.name));
        let evidence = vec![Evidence::new("campaigns, send_queue and send_logs (PostgREST)", says.clone())];
        Ok(Observation { value, says, evidence })
    }
}

/// Failures that are not the recipient's: numbers that cannot receive are a matter of data, and pausing for them again
/// would never end.
pub(crate) fn percent_of_our_failures(tally: &SendTally) -> u64 {
    let is_theirs = |code: &str| {
        matches!(
            SendFault::from_text(code),
            SendFault::InvalidNumber | SendFault::Recipient | SendFault::PairLimit
        )
    };
    let failed: u64 = tally.failed.iter().filter(|(code, _)| !is_theirs(code)).map(|(_, count)| count).sum();
    // Who gets a message twice is no progress.
    let ours = failed + tally.repeats;
    if tally.tries() == 0 { 0 } else { ours * 100 / tally.tries() }
}

/// Whether a campaign was started by this run. `None` where the start does not hold: it is owed and told, and the other campaigns come
/// back all the same.
pub(crate) async fn started_by_us(
    run: &mut Run,
    step: &Step,
    on: &Platform,
    (id, name): (CampaignId, &str),
    settled: &Settled<Resumed>,
) -> Result<Option<bool>, Halt> {
    match settled.clone().proven(step) {
        Ok(resumed) => Ok(Some(resumed.by_us)),
        Err(Halt::Refuted { says, .. } | Halt::Unverified { says, .. }) => {
            let about = format!("campaign {id} not started");
            let says = format!("campaign {name} was started and that does not hold ({says}): start it");
            let told = NotStarted { on, step, about: about.clone(), says: says.clone() };
            run.owe(step, &about, says).await?;
            told.escalate(run).await?;
            Ok(None)
        }
        Err(halt) => Err(halt),
    }
}

/// In a plan, names who is told where a start does not hold.
pub(crate) async fn may_not_hold(run: &mut Run, step: &Step, on: &Platform) -> Result<(), Halt> {
    let (about, says) =
        ("campaign not started".to_owned(), "a campaign was started and that does not hold".to_owned());
    run.in_case("a campaign that is started does not run", &NotStarted { on, step, about, says }).await
}

/// A campaign stands still although everything else goes on: nobody would see it before the run's end, which may be days away.
struct NotStarted<'a> {
    on: &'a Platform,
    step: &'a Step,
    about: String,
    says: String,
}

#[async_trait]
impl Escalation for NotStarted<'_> {
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        let channel = self.on.limits.ops_channel.clone();
        let text = format!("Run {}: {}.", run.id(), self.says);
        let (about, marker) = (self.about.clone(), format!("{}/{}", run.id(), self.about));
        let message = ChatMessage { channel, text, about, marker };
        let posted = tell(run, self.step, PostMessage::of(self.on, message)).await?;
        let told = format!("people were told: {}", self.says);
        let untold = format!("nobody was told, so tell them by hand: {}", self.says);
        run.told(self.step, &told, &untold, &[posted.account()]).await.map(drop)
    }
}

/// Which of the campaigns that a run started still run, by one more look before it goes on record. What somebody else took since is
/// theirs: it is left as they have it, told, and keeps the run from ending as verified. The others are looked at once more before
/// the run's last word.
pub(crate) async fn still_started(
    run: &mut Run,
    step: &Step,
    on: &Platform,
    started: &[(CampaignId, String)],
) -> Result<Vec<CampaignId>, Halt> {
    let ids: Vec<CampaignId> = started.iter().map(|(id, _)| *id).collect();
    if started.is_empty() || run.is_plan() {
        return Ok(ids);
    }
    let taken = run.probe(step, TakenSince::of(on, &ids)).await?;
    let is_taken = |id: &CampaignId| taken.iter().any(|campaign| campaign.id == *id);
    for campaign in &taken {
        let says = format!(
            "campaign {} is {}: somebody else took it after this run had started it again, and that was left as they have it",
            campaign.name, campaign.status
        );
        run.owe(step, &format!("campaign {} after its start", campaign.id), says).await?;
    }
    for (id, name) in started.iter().filter(|(id, _)| !is_taken(id)) {
        ends_only_while_it_runs(run, step, on, (*id, name));
    }
    Ok(ids.into_iter().filter(|id| !is_taken(id)).collect())
}

/// That a campaign runs, and what waits of it goes out, is looked at once more before the run's last word.
pub(crate) fn ends_only_while_it_runs(
    run: &mut Run,
    step: &Step,
    on: &Platform,
    (id, name): (CampaignId, &str),
) {
    run.ends_only_while(step, OnlyWhile::of(StillRuns::of(on, id, name, run.now())));
}

/// How many these are, and their names.
fn named(campaigns: &[&Campaign], one: &str, many: &str) -> String {
    let names: Vec<&str> = campaigns.iter().map(|campaign| campaign.name.as_str()).collect();
    match names.len() {
        0 => format!("no {one}"),
        some => format!("{}: {}", counted(some, one, many), names.join(", ")),
    }
}

/// The stored policy.
pub(crate) struct StoredSendPolicy {
    policy: Arc<dyn PolicyStore>,
    subject: &'static str,
}

impl StoredSendPolicy {
    pub(crate) fn read(on: &Platform) -> Self {
        Self::of(&on.policy)
    }

    pub(crate) fn of(policy: &Arc<dyn PolicyStore>) -> Self {
        Self { policy: Arc::clone(policy), subject: "sending policy" }
    }

    /// The same, where the bullet has read it before.
    pub(crate) fn again(on: &Platform) -> Self {
        Self { subject: "sending policy again", ..Self::read(on) }
    }

    /// A table that is not as it should be answers the same twice; what a proxy put in its place does not.
    async fn look(&self) -> Result<StoredPolicy, PortError> {
        match self.policy.read().await {
            Err(error) if error.class() == Class::Permanent => self.policy.read().await,
            read => read,
        }
    }
}

/// What is known of the stored policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum KnownPolicy {
    /// It was read.
    Stored(StoredPolicy),
    /// The table is not as it should be: other columns, rows that are missing, values that are none. That is no reason to
    /// stop what makes things safe, and none to call anything proven that hangs on it.
    Unreadable {
        /// Why.
        unreadable: String,
    },
}

impl KnownPolicy {
    /// Whether it can be gone by as it is stored.
    pub(crate) fn is_sound(&self) -> bool {
        matches!(self, Self::Stored(stored) if stored.faults().is_empty())
    }

    /// The policy to go by: what is stored where it is sound, `fallback` where it is not or cannot be read.
    pub(crate) fn repaired(&self, fallback: &SendPolicy) -> SendPolicy {
        match self {
            Self::Stored(stored) => stored.repaired(fallback),
            Self::Unreadable { .. } => *fallback,
        }
    }
}

/// What a run owes that could not read the policy.
const POLICY: &str = "sending policy";

/// Puts on record that the policy could not be read, which keeps the run from ending as verified.
pub(crate) async fn owe_policy(run: &mut Run, step: &Step, unreadable: &str) -> Result<(), Halt> {
    let says =
        format!("check quiet hours and throttle by hand: the sending policy cannot be read: {unreadable}");
    run.owe(step, POLICY, says).await
}

#[async_trait]
impl Probe for StoredSendPolicy {
    type Value = KnownPolicy;

    fn subject(&self) -> String {
        self.subject.to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<KnownPolicy>, PortError> {
        let stored = match self.look().await {
            Ok(stored) => stored,
            Err(error) if error.class() == Class::Permanent => {
                let says = format!("the sending policy cannot be read: {error}");
                let evidence = vec![Evidence::new("settings (PostgREST)", error.to_string())];
                let value = KnownPolicy::Unreadable { unreadable: error.to_string() };
                return Ok(Observation { value, says, evidence });
            }
            Err(error) => return Err(error),
        };
        let faults: Vec<String> = stored.faults().iter().map(ToString::to_string).collect();
        let says = if faults.is_empty() {
            format!(
                "quiet hours {}–{} and {} sends a minute are sound",
                stored.quiet_start, stored.quiet_end, stored.throttle_per_minute
            )
        } else {
            faults.join("; ")
        };
        let shows = format!(
            "quiet hours {}–{}, throttle {}, {} opted out",
            stored.quiet_start, stored.quiet_end, stored.throttle_per_minute, stored.opted_out
        );
        let evidence = vec![Evidence::new("settings (PostgREST)", shows)];
        Ok(Observation { value: KnownPolicy::Stored(stored), says, evidence })
    }
}
