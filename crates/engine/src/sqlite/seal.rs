//! The seal of a run: how many entries its journal has and the hash of the latest, in a file of its own.
//!
//! The chain tells whether an entry is what was written; it cannot tell whether entries are missing at its end. The seal
//! can, because it lies outside the database that holds them: it is written after each commit, so it is never ahead of the
//! journal. One that is ahead means that entries were lost (an old copy, a deleted write-ahead log, a cut tail); one that is
//! behind is what a kill between commit and seal, or a loss of power, leaves.
//!
//! It is written without a sync of its own, over bytes that are there already: after a kill the kernel still has it, and after
//! a loss of power it is only behind. Two places take turns, so a write that was cut off leaves the other whole.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::NewRun;
use crate::journal::{GENESIS, digest};

/// The bytes of one of the two places.
const PLACE: usize = 128;

/// Where a journal ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// How many entries it has.
    pub entries: u64,
    /// The hash of the latest; [`GENESIS`] before the first.
    pub hash: String,
    /// Whether the run is over.
    pub ended: bool,
}

impl Tail {
    /// Before the first entry.
    pub(super) fn none() -> Self {
        Self { entries: 0, hash: GENESIS.to_owned(), ended: false }
    }

    fn line(&self) -> String {
        let says = format!("{:020} {} {}", self.entries, self.hash, u8::from(self.ended));
        let check = &digest(says.as_bytes())[..16];
        format!("{:<width$}\n", format!("{says} {check}"), width = PLACE - 1)
    }

    /// Exactly what was written, or nothing: every byte of the place is checked.
    fn read(place: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(place).ok()?;
        let mut words = text.split_ascii_whitespace();
        let entries = words.next()?.parse().ok()?;
        let hash = words.next()?.to_owned();
        let ended = words.next()? == "1";
        let tail = Self { entries, hash, ended };
        (tail.line() == text).then_some(tail)
    }
}

/// What was known of a run before its first entry; the seal keeps it, so that a run is known even where the store lost it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    #[serde(flatten)]
    pub(super) new: NewRun,
    pub(super) began_at: Timestamp,
}

/// What a seal says.
#[derive(Debug, Clone)]
pub(super) struct Sealed {
    pub(super) tail: Tail,
    pub(super) begun: Begun,
    /// Whether one of its two places cannot be read: a write was cut off, or a byte was changed.
    pub(super) half: bool,
}

/// What became of looking at a seal.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one for each look, and it is taken apart at once")]
pub(super) enum Look {
    /// There is none.
    None,
    /// It says this.
    Says(Sealed),
    /// It says nothing that can be used.
    Broken(String),
}

/// An open seal.
#[derive(Debug)]
pub(super) struct Seal {
    file: File,
    path: PathBuf,
}

/// The folder of the seals.
pub(super) fn folder(store: &Path) -> PathBuf {
    store.join("seals")
}

/// Where a run's seal is.
pub(super) fn path_of(store: &Path, run: &str) -> PathBuf {
    folder(store).join(format!("{run}.seal"))
}

impl Seal {
    /// Makes a run's seal and syncs it: from here on its absence means that it was lost.
    pub(super) fn create(store: &Path, begun: &Begun, tail: &Tail) -> std::io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder(store))?;
        let path = path_of(store, &begun.new.id);
        // Elsewhere first: others look at seals at any time, and half of one would be damage.
        let aside = path.with_extension("new");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        let header = serde_json::to_string(begun)?;
        let check = digest(header.as_bytes());
        let text = format!("{0}{0}{header}\n{check}\n", tail.line());
        file.write_all_at(text.as_bytes(), 0)?;
        file.sync_all()?;
        std::fs::rename(aside, &path)?;
        Ok(Self { file, path })
    }

    /// Opens a run's seal to go on writing it.
    pub(super) fn open(store: &Path, run: &str) -> std::io::Result<Self> {
        let path = path_of(store, run);
        let file = OpenOptions::new().write(true).open(&path)?;
        Ok(Self { file, path })
    }

    /// Says where the journal ends now.
    pub(super) fn write(&self, tail: &Tail) -> std::io::Result<()> {
        let place = (tail.entries % 2) * PLACE as u64;
        self.file.write_all_at(tail.line().as_bytes(), place)
    }

    pub(super) fn file(&self) -> (&Path, &File) {
        (&self.path, &self.file)
    }
}

/// Reads a run's seal.
pub(super) fn look(store: &Path, run: &str) -> std::io::Result<Look> {
    look_at(&path_of(store, run))
}

fn look_at(path: &Path) -> std::io::Result<Look> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(mut file) => file.read_to_end(&mut bytes)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Look::None),
        Err(error) => return Err(error),
    };
    Ok(read(&bytes).map_or_else(Look::Broken, Look::Says))
}

fn read(bytes: &[u8]) -> Result<Sealed, String> {
    let (Some(first), Some(second), Some(header)) =
        (bytes.get(..PLACE), bytes.get(PLACE..2 * PLACE), bytes.get(2 * PLACE..))
    else {
        return Err("is cut short".to_owned());
    };
    let begun = begun(header)?;
    let (first, second) = (Tail::read(first), Tail::read(second));
    let half = first.is_none() || second.is_none();
    let later = first.into_iter().chain(second).max_by_key(|tail| tail.entries);
    let tail = later.ok_or("says nothing that fits its own checksum")?;
    Ok(Sealed { tail, begun, half })
}

fn begun(header: &[u8]) -> Result<Begun, String> {
    let damaged = || "does not fit its own checksum".to_owned();
    let text = std::str::from_utf8(header).map_err(|_| damaged())?;
    let (json, check) = text.split_once('\n').ok_or_else(damaged)?;
    if check.strip_suffix('\n') != Some(digest(json.as_bytes()).as_str()) {
        return Err(damaged());
    }
    serde_json::from_str(json).map_err(|error| format!("cannot be read ({error})"))
}

/// The runs that have a seal.
pub(super) fn sealed_runs(store: &Path) -> std::io::Result<Vec<String>> {
    let listed = match std::fs::read_dir(folder(store)) {
        Ok(listed) => listed,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut runs = Vec::new();
    for entry in listed {
        let name = entry?.file_name();
        let run = name.to_str().and_then(|name| name.strip_suffix(".seal"));
        runs.extend(run.filter(|run| !run.starts_with('~')).map(str::to_owned));
    }
    runs.sort();
    Ok(runs)
}
