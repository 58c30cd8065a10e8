//! DR Tabletop Test – Backup/Restore Cutover: the exercise, bullet by bullet.
//!
//! | bullet | step | what the platform's reality adds |
//! |---|---|---|
//! | Cadence | [`DR_P1`] | the next dates follow from a rule, which calendars get as text |
//! | Participants | [`DR_P2`] | all four roles are filled, or nothing begins |
//! | Notification drill | [`DR_N1`] | its own PagerDuty service and dedup key, severity info; acknowledgements by person from log entries: who was late or missing is a finding |
//! | Holding statement | [`DR_N2`] | a draft, marked as a drill, once |
//! | Run the script | [`DR_B1`] | the script cannot work, so its steps are effects: a refused token stops and is named; one snapshot, checksums, nothing deleted |
//! | | [`DR_B1`] | where it is configured, the copy beside the platform's own list of its buckets: what one has and the other lacks is a finding |
//! | Runtime, destination, parity | [`DR_B2`] | counts and contents in the backup's own snapshot; `rowcount.csv` with a header, `backup.log` with runtimes, both beside the backup, and as evidence in a private bucket where one is configured |
//! | Smoke tests | [`DR_R1`] | after a restore from the bucket into a target that was compared, typed, and compared again |
//! | | [`DR_R1`] | how long the recovery took and how old its data was, beside objectives and the last exercises |
//! | Cutover checklist, rollback owner | [`DR_R2`] | read and reviewed: no port could execute it |
//! | Templates | [`DR_C1`] | created if missing, never overwritten |
//! | Retro notes | [`DR_F1`] | findings with actions, owners by role and due dates, newest first; in the section of the team's runbook file where one is configured |
//! | `SYSTEM_CHECKLIST.md` | [`DR_F2`] | controls that the exercise proved, each once |
//! | Latest findings | [`DR_L1`], [`DR_L2`] | read from the notes, and looked for again |
//!
//! Nothing here can write to production: no port of [`Recovery`](allclear_core::platform::Recovery) does.

mod backup;
pub mod cadence;
mod documents;
mod evidence;
mod exercise;
mod files;
mod findings;
mod inventory;
mod notes;
mod notify;
mod objectives;
mod prepare;
mod real_incident;
mod record;
mod rehearse;
mod report;
mod restore;
#[cfg(test)]
mod tests;
mod texts;
mod words;

use std::sync::Arc;

use allclear_core::recovery::BackupId;
use allclear_core::{Platform, Rehearsal};
use allclear_engine::{Entry, Event, Halt, Phase, Refusal, Resolution, Run, Runbook, Step};
use async_trait::async_trait;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::catalogue::Scenario;
use crate::effects::Stuck;
use exercise::Tabletop;
use record::Record;

pub use files::{ROWCOUNT_HEADER, rowcount_csv};

/// When.
pub const DR_P1: Step = Step {
    id: "DR-P1",
    phase: Phase::Prepare,
    title: "Cadence: First Tuesday of each quarter at 14:00 UTC (next: 2025-01-07)",
};
/// Who.
pub const DR_P2: Step = Step {
    id: "DR-P2",
    phase: Phase::Prepare,
    title: "Participants: Incident Commander (on-call engineer), Data Platform Lead, Support Manager, Stakeholder Communications (Customer Success lead)",
};
/// Everybody is called, and answers.
pub const DR_N1: Step = Step {
    id: "DR-N1",
    phase: Phase::Notify,
    title: "Trigger PagerDuty \"DR-Tabletop\" event; ensure all participants acknowledge within 5 minutes",
};
/// The draft.
pub const DR_N2: Step = Step {
    id: "DR-N2",
    phase: Phase::Notify,
    title: "Support Manager posts customer-facing holding statement draft in `#ops-status` for review",
};
/// The backup.
pub const DR_B1: Step = Step {
    id: "DR-B1",
    phase: Phase::Backup,
    title: "Run `scripts/supabase-backup-restore.sh` with staging project ref",
};
/// Its figures.
pub const DR_B2: Step = Step {
    id: "DR-B2",
    phase: Phase::Backup,
    title: "Capture runtime, S3 destination, and row-count parity in the generated `backup.log` and `rowcount.csv`",
};
/// What works on restored staging.
pub const DR_R1: Step = Step {
    id: "DR-R1",
    phase: Phase::Restore,
    title: "Validate staging smoke tests (voucher issue/redeem, campaign send, station redeem) and log results in the tabletop report",
};
/// The cutover, on paper.
pub const DR_R2: Step = Step {
    id: "DR-R2",
    phase: Phase::Restore,
    title: "Review DNS/env var cutover checklist without executing production change; confirm rollback owner",
};
/// Drafts.
pub const DR_C1: Step = Step {
    id: "DR-C1",
    phase: Phase::Communicate,
    title: "Draft status page update and escalation email template; store in `docs/incidents/templates/` (create if missing and link in tabletop notes)",
};
/// Notes.
pub const DR_F1: Step = Step {
    id: "DR-F1",
    phase: Phase::FollowUp,
    title: "File retro notes in this runbook section with action owners and due dates",
};
/// Controls.
pub const DR_F2: Step = Step {
    id: "DR-F2",
    phase: Phase::FollowUp,
    title: "Update `SYSTEM_CHECKLIST.md` if new controls are introduced",
};
/// What the last exercise found: the token.
pub const DR_L1: Step = Step {
    id: "DR-L1",
    phase: Phase::LastFindings,
    title: "Snapshot manifest fetch initially failed (HTTP 401); resolved by rotating the Supabase access token and re-running the script",
};
/// What the last exercise found: the time of the copy.
pub const DR_L2: Step = Step {
    id: "DR-L2",
    phase: Phase::LastFindings,
    title: "Storage sync took 11 minutes; action item to enable multipart uploads for voucher PNG bucket before next exercise",
};

