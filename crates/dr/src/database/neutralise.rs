//! What keeps restored messages from reaching real people: nothing waits to be sent. What could send is stopped in
//! [`callers`](super::callers).
//!
//! It happens in the swap's own transaction, before anything can see the restored rows. What is changed is written down in
//! `allclear.neutralised`, so that a parity can take it back in its reading and still compare every byte.

use std::collections::BTreeMap;

use super::callers;
use super::catalog::Table;
use super::compare::Change;
use super::error::{DatabaseError, Party};
use super::script::tried;
use super::session::{Session, literal, qualified, quoted};

/// Rows that a worker would send.
pub(crate) struct Outbound {
    table: &'static str,
    column: &'static str,
    waiting: &'static str,
    never: &'static str,
}

/// `send_queue` is what the dispatcher takes up to 40 rows of at every call; `notifications` is read by a worker that cron
/// starts each minute, and knows no other final state than these.
const OUTBOUND: [Outbound; 2] = [
    Outbound { table: "send_queue", column: "status", waiting: "PENDING", never: "SKIPPED" },
    Outbound { table: "notifications", column: "status", waiting: "queued", never: "failed" },
];

impl Outbound {
    /// Whether a table is this one: by name, with the column and an `id` to remember its rows by.
    fn is(&self, table: &Table) -> bool {
        let has = |name: &str| table.columns.iter().any(|column| column == name);
        table.name == self.table && has(self.column) && has("id")
    }
}

/// Marks what waits as never to be sent. Triggers and rules are off meanwhile: one that touches another column would make the
/// tables differ.
pub(crate) async fn silence_queues(
    session: &Session,
    tables: &[Table],
    restored: i64,
    changes: &mut Vec<Change>,
    notes: &mut Vec<String>,
) -> Result<(), DatabaseError> {
    let doing = "keep restored messages from being sent";
    for (table, outbound) in pairs(tables) {
        let (name, column) = (qualified(&table.schema, &table.name), quoted(outbound.column));
        let (waiting, never) = (literal(outbound.waiting), literal(outbound.never));
        // As text: the column's type may not know the word at all.
        let left = format!("SELECT count(*) FROM ONLY {name} WHERE {column}::text = {waiting}");
        let count: i64 = session.row(doing, &left, &[]).await?.get(0);
        if count == 0 {
            continue;
        }
        let change = format!(
            "WITH silenced AS (UPDATE ONLY {name} SET {column} = {never} WHERE {column}::text = {waiting} RETURNING id) \
             INSERT INTO allclear.neutralised (restored, schema_name, table_name, column_name, id, was, now) \
             SELECT {restored}, {}, {}, {}, id::text, {waiting}, {never} FROM silenced",
            literal(&table.schema),
            literal(&table.name),
            literal(outbound.column)
        );
        let on_again = callers::paused(session, doing, &table.schema, &table.name).await?;
        if let Err(refused) = tried(session, doing, &change).await? {
            if !refused.is_code("23514") {
                return Err(cannot_be_silenced(table, outbound, &refused));
            }
            let loosened = loosened(session, table, outbound).await?;
            if let Err(refused) = tried(session, doing, &change).await? {
                return Err(cannot_be_silenced(table, outbound, &refused));
            }
            for check in loosened {
                check.held_again(session, changes, notes).await?;
            }
        }
        session.batch(doing, &on_again).await?;
        let count: i64 = session.row(doing, &left, &[]).await?.get(0);
        if count > 0 {
            let detail = format!("{count} rows of {} still wait to be sent", table.title());
            return Err(refusal(detail));
        }
    }
    Ok(())
}

fn refusal(detail: String) -> DatabaseError {
    let doing = "keep restored messages from being sent".to_owned();
    DatabaseError::Refused { party: Party::Target, doing, code: "none".to_owned(), detail }
}

fn cannot_be_silenced(table: &Table, outbound: &Outbound, refused: &DatabaseError) -> DatabaseError {
    refusal(format!(
        "rows of {} wait to be sent, and its column `{}` does not take `{}`, which nothing sends: {}; nothing was swapped in",
        table.title(),
        outbound.column,
        outbound.never,
        refused.said()
    ))
}

/// A check that stands in the way of the word that nothing sends.
struct Check {
    table: String,
    name: String,
    title: String,
    definition: String,
    comment: Option<String>,
}

/// Takes away the checks on the column that says whether a row is sent.
async fn loosened(
    session: &Session,
    table: &Table,
    outbound: &Outbound,
) -> Result<Vec<Check>, DatabaseError> {
    let doing = "loosen the checks of a queue";
    let name = qualified(&table.schema, &table.name);
    let sql = "SELECT k.conname::text, format('%I.%I.%I', n.nspname, c.relname, k.conname), pg_get_constraintdef(k.oid), \
      obj_description(k.oid, 'pg_constraint') FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid \
      JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $3 \
      WHERE k.contype = 'c' AND n.nspname = $1 AND c.relname = $2 AND a.attnum = ANY(k.conkey)";
    let rows = session.rows(doing, sql, &[&table.schema, &table.name, &outbound.column]).await?;
    let check = |row: &tokio_postgres::Row| Check {
        table: name.clone(),
        name: row.get(0),
        title: row.get(1),
        definition: row.get(2),
        comment: row.get(3),
    };
    let checks: Vec<Check> = rows.iter().map(check).collect();
    for check in &checks {
        let drop = format!("ALTER TABLE {name} DROP CONSTRAINT {}", quoted(&check.name));
        session.batch(doing, &drop).await?;
    }
    Ok(checks)
}

