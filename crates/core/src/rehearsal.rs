//! Whether a platform is only rehearsed on.
//!
//! In a rehearsal a role may play the people, and a run may go without a plan. So that this is never so at a real platform,
//! it is no flag that somebody sets: it is a value that is made from an address, and only of an address on this machine.

/// Proof that a platform is a sandbox on this machine. Platforms that act for real have none.
///
/// ```
/// use allclear_core::Rehearsal;
///
/// let sandbox = Rehearsal::at("http://127.0.0.1:4100/").unwrap();
/// assert_eq!(sandbox.address(), "http://127.0.0.1:4100");
/// assert_eq!(Rehearsal::at("https://project.supabase.co"), None);
/// assert_eq!(Rehearsal::at("http://127.0.0.1@project.supabase.co"), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    address: String,
}

impl Rehearsal {
    /// The sandbox at `address`; `None` where that is not on this machine.
    pub fn at(address: &str) -> Option<Self> {
        let (scheme, rest) = address.split_once("://")?;
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let origin = rest[..end].to_ascii_lowercase();
        let is_web = matches!(scheme, "http" | "https");
        (is_web && is_loopback(&origin)).then(|| Self { address: format!("{scheme}://{origin}") })
    }

    /// Where it is, without a path.
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// Whether a host, with or without a port, is this machine. One with a user before it is none.
fn is_loopback(origin: &str) -> bool {
    if let Ok(with_port) = origin.parse::<std::net::SocketAddr>() {
        return with_port.ip().is_loopback();
    }
    let (host, port) = origin.rsplit_once(':').unwrap_or((origin, ""));
    let is_port = port.is_empty() || port.parse::<u16>().is_ok();
    let here = host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    is_port && here
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_of_this_machine_is_a_rehearsal() {
        for here in ["http://127.0.0.1:80", "http://127.9.9.9", "http://localhost:4100/x", "http://[::1]:9/"]
        {
            assert!(Rehearsal::at(here).is_some(), "{here}");
        }
        for elsewhere in [
            "",
            "ftp://127.0.0.1:80",
            "https://project.supabase.co",
            "http://10.0.0.1",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com:80",
            "http://127.0.0.1@example.com",
            "http://example.com/127.0.0.1",
            "http://example.com\\@127.0.0.1",
            "http://[2001:db8::1]:80",
            "http://localhost:port",
        ] {
            assert_eq!(Rehearsal::at(elsewhere), None, "{elsewhere}");
        }
    }
}
