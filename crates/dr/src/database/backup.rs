//! A backup from one snapshot: dumped, counted beside the dump, compared, uploaded, sealed.
//!
//! The database counts each table's rows in the snapshot that `pg_dump` reads. Only when every file is whole and holds as many
//! rows as the database counted does the dump count. Production is read once: contents are digested from the files.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use allclear_core::PortError;
use allclear_core::ports::{Artifact, DatabaseBackups};
use allclear_core::recovery::{Backup, BackupId, TableContent, Took, Watcher};
use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};

use super::bucket::{BackupBucket, at_once};
use super::catalog::{self, Table};
use super::compare;
use super::definitions::definitions;
use super::digest::Rows;
use super::dump::read_contents;
use super::error::{DatabaseError, Party};
use super::identity::{Facts, major};
use super::manifest::{DumpFile, DumpedTable, FORMAT, Manifest, hex, sha256};
use super::outside;
use super::parity::{Reading, contents};
use super::programs::{PasswordFile, Program};
use super::progress::Part;
use super::redactor::Redactor;
use super::session::{APPLICATION, Session};
use super::surroundings::Surroundings;
use super::swap;
use super::toc::Contents;
use super::url::DatabaseUrl;
use super::work::{WorkFolder, size_of};

/// Connections of `pg_dump` that read at once; more would weigh on production.
const JOBS: usize = 2;

/// Files hashed or uploaded at once.
const FILES_AT_ONCE: usize = 4;

/// The plan of an upload that survives a kill: the manifest, written when the dump is known to be whole.
const DUMPED: &str = "dumped.json";

/// How long somebody may wait for a lock that we hold before the backup gives up.
const MAY_HOLD_UP: &str = "10 s";

/// Backups of one database, kept in a bucket.
pub struct PostgresBackups {
    source: DatabaseUrl,
    schemas: Vec<String>,
    bucket: BackupBucket,
    work: PathBuf,
    watcher: Arc<dyn Watcher>,
}

impl PostgresBackups {
    /// Of these schemas of the database at `source`, in a bucket. Dumps lie below `work` until they are uploaded; the folder
    /// needs as much space as the data has as text.
    pub fn new(
        source: DatabaseUrl,
        schemas: Vec<String>,
        bucket: BackupBucket,
        work: PathBuf,
        watcher: Arc<dyn Watcher>,
    ) -> Self {
        Self { source, schemas, bucket, work, watcher }
    }

    async fn taken(&self, id: &BackupId) -> Result<Backup, DatabaseError> {
        if let Some(backup) = self.found(id).await? {
            return Ok(backup);
        }
        let folder = WorkFolder::open(&self.work, id, "dump")?;
        let mut manifest = if let Some(manifest) = self.begun(&folder)? {
            manifest
        } else {
            // A dump that was cut is of no use to a later snapshot; nothing of it was uploaded.
            folder.clear()?;
            let manifest = Box::pin(self.dumped(id, &folder)).await?;
            self.compare_with_previous(&manifest).await?;
            folder.write(DUMPED, &serde_json::to_vec(&manifest).unwrap_or_default())?;
            manifest
        };
        let log = Mutex::new(std::mem::take(&mut manifest.took));
        self.uploaded(&manifest, &folder, &log).await?;
        manifest.took = log.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Read back before it counts.
        self.bucket.check_sizes(&manifest).await?;
        let digest = self.bucket.seal(&manifest).await?;
        // Customers' data does not stay on this machine.
        folder.clear()?;
        Ok(manifest.told(self.bucket.destination(id), digest))
    }

    /// A dump that an earlier process finished and did not finish uploading.
    fn begun(&self, folder: &WorkFolder) -> Result<Option<Manifest>, DatabaseError> {
        let Some(content) = folder.read(DUMPED)? else { return Ok(None) };
        let manifest: Option<Manifest> = serde_json::from_slice(&content).ok();
        let whole = |manifest: &Manifest| {
            manifest.format == FORMAT
                && manifest.schemas == self.schemas
                && manifest.files.iter().all(|file| {
                    std::fs::metadata(folder.path().join("files").join(&file.name))
                        .is_ok_and(|meta| meta.len() == file.bytes)
                })
        };
        Ok(manifest.filter(whole))
    }

