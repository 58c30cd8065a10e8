//! Masks restored rows in the transaction that ends with the swap, reads back that nothing of the source's is left, and writes down
//! what the tables held before and hold since, so that a comparison still finds every changed row.
//!
//! | what | how it is known |
//! |---|---|
//! | the rows were the snapshot's | the whole table is read right before it is masked, and its digest is compared with the backup's |
//! | nothing of the source's is left | the column is read back after it was masked: no value of the source's is in it |
//! | nobody changed a row since | the whole table is read right after it was masked, and again by each comparison |
//!
//! It comes before indexes, keys, triggers and statistics, so that none of them sees a value that is masked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::pin::pin;

use allclear_core::recovery::{MaskedColumn, TableContent};
use bytes::Bytes;
use futures_util::SinkExt as _;

use super::catalog::Table;
use super::error::DatabaseError;
use super::manifest::Manifest;
use super::masking::{Column, Mask, MaskedBy, MaskingProfile, columns, objections};
use super::parity::{Reading, contents};
use super::progress::Part;
use super::pseudonym::pseudonyms;
use super::script::tried;
use super::session::{Session, literal, qualified, quoted};

/// Values beside their pseudonyms, while rows are masked. It goes with the transaction.
const PAIRS: &str = "pg_temp.allclear_pseudonyms";

/// So much is sent to the server at once.
const PIECE: usize = 256 * 1024;

/// A table whose rows were masked.
pub(crate) struct MaskedTable {
    table: Table,
    /// Digests of all its rows.
    before: String,
    since: String,
    columns: Vec<MaskedColumn>,
}

/// A rule on one table that holds rows.
struct Work<'a> {
    rule: &'a MaskedBy,
    column: Column,
}

impl Work<'_> {
    fn table(&self) -> String {
        qualified(&self.column.schema, &self.column.table)
    }

    fn title(&self) -> String {
        format!("{}.{}.{}", self.column.schema, self.column.table, self.rule.column)
    }

    fn kind(&self) -> &str {
        self.column.kind.as_deref().unwrap_or("text")
    }

    /// The column as text.
    fn text(&self) -> String {
        format!("t.{}::text COLLATE \"C\"", quoted(&self.rule.column))
    }

    /// The rows that hold something.
    fn holds(&self) -> String {
        let column = quoted(&self.rule.column);
        match self.rule.mask {
            Mask::Null => format!("t.{column} IS NOT NULL"),
            _ => format!("t.{column} IS NOT NULL AND {} <> ''", self.text()),
        }
    }

    fn update(&self) -> String {
        let (table, column, holds) = (self.table(), quoted(&self.rule.column), self.holds());
        match &self.rule.mask {
            Mask::Pseudonym => format!(
                "UPDATE ONLY {table} t SET {column} = p.now::{} FROM {PAIRS} p WHERE {holds} AND p.was = {}",
                self.kind(),
                self.text()
            ),
            Mask::Fixed(text) => {
                format!(
                    "UPDATE ONLY {table} t SET {column} = {}::{} WHERE {holds}",
                    literal(text),
                    self.kind()
                )
            }
            Mask::Null => format!("UPDATE ONLY {table} t SET {column} = NULL WHERE {holds}"),
        }
    }

    /// The rows that are not as they should be.
    fn left(&self) -> String {
        match &self.rule.mask {
            Mask::Pseudonym => format!("{} IN (SELECT was FROM {PAIRS})", self.text()),
            Mask::Fixed(text) => {
                format!("{} AND {} <> ({}::{})::text", self.holds(), self.text(), literal(text), self.kind())
            }
            Mask::Null => self.holds(),
        }
    }

    async fn count(&self, session: &Session, condition: &str) -> Result<u64, DatabaseError> {
        let sql = format!("SELECT count(*) FROM ONLY {} t WHERE {condition}", self.table());
        let count: i64 = session.row(&format!("count in {}", self.title()), &sql, &[]).await?.get(0);
        Ok(count.unsigned_abs())
    }

    /// Masks the column and reads it back.
    async fn done(&self, session: &Session) -> Result<MaskedColumn, DatabaseError> {
        let cannot = |why: String| DatabaseError::MaskingCannotHold {
            objections: vec![format!("recovery.masking: {}: {why}", self.title())],
        };
        let held = self.count(session, &self.holds()).await?;
        let all = self.count(session, "true").await?;
        if let Err(refused) = tried(session, &format!("mask {}", self.title()), &self.update()).await? {
            return Err(cannot(format!("staging refuses what it is masked by: {}", refused.said())));
        }
        let left = self.count(session, &self.left()).await?;
        if left > 0 {
            return Err(cannot(format!("{left} rows still hold what they held")));
        }
        // Nothing was emptied on the way, and no row was missed: what held something holds something, or NULL as told.
        let holds = self.count(session, &self.holds()).await?;
        if self.rule.mask != Mask::Null && holds != held {
            return Err(cannot(format!("{held} rows held a value and {holds} do now")));
        }
        Ok(MaskedColumn {
            table: format!("{}.{}", self.column.schema, self.column.table),
            column: self.rule.column.clone(),
            mask: self.rule.mask.says().to_owned(),
            rows: held,
            empty: all.saturating_sub(held),
        })
    }
}

