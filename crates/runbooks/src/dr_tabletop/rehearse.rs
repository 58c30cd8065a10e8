//! The rehearsal on restored staging: smoke tests, and the cutover checklist, which is read and never executed.

use std::sync::Arc;

use allclear_core::PortError;
use allclear_core::platform::Recovery;
use allclear_core::ports::{Documents, SmokeTests};
use allclear_core::recovery::{SmokeResult, SmokeTest};
use allclear_engine::gate::Choice;
use allclear_engine::{
    Applied, Effect, Evidence, Foreseen, Intent, Judgement, NoUndo, Observation, Prediction, Probe,
    Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;

use super::words::count;
use crate::effects::change;

/// Tries one thing on staging. With the same marker it is not done a second time.
#[derive(Clone)]
pub(super) struct TryOut {
    smoke: Arc<dyn SmokeTests>,
    test: SmokeTest,
    marker: String,
}

impl TryOut {
    /// One marker for all tests of a run: the voucher that one issues is redeemed by the next.
    pub(super) fn of(recovery: &Recovery, test: SmokeTest, run: &str) -> Self {
        Self { smoke: Arc::clone(&recovery.smoke), test, marker: run.to_owned() }
    }
}

#[async_trait]
impl Effect for TryOut {
    /// `None` in a plan.
    type Receipt = Option<SmokeResult>;
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "staging.smoke_test"
    }

    fn subject(&self) -> String {
        format!("smoke test {}", self.test.title())
    }

    fn title(&self) -> String {
        format!("try {} on staging", self.test.title())
    }

    fn repeat(&self) -> Repeat {
        Repeat::Keyed
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("what was tried on staging was tried; the next restore replaces what it left")
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let title = self.test.title();
        Ok(Prediction::of(change("smoke test", title, title, "result", "not tried", "tried on staging")))
    }

    fn foresee(&self, _prediction: &Prediction) -> Option<SmokeResult> {
        None
    }

    async fn apply(&self, _intent: &Intent) -> Result<Applied<Option<SmokeResult>>, PortError> {
        let result = self.smoke.try_out(self.test, &self.marker).await?;
        Ok(Applied { says: result_says(&result), receipt: Some(result) })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<Option<SmokeResult>>, PortError> {
        Ok(Reconciled::DidNot { why: "the same marker does nothing a second time".to_owned() })
    }

    /// The test itself looks into the database, past the app that it asks; its word is what is judged.
    async fn verify(
        &self,
        _intent: &Intent,
        receipt: &Option<SmokeResult>,
        _now: Timestamp,
    ) -> Result<Judgement, PortError> {
        let evidence = |says: &str| vec![Evidence::new("staging's database, after the test", says)];
        let title = self.test.title();
        Ok(match receipt {
            Some(SmokeResult::Passed { says }) => {
                Judgement::verified(format!("{title} works on staging"), evidence(says))
            }
            Some(SmokeResult::Failed { says }) => {
                Judgement::refuted(format!("{title} does not work on staging: {says}"), evidence(says))
            }
            Some(SmokeResult::NotPossible { says }) => {
                Judgement::unverifiable(format!("{title} cannot be tried on staging: {says}"))
            }
            None => Judgement::unverifiable(format!("what {title} came to was not recorded")),
        })
    }
}

/// A result as one sentence.
pub(super) fn result_says(result: &SmokeResult) -> String {
    match result {
        SmokeResult::Passed { says } => format!("passed: {says}"),
        SmokeResult::Failed { says } => format!("failed: {says}"),
        SmokeResult::NotPossible { says } => format!("not possible on staging: {says}"),
    }
}

/// The team's cutover checklist, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checklist {
    pub(super) path: String,
    /// Its items; `None` where there is no such document.
    pub(super) items: Option<Vec<String>>,
    /// Whether somebody said that all of it was reviewed.
    pub(super) reviewed: bool,
}

/// Reads the cutover checklist.
pub(super) struct CutoverItems {
    documents: Arc<dyn Documents>,
    path: String,
}

impl CutoverItems {
    pub(super) fn of(recovery: &Recovery) -> Self {
        let path = recovery.exercise.cutover_checklist.clone();
        Self { documents: Arc::clone(&recovery.documents), path }
    }
}

#[async_trait]
impl Probe for CutoverItems {
    type Value = Option<Vec<String>>;

    fn subject(&self) -> String {
        "cutover checklist".to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Option<Vec<String>>>, PortError> {
        let text = self.documents.read(&self.path).await?;
        let items = text.as_deref().map(items);
        let says = match &items {
            Some(items) => {
                format!("{} has {}", self.path, count(items.len() as u64, "item", "items"))
            }
            None => format!("there is no {}", self.path),
        };
        let evidence = vec![Evidence::new(self.path.clone(), says.clone())];
        Ok(Observation { value: items, says, evidence })
    }
}

/// The items of a list in Markdown, each on one line, without bullet and box.
fn items(text: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        let trimmed = line.trim();
        let bullet = trimmed.strip_prefix("- ").or_else(|| trimmed.strip_prefix("* "));
        if let Some(words) = bullet {
            let boxed = ["[ ] ", "[x] ", "[X] "].iter().find_map(|mark| words.strip_prefix(mark));
            items.push(boxed.unwrap_or(words).to_owned());
            open = true;
        } else if open && line.starts_with(' ') && !trimmed.is_empty() {
            if let Some(last) = items.last_mut() {
                *last = format!("{last} {trimmed}");
            }
        } else {
            open = false;
        }
    }
    items
}

/// An answer to a question that only people can answer and whose no is a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confirmed {
    Yes,
    No,
}

impl Choice for Confirmed {
    const ALL: &'static [Self] = &[Self::Yes, Self::No];

    fn id(self) -> &'static str {
        match self {
            Self::Yes => "confirmed",
            Self::No => "not-confirmed",
        }
    }

    fn says(self) -> &'static str {
        match self {
            Self::Yes => "it is as the question says",
            Self::No => "it is not; put it down as a finding and go on",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_read_however_they_are_written() {
        let text = "# Cutover\n\n- [ ] Lower the TTL of\n  the records\n- [x] Point `DATABASE_URL`\n* Tell support\n\n  no item\n";
        assert_eq!(items(text), ["Lower the TTL of the records", "Point `DATABASE_URL`", "Tell support"]);
    }
}
