//! What a failed call means for the caller.
//!
//! Retry follows the [`Class`] of an error and never its HTTP status alone: WhatsApp reports rate limits as
//! 400, Slack reports failures as 200, and a 5xx from the admin API may have changed the row before it failed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A value that somebody typed or configured and that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} `{value}` cannot be used: {fix}")]
pub struct InvalidValue {
    /// Which input it was.
    pub field: &'static str,
    /// What was given.
    pub value: String,
    /// What to give instead.
    pub fix: &'static str,
}

/// The outside services that ports speak to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// The Next.js admin API.
    AdminApi,
    /// Supabase: PostgREST over the platform's tables.
    Supabase,
    /// Supabase edge functions.
    EdgeFunctions,
    /// Supabase's Management API.
    SupabaseManagement,
    /// Files that the platform serves, such as pictures of vouchers.
    Storage,
    /// WhatsApp's Graph API.
    WhatsApp,
    /// PagerDuty, Events API and REST API.
    PagerDuty,
    /// Slack's Web API.
    Slack,
    /// The WhatsApp provider's ticket intake.
    Provider,
    /// A database server.
    Database,
    /// The bucket that backups are kept in, and the buckets that are copied.
    ObjectStore,
    /// The team's documents.
    Documents,
    /// Files that a run leaves on this machine.
    Artifacts,
    /// Files that people exported, on this machine.
    Exports,
    /// The sandbox's control interface.
    Sandbox,
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::AdminApi => "the admin API",
            Self::Supabase => "Supabase",
            Self::EdgeFunctions => "the edge function",
            Self::SupabaseManagement => "Supabase's Management API",
            Self::Storage => "the platform's file storage",
            Self::WhatsApp => "WhatsApp",
            Self::PagerDuty => "PagerDuty",
            Self::Slack => "Slack",
            Self::Provider => "the WhatsApp provider",
            Self::Database => "the database",
            Self::ObjectStore => "the object store",
            Self::Documents => "the folder of documents",
            Self::Artifacts => "the artifact folder",
            Self::Exports => "the reader of exported files",
            Self::Sandbox => "the sandbox",
        })
    }
}

/// Where a waiting time came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitSource {
    /// A `Retry-After` header, as seconds or as a date.
    RetryAfterHeader,
    /// Another rate-limit header, such as `ratelimit-reset` or `estimated_time_to_regain_access`.
    LimitHeader,
    /// A field in the body, such as a throttle window's end.
    Body,
    /// The service named none; we chose.
    Ours,
}

/// Why automation must stop rather than retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The credential is missing, wrong, expired or revoked.
    Credential,
    /// The credential is known and may not do this.
    Permission,
    /// The service's policy forbids it; more calls make it worse.
    Policy,
}

/// What the caller should do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The wanted state already holds: a success for an effect.
    AlreadyDone,
    /// Nothing happened; try again after this long (the caller chooses when `None`).
    RetryAfter(Option<Duration>),
    /// It may have happened. Read before doing it again.
    OutcomeUnknown,
    /// It did not happen and will not by trying again.
    Permanent,
    /// Stop all calls of this kind until a person acted.
    Stop(StopReason),
}

