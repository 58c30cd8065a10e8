//! Supabase's Management API: its description, and replies of the real one.

use std::path::Path;

use allclear_core::Platform;
use allclear_core::function::Bundle;
use jiff::Timestamp;

use crate::front::{Front, Then, answer};
use crate::meaning::{self, Meaning};
use crate::prism::Prism;
use crate::{Check, platform, specs};

pub(crate) const FUNCTION: &str = "/v1/projects/{ref}/functions/{function_slug}";
pub(crate) const DEPLOY: &str = "/v1/projects/{ref}/functions/deploy";
pub(crate) const LOGS: &str = "/v1/projects/{ref}/analytics/endpoints/logs";
pub(crate) const OLDER_LOGS: &str = "/v1/projects/{ref}/analytics/endpoints/logs.all";

pub(crate) fn bundle() -> Bundle {
    let files = vec![("index.ts".to_owned(), b"Deno.serve(() => new Response());".to_vec())];
    Bundle { entrypoint: "index.ts".to_owned(), files, sha256: "0".repeat(64) }
}

async fn find(platform: &Platform) -> Meaning {
    meaning::of(&platform.functions.find("voucher-preview").await)
}

async fn deploy(platform: &Platform) -> Meaning {
    meaning::of(&platform.functions.deploy("voucher-preview", &bundle()).await)
}

async fn calls(platform: &Platform) -> Meaning {
    meaning::of(&platform.functions.calls_since("voucher-preview", Timestamp::UNIX_EPOCH).await)
}

