//! An S3 server that costs next to nothing, so that a benchmark measures clients.
//!
//! It takes every signature, counts bodies and throws them away (manifests are kept, since a copy reads them), and answers each
//! request after a latency. No tool is served better than another.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

const MODIFIED: &str = "Wed, 01 Jan 2098 00:00:00 GMT";
const MODIFIED_ISO: &str = "2098-01-01T00:00:00.000Z";

#[derive(Debug, Clone, Default)]
struct Kept {
    size: u64,
    content: Option<Bytes>,
}

#[derive(Default)]
struct Shelf {
    objects: BTreeMap<String, Kept>,
    uploads: BTreeMap<String, u64>,
}

struct Shared {
    shelf: Mutex<Shelf>,
    latency: Duration,
}

/// Serves on a free port, which it prints. With a folder, its files are there already.
pub(crate) async fn serve(latency: Duration, folder: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let mut shelf = Shelf::default();
    for entry in folder.into_iter().flat_map(std::fs::read_dir).flatten() {
        let entry = entry?;
        let name = format!("backups/vouchers/{}", entry.file_name().to_string_lossy());
        shelf.objects.insert(name, Kept { size: entry.metadata()?.len(), content: None });
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let shared = Arc::new(Shared { shelf: Mutex::new(shelf), latency });
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let answer = hyper::service::service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(shared.answer(request).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        let query: BTreeMap<String, String> = request
            .uri()
            .query()
            .unwrap_or_default()
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (name.to_owned(), decoded(value)))
            .collect();
        let path = decoded(request.uri().path()).trim_start_matches('/').to_owned();
        let is_key = path.trim_end_matches('/').contains('/');
        let method = request.method().clone();
        let once = request.headers().contains_key("if-none-match");
        let keep = path.rsplit('/').next() == Some("manifest.jsonl");
        let length = request
            .headers()
            .get("x-amz-decoded-content-length")
            .and_then(|it| it.to_str().ok()?.parse().ok());
        let Ok((read, content)) = swallowed(request, keep).await else {
            return status(StatusCode::BAD_REQUEST);
        };
        let size = length.unwrap_or(read);
        let mut held = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        match method {
            Method::PUT if query.contains_key("uploadId") => {
                let upload = &query["uploadId"];
                *held.uploads.entry(upload.clone()).or_default() += size;
                etag(status(StatusCode::OK))
            }
            Method::PUT if is_key => {
                if once && held.objects.contains_key(&path) {
                    return status(StatusCode::PRECONDITION_FAILED);
                }
                held.objects.insert(path, Kept { size, content });
                etag(status(StatusCode::OK))
            }
            Method::POST if query.contains_key("uploads") => {
                let upload = format!("u{}", held.uploads.len());
                held.uploads.insert(upload.clone(), 0);
                let (bucket, key) = path.split_once('/').unwrap_or_default();
                xml(&format!(
                    "<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{key}</Key><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
                ))
            }
            Method::POST if query.contains_key("uploadId") => {
                let upload = &query["uploadId"];
                let size = held.uploads.get(upload).copied().unwrap_or_default();
                let (bucket, key) = path.split_once('/').unwrap_or_default();
                let answer = xml(&format!(
                    "<CompleteMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{key}</Key><ETag>\"e-1\"</ETag></CompleteMultipartUploadResult>"
                ));
                held.objects.insert(path, Kept { size, content: None });
                answer
            }
            Method::GET if query.contains_key("location") => xml("<LocationConstraint/>"),
            Method::GET if is_key => match held.objects.get(&path) {
                Some(Kept { content: Some(content), .. }) => {
                    described(Response::new(Full::new(content.clone())))
                }
                _ => missing(),
            },
            Method::GET => xml(&list(&held, path.trim_end_matches('/'), &query)),
            Method::HEAD if is_key => match held.objects.get(&path) {
                Some(kept) => {
                    let mut answer = described(status(StatusCode::OK));
                    answer.headers_mut().insert("content-length", kept.size.into());
                    answer
                }
                None => status(StatusCode::NOT_FOUND),
            },
            _ => status(StatusCode::OK),
        }
    }
}

