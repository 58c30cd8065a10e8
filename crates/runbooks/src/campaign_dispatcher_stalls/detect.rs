//! Probes: what moves, what waits, whether the dispatcher is healthy, and whether a replay helped.

use std::sync::Arc;
use std::time::Duration;

use crate::effects::{PauseCampaign, TO_THE_SECOND};
use crate::probes::look_for_taken;
use crate::words::counted;
use allclear_core::campaign::CampaignAction;
use allclear_core::function::{DeployedFunction, FunctionCalls, FunctionStatus};
use allclear_core::ports::{Campaigns, FunctionHost, QueueDepth, SendLog, SendQueue, Targets};
use allclear_core::target::TargetProgress;
use allclear_core::{Campaign, CampaignId, Platform, PortError};
use allclear_engine::{Evidence, Note, Observation, Probe};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How far back the host's log is read for the dispatcher's health.
const HEALTH_WINDOW: Duration = Duration::from_mins(5);
/// In how many runs of the dispatcher a replayed campaign must send: one tick proves little.
const SUSTAINED: u64 = 3;

/// Whether a campaign moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Movement {
    /// It does.
    Moves,
    /// Nothing is due.
    NothingDue,
    /// Messages go out, and its targets do not show it.
    TargetsNotUpdated,
    /// Messages are due and none goes out.
    Stalled,
}

/// One campaign at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CampaignLook {
    pub(super) id: CampaignId,
    pub(super) name: String,
    pub(super) movement: Movement,
    pub(super) progress: TargetProgress,
    pub(super) depth: QueueDepth,
    /// Tries to send within the window.
    #[serde(default)]
    pub(super) tries: u64,
    /// Of them those of what had gone out already.
    #[serde(default)]
    pub(super) repeats: u64,
    /// When it had last been started, by the platform's own time.
    #[serde(default)]
    pub(super) started_at: Option<Timestamp>,
}

/// From so many on, messages that go out again are no accident.
const FEWEST_REPEATS: u64 = 10;

impl CampaignLook {
    pub(super) fn is_suspect(&self) -> bool {
        matches!(self.movement, Movement::Stalled | Movement::TargetsNotUpdated)
    }

    /// What was due is due no more, and no target shows what became of it.
    pub(super) fn lost_sight_of(&self, later: &Self) -> bool {
        later.movement == Movement::NothingDue && later.progress.waiting() > 0 && self.saw_the_same_as(later)
    }

    /// Nothing was tried for as long as the window, and messages are due. Targets may still change: what went out before is
    /// delivered by and by.
    pub(super) fn stands_still(&self) -> bool {
        self.depth.due > 0 && self.tries == 0
    }

    /// Recipients get the same message again: that is no movement.
    pub(super) fn repeats_itself(&self) -> bool {
        self.repeats >= FEWEST_REPEATS
    }

    /// Its pause, as long as it is as it was looked at.
    pub(super) fn pause(&self, on: &Platform) -> PauseCampaign {
        PauseCampaign::of(on, self.id, &self.name).seen_started(self.started_at)
    }

    /// Whether nothing at all has changed between two looks.
    pub(super) fn saw_the_same_as(&self, later: &Self) -> bool {
        self.progress.last_update_at == later.progress.last_update_at
    }

    pub(super) fn affected(&self) -> Note {
        Note::Affected {
            kind: "campaign".to_owned(),
            id: self.id.to_string(),
            label: self.name.clone(),
            says: format!("it was running and did not move; {}; queue {}", self.progress, self.depth),
        }
    }
}

/// Which look at campaigns it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    First,
    Second,
    /// Of what moved between the first two.
    Third,
    /// Where the looks before are some minutes old.
    BeforeThePause,
    /// Before what was started is paused again.
    BeforePausingAgain,
    /// Of campaigns that a run which has ended left paused.
    OfHeld,
}

impl Which {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::First => "first look",
            Self::Second => "second look",
            Self::Third => "third look",
            Self::BeforeThePause => "look right before the pause",
            Self::BeforePausingAgain => "look before pausing again",
            Self::OfHeld => "look at what is held",
        }
    }
}

/// Looks at campaigns, past every cache.
pub(super) struct Look {
    targets: Arc<dyn Targets>,
    queue: Arc<dyn SendQueue>,
    log: Arc<dyn SendLog>,
    campaigns: Vec<Campaign>,
    window: Duration,
    which: Which,
}

