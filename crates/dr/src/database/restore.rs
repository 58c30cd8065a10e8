//! A restore from the bucket: everything is downloaded and compared before the target is touched, built beside what is there,
//! and swapped in whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use allclear_core::PortError;
use allclear_core::ports::StagingDatabase;
use allclear_core::recovery::{
    BackupId, Parity, Restored, TableContent, TableParity, TargetCheck, Took, Watcher,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt as _, SinkExt as _};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

use super::bucket::{BackupBucket, at_once};
use super::catalog::{self, Table};
use super::error::{DatabaseError, Party};
use super::identity::{Databases, StagingTarget, major};
use super::manifest::{DumpFile, DumpedTable, Manifest};
use super::neutralise::{silence_queues, stop_callers, taken_back};
use super::parity::{Reading, contents, sessions};
use super::programs::Program;
use super::progress::Part;
use super::redactor::Redactor;
use super::session::{Session, qualified};
use super::swap::{self, Mark, Replaced};
use super::toc::{Contents, Phase};
use super::work::WorkFolder;

/// Tables loaded at once, and read at once for a parity.
const CONNECTIONS: usize = 2;

/// Files downloaded at once.
const DOWNLOADS: usize = 4;

/// How much of a file is sent to the server at once.
const PIECE: usize = 256 * 1024;

/// For the sessions that load and index. A crash before the swap loses nothing that anybody saw, and the swap's own commit
/// waits for the disk, with everything that was written before it.
const LOADING: &str = "SET synchronous_commit = off; SET maintenance_work_mem = '256MB'; \
                       SET max_parallel_maintenance_workers = 2";

/// The staging database, as a place to restore backups into.
pub struct PostgresStaging {
    databases: Databases,
    bucket: BackupBucket,
    work: PathBuf,
    watcher: Arc<dyn Watcher>,
}

impl PostgresStaging {
    /// Restores from this bucket. Downloads lie below `work` until they are loaded.
    pub fn new(databases: Databases, bucket: BackupBucket, work: PathBuf, watcher: Arc<dyn Watcher>) -> Self {
        Self { databases, bucket, work, watcher }
    }

    /// Restores a backup into a target that was admitted. Whatever fails before the swap leaves the target as it was.
    pub async fn restore_into(
        &self,
        target: StagingTarget,
        id: &BackupId,
    ) -> Result<Restored, DatabaseError> {
        let (manifest, digest) = self.manifest(id).await?;
        if let Some((_, done)) = last_restored(target.session(), id, &digest, &manifest.schemas).await? {
            return Ok(done);
        }
        if manifest.schemas != self.databases.schemas {
            return Err(DatabaseError::TargetLacks {
                what: format!("a configuration for the backup's schemas, {}", manifest.schemas.join(", ")),
                fix: format!("`schemas` says {}", self.databases.schemas.join(", ")),
            });
        }
        let log = Mutex::new(Vec::new());
        let folder = WorkFolder::open(&self.work, id, "restore")?;
        self.downloaded(&manifest, folder.path(), &log).await?;
        let dump = Dump::open(folder.path(), &manifest).await?;
        let definitions = dump.sql(Phase::Before, |_| true).await?;
        let plan =
            Plan { schemas: swap::replaced(&target, &manifest.schemas).await?, manifest: &manifest, digest };
        swap::remove_leftovers(&target).await?;
        let part = Part::begin(&self.watcher, "define", None, None);
        swap::define(&target, &plan.schemas, &definitions).await?;
        part.end(&log);
        let built = self.built(&target, &plan, &dump, &log).await;
        if built.is_err() {
            // A killed process leaves it to the next restore; this one is alive to do it.
            let _ = swap::remove_leftovers(&target).await;
        }
        let built = built?;
        folder.clear()?;
        Ok(built)
    }

    async fn manifest(&self, id: &BackupId) -> Result<(Manifest, String), DatabaseError> {
        let found = self.bucket.manifest(id).await?;
        found.ok_or_else(|| DatabaseError::NoBackup { id: id.clone() })
    }

