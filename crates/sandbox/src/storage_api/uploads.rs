//! Resumable uploads, TUS 1.0.0. Errors are plain text with their true status, as the real endpoint's are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};

use super::changes::{Before, New};
use super::{Answer, Asked, BASE, Front, Refused, drain, put, typed};

/// Every chunk but the last has just this length.
const CHUNK: usize = 6 << 20;

/// A status and the text with it.
type Refusal = (u16, &'static str);

/// The type of a chunk.
const OCTETS: &str = "application/offset+octet-stream";

/// One that was begun.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    object: String,
    length: usize,
    before: Before,
    new: New,
    /// Somebody is sending just now.
    busy: bool,
    pub(super) expired: bool,
}

impl Front {
    /// Begins an upload; with data, it is its first chunk.
    pub(super) async fn begin(&self, asked: Asked, only: Option<usize>) -> Answer {
        let carries_data = text_of(&asked.headers, "content-type") == OCTETS;
        let announced: Option<usize> = text_of(&asked.headers, "content-length").parse().ok();
        let (id, location) = match self.make_room(&asked) {
            Ok(made) => made,
            Err((status, text)) => {
                drain(asked.body).await;
                return plain(status, text);
            }
        };
        let mut answer = plain(201, "");
        put(&mut answer, "location", &location);
        if carries_data {
            match self.take_chunk(&id, Some(0), announced, asked.body, only).await {
                Ok(at) => put(&mut answer, "upload-offset", &at.to_string()),
                Err((status, text)) => return plain(status, text),
            }
        }
        answer
    }

