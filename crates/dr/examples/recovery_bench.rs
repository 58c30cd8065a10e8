//! Backup, restore and parity of millions of rows, ours beside the script's way, on the same two clusters in the same run:
//! `cargo xtask dr-bench [ROWS]`.
//!
//! Ours goes through the bucket with checksums; the script's way pipes `pg_dump` into `psql`, counts table after table, and compares
//! MD5s table after table. Both ways' processes are started anew.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use allclear_dr::cluster::{Cluster, ClusterOptions};
use allclear_dr::seed;

type Failure = Box<dyn std::error::Error>;

/// As in a database of its own on each cluster.
const DATABASE: &str = "platform";

const TABLES: &str = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1";

/// A schema of the old state, and users, without which the script's load would break at its first foreign key.
const FRESH_STAGING: &str =
    "DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO anon";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let rows: u64 = std::env::args().nth(1).map_or(Ok(5_500_000), |it| it.parse())?;
    let rounds: usize = std::env::args().nth(2).map_or(Ok(1), |it| it.parse())?;
    let settings = [("max_wal_size", "4GB"), ("shared_buffers", "512MB"), ("checkpoint_timeout", "30min")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let options = ClusterOptions { durable: true, settings, ..ClusterOptions::default() };
    let folder = tempfile::tempdir()?;
    let production = Cluster::start(&std::env::temp_dir(), &options)?;
    let staging = Cluster::start(&std::env::temp_dir(), &options)?;
    seed::project(&production, DATABASE).await?;
    seed::project(&staging, DATABASE).await?;
    seed::tables(&production, DATABASE).await?;
    let began = Instant::now();
    seed::rows(&production, DATABASE, rows).await?;
    production.run(DATABASE, "VACUUM ANALYZE").await?;
    production.run(DATABASE, "CHECKPOINT").await?;
    let size = "SELECT pg_size_pretty(sum(pg_table_size(c.oid))) FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
    let size = production.run(DATABASE, size).await?;
    println!("{rows} rows, {} on disk, made in {:.0} s", size[0][0], began.elapsed().as_secs_f64());
    let users = "INSERT INTO auth.users SELECT md5('user' || n)::uuid, 'user' || n || '@example.org' FROM generate_series(1, 50) n";
    staging.run(DATABASE, users).await?;
    let bench = Bench { production, staging, folder: folder.path().to_owned() };
    bench.ours("enrol", &[])?;
    for round in 0..rounds {
        bench.round(round).await?;
    }
    Ok(())
}

struct Bench {
    production: Cluster,
    staging: Cluster,
    folder: PathBuf,
}

impl Bench {
    async fn round(&self, round: usize) -> Result<(), Failure> {
        let (theirs, counts, md5) =
            (self.script().await?, self.counts_in_turn().await?, self.md5_in_turn().await?);
        let jobs = self.directory().await?;
        self.fresh().await?;
        let id = format!("round-{round}");
        let take = self.ours("take", &[&id])?;
        let restore = self.ours("restore", &[&id])?;
        let our_counts = self.ours("counts", &[])?;
        let parity = self.ours("parity", &[&id])?;
        let took = take.seconds + restore.seconds;
        println!("the script's way: pg_dump | psql          {theirs:6.2} s");
        println!("pg_dump -Fd -j2, pg_restore -j2           {jobs:6.2} s");
        println!(
            "ours: backup in the bucket, and restore   {took:6.2} s = {:.2} + {:.2}   ratio {:.2}   S6 <= 10 s: {}",
            take.seconds,
            restore.seconds,
            took / theirs,
            reached(took, 10.0)
        );
        println!("counts in turn                            {counts:6.2} s");
        println!(
            "ours: counts                              {:6.2} s   ratio {:.2}   S6b <= 0.4 s: {}",
            our_counts.seconds,
            our_counts.seconds / counts,
            reached(our_counts.seconds, 0.4)
        );
        println!("MD5 in turn                               {md5:6.2} s");
        println!(
            "ours: content                             {:6.2} s   ratio {:.2}   S6b <= 5 s: {}",
            parity.seconds,
            parity.seconds / md5,
            reached(parity.seconds, 5.0)
        );
        let peak =
            [&take, &restore, &our_counts, &parity].map(|it| it.peak_mib).into_iter().max().unwrap_or(0);
        println!("ours: peak memory {peak} MiB   <= 256 MiB: {}", if peak <= 256 { "yes" } else { "NO" });
        for part in take.parts.iter().chain(&restore.parts) {
            println!("    {part}");
        }
        if !parity.text.contains("parity true") {
            return Err("parity does not hold".into());
        }
        Ok(())
    }

