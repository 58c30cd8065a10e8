//! Reading all rows of a list, page by page.
//!
//! By key and not by offset: rows that change in between are neither skipped nor repeated. Only an empty page is the end,
//! because a server may be configured to give fewer rows than are asked for.

use std::fmt::Display;

use allclear_core::PortError;
use serde::de::DeserializeOwned;

use super::{PAGE, Result, Supabase};
use crate::http::Call;

/// A list has an end: a server that always has another page would be read for ever.
const PAGES: usize = 10_000;
/// Rows that are kept in memory at most. No list that we keep is nearly that long.
const ROWS: usize = 200_000;

impl Supabase {
    /// Every row of a list, by its key, each given to `each` and then forgotten; at most `most` of them.
    pub(super) async fn walk<T: DeserializeOwned, K: PartialOrd + Display + Send>(
        &self,
        list: Call,
        key: impl Fn(&T) -> K + Send,
        most: usize,
        mut each: impl FnMut(T) + Send,
    ) -> Result<()> {
        let list = list.query("order", "id");
        let mut after: Option<K> = None;
        let mut left = most;
        for _ in 0..PAGES {
            if left == 0 {
                return Ok(());
            }
            let mut call = list.clone().query("limit", PAGE.min(left));
            if let Some(after) = &after {
                call = call.query("id", format!("gt.{after}"));
            }
            let page: Vec<T> = self.rows(call).await?;
            let Some(end) = page.last().map(&key) else { return Ok(()) };
            if after.as_ref().is_some_and(|after| end <= *after) {
                return Err(self.endless(&list, "the next page does not begin after the last one"));
            }
            after = Some(end);
            left = left.saturating_sub(page.len());
            page.into_iter().for_each(&mut each);
        }
        Err(self.endless(&list, &format!("there is still more after {PAGES} pages")))
    }

    /// Every row of a list that is short enough to be kept.
    pub(super) async fn all<T: DeserializeOwned + Send, K: PartialOrd + Display + Send>(
        &self,
        list: Call,
        key: impl Fn(&T) -> K + Send,
    ) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        self.walk(list.clone(), key, ROWS + 1, |row| rows.push(row)).await?;
        if rows.len() > ROWS {
            return Err(self.endless(&list, &format!("it has more than {ROWS} rows")));
        }
        Ok(rows)
    }

    /// A list that does not end, or that begins anew.
    pub(super) fn endless(&self, list: &Call, detail: &str) -> PortError {
        PortError::Malformed { service: self.http.service(), call: list.title(), detail: detail.to_owned() }
    }
}