async fn swallowed(request: Request<Incoming>, keep: bool) -> Result<(u64, Option<Bytes>), hyper::Error> {
    let mut body = request.into_body();
    if keep {
        let content = body.collect().await?.to_bytes();
        return Ok((content.len() as u64, Some(content)));
    }
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        size += frame?.data_ref().map_or(0, Bytes::len) as u64;
    }
    Ok((size, None))
}

/// Lists, of either version, with and without a delimiter.
fn list(shelf: &Shelf, bucket: &str, query: &BTreeMap<String, String>) -> String {
    let get = |name: &str| query.get(name).map_or("", String::as_str);
    let most: usize = get("max-keys").parse().unwrap_or(1_000).min(1_000);
    let (prefix, delimiter) = (format!("{bucket}/{}", get("prefix")), get("delimiter"));
    let after =
        ["continuation-token", "start-after", "marker"].into_iter().map(get).find(|it| !it.is_empty());
    let after = after.map(|after| format!("{bucket}/{after}"));
    let (mut text, mut count, mut last, mut more) = (String::new(), 0, String::new(), false);
    let mut folder = None::<String>;
    let from = after.clone().filter(|after| *after > prefix).unwrap_or_else(|| prefix.clone());
    for (path, kept) in shelf.objects.range(from..) {
        if !path.starts_with(&prefix) {
            break;
        }
        if after
            .as_ref()
            .is_some_and(|after| path <= after || (after.ends_with('/') && path.starts_with(after)))
        {
            continue;
        }
        let key = &path[bucket.len() + 1..];
        let rest = &path[prefix.len()..];
        let inside = (!delimiter.is_empty()).then(|| rest.find(delimiter)).flatten();
        let common = inside.map(|at| key[..=key.len() - rest.len() + at].to_owned());
        if common.is_some() && common == folder {
            continue;
        }
        if count == most {
            more = true;
            break;
        }
        count += 1;
        if let Some(common) = common {
            let _ = write!(text, "<CommonPrefixes><Prefix>{common}</Prefix></CommonPrefixes>");
            last.clone_from(&common);
            folder = Some(common);
        } else {
            let size = kept.size;
            let _ = write!(
                text,
                "<Contents><Key>{key}</Key><LastModified>{MODIFIED_ISO}</LastModified><ETag>\"e-1\"</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            );
            key.clone_into(&mut last);
        }
    }
    let next = if more {
        format!("<NextContinuationToken>{last}</NextContinuationToken><NextMarker>{last}</NextMarker>")
    } else {
        String::new()
    };
    format!(
        "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>{bucket}</Name><Prefix>{}</Prefix><KeyCount>{count}</KeyCount><MaxKeys>{most}</MaxKeys><IsTruncated>{more}</IsTruncated>{next}{text}</ListBucketResult>",
        get("prefix")
    )
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

fn etag(mut answer: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    // No MD5, and it does not look like one: so no tool compares it.
    answer.headers_mut().insert("etag", http::HeaderValue::from_static("\"e-1\""));
    answer
}

fn described(answer: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let mut answer = etag(answer);
    answer.headers_mut().insert("last-modified", http::HeaderValue::from_static(MODIFIED));
    answer
}

fn missing() -> Response<Full<Bytes>> {
    let mut answer = xml("<Error><Code>NoSuchKey</Code><Message>none</Message></Error>");
    *answer.status_mut() = StatusCode::NOT_FOUND;
    answer
}

fn xml(text: &str) -> Response<Full<Bytes>> {
    let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{text}");
    let mut answer = Response::new(Full::from(text));
    answer.headers_mut().insert("content-type", http::HeaderValue::from_static("application/xml"));
    answer
}
