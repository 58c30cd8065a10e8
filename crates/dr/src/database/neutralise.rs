//! What keeps restored data from reaching real people: nothing waits to be sent, nothing is scheduled, no trigger calls out.
//!
//! It happens in the swap's own transaction, before anything can see the restored rows. What is changed is written down in
//! `allclear.neutralised`, so that a parity can take it back in its reading and still compare every byte.

use super::catalog::Table;
use super::error::DatabaseError;
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

/// Marks what waits as never to be sent; how many rows. Before the triggers exist: one that touches another column would make
/// the tables differ.
pub(crate) async fn silence_queues(
    session: &Session,
    tables: &[Table],
    restored: i64,
) -> Result<u64, DatabaseError> {
    let doing = "keep restored messages from being sent";
    let mut silenced = 0;
    for (table, outbound) in pairs(tables) {
        let (name, column) = (qualified(&table.schema, &table.name), quoted(outbound.column));
        let (waiting, never) = (literal(outbound.waiting), literal(outbound.never));
        let change = format!(
            "WITH silenced AS (UPDATE {name} SET {column} = {never} WHERE {column} = {waiting} RETURNING id) \
             INSERT INTO allclear.neutralised (restored, schema_name, table_name, column_name, id, was, now) \
             SELECT {restored}, {}, {}, {}, id::text, {waiting}, {never} FROM silenced",
            literal(&table.schema),
            literal(&table.name),
            literal(outbound.column)
        );
        silenced += session.execute(doing, &change, &[]).await?;
        let left = format!("SELECT count(*) FROM {name} WHERE {column} = {waiting}");
        let left: i64 = session.row(doing, &left, &[]).await?.get(0);
        if left > 0 {
            return Err(DatabaseError::Refused {
                party: super::error::Party::Target,
                doing: doing.to_owned(),
                code: "none".to_owned(),
                detail: format!("{left} rows of {} still wait to be sent", table.title()),
            });
        }
    }
    Ok(silenced)
}

fn pairs(tables: &[Table]) -> impl Iterator<Item = (&Table, &'static Outbound)> {
    tables.iter().flat_map(|table| OUTBOUND.iter().filter(|it| it.is(table)).map(move |it| (table, it)))
}

/// Disables the restored triggers that call out, and the target's scheduled jobs.
pub(crate) async fn stop_callers(session: &Session, schemas: &[String]) -> Result<(), DatabaseError> {
    let doing = "disable triggers that call out";
    // Supabase's database webhooks are triggers on `supabase_functions.http_request`; others call pg_net or http.
    let sql = "SELECT n.nspname::text, c.relname::text, t.tgname::text FROM pg_catalog.pg_trigger t \
      JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
      JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid JOIN pg_catalog.pg_namespace f ON f.oid = p.pronamespace \
      WHERE NOT t.tgisinternal AND n.nspname = ANY($1) AND (f.nspname IN ('supabase_functions', 'net', 'http') \
      OR p.prosrc ~* '(net\\.http_|http_request|http_post|http_get|dblink)')";
    for row in session.rows(doing, sql, &[&schemas]).await? {
        let (schema, table, trigger): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let disable =
            format!("ALTER TABLE {} DISABLE TRIGGER {}", qualified(&schema, &table), quoted(&trigger));
        session.batch(doing, &disable).await?;
    }
    let doing = "disable scheduled jobs";
    let ask = "SELECT to_regclass('cron.job') IS NOT NULL, \
               EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
               WHERE n.nspname = 'cron' AND p.proname = 'alter_job')";
    let row = session.row(doing, ask, &[]).await?;
    let disable = match (row.get(0), row.get(1)) {
        (false, _) => return Ok(()),
        // On Supabase the table itself belongs to somebody else.
        (true, true) => "SELECT cron.alter_job(job_id := jobid, active := false) FROM cron.job WHERE active",
        (true, false) => "UPDATE cron.job SET active = false WHERE active",
    };
    session.batch(doing, disable).await
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
    let column = |name: &String| {
        if name == outbound.column {
            format!(
                "CASE WHEN n.was IS NOT NULL AND t.{0}::text = n.now THEN n.was ELSE t.{0}::text END",
                quoted(name)
            )
        } else {
            format!("t.{}", quoted(name))
        }
    };
    let columns: Vec<String> = table.columns.iter().map(column).collect();
    Ok(format!(
        "COPY (SELECT {} FROM ONLY {} t LEFT JOIN allclear.neutralised n ON n.restored = {restored} \
         AND n.schema_name = {} AND n.table_name = {} AND n.id = t.id::text) TO STDOUT",
        columns.join(", "),
        qualified(&table.schema, &table.name),
        literal(&table.schema),
        literal(&table.name)
    ))
}
