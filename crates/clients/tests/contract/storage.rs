//! Supabase's Storage: its description, replies of the real one, and the sandbox before the description.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use allclear_clients::storage::{BucketLists, EvidenceBucket, StorageAccess};
use allclear_core::ports::{EvidenceShelf as _, StoredObjects as _};
use allclear_core::{Clock, VirtualClock};
use allclear_sandbox::StorageServer;
use serde_json::{Value, json};

use crate::front::{Front, Then, answer};
use crate::meaning::{self, Meaning};
use crate::prism::Prism;
use crate::{Check, specs};

const BUCKET: &str = "/bucket/{bucketId}";
const LIST_V2: &str = "/object/list-v2/{bucketName}";
const LIST: &str = "/object/list/{bucketName}";
const DOWNLOAD: &str = "/object/authenticated/{bucketName}/{wildcard}";
const DOWNLOAD_OF_OURS: &str = "/object/authenticated/{bucketName}/{folder}/{wildcard}";
const SIGN: &str = "/object/sign/{bucketName}/{wildcard}";

/// The calls of ours. The description knows object names of one segment only, and ours have the run's folder before them:
/// a path of two segments is the same operation.
fn spec(folder: &Path) -> Value {
    let mut spec = specs::excerpt(
        &specs::read(&folder.join("supabase-storage.fixed.json")),
        &[
            (BUCKET, BUCKET),
            (LIST_V2, LIST_V2),
            (LIST, LIST),
            (DOWNLOAD, DOWNLOAD_OF_OURS),
            (SIGN, "/object/sign/{bucketName}/{folder}/{wildcard}"),
        ],
    );
    let paths = spec["paths"].as_object_mut().expect("there are paths");
    for (path, operations) in paths.iter_mut().filter(|(path, _)| path.contains("{folder}")) {
        for (_, operation) in operations.as_object_mut().into_iter().flatten() {
            let named =
                json!({ "name": "folder", "in": "path", "required": true, "schema": { "type": "string" } });
            operation["parameters"]
                .as_array_mut()
                .unwrap_or_else(|| panic!("{path}: no parameters"))
                .push(named);
        }
    }
    spec
}

fn access(endpoint: &str) -> StorageAccess {
    StorageAccess { endpoint: endpoint.to_owned(), key: allclear_sandbox::SERVICE_KEY.into() }
}

fn clients(endpoint: &str) -> (BucketLists, EvidenceBucket) {
    let folder = env!("CARGO_TARGET_TMPDIR").into();
    let mut settings = allclear_clients::sandbox::settings(crate::NOBODY, folder).expect("valid settings");
    settings.timeout = Duration::from_secs(30);
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::at(jiff::Timestamp::UNIX_EPOCH));
    let lists = BucketLists::connect(&settings, &access(endpoint), &clock).expect("a valid endpoint");
    let evidence = EvidenceBucket::connect(&settings, &access(endpoint), "exercises", "run", &clock);
    (lists, evidence.expect("a valid endpoint"))
}

