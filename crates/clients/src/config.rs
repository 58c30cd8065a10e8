//! What the clients must be told, and how they are wired into a platform.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use allclear_core::ports::Limits;
use allclear_core::{Clock, Msisdn, Platform, Service};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

use crate::admin_api::{AdminApi, Previews};
use crate::artifacts::ArtifactFolder;
use crate::edge_functions::SendFunction;
use crate::http::{Http, Redactor, Rules};
use crate::keys::KeyKind;
use crate::management::{BundleSource, Management};
use crate::pagerduty::{PagerDuty, Region};
use crate::provider::TicketIntake;
use crate::redemption_export::ExportedFiles;
use crate::slack::Slack;
use crate::storage::StorageAccess;
use crate::supabase::Supabase;
use crate::whatsapp::GraphApi;

/// Base URLs of all services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// The admin API, without `/api`.
    pub admin: String,
    /// The Supabase project, e.g. `https://<ref>.supabase.co`.
    pub supabase: String,
    /// Supabase's Management API, e.g. `https://api.supabase.com`.
    pub supabase_management: String,
    /// WhatsApp's Graph API with its version, e.g. `https://graph.facebook.com/v23.0`.
    pub graph: String,
    /// PagerDuty, in the account's region.
    pub pagerduty: Region,
    /// Slack's Web API, e.g. `https://slack.com/api`.
    pub slack: String,
    /// The WhatsApp provider's ticket intake.
    pub provider: String,
}

/// Secrets of all services. `Debug` shows none.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The admin API's access token.
    pub admin_token: SecretString,
    /// Supabase's key for servers: a secret key (`sb_secret_…`) or the legacy `service_role` key.
    pub service_key: SecretString,
    /// Supabase's personal access token, for the Management API.
    pub management_token: SecretString,
    /// WhatsApp's system-user token.
    pub graph_token: SecretString,
    /// PagerDuty's REST key.
    pub pagerduty_rest_key: SecretString,
    /// PagerDuty's routing key.
    pub pagerduty_routing_key: SecretString,
    /// Slack's bot token.
    pub slack_token: SecretString,
    /// Slack's incoming webhook of the channel for operations, a secret address: the way that is left when the bot token fails.
    pub slack_webhook: Option<SecretString>,
    /// The provider's token.
    pub provider_token: SecretString,
}

/// The WhatsApp number that messages are sent from, and the one that canaries go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhatsAppNumber {
    /// The sending number's id at WhatsApp.
    pub phone_id: String,
    /// Its business account.
    pub business_account: String,
    /// Where canaries go: a number of our own.
    pub canary: Msisdn,
    /// The template that a canary uses.
    pub canary_template: String,
}

/// All that the clients must be told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the services are.
    pub endpoints: Endpoints,
    /// How they know us.
    pub credentials: Credentials,
    /// The WhatsApp number.
    pub whatsapp: WhatsAppNumber,
    /// E-mail of the PagerDuty user in whose name we act.
    pub pagerduty_from: String,
    /// The edge function that sends, e.g. `wa-send-media`.
    pub send_function: String,
    /// The region that runs it, e.g. `eu-west-3`. Pinned, no other steps in; `None` leaves the choice to the platform.
    pub send_region: Option<String>,
    /// The Supabase project's ref.
    pub supabase_project: String,
    /// The pinned sources of functions that may be deployed, by slug.
    pub bundles: BTreeMap<String, BundleSource>,
    /// How long one call may take, connecting included.
    pub timeout: Duration,
    /// The longest body that is read, in bytes.
    pub max_body: usize,
    /// The shortest time between two calls to one service.
    pub pace: Duration,
    /// What the environment allows.
    pub limits: Limits,
    /// Where a run's files go.
    pub artifacts: PathBuf,
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A base URL that is none.
    #[error("endpoints.{field} `{value}` is no URL; give one such as https://host/path")]
    NotAUrl {
        /// Which field.
        field: &'static str,
        /// What it says.
        value: String,
    },
    /// A secret would travel in clear text.
    #[error(
        "endpoints.{field} `{value}` would send a credential in clear text; use https (http is for loopback only)"
    )]
    ClearText {
        /// Which field.
        field: &'static str,
        /// What it says.
        value: String,
    },
    /// A credential that cannot be sent.
    #[error("credentials.{field} is empty or holds characters that no header may hold; set it again")]
    BadCredential {
        /// Which field.
        field: &'static str,
    },
    /// A key of Supabase's that is another one than is needed. It is not shown.
    #[error("credentials.{field} {problem}; {fix}")]
    WrongKey {
        /// Which field.
        field: &'static str,
        /// What it holds instead.
        problem: &'static str,
        /// What to give.
        fix: &'static str,
    },
    /// A region that is none.
    #[error("send_region `{value}` is no region; give one such as eu-west-3, or leave it out")]
    NotARegion {
        /// What it says.
        value: String,
    },
    /// An incoming webhook that is no address. What it says may be a secret.
    #[error("credentials.slack_webhook is no https address; copy it from the app's page at Slack")]
    NotAWebhook,
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made: {detail}")]
    Http {
        /// Why.
        detail: String,
    },
}

