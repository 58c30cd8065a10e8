//! The stored sending policy: looked at, and repaired where a person agrees.

use std::time::Duration;

use allclear_engine::{Achieving, Approval, Claim, Gate, Halt, Run, Watch};

use super::effects::RepairPolicy;
use super::{GIVE_UP_AFTER, WA_I2, WA_R2, WhatsAppSendFailures};
use crate::probes::{KnownPolicy, StoredSendPolicy, owe_policy};

/// How often a sending policy is written that the platform does not keep.
const REPAIR_EVERY: Duration = Duration::from_mins(5);

impl WhatsAppSendFailures {
    /// Somebody may have changed it since it was checked. What was started then went by the default, and what is wrong is owed.
    pub(super) async fn check_policy_again(&self, run: &mut Run) -> Result<(), Halt> {
        if run.is_plan() {
            return Ok(());
        }
        let KnownPolicy::Stored(stored) = run.probe(&WA_R2, StoredSendPolicy::read(&self.on)).await? else {
            return Ok(());
        };
        let faults: Vec<String> = stored.faults().iter().map(ToString::to_string).collect();
        if faults.is_empty() {
            return Ok(());
        }
        let says = format!(
            "the sending policy was changed while this run went on, which went by its default: {}",
            faults.join("; ")
        );
        run.owe(&WA_R2, "sending policy after the resume", says).await
    }

    /// Repairs what is wrong with it. Returns whether anything was.
    pub(super) async fn check_policy(&self, run: &mut Run) -> Result<bool, Halt> {
        let stored = match run.probe(&WA_I2, StoredSendPolicy::read(&self.on)).await? {
            KnownPolicy::Stored(stored) => stored,
            // Nothing is written over what has another shape than this program knows.
            KnownPolicy::Unreadable { unreadable } => {
                return owe_policy(run, &WA_I2, &unreadable).await.map(|()| false);
            }
        };
        let faults = stored.faults();
        if faults.is_empty() {
            return Ok(false);
        }
        let repair = RepairPolicy::of(&self.on, &stored);
        let mut gate = Gate::new("The sending policy is misconfigured. Repair it?", Approval::Approve);
        for fault in &faults {
            gate = gate.showing(fault.to_string());
        }
        gate = gate.showing(format!("it would become: {}", repair.wanted_text()));
        run.approve(&WA_I2, gate).await?;
        // A platform that does not keep what it says it saved may do so later, or somebody mends it there.
        let watch = Watch::every(REPAIR_EVERY, GIVE_UP_AFTER);
        run.until(&WA_I2, watch, Achieving(repair)).await?;
        let says = "the misconfigured sending policy was repaired";
        run.note(&WA_I2, Claim::seen(&run.proof(&WA_I2)?, says)).await?;
        Ok(true)
    }
}
