//! CSV (RFC 4180): a header that names the columns, quotes where needed.
//!
//! A line without a quote splits at its commas, and that is nearly every line. The others are read with care, and may go on in
//! the next line.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memchr2};

use super::near;
use super::row::{Cells, Fault, Field};

/// What the header says: for each column the field that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns {
    fields: Vec<Option<Field>>,
    /// What stands between cells: a comma, a semicolon (spreadsheets of many countries) or a tab.
    separator: u8,
    /// Whether the header's line ends in CR LF, so that each line does.
    crlf: bool,
}

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
    /// Reads the header; its first line, without the line's end.
    pub(super) fn named_by(header: &[u8], crlf: bool) -> Result<Self, Fault> {
        let name_them = "name the columns in the first line: id,voucher_id,event_type,station_id,created_at,idempotency_key";
        let separator = *b",;\t".iter().max_by_key(|one| memchr_iter(**one, header).count()).unwrap_or(&b',');
        let cells = quoted(header, separator).map_err(|no_row| match no_row {
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
        Ok(Self { fields: columns, separator, crlf })
    }

    /// Whether none of these lines needs care: no quote, and no line end other than the file's own.
    pub(super) fn are_plain(&self, lines: &[u8]) -> bool {
        if self.crlf { memchr(b'"', lines).is_none() } else { memchr2(b'"', b'\r', lines).is_none() }
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
            let texts = quoted(record, self.separator)?;
            return Ok(each(&self.cells(texts.iter().map(AsRef::as_ref))?));
        }
        // Two lines in one: whoever took a lone CR for a line's end would see other rows than we do.
        if (self.crlf || !plain) && memchr(b'\r', record).is_some() {
            return Err(stray_return());
        }
        let mut cells = Cells::default();
        let (mut start, mut columns) = (0, self.fields.iter());
        let found = || memchr_iter(self.separator, record).count() + 1;
        for end in near::Each::of(self.separator, record).chain([record.len()]) {
            let column = columns.next().ok_or_else(|| self.other_count(found()))?;
            if let Some(field) = column {
                cells.0[*field as usize] = Some(&record[start..end]);
            }
            start = end + 1;
        }
        if columns.next().is_some() {
            return Err(self.other_count(found()).into());
        }
        Ok(each(&cells))
    }

    fn cells<'a>(&self, texts: impl ExactSizeIterator<Item = &'a [u8]>) -> Result<Cells<'a>, Fault> {
        if texts.len() != self.fields.len() {
            return Err(self.other_count(texts.len()));
        }
        let mut cells = Cells::default();
        for (column, text) in self.fields.iter().zip(texts) {
            if let Some(field) = column {
                cells.0[*field as usize] = Some(text);
            }
        }
        Ok(cells)
    }

    #[cold]
    fn other_count(&self, found: usize) -> Fault {
        let problem = format!("has {found} columns where the header has {}", self.fields.len());
        Fault::in_line(problem, "quote cells that hold the separator, and check that the line is whole")
    }
}

/// Splits a record with quotes in it.
fn quoted(record: &[u8], separator: u8) -> Result<Vec<Cow<'_, [u8]>>, NoRow> {
    let mut cells = Vec::new();
    let mut rest = record;
    loop {
        let (cell, after) = match rest.split_first() {
            Some((b'"', inside)) => until_closed(inside)?,
            _ => until_separator(rest, separator)?,
        };
        cells.push(cell);
        match after.split_first() {
            None => return Ok(cells),
            Some((found, next)) if *found == separator => rest = next,
            Some(_) => return Err(stray_quote()),
        }
    }
}

fn until_separator(rest: &[u8], separator: u8) -> Result<(Cow<'_, [u8]>, &[u8]), NoRow> {
    let (cell, after) = rest.split_at(memchr(separator, rest).unwrap_or(rest.len()));
    match memchr2(b'"', b'\r', cell).map(|place| cell[place]) {
        None => Ok((Cow::Borrowed(cell), after)),
        Some(b'"') => Err(stray_quote()),
        Some(_) => Err(stray_return()),
    }
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
fn stray_return() -> NoRow {
    let fix = "end every line in the same way, e.g. with `tr -d '\\r'` where the others end in LF";
    Fault::in_line("has a carriage return in the middle", fix).into()
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
        Columns::named_by(b"voucher_id,note,id,\"created_at\"", false).unwrap()
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
            ["id,voucher_id", "id,id,voucher_id,created_at", "id|voucher_id|created_at", "id,\"voucher_id"]
        {
            assert!(Columns::named_by(header.as_bytes(), false).is_err(), "{header}");
        }
    }

    #[test]
    fn semicolons_and_tabs_separate_too() {
        for separator in [";", "\t"] {
            let line = |cells: [&str; 3]| cells.join(separator);
            let columns =
                Columns::named_by(line(["id", "voucher_id", "created_at"]).as_bytes(), false).unwrap();
            for record in [line(["i", "v,w", "t"]), line(["i", "\"v,w\"", "t"])] {
                let voucher = columns.row(record.as_bytes(), false, |cells| {
                    cells.0[Field::Voucher as usize].map(<[u8]>::to_vec)
                });
                assert_eq!(voucher.unwrap().as_deref(), Some(&b"v,w"[..]), "{record:?}");
            }
        }
    }

    #[test]
    fn a12_a_lone_carriage_return_is_no_line_end_and_is_told() {
        for crlf in [false, true] {
            let columns = Columns::named_by(b"id,voucher_id,created_at", crlf).unwrap();
            for record in ["i,v,t\ri,v,t", "i,v,t\r", "\"i\",v,t\ri"] {
                assert!(
                    matches!(columns.row(record.as_bytes(), false, |_| ()), Err(NoRow::Wrong(_))),
                    "{record:?}"
                );
            }
            assert!(columns.row(b"\"i\r\ni\",v,t", false, |_| ()).is_ok());
            assert!(!columns.are_plain(b"i,\"v\",t\n") && columns.are_plain(b"i,v,t\n"));
        }
    }
}
