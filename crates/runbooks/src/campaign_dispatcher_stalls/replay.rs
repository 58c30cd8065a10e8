//! The written runbook's way to replay: stop, then start. Both by explicit choice only, because stop is final in the data.
//!
//! What can go wrong in the middle: a crash between the two leaves a campaign that counts as done. The journal knows that
//! the start is still to come, and an incident stays open until it came. Where the run is ended there for good, its undo starts
//! the campaign.

use std::sync::Arc;

use allclear_core::campaign::CampaignAction;
use allclear_core::ports::Campaigns;
use allclear_core::{Campaign, CampaignStatus, Platform, PortError};
use allclear_engine::{
    Applied, Danger, Effect, Evidence, Foreseen, Intent, Judgement, NoUndo, NotBefore, Prediction,
    Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::effects::{Changes, Paused, change, unseen};
use crate::quiet::Start;

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

    fn action(self) -> CampaignAction {
        match self {
            Self::Stop => CampaignAction::Stop,
            Self::Start => CampaignAction::Start,
        }
    }
}

/// What both have in common: one campaign, from one status to another.
#[derive(Clone)]
struct Moving {
    campaigns: Arc<dyn Campaigns>,
    changes: Changes,
    campaign: Paused,
    to: Move,
    not_before: Option<NotBefore>,
}

/// What came of a move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moved {
    /// Whether we did it.
    pub(super) by_us: bool,
    /// When it was last started by then, by the platform's own time.
    #[serde(default)]
    pub(super) started_at: Option<Timestamp>,
}

impl Moving {
    fn of(on: &Platform, paused: &Paused, to: Move) -> Self {
        Self {
            campaigns: Arc::clone(&on.campaigns),
            changes: Changes::of(on, paused.campaign),
            campaign: paused.clone(),
            to,
            not_before: None,
        }
    }