impl Look {
    pub(super) fn of(which: Which, on: &Platform, campaigns: &[Campaign], window: Duration) -> Self {
        Self {
            targets: Arc::clone(&on.targets),
            queue: Arc::clone(&on.send_queue),
            log: Arc::clone(&on.send_log),
            campaigns: campaigns.to_vec(),
            window,
            which,
        }
    }

    async fn at(&self, campaign: &Campaign, now: Timestamp) -> Result<CampaignLook, PortError> {
        let progress = self.targets.progress(campaign.id).await?;
        let depth = self.queue.depth(campaign.id, now).await?;
        let sends = self.log.tally(Some(campaign.id), now - self.window).await?;
        let targets_rest = progress.last_update_at.is_none_or(|at| at + self.window <= now);
        let unshown = depth.due == 0 && targets_rest && self.sent_unshown(campaign.id, &progress).await?;
        let movement = match (depth.due, sends.tries(), targets_rest) {
            (0, _, _) if unshown => Movement::TargetsNotUpdated,
            (0, _, _) => Movement::NothingDue,
            (_, 0, true) => Movement::Stalled,
            (_, _, true) => Movement::TargetsNotUpdated,
            (_, _, false) => Movement::Moves,
        };
        Ok(CampaignLook {
            id: campaign.id,
            name: campaign.name.clone(),
            movement,
            progress,
            depth,
            tries: sends.tries(),
            repeats: sends.repeats,
            started_at: campaign.started_at,
        })
    }

    /// Whether messages went out that targets wait for and do not show. Until the queue is empty its due messages tell; after
    /// that only the log does, and an empty queue beside waiting targets is no movement.
    async fn sent_unshown(&self, campaign: CampaignId, progress: &TargetProgress) -> Result<bool, PortError> {
        let Some(last) = progress.last_update_at.filter(|_| progress.waiting() > 0) else { return Ok(false) };
        Ok(self.log.tally(Some(campaign), last + self.window).await?.sent > 0)
    }
}

#[async_trait]
impl Probe for Look {
    type Value = Vec<CampaignLook>;

    fn subject(&self) -> String {
        self.which.title().to_owned()
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<Vec<CampaignLook>>, PortError> {
        let (mut looks, mut evidence) = (Vec::new(), Vec::new());
        for campaign in &self.campaigns {
            let look = self.at(campaign, now).await?;
            let shows =
                format!("{}: {:?}; {}; queue {}", look.name, look.movement, look.progress, look.depth);
            evidence.push(Evidence::new("campaign_targets, send_queue and send_logs (PostgREST)", shows));
            looks.push(look);
        }
        let suspects = looks.iter().filter(|look| look.is_suspect()).count();
        let says =
            format!("{}: {suspects} of {} running campaigns do not move", self.which.title(), looks.len());
        Ok(Observation { value: looks, says, evidence })
    }
}

/// Whether what was seen to stall stalls still, for what is done upon an older look.
pub(super) struct StillStalls(pub(super) Look);

#[async_trait]
impl Probe for StillStalls {
    type Value = Option<String>;

    fn subject(&self) -> String {
        "whether it stalls still".to_owned()
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<Option<String>>, PortError> {
        let Observation { value: looks, says, evidence } = self.0.observe(now).await?;
        let none_stalls = looks.iter().all(|look| look.movement != Movement::Stalled);
        let value = none_stalls.then(|| {
            let names: Vec<&str> = looks.iter().map(|look| look.name.as_str()).collect();
            format!(
                "none of what was found to stall stalls any more ({}); start the runbook anew",
                names.join(", ")
            )
        });
        Ok(Observation { value, says, evidence })
    }
}

/// How much waits.
pub(super) struct QueueLengths {
    queue: Arc<dyn SendQueue>,
    campaigns: Vec<CampaignLook>,
}

impl QueueLengths {
    pub(super) fn of(on: &Platform, campaigns: &[CampaignLook]) -> Self {
        Self { queue: Arc::clone(&on.send_queue), campaigns: campaigns.to_vec() }
    }
}

#[async_trait]
impl Probe for QueueLengths {
    type Value = Vec<QueueDepth>;

