//! One address for all services: the tables are Postgres', through the server that speaks PostgREST, and everything else is the
//! sandbox's. What the admin API changes in a table it changes in both.

use std::sync::Arc;

use allclear::core::{Clock as _, VirtualClock};
use allclear::sandbox::{SECRET_KEY, SERVICE_KEY};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde_json::Value;

use super::server::SERVICE_TOKEN;

const TABLES: &str = "/supabase/rest/v1";
const CAMPAIGNS: &str = "/admin/api/campaigns/";
/// Who signs in to the sandbox's admin API.
pub(super) const OUR_ACTOR: &str = "a11c1ea2-0000-4000-8000-000000000001";
/// Each connection has its own.
const OF_THE_CONNECTION: [HeaderName; 4] =
    [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

struct Door {
    sandbox: String,
    server: String,
    database: tokio_postgres::Client,
    clock: Arc<VirtualClock>,
    http: reqwest::Client,
}

/// Opens it; the base URL of all services.
pub(super) async fn open(
    sandbox: String,
    server: String,
    database: tokio_postgres::Client,
    clock: Arc<VirtualClock>,
) -> String {
    let door = Door { sandbox, server, database, clock, http: super::http() };
    let app = Router::new().fallback(pass).with_state(Arc::new(door));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

async fn pass(State(door): State<Arc<Door>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let target = parts.uri.path_and_query().unwrap().as_str();
    door.bring_up_to_now().await;
    match target.strip_prefix(TABLES) {
        Some(rest) => door.ask_the_database(parts.method, rest, parts.headers, body).await,
        None => door.ask_the_sandbox(parts.method, target, parts.headers, body).await,
    }
}

impl Door {
    async fn bring_up_to_now(&self) {
        let now = self.clock.now().to_string();
        self.database.execute("SELECT platform.advance($1::text::timestamptz)", &[&now]).await.unwrap();
    }

    /// As Supabase's gateway, which turns a key into a token of the role that it stands for.
    async fn ask_the_database(
        &self,
        method: Method,
        target: &str,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Response {
        let key = headers.remove("apikey");
        headers.remove(header::AUTHORIZATION);
        let is_known = key.is_some_and(|key| key == SERVICE_KEY || key == SECRET_KEY);
        if is_known {
            let token = HeaderValue::from_str(&format!("Bearer {SERVICE_TOKEN}")).unwrap();
            headers.insert(header::AUTHORIZATION, token);
        }
        let counts = headers.get("prefer").is_some_and(|prefer| prefer.to_str().unwrap().contains("count="));
        let is_change = method == Method::PATCH;
        // A plus sign stands for a space, as in forms; this server takes it for itself.
        let target = target.replace('+', "%20");
        let mut answer = self.forward(&self.server, method, &target, headers, body).await;
        if is_change && counts {
            tell_how_many(answer.headers_mut());
        }
        // A right that is missing (42501) is 401 without a key and 403 with one (PostgREST, errors); here it is always 401.
        if is_known && answer.status() == StatusCode::UNAUTHORIZED {
            *answer.status_mut() = StatusCode::FORBIDDEN;
        }
        answer
    }

    async fn ask_the_sandbox(
        &self,
        method: Method,
        target: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Response {
        let action = target.strip_prefix(CAMPAIGNS).filter(|_| method == Method::POST);
        let answer = self.forward(&self.sandbox, method, target, headers, body.clone()).await;
        if let Some(action) = action.filter(|_| answer.status().is_success()) {
            let body: Value = serde_json::from_slice(&body).unwrap();
            let campaign = body["campaignId"].as_str().unwrap();
            let sql = "SELECT platform.act($1::text::uuid, $2, $3::text::uuid)";
            self.database.execute(sql, &[&campaign, &action, &OUR_ACTOR]).await.unwrap();
        }
        answer
    }

    async fn forward(
        &self,
        to: &str,
        method: Method,
        target: &str,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Response {
        forget_connection(&mut headers);
        let call = self.http.request(method, format!("{to}{target}")).headers(headers).body(body);
        let answer = call.send().await.unwrap();
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        forget_connection(&mut headers);
        // Postgres' server would tell the machine's time, and runs live in that of the clock.
        let date = self.clock.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        headers.insert(header::DATE, HeaderValue::from_str(&date).unwrap());
        let mut passed = Response::new(Body::from(answer.bytes().await.unwrap()));
        *passed.status_mut() = status;
        *passed.headers_mut() = headers;
        passed
    }
}

fn forget_connection(headers: &mut HeaderMap) {
    for name in OF_THE_CONNECTION {
        headers.remove(name);
    }
}

/// PostgREST tells of a change which rows it was about and how many, `0-2/3` and `*/0`. This server has only the first where
/// both were asked for, and says that it kept to `count=exact`.
fn tell_how_many(headers: &mut HeaderMap) {
    let range = headers.get("content-range").and_then(|range| range.to_str().ok()?.strip_suffix("/*"));
    let Some(range) = range else { return };
    let many = range.split_once('-').map_or(0, |(_, last)| last.parse::<u64>().unwrap() + 1);
    let counted = HeaderValue::from_str(&format!("{range}/{many}")).unwrap();
    headers.insert("content-range", counted);
}