    /// Why the campaign is somebody else's, where it is: what they did last stands.
    async fn taken(&self, now: &Campaign) -> Result<Option<String>, PortError> {
        match self.to {
            Move::Stop => self.campaign.touched(&*self.campaigns, now).await,
            Move::Start => {
                let last = self.campaigns.last_change(now.id).await?;
                let theirs = last.filter(|last| last.action == CampaignAction::Stop && !last.ours);
                Ok(theirs.map(|last| format!("somebody else stopped it at {}, and that stands", last.at)))
            }
        }
    }

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let id = self.campaign.campaign;
        let now = self.campaigns.find(id).await?;
        let status = foreseen.or("campaign", &id.to_string(), "status", now.status.as_str());
        if status != self.to.from().as_str() {
            return Ok(Prediction::default());
        }
        // In a plan it is not so yet, so nobody can have taken it.
        if status == now.status.as_str()
            && let Some(says) = self.taken(&now).await?
        {
            return Ok(Prediction::default().note(says));
        }
        let wanted = self.to.to();
        Ok(Prediction::of(change("campaign", id, &self.campaign.name, "status", &status, wanted.as_str())))
    }

    fn foresee(prediction: &Prediction) -> Moved {
        Moved { by_us: !prediction.changes.is_empty(), started_at: None }
    }

    async fn apply(&self, intent: &Intent) -> Result<Applied<Moved>, PortError> {
        match self.to {
            Move::Stop => self.campaigns.stop(self.campaign.campaign).await?,
            Move::Start => self.campaigns.start(self.campaign.campaign).await?,
        }
        let theirs = self.changes.give_back(intent, &self.to.action()).await?;
        let mut says = format!("campaign {} was made {}", self.campaign.name, self.to.to());
        if let Some(theirs) = &theirs {
            says = format!("{says}; {theirs}");
        }
        let started_at =
            self.campaigns.find(self.campaign.campaign).await.map_err(|error| unseen(&error))?.started_at;
        Ok(Applied { receipt: Moved { by_us: theirs.is_none(), started_at }, says })
    }

    /// The state decides, and repeating the move writes the same. Whose it is, the platform's audit log says.
    async fn reconcile(&self, intent: &Intent) -> Result<Reconciled<Moved>, PortError> {
        let id = self.campaign.campaign;
        let Campaign { status, started_at, .. } = self.campaigns.find(id).await?;
        let happened =
            |by_us, says| Ok(Reconciled::Happened(Applied { receipt: Moved { by_us, started_at }, says }));
        if let Some(theirs) = self.changes.overridden(intent, &self.to.action()).await? {
            let says = format!(
                "the campaign is {status}; our change came right after somebody else's {} at {}",
                theirs.action, theirs.at
            );
            return happened(false, says);
        }
        if status != self.to.to() {
            return Ok(Reconciled::DidNot { why: format!("the campaign is {status}") });
        }
        let by_us = self.campaigns.last_change(id).await?.is_none_or(|last| last.ours);
        happened(by_us, format!("the campaign is {status}"))
    }

    async fn verify(&self, moved: &Moved) -> Result<Judgement, PortError> {
        let status = self.campaigns.find(self.campaign.campaign).await?.status;
        let evidence = vec![Evidence::new("campaigns (PostgREST)", format!("status {status}"))];
        let says = format!("campaign {} is {status}", self.campaign.name);
        Ok(if status == self.to.to() {
            Judgement::verified(says, evidence)
        } else if !moved.by_us {
            Judgement::verified(format!("{says}, left alone"), evidence)
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
        Self(Moving::of(on, paused, Move::Stop))
    }

    /// Not so late that what the start sends would reach into quiet hours.
    pub(super) fn outside_quiet_hours(self, start: Start) -> Self {
        Self(Moving { not_before: Some(start.not_before()), ..self.0 })
    }
}

/// Starts a campaign that this run stopped.
#[derive(Clone)]
pub(super) struct StartStopped(Moving);

impl StartStopped {
    pub(super) fn of(on: &Platform, paused: &Paused) -> Self {
        Self(Moving::of(on, paused, Move::Start))
    }

    /// Not so that what it sends would reach into quiet hours.
    pub(super) fn outside_quiet_hours(self, start: Start) -> Self {
        Self(Moving { not_before: Some(start.not_before()), ..self.0 })
    }
}

#[async_trait]
impl Effect for StopCampaign {
    type Receipt = Moved;
    type Undo = StartStopped;

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

    fn danger(&self) -> Danger {
        Danger::CannotBeTakenBack { why: "the campaign's own times are overwritten" }
    }

    fn not_before(&self) -> Option<NotBefore> {
        self.0.not_before.clone()
    }

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        self.0.predict(foreseen).await
    }

    fn foresee(&self, prediction: &Prediction) -> Moved {
        Moving::foresee(prediction)
    }

    async fn apply(&self, intent: &Intent) -> Result<Applied<Moved>, PortError> {
        self.0.apply(intent).await
    }

    async fn reconcile(&self, intent: &Intent) -> Result<Reconciled<Moved>, PortError> {
        self.0.reconcile(intent).await
    }

    async fn verify(&self, _intent: &Intent, moved: &Moved, _now: Timestamp) -> Result<Judgement, PortError> {
        self.0.verify(moved).await
    }
    /// That its times are overwritten stays so; that it does not send is given back.
    fn undo(&self, moved: &Moved) -> Option<StartStopped> {
        moved.by_us.then(|| StartStopped(Moving { to: Move::Start, not_before: None, ..self.0.clone() }))
    }
}

#[async_trait]
impl Effect for StartStopped {
    type Receipt = Moved;
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

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("what was sent since stays sent; pause the campaign to hold it again")
    }

    fn not_before(&self) -> Option<NotBefore> {
        self.0.not_before.clone()
    }

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        self.0.predict(foreseen).await
    }

    fn foresee(&self, prediction: &Prediction) -> Moved {
        Moving::foresee(prediction)
    }

    async fn apply(&self, intent: &Intent) -> Result<Applied<Moved>, PortError> {
        self.0.apply(intent).await
    }

    async fn reconcile(&self, intent: &Intent) -> Result<Reconciled<Moved>, PortError> {
        self.0.reconcile(intent).await
    }

    async fn verify(&self, _intent: &Intent, moved: &Moved, _now: Timestamp) -> Result<Judgement, PortError> {
        self.0.verify(moved).await
    }
}
