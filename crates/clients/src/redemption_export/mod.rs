//! Exported redemptions: finds the vouchers that were redeemed more than once in a file of events.
//!
//! The file is what a database or a log drain gives: NDJSON, or CSV with a header; which of them is seen from its content. The
//! fields are `id`, `voucher_id`, `event_type`, `station_id`, `created_at` and `idempotency_key`; others are skipped. An export
//! of `voucher_redemptions` has no `event_type`, and each of its rows is a redemption; of events those of the type `redeemed`
//! are.
//!
//! ```no_run
//! use allclear_clients::redemption_export::RedemptionExport;
//!
//! let scanned = RedemptionExport::open("voucher_events.csv".as_ref())?.repeats()?;
//! println!("{} redemptions, {} doubles", scanned.redemptions, scanned.findings.doubles.len());
//! # Ok::<(), allclear_clients::redemption_export::ExportError>(())
//! ```
//!
//! It goes over the file twice. The first time it checks every line and remembers a fingerprint of each voucher, with the block
//! of the file that it was in; the second time it reads only the blocks that hold candidates. So memory is 10 to 13 bytes for each
//! voucher, and a file of any size is read about once. Reading blocks; in async code use a blocking thread.
//!
//! A line that cannot be read ends the scan with its number, the field and what to do: a finding from half a file is none.

mod csv;
mod files;
mod ndjson;
mod near;
mod row;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use allclear_core::redemption::{ExportedRedemption, Findings, Place, Repeats, Watcher};
use memchr::memchr;
use uuid::Uuid;

pub use self::files::ExportedFiles;

use self::csv::Columns;
use self::row::{Cells, Fault};
use self::scan::{Format, Rows, Stop, Visitor};

/// Bytes that a thread takes at a time: they stay in its cache from reading to parsing.
const CHUNK: u64 = 256 << 10;
/// The smallest block that a place stands for, as a power of two.
const BLOCK_BITS: u32 = 12;
/// The first bytes, by which the file is judged.
const HEAD: usize = 64 << 10;

/// A file of redemptions or voucher events.
#[derive(Debug)]
pub struct RedemptionExport {
    path: PathBuf,
    rows: Rows,
    opened: Metadata,
    threads: usize,
    chunk: u64,
}

/// What a scan of a whole file found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// Rows in the file.
    pub rows: u64,
    /// Those among them that are redemptions.
    pub redemptions: u64,
    /// The vouchers with more than one.
    pub findings: Findings,
}

/// A file that cannot be scanned. Nothing was found in it then, not even in its good part.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}; check the path and that you may read the file")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is neither CSV nor NDJSON.
    #[error("{path} is {what}: {fix}")]
    WrongFormat {
        /// Which file.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
        /// What to do about it.
        fix: &'static str,
    },
    /// A line of it cannot be read.
    #[error("{path}, line {line}: {field} {problem}; {fix}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// Which field, or `line` where the whole line is meant.
        field: &'static str,
        /// What is wrong. The value is not shown: where columns are shifted it may be a phone number.
        problem: String,
        /// What to do about it.
        fix: &'static str,
    },
    /// Somebody wrote to it meanwhile.
    #[error("{path} changed while it was read; scan it again when its export has finished")]
    Changed {
        /// Which file.
        path: PathBuf,
    },
}

