//! The exercise's files in a private bucket, for the people who read them later and have no way to this machine.

use std::sync::Arc;

use allclear_core::PortError;
use allclear_core::ports::EvidenceShelf;
use allclear_engine::{
    Applied, Effect, Foreseen, Halt, Intent, Judgement, NoUndo, Prediction, Reconciled, Repeat, Run, Step,
};
use async_trait::async_trait;
use jiff::Timestamp;

use super::exercise::{Tabletop, unproven_is_a_finding};
use super::files::{artifact, judge};
use super::findings::Topic;
use crate::effects::change;

/// Keeps one file there.
///
/// Cut in the middle: the file appears whole or not at all, the upload goes on at the server's offset, and a file that is there
/// is never replaced. The file's place is the run's own, so no other exercise can be in the way.
#[derive(Clone)]
pub(super) struct KeepEvidence {
    shelf: Arc<dyn EvidenceShelf>,
    name: &'static str,
    content: String,
}

#[async_trait]
impl Effect for KeepEvidence {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "evidence.keep"
    }

    fn subject(&self) -> String {
        format!("file {} as evidence", self.name)
    }

    fn title(&self) -> String {
        format!("keep {} as evidence", self.name)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Keyed
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("evidence of an exercise is kept")
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let place = self.shelf.address(self.name);
        Ok(Prediction::of(change("file", &place, &place, "content", "absent", "kept")))
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        let kept = self.shelf.keep(self.name, self.content.as_bytes()).await?;
        let says = format!("{} stands at {}, {} bytes", self.name, self.shelf.address(self.name), kept.bytes);
        Ok(Applied { receipt: (), says })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        let why =
            "keeping the same file again goes on where the upload ended, and replaces nothing".to_owned();
        Ok(Reconciled::DidNot { why })
    }

    async fn verify(&self, _intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        let found = self.shelf.find(self.name).await?;
        Ok(judge(found, &artifact(self.name, &self.content), "the evidence's bucket, read back"))
    }
}

impl Tabletop<'_> {
    /// Keeps a file where the environment has a place for it; one that could not be kept is a finding. Returns whether nothing
    /// is left to do by hand.
    pub(super) async fn keep_as_evidence(
        &mut self,
        run: &mut Run,
        step: &Step,
        name: &'static str,
        content: String,
    ) -> Result<bool, Halt> {
        let Some(bucket) = self.recovery.evidence.clone() else { return Ok(true) };
        let place = bucket.address(name);
        let kept = unproven_is_a_finding(run, step, KeepEvidence { shelf: bucket, name, content }).await;
        let done = self.unless_done(kept, Topic::Documents, &format!("{name} is not at {place}"))?;
        if done {
            self.record.kept.push(format!("{name}, as evidence at {place}"));
        }
        Ok(done)
    }
}
