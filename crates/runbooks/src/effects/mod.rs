//! Effects that several runbooks perform, one file for what belongs together. What only one runbook does lives in its own
//! folder.

mod audit;
mod campaign;
mod chat;
mod page;

pub(crate) use audit::{AuditNote, record_bad_end};
pub(crate) use campaign::{PauseCampaign, Paused, ResumeCampaign};
pub(crate) use chat::{PostMessage, go_on_without};
pub(crate) use page::{PageSomebody, ResolveIncident};

use allclear_engine::Change;

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
