//! The effect ledger: how often each thing really happened.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One request that changed the world, or tried to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Its number, from 1.
    pub seq: u64,
    /// When, by the world's clock.
    pub at: Timestamp,
    /// What, object.verb: `campaign.pause`, `message.send`, `audit.insert` ...
    pub effect: String,
    /// To what: a campaign's id, a channel, a dedup key.
    pub subject: String,
    /// Whether the world really changed.
    pub changed: bool,
}

/// All of them. What the platform's own dispatcher sends is in the send log, not here.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    entries: Vec<LedgerEntry>,
}

impl Ledger {
    pub(crate) fn note(
        &mut self,
        at: Timestamp,
        effect: &str,
        subject: impl std::fmt::Display,
        changed: bool,
    ) {
        let seq = self.entries.len() as u64 + 1;
        self.entries.push(LedgerEntry {
            seq,
            at,
            effect: effect.to_owned(),
            subject: subject.to_string(),
            changed,
        });
    }

    /// All entries, in order.
    pub fn entries(&self) -> &[LedgerEntry] {
        &self.entries
    }
}
