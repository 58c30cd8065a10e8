//! The listeners of a layer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use allclear::clients::Endpoints;
use allclear::core::{Clock, VirtualClock};
use allclear::sandbox::Sandbox;
use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::fault::spoil;
use super::{Call, Fault, Request, Seen, Service};

/// Says of each call, and of when it comes, whether and how it is spoiled.
pub(crate) type Rule = Box<dyn FnMut(&Call, Timestamp) -> Option<Fault> + Send>;

/// What all listeners share.
pub(super) struct Inner {
    upstream: String,
    /// The address that links in answers name: Supabase's.
    linked: Mutex<String>,
    sandbox: Arc<Sandbox>,
    pub(super) clock: Arc<VirtualClock>,
    rule: Mutex<Option<Rule>>,
    /// Who is to be gone, and when.
    refuse: Mutex<Option<Refusal>>,
    /// How often the run has waited.
    waits: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
    doors: Mutex<HashMap<Service, mpsc::Sender<Order>>>,
}

/// When nobody listens at a service's address, by what an undisturbed run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) service: Service,
    /// From before this call of the service, counted from 1.
    pub(crate) at: usize,
    /// Until the run waits once more than this often.
    pub(crate) waits: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    Closed,
}

/// To turn a door, and to say when that is done.
type Order = (Door, oneshot::Sender<()>);

/// A running layer. Dropping it ends it.
pub(crate) struct Layer {
    inner: Arc<Inner>,
    fronts: Vec<(Service, SocketAddr)>,
    /// Keep the ports ours while nobody listens at them.
    _ports: Vec<TcpSocket>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Layer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A socket at that address which does not listen; one that listens can have the address as well.
fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

fn locked<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Layer {
    pub(crate) fn before(sandbox: &Arc<Sandbox>, clock: &Arc<VirtualClock>) -> Self {
        let inner = Arc::new(Inner {
            upstream: sandbox.base_url().trim_start_matches("http://").to_owned(),
            linked: Mutex::default(),
            sandbox: Arc::clone(sandbox),
            clock: Arc::clone(clock),
            rule: Mutex::new(None),
            refuse: Mutex::new(None),
            waits: AtomicUsize::new(0),
            seen: Mutex::default(),
            doors: Mutex::default(),
        });
        let (mut fronts, mut ports, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
        for service in Service::ALL {
            let port = bound("127.0.0.1:0".parse().unwrap());
            let address = port.local_addr().unwrap();
            let listener = bound(address).listen(64).unwrap();
            let (door, orders) = mpsc::channel(4);
            locked(&inner.doors).insert(service, door);
            if service == Service::Supabase {
                *locked(&inner.linked) = address.to_string();
            }
            tasks.push(tokio::spawn(serve(Arc::clone(&inner), service, address, listener, orders)));
            fronts.push((service, address));
            ports.push(port);
        }
        Self { inner, fronts, _ports: ports, tasks }
    }

    /// Points clients at the layer; at one service by TLS, which it cannot speak.
    pub(crate) fn lead(&self, endpoints: &mut Endpoints, by_tls: Option<Service>) {
        for (service, address) in &self.fronts {
            let scheme = if by_tls == Some(*service) { "https" } else { "http" };
            *service.endpoint(endpoints) = format!("{scheme}://{address}{}", service.prefix());
        }
    }

    /// Records from now on, and spoils by this rule.
    pub(crate) fn arm(&self, rule: Rule) {
        locked(&self.inner.seen).clear();
        self.inner.waits.store(0, Ordering::SeqCst);
        *locked(&self.inner.rule) = Some(rule);
    }

    /// Lets nobody listen at a service's address for a while.
    pub(crate) async fn refuse(&self, refusal: Refusal) {
        *locked(&self.inner.refuse) = Some(refusal);
        self.inner.close_if_next(refusal.service, 0).await;
    }

    /// The calls so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        locked(&self.inner.seen).clone()
    }

    /// The run's clock: waits open what was closed.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(ReopeningClock { inner: Arc::clone(&self.inner) })
    }
}

/// The run's clock. A service that refused connections is there again when the run has waited.
pub(crate) struct ReopeningClock {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for ReopeningClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReopeningClock").finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl Clock for ReopeningClock {
    fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    fn monotonic(&self) -> Duration {
        self.inner.clock.monotonic()
    }

