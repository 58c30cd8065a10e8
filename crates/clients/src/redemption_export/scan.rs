//! Walking a file by its rows: in chunks on all cores, or in one go.
//!
//! A chunk owns the lines that begin in it, and reads on to the end of its last one. Memory is a buffer for each thread, whatever
//! the file's size. The file is read with `pread` into the same buffer again and again: a map of it would need `unsafe`, and a
//! file that is cut under a map kills the process.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use memchr::{memchr, memchr_iter};

use super::csv::{Columns, NoRow};
use super::ndjson;
use super::row::{Cells, Fault};

/// The longest record. A file without line ends must not fill the memory.
pub(super) const LONGEST: usize = 1 << 20;
/// Read beyond a chunk at first, for the end of its last line.
const BEYOND: usize = 1 << 10;
const FURTHER: usize = 64 << 10;

/// How rows are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Format {
    Csv(Columns),
    Ndjson,
}

impl Format {
    /// Whether none of these lines needs care. Looking at many at once costs less than looking at each.
    fn are_plain(&self, lines: &[u8]) -> bool {
        match self {
            Self::Csv(columns) => columns.are_plain(lines),
            Self::Ndjson => ndjson::are_plain(lines),
        }
    }

    #[inline]
    fn row<R>(&self, record: &[u8], plain: bool, each: impl FnOnce(&Cells<'_>) -> R) -> Result<R, NoRow> {
        match self {
            Self::Csv(columns) => columns.row(record, plain, each),
            Self::Ndjson => Ok(ndjson::row(record, plain, each)?),
        }
    }
}

/// Takes rows, each with its offset in the file.
pub(super) trait Visitor {
    fn row(&mut self, cells: &Cells<'_>, offset: u64) -> Result<(), Fault>;
}

/// Why a walk ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// A record goes on beyond its line, so lines are no records in this file: it must be walked in one go.
    NotByLines,
    /// A line is wrong.
    Fault(Fault),
    Io(io::Error),
}

impl From<NoRow> for Stop {
    fn from(no_row: NoRow) -> Self {
        match no_row {
            NoRow::Open => Self::NotByLines,
            NoRow::Wrong(fault) => Self::Fault(fault),
        }
    }
}

/// A file's rows.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) file: File,
    pub(super) format: Format,
    /// Where the rows begin (after a header) and end.
    pub(super) range: Range<u64>,
}

