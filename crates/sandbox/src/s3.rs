//! An S3 server in process, for drills and tests: `s3s` over a folder on disk, on loopback, with keys.
//!
//! In front of it stands a thin layer that keeps a log of what arrived, adds latency, and goes wrong on demand. The log is what
//! tests believe: it was written by the server's side, not by the client that is tested.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::loopback::{self, Cut};

/// The id of the only access key.
pub const ACCESS_KEY: &str = "AKIDSANDBOX";
/// The secret of the only access key.
pub const SECRET_KEY: &str = "sandbox-s3-secret";
/// The region that requests are signed for.
pub const REGION: &str = "us-east-1";

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// `PUT /bucket/key`.
    Put,
    /// `POST ?uploads`.
    BeginUpload,
    /// `PUT ?partNumber=&uploadId=`.
    PutPart,
    /// `POST ?uploadId=`.
    CompleteUpload,
    /// `DELETE ?uploadId=`.
    AbortUpload,
    /// Any other `DELETE`, and `POST ?delete`.
    Delete,
    /// `GET /bucket/key`.
    Get,
    /// `HEAD`.
    Head,
    /// `GET ?list-type=2`.
    List,
    /// Anything else.
    Other,
}

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// The connection is cut before anything happens.
    CutBefore,
    /// It happens, and the connection is cut before the answer.
    CutAfter,
    /// The answer's body breaks off in the middle.
    CutInBody,
    /// The answer's body is shorter, and its length says so too.
    Shortened,
    /// One bit of the request's body arrives as another one.
    FlippedBit,
    /// It is refused with this status and code, and `Retry-After` where seconds are given.
    Refused {
        /// The HTTP status.
        status: u16,
        /// S3's code.
        code: &'static str,
        /// Seconds in `Retry-After`.
        retry_after: Option<u64>,
    },
}

/// A fault that is waiting for its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Fault {
    /// Which requests it waits for.
    pub call: Call,
    /// How many of them pass before it strikes.
    pub after: usize,
    /// How many it strikes.
    pub times: usize,
    /// How.
    pub wrong: Wrong,
}

/// A request that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// What it asked for.
    pub call: Call,
    /// Its path, as it came.
    pub path: String,
    /// The status it was answered with; `None` where the connection was cut.
    pub status: Option<u16>,
}

#[derive(Debug, Default)]
struct State {
    latency: Duration,
    faults: Vec<S3Fault>,
    under_way: usize,
    arrived: Vec<Arrived>,
    uploads: Uploads,
}

/// What each part of an upload was answered with, by upload and number; `None` where the answer had no ETag.
type Uploads = BTreeMap<String, BTreeMap<String, Option<String>>>;

/// The running server. It stops, with all its connections, when it is dropped.
#[derive(Debug)]
pub struct S3Server {
    port: u16,
    folder: PathBuf,
    state: Arc<Mutex<State>>,
    running: JoinHandle<Infallible>,
}

impl S3Server {
    /// Serves the folder on loopback; its folders are the buckets. Port 0 takes a free one.
    pub async fn start(folder: &Path, port: u16) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let files = FileSystem::new(folder).map_err(|error| io::Error::other(format!("{error:?}")))?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let port = listener.local_addr()?.port();
        let state = Arc::<Mutex<State>>::default();
        let front = Front { state: Arc::clone(&state), service: builder.build(), folder: folder.to_owned() };
        let running = tokio::spawn(front.serve(listener));
        Ok(Self { port, folder: folder.to_owned(), state, running })
    }

    /// Where it is.
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The folder that it serves.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a bucket; one that is there already is left alone.
    pub fn make_bucket(&self, name: &str) -> io::Result<()> {
        std::fs::create_dir_all(self.folder.join(name))
    }

    /// Every request takes this much longer.
    pub fn slow_down_by(&self, latency: Duration) {
        lock(&self.state).latency = latency;
    }

    /// Lets something go wrong. Faults for the same calls strike one after another.
    pub fn break_on(&self, fault: S3Fault) {
        lock(&self.state).faults.push(fault);
    }

    /// No more faults.
    pub fn mend(&self) {
        lock(&self.state).faults.clear();
    }

    /// Everything that arrived, in order of its end.
    pub fn arrived(&self) -> Vec<Arrived> {
        lock(&self.state).arrived.clone()
    }

    /// Requests that are being answered. Those of a client that hung up count as well: they still take effect.
    pub fn under_way(&self) -> usize {
        lock(&self.state).under_way
    }

    /// Forgets what arrived.
    pub fn forget(&self) {
        lock(&self.state).arrived.clear();
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone)]
struct Front {
    state: Arc<Mutex<State>>,
    service: S3Service,
    folder: PathBuf,
}

