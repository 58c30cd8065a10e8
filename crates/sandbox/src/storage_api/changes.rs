//! What changes objects: uploads, moves, copies, removals.

use std::fs;
use std::path::PathBuf;

use axum::body::Body;
use axum::extract::{FromRequest as _, Multipart, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::objects::id_of;
use super::{Answer, Asked, Front, Refused, header_of, json_answer, read_json};

/// What is known of an object beside its content.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) mimetype: String,
    pub(super) cache_control: String,
    pub(super) version: Uuid,
    /// What its owner noted.
    pub(super) noted: Value,
}

/// A new object, before it is stored.
#[derive(Debug, Clone)]
pub(super) struct New {
    pub(super) mimetype: String,
    pub(super) cache_control: String,
    pub(super) noted: Value,
    pub(super) content: Vec<u8>,
}

impl New {
    /// A body is the content, or a form that has it in a part without a name.
    async fn read(asked: Asked) -> Result<Self, Refused> {
        let unreadable = || Refused::new(400, "InvalidRequest", "the body breaks off");
        let mimetype = header_of(&asked.headers, "content-type").to_owned();
        if !mimetype.starts_with("multipart/form-data") {
            let cache_control = header_of(&asked.headers, "cache-control").to_owned();
            let noted = STANDARD.decode(header_of(&asked.headers, "x-metadata")).ok();
            let noted = noted.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
            let content = asked.body.collect().await.map_err(|_| unreadable())?.to_bytes().to_vec();
            let mimetype = if mimetype.is_empty() { "application/octet-stream".to_owned() } else { mimetype };
            return Ok(Self { mimetype, cache_control, noted, content });
        }
        let mut request = Request::new(Body::new(asked.body));
        *request.headers_mut() = asked.headers;
        let mut parts = Multipart::from_request(request, &()).await.map_err(|_| unreadable())?;
        let mut new = Self {
            mimetype: String::new(),
            cache_control: "no-cache".to_owned(),
            noted: Value::Null,
            content: Vec::new(),
        };
        while let Some(part) = parts.next_field().await.map_err(|_| unreadable())? {
            let (name, kind) =
                (part.name().unwrap_or_default().to_owned(), part.content_type().map(str::to_owned));
            let bytes = part.bytes().await.map_err(|_| unreadable())?;
            match name.as_str() {
                "cacheControl" => new.cache_control = format!("max-age={}", String::from_utf8_lossy(&bytes)),
                "metadata" => new.noted = serde_json::from_slice(&bytes).unwrap_or_default(),
                "" => {
                    new.mimetype = kind.unwrap_or_else(|| "application/octet-stream".to_owned());
                    new.content = bytes.to_vec();
                }
                _ => {}
            }
        }
        Ok(new)
    }
}

/// Whether an object may, or must, be there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    Absent,
    Any,
    There,
}

impl Before {
    pub(super) fn asked(asked: &Asked) -> Self {
        if header_of(&asked.headers, "x-upsert") == "true" { Self::Any } else { Self::Absent }
    }
}

impl Front {
    pub(super) async fn upload(&self, asked: Asked, before: Before) -> Result<Answer, Refused> {
        let object = asked.rest.clone();
        let new = New::read(asked).await?;
        let id = self.store(&object, new, before)?;
        Ok(json_answer(200, &json!({ "Key": object, "Id": id })))
    }

    /// Where an object's file is, whether it is there or not.
    pub(super) fn file_of(&self, object: &str) -> Result<PathBuf, Refused> {
        let (bucket, name) = object.split_once('/').unwrap_or((object, ""));
        let folder = self.folder_of(bucket)?;
        let is_plain = !name.split('/').any(|part| matches!(part, "" | "." | ".."));
        if !is_plain {
            return Err(Refused::new(400, "InvalidKey", format!("Invalid key: {name}")));
        }
        Ok(folder.join(name))
    }

    /// Puts an object into its bucket; returns its id.
    pub(super) fn store(&self, object: &str, new: New, before: Before) -> Result<Uuid, Refused> {
        let file = self.file_of(object)?;
        let (bucket, name) = object.split_once('/').unwrap_or_default();
        self.settings_of(bucket).check(&new.mimetype, new.content.len())?;
        match (before, file.is_file()) {
            (Before::Absent, true) => return Err(Refused::already_there()),
            (Before::There, false) => return Err(Refused::no_object()),
            _ => {}
        }
        let written = file.parent().map_or(Ok(()), fs::create_dir_all);
        written.and_then(|()| fs::write(&file, &new.content)).map_err(|error| Refused::broken(&error))?;
        let version = self.new_version();
        let New { mimetype, cache_control, noted, .. } = new;
        self.lock().kept.insert(object.to_owned(), Kept { mimetype, cache_control, version, noted });
        Ok(id_of(bucket, name))
    }

    fn new_version(&self) -> Uuid {
        Uuid::new_v5(&Uuid::NAMESPACE_OID, &self.next().to_be_bytes())
    }

