//! Station Redeem Anomalies: the procedure, bullet by bullet.
//!
//! | bullet | step | what the platform's reality adds |
//! |---|---|---|
//! | Detect | [`SR_D1`] | redemptions are streamed or scanned in an exported file, attempts are streamed; each candidate is read fresh, and a replay is told from a double by its idempotency key |
//! | Idempotency failures | [`SR_I1`] | the station app's key is the same for every voucher of a station: one key, several vouchers |
//! | Review status and events | [`SR_I2`] | per voucher: status, events and redemptions side by side |
//! | Double redemption: void, replace | [`SR_M1`] | a saga that cannot issue two: hold the replacement, void the original with the expected state in the request, release; refused where the money columns do not tell the worth |
//! | Scope mismatch | [`SR_M2`] | one voucher at a time, as a person chooses: correct the scope, or tell the operator |
//! | Notify Data Ops | [`SR_E1`] | when a scope was set wrongly; who set it is theirs to find out |
//! | Incident note, vendor support | [`SR_R1`] | the note is an audit row, which is what the Logs page shows |

mod cases;
mod detect;
mod messages;
mod replace;
mod scope;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use allclear_core::{Platform, VoucherId};
use allclear_engine::{Halt, Note, Phase, Resolution, Run, Runbook, Step};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::effects::{AuditNote, PostMessage, go_on_without};
use crate::gates::before_no_return;
use crate::words::counted;
use cases::{Case, Cases};
use detect::{Anomalies, Found, KeyUse};
use replace::{RecordEvent, ReleaseReplacement, Replacing, ReserveReplacement, VoidVoucher};

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
    /// A file of exported redemptions or voucher events (CSV or NDJSON). It names the vouchers to look at instead of the
    /// platform's list of redemptions, and nothing else: what it claims is read again from the platform.
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

    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        let on = &self.on;
        let found = run.probe(&SR_D1, Anomalies::over(on, &self.input)).await?;
        self.note_counts(run, &found).await?;
        run.conclude_unless(found.needs_hands(), found.all_clear())?;

        let mut done = Done::default();
        self.check_keys(run, &mut done).await?;
        let cases = run.probe(&SR_I2, Cases::of(on, &found.affected())).await?;
        for case in &cases {
            run.note(&SR_I2, case.affected()).await?;
        }
        self.void_and_replace(run, &cases, &mut done).await?;
        let wrong = self.settle_scopes(run, &found, &cases, &mut done).await?;
        if !wrong.is_empty() {
            let message = messages::data_ops(&on.limits.data_ops_channel, run.id(), &wrong);
            let told = run.attempt(&SR_E1, PostMessage::of(on, message)).await.map(drop);
            go_on_without(run, &SR_E1, "notify Data Ops by hand", told).await?;
        }
        for says in found.unexplained(&cases) {
            self.leave(run, &SR_D1, &mut done, says).await?;
        }
        self.note_and_tell_vendor(run, &found, &done).await?;
        done.resolution()
    }
}