    async fn observe(&self, now: Timestamp) -> Result<Observation<Vec<QueueDepth>>, PortError> {
        let (mut depths, mut evidence) = (Vec::new(), Vec::new());
        for campaign in &self.campaigns {
            let depth = self.queue.depth(campaign.id, now).await?;
            evidence.push(Evidence::new("send_queue (PostgREST)", format!("{}: {depth}", campaign.name)));
            depths.push(depth);
        }
        let due: u64 = depths.iter().map(|depth| depth.due).sum();
        let says = format!(
            "{} of {} due and not taken",
            counted(due, "message", "messages"),
            counted(depths.len(), "campaign", "campaigns")
        );
        Ok(Observation { value: depths, says, evidence })
    }
}

/// What the host says of the dispatcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Health {
    function: Option<DeployedFunction>,
    calls: FunctionCalls,
}

impl Health {
    /// Served, and its latest calls did not all fail. No calls at all are no failure: nobody may have called.
    pub(super) fn is_healthy(&self) -> bool {
        let active = self.function.as_ref().is_some_and(|function| function.status == FunctionStatus::Active);
        active && (self.calls.failed == 0 || self.calls.succeeded > 0)
    }

    /// For a watch: it is healthy, or what it is.
    pub(super) fn must_be_healthy(&self) -> Result<(), String> {
        if self.is_healthy() { Ok(()) } else { Err(self.to_string()) }
    }
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.function {
            Some(function) => write!(f, "the dispatcher is {function}")?,
            None => f.write_str("the host has no dispatcher")?,
        }
        let FunctionCalls { succeeded, failed } = self.calls;
        write!(f, "; {succeeded} of its calls in the last five minutes succeeded and {failed} failed")
    }
}

/// Looks at the dispatcher without calling it: each call would send messages.
pub(super) struct DispatcherHealth {
    host: Arc<dyn FunctionHost>,
    slug: String,
    subject: String,
}

impl DispatcherHealth {
    pub(super) fn of(on: &Platform) -> Self {
        Self {
            host: Arc::clone(&on.functions),
            slug: on.limits.dispatch_function.clone(),
            subject: "dispatcher".to_owned(),
        }
    }

    /// The same, waited for.
    pub(super) fn again(on: &Platform) -> Self {
        Self { subject: "dispatcher healthy".to_owned(), ..Self::of(on) }
    }

    /// The same, right before a start that had to wait for the morning.
    pub(super) fn before_the_start(on: &Platform, campaign: CampaignId) -> Self {
        Self { subject: format!("dispatcher healthy before the start of {campaign}"), ..Self::of(on) }
    }
}

#[async_trait]
impl Probe for DispatcherHealth {
    type Value = Health;

    fn subject(&self) -> String {
        self.subject.clone()
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<Health>, PortError> {
        let function = self.host.find(&self.slug).await?;
        let calls = self.host.calls_since(&self.slug, now - HEALTH_WINDOW).await?;
        let health = Health { function, calls };
        let says = health.to_string();
        let evidence = vec![Evidence::new("Supabase Management API, function and its log", says.clone())];
        Ok(Observation { value: health, says, evidence })
    }
}

/// Messages that a start would send a second time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Doubles {
    pub(super) messages: u64,
}

/// Compares the queue with the send log.
pub(super) struct SentTwice {
    queue: Arc<dyn SendQueue>,
    campaigns: Vec<CampaignLook>,
}

impl SentTwice {
    pub(super) fn of(on: &Platform, campaigns: &[CampaignLook]) -> Self {
        Self { queue: Arc::clone(&on.send_queue), campaigns: campaigns.to_vec() }
    }
}

#[async_trait]
impl Probe for SentTwice {
    type Value = Doubles;

