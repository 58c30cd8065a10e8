//! Pausing a campaign and starting it again.
//!
//! What can go wrong in the middle: the admin API writes the row and then calls the dispatcher, so any error answer
//! may hide a pause that happened. The client reports those as outcome unknown, and [`PauseCampaign::reconcile`] reads
//! the row and the audit log before anything is sent again. The audit log also tells *who* paused it: a campaign that
//! somebody else paused is never resumed by us.

mod pause;
mod resume;
mod whose;

pub(crate) use pause::PauseCampaign;
pub(crate) use resume::{ResumeCampaign, Resumed};
pub(crate) use whose::{Changes, unseen};

use std::time::Duration;

use allclear_core::campaign::CampaignAction;
use allclear_core::ports::Campaigns;
use allclear_core::{Campaign, CampaignId, CampaignStatus, PortError, QueueRows};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Our time is the platform's to a second or two: `Date` knows whole seconds. A row of ours may be that much older than our
/// intent of it.
pub(crate) const TO_THE_SECOND: Duration = Duration::from_secs(5);

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
        let theirs = last.filter(|last| last.action == CampaignAction::Pause && !last.ours);
        Ok(theirs.map(|last| format!("somebody else paused it at {}, and that stands", last.at)))
    }
}
