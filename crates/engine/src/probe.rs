//! Probes: read-only observations.

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
