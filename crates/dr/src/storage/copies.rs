//! The copies, as the exercise sees them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use allclear_core::ports::ObjectCopies;
use allclear_core::recovery::{BackupId, CopiedObjects, ObjectCopy, StoredObject, Took, Unwatched, Watcher};
use allclear_core::{Clock, PortError, Service};
use async_trait::async_trait;
use tokio::task::JoinSet;

use super::ledger::{HELD, Known, Ledger};
use super::manifest::{Entry, Manifest};
use super::plan::Plan;
use super::settings::Bucket;
use super::shelf::Stored;
use super::source::Source;
use super::told::Told;

/// Objects that are read back at once.
const READ_AT_ONCE: usize = 64;
/// How long a ledger may be held by what is ending.
const LET_GO_WITHIN: Duration = Duration::from_secs(5);

/// Copies of the platform's buckets, kept in one bucket.
pub struct S3Copies {
    bucket: Bucket,
    source: Source,
    ledgers: PathBuf,
    clock: Arc<dyn Clock>,
    watcher: Arc<dyn Watcher>,
}

/// What a copy met on its way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyNotes {
    /// Objects (`bucket/name`) that became others while they were copied; the copy has what they were when they were read.
    pub changed: Vec<String>,
    /// Objects that were listed and were gone when they were to be read. They are not in the copy.
    pub vanished: Vec<String>,
}

/// What reading everything back told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many objects have the SHA-256 of the manifest: all of them.
    pub objects: u64,
    /// Their size together, in bytes.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
}

impl S3Copies {
    /// Copies from `source` to `bucket`; what is done of one that is under way is noted in the folder `ledgers`.
    pub fn new(bucket: Bucket, source: Source, ledgers: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self { bucket, source, ledgers, clock, watcher: Arc::new(Unwatched) }
    }

    /// Tells somebody how far it is.
    pub fn watched_by(mut self, watcher: Arc<dyn Watcher>) -> Self {
        self.watcher = watcher;
        self
    }

    /// Which objects changed or vanished under the copy, from its manifest; `None` while it is not whole.
    pub async fn notes(&self, id: &BackupId) -> Result<Option<CopyNotes>, PortError> {
        let found = self.bucket.manifest(id).await?;
        Ok(found.map(|(manifest, _)| CopyNotes { changed: manifest.changed, vanished: manifest.vanished }))
    }