    async fn downloaded(
        &self,
        manifest: &Manifest,
        folder: &Path,
        log: &Mutex<Vec<Took>>,
    ) -> Result<(), DatabaseError> {
        let part =
            Part::begin(&self.watcher, "download", Some(manifest.files.len() as u64), Some(manifest.bytes()));
        let mut largest_first: Vec<&DumpFile> = manifest.files.iter().collect();
        largest_first.sort_by_key(|file| std::cmp::Reverse(file.bytes));
        let mut downloads = Vec::with_capacity(largest_first.len());
        for file in largest_first {
            let part = &part;
            let download = async move {
                self.bucket.download(manifest, file, folder, |bytes| part.add(0, bytes)).await?;
                part.add(1, 0);
                Ok(())
            };
            downloads.push(download.boxed());
        }
        at_once(DOWNLOADS, downloads).await?;
        part.end(log);
        Ok(())
    }

    /// Loads, indexes each table as soon as it is loaded, and swaps. Everything but the rows themselves happens in the
    /// transaction that ends with the swap.
    async fn built(
        &self,
        target: &StagingTarget,
        plan: &Plan<'_>,
        dump: &Dump<'_>,
        log: &Mutex<Vec<Took>>,
    ) -> Result<Restored, DatabaseError> {
        let swapping = target.another().await?;
        swapping.batch("prepare the connection", LOADING).await?;
        swap::begin(&swapping, &plan.schemas).await?;
        let (loaded, to_index) = mpsc::unbounded_channel();
        let load = self.loaded(target, plan, dump.folder, loaded, log);
        let index = self.indexed(&swapping, plan, dump, to_index, log);
        tokio::try_join!(load, index)?;
        let part = Part::begin(&self.watcher, "finish", None, None);
        let restored = finish(&swapping, plan, dump, &part, log).await?;
        part.end(log);
        let part = Part::begin(&self.watcher, "swap", None, None);
        swap::commit(&swapping).await?;
        part.end(log);
        let took = log.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Restored { took, ..restored })
    }

    async fn loaded(
        &self,
        target: &StagingTarget,
        plan: &Plan<'_>,
        folder: &Path,
        loaded: mpsc::UnboundedSender<usize>,
        log: &Mutex<Vec<Took>>,
    ) -> Result<(), DatabaseError> {
        let tables = &plan.manifest.tables;
        let bytes = |table: &DumpedTable| plan.manifest.files.iter().find(|it| it.name == table.file);
        let mut order: Vec<usize> = (0..tables.len()).collect();
        order.sort_by_key(|n| std::cmp::Reverse(bytes(&tables[*n]).map_or(0, |file| file.bytes)));
        let total = tables.iter().filter_map(bytes).map(|file| file.bytes).sum();
        let part = Part::begin(&self.watcher, "load", Some(tables.len() as u64), Some(total));
        let left = Mutex::new(order.into_iter());
        let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
        let loaders = (0..CONNECTIONS).map(|_| async {
            let session = target.another().await?;
            session.batch("prepare the connection", LOADING).await?;
            while let Some(n) = next() {
                load(&session, plan, &tables[n], folder, &part).await?;
                part.add(1, 0);
                // The one that indexes may have failed; then its error is the one that counts.
                let _ = loaded.send(n);
            }
            Ok::<_, DatabaseError>(())
        });
        futures_util::future::try_join_all(loaders).await?;
        drop(loaded);
        part.end(log);
        Ok(())
    }

    async fn indexed(
        &self,
        swapping: &Session,
        plan: &Plan<'_>,
        dump: &Dump<'_>,
        mut loaded: mpsc::UnboundedReceiver<usize>,
        log: &Mutex<Vec<Took>>,
    ) -> Result<(), DatabaseError> {
        let part = Part::begin(&self.watcher, "index", Some(plan.manifest.tables.len() as u64), None);
        while let Some(n) = loaded.recv().await {
            let table = &plan.manifest.tables[n].table;
            let sql = dump.sql(Phase::Indexes, |what| plan.is_index_of(table, what)).await?;
            swapping.batch(&format!("index {}", table.title()), &sql).await?;
            part.add(1, 0);
        }
        part.end(log);
        Ok(())
    }

    async fn compared(&self, id: &BackupId) -> Result<Parity, DatabaseError> {
        let (manifest, digest) = self.manifest(id).await?;
        let began = std::time::Instant::now();
        let url = &self.databases.target;
        let readers = sessions(CONNECTIONS, || Session::reading(url, Party::Target)).await?;
        let mut readings = Vec::new();
        let restored = last_restored(&readers[0], id, &digest, &manifest.schemas).await?;
        for table in catalog::tables(&readers[0], &manifest.schemas).await? {
            let copy = taken_back(&readers[0], &table, restored.as_ref().map(|(number, _)| *number)).await?;
            readings.push(Reading { table, copy });
        }
        let bytes = readings.iter().map(|reading| reading.table.bytes).sum();
        let part = Part::begin(&self.watcher, "compare", Some(readings.len() as u64), Some(bytes));
        let staging = contents(&readers, readings, &part).await?;
        Ok(Parity { tables: beside(&manifest, staging), took: began.elapsed() })
    }

    /// How many rows each table of staging has now, counted over several connections. For a first look; [`parity`] compares
    /// contents.
    ///
    /// [`parity`]: StagingDatabase::parity
    pub async fn counts(&self) -> Result<Vec<(String, u64)>, DatabaseError> {
        let url = &self.databases.target;
        let readers = sessions(CONNECTIONS, || Session::reading(url, Party::Target)).await?;
        let tables = catalog::tables(&readers[0], &self.databases.schemas).await?;
        // The largest first, each to the next connection: good enough for counts.
        let mut shares = vec![Vec::new(); readers.len()];
        for (n, table) in tables.into_iter().enumerate() {
            shares[n % readers.len()].push(table);
        }
        let counting = readers.iter().zip(&shares).map(|(session, share)| catalog::count(session, share));
        let counts = futures_util::future::try_join_all(counting).await?;
        let named = shares.iter().flatten().map(Table::title).zip(counts.into_iter().flatten());
        Ok(named.collect())
    }
}