/// All calls in all answers that the contract knows.
pub(crate) async fn calls_are_legal_and_every_answer_has_a_meaning(folder: &Path) -> Check {
    let paths = [FUNCTION, DEPLOY, LOGS, OLDER_LOGS].map(|path| (path, path));
    let mut spec = specs::excerpt(&specs::read(&folder.join("supabase-management.fixed.json")), &paths);
    // A sample of an int64 is the least one there is, and that many milliseconds are no time.
    for schema in ["FunctionSlugResponse", "DeployFunctionResponse"] {
        let updated_at = &mut spec["components"]["schemas"][schema]["properties"]["updated_at"];
        if !updated_at.is_object() {
            return Err(format!("{schema} has no updated_at any more"));
        }
        updated_at["example"] = 1_700_000_000_000_i64.into();
    }
    let prism = Prism::serve("supabase-management", &spec)?;
    let to = |wanting| Then::Forward { to: prism.base.clone(), wanting };
    let front = Front::start(to(None)).await;
    let platform = platform(|endpoints| endpoints.supabase_management.clone_from(&front.base));
    for (what, meant) in [("find", find(&platform).await), ("deploy", deploy(&platform).await)] {
        if meant != Meaning::Done {
            return Err(format!("{what} came to {meant:?}; the contract server says:\n{}", prism.said()));
        }
    }
    // The description leaves open what rows of a log are, so its sample says nothing; the request must be legal.
    calls(&platform).await;
    let broken: Vec<String> =
        prism.said().lines().filter(|line| line.contains("iolation: request")).map(str::to_owned).collect();
    if !broken.is_empty() {
        return Err(broken.join("\n"));
    }
    check_that_it_bites(&prism)?;
    let mut wrong = Vec::new();
    for status in specs::statuses(&spec, FUNCTION, "get").into_iter().chain([404, 503]) {
        if status < 400 {
            continue;
        }
        front.now(of_status(&to, &spec, FUNCTION, "get", status));
        for (what, meant) in [("find", find(&platform).await), ("calls_since", calls(&platform).await)] {
            expect(&mut wrong, &format!("{what}, {status}"), meant, meaning::of_status(status, false));
        }
        front.now(of_status(&to, &spec, DEPLOY, "post", status));
        let meant = deploy(&platform).await;
        expect(&mut wrong, &format!("deploy, {status}"), meant, meaning::of_status(status, true));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// The contract server's own answer where it knows the status; else what the vendor's errors look like.
fn of_status(
    to: &impl Fn(Option<u16>) -> Then,
    spec: &serde_json::Value,
    path: &str,
    method: &str,
    status: u16,
) -> Then {
    // The log's endpoints know fewer statuses than the others.
    let known = [(path, method), (LOGS, "get"), (OLDER_LOGS, "get")];
    if known.iter().all(|(path, method)| specs::statuses(spec, path, method).contains(&status)) {
        return to(Some(status));
    }
    let json = [("content-type".to_owned(), "application/json; charset=utf-8".to_owned())];
    Then::Answer(answer(status, &json, r#"{"message":"something else"}"#))
}

fn check_that_it_bites(prism: &Prism) -> Check {
    let token = "authorization: Bearer x\r\n";
    let wrong = [
        ("a project that is none", prism.raw("GET", "/v1/projects/Wrong/functions/x", token, "")),
        (
            "a slug that is none",
            prism.raw("GET", "/v1/projects/abcdefghijklmnopqrst/functions/%20", token, ""),
        ),
        ("no token", prism.raw("GET", "/v1/projects/abcdefghijklmnopqrst/functions/x", "", "")),
    ];
    for (what, status) in wrong {
        if status < 400 {
            return Err(format!("the contract server allows {what}: {status}"));
        }
    }
    Ok(())
}

/// Every reply that was recorded of the real thing, to a read and to a write of ours. None of them was recorded for just
/// these calls, so a success is one of something else, and must not be taken for ours.
pub(crate) async fn every_recorded_reply_has_a_meaning(folder: &Path) -> Check {
    let replies = recorded(&folder.join("supabase-recorded"))?;
    if replies.len() < 300 {
        return Err(format!("only {} recorded replies were found", replies.len()));
    }
    let front = Front::start(Then::Answer(String::new())).await;
    let platform = platform(|endpoints| endpoints.supabase_management.clone_from(&front.base));
    let mut wrong = Vec::new();
    for (name, status, headers, body) in &replies {
        front.now(Then::Answer(answer(*status, headers, body)));
        let json = headers.iter().any(|(name, value)| name == "content-type" && value.contains("json"));
        let (read, write) = match status {
            200..=299 if serde_json::from_str::<serde_json::Value>(body).is_err() || !json => {
                (Meaning::Unavailable, Meaning::Unknown)
            }
            200..=299 => (Meaning::Malformed, Meaning::Unknown),
            404 if !json => (Meaning::Rejected, Meaning::Rejected),
            status => (meaning::of_status(*status, false), meaning::of_status(*status, true)),
        };
        expect(&mut wrong, &format!("{name} ({status}) to a read"), find(&platform).await, read);
        expect(&mut wrong, &format!("{name} ({status}) to a write"), deploy(&platform).await, write);
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Name, status, headers and body.
pub(crate) type Recorded = (String, u16, Vec<(String, String)>, String);

fn recorded(folder: &Path) -> Result<Vec<Recorded>, String> {
    let mut replies = Vec::new();
    for kind in ["recorded", "scenarios"] {
        for case in std::fs::read_dir(folder.join(kind)).map_err(|error| error.to_string())? {
            let case = case.map_err(|error| error.to_string())?.path();
            if !case.is_dir() {
                continue;
            }
            for file in std::fs::read_dir(case).map_err(|error| error.to_string())? {
                let path = file.map_err(|error| error.to_string())?.path();
                let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
                if path.extension().is_none_or(|extension| extension != "json") {
                    continue;
                }
                let content = specs::read(&path);
                if name.ends_with("response.json") {
                    replies.extend(reply(&name, &content));
                }
                for one in content.as_array().into_iter().flatten() {
                    replies.extend(reply(&name, &one["response"]));
                }
            }
        }
    }
    Ok(replies)
}

/// The recorded replies to reads of a project and of its backups, each with the path that was asked.
pub(crate) fn recorded_reads(folder: &Path) -> Result<Vec<(String, Recorded)>, String> {
    let mut found = Vec::new();
    for case in std::fs::read_dir(folder.join("scenarios")).map_err(|error| error.to_string())? {
        let path = case.map_err(|error| error.to_string())?.path().join("interactions.json");
        if !path.is_file() {
            continue;
        }
        let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        for one in specs::read(&path).as_array().into_iter().flatten() {
            let asked = one["request"]["path"].as_str().unwrap_or_default();
            let is_ours = matches!(
                asked,
                "/v1/projects/__PROJECT_REF__" | "/v1/projects/__PROJECT_REF__/database/backups"
            );
            if is_ours && one["request"]["method"] == "GET" {
                found.extend(reply(&name, &one["response"]).map(|reply| (asked.to_owned(), reply)));
            }
        }
    }
    Ok(found)
}

fn reply(name: &str, content: &serde_json::Value) -> Option<Recorded> {
    let status = u16::try_from(content["status"].as_u64()?).ok()?;
    let headers = content["headers"].as_object()?.iter();
    let headers = headers.filter_map(|(name, value)| Some((name.to_lowercase(), value.as_str()?.to_owned())));
    let body = if content["body"].is_null() { String::new() } else { content["body"].to_string() };
    let kept = headers.filter(|(name, _)| !matches!(name.as_str(), "content-length" | "transfer-encoding"));
    Some((name.to_owned(), status, kept.collect(), body))
}

fn expect(wrong: &mut Vec<String>, what: &str, meant: Meaning, expected: Meaning) {
    if meant != expected {
        wrong.push(format!("{what}: {meant:?}, and it should be {expected:?}"));
    }
}
