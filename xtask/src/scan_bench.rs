//! Double redemptions among five million events: our scan, a window query in Postgres, and DuckDB, over the same rows.
//!
//! Each party runs in a process of its own. A peer that is not there is told as such; nothing stands in for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const EVENTS: &str = "5000000";
const RUNS: usize = 5;
/// Vouchers with two redemptions of different keys; replays have one key and are no doubles.
const SQL: &str = "select count(*) from (select voucher_id from (select voucher_id, idempotency_key, \
lag(idempotency_key) over (partition by voucher_id order by created_at, id) as before, \
row_number() over (partition by voucher_id order by created_at, id) as n from EVENTS \
where event_type = 'redeemed') rows where n > 1 and idempotency_key is distinct from before group by voucher_id) doubles";

pub(crate) fn run() -> bool {
    let folder = PathBuf::from("target/scan-bench");
    let build = ["build", "--release", "-p", "allclear-clients", "--example", "redemptions"];
    if !super::cargo(&build, &[]) {
        return false;
    }
    let ours = Path::new("target/release/examples/redemptions");
    let made = Command::new(ours).args(["make", EVENTS]).arg(&folder).status();
    if !made.is_ok_and(|status| status.success()) {
        return false;
    }
    println!("{EVENTS} events; medians of {RUNS}");
    for file in ["events.csv", "events.ndjson"] {
        let times = (0..RUNS).filter_map(|_| scan(ours, &folder.join(file)));
        tell(&format!("allclear, {file}"), &times.collect::<Vec<_>>());
    }
    duckdb(&folder);
    postgres(&folder);
    true
}

/// Seconds, peak memory in MiB, and how many doubles.
type Measured = (f64, u64, u64);

fn tell(what: &str, measured: &[Measured]) {
    let mut sorted = measured.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    match sorted.get(sorted.len() / 2) {
        Some((seconds, mib, doubles)) => {
            println!("{what:<28} {seconds:.2} s  {mib:>4} MiB  {doubles} doubles");
        }
        None => println!("{what:<28} NOT MEASURED: it failed"),
    }
}

fn scan(ours: &Path, file: &Path) -> Option<Measured> {
    let output =
        Command::new(ours).arg("scan").arg(file).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let value =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    let doubles = text.lines().filter(|line| line.starts_with("double ")).count() as u64;
    Some((value("seconds ")?, value("peak_kib ")? as u64 / 1_024, doubles))
}

fn duckdb(folder: &Path) {
    let venv = Path::new("target/scan-bench/venv");
    let python = venv.join("bin/python");
    if !python.exists() {
        let _ = Command::new("python3").args(["-m", "venv"]).arg(venv).status();
        let pip = ["-m", "pip", "install", "--quiet", "duckdb"];
        let _ = Command::new(&python).args(pip).status();
    }
    for (file, reader) in [("events.csv", "read_csv_auto"), ("events.ndjson", "read_json_auto")] {
        let source = format!("{reader}('{}')", folder.join(file).display());
        let script = format!(
            "import duckdb, resource, time\nt = time.perf_counter()\nn = duckdb.sql(\"\"\"{}\"\"\").fetchall()[0][0]\n\
print(time.perf_counter() - t, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, n)",
            SQL.replace("EVENTS", &source)
        );
        let times: Vec<Measured> =
            (0..RUNS).filter_map(|_| numbers(Command::new(&python).args(["-c", &script]))).collect();
        tell(&format!("DuckDB, {file}"), &times);
    }
}

/// `seconds kib count` on one line.
fn numbers(command: &mut Command) -> Option<Measured> {
    let output = command.stderr(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.split_whitespace();
    let (seconds, kib, count) =
        (words.next()?.parse().ok()?, words.next()?.parse::<u64>().ok()?, words.next()?.parse().ok()?);
    Some((seconds, kib / 1_024, count))
}

/// A cluster of its own on a socket in the folder, stopped at the end. The query alone is timed.
fn postgres(folder: &Path) {
    let Some(programs) = postgres_programs() else {
        println!("{:<28} NOT MEASURED: initdb is not installed", "Postgres, window query");
        return;
    };
    let absolute = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let data = absolute.join("pg");
    let _ = std::fs::remove_dir_all(&data);
    // Postgres does not run as root; then another user must own its folder.
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0\n"));
    let shell = |script: &str| -> Option<String> {
        let mut command = if root { Command::new("su") } else { Command::new("sh") };
        if root {
            command.args(["postgres", "-s", "/bin/sh"]);
        }
        let output = command.arg("-c").arg(script).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let home = if root { "/tmp/allclear-scan-bench".to_owned() } else { data.display().to_string() };
    let (bin, csv) = (programs.display(), absolute.join("events.csv"));
    let _ = shell(&format!("rm -rf {home}"));
    let started = shell(&format!(
        "{bin}/initdb -D {home} -A trust >/dev/null && {bin}/pg_ctl -D {home} -w -l {home}/log -o \"-k {home} -c listen_addresses='' \
-c shared_buffers=512MB -c work_mem=256MB\" start >/dev/null"
    ));
    if started.is_none() {
        println!("{:<28} NOT MEASURED: the cluster does not start", "Postgres, window query");
        return;
    }
    let header = std::fs::read_to_string(&csv)
        .ok()
        .and_then(|text| text.lines().next().map(str::to_owned))
        .unwrap_or_default();
    let columns = header.split(',').map(|name| format!("{name} text")).collect::<Vec<_>>().join(", ");
    let psql = format!("psql -q -h {home} -d postgres -At");
    let load = format!(
        "{psql} -c 'create table events ({columns})' && cat {} | {psql} -c \"copy events from stdin csv header\" && {psql} -c 'vacuum analyze events'",
        csv.display()
    );
    let mut times = Vec::new();
    if shell(&load).is_some() {
        for _ in 0..RUNS {
            let began = Instant::now();
            if let Some(count) = shell(&format!("{psql} -c \"{}\"", SQL.replace("EVENTS", "events"))) {
                times.push((began.elapsed().as_secs_f64(), 0, count.trim().parse().unwrap_or(0)));
            }
        }
    }
    tell("Postgres, window query", &times);
    let _ = shell(&format!("{bin}/pg_ctl -D {home} -m fast stop >/dev/null; rm -rf {home}"));
}

fn postgres_programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    versions.flatten().map(|version| version.path().join("bin")).find(|bin| bin.join("initdb").exists())
}
