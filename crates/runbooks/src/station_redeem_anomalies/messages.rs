//! The words we send to others: ids, counts and stations; no codes, no numbers of customers.

use allclear_core::ports::ChatMessage;

use super::Done;
use super::found::Found;
use super::scope::Mismatch;
use crate::words::counted;

fn message(channel: &str, run: &str, about: &str, text: String) -> ChatMessage {
    ChatMessage {
        channel: channel.to_owned(),
        text,
        about: about.to_owned(),
        marker: format!("station-redeem-anomalies/{run}/{}", about.replace(' ', "-")),
    }
}

/// For Data Ops: scopes that name no station of theirs.
pub(super) fn data_ops(channel: &str, run: &str, wrong: &[Mismatch]) -> ChatMessage {
    let lines: Vec<String> = wrong
        .iter()
        .map(|mismatch| format!("voucher {}: {}", mismatch.voucher, mismatch.wrong_text()))
        .collect();
    let text = format!(
        "{} a station scope that was set wrongly. Please check the OCR mapping and whatever else sets scopes.\n{}\nRun {run}.",
        counted(wrong.len(), "voucher has", "vouchers have"),
        lines.join("\n")
    );
    message(channel, run, "wrong scope", text)
}

/// For the operator of a station where a voucher of another one was shown.
pub(super) fn operator(channel: &str, run: &str, mismatch: &Mismatch) -> ChatMessage {
    let text = format!(
        "For the operator of {}: voucher {} can be redeemed at {} only. Please send the customer there; nothing is wrong with the voucher. Run {run}.",
        mismatch.here_name,
        mismatch.voucher,
        mismatch.scope_name()
    );
    message(channel, run, &format!("voucher {}", mismatch.voucher), text)
}

/// For the vendor's support.
pub(super) fn vendor(channel: &str, run: &str, found: &Found, done: &Done) -> ChatMessage {
    let counts: Vec<String> = found.counts().iter().map(|(what, count)| format!("{what}: {count}")).collect();
    let left = if done.left.is_empty() { "nothing".to_owned() } else { done.left.join("; ") };
    let text = format!(
        "Station redeem anomalies.\n{}\nWe voided and replaced {} and corrected {}. Still open: {left}. Run {run}.",
        counts.join("\n"),
        counted(done.replaced.len(), "voucher", "vouchers"),
        counted(done.scopes_corrected.len(), "scope", "scopes")
    );
    message(channel, run, "anomalies", text)
}
