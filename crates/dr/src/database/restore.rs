//! A restore from the bucket: everything is downloaded and compared before the target is touched, built beside what is there,
//! and swapped in whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use allclear_core::PortError;
use allclear_core::ports::StagingDatabase;
use allclear_core::recovery::{
    BackupId, Parity, Restored, TableContent, TableParity, TargetCheck, Took, Watcher,
};
use async_trait::async_trait;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::bucket::{BackupBucket, at_once};
use super::callers;
use super::catalog::{self, Table};
use super::compare;
use super::dump::Dump;
use super::error::{DatabaseError, Party};
use super::extensions::{self, Move};
use super::finish::Finish;
use super::identity::{Databases, StagingTarget};
use super::load;
use super::manifest::{DumpFile, DumpedTable, Manifest};
use super::masked::{self, WrittenDown};
use super::masking::{self, MaskingProfile};
use super::neutralise::taken_back;
use super::outside;
use super::parity::{Reading, contents, sessions};
use super::plain::plain_tables;
use super::progress::Part;
use super::session::{Session, qualified};
use super::silent::Listener;
use super::swap::{self, Replaced};
use super::work::WorkFolder;

/// Tables loaded at once, and read at once for a parity.
const CONNECTIONS: usize = 2;

/// Files downloaded at once.
const DOWNLOADS: usize = 4;

/// For the sessions that load and index. A crash before the swap loses nothing that anybody saw, and the swap's own commit
/// waits for the disk, with everything that was written before it.
const LOADING: &str = "SET synchronous_commit = off; SET maintenance_work_mem = '256MB'; \
                       SET max_parallel_maintenance_workers = 2";

/// The staging database, as a place to restore backups into.
pub struct PostgresStaging {
    databases: Databases,
    bucket: BackupBucket,
    masking: MaskingProfile,
    work: PathBuf,
    watcher: Arc<dyn Watcher>,
}

impl PostgresStaging {
    /// Restores from this bucket. Downloads lie below `work` until they are loaded.
    pub fn new(databases: Databases, bucket: BackupBucket, work: PathBuf, watcher: Arc<dyn Watcher>) -> Self {
        Self { databases, bucket, masking: MaskingProfile::default(), work, watcher }
    }

    /// The same with a profile by which personal data is replaced before anybody sees it. A backup that staging holds by another
    /// profile, or by none, is restored anew.
    #[must_use]
    pub fn masked_by(self, masking: MaskingProfile) -> Self {
        Self { masking, ..self }
    }