impl Check {
    /// Puts it back: for all rows where they obey it, and else for new ones.
    async fn held_again(
        self,
        session: &Session,
        changes: &mut Vec<Change>,
        notes: &mut Vec<String>,
    ) -> Result<(), DatabaseError> {
        let doing = "put the checks of a queue back";
        let Self { table, name, title, definition, comment } = self;
        let add = format!("ALTER TABLE {table} ADD CONSTRAINT {} {definition}", quoted(&name));
        if tried(session, doing, &add).await?.is_err() {
            let not_valid = if definition.ends_with(" NOT VALID") { "" } else { " NOT VALID" };
            session.batch(doing, &format!("{add}{not_valid}")).await?;
            let says = "it holds for new rows only: rows that must never be sent do not obey it".to_owned();
            notes.push(format!("the check {title}: {says}"));
            changes.push(Change::not_valid(&title, says));
        }
        if let Some(comment) = comment {
            let sql = format!("COMMENT ON CONSTRAINT {} ON {table} IS {}", quoted(&name), literal(&comment));
            session.batch(doing, &sql).await?;
        }
        Ok(())
    }
}

fn pairs(tables: &[Table]) -> impl Iterator<Item = (&Table, &'static Outbound)> {
    tables.iter().flat_map(|table| OUTBOUND.iter().filter(|it| it.is(table)).map(move |it| (table, it)))
}

/// How staging's rows of a table are read for a parity: with what the restore changed taken back, row by row as written down. A
/// row that anybody else changed since is read as it is.
pub(crate) async fn taken_back(
    session: &Session,
    table: &Table,
    restored: Option<i64>,
) -> Result<String, DatabaseError> {
    let plain = || Ok(table.copy_out());
    let Some(restored) = restored else { return plain() };
    let Some((_, outbound)) = pairs(std::slice::from_ref(table)).next() else { return plain() };
    let ask = "SELECT EXISTS (SELECT FROM allclear.neutralised WHERE restored = $1 AND schema_name = $2 AND table_name = $3)";
    let changed =
        session.row("read what was neutralised", ask, &[&restored, &table.schema, &table.name]).await?;
    if !changed.get::<_, bool>(0) {
        return plain();
    }
    // What the server computed from the changed column is computed again from what it was.
    let expressions = "SELECT a.attname::text, pg_get_expr(f.adbin, f.adrelid), format_type(a.atttypid, a.atttypmod) FROM pg_attrdef f \
      JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum JOIN pg_class c ON c.oid = f.adrelid \
      JOIN pg_namespace n ON n.oid = c.relnamespace WHERE a.attgenerated <> '' AND n.nspname = $1 AND c.relname = $2";
    let expressions: BTreeMap<String, String> = session
        .rows("read the generated columns", expressions, &[&table.schema, &table.name])
        .await?
        .iter()
        .map(|row| (row.get(0), format!("({})::{}", row.get::<_, String>(1), row.get::<_, String>(2))))
        .collect();
    let kind = "SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
      JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2 AND a.attname = $3";
    let kind =
        session.row("read the column's type", kind, &[&table.schema, &table.name, &outbound.column]).await?;
    let kind: String = kind.get(0);
    let inner = |name: &String| match quoted(name) {
        column if name == outbound.column => format!("coalesce(n.was::{kind}, t.{column}) AS {column}"),
        column if table.generated.contains(name) => format!("t.{column} AS {}", quoted(&kept(name))),
        column => format!("t.{column}"),
    };
    let outer = |name: &String| match expressions.get(name) {
        Some(expression) => {
            format!("CASE WHEN allclear_silenced THEN {expression} ELSE {} END", quoted(&kept(name)))
        }
        None => quoted(name),
    };
    let columns = table.compared();
    Ok(format!(
        "COPY (SELECT {} FROM (SELECT {}, n.was IS NOT NULL AS allclear_silenced FROM ONLY {} t LEFT JOIN \
         (SELECT DISTINCT id, was, now FROM allclear.neutralised WHERE restored = {restored} AND schema_name = {} AND table_name = {}) n \
         ON n.id = t.id::text AND n.now = t.{}::text) rows) TO STDOUT",
        columns.iter().map(outer).collect::<Vec<_>>().join(", "),
        columns.iter().map(inner).collect::<Vec<_>>().join(", "),
        qualified(&table.schema, &table.name),
        literal(&table.schema),
        literal(&table.name),
        quoted(outbound.column)
    ))
}

/// What a generated column is called while its expression is computed beside it.
fn kept(name: &str) -> String {
    format!("allclear_{name}")
}
