//! Pausing a campaign and starting it again.
//!
//! What can go wrong in the middle: the admin API writes the row and then calls the dispatcher, so any error answer
//! may hide a pause that happened. The client reports those as outcome unknown, and [`PauseCampaign::reconcile`] reads
//! the row and the audit log before anything is sent again. The audit log also tells *who* paused it: a campaign that
//! somebody else paused is never resumed by us.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::campaign::CampaignChange;
use allclear_core::ports::{Campaigns, Limits, SendLog};
use allclear_core::{Campaign, CampaignId, CampaignStatus, Platform, PortError, QueueRows, Service};
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Intent, Judgement, NotBefore, Patience, Prediction, Reconciled,
    Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AtOnce, change};
use crate::quiet::Start;
use crate::words::counted;

/// Messages that the dispatcher had in its hands when the pause came may still go out this long after it.
const IN_FLIGHT: Duration = Duration::from_secs(5);

/// Our time is the platform's to a second or two: `Date` knows whole seconds. A row of ours may be that much older than our
/// intent of it.
pub(crate) const TO_THE_SECOND: Duration = Duration::from_secs(5);

/// The audit log's words.
const PAUSED: &str = "campaign_pause";
const STARTED: &str = "campaign_start";
const STOPPED: &str = "campaign_stop";

/// A campaign that this run paused, or found paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Paused {
    pub(crate) campaign: CampaignId,
    pub(crate) name: String,
    /// Whether we did it; only then may we resume it.
    pub(crate) by_us: bool,
    /// Its messages that were marked as skipped, where its queue had to be stopped as well: those and no others are given back.
    #[serde(default)]
    pub(crate) skipped: QueueRows,
    /// When it had last been started, by the platform's own time, as it was paused: every later start overwrites that. `None`
    /// where it was not looked at.
    #[serde(default)]
    pub(crate) started_at: Option<Timestamp>,
    /// The ended run that had paused it, where this run took it over from there.
    #[serde(default)]
    pub(crate) taken_over_from: Option<String>,
}

impl Paused {
    /// A campaign as it is, not touched by this run.
    pub(crate) fn not_by_us(campaign: &Campaign) -> Self {
        Self {
            campaign: campaign.id,
            name: campaign.name.clone(),
            by_us: false,
            skipped: QueueRows::default(),
            started_at: campaign.started_at,
            taken_over_from: None,
        }
    }

    /// Which run paused it.
    pub(crate) fn pauser(&self) -> String {
        self.taken_over_from.as_ref().map_or_else(|| "this run".to_owned(), |run| format!("run {run}"))
    }

    /// What somebody else did to it since this run paused it; then it is theirs. A start leaves its time in the campaign; a
    /// pause is known from the audit log alone.
    pub(crate) async fn touched(
        &self,
        campaigns: &dyn Campaigns,
        now: &Campaign,
    ) -> Result<Option<String>, PortError> {
        if now.status != CampaignStatus::Paused {
            return Ok(Some(format!("it is {}, and not paused by us any more", now.status)));
        }
        if self.started_at.is_some_and(|ours| now.started_at.is_some_and(|now| now != ours)) {
            return Ok(Some(format!("somebody started and paused it since {} paused it", self.pauser())));
        }
        // Whoever paused it last has the say. That its last row is another than a pause is an audit log that loses rows.
        let last = campaigns.last_change(self.campaign).await?;
        let theirs = last.filter(|last| last.action == PAUSED && !last.ours);
        Ok(theirs.map(|last| format!("somebody else paused it at {}, and that stands", last.at)))
    }
}

/// Pauses one running campaign and proves that it stopped sending.
#[derive(Clone)]
pub(crate) struct PauseCampaign {
    campaigns: Arc<dyn Campaigns>,
    log: Arc<dyn SendLog>,
    limits: Limits,
    at_once: AtOnce,
    id: CampaignId,
    name: String,
}

impl PauseCampaign {
    pub(crate) fn named(on: &Platform, campaign: &Campaign) -> Self {
        Self::of(on, campaign.id, &campaign.name)
    }

    pub(crate) fn of(on: &Platform, id: CampaignId, name: &str) -> Self {
        Self {
            campaigns: Arc::clone(&on.campaigns),
            log: Arc::clone(&on.send_log),
            limits: on.limits.clone(),
            at_once: AtOnce::on(on),
            id,
            name: name.to_owned(),
        }
    }

    fn receipt(&self, by_us: bool, started_at: Option<Timestamp>) -> Paused {
        let (name, skipped) = (self.name.clone(), QueueRows::default());
        Paused { campaign: self.id, name, by_us, skipped, started_at, taken_over_from: None }
    }

