//! How a Supabase project takes its keys.
//!
//! * `apikey` is always needed.
//! * A legacy key is a JWT and says in `Authorization` who is asking; without that header it is nobody in particular.
//! * A new key is none: in `Authorization` it is tolerated only where it is the same as in `apikey`.
//! * A secret key is refused to browsers, which should not have one.
//! * Edge functions verify JWTs. One that is called with a new key must be deployed without that check and looks at `apikey`
//!   itself, as ours does.

use axum::http::HeaderMap;

use crate::services::header_text;

/// Who is asking, by the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A server: it may do everything.
    Service,
    /// Anybody.
    Anon,
    /// The keys are none, or are used in a way that they are not for.
    Refused,
}

/// Who asks the tables.
pub(crate) fn caller(headers: &HeaderMap) -> Caller {
    let (key, bearer) = (header_text(headers, "apikey"), bearer(headers));
    let is_browser = header_text(headers, "user-agent").starts_with("Mozilla/");
    match key {
        crate::SERVICE_KEY | crate::ANON_KEY => match bearer {
            Some(crate::SERVICE_KEY) => Caller::Service,
            Some(crate::ANON_KEY) | None => Caller::Anon,
            Some(_) => Caller::Refused,
        },
        crate::SECRET_KEY if !is_browser && bearer.is_none_or(|bearer| bearer == key) => Caller::Service,
        crate::PUBLISHABLE_KEY if bearer.is_none_or(|bearer| bearer == key) => Caller::Anon,
        _ => Caller::Refused,
    }
}

/// Who calls an edge function: a JWT in `Authorization`, or a secret key in `apikey`.
pub(crate) fn caller_of_function(headers: &HeaderMap) -> Caller {
    match bearer(headers) {
        Some(crate::SERVICE_KEY) => Caller::Service,
        Some(crate::ANON_KEY) => Caller::Anon,
        Some(other) if !other.starts_with("sb_") => Caller::Refused,
        _ => caller(headers),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    header_text(headers, "authorization").strip_prefix("Bearer ")
}