/// One way to reach all services of an environment: the same bounds, and one knowledge of secrets.
pub(crate) struct Wiring<'a> {
    settings: &'a Settings,
    clock: &'a Arc<dyn Clock>,
    client: reqwest::Client,
    redactor: Redactor,
}

impl<'a> Wiring<'a> {
    pub(crate) fn of(settings: &'a Settings, clock: &'a Arc<dyn Clock>) -> Result<Self, ConfigError> {
        check_credentials(&settings.credentials)?;
        check_region(settings.send_region.as_deref())?;
        let client = crate::http::client(settings.timeout)?;
        Ok(Self { settings, clock, client, redactor: Redactor::default() })
    }

    /// A service at a base URL that stands in the endpoints' `field`.
    pub(crate) fn http(
        &self,
        service: Service,
        field: &'static str,
        base: &str,
    ) -> Result<Http, ConfigError> {
        check_url(field, base)?;
        let Settings { timeout, max_body, pace, .. } = *self.settings;
        let rules = Rules { timeout, max_body, pace };
        let http = Http::new(self.client.clone(), service, base, rules, Arc::clone(self.clock));
        Ok(http.redacting(&self.redactor))
    }

    /// An incoming webhook: the address itself is the secret, so nothing that is said of it may hold it.
    fn webhook(&self, address: &SecretString) -> Result<Http, ConfigError> {
        let address = address.expose_secret();
        let http =
            self.http(Service::Slack, "slack_webhook", address).map_err(|_| ConfigError::NotAWebhook)?;
        // What stands behind the host: an error of the transport may hold either.
        let path = reqwest::Url::parse(address).map(|url| url.path().to_owned()).unwrap_or_default();
        http.keep_secret(&address.into());
        http.keep_secret(&path.into());
        Ok(http)
    }

    /// PostgREST, with the service key.
    pub(crate) fn tables(&self) -> Result<Http, ConfigError> {
        let http = self.http(Service::Supabase, "supabase", &self.settings.endpoints.supabase)?;
        Ok(Self::with_key(http, &self.settings.credentials.service_key))
    }

    /// Edge functions, with the service key.
    pub(crate) fn functions(&self) -> Result<Http, ConfigError> {
        let http = self.http(Service::EdgeFunctions, "supabase", &self.settings.endpoints.supabase)?;
        Ok(Self::with_key(http, &self.settings.credentials.service_key))
    }

    /// One project's Storage, with its own key.
    pub(crate) fn storage(&self, access: &StorageAccess) -> Result<Http, ConfigError> {
        if HeaderValue::from_str(access.key.expose_secret()).is_err() || access.key.expose_secret().is_empty()
        {
            return Err(ConfigError::BadCredential { field: "storage" });
        }
        Ok(Self::with_key(self.http(Service::Storage, "storage", &access.endpoint)?, &access.key))
    }

    /// A legacy key is a JWT and goes into both headers. A new one (`sb_secret_…`) is none: it goes into `apikey` only, and in
    /// `Authorization` the gateway would take it for a broken JWT (Supabase, API keys).
    fn with_key(http: Http, key: &SecretString) -> Http {
        let http = http.header("apikey", key);
        if KeyKind::of(key).is_sent_as_bearer() { http.bearer(key) } else { http }
    }

    /// The admin API, before anybody has signed in.
    pub(crate) fn admin(&self) -> Result<Http, ConfigError> {
        self.http(Service::AdminApi, "admin", &self.settings.endpoints.admin)
    }
}

