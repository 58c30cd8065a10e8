//! Making the one replacement, or taking over what another run made: nobody can redeem it yet.

use allclear_core::ports::NewReplacement;
use allclear_core::{Platform, PortError, Voucher};
use allclear_engine::{Applied, Effect, Foreseen, Intent, Judgement, NoUndo, Prediction, Reconciled, Repeat};
use async_trait::async_trait;
use jiff::Timestamp;

use super::super::cases::Held;
use super::desk::{Desk, is_held_by, row_text};
use super::{ROW, Replacing, STAYS_VOID, state_changed};
use crate::effects::change;

/// Makes the replacement, held.
#[derive(Clone)]
pub(in super::super) struct ReserveReplacement(Desk);

impl ReserveReplacement {
    pub(in super::super) fn of(on: &Platform, what: &Replacing) -> Self {
        Self(Desk::of(on, what))
    }
}

#[async_trait]
impl Effect for ReserveReplacement {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "voucher.reserve"
    }

    fn subject(&self) -> String {
        format!("voucher {}", self.0.what.id)
    }

    fn title(&self) -> String {
        format!("make a held replacement for voucher {}", self.0.what.case.id)
    }

    /// Its id is derived from the original's: a second insert is no second voucher.
    fn repeat(&self) -> Repeat {
        Repeat::Keyed
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some(STAYS_VOID)
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let what = &self.0.what;
        match self.0.replacement().await? {
            Some(row) if self.0.is_held_by_us(&row) || Desk::is_released(&row) => Ok(Prediction::default()),
            Some(row) => Err(state_changed(what.case.id, Desk::not_ours(&row))),
            None => {
                let label = format!("replacement of {}", what.case.id);
                Ok(Prediction::of(change("voucher", what.id, &label, ROW, "absent", &what.held())))
            }
        }
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        let what = &self.0.what;
        let original = self.0.vouchers.find(what.case.id).await?;
        if original.as_seen() != what.case.seen {
            let detail = format!(
                "it is {} and changed {}, after it was looked at",
                original.status, original.updated_at
            );
            return Err(state_changed(what.case.id, detail));
        }
        let replacement = NewReplacement {
            id: what.id,
            original: what.case.id,
            amount: original.amount,
            msisdn: original.msisdn,
            station_scope: original.station_scope,
            campaign: original.campaign,
            expires_at: original.expires_at,
            held_by: what.run.clone(),
        };
        self.0.replacements.reserve(&replacement).await?;
        Ok(Applied { receipt: (), says: format!("replacement {} was made, held", what.id) })
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        Ok(Reconciled::DidNot { why: "making the same replacement again makes no second one".to_owned() })
    }

    async fn verify(&self, _intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        self.0.judge_held().await
    }
}

/// Takes over what another run made and did not release. It claims the same as making it does: a run of this store that holds
/// it and has not ended keeps this one from it.
#[derive(Clone)]
pub(in super::super) struct AdoptReplacement {
    desk: Desk,
    from: Held,
}

impl AdoptReplacement {
    pub(in super::super) fn of(on: &Platform, what: &Replacing, from: &Held) -> Self {
        Self { desk: Desk::of(on, what), from: from.clone() }
    }
}

#[async_trait]
impl Effect for AdoptReplacement {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "voucher.adopt"
    }

    fn subject(&self) -> String {
        format!("voucher {}", self.desk.what.id)
    }

    fn title(&self) -> String {
        let original = self.desk.what.case.id;
        format!("take over the replacement of voucher {original} that run {} holds", self.from.by)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some(STAYS_VOID)
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let what = &self.desk.what;
        match self.desk.replacement().await? {
            Some(row) if self.desk.is_held_by_us(&row) || Desk::is_released(&row) => {
                Ok(Prediction::default())
            }
            Some(row) if is_held_by(&row, &self.from.by) => {
                let (label, before) = (format!("replacement of {}", what.case.id), self.before());
                Ok(Prediction::of(change("voucher", what.id, &label, ROW, &before, &what.held())))
            }
            other => Err(state_changed(what.case.id, self.not_held_any_more(other.as_ref()))),
        }
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        let what = &self.desk.what;
        match self.desk.replacements.adopt(what.id, &self.from.by, &what.run).await? {
            0 => Err(state_changed(
                what.case.id,
                format!(
                    "run {} does not hold its replacement any more; the database changed nothing",
                    self.from.by
                ),
            )),
            _ => Ok(Applied {
                receipt: (),
                says: format!("replacement {} was taken over from run {}, held", what.id, self.from.by),
            }),
        }
    }

    /// Only this run writes its own id there.
    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        let row = self.desk.replacement().await?;
        Ok(match row {
            Some(row) if self.desk.is_held_by_us(&row) => Reconciled::Happened(Applied {
                receipt: (),
                says: "this run holds the replacement".to_owned(),
            }),
            other => Reconciled::DidNot { why: row_text(other.as_ref()) },
        })
    }

    async fn verify(&self, _intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        self.desk.judge_held().await
    }
}

impl AdoptReplacement {
    fn before(&self) -> String {
        format!("held by run {}", self.from.by)
    }

    fn not_held_any_more(&self, row: Option<&Voucher>) -> String {
        let by =
            row.and_then(|row| row.held_by.as_ref()).map_or_else(String::new, |by| format!(" by run {by}"));
        format!("its replacement was held by run {}, and now: {}{by}", self.from.by, row_text(row))
    }
}