    /// A new upload's id and address.
    fn make_room(&self, asked: &Asked) -> Result<(String, String), Refusal> {
        check_version(&asked.headers)?;
        let metadata = text_of(&asked.headers, "upload-metadata");
        let value = |name: &str| {
            let pair = metadata.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix(' '))?;
            String::from_utf8(STANDARD.decode(pair).ok()?).ok()
        };
        let (Some(bucket), Some(name), Ok(length)) =
            (value("bucketName"), value("objectName"), text_of(&asked.headers, "upload-length").parse())
        else {
            return Err((400, "Upload-Length or Upload-Metadata is missing"));
        };
        let object = format!("{bucket}/{name}");
        let before = Before::asked(asked);
        let file = self.file_of(&object).map_err(|refused| plainly(&refused))?;
        if before == Before::Absent && file.exists() {
            return Err((409, "The resource already exists"));
        }
        let mimetype = value("contentType").unwrap_or_else(|| "application/octet-stream".to_owned());
        self.settings_of(&bucket).check(&mimetype, length).map_err(|refused| plainly(&refused))?;
        let cache_control =
            value("cacheControl").map_or("no-cache".to_owned(), |seconds| format!("max-age={seconds}"));
        let noted = value("metadata").and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let id = STANDARD.encode(format!("{object}/{}", self.next())).replace(['/', '+', '='], "-");
        let upload = Upload {
            object,
            length,
            before,
            new: New { mimetype, cache_control, noted, content: Vec::new() },
            busy: false,
            expired: false,
        };
        // Nothing is still to come of an empty one.
        if length == 0 {
            self.finish(&upload)?;
        }
        self.lock().uploads.insert(id.clone(), upload);
        // As it was called: there may be somebody in between.
        let host = text_of(&asked.headers, "host");
        let location = format!("http://{host}{BASE}/upload/resumable/{id}");
        Ok((id, location))
    }

    /// Forgets an upload; a finished one cannot be given up.
    pub(super) fn give_up(&self, asked: &Asked) -> Answer {
        if let Err((status, text)) = check_version(&asked.headers) {
            return plain(status, text);
        }
        let mut state = self.lock();
        match state.uploads.get(&asked.rest) {
            None => plain(404, "The file for this url was not found"),
            Some(upload) if upload.new.content.len() == upload.length => {
                plain(400, "Cannot terminate an already completed upload")
            }
            Some(_) => {
                state.uploads.remove(&asked.rest);
                plain(204, "")
            }
        }
    }

    pub(super) fn offset(&self, asked: &Asked) -> Answer {
        match self.lock().uploads.get(&asked.rest) {
            None => plain(404, ""),
            Some(upload) if upload.expired => plain(410, ""),
            Some(upload) => {
                let mut answer = plain(200, "");
                put(&mut answer, "upload-offset", &upload.new.content.len().to_string());
                put(&mut answer, "upload-length", &upload.length.to_string());
                put(&mut answer, "cache-control", "no-store");
                answer
            }
        }
    }

    /// Takes a chunk at the offset where the last one ended. Of a chunk that breaks off, what came is kept.
    pub(super) async fn patch(&self, asked: Asked, only: Option<usize>) -> Answer {
        let offset: Option<usize> = text_of(&asked.headers, "upload-offset").parse().ok();
        let announced: Option<usize> = text_of(&asked.headers, "content-length").parse().ok();
        let right =
            check_version(&asked.headers).and_then(|()| match text_of(&asked.headers, "content-type") {
                kind if kind == OCTETS => Ok(()),
                _ => Err((415, "Content-Type must be application/offset+octet-stream")),
            });
        let taken = match right {
            Ok(()) => self.take_chunk(&asked.rest, offset, announced, asked.body, only).await,
            Err(refusal) => {
                drain(asked.body).await;
                Err(refusal)
            }
        };
        match taken {
            Ok(at) => {
                let mut answer = plain(204, "");
                put(&mut answer, "upload-offset", &at.to_string());
                answer
            }
            Err((status, text)) => plain(status, text),
        }
    }

    /// Returns where the upload stands then.
    async fn take_chunk(
        &self,
        id: &str,
        offset: Option<usize>,
        announced: Option<usize>,
        body: Incoming,
        only: Option<usize>,
    ) -> Result<usize, Refusal> {
        if let Err(refusal) = self.take_up(id, offset, announced) {
            drain(body).await;
            return Err(refusal);
        }
        let piece = received(body, only).await;
        let mut state = self.lock();
        let upload = state.uploads.get_mut(id).ok_or((404, "gone"))?;
        upload.busy = false;
        upload.new.content.extend(piece);
        let at = upload.new.content.len();
        if at == upload.length {
            let whole = upload.clone();
            drop(state);
            self.finish(&whole)?;
        }
        Ok(at)
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
        if offset != Some(upload.new.content.len()) {
            return Err((409, "Upload-Offset conflict"));
        }
        let left = upload.length - upload.new.content.len();
        if announced != Some(left.min(CHUNK)) {
            return Err((400, "every chunk but the last has 6 MiB"));
        }
        upload.busy = true;
        Ok(())
    }

    fn finish(&self, upload: &Upload) -> Result<(), Refusal> {
        self.store(&upload.object, upload.new.clone(), upload.before)
            .map(drop)
            .map_err(|refused| plainly(&refused))
    }
}

/// As the resumable endpoint says it.
fn plainly(refused: &Refused) -> Refusal {
    match refused.code {
        "NoSuchBucket" => (404, "Bucket not found"),
        "KeyAlreadyExists" => (409, "The resource already exists"),
        "InvalidMimeType" => (415, "mime type is not supported"),
        "EntityTooLarge" => (413, "Maximum size exceeded"),
        "InvalidKey" => (400, "Invalid key"),
        _ => (500, "the file cannot be written"),
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

fn check_version(headers: &HeaderMap) -> Result<(), Refusal> {
    if text_of(headers, "tus-resumable") == "1.0.0" { Ok(()) } else { Err((412, "Tus-Resumable Required")) }
}

fn text_of(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn plain(status: u16, text: &str) -> Answer {
    let mut answer = typed(status, "text/plain; charset=utf-8", text.to_owned().into());
    answer.headers_mut().insert("tus-resumable", HeaderValue::from_static("1.0.0"));
    answer
}
