//! The admin API's door: signing in, what it does with whoever guesses, and sessions that end.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{answer, header_text};
use crate::server::Shared;
use crate::world::{OUR_ACTOR, World};

/// Sessions last twelve hours.
const LASTS: SignedDuration = SignedDuration::from_hours(12);
/// With less than a fifth of that left, a request gets a new one.
const RENEWED: SignedDuration = SignedDuration::from_secs(43_200 / 5);
/// So many wrong tokens within [`WINDOW`], and nobody signs in from there.
const ATTEMPTS: usize = 5;
const WINDOW: SignedDuration = SignedDuration::from_mins(1);

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/admin/api/auth/login", post(login)).route("/admin/api/auth/logout", post(logout))
}

async fn login(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    // Whoever comes without the header shares one bucket with everybody else who does.
    let from = header_text(&headers, "x-forwarded-for").split(',').next().unwrap_or_default().trim();
    let mut world = shared.world();
    if is_locked_out(&mut world, from) {
        // No `Retry-After`: the platform tells none.
        return answer(429, json!({ "error": "rate_limited", "message": "Too many attempts." }));
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(token) = body["token"].as_str().filter(|token| token.len() >= 8) else {
        let says = if body["token"].is_string() {
            "String must contain at least 8 character(s)"
        } else {
            "Required"
        };
        let message = json!({ "formErrors": [], "fieldErrors": { "token": [says] } });
        return answer(400, json!({ "error": "invalid_payload", "message": message }));
    };
    if token != crate::ADMIN_TOKEN {
        let now = world.now();
        world.wrong_tokens.entry(from.to_owned()).or_default().push(now);
        return answer(401, json!({ "error": "invalid_token" }));
    }
    world.wrong_tokens.remove(from);
    let (cookie, until) = open(&mut world);
    let body = json!({
        "ok": true, "actorId": OUR_ACTOR, "label": "sandbox operator", "expiresAt": until.as_second(),
    });
    let mut answered = axum::Json(body).into_response();
    // The one of before sessions were signed is taken away. It comes first: what stands between and keeps one header of a
    // name keeps the last.
    set_cookie(
        &mut answered,
        &format!("admin_actor_id=; Path=/; Expires={}", http_date(Timestamp::UNIX_EPOCH)),
    );
    set_cookie(&mut answered, &cookie);
    answered
}

fn is_locked_out(world: &mut World, from: &str) -> bool {
    let since = world.now() - WINDOW;
    let Some(wrong) = world.wrong_tokens.get_mut(from) else { return false };
    wrong.retain(|at| *at > since);
    wrong.len() >= ATTEMPTS
}

/// A new session: its cookie, and until when it holds.
fn open(world: &mut World) -> (String, Timestamp) {
    let session = format!("session-{}", world.new_uuid());
    let until = world.now() + LASTS;
    world.sessions.insert(session.clone(), until);
    let cookie = format!(
        "admin_session={session}; Path=/; Expires={}; Max-Age={}; Secure; HttpOnly; SameSite=strict; Priority=high",
        http_date(until),
        LASTS.as_secs()
    );
    (cookie, until)
}

fn http_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn set_cookie(answer: &mut Response, cookie: &str) {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// Takes the cookie back; the session itself holds until it ends.
async fn logout() -> Response {
    let mut answered = answer(200, json!({ "ok": true }));
    set_cookie(
        &mut answered,
        &format!("admin_session=; Path=/; Expires={}", http_date(Timestamp::UNIX_EPOCH)),
    );
    answered
}

/// Lets only sessions through that have not ended, and renews one that soon will.
pub(super) async fn require(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let cookies = header_text(request.headers(), "cookie");
    let session = cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix("admin_session="));
    let left = session.and_then(|session| {
        let world = shared.world();
        world.sessions.get(session).map(|until| until.duration_since(world.now()))
    });
    let Some(left) = left.filter(SignedDuration::is_positive) else {
        return answer(401, json!({ "error": "unauthorized", "message": "Sign in to continue." }));
    };
    let mut answered = next.run(request).await;
    if left < RENEWED {
        let (cookie, _) = open(&mut shared.world());
        set_cookie(&mut answered, &cookie);
    }
    answered
}
