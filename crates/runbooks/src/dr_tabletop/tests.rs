//! The exercise as a specification: mocks only, virtual time, no database, no bucket and no network.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use allclear_core::error::{Service, StopReason};
use allclear_core::incident::{Incident, IncidentStatus, Severity};
use allclear_core::platform::Recovery;
use allclear_core::ports::*;
use allclear_core::recovery::*;
use allclear_core::{Clock, Platform, PortError, VirtualClock};
use allclear_engine::gate::Question;
use allclear_engine::report::{Postmortem, to_markdown};
use allclear_engine::seam::{Recorded, Woken};
use allclear_engine::{
    Answer, Attention, Entry, Event, Finished, Humans, MemoryJournal, Nobody, Outcome, Plan, Seam, SeamError,
    Terms, execute, plan,
};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::{DrTabletop, Input};
use crate::mocked::{self, Calls, approver};

fn start() -> Timestamp {
    "2026-10-06T14:00:00Z".parse().unwrap()
}

fn after(seconds: u64) -> Timestamp {
    start() + Duration::from_secs(seconds)
}

/// What there is outside, and what was done to it.
#[derive(Default)]
struct Outside {
    /// So many questions for the hosted backups are answered 401.
    refusals: u32,
    incident: Option<Incident>,
    pages: Vec<Page>,
    asked: Vec<String>,
    acks: Vec<Acknowledgement>,
    acks_unread: bool,
    messages: Vec<ChatMessage>,
    backup: Option<Backup>,
    backup_took: Duration,
    copy: Option<ObjectCopy>,
    copy_took: Duration,
    restored: Option<Restored>,
    /// What becomes of the answers to the next deeds (backup, copy, restore), in order.
    lost: VecDeque<Option<Lost>>,
    /// One for each look; the last one stays.
    checks: VecDeque<TargetCheck>,
    changed_row: bool,
    smoke: BTreeMap<SmokeTest, SmokeResult>,
    /// By test: the markers it was tried with.
    tried: BTreeMap<SmokeTest, Vec<String>>,
    bucket: BTreeMap<String, Vec<u8>>,
    artifacts: BTreeMap<String, Vec<u8>>,
    /// The platform's own list of its bucket; `None` where the environment has no way to it.
    listed: Option<Result<Vec<StoredObject>, PortError>>,
    /// The evidence's bucket; `None` where the environment has none.
    shelf: Option<BTreeMap<String, Vec<u8>>>,
    /// What becomes of the answers to the next uploads, in order.
    uploads_lost: VecDeque<Lost>,
    documents: BTreeMap<String, String>,
    /// Somebody edits this document between our look and our write, once.
    edited_meanwhile: Option<(String, String)>,
}

/// An answer that does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    AfterTheDeed,
    BeforeTheDeed,
}

impl Outside {
    /// Does a thing whose answer may get lost.
    fn done<T: Clone>(&mut self, what: T, put: impl FnOnce(&mut Self, T)) -> Result<T, PortError> {
        let lost = self.lost.pop_front().flatten();
        if lost != Some(Lost::BeforeTheDeed) {
            put(self, what.clone());
        }
        match lost {
            None => Ok(what),
            Some(_) => Err(PortError::OutcomeUnknown {
                service: Service::Database,
                call: "a long call".to_owned(),
                detail: "the connection broke".to_owned(),
            }),
        }
    }
}

struct World {
    clock: Arc<VirtualClock>,
    calls: Calls,
    outside: Arc<Mutex<Outside>>,
    exercise: Exercise,
    input: Input,
}

fn identity(host: &str, project: &str, system_identifier: &str) -> DatabaseIdentity {
    DatabaseIdentity {
        host: host.to_owned(),
        port: 5432,
        database: "postgres".to_owned(),
        project: Some(project.to_owned()),
        system_identifier: system_identifier.to_owned(),
        server_version: "15.18".to_owned(),
    }
}

fn fit() -> TargetCheck {
    TargetCheck {
        source: identity("db.production.example", "prodref", "7001"),
        target: identity("db.staging.example", "stagingref", "7002"),
        confirmation: "stagingref".to_owned(),
        objections: Vec::new(),
    }
}

fn tables() -> Vec<TableContent> {
    let table = |name: &str, rows, digest: &str| TableContent {
        table: name.to_owned(),
        rows,
        digest: digest.to_owned(),
    };
    vec![
        table("public.campaigns", 12, "9b1f"),
        table("public.voucher_events", 18_204, "44d0"),
        table("public.vouchers", 5_000, "c3a7"),
    ]
}

fn stored(name: &str, bytes: u64, changed_at: Option<Timestamp>) -> StoredObject {
    StoredObject { name: name.to_owned(), bytes: Some(bytes), changed_at }
}

fn took(what: &str, took: Duration) -> Vec<Took> {
    vec![Took { what: what.to_owned(), took }]
}

/// A world in which all goes well, on a day of the cadence.
fn world() -> World {
    let person = |role, name: &str, user: &str| Participant {
        role,
        name: name.to_owned(),
        pagerduty_user: user.to_owned(),
    };
    let ack = |user: &str, seconds| Acknowledgement { user: user.to_owned(), at: after(seconds) };
    let passed = |says: &str| SmokeResult::Passed { says: says.to_owned() };
    let outside = Outside {
        acks: vec![ack("PCOMM", 40), ack("PDATA", 75), ack("PSUPP", 130), ack("PSTAKE", 200)],
        asked: vec!["PCOMM".to_owned()],
        checks: VecDeque::from([fit()]),
        backup_took: Duration::from_secs(184),
        copy_took: Duration::from_secs(95),
        smoke: BTreeMap::from([
            (SmokeTest::VoucherIssue, passed("the voucher is in the table, issued")),
            (SmokeTest::VoucherRedeem, passed("the voucher is redeemed")),
            (SmokeTest::CampaignSend, passed("one message went out, to the allow-listed number")),
            (SmokeTest::StationRedeem, passed("one redemption for two requests")),
        ]),
        documents: BTreeMap::from([(
            "docs/incidents/cutover-checklist.md".to_owned(),
            "# Cutover\n\n- [ ] Lower the TTL of `api.example` to 60 s\n- [ ] Point `DATABASE_URL` to the restored project\n"
                .to_owned(),
        )]),
        ..Outside::default()
    };
    World {
        clock: Arc::new(VirtualClock::at(start())),
        calls: Calls::default(),
        outside: Arc::new(Mutex::new(outside)),
        exercise: Exercise {
            participants: vec![
                person(Role::SupportManager, "Robin", "PSUPP"),
                person(Role::IncidentCommander, "Kim", "PCOMM"),
                person(Role::DataPlatformLead, "Alex", "PDATA"),
                person(Role::StakeholderCommunications, "Sam", "PSTAKE"),
            ],
            rollback_owner: "Alex".to_owned(),
            status_channel: "#ops-status".to_owned(),
            destination: "s3://backups/supabase".to_owned(),
            copy_budget: Duration::from_mins(5),
            cutover_checklist: "docs/incidents/cutover-checklist.md".to_owned(),
        },
        input: Input::default(),
    }
}

