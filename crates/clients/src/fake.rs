//! A service for unit tests: answers each request with what a function makes of it.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::{Service, VirtualClock};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use reqwest::header::{HeaderMap, HeaderValue};

use crate::http::{Http, Redactor, Reply, Rules, Trust, client};

/// A request, as far as tests look at it.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Method, path and query.
    pub(crate) line: String,
    /// The headers, as they came.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: String,
}

impl Asked {
    /// A parameter of the query.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        let path = self.line.split(' ').nth(1)?;
        let url = reqwest::Url::parse(&format!("http://x{path}")).ok()?;
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

/// Serves until the test ends; returns the base URL.
pub(crate) async fn serve(answer: impl Fn(Asked) -> String + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let mut request = vec![0; 64 * 1024];
                let mut length = 0;
                let text = loop {
                    let read = socket.read(&mut request[length..]).await.unwrap();
                    length += read;
                    let text = String::from_utf8_lossy(&request[..length]).into_owned();
                    if read == 0 || is_whole(&text) {
                        break text;
                    }
                };
                let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
                let line = head.lines().next().unwrap_or_default().to_owned();
                let reply = answer(Asked { line, head: head.to_owned(), body: body.to_owned() });
                let _ = socket.write_all(reply.as_bytes()).await;
            });
        }
    });
    base
}

fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

/// An answer in JSON.
pub(crate) fn json(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

/// A client of it.
pub(crate) fn http(service: Service, base: &str) -> Http {
    let rules = Rules { timeout: Duration::from_secs(2), max_body: 1 << 20, pace: Duration::ZERO };
    let clock = Arc::new(VirtualClock::at("2026-11-23T09:00:00Z".parse().unwrap()));
    Http::new(client(rules.timeout, Trust::Nobody).unwrap(), service, base, rules, clock)
}

/// An answer as it was taken down, to a read or to a write (`writes`), for tests of what it means.
pub(crate) fn reply(
    service: Service,
    call: &str,
    writes: bool,
    status: u16,
    kind: &str,
    body: &str,
) -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_str(kind).unwrap());
    Reply {
        service,
        call: call.to_owned(),
        writes,
        status,
        headers,
        body: body.as_bytes().to_vec(),
        now: jiff::Timestamp::UNIX_EPOCH,
        redactor: Redactor::default(),
    }
}
