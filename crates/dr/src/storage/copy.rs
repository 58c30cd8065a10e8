//! The copy itself: many small objects at once, large ones in parts, all within one budget of bytes.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use allclear_core::PortError;
use allclear_core::recovery::{BackupId, Watcher};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::large;
use super::ledger::{Known, Ledger};
use super::manifest::Entry;
use super::plan::{Plan, SMALL};
use super::settings::Bucket;
use super::shelf::Stored;
use super::source::{Listed, Read, Source, Unread};
use super::told::Told;

/// Bytes that are read and not yet put, in KiB: what bounds the memory.
const BUDGET: u64 = 48 << 10;
/// What one small object takes of it at least, so that tiny ones do not become a hundred thousand tasks.
const LEAST: u64 = 64;
/// Large objects under way at once.
const LARGE_AT_ONCE: usize = 4;

/// What all tasks of one copy share.
pub(super) struct Work {
    pub(super) id: BackupId,
    pub(super) bucket: Bucket,
    pub(super) source: Source,
    pub(super) stored: Stored,
    ledger: Mutex<Ledger>,
    known: Mutex<Known>,
    budget: Arc<Semaphore>,
    /// Contents that a task of this process has taken on.
    claimed: Mutex<HashSet<[u8; 32]>>,
    bytes: AtomicU64,
}

/// One object that needs nothing more.
#[derive(Debug)]
pub(super) enum Done {
    Copied { entry: Entry, uploaded: bool, changed: bool },
    Vanished { bucket: u16, name: Box<str> },
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) entries: Vec<Entry>,
    pub(super) uploaded: u64,
    pub(super) changed: Vec<String>,
    pub(super) vanished: Vec<String>,
}

/// Copies what the plan says. Everything that is done by the time of an error is in the ledger.
pub(super) async fn copy(
    (id, bucket, source): (&BackupId, &Bucket, &Source),
    plan: Plan,
    (ledger, known, stored): (Ledger, Known, Stored),
    watcher: &dyn Watcher,
) -> Result<Outcome, PortError> {
    let work = Arc::new(Work {
        id: id.clone(),
        bucket: bucket.clone(),
        source: source.clone(),
        stored,
        ledger: Mutex::new(ledger),
        known: Mutex::new(known),
        budget: Arc::new(Semaphore::new(BUDGET as usize)),
        claimed: Mutex::default(),
        bytes: AtomicU64::new(0),
    });
    let Plan { kept, small, large } = plan;
    let mut told = Told::new(watcher, "copy objects", small.iter().chain(&large).map(|listed| listed.size));
    let mut outcome = Outcome::default();
    for (entry, uploaded) in kept {
        outcome.uploaded += u64::from(uploaded);
        outcome.entries.push(entry);
    }
    large::end_orphans(&work, &large).await?;
    let (done, mut arriving) = mpsc::channel(1024);
    let produce = async {
        let done = done;
        tokio::try_join!(copy_small(&work, small, &done), copy_large(&work, large, &done))
    };
    let collect = async {
        let mut some = Vec::with_capacity(256);
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                arrived = arriving.recv_many(&mut some, 256) => if arrived == 0 { break },
                _ = tick.tick() => {}
            }
            told.on(some.len() as u64, work.bytes.load(Ordering::Relaxed));
            outcome.take_in(some.drain(..), work.source.names());
        }
        told.end(work.bytes.load(Ordering::Relaxed));
        Ok(outcome)
    };
    // The first error drops the other side, and with it every task that is still under way.
    let (_, outcome) = tokio::try_join!(produce, collect)?;
    Ok(outcome)
}

impl Outcome {
    fn take_in(&mut self, done: impl Iterator<Item = Done>, buckets: &[String]) {
        let address = |bucket: u16, name: &str| format!("{}/{name}", buckets[usize::from(bucket)]);
        for done in done {
            match done {
                Done::Copied { entry, uploaded, changed } => {
                    self.uploaded += u64::from(uploaded);
                    if changed {
                        self.changed.push(address(entry.bucket, &entry.name));
                    }
                    self.entries.push(entry);
                }
                Done::Vanished { bucket, name } => self.vanished.push(address(bucket, &name)),
            }
        }
    }
}

