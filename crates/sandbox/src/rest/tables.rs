//! The tables' columns.

use super::query::{Cell, Row};
use crate::world::rows::{
    Audit, Campaign, Notification, PetrolStation, Queued, Redemption, SendLog, Setting, Station, Target,
    Voucher, VoucherEvent, WebhookLog, e164, wamid,
};

impl Row for Campaign {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "name",
        "type",
        "status",
        "template_id",
        "created_at",
        "started_at",
        "finished_at",
        "metadata",
    ];

    fn cell(&self, column: &str) -> Option<Cell<'_>> {
        Some(match column {
            "id" => Cell::Id(self.id),
            "name" => Cell::text(&self.name),
            "type" => Cell::text(self.kind),
            "status" => Cell::text(&self.status),
            "template_id" => Cell::text("custom_text"),
            "created_at" => Cell::Time(self.created_at),
            "started_at" => Cell::maybe(self.started_at.map(Cell::Time)),
            "finished_at" => Cell::maybe(self.finished_at.map(Cell::Time)),
            "metadata" => Cell::Null,
            _ => return None,
        })
    }
}

impl Row for Target {
    const COLUMNS: &'static [&'static str] =
        &["id", "campaign_id", "msisdn", "user_id", "status", "error_code", "message_id", "last_update_at"];

    fn cell(&self, column: &str) -> Option<Cell<'_>> {
        Some(match column {
            "id" => Cell::Id(self.id),
            "campaign_id" => Cell::Id(self.campaign),
            "msisdn" => Cell::text(e164(self.msisdn)),
            "user_id" => Cell::Null,
            "status" => Cell::text(self.status),
            "error_code" => Cell::maybe(self.error_code.as_deref().map(Cell::text)),
            "message_id" => Cell::maybe(self.message_id.map(|id| Cell::text(wamid(id)))),
            "last_update_at" => Cell::Time(self.last_update_at),
            _ => return None,
        })
    }
}

impl Row for Queued {
    const COLUMNS: &'static [&'static str] =
        &["id", "campaign_id", "msisdn_e164", "payload", "attempt", "next_attempt_at", "status"];

    fn cell(&self, column: &str) -> Option<Cell<'_>> {
        Some(match column {
            "id" => Cell::Int(self.id),
            "campaign_id" => Cell::Id(self.campaign),
            "msisdn_e164" => Cell::text(e164(self.msisdn)),
            "payload" => Cell::Null,
            "attempt" => Cell::Int(i64::from(self.attempt)),
            "next_attempt_at" => Cell::Time(self.next_attempt_at),
            "status" => Cell::text(self.status.as_str()),
            _ => return None,
        })
    }
}

impl Row for SendLog {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "queue_id",
        "campaign_id",
        "msisdn_e164",
        "sent_at",
        "provider_msg_id",
        "delivery_status",
        "error",
    ];

    fn cell(&self, column: &str) -> Option<Cell<'_>> {
        Some(match column {
            "id" => Cell::Int(self.id),
            "queue_id" => Cell::maybe(self.queue.map(Cell::Int)),
            "campaign_id" => Cell::maybe(self.campaign.map(Cell::Id)),
            "msisdn_e164" => Cell::text(e164(self.msisdn)),
            "sent_at" => Cell::Time(self.sent_at),
            "provider_msg_id" => Cell::maybe(self.message_id.map(|id| Cell::text(wamid(id)))),
            "delivery_status" => Cell::text(self.delivery_status),
            "error" => Cell::maybe(self.error.as_deref().map(Cell::text)),
            _ => return None,
        })
    }
}

impl Row for Notification {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "msisdn",
        "status",
        "error_message",
        "retry_count",
        "created_at",
        "sent_at",
        "type",
        "to_role",
        "next_attempt_at",
    ];

    fn cell(&self, column: &str) -> Option<Cell<'_>> {
        Some(match column {
            "id" => Cell::Id(self.id),
            "msisdn" => Cell::text(e164(self.msisdn)),
            "status" => Cell::text(self.status),
            "error_message" => Cell::maybe(self.error_message.as_deref().map(Cell::text)),
            "retry_count" => Cell::Int(0),
            "created_at" => Cell::Time(self.created_at),
            "sent_at" => Cell::maybe(self.sent_at.map(Cell::Time)),
            "type" => Cell::text("order_update"),
            "to_role" => Cell::text("customer"),
            "next_attempt_at" => Cell::Null,
            _ => return None,
        })
    }
}

impl Row for Setting {
    const COLUMNS: &'static [&'static str] = &["key", "value", "updated_at"];

    fn cell(&self, column: &str) -> Option<Cell<'_>> {
        Some(match column {
            "key" => Cell::text(self.key),
            "value" => Cell::Json(&self.value),
            "updated_at" => Cell::Time(self.updated_at),
            _ => return None,
        })
    }
}

impl Row for Audit {
    const COLUMNS: &'static [&'static str] =
        &["id", "actor_id", "action", "target_table", "target_id", "diff", "created_at"];

    fn cell(&self, column: &str) -> Option<Cell<'_>> {
        Some(match column {
            "id" => Cell::Id(self.id),
            "actor_id" => Cell::Id(self.actor_id),
            "action" => Cell::text(&self.action),
            "target_table" => Cell::text(&self.target_table),
            "target_id" => Cell::text(&self.target_id),
            "diff" => Cell::Json(&self.diff),
            "created_at" => Cell::Time(self.created_at),
            _ => return None,
        })
    }
}