/// What is restored where.
struct Plan<'a> {
    manifest: &'a Manifest,
    digest: String,
    schemas: Vec<Replaced>,
}

impl Plan<'_> {
    /// The name of a table until the swap is committed.
    fn built_as(&self, table: &Table) -> String {
        let new = self.schemas.iter().find(|schema| schema.name == table.schema);
        qualified(new.map_or(&table.schema, |schema| &schema.new), &table.name)
    }

    /// Whether an entry `CONSTRAINT schema table name owner` or `INDEX schema name owner` belongs to a table.
    fn is_index_of(&self, table: &Table, what: &str) -> bool {
        let constraint = format!("CONSTRAINT {} {} ", table.schema, table.name);
        let of_table = |index: &&catalog::Index| index.schema == table.schema && index.table == table.name;
        self.manifest.indexes.iter().filter(of_table).any(|index| {
            what.starts_with(&format!("{constraint}{} ", index.name))
                || what.starts_with(&format!("INDEX {} {} ", index.schema, index.name))
        })
    }

    /// Whether an entry `FK CONSTRAINT schema table name owner` points into a schema that is not in the backup.
    fn points_outside(&self, what: &str) -> bool {
        self.manifest
            .outside_keys
            .iter()
            .any(|key| what.starts_with(&format!("FK CONSTRAINT {} {} {} ", key.schema, key.table, key.name)))
    }
}

/// A dump on this machine, compared with its manifest.
struct Dump<'a> {
    folder: &'a Path,
    program: Program,
    contents: Contents,
}

impl<'a> Dump<'a> {
    async fn open(folder: &'a Path, manifest: &Manifest) -> Result<Self, DatabaseError> {
        let program = Program::find("pg_restore", major(&manifest.source.server_version))?;
        let list = program.run(folder, None, &["--list".into(), folder.into()], &Redactor::default()).await?;
        let contents = Contents::parse(&String::from_utf8_lossy(&list));
        for dumped in &manifest.tables {
            let Table { schema, name, owner, .. } = &dumped.table;
            if contents.file_of(schema, name, owner).as_ref() != Some(&dumped.file) {
                let detail = format!("it has no rows for {}", dumped.table.title());
                return Err(DatabaseError::DumpIncomplete { detail });
            }
        }
        Ok(Self { folder, program, contents })
    }

    /// The SQL of the chosen entries, as `pg_restore` writes it.
    async fn sql(&self, phase: Phase, chosen: impl Fn(&str) -> bool) -> Result<String, DatabaseError> {
        let Some(list) = self.contents.list(phase, chosen) else { return Ok(String::new()) };
        let path = self.folder.join("chosen.list");
        let written = std::fs::write(&path, list);
        written.map_err(|error| DatabaseError::file(&path, &error))?;
        let arguments = [
            "--no-owner".into(),
            "--no-publications".into(),
            "--no-subscriptions".into(),
            "--file=-".into(),
            "--use-list".into(),
            path.into(),
            self.folder.into(),
        ];
        let sql = self.program.run(self.folder, None, &arguments, &Redactor::default()).await?;
        let sql = String::from_utf8(sql).map_err(|_| DatabaseError::DumpIncomplete {
            detail: "its definitions are not UTF-8".to_owned(),
        })?;
        Ok(without_psql_commands(&sql))
    }
}

