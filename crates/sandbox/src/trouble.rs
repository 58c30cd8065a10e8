//! Trouble on the way: what a network, a gateway or a restart does to calls, whatever the world is like.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Calls that go wrong, for so many calls or for a while. Each call meets one trouble at most, the first that is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trouble {
    /// A part of `METHOD /path`; empty means every call.
    pub calls: String,
    /// Whether only calls that may change something are meant.
    pub writes: bool,
    /// How many of these calls go well first.
    pub skip: u32,
    /// How many go wrong then.
    pub times: u32,
    /// How many seconds of the world's time it lasts, counted from the first call that goes wrong; every call in it goes
    /// wrong, and `times` says nothing then.
    pub lasts: Option<u64>,
    /// Whether the service acts upon the call before it goes wrong.
    pub acted: bool,
    /// What is answered.
    pub answer: Answer,
    /// How many milliseconds by the wall's clock it takes until that is answered.
    pub late_ms: u64,
}

/// A trouble that is on.
#[derive(Debug)]
pub(crate) struct Due {
    trouble: Trouble,
    /// When its first call went wrong.
    since: Option<Timestamp>,
}

/// What whoever called gets to see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The connection breaks within the answer.
    #[default]
    Lost,
    /// The service's own; it is only late, and the service acted whatever `acted` says.
    Own,
    /// Another one.
    Says {
        /// The HTTP status.
        status: u16,
        /// The body: JSON, or a gateway's page.
        body: String,
    },
}

impl Default for Trouble {
    fn default() -> Self {
        Self {
            calls: String::new(),
            writes: false,
            skip: 0,
            times: 1,
            lasts: None,
            acted: false,
            answer: Answer::Lost,
            late_ms: 0,
        }
    }
}

impl From<Trouble> for Due {
    fn from(trouble: Trouble) -> Self {
        Self { trouble, since: None }
    }
}

impl Due {
    /// Whether a call goes wrong by it. Counts the call.
    fn hits(&mut self, call: &str, now: Timestamp) -> bool {
        let trouble = &mut self.trouble;
        let reads = call.starts_with("GET ") || call.starts_with("HEAD ");
        if (trouble.writes && reads) || !call.contains(trouble.calls.as_str()) {
            return false;
        }
        if trouble.skip > 0 {
            trouble.skip -= 1;
            return false;
        }
        if let Some(seconds) = trouble.lasts {
            let since = *self.since.get_or_insert(now);
            return now.duration_since(since).as_secs() < seconds.cast_signed();
        }
        let hits = trouble.times > 0;
        trouble.times = trouble.times.saturating_sub(1);
        hits
    }
}

impl Trouble {
    /// The answer to the next of these calls is lost after the service acted.
    pub fn lost_answer(calls: impl Into<String>) -> Self {
        Self { calls: calls.into(), acted: true, ..Self::default() }
    }

    /// Whether the service acts.
    pub(crate) fn acts(&self) -> bool {
        self.acted || self.answer == Answer::Own
    }

    /// What the caller gets, and when; `own` is the service's answer, where it acted.
    pub(crate) async fn answer(&self, own: Option<Response>) -> Response {
        tokio::time::sleep(Duration::from_millis(self.late_ms)).await;
        match (&self.answer, own) {
            (Answer::Own, Some(own)) => own,
            (Answer::Says { status, body }, _) => {
                let kind = if body.trim_start().starts_with('<') { "text/html" } else { "application/json" };
                let answer = Response::builder().status(*status).header("content-type", kind);
                answer.body(Body::from(body.clone())).unwrap_or_else(|_| broken(None))
            }
            (_, own) => broken(own),
        }
    }
}

/// The first trouble that a call meets, if it meets one.
pub(crate) fn met(due: &mut [Due], call: &str, now: Timestamp) -> Option<Trouble> {
    due.iter_mut().find_map(|due| due.hits(call, now).then(|| due.trouble.clone()))
}

/// An answer whose body breaks off.
fn broken(real: Option<Response>) -> Response {
    let gone =
        futures_util::stream::once(async { Err::<&[u8], _>(std::io::Error::other("the answer is lost")) });
    let (parts, _) = real.unwrap_or_default().into_parts();
    let mut response = Response::from_parts(parts, Body::from_stream(gone));
    response.headers_mut().remove("content-length");
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn a_trouble_comes_after_so_many_calls_and_goes_after_so_many_more() {
        let mut troubles =
            [Trouble { calls: "/pause".to_owned(), skip: 1, times: 2, ..Trouble::default() }.into()];
        let mut hits = |call| met(&mut troubles, call, NOW).is_some();
        assert!(!hits("POST /start") && !hits("POST /pause"));
        assert!(hits("POST /pause") && !hits("POST /start") && hits("POST /pause"));
        assert!(!hits("POST /pause"));
    }

    #[test]
    fn a_trouble_that_lasts_begins_with_its_first_call_and_spares_reads_where_it_should() {
        let mut troubles = [Trouble { writes: true, lasts: Some(20), ..Trouble::default() }.into()];
        let mut hits =
            |call, second| met(&mut troubles, call, Timestamp::from_second(second).unwrap()).is_some();
        assert!(!hits("GET /rest", 0) && hits("PATCH /rest", 100));
        assert!(hits("POST /rest", 119) && !hits("POST /rest", 120));
    }
}