    async fn dumped(&self, id: &BackupId, folder: &WorkFolder) -> Result<Manifest, DatabaseError> {
        let log = Mutex::new(Vec::new());
        let holder = Session::reading(&self.source, Party::Source).await?;
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        holder.batch("take a snapshot", begin).await?;
        let snapshot = "SELECT pg_catalog.pg_export_snapshot(), \
                        to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
        let row = holder.row("take a snapshot", snapshot, &[]).await?;
        let (snapshot, at): (String, String) = (row.get(0), row.get(1));
        let facts = Facts::ask(&holder, &self.source).await?;
        let tables = catalog::tables(&holder, &self.schemas).await?;
        if tables.is_empty() {
            let detail = format!("no table in {}", self.schemas.join(", "));
            return Err(DatabaseError::EmptyDump { detail });
        }
        let indexes = catalog::indexes(&holder, &self.schemas).await?;
        let outside_keys = catalog::outside_keys(&holder, &self.schemas).await?;
        let server = major(&facts.identity.server_version);
        let program = Program::find("pg_dump", server)?;
        let surroundings = Surroundings::ask(&holder, &self.schemas).await?;
        let outside = outside::objects(&holder, &self.schemas).await?;
        let schema_scripts = swap::schema_scripts(&holder, &self.schemas).await?;
        let casts = catalog::casts(&holder, &self.schemas).await?;
        let mut definitions = definitions(&holder, &self.schemas).await?;
        let path = &surroundings.search_path;
        let counts =
            Box::pin(self.dumped_and_counted(&program, (&snapshot, path), &tables, folder, &log)).await?;
        let computed = self.computed(&holder, path, &tables, &log).await?;
        let toc = read_contents(&folder.path().join("files"))?;
        definitions.extend(compare::sequence_values(&toc));
        let (files, mut tables) = self.hashed(folder, &toc, (tables, counts), &log).await?;
        let materialised = tables_with(&mut tables, computed);
        let attempt = sha256(format!("{snapshot} {at} {}", facts.identity.system_identifier).as_bytes());
        Ok(Manifest {
            format: FORMAT,
            id: id.clone(),
            attempt: attempt[..12].to_owned(),
            snapshot_at: at.parse().map_err(|_| DatabaseError::DumpIncomplete {
                detail: format!("the server's time `{at}` is no time"),
            })?,
            source: facts.identity,
            schemas: self.schemas.clone(),
            written_by: program.version.clone(),
            tables,
            indexes,
            outside_keys,
            definitions,
            outside,
            schema_scripts,
            casts,
            materialised,
            surroundings,
            files,
            took: log.into_inner().unwrap_or_else(PoisonError::into_inner),
        })
    }

    /// What the server computed in the snapshot and no file of the dump holds: generated columns and materialised views. Such
    /// tables are read a second time.
    async fn computed(
        &self,
        holder: &Session,
        search_path: &str,
        tables: &[Table],
        log: &Mutex<Vec<Took>>,
    ) -> Result<BTreeMap<String, TableContent>, DatabaseError> {
        let mut all = catalog::materialised(holder, &self.schemas).await?;
        all.extend(tables.iter().filter(|table| !table.generated.is_empty()).cloned());
        let bytes = all.iter().map(|table| table.bytes).sum();
        let part = Part::begin(&self.watcher, "read what is computed", Some(all.len() as u64), Some(bytes));
        let readings = all.into_iter().map(|table| Reading { copy: table.copy_out(), table }).collect();
        let read = contents(std::slice::from_ref(holder), search_path, readings, &part).await?;
        part.end(log);
        Ok(read)
    }

    /// `pg_dump` and the counts, at the same time and of the same snapshot.
    async fn dumped_and_counted(
        &self,
        program: &Program,
        (snapshot, search_path): (&str, &str),
        tables: &[Table],
        folder: &WorkFolder,
        log: &Mutex<Vec<Took>>,
    ) -> Result<Vec<u64>, DatabaseError> {
        let files = folder.path().join("files");
        let part = Part::begin(&self.watcher, "dump", None, None);
        let password = PasswordFile::new(folder.path(), &self.source)?;
        let redactor = Redactor::of([&self.source]);
        let arguments = self.arguments(snapshot, &files);
        let dump = program.run(&files, Some((&self.source, &password)), &arguments, &redactor);
        let dump = async {
            dump.await?;
            part.set_bytes(size_of(&files));
            part.end(log);
            Ok(())
        };
        let count = self.counted_in_snapshot((snapshot, search_path), tables, log);
        let guard = self.nobody_waits(|| part.set_bytes(size_of(&files)));
        tokio::select! {
            // The guard never ends well, so what ends first is either everything or a reason to stop.
            done = async { tokio::try_join!(dump, count) } => done.map(|((), counts)| counts),
            stop = guard => Err(stop),
        }
    }

