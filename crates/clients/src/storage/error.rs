//! What Storage's errors mean. The HTTP status is 400 for nearly all of them, so the body decides: first its `code` (or, from a
//! server before codes, its `error`), then its `statusCode`. The resumable endpoint says it in plain text with the true status.
//!
//! | code | true status | meaning | source |
//! |---|---|---|---|
//! | `NoSuchBucket`, `NoSuchKey`, `NoSuchUpload`, `not_found` | 404 | it is not there | Storage, error codes |
//! | `KeyAlreadyExists`, `BucketAlreadyExists`, `ResourceAlreadyExists`, `Duplicate` | 409 | it is there already, and was left as it is | same |
//! | `InvalidJWT`, `ExpiredToken`, `SignatureDoesNotMatch` | 400, 403 | the key: of another project, or out of date | same |
//! | `AccessDenied`, `Unauthorized` | 403 | the key may not do this: a policy of the table | same |
//! | `EntityTooLarge`, `InvalidMimeType`, `InvalidKey`, `InvalidRange` | 413, 415, 400, 416 | refused; the same request is refused again | same |
//! | `InvalidChecksum` | 400 | it arrived damaged and was not taken | same |
//! | `ResourceLocked` | 423 | somebody uploads just this; nothing was done | same |
//! | `SlowDown`, `LockTimeout`, `DatabaseReadOnly` | 503 | nothing was done; later | same |
//! | `DatabaseTimeout`, `InternalError`, `S3Error` | 544, 500 | a write may have happened | same |

use allclear_core::PortError;
use allclear_core::error::StopReason;

use crate::http::Reply;

