//! How requests travel: pooled connections, a bound on how many are under way, and retries that listen to the server.
//!
//! `object_store` can retry by itself, but it neither hears `Retry-After` nor knows that 200 other requests got the same
//! answer. So it is told not to, and this transport does it: one budget for all requests, one pause for all of them when the
//! server says SlowDown, and never a retry of what will be refused again.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use allclear_core::error::InvalidValue;
use async_trait::async_trait;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector as StoreConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::failure::{Failure, Kind};

/// How many requests are under way at first, and at most. Small objects are bound by round trips, so what counts is how many
/// of them overlap; connections cost memory on both sides. Measured with 5,000 objects of 30 KiB, without latency and at 20 ms:
/// 64 at most took 0.36 and 1.82 s, 128 took 0.36 and 1.02 s, 256 took 0.40 and 0.58 s, 512 took 0.44 and 0.53 s and 13 MiB more.
const FIRST_IN_FLIGHT: usize = 32;
const MOST_IN_FLIGHT: usize = 256;
const MOST_ATTEMPTS: u32 = 6;
/// A longer wait than this is not ours to sit through: it is handed up.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// Tenths of a retry: each first try earns one, each retry costs ten. The stock covers a cut that hits everything at once.
const RETRY_STOCK: i64 = 10 * 4 * MOST_IN_FLIGHT as i64;
/// Lists and XML answers. Objects are streamed and have no bound here.
const LONGEST_ANSWER: usize = 32 << 20;

type Connect = HttpsConnector<HttpConnector>;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Transport(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    client: Client<Connect, HttpRequestBody>,
    gate: Gate,
    retries: AtomicI64,
}

impl Transport {
    /// `tls` loads the platform's certificates, which takes a moment.
    pub(super) fn new(tls: bool) -> Result<Self, InvalidValue> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(Duration::from_secs(5)));
        let connect = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(tls).map_err(|error| InvalidValue {
                field: "certificates",
                value: error.to_string(),
                fix: "install the system's certificates, e.g. the package ca-certificates",
            })?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(MOST_IN_FLIGHT)
            .build(connect);
        Ok(Self(Arc::new(Shared { client, gate: Gate::new(), retries: AtomicI64::new(RETRY_STOCK) })))
    }

    /// Sends the request until it is answered for good. 304, 404 of a key, 412 and 416 are answers like a success is.
    pub(super) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Failure> {
        let mut attempt = 0;
        loop {
            let failure = match self.try_once(request.clone()).await {
                Ok(answer) => {
                    self.0.gate.went_well();
                    self.earn();
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            attempt += 1;
            let wait = failure.wait.unwrap_or_else(|| backoff(attempt, failure.kind));
            let again = failure.kind.passes() && attempt < MOST_ATTEMPTS && wait <= LONGEST_WAIT;
            if !again || !self.spend() {
                return Err(failure);
            }
            if failure.kind == Kind::Limited {
                self.0.gate.pause(wait);
            } else {
                tokio::time::sleep(wait).await;
            }
        }
    }

    async fn try_once(&self, request: HttpRequest) -> Result<HttpResponse, Failure> {
        let _slot = self.0.gate.enter().await;
        let streamed = is_object_read(&request);
        let length = request.body().content_length() as u64;
        let limit = Duration::from_secs(60 + length / (64 << 10));
        let sent = tokio::time::timeout(limit, self.0.client.request(request)).await;
        let answer = match sent {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(Failure::of_transport(!error.is_connect(), root_cause(&error))),
            Err(_) => {
                let detail = format!("no answer within {} s", limit.as_secs());
                return Err(Failure::of_transport(true, detail));
            }
        };
        let (parts, body) = answer.into_parts();
        if streamed && parts.status.is_success() {
            let body = body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error));
            return Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)));
        }
        let whole = tokio::time::timeout(limit, Limited::new(body, LONGEST_ANSWER).collect());
        let body = match whole.await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) => {
                return Err(Failure::of_transport(true, format!("the answer broke off: {error}")));
            }
            Err(_) => return Err(Failure::of_transport(true, "the answer does not end".to_owned())),
        };
        let text = String::from_utf8_lossy(&body);
        // CompleteMultipartUpload answers 200 before it is done, and may find out afterwards that it failed.
        let late_failure = parts.status.is_success() && text.contains("<Error>") && text.contains("<Code>");
        let status = if late_failure { 500 } else { parts.status.as_u16() };
        let passed_on =
            parts.status.is_success() || matches!(status, 304 | 412 | 416) || is_missing_key(status, &text);
        if passed_on && !late_failure {
            return Ok(HttpResponse::from_parts(parts, body.into()));
        }
        Err(Failure::of_answer(status, retry_after(&parts.headers), &text))
    }

    fn earn(&self) {
        if self.0.retries.fetch_add(1, Ordering::Relaxed) > RETRY_STOCK {
            self.0.retries.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn spend(&self) -> bool {
        self.0.retries.fetch_sub(10, Ordering::Relaxed) >= 10
    }
}

fn tls_config(tls: bool) -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    if tls {
        return Ok(builder.with_platform_verifier()?.with_no_client_auth());
    }
    // Only loopback is spoken to without TLS; then nothing is trusted, should anybody redirect us.
    Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

fn is_object_read<B>(request: &Request<B>) -> bool {
    request.method() == Method::GET
        && !request.uri().query().is_some_and(|query| query.contains("list-type="))
}

/// A 404 that says "no such key", or nothing at all as a HEAD's does. A missing bucket or upload is a failure.
fn is_missing_key(status: u16, body: &str) -> bool {
    status == 404 && (body.is_empty() || body.contains("<Code>NoSuchKey</Code>"))
}

/// `Retry-After` in seconds, or as a date beside the server's own `Date`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let said = text("retry-after")?.trim();
    if let Ok(seconds) = said.parse::<u64>() {
        return Some(Duration::from_secs(seconds.min(3_600)));
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp());
    let wait = date(said)?.duration_since(date(text("date")?)?);
    Some(Duration::try_from(wait).unwrap_or_default().min(Duration::from_hours(1)))
}

