//! The services' official clients against the sandbox: what their users call works as it does at the service, and what is
//! refused is refused in its words.
//!
//! Each client has a script of its own beside this file. It prints a line for each check; the names of the checks are here as
//! well, so that a script that stops early, or does nothing, fails.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod scripts;

use std::sync::Arc;

use allclear_core::VirtualClock;
use allclear_sandbox::{FaultSet, Profile, S3Server, Sandbox, Scenario, StorageServer, WorldSpec};
use tempfile::TempDir;

use scripts::{Script, node, python};

/// A healthy world of known sizes.
async fn sandbox() -> Sandbox {
    let spec = WorldSpec {
        scenario: Scenario::Healthy,
        targets_per_campaign: 100,
        notifications: 40,
        vouchers: 10,
        stations: 3,
        profile: Profile::Target,
        faults: Some(FaultSet::none()),
        ..WorldSpec::default()
    };
    let clock = Arc::new(VirtualClock::at(spec.start));
    Sandbox::start_virtual(spec, clock).await.unwrap()
}

/// How often something really happened.
fn happened(sandbox: &Sandbox, effect: &str) -> usize {
    sandbox.ledger().iter().filter(|entry| entry.effect == effect && entry.changed).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn supabase_js() {
    let sandbox = sandbox().await;
    let script = Script { program: node(), file: "supabase.mjs", checks: SUPABASE };
    script.run(&[("SANDBOX_URL", &sandbox.base_url())]).await;
    assert_eq!(happened(&sandbox, "voucher.redeem"), 1);
}

const SUPABASE: &[&str] = &[
    "select with filters",
    "select with order, range and limit",
    "count exact, planned and estimated",
    "embedded rows are refused",
    "single and maybeSingle",
    "csv",
    "insert",
    "unique keys",
    "upsert that merges duplicates",
    "upsert that ignores duplicates",
    "update",
    "update of at most so many",
    "delete",
    "unknown columns",
    "values that are none of their type",
    "unknown tables and functions",
    "keys",
    "functions.invoke",
    "functions.invoke that fails",
];

#[tokio::test(flavor = "multi_thread")]
async fn supabase_cli() {
    let sandbox = sandbox().await;
    let script = Script { program: node(), file: "cli.mjs", checks: CLI };
    script.run(&[("SANDBOX_URL", &sandbox.base_url())]).await;
    assert_eq!((happened(&sandbox, "function.deploy"), happened(&sandbox, "function.delete")), (1, 1));
    assert_eq!((happened(&sandbox, "secret.set"), happened(&sandbox, "secret.unset")), (1, 1));
}

const CLI: &[&str] = &[
    "projects list",
    "projects api-keys",
    "functions list",
    "functions deploy",
    "functions download",
    "functions delete",
    "secrets set, list and unset",
    "backups list",
    "link",
    "refused: token, project, route",
];

/// Supabase Storage with one bucket.
async fn storage() -> (TempDir, StorageServer) {
    let folder = tempfile::tempdir().unwrap();
    let server = StorageServer::start(folder.path(), 0).await.unwrap();
    server.make_bucket("backups").unwrap();
    (folder, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_js() {
    let (folder, server) = storage().await;
    let script = Script { program: node(), file: "storage.mjs", checks: STORAGE };
    script.run(&[("STORAGE_URL", &server.base_url())]).await;
    let kept = std::fs::read_to_string(folder.path().join("backups/moved/a.txt")).unwrap();
    assert_eq!(kept, "a.txt");
    assert!(!folder.path().join("backups/list/b.txt").exists() && !folder.path().join("made").exists());
}

const STORAGE: &[&str] = &[
    "createBucket, getBucket, listBuckets",
    "upload and download",
    "upload of a blob",
    "upload of what is there already",
    "what a bucket does not take",
    "info and exists",
    "list",
    "listV2",
    "move and copy",
    "move and copy that are refused",
    "signed links",
    "signed upload",
    "remove",
    "emptyBucket and deleteBucket",
    "a bucket that is not there",
    "a wrong key",
];

#[tokio::test(flavor = "multi_thread")]
async fn tus_js_client() {
    let (folder, server) = storage().await;
    let script = Script { program: node(), file: "tus.mjs", checks: TUS };
    script.run(&[("STORAGE_URL", &server.base_url())]).await;
    let sizes = ["chunks.zip", "later.zip", "resumed.zip"]
        .map(|name| std::fs::metadata(folder.path().join("backups").join(name)).unwrap().len());
    assert_eq!(sizes, [(12 << 20) + 1_000; 3]);
    assert!(!folder.path().join("backups/given-up.zip").exists());
}

const TUS: &[&str] = &[
    "upload with data at creation",
    "upload in chunks",
    "upload without data at creation",
    "upload resumed after an abort",
    "an upload that is given up",
    "what is there already",
    "a bucket that is not there",
    "a wrong key",
];

#[tokio::test(flavor = "multi_thread")]
async fn slack_web_api() {
    let sandbox = sandbox().await;
    let script = Script { program: node(), file: "slack.mjs", checks: SLACK };
    script.run(&[("SANDBOX_URL", &sandbox.base_url())]).await;
    assert_eq!(happened(&sandbox, "slack.post"), 3);
}

const SLACK: &[&str] = &[
    "auth.test",
    "auth.test with a wrong token",
    "auth.test without a token",
    "conversations.list in pages",
    "chat.postMessage",
    "chat.postMessage in a thread",
    "conversations.history",
    "conversations.history since and until",
    "conversations.replies",
    "chat.update",
    "chat.delete",
    "reactions.add and get",
    "errors of the platform",
];

#[tokio::test(flavor = "multi_thread")]
async fn pagerduty() {
    let sandbox = sandbox().await;
    let script = Script { program: python(), file: "pagerduty_client.py", checks: PAGERDUTY };
    script.run(&[("SANDBOX_URL", &sandbox.base_url())]).await;
    assert_eq!(happened(&sandbox, "pagerduty.acknowledge"), 3);
}

const PAGERDUTY: &[&str] = &[
    "events: trigger",
    "events: a key of the service's own",
    "events: acknowledge and resolve",
    "events: after a resolve the key opens a new incident",
    "events: refused",
    "incidents: pages and totals",
    "incidents: acknowledge and resolve",
    "incidents: what is resolved stays so",
    "incidents: several at once",
    "incidents: one by its id, notes and log",
    "incidents: created through REST, once",
    "users: by e-mail",
    "on call and escalation policies",
    "refused: key, sender, incident, route",
];

#[tokio::test(flavor = "multi_thread")]
async fn pywa() {
    let sandbox = sandbox().await;
    let script = Script { program: python(), file: "whatsapp.py", checks: WHATSAPP };
    script.run(&[("SANDBOX_URL", &sandbox.base_url())]).await;
    assert_eq!(happened(&sandbox, "message.send"), 3);
}

const WHATSAPP: &[&str] = &[
    "send_message",
    "send_message with a plus and a tracker",
    "send_message to nobody",
    "a wrong token",
    "a phone number that is not ours",
    "templates: list",
    "templates: by name",
    "send_template",
    "send_template with an unknown name",
    "send_template with too few parameters",
    "the number's own state",
    "what the sandbox has not is refused",
];

#[tokio::test(flavor = "multi_thread")]
async fn boto3() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start(folder.path(), 0).await.unwrap();
    server.make_bucket("backups").unwrap();
    let script = Script { program: python(), file: "s3.py", checks: S3 };
    script.run(&[("S3_URL", &server.base_url())]).await;
    let kept = std::fs::read(folder.path().join("backups/copy.sql")).unwrap();
    assert_eq!(kept, b"the night's dump");
}

const S3: &[&str] = &[
    "put, get and head",
    "a range",
    "list in pages, with a prefix and a delimiter",
    "copy",
    "multipart",
    "multipart with a wrong ETag",
    "multipart with a small part in the middle",
    "upload_fileobj of its own accord in parts",
    "written once",
    "presigned",
    "delete one and many",
    "buckets",
    "a wrong secret",
];