/// Since the fix of CVE-2025-8714 a script begins and ends with commands for psql, which a server does not know. And it would
/// wait for locks without end.
fn without_psql_commands(sql: &str) -> String {
    let unwanted = ["\\restrict ", "\\unrestrict ", "SET lock_timeout = 0;"];
    let kept: Vec<&str> =
        sql.lines().filter(|line| !unwanted.iter().any(|it| line.starts_with(it))).collect();
    kept.join("\n")
}

/// Loads one table from its file.
async fn load(
    session: &Session,
    plan: &Plan<'_>,
    dumped: &DumpedTable,
    folder: &Path,
    part: &Part,
) -> Result<(), DatabaseError> {
    let doing = format!("load {}", dumped.table.title());
    let name = plan.built_as(&dumped.table);
    // A table emptied in the same transaction may be filled with frozen rows, and without a log where the server keeps none.
    session.batch(&doing, &format!("BEGIN; TRUNCATE ONLY {name}")).await?;
    let copy = format!("COPY {name} ({}) FROM STDIN (FREEZE)", dumped.table.column_list());
    let sink = session.copy_in(&doing, &copy).await?;
    let mut sink = pin!(sink);
    let path = folder.join(&dumped.file);
    let failed = |error: &std::io::Error| DatabaseError::file(&path, error);
    let mut file = tokio::fs::File::open(&path).await.map_err(|error| failed(&error))?;
    file.set_max_buf_size(PIECE);
    let mut left = plan.manifest.files.iter().find(|it| it.name == dumped.file).map_or(0, |it| it.bytes);
    // The mark that ends the data, `\.` and two empty lines, is the archive's and not a row.
    left = left.saturating_sub(b"\\.\n\n\n".len() as u64);
    while left > 0 {
        let mut piece = bytes::BytesMut::with_capacity(PIECE);
        let n = (&mut file).take(left).read_buf(&mut piece).await.map_err(|error| failed(&error))?;
        if n == 0 {
            let detail = format!("{} is cut off", dumped.file);
            return Err(DatabaseError::DumpIncomplete { detail });
        }
        left -= n as u64;
        let sent: Result<(), tokio_postgres::Error> = sink.send(Bytes::from(piece)).await;
        if let Err(error) = sent {
            // The reason is what the server says when it is asked for the end.
            let told = sink.as_mut().finish().await.err();
            return Err(session
                .failed(&doing, told.as_ref().filter(|it| it.as_db_error().is_some()).unwrap_or(&error)));
        }
        part.add(0, n as u64);
    }
    let rows = sink.as_mut().finish().await.map_err(|error| session.failed(&doing, &error))?;
    if rows != dumped.rows {
        let detail = format!("{} took {rows} rows of {}", dumped.table.title(), dumped.rows);
        return Err(DatabaseError::DumpIncomplete { detail });
    }
    session.batch(&doing, "COMMIT").await
}

/// What is left when all rows are there and indexed: keys, triggers, policies, grants, and that nothing is sent.
async fn finish(
    swapping: &Session,
    plan: &Plan<'_>,
    dump: &Dump<'_>,
    part: &Part,
    log: &Mutex<Vec<Took>>,
) -> Result<Restored, DatabaseError> {
    let manifest = plan.manifest;
    let number = swap::number(swapping).await?;
    let tables: Vec<Table> = manifest.tables.iter().map(|dumped| dumped.table.clone()).collect();
    silence_queues(swapping, &tables, number).await?;
    let leftover =
        dump.sql(Phase::Indexes, |what| !tables.iter().any(|it| plan.is_index_of(it, what))).await?;
    swapping.batch("create the other indexes", &leftover).await?;
    part.add(1, 0);
    let after = dump.sql(Phase::After, |what| !plan.points_outside(what)).await?;
    swapping.batch("create keys, triggers, policies and grants", &after).await?;
    let outside = dump.sql(Phase::After, |what| plan.points_outside(what)).await?;
    swapping.batch("create keys to other schemas", &not_valid(&outside)).await?;
    part.add(1, 0);
    for schema in &plan.schemas {
        swap::keep_grants(swapping, schema).await?;
    }
    stop_callers(swapping, &manifest.schemas).await?;
    let put_aside: Vec<&str> = plan.schemas.iter().filter_map(|schema| schema.put_aside.as_deref()).collect();
    let restored = Restored {
        id: manifest.id.clone(),
        tables: tables.len() as u64,
        rows: manifest.rows(),
        put_aside: (!put_aside.is_empty()).then(|| put_aside.join(", ")),
        took: log.lock().unwrap_or_else(PoisonError::into_inner).clone(),
    };
    let mark = Mark {
        number,
        backup: manifest.id.as_str(),
        manifest_sha256: &plan.digest,
        schemas: &manifest.schemas,
        tables: restored.tables,
        rows: restored.rows,
        put_aside: restored.put_aside.clone(),
        took: serde_json::to_string(&restored.took).unwrap_or_else(|_| "[]".to_owned()),
    };
    swap::mark(swapping, &mark).await?;
    Ok(restored)
}

