//! The words we send to others: complete, sober, without phone numbers.

use std::fmt::Write as _;

use allclear_core::incident::Severity;
use allclear_core::ports::{AccountIds, ChatMessage, Page, Ticket};

use super::detect::Signal;
use crate::words::counted;

/// The provider's ticket: everything that its support asks for in the first answer.
pub(super) fn ticket(ids: &AccountIds, signal: &Signal, run: &str) -> Ticket {
    let mut body = String::new();
    let _ = writeln!(body, "WhatsApp business account: {}", ids.business_account);
    let _ = writeln!(body, "Phone number id: {}", ids.phone);
    let _ = writeln!(body, "What we see: {}", signal.title());
    let _ =
        writeln!(body, "Time window (UTC): {} to {}", time(signal.began_at()), time(signal.last_failure_at));
    let _ = writeln!(body, "Sends: {} accepted, {} failed", signal.sent, signal.failures());
    for (code, count) in &signal.failed {
        let _ = writeln!(body, "Error code {code}: {count} times");
    }
    if let Some(phone) = &signal.phone {
        let _ = writeln!(
            body,
            "health_status: can_send_message {:?}, quality {}, codes {:?}",
            phone.can_send, phone.quality, phone.error_codes
        );
    }
    let _ = writeln!(
        body,
        "What we did: all sending campaigns are paused. Please tell us the cause and when to resume."
    );
    let _ = write!(body, "Our reference: {run}");
    Ticket { subject: format!("Sends fail: {}", signal.title()), body }
}

/// The alert for whoever is on call.
pub(super) fn page(signal: &Signal, run: &str, has_ticket: bool) -> Page {
    Page {
        dedup_key: format!("whatsapp-send-failures/{run}"),
        summary: format!("WhatsApp sends have failed for more than 15 minutes: {}", signal.title()),
        severity: Severity::Critical,
        source: "allclear".to_owned(),
        details: format!(
            "{} failed; this run pauses what it may; {}. Run {run}.",
            counted(signal.failures(), "send", "sends"),
            provider(has_ticket)
        ),
    }
}

/// The line for the operations channel.
pub(super) fn chat(channel: &str, signal: &Signal, run: &str, has_ticket: bool) -> ChatMessage {
    ChatMessage {
        channel: channel.to_owned(),
        text: format!(
            "WhatsApp sends fail ({}). This run pauses what it may; {}. Run {run}.",
            signal.title(),
            provider(has_ticket)
        ),
        about: "escalation".to_owned(),
        marker: format!("whatsapp-send-failures/{run}/escalated"),
    }
}

/// What is known of the provider's ticket.
fn provider(has_ticket: bool) -> &'static str {
    if has_ticket {
        "the provider was given a ticket"
    } else {
        "the provider could not be told: open a ticket"
    }
}

fn time(at: Option<jiff::Timestamp>) -> String {
    at.map_or_else(|| "unknown".to_owned(), |at| at.to_string())
}
