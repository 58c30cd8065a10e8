//! Messages that were marked as skipped while a run handled their campaign, and not by the run: whoever did that wants them not
//! sent. They are left so, counted and told, because the campaign that runs again runs without them.

use std::sync::Arc;

use allclear_core::ports::SendQueue;
use allclear_core::{CampaignId, Platform, PortError, QueueRows};
use allclear_engine::{Evidence, Halt, Note, Observation, Probe, Run, Step};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::words::counted;

/// A campaign of which skipped messages are counted.
#[derive(Debug, Clone)]
pub(crate) struct Handled {
    pub(crate) campaign: CampaignId,
    pub(crate) name: String,
    /// The messages that the run itself skipped.
    pub(crate) ours: QueueRows,
}

/// How many messages of a campaign others have skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SkippedByOthers {
    pub(crate) campaign: CampaignId,
    pub(crate) messages: u64,
}

/// Counts what others have skipped.
pub(crate) struct LookForSkipped {
    queue: Arc<dyn SendQueue>,
    of: Vec<Handled>,
    when: &'static str,
}

impl LookForSkipped {
    /// When the run begins to handle them.
    pub(crate) fn at_first(on: &Platform, of: Vec<Handled>) -> Self {
        Self { queue: Arc::clone(&on.send_queue), of, when: "skipped messages" }
    }

    /// Before its last word.
    fn at_the_end(on: &Platform, of: Vec<Handled>) -> Self {
        Self { when: "skipped messages at the end", ..Self::at_first(on, of) }
    }
}

#[async_trait]
impl Probe for LookForSkipped {
    type Value = Vec<SkippedByOthers>;

    fn subject(&self) -> String {
        self.when.to_owned()
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<Self::Value>, PortError> {
        let (mut value, mut shown) = (Vec::new(), Vec::new());
        for one in &self.of {
            let all = self.queue.depth(one.campaign, now).await?.skipped;
            let ours =
                if one.ours.is_empty() { 0 } else { self.queue.skipped(one.campaign, &one.ours).await? };
            let messages = all.saturating_sub(ours);
            shown.push(format!("{}: {messages}, and {ours} by this run", one.name));
            value.push(SkippedByOthers { campaign: one.campaign, messages });
        }
        let total: u64 = value.iter().map(|one| one.messages).sum();
        let says = format!("{} skipped by others", counted(total, "message is", "messages are"));
        let evidence = vec![Evidence::new("send_queue (PostgREST)", shown.join("; "))];
        Ok(Observation { value, says, evidence })
    }
}

/// Tells of each campaign how many more are skipped than at first.
pub(crate) async fn tell_skipped_since(
    run: &mut Run,
    step: &Step,
    on: &Platform,
    first: &[SkippedByOthers],
    handled: Vec<Handled>,
) -> Result<(), Halt> {
    if run.is_plan() || handled.is_empty() {
        return Ok(());
    }
    let now = run.probe(step, LookForSkipped::at_the_end(on, handled.clone())).await?;
    for (one, now) in handled.iter().zip(&now) {
        let before =
            first.iter().find(|first| first.campaign == one.campaign).map_or(0, |first| first.messages);
        let more = now.messages.saturating_sub(before);
        if more == 0 {
            continue;
        }
        let was = if more == 1 { "was" } else { "were" };
        let says = format!(
            "{} of campaign {} {was} marked as skipped while this run handled it, and not by this run: they were left so, and nobody sends them",
            counted(more, "message", "messages"),
            one.name
        );
        run.note(step, Note::OpenQuestion { says }).await?;
    }
    Ok(())
}