    fn subject(&self) -> String {
        "already sent".to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Doubles>, PortError> {
        let (mut messages, mut evidence) = (0, Vec::new());
        for campaign in &self.campaigns {
            let doubles = self.queue.sent_but_pending(campaign.id).await?;
            messages += doubles;
            let shows = format!("{}: {doubles} waiting rows have gone out", campaign.name);
            evidence.push(Evidence::new("send_queue against send_logs (PostgREST)", shows));
        }
        let says = match messages {
            0 => "nothing that waits has gone out already".to_owned(),
            many => format!(
                "{} gone out already",
                counted(many, "message that waits has", "messages that wait have")
            ),
        };
        Ok(Observation { value: Doubles { messages }, says, evidence })
    }
}

/// Campaigns that somebody started a short while ago.
pub(super) struct RecentStarts {
    campaigns: Arc<dyn Campaigns>,
    of: Vec<CampaignLook>,
    within: Duration,
}

impl RecentStarts {
    pub(super) fn of(on: &Platform, campaigns: &[CampaignLook], within: Duration) -> Self {
        Self { campaigns: Arc::clone(&on.campaigns), of: campaigns.to_vec(), within }
    }
}

#[async_trait]
impl Probe for RecentStarts {
    type Value = Vec<String>;

    fn subject(&self) -> String {
        "recent starts".to_owned()
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<Vec<String>>, PortError> {
        let mut recent = Vec::new();
        for campaign in &self.of {
            let changes = self.campaigns.changes_since(campaign.id, now - self.within).await?;
            if changes.iter().any(|change| change.action == CampaignAction::Start) {
                recent.push(campaign.name.clone());
            }
        }
        let says = format!(
            "{} of {} started a short while ago",
            recent.len(),
            counted(self.of.len(), "campaign was", "campaigns were")
        );
        let evidence = vec![Evidence::new("audit_log (PostgREST)", says.clone())];
        Ok(Observation { value: recent, says, evidence })
    }
}

/// How one campaign goes since it was started anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Progressing {
    name: String,
    /// Messages that went out, each counted once.
    sends: u64,
    /// Sends of what had gone out already.
    repeats: u64,
    /// Sends that failed.
    failures: u64,
    /// Runs of the dispatcher in which it sent.
    runs: u64,
    /// Messages that are due.
    due: u64,
    targets_moved: bool,
    /// The campaign, where somebody else has taken it since: it need not move.
    #[serde(default)]
    taken: Option<CampaignId>,
}

/// How all go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Advance {
    campaigns: Vec<Progressing>,
    /// In how many runs of the dispatcher each must send.
    needed: u64,
}

impl Advance {
    /// The campaigns whose recipients get messages twice, with how many.
    pub(super) fn repeating(&self) -> Option<String> {
        let repeating: Vec<String> = self
            .campaigns
            .iter()
            .filter(|campaign| campaign.repeats > 0)
            .map(|one| {
                format!("{} ({} for {})", one.name, counted(one.repeats, "repeat", "repeats"), one.sends)
            })
            .collect();
        (!repeating.is_empty()).then(|| repeating.join(", "))
    }

    /// Whether somebody else took a campaign since its start.
    pub(super) fn is_taken(&self, campaign: CampaignId) -> bool {
        self.campaigns.iter().any(|one| one.taken == Some(campaign))
    }

    /// Enough is known: it moves as it should, or recipients get messages twice, which must not go on.
    pub(super) fn is_decided(&self) -> Result<(), String> {
        if self.repeating().is_some() { Ok(()) } else { self.is_sustained() }
    }

    /// Sends in several runs (or until nothing is due), and targets that show them.
    pub(super) fn is_sustained(&self) -> Result<(), String> {
        for campaign in self.campaigns.iter().filter(|campaign| campaign.taken.is_none()) {
            let Progressing { name, sends, runs, due, targets_moved, failures, .. } = campaign;
            if *failures > *sends {
                let failed = counted(*failures, "send failed", "sends failed");
                return Err(format!("{name}: {failed} and {sends} went out; see whatsapp-send-failures"));
            }
            if *sends == 0 {
                return Err(format!("{name} has sent nothing yet"));
            }
            if !targets_moved {
                return Err(format!(
                    "{name}: the dispatcher is active ({}) and its targets are not updated",
                    counted(*sends, "send", "sends")
                ));
            }
            if *runs < self.needed && *due > 0 {
                return Err(format!("{name} has sent in {runs} of {} runs of the dispatcher", self.needed));
            }
        }
        Ok(())
    }
}

/// From when on sends are movement. A run may have been away since the start, and all there was gone out meanwhile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since {
    /// When the campaigns were seen to stall.
    pub(super) seen: Timestamp,
    /// When the run began to start them.
    pub(super) replay: Timestamp,
}

