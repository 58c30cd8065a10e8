//! The world of the exercise's tests: what is outside, mocks over it, and people.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use allclear_core::error::{Service, StopReason};
use allclear_core::incident::{Incident, IncidentStatus};
use allclear_core::platform::Recovery;
use allclear_core::ports::*;
use allclear_core::recovery::*;
use allclear_core::{Clock, Platform, PortError, VirtualClock};
use allclear_engine::{Finished, Humans, MemoryJournal, Plan, SeamError, Terms, execute, plan};
use async_trait::async_trait;
use jiff::Timestamp;

use super::super::{DrTabletop, Input};
use crate::mocked::{self, Calls, approver};

pub(super) fn start() -> Timestamp {
    "2026-10-06T14:00:00Z".parse().unwrap()
}

pub(super) fn after(seconds: u64) -> Timestamp {
    start() + Duration::from_secs(seconds)
}

/// What there is outside, and what was done to it.
#[derive(Default)]
pub(super) struct Outside {
    /// So many questions for the hosted backups are answered 401.
    pub(super) refusals: u32,
    pub(super) incident: Option<Incident>,
    pub(super) pages: Vec<Page>,
    pub(super) asked: Vec<String>,
    pub(super) acks: Vec<Acknowledgement>,
    pub(super) acks_unread: bool,
    pub(super) messages: Vec<ChatMessage>,
    pub(super) backup: Option<Backup>,
    pub(super) backup_took: Duration,
    pub(super) copy: Option<ObjectCopy>,
    pub(super) copy_took: Duration,
    /// So much time goes by on everybody's clock while the buckets are copied, and while the backup is restored.
    pub(super) copy_passes: Duration,
    pub(super) restore_passes: Duration,
    /// So far the clock of staging's database is behind.
    pub(super) staging_behind: Duration,
    pub(super) restored: Option<Restored>,
    /// What becomes of the answers to the next deeds (backup, copy, restore), in order.
    pub(super) lost: VecDeque<Option<Lost>>,
    /// One for each look; the last one stays.
    pub(super) checks: VecDeque<TargetCheck>,
    pub(super) changed_row: bool,
    pub(super) smoke: BTreeMap<SmokeTest, SmokeResult>,
    /// By test: the markers it was tried with.
    pub(super) tried: BTreeMap<SmokeTest, Vec<String>>,
    pub(super) bucket: BTreeMap<String, Vec<u8>>,
    pub(super) artifacts: BTreeMap<String, Vec<u8>>,
    /// The platform's own list of its bucket; `None` where the environment has no way to it.
    pub(super) listed: Option<Result<Vec<StoredObject>, PortError>>,
    /// The evidence's bucket; `None` where the environment has none.
    pub(super) shelf: Option<BTreeMap<String, Vec<u8>>>,
    /// What becomes of the answers to the next uploads, in order.
    pub(super) uploads_lost: VecDeque<Lost>,
    pub(super) documents: BTreeMap<String, String>,
    /// What is open on the team's services.
    pub(super) open: Vec<Incident>,
    /// A real incident is opened with the next of these calls, e.g. `take backup`.
    pub(super) incident_with: Option<&'static str>,
    /// Somebody edits this document between our look and our write, once.
    pub(super) edited_meanwhile: Option<(String, String)>,
}

/// An answer that does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    AfterTheDeed,
    BeforeTheDeed,
}

