//! Double redemptions among five million events: our scan, a window query in Postgres, and DuckDB, over the same rows.
//!
//! Each party runs in a process of its own, and all must give the answer that the generator knows. A peer that is not there is
//! told as such; nothing stands in for it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const EVENTS: &str = "5000000";
const RUNS: usize = 5;
const FOLDER: &str = "target/scan-bench";
/// Vouchers with two redemptions of different keys; replays have one key and are no doubles.
const SQL: &str = "select count(*) from (select voucher_id from (select voucher_id, idempotency_key, \
lag(idempotency_key) over (partition by voucher_id order by created_at, id) as before, \
row_number() over (partition by voucher_id order by created_at, id) as n from EVENTS \
where event_type = 'redeemed') ordered where n > 1 and idempotency_key is distinct from before group by voucher_id) doubles";

pub(crate) fn run() -> bool {
    let folder = PathBuf::from(FOLDER);
    let build = ["build", "--release", "-p", "allclear-clients", "--example", "redemptions"];
    if !super::cargo(&build, &[]) {
        return false;
    }
    let ours = Path::new("target/release/examples/redemptions");
    let made = Command::new(ours).args(["make", EVENTS]).arg(&folder).status();
    let Some(doubles) = made.is_ok_and(|status| status.success()).then(|| truth(&folder)).flatten() else {
        eprintln!("the events cannot be made in {}", folder.display());
        return false;
    };
    println!("{EVENTS} events, {doubles} vouchers redeemed twice; medians of {RUNS}");
    let mut answers = Answers { doubles, all_right: true };
    for file in ["events.csv", "events.ndjson"] {
        let path = folder.join(file);
        let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        let times: Vec<Measured> = (0..RUNS).filter_map(|_| scan(ours, &path)).collect();
        answers.tell(&format!("allclear, {file} ({} MB)", bytes / 1_000_000), &times);
    }
    duckdb(&folder, &mut answers);
    postgres(&folder, &mut answers);
    answers.all_right
}

/// How many vouchers the generator let be redeemed twice.
fn truth(folder: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(folder.join("truth.txt")).ok()?;
    Some(text.lines().filter(|line| line.starts_with("double ")).count() as u64)
}

/// Seconds, peak memory in MiB, and how many doubles.
type Measured = (f64, u64, u64);

/// What is right, and whether everybody who was measured said so.
struct Answers {
    doubles: u64,
    all_right: bool,
}