/// Requests and answers both go through a server that refuses what breaks the description. Of resumable uploads the
/// description says no more than that there are some, so they are not tried here.
pub(crate) async fn the_sandbox_keeps_the_contract(folder: &Path) -> Check {
    let buckets = tempfile::tempdir().map_err(|error| error.to_string())?;
    let server = StorageServer::start(buckets.path(), 0).await.map_err(|error| error.to_string())?;
    for bucket in ["vouchers", "exercises/run"] {
        server.make_bucket(bucket).map_err(|error| error.to_string())?;
    }
    for file in ["vouchers/1.png", "exercises/run/backup.log"] {
        std::fs::write(buckets.path().join(file), b"content").map_err(|error| error.to_string())?;
    }
    let mut spec = spec(folder);
    // The description leaves out what the success of these two is, and would refuse every one.
    for (path, method) in [(LIST_V2, "post"), (DOWNLOAD_OF_OURS, "get")] {
        spec["paths"][path][method]["responses"]["200"] = json!({ "description": "a success" });
    }
    let prism = Prism::before("storage-sandbox", &spec, &server.base_url())?;
    let (lists, evidence) = clients(&prism.base);
    let said = |error: allclear_core::PortError| format!("{error}\n{}", prism.said());
    let listed = lists.of_bucket("vouchers").await.map_err(said)?;
    if listed.len() != 1 {
        return Err(format!("{listed:?}"));
    }
    // By itself: that a route is missing is nothing that a description knows.
    let key = &format!("authorization: Bearer {}\r\n", allclear_sandbox::SERVICE_KEY);
    let page = r#"{"prefix":"","limit":1000,"offset":0,"sortBy":{"column":"name","order":"asc"}}"#;
    let status = prism.raw("POST", "/object/list/vouchers", key, page);
    if status != 200 {
        return Err(format!("a list of the first version is answered {status}:\n{}", prism.said()));
    }
    evidence.find("backup.log").await.map_err(said)?.ok_or("the file is not there")?;
    evidence.link("backup.log", Duration::from_mins(1)).await.map_err(said)?;
    let broken: Vec<String> =
        prism.said().lines().filter(|line| line.contains("iolation:")).map(str::to_owned).collect();
    if !broken.is_empty() {
        return Err(broken.join("\n"));
    }
    for (what, path, body) in [
        ("a list without a prefix", "/object/list/vouchers", r#"{"limit":5}"#),
        ("a page of none", "/object/list-v2/vouchers", r#"{"limit":0}"#),
        ("a link without an end", "/object/sign/exercises/run/backup.log", "{}"),
    ] {
        let status = prism.raw("POST", path, key, body);
        if status < 400 {
            return Err(format!("the contract server allows {what}: {status}"));
        }
    }
    Ok(())
}

/// What was recorded of the real one, to the calls of ours that it was recorded for; and each of those replies to another call.
pub(crate) async fn every_recorded_reply_has_a_meaning(folder: &Path) -> Check {
    let replies = recorded(&folder.join("supabase-recorded"))?;
    let lists = replies.iter().filter(|one| one.path.starts_with("/storage/v1/object/list/")).count();
    if replies.len() < 10 || lists == 0 {
        return Err(format!("only {} recorded replies were found, {lists} of lists", replies.len()));
    }
    let json = [("content-type".to_owned(), "application/json".to_owned())];
    let mut wrong = Vec::new();
    for one in &replies {
        let reply = answer(one.status, &one.headers, &one.body);
        let is_list = one.path.starts_with("/storage/v1/object/list/");
        // A server of the recording's time: the bucket is there, the second list is not.
        let front = Front::start(Then::Routes(vec![
            ("/bucket/", answer(200, &json, r#"{"id":"cli-e2e-bucket","name":"cli-e2e-bucket"}"#)),
            (
                "/object/list-v2/",
                answer(404, &json, r#"{"message":"Route POST:/object/list-v2/x not found","error":"Not Found","statusCode":404}"#),
            ),
            ("", reply),
        ]))
        .await;
        let (lists, evidence) = clients(&front.base);
        let listed = meaning::of(&lists.of_bucket("cli-e2e-bucket").await);
        // Only another list of rows reads as one; those of deleted objects and of buckets are such rows too.
        let rows = one.body.starts_with('[');
        if is_list && listed != Meaning::Done
            || !rows && !matches!(listed, Meaning::Malformed | Meaning::Unavailable)
        {
            wrong.push(format!("{} {} as a list: {listed:?}", one.path, one.status));
        }
        let kept = meaning::of(&evidence.keep("x", b"x").await);
        if kept != Meaning::Unknown {
            wrong.push(format!("{} {} as the beginning of an upload: {kept:?}", one.path, one.status));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// One reply of Storage, all of which were successes.
struct Recorded {
    path: String,
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

fn recorded(folder: &Path) -> Result<Vec<Recorded>, String> {
    let mut replies = Vec::new();
    let cases = std::fs::read_dir(folder.join("scenarios")).map_err(|error| error.to_string())?;
    for case in cases {
        let file = case.map_err(|error| error.to_string())?.path().join("interactions.json");
        if !file.is_file() {
            continue;
        }
        for one in specs::read(&file).as_array().into_iter().flatten() {
            let path = one["request"]["path"].as_str().unwrap_or_default().to_owned();
            if !path.starts_with("/storage/v1/") {
                continue;
            }
            let reply = &one["response"];
            let status =
                reply["status"].as_u64().and_then(|status| status.try_into().ok()).ok_or("no status")?;
            let headers = reply["headers"].as_object().into_iter().flatten();
            let headers = headers
                .filter_map(|(name, value)| Some((name.to_lowercase(), value.as_str()?.to_owned())))
                .filter(|(name, _)| !matches!(name.as_str(), "content-length" | "transfer-encoding"))
                .collect();
            let body = if reply["body"].is_null() { String::new() } else { reply["body"].to_string() };
            replies.push(Recorded { path, status, headers, body });
        }
    }
    Ok(replies)
}