/// Doubling, between half and all of it, so that many that failed together do not come back together.
fn backoff(attempt: u32, kind: Kind) -> Duration {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let first = if kind == Kind::Limited { 500 } else { 100 };
    let full = (first << attempt.min(6)).min(5_000) as u64;
    // A counter times the golden ratio spreads evenly; no randomness is needed for that.
    let spread = COUNT.fetch_add(1, Ordering::Relaxed) as u64 * 618 % 1_000;
    Duration::from_millis(full / 2 + full / 2 * spread / 1_000)
}

fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[async_trait]
impl HttpService for Transport {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // `Unknown` is what `object_store` hands on as it is.
        self.send(request).await.map_err(|failure| HttpError::new(HttpErrorKind::Unknown, failure))
    }
}

/// Hands our transport to `object_store`.
#[derive(Debug)]
pub(super) struct Connector(pub(super) Transport);

impl StoreConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

/// How many requests may be under way: more with every answer, half of it when the server says SlowDown.
#[derive(Debug)]
struct Gate {
    slots: Semaphore,
    limit: AtomicUsize,
    answers: AtomicUsize,
    slowed: std::sync::atomic::AtomicBool,
    quiet_until: Mutex<Option<Instant>>,
}

impl Gate {
    fn new() -> Self {
        Self {
            slots: Semaphore::new(FIRST_IN_FLIGHT),
            limit: AtomicUsize::new(FIRST_IN_FLIGHT),
            answers: AtomicUsize::new(0),
            slowed: false.into(),
            quiet_until: Mutex::new(None),
        }
    }

    async fn enter(&self) -> tokio::sync::SemaphorePermit<'_> {
        let slot = self.slots.acquire().await.expect("the gate is never closed");
        while let Some(until) = self.quiet() {
            tokio::time::sleep_until(until).await;
        }
        slot
    }

    fn quiet(&self) -> Option<Instant> {
        let until = *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.filter(|until| *until > Instant::now())
    }

    /// Doubles in one round trip at first; after a SlowDown it grows slowly.
    fn went_well(&self) {
        let answers = self.answers.fetch_add(1, Ordering::Relaxed);
        if self.slowed.load(Ordering::Relaxed) && !answers.is_multiple_of(32) {
            return;
        }
        if self.limit.fetch_add(1, Ordering::Relaxed) < MOST_IN_FLIGHT {
            self.slots.add_permits(1);
        } else {
            self.limit.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Nobody sends until then. All that were under way may hear SlowDown; they halve once.
    fn pause(&self, wait: Duration) {
        let mut until = self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if until.is_none_or(|until| until <= now) {
            self.slowed.store(true, Ordering::Relaxed);
            let limit = self.limit.load(Ordering::Relaxed);
            let less = self.slots.forget_permits((limit / 2).min(limit.saturating_sub(4)));
            self.limit.fetch_sub(less, Ordering::Relaxed);
        }
        *until = Some(until.map_or(now + wait, |until| until.max(now + wait)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_heard_as_seconds_and_as_a_date() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect::<HeaderMap>()
        };
        assert_eq!(retry_after(&headers(&[("retry-after", "7")])), Some(Duration::from_secs(7)));
        let dates =
            [("date", "Wed, 25 Nov 2026 10:00:00 GMT"), ("retry-after", "Wed, 25 Nov 2026 10:00:30 GMT")];
        assert_eq!(retry_after(&headers(&dates)), Some(Duration::from_secs(30)));
        assert_eq!(retry_after(&headers(&[("retry-after", "soon")])), None);
    }

    #[tokio::test]
    async fn a_pause_holds_everybody_and_halves_once() {
        let gate = Gate::new();
        gate.pause(Duration::from_millis(50));
        gate.pause(Duration::from_millis(20));
        assert_eq!(gate.limit.load(Ordering::Relaxed), FIRST_IN_FLIGHT / 2);
        let began = Instant::now();
        drop(gate.enter().await);
        assert!(began.elapsed() >= Duration::from_millis(50));
    }
}