impl World {
    fn with(self, change: impl FnOnce(&mut Outside)) -> Self {
        change(&mut self.outside.lock().unwrap());
        self
    }

    fn on_date(mut self, date: &str) -> Self {
        self.input.date = Some(date.parse().unwrap());
        self
    }

    fn host(&self) -> MockBackupHost {
        let mut mock = MockBackupHost::new();
        let outside = Arc::clone(&self.outside);
        mock.expect_hosted_backups().returning(move || {
            let mut outside = outside.lock().unwrap();
            if outside.refusals > 0 {
                outside.refusals -= 1;
                return Err(PortError::Stopped {
                    service: Service::SupabaseManagement,
                    call: "GET /v1/projects/prodref/database/backups".to_owned(),
                    reason: StopReason::Credential,
                    detail: "401".to_owned(),
                });
            }
            let backup = HostedBackup { id: "1".to_owned(), status: "COMPLETED".to_owned(), at: after(0) };
            Ok(HostedBackups { backups: vec![backup], point_in_time: false, region: "eu".to_owned() })
        });
        mock
    }

    fn backups(&self) -> MockDatabaseBackups {
        let mut mock = MockDatabaseBackups::new();
        let (outside, calls) = (Arc::clone(&self.outside), self.calls.clone());
        let clock = Arc::clone(&self.clock);
        mock.expect_take().returning(move |id| {
            calls.note("take backup");
            let mut outside = outside.lock().unwrap();
            let backup = Backup {
                id: id.clone(),
                destination: format!("s3://backups/supabase/{id}"),
                snapshot_at: clock.now(),
                tables: tables(),
                files: 9,
                bytes: 36_175_872,
                manifest_sha256: "5f70bf18".to_owned(),
                took: took("dump", outside.backup_took),
            };
            outside.done(backup, |outside, backup| outside.backup = Some(backup))
        });
        let outside = Arc::clone(&self.outside);
        mock.expect_find().returning(move |id| {
            Ok(outside.lock().unwrap().backup.clone().filter(|backup| backup.id == *id))
        });
        let (outside, calls) = (Arc::clone(&self.outside), self.calls.clone());
        mock.expect_keep_file().returning(move |_, name, content| {
            calls.note(format!("keep {name}"));
            outside.lock().unwrap().bucket.insert(name.to_owned(), content.to_vec());
            Ok(artifact(name, content))
        });
        let outside = Arc::clone(&self.outside);
        mock.expect_find_file().returning(move |_, name| {
            Ok(outside.lock().unwrap().bucket.get(name).map(|content| artifact(name, content)))
        });
        mock
    }

    fn copies(&self) -> MockObjectCopies {
        let mut mock = MockObjectCopies::new();
        let (outside, calls) = (Arc::clone(&self.outside), self.calls.clone());
        mock.expect_copy().returning(move |id| {
            calls.note("copy objects");
            let mut outside = outside.lock().unwrap();
            let copy = ObjectCopy {
                id: id.clone(),
                destination: format!("s3://backups/supabase/{id}/objects"),
                objects: 5_000,
                bytes: 5_000 * 30 * 1_024,
                uploaded: 5_000,
                changed: 0,
                vanished: 0,
                manifest_sha256: "be217a00".to_owned(),
                took: took("upload", outside.copy_took),
            };
            outside.done(copy, |outside, copy| outside.copy = Some(copy))
        });
        let outside = Arc::clone(&self.outside);
        mock.expect_find()
            .returning(move |id| Ok(outside.lock().unwrap().copy.clone().filter(|copy| copy.id == *id)));
        mock.expect_objects().returning(|_| {
            let objects = ["1.png", "2.png"].map(|name| stored(name, 10, None)).to_vec();
            Ok(Some(CopiedObjects { begun_at: start(), buckets: vec![("vouchers".to_owned(), objects)] }))
        });
        mock
    }

    fn stored(&self) -> Option<Arc<dyn StoredObjects>> {
        let listed = self.outside.lock().unwrap().listed.clone()?;
        let mut mock = MockStoredObjects::new();
        mock.expect_of_bucket().returning(move |bucket| {
            assert_eq!(bucket, "vouchers");
            listed.clone()
        });
        Some(Arc::new(mock))
    }

    fn evidence(&self) -> Option<Arc<dyn EvidenceShelf>> {
        self.outside.lock().unwrap().shelf.as_ref()?;
        let mut mock = MockEvidenceShelf::new();
        mock.expect_address().returning(|name| format!("storage://exercises/run-1/{name}"));
        let (outside, calls) = (Arc::clone(&self.outside), self.calls.clone());
        mock.expect_keep().returning(move |name, content| {
            calls.note(format!("upload {name}"));
            let mut outside = outside.lock().unwrap();
            let lost = outside.uploads_lost.pop_front();
            if lost != Some(Lost::BeforeTheDeed) {
                let bucket = outside.shelf.as_mut().unwrap();
                let kept = bucket.entry(name.to_owned()).or_insert_with(|| content.to_vec());
                assert_eq!(kept, content, "evidence is never replaced");
            }
            match lost {
                None => Ok(artifact(name, content)),
                Some(_) => Err(PortError::OutcomeUnknown {
                    service: Service::Storage,
                    call: "PATCH /upload/resumable".to_owned(),
                    detail: "the connection broke".to_owned(),
                }),
            }
        });
        let outside = Arc::clone(&self.outside);
        mock.expect_find().returning(move |name| {
            let outside = outside.lock().unwrap();
            Ok(outside.shelf.as_ref().unwrap().get(name).map(|content| artifact(name, content)))
        });
        Some(Arc::new(mock))
    }

