//! What a service answered, and what that means.

use std::time::Duration;

use allclear_core::error::{StopReason, WaitSource};
use allclear_core::{PortError, Service};
use jiff::Timestamp;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::Redactor;

/// A service may not ask for a longer wait than this: a typing error there must not stop us for a year.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) service: Service,
    pub(crate) call: String,
    pub(crate) writes: bool,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) now: Timestamp,
    pub(crate) redactor: Redactor,
}

impl Reply {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body of a successful answer, as what it should be.
    pub(crate) fn expect<'a, T: Deserialize<'a>>(&'a self) -> Result<T, PortError> {
        self.expect_success()?;
        if !self.is_json() {
            return Err(self.not_theirs("the body is no JSON"));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            let detail = format!("the body cannot be read: {error}");
            let is_whole = serde_json::from_slice::<IgnoredAny>(&self.body).is_ok();
            if is_whole { self.unusable(&detail) } else { self.not_theirs(&detail) }
        })
    }

    /// A successful status with a body that is no whole JSON: a page of something in between, nothing, or one that was cut. The
    /// service itself did not answer a read so, and that passes; a write may have happened.
    pub(crate) fn not_theirs(&self, detail: &str) -> PortError {
        if self.writes {
            return self.unusable(detail);
        }
        let (service, call) = (self.service, self.call.clone());
        let detail = format!("HTTP {}, and {}", self.status, self.clean(detail));
        PortError::Unavailable { service, call, detail }
    }

    /// Only that it succeeded.
    pub(crate) fn expect_success(&self) -> Result<(), PortError> {
        if self.is_success() { Ok(()) } else { Err(self.failure()) }
    }

    /// The body as JSON, where it is some.
    pub(crate) fn json(&self) -> Option<Value> {
        if self.is_json() { serde_json::from_slice(&self.body).ok() } else { None }
    }

    /// Whether the body's message is exactly this.
    pub(crate) fn says(&self, message: &str) -> bool {
        self.json().is_some_and(|body| body["message"] == message)
    }

    fn is_json(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.contains("json"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Its words, fit for a journal and a terminal.
    pub(crate) fn clean(&self, text: &str) -> String {
        self.redactor.clean(text)
    }

    /// What an unsuccessful status means where the service has no words of its own for it.
    pub(crate) fn failure(&self) -> PortError {
        let (service, call) = (self.service, self.call.clone());
        let said = self.said();
        let detail = format!(
            "HTTP {}{}",
            self.status,
            if said.is_empty() { String::new() } else { format!(": {said}") }
        );
        match self.status {
            300..=399 => self.rejected(
                "3xx",
                &format!("it redirects to {}, which we do not follow", self.redirect_host()),
            ),
            401 => PortError::Stopped { service, call, reason: StopReason::Credential, detail },
            403 => PortError::Stopped { service, call, reason: StopReason::Permission, detail },
            404 if self.is_json() => PortError::NotFound { service, what: call },
            404 => self.rejected("404", "it answers with a page: this endpoint is not deployed here"),
            408 | 500..=599 if self.writes => PortError::OutcomeUnknown { service, call, detail },
            408 | 500..=599 => PortError::Unavailable { service, call, detail },
            429 => self.rate_limited(detail),
            _ => PortError::Rejected { service, call, code: self.code(), detail },
        }
    }

    pub(crate) fn rate_limited(&self, detail: String) -> PortError {
        let (wait, source_of_wait) = self.asked_wait();
        let wait_seconds = wait.map(whole_seconds);
        PortError::RateLimited {
            service: self.service,
            call: self.call.clone(),
            wait_seconds,
            source_of_wait,
            detail,
        }
    }

    pub(crate) fn rejected(&self, code: &str, detail: &str) -> PortError {
        let (service, call) = (self.service, self.call.clone());
        PortError::Rejected { service, call, code: Some(code.to_owned()), detail: self.clean(detail) }
    }

    /// A successful status with a body that says nothing we understand: a write may have happened.
    pub(crate) fn unusable(&self, detail: &str) -> PortError {
        let (service, call, detail) = (self.service, self.call.clone(), self.clean(detail));
        if self.writes {
            PortError::OutcomeUnknown { service, call, detail }
        } else {
            PortError::Malformed { service, call, detail }
        }
    }

    /// How long to leave this call alone, where the service limits it and says so.
    pub(super) fn wait_of_a_limit(&self) -> Option<Duration> {
        if self.status == 429 { self.asked_wait().0 } else { None }
    }

    /// How long the service asks us to wait: `Retry-After` as seconds or as a date, or a rate-limit header.
    fn asked_wait(&self) -> (Option<Duration>, WaitSource) {
        if let Some(wait) = self.header("retry-after").and_then(|text| parse_wait(text, self.told_at())) {
            return (Some(wait), WaitSource::RetryAfterHeader);
        }
        let reset = ["ratelimit-reset", "x-ratelimit-reset"].iter().find_map(|name| self.header(name));
        match reset.and_then(|text| parse_wait(text, self.told_at())) {
            Some(wait) => (Some(wait), WaitSource::LimitHeader),
            None => (None, WaitSource::Ours),
        }
    }

    /// When it was told, by the clock of whoever told it: a date in it is one of theirs.
    fn told_at(&self) -> Timestamp {
        let date = self.header("date").and_then(|text| jiff::fmt::rfc2822::parse(text).ok());
        date.map_or(self.now, |date| date.timestamp())
    }

    /// The service's own error code, where the body has one in a usual place.
    fn code(&self) -> Option<String> {
        let body = self.json()?;
        let code = [&body["code"], &body["error"]["code"], &body["error"]]
            .into_iter()
            .find(|code| !code.is_null())?;
        match code {
            Value::String(text) => Some(self.clean(text)),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// What the body says, in one line.
    fn said(&self) -> String {
        let Some(body) = self.json() else { return String::new() };
        let places = [&body["message"], &body["error"]["message"], &body["error"], &body["msg"]];
        places.into_iter().find_map(Value::as_str).map(|said| self.clean(said)).unwrap_or_default()
    }

    /// The host only: the rest of a location may hold anything.
    fn redirect_host(&self) -> String {
        let location = self.header("location").unwrap_or("elsewhere");
        reqwest::Url::parse(location)
            .ok()
            .and_then(|url| url.host_str().map(str::to_owned))
            .unwrap_or_else(|| "elsewhere".to_owned())
    }
}

/// Rounded up: a call that comes a part of a second early comes early.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// Seconds or an HTTP date. Nonsense and the past are no answer; the far future is cut.
pub(crate) fn parse_wait(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(LONGEST_WAIT));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let wait = date.duration_since(now);
    (!wait.is_negative()).then(|| wait.unsigned_abs().min(LONGEST_WAIT))
}
