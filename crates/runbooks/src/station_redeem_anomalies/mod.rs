//! Station Redeem Anomalies: the procedure, bullet by bullet.
//!
//! | bullet | step | what the platform's reality adds |
//! |---|---|---|
//! | Detect | [`SR_D1`] | redemptions and attempts are streamed, a file is compared with them; each candidate is read fresh, and a replay is told from a double by station and time first, by key last; what was not looked at is never all clear |
//! | Idempotency failures | [`SR_I1`] | the station app's key is the same for every voucher of a station: one key, several vouchers |
//! | Review status and events | [`SR_I2`] | per voucher: status, events and redemptions side by side |
//! | Double redemption: void, replace | [`SR_M1`] | a saga that cannot issue two: hold the replacement, void the original with the expected state in the request, release; refused where the money columns do not tell the worth; what an ended run still holds is taken over |
//! | Scope mismatch | [`SR_M2`] | one voucher at a time, as a person chooses: correct the scope, or tell the operator |
//! | Notify Data Ops | [`SR_E1`] | when a scope was set wrongly; who set it is theirs to find out |
//! | Incident note, vendor support | [`SR_R1`] | the note is an audit row, which is what the Logs page shows |

mod cases;
mod detect;
mod events;
mod found;
mod messages;
mod replace;
mod scope;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use allclear_core::clock::{after, before};
use allclear_core::{Platform, Rehearsal, VoucherId};
use allclear_engine::{
    Approval, Approvers, Claim, Gate, Halt, Note, OnlyWhile, Phase, Proof, Resolution, Run, Runbook, Settled,
    Step,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::effects::{AuditNote, Inherited, PostMessage, STUCK, Stuck, tell_last};
use crate::words::counted;
use cases::{Case, Cases};
use detect::{Anomalies, KeyUse};
use events::RecordEvent;
use found::Found;
use replace::{
    AdoptReplacement, NotReplaced, ReleaseReplacement, ReplacementsStand, Replacing, ReserveReplacement,
    StillReplaced, VoidVoucher, concerns_one_voucher,
};

/// Detect: errors for valid vouchers, or double redemption.
pub const SR_D1: Step = Step {
    id: "SR-D1",
    phase: Phase::Detect,
    title: "Station PWA returns errors for valid vouchers or allows double redemption",
};
/// Idempotency failures.
pub const SR_I1: Step = Step {
    id: "SR-I1",
    phase: Phase::Immediate,
    title: "Check `/api/station/redeem` logs for idempotency failures",
};
/// Side by side.
pub const SR_I2: Step =
    Step { id: "SR-I2", phase: Phase::Immediate, title: "Review voucher status and events for affected IDs" };
/// Void and replace.
pub const SR_M1: Step = Step {
    id: "SR-M1",
    phase: Phase::Mitigate,
    title: "If double redemption: mark voucher `void` and issue replacement manually",
};
/// Correct the scope, or tell the operator.
pub const SR_M2: Step = Step {
    id: "SR-M2",
    phase: Phase::Mitigate,
    title: "If scope mismatch: update voucher `station_scope` or educate station operator",
};
/// Tell Data Ops.
pub const SR_E1: Step = Step {
    id: "SR-E1",
    phase: Phase::Escalate,
    title: "Notify Data Ops if OCR mapping produced wrong station scope",
};
/// Note and vendor.
pub const SR_R1: Step = Step {
    id: "SR-R1",
    phase: Phase::Resolve,
    title: "Add incident note in Logs page and communicate to vendor support",
};

/// How long after a look that found a voucher changed it is looked at again.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// The bullets, in the order of the text.
pub const STEPS: &[Step] = &[SR_D1, SR_I1, SR_I2, SR_M1, SR_M2, SR_E1, SR_R1];

/// More replacements than this in one run are left to the next: each one is money.
const MOST_REPLACED: usize = 20;

/// What the procedure may be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Input {
    /// Only these vouchers; all that are affected when empty.
    pub vouchers: Vec<VoucherId>,
    /// How far back redemptions and attempts are read, in hours.
    pub window_hours: u32,
    /// A file of exported redemptions or voucher events (CSV or NDJSON). It names the vouchers that are acted on, and nothing
    /// else: what it claims is read again from the platform, and where the two disagree, people are told.
    pub events: Option<PathBuf>,
}

impl Default for Input {
    fn default() -> Self {
        Self { vouchers: Vec::new(), window_hours: 24, events: None }
    }
}

