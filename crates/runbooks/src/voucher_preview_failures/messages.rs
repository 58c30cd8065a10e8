//! The words we send to others.

use allclear_core::ports::ChatMessage;

/// The written runbook's own sentence.
const UNAVAILABLE: &str = "Voucher previews unavailable; fallback to code view.";

/// What support is told at the beginning.
pub(super) fn unavailable(channel: &str, run: &str) -> ChatMessage {
    ChatMessage {
        channel: channel.to_owned(),
        text: format!("{UNAVAILABLE} Run {run}."),
        about: "previews unavailable".to_owned(),
        marker: format!("voucher-preview-failures/{run}/unavailable"),
    }
}

/// What support is told at the end.
pub(super) fn over(channel: &str, run: &str) -> ChatMessage {
    ChatMessage {
        channel: channel.to_owned(),
        text: format!("Voucher previews work again. Run {run}."),
        about: "previews work".to_owned(),
        marker: format!("voucher-preview-failures/{run}/over"),
    }
}