    /// Restores a backup into a target that was admitted. Whatever fails before the swap leaves the target as it was.
    pub async fn restore_into(
        &self,
        target: StagingTarget,
        id: &BackupId,
    ) -> Result<Restored, DatabaseError> {
        let (manifest, digest) = self.manifest(id).await?;
        if let Some((_, done)) = self.last_restored(target.session(), id, &digest, &manifest.schemas).await? {
            return Ok(done);
        }
        let began_at = swap::clock(target.session()).await?;
        if manifest.schemas != self.databases.schemas {
            return Err(DatabaseError::TargetLacks {
                what: format!("a configuration for the backup's schemas, {}", manifest.schemas.join(", ")),
                fix: format!("`schemas` says {}", self.databases.schemas.join(", ")),
            });
        }
        let log = Mutex::new(Vec::new());
        let folder = WorkFolder::open(&self.work, id, "restore")?;
        self.downloaded(&manifest, folder.path(), &log).await?;
        let dump = Dump::open(folder.path(), &manifest)?;
        let there = extensions::extensions(target.session()).await?;
        let plan = Plan {
            schemas: swap::replaced(&target, &manifest.schemas).await?,
            moves: extensions::moves(&manifest.surroundings.extensions, &there, &manifest.schemas),
            manifest: &manifest,
            digest,
            began_at,
        };
        swap::remove_leftovers(&target).await?;
        let part = Part::begin(&self.watcher, "define", None, None);
        let path = &manifest.surroundings.search_path;
        swap::define(&target, &plan.schemas, &plan.moves, &dump.before(), path).await?;
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

    /// Loads, indexes each table as soon as it is loaded, and swaps. Everything but the rows of plain tables happens in the
    /// transaction that ends with the swap, where names are final.
    async fn built(
        &self,
        target: &StagingTarget,
        plan: &Plan<'_>,
        dump: &Dump<'_>,
        log: &Mutex<Vec<Took>>,
    ) -> Result<Restored, DatabaseError> {
        let swapping = target.another().await?;
        swapping.batch("prepare the connection", LOADING).await?;
        swapping.batch("begin the swap", "BEGIN ISOLATION LEVEL READ COMMITTED").await?;
        // While names are still the old ones, so that their definitions say them.
        let pointing_in = outside::objects(&swapping, &plan.manifest.schemas).await?;
        swap::begin(&swapping, &plan.schemas, &plan.moves).await?;
        // To read a definition locks what is in it, and loading needs those locks: given back with the savepoint.
        swapping.batch("look at what was defined", "SAVEPOINT look").await?;
        let listener = Listener::ask(&swapping, &plan.manifest.schemas).await?;
        callers::refuse_computed(&swapping, &listener, &plan.manifest.schemas).await?;
        let apart = plain_tables(&swapping, &plan.manifest.schemas).await?;
        swapping
            .batch("look at what was defined", "ROLLBACK TO SAVEPOINT look; RELEASE SAVEPOINT look")
            .await?;
        let beside = |table: &Table| apart.contains(&(table.schema.clone(), table.name.clone()));
        let (loaded, to_index) = mpsc::unbounded_channel();
        let load = self.loaded(target, plan, (dump.folder, &beside), loaded, log);
        let index = self.indexed(&swapping, plan, (dump, &beside), to_index, log);
        tokio::try_join!(load, index)?;
        let part = Part::begin(&self.watcher, "finish", None, None);
        in_place(&swapping, plan, (dump.folder, &beside), &part).await?;
        let masked = masked::mask(&swapping, &self.masking, plan.manifest, &part).await?;
        let (_, version) = compare::versions(&swapping, plan.manifest).await?;
        let fills_without_path = version >= 17;
        let restored = Finish {
            session: &swapping,
            plan,
            dump,
            listener: &listener,
            masked: &masked,
            masking: &self.masking,
            fills_without_path,
        };
        let restored = restored.all(&beside, &pointing_in, &part, log).await?;
        part.end(log);
        let part = Part::begin(&self.watcher, "swap", None, None);
        swap::commit(&swapping).await?;
        part.end(log);
        let took = log.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Restored { took, ..restored })
    }