    fn staging(&self) -> MockStagingDatabase {
        let mut mock = MockStagingDatabase::new();
        let outside = Arc::clone(&self.outside);
        mock.expect_compare().returning(move || {
            let checks = &mut outside.lock().unwrap().checks;
            Ok(if checks.len() > 1 { checks.pop_front().unwrap() } else { checks[0].clone() })
        });
        let (outside, calls) = (Arc::clone(&self.outside), self.calls.clone());
        mock.expect_restore().returning(move |id| {
            calls.note("restore");
            let restored = Restored {
                id: id.clone(),
                tables: 3,
                rows: 23_216,
                put_aside: Some("public_before_20261006".to_owned()),
                took: took("load", Duration::from_secs(61)),
            };
            let outside = &mut outside.lock().unwrap();
            outside.done(restored, |outside, restored| outside.restored = Some(restored))
        });
        let outside = Arc::clone(&self.outside);
        mock.expect_find().returning(move |id| {
            Ok(outside.lock().unwrap().restored.clone().filter(|restored| restored.id == *id))
        });
        let outside = Arc::clone(&self.outside);
        mock.expect_parity().returning(move |_| {
            let changed = outside.lock().unwrap().changed_row;
            let compare = |one: TableContent| {
                let mut staging = one.clone();
                if changed && one.table == "public.vouchers" {
                    staging.digest = "0000".to_owned();
                }
                TableParity { table: one.table.clone(), snapshot: Some(one), staging: Some(staging) }
            };
            Ok(Parity { tables: tables().into_iter().map(compare).collect(), took: Duration::from_secs(2) })
        });
        mock
    }

    fn smoke(&self) -> MockSmokeTests {
        let mut mock = MockSmokeTests::new();
        let outside = Arc::clone(&self.outside);
        mock.expect_try_out().returning(move |test, marker| {
            let mut outside = outside.lock().unwrap();
            let markers = outside.tried.entry(test).or_default();
            if !markers.iter().any(|one| one == marker) {
                markers.push(marker.to_owned());
            }
            outside.smoke.get(&test).cloned().ok_or_else(|| PortError::Rejected {
                service: Service::AdminApi,
                call: test.title().to_owned(),
                code: None,
                detail: "500".to_owned(),
            })
        });
        mock
    }

    fn paging(&self) -> MockPaging {
        let mut mock = MockPaging::new();
        let (outside, calls) = (Arc::clone(&self.outside), self.calls.clone());
        mock.expect_trigger().returning(move |page| {
            calls.note("page");
            let mut outside = outside.lock().unwrap();
            outside.pages.push(page.clone());
            outside.incident = Some(Incident {
                id: "PDRILL".to_owned(),
                dedup_key: Some(page.dedup_key.clone()),
                title: page.summary.clone(),
                status: IncidentStatus::Triggered,
                created_at: Some(start()),
            });
            Ok(())
        });
        let (outside, calls) = (Arc::clone(&self.outside), self.calls.clone());
        mock.expect_resolve().returning(move |_| {
            calls.note("close incident");
            outside.lock().unwrap().incident.as_mut().unwrap().status = IncidentStatus::Resolved;
            Ok(())
        });
        let outside = Arc::clone(&self.outside);
        mock.expect_find().returning(move |key| {
            let incident = outside.lock().unwrap().incident.clone();
            Ok(incident.filter(|incident| incident.dedup_key.as_deref() == Some(key)))
        });
        mock
    }

    fn acknowledgements(&self) -> MockAcknowledgements {
        let mut mock = MockAcknowledgements::new();
        let (outside, clock) = (Arc::clone(&self.outside), Arc::clone(&self.clock));
        mock.expect_of_incident().returning(move |incident| {
            assert_eq!(incident, "PDRILL");
            let outside = outside.lock().unwrap();
            if outside.acks_unread {
                return Err(PortError::Malformed {
                    service: Service::PagerDuty,
                    call: "GET /incidents/PDRILL/log_entries".to_owned(),
                    detail: "an HTML page".to_owned(),
                });
            }
            let now = clock.now();
            Ok(outside.acks.iter().filter(|ack| ack.at <= now).cloned().collect())
        });
        let (outside, calls) = (Arc::clone(&self.outside), self.calls.clone());
        mock.expect_call_in().returning(move |_, users, _| {
            calls.note(format!("call in {}", users.join(" ")));
            outside.lock().unwrap().asked.extend(users.iter().cloned());
            Ok(())
        });
        let outside = Arc::clone(&self.outside);
        mock.expect_called_in().returning(move |_| Ok(outside.lock().unwrap().asked.clone()));
        mock
    }

    fn documents(&self) -> MockDocuments {
        let mut mock = MockDocuments::new();
        let outside = Arc::clone(&self.outside);
        mock.expect_read().returning(move |path| Ok(outside.lock().unwrap().documents.get(path).cloned()));
        let (outside, calls) = (Arc::clone(&self.outside), self.calls.clone());
        mock.expect_write().returning(move |path, expected, content| {
            let mut outside = outside.lock().unwrap();
            if outside.edited_meanwhile.as_ref().is_some_and(|(edited, _)| edited == path) {
                let (path, text) = outside.edited_meanwhile.take().unwrap();
                outside.documents.insert(path, text);
            }
            if outside.documents.get(path).cloned() != expected {
                return Err(PortError::Rejected {
                    service: Service::Documents,
                    call: format!("write {path}"),
                    code: Some("edited".to_owned()),
                    detail: "somebody edited it".to_owned(),
                });
            }
            calls.note(format!("write {path}"));
            outside.documents.insert(path.to_owned(), content.to_owned());
            Ok(())
        });
        mock
    }

    fn chat(&self) -> MockChat {
        let mut mock = MockChat::new();
        let (outside, calls) = (Arc::clone(&self.outside), self.calls.clone());
        mock.expect_post().returning(move |message| {
            calls.note(format!("chat {}", message.channel));
            outside.lock().unwrap().messages.push(message.clone());
            Ok(Posted { ts: "1.000001".to_owned() })
        });
        let outside = Arc::clone(&self.outside);
        mock.expect_find().returning(move |_, marker| {
            let known = outside.lock().unwrap().messages.iter().any(|one| one.marker == marker);
            Ok(known.then(|| Posted { ts: "1.000001".to_owned() }))
        });
        mock
    }

    fn artifacts(&self) -> MockArtifacts {
        let mut mock = MockArtifacts::new();
        let outside = Arc::clone(&self.outside);
        mock.expect_create().returning(move |name| {
            Ok(Box::new(File { name: name.to_owned(), content: Vec::new(), outside: Arc::clone(&outside) }))
        });
        let outside = Arc::clone(&self.outside);
        mock.expect_find().returning(move |name| {
            Ok(outside.lock().unwrap().artifacts.get(name).map(|content| artifact(name, content)))
        });
        mock
    }

    fn runbook(&self) -> DrTabletop {
        let recovery = Recovery {
            host: Arc::new(self.host()),
            backups: Arc::new(self.backups()),
            copies: Arc::new(self.copies()),
            staging: Arc::new(self.staging()),
            smoke: Arc::new(self.smoke()),
            paging: Arc::new(self.paging()),
            acknowledgements: Arc::new(self.acknowledgements()),
            documents: Arc::new(self.documents()),
            stored: self.stored(),
            evidence: self.evidence(),
            exercise: self.exercise.clone(),
        };
        // The platform's own paging expects nothing: an exercise that pages through it fails here.
        let on = Platform {
            chat: Arc::new(self.chat()),
            artifacts: Arc::new(self.artifacts()),
            recovery: Some(recovery),
            ..mocked::platform()
        };
        DrTabletop { on, input: self.input.clone() }
    }

