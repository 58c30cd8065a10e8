//! Supabase's Management API: whether the project is up, which functions it has, their deployment, the log of their calls, and
//! the backups that the host keeps.
//!
//! | fact | from |
//! |---|---|
//! | personal access tokens expire and can be scoped: a 401 says that the token is expired or revoked, a 403 that it does not cover the call. No API makes a new one, so both stop the call until a person acted | Management API, authentication |
//! | every error is `{"message": "…"}` without a code; what is known of them is a table in `error` | recorded replies |
//! | every answer says how much of the minute's budget is left: `x-ratelimit-limit`, `-remaining`, `-reset` in seconds. The limit is read and never assumed; one user's tokens share it | recorded replies |
//! | a deployment answers 201 before it is sure: under load, functions whose deployment "succeeded" were found not to exist. They are deployed one at a time and read back | supabase/cli, issue 6247 |
//! | each deployment makes another version, also of the same source | Management API, deploy a function |
//! | a function may be `THROTTLED`: it is there, and calls are held back | Management API, retrieve a function |
//! | logs come in two dialects: `logs` (one table, newer) and `logs.all` (one table a service, older; 24 hours at most) | Management API, logs; supabase/cli 3.1.0 |
//! | an error of the log can sit in a 200 | same |
//! | the health endpoint needs `services`; edge functions are not among them | Management API, services health |
//! | a project that is paused is `INACTIVE`; its own addresses then answer 540 | Management API, get a project; platform status codes |
//! | a backup cannot be downloaded; the list only says that there is one | Management API, list all backups |

mod backups;
mod bundle;
mod error;
mod project;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use allclear_core::function::{Bundle, DeployedFunction, FunctionCalls, FunctionStatus};
use allclear_core::ports::FunctionHost;
use allclear_core::{Clock, PortError, Service};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

pub use bundle::BundleSource;

use crate::config::{ConfigError, Settings};
use crate::http::{Call, Http, Part, Reply};
use crate::wiring::Wiring;

type Result<T> = std::result::Result<T, PortError>;

/// The client.
#[derive(Debug)]
pub struct Management {
    http: Http,
    project: String,
    bundles: BTreeMap<String, BundleSource>,
}

#[derive(Deserialize)]
struct FunctionRow {
    slug: String,
    status: FunctionStatus,
    version: u64,
    /// Milliseconds since 1970.
    updated_at: i64,
}

impl FunctionRow {
    fn read(self) -> std::result::Result<DeployedFunction, String> {
        let updated_at = Timestamp::from_millisecond(self.updated_at)
            .map_err(|_| format!("updated_at {} is no time in milliseconds", self.updated_at))?;
        Ok(DeployedFunction { slug: self.slug, status: self.status, version: self.version, updated_at })
    }
}

#[derive(Deserialize)]
struct LogReply {
    #[serde(default)]
    result: Vec<CallRow>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct CallRow {
    status_code: u16,
    calls: u64,
}

impl Management {
    pub(crate) fn new(http: Http, project: String, bundles: BTreeMap<String, BundleSource>) -> Self {
        Self { http, project, bundles }
    }

    /// One project's part of the API, with the token of an environment: for projects that are no environment of ours, such
    /// as the one that backups are taken from. No function of it can be deployed.
    pub fn of_project(
        settings: &Settings,
        project: &str,
        clock: &Arc<dyn Clock>,
    ) -> std::result::Result<Self, ConfigError> {
        let base = &settings.endpoints.supabase_management;
        let http = Wiring::of(settings, clock)?
            .http(Service::SupabaseManagement, "supabase_management", base)?
            .bearer(&settings.credentials.management_token);
        Ok(Self::new(http, project.to_owned(), BTreeMap::new()))
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/projects/{}/{rest}", self.project)
    }

