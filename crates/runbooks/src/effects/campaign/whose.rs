//! Whose a campaign is: what somebody else did to it last stands.

use std::sync::Arc;

use allclear_core::campaign::{CampaignAction, CampaignChange};
use allclear_core::ports::Campaigns;
use allclear_core::{CampaignId, Platform, PortError, Service};
use allclear_engine::Intent;

use super::TO_THE_SECOND;

/// The changes of one campaign, by us and by others.
#[derive(Clone)]
pub(crate) struct Changes {
    campaigns: Arc<dyn Campaigns>,
    id: CampaignId,
}

impl Changes {
    pub(crate) fn of(on: &Platform, id: CampaignId) -> Self {
        Self { campaigns: Arc::clone(&on.campaigns), id }
    }

    /// What somebody else did since this run set out to change it, where that is the last that was done.
    pub(super) async fn theirs_since(&self, intent: &Intent) -> Result<Option<String>, PortError> {
        let last = self.campaigns.last_change(self.id).await?;
        let theirs = last.filter(|last| !last.ours && last.at >= intent.at - TO_THE_SECOND);
        Ok(theirs.map(|theirs| format!("somebody else's {} at {} came", theirs.action, theirs.at)))
    }

    /// What somebody did right before our own change overrode it unseen, after this run had looked: they have the say. A platform
    /// whose change names no expected state cannot refuse ours.
    pub(crate) async fn overridden(
        &self,
        intent: &Intent,
        ours: &CampaignAction,
    ) -> Result<Option<CampaignChange>, PortError> {
        let changes = self.campaigns.changes_since(self.id, intent.at - TO_THE_SECOND).await?;
        let Some(written) = changes.iter().rfind(|change| change.ours && change.action == *ours) else {
            return Ok(None);
        };
        // Of the same moment nobody knows which came first; then it counts as theirs before ours.
        let ends = |change: &&CampaignChange| {
            let holds = [CampaignAction::Pause, CampaignAction::Stop].contains(&change.action);
            holds && !change.ours && change.at <= written.at
        };
        let Some(theirs) = changes.iter().filter(ends).max_by_key(|change| change.at) else {
            return Ok(None);
        };
        let was_lifted = changes.iter().any(|change| change.at > theirs.at && change.at < written.at);
        Ok((!was_lifted).then(|| theirs.clone()))
    }

    /// The same, and gives the campaign back to them as they left it. Returns what they did.
    pub(crate) async fn give_back(
        &self,
        intent: &Intent,
        ours: &CampaignAction,
    ) -> Result<Option<String>, PortError> {
        let Some(theirs) = self.overridden(intent, ours).await.map_err(|error| unseen(&error))? else {
            return Ok(None);
        };
        // What is the same as theirs leaves it as they did.
        if theirs.action != *ours {
            let given_back = match theirs.action {
                CampaignAction::Stop => self.campaigns.stop(self.id).await,
                _ => self.campaigns.pause(self.id).await,
            };
            given_back.map_err(|error| unseen(&error))?;
        }
        Ok(Some(format!(
            "somebody else's {} at {} came right before, and stands again",
            theirs.action, theirs.at
        )))
    }
}

/// Our change was made: where a look after it fails, whoever asks what became of it looks again.
pub(crate) fn unseen(error: &PortError) -> PortError {
    let call = "changes of the campaign".to_owned();
    PortError::OutcomeUnknown { service: Service::AdminApi, call, detail: error.to_string() }
}