impl Outside {
    /// Does a thing whose answer may get lost.
    pub(super) fn done<T: Clone>(&mut self, what: T, put: impl FnOnce(&mut Self, T)) -> Result<T, PortError> {
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

pub(super) struct World {
    pub(super) clock: Arc<VirtualClock>,
    pub(super) calls: Calls,
    pub(super) outside: Arc<Mutex<Outside>>,
    pub(super) exercise: Exercise,
    pub(super) input: Input,
}

pub(super) fn identity(host: &str, project: &str, system_identifier: &str) -> DatabaseIdentity {
    DatabaseIdentity {
        host: host.to_owned(),
        port: 5432,
        database: "postgres".to_owned(),
        project: Some(project.to_owned()),
        system_identifier: system_identifier.to_owned(),
        server_version: "15.18".to_owned(),
    }
}

pub(super) fn fit() -> TargetCheck {
    TargetCheck {
        source: identity("db.production.example", "prodref", "7001"),
        target: identity("db.staging.example", "stagingref", "7002"),
        confirmation: "stagingref".to_owned(),
        objections: Vec::new(),
    }
}

pub(super) fn tables() -> Vec<TableContent> {
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

pub(super) fn stored(name: &str, bytes: u64, changed_at: Option<Timestamp>) -> StoredObject {
    StoredObject { name: name.to_owned(), bytes: Some(bytes), changed_at }
}

pub(super) fn took(what: &str, took: Duration) -> Vec<Took> {
    vec![Took { what: what.to_owned(), took }]
}

/// The service on which the team has its real incidents.
pub(super) const SERVICE: &str = "PREAL1";

pub(super) fn real_incident() -> Incident {
    Incident {
        id: "PINC9".to_owned(),
        dedup_key: Some("sends-fail".to_owned()),
        title: "Sends fail".to_owned(),
        status: IncidentStatus::Acknowledged,
        created_at: Some(start()),
    }
}

/// A world in which all goes well, on a day of the cadence.
pub(super) fn world() -> World {
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
            objectives: Objectives::default(),
            cutover_checklist: "docs/incidents/cutover-checklist.md".to_owned(),
            runbook_file: None,
            incident_services: Vec::new(),
        },
        input: Input::default(),
    }
}

impl World {
    pub(super) fn with(self, change: impl FnOnce(&mut Outside)) -> Self {
        change(&mut self.outside.lock().unwrap());
        self
    }

    /// The same later, between two runs.
    pub(super) fn with_now(&self, change: impl FnOnce(&mut Outside)) {
        change(&mut self.outside.lock().unwrap());
    }

    /// When the snapshot was taken, and when the restore began, as the databases say.
    pub(super) fn moments(&self) -> (Timestamp, Timestamp) {
        let outside = self.outside.lock().unwrap();
        (outside.backup.as_ref().unwrap().snapshot_at, outside.restored.as_ref().unwrap().began_at.unwrap())
    }

    pub(super) fn on_date(mut self, date: &str) -> Self {
        self.input.date = Some(date.parse().unwrap());
        self
    }

