//! What may go wrong with one call, and how it looks on the wire.

use allclear::core::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Request;
use super::server::Inner;

/// One thing that goes wrong. Where it says "done", the service acted upon the request first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nobody listens, until the run next waits.
    Refused,
    /// Done, and the connection is reset in the middle of the answer.
    ResetInBody,
    /// Done, and the answer comes byte by byte, slower than anybody waits.
    SlowLoris,
    /// Not done, and no answer.
    SilentUndone,
    /// Done, and no answer.
    SilentDone,
    /// 429 with seconds to wait.
    LimitSeconds,
    /// 429 with a date to wait for.
    LimitDate,
    /// 429 and nothing more.
    Limit,
    /// 401.
    S401,
    /// 403.
    S403,
    /// 404 as a page.
    Page404,
    /// 408, not done.
    S408,
    /// 409.
    S409,
    /// 500, done.
    S500,
    /// 503, not done.
    S503,
    /// Not done, and 200 with half a JSON document.
    Truncated,
    /// Not done, and 200 with JSON of another type.
    WrongType,
    /// Not done, and 200 with a body of a gigabyte.
    Gigabyte,
    /// A redirect to another place.
    Redirect,
    /// The service's TLS answer is none, from the run's start.
    Tls,
    /// These words.
    Says {
        /// Status code and reason.
        status: &'static str,
        /// More headers, each with its line end.
        headers: String,
        /// The body, JSON.
        body: &'static str,
    },
}

/// All of a matrix, in the order of its columns, each with its heading.
pub(crate) const ALL: [(Fault, &str); 20] = [
    (Fault::Refused, "connection refused until the run next waits"),
    (Fault::ResetInBody, "done, reset in the middle of the body"),
    (Fault::SlowLoris, "done, slow loris"),
    (Fault::SilentUndone, "timeout before the server acted"),
    (Fault::SilentDone, "timeout after the server acted"),
    (Fault::LimitSeconds, "429, Retry-After 7 s"),
    (Fault::LimitDate, "429, Retry-After a date in 60 s"),
    (Fault::Limit, "429 without Retry-After"),
    (Fault::S401, "401"),
    (Fault::S403, "403"),
    (Fault::Page404, "404, a page"),
    (Fault::S408, "408, not done"),
    (Fault::S409, "409"),
    (Fault::S500, "500, done"),
    (Fault::S503, "503, not done"),
    (Fault::Truncated, "200, half a JSON document, not done"),
    (Fault::WrongType, "200, JSON of another type, not done"),
    (Fault::Gigabyte, "200, a body of 1 GiB, not done"),
    (Fault::Redirect, "redirect"),
    (Fault::Tls, "TLS failure of the whole service, from the run's start"),
];

impl Fault {
    /// Whether the client must wait until its patience ends.
    pub(crate) fn is_slow(&self) -> bool {
        matches!(self, Self::SlowLoris | Self::SilentUndone | Self::SilentDone)
    }

    fn is_done(&self) -> bool {
        matches!(self, Self::ResetInBody | Self::SlowLoris | Self::SilentDone | Self::S500)
    }
}

const JSON: &str = "content-type: application/json\r\n";
const HTML: &str = "content-type: text/html\r\n";
const GIB: usize = 1 << 30;

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}

/// Answers a request as the fault has it. `None` when the client went away, as it should.
pub(super) async fn spoil(
    inner: &Inner,
    mut socket: TcpStream,
    request: &Request,
    fault: &Fault,
) -> Option<()> {
    let real = if fault.is_done() { inner.forward(request).await.0 } else { Vec::new() };
    let bytes = match fault {
        Fault::ResetInBody => {
            // Cut within the body, or where there is none, within the head.
            socket.write_all(&real[..real.len().saturating_sub(1)]).await.ok()?;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            return socket.set_zero_linger().ok();
        }
        Fault::SlowLoris => {
            for byte in real.iter().chain(std::iter::repeat(&b' ')) {
                socket.write_all(&[*byte]).await.ok()?;
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            return None;
        }
        Fault::SilentUndone | Fault::SilentDone => {
            // Until the client hangs up.
            let mut rest = Vec::new();
            socket.read_to_end(&mut rest).await.ok()?;
            return None;
        }
        Fault::Gigabyte => {
            let head = format!("HTTP/1.1 200 OK\r\n{JSON}content-length: {GIB}\r\n\r\n");
            socket.write_all(head.as_bytes()).await.ok()?;
            let piece = vec![b' '; 64 * 1024];
            for _ in 0..GIB / piece.len() {
                socket.write_all(&piece).await.ok()?;
            }
            return None;
        }
        other => plain(inner, other),
    };
    socket.write_all(&bytes).await.ok()?;
    socket.shutdown().await.ok()
}

fn plain(inner: &Inner, fault: &Fault) -> Vec<u8> {
    const NO: &str = r#"{"message":"no"}"#;
    let json = |status: &str| answer(status, JSON, NO);
    let limited = |headers: &str| answer("429 Too Many Requests", &format!("{JSON}{headers}"), NO);
    match fault {
        Fault::LimitSeconds => limited("retry-after: 7\r\n"),
        Fault::LimitDate => {
            let date = inner.clock.now() + std::time::Duration::from_mins(1);
            limited(&format!("retry-after: {}\r\n", http_date(date)))
        }
        Fault::Limit => limited(""),
        Fault::S401 => json("401 Unauthorized"),
        Fault::S403 => json("403 Forbidden"),
        Fault::Page404 => answer("404 Not Found", HTML, "<!doctype html><h1>404</h1>"),
        Fault::S408 => json("408 Request Timeout"),
        Fault::S409 => json("409 Conflict"),
        Fault::S500 => json("500 Internal Server Error"),
        Fault::S503 => json("503 Service Unavailable"),
        Fault::Truncated => answer("200 OK", JSON, r#"[{"id":"#),
        Fault::WrongType => answer("200 OK", JSON, "\"all is well\""),
        Fault::Redirect => answer("307 Temporary Redirect", "location: http://192.0.2.1/elsewhere\r\n", ""),
        Fault::Says { status, headers, body } => answer(status, &format!("{JSON}{headers}"), body),
        other => unreachable!("{other:?} is no plain answer"),
    }
}

/// A time as HTTP has it: whole seconds.
pub(crate) fn http_date(at: jiff::Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