/// Masks everything that the profile names. Names are final, all rows are there, and nobody else sees them.
pub(crate) async fn mask(
    session: &Session,
    profile: &MaskingProfile,
    manifest: &Manifest,
    part: &Part,
) -> Result<Vec<MaskedTable>, DatabaseError> {
    if profile.is_empty() {
        return Ok(Vec::new());
    }
    // The backup may be older than the columns that the preflight found on production.
    let objections = objections(session, profile, &manifest.schemas).await?;
    if !objections.is_empty() {
        return Err(DatabaseError::MaskingCannotHold { objections });
    }
    let work = work(session, profile).await?;
    let is_masked = |table: &Table| {
        work.iter().any(|one| (&one.column.schema, &one.column.table) == (&table.schema, &table.name))
    };
    let tables: Vec<Table> =
        manifest.tables.iter().map(|dumped| &dumped.table).filter(|it| is_masked(it)).cloned().collect();
    let path = &manifest.surroundings.search_path;
    let before = read(session, path, &tables, part).await?;
    draw_pseudonyms(session, profile, &work).await?;
    session.look_in(path).await?;
    let mut done: Vec<MaskedColumn> = Vec::new();
    for one in &work {
        done.push(one.done(session).await?);
    }
    session.look_in("").await?;
    session.batch("forget the pseudonyms", &format!("DROP TABLE IF EXISTS {PAIRS}")).await?;
    for table in &tables {
        // The server may have looked at the loaded rows by itself, and keeps the most common values that it saw.
        let analyse = format!("ANALYZE {}", qualified(&table.schema, &table.name));
        session.batch("forget the statistics of what was masked", &analyse).await?;
    }
    let since = read(session, path, &tables, part).await?;
    let digest = |contents: &BTreeMap<String, TableContent>, table: &Table| {
        contents.get(&table.title()).map(|content| content.digest.clone()).unwrap_or_default()
    };
    let masked = |table: Table| MaskedTable {
        before: digest(&before, &table),
        since: digest(&since, &table),
        columns: done.iter().filter(|column| column.table == table.title()).cloned().collect(),
        table,
    };
    Ok(tables.into_iter().map(masked).collect())
}

async fn work<'a>(session: &Session, profile: &'a MaskingProfile) -> Result<Vec<Work<'a>>, DatabaseError> {
    let mut all = Vec::new();
    for rule in profile.columns() {
        let found = columns(session, rule).await?;
        all.extend(found.into_iter().filter(|column| column.has_rows).map(|column| Work { rule, column }));
    }
    Ok(all)
}

async fn read(
    session: &Session,
    search_path: &str,
    tables: &[Table],
    part: &Part,
) -> Result<BTreeMap<String, TableContent>, DatabaseError> {
    let reading = |table: &Table| Reading { copy: table.copy_out(), table: table.clone() };
    let readings = tables.iter().map(reading).collect();
    contents(std::slice::from_ref(session), search_path, readings, part).await
}

