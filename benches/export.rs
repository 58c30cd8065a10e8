//! Exporting a million failed targets from paged HTTP, each party in a process of its own: `cargo bench --bench export`.
//!
//! Beside ours, a script that asks for one page after the other, as a tired person would write it. `PostgREST` is played by
//! a server that holds all rows as JSON and answers by key, at most 1,000 a page, with a latency of its own.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use allclear::core::{Clock, VirtualClock};
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse as _;

const ROWS: u128 = 1_000_000;
const STEP: u128 = u128::MAX / ROWS;
const PAGE: u128 = 1_000;
const RUNS: usize = 5;
const CAMPAIGN: &str = "6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90";

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "serve", latency] => serve(latency.parse().unwrap()),
        [_, "export", url] => export(url),
        _ => compare(),
    }
}

fn compare() {
    println!("{ROWS} rows, {PAGE} a page; medians of {RUNS}");
    for latency in [0, 20] {
        let mut server = Command::new(std::env::current_exe().unwrap())
            .args(["serve", &latency.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let url = url.trim();
        let (ours, memory) =
            median(|| ended(Command::new(std::env::current_exe().unwrap()).args(["export", url])));
        println!("{latency:>3} ms a page: allclear {ours:.2} s, {memory} MiB");
        match Command::new("python3").arg("-V").output() {
            Ok(_) => {
                let (script, _) = median_of(if latency == 0 { 3 } else { 1 }, || {
                    ended(Command::new("python3").args(["-c", SCRIPT, url]))
                });
                println!("{latency:>3} ms a page: a script, page after page {script:.2} s");
            }
            Err(_) => println!("{latency:>3} ms a page: a script: python3 is not installed, NOT MEASURED"),
        }
        stop(&mut server);
    }
}

fn stop(server: &mut Child) {
    let _ = server.kill();
    let _ = server.wait();
}

fn median(run: impl Fn() -> (f64, u64)) -> (f64, u64) {
    median_of(RUNS, run)
}

fn median_of(runs: usize, run: impl Fn() -> (f64, u64)) -> (f64, u64) {
    let mut took: Vec<(f64, u64)> = (0..runs).map(|_| run()).collect();
    took.sort_by(|a, b| a.0.total_cmp(&b.0));
    (took[runs / 2].0, took.iter().map(|one| one.1).max().unwrap_or(0))
}

/// Runs a command to its end: seconds, and peak memory in MiB where the command tells it in KiB on its last line.
fn ended(command: &mut Command) -> (f64, u64) {
    let began = Instant::now();
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    let kib = String::from_utf8_lossy(&output.stdout)
        .trim()
        .lines()
        .last()
        .and_then(|line| line.parse::<u64>().ok());
    (began.elapsed().as_secs_f64(), kib.unwrap_or(0) / 1_024)
}

/// Exports, then tells its peak memory.
fn export(url: &str) {
    let folder = tempfile::tempdir().unwrap();
    let settings = allclear::clients::sandbox::settings(url, folder.path().to_owned()).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::at(jiff::Timestamp::UNIX_EPOCH));
    let platform = allclear::clients::connect(settings, &clock).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let exporting = allclear::runbooks::whatsapp_send_failures::export_failed_targets(
        &platform,
        CAMPAIGN.parse().unwrap(),
    );
    let (_, rows) = runtime.block_on(exporting).unwrap();
    assert_eq!(u128::from(rows), ROWS);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).map_or("0", str::trim);
    println!("{}", peak.trim_end_matches(" kB"));
}

/// All rows as JSON, one after the other, and where each ends.
struct Rows {
    text: Vec<u8>,
    ends: Vec<usize>,
    latency: Duration,
}

fn serve(latency: u64) {
    let mut rows = Rows { text: Vec::new(), ends: vec![0], latency: Duration::from_millis(latency) };
    for n in 0..ROWS {
        let id = uuid(n * STEP);
        let row = format!(
            r#"{{"id":"{id}","msisdn":"+25078{:07}","error_code":"131026","last_update_at":"2026-11-23T07:00:00.000000+00:00"}},"#,
            n % 10_000_000
        );
        rows.text.extend_from_slice(row.as_bytes());
        rows.ends.push(rows.text.len());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(page).with_state(Arc::new(rows));
        axum::serve(listener, app).await.unwrap();
    });
}

fn uuid(n: u128) -> String {
    let hex = format!("{n:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The first row above an id, or the first after one.
fn place(id: &str) -> u128 {
    u128::from_str_radix(&id.replace('-', ""), 16).unwrap() / STEP + 1
}

async fn page(State(rows): State<Arc<Rows>>, RawQuery(query): RawQuery) -> impl axum::response::IntoResponse {
    let query = query.unwrap_or_default();
    let bound = |operator: &str| {
        query.split('&').find_map(|part| part.strip_prefix("id=")?.strip_prefix(operator)).map(place)
    };
    let from = bound("gt.").unwrap_or(0).min(ROWS);
    let to = bound("lte.").unwrap_or(ROWS).min(ROWS).min(from + PAGE).max(from);
    tokio::time::sleep(rows.latency).await;
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    headers.insert("content-range", format!("*/{ROWS}").parse().unwrap());
    let (start, end) = (rows.ends[from as usize], rows.ends[to as usize]);
    let mut body = Vec::with_capacity(end - start + 2);
    body.push(b'[');
    body.extend_from_slice(rows.text[start..end].strip_suffix(b",").unwrap_or_default());
    body.push(b']');
    (headers, body).into_response()
}

const SCRIPT: &str = r#"
import csv, http.client, io, json, sys, urllib.parse
host = urllib.parse.urlparse(sys.argv[1]).netloc
connection, after, out = http.client.HTTPConnection(host), None, csv.writer(open("/dev/null", "w"))
while True:
    path = "/supabase/rest/v1/campaign_targets?order=id&limit=1000" + (f"&id=gt.{after}" if after else "")
    connection.request("GET", path)
    rows = json.loads(connection.getresponse().read())
    if not rows: break
    for row in rows: out.writerow([row["id"], row["msisdn"], row["error_code"], row["last_update_at"]])
    after = rows[-1]["id"]
"#;