impl Rows {
    /// Walks chunks on several threads, each with a visitor of its own. The chunks must be in order. Of several stops the first
    /// in the file is given, with its offset, whichever thread was faster: chunks are taken in order, and those before a stop are
    /// finished.
    pub(super) fn in_chunks<V: Visitor + Send>(
        &self,
        threads: usize,
        chunks: impl Fn(usize) -> Option<Range<u64>> + Sync,
        visitor: impl Fn() -> V + Sync,
    ) -> Result<Vec<V>, (u64, Stop)> {
        let next = AtomicUsize::new(0);
        let first_stop = AtomicU64::new(u64::MAX);
        let stops = Mutex::new(Vec::new());
        let work = || {
            let (mut visitor, mut window) = (visitor(), Window::default());
            while let Some(chunk) = chunks(next.fetch_add(1, Ordering::Relaxed)) {
                if chunk.start > first_stop.load(Ordering::Relaxed) {
                    break;
                }
                if let Err((offset, stop)) = self.in_chunk(chunk, &mut window, &mut visitor) {
                    first_stop.fetch_min(offset, Ordering::Relaxed);
                    stops.lock().unwrap_or_else(PoisonError::into_inner).push((offset, stop));
                    break;
                }
            }
            visitor
        };
        let visitors = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut visitors = vec![work()];
            for other in others {
                visitors.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            visitors
        });
        let stops = stops.into_inner().unwrap_or_else(PoisonError::into_inner);
        match stops.into_iter().min_by_key(|(offset, _)| *offset) {
            Some(stop) => Err(stop),
            None => Ok(visitors),
        }
    }

    fn in_chunk(
        &self,
        chunk: Range<u64>,
        window: &mut Window,
        visitor: &mut impl Visitor,
    ) -> Result<(), (u64, Stop)> {
        let io = |error| (chunk.start, Stop::Io(error));
        // The byte before tells whether a line begins right here.
        let from = if chunk.start > self.range.start { chunk.start - 1 } else { chunk.start };
        let own = (chunk.end.min(self.range.end) - from) as usize;
        window.filled = 0;
        self.read_on(window, from, own + BEYOND).map_err(io)?;
        let mut plain = self.format.are_plain(window.bytes());
        let mut start = 0;
        if from < chunk.start {
            match memchr(b'\n', &window.bytes()[..own.min(window.filled)]) {
                Some(end) => start = end + 1,
                None => return Ok(()),
            }
        }
        while start < own {
            let mut searched = start;
            let end = loop {
                if let Some(end) = memchr(b'\n', &window.bytes()[searched..]) {
                    break searched + end;
                }
                searched = window.filled;
                if searched - start > LONGEST {
                    return Err((from + start as u64, Stop::Fault(too_long())));
                }
                // Nobody has looked at what comes now.
                plain = false;
                if self.read_on(window, from, FURTHER).map_err(io)? == 0 {
                    break window.filled;
                }
            };
            let offset = from + start as u64;
            let record = &window.bytes()[start..end];
            self.record(record, plain, offset, visitor).map_err(|stop| (offset, stop))?;
            start = end + 1;
        }
        Ok(())
    }

    /// Walks everything in one go, on this thread. Slower, and right for records that go over several lines.
    pub(super) fn in_one_go(&self, visitor: &mut impl Visitor) -> Result<(), (u64, Stop)> {
        let mut reader = BufReader::with_capacity(256 << 10, Cursor { rows: self, at: self.range.start });
        let (mut record, mut offset) = (Vec::new(), self.range.start);
        loop {
            let limit = (LONGEST + 1 - record.len()) as u64;
            let read = reader.by_ref().take(limit).read_until(b'\n', &mut record);
            let at_end = read.map_err(|error| (offset, Stop::Io(error)))? == 0;
            if record.len() > LONGEST {
                return Err((offset, Stop::Fault(too_long())));
            }
            let text = record.strip_suffix(b"\n").unwrap_or(&record);
            match self.record(text, false, offset, visitor) {
                Ok(()) if at_end => return Ok(()),
                Ok(()) => {}
                Err(Stop::NotByLines) if !at_end => continue,
                Err(Stop::NotByLines) => return Err((offset, Stop::Fault(never_closed()))),
                Err(stop) => return Err((offset, stop)),
            }
            offset += record.len() as u64;
            record.clear();
        }
    }

    /// Shows a record, without its line end, to a visitor. Empty lines are none.
    #[inline]
    fn record(&self, text: &[u8], plain: bool, offset: u64, visitor: &mut impl Visitor) -> Result<(), Stop> {
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.is_empty() {
            return Ok(());
        }
        self.format.row(text, plain, |cells| visitor.row(cells, offset))?.map_err(Stop::Fault)
    }

    /// Reads up to that many bytes more to the end of a window that begins at `from`; tells how many there were.
    fn read_on(&self, window: &mut Window, from: u64, count: usize) -> io::Result<usize> {
        let at = from + window.filled as u64;
        let count = self.range.end.saturating_sub(at).min(count as u64) as usize;
        self.file.read_exact_at(window.room_for(count), at)?;
        window.filled += count;
        Ok(count)
    }

    /// The number of the line that holds this byte, counted from 1.
    pub(super) fn line_at(&self, offset: u64) -> io::Result<u64> {
        let (mut buffer, mut at, mut lines) = (vec![0; 256 << 10], 0, 1);
        while at < offset {
            let count = (offset - at).min(buffer.len() as u64) as usize;
            self.file.read_exact_at(&mut buffer[..count], at)?;
            lines += memchr_iter(b'\n', &buffer[..count]).count() as u64;
            at += count as u64;
        }
        Ok(lines)
    }
}

/// A part of the file in memory. It is written over again and again, and never cleared: what is beyond `filled` is old.
#[derive(Default)]
struct Window {
    buffer: Vec<u8>,
    filled: usize,
}

impl Window {
    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    fn room_for(&mut self, count: usize) -> &mut [u8] {
        let end = self.filled + count;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        &mut self.buffer[self.filled..end]
    }
}

fn too_long() -> Fault {
    Fault::in_line("is longer than 1 MiB", "export one row a line, and close every quote")
}

fn never_closed() -> Fault {
    Fault::in_line("has a quote that does not end", "close the quote, and check that the file is whole")
}

/// A reader over the rows that leaves the file's own position alone.
struct Cursor<'a> {
    rows: &'a Rows,
    at: u64,
}

impl Read for Cursor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (self.rows.range.end - self.at).min(buffer.len() as u64) as usize;
        let read = self.rows.file.read_at(&mut buffer[..count], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
