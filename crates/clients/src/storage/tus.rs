//! Resumable uploads, TUS 1.0.0: made once, filled in chunks at the server's offset.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use allclear_core::PortError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;

use super::{Result, checked, error};
use crate::http::{Call, Http, Reply};

/// What the server asks of every chunk but the last.
const CHUNK: usize = 6 << 20;
/// Logs, tables and reports: all are text.
pub(super) const TYPE: &str = "text/plain";
const VERSION: (&str, &str) = ("tus-resumable", "1.0.0");

/// Uploads that were begun, and whose end nobody has seen. They are known to this process only: another one begins anew, and
/// what was sent before expires at the server by itself.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    begun: Mutex<HashMap<String, Begun>>,
}

/// One of them.
#[derive(Debug, Clone)]
struct Begun {
    /// Its path below the API's base.
    path: String,
    sha256: String,
}

/// What is uploaded, and where to.
pub(super) struct Upload<'a> {
    pub(super) bucket: &'a str,
    pub(super) name: &'a str,
    pub(super) content: &'a [u8],
    pub(super) sha256: &'a str,
}

impl Uploads {
    /// Uploads, or goes on with an upload of the same content to the same place.
    pub(super) async fn upload(&self, http: &Http, upload: &Upload<'_>) -> Result<()> {
        let (path, offset) = match self.place_of(http, upload).await? {
            Some(place) => place,
            None => (self.begin(http, upload).await?, 0),
        };
        let sent = fill(http, upload, &path, offset).await;
        // One that is gone cannot be gone on with; of one whose answer was lost the server knows more than we.
        if matches!(sent, Ok(()) | Err(PortError::NotFound { .. } | PortError::AlreadyDone { .. })) {
            self.lock().remove(upload.name);
        }
        sent
    }

    /// Where an earlier upload of this content stands at the server; `None` where there is none, or it has expired.
    async fn place_of(&self, http: &Http, upload: &Upload<'_>) -> Result<Option<(String, usize)>> {
        let known = self.lock().get(upload.name).filter(|begun| begun.sha256 == upload.sha256).cloned();
        let Some(Begun { path, .. }) = known else { return Ok(None) };
        let call =
            Call::read(path.clone()).head().header(VERSION.0, VERSION.1).named("HEAD /upload/resumable");
        let reply = http.send(call).await?;
        // The answer to a HEAD has no body, so that the status is all there is.
        if matches!(reply.status, 404 | 410) {
            self.lock().remove(upload.name);
            return Ok(None);
        }
        if !reply.is_success() {
            return Err(error::classify(&reply));
        }
        let offset = offset_of(&reply).filter(|offset| *offset <= upload.content.len());
        let offset = offset.ok_or_else(|| reply.unusable("it does not say how much it has"))?;
        Ok(Some((path, offset)))
    }

    async fn begin(&self, http: &Http, upload: &Upload<'_>) -> Result<String> {
        let metadata = [
            ("bucketName", upload.bucket),
            ("objectName", upload.name),
            ("contentType", TYPE),
            ("cacheControl", "no-cache"),
        ]
        .map(|(name, value)| format!("{name} {}", STANDARD.encode(value)));
        let call = Call::sending(Method::POST, "/upload/resumable", Vec::new())
            .header(VERSION.0, VERSION.1)
            .header("upload-length", upload.content.len().to_string())
            .header("upload-metadata", metadata.join(","))
            .header("x-upsert", "false");
        let reply = checked(http, call).await?;
        let location = reply.header("location").and_then(|location| http.path_of_location(location));
        let Some(place) = location else {
            return Err(reply.unusable("it does not say where the upload is, or it is at another host"));
        };
        let path = place.path().to_owned();
        let begun = Begun { path: path.clone(), sha256: upload.sha256.to_owned() };
        self.lock().insert(upload.name.to_owned(), begun);
        Ok(path)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Begun>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends what the server does not have yet. Each chunk says at which offset it belongs, so none is taken twice.
async fn fill(http: &Http, upload: &Upload<'_>, path: &str, mut offset: usize) -> Result<()> {
    while offset < upload.content.len() {
        let end = upload.content.len().min(offset + CHUNK);
        let call = Call::sending(Method::PATCH, path, upload.content[offset..end].to_vec())
            .header(VERSION.0, VERSION.1)
            .header("upload-offset", offset.to_string())
            .header("content-type", "application/offset+octet-stream")
            .named("PATCH /upload/resumable");
        let reply = checked(http, call).await?;
        if offset_of(&reply) != Some(end) {
            return Err(reply.unusable("it does not say that it has the chunk"));
        }
        offset = end;
    }
    Ok(())
}

fn offset_of(reply: &Reply) -> Option<usize> {
    reply.header("upload-offset")?.parse().ok()
}
