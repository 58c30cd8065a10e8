//! Starting a paused campaign again.

use allclear_core::campaign::CampaignAction;
use allclear_core::{CampaignStatus, Platform, PortError};
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Intent, Judgement, NotBefore, Prediction, Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{PauseCampaign, Paused, TO_THE_SECOND, unseen};
use crate::effects::change;
use crate::quiet::Start;

/// Starts a campaign again that this run paused, and that nobody touched since.
#[derive(Clone)]
pub(crate) struct ResumeCampaign {
    pause: PauseCampaign,
    /// As the run's own pause left it.
    paused: Paused,
    /// Only for an undo, whose plan says when its messages go out.
    by_undo: Option<Start>,
    not_before: Option<NotBefore>,
}

impl ResumeCampaign {
    /// Only what this run paused: a receipt of ours is the only way to make one.
    pub(crate) fn only(on: &Platform, paused: &Paused) -> Option<Self> {
        let pause = PauseCampaign::of(on, paused.campaign, &paused.name);
        pause.undo(paused).map(|resume| Self { by_undo: None, not_before: None, ..resume })
    }

    /// For an undo.
    pub(super) fn undoing(pause: PauseCampaign, paused: Paused, start: Start) -> Self {
        Self { pause, paused, not_before: Some(start.clone().not_before()), by_undo: Some(start) }
    }

    /// As our start left it. The start was made: where this look fails, whoever asks what became of it looks again.
    async fn started_at(&self) -> Result<Option<Timestamp>, PortError> {
        let campaign = self.pause.campaigns.find(self.pause.id).await.map_err(|error| unseen(&error))?;
        Ok(campaign.started_at)
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
        Ok(match &self.by_undo {
            Some(start) => prediction.note(start.when().await),
            None => prediction,
        })
    }

    fn foresee(&self, prediction: &Prediction) -> Resumed {
        Resumed { by_us: !prediction.changes.is_empty(), started_at: None }
    }

    async fn apply(&self, intent: &Intent) -> Result<Applied<Resumed>, PortError> {
        self.pause.campaigns.start(self.pause.id).await?;
        let theirs = self.pause.changes.give_back(intent, &CampaignAction::Start).await?;
        let says = match &theirs {
            Some(theirs) => format!("campaign {} was resumed; {theirs}", self.pause.name),
            None => format!("campaign {} was resumed", self.pause.name),
        };
        let started_at = self.started_at().await?;
        Ok(Applied { receipt: Resumed { by_us: theirs.is_none(), started_at }, says })
    }

    async fn reconcile(&self, intent: &Intent) -> Result<Reconciled<Resumed>, PortError> {
        let campaign = self.pause.campaigns.find(self.pause.id).await?;
        let changes = self.pause.campaigns.changes_since(self.pause.id, intent.at - TO_THE_SECOND).await?;
        let start = changes.iter().rfind(|change| change.action == CampaignAction::Start);
        let started_at = campaign.started_at;
        let happened =
            |by_us, says| Ok(Reconciled::Happened(Applied { receipt: Resumed { by_us, started_at }, says }));
        match start {
            Some(start) if start.ours => {
                let theirs = self.pause.changes.overridden(intent, &CampaignAction::Start).await?;
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
        if let Some(theirs) = self.pause.changes.theirs_since(intent).await? {
            let says =
                format!("campaign {name} was started; {theirs} after that, and it is {status}, left alone");
            return Ok(Judgement::verified(says, evidence));
        }
        Ok(Judgement::refuted(format!("campaign {name} is {status} after it was resumed"), evidence))
    }

    fn undo(&self, receipt: &Resumed) -> Option<PauseCampaign> {
        receipt.by_us.then(|| self.pause.clone().seen_started(receipt.started_at))
    }
}

/// A campaign that was started again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resumed {
    /// Whether we did it.
    pub(crate) by_us: bool,
    /// When, by the platform's own time: every later start overwrites that.
    #[serde(default)]
    pub(crate) started_at: Option<Timestamp>,
}
