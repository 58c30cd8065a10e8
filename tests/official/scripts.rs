//! Runs the scripts, and reads what they found.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use allclear_sandbox::s3::{ACCESS_KEY, REGION, SECRET_KEY as S3_SECRET};
use allclear_sandbox::{
    ANON_KEY, BUSINESS_ACCOUNT_ID, GRAPH_TOKEN, MANAGEMENT_TOKEN, PAGERDUTY_KEY, PAGERDUTY_ROUTING_KEY,
    PHONE_ID, PROJECT, SECRET_KEY, SERVICE_KEY, SLACK_TOKEN,
};

/// What the scripts take from their environment beside the addresses.
const KEYS: &[(&str, &str)] = &[
    ("SERVICE_KEY", SERVICE_KEY),
    ("SECRET_KEY", SECRET_KEY),
    ("ANON_KEY", ANON_KEY),
    ("MANAGEMENT_TOKEN", MANAGEMENT_TOKEN),
    ("PROJECT", PROJECT),
    ("GRAPH_TOKEN", GRAPH_TOKEN),
    ("PHONE_ID", PHONE_ID),
    ("BUSINESS_ACCOUNT_ID", BUSINESS_ACCOUNT_ID),
    ("PAGERDUTY_KEY", PAGERDUTY_KEY),
    ("PAGERDUTY_ROUTING_KEY", PAGERDUTY_ROUTING_KEY),
    ("SLACK_TOKEN", SLACK_TOKEN),
    ("S3_KEY", ACCESS_KEY),
    ("S3_SECRET", S3_SECRET),
    ("S3_REGION", REGION),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/official")
}

/// What runs the JavaScript; its packages are looked for beside the scripts.
pub(crate) fn node() -> PathBuf {
    let packages = folder().join("node_modules");
    assert!(packages.is_dir(), "{} is missing: `cargo xtask test` installs it", packages.display());
    "node".into()
}

/// What runs the Python, with the clients installed.
pub(crate) fn python() -> PathBuf {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/official/bin/python");
    assert!(program.exists(), "{} is missing: `cargo xtask test` installs it", program.display());
    program
}

/// One client's script, and the checks that it makes.
pub(crate) struct Script {
    pub(crate) program: PathBuf,
    pub(crate) file: &'static str,
    pub(crate) checks: &'static [&'static str],
}

impl Script {
    /// Fails unless every check, and no other, was printed once as passed.
    pub(crate) async fn run(&self, addresses: &[(&str, &str)]) {
        let mut command = Command::new(&self.program);
        command.arg(folder().join(self.file)).envs(KEYS.iter().copied()).envs(addresses.iter().copied());
        // The sandbox is on loopback, whatever the machine's way out is.
        command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::null());
        // Each script ends itself in time.
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let passed: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("ok ")).collect();
        let failed: Vec<&str> = said.lines().filter(|line| line.starts_with("not ok ")).collect();
        assert!(
            passed == self.checks && failed.is_empty() && output.status.success(),
            "{}: {}\n{}\n{:?} did not pass\n{}",
            self.file,
            output.status,
            failed.join("\n"),
            self.checks.iter().filter(|check| !passed.contains(check)).collect::<Vec<_>>(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
