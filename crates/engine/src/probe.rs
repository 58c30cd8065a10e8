//! Probes: read-only observations.

use std::sync::Arc;

use allclear_core::PortError;
use async_trait::async_trait;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A fact and where it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Where it was read, e.g. `send_logs (PostgREST)`.
    pub source: String,
    /// What was seen there.
    pub shows: String,
}

impl Evidence {
    /// A fact from a source.
    pub fn new(source: impl Into<String>, shows: impl Into<String>) -> Self {
        Self { source: source.into(), shows: shows.into() }
    }
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation<V> {
    /// The value that the procedure goes on with. It is journalled: no phone numbers, no secrets.
    pub value: V,
    /// One sentence for people.
    pub says: String,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
}

/// A read-only observation of the world. It must not change anything: plans run probes for real.
#[async_trait]
pub trait Probe: Send + Sync {
    /// What it finds.
    type Value: Serialize + DeserializeOwned + Send;

    /// What it is about, when the same step looks at several things (a campaign's id); empty otherwise.
    fn subject(&self) -> String {
        String::new()
    }

    /// Looks. `now` is the run's time.
    async fn observe(&self, now: Timestamp) -> Result<Observation<Self::Value>, PortError>;
}

/// Until when an effect has to wait: a look at what decides that, made right before each try, also where a process that was away
/// for long is about to do what an earlier one set out to do.
#[derive(Clone)]
pub struct NotBefore {
    probe: Arc<dyn Probe<Value = Option<Timestamp>>>,
    /// Why it waits, in one sentence.
    pub(crate) says: String,
}

impl NotBefore {
    /// `probe` finds the moment, or `None` where it may be done now.
    pub fn of(probe: impl Probe<Value = Option<Timestamp>> + 'static, says: impl Into<String>) -> Self {
        Self { probe: Arc::new(probe), says: says.into() }
    }
}

impl std::fmt::Debug for NotBefore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NotBefore").field("says", &self.says).finish_non_exhaustive()
    }
}

/// What must still be so for an effect to be true, e.g. a message that something works: a look right before each try, also where
/// the try before it failed hours ago. Where it is not so any more, the effect is not done and the run ends as refuted.
#[derive(Clone)]
pub struct OnlyWhile {
    probe: Arc<dyn Probe<Value = Option<String>>>,
    /// Before this it is taken for so: it was looked at a moment ago.
    pub(crate) from: Option<Timestamp>,
}

impl OnlyWhile {
    /// `probe` finds why it is not so any more; `None` where it is.
    pub fn of(probe: impl Probe<Value = Option<String>> + 'static) -> Self {
        Self { probe: Arc::new(probe), from: None }
    }

    /// The same, looked at from then on only: for what acts upon something that was seen a moment ago, unless a process died, a service
    /// was away, or a person was asked in between.
    #[must_use]
    pub fn from(self, at: Timestamp) -> Self {
        Self { from: Some(at), ..self }
    }
}

impl std::fmt::Debug for OnlyWhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnlyWhile").field("about", &self.probe.subject()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Probe for OnlyWhile {
    type Value = Option<String>;

    fn subject(&self) -> String {
        self.probe.subject()
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<Option<String>>, PortError> {
        self.probe.observe(now).await
    }
}

#[async_trait]
impl Probe for NotBefore {
    type Value = Option<Timestamp>;

    fn subject(&self) -> String {
        self.probe.subject()
    }

    async fn observe(&self, now: Timestamp) -> Result<Observation<Option<Timestamp>>, PortError> {
        self.probe.observe(now).await
    }
}
