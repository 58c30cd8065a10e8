//! Graph's JSON.

use std::collections::BTreeMap;

use allclear_core::ports::{CanSend, PhoneHealth};
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Phone {
    #[serde(default)]
    quality_rating: Option<String>,
    health_status: Health,
}

#[derive(Deserialize)]
struct Health {
    can_send_message: String,
    #[serde(default)]
    entities: Vec<Entity>,
}

#[derive(Deserialize)]
struct Entity {
    #[serde(default)]
    errors: Vec<EntityError>,
}

#[derive(Deserialize)]
struct EntityError {
    error_code: u32,
}

impl Phone {
    pub(super) fn health(self, regain_access_minutes: Option<u64>) -> PhoneHealth {
        let can_send = match self.health_status.can_send_message.as_str() {
            "AVAILABLE" => CanSend::Available,
            "LIMITED" => CanSend::Limited,
            // A word that we do not know is no permission.
            _ => CanSend::Blocked,
        };
        let mut error_codes: Vec<u32> = self
            .health_status
            .entities
            .iter()
            .flat_map(|entity| &entity.errors)
            .map(|error| error.error_code)
            .collect();
        error_codes.sort_unstable();
        error_codes.dedup();
        let quality = self.quality_rating.unwrap_or_else(|| "UNKNOWN".to_owned());
        PhoneHealth { can_send, quality, error_codes, regain_access_minutes }
    }
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    estimated_time_to_regain_access: u64,
}

/// The longest wait of all use cases, in minutes; `None` while none is limited.
pub(super) fn regain_minutes(header: &str) -> Option<u64> {
    let usage: BTreeMap<String, Vec<Usage>> = serde_json::from_str(header).ok()?;
    usage
        .values()
        .flatten()
        .map(|usage| usage.estimated_time_to_regain_access)
        .max()
        .filter(|minutes| *minutes > 0)
}

/// How much of its limits an app has used, in percent.
#[derive(Deserialize)]
pub(super) struct AppUsage {
    #[serde(default)]
    call_count: u64,
    #[serde(default)]
    total_cputime: u64,
    #[serde(default)]
    total_time: u64,
    #[serde(default)]
    estimated_time_to_regain_access: u64,
}

impl AppUsage {
    /// The limit that is nearest.
    pub(super) fn most(&self) -> u64 {
        self.call_count.max(self.total_cputime).max(self.total_time)
    }

    /// How long until access is regained, where it says so.
    pub(super) fn regain_minutes(&self) -> Option<u64> {
        Some(self.estimated_time_to_regain_access).filter(|minutes| *minutes > 0)
    }
}

pub(super) fn app_usage(header: &str) -> Option<AppUsage> {
    serde_json::from_str(header).ok()
}

/// What Graph says of a failure.
#[derive(Deserialize)]
pub(super) struct GraphError {
    pub(super) code: u32,
    error_subcode: Option<u64>,
    fbtrace_id: Option<String>,
}

impl GraphError {
    /// The code, with its subcode where there is one.
    pub(super) fn title(&self) -> String {
        let subcode = self.error_subcode.map(|subcode| format!(", subcode {subcode}"));
        format!("WhatsApp error {}{}", self.code, subcode.unwrap_or_default())
    }

    /// What support asks for.
    pub(super) fn trace(&self) -> String {
        self.fbtrace_id.as_ref().map(|trace| format!("; fbtrace_id {trace}")).unwrap_or_default()
    }
}
