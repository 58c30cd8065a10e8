//! Probes that several runbooks make.

use std::sync::Arc;

use crate::words::counted;
use allclear_core::policy::StoredPolicy;
use allclear_core::ports::{Campaigns, PolicyStore};
use allclear_core::{Campaign, CampaignId, CampaignStatus, Platform, PortError};
use allclear_engine::{Evidence, Observation, Probe};
use async_trait::async_trait;
use jiff::Timestamp;

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
        let names: Vec<&str> = running.iter().map(|campaign| campaign.name.as_str()).collect();
        let says = format!(
            "{} running: {}",
            counted(running.len(), "campaign is", "campaigns are"),
            names.join(", ")
        );
        let evidence = vec![Evidence::new("campaigns (PostgREST)", says.clone())];
        Ok(Observation { value: running, says, evidence })
    }
}

/// The stored policy.
pub(crate) struct StoredSendPolicy {
    policy: Arc<dyn PolicyStore>,
}

impl StoredSendPolicy {
    pub(crate) fn read(on: &Platform) -> Self {
        Self { policy: Arc::clone(&on.policy) }
    }
}

#[async_trait]
impl Probe for StoredSendPolicy {
    type Value = StoredPolicy;

    fn subject(&self) -> String {
        "sending policy".to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<StoredPolicy>, PortError> {
        let stored = self.policy.read().await?;
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
        Ok(Observation { value: stored, says, evidence: vec![Evidence::new("settings (PostgREST)", shows)] })
    }
}
