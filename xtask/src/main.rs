//! The handful of commands of this project: `cargo xtask test` is what CI runs.

mod dr_bench;
mod scan_bench;

use std::process::{Command, ExitCode, Stdio};

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        Some("test") => test(),
        Some("walk") => walk_everything(),
        Some("bench") => cargo(&["bench", "-p", "allclear-engine"], &[]),
        Some("dr-bench") => dr_bench::run(),
        Some("scan-bench") => scan_bench::run(),
        Some("export-bench") => cargo(&["bench", "-p", "allclear", "--bench", "export"], &[]),
        _ => {
            eprintln!(
                "cargo xtask test   everything that CI checks\ncargo xtask walk   every mutating system call, about half an hour\ncargo xtask bench  durable steps a second, beside the disk's own rate\ncargo xtask dr-bench      backup, restore and parity of 5.5 million rows, beside the script's way\ncargo xtask scan-bench    double redemptions among five million events, beside Postgres and DuckDB\ncargo xtask export-bench  a million failed targets from paged HTTP, beside a script"
            );
            return ExitCode::from(2);
        }
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Formatting, lints, documentation, and every test.
fn test() -> bool {
    need_strace()
        && need_postgres()
        && cargo(&["fmt", "--all", "--check"], &[])
        && cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"], &[])
        && cargo(&["test", "--workspace", "--all-features"], &[])
        && cargo(&["run", "--quiet", "--example", "embed"], &[])
        && cargo(&["run", "--quiet", "--example", "own_runbook"], &[])
        && cargo(&["doc", "--workspace", "--no-deps", "--quiet"], &[("RUSTDOCFLAGS", "-D warnings")])
}

/// The strace walk without a stride.
fn walk_everything() -> bool {
    let only =
        ["test", "-p", "allclear-cli", "--release", "--test", "it", "--", "strace_walk", "--nocapture"];
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

fn cargo(args: &[&str], environment: &[(&str, &str)]) -> bool {
    println!("$ cargo {}", args.join(" "));
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Command::new(program)
        .args(args)
        .envs(environment.iter().copied())
        .status()
        .is_ok_and(|status| status.success())
}