    /// A slug stands in paths and in a query of the log, so nothing else than a slug may.
    fn check_slug(&self, slug: &str) -> Result<()> {
        let starts_well = slug.starts_with(|first: char| first.is_ascii_alphabetic());
        if starts_well && slug.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
            return Ok(());
        }
        Err(PortError::Rejected {
            service: self.http.service(),
            call: "functions".to_owned(),
            code: None,
            detail: format!(
                "`{}` is no function's name; give letters, digits, - and _",
                self.http.clean(slug)
            ),
        })
    }

    async fn calls(&self, endpoint: &str, sql: String, since: Timestamp) -> Result<FunctionCalls> {
        let call = Call::read(self.path(&format!("analytics/endpoints/{endpoint}")))
            .query("sql", sql)
            .query("iso_timestamp_start", since);
        let reply = self.http.send(call).await?;
        let log: LogReply = read(&reply)?;
        if let Some(error) = log.error.filter(|error| !error.is_null()) {
            return Err(reply.unusable(&format!("the log says: {error}")));
        }
        let sum = |of: fn(u16) -> bool| {
            log.result.iter().filter(|row| of(row.status_code)).map(|row| row.calls).sum()
        };
        Ok(FunctionCalls { succeeded: sum(|status| status < 400), failed: sum(|status| status >= 500) })
    }
}

/// The body of a successful answer; a refusal in the API's own words else.
fn read<'a, T: Deserialize<'a>>(reply: &'a Reply) -> Result<T> {
    if reply.is_success() { reply.expect() } else { Err(error::classify(reply)) }
}

fn newer_sql(slug: &str) -> String {
    format!(
        "select toInt32OrZero(log_attributes['response.status_code']) as status_code, count(*) as calls from logs \
where source = 'function_edge_logs' and log_attributes['request.pathname'] = '/functions/v1/{slug}' group by status_code"
    )
}

fn older_sql(slug: &str) -> String {
    format!(
        "select response.status_code as status_code, count(*) as calls from function_edge_logs \
cross join unnest(metadata) as metadata cross join unnest(metadata.response) as response \
cross join unnest(metadata.request) as request where request.pathname = '/functions/v1/{slug}' group by status_code"
    )
}

#[async_trait]
impl FunctionHost for Management {
    async fn find(&self, slug: &str) -> Result<Option<DeployedFunction>> {
        self.check_slug(slug)?;
        let reply = self.http.send(Call::read(self.path(&format!("functions/{slug}")))).await?;
        if reply.status == 404 && reply.says("Function not found") {
            return Ok(None);
        }
        read::<FunctionRow>(&reply)?.read().map(Some).map_err(|detail| reply.unusable(&detail))
    }

    async fn calls_since(&self, slug: &str, since: Timestamp) -> Result<FunctionCalls> {
        self.check_slug(slug)?;
        match self.calls("logs", newer_sql(slug), since).await {
            Err(PortError::NotFound { .. } | PortError::Rejected { .. }) => {
                self.calls("logs.all", older_sql(slug), since).await
            }
            other => other,
        }
    }

    async fn bundle(&self, slug: &str) -> Result<Bundle> {
        let source = self.bundles.get(slug).ok_or_else(|| PortError::NotFound {
            service: Service::Artifacts,
            what: format!("bundle for the function {slug}: configure functions.{slug} with folder, entrypoint and sha256"),
        })?;
        source.load(slug)
    }

    async fn deploy(&self, slug: &str, bundle: &Bundle) -> Result<DeployedFunction> {
        self.check_slug(slug)?;
        let metadata = json!({ "entrypoint_path": bundle.entrypoint, "name": slug });
        let mut parts = vec![Part::field("metadata", metadata.to_string())];
        parts.extend(bundle.files.iter().map(|(path, content)| Part::file("file", path, content.clone())));
        let call = Call::upload(self.path("functions/deploy"), parts).query("slug", slug);
        let reply = self.http.send(call).await?;
        read::<FunctionRow>(&reply)?.read().map_err(|detail| reply.unusable(&detail))
    }

    fn project(&self) -> String {
        self.project.clone()
    }
}
