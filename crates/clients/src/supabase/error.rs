//! What PostgREST's error codes mean: its own (`PGRST…`) and the database's (SQLSTATE), where the HTTP status would mislead.
//!
//! | code | status | meaning | source |
//! |---|---|---|---|
//! | `23505` | 409 | it is there already: done | PostgREST, errors |
//! | `23503`, `23502`, `23514`, `P0001` | 409, 400 | the row breaks a rule of the table: the same request is refused again | same |
//! | `42501` | 401 or 403 | without a key 401, with one that may not 403: a GRANT is missing, or a policy of the table's forbids it | same |
//! | `42P01`, `42883`, `PGRST202`, `PGRST205` | 404 | no such table or function: a migration is missing, or it is another project | same |
//! | `40001`, `40P01`, `53*`, `55P03`, `57P03` | 500, 503 | rolled back because of others, no resources, a lock that is taken, a server that is starting: nothing was done | same, and PostgreSQL, error codes |
//! | `25006` | 405, 500 | the database takes no writes: its primary has just changed, or its disk is full; nothing was done | PostgreSQL, error codes; Supabase, read-only mode |
//! | `08*`, the other `40*`, `57*` | 503, 500 | the connection broke, or the statement was cut: a commit may have happened | same |
//! | `PGRST000` to `PGRST003` | 503, 504 | the database is not reached, or no connection is free | same |
//! | `PGRST100`, `102`, `103`, `122`, `124` | 400, 416 | the request is none, or would change more rows than allowed | same |
//! | `PGRST116` | 406 | not one row where one was asked for | same |
//! | `PGRST301` to `PGRST303` | 401 | the key is not accepted; 303: it has expired | same |
//! | none | 402, 520 to 527, 540, 544 | the gateway: the organisation is restricted, the project is not reached, paused, slow | Supabase, platform status codes; Cloudflare, 5xx errors |

use allclear_core::PortError;
use allclear_core::error::StopReason;

use crate::edge_functions::gateway;
use crate::http::Reply;

