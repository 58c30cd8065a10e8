//! Single objects: downloads, what is known of them, and signed links.

use std::fs;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use jiff::Timestamp;
use md5::{Digest as _, Md5};
use serde_json::{Value, json};
use uuid::Uuid;

use super::changes::Kept;
use super::lists::Found;
use super::{Answer, Asked, Front, Refused, json_answer, put, read_json, typed};

/// An object's id. It keeps it when it is written again.
pub(super) fn id_of(bucket: &str, name: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{bucket}/{name}").as_bytes())
}

fn etag_of(content: &[u8]) -> String {
    format!("\"{}\"", crate::hex(&Md5::digest(content)))
}

/// What a file that nobody uploaded here is taken for.
fn type_of(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "png" => "image/png",
        "json" => "application/json",
        "txt" | "log" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

impl Front {
    pub(super) fn kept_of(&self, object: &str) -> Kept {
        let unknown = || Kept {
            mimetype: type_of(object).to_owned(),
            cache_control: "no-cache".to_owned(),
            version: id_of("version", object),
            noted: Value::Null,
        };
        self.lock().kept.get(object).cloned().unwrap_or_else(unknown)
    }

    pub(super) fn download(&self, object: &str) -> Result<Answer, Refused> {
        let content = fs::read(self.file_of(object)?).map_err(|_| Refused::no_object())?;
        let (kept, etag) = (self.kept_of(object), etag_of(&content));
        let mut answer = typed(200, "application/octet-stream", Bytes::from(content));
        if let Ok(kind) = HeaderValue::from_str(&kept.mimetype) {
            answer.headers_mut().insert(CONTENT_TYPE, kind);
        }
        put(&mut answer, "cache-control", &kept.cache_control);
        put(&mut answer, "etag", &etag);
        Ok(answer)
    }

    /// What lies in a public bucket is everybody's.
    pub(super) fn public(&self, object: &str) -> Result<Answer, Refused> {
        let bucket = object.split('/').next().unwrap_or_default();
        if !self.settings_of(bucket).is_public() {
            return Err(Refused::no_bucket());
        }
        self.download(object)
    }

    pub(super) fn info(&self, object: &str) -> Result<Answer, Refused> {
        let row = self.row_of(object)?;
        let (kept, metadata) = (self.kept_of(object), &row["metadata"]);
        let body = json!({
            "id": row["id"], "name": row["name"], "version": row["version"], "bucket_id": row["bucket_id"],
            "size": metadata["size"], "content_type": metadata["mimetype"],
            "cache_control": metadata["cacheControl"], "etag": metadata["eTag"], "metadata": kept.noted,
            "last_modified": row["updated_at"], "created_at": row["created_at"],
        });
        Ok(json_answer(200, &body))
    }

    /// An object's whole row.
    pub(super) fn row_of(&self, object: &str) -> Result<Value, Refused> {
        let file = self.file_of(object)?;
        let content = fs::read(&file).map_err(|_| Refused::no_object())?;
        let (bucket, name) = object.split_once('/').unwrap_or_default();
        let at = file.metadata().and_then(|metadata| metadata.modified()).ok();
        let at = at.and_then(|at| Timestamp::try_from(at).ok()).unwrap_or_default();
        let found = Found { name: name.to_owned(), is_folder: false, bytes: content.len() as u64, at };
        let mut row = self.shown(&found, object, name);
        row["bucket_id"] = json!(bucket);
        row["owner"] = json!("");
        row["owner_id"] = json!("");
        row["version"] = json!(self.kept_of(object).version);
        row["metadata"]["eTag"] = json!(etag_of(&content));
        Ok(row)
    }

    /// A row of a list, under the name that the list gives it. A folder has no id.
    pub(super) fn shown(&self, row: &Found, object: &str, name: &str) -> Value {
        if row.is_folder {
            return json!({ "name": name, "id": null, "updated_at": null, "created_at": null,
                "last_accessed_at": null, "metadata": null });
        }
        let at = row.at.to_string();
        let (bucket, path) = object.split_once('/').unwrap_or_default();
        let kept = self.kept_of(object);
        json!({ "name": name, "id": id_of(bucket, path), "updated_at": at, "created_at": at, "last_accessed_at": at,
            "metadata": {
                "size": row.bytes, "mimetype": kept.mimetype, "cacheControl": kept.cache_control,
                "lastModified": at, "contentLength": row.bytes, "httpStatusCode": 200,
            } })
    }

    pub(super) fn new_token(&self) -> String {
        format!("eyJhbGciOiJIUzI1NiJ9.c2FuZGJveC1saW5r.{:016x}", self.next())
    }

    /// A link to one object, or, of a bucket, one for each that the body names.
    pub(super) async fn sign(&self, asked: Asked) -> Result<Answer, Refused> {
        let object = asked.rest.clone();
        let body = read_json(asked).await?;
        let seconds = body["expiresIn"].as_u64().filter(|seconds| *seconds > 0);
        let seconds =
            seconds.ok_or_else(|| Refused::new(400, "InvalidRequest", "body/expiresIn must be >= 1"))?;
        let Some(paths) = body["paths"].as_array().filter(|_| !object.contains('/')) else {
            return Ok(json_answer(200, &json!({ "signedURL": self.link(&object, seconds)? })));
        };
        self.folder_of(&object)?;
        let links = paths.iter().filter_map(Value::as_str).map(|path| {
            let link = self.link(&format!("{object}/{path}"), seconds).ok();
            let error =
                link.is_none().then_some("Either the object does not exist or you do not have access to it");
            json!({ "error": error, "path": path, "signedURL": link })
        });
        Ok(json_answer(200, &links.collect()))
    }

    /// Below the API's base. As at the real one it is no address yet: whoever uses it escapes what needs it.
    fn link(&self, object: &str, seconds: u64) -> Result<String, Refused> {
        if !self.file_of(object)?.is_file() {
            return Err(Refused::no_object());
        }
        let (token, until) = (self.new_token(), Instant::now() + Duration::from_secs(seconds));
        self.lock().links.insert(token.clone(), (object.to_owned(), until));
        Ok(format!("/object/sign/{}?token={token}", object.replace('?', "%3F").replace('#', "%23")))
    }

    /// The link is the right: no key is asked for.
    pub(super) fn signed(&self, asked: &Asked) -> Result<Answer, Refused> {
        let link = self.lock().links.get(&asked.parameter("token")).cloned();
        let bad = |message: &str| Err(Refused::new(400, "InvalidJWT", message));
        match link {
            Some((object, until)) if object == asked.rest && until > Instant::now() => {
                let mut answer = self.download(&object)?;
                if asked.has("download") {
                    let name = asked.parameter("download");
                    put(
                        &mut answer,
                        "content-disposition",
                        &format!("attachment; filename={name}; filename*=UTF-8''{name};"),
                    );
                }
                Ok(answer)
            }
            Some(_) => bad("\"exp\" claim timestamp check failed"),
            None => bad("signature verification failed"),
        }
    }
}