    fn arguments(&self, snapshot: &str, files: &std::path::Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec![
            "--format=directory".into(),
            format!("--jobs={JOBS}").into(),
            format!("--snapshot={snapshot}").into(),
            // gzip, all that pg_dump 15 offers, costs more time than the bytes that it saves.
            "--compress=0".into(),
            "--encoding=UTF8".into(),
            "--lock-wait-timeout=5000".into(),
            // A dump that a power cut damages is taken again; its checksums tell.
            "--no-sync".into(),
            "--no-publications".into(),
            "--no-subscriptions".into(),
            "--no-password".into(),
            "--file".into(),
            files.into(),
        ];
        // Quoted, because it is a pattern otherwise.
        arguments.extend(
            self.schemas
                .iter()
                .map(|schema| OsString::from(format!("--schema=\"{}\"", schema.replace('"', "\"\"")))),
        );
        arguments
    }

    async fn counted_in_snapshot(
        &self,
        (snapshot, search_path): (&str, &str),
        tables: &[Table],
        log: &Mutex<Vec<Took>>,
    ) -> Result<Vec<u64>, DatabaseError> {
        let part = Part::begin(&self.watcher, "count in the snapshot", Some(tables.len() as u64), None);
        let session = Session::reading(&self.source, Party::Source).await?;
        let share =
            format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{snapshot}'");
        session.batch("share the snapshot", &share).await?;
        // To count is planned, and for that the server looks into the functions of indexes.
        session.look_in(search_path).await?;
        let counts = catalog::count(&session, tables).await?;
        part.add(tables.len() as u64, 0);
        part.end(log);
        Ok(counts)
    }

