//! Everything that Supabase Storage may do wrong to an exercise, in whole runs: its own list of the buckets, and the private
//! bucket that keeps the exercise's files. Real HTTP to a server of its own; databases and buckets in [memory](super::stores).

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use allclear::clients::storage::{BucketLists, EvidenceBucket, StorageAccess};
use allclear::core::platform::Recovery;
use allclear::core::{Clock, Platform, VirtualClock};
use allclear::engine::{MemoryJournal, Outcome, Terms, execute, plan};
use allclear::sandbox::storage_api::{Call, StorageFault, Wrong};
use allclear::sandbox::{Profile, SERVICE_KEY, Sandbox, Scenario, StorageServer, Twist};
use serde_json::Value;

use super::{Content, Stores, recovery, write_documents};
use crate::drilling::exercise_world;
use crate::fault_matrix::print;
use crate::scene::{approved, drill};

/// What the exercise asks of Storage. A link is asked for by a command, and an offset after a lost chunk.
const CALLS: [Call; 5] = [Call::Bucket, Call::ListV2, Call::Begin, Call::Patch, Call::Download];
/// More often than a run asks.
const FOR_GOOD: usize = 50;
const KEPT: [&str; 3] = ["backup.log", "rowcount.csv", "tabletop-report.md"];

fn refused(status: u16, code: &'static str) -> Wrong {
    Wrong::Refused { status, code }
}

/// What goes wrong, and how it is called in the table.
fn faults() -> Vec<(&'static str, Wrong)> {
    vec![
        ("answer lost", Wrong::CutAfter),
        ("cut in the body", Wrong::CutInBody(10)),
        ("403", refused(403, "AccessDenied")),
        ("404", refused(404, "NoSuchBucket")),
        ("429", refused(429, "SlowDown")),
        ("500", refused(500, "InternalError")),
    ]
}

/// A run, and what it left.
struct Ended {
    outcome: Option<Outcome>,
    says: String,
    /// Whether what was to go wrong went wrong.
    troubled: bool,
    wrong: Vec<String>,
}

