//! Buckets, lists, downloads and signed links.

use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Answer, Asked, Front, json_answer, typed};

/// No list gives more rows than this at once.
const MOST: u64 = 1_000;

impl Front {
    pub(super) fn bucket(&self, asked: &Asked) -> Answer {
        let (name, made) = (&asked.rest, "2026-01-01T00:00:00Z");
        if self.folder_of(name).is_none() {
            return self.no_bucket();
        }
        let body = json!({ "id": name, "name": name, "owner": "", "public": false, "type": "STANDARD",
            "file_size_limit": null, "allowed_mime_types": null, "created_at": made, "updated_at": made });
        json_answer(200, &body)
    }

    /// By cursor, whole names. The list of a bucket that is not there is empty, as at the real one.
    pub(super) async fn list_v2(&self, asked: Asked) -> Answer {
        let bucket = asked.rest.clone();
        let Some(body) = read(asked).await else {
            return self.refused(400, "InvalidRequest", "body is no JSON");
        };
        let limit = body["limit"].as_u64().unwrap_or(MOST).clamp(1, MOST) as usize;
        let after = body["cursor"].as_str().and_then(|cursor| STANDARD.decode(cursor).ok());
        let prefix = body["prefix"].as_str().unwrap_or_default();
        let mut rows = Vec::new();
        walk(&self.folder.join(&bucket), "", &mut rows);
        rows.retain(|(name, ..)| {
            name.starts_with(prefix) && after.as_ref().is_none_or(|after| name.as_bytes() > after.as_slice())
        });
        rows.sort();
        let has_next = rows.len() > limit;
        rows.truncate(limit);
        let mut page = json!({ "hasNext": has_next, "folders": [],
            "objects": rows.iter().map(|(name, bytes, at)| row(name, *bytes, *at)).collect::<Vec<_>>() });
        if let Some((last, ..)) = rows.last().filter(|_| has_next) {
            page["nextCursor"] = STANDARD.encode(last).into();
        }
        json_answer(200, &page)
    }

    /// One folder, by offset.
    pub(super) async fn list(&self, asked: Asked) -> Answer {
        let bucket = asked.rest.clone();
        let Some(body) = read(asked).await else {
            return self.refused(400, "InvalidRequest", "body is no JSON");
        };
        let Some(prefix) = body["prefix"].as_str() else {
            return self.refused(400, "InvalidRequest", "body must have required property 'prefix'");
        };
        let folder = self.folder.join(&bucket).join(prefix.trim_matches('/'));
        let mut rows: Vec<(String, Value)> = entries(&folder)
            .into_iter()
            .map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                let (bytes, at) = told(&entry.path());
                let value = if entry.path().is_dir() {
                    json!({ "name": name, "id": null, "updated_at": null, "created_at": null,
                        "last_accessed_at": null, "metadata": null })
                } else {
                    row(&name, bytes, at)
                };
                (name, value)
            })
            .collect();
        rows.sort_by(|one, other| one.0.cmp(&other.0));
        let skip = body["offset"].as_u64().unwrap_or(0) as usize;
        let limit = body["limit"].as_u64().unwrap_or(100).clamp(1, MOST) as usize;
        json_answer(200, &rows.into_iter().map(|(_, row)| row).skip(skip).take(limit).collect())
    }

    pub(super) fn download(&self, object: &str) -> Answer {
        let Some((bucket, name)) = object.split_once('/').filter(|(_, name)| is_plain(name)) else {
            return self.refused(400, "InvalidKey", "Invalid key");
        };
        let Some(folder) = self.folder_of(bucket) else { return self.no_bucket() };
        match std::fs::read(folder.join(name)) {
            Ok(content) => typed(200, "text/plain; charset=utf-8", content.into()),
            Err(_) => self.refused(404, "NoSuchKey", "Object not found"),
        }
    }

    pub(super) async fn sign(&self, asked: Asked) -> Answer {
        let object = asked.rest.clone();
        let there = self.download(&object);
        if !there.status().is_success() {
            return there;
        }
        let valid = read(asked).await.and_then(|body| body["expiresIn"].as_u64());
        let Some(seconds) = valid.filter(|seconds| *seconds > 0) else {
            return self.refused(400, "InvalidRequest", "body/expiresIn must be >= 1");
        };
        let token = format!("eyJhbGciOiJIUzI1NiJ9.c2FuZGJveC1saW5r.{:016x}", self.next());
        let until = Instant::now() + Duration::from_secs(seconds);
        self.lock().links.insert(token.clone(), (object.clone(), until));
        let path = object.replace(' ', "%20");
        json_answer(200, &json!({ "signedURL": format!("/object/sign/{path}?token={token}") }))
    }

    /// The link is the right: no key is asked for.
    pub(super) fn signed(&self, asked: &Asked) -> Answer {
        let token = asked.query.strip_prefix("token=").unwrap_or_default();
        let link = self.lock().links.get(token).cloned();
        match link {
            Some((object, until)) if object == asked.rest && until > Instant::now() => self.download(&object),
            Some(_) => self.refused(400, "InvalidJWT", "\"exp\" claim timestamp check failed"),
            None => self.refused(400, "InvalidJWT", "signature verification failed"),
        }
    }
}

/// Whether a name stays in its bucket's folder.
pub(super) fn is_plain(name: &str) -> bool {
    !name.split('/').any(|part| part.is_empty() || part == "." || part == "..")
}

async fn read(asked: Asked) -> Option<Value> {
    serde_json::from_slice(&asked.body.collect().await.ok()?.to_bytes()).ok()
}

fn entries(folder: &Path) -> Vec<std::fs::DirEntry> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().collect()
}

/// Size and last change of a file.
fn told(path: &Path) -> (u64, Timestamp) {
    let metadata = path.metadata().ok();
    let at = metadata.as_ref().and_then(|metadata| Timestamp::try_from(metadata.modified().ok()?).ok());
    (metadata.map_or(0, |metadata| metadata.len()), at.unwrap_or(Timestamp::UNIX_EPOCH))
}

fn walk(folder: &Path, prefix: &str, rows: &mut Vec<(String, u64, Timestamp)>) {
    for entry in entries(folder) {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            walk(&entry.path(), &format!("{name}/"), rows);
        } else {
            let (bytes, at) = told(&entry.path());
            rows.push((name, bytes, at));
        }
    }
}

fn row(name: &str, bytes: u64, at: Timestamp) -> Value {
    let at = at.to_string();
    json!({ "name": name, "id": uuid::Uuid::from_u128(bytes.into()).to_string(), "updated_at": at, "created_at": at,
        "last_accessed_at": at, "metadata": { "size": bytes, "mimetype": "image/png", "contentLength": bytes } })
}
