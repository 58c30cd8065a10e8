//! Lists.

use std::cmp::Ordering;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Answer, Asked, Front, Refused, json_answer, read_json};

/// No list gives more rows than this at once.
const MOST: u64 = 1_000;

impl Front {
    /// By cursor, whole names; with a delimiter only what lies directly below the prefix, and its folders. The list of a bucket
    /// that is not there is empty, as at the real one.
    pub(super) async fn list_v2(&self, asked: Asked) -> Result<Answer, Refused> {
        let bucket = asked.rest.clone();
        let body = read_json(asked).await?;
        let order = Order::parse(&body["sortBy"])?;
        let limit = body["limit"].as_u64().unwrap_or(MOST).clamp(1, MOST) as usize;
        let after = body["cursor"].as_str().and_then(|cursor| STANDARD.decode(cursor).ok());
        let prefix = body["prefix"].as_str().unwrap_or_default();
        let mut rows = Vec::new();
        walk(&self.folder.join(&bucket), "", &mut rows);
        rows.retain(|row| row.name.starts_with(prefix));
        if body["with_delimiter"] == true {
            rows = below(prefix, rows);
        }
        rows.sort_by(|one, other| order.compare(one, other));
        let seen = after.map_or(0, |after| order.seen(&rows, &String::from_utf8_lossy(&after)));
        let has_next = rows.len() > seen + limit;
        let page: Vec<Found> = rows.into_iter().skip(seen).take(limit).collect();
        let named = |row: &Found| json!({ "key": row.name, "name": row.name });
        let whole = |row: &Found| {
            let mut shown = self.shown(row, &format!("{bucket}/{}", row.name), &row.name);
            shown["key"] = json!(row.name);
            shown
        };
        let mut answer = json!({ "hasNext": has_next,
            "folders": page.iter().filter(|row| row.is_folder).map(named).collect::<Vec<_>>(),
            "objects": page.iter().filter(|row| !row.is_folder).map(whole).collect::<Vec<_>>() });
        if let Some(last) = page.last().filter(|_| has_next) {
            answer["nextCursor"] = STANDARD.encode(&last.name).into();
        }
        Ok(json_answer(200, &answer))
    }

    /// One folder, by offset: its folders first. `search` is how names begin, in whichever case.
    pub(super) async fn list(&self, asked: Asked) -> Result<Answer, Refused> {
        let bucket = asked.rest.clone();
        let body = read_json(asked).await?;
        let Some(prefix) = body["prefix"].as_str() else {
            return Err(Refused::new(400, "InvalidRequest", "body must have required property 'prefix'"));
        };
        let order = Order::parse(&body["sortBy"])?;
        let search = body["search"].as_str().unwrap_or_default().to_lowercase();
        let below = prefix.trim_matches('/');
        let folder = self.folder.join(&bucket).join(below);
        let mut rows: Vec<Found> = entries(&folder).iter().map(|entry| Found::of(entry, "")).collect();
        rows.retain(|row| row.name.to_lowercase().starts_with(&search));
        rows.sort_by(|one, other| {
            other.is_folder.cmp(&one.is_folder).then_with(|| order.compare(one, other))
        });
        let skip = body["offset"].as_u64().unwrap_or(0) as usize;
        let limit = body["limit"].as_u64().unwrap_or(100).clamp(1, MOST) as usize;
        let shown = |row: &Found| {
            let path = if below.is_empty() { row.name.clone() } else { format!("{below}/{}", row.name) };
            self.shown(row, &format!("{bucket}/{path}"), &row.name)
        };
        Ok(json_answer(200, &rows.iter().skip(skip).take(limit).map(shown).collect()))
    }

    /// The names of a bucket's objects.
    pub(super) fn objects_below(&self, bucket: &str) -> impl Iterator<Item = String> {
        let mut rows = Vec::new();
        walk(&self.folder.join(bucket), "", &mut rows);
        rows.into_iter().map(|row| row.name)
    }
}

fn entries(folder: &Path) -> Vec<std::fs::DirEntry> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().collect()
}

/// A file or a folder of a bucket.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) is_folder: bool,
    pub(super) bytes: u64,
    pub(super) at: Timestamp,
}

impl Found {
    fn of(entry: &std::fs::DirEntry, prefix: &str) -> Self {
        let metadata = entry.path().metadata().ok();
        let at = metadata.as_ref().and_then(|metadata| Timestamp::try_from(metadata.modified().ok()?).ok());
        Self {
            name: format!("{prefix}{}", entry.file_name().to_string_lossy()),
            is_folder: metadata.as_ref().is_some_and(std::fs::Metadata::is_dir),
            bytes: metadata.map_or(0, |metadata| metadata.len()),
            at: at.unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }
}

/// In which order a list comes.
struct Order {
    by_time: bool,
    descending: bool,
}

impl Order {
    /// A column that the server does not know is taken for the name; a direction that is none is refused.
    fn parse(sort_by: &Value) -> Result<Self, Refused> {
        let descending = match sort_by["order"].as_str() {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(_) => {
                let message = "body/sortBy/order must be equal to one of the allowed values";
                return Err(Refused::new(400, "InvalidRequest", message));
            }
        };
        let by_time =
            matches!(sort_by["column"].as_str(), Some("updated_at" | "created_at" | "last_accessed_at"));
        Ok(Self { by_time, descending })
    }

    fn compare(&self, one: &Found, other: &Found) -> Ordering {
        let by_name = one.name.cmp(&other.name);
        let ordering = if self.by_time { one.at.cmp(&other.at).then(by_name) } else { by_name };
        if self.descending { ordering.reverse() } else { ordering }
    }

    /// How many rows a cursor leaves behind: by name also where the row itself is gone since.
    fn seen(&self, rows: &[Found], after: &str) -> usize {
        if self.by_time {
            return rows.iter().position(|row| row.name == after).map_or(0, |place| place + 1);
        }
        let is_seen = |row: &&Found| {
            let ordering = row.name.as_str().cmp(after);
            ordering == Ordering::Equal || (ordering == Ordering::Greater) == self.descending
        };
        rows.iter().take_while(is_seen).count()
    }
}

/// What lies directly below a prefix: its objects, and each folder once.
fn below(prefix: &str, rows: Vec<Found>) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for row in rows {
        let Some((folder, _)) = row.name[prefix.len()..].split_once('/') else {
            found.push(row);
            continue;
        };
        let name = format!("{prefix}{folder}/");
        match found.iter_mut().find(|known| known.name == name) {
            Some(known) => known.at = known.at.max(row.at),
            None => found.push(Found { name, is_folder: true, ..row }),
        }
    }
    found
}

fn walk(folder: &Path, prefix: &str, rows: &mut Vec<Found>) {
    for entry in entries(folder) {
        let found = Found::of(&entry, prefix);
        if found.is_folder {
            walk(&entry.path(), &format!("{}/", found.name), rows);
        } else {
            rows.push(found);
        }
    }
}