    async fn run(&self) -> Finished {
        self.run_with(approver()).await
    }

    async fn run_with(&self, humans: Arc<dyn Humans>) -> Finished {
        mocked::run(&self.runbook(), Arc::clone(&self.clock), humans).await
    }

    /// Another run, later, on what the first one left.
    async fn run_again(&self) -> Finished {
        let terms = Terms { humans: approver(), ..Terms::new("run-2", "kim", "unit") };
        let seam = MemoryJournal::new().seam(Arc::clone(&self.clock) as Arc<dyn Clock>).unwrap();
        execute(&self.runbook(), Box::new(seam), terms).await.unwrap()
    }

    /// One incarnation on a journal.
    async fn go_on(&self, journal: &MemoryJournal, humans: Arc<dyn Humans>) -> Result<Finished, SeamError> {
        let seam = Box::new(journal.seam(Arc::clone(&self.clock) as Arc<dyn Clock>)?);
        execute(&self.runbook(), seam, terms(humans)).await
    }

    async fn plan(&self) -> Plan {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        plan(&self.runbook(), terms(approver()), clock).await.unwrap()
    }

    fn artifact(&self, name: &str) -> String {
        let outside = self.outside.lock().unwrap();
        String::from_utf8(outside.artifacts.get(name).unwrap_or_else(|| panic!("no {name}")).clone()).unwrap()
    }

    fn document(&self, path: &str) -> String {
        self.outside.lock().unwrap().documents.get(path).unwrap_or_else(|| panic!("no {path}")).clone()
    }

    fn times(&self, call: &str) -> usize {
        self.calls.all().iter().filter(|one| *one == call).count()
    }
}

fn terms(humans: Arc<dyn Humans>) -> Terms {
    Terms { humans, ..Terms::new("run-1", "kim", "unit") }
}

fn artifact(name: &str, content: &[u8]) -> Artifact {
    let sha256 = allclear_engine::journal::digest(content);
    Artifact { name: name.to_owned(), bytes: content.len() as u64, sha256 }
}

/// A file of the run that is being written.
struct File {
    name: String,
    content: Vec<u8>,
    outside: Arc<Mutex<Outside>>,
}

#[async_trait]
impl ArtifactWriter for File {
    async fn append(&mut self, bytes: &[u8]) -> Result<(), PortError> {
        self.content.extend_from_slice(bytes);
        Ok(())
    }

    async fn finish(&mut self) -> Result<Artifact, PortError> {
        self.outside.lock().unwrap().artifacts.insert(self.name.clone(), self.content.clone());
        Ok(artifact(&self.name, &self.content))
    }
}

/// A person who types this wherever something is to be typed, and answers one gate in their own way.
struct Person {
    types: &'static str,
    /// At a gate of this name, this answer.
    at: (&'static str, &'static str),
}

#[async_trait]
impl Humans for Person {
    async fn ask(&self, question: &Question, _given: &[Answer]) -> Attention {
        let (gate, own) = self.at;
        let choice = if question.gate == gate { own } else { &question.presumed };
        Attention::Answer(Answer::to(question, choice, "alex").typing(self.types))
    }
}

#[tokio::test]
async fn all_goes_well_phase_by_phase() {
    let world = world();
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(
        finished.says,
        "backup dr-2026-10-06 was restored from the bucket and staging is equal to its snapshot in 3 tables; \
         4 of 4 smoke tests passed, 0 findings"
    );
    let expected = [
        "page",
        "call in PDATA PSTAKE PSUPP",
        "chat #ops-status",
        "take backup",
        "copy objects",
        "restore",
        "keep rowcount.csv",
        "keep backup.log",
        "write docs/incidents/templates/status-page-update.md",
        "write docs/incidents/templates/escalation-email.md",
        "write docs/incidents/dr-tabletop.md",
        "write SYSTEM_CHECKLIST.md",
        "close incident",
    ];
    assert_eq!(world.calls.all(), expected);
    let outside = world.outside.lock().unwrap();
    assert_eq!(outside.tried.len(), 4);
    for name in ["backup.log", "rowcount.csv"] {
        assert_eq!(outside.bucket[name], outside.artifacts[name], "{name}");
    }
}

#[tokio::test]
async fn what_is_written_reads_as_it_should() {
    let world = world();
    world.run().await;
    insta::assert_snapshot!("report", world.artifact("tabletop-report.md"));
    insta::assert_snapshot!("backup_log", world.artifact("backup.log"));
    insta::assert_snapshot!("rowcount", world.artifact("rowcount.csv").replace("\r\n", "\n"));
    insta::assert_snapshot!("retro", world.document("docs/incidents/dr-tabletop.md"));
    insta::assert_snapshot!("checklist", world.document("SYSTEM_CHECKLIST.md"));
    insta::assert_snapshot!("status_page", world.document("docs/incidents/templates/status-page-update.md"));
    insta::assert_snapshot!(
        "escalation_email",
        world.document("docs/incidents/templates/escalation-email.md")
    );
    let outside = world.outside.lock().unwrap();
    insta::assert_snapshot!("holding_statement", outside.messages[0].text);
    insta::assert_debug_snapshot!("page", outside.pages[0]);
}

/// R10: nothing of the exercise looks like an incident.
#[tokio::test]
async fn everything_that_leaves_says_that_it_is_a_drill_and_wakes_nobody_for_real() {
    let world = world();
    world.run().await;
    let outside = world.outside.lock().unwrap();
    let page = &outside.pages[0];
    assert_eq!((outside.pages.len(), page.severity), (1, Severity::Info));
    assert!(page.summary.starts_with("[DRILL] DR-Tabletop"), "{}", page.summary);
    assert_eq!(page.dedup_key, "dr-tabletop/2026-10-06/run-1");
    assert_eq!(outside.messages.len(), 1, "the draft is posted once");
    assert!(outside.messages.iter().all(|message| message.text.starts_with("[DRILL]")));
    assert_eq!(outside.incident.as_ref().unwrap().status, IncidentStatus::Resolved);
}

#[tokio::test]
async fn without_all_four_roles_nothing_begins_and_the_missing_one_is_named() {
    for (index, title) in
        [(0, "Support Manager"), (1, "Incident Commander"), (3, "Stakeholder Communications")]
    {
        let mut world = world();
        world.exercise.participants[index].pagerduty_user = String::new();
        let finished = world.run().await;
        assert_eq!(finished.outcome, Outcome::Refused, "{}", finished.says);
        assert!(finished.says.contains(title) && world.calls.all().is_empty(), "{}", finished.says);
    }
}

