//! An exported file as the place where the station runbook looks first.

use std::path::Path;
use std::sync::Arc;

use allclear_clients::sandbox::SandboxClock;
use allclear_core::{Clock, VoucherId};
use serde_json::json;

use crate::desk::{Desk, stderr, stdout, world};

/// What the platform recorded, as rows of an export.
struct Row {
    voucher: VoucherId,
    id: String,
    at: String,
    key: String,
}

impl Row {
    fn csv(&self) -> String {
        format!("{},{},{},{}", self.id, self.voucher, self.at, self.key)
    }

    fn ndjson(&self) -> String {
        let Self { voucher, id, at, key } = self;
        json!({ "id": id, "voucher_id": voucher, "created_at": at, "idempotency_key": key, "meta": { "by": "pwa" } })
            .to_string()
    }
}

/// All redemptions of the desk's sandbox, read as anybody would export them.
fn redemptions(desk: &Desk) -> Vec<Row> {
    let url = desk.url.clone();
    desk.with_control(async |_| {
        let clock: Arc<dyn Clock> = Arc::new(SandboxClock::at(&url).await.unwrap());
        let settings = allclear_clients::sandbox::settings(&url, "artifacts".into()).unwrap();
        let on = allclear_clients::connect(settings, &clock).unwrap();
        let seen = on.redemptions.redemptions(jiff::Timestamp::UNIX_EPOCH, None, 1_000).await.unwrap();
        let vouchers: std::collections::BTreeSet<VoucherId> = seen.iter().map(|one| one.voucher).collect();
        let mut rows = Vec::new();
        for voucher in vouchers {
            for one in on.redemptions.history(voucher).await.unwrap().redemptions {
                let key = one.key.unwrap_or_default();
                rows.push(Row { voucher, id: one.id.to_string(), at: one.at.to_string(), key });
            }
        }
        rows
    })
}

fn double_redemption() -> serde_json::Value {
    world(&json!({ "scenario": "double-redemption" }), "target")
}

fn voids(desk: &Desk) -> usize {
    desk.effects().iter().filter(|(effect, _)| effect.starts_with("voucher.void")).count()
}

fn save(desk: &Desk, name: &str, lines: &[String]) {
    std::fs::write(desk.folder().join(name), lines.join("\n") + "\n").unwrap();
}

const HEADER: &str = "id,voucher_id,created_at,idempotency_key";

#[test]
fn a_file_names_the_vouchers_and_the_platform_decides() {
    let desk = Desk::with(&double_redemption());
    let rows = redemptions(&desk);
    let ndjson: Vec<String> = rows.iter().map(Row::ndjson).collect();
    save(&desk, "events.ndjson", &ndjson);
    let planned = desk.call(&["plan", "station-redeem-anomalies", "--set", "events=events.ndjson"]);
    assert_eq!(planned.status.code(), Some(0), "{}", stderr(&planned));
    assert_eq!(stdout(&planned).matches(" void voucher ").count(), 3, "{}", stdout(&planned));

    // One of the doubles, and a double that never was: the file invents a second redemption of a fourth voucher.
    let one = rows[0].voucher;
    let mut lines = vec![HEADER.to_owned()];
    lines.extend(rows.iter().filter(|row| row.voucher == one).map(Row::csv));
    for id in ["x1", "x2"] {
        lines.push(format!("{id},6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90,2026-11-23T07:00:00Z,{id}"));
    }
    save(&desk, "events.csv", &lines);
    let args = ["run", "station-redeem-anomalies", "--set", "events=events.csv", "--yes", "--auto-approve"];
    let run = desk.call(&args);
    assert_eq!(run.status.code(), Some(10), "file and platform disagree: {}", stderr(&run));
    assert_eq!(voids(&desk), 1, "{:?}", desk.effects());
    let report = stdout(&desk.call(&["report", "@last"]));
    assert!(report.contains("vouchers that only the file shows twice"), "{report}");
    assert!(report.contains("events.csv"), "{report}");
}

#[test]
fn a_run_with_a_file_is_taken_up_from_any_folder() {
    let desk = Desk::with(&double_redemption());
    let lines: Vec<String> = redemptions(&desk).iter().map(Row::ndjson).collect();
    save(&desk, "events.ndjson", &lines);
    let args = ["run", "station-redeem-anomalies", "--set", "events=events.ndjson", "--yes", "--no-input"];
    assert_eq!(desk.call(&args).status.code(), Some(11));
    for name in ["lea", "ren"] {
        assert_eq!(desk.answer(&["approve", "@last", "--as", name]).status.code(), Some(0));
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let mut resume = desk.command(Path::new(crate::desk::ALLCLEAR), &["resume", "@last", "--no-input"]);
    let resumed = resume.current_dir(elsewhere.path()).output().unwrap();
    assert_eq!(resumed.status.code(), Some(0), "{}", stderr(&resumed));
    assert_eq!(voids(&desk), 3);
}

#[test]
fn a_bad_file_is_named_with_line_and_field_and_nothing_is_done() {
    let desk = Desk::with(&double_redemption());
    let good = format!("1,{},2026-11-23T07:00:00Z,k", uuid::Uuid::nil());
    let cases = [
        (vec![HEADER, &good, "2,kigali,2026-11-23T07:00:00Z,k"], "events.csv, line 3: voucher_id is no UUID"),
        (vec![HEADER, &good, "2"], "events.csv, line 3: line has 1 columns where the header has 4"),
        (vec!["{\"id\":1}"], "events.csv, line 1: voucher_id is missing"),
        (vec!["[1]"], "events.csv is one JSON array"),
    ];
    for (lines, told) in cases {
        save(&desk, "events.csv", &lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>());
        let args = ["run", "station-redeem-anomalies", "--set", "events=events.csv", "--yes", "--no-input"];
        let run = desk.call(&args);
        assert_ne!(run.status.code(), Some(0));
        assert!(stderr(&run).contains(told), "{}", stderr(&run));
    }
    let absent = desk.call(&["plan", "station-redeem-anomalies", "--set", "events=nowhere.csv"]);
    assert_ne!(absent.status.code(), Some(0));
    assert!(stderr(&absent).contains("nowhere.csv: No such file"), "{}", stderr(&absent));
    assert!(desk.effects().is_empty(), "{:?}", desk.effects());
}
