//! Whether the customers still have what a run gave them.

use allclear_core::{Platform, PortError, VoucherId};
use allclear_engine::{Evidence, Observation, Probe};
use async_trait::async_trait;
use jiff::Timestamp;

use super::Replacing;
use super::desk::Desk;

/// Whether the customers still have what this run gave them, read once more before anybody is told. Gives the vouchers of which
/// that is not so, and why.
pub(in super::super) struct ReplacementsStand {
    desks: Vec<Desk>,
    when: &'static str,
}

impl ReplacementsStand {
    pub(in super::super) fn of(on: &Platform, released: &[Replacing]) -> Self {
        Self { desks: released.iter().map(|what| Desk::of(on, what)).collect(), when: "before the end" }
    }

    /// The same a moment later.
    pub(in super::super) fn again(on: &Platform, released: &[Replacing]) -> Self {
        Self { when: "before the end, again", ..Self::of(on, released) }
    }
}

#[async_trait]
impl Probe for ReplacementsStand {
    type Value = Vec<(VoucherId, String)>;

    fn subject(&self) -> String {
        format!("replacements {}", self.when)
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Self::Value>, PortError> {
        let mut changed = Vec::new();
        for desk in &self.desks {
            changed.extend(desk.does_not_stand().await?.map(|says| (desk.what.case.id, says)));
        }
        let words: Vec<&str> = changed.iter().map(|(_, says)| says.as_str()).collect();
        let says = if changed.is_empty() { "every replacement stands".to_owned() } else { words.join("; ") };
        let evidence = vec![Evidence::new("vouchers (PostgREST)", says.clone())];
        Ok(Observation { value: changed, says, evidence })
    }
}

/// The same of one, for the run's last word.
pub(in super::super) struct StillReplaced(Desk);

impl StillReplaced {
    pub(in super::super) fn of(on: &Platform, what: &Replacing) -> Self {
        Self(Desk::of(on, what))
    }
}

#[async_trait]
impl Probe for StillReplaced {
    type Value = Option<String>;

    fn subject(&self) -> String {
        format!("voucher {} and its replacement", self.0.what.case.id)
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Option<String>>, PortError> {
        let value = self.0.does_not_stand().await?;
        let says = value.clone().unwrap_or_else(|| "the replacement stands".to_owned());
        let evidence = vec![Evidence::new("vouchers (PostgREST)", says.clone())];
        Ok(Observation { value, says, evidence })
    }
}
