//! One part of the database's half of the exercise in a process of its own: what the tests kill and the benchmark measures.
//!
//! ```text
//! SOURCE_URL=... TARGET_URL=... STORE=folder WORK=folder cargo run -p allclear-dr --example recover -- take ID
//! ... recover -- enrol | restore ID | parity ID
//! ```

mod slow;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use allclear_core::ports::{DatabaseBackups as _, StagingDatabase as _};
use allclear_core::recovery::{BackupId, Progress, Took, Watcher};
use allclear_dr::database::{BackupBucket, Databases, PostgresBackups, PostgresStaging};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;

type Failure = Box<dyn std::error::Error>;

fn variable(name: &str) -> Result<String, Failure> {
    std::env::var(name).map_err(|_| format!("{name} is not set").into())
}

/// Says when a part of the work begins.
#[derive(Default)]
struct Narrator(Mutex<BTreeSet<String>>);

impl Watcher for Narrator {
    fn tell(&self, progress: &Progress) {
        if self.0.lock().is_ok_and(|mut told| told.insert(progress.what.clone())) {
            println!("phase {}", progress.what);
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    if let Err(error) = run().await {
        println!("failed {error}");
        std::process::exit(1);
    }
}

async fn run() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let databases = Databases {
        source: variable("SOURCE_URL")?.parse()?,
        target: variable("TARGET_URL")?.parse()?,
        production_project: None,
        staging_project: None,
        schemas: vec!["public".to_owned()],
    };
    let folder = variable("STORE")?;
    let mut store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(&folder)?);
    // So that a kill comes between two uploads.
    if let Ok(wait) = variable("SLOW_MS") {
        let wait = std::time::Duration::from_millis(wait.parse()?);
        store = Arc::new(slow::Slow { store, wait });
    }
    let bucket = BackupBucket { store, prefix: "supabase".into(), title: folder };
    let work = variable("WORK")?.into();
    let watcher = Arc::new(Narrator::default());
    let backups = PostgresBackups::new(
        databases.source.clone(),
        databases.schemas.clone(),
        bucket.clone(),
        std::path::PathBuf::clone(&work),
        watcher.clone(),
    );
    let staging = PostgresStaging::new(databases.clone(), bucket, work, watcher);
    let began = Instant::now();
    match words[..] {
        ["enrol"] => println!("{:?}", databases.enrol().await?.objections),
        ["take", id] => tell(&backups.take(&id.parse::<BackupId>()?).await?.took),
        ["restore", id] => tell(&staging.restore(&id.parse::<BackupId>()?).await?.took),
        ["counts"] => println!("rows {}", staging.counts().await?.iter().map(|(_, rows)| rows).sum::<u64>()),
        ["parity", id] => {
            let parity = staging.parity(&id.parse::<BackupId>()?).await?;
            println!("parity {}", parity.holds());
        }
        _ => return Err("say enrol, take ID, restore ID, counts or parity ID".into()),
    }
    println!("seconds {:.3}", began.elapsed().as_secs_f64());
    println!("peak_kib {}", peak_kib());
    Ok(())
}

fn tell(took: &[Took]) {
    for part in took {
        println!("took {:>8.3} s  {}", part.took.as_secs_f64(), part.what);
    }
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    peak.unwrap_or(0)
}