/// The runbook, on a platform.
#[derive(Debug, Clone)]
pub struct StationRedeemAnomalies {
    /// The ports.
    pub on: Platform,
    /// What it was told.
    pub input: Input,
}

/// What was done, and what could not be: the note and the vendor's message are made of it.
#[derive(Debug, Default, Clone, Serialize)]
struct Done {
    replaced: Vec<VoucherId>,
    /// Those that were replaced before this run: nothing was left to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    replaced_before: Vec<VoucherId>,
    scopes_corrected: Vec<VoucherId>,
    operators_told: Vec<VoucherId>,
    /// Sentences about what a person must look after.
    left: Vec<String>,
}

#[async_trait]
impl Runbook for StationRedeemAnomalies {
    fn id(&self) -> &'static str {
        "station-redeem-anomalies"
    }

    fn title(&self) -> &'static str {
        "Station Redeem Anomalies"
    }

    fn version(&self) -> u32 {
        1
    }

    fn steps(&self) -> &'static [Step] {
        STEPS
    }

    fn rehearsal(&self) -> Option<Rehearsal> {
        self.on.rehearsal.clone()
    }

    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        let stuck = Stuck::watch(run, &self.on, &SR_E1, self.id()).await?;
        let handled = self.handle(run).await;
        let left =
            Inherited { on: &self.on, runbook: self.id(), step: &SR_R1, alarms: &[STUCK], whole: true };
        left.end_beside(run, &handled).await?;
        stuck.over(run, handled.as_ref().err()).await?;
        handled?.resolution(run)
    }
}

impl StationRedeemAnomalies {
    /// The runbook, from the redemptions to the vendor's message: what was done.
    async fn handle(&self, run: &mut Run) -> Result<Done, Halt> {
        let on = &self.on;
        // Counted from when the run began: it may have been away since.
        let since = before(run.now(), Duration::from_hours(u64::from(self.input.window_hours.max(1))));
        let found = run.probe(&SR_D1, Anomalies::over(on, &self.input, since)).await?;
        self.note_counts(run, &found).await?;
        let mut done = Done::default();
        self.check_keys(run, since, &mut done).await?;
        if !found.needs_hands() && done.left.is_empty() {
            found.must_rest_on_samples()?;
            run.conclude_unless(false, found.all_clear(self.input.window_hours))?;
        }
        let cases = run.probe(&SR_I2, Cases::of(on, &found.affected())).await?;
        for case in &cases {
            run.note(&SR_I2, case.affected()).await?;
        }
        let released = self.void_and_replace(run, &cases, &mut done).await?;
        let wrong = self.settle_scopes(run, &found, &cases, &mut done).await?;
        if !wrong.is_empty() {
            let message = messages::data_ops(&on.limits.data_ops_channel, run.id(), &wrong);
            let posted = tell_last(run, &SR_E1, PostMessage::of(on, message)).await?;
            let scopes = counted(wrong.len(), "scope was", "scopes were");
            let told = format!("Data Ops was told that {scopes} set wrongly");
            let untold = format!("Data Ops was not told that {scopes} set wrongly: notify them by hand");
            run.told(&SR_E1, told, untold, &[posted.account()]).await?;
        }
        let unseen =
            found.nothing_seen_of().map(|of| format!("{of} was found, so nothing can be said of it"));
        for says in found.left_to_people().into_iter().chain(unseen).chain(found.unexplained(&cases)) {
            self.leave(run, &SR_D1, &mut done, says).await?;
        }
        self.look_at_replacements_again(run, &released, &mut done).await?;
        self.note_and_tell_vendor(run, &found, &done).await?;
        // The vendor may have been told hours after that look.
        for what in released.iter().filter(|what| done.replaced.contains(&what.case.id)) {
            run.ends_only_while(&SR_R1, OnlyWhile::of(StillReplaced::of(on, what)));
        }
        Ok(done)
    }
}

