//! Supabase: PostgREST over the platform's tables, with the service key.
//!
//! * It is never cached, so every read of a written state goes here.
//! * A change of state is a PATCH with the expected state in its filter: `PATCH /send_queue?campaign_id=eq.X&status=eq.PENDING`.
//!   `count=exact` tells how many rows it changed.
//! * Lists are read by key and not by offset, so rows that change in between are neither skipped nor repeated.
//! * An insert with an id of our own, `on_conflict=id` and `resolution=ignore-duplicates` happens once.
//!
//! The writes of the admin API that belong to the same ports (pause, retry, settings) are delegated to [`AdminApi`].

mod campaigns;
mod error;
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

use allclear_core::PortError;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::admin_api::AdminApi;
use crate::http::{Call, Http, Reply};

type Result<T> = std::result::Result<T, PortError>;

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
        count_of(&self.checked(call).await?)
    }

    /// Inserts a row with an id of our own: a second insert of the same id changes nothing.
    async fn insert_once(&self, table_name: &str, row: Value) -> Result<()> {
        let call = Call::write(Method::POST, table(table_name), row)
            .query("on_conflict", "id")
            .header("prefer", "resolution=ignore-duplicates, return=minimal");
        self.checked(call).await.map(drop)
    }

    async fn checked(&self, call: Call) -> Result<Reply> {
        let reply = self.http.send(call).await?;
        if !reply.is_success() {
            return Err(error::classify(&reply));
        }
        // Many answers say everything with their status. One that comes with a page is not PostgREST's.
        if reply.header("content-type").is_some_and(|kind| kind.contains("html")) {
            return Err(reply.unusable("it answers with a page"));
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

/// The total in `Content-Range: 0-24/3573`.
fn count_of(reply: &Reply) -> Result<u64> {
    let range = reply.header("content-range").unwrap_or_default();
    let total = range.rsplit_once('/').and_then(|(_, total)| total.parse().ok());
    total.ok_or_else(|| reply.unusable(&format!("no count in Content-Range `{range}`")))
}
