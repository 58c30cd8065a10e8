//! One way to call a service: timeouts, no redirects, bounded bodies, paced, and errors that say whether it may have
//! happened.
//!
//! The difference that matters is between reads and writes. A read that fails may simply be made again. A write that was
//! sent and got no usable answer *may have happened*, whatever the status code says.

mod redactor;
mod reply;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use allclear_core::error::WaitSource;
use allclear_core::{Clock, HeardTimes, PortError, Service};
use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

pub(crate) use redactor::Redactor;
pub(crate) use reply::Reply;

use crate::ConfigError;

/// Room made for a body before it comes: what a service announces is not yet what it sends.
const MOST_RESERVED: usize = 1 << 20;

/// A streamed body may take this long in all, however steadily it comes.
const LONGEST_STREAM: Duration = Duration::from_mins(10);

/// Bounds of every call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) timeout: Duration,
    pub(crate) max_body: usize,
    pub(crate) pace: Duration,
}

/// Whose word counts for a server's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Everybody's whom this machine trusts. Reading who that is, a few hundred files, takes ten times as long as all else that
    /// a process does before it goes on with its run.
    OfTheMachine,
    /// Nobody's: what is called over this client is on this machine and speaks in the clear.
    Nobody,
}

impl Trust {
    /// What a base URL needs.
    pub(crate) fn needed_at(base: &str) -> Self {
        if base.starts_with("http://") { Self::Nobody } else { Self::OfTheMachine }
    }
}

/// Makes a client that services share.
pub(crate) fn client(timeout: Duration, trust: Trust) -> Result<Client, ConfigError> {
    // A second installation fails and changes nothing: whoever embeds us may have chosen a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = match trust {
        Trust::OfTheMachine => Client::builder(),
        Trust::Nobody => Client::builder().tls_certs_only([]),
    };
    builder
        // A redirect would carry the credential to another place.
        .redirect(redirect::Policy::none())
        // Well before the whole call's: of the two, only this one proves that nothing was sent.
        .connect_timeout((timeout / 2).min(Duration::from_secs(5)))
        .timeout(timeout)
        .user_agent(concat!("allclear/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .build()
        .map_err(|error| ConfigError::Http { detail: error.to_string() })
}

/// One part of a multipart body.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    name: &'static str,
    file: Option<String>,
    content: Vec<u8>,
}

impl Part {
    pub(crate) fn field(name: &'static str, content: String) -> Self {
        Self { name, file: None, content: content.into_bytes() }
    }

    pub(crate) fn file(name: &'static str, path: &str, content: Vec<u8>) -> Self {
        Self { name, file: Some(path.to_owned()), content }
    }
}

fn form(parts: Vec<Part>) -> reqwest::multipart::Form {
    parts.into_iter().fold(reqwest::multipart::Form::new(), |form, part| {
        let body = reqwest::multipart::Part::bytes(part.content);
        let Some(file) = part.file else { return form.part(part.name, body) };
        // A file is told from a field by its type, and some servers cannot read a file without one.
        let body = body.file_name(file).mime_str("application/octet-stream").expect("a valid media type");
        form.part(part.name, body)
    })
}

/// A request to make.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(&'static str, String)>,
    body: Option<Value>,
    bytes: Option<Vec<u8>>,
    parts: Vec<Part>,
    writes: bool,
    keyed: bool,
    name: Option<&'static str>,
}

