//! What an S3 server's refusals and silences mean.
//!
//! S3 answers with an HTTP status and, mostly, an XML body with a code; the code decides, since one status stands for many
//! things (403 is a wrong key, an expired one, a missing permission, or a clock that is off). A HEAD has no body, so there
//! only the status is left.

use std::time::Duration;

use allclear_core::error::{StopReason, WaitSource};
use allclear_core::{PortError, Service};

use crate::database::BucketFailure;

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The key is unknown, wrong or expired.
    Credential,
    /// The key may not do this.
    Permission,
    /// There is no such bucket.
    NoBucket,
    /// Too many requests: nothing happened.
    Limited,
    /// The server has no room left.
    Full,
    /// What arrived is not what was sent.
    Checksum,
    /// Refused for another reason; the same request is refused again.
    Refused,
    /// Not reached, so nothing happened.
    NotReached,
    /// The server failed, or the connection did, after the request was on its way.
    NoAnswer,
}

impl Kind {
    /// Whether the same request may do better in a moment. Every request we make may be repeated: reads, whole objects under
    /// names that say their content, and numbered parts.
    pub(super) fn passes(self) -> bool {
        matches!(self, Self::Limited | Self::Checksum | Self::NotReached | Self::NoAnswer)
    }
}

/// A failed request.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) code: Option<String>,
    pub(super) wait: Option<Duration>,
    pub(super) detail: String,
}

impl Failure {
    /// The connection or the time failed us.
    pub(super) fn of_transport(reached: bool, detail: String) -> Self {
        let kind = if reached { Kind::NoAnswer } else { Kind::NotReached };
        Self { kind, code: None, wait: None, detail }
    }

    /// From an answer that is no success.
    pub(super) fn of_answer(status: u16, wait: Option<Duration>, body: &str) -> Self {
        let code = element(body, "Code").map(str::to_owned);
        let kind = kind_of(status, code.as_deref());
        let said = element(body, "Message").unwrap_or_default();
        let detail = match (&code, said.is_empty()) {
            (Some(code), false) => format!("HTTP {status} {code}: {}", plain(said)),
            (Some(code), true) => format!("HTTP {status} {code}"),
            (None, _) => format!("HTTP {status}"),
        };
        Self { kind, code, wait, detail }
    }

    /// As the port's error. `writes` tells whether the request could have changed something.
    pub(super) fn into_port(self, call: &str, writes: bool) -> PortError {
        let (service, call) = (Service::ObjectStore, call.to_owned());
        let Self { kind, code, wait, detail } = self;
        match kind {
            Kind::Credential => PortError::Stopped { service, call, reason: StopReason::Credential, detail },
            Kind::Permission => PortError::Stopped { service, call, reason: StopReason::Permission, detail },
            Kind::NoBucket => {
                PortError::NotFound { service, what: format!("bucket for `{call}` ({detail})") }
            }
            Kind::Limited => PortError::RateLimited {
                service,
                call,
                wait_seconds: wait.map(|wait| wait.as_secs()),
                source_of_wait: if wait.is_some() { WaitSource::RetryAfterHeader } else { WaitSource::Ours },
                detail,
            },
            Kind::Full => {
                let detail = format!("it has no room left ({detail}); give it some, then resume");
                PortError::Rejected { service, call, code, detail }
            }
            Kind::Checksum => {
                let detail = format!("what arrived is not what was sent ({detail}); check the network path");
                PortError::Rejected { service, call, code, detail }
            }
            Kind::Refused => PortError::Rejected { service, call, code, detail },
            Kind::NoAnswer if writes => PortError::OutcomeUnknown { service, call, detail },
            Kind::NotReached | Kind::NoAnswer => PortError::Unavailable { service, call, detail },
        }
    }
}

