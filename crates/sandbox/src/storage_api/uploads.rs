//! Resumable uploads, TUS 1.0.0. Errors are plain text with their true status, as the real endpoint's are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};

use super::objects::is_plain;
use super::{Answer, Asked, BASE, Front, typed};

/// Every chunk but the last has just this length.
const CHUNK: usize = 6 << 20;

/// A status and the text with it.
type Refusal = (u16, &'static str);

/// One that was begun.
#[derive(Debug, Default)]
pub(super) struct Upload {
    bucket: String,
    name: String,
    length: usize,
    content: Vec<u8>,
    replaces: bool,
    /// Somebody is sending just now.
    busy: bool,
    pub(super) expired: bool,
}

impl Front {
    pub(super) fn begin(&self, asked: &Asked) -> Answer {
        if let Some(refusal) = wrong_version(&asked.headers) {
            return refusal;
        }
        let metadata = text_of(&asked.headers, "upload-metadata");
        let value = |name: &str| {
            let pair = metadata.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix(' '))?;
            String::from_utf8(STANDARD.decode(pair).ok()?).ok()
        };
        let (Some(bucket), Some(name), Ok(length)) = (
            value("bucketName"),
            value("objectName").filter(|name| is_plain(name)),
            text_of(&asked.headers, "upload-length").parse(),
        ) else {
            return plain(400, "Upload-Length or Upload-Metadata is missing");
        };
        let Some(folder) = self.folder_of(&bucket) else { return plain(404, "Bucket not found") };
        let replaces = text_of(&asked.headers, "x-upsert") == "true";
        if !replaces && folder.join(&name).exists() {
            return plain(409, "The resource already exists");
        }
        let id = STANDARD.encode(format!("{bucket}/{name}/{}", self.next())).replace(['/', '+', '='], "-");
        let upload = Upload { bucket, name, length, replaces, ..Upload::default() };
        // Nothing is still to come of an empty one.
        if length == 0
            && let Err(refusal) = self.finish(&upload)
        {
            return plain(refusal.0, refusal.1);
        }
        self.lock().uploads.insert(id.clone(), upload);
        let mut answer = plain(201, "");
        // As it was called: there may be somebody in between.
        let host = text_of(&asked.headers, "host");
        put(&mut answer, "location", &format!("http://{host}{BASE}/upload/resumable/{id}"));
        answer
    }

    pub(super) fn offset(&self, asked: &Asked) -> Answer {
        match self.lock().uploads.get(&asked.rest) {
            None => plain(404, ""),
            Some(upload) if upload.expired => plain(410, ""),
            Some(upload) => {
                let mut answer = plain(200, "");
                put(&mut answer, "upload-offset", &upload.content.len().to_string());
                put(&mut answer, "upload-length", &upload.length.to_string());
                put(&mut answer, "cache-control", "no-store");
                answer
            }
        }
    }

    /// Takes a chunk at the offset where the last one ended. Of a chunk that breaks off, what came is kept.
    pub(super) async fn patch(&self, asked: Asked, only: Option<usize>) -> Answer {
        if let Some(refusal) = wrong_version(&asked.headers) {
            return refusal;
        }
        if text_of(&asked.headers, "content-type") != "application/offset+octet-stream" {
            return plain(415, "Content-Type must be application/offset+octet-stream");
        }
        let id = asked.rest.clone();
        let offset: Option<usize> = text_of(&asked.headers, "upload-offset").parse().ok();
        let announced: Option<usize> = text_of(&asked.headers, "content-length").parse().ok();
        if let Err(refusal) = self.take_up(&id, offset, announced) {
            return plain(refusal.0, refusal.1);
        }
        let piece = received(asked.body, only).await;
        let mut state = self.lock();
        let Some(upload) = state.uploads.get_mut(&id) else { return plain(404, "gone") };
        upload.busy = false;
        upload.content.extend(piece);
        let at = upload.content.len();
        if at == upload.length {
            let whole = std::mem::take(upload);
            drop(state);
            let finished = self.finish(&whole);
            self.lock().uploads.insert(id, whole);
            if let Err(refusal) = finished {
                return plain(refusal.0, refusal.1);
            }
        }
        let mut answer = plain(204, "");
        put(&mut answer, "upload-offset", &at.to_string());
        answer
    }

    /// One at a time, at the right offset, in chunks of the right length.
    fn take_up(&self, id: &str, offset: Option<usize>, announced: Option<usize>) -> Result<(), Refusal> {
        let mut state = self.lock();
        let upload = state.uploads.get_mut(id).ok_or((404, "The file for this url was not found"))?;
        if upload.expired {
            return Err((410, "The file for this url no longer exists"));
        }
        if upload.busy {
            return Err((423, "The upload is locked"));
        }
        if offset != Some(upload.content.len()) {
            return Err((409, "Upload-Offset conflict"));
        }
        let left = upload.length - upload.content.len();
        if announced != Some(left.min(CHUNK)) {
            return Err((400, "every chunk but the last has 6 MiB"));
        }
        upload.busy = true;
        Ok(())
    }

    fn finish(&self, upload: &Upload) -> Result<(), Refusal> {
        let Some(folder) = self.folder_of(&upload.bucket) else { return Err((404, "Bucket not found")) };
        let file = folder.join(&upload.name);
        if !upload.replaces && file.exists() {
            return Err((409, "The resource already exists"));
        }
        let written = file.parent().map_or(Ok(()), std::fs::create_dir_all);
        written
            .and_then(|()| std::fs::write(&file, &upload.content))
            .map_err(|_| (500, "the file cannot be written"))
    }
}

/// What came of a body, as long as it came; no more than `only`.
async fn received(mut body: Incoming, only: Option<usize>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        bytes.extend(frame.into_data().unwrap_or_default());
        if let Some(only) = only.filter(|only| bytes.len() >= *only) {
            bytes.truncate(only);
            break;
        }
    }
    bytes
}

fn wrong_version(headers: &HeaderMap) -> Option<Answer> {
    (text_of(headers, "tus-resumable") != "1.0.0").then(|| plain(412, "Tus-Resumable Required"))
}

fn text_of(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn plain(status: u16, text: &str) -> Answer {
    let mut answer = typed(status, "text/plain; charset=utf-8", text.to_owned().into());
    answer.headers_mut().insert("tus-resumable", HeaderValue::from_static("1.0.0"));
    answer
}

fn put(answer: &mut Answer, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}
