//! Which platform an environment is, whatever it is called.
//!
//! One platform can be written down in many ways: `https://REF.supabase.co`, the same with a slash, in capitals, with its
//! port, by a domain of one's own, a sandbox as `localhost` or `127.0.0.1`. Two runs on it must know that of each other. What
//! counts is where the rows are that all runs read and change: the Supabase project. The addresses beside it say less: one
//! admin API may be reached by several.

use reqwest::Url;

use crate::config::Settings;

/// Where Supabase has its projects, as `REF` before it.
const HOSTED: [&str; 2] = [".supabase.co", ".supabase.in"];
/// Where projects at Supabase are managed: with another address here, the ref says nothing.
const MANAGED: &str = "api.supabase.com";

impl Settings {
    /// Which platform this is: equal for two ways to write one address. Holds no secret.
    pub fn identity(&self) -> String {
        identity(&self.endpoints.supabase, &self.endpoints.supabase_management, &self.supabase_project)
    }
}

/// As [`Settings::identity`], of the settings that count: the Supabase project's address, its Management API's, its ref.
pub fn identity(supabase: &str, management: &str, project: &str) -> String {
    // What is no address is refused before anything is called.
    let Ok(url) = Url::parse(supabase) else { return supabase.to_owned() };
    let host = host_of(&url);
    let hosted =
        HOSTED.iter().find_map(|domain| host.strip_suffix(domain)).filter(|name| !name.contains('.'));
    if let Some(project) = hosted {
        return format!("supabase project {project}");
    }
    let managed = Url::parse(management).is_ok_and(|url| host_of(&url) == MANAGED);
    if managed && host != LOOPBACK {
        return format!("supabase project {}", project.trim().to_ascii_lowercase());
    }
    let port = url.port_or_known_default().map_or_else(String::new, |port| format!(":{port}"));
    let path: Vec<&str> = url.path().split('/').filter(|piece| !piece.is_empty()).collect();
    let path = if path.is_empty() { String::new() } else { format!("/{}", path.join("/")) };
    format!("{host}{port}{path}")
}

const LOOPBACK: &str = "localhost";

/// The host in small letters, without a dot at its end; every name of this machine is one.
fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let here = bare == LOOPBACK
        || bare.ends_with(".localhost")
        || bare.parse().is_ok_and(|address: std::net::IpAddr| match address {
            std::net::IpAddr::V4(address) => address.is_loopback(),
            std::net::IpAddr::V6(address) => {
                address.is_loopback() || address.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback())
            }
        });
    if here { LOOPBACK.to_owned() } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: &str = "https://api.supabase.com";

    #[test]
    fn d5b_two_ways_to_write_one_platform_are_one() {
        let project = identity("https://abcdef.supabase.co", API, "abcdef");
        for same in [
            "https://abcdef.supabase.co/",
            "https://ABCDEF.Supabase.co",
            "https://abcdef.supabase.co:443",
            "https://abcdef.supabase.co./",
            "https://api.of-our-own.example",
        ] {
            assert_eq!(identity(same, API, "ABCDEF "), project, "{same}");
        }
        let here =
            identity("http://127.0.0.1:4000/supabase", "http://127.0.0.1:4000/supabase-management", "x");
        for same in [
            "http://localhost:4000/supabase",
            "http://LOCALHOST:4000/supabase/",
            "http://localhost.:4000//supabase",
            "http://[::1]:4000/supabase",
            "http://127.1:4000/supabase",
        ] {
            assert_eq!(identity(same, API, "y"), here, "{same}");
        }
        assert_eq!(identity("http://localhost", API, ""), identity("http://localhost:80/", API, ""));
    }

    #[test]
    fn two_platforms_are_two() {
        let all = [
            identity("https://abcdef.supabase.co", API, "abcdef"),
            identity("https://abcdeg.supabase.co", API, "abcdef"),
            identity("https://one.example", "https://manage.example", "abcdef"),
            identity("https://two.example", "https://manage.example", "abcdef"),
            identity("http://127.0.0.1:4000/supabase", API, "abcdef"),
            identity("http://127.0.0.1:4001/supabase", API, "abcdef"),
            identity("http://127.0.0.1:4000/staging", API, "abcdef"),
        ];
        let different: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(different.len(), all.len(), "{all:?}");
    }
}
