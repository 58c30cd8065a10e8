//! How a campaign stands, and which of its messages wait: looked at right before its queue is stopped.

use std::sync::Arc;

use allclear_core::ports::{Campaigns, SendQueue};
use allclear_core::{Campaign, CampaignStatus, Platform, PortError, QueueRows};
use allclear_engine::{Evidence, Observation, Probe};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::effects::Paused;
use crate::words::counted;

/// A campaign as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Stood {
    status: String,
    started_at: Option<Timestamp>,
    /// When the platform's audit log says that it was changed last.
    changed_at: Option<Timestamp>,
    /// Why it is somebody else's, where it is.
    pub(in super::super) theirs: Option<String>,
}

impl Stood {
    pub(super) async fn seen(
        campaigns: &dyn Campaigns,
        paused: &Paused,
        now: &Campaign,
    ) -> Result<Self, PortError> {
        let theirs = if paused.by_us {
            paused.touched(campaigns, now).await?
        } else {
            // Whatever else it is, the run found it at rest: that it runs is somebody's decision.
            let runs = now.status == CampaignStatus::Running;
            runs.then(|| "somebody else started it since this run found it at rest".to_owned())
        };
        let changed_at = campaigns.last_change(now.id).await?.map(|last| last.at);
        Ok(Self { status: now.status.to_string(), started_at: now.started_at, changed_at, theirs })
    }
}

/// Looks how a campaign stands, before people are asked about its queue.
pub(in super::super) struct StandsAsLeft {
    campaigns: Arc<dyn Campaigns>,
    paused: Paused,
}

impl StandsAsLeft {
    pub(in super::super) fn of(on: &Platform, paused: &Paused) -> Self {
        Self { campaigns: Arc::clone(&on.campaigns), paused: paused.clone() }
    }
}

#[async_trait]
impl Probe for StandsAsLeft {
    type Value = Stood;

    fn subject(&self) -> String {
        format!("campaign {} as left", self.paused.campaign)
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Stood>, PortError> {
        let campaign = self.campaigns.find(self.paused.campaign).await?;
        let value = Stood::seen(&*self.campaigns, &self.paused, &campaign).await?;
        let says = format!("campaign {} is {}", self.paused.name, value.status);
        let evidence = vec![Evidence::new("campaigns and audit_log (PostgREST)", says.clone())];
        Ok(Observation { value, says, evidence })
    }
}

/// Looks which messages of a campaign wait. What others had skipped before is not among them, and so never given back.
pub(in super::super) struct WaitingMessages {
    queue: Arc<dyn SendQueue>,
    paused: Paused,
}

impl WaitingMessages {
    pub(in super::super) fn of(on: &Platform, paused: &Paused) -> Self {
        Self { queue: Arc::clone(&on.send_queue), paused: paused.clone() }
    }
}

#[async_trait]
impl Probe for WaitingMessages {
    type Value = QueueRows;

    fn subject(&self) -> String {
        format!("messages of campaign {}", self.paused.campaign)
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<QueueRows>, PortError> {
        let waiting = self.queue.waiting(self.paused.campaign).await?;
        let ranges = counted(waiting.ranges().len(), "range", "ranges");
        let says = match (waiting.ranges().first(), waiting.ranges().last()) {
            (Some((first, _)), Some((_, last))) => {
                format!(
                    "the messages of {} that wait are rows {first} to {last}, in {ranges}",
                    self.paused.name
                )
            }
            _ => format!("no message of {} waits", self.paused.name),
        };
        let evidence = vec![Evidence::new("send_queue (PostgREST)", says.clone())];
        Ok(Observation { value: waiting, says, evidence })
    }
}
