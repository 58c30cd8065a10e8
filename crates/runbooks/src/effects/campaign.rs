//! Pausing a campaign and starting it again.
//!
//! What can go wrong in the middle: the admin API writes the row and then calls the dispatcher, so any error answer
//! may hide a pause that happened. The client reports those as outcome unknown, and [`PauseCampaign::reconcile`] reads
//! the row and the audit log before anything is sent again. The audit log also tells *who* paused it: a campaign that
//! somebody else paused is never resumed by us.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::ports::{Campaigns, Limits, SendLog};
use allclear_core::{Campaign, CampaignId, CampaignStatus, Platform, PortError, QueueRows};
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Intent, Judgement, Patience, Prediction, Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::change;
use crate::words::counted;

/// Messages that the dispatcher had in its hands when the pause came may still go out this long after it.
const IN_FLIGHT: Duration = Duration::from_secs(5);

/// Our time is the platform's to a second or two: `Date` knows whole seconds. A row of ours may be that much older than our
/// intent of it.
const TO_THE_SECOND: Duration = Duration::from_secs(5);

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
        let theirs = last.filter(|last| last.action == "campaign_pause" && !last.ours);
        Ok(theirs.map(|last| format!("somebody else paused it at {}, and that stands", last.at)))
    }
}

/// Pauses one running campaign and proves that it stopped sending.
#[derive(Clone)]
pub(crate) struct PauseCampaign {
    campaigns: Arc<dyn Campaigns>,
    log: Arc<dyn SendLog>,
    limits: Limits,
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
            id,
            name: name.to_owned(),
        }
    }

    fn receipt(&self, by_us: bool, started_at: Option<Timestamp>) -> Paused {
        let (name, skipped) = (self.name.clone(), QueueRows::default());
        Paused { campaign: self.id, name, by_us, skipped, started_at, taken_over_from: None }
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

    async fn apply(&self, _intent: &Intent) -> Result<Applied<Paused>, PortError> {
        let started_at = self.campaigns.find(self.id).await?.started_at;
        self.campaigns.pause(self.id).await?;
        Ok(Applied {
            receipt: self.receipt(true, started_at),
            says: format!("campaign {} was paused", self.name),
        })
    }

    async fn reconcile(&self, intent: &Intent) -> Result<Reconciled<Paused>, PortError> {
        let campaign = self.campaigns.find(self.id).await?;
        if campaign.status != CampaignStatus::Paused {
            return Ok(Reconciled::DidNot { why: format!("the campaign is {}", campaign.status) });
        }
        let changes = self.campaigns.changes_since(self.id, intent.at - TO_THE_SECOND).await?;
        match changes.iter().rfind(|change| change.action == "campaign_pause") {
            Some(pause) if pause.ours => Ok(Reconciled::Happened(Applied {
                receipt: self.receipt(true, campaign.started_at),
                says: format!("the audit log has our pause at {}", pause.at),
            })),
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
            return Ok(Judgement::refuted(
                format!("campaign {} is {}", self.name, campaign.status),
                vec![status],
            ));
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
        receipt.by_us.then(|| ResumeCampaign { pause: self.clone(), paused: receipt.clone() })
    }
}

/// Starts a campaign again that this run paused, and that nobody touched since.
#[derive(Clone)]
pub(crate) struct ResumeCampaign {
    pause: PauseCampaign,
    /// As the run's own pause left it.
    paused: Paused,
}

impl ResumeCampaign {
    /// Only what this run paused: a receipt of ours is the only way to make one.
    pub(crate) fn only(on: &Platform, paused: &Paused) -> Option<Self> {
        let pause = PauseCampaign::of(on, paused.campaign, &paused.name);
        pause.undo(paused)
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
        Ok(Prediction::of(change("campaign", self.pause.id, &self.pause.name, "status", &status, "running")))
    }

    fn foresee(&self, prediction: &Prediction) -> Resumed {
        Resumed { by_us: !prediction.changes.is_empty() }
    }

    async fn apply(&self, _intent: &Intent) -> Result<Applied<Resumed>, PortError> {
        self.pause.campaigns.start(self.pause.id).await?;
        Ok(Applied {
            receipt: Resumed { by_us: true },
            says: format!("campaign {} was resumed", self.pause.name),
        })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<Resumed>, PortError> {
        // Starting overwrites `started_at` and nothing else, so the state alone decides: running is what was wanted.
        let campaign = self.pause.campaigns.find(self.pause.id).await?;
        if campaign.status == CampaignStatus::Running {
            let says = "the campaign is running".to_owned();
            return Ok(Reconciled::Happened(Applied { receipt: Resumed { by_us: true }, says }));
        }
        Ok(Reconciled::DidNot { why: format!("the campaign is {}", campaign.status) })
    }

    async fn verify(
        &self,
        _intent: &Intent,
        receipt: &Resumed,
        _now: Timestamp,
    ) -> Result<Judgement, PortError> {
        let campaign = self.pause.campaigns.find(self.pause.id).await?;
        let evidence = vec![Evidence::new("campaigns (PostgREST)", format!("status {}", campaign.status))];
        let name = &self.pause.name;
        Ok(match campaign.status {
            CampaignStatus::Running => Judgement::verified(format!("campaign {name} is running"), evidence),
            // Somebody ended or took it meanwhile; leaving it alone is what was wanted then.
            status if !receipt.by_us => {
                Judgement::verified(format!("campaign {name} is {status}, left alone"), evidence)
            }
            status => {
                Judgement::refuted(format!("campaign {name} is {status} after it was resumed"), evidence)
            }
        })
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
