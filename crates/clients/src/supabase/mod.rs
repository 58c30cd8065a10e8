//! Supabase: PostgREST over the platform's tables, with the service key.
//!
//! | fact | from |
//! |---|---|
//! | it is never cached, so every read of a written state goes here | PostgREST, API |
//! | a change of state is a PATCH with the expected state in its filter: `PATCH /send_queue?campaign_id=eq.X&status=eq.PENDING`. `count=exact` tells how many rows it changed. One without a filter would change the whole table and is never sent | PostgREST, tables and views |
//! | `max-affected` is ignored in silence without `handling=strict`; what was kept to stands in `Preference-Applied`. A change of one row that does not say so there may have happened otherwise: it is read again | PostgREST, prefer header |
//! | `Content-Range` has the count after its slash, `*` where none was asked for | PostgREST, pagination and count |
//! | a server gives as many rows as it is set to, often 1,000. Lists are read by key and not by offset, so rows that change in between are neither skipped nor repeated | PostgREST, configuration, `db-max-rows` |
//! | an insert with an id of our own, `on_conflict=id` and `resolution=ignore-duplicates` happens once | PostgREST, upsert |
//! | right after a migration a table may not be known yet (`PGRST202`, `PGRST205`). Reads and inserts with an id of our own are made once more, after a second: the only repetition in these clients | PostgREST, schema cache |
//! | errors are told apart by `code`, in a table in `error`; 42501 is a 401 without a key and a 403 with one | PostgREST, errors |
//! | before PostgREST stands the gateway: 540 is a project that is paused, 544 a time limit, 402 a restricted organisation | Supabase, platform status codes |
//! | how a key is sent depends on its kind: see [`KeyKind`](crate::KeyKind) | Supabase, API keys |
//!
//! The writes of the admin API that belong to the same ports (pause, retry, settings) are delegated to [`AdminApi`].

mod announcements;
mod campaigns;
mod error;
mod given_up;
mod pages;
mod queue;
mod redemptions;
mod replacements;
mod sends;
mod settings;
#[cfg(test)]
mod tests;
mod vouchers;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use allclear_core::PortError;
use allclear_core::ports::AuditRow;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::admin_api::AdminApi;
use crate::http::{Call, Http, Reply};

type Result<T> = std::result::Result<T, PortError>;

/// How long PostgREST is given to read the schema again.
const SCHEMA_RELOAD: Duration = Duration::from_secs(1);

/// Rows asked for at a time; PostgREST is usually configured to give no more.
const PAGE: usize = 1_000;

/// The client.
#[derive(Debug)]
pub struct Supabase {
    http: Http,
    admin: Arc<AdminApi>,
}

impl Supabase {
    pub(crate) fn new(http: Http, admin: Arc<AdminApi>) -> Self {
        Self { http, admin }
    }

    /// Rows of a table.
    async fn rows<T: DeserializeOwned>(&self, call: Call) -> Result<Vec<T>> {
        self.checked(call).await?.expect()
    }

    /// How many rows there are: an exact count, without the rows.
    async fn count(&self, call: Call) -> Result<u64> {
        let reply = self.checked(call.head().query("limit", 1).header("prefer", "count=exact")).await?;
        count_of(&reply)
    }

    /// Changes rows; returns how many. The filter holds the expected state.
    async fn change(&self, path: &str, filters: &[(&str, String)], change: Value) -> Result<u64> {
        let mut call =
            Call::write(Method::PATCH, path, change).header("prefer", "return=minimal, count=exact");
        for (column, condition) in filters {
            call = call.query(column, condition);
        }
        let reply = self.checked(call).await?;
        count_of(&reply)
    }

    /// Changes one row, if it is as the filters expect. The database refuses to change more than one.
    async fn change_one(&self, path: &str, filters: &[(&str, String)], change: Value) -> Result<u64> {
        let prefer = "return=minimal, count=exact, handling=strict, max-affected=1";
        let mut call = Call::write(Method::PATCH, path, change).header("prefer", prefer);
        for (column, condition) in filters {
            call = call.query(column, condition);
        }
        let reply = self.checked(call).await?;
        check_applied(&reply)?;
        count_of(&reply)
    }

    /// Inserts a row with an id of our own: a second insert of the same id changes nothing.
    async fn insert_once(&self, table_name: &str, row: Value) -> Result<()> {
        let call = Call::write(Method::POST, table(table_name), row)
            .query("on_conflict", "id")
            .header("prefer", "resolution=ignore-duplicates, return=minimal")
            .keyed();
        self.checked(call).await.map(drop)
    }

    /// A row of the audit log, once.
    async fn insert_audit(&self, row: &AuditRow, actor: Option<String>) -> Result<()> {
        let body = json!({
            "id": row.id,
            "actor_id": actor,
            "action": row.action,
            "target_table": row.target_table,
            "target_id": row.target_id,
            "diff": row.diff,
        });
        match self.insert_once("audit_log", body).await {
            Err(PortError::AlreadyDone { .. }) => Ok(()),
            other => other,
        }
    }

    /// Makes a call; once more where PostgREST does not know the table yet and the call may be repeated.
    async fn checked(&self, call: Call) -> Result<Reply> {
        let again = call.is_repeatable().then(|| call.clone());
        let mut reply = self.http.send(call).await?;
        if let Some(call) = again.filter(|_| error::is_stale_schema(&reply)) {
            self.http.pause(SCHEMA_RELOAD).await;
            reply = self.http.send(call).await?;
        }
        if !reply.is_success() {
            return Err(error::classify(&reply));
        }
        // Many answers say everything with their status. One that comes with a page is not PostgREST's.
        if reply.header("content-type").is_some_and(|kind| kind.contains("html")) {
            return Err(reply.not_theirs("it answers with a page"));
        }
        Ok(reply)
    }
}

fn table(name: &str) -> String {
    format!("/rest/v1/{name}")
}

fn read(name: &str) -> Call {
    Call::read(table(name))
}

/// That the database was held to one row. PostgREST ignores `max-affected` in silence where `handling=strict` does not come
/// with it, or something on the way takes the header out; what it kept to it says in `Preference-Applied` (PostgREST, prefer
/// header). An answer that does not say so may have changed other rows as well, so it is read again and not believed.
fn check_applied(reply: &Reply) -> Result<()> {
    let applied = reply.header("preference-applied").unwrap_or_default();
    let says = |wanted: &str| applied.split(',').any(|one| one.trim() == wanted);
    if says("handling=strict") && says("max-affected=1") {
        return Ok(());
    }
    let detail =
        format!("it does not say that it kept to handling=strict and max-affected=1, but `{applied}`");
    Err(reply.unusable(&detail))
}

/// The total in `Content-Range: 0-24/3573`.
fn count_of(reply: &Reply) -> Result<u64> {
    let range = reply.header("content-range").unwrap_or_default();
    let total = range.rsplit_once('/').and_then(|(_, total)| total.parse().ok());
    total.ok_or_else(|| reply.unusable(&format!("no count in Content-Range `{range}`")))
}
