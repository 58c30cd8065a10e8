//! What `cargo xtask sync-bench` runs: makes a source, serves an S3 that costs next to nothing, and copies.
//!
//! ```text
//! cargo run --release -p allclear-dr --example sync -- make FOLDER COUNT BYTES
//! cargo run --release -p allclear-dr --example sync -- serve MILLISECONDS [FOLDER]
//! cargo run --release -p allclear-dr --example sync -- copy ENDPOINT FOLDER LEDGERS BACKUP
//! ```

mod server;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use allclear_core::Clock;
use allclear_core::ports::ObjectCopies as _;
use allclear_dr::storage::{S3Access, S3Copies, S3Settings, Source, connect};
use async_trait::async_trait;
use jiff::Timestamp;

#[derive(Debug)]
struct WallClock;

#[async_trait]
impl Clock for WallClock {
    #[expect(clippy::disallowed_methods, reason = "the one place of this program that asks for the time")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep_until(&self, _at: Timestamp) {}
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", folder, count, bytes] => make(Path::new(folder), count.parse()?, bytes.parse()?),
        ["serve", milliseconds] => server::serve(Duration::from_millis(milliseconds.parse()?), None).await,
        ["serve", milliseconds, folder] => {
            server::serve(Duration::from_millis(milliseconds.parse()?), Some(folder.as_ref())).await
        }
        ["copy", endpoint, folder, ledgers, backup] => copy(endpoint, folder, ledgers.into(), backup).await,
        _ => Err("see the head of this file for what it takes".into()),
    }
}

/// Files of different contents in `FOLDER/vouchers`.
fn make(folder: &Path, count: u64, bytes: usize) -> Result<(), Box<dyn Error>> {
    let folder = folder.join("vouchers");
    std::fs::create_dir_all(&folder)?;
    for n in 0..count {
        let mut state = (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut content = Vec::with_capacity(bytes + 8);
        while content.len() < bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            content.extend_from_slice(&state.to_le_bytes());
        }
        content.truncate(bytes);
        std::fs::write(folder.join(format!("{n:05}.png")), content)?;
    }
    Ok(())
}

async fn copy(endpoint: &str, folder: &str, ledgers: PathBuf, backup: &str) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let access = S3Access {
        endpoint: endpoint.to_owned(),
        region: "us-east-1".to_owned(),
        access_key: "key".to_owned(),
        secret_key: "secret".into(),
        path_style: true,
    };
    let bucket = connect(&S3Settings { access, bucket: "backups".into(), prefix: "supabase".into() })?;
    let clock = Arc::new(WallClock);
    let source = Source::folder(folder, vec!["vouchers".into()], Arc::<WallClock>::clone(&clock));
    let copies = S3Copies::new(bucket, source, ledgers, clock);
    let copy = copies.copy(&backup.parse()?).await?;
    println!("seconds {:.3}", began.elapsed().as_secs_f64());
    for took in &copy.took {
        println!("{} {:.3}", took.what, took.took.as_secs_f64());
    }
    println!("objects {} uploaded {} bytes {}", copy.objects, copy.uploaded, copy.bytes);
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    println!("peak_kib {}", peak.trim().trim_end_matches(" kB"));
    Ok(())
}