/// Puts every value that gets a pseudonym beside it, in a table that only this transaction sees. They are drawn here: the key never
/// comes to the server.
async fn draw_pseudonyms(
    session: &Session,
    profile: &MaskingProfile,
    work: &[Work<'_>],
) -> Result<(), DatabaseError> {
    let mut values: BTreeSet<String> = BTreeSet::new();
    let mut first_in: BTreeMap<String, String> = BTreeMap::new();
    for one in work.iter().filter(|one| one.rule.mask == Mask::Pseudonym) {
        let sql = format!("SELECT DISTINCT {} FROM ONLY {} t WHERE {}", one.text(), one.table(), one.holds());
        for row in session.rows(&format!("read {}", one.title()), &sql, &[]).await? {
            let value: String = row.get(0);
            first_in.entry(value.clone()).or_insert_with(|| one.title());
            values.insert(value);
        }
    }
    let pairs = pseudonyms(profile.key(), values.iter().map(String::as_str)).map_err(|value| {
        let column = first_in.get(value).map_or("a column", String::as_str);
        let why = "its values are so short that there are no others of their shape; use `fixed` or `null`";
        DatabaseError::MaskingCannotHold { objections: vec![format!("recovery.masking: {column}: {why}")] }
    })?;
    let doing = "hand over the pseudonyms";
    let make = "CREATE TEMP TABLE allclear_pseudonyms (was text COLLATE \"C\" PRIMARY KEY, now text NOT NULL) ON COMMIT DROP";
    session.batch(doing, make).await?;
    let sink = session.copy_in(doing, &format!("COPY {PAIRS} (was, now) FROM STDIN")).await?;
    let mut sink = pin!(sink);
    let mut piece = String::new();
    for (was, now) in &pairs {
        let _ = writeln!(piece, "{}\t{}", escaped(was), escaped(now));
        if piece.len() >= PIECE {
            let full = Bytes::from(std::mem::take(&mut piece));
            sink.send(full).await.map_err(|error: tokio_postgres::Error| session.failed(doing, &error))?;
        }
    }
    let rest: Result<(), tokio_postgres::Error> = sink.send(Bytes::from(piece)).await;
    rest.map_err(|error| session.failed(doing, &error))?;
    sink.as_mut().finish().await.map_err(|error| session.failed(doing, &error))?;
    session.batch(doing, &format!("ANALYZE {PAIRS}")).await
}

/// A value as a line of COPY has it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

/// What people should know of it.
pub(crate) fn notes(masked: &[MaskedTable]) -> Vec<String> {
    masked
        .iter()
        .flat_map(|table| &table.columns)
        .map(|column| format!("masked: {}", column.says()))
        .collect()
}

/// Writes down what was masked, in the swap's own transaction.
pub(crate) async fn write_down(
    session: &Session,
    number: i64,
    masked: &[MaskedTable],
) -> Result<(), DatabaseError> {
    let insert = "INSERT INTO allclear.masked (restored, schema_name, table_name, column_name, mask, rows, empty, before, since) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    for MaskedTable { table, before, since, columns } in masked {
        for MaskedColumn { column, mask, rows, empty, .. } in columns {
            let (rows, empty) = (rows.cast_signed(), empty.cast_signed());
            session
                .execute(
                    "write down what was masked",
                    insert,
                    &[&number, &table.schema, &table.name, column, mask, &rows, &empty, before, since],
                )
                .await?;
        }
    }
    Ok(())
}

/// What was written down of a restore.
#[derive(Default)]
pub(crate) struct WrittenDown {
    columns: Vec<MaskedColumn>,
    /// By the table's title: the digests of all its rows before it was masked, and since.
    digests: BTreeMap<String, (String, String)>,
}

impl WrittenDown {
    pub(crate) async fn of(session: &Session, number: Option<i64>) -> Result<Self, DatabaseError> {
        let doing = "read what was masked";
        let Some(number) = number else { return Ok(Self::default()) };
        let there = "SELECT to_regclass('allclear.masked') IS NOT NULL";
        if !session.row(doing, there, &[]).await?.get::<_, bool>(0) {
            return Ok(Self::default());
        }
        let sql = "SELECT schema_name, table_name, column_name, mask, rows, empty, before, since FROM allclear.masked \
                   WHERE restored = $1 ORDER BY 1, 2, 3";
        let mut found = Self::default();
        for row in session.rows(doing, sql, &[&number]).await? {
            let title = format!("{}.{}", row.get::<_, String>(0), row.get::<_, String>(1));
            found.digests.insert(title.clone(), (row.get(6), row.get(7)));
            found.columns.push(MaskedColumn {
                table: title,
                column: row.get(2),
                mask: row.get(3),
                rows: row.get::<_, i64>(4).unsigned_abs(),
                empty: row.get::<_, i64>(5).unsigned_abs(),
            });
        }
        Ok(found)
    }

    /// A table that is as it was right after it was masked is told as it was right before; one that anybody changed since, as it is.
    pub(crate) fn before_masking(&self, contents: &mut BTreeMap<String, TableContent>) {
        for (title, (before, since)) in &self.digests {
            if let Some(content) = contents.get_mut(title).filter(|content| content.digest == *since) {
                content.digest.clone_from(before);
            }
        }
    }

    pub(crate) fn into_columns(self) -> Vec<MaskedColumn> {
        self.columns
    }
}
