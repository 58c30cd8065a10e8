//! What the platform says its buckets hold.

use std::sync::Arc;

use allclear_core::Clock;
use allclear_core::ports::StoredObjects;
use allclear_core::recovery::StoredObject;
use async_trait::async_trait;
use serde_json::json;

use super::{Result, StorageAccess, checked, error, in_path, wire};
use crate::config::{ConfigError, Settings};
use crate::http::{Call, Http};
use crate::wiring::Wiring;

/// Rows asked for at a time.
const PAGE: usize = 1_000;

/// The lists of one project's buckets. It has no way to write.
#[derive(Debug)]
pub struct BucketLists {
    http: Http,
}

impl BucketLists {
    /// Wires it, with the bounds of the environment's other clients. Talks to nobody yet.
    pub fn connect(
        settings: &Settings,
        access: &StorageAccess,
        clock: &Arc<dyn Clock>,
    ) -> std::result::Result<Self, ConfigError> {
        Ok(Self { http: Wiring::of(settings, clock)?.storage(&access.endpoint, &access.key)? })
    }

    /// The list of a bucket that is not there is empty, and would be taken for an empty bucket.
    async fn must_be_there(&self, bucket: &str) -> Result<()> {
        let reply = checked(&self.http, Call::read(format!("/bucket/{}", in_path(bucket)))).await?;
        let found: wire::Bucket = reply.expect()?;
        if found.id == bucket { Ok(()) } else { Err(reply.unusable("it answers with another bucket")) }
    }

    /// All rows by cursor; `None` where the server has no such list.
    async fn second_version(&self, bucket: &str) -> Result<Option<Vec<StoredObject>>> {
        let path = format!("/object/list-v2/{}", in_path(bucket));
        let (mut found, mut cursor): (Vec<StoredObject>, Option<String>) = (Vec::new(), None);
        loop {
            let mut body = json!({ "prefix": "", "limit": PAGE, "with_delimiter": false });
            if let Some(cursor) = &cursor {
                body["cursor"] = cursor.as_str().into();
            }
            let reply = self.http.send(Call::read(path.clone()).posting(body)).await?;
            if !reply.is_success() {
                // Only the route's absence sends us to the older list: a bucket that is not there is another 404.
                let route = reply.json().is_some_and(|body| {
                    body["message"].as_str().is_some_and(|says| says.starts_with("Route POST:"))
                });
                return if route && reply.status == 404 { Ok(None) } else { Err(error::classify(&reply)) };
            }
            let page: wire::Page = reply.expect()?;
            found.extend(page.objects.into_iter().map(|row| {
                let name = row.key.clone().unwrap_or_else(|| row.name.clone());
                object(name, row)
            }));
            if !page.has_next {
                return Ok(Some(found));
            }
            // The same cursor again would be the same page again, for ever.
            let next = page.next_cursor.filter(|next| cursor.as_ref() != Some(next));
            cursor = Some(next.ok_or_else(|| reply.unusable("it has more and does not say where"))?);
        }
    }

    /// All rows folder by folder and by offset. What changes in between may be missed or come twice; a second version has
    /// no such gap.
    async fn first_version(&self, bucket: &str) -> Result<Vec<StoredObject>> {
        let path = format!("/object/list/{}", in_path(bucket));
        let (mut found, mut folders) = (Vec::new(), vec![String::new()]);
        while let Some(folder) = folders.pop() {
            let mut offset = 0;
            loop {
                let body = json!({
                    "prefix": folder, "limit": PAGE, "offset": offset,
                    "sortBy": { "column": "name", "order": "asc" },
                });
                let reply = checked(&self.http, Call::read(path.clone()).posting(body)).await?;
                let rows: Vec<wire::Row> = reply.expect()?;
                let count = rows.len();
                for row in rows {
                    let name =
                        if folder.is_empty() { row.name.clone() } else { format!("{folder}/{}", row.name) };
                    if row.id.is_some() {
                        found.push(object(name, row));
                    } else if row.name.is_empty() {
                        return Err(reply.unusable("a folder has no name; only a newer server can list it"));
                    } else {
                        folders.push(name);
                    }
                }
                if count < PAGE {
                    break;
                }
                offset += count;
            }
        }
        Ok(found)
    }
}

fn object(name: String, row: wire::Row) -> StoredObject {
    let bytes = row.metadata.and_then(|metadata| metadata.size);
    StoredObject { name, bytes, changed_at: row.updated_at }
}

#[async_trait]
impl StoredObjects for BucketLists {
    async fn of_bucket(&self, bucket: &str) -> Result<Vec<StoredObject>> {
        self.must_be_there(bucket).await?;
        let mut found = match self.second_version(bucket).await? {
            Some(found) => found,
            None => self.first_version(bucket).await?,
        };
        // The server's collation is not ours.
        found.sort_unstable();
        found.dedup_by(|one, other| one.name == other.name);
        Ok(found)
    }
}