/// Staging has its own users, so a key to `auth.users` holds for new rows only.
fn not_valid(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len());
    for line in sql.lines() {
        match line.strip_suffix(';').filter(|line| line.starts_with("    ADD CONSTRAINT ")) {
            Some(key) if !key.ends_with(" NOT VALID") => {
                text.push_str(key);
                text.push_str(" NOT VALID;");
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

/// What the target holds, if it is this backup: by the latest mark, and only while the schemas are still those of the swap.
async fn last_restored(
    session: &Session,
    id: &BackupId,
    manifest_sha256: &str,
    schemas: &[String],
) -> Result<Option<(i64, Restored)>, DatabaseError> {
    let doing = "read the mark of the last restore";
    let there = "SELECT to_regclass('allclear.restored') IS NOT NULL";
    if !session.row(doing, there, &[]).await?.get::<_, bool>(0) {
        return Ok(None);
    }
    let sql = format!(
        "SELECT number, backup, manifest_sha256, tables, rows, put_aside, took, schemas = {} \
         FROM allclear.restored ORDER BY number DESC LIMIT 1",
        swap::identities(schemas)
    );
    let found = session.rows(doing, &sql, &[]).await?;
    let Some(row) = found.first() else { return Ok(None) };
    let (backup, digest): (String, String) = (row.get(1), row.get(2));
    if backup != id.as_str() || digest != manifest_sha256 || !row.get::<_, bool>(7) {
        return Ok(None);
    }
    let took: String = row.get(6);
    let restored = Restored {
        id: id.clone(),
        tables: row.get::<_, i64>(3).unsigned_abs(),
        rows: row.get::<_, i64>(4).unsigned_abs(),
        put_aside: row.get(5),
        took: serde_json::from_str(&took).unwrap_or_default(),
    };
    Ok(Some((row.get(0), restored)))
}

fn beside(manifest: &Manifest, mut staging: BTreeMap<String, TableContent>) -> Vec<TableParity> {
    let mut tables: Vec<TableParity> = manifest
        .tables
        .iter()
        .map(|dumped| {
            let table = dumped.table.title();
            let snapshot =
                TableContent { table: table.clone(), rows: dumped.rows, digest: dumped.digest.clone() };
            TableParity { staging: staging.remove(&table), snapshot: Some(snapshot), table }
        })
        .collect();
    let surplus = |(table, content)| TableParity { table, snapshot: None, staging: Some(content) };
    tables.extend(staging.into_iter().map(surplus));
    tables.sort_by(|a, b| a.table.cmp(&b.table));
    tables
}

#[async_trait]
impl StagingDatabase for PostgresStaging {
    async fn compare(&self) -> Result<TargetCheck, PortError> {
        Ok(self.databases.compare().await?)
    }

    async fn restore(&self, id: &BackupId) -> Result<Restored, PortError> {
        let target = self.databases.admit().await?;
        Ok(self.restore_into(target, id).await?)
    }

    async fn find(&self, id: &BackupId) -> Result<Option<Restored>, PortError> {
        let Some((manifest, digest)) = self.bucket.manifest(id).await? else { return Ok(None) };
        let session = Session::reading(&self.databases.target, Party::Target).await?;
        let found = last_restored(&session, id, &digest, &manifest.schemas).await?;
        Ok(found.map(|(_, restored)| restored))
    }

    async fn parity(&self, id: &BackupId) -> Result<Parity, PortError> {
        Ok(self.compared(id).await?)
    }
}
