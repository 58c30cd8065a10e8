//! What PagerDuty's error codes mean, as a table. A code says more than its HTTP status, which several of them share.

use allclear_core::PortError;
use allclear_core::error::StopReason;

use super::Region;
use crate::http::Reply;

/// What a code comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    /// The wanted state holds already.
    AlreadyDone,
    /// This request will be refused again.
    Refused,
    /// A person must replace or correct the key.
    WrongKey,
    /// The key or its user may not do this.
    Forbidden,
    /// It may have happened: PagerDuty gave up on its own side.
    Unknown,
    /// Too many requests.
    TooFast,
    /// There is no such thing.
    Missing,
}

/// Code, meaning, and what to do about it (PagerDuty's REST API, errors).
const CODES: &[(u64, Means, &str)] = &[
    (1001, Means::AlreadyDone, "it is resolved already"),
    (1002, Means::AlreadyDone, "it is acknowledged already"),
    (1005, Means::Refused, "somebody changed it since it was read; read it again and decide anew"),
    (1008, Means::Refused, "`pagerduty_from` is no user of this account; name one who is"),
    (1015, Means::Refused, "nobody is on call there; reach somebody by hand"),
    (1018, Means::Forbidden, "the user in `pagerduty_from` may not do this"),
    (2001, Means::Refused, "the request is invalid"),
    (2002, Means::Refused, "an argument is invalid"),
    (2003, Means::Refused, "an argument is missing"),
    (2006, Means::WrongKey, "it does not know the key"),
    (2010, Means::Forbidden, "the key may not do this"),
    (2013, Means::Refused, "`pagerduty_from` is no user of this account; name one who is"),
    (2014, Means::Refused, PLAN),
    (2016, Means::Unknown, "it gave up on its own side"),
    (2018, Means::Forbidden, "the key may only read"),
    (2020, Means::TooFast, "too many requests"),
    (2100, Means::Missing, "there is no such thing"),
    (5001, Means::Missing, "there is no such thing"),
];

/// What a 402 says.
const PLAN: &str = "the account's plan does not have this (a paid feature); reach these people by hand, or have the plan changed";

/// What an unsuccessful answer of the REST API means.
pub(super) fn classify(reply: &Reply, region: &Region) -> PortError {
    let body = reply.json().unwrap_or_default();
    let code = body["error"]["code"].as_u64();
    let known = CODES.iter().find(|(known, ..)| Some(*known) == code);
    // Whatever code stands in a failure of the server itself, a write may have happened. And the description's examples carry
    // the code of a missing thing in every refusal, so that one counts only where the status does not say something else.
    let counts = |means: Means| match means {
        Means::Missing => matches!(reply.status, 400 | 404),
        _ => (400..500).contains(&reply.status),
    };
    let Some((code, means, advice)) = known.filter(|(_, means, _)| counts(*means)) else {
        return by_status(reply, region);
    };
    let said = reply.clean(&said(&body["error"]));
    let (service, call, detail) = (reply.service, reply.call.clone(), format!("{said}; {advice}"));
    match means {
        Means::AlreadyDone => PortError::AlreadyDone { service, call, detail },
        Means::Refused => PortError::Rejected { service, call, code: Some(code.to_string()), detail },
        Means::WrongKey => {
            let detail = format!("{detail}; {}", region.hint());
            PortError::Stopped { service, call, reason: StopReason::Credential, detail }
        }
        Means::Forbidden => PortError::Stopped { service, call, reason: StopReason::Permission, detail },
        Means::Unknown if reply.writes => PortError::OutcomeUnknown { service, call, detail },
        Means::Unknown => PortError::Unavailable { service, call, detail },
        Means::TooFast => reply.rate_limited(detail),
        Means::Missing => PortError::NotFound { service, what: call },
    }
}

/// An answer without a code that we know. A 429 may come without headers and without a body.
fn by_status(reply: &Reply, region: &Region) -> PortError {
    match reply.failure() {
        PortError::Stopped { service, call, reason: StopReason::Credential, detail } => {
            let detail = format!("{detail}; {}", region.hint());
            PortError::Stopped { service, call, reason: StopReason::Credential, detail }
        }
        PortError::Rejected { service, call, code, detail } if reply.status == 402 => {
            PortError::Rejected { service, call, code, detail: format!("{detail}; {PLAN}") }
        }
        other => other,
    }
}

/// Its message, with the particulars: a list of words, or an object of them.
fn said(error: &serde_json::Value) -> String {
    let message = error["message"].as_str().unwrap_or("it does not say why");
    let list = error["errors"].as_array().into_iter().flatten().filter_map(|one| one.as_str());
    let more: Vec<&str> = list.take(5).collect();
    if more.is_empty() { message.to_owned() } else { format!("{message}: {}", more.join(", ")) }
}

/// What an unsuccessful answer of the Events API means. Its 400 says in a list what to correct, and is never tried again.
pub(super) fn classify_event(reply: &Reply, region: &Region) -> PortError {
    let PortError::Rejected { service, call, code, detail } = reply.failure() else { return reply.failure() };
    let body = reply.json().unwrap_or_default();
    let list = body["errors"].as_array().into_iter().flatten().filter_map(|one| one.as_str());
    let errors: Vec<String> = list.take(5).map(|one| reply.clean(one)).collect();
    // An account of the other region is not told from none: the key travels in the body here.
    let hint = if errors.iter().any(|error| error.contains("routing_key")) { region.hint() } else { "" };
    let parts = [detail, errors.join(", "), hint.to_owned()];
    let detail = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    PortError::Rejected { service, call, code, detail }
}
