use std::fs;
use std::path::PathBuf;

use allclear_core::VoucherId;
use allclear_core::redemption::{ExportedRedemption, Findings, Repeated};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const STATION: &str = "5f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90";

/// A redemption row before it is written.
#[derive(Debug, Clone)]
struct Written {
    voucher: u128,
    event: String,
    redeemed: bool,
    key: Option<String>,
    /// Something between the fields that must not disturb.
    note: String,
}

impl Written {
    fn redemption(&self) -> ExportedRedemption {
        ExportedRedemption {
            voucher: VoucherId(Uuid::from_u128(self.voucher)),
            at: "2026-11-23T07:00:00.5Z".parse().unwrap(),
            event: self.event.clone(),
            station: Some(STATION.parse().unwrap()),
            key: self.key.clone().filter(|key| !key.is_empty()),
        }
    }

    fn event_type(&self) -> &'static str {
        if self.redeemed { "redeemed" } else { "sent" }
    }

    fn json(&self) -> String {
        let row = serde_json::json!({
            "id": self.event, "voucher_id": Uuid::from_u128(self.voucher), "event_type": self.event_type(),
            "station_id": STATION, "created_at": "2026-11-23T09:00:00.5+02:00", "idempotency_key": self.key,
            "context": {"note": self.note, "nested": [{"voucher_id": 1}]},
        });
        row.to_string()
    }

    fn csv(&self) -> String {
        let cell = |text: &str| {
            if text.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", text.replace('"', "\"\""))
            } else {
                text.to_owned()
            }
        };
        let key = self.key.as_deref().unwrap_or_default();
        let voucher = Uuid::from_u128(self.voucher);
        let (event, note, key) = (cell(&self.event), cell(&self.note), cell(key));
        format!("{event},{note},{voucher},{},{STATION},2026-11-23 07:00:00.5+00,{key}", self.event_type())
    }
}

const HEADER: &str = "id,context,voucher_id,event_type,station_id,created_at,idempotency_key";

fn rows() -> impl Strategy<Value = Vec<Written>> {
    let key = prop::option::of(prop::sample::select(vec!["k1", "k2", "a,\"b\"", ""]));
    let note = prop::sample::select(vec![
        "",
        "plain",
        "a,b",
        "say \"x\"",
        "\u{e9}",
        "back\\slash",
        "two\nlines",
        "tab\t",
    ]);
    let row = (0..30_u128, 0..200_u32, prop::bool::weighted(0.9), key, note);
    let row = row.prop_map(|(voucher, event, redeemed, key, note)| Written {
        voucher,
        event: format!("e{event}"),
        redeemed,
        key: key.map(str::to_owned),
        note: note.to_owned(),
    });
    prop::collection::vec(row, 0..60)
}

/// What a reader without any cleverness would find.
fn expected(rows: &[Written]) -> Scanned {
    let redemptions: Vec<_> = rows.iter().filter(|row| row.redeemed).map(Written::redemption).collect();
    Scanned {
        rows: rows.len() as u64,
        redemptions: redemptions.len() as u64,
        findings: Findings::of(redemptions),
    }
}

fn file(content: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export");
    fs::write(&path, content).unwrap();
    (folder, path)
}

fn scan(content: impl AsRef<[u8]>, chunk: u64) -> Result<Scanned, ExportError> {
    let (_folder, path) = file(content);
    let mut export = RedemptionExport::open(&path)?;
    (export.chunk, export.threads) = (chunk, 3);
    export.repeats()
}