/// Wires all clients into a platform. Talks to nobody yet: the admin API is signed in to by the first call that needs it.
pub fn connect(settings: Settings, clock: &Arc<dyn Clock>) -> Result<Platform, ConfigError> {
    let wiring = Wiring::of(&settings, clock)?;
    let http = |service: Service, field: &'static str, base: &str| wiring.http(service, field, base);
    let Settings { endpoints, credentials, whatsapp, .. } = &settings;

    let admin = Arc::new(AdminApi::new(wiring.admin()?, credentials.admin_token.clone()));
    let supabase = Arc::new(Supabase::new(wiring.tables()?, Arc::clone(&admin)));
    let storage = http(Service::Storage, "supabase", &endpoints.supabase)?;
    let management =
        http(Service::SupabaseManagement, "supabase_management", &endpoints.supabase_management)?
            .bearer(&credentials.management_token);
    let management =
        Arc::new(Management::new(management, settings.supabase_project.clone(), settings.bundles.clone()));
    let functions = wiring.functions()?;
    let graph = http(Service::WhatsApp, "graph", &endpoints.graph)?.bearer(&credentials.graph_token);
    let mut slack =
        Slack::new(http(Service::Slack, "slack", &endpoints.slack)?.bearer(&credentials.slack_token));
    if let Some(address) = &credentials.slack_webhook {
        slack = slack.with_webhook(wiring.webhook(address)?, &settings.limits.ops_channel);
    }
    let intake =
        http(Service::Provider, "provider", &endpoints.provider)?.bearer(&credentials.provider_token);
    let pagerduty = PagerDuty::wired(&wiring, &settings, &credentials.pagerduty_routing_key)?;

    Ok(Platform {
        campaigns: supabase.clone(),
        targets: supabase.clone(),
        send_queue: supabase.clone(),
        send_log: supabase.clone(),
        notifications: supabase.clone(),
        policy: supabase.clone(),
        vouchers: supabase.clone(),
        replacements: supabase.clone(),
        redemptions: supabase.clone(),
        redemption_exports: Arc::new(ExportedFiles),
        stations: supabase.clone(),
        audit: supabase,
        previews: Arc::new(Previews::new(Arc::clone(&admin), storage)),
        functions: management.clone(),
        project: management,
        status_page: admin,
        sender: Arc::new(
            SendFunction::new(functions, &settings.send_function, whatsapp.clone())
                .in_region(settings.send_region.clone()),
        ),
        whatsapp: Arc::new(GraphApi::new(graph, whatsapp.clone())),
        provider: Arc::new(TicketIntake::new(intake)),
        chat: Arc::new(slack),
        paging: Arc::new(pagerduty),
        artifacts: Arc::new(ArtifactFolder::at(settings.artifacts.clone())),
        limits: settings.limits,
        // Databases and buckets are no HTTP services of the platform; whoever has them fills this in.
        recovery: None,
    })
}

fn check_url(field: &'static str, value: &str) -> Result<(), ConfigError> {
    // What stands before an `@` may be a password; credentials have settings of their own.
    let shown = value.rsplit_once('@').map_or_else(|| value.to_owned(), |(_, rest)| format!("…@{rest}"));
    let not_a_url = || ConfigError::NotAUrl { field, value: shown.clone() };
    let url = reqwest::Url::parse(value).map_err(|_| not_a_url())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(not_a_url());
    }
    let host = url.host_str().ok_or_else(not_a_url)?;
    let is_loopback = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback => Ok(()),
        "http" => Err(ConfigError::ClearText { field, value: shown }),
        _ => Err(not_a_url()),
    }
}

/// It becomes a header, so nothing else than a region may.
fn check_region(region: Option<&str>) -> Result<(), ConfigError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match region {
        Some(value) if value.is_empty() || !value.chars().all(plain) => {
            Err(ConfigError::NotARegion { value: value.to_owned() })
        }
        _ => Ok(()),
    }
}

fn check_credentials(credentials: &Credentials) -> Result<(), ConfigError> {
    let all = [
        ("admin_token", &credentials.admin_token),
        ("service_key", &credentials.service_key),
        ("management_token", &credentials.management_token),
        ("graph_token", &credentials.graph_token),
        ("pagerduty_rest_key", &credentials.pagerduty_rest_key),
        ("pagerduty_routing_key", &credentials.pagerduty_routing_key),
        ("slack_token", &credentials.slack_token),
        ("provider_token", &credentials.provider_token),
    ];
    for (field, secret) in all {
        let text = secret.expose_secret();
        if text.trim().is_empty() || HeaderValue::from_str(text).is_err() {
            return Err(ConfigError::BadCredential { field });
        }
    }
    check_keys(credentials)
}

