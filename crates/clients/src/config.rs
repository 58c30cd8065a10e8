//! What the clients must be told, and what of it cannot be used.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use allclear_core::ports::Limits;
use allclear_core::{Msisdn, Rehearsal};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

use crate::keys::KeyKind;
use crate::management::BundleSource;
use crate::pagerduty::Region;

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
    /// That these are a sandbox's; `None` for every platform that acts for real.
    pub rehearsal: Option<Rehearsal>,
    /// Where a run's files go.
    pub artifacts: PathBuf,
}

impl Settings {
    /// That a platform of these settings is a sandbox: they say so, and not one endpoint is on another machine.
    pub(crate) fn rehearsed(&self) -> Option<Rehearsal> {
        let at = &self.endpoints;
        let all = [
            &at.admin,
            &at.supabase,
            &at.supabase_management,
            &at.graph,
            at.pagerduty.events(),
            at.pagerduty.rest(),
            &at.slack,
            &at.provider,
        ];
        let here = all.iter().all(|address| Rehearsal::at(address).is_some());
        self.rehearsal.clone().filter(|_| here)
    }
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
    /// A Storage's key that cannot be used. It is not shown.
    #[error("the key of the Storage at {endpoint} {problem}; {fix}")]
    StorageKey {
        /// Whose.
        endpoint: String,
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

pub(crate) fn check_url(field: &'static str, value: &str) -> Result<(), ConfigError> {
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
pub(crate) fn check_region(region: Option<&str>) -> Result<(), ConfigError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match region {
        Some(value) if value.is_empty() || !value.chars().all(plain) => {
            Err(ConfigError::NotARegion { value: value.to_owned() })
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_credentials(credentials: &Credentials) -> Result<(), ConfigError> {
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

/// Where a key that may read and write everything is found.
const SERVICE_KEY: &str = "give the secret key (sb_secret_…) or the legacy service_role key of the project: Supabase's \
                           dashboard, project settings, API keys";

/// With a key for browsers every read would find nothing and every change would be refused, in the middle of a run.
fn check_keys(credentials: &Credentials) -> Result<(), ConfigError> {
    if let Some(problem) = KeyKind::of(&credentials.service_key).unfit_as_service_key() {
        return Err(ConfigError::WrongKey { field: "service_key", problem, fix: SERVICE_KEY });
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

/// A Storage has a key of its own: another project's may be meant.
pub(crate) fn check_storage_key(endpoint: &str, key: &SecretString) -> Result<(), ConfigError> {
    let text = key.expose_secret();
    let cannot_be_sent = text.trim().is_empty() || HeaderValue::from_str(text).is_err();
    let problem = if cannot_be_sent {
        Some("is empty or holds characters that no header may hold")
    } else {
        KeyKind::of(key).unfit_as_service_key()
    };
    match problem {
        Some(problem) => {
            Err(ConfigError::StorageKey { endpoint: endpoint.to_owned(), problem, fix: SERVICE_KEY })
        }
        None => Ok(()),
    }
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
    fn a_storages_key_is_one_that_may_read_everything() {
        let endpoint = "https://ref.supabase.co/storage/v1";
        assert_eq!(check_storage_key(endpoint, &"sb_secret_0123".into()), Ok(()));
        for wrong in ["", "sb_publishable_hunter2", "hunter2\n"] {
            let error = check_storage_key(endpoint, &wrong.into()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("the key of the Storage at {endpoint} ")), "{error}");
            assert!(error.contains("sb_secret_…") && !error.contains("hunter2"), "{error}");
        }
    }
}
