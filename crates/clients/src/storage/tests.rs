//! Over HTTP, against the sandbox's Storage.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use allclear_core::ports::{EvidenceShelf as _, StoredObjects as _};
use allclear_core::recovery::StoredObject;
use allclear_core::{Class, Clock, PortError, VirtualClock};
use allclear_sandbox::StorageServer;
use allclear_sandbox::storage_api::{Call, StorageFault, Wrong};
use tempfile::TempDir;

use super::{BucketLists, EvidenceBucket, StorageAccess};
use crate::config::Settings;

const MIB: usize = 1 << 20;
const CHUNK: u64 = 6 << 20;

/// A server with two buckets over a folder.
struct Stage {
    server: StorageServer,
    folder: TempDir,
}

impl Stage {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = StorageServer::start(folder.path(), 0).await.unwrap();
        server.make_bucket("vouchers").unwrap();
        server.make_bucket("exercises").unwrap();
        Self { server, folder }
    }

    fn settings(&self) -> (Settings, StorageAccess, Arc<dyn Clock>) {
        let mut settings = crate::sandbox::settings("http://127.0.0.1:1", PathBuf::new()).unwrap();
        settings.timeout = Duration::from_secs(30);
        let key = allclear_sandbox::SERVICE_KEY.into();
        let clock = VirtualClock::at("2026-11-23T09:00:00Z".parse().unwrap());
        (settings, StorageAccess { endpoint: self.server.base_url(), key }, Arc::new(clock))
    }

    fn lists(&self) -> BucketLists {
        let (settings, access, clock) = self.settings();
        BucketLists::connect(&settings, &access, &clock).unwrap()
    }

    fn evidence(&self) -> EvidenceBucket {
        let (settings, access, clock) = self.settings();
        EvidenceBucket::connect(&settings, &access, "exercises", "run 1", &clock).unwrap()
    }

    fn put(&self, path: &str, content: &[u8]) {
        let file = self.folder.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
    }

    fn kept(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join("exercises/run 1").join(name)).unwrap()
    }

    fn break_on(&self, call: Call, after: usize, wrong: Wrong) {
        self.server.break_on(StorageFault { call, after, wrong });
    }

    fn count(&self, call: Call) -> usize {
        self.server.arrived().iter().filter(|one| one.call == call).count()
    }

    /// The offsets of all chunks, in the order of their ends.
    fn offsets(&self) -> Vec<u64> {
        self.server
            .arrived()
            .iter()
            .filter(|one| one.call == Call::Patch)
            .filter_map(|one| one.offset)
            .collect()
    }
}

/// Bytes that differ from place to place, so that a chunk in the wrong place shows.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at.wrapping_mul(31) ^ (at >> 11)) as u8).collect()
}

fn names(objects: &[StoredObject]) -> Vec<&str> {
    objects.iter().map(|object| object.name.as_str()).collect()
}

#[tokio::test]
async fn a_file_of_several_chunks_is_kept_whole_and_read_back_by_its_digest() {
    let stage = Stage::new().await;
    let evidence = stage.evidence();
    let content = content(13 * MIB);
    assert_eq!(evidence.find("backup.log").await, Ok(None));
    let kept = evidence.keep("backup.log", &content).await.unwrap();
    assert_eq!(kept.bytes, 13 << 20);
    assert_eq!(evidence.find("backup.log").await, Ok(Some(kept)));
    assert_eq!(stage.offsets(), [0, CHUNK, 2 * CHUNK]);
    assert!(stage.kept("backup.log") == content);
    assert_eq!(evidence.address("backup.log"), "storage://exercises/run 1/backup.log");
}

#[tokio::test]
async fn an_upload_that_was_cut_goes_on_at_the_servers_offset_and_sends_nothing_twice() {
    let stage = Stage::new().await;
    let evidence = stage.evidence();
    let content = content(13 * MIB);
    let part = 7 * MIB as u64;
    stage.break_on(Call::Patch, 1, Wrong::CutInBody(MIB));
    let cut = evidence.keep("backup.log", &content).await.unwrap_err();
    assert_eq!(cut.class(), Class::OutcomeUnknown, "{cut}");
    evidence.keep("backup.log", &content).await.unwrap();
    assert_eq!(stage.offsets(), [0, CHUNK, part]);
    assert_eq!((stage.count(Call::Begin), stage.count(Call::Offset)), (1, 1));
    assert!(stage.kept("backup.log") == content);
}

