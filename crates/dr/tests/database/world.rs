//! Two private clusters for all tests, and a pair of databases for each.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use allclear_core::ports::{DatabaseBackups as _, StagingDatabase as _};
use allclear_core::recovery::{Backup, BackupId, Parity, Restored, Unwatched};
use allclear_dr::cluster::{Cluster, ClusterOptions};
use allclear_dr::database::{BackupBucket, DatabaseUrl, Databases, PostgresBackups, PostgresStaging};
use allclear_dr::seed;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;

/// Which cluster plays what.
pub(crate) struct Clusters {
    pub(crate) production: Cluster,
    pub(crate) staging: Cluster,
}

/// Names the folder of production's server, where it is not the newest that is installed.
const PRODUCTION_PROGRAMS: &str = "ALLCLEAR_PRODUCTION_POSTGRES";
/// The same of staging's.
const STAGING_PROGRAMS: &str = "ALLCLEAR_STAGING_POSTGRES";

/// Whether the servers are the ones that the whole suite is written for, with everything that Debian's have.
pub(crate) fn are_usual() -> bool {
    [PRODUCTION_PROGRAMS, STAGING_PROGRAMS].iter().all(|name| std::env::var_os(name).is_none())
}

pub(crate) fn options(settings: &[(&str, &str)]) -> ClusterOptions {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    ClusterOptions { settings, ..ClusterOptions::default() }
}

/// Both, started by the first test that asks; they end with this process.
pub(crate) fn clusters() -> &'static Clusters {
    static CLUSTERS: OnceLock<Clusters> = OnceLock::new();
    CLUSTERS.get_or_init(|| {
        let start = |settings: &[(&str, &str)], programs: &str| {
            let programs = std::env::var_os(programs).map(PathBuf::from);
            let options = ClusterOptions { programs, ..options(settings) };
            Cluster::start(&std::env::temp_dir(), &options).unwrap_or_else(|error| panic!("{error}"))
        };
        let logged = [("log_statement", "ddl"), ("log_line_prefix", "%d/%a ")];
        std::thread::scope(|scope| {
            let production = scope.spawn(|| start(&logged, PRODUCTION_PROGRAMS));
            let staging = start(&[], STAGING_PROGRAMS);
            Clusters { production: production.join().unwrap(), staging }
        })
    })
}

/// One exercise of its own: a database on either cluster, a bucket, a folder to work in.
pub(crate) struct Exercise {
    pub(crate) name: String,
    pub(crate) databases: Databases,
    folder: tempfile::TempDir,
}

impl Exercise {
    /// Production with about this many rows; staging enrolled, with an older state of its own.
    pub(crate) async fn with_rows(name: &str, rows: u64) -> Self {
        let exercise = Self::not_enrolled(name).await;
        let Clusters { production, staging } = clusters();
        seed::tables(production, name).await.unwrap();
        if rows > 0 {
            seed::rows(production, name, rows).await.unwrap();
        }
        let old = "CREATE TABLE public.settings (key text PRIMARY KEY, value text); \
                   INSERT INTO public.settings VALUES ('state', 'before')";
        staging.run(name, old).await.unwrap();
        exercise.databases.enrol().await.unwrap();
        exercise
    }