    /// Requests of a copy that failed a moment ago end by themselves and hold its ledger until then.
    async fn open_ledger(&self, id: &BackupId) -> Result<(Ledger, Known), PortError> {
        let give_up_at = Instant::now() + LET_GO_WITHIN;
        loop {
            match Ledger::open(&self.ledgers, id, self.source.names()) {
                Err(PortError::Rejected { code: Some(code), .. })
                    if code == HELD && Instant::now() < give_up_at =>
                {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                opened => return opened,
            }
        }
    }

    /// Reads every object of a copy back and compares its SHA-256. The error names the first that differ.
    pub async fn verify(&self, id: &BackupId) -> Result<Verified, PortError> {
        let began = Instant::now();
        let Some((manifest, _)) = self.bucket.manifest(id).await? else {
            return Err(PortError::NotFound {
                service: Service::ObjectStore,
                what: format!("manifest of copy {id}"),
            });
        };
        let (objects, bytes) = (manifest.entries.len() as u64, manifest.bytes());
        let mut told =
            Told::new(&*self.watcher, "read objects back", manifest.entries.iter().map(|entry| entry.size));
        let (mut tasks, mut wrong, mut read) = (JoinSet::new(), Vec::new(), 0);
        for entry in manifest.entries {
            if tasks.len() == READ_AT_ONCE {
                settle(&mut tasks, &mut wrong, &mut read, &mut told).await?;
            }
            let (bucket, name) = (
                self.bucket.clone(),
                format!("{}/{}", manifest.buckets[usize::from(entry.bucket)], entry.name),
            );
            tasks.spawn(async move {
                let there = bucket.digest_of(&bucket.object(entry.stored_as())).await?;
                Ok((entry.size, differs(&name, &entry, there)))
            });
        }
        while !tasks.is_empty() {
            settle(&mut tasks, &mut wrong, &mut read, &mut told).await?;
        }
        told.end(read);
        if wrong.is_empty() {
            return Ok(Verified { objects, bytes, took: began.elapsed() });
        }
        Err(self.damaged(id, wrong, objects))
    }

    fn damaged(&self, id: &BackupId, mut wrong: Vec<String>, of: u64) -> PortError {
        let count = wrong.len();
        wrong.sort();
        wrong.truncate(5);
        PortError::Damaged {
            service: Service::ObjectStore,
            call: format!("compare {} with its manifest", self.bucket.address(&format!("{id}/storage"))),
            detail: format!(
                "{count} of {of} objects differ: {}; take a new copy, it puts back what the source still has",
                wrong.join("; ")
            ),
        }
    }

    fn copy_of(&self, manifest: &Manifest, manifest_sha256: String) -> ObjectCopy {
        ObjectCopy {
            id: manifest.id.clone(),
            destination: self.bucket.address(&format!("{}/storage", manifest.id)),
            objects: manifest.entries.len() as u64,
            bytes: manifest.bytes(),
            uploaded: manifest.uploaded,
            changed: manifest.changed.len() as u64,
            vanished: manifest.vanished.len() as u64,
            manifest_sha256,
            took: manifest.took.clone(),
        }
    }

    /// An empty list is how a wrong key, a wrong bucket or a failed download looks.
    fn refuse_emptiness(&self, listed: usize, previous: Option<&Manifest>) -> Result<(), PortError> {
        let Some(previous) = previous.filter(|previous| listed == 0 && !previous.entries.is_empty()) else {
            return Ok(());
        };
        Err(PortError::Rejected {
            service: Service::ObjectStore,
            call: format!("list the buckets {}", self.source.names().join(", ")),
            code: None,
            detail: format!(
                "they are empty, and the copy {} has {} objects; check the buckets' names and the key's rights",
                previous.id,
                previous.entries.len()
            ),
        })
    }

    fn compared(
        &self,
        manifest: &Manifest,
        sha256: String,
        stored: &Stored,
    ) -> Result<ObjectCopy, PortError> {
        let wrong = missing(manifest, stored);
        if wrong.is_empty() {
            return Ok(self.copy_of(manifest, sha256));
        }
        Err(self.damaged(&manifest.id, wrong, manifest.entries.len() as u64))
    }
}

type Checked = Result<(u64, Option<String>), PortError>;

async fn settle(
    tasks: &mut JoinSet<Checked>,
    wrong: &mut Vec<String>,
    read: &mut u64,
    told: &mut Told<'_>,
) -> Result<(), PortError> {
    if let Some(checked) = tasks.join_next().await {
        let (size, differs) = checked.expect("reading does not panic")?;
        wrong.extend(differs);
        *read += size;
        told.on(1, *read);
    }
    Ok(())
}

fn differs(name: &str, entry: &Entry, there: Option<([u8; 32], u64)>) -> Option<String> {
    match there {
        None => Some(format!("{name} is missing")),
        Some((_, size)) if size != entry.size => {
            Some(format!("{name} has {size} bytes instead of {}", entry.size))
        }
        Some((sha256, _)) if sha256 != entry.sha256 => Some(format!("{name} has another content")),
        Some(_) => None,
    }
}

/// What of the manifest the bucket's list does not have, by size.
fn missing(manifest: &Manifest, stored: &Stored) -> Vec<String> {
    let lacks = |entry: &&Entry| stored.get(entry.stored_as()) != Some(&entry.size);
    let wrong = manifest.entries.iter().filter(lacks);
    wrong
        .map(|entry| {
            let name = format!("{}/{}", manifest.buckets[usize::from(entry.bucket)], entry.name);
            match stored.get(entry.stored_as()) {
                None => format!("{name} is missing"),
                Some(size) => format!("{name} has {size} bytes instead of {}", entry.size),
            }
        })
        .collect()
}

struct Laps {
    last: Instant,
    taken: Vec<Took>,
}

impl Laps {
    fn start() -> Self {
        Self { last: Instant::now(), taken: Vec::new() }
    }

