//! CSV (RFC 4180): a header that names the columns, quotes where needed.
//!
//! A line without a quote splits at its commas, and that is nearly every line. The others are read with care, and may go on in
//! the next line.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};

use super::near;
use super::row::{Cells, Fault, Field};

/// What the header says: for each column the field that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns(Vec<Option<Field>>);

/// Why a line is no row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoRow {
    /// A quote is open at its end: the record goes on in the next line, or the quote is a mistake.
    Open,
    /// It is wrong.
    Wrong(Fault),
}

impl From<Fault> for NoRow {
    fn from(fault: Fault) -> Self {
        Self::Wrong(fault)
    }
}

impl Columns {
    /// Reads the header.
    pub(super) fn named_by(header: &[u8]) -> Result<Self, Fault> {
        let name_them = "name the columns in the first line: id,voucher_id,event_type,station_id,created_at,idempotency_key";
        let cells = quoted(header).map_err(|no_row| match no_row {
            NoRow::Open => Fault::in_line("has a quote that does not end", name_them),
            NoRow::Wrong(fault) => fault,
        })?;
        let columns: Vec<_> = cells.iter().map(|name| Field::named(name.trim_ascii())).collect();
        for field in Field::ALL {
            let count = columns.iter().filter(|column| **column == Some(field)).count();
            let required = matches!(field, Field::Id | Field::Voucher | Field::At);
            let problem = match count {
                0 if required => "is no column",
                0 | 1 => continue,
                _ => "is a column more than once",
            };
            return Err(Fault { field: field.name(), problem: problem.to_owned(), fix: name_them });
        }
        Ok(Self(columns))
    }

    /// Reads one record and shows its cells to `each`. It is `plain` where somebody knows already that no quote is in it.
    #[inline]
    pub(super) fn row<R>(
        &self,
        record: &[u8],
        plain: bool,
        each: impl FnOnce(&Cells<'_>) -> R,
    ) -> Result<R, NoRow> {
        if !plain && memchr(b'"', record).is_some() {
            let texts = quoted(record)?;
            return Ok(each(&self.cells(texts.iter().map(AsRef::as_ref))?));
        }
        let mut cells = Cells::default();
        let (mut start, mut columns) = (0, self.0.iter());
        for end in near::Each::of(b',', record).chain([record.len()]) {
            let column =
                columns.next().ok_or_else(|| self.other_count(memchr_iter(b',', record).count() + 1))?;
            if let Some(field) = column {
                cells.0[*field as usize] = Some(&record[start..end]);
            }
            start = end + 1;
        }
        if columns.next().is_some() {
            return Err(self.other_count(memchr_iter(b',', record).count() + 1).into());
        }
        Ok(each(&cells))
    }

    fn cells<'a>(&self, texts: impl ExactSizeIterator<Item = &'a [u8]>) -> Result<Cells<'a>, Fault> {
        if texts.len() != self.0.len() {
            return Err(self.other_count(texts.len()));
        }
        let mut cells = Cells::default();
        for (column, text) in self.0.iter().zip(texts) {
            if let Some(field) = column {
                cells.0[*field as usize] = Some(text);
            }
        }
        Ok(cells)
    }

    #[cold]
    fn other_count(&self, found: usize) -> Fault {
        let problem = format!("has {found} columns where the header has {}", self.0.len());
        Fault::in_line(problem, "quote cells that hold a comma, and check that the line is whole")
    }
}

/// Splits a record with quotes in it.
fn quoted(record: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, NoRow> {
    let mut cells = Vec::new();
    let mut rest = record;
    loop {
        let (cell, after) = match rest.split_first() {
            Some((b'"', inside)) => until_closed(inside)?,
            _ => until_comma(rest)?,
        };
        cells.push(cell);
        match after.split_first() {
            None => return Ok(cells),
            Some((b',', next)) => rest = next,
            Some(_) => return Err(stray_quote()),
        }
    }
}

fn until_comma(rest: &[u8]) -> Result<(Cow<'_, [u8]>, &[u8]), NoRow> {
    let (cell, after) = rest.split_at(memchr(b',', rest).unwrap_or(rest.len()));
    if memchr(b'"', cell).is_some() { Err(stray_quote()) } else { Ok((Cow::Borrowed(cell), after)) }
}

fn until_closed(inside: &[u8]) -> Result<(Cow<'_, [u8]>, &[u8]), NoRow> {
    let mut cell = Cow::Borrowed(&inside[..0]);
    let mut rest = inside;
    loop {
        let (part, after) = rest.split_at(memchr(b'"', rest).ok_or(NoRow::Open)?);
        let doubled = after.get(1) == Some(&b'"');
        if cell.is_empty() && !doubled {
            return Ok((Cow::Borrowed(part), &after[1..]));
        }
        cell.to_mut().extend_from_slice(part);
        if !doubled {
            return Ok((cell, &after[1..]));
        }
        cell.to_mut().push(b'"');
        rest = &after[2..];
    }
}

#[cold]
fn stray_quote() -> NoRow {
    let fix = "put the whole cell in quotes and double the quotes in it (RFC 4180)";
    Fault::in_line("has a quote in the middle of a cell", fix).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Columns {
        Columns::named_by(b"voucher_id,note,id,\"created_at\"").unwrap()
    }

    fn shown(record: &[u8]) -> Result<[Option<Vec<u8>>; 6], NoRow> {
        columns().row(record, false, |cells| cells.0.map(|cell| cell.map(<[u8]>::to_vec)))
    }

    #[test]
    fn quotes_commas_and_doubled_quotes_are_read() {
        let row = shown(b"v,\"a,\"\"b\"\"\",\"\"\"\",t").unwrap();
        assert_eq!(row[Field::Id as usize].as_deref(), Some(&b"\""[..]));
        assert_eq!(row[Field::Voucher as usize].as_deref(), Some(&b"v"[..]));
        assert_eq!(row[Field::At as usize].as_deref(), Some(&b"t"[..]));
        assert_eq!(shown(b"v,\"\",i,\"x\"\"\"").unwrap()[Field::At as usize].as_deref(), Some(&b"x\""[..]));
    }

    #[test]
    fn a_record_may_go_on_in_the_next_line() {
        assert_eq!(shown(b"v,\"a"), Err(NoRow::Open));
        assert!(shown(b"v,\"a\nb\",i,t").is_ok());
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for record in ["v,n,i", "v,n,i,t,x", "v,\"n\",i", "v,a\"b\",i,t", "v,\"a\"b,i,t"] {
            assert!(matches!(shown(record.as_bytes()), Err(NoRow::Wrong(_))), "{record}");
        }
    }

    #[test]
    fn a_header_names_what_is_needed_once() {
        for header in
            ["id,voucher_id", "id,id,voucher_id,created_at", "id;voucher_id;created_at", "id,\"voucher_id"]
        {
            assert!(Columns::named_by(header.as_bytes()).is_err(), "{header}");
        }
    }
}
