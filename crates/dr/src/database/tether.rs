//! Programs that end with us, even when we are killed: an orphaned `pg_dump` would go on holding production's locks.
//!
//! A shell waits beside the program for the end of a pipe that only we hold. A parent-death signal would be shorter, but it
//! fires when the *thread* ends that started the program.

use std::ffi::OsStr;
use std::process::Stdio;

use tokio::process::Command;

/// Kills the whole group when the pipe ends; ends as the program does.
const KILLED_WITH_US: &str = r#"exec 3<&0
"$@" </dev/null 3<&- & program=$!
( read -r _ <&3; kill -9 0 ) >/dev/null 2>&1 & watch=$!
wait "$program"; code=$?
kill -9 "$watch" 2>/dev/null
exit "$code""#;

/// A command whose process group is killed when the handle is dropped or this process ends.
///
/// Its standard input belongs to the tether; output and errors are piped.
pub(crate) fn tethered(program: &OsStr) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", KILLED_WITH_US, "allclear"])
        .arg(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    command
}
