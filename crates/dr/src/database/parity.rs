//! Contents of tables, read as lines over several connections at once; and what the comparison looks like as a file.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use allclear_core::recovery::{Parity, TableContent};
use futures_util::{StreamExt as _, TryStreamExt as _, pin_mut};

use super::catalog::Table;
use super::digest::Rows;
use super::error::DatabaseError;
use super::progress::Part;
use super::session::Session;

/// A table to read, and the statement that reads it.
pub(crate) struct Reading {
    pub(crate) table: Table,
    pub(crate) copy: String,
}

/// Reads every table once, each connection taking the largest that is left. `search_path` is the source's.
pub(crate) async fn contents(
    sessions: &[Session],
    search_path: &str,
    tables: Vec<Reading>,
    part: &Part,
) -> Result<BTreeMap<String, TableContent>, DatabaseError> {
    let left = Mutex::new(VecDeque::from(tables));
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let readers = sessions.iter().map(|session| async move {
        let mut read = Vec::new();
        while let Some(reading) = next() {
            read.push(content(session, search_path, &reading, part).await?);
        }
        Ok(read)
    });
    let read: Vec<Vec<TableContent>> = futures_util::future::try_join_all(readers).await?;
    Ok(read.into_iter().flatten().map(|content| (content.table.clone(), content)).collect())
}

async fn content(
    session: &Session,
    search_path: &str,
    reading: &Reading,
    part: &Part,
) -> Result<TableContent, DatabaseError> {
    let title = reading.table.title();
    let doing = format!("read {title}");
    // What selects is planned, and for that the server looks into the functions of indexes. A plain copy is not, and without a
    // path it writes the names in a column of `regclass` as `pg_dump` does.
    let planned = reading.copy.starts_with("COPY (");
    session.look_in(if planned { search_path } else { "" }).await?;
    let lines = session.copy_out(&doing, &reading.copy).await?;
    // Many small messages are taken at once where they are there already.
    let lines = lines.ready_chunks(256);
    pin_mut!(lines);
    let mut rows = Rows::with_columns(&reading.table.compared());
    while let Some(pieces) = lines.next().await {
        let mut bytes = 0;
        for piece in pieces {
            let piece = piece?;
            rows.feed(&piece);
            bytes += piece.len() as u64;
        }
        part.add(0, bytes);
    }
    part.add(1, 0);
    session.look_in("").await?;
    let (rows, digest) = rows.finish();
    Ok(TableContent { table: title, rows, digest })
}

/// Opens several connections at once.
pub(crate) async fn sessions<F>(count: usize, open: impl Fn() -> F) -> Result<Vec<Session>, DatabaseError>
where
    F: Future<Output = Result<Session, DatabaseError>>,
{
    futures_util::stream::iter((0..count).map(|_| open())).buffered(count).try_collect().await
}

/// The comparison as the file `rowcount.csv`: a header, then a line for each table.
///
/// ```
/// use allclear_core::recovery::{Parity, TableContent, TableParity};
/// let content = TableContent { table: "public.a".into(), rows: 2, digest: "0f".into() };
/// let tables = vec![TableParity { table: "public.a".into(), snapshot: Some(content), staging: None }];
/// let parity = Parity { tables, ..Parity::default() };
/// assert_eq!(
///     allclear_dr::database::rowcount_csv(&parity),
///     "table,snapshot_rows,staging_rows,snapshot_digest,staging_digest,equal\npublic.a,2,,0f,,no\n"
/// );
/// ```
pub fn rowcount_csv(parity: &Parity) -> String {
    let mut text = "table,snapshot_rows,staging_rows,snapshot_digest,staging_digest,equal\n".to_owned();
    for one in &parity.tables {
        let rows = |it: &Option<TableContent>| it.as_ref().map_or_else(String::new, |it| it.rows.to_string());
        let digest = |it: &Option<TableContent>| it.as_ref().map_or_else(String::new, |it| it.digest.clone());
        let _ = writeln!(
            text,
            "{},{},{},{},{},{}",
            field(&one.table),
            rows(&one.snapshot),
            rows(&one.staging),
            digest(&one.snapshot),
            digest(&one.staging),
            if one.is_equal() { "yes" } else { "no" }
        );
    }
    text
}

/// A name may hold anything, also commas and quotes (RFC 4180).
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
