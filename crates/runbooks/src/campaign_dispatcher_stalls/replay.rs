//! The written runbook's way to replay: stop, then start. Both by explicit choice only, because stop is final in the data.
//!
//! What can go wrong in the middle: a crash between the two leaves a campaign that counts as done. The journal knows that
//! the start is still to come, and an incident stays open until it came.

use std::sync::Arc;

use allclear_core::ports::Campaigns;
use allclear_core::{CampaignStatus, Platform, PortError};
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Intent, Judgement, NoUndo, Prediction, Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;

use crate::effects::{Paused, change};

/// The two moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    Stop,
    Start,
}

impl Move {
    fn from(self) -> CampaignStatus {
        match self {
            Self::Stop => CampaignStatus::Paused,
            Self::Start => CampaignStatus::Done,
        }
    }

    fn to(self) -> CampaignStatus {
        match self {
            Self::Stop => CampaignStatus::Done,
            Self::Start => CampaignStatus::Running,
        }
    }
}

/// What both have in common: one campaign, from one status to another.
#[derive(Clone)]
struct Moving {
    campaigns: Arc<dyn Campaigns>,
    campaign: Paused,
    to: Move,
}

impl Moving {
    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let id = self.campaign.campaign;
        let actual = self.campaigns.find(id).await?.status;
        let status = foreseen.or("campaign", &id.to_string(), "status", actual.as_str());
        if status != self.to.from().as_str() {
            return Ok(Prediction::default().note(format!("it is {status}, and not {}", self.to.from())));
        }
        let wanted = self.to.to();
        Ok(Prediction::of(change("campaign", id, &self.campaign.name, "status", &status, wanted.as_str())))
    }

    async fn apply(&self) -> Result<Applied<()>, PortError> {
        match self.to {
            Move::Stop => self.campaigns.stop(self.campaign.campaign).await?,
            Move::Start => self.campaigns.start(self.campaign.campaign).await?,
        }
        Ok(Applied { receipt: (), says: format!("campaign {} is {}", self.campaign.name, self.to.to()) })
    }

    /// The state decides: only we move a campaign that we paused, and repeating the move writes the same.
    async fn reconcile(&self) -> Result<Reconciled<()>, PortError> {
        let status = self.campaigns.find(self.campaign.campaign).await?.status;
        Ok(if status == self.to.to() {
            Reconciled::Happened(Applied { receipt: (), says: format!("the campaign is {status}") })
        } else {
            Reconciled::DidNot { why: format!("the campaign is {status}") }
        })
    }

    async fn verify(&self) -> Result<Judgement, PortError> {
        let status = self.campaigns.find(self.campaign.campaign).await?.status;
        let evidence = vec![Evidence::new("campaigns (PostgREST)", format!("status {status}"))];
        let says = format!("campaign {} is {status}", self.campaign.name);
        Ok(if status == self.to.to() {
            Judgement::verified(says, evidence)
        } else {
            Judgement::refuted(says, evidence)
        })
    }
}

/// Ends a campaign that this run paused, to start it again right after.
#[derive(Clone)]
pub(super) struct StopCampaign(Moving);

impl StopCampaign {
    pub(super) fn of(on: &Platform, paused: &Paused) -> Self {
        Self(Moving { campaigns: Arc::clone(&on.campaigns), campaign: paused.clone(), to: Move::Stop })
    }
}

/// Starts a campaign that this run stopped.
#[derive(Clone)]
pub(super) struct StartStopped(Moving);

impl StartStopped {
    pub(super) fn of(on: &Platform, paused: &Paused) -> Self {
        Self(Moving { campaigns: Arc::clone(&on.campaigns), campaign: paused.clone(), to: Move::Start })
    }
}

#[async_trait]
impl Effect for StopCampaign {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "campaign.stop"
    }

    fn subject(&self) -> String {
        format!("campaign {}", self.0.campaign.campaign)
    }

    fn title(&self) -> String {
        format!("stop campaign {}", self.0.campaign.name)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        self.0.predict(foreseen).await
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        self.0.apply().await
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        self.0.reconcile().await
    }

    async fn verify(&self, _intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        self.0.verify().await
    }
}

#[async_trait]
impl Effect for StartStopped {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "campaign.start"
    }

    fn subject(&self) -> String {
        format!("campaign {}", self.0.campaign.campaign)
    }

    fn title(&self) -> String {
        format!("start campaign {} again", self.0.campaign.name)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        self.0.predict(foreseen).await
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        self.0.apply().await
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        self.0.reconcile().await
    }

    async fn verify(&self, _intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        self.0.verify().await
    }
}