#[tokio::test]
async fn an_environment_without_recovery_is_told_what_is_missing() {
    let runbook = DrTabletop { on: mocked::platform(), input: Input::default() };
    let finished = mocked::run(&runbook, Arc::new(VirtualClock::at(start())), approver()).await;
    assert_eq!(finished.outcome, Outcome::Refused);
    assert!(finished.says.contains("not configured"), "{}", finished.says);
}

#[tokio::test]
async fn the_day_is_looked_up_in_the_cadence_and_the_backup_is_named_after_it() {
    let world = world().on_date("2026-11-25");
    world.run().await;
    let report = world.artifact("tabletop-report.md");
    assert!(report.contains("Held outside the cadence") && report.contains("dr-2026-11-25"), "{report}");
    assert!(report.contains("Next exercise: 2027-01-05 14:00 UTC."), "{report}");
}

#[tokio::test]
async fn late_and_missing_answers_are_findings_by_pagerdutys_clock() {
    let world = world().with(|outside| {
        // 5:01 after the incident was opened, and one who answers long after the five minutes were over.
        outside.acks.retain(|ack| ack.user != "PSUPP" && ack.user != "PSTAKE");
        outside.acks.push(Acknowledgement { user: "PSUPP".to_owned(), at: after(301) });
    });
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let report = world.artifact("tabletop-report.md");
    for line in [
        "- Kim (Incident Commander) acknowledged after 40 s at 14:00:40 UTC.",
        "- Robin (Support Manager) acknowledged after 5 min 1 s at 14:05:01 UTC, late.",
        "- Sam (Stakeholder Communications) did not acknowledge.",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
    let retro = world.document("docs/incidents/dr-tabletop.md");
    assert_eq!(retro.matches("- [ ] acknowledgements: ").count(), 2, "{retro}");
}

#[tokio::test]
async fn exactly_five_minutes_are_in_time() {
    let world = world().with(|outside| outside.acks.last_mut().unwrap().at = after(300));
    let finished = world.run().await;
    assert!(finished.says.ends_with("0 findings"), "{}", finished.says);
}

#[tokio::test]
async fn a_service_that_acknowledges_is_nobody() {
    let world = world().with(|outside| {
        outside.acks = vec![Acknowledgement { user: "PSERVICE".to_owned(), at: after(3) }];
    });
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(world.artifact("tabletop-report.md").matches("did not acknowledge").count(), 8);
}

#[tokio::test]
async fn answers_that_cannot_be_read_are_not_guessed() {
    let world = world().with(|outside| outside.acks_unread = true);
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains("who acknowledged is not known"), "{}", finished.says);
    let report = world.artifact("tabletop-report.md");
    assert!(!report.contains("did not acknowledge") && world.times("restore") == 1, "{report}");
}

#[tokio::test]
async fn whoever_is_asked_already_is_not_asked_again() {
    let everybody = ["PCOMM", "PDATA", "PSUPP", "PSTAKE"].map(str::to_owned);
    let world = world().with(|outside| outside.asked = everybody.to_vec());
    world.run().await;
    assert!(!world.calls.all().iter().any(|call| call.starts_with("call in")));
}

/// R5, the seed's first finding.
#[tokio::test]
async fn a_refused_token_is_named_and_the_run_goes_on_there_once_it_is_rotated() {
    let world = world().with(|outside| outside.refusals = 3);
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let log = world.artifact("backup.log");
    assert!(log.contains("Hosted backups: refused, the access token is the cause"), "{log}");
    assert!(world.document("docs/incidents/dr-tabletop.md").contains("- [ ] manifest-token: "));
    assert!(world.artifact("tabletop-report.md").contains("→ found again."));
    for once in ["page", "take backup", "copy objects", "restore"] {
        assert_eq!(world.times(once), 1, "{once}");
    }
}

#[tokio::test]
async fn while_nobody_rotates_the_token_the_run_waits_and_repeats_nothing_when_it_is_resumed() {
    let world = world().with(|outside| outside.refusals = 1);
    let journal = MemoryJournal::new();
    let until_the_token = Arc::new(AnswersOnly { gates: &["DR-P2 begin"] });
    let waiting = world.go_on(&journal, until_the_token).await.unwrap();
    assert_eq!(waiting.outcome, Outcome::WaitingForHuman, "{}", waiting.says);
    assert!(waiting.says.contains("DR-B1 token 1") && world.times("take backup") == 0, "{}", waiting.says);
    let finished = world.go_on(&journal, approver()).await.unwrap();
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!((world.times("page"), world.times("chat #ops-status")), (1, 1));
}

/// Answers some gates and is away at the others.
struct AnswersOnly {
    gates: &'static [&'static str],
}

#[async_trait]
impl Humans for AnswersOnly {
    async fn ask(&self, question: &Question, _given: &[Answer]) -> Attention {
        if self.gates.contains(&question.gate.as_str()) {
            return Attention::Answer(Answer::to(question, question.presumed.as_str(), "alex"));
        }
        Attention::Absent
    }
}

#[tokio::test]
async fn a_token_that_stays_refused_ends_the_exercise_before_the_backup() {
    let world = world().with(|outside| outside.refusals = 1_000);
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains("still refused") && world.times("take backup") == 0, "{}", finished.says);
    assert_eq!(world.times("close incident"), 1);
    assert!(world.artifact("tabletop-report.md").contains("Ended early"));
}

/// The seed's second finding.
#[tokio::test]
async fn a_copy_above_its_budget_is_a_finding_that_says_what_would_help() {
    let world = world().with(|outside| outside.copy_took = Duration::from_mins(11));
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let retro = world.document("docs/incidents/dr-tabletop.md");
    assert!(
        retro.contains(
            "- [ ] copy-time: the copy of the buckets took 11 min, budget 5 min: 5000 objects of 30.0 KiB on average; \
             objects this small are bound by round trips and not by their size"
        ),
        "{retro}"
    );
    assert!(retro.contains("Owner: Data Platform Lead (Alex). Due: 2026-10-20."), "{retro}");
}

#[tokio::test]
async fn a_copy_that_has_what_the_platform_lists_is_told_and_is_no_finding() {
    let old = Some(start() - Duration::from_hours(1));
    // Younger than the copy: it need not be in it.
    let listed = [("1.png", old), ("2.png", old), ("3.png", Some(after(1)))];
    let listed = listed.map(|(name, changed)| stored(name, 10, changed)).to_vec();
    let world = world().with(|outside| outside.listed = Some(Ok(listed)));
    assert_eq!(world.run().await.outcome, Outcome::Verified);
    let says = "the platform lists 3 objects, and the copy has them with their sizes; \
                1 changed after the copy had begun and count for nothing";
    assert!(world.artifact("backup.log").contains(&format!("Object lists: {says}")));
    assert!(
        world.artifact("tabletop-report.md").contains(&format!("- Beside the platform's own list: {says}."))
    );
    assert!(!world.document("docs/incidents/dr-tabletop.md").contains("object-lists"));
}