impl Done {
    fn resolution(&self, run: &Run) -> Result<Resolution, Halt> {
        let Self { replaced, replaced_before, scopes_corrected, operators_told, left } = self;
        let says = [
            (replaced.len(), "voucher was voided and replaced", "vouchers were voided and replaced"),
            (scopes_corrected.len(), "scope was corrected", "scopes were corrected"),
            (operators_told.len(), "operator was told", "operators were told"),
        ]
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, one, many)| counted(count, one, many))
        .collect::<Vec<_>>()
        .join(", ");
        let says = if says.is_empty() { "nothing was changed".to_owned() } else { says };
        let says = if replaced_before.is_empty() {
            says
        } else {
            let before = counted(replaced_before.len(), "voucher was", "vouchers were");
            format!("{says}; {before} void and replaced already, with nothing left to do")
        };
        if left.is_empty() {
            let done = [SR_M1, SR_M2, SR_R1].iter().filter_map(|step| run.proof(step).ok());
            return run.resolve(says, done.fold(run.proof(&SR_D1)?, Proof::and));
        }
        Err(Halt::Unverified {
            step: SR_R1.id.to_owned(),
            says: format!("{says}; still open: {}", left.join("; ")),
        })
    }
}

impl StationRedeemAnomalies {
    async fn note_counts(&self, run: &mut Run, found: &Found) -> Result<(), Halt> {
        for (what, count) in found.counts() {
            run.note(&SR_D1, Note::Count { what: what.to_owned(), count }).await?;
        }
        Ok(())
    }

    /// Puts on record what this run leaves to people.
    async fn leave(&self, run: &mut Run, step: &Step, done: &mut Done, says: String) -> Result<(), Halt> {
        done.left.push(says.clone());
        run.note(step, Note::OpenQuestion { says }).await
    }

    /// One key for several vouchers is a defect of the app; no voucher is to blame, so none is touched.
    async fn check_keys(&self, run: &mut Run, since: Timestamp, done: &mut Done) -> Result<(), Halt> {
        let collisions = run.probe(&SR_I1, KeyUse::over(&self.on, since)).await?;
        for collision in collisions {
            let says = format!(
                "one idempotency key came with {} vouchers at station {}: the app must make a key per voucher, the server must compare the voucher too",
                collision.vouchers.len(),
                collision.station
            );
            self.leave(run, &SR_I1, done, says).await?;
        }
        Ok(())
    }

    /// Returns what was released to customers.
    async fn void_and_replace(
        &self,
        run: &mut Run,
        cases: &[Case],
        done: &mut Done,
    ) -> Result<Vec<Replacing>, Halt> {
        let mut doubled: Vec<Replacing> = Vec::new();
        for case in cases.iter().filter(|case| case.is_double()) {
            match Replacing::of(case, run.id(), run.now()) {
                Ok(replacing) if doubled.len() < MOST_REPLACED => doubled.push(replacing),
                Ok(_) => {
                    let says = format!(
                        "voucher {} was redeemed twice too; a run replaces {MOST_REPLACED} at most, start another",
                        case.id
                    );
                    self.leave(run, &SR_M1, done, says).await?;
                }
                Err(NotReplaced::Already) => {
                    // Whoever did it may have ended before it was on record.
                    if let Some(before) = Replacing::done_before(case, run.id()) {
                        self.record_replacing(run, &before, RecordEvent::missing(&self.on, &before)).await?;
                    }
                    done.replaced_before.push(case.id);
                }
                Err(NotReplaced::ByHand(why)) => {
                    self.leave(run, &SR_M1, done, format!("voucher {} is not replaced: {why}", case.id))
                        .await?;
                }
            }
        }
        if doubled.is_empty() {
            return Ok(Vec::new());
        }
        self.ask_for_second_person(run, &doubled).await?;
        let mut released = Vec::new();
        for replacing in &doubled {
            released.extend(self.replace_one(run, replacing, done).await?);
        }
        let claim = Claim::counted(
            &released,
            "voucher was redeemed twice and voided and replaced",
            "vouchers were redeemed twice and voided and replaced",
        );
        if let Some(claim) = claim {
            run.note(&SR_M1, claim).await?;
        }
        doubled.retain(|replacing| done.replaced.contains(&replacing.case.id));
        Ok(doubled)
    }

    /// What somebody changed after it was released is not counted: that customer has nothing, or two.
    async fn look_at_replacements_again(
        &self,
        run: &mut Run,
        released: &[Replacing],
        done: &mut Done,
    ) -> Result<(), Halt> {
        if released.is_empty() || run.is_plan() {
            return Ok(());
        }
        let mut changed = run.probe(&SR_R1, ReplacementsStand::of(&self.on, released)).await?;
        if !changed.is_empty() {
            // One read may be stale.
            let again = after(run.now(), LOOK_AGAIN_AFTER);
            run.wait_until(&SR_R1, again, "look again before it is believed that a voucher was changed")
                .await?;
            changed = run.probe(&SR_R1, ReplacementsStand::again(&self.on, released)).await?;
        }
        done.replaced.retain(|original| changed.iter().all(|(changed, _)| changed != original));
        for (_, says) in changed {
            self.leave(run, &SR_R1, done, says).await?;
        }
        Ok(())
    }