    /// Loads the plain tables under the names that they have until the swap, over several connections.
    async fn loaded(
        &self,
        target: &StagingTarget,
        plan: &Plan<'_>,
        (folder, beside): (&Path, &impl Fn(&Table) -> bool),
        loaded: mpsc::UnboundedSender<usize>,
        log: &Mutex<Vec<Took>>,
    ) -> Result<(), DatabaseError> {
        let tables = &plan.manifest.tables;
        let mut order: Vec<usize> = (0..tables.len()).filter(|n| beside(&tables[*n].table)).collect();
        order.sort_by_key(|n| std::cmp::Reverse(plan.bytes(&tables[*n])));
        let total = order.iter().map(|n| plan.bytes(&tables[*n])).sum();
        let part = Part::begin(&self.watcher, "load", Some(order.len() as u64), Some(total));
        let left = Mutex::new(order.into_iter());
        let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
        let loaders = (0..CONNECTIONS).map(|_| async {
            let session = target.another().await?;
            session.batch("prepare the connection", LOADING).await?;
            while let Some(n) = next() {
                let dumped = &tables[n];
                let doing = format!("load {}", dumped.table.title());
                session.batch(&doing, "BEGIN").await?;
                let name = plan.built_as(&dumped.table);
                load::load(&session, dumped, plan.bytes(dumped), &name, folder, &part).await?;
                session.batch(&doing, "COMMIT").await?;
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
        (dump, beside): (&Dump<'_>, &impl Fn(&Table) -> bool),
        mut loaded: mpsc::UnboundedReceiver<usize>,
        log: &Mutex<Vec<Took>>,
    ) -> Result<(), DatabaseError> {
        let tables = plan.manifest.tables.iter().filter(|dumped| beside(&dumped.table)).count();
        let part = Part::begin(&self.watcher, "index", Some(tables as u64), None);
        while let Some(n) = loaded.recv().await {
            let table = &plan.manifest.tables[n].table;
            let doing = format!("index {}", table.title());
            swapping.batch(&doing, &dump.early_indexes(table)).await?;
            part.add(1, 0);
        }
        part.end(log);
        Ok(())
    }

    async fn last_restored(
        &self,
        session: &Session,
        id: &BackupId,
        manifest_sha256: &str,
        schemas: &[String],
    ) -> Result<Option<(i64, Restored)>, DatabaseError> {
        last_restored(session, id, (manifest_sha256, &self.masking.fingerprint()), schemas).await
    }

    async fn compared(&self, id: &BackupId) -> Result<Parity, DatabaseError> {
        let (manifest, digest) = self.manifest(id).await?;
        let began = std::time::Instant::now();
        let url = &self.databases.target;
        let readers = sessions(CONNECTIONS, || Session::reading(url, Party::Target)).await?;
        let mut readings = Vec::new();
        let restored = self.last_restored(&readers[0], id, &digest, &manifest.schemas).await?;
        let number = restored.as_ref().map(|(number, _)| *number);
        for table in catalog::tables(&readers[0], &manifest.schemas).await? {
            let copy = taken_back(&readers[0], &table, number).await?;
            readings.push(Reading { table, copy });
        }
        let bytes = readings.iter().map(|reading| reading.table.bytes).sum();
        let part = Part::begin(&self.watcher, "compare", Some(readings.len() as u64), Some(bytes));
        let mut staging = contents(&readers, &manifest.surroundings.search_path, readings, &part).await?;
        let masked = WrittenDown::of(&readers[0], number).await?;
        masked.before_masking(&mut staging);
        let defined = compare::compared(&readers[0], &manifest, number, &part).await?;
        Ok(Parity {
            tables: beside(&manifest, staging),
            masked: masked.into_columns(),
            took: began.elapsed(),
            ..defined
        })
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
pub(crate) struct Plan<'a> {
    pub(crate) manifest: &'a Manifest,
    pub(crate) digest: String,
    /// When the restore began, by the target's clock.
    pub(crate) began_at: Timestamp,
    pub(crate) schemas: Vec<Replaced>,
    pub(crate) moves: Vec<Move>,
}

impl Plan<'_> {
    /// The name of a table until the swap is committed.
    fn built_as(&self, table: &Table) -> String {
        let new = self.schemas.iter().find(|schema| schema.name == table.schema);
        qualified(new.map_or(&table.schema, |schema| &schema.new), &table.name)
    }

    /// How large a table's file is.
    fn bytes(&self, dumped: &DumpedTable) -> u64 {
        self.manifest.files.iter().find(|it| it.name == dumped.file).map_or(0, |file| file.bytes)
    }
}

/// Loads the tables that are not plain, where names are final and all plain ones are there.
///
/// A check may read a table that is not loaded yet: whatever is refused is tried again after the others, and those that
/// compute columns come last.
async fn in_place(
    session: &Session,
    plan: &Plan<'_>,
    (folder, beside): (&Path, &impl Fn(&Table) -> bool),
    part: &Part,
) -> Result<(), DatabaseError> {
    let mut left: Vec<&DumpedTable> =
        plan.manifest.tables.iter().filter(|dumped| !beside(&dumped.table)).collect();
    left.sort_by_key(|dumped| (!dumped.table.generated.is_empty(), dumped.table.title()));
    let doing = "load in place";
    session.look_in(&plan.manifest.surroundings.search_path).await?;
    loop {
        let (mut refused, before) = (Vec::new(), left.len());
        for dumped in left {
            let name = qualified(&dumped.table.schema, &dumped.table.name);
            session.batch(doing, "SAVEPOINT in_place").await?;
            match load::load(session, dumped, plan.bytes(dumped), &name, folder, part).await {
                Ok(()) => session.batch(doing, "RELEASE SAVEPOINT in_place").await?,
                Err(error @ DatabaseError::Refused { .. }) => {
                    session
                        .batch(doing, "ROLLBACK TO SAVEPOINT in_place; RELEASE SAVEPOINT in_place")
                        .await?;
                    refused.push((dumped, error));
                }
                Err(error) => return Err(error),
            }
        }
        if refused.len() == before {
            if let Some((_, error)) = refused.into_iter().next() {
                return Err(error);
            }
            break;
        }
        left = refused.into_iter().map(|(dumped, _)| dumped).collect();
        if left.is_empty() {
            break;
        }
    }
    session.look_in("").await
}

/// What the target holds, if it is this backup, masked by this profile: by the latest mark, and only while the schemas are still
/// those of the swap.
async fn last_restored(
    session: &Session,
    id: &BackupId,
    (manifest_sha256, masking): (&str, &str),
    schemas: &[String],
) -> Result<Option<(i64, Restored)>, DatabaseError> {
    let doing = "read the mark of the last restore";
    let there = "SELECT to_regclass('allclear.restored') IS NOT NULL";
    if !session.row(doing, there, &[]).await?.get::<_, bool>(0) {
        return Ok(None);
    }
    let sql = format!(
        "SELECT number, backup, manifest_sha256, tables, rows, put_aside, took, schemas = {}, \
         coalesce(to_jsonb(r) ->> 'notes', '[]'), to_jsonb(r) ->> 'began_at', \
         coalesce(to_jsonb(r) ->> 'masking', '') FROM allclear.restored r ORDER BY number DESC LIMIT 1",
        swap::identities(schemas)
    );
    let found = session.rows(doing, &sql, &[]).await?;
    let Some(row) = found.first() else { return Ok(None) };
    let (backup, digest): (String, String) = (row.get(1), row.get(2));
    let masked_by: String = row.get(10);
    let is_it = backup == id.as_str() && digest == manifest_sha256 && masked_by == masking;
    if !is_it || !row.get::<_, bool>(7) {
        return Ok(None);
    }
    let (took, notes): (String, String) = (row.get(6), row.get(8));
    let began_at: Option<String> = row.get(9);
    let restored = Restored {
        id: id.clone(),
        tables: row.get::<_, i64>(3).unsigned_abs(),
        rows: row.get::<_, i64>(4).unsigned_abs(),
        put_aside: row.get(5),
        notes: serde_json::from_str(&notes).unwrap_or_default(),
        began_at: began_at.and_then(|at| at.parse().ok()),
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
        let check = self.databases.compare().await?;
        if !check.objections.is_empty() || self.masking.is_empty() {
            return Ok(check);
        }
        let source = Session::reading(&self.databases.source, Party::Source).await?;
        let mut objections = masking::objections(&source, &self.masking, &self.databases.schemas).await?;
        objections.extend(masking::unfit_texts(&source, &self.masking).await?);
        Ok(TargetCheck { objections, ..check })
    }

    async fn restore(&self, id: &BackupId) -> Result<Restored, PortError> {
        let target = self.databases.admit().await?;
        Ok(self.restore_into(target, id).await?)
    }

    async fn find(&self, id: &BackupId) -> Result<Option<Restored>, PortError> {
        let Some((manifest, digest)) = self.bucket.manifest(id).await? else { return Ok(None) };
        let session = Session::reading(&self.databases.target, Party::Target).await?;
        let found = self.last_restored(&session, id, &digest, &manifest.schemas).await?;
        Ok(found.map(|(_, restored)| restored))
    }

    async fn parity(&self, id: &BackupId) -> Result<Parity, PortError> {
        Ok(self.compared(id).await?)
    }
}
