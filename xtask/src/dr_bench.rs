//! Backup, restore and parity of 5.5 million rows beside the script's way, on two clusters of this machine.

/// Builds the benchmark and runs it; `ROWS` and how many rounds may follow on the command line.
pub(crate) fn run() -> bool {
    let more: Vec<String> = std::env::args().skip(2).collect();
    let build = ["build", "--release", "-p", "allclear-dr", "--examples"];
    let mut bench =
        vec!["run", "--release", "--quiet", "-p", "allclear-dr", "--example", "recovery_bench", "--"];
    bench.extend(more.iter().map(String::as_str));
    super::need_postgres() && super::cargo(&build, &[]) && super::cargo(&bench, &[])
}