    /// Two empty projects.
    pub(crate) async fn not_enrolled(name: &str) -> Self {
        let Clusters { production, staging } = clusters();
        seed::project(production, name).await.unwrap();
        seed::project(staging, name).await.unwrap();
        let databases = Databases {
            source: production.url(name),
            target: staging.url(name),
            production_project: None,
            staging_project: None,
            schemas: vec!["public".to_owned()],
        };
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("store")).unwrap();
        Self { name: name.to_owned(), databases, folder }
    }

    pub(crate) fn id() -> BackupId {
        "dr-2026-11-25".parse().unwrap()
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub(crate) fn bucket(&self) -> BackupBucket {
        let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(self.store()).unwrap());
        BackupBucket { store, prefix: "supabase".into(), title: "s3://backups/supabase".to_owned() }
    }

    pub(crate) fn backups(&self) -> PostgresBackups {
        self.backups_of(self.databases.source.clone())
    }

    pub(crate) fn backups_of(&self, source: DatabaseUrl) -> PostgresBackups {
        let schemas = self.databases.schemas.clone();
        PostgresBackups::new(source, schemas, self.bucket(), self.work(), Arc::new(Unwatched))
    }

    pub(crate) fn staging(&self) -> PostgresStaging {
        self.staging_working_in(self.work())
    }

    pub(crate) fn staging_working_in(&self, work: PathBuf) -> PostgresStaging {
        PostgresStaging::new(self.databases.clone(), self.bucket(), work, Arc::new(Unwatched))
    }

    pub(crate) async fn take(&self) -> Backup {
        self.backups().take(&Self::id()).await.unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) async fn restore(&self) -> Restored {
        self.staging().restore(&Self::id()).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Asks staging for one value.
    pub(crate) async fn staging_says(&self, sql: &str) -> String {
        one(clusters().staging.run(&self.name, sql).await.unwrap())
    }

    /// Asks production for one value, or changes it, as the platform would.
    pub(crate) async fn production_says(&self, sql: &str) -> String {
        one(clusters().production.run(&self.name, sql).await.unwrap())
    }

    /// Takes the backup, restores it and compares; what failed, in words.
    pub(crate) async fn backups_and_restores(&self) -> Result<(Restored, Parity), String> {
        let id = Self::id();
        self.backups().take(&id).await.map_err(|error| format!("backup: {error}"))?;
        let restored = self.staging().restore(&id).await.map_err(|error| format!("restore: {error}"))?;
        let parity = self.staging().parity(&id).await.map_err(|error| format!("comparison: {error}"))?;
        Ok((restored, parity))
    }

    pub(crate) async fn on_staging(&self, sql: &str) -> Result<Vec<Vec<String>>, String> {
        clusters().staging.run(&self.name, sql).await.map_err(|error| error.to_string())
    }

    pub(crate) async fn on_production(&self, sql: &str) -> Result<Vec<Vec<String>>, String> {
        clusters().production.run(&self.name, sql).await.map_err(|error| error.to_string())
    }

    /// Removes the databases, so that many exercises do not fill a disk.
    pub(crate) async fn gone(&self) {
        let drop = format!("DROP DATABASE IF EXISTS \"{}\" WITH (FORCE)", self.name);
        for cluster in [&clusters().production, &clusters().staging] {
            let _ = cluster.run("postgres", &drop).await;
        }
    }

    /// Staging is as it was before any restore, and no schema of ours is left or visible.
    pub(crate) async fn assert_staging_untouched(&self) {
        assert_eq!(
            self.staging_says("SELECT value FROM public.settings WHERE key = 'state'").await,
            "before"
        );
        let schemas = "SELECT string_agg(nspname, ' ' ORDER BY nspname) FROM pg_namespace \
                       WHERE nspname LIKE '%before%' OR nspname LIKE 'allclear_aside%'";
        assert_eq!(self.staging_says(schemas).await, "");
        assert_eq!(self.staging_says("SELECT count(*) FROM allclear.restored").await, "0");
    }

    /// All objects in the bucket, with what tells whether one was written again.
    pub(crate) fn objects(&self) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        walk(&self.store(), &mut found);
        found.sort();
        found
    }

    /// The dump's file of a table in the bucket.
    pub(crate) fn object_of(&self, table: &str) -> PathBuf {
        let folder = self.store().join("supabase").join(Self::id().as_str()).join("db");
        let manifest = std::fs::read(folder.join("manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let tables = manifest["tables"].as_array().unwrap();
        let file = tables.iter().find(|it| it["name"] == table).unwrap()["file"].as_str().unwrap();
        let objects = self.objects();
        let name = format!("/{file}.");
        objects.into_iter().find(|(path, _)| path.to_string_lossy().contains(&name)).unwrap().0
    }
}

fn one(rows: Vec<Vec<String>>) -> String {
    rows.into_iter().next_back().and_then(|row| row.into_iter().next()).unwrap_or_default()
}

fn walk(folder: &Path, found: &mut Vec<(PathBuf, u64)>) {
    use std::os::unix::fs::MetadataExt as _;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let meta = entry.metadata().unwrap();
        if meta.is_dir() {
            walk(&entry.path(), found);
        } else {
            found.push((entry.path(), meta.ino()));
        }
    }
}

/// No statement that defines anything ever came to production from us or from a program of ours.
pub(crate) fn assert_no_ddl_on_production() {
    let log = clusters().production.log();
    let ours: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("/allclear-recovery ") && line.contains("statement:"))
        .collect();
    assert!(ours.is_empty(), "{ours:?}");
    // The log does tell such statements: those with which the tests prepare production are in it.
    assert!(log.contains("statement: ") && log.contains("CREATE SCHEMA auth"), "log_statement is off");
}
