//! Searching more redemptions than fit into memory, page by page over HTTP. The search runs in a process of its own, so that its
//! peak memory is its own; the rows are made as they are asked for.

use std::process::Command;
use std::sync::Arc;

use allclear::core::{Clock, VirtualClock};
use allclear::engine::{Terms, plan};
use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde_json::json;

/// What the process that searches is told.
const SEARCH: &str = "ALLCLEAR_STREAM_SEARCH";
/// How many rows there are; `cargo xtask stream-bench` asks for five million.
const ROWS: &str = "ALLCLEAR_STREAM_ROWS";
const PAGE: u64 = 1_000;
/// A word of ten to twelve bytes for each voucher, a page or two, and the program itself.
const MOST_MIB: u64 = 40;

#[test]
fn redemptions_are_searched_in_twelve_bytes_each() {
    if let Ok(url) = std::env::var(SEARCH) {
        return search(&url);
    }
    let rows = std::env::var(ROWS).map_or(1_000_000, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(rows);
    runtime.spawn(async { axum::serve(listener, app).await.unwrap() });

    let began = std::time::Instant::now();
    let name = "streams::redemptions_are_searched_in_twelve_bytes_each";
    let mut search = Command::new(std::env::current_exe().unwrap());
    let output = search.args([name, "--exact", "--nocapture"]).env(SEARCH, &url).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let line =
        |start: &str| said.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_default().to_owned();
    let mib = line("peak_kib ").parse::<u64>().unwrap() / 1_024;
    println!("{rows} redemptions over PostgREST: {:.1} s, {mib} MiB", began.elapsed().as_secs_f64());
    let ends = line("ends ");
    assert!(ends.contains(&format!("{rows} redemptions")), "{ends}");
    assert!(ends.contains("1 was stored again"), "the one repetition is found: {ends}");
    let most = MOST_MIB + rows * 13 / (1 << 20);
    assert!(mib <= most, "{mib} MiB for {rows} redemptions, {most} at most");
}

/// Plans the station runbook, whose detection reads all redemptions.
fn search(url: &str) {
    let now: Timestamp = "2026-11-23T09:00:00Z".parse().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::at(now));
    let settings = allclear::clients::sandbox::settings(url, "artifacts".into()).unwrap();
    let platform = allclear::clients::connect(settings, &clock).unwrap();
    let entry = allclear::runbooks::find("station-redeem-anomalies").unwrap();
    let runbook = (entry.build)(serde_json::Value::Null, platform).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let planned = runtime.block_on(plan(&*runbook, Terms::new("plan", "kim", "unit"), clock)).unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("\nends {}\npeak_kib {}", planned.ends, peak.trim().trim_end_matches(" kB"));
}

fn uuid(high: u64) -> uuid::Uuid {
    uuid::Uuid::from_u128(u128::from(high) << 64)
}

/// The last row's voucher is the first one's; every other has a voucher of its own.
fn row(number: u64, rows: u64) -> serde_json::Value {
    let voucher = if number == rows { 1 } else { number };
    json!({ "id": uuid(number), "voucher_id": uuid(voucher) })
}

/// As PostgREST answers: by key, at most a page at a time.
async fn answer(State(rows): State<u64>, uri: Uri) -> impl IntoResponse {
    let query = uri.query().unwrap_or_default();
    let parameter = |name: &str| query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    let all: Vec<serde_json::Value> = match parameter("voucher_id") {
        // Nothing was redeemed before the window.
        Some(several) if several.starts_with("in.") => Vec::new(),
        // One attempt of a station: an all clear rests on samples of both.
        None if uri.path().ends_with("/webhook_logs") && parameter("id").is_none() => {
            vec![json!({ "id": 1, "error_message": "not_found", "received_at": "2026-11-23T07:00:00Z" })]
        }
        Some(_) if uri.path().ends_with("/voucher_redemptions") => (1..=2)
            .map(|n| json!({ "id": uuid(n), "station_id": null, "key": "same", "created_at": "2026-11-23T07:00:00Z" }))
            .collect(),
        None if uri.path().ends_with("/voucher_redemptions") => {
            let after = parameter("id").and_then(|id| id.strip_prefix("gt.")?.parse::<uuid::Uuid>().ok());
            let from = after.map_or(0, |id| (id.as_u128() >> 64) as u64);
            (from + 1..=rows.min(from + PAGE)).map(|number| row(number, rows)).collect()
        }
        _ => Vec::new(),
    };
    ([(CONTENT_TYPE, "application/json")], serde_json::to_string(&all).unwrap())
}
