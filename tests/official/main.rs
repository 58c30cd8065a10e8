//! The services' official clients against the sandbox: what their users call works as it does at the service, and what is
//! refused is refused in its words.
//!
//! Each client has a script of its own beside this file. It prints a line for each check; the names of the checks are here as
//! well, so that a script that stops early, or does nothing, fails.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod scripts;

use std::sync::Arc;

use allclear_core::VirtualClock;
use allclear_sandbox::{FaultSet, Profile, S3Server, Sandbox, Scenario, WorldSpec};

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
