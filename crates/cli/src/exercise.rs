//! The ports of the disaster recovery exercise, wired.

use std::path::Path;
use std::sync::Arc;

use allclear_clients::Settings;
use allclear_clients::documents::DocumentFolder;
use allclear_clients::management::Management;
use allclear_clients::pagerduty::PagerDuty;
use allclear_clients::smoke::StagingSmokeTests;
use allclear_clients::storage::{BucketLists, EvidenceBucket};
use allclear_core::platform::Recovery;
use allclear_core::ports::{EvidenceShelf, StoredObjects};
use allclear_core::recovery::{Exercise, Watcher};
use allclear_core::{Clock, error::InvalidValue};
use allclear_dr::database::{BackupBucket, DatabaseUrl, Databases, PostgresBackups, PostgresStaging};
use allclear_dr::storage::{S3Access, S3Copies, S3Settings, Source, connect};

use secrecy::{ExposeSecret as _, SecretString};

use crate::clock::SystemClock;
use crate::exit::CliError;
use crate::recovery::{ObjectService, RecoverySettings};

/// Wires them. `staging` are the clients' settings of the environment that is restored into; dumps, downloads and ledgers lie
/// below `work`, where the run finds them again when it is resumed.
pub(crate) fn recovery(
    told: &RecoverySettings,
    staging: &Settings,
    work: &Path,
    clock: &Arc<dyn Clock>,
    watcher: &Arc<dyn Watcher>,
) -> Result<Recovery, CliError> {
    let bucket = connect(&S3Settings {
        access: access(&told.backups),
        bucket: told.bucket.clone(),
        prefix: told.prefix.clone(),
    })
    .map_err(|error| unusable("bucket", &error))?;
    let backups = BackupBucket {
        store: bucket.object_store(),
        prefix: bucket.prefix().clone(),
        title: bucket.address("").trim_end_matches('/').to_owned(),
    };
    let destination = backups.title.clone();
    let url = |field, text: &SecretString| {
        let parsed: Result<DatabaseUrl, _> = text.expose_secret().parse();
        parsed.map_err(|error| CliError::usage(format!("recovery.{field}: {error}")))
    };
    let source = url("source_database", &told.source_database)?;
    let databases = Databases {
        source: source.clone(),
        target: url("target_database", &told.target_database)?,
        production_project: Some(told.source_project.clone()),
        staging_project: Some(staging.supabase_project.clone()),
        schemas: told.schemas.clone(),
    };
    // Requests to S3 are signed with the time, and a server refuses one that is not its own: a drill's world has another.
    let machine: Arc<dyn Clock> = Arc::new(SystemClock);
    let objects = Source::buckets(access(&told.objects), told.object_buckets.clone(), Arc::clone(&machine))
        .map_err(|error| unusable("objects", &error))?;
    let config = |error: allclear_clients::ConfigError| CliError::usage(format!("recovery: {error}"));
    let pagerduty = Arc::new(PagerDuty::connect(staging, &told.routing_key, clock).map_err(config)?);
    let stored = match &told.inventory {
        Some(access) => {
            let lists = BucketLists::connect(staging, access, clock).map_err(config)?;
            Some(Arc::new(lists) as Arc<dyn StoredObjects>)
        }
        None => None,
    };
    let evidence = evidence(told, staging, run_of(work), clock)?;
    Ok(Recovery {
        host: Arc::new(Management::of_project(staging, &told.source_project, clock).map_err(config)?),
        paging: pagerduty.clone(),
        incidents: pagerduty.clone(),
        acknowledgements: pagerduty,
        backups: Arc::new(PostgresBackups::new(
            source,
            told.schemas.clone(),
            backups.clone(),
            work.join("backup"),
            Arc::clone(watcher),
        )),
        copies: Arc::new(
            S3Copies::new(bucket, objects, work.join("copy"), machine).watched_by(Arc::clone(watcher)),
        ),
        staging: Arc::new(
            PostgresStaging::new(databases, backups, work.join("restore"), Arc::clone(watcher))
                .masked_by(told.masking.clone()),
        ),
        smoke: Arc::new(StagingSmokeTests::new(staging, told.station.clone(), clock).map_err(config)?),
        documents: Arc::new(DocumentFolder::at(told.documents.clone())),
        stored,
        evidence: evidence.map(|bucket| Arc::new(bucket) as Arc<dyn EvidenceShelf>),
        exercise: Exercise { destination, ..told.exercise.clone() },
    })
}

/// The bucket of a run's files; `None` where the environment has none.
pub(crate) fn evidence(
    told: &RecoverySettings,
    staging: &Settings,
    run: &str,
    clock: &Arc<dyn Clock>,
) -> Result<Option<EvidenceBucket>, CliError> {
    let Some(place) = &told.evidence else { return Ok(None) };
    EvidenceBucket::connect(staging, &place.access, &place.bucket, run, clock)
        .map(Some)
        .map_err(|error| CliError::usage(format!("recovery.evidence: {error}")))
}

/// The run that a folder of its work belongs to: what is kept as evidence lies in a folder of that name.
fn run_of(work: &Path) -> &str {
    work.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or("plan")
}

fn access(service: &ObjectService) -> S3Access {
    let ObjectService { endpoint, region, access_key, secret_key } = service.clone();
    S3Access { endpoint, region, access_key, secret_key, path_style: true }
}

fn unusable(field: &str, error: &InvalidValue) -> CliError {
    CliError::usage(format!("recovery.{field}: {error}"))
}
