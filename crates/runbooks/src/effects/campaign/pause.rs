//! Pausing one campaign.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::campaign::{CampaignAction, CampaignChange};
use allclear_core::ports::{Campaigns, Limits, SendLog};
use allclear_core::{Campaign, CampaignId, CampaignStatus, Platform, PortError, QueueRows};
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Intent, Judgement, OnlyWhile, Patience, Prediction, Reconciled,
    Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;

use super::{Changes, Paused, ResumeCampaign, TO_THE_SECOND};
use crate::effects::change;
use crate::quiet::Start;
use crate::words::counted;

/// Messages that the dispatcher had in its hands when the pause came may still go out this long after it.
const IN_FLIGHT: Duration = Duration::from_secs(5);

/// Pauses one running campaign and proves that it stopped sending.
#[derive(Clone)]
pub(crate) struct PauseCampaign {
    pub(super) campaigns: Arc<dyn Campaigns>,
    pub(super) changes: Changes,
    log: Arc<dyn SendLog>,
    limits: Limits,
    start: Start,
    only_while: Option<OnlyWhile>,
    /// When it had last been started as the run saw it: a later start is somebody's, who knows what they do.
    seen_started: Option<Timestamp>,
    pub(super) id: CampaignId,
    pub(super) name: String,
}

impl PauseCampaign {
    pub(crate) fn named(on: &Platform, campaign: &Campaign) -> Self {
        Self::of(on, campaign.id, &campaign.name).seen_started(campaign.started_at)
    }

    pub(crate) fn of(on: &Platform, id: CampaignId, name: &str) -> Self {
        Self {
            campaigns: Arc::clone(&on.campaigns),
            changes: Changes::of(on, id),
            log: Arc::clone(&on.send_log),
            limits: on.limits.clone(),
            start: Start::by_undo(on, (id, name)),
            only_while: None,
            seen_started: None,
            id,
            name: name.to_owned(),
        }
    }

    /// Only while what it is paused for is still so.
    pub(crate) fn only_while(self, only_while: OnlyWhile) -> Self {
        Self { only_while: Some(only_while), ..self }
    }

    /// Only as it was when it was seen: what somebody started anew since is theirs.
    pub(crate) fn seen_started(self, started_at: Option<Timestamp>) -> Self {
        Self { seen_started: started_at, ..self }
    }

    /// What somebody did, where they started it anew since it was seen. By the platform's own times alone.
    fn started_since(&self, now: &Campaign) -> Option<String> {
        let (seen, started) = (self.seen_started?, now.started_at?);
        let is_anew = now.status == CampaignStatus::Running && started != seen;
        is_anew.then(|| format!("somebody else started it at {started}, after this run had looked, and it was left as they have it"))
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

    fn only_while(&self) -> Option<OnlyWhile> {
        self.only_while.clone()
    }

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let campaign = self.campaigns.find(self.id).await?;
        let status = foreseen.or("campaign", &self.id.to_string(), "status", campaign.status.as_str());
        if status != CampaignStatus::Running.as_str() {
            return Ok(Prediction::default());
        }
        if let Some(theirs) = self.started_since(&campaign) {
            return Ok(Prediction::default().note(theirs));
        }
        Ok(Prediction::of(change("campaign", self.id, &self.name, "status", &status, "paused")))
    }

    fn foresee(&self, prediction: &Prediction) -> Paused {
        self.receipt(!prediction.changes.is_empty(), None)
    }

    async fn apply(&self, intent: &Intent) -> Result<Applied<Paused>, PortError> {
        let campaign = self.campaigns.find(self.id).await?;
        let started_at = campaign.started_at;
        // A start may have come between the look and now.
        if let Some(says) = self.started_since(&campaign) {
            return Ok(Applied { receipt: self.receipt(false, started_at), says });
        }
        self.campaigns.pause(self.id).await?;
        let theirs = self.changes.give_back(intent, &CampaignAction::Pause).await?;
        let says = match &theirs {
            Some(theirs) => format!("campaign {} was paused; {theirs}", self.name),
            None => format!("campaign {} was paused", self.name),
        };
        Ok(Applied { receipt: self.receipt(theirs.is_none(), started_at), says })
    }

    async fn reconcile(&self, intent: &Intent) -> Result<Reconciled<Paused>, PortError> {
        let campaign = self.campaigns.find(self.id).await?;
        let changes = self.campaigns.changes_since(self.id, intent.at - TO_THE_SECOND).await?;
        let pause = changes.iter().rfind(|change| change.action == CampaignAction::Pause);
        if campaign.status != CampaignStatus::Paused {
            return Ok(self.reconcile_awake(intent, &campaign, pause.filter(|pause| pause.ours)));
        }
        match pause {
            Some(pause) if pause.ours => {
                let theirs = self.changes.overridden(intent, &CampaignAction::Pause).await?;
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
            let theirs = match self.started_since(&campaign).filter(|_| !receipt.by_us) {
                Some(theirs) => format!(": {theirs}"),
                None => match self.changes.theirs_since(intent).await? {
                    Some(theirs) => format!(": {theirs} after its pause and stands"),
                    None => String::new(),
                },
            };
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
        receipt.by_us.then(|| ResumeCampaign::undoing(self.clone(), receipt.clone(), self.start.clone()))
    }
}
