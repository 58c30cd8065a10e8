//! Giving back what a run that has ended marked as skipped, while its campaign runs: nobody else sends it, and the run itself
//! may be gone with its machine.

use allclear_core::QueueRows;
use allclear_engine::{Claim, Halt, Run};

use super::effects::RestoreQueue;
use super::{Done, WA_R1, WhatsAppSendFailures};
use crate::effects::{Paused, SkippedMessages, owe_skipped};
use crate::probes::ends_only_while_it_runs;
use crate::quiet::Start;

impl SkippedMessages {
    fn as_left(&self) -> Paused {
        Paused {
            campaign: self.campaign,
            name: self.name.clone(),
            by_us: false,
            skipped: self.rows.clone(),
            started_at: None,
            taken_over_from: Some(self.by.clone()),
        }
    }
}

impl Done {
    /// What this run pauses is given back what an ended run skipped of it, with its own.
    pub(super) fn adopt(&mut self, skipped: &[SkippedMessages]) {
        for paused in self.paused.iter_mut().filter(|paused| paused.by_us) {
            let rows = skipped.iter().filter(|one| one.campaign == paused.campaign).map(|one| &one.rows);
            paused.skipped = rows.fold(paused.skipped.clone(), |all: QueueRows, rows| all.and(rows));
        }
    }

    fn has_adopted(&self, one: &SkippedMessages) -> bool {
        self.paused.iter().any(|paused| paused.by_us && paused.campaign == one.campaign)
    }
}

impl WhatsAppSendFailures {
    /// Sends provably work: what waits for nobody is sent, too. Returns how many campaigns got their messages back.
    pub(super) async fn give_back_of_ended(
        &self,
        run: &mut Run,
        skipped: &[SkippedMessages],
        done: &Done,
    ) -> Result<usize, Halt> {
        let mut given_back = Vec::new();
        for one in skipped.iter().filter(|one| !done.has_adopted(one)) {
            let start = Start::of_skipped(&self.on, (one.campaign, &one.name), &one.rows);
            let back = RestoreQueue::long_after(&self.on, &one.as_left(), start);
            let back = run.attempt(&WA_R1, back).await?;
            if back.receipt().left_alone.is_some() && !run.is_plan() {
                owe_skipped(run, &WA_R1, std::slice::from_ref(one)).await?;
                continue;
            }
            // Not proven, it stays open by its own verdict.
            if back.is_proven() {
                ends_only_while_it_runs(run, &WA_R1, &self.on, (one.campaign, &one.name));
            }
            given_back.push(back);
        }
        let claim = Claim::counted(
            given_back.iter().filter(|one| one.is_proven()),
            "running campaign was given back the messages that a run which has ended had skipped",
            "running campaigns were given back the messages that a run which has ended had skipped",
        );
        if let Some(claim) = claim {
            run.note(&WA_R1, claim).await?;
        }
        Ok(given_back.iter().filter(|one| one.is_proven()).count())
    }
}
