//! Notifications: single messages that the platform's worker sends, beside campaigns.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

uuid_id! {
    /// Identifies a notification.
    NotificationId, "notification id"
}

open_enum! {
    /// What became of a notification. The database's enum has the first three only.
    NotificationStatus {
        /// Waiting for the worker.
        Queued = "queued",
        /// Sent.
        Sent = "sent",
        /// Not sent; stays so until somebody retries it.
        Failed = "failed",
        /// A word of the admin API that its own database refuses.
        Cancelled = "cancelled",
    }
}

open_enum! {
    /// Why the platform's policy held a message back.
    PolicyReason {
        /// The recipient opted out.
        OptOut = "opt_out",
        /// It is quiet hours.
        QuietHours = "quiet_hours",
        /// The throttle's window is full.
        Throttled = "throttled",
    }
}

open_enum! {
    /// Why the platform did not put a notification back in the queue.
    RetryBlock {
        /// It waits there already.
        AlreadyQueued = "already_queued",
        /// It went out already.
        AlreadySent = "already_sent",
        /// It has no number.
        MissingMsisdn = "missing_msisdn",
        /// The recipient opted out.
        OptOut = "opt_out",
        /// It is quiet hours.
        QuietHours = "quiet_hours",
        /// The throttle's window is full.
        Throttled = "throttled",
        /// Its row could not be written.
        UpdateFailed = "update_failed",
    }
}

impl RetryBlock {
    /// Whether nothing is amiss: it is on its way already, or its recipient does not want it.
    pub fn is_fine(&self) -> bool {
        matches!(self, Self::AlreadyQueued | Self::AlreadySent | Self::OptOut)
    }
}

/// A notification that a retry did not put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// Which one.
    pub id: NotificationId,
    /// Why.
    pub reason: RetryBlock,
    /// When the throttle's window ends, where that is why.
    pub until: Option<Timestamp>,
}

/// A notification that failed, without its recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedNotification {
    /// Which one.
    pub id: NotificationId,
    /// Why, as [`SendFault::from_text`](crate::send_fault::SendFault::from_text) reads it: WhatsApp's code, the platform's own
    /// word, `http_503` and the like, `timeout`, or `unknown`.
    pub code: String,
}

/// What a retry request did, all three lists of its answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryAnswer {
    /// Put back in the queue.
    pub queued: Vec<NotificationId>,
    /// Held back, with the platform's reason.
    pub blocked: Vec<Blocked>,
    /// Unknown to the platform.
    pub missing: Vec<NotificationId>,
}
