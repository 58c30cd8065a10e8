//! Supabase's keys of a project, told apart by how they look, because each kind is sent in another way and two of them can do
//! nothing that a runbook needs.
//!
//! | kind | looks like | `apikey` | `Authorization: Bearer` |
//! |---|---|---|---|
//! | publishable | `sb_publishable_…`, no JWT | yes | no |
//! | secret | `sb_secret_…`, no JWT | yes | no: the gateway would take it for a broken JWT |
//! | legacy anon | a JWT whose `role` is `anon` | yes | the same key |
//! | legacy `service_role` | a JWT whose `role` is `service_role` | yes | the same key |
//!
//! Source: Supabase, API keys. A JWT of another role is somebody's own arrangement and is sent like a legacy key; so is a key
//! that looks like none of these, which a host of one's own may have.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

/// What a key is, by how it looks. Nothing is verified: that is the gateway's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// For browsers and apps: it may do what anybody may.
    Publishable,
    /// For servers: it may do everything.
    Secret,
    /// The older key for browsers and apps.
    LegacyAnon,
    /// The older key for servers.
    LegacyServiceRole,
    /// A person's access token for the Management API, which no project takes.
    PersonalAccessToken,
    /// None that we know.
    Other,
}

#[derive(Deserialize)]
struct Claims {
    role: String,
}

impl KeyKind {
    /// What a key is.
    pub fn of(key: &SecretString) -> Self {
        let key = key.expose_secret().trim();
        if key.starts_with("sb_publishable_") {
            return Self::Publishable;
        }
        if key.starts_with("sb_secret_") {
            return Self::Secret;
        }
        if key.starts_with("sbp_") {
            return Self::PersonalAccessToken;
        }
        match role(key).as_deref() {
            Some("anon") => Self::LegacyAnon,
            Some("service_role") => Self::LegacyServiceRole,
            _ => Self::Other,
        }
    }

    /// Whether it is a JWT, or may be one, and so goes into `Authorization` too.
    pub(crate) fn is_sent_as_bearer(self) -> bool {
        !matches!(self, Self::Publishable | Self::Secret)
    }

    /// Why it cannot be the service key; `None` where it can.
    pub(crate) fn unfit_as_service_key(self) -> Option<&'static str> {
        match self {
            Self::Publishable => {
                Some("is a publishable key (sb_publishable_…), which may do only what anybody may")
            }
            Self::LegacyAnon => Some("is the anon key, which may do only what anybody may"),
            Self::PersonalAccessToken => {
                Some("is a personal access token, which belongs into management_token")
            }
            Self::Secret | Self::LegacyServiceRole | Self::Other => None,
        }
    }
}

/// The role that a JWT claims.
fn role(key: &str) -> Option<String> {
    let mut parts = key.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    serde_json::from_slice::<Claims>(&claims).ok().map(|claims| claims.role)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A JWT with these claims, signed by nobody.
    fn jwt(claims: &str) -> String {
        format!("eyJhbGciOiJIUzI1NiJ9.{}.signature", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_key_is_known_by_how_it_looks() {
        let cases = [
            ("sb_publishable_0123456789".to_owned(), KeyKind::Publishable),
            ("sb_secret_0123456789".to_owned(), KeyKind::Secret),
            (format!("sbp_{}", "0a".repeat(20)), KeyKind::PersonalAccessToken),
            (jwt(r#"{"iss":"supabase","role":"anon","exp":1}"#), KeyKind::LegacyAnon),
            (jwt(r#"{"role":"service_role"}"#), KeyKind::LegacyServiceRole),
            (jwt(r#"{"role":"dispatcher"}"#), KeyKind::Other),
            (jwt("{}"), KeyKind::Other),
            (jwt("no json"), KeyKind::Other),
            ("a.b".to_owned(), KeyKind::Other),
            ("a.?.c".to_owned(), KeyKind::Other),
            (format!("{}.x", jwt(r#"{"role":"anon"}"#)), KeyKind::Other),
            (String::new(), KeyKind::Other),
        ];
        for (key, kind) in cases {
            assert_eq!(KeyKind::of(&key.as_str().into()), kind, "{key}");
        }
    }
}
