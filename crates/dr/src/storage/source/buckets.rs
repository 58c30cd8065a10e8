//! Objects of an S3 server.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use allclear_core::error::InvalidValue;
use allclear_core::{Clock, PortError, Service};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body_util::BodyExt as _;
use object_store::client::{HttpRequest, HttpResponse};
use sha2::{Digest as _, Sha256};

use super::listing::{self, Page};
use super::{Listed, Pool, Read, Unread};
use crate::storage::failure::Failure;
use crate::storage::settings::S3Access;
use crate::storage::sign;
use crate::storage::transport::Transport;

/// A body that breaks off is asked for again this often; the transport itself retries up to the headers.
const BODY_ATTEMPTS: usize = 4;
/// How long a body may stand still.
const STILL: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(super) struct Buckets {
    pub(super) names: Vec<String>,
    access: S3Access,
    base: Uri,
    transport: Transport,
    clock: Arc<dyn Clock>,
    pool: Pool,
}

impl Buckets {
    pub(super) fn new(
        access: S3Access,
        names: Vec<String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, InvalidValue> {
        let base = access.base()?;
        let transport = Transport::new(base.scheme_str() == Some("https"))?;
        Ok(Self { names, access, base, transport, clock, pool: Pool::default() })
    }

    fn request(&self, method: Method, bucket: u16, key: &str, query: &[(&str, &str)]) -> HttpRequest {
        let place = (self.names[usize::from(bucket)].as_str(), key);
        sign::read(&self.access, &self.base, method, place, query, self.clock.now())
    }

    /// `GET /{bucket}?list-type=2`, page by page, all buckets at once.
    pub(super) async fn list(&self) -> Result<Vec<Listed>, PortError> {
        let buckets: Vec<_> = (0..self.names.len()).map(|bucket| self.list_bucket(bucket as u16)).collect();
        Ok(futures_util::future::try_join_all(buckets).await?.concat())
    }

    async fn list_bucket(&self, bucket: u16) -> Result<Vec<Listed>, PortError> {
        let call = format!("list bucket {}", self.names[usize::from(bucket)]);
        let (mut listed, mut token) = (Vec::new(), None::<String>);
        loop {
            let mut query = vec![("list-type", "2"), ("max-keys", "1000")];
            if let Some(token) = &token {
                query.insert(0, ("continuation-token", token));
            }
            let request = self.request(Method::GET, bucket, "", &query);
            let answer =
                self.transport.send(request).await.map_err(|failure| failure.into_port(&call, false))?;
            let text = whole_text(answer).await.map_err(|detail| malformed(&call, detail))?;
            let page = listing::parse(&text).map_err(|detail| malformed(&call, detail))?;
            let Page { objects, next } = page;
            listed.extend(objects.into_iter().map(|object| Listed {
                bucket,
                name: object.key.into(),
                size: object.size,
                version: object.etag.map(|etag| bare(&etag)),
            }));
            match next {
                Some(next) if token.as_ref() == Some(&next) => {
                    return Err(malformed(&call, "the list goes round in circles".to_owned()));
                }
                Some(next) => token = Some(next),
                None => return Ok(listed),
            }
        }
    }

    /// `GET /{bucket}/{key}`: one answer is of one version, whichever that is by now.
    pub(super) async fn read_small(&self, listed: Listed, limit: u64) -> Result<Read, Unread> {
        let call = self.call_of(&listed);
        let mut broke = String::new();
        for _ in 0..BODY_ATTEMPTS {
            let answer = self.get(&listed, None).await?;
            let now = described(&listed, answer.headers());
            let changed = now.is_other_than(&listed);
            if now.size != listed.size && now.version == listed.version && now.version.is_some() {
                let detail =
                    format!("{} bytes, and the list says {} of the same ETag", now.size, listed.size);
                return Err(Unread::Failed(malformed(&call, detail)));
            }
            if now.size > limit {
                return Err(Unread::Grown(now));
            }
            match body_into(answer, Vec::with_capacity(now.size as usize)).await {
                Ok(content) if content.len() as u64 == now.size => {
                    let sha256 = Sha256::digest(&content).into();
                    return Ok(Read { listed: now, content: content.into(), sha256, changed });
                }
                Ok(content) => broke = format!("{} of {} bytes", content.len(), now.size),
                Err(why) => broke = why,
            }
        }
        Err(Unread::Failed(Self::broken(call, &broke)))
    }

    /// `HEAD /{bucket}/{key}`.
    pub(super) async fn head(&self, listed: &Listed) -> Result<Listed, Unread> {
        let request = self.request(Method::HEAD, listed.bucket, &listed.name, &[]);
        let call = self.call_of(listed);
        let answer = self
            .transport
            .send(request)
            .await
            .map_err(|failure| Unread::Failed(failure.into_port(&call, false)))?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Err(Unread::Vanished);
        }
        Ok(described(listed, answer.headers()))
    }

