//! Supabase Storage in process, for drills and tests: buckets are folders, on loopback, with one key.
//!
//! It says things as the real one does: client errors are HTTP 400 with the true status in the body, resumable uploads answer in
//! plain text with the true status, and a list is a list of rows. Over the folder of an [`S3Server`](crate::S3Server) both show
//! the same objects, as at Supabase. What arrived is logged on this side, and that is what tests believe.

mod objects;
mod uploads;

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::loopback::{self, Cut};

/// Where the API lies below the host, as at Supabase.
const BASE: &str = "/storage/v1";

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// `GET /bucket/{bucket}`.
    Bucket,
    /// `POST /object/list-v2/{bucket}`.
    ListV2,
    /// `POST /object/list/{bucket}`.
    List,
    /// `GET /object/authenticated/{bucket}/{name}`.
    Download,
    /// `POST /object/sign/{bucket}/{name}`.
    Sign,
    /// `GET /object/sign/{bucket}/{name}?token=`.
    Signed,
    /// `POST /upload/resumable`.
    Begin,
    /// `PATCH /upload/resumable/{id}`.
    Patch,
    /// `HEAD /upload/resumable/{id}`.
    Offset,
    /// Anything else.
    Other,
}

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// It happens, and the connection is cut before the answer.
    CutAfter,
    /// So many bytes of the body are kept, and the connection is cut.
    CutInBody(usize),
    /// HTTP 400, and this in the body.
    Refused {
        /// The true status.
        status: u16,
        /// The code.
        code: &'static str,
    },
}

/// A fault that is waiting for its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageFault {
    /// Which requests it waits for.
    pub call: Call,
    /// How many of them pass before it strikes; it strikes once.
    pub after: usize,
    /// How.
    pub wrong: Wrong,
}

/// A request that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// What it asked for.
    pub call: Call,
    /// The offset of a chunk.
    pub offset: Option<u64>,
    /// The status it was answered with; `None` where the connection was cut.
    pub status: Option<u16>,
}

#[derive(Debug, Default)]
struct State {
    faults: Vec<StorageFault>,
    arrived: Vec<Arrived>,
    /// An older server: no second list, and errors without codes.
    older: bool,
    uploads: HashMap<String, uploads::Upload>,
    /// Signed links: of which object, and until when.
    links: HashMap<String, (String, Instant)>,
    made: u64,
}

/// The running server. It stops, with all its connections, when it is dropped.
#[derive(Debug)]
pub struct StorageServer {
    front: Front,
    running: JoinHandle<Infallible>,
}

impl StorageServer {
    /// Serves the folder on loopback; its folders are the buckets. Port 0 takes a free one.
    pub async fn start(folder: &Path, port: u16) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let host = format!("http://{}", listener.local_addr()?);
        let front = Front { state: Arc::default(), folder: folder.to_owned(), host };
        let running = tokio::spawn(front.clone().serve(listener));
        Ok(Self { front, running })
    }

    /// The API's base, e.g. `http://127.0.0.1:41234/storage/v1`.
    pub fn base_url(&self) -> String {
        format!("{}{BASE}", self.front.host)
    }

    /// Makes a bucket; one that is there already is left alone.
    pub fn make_bucket(&self, name: &str) -> io::Result<()> {
        std::fs::create_dir_all(self.front.folder.join(name))
    }

    /// From now on it is a server of before the second list and of before codes.
    pub fn be_older(&self) {
        self.front.lock().older = true;
    }

    /// Lets something go wrong. Faults for the same calls strike one after another.
    pub fn break_on(&self, fault: StorageFault) {
        self.front.lock().faults.push(fault);
    }

    /// Every upload that is not finished expires.
    pub fn expire_uploads(&self) {
        self.front.lock().uploads.values_mut().for_each(|upload| upload.expired = true);
    }

    /// The time of every signed link is over.
    pub fn expire_links(&self) {
        let now = Instant::now();
        self.front.lock().links.values_mut().for_each(|(_, until)| *until = now);
    }

    /// Everything that arrived, in order of its end.
    pub fn arrived(&self) -> Vec<Arrived> {
        self.front.lock().arrived.clone()
    }
}

impl Drop for StorageServer {
    fn drop(&mut self) {
        self.running.abort();
    }
}

#[derive(Debug, Clone)]
struct Front {
    state: Arc<Mutex<State>>,
    folder: PathBuf,
    host: String,
}

/// A request whose body is still to be read.
struct Asked {
    headers: HeaderMap,
    query: String,
    /// What stands behind the call's own path, decoded.
    rest: String,
    body: Incoming,
}

type Answer = Response<Full<Bytes>>;

