//! Tells a watcher how far the work is, some times a second at most.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use allclear_core::recovery::{Progress, Took, Watcher};

/// At most this often.
const PACE: Duration = Duration::from_millis(100);

/// One part of the work, timed and told.
pub(crate) struct Part {
    watcher: Arc<dyn Watcher>,
    what: &'static str,
    began: Instant,
    items: AtomicU64,
    bytes: AtomicU64,
    items_of: Option<u64>,
    bytes_of: Option<u64>,
    told: Mutex<Instant>,
}

impl Part {
    pub(crate) fn begin(
        watcher: &Arc<dyn Watcher>,
        what: &'static str,
        items_of: Option<u64>,
        bytes_of: Option<u64>,
    ) -> Arc<Self> {
        let began = Instant::now();
        let part = Self {
            watcher: Arc::clone(watcher),
            what,
            began,
            items: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            items_of,
            bytes_of,
            told: Mutex::new(began),
        };
        part.tell();
        Arc::new(part)
    }

    pub(crate) fn add(&self, items: u64, bytes: u64) {
        self.items.fetch_add(items, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.tell_at_pace();
    }

    /// So many bytes so far, where they are measured and not added up.
    pub(crate) fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.tell_at_pace();
    }

    fn tell_at_pace(&self) {
        // Whoever finds it taken need not wait: somebody is telling just now.
        let Ok(mut told) = self.told.try_lock() else { return };
        if told.elapsed() >= PACE {
            *told = Instant::now();
            self.tell();
        }
    }

    fn tell(&self) {
        self.watcher.tell(&Progress {
            what: self.what.to_owned(),
            items: self.items.load(Ordering::Relaxed),
            items_of: self.items_of,
            bytes: self.bytes.load(Ordering::Relaxed),
            bytes_of: self.bytes_of,
            elapsed: self.began.elapsed(),
        });
    }

    /// It is done.
    pub(crate) fn end(&self, log: &Mutex<Vec<Took>>) {
        self.tell();
        let took = Took { what: self.what.to_owned(), took: self.began.elapsed() };
        log.lock().unwrap_or_else(PoisonError::into_inner).push(took);
    }
}
