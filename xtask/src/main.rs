//! The handful of commands of this project: `cargo xtask test` is what CI runs.

mod scan_bench;

use std::process::{Command, ExitCode, Stdio};

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        Some("test") => test(),
        Some("walk") => walk_everything(),
        Some("bench") => cargo(&["bench", "-p", "allclear-engine"], &[]),
        Some("scan-bench") => scan_bench::run(),
        Some("stream-bench") => stream_bench(),
        Some("export-bench") => cargo(&["bench", "-p", "allclear", "--bench", "export"], &[]),
        _ => {
            eprintln!(
                "cargo xtask test   everything that CI checks\ncargo xtask walk   every mutating system call, about half an hour\ncargo xtask bench  durable steps a second, beside the disk's own rate\ncargo xtask scan-bench    double redemptions among five million events, beside Postgres and DuckDB\ncargo xtask stream-bench  memory of the same search over five million rows from paged HTTP\ncargo xtask export-bench  a million failed targets from paged HTTP, beside a script"
            );
            return ExitCode::from(2);
        }
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Formatting, lints, documentation, and every test.
fn test() -> bool {
    need_strace()
        && cargo(&["fmt", "--all", "--check"], &[])
        && cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"], &[])
        && cargo(&["test", "--workspace", "--all-features"], &[])
        && cargo(&["run", "--quiet", "--example", "embed"], &[])
        && cargo(&["run", "--quiet", "--example", "own_runbook"], &[])
        && cargo(&["doc", "--workspace", "--no-deps", "--quiet"], &[("RUSTDOCFLAGS", "-D warnings")])
}

/// The test of the streamed search, with five times the rows.
fn stream_bench() -> bool {
    let only = ["test", "--release", "-p", "allclear", "--test", "it", "--", "streams", "--nocapture"];
    cargo(&only, &[("ALLCLEAR_STREAM_ROWS", "5000000")])
}

/// The strace walk without a stride.
fn walk_everything() -> bool {
    let only =
        ["test", "-p", "allclear-cli", "--release", "--test", "it", "--", "strace_walk", "--nocapture"];
    need_strace() && cargo(&only, &[("ALLCLEAR_WALK", "all")])
}

/// One test kills the product at its n-th system call, and strace does the killing. It is installed where that is possible;
/// a test that is skipped in silence would count for one that passed.
fn need_strace() -> bool {
    let there = || {
        Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if there() {
        return true;
    }
    println!("installing strace");
    for args in [&["update"][..], &["install", "-y", "--no-install-recommends", "strace"]] {
        let _ = Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").status();
    }
    if !there() {
        eprintln!(
            "strace is needed for the kill tests; install it with your package manager, then try again"
        );
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
