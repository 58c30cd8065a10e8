//! Probes and effects made of closures, for a first runbook of your own. What needs to be asked whether it happened, or
//! to be taken back, is worth a type: implement [`Probe`] and [`Effect`] for that.

use std::future::Future;

use allclear_core::PortError;
use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::effect::{
    Applied, Change, Effect, Foreseen, Intent, Judgement, NoUndo, Prediction, Reconciled, Repeat,
};
use crate::probe::{Evidence, Observation, Probe};

/// A probe made of a closure.
#[derive(Debug)]
pub struct Look<V, F> {
    source: &'static str,
    says: fn(&V) -> String,
    closure: F,
}

impl<V, F> Look<V, F> {
    /// Looks at `source`, which also tells several looks of one step apart; `says` words what was seen.
    pub fn at(source: &'static str, says: fn(&V) -> String, look: F) -> Self {
        Self { source, says, closure: look }
    }
}

#[async_trait]
impl<V, F, Seen> Probe for Look<V, F>
where
    V: Serialize + DeserializeOwned + Send + Sync,
    F: Fn() -> Seen + Send + Sync,
    Seen: Future<Output = Result<V, PortError>> + Send,
{
    type Value = V;

    fn subject(&self) -> String {
        self.source.to_owned()
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<V>, PortError> {
        let value = (self.closure)().await?;
        let says = (self.says)(&value);
        Ok(Observation { value, evidence: vec![Evidence::new(self.source, says.clone())], says })
    }
}

/// An effect made of two closures: one does it, the other reads it back.
#[derive(Debug)]
pub struct Act<D, C> {
    name: &'static str,
    title: String,
    change: Change,
    repeat: Repeat,
    apply: D,
    check: C,
}

impl<D, C> Act<D, C> {
    /// `name` is object.verb, `change` what the plan shows. `act` does it and words what happened; `check` looks, by
    /// another way, whether it holds, and words what it saw.
    pub fn new(name: &'static str, title: impl Into<String>, change: Change, act: D, check: C) -> Self {
        Self { name, title: title.into(), change, repeat: Repeat::Neither, apply: act, check }
    }

    /// Doing it twice is doing it once: after a crash it is simply done again. Without this, a person is asked.
    pub fn harmless_to_repeat(mut self) -> Self {
        self.repeat = Repeat::Keyed;
        self
    }
}

#[async_trait]
impl<D, C, Done, Checked> Effect for Act<D, C>
where
    D: Fn() -> Done + Send + Sync,
    C: Fn() -> Checked + Send + Sync,
    Done: Future<Output = Result<String, PortError>> + Send,
    Checked: Future<Output = Result<(bool, String), PortError>> + Send,
{
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        self.name
    }

    fn subject(&self) -> String {
        format!("{} {}", self.change.kind, self.change.id)
    }

    fn title(&self) -> String {
        self.title.clone()
    }

    fn repeat(&self) -> Repeat {
        self.repeat
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        Ok(Prediction::of(self.change.clone()))
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        Ok(Applied { receipt: (), says: (self.apply)().await? })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        Ok(Reconciled::Unknown { why: "this effect cannot tell whether it happened".to_owned() })
    }

    async fn verify(&self, _intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        let (holds, saw) = (self.check)().await?;
        let evidence = vec![Evidence::new(self.name, saw.clone())];
        Ok(if holds { Judgement::verified(saw, evidence) } else { Judgement::refuted(saw, evidence) })
    }
}
