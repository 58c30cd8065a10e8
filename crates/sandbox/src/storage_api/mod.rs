//! Supabase Storage in process, for drills and tests: buckets are folders, on loopback, with one key.
//!
//! It says things as the real one does: client errors are HTTP 400 with the true status in the body, resumable uploads answer in
//! plain text with the true status, and a list is a list of rows. Over the folder of an [`S3Server`](crate::S3Server) both show
//! the same objects, as at Supabase. What arrived is logged on this side, and that is what tests believe.

mod buckets;
mod changes;
mod doors;
mod lists;
mod objects;
mod uploads;

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::loopback::{self, Cut};
use changes::Before;
use doors::call_of;

/// Where the API lies below the host, as at Supabase.
const BASE: &str = "/storage/v1";

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// `GET /bucket/{bucket}`.
    Bucket,
    /// `GET /bucket`.
    Buckets,
    /// `POST /bucket`.
    MakeBucket,
    /// `PUT /bucket/{bucket}`.
    ChangeBucket,
    /// `POST /bucket/{bucket}/empty`.
    EmptyBucket,
    /// `DELETE /bucket/{bucket}`.
    DropBucket,
    /// `POST /object/list-v2/{bucket}`.
    ListV2,
    /// `POST /object/list/{bucket}`.
    List,
    /// `GET /object/authenticated/{bucket}/{name}`, and without the word.
    Download,
    /// `GET /object/public/{bucket}/{name}`.
    Public,
    /// `GET /object/info/{bucket}/{name}`.
    Info,
    /// `POST /object/{bucket}/{name}`.
    Upload,
    /// `PUT /object/{bucket}/{name}`.
    Replace,
    /// `POST /object/move`.
    Move,
    /// `POST /object/copy`.
    Copy,
    /// `DELETE /object/{bucket}`, and of one object.
    Remove,
    /// `POST /object/upload/sign/{bucket}/{name}`.
    SignUpload,
    /// `PUT /object/upload/sign/{bucket}/{name}?token=`.
    SignedUpload,
    /// `POST /object/sign/{bucket}/{name}`, and of a bucket's several.
    Sign,
    /// `GET /object/sign/{bucket}/{name}?token=`.
    Signed,
    /// `POST /upload/resumable`.
    Begin,
    /// `PATCH /upload/resumable/{id}`.
    Patch,
    /// `HEAD /upload/resumable/{id}`.
    Offset,
    /// `DELETE /upload/resumable/{id}`.
    GiveUp,
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
    /// Links to upload by: of which object, and whether it may be there.
    upload_links: HashMap<String, (String, changes::Before)>,
    /// What is known of objects that were uploaded here.
    kept: HashMap<String, changes::Kept>,
    buckets: HashMap<String, buckets::Bucket>,
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
    /// Below the API's base.
    path: String,
    query: String,
    /// What stands behind the call's own path, decoded.
    rest: String,
    body: Incoming,
}

impl Asked {
    fn has(&self, name: &str) -> bool {
        form_urlencoded::parse(self.query.as_bytes()).any(|(key, _)| key == name)
    }

    /// A parameter of the address; empty where it is not given.
    fn parameter(&self, name: &str) -> String {
        let mut pairs = form_urlencoded::parse(self.query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    }
}

/// Why something is refused.
#[derive(Debug)]
struct Refused {
    /// The true status; the answer's own is 400 for nearly all of them.
    status: u16,
    code: &'static str,
    message: String,
}

impl Refused {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    fn no_bucket() -> Self {
        Self::new(404, "NoSuchBucket", "Bucket not found")
    }

    fn no_object() -> Self {
        Self::new(404, "NoSuchKey", "Object not found")
    }

    fn already_there() -> Self {
        Self::new(409, "KeyAlreadyExists", "The resource already exists")
    }

    /// The disk does not do what it should.
    fn broken(error: &io::Error) -> Self {
        Self::new(500, "InternalError", error.to_string())
    }

