//! The stage of a drilled exercise: two Postgres clusters, an S3 server, and a staging platform over the target.
//!
//! It belongs to the sandbox's process and not to the drill's, for the reason that the world does: whoever resumes a drill
//! that was killed must find everything as it was left.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use allclear_clients::Settings;
use allclear_clients::smoke::StationLogin;
use allclear_clients::storage::StorageAccess;
use allclear_core::platform::Recovery;
use allclear_core::ports::StagingDatabase;
use allclear_core::recovery::{
    BackupId, Exercise, Objectives, Parity, Participant, Restored, Role, TargetCheck, Watcher,
};
use allclear_core::{Clock, PortError, Service};
use allclear_dr::cluster::{Cluster, ClusterOptions};
use allclear_dr::database::{Databases, MaskingProfile};
use allclear_dr::seed;
use allclear_sandbox::s3::S3Server;
use allclear_sandbox::{StagingPlatform, StorageServer, Twist};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::exercise;
use crate::exit::CliError;
use crate::recovery::{EvidencePlace, ObjectService, RecoverySettings};

/// The name of both databases, as at Supabase.
const DATABASE: &str = "postgres_platform";
/// Rows in the source: enough to see, and no wait.
const ROWS: u64 = 20_000;
/// Where backups are kept.
const BACKUPS: &str = "backups";
/// Where the exercise's files are kept for people.
const EVIDENCE: &str = "exercises";
/// The platform's buckets, and how many objects of 30 KiB each has.
const BUCKETS: [(&str, u32); 2] = [("vouchers", 300), ("insurance-docs", 40)];
const OBJECT_BYTES: usize = 30 * 1024;

/// Where everything is. It holds the passwords of throwaway servers, and none of anything else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StageMap {
    pub(crate) source_database: String,
    pub(crate) target_database: String,
    pub(crate) s3: String,
    pub(crate) s3_access_key: String,
    pub(crate) s3_secret_key: String,
    pub(crate) bucket: String,
    pub(crate) object_buckets: Vec<String>,
    /// Supabase Storage over the platform's buckets, the API's base.
    pub(crate) storage: String,
    /// Supabase Storage of the evidence's bucket, which is another project's.
    pub(crate) evidence: String,
    /// The staging platform's base address.
    pub(crate) staging: String,
    /// A station that may sign in there; its passcode is its code.
    pub(crate) station: String,
    /// The folder of the team's documents.
    pub(crate) documents: PathBuf,
    pub(crate) twist: Twist,
}