impl Call {
    /// A request that changes nothing.
    pub(crate) fn read(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            bytes: None,
            parts: Vec::new(),
            writes: false,
            keyed: false,
            name: None,
        }
    }

    /// A read of a path with a query that somebody else made, such as a signed link.
    pub(crate) fn read_at(place: PathHere) -> Self {
        Self { query: place.query, ..Self::read(place.path) }
    }

    /// An upload of several parts, which may change something.
    pub(crate) fn upload(path: impl Into<String>, parts: Vec<Part>) -> Self {
        Self { method: Method::POST, parts, writes: true, ..Self::read(path) }
    }

    /// A request that may change something.
    pub(crate) fn write(method: Method, path: impl Into<String>, body: Value) -> Self {
        Self { method, body: Some(body), writes: true, ..Self::read(path) }
    }

    /// A request with bytes as they are, or none, which may change something.
    pub(crate) fn sending(method: Method, path: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { method, bytes: Some(bytes), writes: true, ..Self::read(path) }
    }

    /// A POST that changes nothing which matters, such as signing in.
    pub(crate) fn posting(self, body: Value) -> Self {
        Self { method: Method::POST, body: Some(body), ..self }
    }

    /// Says that it carries an id of ours, so that making it twice does what making it once does.
    pub(crate) fn keyed(mut self) -> Self {
        self.keyed = true;
        self
    }

    /// Whether it may be made again without asking anybody: it changes nothing, or nothing more the second time.
    pub(crate) fn is_repeatable(&self) -> bool {
        !self.writes || self.keyed
    }

    /// Asks for the headers only.
    pub(crate) fn head(mut self) -> Self {
        self.method = Method::HEAD;
        self
    }

    pub(crate) fn query(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.query.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Names a call whose path says nothing.
    pub(crate) fn named(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// The call as errors name it. Query values stay out: they may hold numbers.
    pub(crate) fn title(&self) -> String {
        if let Some(name) = self.name {
            return name.to_owned();
        }
        format!("{} {}", self.method, self.path)
    }
}

/// A place below a service's base URL.
#[derive(Debug)]
pub(crate) struct PathHere {
    path: String,
    query: Vec<(String, String)>,
}

impl PathHere {
    /// The path, without the base's and without a query.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

/// One service at one place.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client,
    service: Service,
    base: String,
    rules: Rules,
    clock: Arc<dyn Clock>,
    headers: HeaderMap,
    redactor: Redactor,
    /// What its answers say about its clock.
    heard: Arc<HeardTimes>,
    last_call: Arc<Mutex<Option<Timestamp>>>,
    /// Until when the service asked to be left alone with a call, by the call's title.
    left_alone: Arc<Mutex<HashMap<String, Timestamp>>>,
}

impl Http {
    pub(crate) fn new(
        client: Client,
        service: Service,
        base: &str,
        rules: Rules,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        let (headers, redactor) = (HeaderMap::new(), Redactor::default());
        let (heard, last_call, left_alone) = (Arc::default(), Arc::default(), Arc::default());
        Self { client, service, base, rules, clock, headers, redactor, heard, last_call, left_alone }
    }

    /// Keeps what answers say about the service's clock with what those of others say.
    pub(crate) fn hearing(mut self, times: &Arc<HeardTimes>) -> Self {
        self.heard = Arc::clone(times);
        self
    }

    /// Compares the answer's `Date` with our clock. An answer from a cache has an `Age` and says when it was made; two dates
    /// are one too many.
    fn hear(&self, headers: &HeaderMap, sent: Timestamp) {
        let mut dates = headers.get_all("date").iter();
        let (Some(date), None, None) = (dates.next(), dates.next(), headers.get("age")) else { return };
        let read = date.to_str().ok().and_then(|text| jiff::fmt::rfc2822::parse(text).ok());
        if let Some(date) = read {
            self.heard.heard(self.service, date.timestamp(), sent, self.clock.now());
        }
    }

    /// Shares what is known of secrets with other services: what one was sent, another may repeat.
    pub(crate) fn redacting(mut self, with: &Redactor) -> Self {
        self.redactor = with.clone();
        self
    }

    /// A secret that travels in a body or a cookie: it is taken out of all that comes back.
    pub(crate) fn keep_secret(&self, secret: &SecretString) {
        self.redactor.learn(secret);
    }

    /// Sends a secret header with every call.
    pub(crate) fn header(mut self, name: &'static str, secret: &SecretString) -> Self {
        self.keep_secret(secret);
        self.insert(name, secret.expose_secret());
        self
    }

    /// Sends `Authorization: Bearer` with every call.
    pub(crate) fn bearer(self, secret: &SecretString) -> Self {
        self.token("Bearer ", secret)
    }

    /// Sends `Authorization` with another scheme.
    pub(crate) fn token(mut self, scheme: &str, secret: &SecretString) -> Self {
        self.keep_secret(secret);
        let value = format!("{scheme}{}", secret.expose_secret());
        self.insert("authorization", &value);
        self
    }

    fn insert(&mut self, name: &'static str, value: &str) {
        // The configuration checked that every credential fits a header.
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(true);
            self.headers.insert(HeaderName::from_static(name), value);
        }
    }

    /// Where it is, without a trailing slash.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) fn service(&self) -> Service {
        self.service
    }

    /// The time, as this service's calls see it.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Waits, in the time that this service's calls live in.
    pub(crate) async fn pause(&self, wait: Duration) {
        self.clock.sleep_until(self.clock.now() + wait).await;
    }

    /// Where an address lies below our base; `None` when it is anywhere else. An address that came in an answer could
    /// point into our own network.
    pub(crate) fn path_here(&self, address: &str) -> Option<PathHere> {
        let (base, url) = (reqwest::Url::parse(&self.base).ok()?, reqwest::Url::parse(address).ok()?);
        let same = base.origin() == url.origin() && url.username().is_empty() && url.password().is_none();
        let path = url.path().strip_prefix(base.path().trim_end_matches('/'))?;
        same.then(|| PathHere { path: path.to_owned(), query: url.query_pairs().into_owned().collect() })
    }

    /// As [`path_here`](Self::path_here), for an address that may begin at our base's host.
    pub(crate) fn path_of_location(&self, location: &str) -> Option<PathHere> {
        let address = reqwest::Url::parse(&self.base).ok()?.join(location).ok()?;
        self.path_here(address.as_str())
    }

    /// Foreign words, fit for a journal and a terminal.
    pub(crate) fn clean(&self, text: &str) -> String {
        self.redactor.clean(text)
    }

    /// Makes the call. Any HTTP status is a reply; what it means is said by [`Reply::expect`].
    ///
    /// A call that the service asked to be left alone with is not made before that time: whoever waited for one step may
    /// have given up, and another step makes the same call right after it.
    pub(crate) async fn send(&self, call: Call) -> Result<Reply, PortError> {
        let (title, writes) = (call.title(), call.writes);
        let request = self.request(call, &title).await?;
        let sent = self.clock.now();
        let response = request.send().await.map_err(|error| self.transport_error(&title, writes, &error))?;
        self.hear(response.headers(), sent);
        self.reply(title, writes, response).await
    }

    /// Makes a call that reads, and hands a successful body over piece by piece: it may be longer than what fits into memory,
    /// up to `most` bytes. Each piece has the time of a whole call. The reply's own body is then empty; an unsuccessful one is
    /// read as ever.
    pub(crate) async fn stream(
        &self,
        call: Call,
        most: u64,
        mut take: impl FnMut(&[u8]) + Send,
    ) -> Result<Reply, PortError> {
        let title = call.title();
        let request = self.request(call, &title).await?.timeout(LONGEST_STREAM);
        let sent = self.clock.now();
        let mut response = self.in_time(&title, request.send()).await?;
        self.hear(response.headers(), sent);
        if !response.status().is_success() {
            return self.in_whole(title, response).await;
        }
        let too_long =
            || self.no_usable_answer(&title, false, format!("the body is longer than {most} bytes"));
        if response.content_length().is_some_and(|announced| announced > most) {
            return Err(too_long());
        }
        let mut length = 0;
        while let Some(piece) = self.in_time(&title, response.chunk()).await? {
            length += piece.len() as u64;
            if length > most {
                return Err(too_long());
            }
            take(&piece);
        }
        Ok(self.reply_of(title, false, (response.status().as_u16(), response.headers().clone()), Vec::new()))
    }

    async fn in_time<T>(
        &self,
        title: &str,
        part: impl Future<Output = Result<T, reqwest::Error>> + Send,
    ) -> Result<T, PortError> {
        match tokio::time::timeout(self.rules.timeout, part).await {
            Ok(done) => done.map_err(|error| self.transport_error(title, false, &error)),
            Err(_) => Err(PortError::Unavailable {
                service: self.service,
                call: title.to_owned(),
                detail: "no answer in time".to_owned(),
            }),
        }
    }

    /// What an unsuccessful stream says instead, within the time of a call.
    async fn in_whole(&self, title: String, response: reqwest::Response) -> Result<Reply, PortError> {
        let late = PortError::Unavailable {
            service: self.service,
            call: title.clone(),
            detail: "no answer in time".to_owned(),
        };
        tokio::time::timeout(self.rules.timeout, self.reply(title, false, response))
            .await
            .unwrap_or(Err(late))
    }

    /// The call as a request, once it may be made.
    async fn request(&self, call: Call, title: &str) -> Result<reqwest::RequestBuilder, PortError> {
        self.leave_alone(title)?;
        self.keep_pace().await;
        let mut url = reqwest::Url::parse(&format!("{}{}", self.base, call.path))
            .map_err(|error| self.rejected(title, &error.to_string()))?;
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        let mut request = self.client.request(call.method.clone(), url).headers(self.headers.clone());
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        Ok(if let Some(body) = &call.body {
            request.json(body)
        } else if let Some(bytes) = call.bytes {
            request.body(bytes)
        } else if !call.parts.is_empty() {
            request.multipart(form(call.parts))
        } else {
            request
        })
    }

    async fn reply(
        &self,
        title: String,
        writes: bool,
        response: reqwest::Response,
    ) -> Result<Reply, PortError> {
        let head = (response.status().as_u16(), response.headers().clone());
        let body = self.read_body(&title, writes, response).await?;
        Ok(self.reply_of(title, writes, head, body))
    }

    fn reply_of(&self, call: String, writes: bool, head: (u16, HeaderMap), body: Vec<u8>) -> Reply {
        let (status, headers) = head;
        let reply = Reply {
            service: self.service,
            call,
            writes,
            status,
            headers,
            body,
            now: self.clock.now(),
            redactor: self.redactor.clone(),
        };
        self.note_wait(&reply);
        reply
    }

    /// Refuses a call for which the service's wait is not over.
    fn leave_alone(&self, title: &str) -> Result<(), PortError> {
        let left_alone = self.left_alone.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let Some(until) = left_alone.get(title).filter(|until| **until > now) else { return Ok(()) };
        Err(PortError::RateLimited {
            service: self.service,
            call: title.to_owned(),
            wait_seconds: Some(reply::whole_seconds(until.duration_since(now).unsigned_abs())),
            source_of_wait: WaitSource::RetryAfterHeader,
            detail: "it was not called: the wait that it asked for is not over".to_owned(),
        })
    }

    fn note_wait(&self, reply: &Reply) {
        let Some(wait) = reply.wait_of_a_limit() else { return };
        let mut left_alone = self.left_alone.lock().unwrap_or_else(PoisonError::into_inner);
        left_alone.insert(reply.call.clone(), reply.now + wait);
    }

    /// Reads the body piece by piece and stops at the limit: a body may be a gigabyte.
    async fn read_body(
        &self,
        title: &str,
        writes: bool,
        mut response: reqwest::Response,
    ) -> Result<Vec<u8>, PortError> {
        let announced = response.content_length().map_or(0, |length| length as usize);
        let mut body = Vec::with_capacity(announced.min(self.rules.max_body).min(MOST_RESERVED));
        loop {
            match response.chunk().await {
                Ok(Some(piece)) => {
                    if body.len() + piece.len() > self.rules.max_body {
                        let detail = format!("the body is longer than {} bytes", self.rules.max_body);
                        return Err(self.no_usable_answer(title, writes, detail));
                    }
                    body.extend_from_slice(&piece);
                }
                Ok(None) => return Ok(body),
                Err(error) => return Err(self.transport_error(title, writes, &error)),
            }
        }
    }

    fn transport_error(&self, title: &str, writes: bool, error: &reqwest::Error) -> PortError {
        let detail = self.clean(&root_cause(error));
        // Only a connection that was never made proves that nothing was sent.
        if writes && !error.is_connect() {
            let detail = if error.is_timeout() { "no answer in time".to_owned() } else { detail };
            return PortError::OutcomeUnknown { service: self.service, call: title.to_owned(), detail };
        }
        PortError::Unavailable { service: self.service, call: title.to_owned(), detail }
    }

    fn no_usable_answer(&self, title: &str, writes: bool, detail: String) -> PortError {
        let (service, call) = (self.service, title.to_owned());
        if writes {
            PortError::OutcomeUnknown { service, call, detail }
        } else {
            PortError::Malformed { service, call, detail }
        }
    }

    fn rejected(&self, title: &str, detail: &str) -> PortError {
        PortError::Rejected {
            service: self.service,
            call: title.to_owned(),
            code: None,
            detail: self.clean(detail),
        }
    }

    /// Keeps a shortest distance between calls.
    async fn keep_pace(&self) {
        if self.rules.pace.is_zero() {
            return;
        }
        let wait_until = {
            let mut last = self.last_call.lock().unwrap_or_else(PoisonError::into_inner);
            let at = last.map_or(self.clock.now(), |last| (last + self.rules.pace).max(self.clock.now()));
            *last = Some(at);
            at
        };
        self.clock.sleep_until(wait_until).await;
    }
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http")
            .field("service", &self.service)
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

/// The innermost error: the outer ones repeat the URL and say little.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
