//! Replacing a voucher that was redeemed twice: hold, void, release.
//!
//! What can go wrong in the middle, and what guards it:
//!
//! * killed after the replacement was made: it is held, nobody can redeem it, and its id is derived from the original's,
//!   so the next attempt finds it instead of making a second one;
//! * killed after the original was voided: the customer has nothing for a moment; the journal knows that the release is
//!   still to come, and the held row names the run;
//! * the run ended there for good: the next run takes the held replacement over and goes on from where the original stands. A
//!   run of the same store that has not ended keeps its claim on it; of one elsewhere nobody knows, so whoever approves is shown
//!   which run holds it. Were that one alive, the row would answer to one of the two only, and still there would be one
//!   replacement, which can be redeemed once the original cannot;
//! * the answer to a request is lost: the row tells whether it happened, and for each row only one answer is possible;
//! * somebody else changed the voucher: the expected state stands in the request, the database changes nothing, and the
//!   replacement stays held.

mod desk;
mod exchange;
mod hold;
mod stands;

use allclear_core::error::Service;
use allclear_core::{Money, PortError, VoucherId, VoucherStatus};
use jiff::Timestamp;
use uuid::Uuid;

use super::cases::{Case, Held, Made};

pub(super) use exchange::{ReleaseReplacement, VoidVoucher};
pub(super) use hold::{AdoptReplacement, ReserveReplacement};
pub(super) use stands::{ReplacementsStand, StillReplaced};

const ROW: &str = "row";
/// Of a held replacement, why it stays.
const STAYS_VOID: &str = "while the row is held nobody can redeem it, and the next run takes it over";

/// One voucher to be replaced, with everything decided.
#[derive(Debug, Clone)]
pub(super) struct Replacing {
    pub(super) case: Case,
    /// The replacement's id: there is one for each original, whoever replaces it.
    pub(super) id: VoucherId,
    /// What another run made and did not release; it is taken over.
    pub(super) from: Option<Held>,
    worth: Money,
    pub(super) run: String,
}

/// Why a voucher is not replaced by this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotReplaced {
    /// It was replaced before: nothing is left to do.
    Already,
    /// A person must look, and why.
    ByHand(String),
}

impl Replacing {
    /// Decides, or says why this voucher is not for this run to replace.
    pub(super) fn of(case: &Case, run: &str, now: Timestamp) -> Result<Self, NotReplaced> {
        let id = replacement_of(case.id);
        let from = left_to_do(case, id)?.filter(|held| held.by != run);
        if let Some(at) = case.expires_at.filter(|at| *at <= now) {
            let says = format!(
                "it expired {at}, and a replacement is good for as long; decide by hand whether to give another"
            );
            return Err(NotReplaced::ByHand(says));
        }
        let by_hand = |fault| NotReplaced::ByHand(format!("its worth cannot be told: {fault}"));
        let worth = case.amount.worth().map_err(by_hand)?;
        Ok(Self { case: case.clone(), id, from, worth, run: run.to_owned() })
    }

    /// What was done before, by another run or by this one. `None` where the voucher's worth cannot be told.
    pub(super) fn done_before(case: &Case, run: &str) -> Option<Self> {
        let worth = case.amount.worth().ok()?;
        Some(Self { case: case.clone(), id: replacement_of(case.id), from: None, worth, run: run.to_owned() })
    }

    /// What whoever approves is shown: the voucher, and whose unfinished work this run would go on with.
    pub(super) fn shown(&self) -> String {
        let case = self.case.side_by_side();
        let Some(Held { by, since, .. }) = &self.from else { return case };
        let rest = if self.case.status == VoucherStatus::Void {
            "; the voucher is void already, and only the release is still to come"
        } else {
            ""
        };
        format!(
            "{case}\n  its replacement {} is held by run {by} since {since}, which must have ended: this run takes it over{rest}",
            self.id
        )
    }

    fn held(&self) -> String {
        format!("held, worth {}", self.worth)
    }
}

/// The replacement's id, derived from the original's: whichever run replaces it, it is the same row.
pub(super) fn replacement_of(original: VoucherId) -> VoucherId {
    let name = format!("allclear replacement of {original}");
    VoucherId(Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()))
}

/// What an earlier run left to be gone on with; none where all is to be done.
fn left_to_do(case: &Case, id: VoucherId) -> Result<Option<Held>, NotReplaced> {
    let by_hand = |says: String| Err(NotReplaced::ByHand(says));
    if let Some(other) = case.replacements.iter().find(|other| **other != id) {
        return by_hand(format!(
            "voucher {other} replaces it already, and no run of this program made that one; look at both by hand"
        ));
    }
    match (&case.status, &case.made) {
        (VoucherStatus::Redeemed, None) if case.replacements.is_empty() => Ok(None),
        (VoucherStatus::Redeemed | VoucherStatus::Void, Some(Made::Held(held))) => {
            go_on_with(case, id, held).map(|()| Some(held.clone())).map_err(NotReplaced::ByHand)
        }
        (VoucherStatus::Void, Some(Made::Given)) if case.replaced_by == Some(id) => Err(NotReplaced::Already),
        (VoucherStatus::Redeemed, _) => by_hand(format!(
            "voucher {id} replaces it already and is not held, while this one is not void: its worth may be out twice; look at \
             both by hand"
        )),
        (status, _) => by_hand(format!("it is {status} and not redeemed; look at it by hand")),
    }
}

/// Whether a held replacement is as a run of this program left it.
fn go_on_with(case: &Case, id: VoucherId, held: &Held) -> Result<(), String> {
    let by = &held.by;
    if case.status == VoucherStatus::Void && case.replaced_by != Some(id) {
        return Err(format!(
            "it is void and names no replacement, while run {by} holds {id} for it; whoever voided it knows why: ask them"
        ));
    }
    if held.amount_minor != case.amount.amount_minor {
        return Err(format!(
            "run {by} holds its replacement {id}, which is not worth the same; look at both by hand"
        ));
    }
    Ok(())
}

/// The code of a refusal because a row is not as it was seen.
const STATE_CHANGED: &str = "state_changed";

fn state_changed(voucher: VoucherId, detail: String) -> PortError {
    PortError::Rejected {
        service: Service::Supabase,
        call: format!("voucher {voucher}"),
        code: Some(STATE_CHANGED.to_owned()),
        detail,
    }
}

/// Whether a refusal concerns this one voucher: somebody was there first, or the row breaks a rule of the table (a scope that
/// names no station, a value that is not allowed). Whatever else fails would fail for the next one too.
pub(super) fn concerns_one_voucher(error: &PortError) -> bool {
    const BREAKS_A_RULE: [&str; 2] = ["23503", "23514"];
    let of_one = |code: &str| code == STATE_CHANGED || BREAKS_A_RULE.contains(&code);
    matches!(error, PortError::Rejected { code: Some(code), .. } if of_one(code))
}