    /// A link that somebody without a key may upload one object by.
    pub(super) fn sign_upload(&self, asked: &Asked) -> Result<Answer, Refused> {
        let object = &asked.rest;
        let (file, before) = (self.file_of(object)?, Before::asked(asked));
        if before == Before::Absent && file.is_file() {
            return Err(Refused::already_there());
        }
        let token = self.new_token();
        self.lock().upload_links.insert(token.clone(), (object.clone(), before));
        let url = format!("/object/upload/sign/{object}?token={token}");
        Ok(json_answer(200, &json!({ "url": url, "token": token })))
    }

    pub(super) async fn signed_upload(&self, asked: Asked) -> Result<Answer, Refused> {
        let link = self.lock().upload_links.get(&asked.parameter("token")).cloned();
        let object = asked.rest.clone();
        // Read first, as a real server does.
        let new = New::read(asked).await?;
        let before = match link {
            Some((linked, before)) if linked == object => before,
            _ => return Err(Refused::new(400, "InvalidJWT", "signature verification failed")),
        };
        self.store(&object, new, before)?;
        Ok(json_answer(200, &json!({ "Key": object })))
    }

    pub(super) async fn move_object(&self, asked: Asked) -> Result<Answer, Refused> {
        let (from, to) = Self::both(&read_json(asked).await?)?;
        let (source, target) = self.check_both(&from, &to)?;
        fs::rename(source, target).map_err(|error| Refused::broken(&error))?;
        let mut state = self.lock();
        if let Some(kept) = state.kept.remove(&from) {
            state.kept.insert(to, kept);
        }
        Ok(json_answer(200, &json!({ "message": "Successfully moved" })))
    }

    pub(super) async fn copy_object(&self, asked: Asked) -> Result<Answer, Refused> {
        let before = Before::asked(&asked);
        let (from, to) = Self::both(&read_json(asked).await?)?;
        if before == Before::Absent {
            self.check_both(&from, &to)?;
        }
        let content = fs::read(self.file_of(&from)?).map_err(|_| Refused::no_object())?;
        let kept = self.kept_of(&from);
        let new =
            New { mimetype: kept.mimetype, cache_control: kept.cache_control, noted: kept.noted, content };
        let id = self.store(&to, new, before)?;
        Ok(json_answer(200, &json!({ "Key": to, "Id": id })))
    }

    /// The object that a move or a copy begins with, and the one that it comes to.
    fn both(body: &Value) -> Result<(String, String), Refused> {
        let text = |name: &str| {
            let message = format!("body must have required property '{name}'");
            body[name].as_str().ok_or_else(|| Refused::new(400, "InvalidRequest", message))
        };
        let bucket = text("bucketId")?;
        let other = body["destinationBucket"].as_str().unwrap_or(bucket);
        Ok((format!("{bucket}/{}", text("sourceKey")?), format!("{other}/{}", text("destinationKey")?)))
    }

    fn check_both(&self, from: &str, to: &str) -> Result<(PathBuf, PathBuf), Refused> {
        let (source, target) = (self.file_of(from)?, self.file_of(to)?);
        if !source.is_file() {
            return Err(Refused::no_object());
        }
        if target.exists() {
            return Err(Refused::already_there());
        }
        target.parent().map_or(Ok(()), fs::create_dir_all).map_err(|error| Refused::broken(&error))?;
        Ok((source, target))
    }

    /// Of a bucket, the objects that a body names; or the one in the path. What is not there is not in the answer.
    pub(super) async fn remove(&self, asked: Asked) -> Result<Answer, Refused> {
        let rest = asked.rest.clone();
        if rest.contains('/') {
            let row = self.remove_one(&rest)?;
            return row
                .map(|_| json_answer(200, &json!({ "message": "Successfully deleted" })))
                .ok_or_else(Refused::no_object);
        }
        let body = read_json(asked).await?;
        let names = body["prefixes"].as_array().filter(|names| !names.is_empty());
        let names = names.ok_or_else(|| {
            Refused::new(400, "InvalidRequest", "body must have required property 'prefixes'")
        })?;
        self.folder_of(&rest)?;
        let mut gone = Vec::new();
        for name in names.iter().filter_map(Value::as_str) {
            gone.extend(self.remove_one(&format!("{rest}/{name}"))?);
        }
        Ok(json_answer(200, &Value::Array(gone)))
    }

    /// The row of what is gone now; `None` where nothing was.
    fn remove_one(&self, object: &str) -> Result<Option<Value>, Refused> {
        let file = self.file_of(object)?;
        if !file.is_file() {
            return Ok(None);
        }
        let row = self.row_of(object)?;
        fs::remove_file(&file).map_err(|error| Refused::broken(&error))?;
        self.lock().kept.remove(object);
        // A folder is there only as long as something lies in it.
        let bucket = self.folder_of(object.split('/').next().unwrap_or_default())?;
        for folder in file.ancestors().skip(1).take_while(|folder| *folder != bucket) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(Some(row))
    }
}
