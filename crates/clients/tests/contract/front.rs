//! What stands between a client and a contract server: it may ask for a certain answer, and it may answer itself.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of requests.
#[derive(Debug, Clone)]
pub(crate) enum Then {
    /// They go on to this host and port, with a header that asks for a status.
    Forward { to: String, wanting: Option<u16> },
    /// As [`Forward`](Self::Forward), and the status is asked of requests with one method only: a write may follow a read.
    ForwardWanting { to: String, method: &'static str, status: u16 },
    /// They are answered with these bytes.
    Answer(String),
    /// They are answered by the first part of a path that is in theirs.
    Routes(Vec<(&'static str, String)>),
}

/// Head and body.
type Request = (String, Vec<u8>);

/// A server on loopback, for as long as the runtime lives.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    pub(crate) base: String,
    then: Arc<Mutex<Then>>,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Front {
    pub(crate) async fn start(then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be listened on");
        let base = format!("http://{}", listener.local_addr().expect("it has an address"));
        let then = Arc::new(Mutex::new(then));
        let seen = Arc::default();
        let front = Self { base, then: Arc::clone(&then), seen: Arc::clone(&seen) };
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let then = then.lock().unwrap_or_else(PoisonError::into_inner).clone();
                tokio::spawn(serve(socket, then, Arc::clone(&seen)));
            }
        });
        front
    }

    /// Of each request the last part of its path, and the names of its arguments: of the query, and of the body.
    pub(crate) fn arguments(&self) -> Vec<(String, Vec<String>)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter()
            .map(|(head, body)| {
                let target = head.split(' ').nth(1).unwrap_or_default();
                let (path, query) = target.split_once('?').unwrap_or((target, ""));
                let of_query = query.split('&').filter_map(|pair| pair.split('=').next()).map(str::to_owned);
                let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
                let of_body: Vec<String> =
                    body.as_object().into_iter().flat_map(|o| o.keys().cloned()).collect();
                let names = of_query.chain(of_body).filter(|name| !name.is_empty()).collect();
                (path.rsplit('/').next().unwrap_or_default().to_owned(), names)
            })
            .collect()
    }

    pub(crate) fn now(&self, then: Then) {
        *self.then.lock().unwrap_or_else(PoisonError::into_inner) = then;
    }
}

/// An answer as a vendor gives it.
pub(crate) fn answer(status: u16, headers: &[(String, String)], body: &str) -> String {
    use std::fmt::Write as _;
    let mut text = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text + "\r\n" + body
}

/// One request; the connection is not kept.
async fn serve(mut socket: TcpStream, then: Then, seen: Arc<Mutex<Vec<Request>>>) -> Option<()> {
    let (head, body) = request(&mut socket).await?;
    seen.lock().unwrap_or_else(PoisonError::into_inner).push((head.clone(), body.clone()));
    let (to, wanting) = match then {
        Then::Routes(routes) => {
            let line = head.lines().next().unwrap_or_default();
            let (_, answer) = routes.iter().find(|(part, _)| line.contains(part))?;
            socket.write_all(answer.as_bytes()).await.ok()?;
            return socket.shutdown().await.ok();
        }
        Then::Answer(answer) => {
            socket.write_all(answer.as_bytes()).await.ok()?;
            return socket.shutdown().await.ok();
        }
        Then::Forward { to, wanting } => (to, wanting),
        Then::ForwardWanting { to, method, status } => {
            (to, head.starts_with(&format!("{method} ")).then_some(status))
        }
    };
    let prefer = wanting.map(|status| format!("prefer: code={status}\r\n")).unwrap_or_default();
    let mut upstream = TcpStream::connect(to.trim_start_matches("http://")).await.ok()?;
    let head = format!("{}\r\n{prefer}connection: close\r\n\r\n", head.trim_end());
    upstream.write_all(head.as_bytes()).await.ok()?;
    upstream.write_all(&body).await.ok()?;
    tokio::io::copy(&mut upstream, &mut socket).await.ok()?;
    socket.shutdown().await.ok()
}

/// The head and the body of one request.
async fn request(socket: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end + 4]).into_owned();
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
                .unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                return Some((head, bytes[end + 4..].to_vec()));
            }
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
