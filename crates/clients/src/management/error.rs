//! What the Management API's refusals mean: by status, and by the message where that says more. Its errors have no codes;
//! every body is `{"message": "…"}`.
//!
//! | status and message | meaning | what to do | source |
//! |---|---|---|---|
//! | 401 | the access token is expired or revoked | make another by hand: no API does | Supabase, Management API, authentication |
//! | 403 | the token is known; its scope or its owner's role does not cover this | widen the one or the other | same |
//! | 402 | a limit of the plan, or the organisation is restricted | see usage and bills | Supabase, platform status codes |
//! | 400 `Resource has been removed` | the project was deleted | name the project that is left | recorded replies |
//! | 400 `PITR is not enabled…` | a paid part that the project does not have | use a daily backup | recorded replies |
//! | 404 `Project not found`, `Function not found` | no such thing, or none that this token sees | check the ref | the vendor's command line, issue 6247 |
//! | 429 `ThrottlerException…` | too many requests of this user, with whatever token | wait as the headers say | recorded replies |
//! | 500 | it failed on its own side; a write may have been done | read before doing it again | the vendor's OpenAPI description |
//! | 544 | what lies behind it failed, or took too long: the same | same | recorded replies; Supabase, platform status codes |
//!
//! A 404 with a page, a redirect and the other statuses have no words of its own and are judged like any service's.

use allclear_core::PortError;
use allclear_core::error::StopReason;

use crate::http::Reply;

/// What a refusal comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    /// A person must make another token.
    Token,
    /// A person must give the token, or its owner, more rights.
    Forbidden,
    /// This request will be refused again.
    Refused,
    /// There is none of this.
    Missing(&'static str),
    /// Too many requests; nothing was done.
    TooFast,
    /// A read may be made again; of a write nobody knows.
    Cut,
}

use Means::{Cut, Forbidden, Missing, Refused, Token, TooFast};

/// One kind of refusal.
struct Row {
    status: u16,
    /// How the message begins; empty where the status alone says it.
    message: &'static str,
    means: Means,
    /// What to do next.
    advice: &'static str,
}

const fn row(status: u16, message: &'static str, means: Means, advice: &'static str) -> Row {
    Row { status, message, means, advice }
}

const NEW_TOKEN: &str = "the access token is expired or revoked; make one in Supabase's dashboard (account, access tokens), \
give it as management_token, and delete the old one";
const RIGHTS: &str =
    "the token is good and may not do this; give it the scope, or its owner a role in the organisation";

/// The first row that fits counts.
const ROWS: &[Row] = &[
    row(400, "Resource has been removed", Refused, "the project was deleted; correct supabase_project"),
    row(400, "PITR is not enabled", Refused, "the project has no point-in-time recovery; use a daily backup"),
    row(401, "", Token, NEW_TOKEN),
    row(
        402,
        "",
        Refused,
        "a limit of the plan, or the organisation is restricted; look at its usage and its bills",
    ),
    row(403, "", Forbidden, RIGHTS),
    row(404, "Project not found", Missing("project of this ref that the token sees (supabase_project)"), ""),
    row(404, "Function not found", Missing("function of this name"), ""),
    row(429, "ThrottlerException", TooFast, "every token of this user waits; find who else is calling"),
    row(429, "", TooFast, "every token of this user waits; find who else is calling"),
    row(500, "", Cut, "it failed on its own side; see status.supabase.com"),
    row(544, "", Cut, "what lies behind it failed or took too long; see the project's status"),
];

/// What an unsuccessful answer means.
pub(super) fn classify(reply: &Reply) -> PortError {
    let body = reply.json();
    let message = body.as_ref().and_then(|body| body["message"].as_str()).unwrap_or_default();
    let fits = |row: &&Row| row.status == reply.status && message.starts_with(row.message);
    ROWS.iter().find(fits).map_or_else(|| reply.failure(), |row| row.error(reply, message))
}