proptest! {
    #[test]
    fn both_formats_find_what_a_plain_reader_finds(
        rows in rows(), chunk in 1..2_000_u64, crlf: bool, mark: bool, last_line_ends: bool
    ) {
        let end = if crlf { "\r\n" } else { "\n" };
        let start = if mark { "\u{feff}" } else { "" };
        let written = |lines: Vec<String>| {
            let text = start.to_owned() + &lines.join(end);
            if last_line_ends { text + end } else { text }
        };
        let csv = [HEADER.to_owned()].into_iter().chain(rows.iter().map(Written::csv)).collect();
        prop_assert_eq!(scan(written(csv), chunk).unwrap(), expected(&rows));
        if !rows.is_empty() {
            let ndjson = rows.iter().map(Written::json).collect();
            prop_assert_eq!(scan(written(ndjson), chunk).unwrap(), expected(&rows));
        }
    }

    /// A file in which one line is spoiled is refused with that line's number, wherever chunks end.
    #[test]
    fn a_spoiled_line_is_named(rows in prop::collection::vec(0..1_000_u128, 1..80), at: prop::sample::Index, chunk in 1..3_000_u64) {
        let at = at.index(rows.len());
        let row = |(index, voucher): (usize, &u128)| Written {
            voucher: *voucher, event: format!("e{index}"), redeemed: true, key: None, note: String::new(),
        };
        let mut lines: Vec<_> = rows.iter().enumerate().map(row).map(|row| row.csv()).collect();
        lines[at] = lines[at].replace("-0000-", "-0g00-");
        let error = scan(format!("{HEADER}\n{}", lines.join("\n")), chunk).unwrap_err();
        let line_is_right = matches!(error, ExportError::Malformed { line, field: "voucher_id", .. } if line == at as u64 + 2);
        prop_assert!(line_is_right, "{}", error);
    }
}

