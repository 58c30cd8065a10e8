//! How a client reaches its service: one HTTP client, one set of bounds, and one knowledge of secrets for all of them.

use std::sync::{Arc, OnceLock};

use allclear_core::{Clock, HeardTimes, Service};
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::{ConfigError, Settings, check_credentials, check_region, check_storage_key, check_url};
use crate::http::{Http, Redactor, Rules, Trust};
use crate::keys::KeyKind;

/// One way to reach all services of an environment: the same bounds, and one knowledge of secrets.
pub(crate) struct Wiring<'a> {
    settings: &'a Settings,
    clock: &'a Arc<dyn Clock>,
    /// For what is on this machine.
    here: reqwest::Client,
    /// For everything else; made when something else is reached.
    elsewhere: OnceLock<reqwest::Client>,
    redactor: Redactor,
    heard: Arc<HeardTimes>,
}

impl<'a> Wiring<'a> {
    pub(crate) fn of(settings: &'a Settings, clock: &'a Arc<dyn Clock>) -> Result<Self, ConfigError> {
        check_credentials(&settings.credentials)?;
        check_region(settings.send_region.as_deref())?;
        let here = crate::http::client(settings.timeout, Trust::Nobody)?;
        let (elsewhere, redactor) = (OnceLock::new(), Redactor::default());
        Ok(Self { settings, clock, here, elsewhere, redactor, heard: Arc::default() })
    }

    fn client(&self, base: &str) -> Result<reqwest::Client, ConfigError> {
        match (Trust::needed_at(base), self.elsewhere.get()) {
            (Trust::Nobody, _) => Ok(self.here.clone()),
            (Trust::OfTheMachine, Some(made)) => Ok(made.clone()),
            (Trust::OfTheMachine, None) => {
                let made = crate::http::client(self.settings.timeout, Trust::OfTheMachine)?;
                Ok(self.elsewhere.get_or_init(|| made).clone())
            }
        }
    }

    /// What the answers say about the services' clocks.
    pub(crate) fn heard(&self) -> &Arc<HeardTimes> {
        &self.heard
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
        let http = Http::new(self.client(base)?, service, base, rules, Arc::clone(self.clock));
        Ok(http.redacting(&self.redactor).hearing(&self.heard))
    }

    /// An incoming webhook: the address itself is the secret, so nothing that is said of it may hold it.
    pub(crate) fn webhook(&self, address: &SecretString) -> Result<Http, ConfigError> {
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
    pub(crate) fn storage(&self, endpoint: &str, key: &SecretString) -> Result<Http, ConfigError> {
        check_storage_key(endpoint, key)?;
        Ok(Self::with_key(self.http(Service::Storage, "storage", endpoint)?, key))
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

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
