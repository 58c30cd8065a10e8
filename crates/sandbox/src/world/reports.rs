//! WhatsApp's reports to the platform's webhook, where they are kept.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::World;
use super::rows::{WebhookLog, wamid};
use crate::fault::Fault;

/// The function that WhatsApp calls.
const WEBHOOK: &str = "/functions/v1/wa-webhook";

impl World {
    /// WhatsApp reports what became of a message: in no order, as it does.
    pub(super) fn keep_reports(&mut self, place: usize, status: &str, at: Timestamp) {
        let sent = &self.sent[place];
        let Some(message) = sent.message_id.filter(|_| self.has(Fault::StatusWebhooksKept)) else { return };
        let (last, first) =
            (report(message, sent.msisdn, status, at), report(message, sent.msisdn, "sent", sent.sent_at));
        for payload in [last, first] {
            self.webhook_logs.push(WebhookLog {
                id: self.webhook_logs.len() as i64 + 1,
                endpoint: WEBHOOK,
                status_code: 200,
                error_message: String::new(),
                headers: json!({}),
                payload,
                received_at: at,
            });
        }
    }
}

fn report(message: u64, recipient: u64, status: &str, at: Timestamp) -> Value {
    let (at, recipient) = (at.as_second().to_string(), recipient.to_string());
    let one = json!({ "id": wamid(message), "status": status, "timestamp": at, "recipient_id": recipient });
    let value = json!({ "messaging_product": "whatsapp", "statuses": [one] });
    let entry = json!({ "id": "102290129340398", "changes": [{ "field": "messages", "value": value }] });
    json!({ "object": "whatsapp_business_account", "entry": [entry] })
}
