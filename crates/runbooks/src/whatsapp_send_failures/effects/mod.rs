//! The effects that only this runbook performs, one file for what belongs together.

mod canary;
mod notifications;
mod policy;
mod queue;
mod stood;

pub(super) use canary::{BETWEEN_CANARIES, Canary, SendCanary, Witness};
pub(super) use notifications::{ROWS, RequeueNotifications, Requeued};
pub(super) use policy::RepairPolicy;
pub(super) use queue::{PostponeSends, RestoreQueue, SkipQueue, Skipped};
pub(super) use stood::{StandsAsLeft, Stood, WaitingMessages};