#[tokio::test]
async fn an_object_that_only_one_side_knows_is_a_finding_and_the_exercise_goes_on() {
    let old = Some(start() - Duration::from_hours(1));
    let listed = vec![stored("1.png", 10, old), stored("lost.png", 10, old)];
    let world = world().with(|outside| outside.listed = Some(Ok(listed)));
    assert_eq!(world.run().await.outcome, Outcome::Verified);
    let notes = world.document("docs/incidents/dr-tabletop.md");
    for says in
        ["1 not in the copy (vouchers/lost.png)", "1 in the copy and not on the list (vouchers/2.png)"]
    {
        assert!(notes.contains(says), "{notes}");
    }
}

#[tokio::test]
async fn a_list_that_cannot_be_read_is_a_finding_and_proves_nothing() {
    let error = PortError::Stopped {
        service: Service::Storage,
        call: "GET /bucket/vouchers".to_owned(),
        reason: StopReason::Permission,
        detail: "403 AccessDenied".to_owned(),
    };
    let world = world().with(|outside| outside.listed = Some(Err(error)));
    assert_eq!(world.run().await.outcome, Outcome::Verified);
    let notes = world.document("docs/incidents/dr-tabletop.md");
    assert!(
        notes.contains("object-lists: the copy was not compared with the platform's own list"),
        "{notes}"
    );
    assert!(!world.artifact("tabletop-report.md").contains("Beside the platform's own list"));
}

#[tokio::test]
async fn the_exercises_files_are_kept_as_evidence_once_though_an_answer_was_lost() {
    let lost = VecDeque::from([Lost::BeforeTheDeed, Lost::AfterTheDeed]);
    let world = world().with(|outside| {
        outside.shelf = Some(BTreeMap::new());
        outside.uploads_lost = lost;
    });
    assert_eq!(world.run().await.outcome, Outcome::Verified);
    let kept = world.outside.lock().unwrap().shelf.clone().unwrap();
    for name in ["backup.log", "rowcount.csv", "tabletop-report.md"] {
        assert_eq!(String::from_utf8(kept[name].clone()).unwrap(), world.artifact(name), "{name}");
    }
    let report = world.artifact("tabletop-report.md");
    assert!(
        report.contains("- backup.log, as evidence at storage://exercises/run-1/backup.log."),
        "{report}"
    );
}

#[tokio::test]
async fn a_backup_of_an_earlier_exercise_is_no_backup_of_this_one() {
    let world = world();
    world.run().await;
    world.clock.sleep_until(after(7_200)).await;
    world.outside.lock().unwrap().restored = None;
    let finished = world.run_again().await;
    assert_eq!((finished.outcome, world.times("take backup")), (Outcome::Verified, 1), "{}", finished.says);
    assert!(
        world.document("docs/incidents/dr-tabletop.md").contains("- [ ] fresh-backup: backup dr-2026-10-06")
    );
}

/// R1: the objection comes before anybody is called and before anything is done.
#[tokio::test]
async fn a_target_that_is_production_is_refused_before_anything() {
    let objection = "the target is the production cluster (7001)";
    let wrong = || TargetCheck {
        target: identity("db.production.example", "prodref", "7001"),
        objections: vec![objection.to_owned()],
        ..fit()
    };
    let world = world().with(|outside| outside.checks = VecDeque::from([wrong()]));
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Refused, "{}", finished.says);
    assert!(finished.says.contains(objection) && world.calls.all().is_empty(), "{:?}", world.calls.all());
    let plan = world.plan().await;
    assert!(!plan.has_effects() && plan.ends.contains(objection), "{}", plan.ends);
}

#[tokio::test]
async fn an_objection_that_appears_later_is_refused_too() {
    let wrong = TargetCheck { objections: vec!["the staging marker is missing".to_owned()], ..fit() };
    for looks in 1..4 {
        let checks = std::iter::repeat_n(fit(), looks).chain([wrong.clone()]).collect();
        let world = world().with(|outside| outside.checks = checks);
        let finished = world.run().await;
        assert_eq!(finished.outcome, Outcome::Refused, "after {looks}: {}", finished.says);
        assert_eq!(world.times("restore"), 0, "after {looks}");
        assert!(world.artifact("tabletop-report.md").contains("Nothing was restored."));
    }
}

#[tokio::test]
async fn another_target_than_was_confirmed_is_never_restored_into() {
    let other = TargetCheck { target: identity("db.staging.example", "stagingref", "7003"), ..fit() };
    // The looks: at the start, before the question, after the confirmation, in the effect.
    for looks in 2..4 {
        let checks = std::iter::repeat_n(fit(), looks).chain([other.clone()]).collect();
        let world = world().with(|outside| outside.checks = checks);
        let finished = world.run().await;
        assert_eq!(finished.outcome, Outcome::Refused, "after {looks}: {}", finished.says);
        assert!(finished.says.contains("7003") && world.times("restore") == 0, "{}", finished.says);
    }
}

#[tokio::test]
async fn a_target_that_is_typed_wrong_is_not_confirmed() {
    let world = world();
    let finished = world.run_with(Arc::new(Person { types: "prodref", at: ("", "") })).await;
    assert_eq!(finished.outcome, Outcome::WaitingForHuman, "{}", finished.says);
    assert!(finished.says.contains("DR-R1 restore") && world.times("restore") == 0, "{}", finished.says);
    let typed = world.run_with(Arc::new(Person { types: "stagingref", at: ("", "") })).await;
    assert_eq!(typed.outcome, Outcome::Verified, "{}", typed.says);
}

#[tokio::test]
async fn a_no_ends_the_exercise_and_closes_its_incident() {
    for gate in ["DR-P2 begin", "DR-R1 restore"] {
        let world = world();
        let finished = world.run_with(Arc::new(Person { types: "stagingref", at: (gate, "reject") })).await;
        assert_eq!(finished.outcome, Outcome::Rejected, "{gate}: {}", finished.says);
        assert_eq!(world.times("restore"), 0);
        assert_eq!(world.times("page"), world.times("close incident"), "{gate}");
        assert_eq!(world.times("write docs/incidents/dr-tabletop.md"), 0, "{gate}");
    }
}