/// The stage, for as long as it is kept.
pub(crate) struct Stage {
    map: StageMap,
    _source: Cluster,
    _target: Cluster,
    _objects: S3Server,
    _storage: [StorageServer; 2],
    _staging: StagingPlatform,
    folder: PathBuf,
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Stage {
    /// Builds it below the system's folder for temporary files.
    pub(crate) async fn build(twist: Twist) -> Result<Self, CliError> {
        let folder = std::env::temp_dir().join(format!("allclear-stage-{}", std::process::id()));
        let files = |error: std::io::Error| CliError::internal(format!("{}: {error}", folder.display()));
        make_documents(&folder.join("documents")).map_err(files)?;
        let (source, target) = clusters(&folder).await?;
        let objects = S3Server::start(&folder.join("objects"), 0).await.map_err(files)?;
        fill_buckets(&objects).map_err(files)?;
        // The same folder: both show the same objects, as the two protocols of one Storage do.
        let storage = StorageServer::start(objects.folder(), 0).await.map_err(files)?;
        let evidence = StorageServer::start(&folder.join("evidence"), 0).await.map_err(files)?;
        evidence.make_bucket(EVIDENCE).map_err(files)?;
        let target_url = url(&target);
        let staging = StagingPlatform::start(&target_url, 0, twist).await.map_err(files)?;
        let source_database = url(&source);
        let map = StageMap {
            target_database: if twist == Twist::WrongTarget { source_database.clone() } else { target_url },
            source_database,
            s3: objects.base_url(),
            s3_access_key: allclear_sandbox::s3::ACCESS_KEY.to_owned(),
            s3_secret_key: allclear_sandbox::s3::SECRET_KEY.to_owned(),
            bucket: BACKUPS.to_owned(),
            object_buckets: BUCKETS.iter().map(|(name, _)| (*name).to_owned()).collect(),
            storage: storage.base_url(),
            evidence: evidence.base_url(),
            staging: staging.base_url(),
            station: "ENG1".to_owned(),
            documents: folder.join("documents"),
            twist,
        };
        Ok(Self {
            map,
            _source: source,
            _target: target,
            _objects: objects,
            _storage: [storage, evidence],
            _staging: staging,
            folder,
        })
    }

    /// Where everything is, for whoever drills.
    pub(crate) fn map(&self) -> &StageMap {
        &self.map
    }
}

impl StageMap {
    /// The ports of a drilled exercise, with what the scenario makes go wrong between a restore and its comparison.
    pub(crate) fn recovery(
        &self,
        platform: &Settings,
        work: &Path,
        clock: &Arc<dyn Clock>,
        watcher: &Arc<dyn Watcher>,
    ) -> Result<Recovery, CliError> {
        // Staging is a platform of its own; the rest (PagerDuty, the host) is the sandbox.
        let mut staging = platform.clone();
        staging.endpoints.admin = format!("{}/admin", self.staging);
        staging.endpoints.supabase = format!("{}/supabase", self.staging);
        let wired = exercise::recovery(&self.settings(), &staging, work, clock, watcher)?;
        if self.twist != Twist::ChangedRow {
            return Ok(wired);
        }
        let database = self.target_database.clone();
        Ok(Recovery { staging: Arc::new(ChangedRow { staging: wired.staging, database }), ..wired })
    }

    /// What a drill's exercise is told.
    fn settings(&self) -> RecoverySettings {
        let service = ObjectService {
            endpoint: self.s3.clone(),
            region: "us-east-1".to_owned(),
            access_key: self.s3_access_key.clone(),
            secret_key: self.s3_secret_key.clone().into(),
        };
        let storage = |endpoint: &str| StorageAccess {
            endpoint: endpoint.to_owned(),
            key: allclear_sandbox::SERVICE_KEY.into(),
        };
        RecoverySettings {
            source_project: allclear_sandbox::PROJECT.to_owned(),
            source_database: self.source_database.clone().into(),
            target_database: self.target_database.clone().into(),
            schemas: vec!["public".to_owned()],
            routing_key: allclear_sandbox::PAGERDUTY_ROUTING_KEY.into(),
            backups: service.clone(),
            bucket: self.bucket.clone(),
            prefix: "supabase".to_owned(),
            objects: service,
            object_buckets: self.object_buckets.clone(),
            inventory: Some(storage(&self.storage)),
            evidence: Some(EvidencePlace { access: storage(&self.evidence), bucket: EVIDENCE.to_owned() }),
            station: StationLogin { code: self.station.clone(), passcode: self.station.clone().into() },
            masking: MaskingProfile::default(),
            signing: None,
            documents: self.documents.clone(),
            exercise: Exercise {
                participants: participants(),
                rollback_owner: "data platform".to_owned(),
                status_channel: "#ops-status".to_owned(),
                destination: String::new(),
                copy_budget: Duration::from_mins(5),
                objectives: Objectives::default(),
                cutover_checklist: CUTOVER_PATH.to_owned(),
                runbook_file: None,
                incident_services: Vec::new(),
            },
        }
    }
}

/// One for each role; the sandbox's PagerDuty knows their ids.
fn participants() -> Vec<Participant> {
    let names = ["engineer on call", "data platform", "support", "customer success"];
    let users = allclear_sandbox::PAGERDUTY_USERS;
    Role::ALL
        .into_iter()
        .zip(names)
        .zip(users)
        .map(|((role, name), user)| Participant {
            role,
            name: name.to_owned(),
            pagerduty_user: user.to_owned(),
        })
        .collect()
}

fn url(cluster: &Cluster) -> String {
    format!("postgres://postgres:{}@127.0.0.1:{}/{DATABASE}", cluster.password(), cluster.port())
}

/// Production with rows, and staging with the platform's tables, enrolled.
async fn clusters(folder: &Path) -> Result<(Cluster, Cluster), CliError> {
    let start = |name: &str| {
        let parent = folder.join(name);
        std::fs::create_dir_all(&parent).map_err(|error| CliError::internal(error.to_string()))?;
        Cluster::start(&parent, &ClusterOptions::default())
            .map_err(|error| CliError::usage(error.to_string()))
    };
    let (source, target) = (start("production")?, start("staging")?);
    let failed = |error: allclear_dr::database::DatabaseError| CliError::internal(error.to_string());
    for cluster in [&source, &target] {
        seed::project(cluster, DATABASE).await.map_err(failed)?;
        seed::tables(cluster, DATABASE).await.map_err(failed)?;
    }
    seed::rows(&source, DATABASE, ROWS).await.map_err(failed)?;
    let databases = Databases {
        source: source.url(DATABASE),
        target: target.url(DATABASE),
        production_project: None,
        staging_project: None,
        schemas: vec!["public".to_owned()],
    };
    databases.enrol().await.map_err(failed)?;
    Ok((source, target))
}

fn fill_buckets(server: &S3Server) -> std::io::Result<()> {
    server.make_bucket(BACKUPS)?;
    for (bucket, objects) in BUCKETS {
        server.make_bucket(bucket)?;
        for number in 0..objects {
            // Different contents of one size, the same in every drill.
            let content = vec![(number % 251) as u8; OBJECT_BYTES];
            let file = server.folder().join(bucket).join(format!("{number:05}.png"));
            std::fs::write(file, [&number.to_le_bytes()[..], &content].concat())?;
        }
    }
    Ok(())
}

/// What a team has before its first exercise: the checklist of controls and that of a cutover.
fn make_documents(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder.join("docs/incidents"))?;
    std::fs::write(folder.join("SYSTEM_CHECKLIST.md"), CHECKLIST)?;
    std::fs::write(folder.join(CUTOVER_PATH), CUTOVER)
}