async fn hold(call: Call, wrong: Option<Wrong>, times: usize) -> Ended {
    let spec = exercise_world(Scenario::Exercise { twist: Twist::None }, Profile::Target);
    let clock = Arc::new(VirtualClock::at(spec.start));
    let sandbox = Sandbox::start_virtual(spec, Arc::clone(&clock)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (documents, artifacts) = (folder.path().join("documents"), folder.path().join("artifacts"));
    write_documents(&documents);
    let buckets = folder.path().join("buckets");
    let content = Content::default();
    fill(&buckets.join("vouchers"), content.objects);
    let storage = StorageServer::start(&buckets, 0).await.unwrap();
    storage.make_bucket("exercises").unwrap();

    let shared: Arc<dyn Clock> = clock.clone();
    let mut settings = allclear::clients::sandbox::settings(&sandbox.base_url(), artifacts.clone()).unwrap();
    settings.timeout = Duration::from_secs(30);
    let stores = Stores::of(content, shared.clone());
    let access = StorageAccess { endpoint: storage.base_url(), key: SERVICE_KEY.into() };
    let lists = BucketLists::connect(&settings, &access, &shared).unwrap();
    let evidence = EvidenceBucket::connect(&settings, &access, "exercises", "run", &shared).unwrap();
    let recovery = Recovery {
        stored: Some(Arc::new(lists)),
        evidence: Some(Arc::new(evidence)),
        ..recovery(&settings, &shared, &stores, &documents)
    };
    let platform = allclear::clients::connect(settings, &shared).unwrap();
    let platform = Platform { recovery: Some(recovery), ..platform };
    let build =
        || (allclear::runbooks::find("dr-tabletop").unwrap().build)(Value::Null, platform.clone()).unwrap();
    let terms = || Terms { humans: drill(), ..Terms::new("storage-run", "kim", "sandbox") };
    let shown = plan(&*build(), terms(), shared.clone()).await.unwrap();

    for _ in 0..wrong.as_ref().map_or(0, |_| times) {
        let wrong = wrong.clone().unwrap();
        storage.break_on(StorageFault { call, after: 0, wrong });
    }
    let (runbook, seam) = (build(), Box::new(MemoryJournal::new().seam(shared.clone()).unwrap()));
    let (approved, terms) = (approved(&shown, "storage-run"), terms());
    let (outcome, says) =
        match tokio::spawn(async move { execute(&*runbook, seam, approved, terms).await }).await {
            Ok(Ok(finished)) => (Some(finished.outcome), finished.says),
            Ok(Err(error)) => (None, error.to_string()),
            Err(panic) => (None, panic.to_string()),
        };
    let troubled = storage.arrived().iter().any(|one| one.call == call && one.status != Some(200));
    let wrong = judge(outcome, &says, &buckets.join("exercises"), &artifacts, &stores);
    Ended { outcome, says, troubled, wrong }
}

/// The platform's objects, as the copy in memory has them.
fn fill(bucket: &Path, objects: u32) {
    std::fs::create_dir_all(bucket).unwrap();
    for n in 0..objects {
        std::fs::write(bucket.join(format!("{n:05}.png")), vec![7; 30 * 1_024]).unwrap();
    }
}

/// Whatever the end: a file that is kept is the run's own, whole; all is verified only with all files there; and what Storage
/// does never touches backup, copy and restore.
fn judge(outcome: Option<Outcome>, says: &str, kept: &Path, own: &Path, stores: &Stores) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut there = 0;
    for name in KEPT {
        let Ok(content) = std::fs::read(kept.join("run").join(name)) else { continue };
        there += 1;
        if std::fs::read(own.join(name)).ok() != Some(content) {
            wrong.push(format!("{name} is kept with another content"));
        }
    }
    match outcome {
        Some(Outcome::Verified) if says.contains(" 0 findings") && there < KEPT.len() => {
            wrong.push(format!("it is verified without a finding with {there} files kept"));
        }
        Some(Outcome::Verified | Outcome::Unverified) => {}
        other => wrong.push(format!("it ended as {other:?}")),
    }
    if let Some((what, times)) = stores.ledger().into_iter().find(|(_, times)| *times > 1) {
        wrong.push(format!("{what:?} happened {times} times"));
    }
    if stores.state()["restored"].is_null() {
        wrong.push("nothing was restored".to_owned());
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_storage_does_wrong_the_exercise_tells_it_and_keeps_no_other_file() {
    let began = Instant::now();
    let healthy = hold(Call::Other, None, 0).await;
    assert_eq!(healthy.outcome, Some(Outcome::Verified), "{}", healthy.says);
    assert!(healthy.says.contains(" 0 findings"), "{}", healthy.says);
    assert!(healthy.wrong.is_empty(), "{:?}", healthy.wrong);
    let mut jobs = Vec::new();
    for call in CALLS {
        for (name, wrong) in faults() {
            // Only a chunk has a body that can be cut.
            if matches!(wrong, Wrong::CutInBody(_)) && call != Call::Patch {
                continue;
            }
            for (how, times) in [("once", 1), ("for good", FOR_GOOD)] {
                let job = tokio::spawn(hold(call, Some(wrong.clone()), times));
                jobs.push((format!("{call:?}, {name}, {how}"), job));
            }
        }
    }
    let (mut text, mut all_wrong, runs) = (String::new(), Vec::new(), jobs.len());
    for (title, job) in jobs {
        let ended = job.await.unwrap();
        let end = ended.outcome.map_or_else(|| "none".to_owned(), |outcome| format!("{outcome:?}"));
        let findings = ended.says.rsplit(", ").next().unwrap_or_default();
        let _ = writeln!(text, "{title:<34} {end}, {findings}");
        if !ended.troubled {
            all_wrong.push(format!("{title}: the fault never came"));
        }
        all_wrong.extend(ended.wrong.into_iter().map(|why| format!("{title}: {why} ({})", ended.says)));
    }
    let took = began.elapsed().as_secs_f64();
    print(&format!("{text}{runs} runs of the exercise, {} wrong, {took:.1} s\n", all_wrong.len()));
    assert!(all_wrong.is_empty(), "{} wrong:\n{}", all_wrong.len(), all_wrong.join("\n"));
}