impl Front {
    async fn serve(self, listener: TcpListener) -> Infallible {
        let answer = move |request| {
            let front = self.clone();
            async move { front.answer(request).await }
        };
        loopback::serve(listener, answer).await
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let (call, path) = (call_of(request.method(), request.uri()), request.uri().path().to_owned());
        let (latency, wrong) = {
            let mut state = lock(&self.state);
            state.under_way += 1;
            (state.latency, strike(&mut state.faults, call))
        };
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let answer = self.answer_or_not(call, request, wrong).await;
        let status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
        let mut state = lock(&self.state);
        state.under_way -= 1;
        state.arrived.push(Arrived { call, path, status });
        answer
    }

    async fn answer_or_not(
        &self,
        call: Call,
        request: Request<Incoming>,
        wrong: Option<Wrong>,
    ) -> Result<Response<Body>, Cut> {
        match wrong {
            None => Ok(self.ask_for(call, request).await),
            Some(Wrong::CutBefore) => Err(Cut),
            Some(Wrong::CutAfter) => {
                let _ = self.ask(request.map(s3s::Body::from)).await;
                Err(Cut)
            }
            Some(Wrong::CutInBody) => Ok(cut_in_body(self.ask(request.map(s3s::Body::from)).await).await),
            Some(Wrong::Shortened) => Ok(shortened(self.ask(request.map(s3s::Body::from)).await).await),
            Some(Wrong::FlippedBit) => Ok(self.ask(flipped(request).await.map_err(|_| Cut)?).await),
            Some(Wrong::Refused { status, code, retry_after }) => {
                // Read first, as a real server does: who answers early and closes takes the answer back.
                let _ = request.into_body().collect().await;
                Ok(refusal(status, code, retry_after))
            }
        }
    }

    /// `s3s-fs` says AccessDenied of an upload that it does not know; S3 says that there is none. Its lists of parts come as the
    /// folder has them; S3's by number.
    async fn ask_for(&self, call: Call, request: Request<Incoming>) -> Response<Body> {
        let request = if call == Call::CompleteUpload {
            match self.checked(request).await {
                Ok(request) => request,
                Err(code) => return refusal(400, code, None),
            }
        } else {
            request.map(s3s::Body::from)
        };
        let lists_parts = call == Call::Get && query_of(request.uri(), "uploadId").is_some();
        let answer = self.ask(request).await;
        if lists_parts && answer.status().is_success() {
            return in_order(answer).await;
        }
        let of_an_upload = matches!(call, Call::PutPart | Call::CompleteUpload | Call::AbortUpload);
        if !of_an_upload || answer.status() != StatusCode::FORBIDDEN {
            return answer;
        }
        let (headers, status, text) = taken_apart(answer).await;
        if text.windows(12).any(|some| some == b"AccessDenied") {
            return refusal(404, "NoSuchUpload", None);
        }
        let mut answer = Response::new(whole(text));
        (*answer.headers_mut(), *answer.status_mut()) = (headers, status);
        answer
    }

    /// `s3s-fs` puts together whatever parts there are; S3 looks whether they are the ones that the list says.
    async fn checked(&self, request: Request<Incoming>) -> Result<Request<s3s::Body>, &'static str> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await.map_err(|_| "IncompleteBody")?.to_bytes();
        let known =
            query_of(&parts.uri, "uploadId").and_then(|id| lock(&self.state).uploads.get(&id).cloned());
        if let Some(known) = known {
            check_parts(&known, &String::from_utf8_lossy(&bytes))?;
        }
        Ok(Request::from_parts(parts, s3s::Body::from(bytes.to_vec())))
    }

    /// Remembers what a part was answered with.
    fn remember(&self, uri: &Uri, answer: &Response<s3s::Body>) {
        let (Some(upload), Some(number)) = (query_of(uri, "uploadId"), query_of(uri, "partNumber")) else {
            return;
        };
        if answer.status().is_success() {
            let tag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok());
            let tag = tag.map(|tag| tag.trim_matches('"').to_owned());
            lock(&self.state).uploads.entry(upload).or_default().insert(number, tag);
        }
    }

    async fn ask(&self, request: Request<s3s::Body>) -> Response<Body> {
        let (call, uri) = (call_of(request.method(), request.uri()), request.uri().clone());
        let Ok(answer) = self.service.call(request).await else { return refusal(500, "InternalError", None) };
        match call {
            Call::PutPart => self.remember(&uri, &answer),
            Call::AbortUpload if answer.status().is_success() => {
                query_of(&uri, "uploadId").and_then(|upload| lock(&self.state).uploads.remove(&upload));
            }
            _ => {}
        }
        if answer.status() == StatusCode::INTERNAL_SERVER_ERROR && self.is_full() {
            return refusal(507, "XMinioStorageFull", None);
        }
        answer.map(|body| body.map_err(io::Error::other).boxed_unsync())
    }

    /// Whether the disk is full: `s3s` answers that, as everything that it does not expect, with InternalError.
    fn is_full(&self) -> bool {
        let probe = self.folder.join(".room");
        let written = std::fs::write(&probe, vec![1; 256 << 10]);
        let _ = std::fs::remove_file(&probe);
        written.is_err_and(|error| error.kind() == ErrorKind::StorageFull)
    }
}