/// With a key for browsers every read would find nothing and every change would be refused, in the middle of a run.
fn check_keys(credentials: &Credentials) -> Result<(), ConfigError> {
    if let Some(problem) = KeyKind::of(&credentials.service_key).unfit_as_service_key() {
        let fix = "give the secret key (sb_secret_…) or the legacy service_role key of the project: Supabase's dashboard, \
                   project settings, API keys";
        return Err(ConfigError::WrongKey { field: "service_key", problem, fix });
    }
    if matches!(
        KeyKind::of(&credentials.management_token),
        KeyKind::Publishable | KeyKind::Secret | KeyKind::LegacyAnon | KeyKind::LegacyServiceRole
    ) {
        let problem = "is a key of a project, which the Management API does not take";
        let fix = "give a personal access token (sbp_…): Supabase's dashboard, account, access tokens";
        return Err(ConfigError::WrongKey { field: "management_token", problem, fix });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_never_travels_in_clear_text() {
        let error = check_url("slack", "http://slack.com/api").unwrap_err();
        assert!(
            error.to_string().contains("endpoints.slack") && error.to_string().contains("https"),
            "{error}"
        );
        assert!(check_url("slack", "http://127.0.0.1:1/slack").is_ok());
        assert!(matches!(check_url("graph", "graph.facebook.com"), Err(ConfigError::NotAUrl { .. })));
    }

    #[test]
    fn a_webhook_that_cannot_be_used_is_not_repeated() {
        let clock: Arc<dyn Clock> = Arc::new(allclear_core::VirtualClock::at(jiff::Timestamp::UNIX_EPOCH));
        for wrong in ["hooks.slack.example/hunter2", "http://hooks.slack.example/hunter2", "hunter2"] {
            let mut settings = crate::sandbox::settings("http://127.0.0.1:1", PathBuf::new()).unwrap();
            settings.credentials.slack_webhook = Some(wrong.into());
            assert!(!format!("{settings:?}").contains("hunter2"));
            let error = connect(settings, &clock).err().unwrap();
            assert_eq!(error, ConfigError::NotAWebhook);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_region_is_one_or_left_out() {
        assert!(check_region(None).is_ok() && check_region(Some("eu-west-3")).is_ok());
        for wrong in ["", "EU", "eu-west-3\r\nx: y"] {
            assert!(matches!(check_region(Some(wrong)), Err(ConfigError::NotARegion { .. })), "{wrong}");
        }
    }

    #[test]
    fn secrets_do_not_show_in_debug() {
        let settings = crate::sandbox::settings("http://127.0.0.1:1", PathBuf::new()).unwrap();
        let shown = format!("{settings:?}");
        assert!(!shown.contains("sandbox-service-key") && !shown.contains("xoxb"), "{shown}");
    }

    #[test]
    fn a_key_for_browsers_is_refused_before_anything_and_not_shown() {
        let clock: Arc<dyn Clock> = Arc::new(allclear_core::VirtualClock::at(jiff::Timestamp::UNIX_EPOCH));
        let refused = |change: &dyn Fn(&mut Credentials)| {
            let mut settings = crate::sandbox::settings("http://127.0.0.1:1", PathBuf::new()).unwrap();
            change(&mut settings.credentials);
            connect(settings, &clock).err().unwrap().to_string()
        };
        let anon = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.hunter2";
        for (key, kind) in [
            ("sb_publishable_hunter2", "publishable key"),
            (anon, "anon key"),
            ("sbp_hunter2", "personal access token"),
        ] {
            let error = refused(&|credentials| credentials.service_key = key.into());
            assert!(error.starts_with("credentials.service_key is") && error.contains(kind), "{error}");
            assert!(error.contains("sb_secret_…") && error.contains("service_role"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        for key in [anon, "sb_secret_hunter2"] {
            let error = refused(&|credentials| credentials.management_token = key.into());
            assert!(error.starts_with("credentials.management_token") && error.contains("sbp_…"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_legacy_key_goes_into_both_headers_and_a_new_one_is_no_jwt() {
        for (key, both) in [("eyJhbGciOi.legacy.key", true), ("sb_secret_0123456789", false)] {
            let base = crate::fake::serve(move |asked| {
                let head = asked.head.to_ascii_lowercase();
                let key = key.to_ascii_lowercase();
                let right = head.contains(&format!("apikey: {key}"))
                    && head.contains(&format!("authorization: bearer {key}")) == both;
                crate::fake::json(if right { 200 } else { 400 }, "", "[]")
            })
            .await;
            let mut settings = crate::sandbox::settings(&base, PathBuf::new()).unwrap();
            settings.credentials.service_key = key.into();
            let clock: Arc<dyn Clock> =
                Arc::new(allclear_core::VirtualClock::at(jiff::Timestamp::UNIX_EPOCH));
            let wiring = Wiring::of(&settings, &clock).unwrap();
            for http in [wiring.tables().unwrap(), wiring.functions().unwrap()] {
                let reply = http.send(crate::http::Call::read("/rest/v1/x")).await.unwrap();
                assert_eq!(reply.status, 200, "{key}");
            }
        }
    }
}