    /// Ends when somebody has been waiting too long for a lock that we hold, or production is gone.
    async fn nobody_waits(&self, tick: impl Fn()) -> DatabaseError {
        let sql = format!(
            "SELECT count(*), coalesce(string_agg(w.pid::text || ' (' || left(w.query, 60) || ')', ', '), '') \
             FROM pg_catalog.pg_stat_activity w WHERE w.wait_event_type = 'Lock' \
             AND clock_timestamp() - w.query_start > '{MAY_HOLD_UP}' AND EXISTS ( \
             SELECT FROM pg_catalog.pg_stat_activity o WHERE o.application_name = '{APPLICATION}' \
             AND o.pid = ANY (pg_catalog.pg_blocking_pids(w.pid)))"
        );
        let session = match Session::reading(&self.source, Party::Source).await {
            Ok(session) => session,
            Err(error) => return error,
        };
        loop {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(200)).await;
                tick();
            }
            match session.row("ask who waits", &sql, &[]).await {
                Ok(row) if row.get::<_, i64>(0) == 0 => {}
                Ok(row) => return DatabaseError::HoldsUpOthers { detail: row.get(1) },
                Err(error) => return error,
            }
        }
    }

    /// Every file's SHA-256, and every table's content; its rows must be as many as the database counted.
    async fn hashed(
        &self,
        folder: &WorkFolder,
        toc: &Contents,
        (tables, counts): (Vec<Table>, Vec<u64>),
        log: &Mutex<Vec<Took>>,
    ) -> Result<(Vec<DumpFile>, Vec<DumpedTable>), DatabaseError> {
        let incomplete = |detail: String| DatabaseError::DumpIncomplete { detail };
        if toc.tables() != tables.len() {
            let detail = format!("it holds {} tables, the snapshot {}", toc.tables(), tables.len());
            return Err(incomplete(detail));
        }
        let files = folder.path().join("files");
        let part = Part::begin(&self.watcher, "checksum", None, Some(size_of(&files)));
        let mut columns = BTreeMap::new();
        let mut counted = Vec::new();
        for (table, rows) in tables.into_iter().zip(counts) {
            let title = table.title();
            let file = toc
                .file_of(&table.schema, &table.name)
                .ok_or_else(|| incomplete(format!("{title} has no entry for its rows")))?;
            columns.insert(file.clone(), table.columns.clone());
            counted.push((table, rows, file));
        }
        let names = names_in(&files)?;
        let hashes = names.into_iter().map(|name| {
            let (path, part) = (files.join(&name), Arc::clone(&part));
            let columns = columns.get(&name).cloned();
            async move {
                let hashed = tokio::task::spawn_blocking(move || hash(&path, columns.as_deref(), &part));
                let hashed = hashed.await.map_err(|_| DatabaseError::DumpIncomplete {
                    detail: "a thread that read it ended".to_owned(),
                })??;
                Ok::<_, DatabaseError>((name, hashed))
            }
            .boxed()
        });
        let mut hashes: BTreeMap<String, Hashed> =
            futures_util::stream::iter(hashes).buffer_unordered(FILES_AT_ONCE).try_collect().await?;
        let dumped = counted.into_iter().map(|(table, count, file)| {
            let read = hashes.get_mut(&file).and_then(|hashed| hashed.rows.take());
            compared(table, count, file, read)
        });
        let dumped = dumped.collect::<Result<_, _>>()?;
        part.end(log);
        let file =
            |(name, hashed): (String, Hashed)| DumpFile { name, bytes: hashed.bytes, sha256: hashed.sha256 };
        Ok((hashes.into_iter().map(file).collect(), dumped))
    }

    /// A source that lost everything must not become the latest backup.
    async fn compare_with_previous(&self, manifest: &Manifest) -> Result<(), DatabaseError> {
        if manifest.rows() > 0 {
            return Ok(());
        }
        match self.bucket.previous(&manifest.id).await? {
            Some(previous) if previous.rows() > 0 => Err(DatabaseError::EmptyDump {
                detail: format!(
                    "no table has a row, but the backup `{}` of {} has {}",
                    previous.id,
                    previous.snapshot_at,
                    previous.rows()
                ),
            }),
            _ => Ok(()),
        }
    }

    async fn uploaded(
        &self,
        manifest: &Manifest,
        folder: &WorkFolder,
        log: &Mutex<Vec<Took>>,
    ) -> Result<(), DatabaseError> {
        let files = folder.path().join("files");
        let part =
            Part::begin(&self.watcher, "upload", Some(manifest.files.len() as u64), Some(manifest.bytes()));
        let mut largest_first: Vec<&DumpFile> = manifest.files.iter().collect();
        largest_first.sort_by_key(|file| std::cmp::Reverse(file.bytes));
        let mut uploads = Vec::with_capacity(largest_first.len());
        for file in largest_first {
            let (files, part) = (&files, &part);
            let upload = async move {
                self.bucket.upload(&manifest.id, &manifest.attempt, file, files).await?;
                part.add(1, file.bytes);
                Ok(())
            };
            uploads.push(upload.boxed());
        }
        at_once(FILES_AT_ONCE, uploads).await?;
        part.end(log);
        Ok(())
    }

    async fn found(&self, id: &BackupId) -> Result<Option<Backup>, DatabaseError> {
        let Some((manifest, digest)) = self.bucket.manifest(id).await? else { return Ok(None) };
        self.bucket.check_sizes(&manifest).await?;
        Ok(Some(manifest.told(self.bucket.destination(id), digest)))
    }
}

/// Gives tables with generated columns the digest of all of their columns, and returns what was read beside.
fn tables_with(
    tables: &mut [DumpedTable],
    mut computed: BTreeMap<String, TableContent>,
) -> Vec<TableContent> {
    for dumped in tables {
        if let Some(content) = computed.remove(&dumped.table.title()) {
            dumped.digest = content.digest;
        }
    }
    computed.into_values().collect()
}