/// A call through a port that failed. Serializable, because in a journal a failure is a value like any other.
///
/// `detail` never holds a secret or an unmasked phone number; clients mask before they build one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "snake_case")]
pub enum PortError {
    /// The service says that the wanted state already holds.
    #[error("{service} says that `{call}` is already done: {detail}")]
    AlreadyDone {
        /// Who answered.
        service: Service,
        /// Which call, e.g. `POST /api/campaigns/pause`.
        call: String,
        /// What it said.
        detail: String,
    },
    /// The service asked us to come back later; nothing happened.
    #[error("{service} limits `{call}`{}: {detail}", wait_text(*wait_seconds))]
    RateLimited {
        /// Who answered.
        service: Service,
        /// Which call.
        call: String,
        /// How long it asked us to wait, in seconds.
        wait_seconds: Option<u64>,
        /// Where that figure came from.
        source_of_wait: WaitSource,
        /// What it said.
        detail: String,
    },
    /// Not there or not able just now; nothing happened.
    #[error(
        "{service} is unavailable for `{call}`: {detail}; check that it runs and that its base URL is right"
    )]
    Unavailable {
        /// Who did not answer properly.
        service: Service,
        /// Which call.
        call: String,
        /// What was seen.
        detail: String,
    },
    /// The request left us and no usable answer came back: it may have happened.
    #[error("{service} gave no usable answer to `{call}`, so it may have happened: {detail}")]
    OutcomeUnknown {
        /// Who was called.
        service: Service,
        /// Which call.
        call: String,
        /// What was seen.
        detail: String,
    },
    /// The service refused this request; the same one will be refused again.
    #[error("{service} refused `{call}`{}: {detail}", code_text(code.as_deref()))]
    Rejected {
        /// Who answered.
        service: Service,
        /// Which call.
        call: String,
        /// The service's own error code.
        code: Option<String>,
        /// What it said.
        detail: String,
    },
    /// What we asked for is not there.
    #[error("{service} has no {what}; check the id and the environment")]
    NotFound {
        /// Who answered.
        service: Service,
        /// What was looked for.
        what: String,
    },
    /// A read was answered with whole JSON of another shape than the service's contract promises. Something on the way, or a
    /// moment's slip, answers so once; so that it is asked again a few times, and then it is no use to go on.
    #[error("{service} answered `{call}` with something else than its contract promises: {detail}")]
    Malformed {
        /// Who answered.
        service: Service,
        /// Which call.
        call: String,
        /// What was wrong with it.
        detail: String,
    },
    /// What is kept there is not what was put there: it is there, it was read whole, and it is wrong.
    #[error("{service} holds something that is damaged (`{call}`): {detail}")]
    Damaged {
        /// Who keeps it.
        service: Service,
        /// Which call or comparison showed it.
        call: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Stop: a person must act first.
    #[error("{service} stopped `{call}` ({}): {detail}", stop_text(*reason, *service))]
    Stopped {
        /// Who answered.
        service: Service,
        /// Which call.
        call: String,
        /// Why.
        reason: StopReason,
        /// What it said.
        detail: String,
    },
}

fn wait_text(seconds: Option<u64>) -> String {
    seconds.map_or_else(String::new, |s| format!(" for {s} s"))
}

fn code_text(code: Option<&str>) -> String {
    code.map_or_else(String::new, |c| format!(" (code {c})"))
}

fn stop_text(reason: StopReason, service: Service) -> String {
    match reason {
        StopReason::Credential => format!("replace the credential for {service}"),
        StopReason::Permission => "the credential lacks the permission".to_owned(),
        StopReason::Policy => "forbidden by policy; do not retry".to_owned(),
    }
}

impl PortError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::AlreadyDone { .. } => Class::AlreadyDone,
            Self::RateLimited { wait_seconds, .. } => {
                Class::RetryAfter(wait_seconds.map(Duration::from_secs))
            }
            Self::Unavailable { .. } => Class::RetryAfter(None),
            Self::OutcomeUnknown { .. } => Class::OutcomeUnknown,
            Self::Rejected { .. } | Self::NotFound { .. } | Self::Malformed { .. } | Self::Damaged { .. } => {
                Class::Permanent
            }
            Self::Stopped { reason, .. } => Class::Stop(*reason),
        }
    }

    /// Who was called.
    pub fn service(&self) -> Service {
        match self {
            Self::AlreadyDone { service, .. }
            | Self::RateLimited { service, .. }
            | Self::Unavailable { service, .. }
            | Self::OutcomeUnknown { service, .. }
            | Self::Rejected { service, .. }
            | Self::NotFound { service, .. }
            | Self::Malformed { service, .. }
            | Self::Damaged { service, .. }
            | Self::Stopped { service, .. } => *service,
        }
    }

    /// Whether the answer says nothing, neither yes nor no: the next one may.
    pub fn says_nothing(&self) -> bool {
        matches!(self, Self::Malformed { .. })
    }

    /// Whether the service could not be reached at all.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_says_what_to_do() {
        let limited = PortError::RateLimited {
            service: Service::EdgeFunctions,
            call: "POST wa-send-media".into(),
            wait_seconds: Some(90),
            source_of_wait: WaitSource::RetryAfterHeader,
            detail: "429".into(),
        };
        assert_eq!(limited.class(), Class::RetryAfter(Some(Duration::from_secs(90))));
        assert_eq!(limited.to_string(), "the edge function limits `POST wa-send-media` for 90 s: 429");
    }

    #[test]
    fn a_failure_survives_the_journal() {
        let failure = PortError::Stopped {
            service: Service::WhatsApp,
            call: "GET /phone".into(),
            reason: StopReason::Credential,
            detail: "code 190".into(),
        };
        let text = serde_json::to_string(&failure).unwrap();
        assert_eq!(serde_json::from_str::<PortError>(&text).unwrap(), failure);
    }
}
