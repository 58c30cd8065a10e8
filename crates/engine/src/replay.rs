//! Finding recorded entries again, by key, and noticing when the procedure goes another way than recorded.

use std::collections::{HashMap, HashSet};

use crate::journal::Entry;

/// Entries under keys that begin with this are written by the engine beside the procedure (resumed, detached,
/// concluded): replay never asks for them.
pub(crate) const BESIDE: char = '~';

/// The entries of a run so far, and how far the procedure has come in them.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    entries: Vec<Entry>,
    by_key: HashMap<String, usize>,
    replayed: HashSet<usize>,
    cursor: usize,
}

impl Replay {
    /// Begins at the start of what was recorded.
    pub(crate) fn of(entries: Vec<Entry>) -> Self {
        let mut replay = Self::default();
        for entry in entries {
            replay.by_key.insert(entry.key.clone(), replay.entries.len());
            replay.entries.push(entry);
        }
        replay
    }

    /// All entries.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Looks a key up without counting it as replayed.
    pub(crate) fn peek(&self, key: &str) -> Option<&Entry> {
        self.by_key.get(key).map(|&index| &self.entries[index])
    }

    /// Takes the entry of `key`, and names the key expected at this place if it was another.
    pub(crate) fn take(&mut self, key: &str) -> (Option<Entry>, Option<String>) {
        let expected = self.expected().map(|index| self.entries[index].key.clone());
        let beside = key.starts_with(BESIDE);
        let Some(&index) = self.by_key.get(key) else {
            return (None, expected.filter(|_| !beside));
        };
        self.replayed.insert(index);
        let out_of_order = expected.filter(|expected| !beside && expected != key);
        (Some(self.entries[index].clone()), out_of_order)
    }

    /// Whether anything recorded was not asked for again yet.
    pub(crate) fn has_more(&mut self) -> bool {
        self.expected().is_some()
    }

    /// Adds a new entry.
    pub(crate) fn push(&mut self, entry: Entry) {
        let index = self.entries.len();
        self.by_key.insert(entry.key.clone(), index);
        self.replayed.insert(index);
        self.entries.push(entry);
    }

    /// The first entry that the procedure has not asked for again.
    fn expected(&mut self) -> Option<usize> {
        while let Some(entry) = self.entries.get(self.cursor) {
            if entry.key.starts_with(BESIDE) || self.replayed.contains(&self.cursor) {
                self.cursor += 1;
            } else {
                return Some(self.cursor);
            }
        }
        None
    }
}
