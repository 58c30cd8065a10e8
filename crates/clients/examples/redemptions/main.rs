//! What `cargo xtask scan-bench` runs: makes events, and scans them in a process of its own, so that its peak memory is the
//! scan's and nothing else's.
//!
//! ```sh
//! cargo run --release -p allclear-clients --example redemptions -- make 5000000 /tmp/events
//! cargo run --release -p allclear-clients --example redemptions -- scan /tmp/events/events.csv
//! ```

mod generate;

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use allclear_clients::redemption_export::RedemptionExport;
use generate::{Events, Kind};

const SEED: u64 = 20_261_123;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["make", count, folder] => make(count.parse()?, folder.as_ref()),
        ["scan", file] => scan(file.as_ref()),
        _ => Err("make COUNT FOLDER, or scan FILE".into()),
    }
}

/// Writes `events.csv`, `events.ndjson` and `truth.txt` (kind and voucher a line, sorted).
fn make(count: u64, folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let create = |name| File::create(folder.join(name)).map(|file| BufWriter::with_capacity(1 << 20, file));
    let (mut csv, mut ndjson) = (create("events.csv")?, create("events.ndjson")?);
    let events = Events::new(SEED, count);
    events.write(&mut csv, &mut ndjson)?;
    csv.flush()?;
    ndjson.flush()?;
    let mut truth = create("truth.txt")?;
    for (voucher, kind) in events.truth() {
        writeln!(truth, "{} {voucher}", word(kind))?;
    }
    Ok(truth.flush()?)
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Double => "double",
        Kind::Replay => "replay",
    }
}

/// Prints the seconds, the peak memory in KiB, and what was found, in the form of `truth.txt` (sorted by kind first).
fn scan(file: &Path) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let scanned = RedemptionExport::open(file)?.repeats()?;
    let seconds = start.elapsed().as_secs_f64();
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    println!("seconds {seconds}\npeak_kib {}", peak.trim().trim_end_matches(" kB"));
    println!("rows {}\nredemptions {}", scanned.rows, scanned.redemptions);
    let findings = scanned.findings;
    for (word, found) in [("double", findings.doubles), ("replay", findings.replays)] {
        for repeated in found {
            println!("{word} {}", repeated.voucher);
        }
    }
    Ok(())
}