    pub(super) fn host(&self) -> MockBackupHost {
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

    pub(super) fn backups(&self) -> MockDatabaseBackups {
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

    pub(super) fn copies(&self) -> MockObjectCopies {
        let mut mock = MockObjectCopies::new();
        let (outside, calls) = (Arc::clone(&self.outside), self.calls.clone());
        let clock = Arc::clone(&self.clock);
        mock.expect_copy().returning(move |id| {
            calls.note("copy objects");
            let mut outside = outside.lock().unwrap();
            clock.advance(outside.copy_passes);
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

    pub(super) fn stored(&self) -> Option<Arc<dyn StoredObjects>> {
        let listed = self.outside.lock().unwrap().listed.clone()?;
        let mut mock = MockStoredObjects::new();
        mock.expect_of_bucket().returning(move |bucket| {
            assert_eq!(bucket, "vouchers");
            listed.clone()
        });
        Some(Arc::new(mock))
    }

    pub(super) fn evidence(&self) -> Option<Arc<dyn EvidenceShelf>> {
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

    pub(super) fn staging(&self) -> MockStagingDatabase {
        let mut mock = MockStagingDatabase::new();
        let outside = Arc::clone(&self.outside);
        mock.expect_compare().returning(move || {
            let checks = &mut outside.lock().unwrap().checks;
            Ok(if checks.len() > 1 { checks.pop_front().unwrap() } else { checks[0].clone() })
        });
        let (outside, calls) = (Arc::clone(&self.outside), self.calls.clone());
        let clock = Arc::clone(&self.clock);
        mock.expect_restore().returning(move |id| {
            calls.note("restore");
            let passes = outside.lock().unwrap().restore_passes;
            let began_at = clock.now() - outside.lock().unwrap().staging_behind;
            clock.advance(passes);
            let restored = Restored {
                id: id.clone(),
                tables: 3,
                rows: 23_216,
                put_aside: Some("public_before_20261006".to_owned()),
                notes: Vec::new(),
                began_at: Some(began_at),
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
            Ok(Parity {
                tables: tables().into_iter().map(compare).collect(),
                took: Duration::from_secs(2),
                ..Parity::default()
            })
        });
        mock
    }

    pub(super) fn smoke(&self) -> MockSmokeTests {
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

    pub(super) fn paging(&self) -> MockPaging {
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

    pub(super) fn acknowledgements(&self) -> MockAcknowledgements {
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

    pub(super) fn incidents(&self) -> MockOpenIncidents {
        let mut mock = MockOpenIncidents::new();
        let (outside, calls) = (Arc::clone(&self.outside), self.calls.clone());
        mock.expect_on_services().returning(move |services| {
            assert_eq!(services, [SERVICE]);
            let mut outside = outside.lock().unwrap();
            if let Some(with) = outside.incident_with
                && calls.all().iter().any(|call| call == with)
            {
                outside.incident_with = None;
                outside.open.push(real_incident());
            }
            // The exercise's own stands on a list too that nobody keeps apart.
            Ok(outside.open.iter().cloned().chain(outside.incident.clone()).collect())
        });
        mock
    }

    pub(super) fn documents(&self) -> MockDocuments {
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

    pub(super) fn chat(&self) -> MockChat {
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

    pub(super) fn artifacts(&self) -> MockArtifacts {
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

    pub(super) fn runbook(&self) -> DrTabletop {
        let recovery = Recovery {
            host: Arc::new(self.host()),
            backups: Arc::new(self.backups()),
            copies: Arc::new(self.copies()),
            staging: Arc::new(self.staging()),
            smoke: Arc::new(self.smoke()),
            paging: Arc::new(self.paging()),
            acknowledgements: Arc::new(self.acknowledgements()),
            incidents: Arc::new(self.incidents()),
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

    pub(super) async fn run(&self) -> Finished {
        self.run_with(approver()).await
    }

    pub(super) async fn run_with(&self, humans: Arc<dyn Humans>) -> Finished {
        mocked::run(&self.runbook(), Arc::clone(&self.clock), humans).await
    }

    /// Another run, later, on what the first one left.
    pub(super) async fn run_again(&self) -> Finished {
        let terms = Terms { humans: approver(), ..Terms::new("run-2", "kim", "unit") };
        let seam = MemoryJournal::new().seam(Arc::clone(&self.clock) as Arc<dyn Clock>).unwrap();
        execute(&self.runbook(), Box::new(seam), mocked::unplanned("run-2"), terms).await.unwrap()
    }

    /// One incarnation on a journal.
    pub(super) async fn go_on(
        &self,
        journal: &MemoryJournal,
        humans: Arc<dyn Humans>,
    ) -> Result<Finished, SeamError> {
        let seam = Box::new(journal.seam(Arc::clone(&self.clock) as Arc<dyn Clock>)?);
        execute(&self.runbook(), seam, mocked::unplanned("run-1"), terms(humans)).await
    }

    pub(super) async fn plan(&self) -> Plan {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        plan(&self.runbook(), terms(approver()), clock).await.unwrap()
    }

    pub(super) fn artifact(&self, name: &str) -> String {
        let outside = self.outside.lock().unwrap();
        String::from_utf8(outside.artifacts.get(name).unwrap_or_else(|| panic!("no {name}")).clone()).unwrap()
    }

    pub(super) fn document(&self, path: &str) -> String {
        self.outside.lock().unwrap().documents.get(path).unwrap_or_else(|| panic!("no {path}")).clone()
    }

    pub(super) fn times(&self, call: &str) -> usize {
        self.calls.all().iter().filter(|one| *one == call).count()
    }
}

pub(super) fn terms(humans: Arc<dyn Humans>) -> Terms {
    Terms { humans, ..Terms::new("run-1", "kim", "unit") }
}

pub(super) fn artifact(name: &str, content: &[u8]) -> Artifact {
    let sha256 = allclear_engine::journal::digest(content);
    Artifact { name: name.to_owned(), bytes: content.len() as u64, sha256 }
}

/// A file of the run that is being written.
pub(super) struct File {
    pub(super) name: String,
    pub(super) content: Vec<u8>,
    pub(super) outside: Arc<Mutex<Outside>>,
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