impl Done {
    fn resolution(&self) -> Result<Resolution, Halt> {
        let Self { replaced, scopes_corrected, operators_told, left } = self;
        let says = format!(
            "{} voided and replaced, {} corrected, {} told",
            counted(replaced.len(), "voucher was", "vouchers were"),
            counted(scopes_corrected.len(), "scope", "scopes"),
            counted(operators_told.len(), "operator", "operators")
        );
        if left.is_empty() {
            return Ok(Resolution::verified(says));
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
    async fn check_keys(&self, run: &mut Run, done: &mut Done) -> Result<(), Halt> {
        let collisions = run.probe(&SR_I1, KeyUse::over(&self.on, &self.input)).await?;
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

    async fn void_and_replace(&self, run: &mut Run, cases: &[Case], done: &mut Done) -> Result<(), Halt> {
        let mut doubled: Vec<Replacing> = Vec::new();
        for case in cases.iter().filter(|case| case.is_double()) {
            match Replacing::of(case, run.id()) {
                Ok(replacing) if doubled.len() < MOST_REPLACED => doubled.push(replacing),
                Ok(_) => {
                    let says = format!(
                        "voucher {} was redeemed twice too; a run replaces {MOST_REPLACED} at most, start another",
                        case.id
                    );
                    self.leave(run, &SR_M1, done, says).await?;
                }
                Err(why) => {
                    self.leave(run, &SR_M1, done, format!("voucher {} is not replaced: {why}", case.id))
                        .await?;
                }
            }
        }
        if doubled.is_empty() {
            return Ok(());
        }
        self.ask_for_second_person(run, &doubled).await?;
        for replacing in &doubled {
            self.replace_one(run, replacing, done).await?;
        }
        let says = format!(
            "{} redeemed twice and voided and replaced",
            counted(done.replaced.len(), "voucher was", "vouchers were")
        );
        run.note(&SR_M1, Note::Mitigation { says }).await
    }

    /// Whoever started the run does not approve it; for more than one voucher two others must. Nothing was changed before, so
    /// an answer that comes too late costs no more than another run.
    async fn ask_for_second_person(&self, run: &mut Run, doubled: &[Replacing]) -> Result<(), Halt> {
        let needed = if doubled.len() > 1 { 2 } else { 1 };
        let question = format!(
            "Void {} redeemed twice, and issue one replacement each?",
            counted(doubled.len(), "voucher that was", "vouchers that were")
        );
        let gate =
            before_no_return(&self.on, question, needed).about("void").showing("reason: double_redemption");
        let gate = doubled.iter().fold(gate, |gate, replacing| gate.showing(replacing.case.side_by_side()));
        run.approve(&SR_M1, gate).await
    }

    /// Hold, void, release: after each, the customer has one voucher or a held one, and never two.
    async fn replace_one(&self, run: &mut Run, replacing: &Replacing, done: &mut Done) -> Result<(), Halt> {
        let on = &self.on;
        let original = replacing.case.id;
        let held = run.perform(&SR_M1, ReserveReplacement::of(on, replacing)).await;
        let taken_back = match held {
            Ok(()) => run.perform(&SR_M1, VoidVoucher::of(on, replacing)).await,
            failed => failed,
        };
        // Somebody was there first. If the replacement was made, it stays held: nobody can redeem it.
        if let Err(Halt::Failed { error, .. }) = taken_back {
            let says =
                format!("voucher {original} was left alone, and no replacement of it was released: {error}");
            return self.leave(run, &SR_M1, done, says).await;
        }
        taken_back?;
        run.perform(&SR_M1, ReleaseReplacement::of(on, replacing)).await?;
        for event in RecordEvent::both(on, replacing) {
            run.perform(&SR_M1, event).await?;
        }
        let facts = json!({ "reason": "double_redemption", "before": replacing.case.status, "after": "void", "replaced_by": replacing.id, "run": run.id() });
        run.perform(
            &SR_M1,
            AuditNote::of(on, run.id(), "voucher_void", "vouchers", &original.to_string(), &facts),
        )
        .await?;
        done.replaced.push(original);
        Ok(())
    }

    async fn note_and_tell_vendor(&self, run: &mut Run, found: &Found, done: &Done) -> Result<(), Halt> {
        let on = &self.on;
        let facts = json!({ "runbook": self.id(), "found": found.facts(), "done": done });
        run.perform(&SR_R1, AuditNote::of(on, run.id(), "incident_note", "vouchers", run.id(), &facts))
            .await?;
        let message = messages::vendor(&on.limits.vendor_channel, run.id(), found, done);
        let told = run.attempt(&SR_R1, PostMessage::of(on, message)).await.map(drop);
        go_on_without(run, &SR_R1, "write to the vendor's support by hand", told).await
    }
}