/// What a code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    /// The wanted state holds.
    Done,
    /// Nothing was done; it may work in a moment.
    Later,
    /// The same, with what else it may be.
    LaterUnless(&'static str),
    /// A read may be made again; of a write nobody knows.
    Cut,
    /// Refused, and for what reason.
    Refused(&'static str),
    /// The key: replace it.
    Key(&'static str),
    /// Not allowed with this key.
    Permission,
    /// Not one row.
    NoRow,
}

use Means::{Cut, Done, Key, Later, LaterUnless, NoRow, Permission, Refused};

const UNKNOWN_THING: &str =
    "there is no such table or function in this project; check its migrations and its URL";

/// Codes, or how they begin; the first that fits counts.
const CODES: &[(&str, Means)] = &[
    ("23505", Done),
    ("23503", Refused("it points to a row that is not there")),
    ("23502", Refused("a column that may not be empty is")),
    ("23514", Refused("a value breaks a rule of the table")),
    ("P0001", Refused("the database's own code refused it")),
    ("42501", Permission),
    ("42P01", Refused(UNKNOWN_THING)),
    ("42883", Refused(UNKNOWN_THING)),
    ("PGRST202", Refused(UNKNOWN_THING)),
    ("PGRST205", Refused(UNKNOWN_THING)),
    (
        "25006",
        LaterUnless(
            "the database takes no writes: that passes after a change of its primary, and not where its disk is full",
        ),
    ),
    ("40001", Later),
    ("40P01", Later),
    ("53", Later),
    ("55P03", Later),
    ("57P03", Later),
    ("08", Cut),
    ("40", Cut),
    ("57", Cut),
    ("PGRST000", Later),
    ("PGRST001", Later),
    ("PGRST002", Later),
    ("PGRST003", Later),
    ("PGRST100", Refused("the query is none")),
    ("PGRST102", Refused("the body is none")),
    ("PGRST103", Refused("the range lies beyond the rows")),
    ("PGRST122", Refused("a preference is not understood")),
    ("PGRST124", Refused("it would change more rows than allowed, and changed none")),
    ("PGRST116", NoRow),
    ("PGRST301", Key("the key's signature is not accepted: it is of another project, or was rotated")),
    ("PGRST302", Key("the project takes no call without a key")),
    ("PGRST303", Key("the key has expired")),
];

/// Whether the answer may come of PostgREST's picture of the schema being older than the schema: right after a migration it
/// does not know a table or a function yet (PostgREST, schema cache). Nothing was done. The answer to a HEAD has no body to
/// hold a code, so there it is any 404 that is no page.
pub(super) fn is_stale_schema(reply: &Reply) -> bool {
    let is_json = reply.header("content-type").is_some_and(|kind| kind.contains("json"));
    let says_so = match code_of(reply).as_str() {
        "" => is_json && reply.call.starts_with("HEAD "),
        code => matches!(code, "PGRST202" | "PGRST205"),
    };
    reply.status == 404 && says_so
}

fn code_of(reply: &Reply) -> String {
    reply.json().and_then(|body| body["code"].as_str().map(str::to_owned)).unwrap_or_default()
}

/// What an unsuccessful answer means.
pub(super) fn classify(reply: &Reply) -> PortError {
    let code = reply.clean(&code_of(reply));
    let found = CODES.iter().find(|(known, _)| code.starts_with(known)).filter(|_| !code.is_empty());
    match found {
        Some((_, means)) => means.error(reply, &code),
        // The answer to a HEAD has no body to hold a code.
        None if reply.status == 403 && reply.call.starts_with("HEAD ") => Permission.error(reply, "42501"),
        // No code of the database's: the gateway before it, which knows statuses of its own, or a page.
        None => gateway::of_status(reply).unwrap_or_else(|| reply.failure()),
    }
}

impl Means {
    fn error(self, reply: &Reply, code: &str) -> PortError {
        let (service, call, detail) = (reply.service, reply.call.clone(), format!("code {code}"));
        match self {
            Done => PortError::AlreadyDone { service, call, detail },
            Cut if reply.writes => PortError::OutcomeUnknown { service, call, detail },
            Later | Cut => PortError::Unavailable { service, call, detail },
            LaterUnless(why) => PortError::Unavailable { service, call, detail: format!("{detail}: {why}") },
            Refused(why) => reply.rejected(code, why),
            Key(why) => {
                let detail = format!("{detail}: {why}");
                PortError::Stopped { service, call, reason: StopReason::Credential, detail }
            }
            // Without a key it is the key that is missing.
            Permission if reply.status == 401 => {
                PortError::Stopped { service, call, reason: StopReason::Credential, detail }
            }
            Permission => {
                let detail = format!("{detail}: {}", missing_right(reply));
                PortError::Stopped { service, call, reason: StopReason::Permission, detail }
            }
            NoRow => PortError::NotFound { service, what: format!("single row for {call}") },
        }
    }
}

/// Which right is missing, as the statement that gives it. The database names the thing, the call tells what was to be done
/// to it; whose right it is depends on the key, which for this client is the servers' own.
fn missing_right(reply: &Reply) -> String {
    let body = reply.json().unwrap_or_default();
    let said = reply.clean(body["message"].as_str().unwrap_or_default());
    if said.contains("row-level security") {
        return format!(
            "{said}; the role service_role passes by such policies, so look at which key is configured"
        );
    }
    let (method, path) = reply.call.split_once(' ').unwrap_or_default();
    let called = path.rsplit('/').next().unwrap_or_default().split('?').next().unwrap_or_default();
    let denied = said.strip_prefix("permission denied for ").and_then(|rest| rest.split_once(' '));
    let (kind, name) = denied.unwrap_or(("table", called));
    let right = match (kind, method) {
        ("schema", _) => format!("USAGE ON SCHEMA {name}"),
        ("sequence", _) => format!("USAGE ON SEQUENCE {name}"),
        ("function", _) => format!("EXECUTE ON FUNCTION {name}"),
        // What is changed is found by a filter and given back, so it is read as well.
        (_, "PATCH") => format!("SELECT, UPDATE ON public.{name}"),
        (_, "DELETE") => format!("SELECT, DELETE ON public.{name}"),
        (_, "POST") => format!("SELECT, INSERT ON public.{name}"),
        _ => format!("SELECT ON public.{name}"),
    };
    format!("a right is missing; give it with `GRANT {right} TO service_role;`")
}

#[cfg(test)]
mod tests {
    use allclear_core::{Class, Service};

    use super::*;

    fn reply(status: u16, code: &str, writes: bool) -> Reply {
        let body = format!(r#"{{"code":"{code}","message":"m","details":null,"hint":null}}"#);
        let call = "PATCH /rest/v1/vouchers";
        crate::fake::reply(Service::Supabase, call, writes, status, "application/json", &body)
    }

    #[test]
    fn the_code_decides_and_not_the_status() {
        let (later, key) = (Class::RetryAfter(None), Class::Stop(StopReason::Credential));
        let cases = [
            ("23505", 409, Class::AlreadyDone),
            ("23503", 409, Class::Permanent),
            ("23502", 400, Class::Permanent),
            ("23514", 400, Class::Permanent),
            ("P0001", 400, Class::Permanent),
            ("42501", 401, key),
            ("42501", 403, Class::Stop(StopReason::Permission)),
            ("42P01", 404, Class::Permanent),
            ("42883", 404, Class::Permanent),
            ("08006", 503, Class::OutcomeUnknown),
            ("08007", 503, Class::OutcomeUnknown),
            ("40003", 500, Class::OutcomeUnknown),
            ("53300", 503, later),
            ("40001", 500, later),
            ("40P01", 500, later),
            ("57014", 500, Class::OutcomeUnknown),
            ("57P01", 500, Class::OutcomeUnknown),
            ("57P02", 500, Class::OutcomeUnknown),
            ("57P03", 503, later),
            ("55P03", 500, later),
            ("53100", 500, later),
            ("53200", 503, later),
            ("25006", 405, later),
            ("PGRST000", 503, later),
            ("PGRST001", 503, later),
            ("PGRST002", 503, later),
            ("PGRST003", 504, later),
            ("PGRST100", 400, Class::Permanent),
            ("PGRST102", 400, Class::Permanent),
            ("PGRST103", 416, Class::Permanent),
            ("PGRST116", 406, Class::Permanent),
            ("PGRST122", 400, Class::Permanent),
            ("PGRST124", 400, Class::Permanent),
            ("PGRST202", 404, Class::Permanent),
            ("PGRST205", 404, Class::Permanent),
            ("PGRST301", 401, key),
            ("PGRST302", 401, key),
            ("PGRST303", 401, key),
            // No code of ours: the status has the word, and a write may have happened.
            ("XX000", 500, Class::OutcomeUnknown),
            ("", 500, Class::OutcomeUnknown),
            // The gateway before it.
            ("", 402, Class::Stop(StopReason::Permission)),
            ("", 540, Class::Stop(StopReason::Permission)),
            ("", 520, Class::OutcomeUnknown),
            ("", 521, later),
            ("", 522, later),
            ("", 523, later),
            ("", 524, Class::OutcomeUnknown),
            ("", 525, later),
            ("", 526, later),
            ("", 527, Class::OutcomeUnknown),
            ("", 544, Class::OutcomeUnknown),
        ];
        for (code, status, class) in cases {
            assert_eq!(classify(&reply(status, code, true)).class(), class, "{code} {status}");
        }
        let tried: Vec<&str> = cases.iter().map(|case| case.0).collect();
        for (known, _) in CODES {
            assert!(tried.iter().any(|code| code.starts_with(known)), "no case tries {known}");
        }
    }

    /// What a read meets that may work in a moment: a run and a plan try it again.
    #[test]
    fn b8_what_passes_is_told_from_what_does_not_for_reads() {
        let page = "<html>Web server is returning an unknown error</html>";
        for status in 520..=527 {
            let call = "GET /rest/v1/campaigns";
            let reply = crate::fake::reply(Service::Supabase, call, false, status, "text/html", page);
            assert_eq!(classify(&reply).class(), Class::RetryAfter(None), "{status}");
        }
        let passing = [
            "57014", "57P01", "57P02", "57P03", "PGRST000", "PGRST001", "PGRST002", "PGRST003", "53300",
            "40001", "40P01", "08006", "08000", "25006", "55P03",
        ];
        for code in passing {
            assert_eq!(classify(&reply(500, code, false)).class(), Class::RetryAfter(None), "{code}");
        }
        for code in ["42P01", "42883", "23514", "PGRST100", "PGRST205", "22P02"] {
            assert_eq!(classify(&reply(400, code, false)).class(), Class::Permanent, "{code}");
        }
        assert_eq!(classify(&reply(403, "42501", false)).class(), Class::Stop(StopReason::Permission));
    }

    #[test]
    fn b2_b8_a_missing_right_names_the_grant_that_gives_it() {
        let cases = [
            (
                "PATCH /rest/v1/vouchers",
                "permission denied for table vouchers",
                "SELECT, UPDATE ON public.vouchers",
            ),
            (
                "POST /rest/v1/vouchers",
                "permission denied for table vouchers",
                "SELECT, INSERT ON public.vouchers",
            ),
            (
                "GET /rest/v1/send_queue",
                "permission denied for table send_queue",
                "SELECT ON public.send_queue",
            ),
            ("GET /rest/v1/totals", "permission denied for view totals", "SELECT ON public.totals"),
            ("HEAD /rest/v1/send_logs", "", "SELECT ON public.send_logs"),
            ("GET /rest/v1/settings", "permission denied for schema public", "USAGE ON SCHEMA public"),
            ("POST /rest/v1/vouchers", "permission denied for sequence v_seq", "USAGE ON SEQUENCE v_seq"),
            ("PATCH /rest/v1/vouchers", "permission denied for function worth", "EXECUTE ON FUNCTION worth"),
        ];
        for (call, message, grant) in cases {
            let body = format!(r#"{{"code":"42501","message":"{message}","details":null,"hint":null}}"#);
            let body = if message.is_empty() { "" } else { &body };
            let writes = !call.starts_with("GET") && !call.starts_with("HEAD");
            let reply = crate::fake::reply(Service::Supabase, call, writes, 403, "application/json", body);
            let error = classify(&reply);
            assert_eq!(error.class(), Class::Stop(StopReason::Permission), "{call}");
            let says = error.to_string();
            assert!(says.contains(&format!("`GRANT {grant} TO service_role;`")), "{says}");
        }
        let policy = r#"{"code":"42501","message":"new row violates row-level security policy for table \"vouchers\""}"#;
        let call = "POST /rest/v1/vouchers";
        let reply = crate::fake::reply(Service::Supabase, call, true, 403, "application/json", policy);
        let says = classify(&reply).to_string();
        assert!(says.contains("row-level security policy") && !says.contains("GRANT"), "{says}");
    }

    #[test]
    fn a_read_that_was_cut_may_be_made_again_and_an_expired_key_is_named() {
        assert_eq!(classify(&reply(500, "57014", false)).class(), Class::RetryAfter(None));
        assert!(classify(&reply(401, "PGRST303", false)).to_string().contains("the key has expired"));
    }
}
