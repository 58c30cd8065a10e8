//! The tables' columns.

use super::kind::Kind;
use super::query::{Cell, Row};
use crate::world::rows::{
    Audit, Campaign, DumpedSettings, Notification, PetrolStation, Queued, Redemption, SendLog, Setting,
    Station, Target, Voucher, VoucherEvent, WebhookLog, e164, wamid,
};

impl Row for Campaign {
    const TABLE: &'static str = "campaigns";
    const COLUMNS: &'static [(&'static str, Kind)] = &[
        ("id", Kind::Uuid),
        ("name", Kind::Text),
        ("type", Kind::Text),
        ("status", Kind::Text),
        ("template_id", Kind::Text),
        ("created_at", Kind::Time),
        ("started_at", Kind::Time),
        ("finished_at", Kind::Time),
        ("metadata", Kind::Json),
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
    const TABLE: &'static str = "campaign_targets";
    const COLUMNS: &'static [(&'static str, Kind)] = &[
        ("id", Kind::Uuid),
        ("campaign_id", Kind::Uuid),
        ("msisdn", Kind::Text),
        ("user_id", Kind::Uuid),
        ("status", Kind::Text),
        ("error_code", Kind::Text),
        ("message_id", Kind::Text),
        ("last_update_at", Kind::Time),
    ];

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
    const TABLE: &'static str = "send_queue";
    const COLUMNS: &'static [(&'static str, Kind)] = &[
        ("id", Kind::Int),
        ("campaign_id", Kind::Uuid),
        ("msisdn_e164", Kind::Text),
        ("payload", Kind::Json),
        ("attempt", Kind::Int),
        ("next_attempt_at", Kind::Time),
        ("status", Kind::Text),
    ];

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
    const TABLE: &'static str = "send_logs";
    const COLUMNS: &'static [(&'static str, Kind)] = &[
        ("id", Kind::Int),
        ("queue_id", Kind::Int),
        ("campaign_id", Kind::Uuid),
        ("msisdn_e164", Kind::Text),
        ("sent_at", Kind::Time),
        ("provider_msg_id", Kind::Text),
        ("delivery_status", Kind::Text),
        ("error", Kind::Text),
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
    const TABLE: &'static str = "notifications";
    const COLUMNS: &'static [(&'static str, Kind)] = &[
        ("id", Kind::Uuid),
        ("msisdn", Kind::Text),
        ("status", Kind::Text),
        ("error_message", Kind::Text),
        ("retry_count", Kind::Int),
        ("created_at", Kind::Time),
        ("sent_at", Kind::Time),
        ("type", Kind::Text),
        ("to_role", Kind::Text),
        ("next_attempt_at", Kind::Time),
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
    const TABLE: &'static str = "settings";
    const COLUMNS: &'static [(&'static str, Kind)] =
        &[("key", Kind::Text), ("value", Kind::Json), ("updated_at", Kind::Time)];

    fn cell(&self, column: &str) -> Option<Cell<'_>> {
        Some(match column {
            "key" => Cell::text(self.key),
            "value" => Cell::Json(&self.value),
            "updated_at" => Cell::Time(self.updated_at),
            _ => return None,
        })
    }
}

impl Row for DumpedSettings {
    const TABLE: &'static str = "settings";
    const COLUMNS: &'static [(&'static str, Kind)] = &[
        ("id", Kind::Int),
        ("subscription_price", Kind::Numeric),
        ("search_radius_km", Kind::Numeric),
        ("max_results", Kind::Int),
        ("momo_payee_number", Kind::Text),
        ("support_phone_e164", Kind::Text),
        ("admin_whatsapp_numbers", Kind::Text),
    ];

    fn cell(&self, column: &str) -> Option<Cell<'_>> {
        Some(match column {
            "id" => Cell::Int(1),
            "subscription_price" => Cell::Hundredths(0),
            "search_radius_km" => Cell::Hundredths(1_000),
            "max_results" => Cell::Int(9),
            "support_phone_e164" => Cell::text("+250788000000"),
            "momo_payee_number" | "admin_whatsapp_numbers" => Cell::Null,
            _ => return None,
        })
    }
}

