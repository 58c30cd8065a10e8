//! Mutants of the engine: each guard changed in turn, and the engine's own tests run against it.

use std::process::{Command, Stdio};

/// Where the engine's promises are kept.
const FILES: [&str; 12] = [
    "crates/engine/src/gate.rs",
    "crates/engine/src/journal.rs",
    "crates/engine/src/retry.rs",
    "crates/engine/src/run/doubt.rs",
    "crates/engine/src/run/settle/mod.rs",
    "crates/engine/src/run/settle/intent.rs",
    "crates/engine/src/run/settle/outcome.rs",
    "crates/engine/src/run/settle/verify.rs",
    "crates/engine/src/seam.rs",
    "crates/engine/src/memory.rs",
    "crates/engine/src/sqlite/seam.rs",
    "crates/engine/src/sqlite/signals.rs",
];

/// Runs cargo-mutants over one file, or over all of [`FILES`]; its list of what nobody noticed is in `target/mutants.out`.
/// `docs/mutants.md` explains those that stay.
pub(crate) fn run(only: Option<&str>) -> bool {
    let mut asked = Command::new("cargo");
    asked.args(["mutants", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    if !asked.status().is_ok_and(|status| status.success()) {
        eprintln!("cargo-mutants is needed; `cargo install --locked cargo-mutants` installs it");
        return false;
    }
    let mut args = vec!["mutants", "--package", "allclear-engine", "--jobs", "1", "--output", "target"];
    args.extend(["--timeout", "60", "--baseline", "skip", "--no-shuffle"]);
    let files = only.map_or_else(|| FILES.to_vec(), |file| vec![file]);
    args.extend(files.iter().flat_map(|file| ["--file", file]));
    // The engine's unit tests and its one integration test, and nothing of the report: each mutant rebuilds these alone.
    args.extend(["--", "--all-features", "--lib", "--test", "it"]);
    crate::cargo(&args, &[])
}