/// What an error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    /// It is not there.
    Absent,
    /// It is there already.
    There,
    /// Nothing was done; it may work in a moment.
    Later,
    /// A read may be made again; of a write nobody knows.
    Cut,
    /// A limit: wait.
    Limited,
    /// Refused, and for what reason.
    Refused(&'static str),
    /// The key: replace it.
    Key(&'static str),
    /// Not allowed with this key.
    Permission,
}

use Means::{Absent, Cut, Key, Later, Limited, Permission, Refused, There};

const OLD_KEY: &str = "the key has expired";
const OTHER_KEY: &str = "the key is of another project, or was rotated";
const TOO_LARGE: &str = "the file is larger than the bucket or the project allows";
const BAD_TYPE: &str = "the bucket does not take files of this type";

/// By `code`, or by `error` where there is no code.
const CODES: &[(&str, Means)] = &[
    ("NoSuchBucket", Absent),
    ("NoSuchKey", Absent),
    ("NoSuchUpload", Absent),
    ("not_found", Absent),
    ("KeyAlreadyExists", There),
    ("BucketAlreadyExists", There),
    ("ResourceAlreadyExists", There),
    ("Duplicate", There),
    ("InvalidJWT", Key(OTHER_KEY)),
    ("SignatureDoesNotMatch", Key(OTHER_KEY)),
    ("ExpiredToken", Key(OLD_KEY)),
    ("AccessDenied", Permission),
    ("Unauthorized", Permission),
    ("EntityTooLarge", Refused(TOO_LARGE)),
    ("InvalidMimeType", Refused(BAD_TYPE)),
    ("InvalidKey", Refused("the file's name holds characters that Storage does not take")),
    ("InvalidRange", Refused("the range lies beyond the file")),
    ("InvalidChecksum", Later),
    ("ResourceLocked", Later),
    ("SlowDown", Later),
    ("LockTimeout", Later),
    ("DatabaseReadOnly", Later),
    ("DatabaseTimeout", Cut),
    ("InternalError", Cut),
    ("S3Error", Cut),
];

/// By the body's `statusCode`, or by the status of a plain text.
const STATUSES: &[(u16, Means)] = &[
    (401, Key(OTHER_KEY)),
    (403, Permission),
    (404, Absent),
    (410, Absent),
    (409, Refused("something else is there, or the offset is another one")),
    (413, Refused(TOO_LARGE)),
    (415, Refused(BAD_TYPE)),
    (423, Later),
    (429, Limited),
    (500, Cut),
    (503, Later),
    (544, Cut),
];

/// What an unsuccessful answer means.
pub(super) fn classify(reply: &Reply) -> PortError {
    let Some(body) = reply.json() else { return of_text(reply) };
    let word = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
    let (code, error, message) = (word("code"), word("error"), word("message"));
    // A string as a rule, a number where the framework itself answers.
    let status = body["statusCode"].as_u64().map_or_else(|| word("statusCode"), |status| status.to_string());
    let by_word = [&code, &error].into_iter().find_map(|word| by_code(word));
    // Before codes a bad key was told in words only.
    let by_word = by_word.or_else(|| (message == "jwt expired").then_some(Key(OLD_KEY)));
    let means = by_word.or_else(|| by_status(status.parse().ok()?));
    let said = [status, if code.is_empty() { error } else { code }, message].join(" ");
    match means {
        Some(means) => means.error(reply, &reply.clean(said.trim())),
        None => reply.failure(),
    }
}

/// An error of the resumable endpoint. A page is nobody's error but the gateway's.
fn of_text(reply: &Reply) -> PortError {
    if reply.header("content-type").is_some_and(|kind| kind.contains("html")) {
        return reply.failure();
    }
    let text = String::from_utf8_lossy(&reply.body);
    let means = if reply.status == 409 && text.contains("already exists") {
        Some(There)
    } else {
        by_status(reply.status)
    };
    let said = format!("HTTP {} {}", reply.status, text.trim());
    means.map_or_else(|| reply.failure(), |means| means.error(reply, &reply.clean(said.trim())))
}

fn by_code(word: &str) -> Option<Means> {
    CODES.iter().find(|(known, _)| *known == word).map(|(_, means)| *means)
}

fn by_status(status: u16) -> Option<Means> {
    STATUSES.iter().find(|(known, _)| *known == status).map(|(_, means)| *means)
}

impl Means {
    fn error(self, reply: &Reply, said: &str) -> PortError {
        let (service, call, detail) = (reply.service, reply.call.clone(), said.to_owned());
        match self {
            Absent => PortError::NotFound { service, what: format!("{call}: {detail}") },
            There => PortError::AlreadyDone { service, call, detail },
            Cut if reply.writes => PortError::OutcomeUnknown { service, call, detail },
            Later | Cut => PortError::Unavailable { service, call, detail },
            Limited => reply.rate_limited(detail),
            Refused(why) => reply.rejected(said, why),
            Key(why) => {
                let detail = format!("{detail}: {why}");
                PortError::Stopped { service, call, reason: StopReason::Credential, detail }
            }
            Permission => PortError::Stopped { service, call, reason: StopReason::Permission, detail },
        }
    }
}

#[cfg(test)]
mod tests {
    use allclear_core::{Class, Service};

    use super::*;

    fn reply(status: u16, kind: &str, body: &str) -> Reply {
        crate::fake::reply(Service::Storage, "POST /upload/resumable", true, status, kind, body)
    }

    fn json(status: u16, body: &str) -> Reply {
        reply(status, "application/json; charset=utf-8", body)
    }

    const LATER: Class = Class::RetryAfter(None);
    const KEY: Class = Class::Stop(StopReason::Credential);
    const MAY: Class = Class::Stop(StopReason::Permission);

    #[test]
    fn the_code_decides_whatever_the_status_says() {
        let cases = [
            ("NoSuchBucket", "404", Class::Permanent),
            ("NoSuchKey", "404", Class::Permanent),
            ("NoSuchUpload", "404", Class::Permanent),
            ("not_found", "404", Class::Permanent),
            ("KeyAlreadyExists", "409", Class::AlreadyDone),
            ("BucketAlreadyExists", "409", Class::AlreadyDone),
            ("ResourceAlreadyExists", "409", Class::AlreadyDone),
            ("Duplicate", "409", Class::AlreadyDone),
            ("InvalidJWT", "400", KEY),
            ("SignatureDoesNotMatch", "403", KEY),
            ("ExpiredToken", "400", KEY),
            ("AccessDenied", "403", MAY),
            ("Unauthorized", "403", MAY),
            ("EntityTooLarge", "413", Class::Permanent),
            ("InvalidMimeType", "415", Class::Permanent),
            ("InvalidKey", "400", Class::Permanent),
            ("InvalidRange", "416", Class::Permanent),
            ("InvalidChecksum", "400", LATER),
            ("ResourceLocked", "423", LATER),
            ("SlowDown", "503", LATER),
            ("LockTimeout", "503", LATER),
            ("DatabaseReadOnly", "503", LATER),
            ("DatabaseTimeout", "544", Class::OutcomeUnknown),
            ("InternalError", "500", Class::OutcomeUnknown),
            ("S3Error", "500", Class::OutcomeUnknown),
        ];
        for (code, status, class) in cases {
            let with_code =
                format!(r#"{{"statusCode":"{status}","error":"e","message":"m","code":"{code}"}}"#);
            let before_codes = format!(r#"{{"statusCode":"{status}","error":"{code}","message":"m"}}"#);
            for body in [with_code, before_codes] {
                // 400 for everything, as most servers do, and the true one, as the newest do.
                for http in [400, status.parse().unwrap()] {
                    assert_eq!(classify(&json(http, &body)).class(), class, "{http} {body}");
                }
            }
        }
        assert_eq!(cases.map(|case| case.0).to_vec(), CODES.iter().map(|row| row.0).collect::<Vec<_>>());
    }

    #[test]
    fn an_unknown_code_leaves_the_word_to_the_status_in_the_body() {
        let cases = [
            (401, KEY),
            (403, MAY),
            (404, Class::Permanent),
            (410, Class::Permanent),
            (409, Class::Permanent),
            (413, Class::Permanent),
            (415, Class::Permanent),
            (423, LATER),
            (429, LATER),
            (500, Class::OutcomeUnknown),
            (503, LATER),
            (544, Class::OutcomeUnknown),
        ];
        for (status, class) in cases {
            let text = format!(r#"{{"statusCode":"{status}","error":"New","message":"m","code":"New"}}"#);
            let number = format!(r#"{{"statusCode":{status},"error":"New","message":"m"}}"#);
            for body in [text, number] {
                assert_eq!(classify(&json(400, &body)).class(), class, "{body}");
            }
            // The resumable endpoint.
            let plain = reply(status, "text/plain", "no");
            assert_eq!(classify(&plain).class(), class, "{status} in plain text");
        }
        assert_eq!(cases.map(|case| case.0).to_vec(), STATUSES.iter().map(|row| row.0).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_not_there_is_told_from_what_may_not_be_seen_and_from_what_is_there_already() {
        let absent = r#"{"statusCode":"404","error":"not_found","message":"Object not found"}"#;
        assert!(matches!(classify(&json(400, absent)), PortError::NotFound { .. }));
        let expired = r#"{"statusCode":"400","error":"Error","message":"jwt expired"}"#;
        assert_eq!(classify(&json(400, expired)).class(), KEY);
        let there = reply(409, "text/plain", "The resource already exists");
        assert_eq!(classify(&there).class(), Class::AlreadyDone);
        let page = reply(404, "text/html", "<h1>404</h1>");
        assert!(classify(&page).to_string().contains("not deployed here"));
    }

    #[test]
    fn a_body_of_no_known_kind_leaves_the_word_to_the_http_status() {
        assert_eq!(classify(&json(503, r#"{"message":"no"}"#)).class(), Class::OutcomeUnknown);
        assert_eq!(classify(&json(400, "[]")).class(), Class::Permanent);
    }
}
