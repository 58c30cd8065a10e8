//! A server that stands before the sandbox and spoils one request of a sequence. Raw TCP, because what an HTTP library would
//! never send is the point.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::fault::Fault;

const GIB: u64 = 1 << 30;
/// As many may wait to be accepted as a method makes calls at once, and more.
const BACKLOG: u32 = 64;
/// Longer than any client of the test waits.
const LONG: Duration = Duration::from_secs(3);

/// What a server saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Method and path of each request, in their order.
    pub(crate) requests: Mutex<Vec<(String, String)>>,
    /// Bytes of a body without end that were taken.
    pub(crate) taken: AtomicU64,
    /// Requests at the place that redirects point to.
    pub(crate) redirected: AtomicUsize,
}

impl Seen {
    pub(crate) fn requests(&self) -> Vec<(String, String)> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Faulty {
    pub(crate) base: String,
    pub(crate) seen: Arc<Seen>,
    tasks: Vec<JoinHandle<()>>,
    /// Keeps the port ours while nobody listens at it: a port that was let go may be another server's a moment later.
    _port: TcpSocket,
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Faulty {
    /// Forwards to `sandbox`, and spoils request number `at` (from 1) if there is a fault.
    pub(crate) async fn before(sandbox: &str, fault: Option<(Fault, usize)>) -> Self {
        let port = bound("127.0.0.1:0".parse().unwrap());
        let address = port.local_addr().unwrap();
        // Decided before anybody knows the address: a connection that waits to be accepted when a listener goes was made,
        // and what is written to it is lost and not refused.
        let listener = (fault != Some((Fault::Refused, 1))).then(|| bound(address).listen(BACKLOG).unwrap());
        let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let seen = Arc::new(Seen::default());
        let plan = Plan {
            upstream: sandbox.trim_start_matches("http://").to_owned(),
            elsewhere: format!("http://{}/stolen", elsewhere.local_addr().unwrap()),
            fault,
            seen: Arc::clone(&seen),
        };
        let trap = Arc::clone(&seen);
        let tasks = vec![
            tokio::spawn(async move {
                while let Ok((_socket, _)) = elsewhere.accept().await {
                    trap.redirected.fetch_add(1, Ordering::SeqCst);
                }
            }),
            tokio::spawn(async move {
                if let Some(listener) = listener {
                    plan.serve(listener).await;
                }
            }),
        ];
        let scheme = if fault.is_some_and(|(fault, _)| fault.is_tls()) { "https" } else { "http" };
        Self { base: format!("{scheme}://{address}"), seen, tasks, _port: port }
    }
}

/// A socket at that address which does not listen. Whoever connects to it is refused.
fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    // So that one which listens and one which only keeps the port can both have it.
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

#[derive(Clone)]
struct Plan {
    upstream: String,
    elsewhere: String,
    fault: Option<(Fault, usize)>,
    seen: Arc<Seen>,
}

impl Plan {
    async fn serve(self, listener: TcpListener) {
        loop {
            let Ok((mut socket, _)) = listener.accept().await else { return };
            if let Some((fault, _)) = self.fault
                && fault.is_tls()
            {
                tokio::spawn(spoil_handshake(socket, fault));
                continue;
            }
            let Some(request) = Request::read(&mut socket).await else { continue };
            let number = {
                let mut requests = self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner);
                requests.push((request.method.clone(), request.path.clone()));
                requests.len()
            };
            match self.fault {
                Some((fault, at)) if at == number => {
                    let plan = self.clone();
                    tokio::spawn(async move { plan.spoil(socket, request, fault).await });
                }
                _ => {
                    let reply = request.forward(&self.upstream).await;
                    if self.refuses_from(number + 1) {
                        // Nobody may listen any more when the answer to the last good request is read.
                        drop(listener);
                        let _ = socket.write_all(&reply).await;
                        return;
                    }
                    let _ = socket.write_all(&reply).await;
                }
            }
        }
    }

    fn refuses_from(&self, number: usize) -> bool {
        self.fault == Some((Fault::Refused, number))
    }

    async fn spoil(&self, mut socket: TcpStream, request: Request, fault: Fault) -> Option<()> {
        match fault {
            Fault::Reset => return socket.set_zero_linger().ok(),
            Fault::ResetInBody => {
                socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n[{\"a\"").await.ok()?;
                socket.flush().await.ok()?;
                tokio::time::sleep(Duration::from_millis(30)).await;
                return socket.set_zero_linger().ok();
            }
            Fault::WrongLength => send(&mut socket, "200 OK", JSON, &announced("[]", 99)).await?,
            Fault::SlowLoris => {
                for byte in b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-slow: "
                    .iter()
                    .chain(&[b'x'; 9_999])
                {
                    socket.write_all(&[*byte]).await.ok()?;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            Fault::SilentUndone => tokio::time::sleep(LONG).await,
            Fault::SilentDone => {
                request.forward(&self.upstream).await;
                tokio::time::sleep(LONG).await;
            }
            Fault::ClosedDone => drop(request.forward(&self.upstream).await),
            Fault::Endless => self.pour(&mut socket).await?,
            Fault::HugeHeader => {
                socket.write_all(b"HTTP/1.1 200 OK\r\n").await.ok()?;
                let line = format!("x-huge: {}\r\n", "y".repeat(8_000));
                for _ in 0..1_280 {
                    socket.write_all(line.as_bytes()).await.ok()?;
                }
            }
            Fault::Deep => send(&mut socket, "200 OK", JSON, &whole(&"[".repeat(100_000))).await?,
            Fault::Truncated => send(&mut socket, "200 OK", JSON, &whole(r#"[{"id":"#)).await?,
            Fault::WrongType => send(&mut socket, "200 OK", JSON, &whole("\"all is well\"")).await?,
            Fault::Page => send(&mut socket, "200 OK", HTML, &whole("<!doctype html><p>Sign in</p>")).await?,
            Fault::Redirect => {
                let headers = format!("location: {}\r\n", self.elsewhere);
                send(&mut socket, "307 Temporary Redirect", &headers, &whole("")).await?;
            }
            Fault::LimitSeconds => limit(&mut socket, "retry-after: 7\r\n").await?,
            Fault::LimitDate => limit(&mut socket, "retry-after: Mon, 23 Nov 2026 07:01:00 GMT\r\n").await?,
            Fault::Limit => limit(&mut socket, "").await?,
            Fault::Page404 => send(&mut socket, "404 Not Found", HTML, &whole("<h1>404</h1>")).await?,
            Fault::S502 => send(&mut socket, "502 Bad Gateway", HTML, &whole("<h1>502</h1>")).await?,
            Fault::S401 => says(&mut socket, "401 Unauthorized").await?,
            Fault::S403 => says(&mut socket, "403 Forbidden").await?,
            Fault::S404 => says(&mut socket, "404 Not Found").await?,
            Fault::S408 => says(&mut socket, "408 Request Timeout").await?,
            Fault::S409 => says(&mut socket, "409 Conflict").await?,
            Fault::S500 => says(&mut socket, "500 Internal Server Error").await?,
            Fault::S503 => says(&mut socket, "503 Service Unavailable").await?,
            Fault::S504 => says(&mut socket, "504 Gateway Timeout").await?,
            Fault::Refused | Fault::TlsGarbage | Fault::TlsCut | Fault::TlsUntrusted => {
                unreachable!("{fault:?} is before any request")
            }
        }
        socket.shutdown().await.ok()
    }

    /// Sends until nobody takes any more.
    async fn pour(&self, socket: &mut TcpStream) -> Option<()> {
        let head = format!("HTTP/1.1 200 OK\r\n{JSON}content-length: {GIB}\r\n\r\n");
        socket.write_all(head.as_bytes()).await.ok()?;
        let piece = vec![b' '; 64 * 1024];
        for _ in 0..GIB / piece.len() as u64 {
            socket.write_all(&piece).await.ok()?;
            self.seen.taken.fetch_add(piece.len() as u64, Ordering::SeqCst);
        }
        Some(())
    }
}

const JSON: &str = "content-type: application/json\r\n";
const HTML: &str = "content-type: text/html\r\n";

fn whole(body: &str) -> String {
    announced(body, body.len())
}

fn announced(body: &str, length: usize) -> String {
    format!("content-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

async fn send(socket: &mut TcpStream, status: &str, headers: &str, rest: &str) -> Option<()> {
    socket.write_all(format!("HTTP/1.1 {status}\r\n{headers}{rest}").as_bytes()).await.ok()
}

async fn says(socket: &mut TcpStream, status: &str) -> Option<()> {
    send(socket, status, JSON, &whole(r#"{"message":"no"}"#)).await
}

async fn limit(socket: &mut TcpStream, headers: &str) -> Option<()> {
    send(socket, "429 Too Many Requests", &format!("{JSON}{headers}"), &whole(r#"{"message":"slow down"}"#))
        .await
}

async fn spoil_handshake(mut socket: TcpStream, fault: Fault) -> Option<()> {
    let mut hello = [0; 16];
    match fault {
        Fault::TlsGarbage => {
            socket.read_exact(&mut hello).await.ok()?;
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok()?;
            socket.shutdown().await.ok()
        }
        Fault::TlsCut => {
            socket.read_exact(&mut hello).await.ok()?;
            // The beginning of a ServerHello, and no more.
            socket.write_all(&[22, 3, 3, 0, 90, 2, 0]).await.ok()?;
            socket.shutdown().await.ok()
        }
        _ => {
            let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).ok()?;
            let key = PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
            let config = ServerConfig::builder()
                .with_no_client_auth()
                .with_single_cert(vec![certified.cert.der().clone()], key)
                .ok()?;
            let mut stream = TlsAcceptor::from(Arc::new(config)).accept(socket).await.ok()?;
            // Whoever comes as far as this has trusted it.
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.ok()
        }
    }
}

/// A request as it came.
struct Request {
    method: String,
    path: String,
    head: String,
    body: Vec<u8>,
}

impl Request {
    async fn read(socket: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Option<Self> {
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
                let length = head
                    .lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
                    .unwrap_or(0);
                if bytes.len() >= end + 4 + length {
                    let mut words = head.split([' ', '?']);
                    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
                    return Some(Self { method, path, body: bytes[end + 4..].to_vec(), head });
                }
            }
            if socket.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// Lets the sandbox do it; the whole answer.
    async fn forward(&self, upstream: &str) -> Vec<u8> {
        let mut reply = Vec::new();
        let mut socket = TcpStream::connect(upstream).await.unwrap();
        socket.write_all(format!("{}\r\nconnection: close\r\n\r\n", self.head).as_bytes()).await.unwrap();
        socket.write_all(&self.body).await.unwrap();
        socket.read_to_end(&mut reply).await.unwrap();
        reply
    }
}
