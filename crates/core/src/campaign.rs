//! Campaigns: a message to many targets, sent by the platform's dispatcher.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

uuid_id! {
    /// Identifies a campaign.
    CampaignId, "campaign id"
}

open_enum! {
    /// Where a campaign stands. The database also accepts legacy words such as `SENDING`.
    CampaignStatus {
        /// Not started yet.
        Draft = "draft",
        /// The dispatcher may send.
        Running = "running",
        /// Held; can be started again.
        Paused = "paused",
        /// Ended. The admin API's Stop action writes this, and documents call it `stopped`.
        Done = "done" | "stopped",
    }
}

open_enum! {
    /// What can be done to a campaign, as the platform's audit log calls it.
    CampaignAction {
        /// It was paused.
        Pause = "campaign_pause",
        /// It was started, or started again.
        Start = "campaign_start",
        /// It was ended.
        Stop = "campaign_stop",
    }
}

/// One campaign as the database holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Campaign {
    /// Which one.
    pub id: CampaignId,
    /// Its name, as people gave it.
    pub name: String,
    /// Where it stands.
    pub status: CampaignStatus,
    /// When it last started. Overwritten by every start.
    pub started_at: Option<Timestamp>,
    /// When it ended. Left as it is by a start after a stop.
    pub finished_at: Option<Timestamp>,
}

/// Something that somebody did to a campaign, from the platform's audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignChange {
    /// What they did.
    pub action: CampaignAction,
    /// Whether it was done with our own credentials.
    pub ours: bool,
    /// When.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_nobody_knows_is_kept() {
        let status: CampaignStatus = serde_json::from_str("\"SENDING\"").unwrap();
        assert_eq!(status, CampaignStatus::Other("SENDING".into()));
        assert_eq!(serde_json::to_string(&status).unwrap(), "\"SENDING\"");
        assert_eq!(CampaignStatus::from("stopped"), CampaignStatus::Done);
    }

    #[test]
    fn a_campaign_id_that_is_no_uuid_says_what_to_give() {
        let error = "summer".parse::<CampaignId>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "campaign id `summer` cannot be used: give a UUID such as 6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90"
        );
    }
}