    fn lap(&mut self, what: &str) {
        self.taken.push(Took { what: what.to_owned(), took: self.last.elapsed() });
        self.last = Instant::now();
    }
}

#[async_trait]
impl ObjectCopies for S3Copies {
    /// A copy that is whole is left as it is.
    async fn copy(&self, id: &BackupId) -> Result<ObjectCopy, PortError> {
        let mut clock = Laps::start();
        let (ledger, known) = self.open_ledger(id).await?;
        let (there, listed, stored, previous) = tokio::try_join!(
            self.bucket.manifest(id),
            self.source.list(),
            self.bucket.stored(),
            self.bucket.previous(id)
        )?;
        if let Some((manifest, sha256)) = there {
            // Whole already: its id stands for one point in time.
            return self.compared(&manifest, sha256, &stored);
        }
        self.refuse_emptiness(listed.len(), previous.as_ref())?;
        clock.lap("list objects");
        let plan = Plan::new(listed, self.source.names(), &known, previous.as_ref(), &stored);
        drop(previous);
        let whole = (id, &self.bucket, &self.source);
        let mut outcome = super::copy::copy(whole, plan, (ledger, known, stored), &*self.watcher).await?;
        clock.lap("copy objects");
        outcome.entries.sort_unstable_by(|a, b| (a.bucket, &a.name).cmp(&(b.bucket, &b.name)));
        outcome.changed.sort();
        outcome.vanished.sort();
        let mut manifest = Manifest {
            id: id.clone(),
            at: self.clock.now(),
            buckets: self.source.names().to_vec(),
            entries: outcome.entries,
            uploaded: outcome.uploaded,
            changed: outcome.changed,
            vanished: outcome.vanished,
            took: clock.taken.clone(),
        };
        let Some(sha256) = self.bucket.keep_manifest(&manifest).await? else {
            // Ours, when an answer was lost; either way it is the one that counts.
            return self.find(id).await?.ok_or_else(|| PortError::OutcomeUnknown {
                service: Service::ObjectStore,
                call: format!("PUT the manifest of {id}"),
                detail: "it is there and it is not".to_owned(),
            });
        };
        clock.lap("write the manifest");
        manifest.took = clock.taken;
        Ok(self.copy_of(&manifest, sha256))
    }

    /// `None` where there is no manifest. A copy that has one and lacks an object is an error that names it: it was whole once.
    async fn find(&self, id: &BackupId) -> Result<Option<ObjectCopy>, PortError> {
        let (found, stored) = tokio::try_join!(self.bucket.manifest(id), self.bucket.stored())?;
        found.map(|(manifest, sha256)| self.compared(&manifest, sha256, &stored)).transpose()
    }

    async fn objects(&self, id: &BackupId) -> Result<Option<CopiedObjects>, PortError> {
        Ok(self.bucket.manifest(id).await?.map(|(manifest, _)| objects_of(manifest)))
    }
}

/// The manifest's objects by bucket. Its time is the copy's end; what it took before that leads back to its beginning.
fn objects_of(manifest: Manifest) -> CopiedObjects {
    let took: Duration = manifest.took.iter().map(|part| part.took).sum();
    let mut buckets: Vec<(String, Vec<StoredObject>)> =
        manifest.buckets.into_iter().map(|bucket| (bucket, Vec::new())).collect();
    for entry in manifest.entries {
        let object = StoredObject { name: entry.name.into(), bytes: Some(entry.size), changed_at: None };
        buckets[usize::from(entry.bucket)].1.push(object);
    }
    CopiedObjects { begun_at: manifest.at.saturating_sub(took).unwrap_or(manifest.at), buckets }
}