fn strike(faults: &mut [S3Fault], call: Call) -> Option<Wrong> {
    let fault = faults.iter_mut().find(|fault| fault.call == call && fault.times > 0)?;
    if fault.after > 0 {
        fault.after -= 1;
        return None;
    }
    fault.times -= 1;
    Some(fault.wrong.clone())
}

/// A parameter of a request.
fn query_of(uri: &Uri, name: &str) -> Option<String> {
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Compares the list of a `CompleteMultipartUpload` with the parts that came.
fn check_parts(known: &BTreeMap<String, Option<String>>, list: &str) -> Result<(), &'static str> {
    let mut before = 0;
    for part in list.split("<Part>").skip(1) {
        let number = inside(part, "PartNumber").ok_or("MalformedXML")?;
        let place: u32 = number.parse().map_err(|_| "MalformedXML")?;
        if place <= before {
            return Err("InvalidPartOrder");
        }
        before = place;
        let said = inside(part, "ETag").ok_or("MalformedXML")?.replace("&quot;", "\"");
        let right = known.get(number).is_some_and(|tag| {
            tag.as_ref().is_none_or(|tag| tag.eq_ignore_ascii_case(said.trim_matches('"')))
        });
        if !right {
            return Err("InvalidPart");
        }
    }
    Ok(())
}

/// What an XML element holds.
fn inside<'a>(xml: &'a str, element: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{element}>"))?;
    rest.split_once(&format!("</{element}>")).map(|(inside, _)| inside.trim())
}

fn call_of(method: &Method, uri: &Uri) -> Call {
    let query = uri.query().unwrap_or_default();
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    match method.as_str() {
        "PUT" if has("partNumber") => Call::PutPart,
        "PUT" => Call::Put,
        "POST" if has("uploads") => Call::BeginUpload,
        "POST" if has("uploadId") => Call::CompleteUpload,
        "POST" if has("delete") => Call::Delete,
        "DELETE" if has("uploadId") => Call::AbortUpload,
        "DELETE" => Call::Delete,
        "GET" if has("list-type") => Call::List,
        "GET" => Call::Get,
        "HEAD" => Call::Head,
        _ => Call::Other,
    }
}

fn refusal(status: u16, code: &str, retry_after: Option<u64>) -> Response<Body> {
    let text =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as asked for</Message></Error>");
    let mut answer = Response::new(whole(text.into()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert("retry-after", HeaderValue::from(seconds));
    }
    answer
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync()
}

async fn taken_apart(answer: Response<Body>) -> (HeaderMap, StatusCode, Bytes) {
    let (parts, body) = answer.into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    (parts.headers, parts.status, bytes)
}

/// A list of parts, by number.
async fn in_order(answer: Response<Body>) -> Response<Body> {
    let (headers, status, bytes) = taken_apart(answer).await;
    let text = String::from_utf8_lossy(&bytes);
    let mut ordered = Response::new(whole(match (text.find("<Part>"), text.rfind("</Part>")) {
        (Some(begin), Some(last)) => {
            let end = last + "</Part>".len();
            let mut parts: Vec<&str> = text[begin..end].split_inclusive("</Part>").collect();
            parts
                .sort_by_key(|part| inside(part, "PartNumber").and_then(|number| number.parse::<u32>().ok()));
            format!("{}{}{}", &text[..begin], parts.concat(), &text[end..]).into()
        }
        _ => bytes.clone(),
    }));
    (*ordered.headers_mut(), *ordered.status_mut()) = (headers, status);
    ordered
}

async fn cut_in_body(answer: Response<Body>) -> Response<Body> {
    let (headers, status, bytes) = taken_apart(answer).await;
    let half = bytes.slice(..bytes.len() / 2);
    let pieces = [Ok(Frame::data(half)), Err(io::Error::other("cut on purpose"))];
    // The first piece must be on its way before the cut.
    let pieces = futures_util::stream::iter(pieces).then(|piece| async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        piece
    });
    let mut cut = Response::new(StreamBody::new(pieces).boxed_unsync());
    (*cut.headers_mut(), *cut.status_mut()) = (headers, status);
    cut
}

async fn shortened(answer: Response<Body>) -> Response<Body> {
    let (mut headers, status, bytes) = taken_apart(answer).await;
    let half = bytes.slice(..bytes.len() / 2);
    headers.insert("content-length", HeaderValue::from(half.len()));
    let mut short = Response::new(whole(half));
    (*short.headers_mut(), *short.status_mut()) = (headers, status);
    short
}

async fn flipped(request: Request<Incoming>) -> Result<Request<s3s::Body>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let mut bytes = body.collect().await?.to_bytes().to_vec();
    if let Some(byte) = bytes.last_mut() {
        *byte ^= 1;
    }
    Ok(Request::from_parts(parts, s3s::Body::from(bytes)))
}
