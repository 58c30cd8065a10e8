//! Pointing at a sandbox: its settings, its clock, and its controls.

mod clock;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use allclear_core::policy::{QuietHours, SendPolicy};
use allclear_core::ports::{DangerousApprovals, Limits};
use allclear_core::{PortError, Rehearsal, Service, VirtualClock};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

pub use clock::SandboxClock;

use crate::config::{ConfigError, Credentials, Endpoints, Settings, WhatsAppNumber};
use crate::http::{Call, Http, Rules, Trust};
use crate::management::BundleSource;
use crate::pagerduty::Region;

const RULES: Rules = Rules { timeout: Duration::from_secs(10), max_body: 64 << 20, pace: Duration::ZERO };

/// Settings for the sandbox at `base`. Its credentials are fixed and no secrets.
pub fn settings(base: &str, artifacts: PathBuf) -> Result<Settings, ConfigError> {
    let at = |path: &str| format!("{}/{path}", base.trim_end_matches('/'));
    let quiet_hours =
        QuietHours::parse("22:00", "06:00").map_err(|e| ConfigError::Http { detail: e.to_string() })?;
    let canary = "+250788000001"
        .parse()
        .map_err(|e: allclear_core::error::InvalidValue| ConfigError::Http { detail: e.to_string() })?;
    Ok(Settings {
        endpoints: Endpoints {
            admin: at("admin"),
            supabase: at("supabase"),
            supabase_management: at("supabase-management"),
            graph: at("graph/v23.0"),
            pagerduty: Region::Custom { events: at("pagerduty-events"), rest: at("pagerduty") },
            slack: at("slack/api"),
            provider: at("provider"),
        },
        credentials: Credentials {
            admin_token: "sandbox-admin-token".into(),
            service_key: "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.sandbox-service-key".into(),
            management_token: "sbp_5a9db0c0000000000000000000000000000000ab".into(),
            graph_token: "sandbox-graph-token".into(),
            pagerduty_rest_key: "sandbox-pd-key".into(),
            pagerduty_routing_key: "sandboxroutingkey00000000000000ab".into(),
            slack_token: "xoxb-sandbox".into(),
            slack_webhook: Some(at("slack/services/T0SBX/B0SBX/sandboxwebhook").into()),
            provider_token: "sandbox-provider-token".into(),
        },
        whatsapp: WhatsAppNumber {
            phone_id: "100000000000001".to_owned(),
            business_account: "200000000000002".to_owned(),
            canary,
            canary_template: "allclear_canary".to_owned(),
        },
        pagerduty_from: "oncall@example.test".to_owned(),
        send_function: "wa-send-media".to_owned(),
        send_region: None,
        supabase_project: "sandboxprojectrefabc".to_owned(),
        bundles: [("voucher-preview".to_owned(), preview_bundle())].into(),
        timeout: Duration::from_secs(5),
        max_body: 8 << 20,
        pace: Duration::ZERO,
        limits: Limits {
            recipients_zone: "Africa/Kigali".to_owned(),
            default_policy: SendPolicy { quiet_hours, throttle_per_minute: 60 },
            dispatcher_interval: Duration::from_mins(1),
            dispatcher_batch: 40,
            // Each look at the platform's status page makes its dispatcher send.
            status_page_is_safe: false,
            ops_channel: "#ops".to_owned(),
            data_ops_channel: "#data-ops".to_owned(),
            vendor_channel: "#vendor-support".to_owned(),
            preview_function: "voucher-preview".to_owned(),
            dispatch_function: "campaign-dispatch".to_owned(),
            dangerous: DangerousApprovals::default(),
        },
        rehearsal: Rehearsal::at(base),
        artifacts,
    })
}

/// The source that drills deploy. The sandbox runs no code; what counts is that it is the pinned one.
fn preview_bundle() -> BundleSource {
    let content = "Deno.serve(() => new Response(null, { status: 501 }));\n";
    BundleSource::Text { entrypoint: "index.ts".to_owned(), content: content.to_owned() }
}

/// The sandbox's controls, for drills and tests.
#[derive(Debug)]
pub struct SandboxControl {
    http: Http,
}

impl SandboxControl {
    /// The sandbox at `base`.
    pub fn at(base: &str) -> Result<Self, ConfigError> {
        let client = crate::http::client(RULES.timeout, Trust::needed_at(base))?;
        // Controls are not paced, so the clock is never asked.
        let unused = Arc::new(VirtualClock::at(Timestamp::UNIX_EPOCH));
        Ok(Self { http: Http::new(client, Service::Sandbox, base, RULES, unused) })
    }

    /// Where the databases and buckets of an exercise are; `null` where none is held.
    pub async fn stage(&self) -> Result<Value, PortError> {
        self.http.send(Call::read("/_sandbox/stage")).await?.expect()
    }

    /// The effect ledger.
    pub async fn ledger(&self) -> Result<Vec<Value>, PortError> {
        self.http.send(Call::read("/_sandbox/ledger")).await?.expect()
    }

    /// The state that matters, and its digest.
    pub async fn state(&self) -> Result<Value, PortError> {
        self.http.send(Call::read("/_sandbox/state")).await?.expect()
    }

    /// What the clock shows and how it runs.
    pub(crate) async fn clock(&self) -> Result<Value, PortError> {
        self.http.send(Call::read("/_sandbox/clock")).await?.expect()
    }

    /// Moves a virtual clock.
    pub(crate) async fn advance(&self, to: Timestamp) -> Result<Timestamp, PortError> {
        let reply =
            self.http.send(Call::read("/_sandbox/clock/advance").posting(json!({ "to": to }))).await?;
        let body: Value = reply.expect()?;
        body["now"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| reply.unusable("it does not say what time it is"))
    }

    /// Makes a new world.
    pub async fn reset(&self, spec: &Value) -> Result<(), PortError> {
        self.post("/_sandbox/reset", spec.clone()).await
    }

    /// Switches faults, and makes answers be lost.
    pub async fn faults(
        &self,
        enable: &[&str],
        disable: &[&str],
        lose_answer: &[&str],
    ) -> Result<(), PortError> {
        let body = json!({ "enable": enable, "disable": disable, "lose_answer": lose_answer });
        self.post("/_sandbox/faults", body).await
    }

    /// Lets somebody else do something.
    pub async fn act(&self, act: &str, id: &str) -> Result<(), PortError> {
        self.post("/_sandbox/act", json!({ "act": act, "id": id })).await
    }

    /// Ends the sandbox.
    pub async fn shutdown(&self) -> Result<(), PortError> {
        self.post("/_sandbox/shutdown", json!({})).await
    }

    async fn post(&self, path: &str, body: Value) -> Result<(), PortError> {
        self.http.send(Call::write(Method::POST, path, body)).await?.expect_success()
    }
}