/// The codes are those of S3's own list and the ones that MinIO and Supabase add.
fn kind_of(status: u16, code: Option<&str>) -> Kind {
    match code {
        Some(
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "TokenRefreshRequired"
            | "InvalidClientTokenId"
            | "InvalidSecurity"
            | "NotSignedUp"
            | "InvalidJWT",
        ) => Kind::Credential,
        Some("AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "UnauthorizedAccess") => {
            Kind::Permission
        }
        Some("NoSuchBucket") => Kind::NoBucket,
        Some(
            "SlowDown"
            | "SlowDownRead"
            | "SlowDownWrite"
            | "Throttling"
            | "ThrottlingException"
            | "RequestLimitExceeded"
            | "TooManyRequests"
            | "BandwidthLimitExceeded",
        ) => Kind::Limited,
        Some(
            "XMinioStorageFull" | "InsufficientStorage" | "QuotaExceeded" | "XMinioAdminBucketQuotaExceeded",
        ) => Kind::Full,
        Some(
            "BadDigest"
            | "InvalidDigest"
            | "XAmzContentSHA256Mismatch"
            | "XAmzContentChecksumMismatch"
            | "InvalidChecksum",
        ) => Kind::Checksum,
        // S3 words a body that came too slowly as a 400; a conflict of conditional writes is over in a moment.
        Some("RequestTimeout" | "OperationAborted" | "ConditionalRequestConflict" | "IncompleteBody") => {
            Kind::NoAnswer
        }
        _ => match status {
            401 => Kind::Credential,
            403 => Kind::Permission,
            429 | 503 => Kind::Limited,
            507 => Kind::Full,
            408 | 500.. => Kind::NoAnswer,
            _ => Kind::Refused,
        },
    }
}

/// The text of an element in an S3 error body, which is small and flat.
fn element<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

/// Foreign words, fit for a journal and a terminal. Only `Message` is kept of a body: other elements repeat what was signed.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// As the port's error, for those who call `object_store` themselves.
///
/// `call` is how the error names the request, and `writes` whether it could have changed something.
pub fn port_error(call: &str, writes: bool, error: &object_store::Error) -> PortError {
    if let Some(failure) = failure_in(error) {
        return failure.clone().into_port(call, writes);
    }
    let (service, call) = (Service::ObjectStore, call.to_owned());
    match error {
        object_store::Error::NotFound { path, .. } => PortError::NotFound { service, what: path.clone() },
        object_store::Error::AlreadyExists { path, .. } | object_store::Error::Precondition { path, .. } => {
            PortError::AlreadyDone { service, call, detail: format!("{path} is there already") }
        }
        other => PortError::Malformed { service, call, detail: plain(&other.to_string()) },
    }
}

/// What a server's refusal means for a file of a backup; `None` where the error is none of our transport's.
pub(crate) fn bucket_failure(error: &object_store::Error) -> Option<BucketFailure> {
    Some(match failure_in(error)?.kind {
        Kind::Credential => BucketFailure::Credential,
        Kind::Permission => BucketFailure::Permission,
        Kind::NoBucket => BucketFailure::NotFound,
        Kind::Full | Kind::Refused => BucketFailure::Refused,
        Kind::Limited | Kind::Checksum | Kind::NotReached | Kind::NoAnswer => BucketFailure::Unavailable,
    })
}

/// Our transport's own failure, which `object_store` wraps a few times.
fn failure_in(error: &object_store::Error) -> Option<&Failure> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return Some(failure);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use allclear_core::Class;

    fn class(status: u16, code: &str) -> Class {
        let body = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
        Failure::of_answer(status, None, &body).into_port("PUT x", true).class()
    }

    #[test]
    fn the_code_decides_and_not_the_status() {
        assert_eq!(class(403, "InvalidAccessKeyId"), Class::Stop(StopReason::Credential));
        assert_eq!(class(403, "SignatureDoesNotMatch"), Class::Stop(StopReason::Credential));
        assert_eq!(class(400, "ExpiredToken"), Class::Stop(StopReason::Credential));
        assert_eq!(class(403, "AccessDenied"), Class::Stop(StopReason::Permission));
        assert_eq!(class(503, "SlowDown"), Class::RetryAfter(None));
        assert_eq!(class(500, "InternalError"), Class::OutcomeUnknown);
        assert_eq!(class(400, "BadDigest"), Class::Permanent);
        assert_eq!(class(404, "NoSuchBucket"), Class::Permanent);
        assert_eq!(class(507, "XMinioStorageFull"), Class::Permanent);
    }

    #[test]
    fn what_was_signed_is_not_repeated() {
        let body = "<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message>\
            <AWSAccessKeyId>AKIASECRET</AWSAccessKeyId><StringToSign>AWS4 SECRET</StringToSign></Error>";
        let error = Failure::of_answer(403, None, body).into_port("PUT x", true).to_string();
        assert!(!error.contains("SECRET"), "{error}");
    }
}
