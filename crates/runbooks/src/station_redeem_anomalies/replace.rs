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

use std::sync::Arc;

use allclear_core::error::Service;
use allclear_core::ports::{NewReplacement, Replacements, Vouchers};
use allclear_core::{Money, Platform, PortError, Voucher, VoucherId, VoucherStatus};
use allclear_engine::{
    Applied, Danger, Effect, Evidence, Foreseen, Intent, Judgement, NoUndo, Observation, Prediction, Probe,
    Reconciled, Repeat,
};
use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::cases::{Case, Held, Made};
use crate::effects::change;

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

/// What all moves need.
#[derive(Clone)]
struct Desk {
    vouchers: Arc<dyn Vouchers>,
    replacements: Arc<dyn Replacements>,
    what: Replacing,
}

impl Desk {
    fn of(on: &Platform, what: &Replacing) -> Self {
        Self {
            vouchers: Arc::clone(&on.vouchers),
            replacements: Arc::clone(&on.replacements),
            what: what.clone(),
        }
    }

    /// The only replacement that may exist. Another one stops everything: that would be two.
    async fn replacement(&self) -> Result<Option<Voucher>, PortError> {
        let mut all = self.replacements.of(self.what.case.id).await?;
        if let Some(other) = all.iter().find(|one| one.id != self.what.id) {
            let detail = format!("voucher {} replaces it too", other.id);
            return Err(state_changed(self.what.case.id, detail));
        }
        Ok(all.pop())
    }

    fn is_held_by_us(&self, voucher: &Voucher) -> bool {
        is_held_by(voucher, &self.what.run)
    }

    /// Whether there is one replacement, ours to go on with, and worth the same.
    async fn judge_held(&self) -> Result<Judgement, PortError> {
        let row = self.replacement().await?;
        let evidence = vec![Evidence::new("vouchers (PostgREST)", row_text(row.as_ref()))];
        let amount = |row: &Voucher| row.amount.amount_minor == self.what.case.amount.amount_minor;
        Ok(match row {
            Some(row) if self.is_held_by_us(&row) && amount(&row) => Judgement::verified(
                "there is one replacement, it is held, and it is worth the same",
                evidence,
            ),
            Some(row) if Self::is_released(&row) => Judgement::verified("there is one replacement", evidence),
            _ => Judgement::refuted("the replacement is not there as it was made", evidence),
        })
    }

    fn is_released(voucher: &Voucher) -> bool {
        voucher.held_by.is_none() && voucher.status != VoucherStatus::Void
    }

    /// Why the replacement is not this run's any more.
    fn not_ours(row: &Voucher) -> String {
        if row.status == VoucherStatus::Void {
            let by = row.held_by.as_ref().map_or_else(|| "nobody".to_owned(), |by| format!("run {by}"));
            return format!("its replacement {} is void, and held by {by}", row.id);
        }
        format!(
            "somebody gave its replacement {} out by hand: it is {} and can be redeemed; look at both vouchers",
            row.id, row.status
        )
    }

    /// Why the customer has not what the run gave, once it gave it: exactly one voucher. `None` where it is so.
    async fn does_not_stand(&self) -> Result<Option<String>, PortError> {
        let original = self.what.case.id;
        let all = self.replacements.of(original).await?;
        if let Some(other) = all.iter().find(|one| one.id != self.what.id) {
            return Ok(Some(format!(
                "voucher {} replaces voucher {original} too: its customer has two",
                other.id
            )));
        }
        if !all.first().is_some_and(Self::is_released) {
            return Ok(Some(format!(
                "the replacement of voucher {original} was taken back by somebody else after it was released: its customer has no \
                 voucher"
            )));
        }
        let status = self.vouchers.find(original).await?.status;
        Ok((status != VoucherStatus::Void).then(|| {
            format!(
                "somebody else gave voucher {original} back, beside its replacement: it is {status}, and its customer has two"
            )
        }))
    }
}

/// Whether the customers still have what this run gave them, read once more before anybody is told. Gives the vouchers of which
/// that is not so, and why.
pub(super) struct ReplacementsStand {
    desks: Vec<Desk>,
    when: &'static str,
}

impl ReplacementsStand {
    pub(super) fn of(on: &Platform, released: &[Replacing]) -> Self {
        Self { desks: released.iter().map(|what| Desk::of(on, what)).collect(), when: "before the end" }
    }