    /// It is not paused. Either it never was, or somebody took the pause back since: then it is theirs, and is not paused
    /// again. The proof that follows finds it as it is.
    fn reconcile_awake(
        &self,
        intent: &Intent,
        campaign: &Campaign,
        our_pause: Option<&CampaignChange>,
    ) -> Reconciled<Paused> {
        let status = &campaign.status;
        if let Some(pause) = our_pause {
            let says =
                format!("the audit log has our pause at {}, and somebody made it {status} since", pause.at);
            return Reconciled::Happened(Applied { receipt: self.receipt(true, None), says });
        }
        // Audit rows get lost; the time of the last start does not.
        if let Some(started) = campaign.started_at.filter(|started| *started > intent.at + TO_THE_SECOND) {
            let says = format!("somebody started it at {started}, after this run set out to pause it");
            return Reconciled::Happened(Applied { receipt: self.receipt(false, Some(started)), says });
        }
        Reconciled::DidNot { why: format!("the campaign is {status}") }
    }

    /// What somebody else did to the campaign since this run set out to change it, where that is the last that was done.
    async fn theirs_since(&self, intent: &Intent) -> Result<Option<String>, PortError> {
        let last = self.campaigns.last_change(self.id).await?;
        let theirs = last.filter(|last| !last.ours && last.at >= intent.at - TO_THE_SECOND);
        Ok(theirs.map(|theirs| format!("somebody else's {} at {} came", theirs.action, theirs.at)))
    }

    /// What somebody did right before our own change overrode it unseen, after this run had looked: they have the say. A platform
    /// whose change names no expected state cannot refuse ours.
    async fn overridden(&self, intent: &Intent, ours: &str) -> Result<Option<CampaignChange>, PortError> {
        let changes = self.campaigns.changes_since(self.id, intent.at - TO_THE_SECOND).await?;
        let Some(written) = changes.iter().rfind(|change| change.ours && change.action == ours) else {
            return Ok(None);
        };
        // Of the same moment nobody knows which came first; then it counts as theirs before ours.
        let ends = |change: &&CampaignChange| {
            [PAUSED, STOPPED].contains(&&*change.action) && !change.ours && change.at <= written.at
        };
        let Some(theirs) = changes.iter().filter(ends).max_by_key(|change| change.at) else {
            return Ok(None);
        };
        let was_lifted = changes.iter().any(|change| change.at > theirs.at && change.at < written.at);
        Ok((!was_lifted).then(|| theirs.clone()))
    }

    /// The same, and gives the campaign back to them as they left it. Returns what they did.
    async fn give_back(&self, intent: &Intent, ours: &str) -> Result<Option<String>, PortError> {
        let Some(theirs) = self.overridden(intent, ours).await? else { return Ok(None) };
        match &*theirs.action {
            STOPPED => self.campaigns.stop(self.id).await?,
            // Our own pause leaves it as theirs did.
            _ if ours == PAUSED => {}
            _ => self.campaigns.pause(self.id).await?,
        }
        Ok(Some(format!(
            "somebody else's {} at {} came right before, and stands again",
            theirs.action, theirs.at
        )))
    }

    /// The change was made, and the look at what it overrode failed: whoever asks what became of it looks again.
    fn unseen(error: &PortError) -> PortError {
        PortError::OutcomeUnknown {
            service: Service::AdminApi,
            call: "changes of the campaign".to_owned(),
            detail: error.to_string(),
        }
    }

    /// Two dispatcher runs without a single send: one could be missed by chance.
    fn observation_window(&self) -> Duration {
        self.limits.dispatcher_interval * 2 + IN_FLIGHT
    }
}

#[async_trait]
impl Effect for PauseCampaign {
    type Receipt = Paused;
    type Undo = ResumeCampaign;