/// R4: the figures are kept, and the run does not end well.
#[tokio::test]
async fn one_changed_row_refutes_the_exercise_and_its_figures_are_kept() {
    let world = world().with(|outside| outside.changed_row = true);
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Refuted, "{}", finished.says);
    assert!(finished.says.contains("public.vouchers: content differs"), "{}", finished.says);
    assert!(world.artifact("rowcount.csv").contains("public.vouchers,5000,5000,c3a7,0000,content differs"));
    assert!(world.artifact("backup.log").contains("Backup, restore and parity: NOT proven"));
    assert!(world.outside.lock().unwrap().tried.is_empty(), "what is not equal is not worth a smoke test");
    let retro = world.document("docs/incidents/dr-tabletop.md");
    assert!(retro.contains("- [ ] parity: ") && retro.contains("Refuted: "), "{retro}");
    assert!(!world.document("SYSTEM_CHECKLIST.md").contains("dr-parity-by-content"));
}

#[tokio::test]
async fn a_failed_smoke_test_refutes_and_one_that_is_not_possible_is_a_finding() {
    let failed = SmokeResult::Failed { says: "two redemptions for two requests".to_owned() };
    let world = world().with(|outside| drop(outside.smoke.insert(SmokeTest::StationRedeem, failed)));
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Refuted, "{}", finished.says);
    assert!(finished.says.contains("station redeem"), "{}", finished.says);
    assert_eq!(world.outside.lock().unwrap().tried.len(), 4, "the others are tried all the same");

    let not_possible = SmokeResult::NotPossible { says: "staging has no station app".to_owned() };
    let world =
        self::world().with(|outside| drop(outside.smoke.insert(SmokeTest::StationRedeem, not_possible)));
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert!(finished.says.contains("3 of 4 smoke tests passed, 1 finding"), "{}", finished.says);
    assert!(
        world
            .document("docs/incidents/dr-tabletop.md")
            .contains("- [ ] smoke-tests: station redeem: not possible")
    );
}

#[tokio::test]
async fn where_no_smoke_test_is_possible_nobody_knows_whether_staging_works() {
    let not_possible = || SmokeResult::NotPossible { says: "404, a page".to_owned() };
    let all = || SmokeTest::ALL.into_iter().map(|test| (test, not_possible()));
    let finished = world().with(|outside| outside.smoke.extend(all())).run().await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains("no smoke test could be made"), "{}", finished.says);
}

#[tokio::test]
async fn a_smoke_test_that_could_not_be_made_proves_nothing() {
    let world = world().with(|outside| drop(outside.smoke.remove(&SmokeTest::CampaignSend)));
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains("not known: campaign send"), "{}", finished.says);
}

/// R9: reviewed, never executed; what nobody confirms is a finding.
#[tokio::test]
async fn a_missing_checklist_or_rollback_owner_is_a_finding() {
    let mut world =
        world().with(|outside| drop(outside.documents.remove("docs/incidents/cutover-checklist.md")));
    world.exercise.rollback_owner = " ".to_owned();
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let retro = world.document("docs/incidents/dr-tabletop.md");
    assert!(
        retro.contains("- [ ] cutover-checklist: ") && retro.contains("- [ ] rollback-owner: "),
        "{retro}"
    );

    let world = self::world();
    let person = Person { types: "stagingref", at: ("DR-R2 rollback owner", "not-confirmed") };
    let finished = world.run_with(Arc::new(person)).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert!(world.artifact("tabletop-report.md").contains("Rollback owner: Alex, not confirmed."));
}

#[tokio::test]
async fn what_people_made_of_a_template_stays() {
    let path = "docs/incidents/templates/status-page-update.md";
    let world = world().with(|outside| drop(outside.documents.insert(path.to_owned(), "ours".to_owned())));
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!((world.document(path), world.times(&format!("write {path}"))), ("ours".to_owned(), 0));
    assert!(world.artifact("tabletop-report.md").contains(&format!("[{path}]({path})")));
}

#[tokio::test]
async fn an_edit_that_comes_in_between_is_kept() {
    let path = "docs/incidents/dr-tabletop.md";
    let edited = "# Notes\n\n## 2026-07-07 Tabletop\n\n- [ ] The door was locked.\n";
    let world = world().with(|outside| outside.edited_meanwhile = Some((path.to_owned(), edited.to_owned())));
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let notes = world.document(path);
    assert!(notes.starts_with("# Notes\n\n## 2026-10-06 Tabletop\n"), "{notes}");
    assert!(notes.ends_with("## 2026-07-07 Tabletop\n\n- [ ] The door was locked.\n"), "{notes}");
}

#[tokio::test]
async fn findings_are_carried_from_one_exercise_to_the_next() {
    let world = world().with(|outside| outside.copy_took = Duration::from_mins(11));
    world.run().await;
    let path = "docs/incidents/dr-tabletop.md";
    let notes = world.document(path).replacen(
        "### From",
        "- [ ] The door of the room was locked.\n- [x] exercise: somebody ticked this off.\n\n### From",
        1,
    );
    let outside = Outside {
        copy_took: Duration::from_secs(95),
        documents: BTreeMap::from([(path.to_owned(), notes)]),
        ..std::mem::take(&mut *self::world().outside.lock().unwrap())
    };
    let next =
        World { input: Input { date: Some("2027-01-05".parse().unwrap()), backup: None }, ..self::world() };
    *next.outside.lock().unwrap() = outside;
    next.run_again().await;
    let notes = next.document(path);
    let newest = notes.split("## 2026-10-06").next().unwrap();
    assert!(newest.contains("### From the last exercise (2026-10-06 Tabletop)"), "{newest}");
    assert!(
        newest.contains("- [x] copy-time: ") && newest.contains("→ looked for, not found again."),
        "{newest}"
    );
    assert!(newest.contains("- [ ] The door of the room was locked. → still open"), "{newest}");
    assert!(!newest.contains("ticked this off"), "{newest}");
}

#[tokio::test]
async fn a_control_is_put_on_the_checklist_once() {
    let before = "# System checklist\n\n## Disaster recovery\n\n- [x] `dr-parity-by-content`: ours\n\n## Other\n\n- [ ] x\n";
    let world = world()
        .with(|outside| drop(outside.documents.insert("SYSTEM_CHECKLIST.md".to_owned(), before.to_owned())));
    world.run().await;
    let list = world.document("SYSTEM_CHECKLIST.md");
    assert_eq!(list.matches("`dr-parity-by-content`").count(), 1, "{list}");
    assert!(list.contains("`dr-restore-from-bucket`") && list.ends_with("## Other\n\n- [ ] x\n"), "{list}");
    world.run_again().await;
    assert_eq!(world.document("SYSTEM_CHECKLIST.md"), list);
}

