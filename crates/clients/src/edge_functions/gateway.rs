//! What the platform's gateway says when the function itself does not answer: `sb-error-code`, and statuses of its own.
//!
//! | code or status | meaning | source |
//! |---|---|---|
//! | `BOOT_ERROR` (503), `LOAD_FUNCTION_…` | the function was not started | Supabase, edge function error codes |
//! | `NOT_FOUND` (404) | there is none of that name. Just after a deployment a region may not have it yet: whoever deployed waits | same |
//! | `WORKER_ERROR` (500), `WORKER_LIMIT`, `WORKER_RESOURCE_LIMIT` (546), `IDLE_TIMEOUT` (504), `INVALID_RESPONSE_STATUS_CODE` | it was started and ended: what it had done by then is not known | same |
//! | `UNAUTHORIZED_…` (401) | the key, before the function was started | same |
//! | `RATE_LIMIT_EXCEEDED` | functions call functions too often; nothing was started | same |
//! | 402, 540 | the organisation is restricted, the project is paused: a person must act | Supabase, platform status codes |
//! | 521, 522, 523, 525, 526 | the gateway does not reach the project, or does not trust it: nothing was started | same; Cloudflare, 5xx errors |
//! | 520, 524, 527 | the project was reached and its answer did not come, or is none | same |
//! | 544 | a time limit behind the gateway | same |

use allclear_core::PortError;
use allclear_core::error::StopReason;

use crate::http::Reply;

/// What the gateway's word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    /// The function was not started.
    NotStarted(&'static str),
    /// There is none.
    Absent,
    /// It was started, and nobody knows what it did.
    Ended(&'static str),
    /// The key.
    Key,
    /// Too many calls.
    Limited,
    /// A person must do something about the project.
    Project(&'static str),
}

use Means::{Absent, Ended, Key, Limited, NotStarted, Project};

/// Codes, or how they begin.
const CODES: &[(&str, Means)] = &[
    ("BOOT_ERROR", NotStarted("the function does not start")),
    ("NOT_FOUND", Absent),
    ("LOAD_FUNCTION", NotStarted("the function cannot be loaded")),
    ("WORKER_ERROR", Ended("the function failed")),
    ("WORKER_LIMIT", Ended("the function ran out of memory or time")),
    ("WORKER_RESOURCE_LIMIT", Ended("the function ran out of memory or time")),
    ("IDLE_TIMEOUT", Ended("the function did not answer in time")),
    ("INVALID_RESPONSE_STATUS_CODE", Ended("the function answered something that is no answer")),
    ("EDGE_FUNCTION_ERROR", Ended("the function failed")),
    ("UNAUTHORIZED", Key),
    ("RATE_LIMIT_EXCEEDED", Limited),
];

/// Statuses that no function gives.
const STATUSES: &[(u16, Means)] = &[
    (402, Project("the organisation is restricted: look at its usage and its bills")),
    (520, Ended("the gateway got no usable answer from the project")),
    (521, NotStarted("the gateway does not reach the project")),
    (522, NotStarted("the gateway does not reach the project")),
    (523, NotStarted("the gateway does not reach the project")),
    (524, Ended("the project did not answer the gateway in time")),
    (525, NotStarted("the gateway and the project do not agree on a connection")),
    (526, NotStarted("the gateway does not trust the project's certificate")),
    (527, Ended("the connection between the gateway and the project broke")),
    (540, Project("the project is paused: restore it in the dashboard")),
    (544, Ended("a time limit behind the gateway")),
    (546, Ended("the function ran out of memory or time")),
];

/// What the gateway means; `None` where it was the function that answered.
pub(super) fn meaning(reply: &Reply) -> Option<PortError> {
    let code = reply.header("sb-error-code").unwrap_or_default();
    let by_code = CODES.iter().find(|(known, _)| code.starts_with(known));
    by_code.map(|(_, means)| means.error(reply, reply.clean(code))).or_else(|| of_status(reply))
}

/// What one of the gateway's own statuses means, whichever part of the project was called.
pub(crate) fn of_status(reply: &Reply) -> Option<PortError> {
    let (_, means) = STATUSES.iter().find(|(known, _)| *known == reply.status)?;
    Some(means.error(reply, format!("HTTP {}", reply.status)))
}

impl Means {
    fn error(self, reply: &Reply, word: String) -> PortError {
        let (service, call) = (reply.service, reply.call.clone());
        match self {
            Absent => {
                reply.rejected(&word, "there is no such function in this project, or not in this region")
            }
            Ended(why) if reply.writes => {
                PortError::OutcomeUnknown { service, call, detail: format!("{word}: {why}") }
            }
            NotStarted(why) | Ended(why) => {
                PortError::Unavailable { service, call, detail: format!("{word}: {why}") }
            }
            Key => PortError::Stopped { service, call, reason: StopReason::Credential, detail: word },
            Limited => reply.rate_limited(word),
            Project(why) => PortError::Stopped {
                service,
                call,
                reason: StopReason::Permission,
                detail: format!("{word}: {why}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use allclear_core::Class;
    use reqwest::header::HeaderValue;

    use super::super::tests::reply;
    use super::*;

    #[test]
    fn the_gateways_word_tells_what_was_not_started_from_what_may_have_happened() {
        let (later, permission) = (Class::RetryAfter(None), Class::Stop(StopReason::Permission));
        let cases = [
            (503, "BOOT_ERROR", later),
            (404, "NOT_FOUND", Class::Permanent),
            (500, "LOAD_FUNCTION_ERROR", later),
            (500, "WORKER_ERROR", Class::OutcomeUnknown),
            (546, "WORKER_LIMIT", Class::OutcomeUnknown),
            (546, "WORKER_RESOURCE_LIMIT", Class::OutcomeUnknown),
            (504, "IDLE_TIMEOUT", Class::OutcomeUnknown),
            (500, "INVALID_RESPONSE_STATUS_CODE", Class::OutcomeUnknown),
            (500, "EDGE_FUNCTION_ERROR", Class::OutcomeUnknown),
            (401, "UNAUTHORIZED_INVALID_JWT_FORMAT", Class::Stop(StopReason::Credential)),
            (429, "RATE_LIMIT_EXCEEDED", later),
            (402, "", permission),
            (520, "", Class::OutcomeUnknown),
            (521, "", later),
            (522, "", later),
            (523, "", later),
            (524, "", Class::OutcomeUnknown),
            (525, "", later),
            (526, "", later),
            (527, "", Class::OutcomeUnknown),
            (540, "", permission),
            (544, "", Class::OutcomeUnknown),
            (546, "", Class::OutcomeUnknown),
        ];
        for (status, code, class) in cases {
            let mut reply = reply(status, "{}");
            if !code.is_empty() {
                reply.headers.insert("sb-error-code", HeaderValue::from_static(code));
            }
            assert_eq!(meaning(&reply).expect(code).class(), class, "{status} {code}");
        }
        assert!(meaning(&reply(500, "{}")).is_none(), "the function's own answer");
        for (known, _) in CODES {
            assert!(cases.iter().any(|(_, code, _)| code.starts_with(known)), "no case tries {known}");
        }
    }
}
