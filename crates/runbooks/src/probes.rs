//! Probes that several runbooks make.

use std::sync::Arc;

use crate::words::counted;
use allclear_core::policy::{SendPolicy, StoredPolicy};
use allclear_core::ports::{Campaigns, PolicyStore, SendQueue};
use allclear_core::{Campaign, CampaignId, CampaignStatus, Class, Platform, PortError};
use allclear_engine::{Evidence, Halt, Observation, Probe, Run, Step};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The campaigns that run, or those of them that were named.
pub(crate) struct RunningCampaigns {
    campaigns: Arc<dyn Campaigns>,
    only: Vec<CampaignId>,
}

impl RunningCampaigns {
    pub(crate) fn of(on: &Platform, only: &[CampaignId]) -> Self {
        Self { campaigns: Arc::clone(&on.campaigns), only: only.to_vec() }
    }
}

#[async_trait]
impl Probe for RunningCampaigns {
    type Value = Vec<Campaign>;

    fn subject(&self) -> String {
        "running campaigns".to_owned()
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
            let stopped = last.is_some_and(|last| last.action == "campaign_stop" && !last.ours);
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

/// How many of the campaigns that a run started still run, by one more look before its last word. What somebody else took since
/// is theirs: it is left as they have it, told, and keeps the run from ending as verified.
pub(crate) async fn count_still_started(
    run: &mut Run,
    step: &Step,
    on: &Platform,
    started: &[CampaignId],
) -> Result<usize, Halt> {
    if started.is_empty() || run.is_plan() {
        return Ok(started.len());
    }
    let taken = run.probe(step, TakenSince::of(on, started)).await?;
    for campaign in &taken {
        let says = format!(
            "campaign {} is {}: somebody else took it after this run had started it again, and that was left as they have it",
            campaign.name, campaign.status
        );
        run.owe(step, &format!("campaign {} after its start", campaign.id), says).await?;
    }
    Ok(started.len() - taken.len())
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
}

impl StoredSendPolicy {
    pub(crate) fn read(on: &Platform) -> Self {
        Self::of(&on.policy)
    }

    pub(crate) fn of(policy: &Arc<dyn PolicyStore>) -> Self {
        Self { policy: Arc::clone(policy) }
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
        "sending policy".to_owned()
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