    fn name(&self) -> &'static str {
        "campaign.pause"
    }

    fn subject(&self) -> String {
        format!("campaign {}", self.id)
    }

    fn title(&self) -> String {
        format!("pause campaign {}", self.name)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let campaign = self.campaigns.find(self.id).await?;
        let status = foreseen.or("campaign", &self.id.to_string(), "status", campaign.status.as_str());
        if status != CampaignStatus::Running.as_str() {
            return Ok(Prediction::default());
        }
        Ok(Prediction::of(change("campaign", self.id, &self.name, "status", &status, "paused")))
    }

    fn foresee(&self, prediction: &Prediction) -> Paused {
        self.receipt(!prediction.changes.is_empty(), None)
    }

    async fn apply(&self, intent: &Intent) -> Result<Applied<Paused>, PortError> {
        let started_at = self.campaigns.find(self.id).await?.started_at;
        self.campaigns.pause(self.id).await?;
        let theirs = self.give_back(intent, PAUSED).await.map_err(|error| Self::unseen(&error))?;
        let says = match &theirs {
            Some(theirs) => format!("campaign {} was paused; {theirs}", self.name),
            None => format!("campaign {} was paused", self.name),
        };
        Ok(Applied { receipt: self.receipt(theirs.is_none(), started_at), says })
    }

    async fn reconcile(&self, intent: &Intent) -> Result<Reconciled<Paused>, PortError> {
        let campaign = self.campaigns.find(self.id).await?;
        let changes = self.campaigns.changes_since(self.id, intent.at - TO_THE_SECOND).await?;
        let pause = changes.iter().rfind(|change| change.action == PAUSED);
        if campaign.status != CampaignStatus::Paused {
            return Ok(self.reconcile_awake(intent, &campaign, pause.filter(|pause| pause.ours)));
        }
        match pause {
            Some(pause) if pause.ours => {
                let theirs = self.overridden(intent, PAUSED).await?;
                let mut says = format!("the audit log has our pause at {}", pause.at);
                if let Some(theirs) = &theirs {
                    says = format!("{says}, right after somebody else's {} at {}", theirs.action, theirs.at);
                }
                let receipt = self.receipt(theirs.is_none(), campaign.started_at);
                Ok(Reconciled::Happened(Applied { receipt, says }))
            }
            Some(pause) => Ok(Reconciled::Happened(Applied {
                receipt: self.receipt(false, campaign.started_at),
                says: format!("somebody else paused it at {}", pause.at),
            })),
            None => Ok(Reconciled::Unknown {
                why: "the campaign is paused, and the audit log does not say by whom".to_owned(),
            }),
        }
    }

    fn patience(&self) -> Patience {
        let window = self.observation_window();
        Patience {
            every: self.limits.dispatcher_interval / 2,
            within: window + self.limits.dispatcher_interval,
        }
    }

    async fn verify(
        &self,
        intent: &Intent,
        receipt: &Paused,
        now: Timestamp,
    ) -> Result<Judgement, PortError> {
        let campaign = self.campaigns.find(self.id).await?;
        let status = Evidence::new("campaigns (PostgREST)", format!("status {}", campaign.status));
        // What was not running before may be in any state but that; the dispatcher looks at none of them.
        let is_at_rest = if receipt.by_us {
            campaign.status == CampaignStatus::Paused
        } else {
            campaign.status != CampaignStatus::Running
        };
        if !is_at_rest {
            let theirs = self.theirs_since(intent).await?;
            let theirs =
                theirs.map_or_else(String::new, |theirs| format!(": {theirs} after its pause and stands"));
            let says = format!("campaign {} is {}{theirs}", self.name, campaign.status);
            return Ok(Judgement::refuted(says, vec![status]));
        }
        // The intent's time is before the pause: what was sent between the two counts as in flight.
        let since = intent.at + IN_FLIGHT;
        let sends = self.log.tally(Some(self.id), since).await?;
        let evidence =
            vec![status, Evidence::new("send_logs (PostgREST)", format!("since {since}: {sends}"))];
        if sends.tries() > 0 {
            let says = format!(
                "campaign {} is {} in data only: {} since",
                self.name,
                campaign.status,
                counted(sends.tries(), "send", "sends")
            );
            return Ok(Judgement::refuted(says, evidence));
        }
        if now < intent.at + self.observation_window() {
            return Ok(Judgement::pending(
                format!("watch whether campaign {} stops sending", self.name),
                evidence,
            ));
        }
        let says = format!("campaign {} is {} and sends nothing", self.name, campaign.status);
        Ok(Judgement::verified(says, evidence))
    }

    fn undo(&self, receipt: &Paused) -> Option<ResumeCampaign> {
        let at_once = Some(self.at_once.clone());
        receipt.by_us.then(|| ResumeCampaign {
            pause: self.clone(),
            paused: receipt.clone(),
            at_once,
            not_before: None,
        })
    }
}

/// Starts a campaign again that this run paused, and that nobody touched since.
#[derive(Clone)]
pub(crate) struct ResumeCampaign {
    pause: PauseCampaign,
    /// As the run's own pause left it.
    paused: Paused,
    /// Only for an undo, which waits for no hour.
    at_once: Option<AtOnce>,
    not_before: Option<NotBefore>,
}

impl ResumeCampaign {
    /// Only what this run paused: a receipt of ours is the only way to make one.
    pub(crate) fn only(on: &Platform, paused: &Paused) -> Option<Self> {
        let pause = PauseCampaign::of(on, paused.campaign, &paused.name);
        pause.undo(paused).map(|resume| Self { at_once: None, ..resume })
    }

    /// Not so that what it sends would reach into quiet hours.
    pub(crate) fn outside_quiet_hours(self, start: Start) -> Self {
        Self { not_before: Some(start.not_before()), ..self }
    }
}

#[async_trait]
impl Effect for ResumeCampaign {
    /// When it was resumed: what is sent from then on tells whether it relapses.
    type Receipt = Resumed;
    type Undo = PauseCampaign;