    fn ours(&self, what: &str, more: &[&str]) -> Result<Ours, Failure> {
        let program = std::env::current_exe()?.with_file_name("recover");
        std::fs::create_dir_all(self.folder.join("store"))?;
        let output = Command::new(program)
            .arg(what)
            .args(more)
            .env("SOURCE_URL", url(&self.production))
            .env("TARGET_URL", url(&self.staging))
            .env("STORE", self.folder.join("store"))
            .env("WORK", self.folder.join("work"))
            .stderr(Stdio::inherit())
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        if !output.status.success() {
            return Err(text.into());
        }
        let number = |name: &str| -> Option<f64> {
            text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        Ok(Ours {
            seconds: number("seconds ").ok_or("no time")?,
            peak_mib: number("peak_kib ").ok_or("no peak")? as u64 / 1024,
            parts: text.lines().filter_map(|line| line.strip_prefix("took ")).map(str::to_owned).collect(),
            text,
        })
    }

    /// An empty `public`, and neither cluster busy with what was before.
    async fn fresh(&self) -> Result<(), Failure> {
        self.staging.run(DATABASE, FRESH_STAGING).await?;
        self.staging.run(DATABASE, "CHECKPOINT").await?;
        self.production.run(DATABASE, "CHECKPOINT").await?;
        Ok(())
    }

    async fn script(&self) -> Result<f64, Failure> {
        self.fresh().await?;
        let script = "set -e; PGPASSWORD=$FROM pg_dump -h 127.0.0.1 -p \"$1\" -U postgres -n public platform \
            | sed 's/^CREATE SCHEMA public;//' | PGPASSWORD=$TO psql -q -h 127.0.0.1 -p \"$2\" -U postgres -v ON_ERROR_STOP=1 -o /dev/null platform";
        self.timed(script, &self.folder)
    }

    async fn directory(&self) -> Result<f64, Failure> {
        self.fresh().await?;
        let script = "set -e; PGPASSWORD=$FROM pg_dump -h 127.0.0.1 -p \"$1\" -U postgres -n public -Fd -j2 -Z0 -f \"$3/fd\" platform; \
            PGPASSWORD=$TO psql -q -h 127.0.0.1 -p \"$2\" -U postgres -c 'DROP SCHEMA public' platform; \
            PGPASSWORD=$TO pg_restore -h 127.0.0.1 -p \"$2\" -U postgres -j2 -d platform \"$3/fd\"; rm -rf \"$3/fd\"";
        self.timed(script, &self.folder)
    }

    async fn counts_in_turn(&self) -> Result<f64, Failure> {
        self.in_turn("SELECT count(*) FROM public.%").await
    }

    async fn md5_in_turn(&self) -> Result<f64, Failure> {
        self.in_turn("SELECT count(*), sum(('x' || left(md5(t::text), 16))::bit(64)::bigint) FROM public.% t")
            .await
    }

    /// One query after the other, on production and then on staging, as the script does.
    async fn in_turn(&self, query: &str) -> Result<f64, Failure> {
        let tables: Vec<String> =
            self.production.run(DATABASE, TABLES).await?.into_iter().flatten().collect();
        let began = Instant::now();
        for table in &tables {
            let query = query.replace('%', table);
            let (one, other) =
                (self.production.run(DATABASE, &query).await?, self.staging.run(DATABASE, &query).await?);
            if one != other {
                return Err(format!("{table} differs: {one:?} and {other:?}").into());
            }
        }
        Ok(began.elapsed().as_secs_f64())
    }

    fn timed(&self, script: &str, folder: &Path) -> Result<f64, Failure> {
        let (from, to) = (self.production.port().to_string(), self.staging.port().to_string());
        let began = Instant::now();
        let status = Command::new("bash")
            .args(["-o", "pipefail", "-c", script, "script", &from, &to])
            .arg(folder)
            .env("FROM", self.production.password())
            .env("TO", self.staging.password())
            .status()?;
        if !status.success() {
            return Err("the script's way failed".into());
        }
        Ok(began.elapsed().as_secs_f64())
    }
}

struct Ours {
    seconds: f64,
    peak_mib: u64,
    parts: Vec<String>,
    text: String,
}

fn url(cluster: &Cluster) -> String {
    format!("postgres://postgres:{}@127.0.0.1:{}/{DATABASE}", cluster.password(), cluster.port())
}

fn reached(is: f64, aim: f64) -> String {
    if is <= aim { "yes".to_owned() } else { format!("NO, {:.2} s over", is - aim) }
}
