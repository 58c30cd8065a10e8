//! Telling engineering that the dispatcher cannot be reached, or that a replay did not help.

use allclear_core::Platform;
use allclear_engine::{Escalation, Halt, Run};
use async_trait::async_trait;

use super::detect::CampaignLook;
use super::{CD_M2, messages};
use crate::effects::{Alarm, Reached, Words};

/// Tells engineering with what was seen.
pub(super) struct NotifyEngineering {
    on: Platform,
    pub(super) alarm: Alarm,
    run: String,
    /// What is wrong, in a word: tells the two occasions apart.
    why: &'static str,
    campaigns: Vec<CampaignLook>,
}

impl NotifyEngineering {
    pub(super) fn about(on: &Platform, run: &str, why: &'static str, campaigns: &[CampaignLook]) -> Self {
        let alarm = Alarm::of(on, why);
        Self { on: on.clone(), alarm, run: run.to_owned(), why, campaigns: campaigns.to_vec() }
    }

    /// Returns who is proven to have been told.
    pub(super) async fn tell(&self, run: &mut Run) -> Result<Reached, Halt> {
        let page = messages::page(&self.run, self.why, &self.campaigns);
        let chat =
            |paged| messages::chat(&self.on.limits.ops_channel, &self.run, self.why, &self.campaigns, paged);
        let why = self.why.replace('-', " ");
        let words = Words {
            paged: format!("engineering was told that the dispatcher is {why}"),
            written: format!(
                "{} was told that the dispatcher is {why}, and engineering was not paged, as far as is known",
                self.on.limits.ops_channel
            ),
            untold: format!("nobody was told that the dispatcher is {why}: page engineering by hand"),
        };
        self.alarm.raise(run, &CD_M2, page, chat, words).await
    }
}

#[async_trait]
impl Escalation for NotifyEngineering {
    async fn escalate(&self, run: &mut Run) -> Result<(), Halt> {
        self.tell(run).await.map(drop)
    }
}