#[tokio::test]
async fn a_chunk_whose_answer_was_lost_is_not_sent_again() {
    let stage = Stage::new().await;
    let evidence = stage.evidence();
    let content = content(MIB);
    stage.break_on(Call::Patch, 0, Wrong::CutAfter);
    assert_eq!(evidence.keep("backup.log", &content).await.unwrap_err().class(), Class::OutcomeUnknown);
    evidence.keep("backup.log", &content).await.unwrap();
    assert_eq!(stage.offsets(), [0]);
    assert!(stage.kept("backup.log") == content);
}

#[tokio::test]
async fn an_upload_whose_address_has_expired_begins_again() {
    let stage = Stage::new().await;
    let evidence = stage.evidence();
    let content = content(7 * MIB);
    stage.break_on(Call::Patch, 1, Wrong::CutInBody(10));
    evidence.keep("backup.log", &content).await.unwrap_err();
    stage.server.expire_uploads();
    evidence.keep("backup.log", &content).await.unwrap();
    assert_eq!(stage.offsets(), [0, CHUNK, 0, CHUNK]);
    assert_eq!(stage.count(Call::Begin), 2);
    assert!(stage.kept("backup.log") == content);
}

#[tokio::test]
async fn other_content_than_was_begun_is_never_put_behind_it() {
    let stage = Stage::new().await;
    let evidence = stage.evidence();
    stage.break_on(Call::Patch, 0, Wrong::CutInBody(10));
    evidence.keep("backup.log", &content(MIB)).await.unwrap_err();
    evidence.keep("backup.log", b"another").await.unwrap();
    assert_eq!(stage.kept("backup.log"), b"another");
    assert_eq!((stage.count(Call::Begin), stage.count(Call::Offset)), (2, 0));
}

#[tokio::test]
async fn a_file_that_is_there_is_left_as_it_is() {
    let stage = Stage::new().await;
    stage.evidence().keep("backup.log", b"the first").await.unwrap();
    // Another process, which knows nothing of the first one's upload.
    let evidence = stage.evidence();
    assert_eq!(evidence.keep("backup.log", b"the first").await.unwrap().bytes, 9);
    let refused = evidence.keep("backup.log", b"another").await.unwrap_err();
    assert!(
        matches!(&refused, PortError::Rejected { code: Some(code), .. } if code == "other content"),
        "{refused}"
    );
    assert_eq!(stage.kept("backup.log"), b"the first");
    assert_eq!(evidence.keep("empty.log", b"").await.unwrap().bytes, 0);
    assert_eq!(stage.kept("empty.log"), b"");
}

#[tokio::test]
async fn a_link_is_good_for_its_time_and_nothing_shows_its_token() {
    let stage = Stage::new().await;
    let evidence = stage.evidence();
    evidence.keep("tabletop-report.md", b"# Report").await.unwrap();
    let link = evidence.link("tabletop-report.md", Duration::from_hours(1)).await.unwrap();
    let url = link.reveal().to_owned();
    assert!(
        !url.contains(' '),
        "{url}: whoever gets it can follow it, though the service does not escape names"
    );
    let token = url.split_once("token=").unwrap().1;
    assert!(!format!("{link:?}").contains(token), "{link:?}");
    assert!(!evidence.http.clean(&format!("GET {url} failed")).contains(token));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let read = reqwest::get(&url).await.unwrap();
    assert_eq!((read.status().as_u16(), read.text().await.unwrap()), (200, "# Report".to_owned()));
    stage.server.expire_links();
    assert_eq!(reqwest::get(&url).await.unwrap().status().as_u16(), 400);
    let none = evidence.link("nothing", Duration::from_mins(1)).await.unwrap_err();
    assert!(matches!(none, PortError::NotFound { .. }), "{none}");
}

