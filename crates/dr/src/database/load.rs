//! Loads a table from its file.

use std::path::Path;
use std::pin::pin;

use bytes::Bytes;
use futures_util::SinkExt as _;
use tokio::io::AsyncReadExt as _;

use super::error::DatabaseError;
use super::manifest::DumpedTable;
use super::progress::Part;
use super::session::Session;

/// How much of a file is sent to the server at once.
const PIECE: usize = 256 * 1024;

/// Loads the rows of one table under a name, in a transaction that is open.
///
/// A table emptied in the same transaction may be filled with frozen rows, and without a log where the server keeps none.
pub(crate) async fn load(
    session: &Session,
    dumped: &DumpedTable,
    bytes: u64,
    name: &str,
    folder: &Path,
    part: &Part,
) -> Result<(), DatabaseError> {
    let doing = format!("load {}", dumped.table.title());
    session.batch(&doing, &format!("TRUNCATE ONLY {name}")).await?;
    let copy = format!("COPY {name} {} FROM STDIN (FREEZE)", dumped.table.column_list());
    let sink = session.copy_in(&doing, &copy).await?;
    let mut sink = pin!(sink);
    let path = folder.join(&dumped.file);
    let failed = |error: &std::io::Error| DatabaseError::file(&path, error);
    let mut file = tokio::fs::File::open(&path).await.map_err(|error| failed(&error))?;
    file.set_max_buf_size(PIECE);
    // The mark that ends the data, `\.` and two empty lines, is the archive's and not a row.
    let mut left = bytes.saturating_sub(b"\\.\n\n\n".len() as u64);
    while left > 0 {
        let mut piece = bytes::BytesMut::with_capacity(PIECE);
        let n = (&mut file).take(left).read_buf(&mut piece).await.map_err(|error| failed(&error))?;
        if n == 0 {
            let detail = format!("{} is cut off", dumped.file);
            return Err(DatabaseError::DumpIncomplete { detail });
        }
        left -= n as u64;
        let sent: Result<(), tokio_postgres::Error> = sink.send(Bytes::from(piece)).await;
        if let Err(error) = sent {
            // The reason is what the server says when it is asked for the end.
            let told = sink.as_mut().finish().await.err();
            return Err(session
                .failed(&doing, told.as_ref().filter(|it| it.as_db_error().is_some()).unwrap_or(&error)));
        }
        part.add(0, n as u64);
    }
    let rows = sink.as_mut().finish().await.map_err(|error| session.failed(&doing, &error))?;
    if rows != dumped.rows {
        let detail = format!("{} took {rows} rows of {}", dumped.table.title(), dumped.rows);
        return Err(DatabaseError::DumpIncomplete { detail });
    }
    Ok(())
}
