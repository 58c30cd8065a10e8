//! The sandbox's seeded world, as rows of the database.

use allclear::sandbox::{SERVICE_KEY, Sandbox};
use jiff::Timestamp;
use serde_json::Value;

/// The tables and their keys.
const TABLES: [(&str, &str); 12] = [
    ("stations", "id"),
    ("petrol_stations", "id"),
    ("campaigns", "id"),
    ("campaign_targets", "id"),
    ("send_queue", "id"),
    ("send_logs", "id"),
    ("settings", "key"),
    ("audit_log", "id"),
    ("vouchers", "id"),
    ("voucher_events", "id"),
    ("voucher_redemptions", "id"),
    ("webhook_logs", "id"),
];

/// What rows point to and the sandbox does not have, and where the numbering goes on.
const REST: &str = "
    INSERT INTO auth.users (id) SELECT created_by FROM vouchers WHERE created_by IS NOT NULL
      UNION SELECT issued_by_admin FROM vouchers WHERE issued_by_admin IS NOT NULL;
    INSERT INTO profiles (user_id) SELECT DISTINCT issued_by_admin FROM vouchers WHERE issued_by_admin IS NOT NULL;
    SELECT setval(pg_get_serial_sequence(name, 'id'), 1000000) FROM unnest(ARRAY['send_queue', 'send_logs', 'webhook_logs']) AS name;
";

/// Copies every table. Its rows are older than the constraints: a scope that points to the wrong table of stations is one of the
/// things that runs are about.
pub(super) async fn fill(
    database: &tokio_postgres::Client,
    sandbox: &Sandbox,
    down_until: Option<Timestamp>,
) {
    let clock = format!(
        "INSERT INTO platform.clock (shows, next_run, down_until)
         SELECT at, at + interval '1 minute', {} FROM (SELECT timestamptz '{}' AS at) AS start",
        down_until.map_or_else(|| "'-infinity'".to_owned(), |at| format!("timestamptz '{at}'")),
        sandbox.now(),
    );
    database.batch_execute(&clock).await.unwrap();
    database.batch_execute("SET session_replication_role = replica").await.unwrap();
    for (table, key) in TABLES {
        let rows = read(sandbox, table, key).await;
        insert(database, table, &rows).await;
    }
    database.batch_execute("SET session_replication_role = origin").await.unwrap();
    database.batch_execute(REST).await.unwrap();
}

async fn read(sandbox: &Sandbox, table: &str, key: &str) -> Vec<Value> {
    let client = super::http();
    let mut rows: Vec<Value> = Vec::new();
    loop {
        let offset = rows.len();
        let url =
            format!("{}/supabase/rest/v1/{table}?order={key}&offset={offset}&limit=1000", sandbox.base_url());
        let asked = client.get(url).header("apikey", SERVICE_KEY).bearer_auth(SERVICE_KEY);
        let answer = asked.send().await.unwrap().text().await.unwrap();
        let page: Vec<Value> = serde_json::from_str(&answer).unwrap();
        if page.is_empty() {
            return rows;
        }
        rows.extend(page);
    }
}

/// Only the columns that hold something: the others take what the table has for them.
async fn insert(database: &tokio_postgres::Client, table: &str, rows: &[Value]) {
    let first = rows.first().and_then(Value::as_object).into_iter().flatten();
    let columns = first.map(|(name, _)| name).filter(|name| rows.iter().any(|row| !row[*name].is_null()));
    let columns = columns.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    if columns.is_empty() {
        return;
    }
    let sql = format!(
        "INSERT INTO public.{table} ({columns})
         SELECT {columns} FROM jsonb_populate_recordset(NULL::public.{table}, $1::text::jsonb)"
    );
    let rows = serde_json::to_string(rows).unwrap();
    database.execute(sql.as_str(), &[&rows]).await.unwrap_or_else(|error| panic!("{table}: {error:?}"));
}