    fn name(&self) -> &'static str {
        "campaign.start"
    }

    fn subject(&self) -> String {
        self.pause.subject()
    }

    fn title(&self) -> String {
        format!("resume campaign {}", self.pause.name)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    fn not_before(&self) -> Option<NotBefore> {
        self.not_before.clone()
    }

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let campaign = self.pause.campaigns.find(self.pause.id).await?;
        let status = foreseen.or("campaign", &self.pause.id.to_string(), "status", campaign.status.as_str());
        if status == CampaignStatus::Running.as_str() {
            return Ok(Prediction::default());
        }
        if status != CampaignStatus::Paused.as_str() {
            return Ok(Prediction::default().note(format!("it is {status}, and not paused by us any more")));
        }
        // In a plan it is not paused yet, so nobody can have touched it since.
        if campaign.status == CampaignStatus::Paused
            && let Some(says) = self.paused.touched(&*self.pause.campaigns, &campaign).await?
        {
            return Ok(Prediction::default().note(says));
        }
        let running = change("campaign", self.pause.id, &self.pause.name, "status", &status, "running");
        let prediction = Prediction::of(running);
        Ok(match &self.at_once {
            Some(at_once) => prediction.note(at_once.says().await),
            None => prediction,
        })
    }

    fn foresee(&self, prediction: &Prediction) -> Resumed {
        Resumed { by_us: !prediction.changes.is_empty() }
    }

    async fn apply(&self, intent: &Intent) -> Result<Applied<Resumed>, PortError> {
        self.pause.campaigns.start(self.pause.id).await?;
        let theirs = self.pause.give_back(intent, STARTED).await;
        let theirs = theirs.map_err(|error| PauseCampaign::unseen(&error))?;
        let says = match &theirs {
            Some(theirs) => format!("campaign {} was resumed; {theirs}", self.pause.name),
            None => format!("campaign {} was resumed", self.pause.name),
        };
        Ok(Applied { receipt: Resumed { by_us: theirs.is_none() }, says })
    }

    async fn reconcile(&self, intent: &Intent) -> Result<Reconciled<Resumed>, PortError> {
        let campaign = self.pause.campaigns.find(self.pause.id).await?;
        let changes = self.pause.campaigns.changes_since(self.pause.id, intent.at - TO_THE_SECOND).await?;
        let start = changes.iter().rfind(|change| change.action == STARTED);
        let happened = |by_us, says| Ok(Reconciled::Happened(Applied { receipt: Resumed { by_us }, says }));
        match start {
            Some(start) if start.ours => {
                let theirs = self.pause.overridden(intent, STARTED).await?;
                let mut says = format!(
                    "the audit log has our start at {}; the campaign is {}",
                    start.at, campaign.status
                );
                if let Some(theirs) = &theirs {
                    says = format!("{says}, right after somebody else's {} at {}", theirs.action, theirs.at);
                }
                happened(theirs.is_none(), says)
            }
            Some(start) if campaign.status == CampaignStatus::Running => {
                happened(false, format!("somebody else started it at {}", start.at))
            }
            // Running is what was wanted, and audit rows get lost.
            None if campaign.status == CampaignStatus::Running => {
                happened(true, "the campaign is running".to_owned())
            }
            _ => Ok(Reconciled::DidNot { why: format!("the campaign is {}", campaign.status) }),
        }
    }

    async fn verify(
        &self,
        intent: &Intent,
        receipt: &Resumed,
        _now: Timestamp,
    ) -> Result<Judgement, PortError> {
        let campaign = self.pause.campaigns.find(self.pause.id).await?;
        let evidence = vec![Evidence::new("campaigns (PostgREST)", format!("status {}", campaign.status))];
        let (name, status) = (&self.pause.name, &campaign.status);
        if *status == CampaignStatus::Running {
            return Ok(Judgement::verified(format!("campaign {name} is running"), evidence));
        }
        // Somebody ended or took it meanwhile; leaving it alone is what was wanted then.
        if !receipt.by_us {
            return Ok(Judgement::verified(format!("campaign {name} is {status}, left alone"), evidence));
        }
        // Taken right after the start: that is told and not counted, by the look before the last word.
        if let Some(theirs) = self.pause.theirs_since(intent).await? {
            let says =
                format!("campaign {name} was started; {theirs} after that, and it is {status}, left alone");
            return Ok(Judgement::verified(says, evidence));
        }
        Ok(Judgement::refuted(format!("campaign {name} is {status} after it was resumed"), evidence))
    }

    fn undo(&self, receipt: &Resumed) -> Option<PauseCampaign> {
        receipt.by_us.then(|| self.pause.clone())
    }
}

/// A campaign that was started again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resumed {
    /// Whether we did it.
    pub(crate) by_us: bool,
}