fn names_in(folder: &std::path::Path) -> Result<Vec<String>, DatabaseError> {
    let failed = |error: &std::io::Error| DatabaseError::file(folder, error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| failed(&error))? {
        names.push(entry.map_err(|error| failed(&error))?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// A table's file must be whole and hold as many rows as the database counted.
fn compared(
    table: Table,
    count: u64,
    file: String,
    read: Option<Rows>,
) -> Result<DumpedTable, DatabaseError> {
    let incomplete = |detail: String| DatabaseError::DumpIncomplete { detail };
    let read = read.filter(Rows::is_ended).ok_or_else(|| incomplete(format!("{file} is cut off")))?;
    let (rows, digest) = read.finish();
    if rows != count {
        let title = table.title();
        return Err(incomplete(format!("{title} has {rows} rows in the dump, {count} in the snapshot")));
    }
    Ok(DumpedTable { table, rows, digest, file })
}

struct Hashed {
    bytes: u64,
    sha256: String,
    rows: Option<Rows>,
}

/// Reads a file once for its SHA-256 and, where it holds a table, for its rows.
fn hash(path: &std::path::Path, columns: Option<&[String]>, part: &Part) -> Result<Hashed, DatabaseError> {
    let failed = |error: &std::io::Error| DatabaseError::file(path, error);
    let mut file = std::fs::File::open(path).map_err(|error| failed(&error))?;
    let (mut digest, mut bytes) = (Sha256::new(), 0);
    let mut rows = columns.map(Rows::with_columns);
    let mut piece = vec![0; 256 * 1024];
    loop {
        let n = std::io::Read::read(&mut file, &mut piece).map_err(|error| failed(&error))?;
        if n == 0 {
            break;
        }
        digest.update(&piece[..n]);
        if let Some(rows) = &mut rows {
            rows.feed(&piece[..n]);
        }
        bytes += n as u64;
        part.add(0, n as u64);
    }
    part.add(1, 0);
    Ok(Hashed { bytes, sha256: hex(&digest.finalize()), rows })
}

#[async_trait]
impl DatabaseBackups for PostgresBackups {
    async fn take(&self, id: &BackupId) -> Result<Backup, PortError> {
        Ok(Box::pin(self.taken(id)).await?)
    }

    async fn find(&self, id: &BackupId) -> Result<Option<Backup>, PortError> {
        Ok(self.found(id).await?)
    }

    async fn keep_file(&self, id: &BackupId, name: &str, content: &[u8]) -> Result<Artifact, PortError> {
        if name.is_empty() || name == "db" || name.contains('/') {
            let path = PathBuf::from(name);
            let detail = "a file beside a backup has a plain name".to_owned();
            return Err(DatabaseError::File { path, detail }.into());
        }
        self.bucket.put(&self.bucket.beside(id, name), content.to_vec().into()).await?;
        let kept = self.find_file(id, name).await?;
        Ok(kept.ok_or_else(|| DatabaseError::Corrupt {
            file: name.to_owned(),
            detail: "it was put there and is gone".to_owned(),
        })?)
    }

    async fn find_file(&self, id: &BackupId, name: &str) -> Result<Option<Artifact>, PortError> {
        let Some(content) = self.bucket.read(&self.bucket.beside(id, name)).await? else { return Ok(None) };
        Ok(Some(Artifact { name: name.to_owned(), bytes: content.len() as u64, sha256: sha256(&content) }))
    }

    async fn read_file(&self, id: &BackupId, name: &str) -> Result<Option<Vec<u8>>, PortError> {
        Ok(self.bucket.read(&self.bucket.beside(id, name)).await?.map(Vec::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(content: &[u8], count: u64) -> Result<u64, String> {
        let columns = vec!["id".to_owned()];
        let mut rows = Rows::with_columns(&columns);
        rows.feed(content);
        let word = str::to_owned;
        let (schema, name, owner) = (word("public"), word("a"), word("postgres"));
        let table = Table { schema, name, owner, columns, generated: Vec::new(), bytes: 1 };
        let dumped = compared(table, count, word("3021.dat"), Some(rows));
        dumped.map(|dumped| dumped.rows).map_err(|error| error.to_string())
    }

    #[test]
    fn a_dump_counts_only_with_every_row_that_the_database_counted() {
        assert_eq!(said(b"1\n2\n\\.\n\n\n", 2), Ok(2));
        for count in [1, 3] {
            let error = said(b"1\n2\n\\.\n\n\n", count).unwrap_err();
            assert!(
                error.contains(&format!("public.a has 2 rows in the dump, {count} in the snapshot")),
                "{error}"
            );
        }
        let error = said(b"1\n2\n", 2).unwrap_err();
        assert!(error.contains("3021.dat is cut off"), "{error}");
    }
}