/// The bullets, in the order of the text.
pub const STEPS: &[Step] =
    &[DR_P1, DR_P2, DR_N1, DR_N2, DR_B1, DR_B2, DR_R1, DR_R2, DR_C1, DR_F1, DR_F2, DR_L1, DR_L2];

/// The procedure's id.
const ID: &str = "dr-tabletop";

/// The heading of the exercise's section in the written runbooks.
pub const TITLE: &str = "DR Tabletop Test – Backup/Restore Cutover";

/// The exercise that the last two bullets are about.
pub const LAST_HELD: &str = "2024-10-01 Tabletop";

/// How it can be drilled; the first is the default.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "exercise", says: "all goes well; the report, the log and the notes are written" },
    Scenario {
        name: "token-expired",
        says: "the list of hosted backups answers 401 until the access token is rotated",
    },
    Scenario { name: "late-acknowledgement", says: "one participant is late and another does not answer" },
    Scenario { name: "wrong-target", says: "the staging database is production; nothing may be done" },
    Scenario { name: "changed-row", says: "a row of staging differs after the restore; parity must say so" },
    Scenario { name: "smoke-test-fails", says: "on restored staging a station may redeem a voucher twice" },
];

/// Which backup an exercise was about, by its journal: the one that a person named, or the day's first that was free. `None` where it
/// ended before that, and for other runbooks.
pub fn backup_of(entries: &[Entry]) -> Option<BackupId> {
    entries.iter().rev().find_map(|entry| match &entry.event {
        Event::Observed { of, value, .. } if of.subject == prepare::BACKUP_ID => {
            serde_json::from_value(value.clone()).ok()
        }
        Event::Started { runbook, input, .. } if runbook == ID => {
            serde_json::from_value::<Input>(input.clone()).ok()?.backup
        }
        _ => None,
    })
}

/// What the procedure may be told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Input {
    /// The day of the exercise, e.g. `2025-01-07`; the day on which the run began (UTC) when not given.
    pub date: Option<Date>,
    /// The backup's id. When not given: `dr-` and the day, and for a second exercise on that day `dr-`, the day and `-2`.
    pub backup: Option<BackupId>,
}

/// The runbook, on a platform.
#[derive(Debug, Clone)]
pub struct DrTabletop {
    /// The ports.
    pub on: Platform,
    /// What it was told.
    pub input: Input,
}

#[async_trait]
impl Runbook for DrTabletop {
    fn id(&self) -> &'static str {
        ID
    }

    fn title(&self) -> &'static str {
        TITLE
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
        let Some(recovery) = &self.on.recovery else {
            return Err(refused(
                "this environment is not configured for the exercise; name its staging database, bucket and participants",
            ));
        };
        let record = self.record(run)?;
        // The exercise's own service pages, as for everything here.
        let on = Platform { paging: Arc::clone(&recovery.paging), ..self.on.clone() };
        let stuck = Stuck::watch(run, &on, &DR_N1, self.id()).await?;
        let named = self.input.backup.is_some();
        let mut tabletop = Tabletop { on: &self.on, recovery, record, named };
        let held = tabletop.hold(run).await;
        stuck.over(run, held.as_ref().err()).await?;
        match held {
            Ok(()) if run.is_plan() => run.resolve(
                "staging holds the backup and is equal to its snapshot, or the run says what is not so",
                run.proof(&DR_B2)?,
            ),
            Ok(()) => run.resolve(tabletop.record.resolution()?, run.proof(&DR_B2)?),
            Err(halt) => {
                tabletop.end_early(run, &halt).await?;
                Err(halt)
            }
        }
    }
}

impl DrTabletop {
    fn record(&self, run: &Run) -> Result<Record, Halt> {
        let began = run.now();
        let day = self.input.date.unwrap_or_else(|| began.to_zoned_datetime(TimeZone::UTC).date());
        let id = match &self.input.backup {
            Some(id) => id.clone(),
            None => format!("dr-{day}").parse().map_err(|error| refused(&format!("{error}")))?,
        };
        Ok(Record::of(run.id(), began, day, id))
    }
}

fn refused(what: &str) -> Halt {
    Refusal::Limit { what: what.to_owned() }.into()
}
