//! Progress for people, ten times a second at most.

use std::time::{Duration, Instant};

use allclear_core::recovery::{Progress, Watcher};

const PAUSE: Duration = Duration::from_millis(100);

/// See the module.
pub(super) struct Told<'a> {
    watcher: &'a dyn Watcher,
    progress: Progress,
    began: Instant,
    last: Option<Instant>,
}

impl<'a> Told<'a> {
    /// What is to be done, by the size of each item.
    pub(super) fn new(watcher: &'a dyn Watcher, what: &str, sizes: impl Iterator<Item = u64>) -> Self {
        let (items, bytes) = sizes.fold((0, 0), |(items, bytes), size| (items + 1, bytes + size));
        let progress = Progress {
            what: what.to_owned(),
            items_of: Some(items),
            bytes_of: Some(bytes),
            ..Progress::default()
        };
        Self { watcher, progress, began: Instant::now(), last: None }
    }

    /// So many items more are done, and so many bytes in all.
    pub(super) fn on(&mut self, items: u64, bytes: u64) {
        self.progress.items += items;
        if self.last.is_none_or(|last| last.elapsed() >= PAUSE) {
            self.tell(bytes);
        }
    }

    /// It is over.
    pub(super) fn end(&mut self, bytes: u64) {
        self.tell(bytes);
    }

    fn tell(&mut self, bytes: u64) {
        self.progress.bytes = bytes;
        self.progress.elapsed = self.began.elapsed();
        self.watcher.tell(&self.progress);
        self.last = Some(Instant::now());
    }
}