impl Since {
    /// Of a campaign that was started at this time by the platform's clock: then, and not when somebody looked. Where nothing waits
    /// any more, whatever went out since the stall is what it had: a dispatcher may send what is paused.
    fn of(self, started_at: Option<Timestamp>, pending: u64) -> Timestamp {
        let ours = started_at.filter(|at| *at + TO_THE_SECOND >= self.replay);
        if pending == 0 { self.seen } else { ours.unwrap_or(self.replay) }
    }
}

/// Looks at campaigns since they were started anew.
pub(super) struct AfterReplay {
    all: Arc<dyn Campaigns>,
    targets: Arc<dyn Targets>,
    queue: Arc<dyn SendQueue>,
    log: Arc<dyn SendLog>,
    campaigns: Vec<CampaignLook>,
    since: Since,
    interval: Duration,
    needed: u64,
}

impl AfterReplay {
    pub(super) fn of(on: &Platform, campaigns: &[CampaignLook], since: Since, within: Duration) -> Self {
        let interval = on.limits.dispatcher_interval.max(Duration::from_secs(1));
        // A slow dispatcher has fewer runs in the time allowed.
        let runs = (within.as_secs() / interval.as_secs()).saturating_sub(1);
        Self {
            all: Arc::clone(&on.campaigns),
            targets: Arc::clone(&on.targets),
            queue: Arc::clone(&on.send_queue),
            log: Arc::clone(&on.send_log),
            campaigns: campaigns.to_vec(),
            since,
            interval,
            needed: runs.clamp(1, SUSTAINED),
        }
    }

    /// In how many intervals since the start something went out.
    async fn runs(&self, campaign: CampaignId, since: Timestamp, now: Timestamp) -> Result<u64, PortError> {
        let (mut runs, mut from) = (0, since);
        let mut left = self.log.tally(Some(campaign), from).await?.tries();
        while left > 0 && from < now {
            from += self.interval;
            let later = if from < now { self.log.tally(Some(campaign), from).await?.tries() } else { 0 };
            runs += u64::from(later < left);
            left = later;
        }
        Ok(runs)
    }

    async fn progressing(&self, campaign: &CampaignLook, now: Timestamp) -> Result<Progressing, PortError> {
        let progress = self.targets.progress(campaign.id).await?;
        let depth = self.queue.depth(campaign.id, now).await?;
        let (stands, is_taken) = look_for_taken(&*self.all, &*self.queue, campaign.id).await?;
        let since = self.since.of(stands.started_at, depth.pending);
        let sends = self.log.tally(Some(campaign.id), since).await?;
        Ok(Progressing {
            name: campaign.name.clone(),
            sends: sends.sent,
            repeats: sends.repeats,
            failures: sends.failures(),
            runs: self.runs(campaign.id, since, now).await?,
            due: depth.due,
            targets_moved: progress.last_update_at.is_some_and(|at| at >= since),
            taken: is_taken.then_some(campaign.id),
        })
    }
}

#[async_trait]
impl Probe for AfterReplay {
    type Value = Advance;

    async fn observe(&self, now: Timestamp) -> Result<Observation<Advance>, PortError> {
        let (mut campaigns, mut evidence) = (Vec::new(), Vec::new());
        for campaign in &self.campaigns {
            let one = self.progressing(campaign, now).await?;
            let moved = if one.targets_moved { "targets updated" } else { "targets not updated" };
            let taken = if one.taken.is_some() { ", taken by somebody else" } else { "" };
            let shows = format!(
                "{}: {} in {}, {} repeated, {} failed, {moved}, {} due{taken}",
                one.name,
                counted(one.sends, "message sent", "messages sent"),
                counted(one.runs, "run", "runs"),
                one.repeats,
                one.failures,
                one.due
            );
            evidence.push(Evidence::new("send_logs, campaign_targets and send_queue (PostgREST)", shows));
            campaigns.push(one);
        }
        let advance = Advance { campaigns, needed: self.needed };
        let says = match advance.repeating().map_or_else(|| advance.is_sustained(), Err) {
            Ok(()) => counted(advance.campaigns.len(), "campaign advances", "campaigns advance"),
            Err(missing) => missing,
        };
        Ok(Observation { value: advance, says, evidence })
    }
}