const CHECKLIST: &str = "# System checklist\n\n- [x] Backups are taken every night\n- [x] Secrets are kept outside the repository\n";

const CUTOVER_PATH: &str = "docs/incidents/cutover-checklist.md";

const CUTOVER: &str = "# Cutover checklist\n\n\
- [ ] DNS: lower the TTL of `app` and `admin` to 60 s a day before\n\
- [ ] DNS: point `app` and `admin` at the restored project\n\
- [ ] Environment: `SUPABASE_URL` and keys of the restored project in the app, the admin API and the functions\n\
- [ ] Environment: `WA_PHONE_ID` and token unchanged\n\
- [ ] Dispatcher: off until the send queue was looked at\n\
- [ ] Rollback: the old project stays as it is for 48 h\n";

/// Staging in which somebody changes a row as soon as it is restored: what a comparison must find.
struct ChangedRow {
    staging: Arc<dyn StagingDatabase>,
    database: String,
}

#[async_trait]
impl StagingDatabase for ChangedRow {
    async fn compare(&self) -> Result<TargetCheck, PortError> {
        self.staging.compare().await
    }

    async fn restore(&self, id: &BackupId) -> Result<Restored, PortError> {
        let restored = self.staging.restore(id).await?;
        change_a_row(&self.database).await.map_err(|error| PortError::Unavailable {
            service: Service::Database,
            call: "change a row".to_owned(),
            detail: error.to_string(),
        })?;
        Ok(restored)
    }

    async fn find(&self, id: &BackupId) -> Result<Option<Restored>, PortError> {
        self.staging.find(id).await
    }

    async fn parity(&self, id: &BackupId) -> Result<Parity, PortError> {
        self.staging.parity(id).await
    }
}

async fn change_a_row(database: &str) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(database, tokio_postgres::NoTls).await?;
    let talking = tokio::spawn(connection);
    let changed = client
        .batch_execute("update audit_log set action = action || '!' where id = (select min(id::text)::uuid from audit_log)")
        .await;
    talking.abort();
    changed
}