    /// Whoever started the run does not approve it; for more than one voucher two others must. Nothing was changed before, so
    /// an answer that comes too late costs no more than another run.
    async fn ask_for_second_person(&self, run: &mut Run, doubled: &[Replacing]) -> Result<(), Halt> {
        let needed = if doubled.len() > 1 { 2 } else { 1 };
        let question = format!(
            "Void {} redeemed twice, and issue one replacement each?",
            counted(doubled.len(), "voucher that was", "vouchers that were")
        );
        let approvers = Approvers { needed, ..Approvers::somebody_else() };
        let gate = Gate::new(question, Approval::Approve)
            .answered_by(approvers)
            .about("void")
            .showing("reason: double_redemption");
        // Who answers, and for how long the question stands, is the environment's to say.
        let gate = doubled.iter().fold(gate, |gate, replacing| {
            gate.covering(&VoidVoucher::of(&self.on, replacing)).showing(replacing.shown())
        });
        run.approve(&SR_M1, gate).await
    }

    /// Hold (or take over what is held), void, release: after each, the customer has one voucher or a held one, never two.
    /// Returns the release, where it came to that.
    async fn replace_one(
        &self,
        run: &mut Run,
        replacing: &Replacing,
        done: &mut Done,
    ) -> Result<Option<Settled<()>>, Halt> {
        let on = &self.on;
        let original = replacing.case.id;
        let held = match &replacing.from {
            None => run.perform(&SR_M1, ReserveReplacement::of(on, replacing)).await,
            Some(from) => run.perform(&SR_M1, AdoptReplacement::of(on, replacing, from)).await,
        };
        let taken_back = match held {
            Ok(()) => run.perform(&SR_M1, VoidVoucher::of(on, replacing)).await,
            failed => failed,
        };
        let released = match taken_back {
            Ok(()) => run.attempt(&SR_M1, ReleaseReplacement::of(on, replacing)).await,
            Err(halt) => Err(halt),
        };
        // Somebody was there first, or this row breaks a rule of the table. If the replacement was made, it stays as it is.
        // What a person must put right first (a missing GRANT, a credential), a service that is away, or whatever else is no
        // matter of this voucher would meet the next one too: it interrupts the run.
        if let Err(Halt::Failed { error, .. }) = &released
            && concerns_one_voucher(error)
        {
            let says = format!(
                "voucher {original} was left as it is, and this run released no replacement of it: {error}"
            );
            self.leave(run, &SR_M1, done, says).await?;
            return Ok(None);
        }
        let released = released?;
        released.clone().proven(&SR_M1)?;
        self.record_replacing(run, replacing, RecordEvent::both(on, replacing)).await?;
        done.replaced.push(original);
        Ok(Some(released))
    }

    /// Puts on record, in the vouchers' histories and in the audit log, that one was replaced by the other: once, whichever run does.
    async fn record_replacing(
        &self,
        run: &mut Run,
        replacing: &Replacing,
        events: [RecordEvent; 2],
    ) -> Result<(), Halt> {
        for event in events {
            run.perform(&SR_M1, event).await?;
        }
        let facts = json!({ "reason": "double_redemption", "after": "void", "replaced_by": replacing.id, "run": run.id() });
        let original = replacing.case.id.to_string();
        let note = AuditNote::once(&self.on, "voucher_void", "vouchers", &original, &facts);
        run.perform(&SR_M1, note).await
    }

    async fn note_and_tell_vendor(&self, run: &mut Run, found: &Found, done: &Done) -> Result<(), Halt> {
        let on = &self.on;
        let facts = json!({ "runbook": self.id(), "found": found.facts(), "done": done });
        run.perform(&SR_R1, AuditNote::of(on, run.id(), "incident_note", "vouchers", run.id(), &facts))
            .await?;
        let message = messages::vendor(&on.limits.vendor_channel, run.id(), found, done);
        let posted = tell_last(run, &SR_R1, PostMessage::of(on, message)).await?;
        let told = "the vendor's support was told what was found and done";
        let untold = "the vendor's support was not told: write to them by hand";
        run.told(&SR_R1, told, untold, &[posted.account()]).await.map(drop)
    }
}
