//! The stored sending policy.

use std::collections::HashSet;

use allclear_core::PortError;
use allclear_core::policy::{SendPolicy, StoredPolicy};
use allclear_core::ports::PolicyStore;
use async_trait::async_trait;
use serde_json::Value;

use super::wire::SettingRow;
use super::{Result, Supabase, read};

const QUIET_HOURS: &str = "quiet_hours.rw";
const THROTTLE: &str = "send_throttle.whatsapp.per_minute";
const OPT_OUT: &str = "opt_out.list";

struct Settings(Vec<SettingRow>);

impl Settings {
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|row| row.key == key).map(|row| &row.value)
    }
}

impl Supabase {
    async fn settings(&self) -> Result<Settings> {
        let keys = format!("in.({QUIET_HOURS},{THROTTLE},{OPT_OUT})");
        Ok(Settings(self.rows(read("settings").query("select", "key,value").query("key", keys)).await?))
    }

    /// The numbers on the platform's list of those who want no messages; none where it cannot be told, as in the dump's shape of
    /// the table.
    pub(super) async fn opt_out_list(&self) -> Result<HashSet<String>> {
        let settings = match self.settings().await {
            Err(PortError::Rejected { .. }) => return Ok(HashSet::new()),
            settings => settings?,
        };
        let list = settings.get(OPT_OUT).and_then(Value::as_array).into_iter().flatten();
        Ok(list.filter_map(Value::as_str).map(str::to_owned).collect())
    }

    fn missing(&self, key: &str) -> PortError {
        let (service, call) = (self.http.service(), "GET /rest/v1/settings".to_owned());
        PortError::Malformed { service, call, detail: format!("there is no setting `{key}` as it should be") }
    }
}

#[async_trait]
impl PolicyStore for Supabase {
    /// `GET /settings?key=in.(...)`.
    async fn read(&self) -> Result<StoredPolicy> {
        let settings = self.settings().await?;
        let hours = settings.get(QUIET_HOURS).ok_or_else(|| self.missing(QUIET_HOURS))?;
        let time = |name: &str| hours[name].as_str().unwrap_or_default().to_owned();
        let throttle = settings.get(THROTTLE).ok_or_else(|| self.missing(THROTTLE))?;
        // The platform accepts a number and an object with one.
        let per_minute = throttle.as_u64().or_else(|| throttle["value"].as_u64());
        let per_minute = per_minute.and_then(|number| u32::try_from(number).ok());
        let opted_out = settings.get(OPT_OUT).and_then(Value::as_array).map_or(0, Vec::len) as u64;
        Ok(StoredPolicy {
            quiet_start: time("start"),
            quiet_end: time("end"),
            throttle_per_minute: per_minute.ok_or_else(|| self.missing(THROTTLE))?,
            opted_out,
        })
    }

    /// `POST /api/settings` of the admin API, with the stored opt-out list read just before and sent back as it is.
    async fn write(&self, policy: &SendPolicy) -> Result<()> {
        let settings = self.settings().await?;
        let opt_out = settings.get(OPT_OUT).ok_or_else(|| self.missing(OPT_OUT))?;
        self.admin.write_settings(policy, opt_out).await
    }
}
