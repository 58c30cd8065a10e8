//! A layer between clients and sandbox that records every call and spoils some: real HTTP over real connections, one
//! listener for each service, so that one of them can be gone while the others answer.

mod fault;
mod server;

use allclear::clients::Endpoints;
use allclear::clients::pagerduty::Region;
use jiff::Timestamp;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

pub(crate) use fault::{ALL, Fault, http_date};
pub(crate) use server::{Layer, Refusal, Rule};

/// A service, as it has an address of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Service {
    Admin,
    Supabase,
    Management,
    Graph,
    Events,
    Paging,
    Slack,
    Provider,
}

impl Service {
    pub(crate) const ALL: [Self; 8] = [
        Self::Admin,
        Self::Supabase,
        Self::Management,
        Self::Graph,
        Self::Events,
        Self::Paging,
        Self::Slack,
        Self::Provider,
    ];

    /// Where the sandbox has it.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Admin => "/admin",
            Self::Supabase => "/supabase",
            Self::Management => "/supabase-management",
            Self::Graph => "/graph/v23.0",
            Self::Events => "/pagerduty-events",
            Self::Paging => "/pagerduty",
            Self::Slack => "/slack/api",
            Self::Provider => "/provider",
        }
    }

    /// The base URL of it among all.
    pub(crate) fn endpoint(self, of: &mut Endpoints) -> &mut String {
        let Region::Custom { events, rest } = &mut of.pagerduty else {
            unreachable!("a sandbox's PagerDuty has addresses of its own")
        };
        match self {
            Self::Admin => &mut of.admin,
            Self::Supabase => &mut of.supabase,
            Self::Management => &mut of.supabase_management,
            Self::Graph => &mut of.graph,
            Self::Events => events,
            Self::Paging => rest,
            Self::Slack => &mut of.slack,
            Self::Provider => &mut of.provider,
        }
    }
}

/// A call without what differs between two of the same kind: ids in its path are `*`, and of its query the names remain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Call {
    pub(crate) service: Service,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
}

impl Call {
    /// Whether it may change something. Signing in and rendering a preview do not.
    pub(crate) fn writes(&self) -> bool {
        let reads = ["/api/auth/login", "/api/station/login", "/api/vouchers/preview"];
        !matches!(self.method.as_str(), "GET" | "HEAD") && !reads.iter().any(|read| self.path.ends_with(read))
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        if self.query.is_empty() { Ok(()) } else { write!(f, "?{}", self.query) }
    }
}

/// A path with every piece that has a digit, and so every id, as `*`.
fn general(path: &str) -> String {
    let version = |piece: &str| piece.len() == 2 && piece.starts_with('v');
    let piece = |piece: &str| {
        let is_id = piece.bytes().any(|byte| byte.is_ascii_digit()) && !version(piece);
        if is_id { "*" } else { piece }.to_owned()
    };
    path.split('/').map(piece).collect::<Vec<_>>().join("/")
}

/// What a query asks about: its names, without those that turn pages.
fn asked(query: &str) -> String {
    let turns =
        |pair: &&str| ["order=", "limit=", "id=gt.", "select=*"].iter().any(|start| pair.starts_with(start));
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    query.split('&').filter(|pair| !turns(pair)).map(name).collect::<Vec<_>>().join(",")
}

/// A call that came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) call: Call,
    /// When, by the run's clock.
    pub(crate) at: Timestamp,
    /// How often the run had waited before it.
    pub(crate) waits: usize,
    pub(crate) spoiled: bool,
    /// What it changed, by the ledger: effect and subject.
    pub(crate) changed: Vec<(String, String)>,
    /// The path as it came, below the service's base.
    pub(crate) real_path: String,
}

/// A request as it came.
pub(crate) struct Request {
    call: Call,
    real_path: String,
    head: String,
    body: Vec<u8>,
}

impl Request {
    async fn read(socket: &mut TcpStream, service: Service) -> Option<Self> {
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
                let length = head
                    .lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
                    .unwrap_or(0);
                if bytes.len() >= end + 4 + length {
                    let mut words = head.split(' ');
                    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
                    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
                    let path = path.strip_prefix(service.prefix()).unwrap_or(path);
                    let call = Call { service, method, path: general(path), query: asked(query) };
                    let (real_path, body) = (path.to_owned(), bytes[end + 4..].to_vec());
                    return Some(Self { call, real_path, head, body });
                }
            }
            if socket.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
    }
}