    /// The word of before codes, which is still told beside them.
    fn word(&self) -> &'static str {
        match self.code {
            "NoSuchBucket" => "Bucket not found",
            "NoSuchKey" => "not_found",
            "KeyAlreadyExists" | "BucketAlreadyExists" => "Duplicate",
            "InvalidMimeType" => "invalid_mime_type",
            "EntityTooLarge" => "Payload too large",
            "InvalidBucketName" => "Invalid Input",
            other => other,
        }
    }
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
        let path = parts.uri.path();
        let path = path.strip_prefix(BASE).unwrap_or(path).to_owned();
        let asked = Asked { headers: parts.headers, path, query, rest, body };
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
                drain(asked.body).await;
                Ok(self.refused(&Refused::new(status, code, "as asked for")))
            }
        }
    }

    async fn ask(&self, call: Call, asked: Asked, method: &Method, only: Option<usize>) -> Answer {
        let is_open = matches!(call, Call::Signed | Call::SignedUpload | Call::Public);
        let older = self.lock().older;
        let answered = match call {
            _ if !is_open && !knows_us(&asked.headers) => {
                drain(asked.body).await;
                Err(Refused::new(400, "InvalidJWT", "jwt malformed"))
            }
            Call::Bucket => self.bucket(&asked.rest),
            Call::Buckets => Ok(self.buckets()),
            Call::MakeBucket => self.make_a_bucket(asked).await,
            Call::ChangeBucket => self.change_bucket(asked).await,
            Call::EmptyBucket if asked.rest.ends_with("/empty") => self.empty_bucket(&asked.rest),
            Call::DropBucket => self.drop_bucket(&asked.rest),
            Call::ListV2 if !older => self.list_v2(asked).await,
            Call::List => self.list(asked).await,
            Call::Download => self.download(asked.rest.strip_prefix("authenticated/").unwrap_or(&asked.rest)),
            Call::Public => self.public(&asked.rest),
            Call::Info => self.info(&asked.rest),
            Call::Upload => {
                let before = Before::asked(&asked);
                self.upload(asked, before).await
            }
            Call::Replace => self.upload(asked, Before::There).await,
            Call::Move => self.move_object(asked).await,
            Call::Copy => self.copy_object(asked).await,
            Call::Remove => self.remove(asked).await,
            Call::Sign => self.sign(asked).await,
            Call::Signed => self.signed(&asked),
            Call::SignUpload => self.sign_upload(&asked),
            Call::SignedUpload => self.signed_upload(asked).await,
            Call::Begin => Ok(self.begin(asked, only).await),
            Call::Patch => Ok(self.patch(asked, only).await),
            Call::Offset => Ok(self.offset(&asked)),
            Call::GiveUp => Ok(self.give_up(&asked)),
            // What the framework says of a route that it does not have.
            Call::ListV2 | Call::EmptyBucket | Call::Other => {
                drain(asked.body).await;
                return no_route(method, &asked.path);
            }
        };
        answered.unwrap_or_else(|refused| self.refused(&refused))
    }

    /// HTTP 400, whatever it is; only what the server itself cannot do has a status of its own.
    fn refused(&self, refused: &Refused) -> Answer {
        let Refused { status, code, message } = refused;
        let mut body =
            json!({ "statusCode": status.to_string(), "error": refused.word(), "message": message });
        if !self.lock().older {
            body["code"] = (*code).into();
        }
        json_answer(if *status < 500 { 400 } else { *status }, &body)
    }

    /// Where a bucket is.
    fn folder_of(&self, bucket: &str) -> Result<PathBuf, Refused> {
        let plain = !bucket.is_empty() && !bucket.starts_with('.') && !bucket.contains('/');
        let folder = Some(self.folder.join(bucket)).filter(|folder| plain && folder.is_dir());
        folder.ok_or_else(Refused::no_bucket)
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

/// Reads what is of no use, as a real server does: who answers early and closes takes the answer back.
async fn drain(body: Incoming) {
    let _ = body.collect().await;
}

async fn read_json(asked: Asked) -> Result<Value, Refused> {
    let bytes = asked.body.collect().await.ok().map(http_body_util::Collected::to_bytes);
    let body = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    body.ok_or_else(|| Refused::new(400, "InvalidRequest", "body is no JSON"))
}

fn header_of<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn put(answer: &mut Answer, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

fn no_route(method: &Method, path: &str) -> Answer {
    let message = format!("Route {method}:{path} not found");
    json_answer(404, &json!({ "message": message, "error": "Not Found", "statusCode": 404 }))
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
