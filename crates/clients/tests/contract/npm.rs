//! Programs from npm, installed under the target folder when they are not there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// One installation at a time: several tests want the same program.
static INSTALLING: Mutex<()> = Mutex::new(());

/// Where a package's program is, once it is installed.
pub(crate) fn installed(package: &str, version: &str, program: &str) -> Result<PathBuf, String> {
    let _one = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let node = Command::new("node").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !node.is_ok_and(|status| status.success()) {
        return Err(
            "Node.js is needed for the contract tests; install it (node and npm), then try again".to_owned()
        );
    }
    let name = package.rsplit('/').next().unwrap_or(package);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{version}"));
    let program = folder.join(program);
    if program.is_file() {
        return Ok(program);
    }
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let output = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix"])
        .arg(&folder)
        .arg(format!("{package}@{version}"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("npm is needed for the contract tests and cannot be started: {error}"))?;
    if output.status.success() && program.is_file() {
        return Ok(program);
    }
    Err(format!("npm could not install {package}:\n{}", String::from_utf8_lossy(&output.stderr)))
}