    /// The same a moment later.
    pub(super) fn again(on: &Platform, released: &[Replacing]) -> Self {
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
pub(super) struct StillReplaced(Desk);

impl StillReplaced {
    pub(super) fn of(on: &Platform, what: &Replacing) -> Self {
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

fn is_held_by(voucher: &Voucher, run: &str) -> bool {
    voucher.status == VoucherStatus::Void && voucher.held_by.as_deref() == Some(run)
}

/// Shown as evidence: no code, no number.
fn row_text(voucher: Option<&Voucher>) -> String {
    match voucher {
        None => "no row".to_owned(),
        Some(voucher) => {
            let held = if voucher.held_by.is_some() { ", held" } else { "" };
            format!(
                "voucher {} is {}{held}, amount_minor {}",
                voucher.id, voucher.status, voucher.amount.amount_minor
            )
        }
    }
}

/// Makes the replacement, held.
#[derive(Clone)]
pub(super) struct ReserveReplacement(Desk);

impl ReserveReplacement {
    pub(super) fn of(on: &Platform, what: &Replacing) -> Self {
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
pub(super) struct AdoptReplacement {
    desk: Desk,
    from: Held,
}

impl AdoptReplacement {
    pub(super) fn of(on: &Platform, what: &Replacing, from: &Held) -> Self {
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

/// Takes the original back.
#[derive(Clone)]
pub(super) struct VoidVoucher(Desk);

impl VoidVoucher {
    pub(super) fn of(on: &Platform, what: &Replacing) -> Self {
        Self(Desk::of(on, what))
    }

    /// Whether the original was voided for our replacement; nobody else writes that.
    fn is_ours(&self, original: &Voucher) -> bool {
        original.status == VoucherStatus::Void && original.replaced_by == Some(self.0.what.id)
    }
}

#[async_trait]
impl Effect for VoidVoucher {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "voucher.void"
    }

    fn subject(&self) -> String {
        format!("voucher {}", self.0.what.case.id)
    }

    fn title(&self) -> String {
        format!("void voucher {}, which was redeemed twice", self.0.what.case.id)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    fn danger(&self) -> Danger {
        Danger::CannotBeTakenBack { why: "a void voucher stays void" }
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("a void voucher stays void")
    }

    async fn predict(&self, _foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let case = &self.0.what.case;
        let original = self.0.vouchers.find(case.id).await?;
        if self.is_ours(&original) {
            return Ok(Prediction::default());
        }
        if original.as_seen() != case.seen {
            let detail = format!(
                "it is {} and changed {}, after it was looked at",
                original.status, original.updated_at
            );
            return Err(state_changed(case.id, detail));
        }
        let label = case.id.to_string();
        Ok(Prediction::of(change("voucher", case.id, &label, "status", original.status.as_str(), "void")))
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        let Replacing { case, id, .. } = &self.0.what;
        match self.0.replacements.void_original(case.id, &case.seen, *id).await? {
            0 => Err(state_changed(
                case.id,
                "it changed in the last moment; the database changed nothing".to_owned(),
            )),
            _ => Ok(Applied { receipt: (), says: format!("voucher {} was voided", case.id) }),
        }
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        let original = self.0.vouchers.find(self.0.what.case.id).await?;
        Ok(if self.is_ours(&original) {
            Reconciled::Happened(Applied {
                receipt: (),
                says: "it is void and names our replacement".to_owned(),
            })
        } else {
            Reconciled::DidNot { why: format!("it is {} and names no replacement of ours", original.status) }
        })
    }

    async fn verify(&self, _intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        let original = self.0.vouchers.find(self.0.what.case.id).await?;
        let evidence = vec![Evidence::new("vouchers (PostgREST)", row_text(Some(&original)))];
        Ok(if self.is_ours(&original) {
            Judgement::verified(format!("voucher {} is void", original.id), evidence)
        } else {
            Judgement::refuted(format!("voucher {} is {}", original.id, original.status), evidence)
        })
    }
}

/// Lets the customer have the replacement.
#[derive(Clone)]
pub(super) struct ReleaseReplacement(Desk);

impl ReleaseReplacement {
    pub(super) fn of(on: &Platform, what: &Replacing) -> Self {
        Self(Desk::of(on, what))
    }
}

#[async_trait]
impl Effect for ReleaseReplacement {
    type Receipt = ();
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "voucher.release"
    }

    fn subject(&self) -> String {
        format!("voucher {}", self.0.what.id)
    }

    fn title(&self) -> String {
        format!("release the replacement of voucher {}", self.0.what.case.id)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    fn cannot_undo(&self) -> Option<&'static str> {
        Some("the customer may have redeemed it already")
    }

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        let what = &self.0.what;
        let actual = match self.0.replacement().await? {
            Some(row) if self.0.is_held_by_us(&row) => what.held(),
            Some(row) if Desk::is_released(&row) => "issued".to_owned(),
            Some(row) => return Err(state_changed(what.case.id, Desk::not_ours(&row))),
            None => "absent".to_owned(),
        };
        let row = foreseen.or("voucher", &what.id.to_string(), ROW, actual);
        if row == "issued" {
            return Ok(Prediction::default());
        }
        if row != what.held() {
            return Err(state_changed(what.case.id, format!("its replacement is {row}")));
        }
        let label = format!("replacement of {}", what.case.id);
        Ok(Prediction::of(change("voucher", what.id, &label, ROW, &row, "issued")))
    }

    fn foresee(&self, _prediction: &Prediction) {}

    async fn apply(&self, _intent: &Intent) -> Result<Applied<()>, PortError> {
        let what = &self.0.what;
        match self.0.replacements.release(what.id, &what.run).await? {
            0 => Err(state_changed(
                what.id,
                "this run does not hold it; the database changed nothing".to_owned(),
            )),
            _ => Ok(Applied { receipt: (), says: format!("replacement {} was released", what.id) }),
        }
    }

    async fn reconcile(&self, _intent: &Intent) -> Result<Reconciled<()>, PortError> {
        let row = self.0.replacement().await?;
        Ok(match row {
            Some(row) if Desk::is_released(&row) => Reconciled::Happened(Applied {
                receipt: (),
                says: format!("the replacement is {}", row.status),
            }),
            other => Reconciled::DidNot { why: row_text(other.as_ref()) },
        })
    }

    async fn verify(&self, _intent: &Intent, (): &(), _now: Timestamp) -> Result<Judgement, PortError> {
        let row = self.0.replacement().await?;
        let original = self.0.vouchers.find(self.0.what.case.id).await?;
        let evidence = vec![
            Evidence::new("vouchers (PostgREST)", row_text(row.as_ref())),
            Evidence::new("vouchers (PostgREST)", row_text(Some(&original))),
        ];
        let released = row.as_ref().is_some_and(Desk::is_released);
        Ok(if released && original.status == VoucherStatus::Void {
            Judgement::verified("the original is void and the customer has one replacement", evidence)
        } else {
            Judgement::refuted("the customer does not have exactly one voucher", evidence)
        })
    }
}