impl RedemptionExport {
    /// Opens a file and sees what it is.
    pub fn open(path: &Path) -> Result<Self, ExportError> {
        let unreadable = |source| ExportError::Unreadable { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let opened = file.metadata().map_err(unreadable)?;
        let mut head = vec![0; HEAD.min(opened.len() as usize)];
        file.read_exact_at(&mut head, 0).map_err(unreadable)?;
        let (format, start) = judge(&head, path)?;
        let rows = Rows { file, format, range: start..opened.len() };
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(16);
        Ok(Self { path: path.to_owned(), rows, opened, threads, chunk: CHUNK })
    }

    /// The vouchers that have more than one redemption, with those redemptions.
    pub fn repeats(&self) -> Result<Scanned, ExportError> {
        let scanned = match self.by_lines() {
            Err((_, Stop::NotByLines)) => self.by_records(),
            done => done,
        };
        let after = self.rows.file.metadata().map_err(|source| self.unreadable(source))?;
        if (after.len(), after.modified().ok()) != (self.opened.len(), self.opened.modified().ok()) {
            return Err(ExportError::Changed { path: self.path.clone() });
        }
        scanned.map_err(|(offset, stop)| self.explained(offset, stop))
    }

    /// In chunks on all cores; for files whose every line is a record.
    fn by_lines(&self) -> Result<Scanned, (u64, Stop)> {
        let repeats = Repeats::with_capacity(self.expected());
        let block = self.block_bits();
        let range = &self.rows.range;
        let marks = self.rows.in_chunks(
            self.threads,
            |number| {
                let start = range.start + number as u64 * self.chunk;
                (start < range.end).then(|| start..start + self.chunk)
            },
            || Marking { watcher: repeats.watch(), block, rows: 0, redemptions: 0 },
        )?;
        let (rows, redemptions) =
            marks.iter().fold((0, 0), |sum, mark| (sum.0 + mark.rows, sum.1 + mark.redemptions));
        // The watchers hand over what they still hold.
        drop(marks);
        let candidates = candidates(&repeats);
        let blocks = self.blocks(&repeats.places(), block);
        drop(repeats);
        let collected = self.rows.in_chunks(
            self.threads,
            |number| blocks.get(number).cloned(),
            || Collecting { candidates: &candidates, found: Vec::new() },
        )?;
        let found = collected.into_iter().flat_map(|collecting| collecting.found).collect();
        Ok(Scanned { rows, redemptions, findings: Findings::of(found) })
    }

    /// In one go; for files with line ends in quotes.
    fn by_records(&self) -> Result<Scanned, (u64, Stop)> {
        let repeats = Repeats::with_capacity(self.expected());
        let mut marking =
            Marking { watcher: repeats.watch(), block: self.block_bits(), rows: 0, redemptions: 0 };
        self.rows.in_one_go(&mut marking)?;
        let (rows, redemptions) = (marking.rows, marking.redemptions);
        drop(marking);
        let mut collecting = Collecting { candidates: &candidates(&repeats), found: Vec::new() };
        self.rows.in_one_go(&mut collecting)?;
        Ok(Scanned { rows, redemptions, findings: Findings::of(collecting.found) })
    }

    /// About how many vouchers there are, judged by the first lines. It only saves growing.
    fn expected(&self) -> usize {
        struct Sampling(u64);
        impl Visitor for Sampling {
            fn row(&mut self, cells: &Cells<'_>, _offset: u64) -> Result<(), Fault> {
                self.0 += u64::from(cells.check()?.is_some());
                Ok(())
            }
        }
        let Range { start, end } = self.rows.range;
        let sample = HEAD as u64;
        let seen =
            self.rows.in_chunks(1, |number| (number == 0).then_some(start..start + sample), || Sampling(0));
        let redemptions = seen.map_or(0, |visitors| visitors.iter().map(|sampling| sampling.0).sum());
        // One in fifty more: a table that is a little too small grows by a quarter.
        (redemptions * (end - start) / sample.min(end - start).max(1) * 51 / 50) as usize
    }

    /// How large a block must be for all of them to have a place.
    fn block_bits(&self) -> u32 {
        (BLOCK_BITS..u64::BITS)
            .find(|bits| self.rows.range.end >> bits < u64::from(Place::COUNT))
            .unwrap_or(u64::BITS)
    }

    /// The blocks at these places; neighbours together, up to a chunk.
    fn blocks(&self, places: &[Place], block: u32) -> Vec<Range<u64>> {
        let mut blocks: Vec<Range<u64>> = Vec::new();
        for place in places {
            let start = (u64::from(place.number()) << block).max(self.rows.range.start);
            let end = u64::from(place.number() + 1) << block;
            match blocks.last_mut() {
                Some(last) if last.end == start && end - last.start <= self.chunk => last.end = end,
                _ => blocks.push(start..end),
            }
        }
        blocks
    }

    fn explained(&self, offset: u64, stop: Stop) -> ExportError {
        match stop {
            Stop::Fault(Fault { field, problem, fix }) => match self.rows.line_at(offset) {
                Ok(line) => ExportError::Malformed { path: self.path.clone(), line, field, problem, fix },
                Err(source) => self.unreadable(source),
            },
            Stop::Io(source) => self.unreadable(source),
            Stop::NotByLines => self.unreadable(io::ErrorKind::InvalidData.into()),
        }
    }

    fn unreadable(&self, source: io::Error) -> ExportError {
        ExportError::Unreadable { path: self.path.clone(), source }
    }
}

fn candidates(repeats: &Repeats) -> HashSet<Uuid> {
    repeats.repeated().into_iter().map(|voucher| voucher.0).collect()
}

/// The format by the first bytes, and where the rows begin.
fn judge(head: &[u8], path: &Path) -> Result<(Format, u64), ExportError> {
    let wrong = |what, fix| Err(ExportError::WrongFormat { path: path.to_owned(), what, fix });
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
        return wrong("UTF-16", "save it as UTF-8, e.g. with `iconv -f UTF-16 -t UTF-8`");
    }
    let mark = if head.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let text = &head[mark..];
    match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => return wrong("empty", "export the rows again"),
        Some(b'{') => return Ok((Format::Ndjson, mark as u64)),
        Some(b'[') => return wrong("one JSON array", "write one object a line, e.g. with `jq -c '.[]'`"),
        Some(0x1f | 0x28 | 0x50) if head.contains(&0) => {
            return wrong("packed", "unpack it first, e.g. with `gunzip`, `zstd -d` or `unzip`");
        }
        Some(_) => {}
    }
    let end = memchr(b'\n', text).unwrap_or(text.len());
    let (header, crlf) = match text[..end].strip_suffix(b"\r") {
        Some(header) => (header, true),
        None => (&text[..end], false),
    };
    if memchr(b'\r', header).is_some() {
        return wrong(
            "a file whose lines end in CR alone",
            "write lines that end in LF, e.g. with `tr '\\r' '\\n'`",
        );
    }
    let malformed = |Fault { field, problem, fix }| ExportError::Malformed {
        path: path.to_owned(),
        line: 1,
        field,
        problem,
        fix,
    };
    let columns = Columns::named_by(header, crlf).map_err(malformed)?;
    Ok((Format::Csv(columns), (mark + end + 1).min(head.len()) as u64))
}

/// The first time: which vouchers, and where.
struct Marking<'a> {
    watcher: Watcher<'a>,
    block: u32,
    rows: u64,
    redemptions: u64,
}

impl Visitor for Marking<'_> {
    #[inline]
    fn row(&mut self, cells: &Cells<'_>, offset: u64) -> Result<(), Fault> {
        self.rows += 1;
        if let Some(voucher) = cells.check()? {
            self.redemptions += 1;
            let place = Place::new((offset >> self.block) as u32).unwrap_or_default();
            self.watcher.see(voucher, place);
        }
        Ok(())
    }
}

/// The second time: the rows of the candidates.
struct Collecting<'a> {
    candidates: &'a HashSet<Uuid>,
    found: Vec<ExportedRedemption>,
}

impl Visitor for Collecting<'_> {
    fn row(&mut self, cells: &Cells<'_>, _offset: u64) -> Result<(), Fault> {
        match cells.check()? {
            Some(voucher) if self.candidates.contains(&voucher) => self.found.push(cells.read()?),
            _ => {}
        }
        Ok(())
    }
}
