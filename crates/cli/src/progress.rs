//! How far long work is, for people: the terminal's last line, or a line now and then where there is no terminal. With
//! `--json` each is a JSON document on a line of its own, beside the result and not in it.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use allclear_core::recovery::{Progress, Watcher};
use serde_json::json;

/// Between two changes of the last line.
const ON_TERMINAL: Duration = Duration::from_millis(100);
/// Between two lines in a log.
const IN_A_LOG: Duration = Duration::from_secs(5);
/// Between two documents.
const AS_JSON: Duration = Duration::from_secs(1);

/// Shows progress on standard error.
#[derive(Debug)]
pub(crate) struct ProgressLine {
    json: bool,
    on_terminal: bool,
    /// What was shown last, and when.
    shown: Mutex<Option<(String, Instant)>>,
}

impl ProgressLine {
    pub(crate) fn new(json: bool) -> Self {
        let on_terminal = !json && std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { json, on_terminal, shown: Mutex::new(None) }
    }

    fn is_due(&self, what: &str) -> bool {
        let every = match (self.json, self.on_terminal) {
            (true, _) => AS_JSON,
            (false, true) => ON_TERMINAL,
            (false, false) => IN_A_LOG,
        };
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let due = shown.as_ref().is_none_or(|(last, at)| last != what || at.elapsed() >= every);
        if due {
            *shown = Some((what.to_owned(), Instant::now()));
        }
        due
    }
}

impl Watcher for ProgressLine {
    fn tell(&self, progress: &Progress) {
        if !self.is_due(&progress.what) {
            return;
        }
        let mut err = std::io::stderr().lock();
        // A closed terminal is no reason to stop the work.
        let _ = if self.json {
            writeln!(err, "{}", document(progress))
        } else if self.on_terminal {
            write!(err, "\r\x1b[K    … {}", line(progress)).and_then(|()| err.flush())
        } else {
            writeln!(err, "    … {}", line(progress))
        };
    }
}

fn document(progress: &Progress) -> serde_json::Value {
    json!({
        "schema": "allclear.progress/1",
        "what": progress.what,
        "items": progress.items, "items_of": progress.items_of,
        "bytes": progress.bytes, "bytes_of": progress.bytes_of,
        "bytes_per_second": progress.rate(),
        "seconds": progress.elapsed.as_secs_f64(),
        "seconds_left": progress.left().map(|left| left.as_secs_f64()),
    })
}

/// One line, e.g. `copy objects: 2310 of 5000, 67 MiB of 146 MiB, 31 MiB/s, 3 s left`.
fn line(progress: &Progress) -> String {
    let of = |done: String, all: Option<String>| all.map_or(done.clone(), |all| format!("{done} of {all}"));
    let items = of(progress.items.to_string(), progress.items_of.map(|all| all.to_string()));
    let mut parts = vec![items];
    if progress.bytes > 0 {
        parts.push(of(size(progress.bytes), progress.bytes_of.map(size)));
        parts.push(format!("{}/s", size(progress.rate())));
    }
    if let Some(left) = progress.left() {
        parts.push(format!("{} s left", left.as_secs()));
    }
    format!("{}: {}", progress.what, parts.join(", "))
}

fn size(bytes: u64) -> String {
    match bytes {
        0..=1_023 => format!("{bytes} B"),
        1_024..=1_048_575 => format!("{} KiB", bytes >> 10),
        1_048_576..=10_737_418_239 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is_and_how_long_it_takes_yet() {
        let half = Progress {
            what: "copy objects".to_owned(),
            items: 2_500,
            items_of: Some(5_000),
            bytes: 75 << 20,
            bytes_of: Some(150 << 20),
            elapsed: Duration::from_secs(3),
        };
        assert_eq!(line(&half), "copy objects: 2500 of 5000, 75 MiB of 150 MiB, 25 MiB/s, 3 s left");
        assert_eq!(document(&half)["seconds_left"], 3.0);
        let unknown = Progress { what: "dump".to_owned(), items: 3, ..Progress::default() };
        assert_eq!(line(&unknown), "dump: 3");
    }
}