impl Row for Voucher {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "code_5",
        "code5",
        "amount_minor",
        "amount",
        "currency",
        "status",
        "whatsapp_e164",
        "policy_number",
        "plate",
        "qr_payload",
        "issued_by_admin",
        "created_by",
        "station_scope",
        "campaign_id",
        "png_url",
        "metadata",
        "issued_at",
        "redeemed_at",
        "expires_at",
        "updated_at",
    ];

    fn cell(&self, column: &str) -> Option<Cell<'_>> {
        Some(match column {
            "id" => Cell::Id(self.id),
            // The trigger keeps both equal.
            "code_5" | "code5" => Cell::text(&self.code),
            "amount_minor" => Cell::Int(self.amount_minor),
            "amount" => Cell::Hundredths(self.amount_hundredths),
            "currency" => Cell::text("RWF"),
            "status" => Cell::text(&self.status),
            "whatsapp_e164" => Cell::text(e164(self.msisdn)),
            "policy_number" => Cell::text(&self.policy_number),
            "qr_payload" => Cell::text(format!("voucher:{}", self.code)),
            "issued_by_admin" => Cell::maybe(self.issued_by_admin.map(Cell::Id)),
            "created_by" => Cell::maybe(self.created_by.map(Cell::Id)),
            "station_scope" => Cell::maybe(self.station_scope.map(Cell::Id)),
            "campaign_id" => Cell::maybe(self.campaign.map(Cell::Id)),
            "png_url" => Cell::maybe(self.png_url.as_deref().map(Cell::text)),
            "metadata" => Cell::Json(&self.metadata),
            "issued_at" => Cell::Time(self.issued_at),
            "redeemed_at" => Cell::maybe(self.redeemed_at.map(Cell::Time)),
            "expires_at" => Cell::maybe(self.expires_at.map(Cell::Time)),
            "updated_at" => Cell::Time(self.updated_at),
            "plate" => Cell::Null,
            _ => return None,
        })
    }
}

impl Row for VoucherEvent {
    const COLUMNS: &'static [&'static str] =
        &["id", "voucher_id", "event_type", "actor_id", "station_id", "context", "created_at"];

    fn cell(&self, column: &str) -> Option<Cell<'_>> {
        Some(match column {
            "id" => Cell::Id(self.id),
            "voucher_id" => Cell::Id(self.voucher),
            "event_type" => Cell::text(&self.event_type),
            "actor_id" => Cell::Null,
            "station_id" => Cell::maybe(self.station.map(Cell::Id)),
            "context" => Cell::Json(&self.context),
            "created_at" => Cell::Time(self.created_at),
            _ => return None,
        })
    }
}

impl Row for Redemption {
    const COLUMNS: &'static [&'static str] =
        &["id", "voucher_id", "station_id", "redeemer_wa_e164", "reason", "meta", "created_at"];

    fn cell(&self, column: &str) -> Option<Cell<'_>> {
        Some(match column {
            "id" => Cell::Id(self.id),
            "voucher_id" => Cell::Id(self.voucher),
            "station_id" => Cell::maybe(self.station.map(Cell::Id)),
            "redeemer_wa_e164" | "reason" => Cell::Null,
            "meta" => Cell::Json(&self.meta),
            "created_at" => Cell::Time(self.created_at),
            _ => return None,
        })
    }
}

impl Row for WebhookLog {
    const COLUMNS: &'static [&'static str] =
        &["id", "endpoint", "wa_id", "status_code", "error_message", "headers", "payload", "received_at"];

    fn cell(&self, column: &str) -> Option<Cell<'_>> {
        Some(match column {
            "id" => Cell::Int(self.id),
            "endpoint" => Cell::text(self.endpoint),
            "wa_id" => Cell::Null,
            "status_code" => Cell::Int(i64::from(self.status_code)),
            "error_message" => Cell::text(&self.error_message),
            "headers" => Cell::Json(&self.headers),
            "payload" => Cell::Json(&self.payload),
            "received_at" => Cell::Time(self.received_at),
            _ => return None,
        })
    }
}

impl Row for PetrolStation {
    const COLUMNS: &'static [&'static str] = &["id", "name", "status"];

    fn cell(&self, column: &str) -> Option<Cell<'_>> {
        Some(match column {
            "id" => Cell::Id(self.id),
            "name" => Cell::text(&self.name),
            "status" => Cell::text("active"),
            _ => return None,
        })
    }
}

impl Row for Station {
    const COLUMNS: &'static [&'static str] =
        &["id", "name", "engencode", "owner_contact", "status", "created_at"];

    fn cell(&self, column: &str) -> Option<Cell<'_>> {
        Some(match column {
            "id" => Cell::Id(self.id),
            "name" => Cell::text(&self.name),
            "engencode" => Cell::text(&self.code),
            "owner_contact" => Cell::Null,
            "status" => Cell::text("active"),
            "created_at" => Cell::Time(self.created_at),
            _ => return None,
        })
    }
}
