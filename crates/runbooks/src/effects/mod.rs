//! Effects that several runbooks perform, one file for what belongs together. What only one runbook does lives in its own
//! folder.

mod alarm;
mod audit;
mod campaign;
mod chat;
mod given_up;
mod held;
mod inherited;
mod page;
mod stuck;

pub(crate) use alarm::{Alarm, Reached, Told, Words, tell, tell_last};
pub(crate) use audit::{AuditNote, record_bad_end};
pub(crate) use campaign::{Changes, PauseCampaign, Paused, ResumeCampaign, Resumed, TO_THE_SECOND, unseen};
pub(crate) use chat::PostMessage;
pub(crate) use given_up::{
    GivenUp, GivenUpMessages, MayBeGivenUp, PutBack, Whose, account_for_given_up, passes,
};
pub(crate) use held::{
    Held, HeldByEnded, PausedByRuns, SkippedByEnded, SkippedMessages, StoppedByEnded, owe_skipped,
    record_pauses, record_skipped, record_skips,
};
pub(crate) use inherited::{AlarmKeys, Inherited, STUCK};
pub(crate) use page::{PageSomebody, ResolveIncident};
pub(crate) use stuck::Stuck;

use std::time::Duration;

use allclear_engine::Change;
use serde::{Deserialize, Serialize};

/// A diagnosis holds for so long. What acts upon an older one — a process died, a service was away, a person was asked — looks again
/// before it touches anything.
pub(crate) const DIAGNOSIS_HOLDS: Duration = Duration::from_mins(5);

/// How many rows an effect changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rows {
    pub(crate) rows: u64,
}

/// One change of one field of one thing.
pub(crate) fn change(
    kind: &str,
    id: impl std::fmt::Display,
    label: &str,
    field: &str,
    before: &str,
    after: &str,
) -> Change {
    Change {
        kind: kind.to_owned(),
        id: id.to_string(),
        label: label.to_owned(),
        field: field.to_owned(),
        before: before.to_owned(),
        after: after.to_owned(),
    }
}