impl Work {
    /// Room for this many bytes that are about to be read. One piece may be larger than the whole budget; then it is alone.
    pub(super) async fn room_for(&self, bytes: u64) -> OwnedSemaphorePermit {
        let kib = bytes.div_ceil(1 << 10).clamp(LEAST, BUDGET) as u32;
        let room = Arc::clone(&self.budget).acquire_many_owned(kib).await;
        room.expect("the budget is never closed")
    }

    /// So many bytes are in the bucket now.
    pub(super) fn moved(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes it down and tells it.
    pub(super) async fn finish(
        &self,
        (entry, uploaded, changed): (Entry, bool, bool),
        done: &mpsc::Sender<Done>,
    ) -> Result<(), PortError> {
        self.ledger().done(std::iter::once((&entry, uploaded)))?;
        // The receiver is gone only when the whole copy is being dropped.
        let _ = done.send(Done::Copied { entry, uploaded, changed }).await;
        Ok(())
    }
}

async fn copy_small(
    work: &Arc<Work>,
    objects: Vec<Listed>,
    done: &mpsc::Sender<Done>,
) -> Result<(), PortError> {
    let mut tasks = JoinSet::new();
    for batch in batches(objects, work.source.batch()) {
        let bytes = batch.iter().map(|listed| listed.size.max(LEAST << 10)).sum();
        let room = work.room_for(bytes).await;
        let (work, done) = (Arc::clone(work), done.clone());
        tasks.spawn(async move { copy_batch(&work, batch, room, &done).await });
        while let Some(ended) = tasks.try_join_next() {
            ended.expect("copying does not panic")?;
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("copying does not panic")?;
    }
    Ok(())
}

/// Batches of so many objects, or of a megabyte.
fn batches(objects: Vec<Listed>, most: usize) -> impl Iterator<Item = Vec<Listed>> {
    let mut objects = objects.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut batch = vec![objects.next()?];
        let mut bytes = batch[0].size;
        while batch.len() < most && objects.peek().is_some_and(|next| bytes + next.size <= 1 << 20) {
            let next = objects.next()?;
            bytes += next.size;
            batch.push(next);
        }
        Some(batch)
    })
}

async fn copy_batch(
    work: &Arc<Work>,
    batch: Vec<Listed>,
    room: OwnedSemaphorePermit,
    done: &mpsc::Sender<Done>,
) -> Result<(), PortError> {
    let listed = batch.clone();
    let read = work.source.read_small(batch, SMALL).await;
    let mut grown = Vec::new();
    let mut puts = FuturesUnordered::new();
    for (listed, read) in listed.into_iter().zip(read) {
        match read {
            Ok(read) => puts.push(put(work, read, done)),
            Err(Unread::Vanished) => {
                let _ = done.send(Done::Vanished { bucket: listed.bucket, name: listed.name }).await;
            }
            Err(Unread::Grown(now)) => grown.push(now),
            Err(Unread::Changed) => return Err(large::restless(&listed)),
            Err(Unread::Failed(error)) => return Err(error),
        }
    }
    while let Some(put) = puts.next().await {
        put?;
    }
    drop(puts);
    // Its bytes are in the bucket; a large object asks for room of its own.
    drop(room);
    for listed in grown {
        large::copy(work, listed, true, done).await?;
    }
    Ok(())
}

async fn put(work: &Work, read: Read, done: &mpsc::Sender<Done>) -> Result<(), PortError> {
    let Read { listed, content, sha256, changed } = read;
    let there = work.stored.get(&sha256);
    let claimed = !work.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(sha256);
    let uploaded = if there == Some(&listed.size) || claimed {
        false
    } else {
        work.bucket.keep(&sha256, content, there.is_some()).await?
    };
    work.moved(listed.size);
    let Listed { bucket, name, size, version } = listed;
    let entry = Entry { bucket, name, size, sha256, key: None, version };
    work.finish((entry, uploaded, changed), done).await
}

async fn copy_large(
    work: &Arc<Work>,
    objects: Vec<Listed>,
    done: &mpsc::Sender<Done>,
) -> Result<(), PortError> {
    let mut tasks = JoinSet::new();
    for listed in objects {
        if tasks.len() == LARGE_AT_ONCE
            && let Some(ended) = tasks.join_next().await
        {
            ended.expect("copying does not panic")?;
        }
        let (work, done) = (Arc::clone(work), done.clone());
        tasks.spawn(async move { large::copy(&work, listed, false, &done).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("copying does not panic")?;
    }
    Ok(())
}