impl Answers {
    fn tell(&mut self, what: &str, measured: &[Measured]) {
        let mut sorted = measured.to_vec();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let Some((seconds, _, _)) = sorted.get(sorted.len() / 2) else {
            println!("{what:<34} NOT MEASURED: it failed");
            return;
        };
        let peak = measured.iter().map(|one| one.1).max().unwrap_or(0);
        let failed = RUNS - measured.len();
        let wrong = measured.iter().find(|one| one.2 != self.doubles);
        self.all_right &= wrong.is_none();
        let answer = wrong.map_or_else(|| "right".to_owned(), |one| format!("WRONG: {} doubles", one.2));
        let answer = if failed > 0 { format!("{answer}, {failed} of {RUNS} runs FAILED") } else { answer };
        println!("{what:<34} {seconds:>6.2} s  {peak:>5} MiB  {answer}");
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

fn duckdb(folder: &Path, answers: &mut Answers) {
    let Some(python) = duckdb_python() else {
        println!("{:<34} NOT MEASURED: `pip install duckdb` does not work here", "DuckDB");
        return;
    };
    for (file, reader) in [("events.csv", "read_csv_auto"), ("events.ndjson", "read_json_auto")] {
        let source = format!("{reader}('{}')", folder.join(file).display());
        let query = SQL.replace("EVENTS", &source);
        // A query of more than two seconds would draw its progress into the answer.
        let script = format!(
            "import duckdb, resource, time\nduckdb.sql('set enable_progress_bar = false')\nt = time.perf_counter()\nn = duckdb.sql(\"\"\"{query}\"\"\").fetchall()[0][0]\n\
print(time.perf_counter() - t, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, n)",
        );
        let times: Vec<Measured> =
            (0..RUNS).filter_map(|_| numbers(Command::new(&python).args(["-c", &script]))).collect();
        answers.tell(&format!("DuckDB, {file}"), &times);
    }
}

/// A Python of our own with DuckDB in it; it is made where it is not there yet.
fn duckdb_python() -> Option<PathBuf> {
    let venv = Path::new(FOLDER).join("venv");
    let python = venv.join("bin/python");
    let works = || quiet(Command::new(&python).args(["-c", "import duckdb"]));
    if !works() {
        quiet(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
        quiet(Command::new(&python).args(["-m", "pip", "install", "--quiet", "duckdb"]));
    }
    works().then_some(python)
}

fn quiet(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// `seconds kib count` on one line.
fn numbers(command: &mut Command) -> Option<Measured> {
    let output = command.stderr(Stdio::inherit()).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.split_whitespace();
    let (seconds, kib, count) =
        (words.next()?.parse().ok()?, words.next()?.parse::<u64>().ok()?, words.next()?.parse().ok()?);
    Some((seconds, kib / 1_024, count))
}

/// The rows are in the tables already: the query alone is timed.
fn postgres(folder: &Path, answers: &mut Answers) {
    let what = "Postgres, window query";
    let cluster = match Cluster::start() {
        Ok(cluster) => cluster,
        Err(why) => return println!("{what:<34} NOT MEASURED: {why}"),
    };
    let table = "create unlogged table events (id uuid, voucher_id uuid, event_type text, station_id uuid, \
created_at timestamptz, idempotency_key text)";
    let loaded = cluster.psql(table, None).is_some()
        && File::open(folder.join("events.csv"))
            .is_ok_and(|csv| cluster.psql("copy events from stdin csv header", Some(csv)).is_some())
        && cluster.psql("vacuum analyze events", None).is_some();
    if !loaded {
        return println!("{what:<34} NOT MEASURED: the rows cannot be loaded");
    }
    let times: Vec<Measured> =
        (0..RUNS).filter_map(|_| cluster.measured(&SQL.replace("EVENTS", "events"))).collect();
    answers.tell(what, &times);
}

/// A cluster of its own that listens to a socket in its folder only, and is gone when this is dropped.
struct Cluster {
    bin: PathBuf,
    home: PathBuf,
    /// Postgres does not run as root; then somebody else must own it.
    user: Option<&'static str>,
}

impl Cluster {
    fn start() -> Result<Self, String> {
        let bin = postgres_programs().ok_or("initdb is neither in PATH nor below /usr/lib/postgresql")?;
        let root =
            Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0\n"));
        let has = |name: &str| quiet(Command::new("id").arg(name));
        let user = root.then(|| if has("postgres") { "postgres" } else { "nobody" });
        let home = std::env::temp_dir().join(format!("allclear-scan-bench-{}", std::process::id()));
        let cluster = Self { bin, home, user };
        let (bin, home) = (cluster.bin.display(), cluster.home.display());
        let options = format!(
            "-k {home} -c listen_addresses='' -c shared_buffers=1GB -c work_mem=512MB -c fsync=off -c max_wal_size=4GB"
        );
        let script = format!(
            "{bin}/initdb -D {home} -U bench -A trust --locale=C >/dev/null && \
{bin}/pg_ctl -D {home} -w -l {home}/log -o \"{options}\" start >/dev/null"
        );
        let started = cluster.shell(&script).status().is_ok_and(|status| status.success());
        if started { Ok(cluster) } else { Err("the cluster does not start".to_owned()) }
    }

    fn shell(&self, script: &str) -> Command {
        let mut command = match self.user {
            Some(user) => {
                let mut command = Command::new("su");
                command.args([user, "-s", "/bin/sh"]);
                command
            }
            None => Command::new("sh"),
        };
        // Whoever it is may not be allowed into the folder that we stand in.
        command.arg("-c").arg(script).current_dir("/").stdin(Stdio::null());
        command
    }

    fn client(&self) -> String {
        format!(
            "{}/psql -q -X -v ON_ERROR_STOP=1 -h {} -U bench -d postgres -At",
            self.bin.display(),
            self.home.display()
        )
    }

    fn psql(&self, sql: &str, input: Option<File>) -> Option<String> {
        let mut command = self.shell(&format!("{} -c \"{sql}\"", self.client()));
        if let Some(input) = input {
            command.stdin(input);
        }
        let output = command.stderr(Stdio::inherit()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// One run of a query. The memory is that of its backend, shared buffers that it touched included.
    fn measured(&self, sql: &str) -> Option<Measured> {
        let script = format!(
            "{} <<'END'\nselect pg_backend_pid() as pid \\gset\n\\setenv BACKEND :pid\n{sql};\n\
\\! sed -n 's/VmHWM: *//p' /proc/$BACKEND/status\nEND",
            self.client()
        );
        let began = Instant::now();
        let output = self.shell(&script).stderr(Stdio::inherit()).output().ok()?;
        let seconds = began.elapsed().as_secs_f64();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines = text.lines();
        let count = lines.next()?.trim().parse().ok()?;
        let kib = lines.next().and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Some((seconds, kib.unwrap_or(0) / 1_024, count))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let (bin, home) = (self.bin.display(), self.home.display());
        let _ = self
            .shell(&format!("{bin}/pg_ctl -D {home} -m immediate stop >/dev/null; rm -rf {home}"))
            .status();
    }
}

/// The folder of Postgres' programs: the one in PATH, else Debian's.
fn postgres_programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = debian.map(|version| version.path().join("bin"));
    let complete = |bin: &PathBuf| ["initdb", "pg_ctl", "psql"].iter().all(|name| bin.join(name).exists());
    std::env::split_paths(&path).chain(debian).find(complete)
}