#[test]
fn an_export_of_redemptions_needs_no_event_type() {
    let voucher = Uuid::from_u128(7);
    let lines = [1, 2].map(|id| format!("{id},{voucher},2026-11-23T07:00:00Z"));
    let csv = scan(format!("id,voucher_id,created_at\n{}\n", lines.join("\n")), 50).unwrap();
    assert_eq!(csv.findings.doubles.len(), 1);
    let lines = [1, 2]
        .map(|id| format!(r#"{{"voucher_id":"{voucher}","created_at":"2026-11-23T07:00:00Z","id":{id}}}"#));
    assert_eq!(scan(lines.join("\n"), 50).unwrap(), csv);
}

#[test]
fn what_is_wrong_is_said_with_the_line_and_the_fix() {
    let good = Written { voucher: 1, event: "e".into(), redeemed: true, key: None, note: String::new() };
    let (csv, json) = (good.csv(), good.json());
    let in_csv =
        |second: &str| scan(format!("{HEADER}\n{csv}\n{second}\n{csv}"), 1 << 20).unwrap_err().to_string();
    let in_json = |second: &str| scan(format!("{json}\n{second}\n{json}"), 1 << 20).unwrap_err().to_string();
    let errors = [
        in_csv(&csv.replace("redeemed", "")),
        in_csv(&csv.replace("+00", "")),
        in_csv(&csv.replace("e,", ",")),
        in_csv(&csv.replace(STATION, "kigali")),
        in_csv(&csv[..40]),
        in_csv(&csv.replace("e,,", "e,\",")),
        in_csv(&csv.replace("e,,", "e,a\"b,")),
        in_json(&json[..json.len() - 1]),
        in_json(&json.replace("\"redeemed\"", "null")),
        in_json(&json.replace("\"e\"", "[]")[1..]),
        scan("", 1).unwrap_err().to_string(),
        scan("[{}]", 1).unwrap_err().to_string(),
        scan(b"\x1f\x8b\x08\x00\x00", 1).unwrap_err().to_string(),
        scan("id|voucher_id|created_at\n", 1).unwrap_err().to_string(),
        scan(format!("{HEADER}\r{csv}\r{csv}"), 1).unwrap_err().to_string(),
        scan(format!("{HEADER}\n{csv}\r{csv}\n{csv}"), 1).unwrap_err().to_string(),
        scan(b"\xff\xfei\x00d\x00", 1).unwrap_err().to_string(),
    ];
    let said: Vec<_> = errors.iter().map(|error| error.split_once("/export").unwrap().1).collect();
    assert_eq!(
        said,
        [
            ", line 3: event_type is empty; export the events with their types, or leave the column out of an export of redemptions",
            ", line 3: created_at is no time with an offset; give a time such as 2026-11-23T07:00:00Z or 2026-11-23 07:00:00.123+00",
            ", line 3: id is missing; export the rows with their ids",
            ", line 3: station_id is no UUID; give a UUID such as 6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90",
            ", line 3: line has 4 columns where the header has 7; quote cells that hold the separator, and check that the line is whole",
            ", line 3: line has a quote that does not end; close the quote, and check that the file is whole",
            ", line 3: line has a quote in the middle of a cell; put the whole cell in quotes and double the quotes in it (RFC 4180)",
            ", line 2: line is cut off; write one JSON object a line, as `row_to_json` does",
            ", line 2: event_type is empty; export the events with their types, or leave the column out of an export of redemptions",
            ", line 2: line is no JSON object (column 1); write one JSON object a line, as `row_to_json` does",
            " is empty: export the rows again",
            " is one JSON array: write one object a line, e.g. with `jq -c '.[]'`",
            " is packed: unpack it first, e.g. with `gunzip`, `zstd -d` or `unzip`",
            ", line 1: id is no column; name the columns in the first line: id,voucher_id,event_type,station_id,created_at,idempotency_key",
            " is a file whose lines end in CR alone: write lines that end in LF, e.g. with `tr '\\r' '\\n'`",
            ", line 2: line has a carriage return in the middle; end every line in the same way, e.g. with `tr -d '\\r'` where the others end in LF",
            " is UTF-16: save it as UTF-8, e.g. with `iconv -f UTF-16 -t UTF-8`",
        ]
    );
}

#[test]
fn a_line_without_end_does_not_fill_the_memory() {
    let good = Written { voucher: 1, event: "e".into(), redeemed: true, key: None, note: String::new() };
    let long = "x".repeat(3 << 20);
    for content in [format!("{HEADER}\n{}\n{long}", good.csv()), format!("{HEADER}\n\"{long}")] {
        let error = scan(content, CHUNK).unwrap_err();
        assert!(error.to_string().contains("longer than 1 MiB"), "{error}");
    }
}

#[test]
fn a_file_that_changes_meanwhile_is_refused() {
    let good = Written { voucher: 1, event: "e".into(), redeemed: true, key: None, note: String::new() };
    let (_folder, path) = file(good.json());
    let export = RedemptionExport::open(&path).unwrap();
    fs::write(&path, good.json() + "\n" + &good.json()).unwrap();
    assert!(matches!(export.repeats(), Err(ExportError::Changed { .. })));
}

#[path = "../../examples/redemptions/generate.rs"]
mod generate;

/// The bench in small: the generator knows what is repeated, and both formats must find that and nothing else.
#[test]
fn two_hundred_thousand_events_are_judged_as_they_were_made() {
    let events = generate::Events::new(7, 200_000);
    let (mut csv, mut ndjson) = (Vec::new(), Vec::new());
    events.write(&mut csv, &mut ndjson).unwrap();
    let truth = events.truth();
    let of_kind = |kind| -> Vec<VoucherId> {
        truth.iter().filter(|(_, is)| **is == kind).map(|(voucher, _)| VoucherId(*voucher)).collect()
    };
    let (doubles, replays) = (of_kind(generate::Kind::Double), of_kind(generate::Kind::Replay));
    assert!(doubles.len() > 800 && replays.len() > 800, "{} {}", doubles.len(), replays.len());
    for content in [csv, ndjson] {
        let scanned = scan(content, CHUNK).unwrap();
        assert_eq!((scanned.rows, scanned.redemptions), (200_000, 187_500));
        let ids = |found: &[Repeated]| -> Vec<VoucherId> { found.iter().map(|one| one.voucher).collect() };
        assert_eq!(ids(&scanned.findings.doubles), doubles);
        assert_eq!(ids(&scanned.findings.replays), replays);
    }
}