impl Row for Audit {
    const TABLE: &'static str = "audit_log";
    const COLUMNS: &'static [(&'static str, Kind)] = &[
        ("id", Kind::Uuid),
        ("actor_id", Kind::Uuid),
        ("action", Kind::Text),
        ("target_table", Kind::Text),
        ("target_id", Kind::Text),
        ("diff", Kind::Json),
        ("created_at", Kind::Time),
    ];

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
    const TABLE: &'static str = "vouchers";
    const COLUMNS: &'static [(&'static str, Kind)] = &[
        ("id", Kind::Uuid),
        ("code_5", Kind::Text),
        ("code5", Kind::Text),
        ("amount_minor", Kind::Int),
        ("amount", Kind::Numeric),
        ("currency", Kind::Text),
        ("status", Kind::Text),
        ("whatsapp_e164", Kind::Text),
        ("policy_number", Kind::Text),
        ("plate", Kind::Text),
        ("qr_payload", Kind::Text),
        ("issued_by_admin", Kind::Uuid),
        ("created_by", Kind::Uuid),
        ("station_scope", Kind::Uuid),
        ("campaign_id", Kind::Uuid),
        ("png_url", Kind::Text),
        ("metadata", Kind::Json),
        ("issued_at", Kind::Time),
        ("redeemed_at", Kind::Time),
        ("expires_at", Kind::Time),
        ("updated_at", Kind::Time),
    ];

    fn cell(&self, column: &str) -> Option<Cell<'_>> {
        Some(match column {
            "id" => Cell::Id(self.id),
            // The trigger keeps both equal.
            "code_5" | "code5" => Cell::text(&self.code),
            "amount_minor" => Cell::Int(self.amount_minor),
            "amount" => Cell::Hundredths(self.amount_hundredths),
            "currency" => Cell::text(&self.currency),
            "status" => Cell::text(&self.status),
            "whatsapp_e164" => Cell::text(e164(self.msisdn)),
            "policy_number" => Cell::text(&self.policy_number),
            "qr_payload" => Cell::text(&self.qr_payload),
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
            "plate" => Cell::maybe(self.plate.as_deref().map(Cell::text)),
            _ => return None,
        })
    }
}

impl Row for VoucherEvent {
    const TABLE: &'static str = "voucher_events";
    const COLUMNS: &'static [(&'static str, Kind)] = &[
        ("id", Kind::Uuid),
        ("voucher_id", Kind::Uuid),
        ("event_type", Kind::Text),
        ("actor_id", Kind::Uuid),
        ("station_id", Kind::Uuid),
        ("context", Kind::Json),
        ("created_at", Kind::Time),
    ];

    fn cell(&self, column: &str) -> Option<Cell<'_>> {
        Some(match column {
            "id" => Cell::Id(self.id),
            "voucher_id" => Cell::Id(self.voucher),
            "event_type" => Cell::text(&self.event_type),
            "actor_id" => Cell::maybe(self.actor.map(Cell::Id)),
            "station_id" => Cell::maybe(self.station.map(Cell::Id)),
            "context" => Cell::Json(&self.context),
            "created_at" => Cell::Time(self.created_at),
            _ => return None,
        })
    }
}

impl Row for Redemption {
    const TABLE: &'static str = "voucher_redemptions";
    const COLUMNS: &'static [(&'static str, Kind)] = &[
        ("id", Kind::Uuid),
        ("voucher_id", Kind::Uuid),
        ("station_id", Kind::Uuid),
        ("redeemer_wa_e164", Kind::Text),
        ("reason", Kind::Text),
        ("meta", Kind::Json),
        ("created_at", Kind::Time),
    ];

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
    const TABLE: &'static str = "webhook_logs";
    const COLUMNS: &'static [(&'static str, Kind)] = &[
        ("id", Kind::Int),
        ("endpoint", Kind::Text),
        ("wa_id", Kind::Text),
        ("status_code", Kind::Int),
        ("error_message", Kind::Text),
        ("headers", Kind::Json),
        ("payload", Kind::Json),
        ("received_at", Kind::Time),
    ];

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
    const TABLE: &'static str = "petrol_stations";
    const COLUMNS: &'static [(&'static str, Kind)] =
        &[("id", Kind::Uuid), ("name", Kind::Text), ("status", Kind::Text)];

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
    const TABLE: &'static str = "stations";
    const COLUMNS: &'static [(&'static str, Kind)] = &[
        ("id", Kind::Uuid),
        ("name", Kind::Text),
        ("engencode", Kind::Text),
        ("owner_contact", Kind::Text),
        ("status", Kind::Text),
        ("created_at", Kind::Time),
    ];

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
