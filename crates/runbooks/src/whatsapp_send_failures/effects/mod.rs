//! The effects of this runbook, one file for what belongs together.

mod audit;
mod campaign;
mod canary;
mod notifications;
mod policy;
mod queue;

pub(super) use audit::AuditNote;
pub(super) use campaign::{PauseCampaign, Paused, ResumeCampaign};
pub(super) use canary::SendCanary;
pub(super) use notifications::RequeueNotifications;
pub(super) use policy::RepairPolicy;
pub(super) use queue::{PostponeSends, RestoreQueue, SkipQueue};

use allclear_engine::Change;

/// One change of one field of one thing.
pub(super) fn change(
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