impl Row {
    fn error(&self, reply: &Reply, message: &str) -> PortError {
        let said = reply.clean(message);
        let parts = [format!("HTTP {}", self.status), said, self.advice.to_owned()];
        let mut parts = parts.into_iter().filter(|part| !part.is_empty());
        let status = parts.next().unwrap_or_default();
        let detail = parts.fold(status, |text, part| {
            if text.contains(": ") { format!("{text}; {part}") } else { format!("{text}: {part}") }
        });
        let (service, call) = (reply.service, reply.call.clone());
        match self.means {
            Token => PortError::Stopped { service, call, reason: StopReason::Credential, detail },
            Forbidden => PortError::Stopped { service, call, reason: StopReason::Permission, detail },
            Refused => PortError::Rejected { service, call, code: None, detail },
            Missing(what) => PortError::NotFound { service, what: what.to_owned() },
            TooFast => reply.rate_limited(detail),
            Cut if reply.writes => PortError::OutcomeUnknown { service, call, detail },
            Cut => PortError::Unavailable { service, call, detail },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use allclear_core::{Class, Service};
    use reqwest::header::HeaderValue;

    use super::*;

    fn reply(status: u16, message: &str, writes: bool) -> Reply {
        let body = serde_json::json!({ "message": message }).to_string();
        let call = "POST /v1/projects/ref/functions/deploy";
        let kind = "application/json; charset=utf-8";
        crate::fake::reply(Service::SupabaseManagement, call, writes, status, kind, &body)
    }

    #[test]
    fn every_row_has_its_class_and_says_what_to_do() {
        let (token, rights) = (Class::Stop(StopReason::Credential), Class::Stop(StopReason::Permission));
        let later = Class::RetryAfter(None);
        // Status, message, what it is for a write, what for a read, and a word of the advice.
        let cases = [
            (400, "Resource has been removed", Class::Permanent, Class::Permanent, "was deleted"),
            (
                400,
                "PITR is not enabled for this project.",
                Class::Permanent,
                Class::Permanent,
                "daily backup",
            ),
            (401, "Unauthorized", token, token, "make one in Supabase's dashboard"),
            (402, "Function limit reached", Class::Permanent, Class::Permanent, "its bills"),
            (403, "Forbidden resource", rights, rights, "give it the scope"),
            (404, "Project not found", Class::Permanent, Class::Permanent, "supabase_project"),
            (404, "Function not found", Class::Permanent, Class::Permanent, "function of this name"),
            (429, "ThrottlerException: Too Many Requests", later, later, "who else is calling"),
            (429, "slow down", later, later, "who else is calling"),
            (500, "Failed to get backups", Class::OutcomeUnknown, later, "status.supabase.com"),
            (544, "Gateway timeout", Class::OutcomeUnknown, later, "the project's status"),
        ];
        for (status, message, write, read, advice) in cases {
            let (written, seen) =
                (classify(&reply(status, message, true)), classify(&reply(status, message, false)));
            assert_eq!((written.class(), seen.class()), (write, read), "{status} {message}");
            assert!(written.to_string().contains(advice), "{status} {message}: {written}");
        }
        let tried: Vec<_> = cases.iter().map(|case| (case.0, case.1)).collect();
        let first = |status: u16, message: &str| {
            ROWS.iter().position(|row| row.status == status && message.starts_with(row.message))
        };
        for (n, row) in ROWS.iter().enumerate() {
            let is_tried = tried.iter().any(|&(status, message)| first(status, message) == Some(n));
            assert!(is_tried, "no case tries {} `{}`", row.status, row.message);
        }
    }

    #[test]
    fn a_refused_token_and_a_missing_right_say_different_things() {
        let [refused, forbidden] = [(401, "Unauthorized"), (403, "Forbidden resource")]
            .map(|(status, message)| classify(&reply(status, message, false)).to_string());
        assert!(
            refused.contains("replace the credential") && refused.contains("expired or revoked"),
            "{refused}"
        );
        assert!(forbidden.contains("lacks the permission") && !forbidden.contains("revoked"), "{forbidden}");
    }

    #[test]
    fn the_reset_header_says_how_long_to_wait_and_other_words_are_judged_by_their_status() {
        let mut limited = reply(429, "ThrottlerException: Too Many Requests", false);
        limited.headers.insert("x-ratelimit-reset", HeaderValue::from_static("42"));
        assert_eq!(classify(&limited).class(), Class::RetryAfter(Some(Duration::from_secs(42))));
        assert_eq!(classify(&reply(404, "No such snippet", false)).class(), Class::Permanent);
        assert_eq!(classify(&reply(400, "something else", true)).class(), Class::Permanent);
        assert_eq!(classify(&reply(503, "", true)).class(), Class::OutcomeUnknown);
    }
}