    /// `GET` with `Range` and `If-Match`.
    pub(super) async fn read_part(&self, of: &Listed, range: Range<u64>) -> Result<Bytes, Unread> {
        let (call, length) = (self.call_of(of), range.end - range.start);
        let mut broke = String::new();
        for _ in 0..BODY_ATTEMPTS {
            let answer = self.get(of, Some(&range)).await?;
            let total = answer.headers().get("content-range").and_then(|value| value.to_str().ok());
            let expected = format!("bytes {}-{}/{}", range.start, range.end - 1, of.size);
            if answer.status() != StatusCode::PARTIAL_CONTENT || total != Some(expected.as_str()) {
                let said = total.unwrap_or("no Content-Range");
                return Err(Unread::Failed(malformed(&call, format!("asked for {expected}, got {said}"))));
            }
            match body_into(answer, self.pool.take(length as usize)).await {
                Ok(content) if content.len() as u64 == length => return Ok(self.pool.lend(content)),
                Ok(content) => broke = format!("{} of {length} bytes", content.len()),
                Err(why) => broke = why,
            }
        }
        Err(Unread::Failed(Self::broken(call, &broke)))
    }

    async fn get(&self, listed: &Listed, range: Option<&Range<u64>>) -> Result<HttpResponse, Unread> {
        let mut request = self.request(Method::GET, listed.bucket, &listed.name, &[]);
        if let Some(range) = range {
            let text = format!("bytes={}-{}", range.start, range.end - 1);
            request.headers_mut().insert("range", HeaderValue::from_str(&text).expect("digits"));
            let version = listed
                .version
                .as_deref()
                .and_then(|version| HeaderValue::from_str(&format!("\"{version}\"")).ok());
            if let Some(version) = version {
                request.headers_mut().insert("if-match", version);
            }
        }
        let sent = self.transport.send(request).await;
        let answer =
            sent.map_err(|failure: Failure| Unread::Failed(failure.into_port(&self.call_of(listed), false)))?;
        match answer.status() {
            StatusCode::NOT_FOUND => Err(Unread::Vanished),
            StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE => Err(Unread::Changed),
            _ => Ok(answer),
        }
    }

    fn call_of(&self, listed: &Listed) -> String {
        let name: String = listed.name.escape_debug().take(200).collect();
        format!("read {name} in bucket {}", self.names[usize::from(listed.bucket)])
    }

    fn broken(call: String, why: &str) -> PortError {
        let detail = format!("its content broke off {BODY_ATTEMPTS} times, last after {why}");
        PortError::Unavailable { service: Service::ObjectStore, call, detail }
    }
}

/// What the headers say of the object.
fn described(listed: &Listed, headers: &HeaderMap) -> Listed {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let size = text("content-length").and_then(|size| size.parse().ok()).unwrap_or(listed.size);
    Listed { size, version: text("etag").map(bare), ..listed.clone() }
}

/// Lists and headers do not agree on whether an ETag stands in quotes.
fn bare(etag: &str) -> Box<str> {
    etag.trim_matches('"').into()
}

async fn body_into(answer: HttpResponse, mut buffer: Vec<u8>) -> Result<Vec<u8>, String> {
    buffer.clear();
    let mut stream = answer.into_body().bytes_stream();
    loop {
        match tokio::time::timeout(STILL, stream.try_next()).await {
            Ok(Ok(Some(piece))) => buffer.extend_from_slice(&piece),
            Ok(Ok(None)) => return Ok(buffer),
            Ok(Err(error)) => return Err(format!("{} bytes ({error})", buffer.len())),
            Err(_) => return Err(format!("{} bytes, when nothing came for a minute", buffer.len())),
        }
    }
}

async fn whole_text(answer: HttpResponse) -> Result<String, String> {
    let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
    String::from_utf8(body.to_bytes().to_vec()).map_err(|_| "not UTF-8".to_owned())
}

fn malformed(call: &str, detail: String) -> PortError {
    PortError::Malformed { service: Service::ObjectStore, call: call.to_owned(), detail }
}