impl Front {
    async fn serve(self, listener: TcpListener) -> Infallible {
        let answer = move |request| {
            let front = self.clone();
            async move { front.answer(request).await }
        };
        loopback::serve(listener, answer).await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Cut> {
        let (call, rest) = call_of(request.method(), request.uri().path());
        let offset =
            request.headers().get("upload-offset").and_then(|value| value.to_str().ok()?.parse().ok());
        let wrong = strike(&mut self.lock().faults, call);
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let asked = Asked { headers: parts.headers, query, rest, body };
        let answer = self.answer_or_not(call, asked, &parts.method, wrong).await;
        let status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
        self.lock().arrived.push(Arrived { call, offset, status });
        answer
    }

    async fn answer_or_not(
        &self,
        call: Call,
        asked: Asked,
        method: &Method,
        wrong: Option<Wrong>,
    ) -> Result<Answer, Cut> {
        match wrong {
            None => Ok(self.ask(call, asked, method, None).await),
            Some(Wrong::CutAfter) => {
                self.ask(call, asked, method, None).await;
                Err(Cut)
            }
            Some(Wrong::CutInBody(after)) => {
                self.ask(call, asked, method, Some(after)).await;
                Err(Cut)
            }
            Some(Wrong::Refused { status, code }) => {
                // Read first, as a real server does: who answers early and closes takes the answer back.
                let _ = http_body_util::BodyExt::collect(asked.body).await;
                Ok(self.refused(status, code, "as asked for"))
            }
        }
    }

    async fn ask(&self, call: Call, asked: Asked, method: &Method, only: Option<usize>) -> Answer {
        if call == Call::Signed {
            return self.signed(&asked);
        }
        if !knows_us(&asked.headers) {
            return self.refused(400, "InvalidJWT", "jwt malformed");
        }
        match call {
            Call::Bucket => self.bucket(&asked),
            Call::ListV2 if !self.lock().older => self.list_v2(asked).await,
            Call::List => self.list(asked).await,
            Call::Download => self.download(&asked.rest),
            Call::Sign => self.sign(asked).await,
            Call::Begin => self.begin(&asked),
            Call::Patch => self.patch(asked, only).await,
            Call::Offset => self.offset(&asked),
            // What the framework says of a route that it does not have.
            Call::ListV2 | Call::Signed | Call::Other => {
                let path =
                    format!("{}/{}", if call == Call::ListV2 { "/object/list-v2" } else { "" }, asked.rest);
                let message = format!("Route {method}:{path} not found");
                json_answer(404, &json!({ "message": message, "error": "Not Found", "statusCode": 404 }))
            }
        }
    }

    /// HTTP 400, whatever it is.
    fn refused(&self, status: u16, code: &str, message: &str) -> Answer {
        let mut body = json!({ "statusCode": status.to_string(), "error": code, "message": message });
        if !self.lock().older {
            body["code"] = code.into();
        }
        json_answer(400, &body)
    }

    /// Where a bucket is; `None` where it is not.
    fn folder_of(&self, bucket: &str) -> Option<PathBuf> {
        let plain = !bucket.is_empty() && !bucket.starts_with('.') && !bucket.contains('/');
        Some(self.folder.join(bucket)).filter(|folder| plain && folder.is_dir())
    }

    fn no_bucket(&self) -> Answer {
        self.refused(404, "NoSuchBucket", "Bucket not found")
    }

    /// A number that no other has: ids and tokens are made of it.
    fn next(&self) -> u64 {
        let mut state = self.lock();
        state.made += 1;
        state.made
    }
}

/// A legacy key goes into both headers, a new one into `apikey` only.
fn knows_us(headers: &HeaderMap) -> bool {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
    is("apikey", crate::SERVICE_KEY) || is("authorization", &format!("Bearer {}", crate::SERVICE_KEY))
}

fn strike(faults: &mut Vec<StorageFault>, call: Call) -> Option<Wrong> {
    let place = faults.iter().position(|fault| fault.call == call)?;
    if faults[place].after > 0 {
        faults[place].after -= 1;
        return None;
    }
    Some(faults.remove(place).wrong)
}

fn call_of(method: &Method, path: &str) -> (Call, String) {
    let path = path.strip_prefix(BASE).unwrap_or_default();
    let doors = [
        ("GET", "/bucket/", Call::Bucket),
        ("POST", "/object/list-v2/", Call::ListV2),
        ("POST", "/object/list/", Call::List),
        ("GET", "/object/authenticated/", Call::Download),
        ("POST", "/object/sign/", Call::Sign),
        ("GET", "/object/sign/", Call::Signed),
        ("PATCH", "/upload/resumable/", Call::Patch),
        ("HEAD", "/upload/resumable/", Call::Offset),
        ("POST", "/upload/resumable", Call::Begin),
    ];
    let found = doors.iter().find_map(|(its, door, call)| {
        (*its == method.as_str()).then(|| Some((*call, path.strip_prefix(door)?)))?
    });
    let (call, rest) = found.unwrap_or((Call::Other, path));
    (call, decoded(rest))
}

fn decoded(path: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), path.as_bytes());
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%')
            .then(|| std::str::from_utf8(tail.get(..2)?).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn json_answer(status: u16, body: &Value) -> Answer {
    typed(status, "application/json; charset=utf-8", body.to_string().into())
}

fn typed(status: u16, kind: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert("content-type", HeaderValue::from_static(kind));
    answer
}