#[tokio::test]
async fn lists_of_both_versions_are_whole_and_equal() {
    let stage = Stage::new().await;
    for number in 0..2_100 {
        stage.put(&format!("vouchers/{number:05}.png"), &content(number % 7));
    }
    for name in ["2026/09/a b.png", "2026/10/ü.png", "2026-index.txt"] {
        stage.put(&format!("vouchers/{name}"), b"12345");
    }
    let newer = stage.lists().of_bucket("vouchers").await.unwrap();
    assert_eq!((stage.count(Call::ListV2), stage.count(Call::List)), (3, 0));
    stage.server.be_older();
    let older = stage.lists().of_bucket("vouchers").await.unwrap();
    // One page of each of four folders, and two more of the first.
    assert_eq!((stage.count(Call::ListV2), stage.count(Call::List)), (4, 6));
    assert_eq!(newer, older);
    assert_eq!(newer.len(), 2_103);
    assert!(newer.is_sorted());
    let of = |name: &str| newer.iter().find(|object| object.name == name).unwrap();
    assert_eq!(of("2026/10/ü.png").bytes, Some(5));
    assert!(of("00001.png").changed_at.is_some());
    assert!(names(&newer).contains(&"2026/09/a b.png"));
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_not_taken_for_an_empty_one() {
    let stage = Stage::new().await;
    assert_eq!(stage.lists().of_bucket("exercises").await, Ok(Vec::new()));
    for older in [false, true] {
        if older {
            stage.server.be_older();
        }
        let absent = stage.lists().of_bucket("voucher").await.unwrap_err();
        assert!(matches!(absent, PortError::NotFound { .. }), "{absent}");
    }
    stage.break_on(Call::ListV2, 0, Wrong::Refused { status: 404, code: "NoSuchBucket" });
    let gone = stage.lists().of_bucket("vouchers").await.unwrap_err();
    assert!(matches!(gone, PortError::NotFound { .. }), "{gone}");
    assert_eq!(stage.count(Call::List), 0, "only a missing route sends us to the older list");
}

#[tokio::test]
async fn errors_in_the_body_of_a_400_come_through_as_what_they_are() {
    let stage = Stage::new().await;
    let cases = [
        (403, "AccessDenied", Class::Stop(allclear_core::error::StopReason::Permission)),
        (413, "EntityTooLarge", Class::Permanent),
        (423, "ResourceLocked", Class::RetryAfter(None)),
        (503, "SlowDown", Class::RetryAfter(None)),
        (500, "InternalError", Class::OutcomeUnknown),
    ];
    for (status, code, class) in cases {
        stage.break_on(Call::Begin, 0, Wrong::Refused { status, code });
        let error = stage.evidence().keep(code, b"x").await.unwrap_err();
        assert_eq!(error.class(), class, "{error}");
    }
    let (settings, mut access, clock) = stage.settings();
    access.key = "another-key-of-another-project".into();
    let lists = BucketLists::connect(&settings, &access, &clock).unwrap();
    let error = lists.of_bucket("vouchers").await.unwrap_err();
    assert_eq!(error.class(), Class::Stop(allclear_core::error::StopReason::Credential), "{error}");
}

#[tokio::test]
async fn a_list_that_goes_in_circles_and_an_upload_that_leads_elsewhere_are_refused() {
    let base = crate::fake::serve(|asked| {
        let (kind, body) = if asked.line.contains("/bucket/") {
            ("", r#"{"id":"b","name":"b"}"#)
        } else if asked.line.contains("/upload/") {
            ("location: http://127.0.0.1:9/upload/resumable/x\r\n", "{}")
        } else {
            ("", r#"{"hasNext":true,"nextCursor":"x","folders":[],"objects":[]}"#)
        };
        crate::fake::json(200, kind, body)
    })
    .await;
    let (settings, _, clock) = Stage::new().await.settings();
    let access = StorageAccess { endpoint: base, key: "some-service-key".into() };
    let circle = BucketLists::connect(&settings, &access, &clock).unwrap().of_bucket("b").await.unwrap_err();
    assert!(circle.to_string().contains("does not say where"), "{circle}");
    let evidence = EvidenceBucket::connect(&settings, &access, "b", "run", &clock).unwrap();
    let elsewhere = evidence.keep("x", b"x").await.unwrap_err();
    assert!(elsewhere.to_string().contains("at another host"), "{elsewhere}");
}