    async fn sleep_until(&self, at: Timestamp) {
        let waits = self.inner.waits.fetch_add(1, Ordering::SeqCst) + 1;
        let over = locked(&self.inner.refuse).filter(|refusal| waits > refusal.waits);
        if let Some(refusal) = over {
            self.inner.turn(refusal.service, Door::Open).await;
        }
        self.inner.clock.sleep_until(at).await;
    }
}

impl Inner {
    async fn turn(&self, service: Service, to: Door) {
        let Some(door) = locked(&self.doors).get(&service).cloned() else { return };
        let (done, wait) = oneshot::channel();
        if door.send((to, done)).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// Closes the service's door when its next call, after `so_far`, is the one to be refused.
    async fn close_if_next(&self, service: Service, so_far: usize) {
        let is_next = locked(&self.refuse).is_some_and(|one| one.service == service && one.at == so_far + 1);
        if is_next {
            self.turn(service, Door::Closed).await;
        }
    }

    /// Lets the sandbox do it. The whole answer, and what it changed.
    pub(super) async fn forward(&self, request: &Request) -> (Vec<u8>, Vec<(String, String)>) {
        let before = self.sandbox.ledger().len();
        let mut socket = TcpStream::connect(&self.upstream).await.unwrap();
        let linked = locked(&self.linked).clone();
        let head: Vec<String> = request
            .head
            .lines()
            .map(|line| {
                let is_host = line.to_ascii_lowercase().starts_with("host:");
                if is_host { format!("host: {linked}") } else { line.to_owned() }
            })
            .collect();
        let head = format!("{}\r\nconnection: close\r\n\r\n", head.join("\r\n"));
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(&request.body).await.unwrap();
        let mut reply = Vec::new();
        socket.read_to_end(&mut reply).await.unwrap();
        let changed = self.sandbox.ledger().split_off(before);
        let changed = changed.into_iter().filter(|entry| entry.changed);
        (reply, changed.map(|entry| (entry.effect, entry.subject)).collect())
    }

    /// Answers one request, well or badly.
    async fn answer(self: Arc<Self>, service: Service, mut socket: TcpStream) {
        let mut first = [0];
        // The first byte of a TLS handshake; this server answers it in plain words.
        if socket.peek(&mut first).await.is_ok() && first == [22] {
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            let mut rest = Vec::new();
            let _ = socket.read_to_end(&mut rest).await;
            return;
        }
        let Some(request) = Request::read(&mut socket, service).await else { return };
        let at = self.clock.now();
        let armed = locked(&self.rule).is_some();
        let fault = locked(&self.rule).as_mut().and_then(|rule| rule(&request.call, at));
        let place = armed.then(|| {
            let mut seen = locked(&self.seen);
            let (call, real_path) = (request.call.clone(), request.real_path.clone());
            let waits = self.waits.load(Ordering::SeqCst);
            seen.push(Seen { call, at, waits, spoiled: fault.is_some(), changed: Vec::new(), real_path });
            (seen.len() - 1, seen.iter().filter(|one| one.call.service == service).count())
        });
        if let Some(fault) = fault {
            let _ = spoil(&self, socket, &request, &fault).await;
            return;
        }
        let (reply, changed) = self.forward(&request).await;
        if let Some((place, so_far)) = place {
            locked(&self.seen)[place].changed = changed;
            // Nobody may listen any more when the answer to the last good call is read.
            self.close_if_next(service, so_far).await;
        }
        let _ = socket.write_all(&reply).await;
        let _ = socket.shutdown().await;
    }
}

async fn accepted(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        if let Ok((socket, _)) = listener.accept().await {
            return socket;
        }
    }
}

async fn serve(
    inner: Arc<Inner>,
    service: Service,
    address: SocketAddr,
    listener: TcpListener,
    mut orders: mpsc::Receiver<Order>,
) {
    let mut listener = Some(listener);
    loop {
        tokio::select! {
            biased;
            order = orders.recv() => {
                let Some((door, done)) = order else { return };
                match door {
                    Door::Closed => listener = None,
                    Door::Open if listener.is_none() => listener = Some(bound(address).listen(64).unwrap()),
                    Door::Open => {}
                }
                let _ = done.send(());
            }
            socket = accepted(listener.as_ref()) => {
                tokio::spawn(Arc::clone(&inner).answer(service, socket));
            }
        }
    }
}