#[tokio::test]
async fn a_plan_names_every_effect_and_has_none() {
    let world = world();
    let plan = world.plan().await;
    assert!(world.calls.all().is_empty(), "{:?}", world.calls.all());
    let effects: Vec<&str> = plan.effects.iter().map(|effect| effect.effect.as_str()).collect();
    let expected = [
        "pagerduty.trigger",
        "pagerduty.call_in",
        "slack.post",
        "backup.take",
        "objects.copy",
        "staging.restore",
        "artifact.write",
        "backup.keep_file",
        "artifact.write",
        "backup.keep_file",
        "staging.smoke_test",
        "staging.smoke_test",
        "staging.smoke_test",
        "staging.smoke_test",
        "document.write",
        "document.write",
        "document.write",
        "document.write",
        "artifact.write",
        "pagerduty.resolve",
    ];
    assert_eq!(effects, expected);
    let shown = plan.effects.iter().flat_map(|effect| &effect.changes).map(ToString::to_string);
    assert!(shown.into_iter().any(|change| change.contains("s3://backups/supabase")));
}

#[tokio::test]
async fn what_was_planned_is_what_is_done() {
    let world = world();
    let plan = world.plan().await;
    let journal = MemoryJournal::new();
    let seam = Box::new(journal.seam(Arc::clone(&world.clock) as Arc<dyn Clock>).unwrap());
    let terms = Terms { plan: Some(plan), approved_by: Some("alex".to_owned()), ..terms(approver()) };
    let finished = execute(&world.runbook(), seam, terms).await.unwrap();
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let drifted = |entry: &Entry| matches!(entry.event, Event::Drifted { .. });
    assert!(!journal.entries().unwrap().iter().any(drifted));
}

/// The connection breaks during the backup, the copy and the restore: each is looked for before it is done again.
#[tokio::test]
async fn what_was_done_is_found_and_what_was_not_is_done_again() {
    for (lost, times) in [(Lost::AfterTheDeed, 1), (Lost::BeforeTheDeed, 2)] {
        for (before, call) in ["take backup", "copy objects", "restore"].into_iter().enumerate() {
            let answers = std::iter::repeat_n(None, before).chain([Some(lost)]).collect();
            let world = world().with(|outside| outside.lost = answers);
            let journal = MemoryJournal::new();
            let finished = world.go_on(&journal, approver()).await.unwrap();
            assert_eq!(finished.outcome, Outcome::Verified, "{call}: {}", finished.says);
            assert_eq!(world.times(call), times, "{call}, lost {lost:?}");
            let entries = journal.entries().unwrap();
            let asked = entries.iter().filter(|entry| matches!(entry.event, Event::Reconciled { .. }));
            assert_eq!(asked.count(), 1, "{call}, lost {lost:?}");
        }
    }
}

/// A seam that dies while it records its `at`th entry: what the entry tells of has happened, and is not recorded.
struct Dies {
    seam: Box<dyn Seam>,
    at: usize,
}

#[async_trait]
impl Seam for Dies {
    async fn record(&mut self, key: &str, body: BoxFuture<'_, Event>) -> Result<Recorded, SeamError> {
        if self.at == 0 {
            body.await;
            return Err(SeamError::Store { doing: "dying", detail: key.to_owned() });
        }
        self.at -= 1;
        self.seam.record(key, body).await
    }

    fn recorded(&self, key: &str) -> Option<&Entry> {
        self.seam.recorded(key)
    }

    async fn sleep(&mut self, until: Timestamp) -> Result<Woken, SeamError> {
        self.seam.sleep(until).await
    }

    async fn signal(
        &mut self,
        gate: &str,
        until: Option<Timestamp>,
        patience: bool,
    ) -> Result<Woken, SeamError> {
        self.seam.signal(gate, until, patience).await
    }

    async fn claim(&mut self, resource: &str) -> Result<(), SeamError> {
        self.seam.claim(resource).await
    }

    fn incarnation(&self) -> u32 {
        self.seam.incarnation()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.seam.clock()
    }
}

/// R5 and the issue's "never repeats": killed between each thing and its record, it goes on and does nothing twice.
#[tokio::test]
async fn killed_anywhere_it_goes_on_and_does_nothing_twice() {
    let mut deaths = 0;
    for at in 0.. {
        let world = world();
        let journal = MemoryJournal::new();
        let seam = Box::new(journal.seam(Arc::clone(&world.clock) as Arc<dyn Clock>).unwrap());
        let died = execute(&world.runbook(), Box::new(Dies { seam, at }), terms(approver())).await;
        if died.is_ok() {
            break;
        }
        deaths += 1;
        let finished = world.go_on(&journal, approver()).await.unwrap();
        assert_eq!(finished.outcome, Outcome::Verified, "killed at {at}: {}", finished.says);
        for once in ["page", "take backup", "copy objects", "restore", "chat #ops-status", "close incident"] {
            assert_eq!(world.times(once), 1, "killed at {at}: {once}");
        }
        let writes: Vec<String> = world
            .calls
            .all()
            .into_iter()
            .filter(|call| call.starts_with("write ") || call.starts_with("call in"))
            .collect();
        assert_eq!(writes.len(), 5, "killed at {at}: {writes:?}");
        let outside = world.outside.lock().unwrap();
        assert!(outside.tried.values().all(|markers| markers.len() == 1), "killed at {at}");
    }
    assert!(deaths > 80, "{deaths}");
}

/// The engine's own story of the run, made from the journal alone.
#[tokio::test]
async fn the_story_of_the_run_begins_with_what_was_found_first() {
    let world = world().with(|outside| outside.copy_took = Duration::from_mins(11));
    let journal = MemoryJournal::new();
    world.go_on(&journal, approver()).await.unwrap();
    let story = to_markdown(&Postmortem::from_entries(&journal.entries().unwrap(), super::STEPS));
    assert!(story.contains("At the start the run found: 2026-10-06 is in the cadence"), "{story}");
    assert!(story.contains("copy-time: the copy of the buckets took 11 min"), "{story}");
}

#[tokio::test]
async fn a_run_that_waits_has_not_ended() {
    let world = world();
    let finished = world.run_with(Arc::new(Nobody)).await;
    assert_eq!(finished.outcome, Outcome::WaitingForHuman, "{}", finished.says);
    assert!(world.calls.all().is_empty());
}

#[tokio::test]
async fn an_abort_is_heard_at_every_step() {
    let world = world();
    let journal = MemoryJournal::new();
    let seam = journal.seam(Arc::clone(&world.clock) as Arc<dyn Clock>).unwrap();
    let before_restore = Arc::new(AnswersOnly { gates: &["DR-P2 begin"] });
    execute(&world.runbook(), Box::new(seam), terms(before_restore)).await.unwrap();
    journal.abort("kim");
    let finished = world.go_on(&journal, approver()).await.unwrap();
    assert_eq!((finished.outcome, world.times("restore")), (Outcome::Rejected, 0), "{}", finished.says);
}
