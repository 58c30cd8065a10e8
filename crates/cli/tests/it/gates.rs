//! One gate and several places to answer it: a prompt, another terminal, a process that is gone.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::json;

use crate::desk::{ALLCLEAR, Desk, stderr, stdout, world};

pub(crate) fn desk() -> Desk {
    Desk::with(&world(&json!({ "scenario": "outage", "minutes": 3 }), "as-is"))
}

/// A terminal: the side that a person types at, and the side that a program reads.
fn terminal() -> (File, OwnedFd) {
    let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&keys).unwrap();
    unlockpt(&keys).unwrap();
    let name = ptsname(&keys, Vec::new()).unwrap();
    let line = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    (File::from(keys), line)
}

/// Something that ends with its test.
pub(crate) struct Running {
    child: Child,
    said: std::path::PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub(crate) fn start(desk: &Desk, args: &[&str], stdin: impl Into<Stdio>) -> Self {
        let said = desk.folder().join("said");
        let mut command = desk.command(Path::new(ALLCLEAR), args);
        let child = command.stdin(stdin).stderr(File::create(&said).unwrap()).spawn().unwrap();
        Self { child, said }
    }

    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap()
    }

    /// Returns once it has said so.
    pub(crate) fn until_said(&self, text: &str) {
        let began = Instant::now();
        while !self.said().contains(text) {
            assert!(began.elapsed() < Duration::from_secs(30), "it does not say `{text}`:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks it to let go, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    }

    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(30) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not end:\n{}", self.said());
    }
}

pub(crate) const RUN: [&str; 3] = ["run", "whatsapp-send-failures", "--yes"];

#[test]
fn a_prompt_does_not_hold_up_an_answer_from_another_terminal() {
    let desk = desk();
    let (_keys, line) = terminal();
    let mut run = Running::start(&desk, &RUN, line);
    run.until_said("from elsewhere: allclear answer");
    let approved = desk.answer(&["approve", "@last", "--as", "lea"]);
    assert_eq!(approved.status.code(), Some(0), "{}", stderr(&approved));
    assert_eq!(run.exit_code(), Some(0), "{}", run.said());
    let said = run.said();
    assert!(
        said.contains("nothing needs to be typed here any more") && said.contains("lea answered"),
        "{said}"
    );
}

#[test]
fn what_was_typed_before_the_question_does_not_answer_it() {
    let desk = desk();
    let (mut keys, line) = terminal();
    keys.write_all(b"approve\napprove\n").unwrap();
    let mut run = Running::start(&desk, &RUN, line);
    run.until_said("from elsewhere: allclear answer");
    std::thread::sleep(Duration::from_millis(300));
    let status = stdout(&desk.call(&["status", "@last"]));
    assert!(status.contains("CHOICE"), "the gate is still open: {status}");
    keys.write_all(b"maybe\nyes\n").unwrap();
    assert_eq!(run.exit_code(), Some(0), "{}", run.said());
    assert!(run.said().contains("`maybe` is not offered"), "{}", run.said());
}

#[test]
fn without_a_terminal_an_open_standard_input_holds_nothing_up() {
    let desk = desk();
    let mut run = Running::start(&desk, &[&RUN[..], &["--wait"]].concat(), Stdio::piped());
    run.until_said("The run asked");
    let early = desk.call(&["answer", "@last", "approve", "--binding", "0123456789ab"]);
    assert_eq!(early.status.code(), Some(16), "{}", stderr(&early));
    assert_eq!(desk.call(&["answer", "@last", "maybe"]).status.code(), Some(16));
    assert_eq!(desk.call(&["approve", "@last", "--gate", "WA-R1"]).status.code(), Some(16));
    assert_eq!(desk.answer(&["approve", "@last"]).status.code(), Some(0));
    assert_eq!(run.exit_code(), Some(0), "{}", run.said());
}

#[test]
fn answers_to_a_run_without_a_process_are_kept_and_the_second_person_hears_of_the_first() {
    let desk = desk();
    let waiting = desk.call(&[&RUN[..], &["--no-input"]].concat());
    assert_eq!(waiting.status.code(), Some(11), "{}", stderr(&waiting));
    assert_eq!(desk.answer(&["approve", "@last", "--as", "lea"]).status.code(), Some(0));
    let again = desk.answer(&["approve", "@last", "--as", "lea"]);
    assert_eq!(again.status.code(), Some(16));
    assert!(stderr(&again).contains("lea has answered already"), "{}", stderr(&again));
    let second = desk.answer(&["reject", "@last", "--as", "ren"]);
    assert_eq!(second.status.code(), Some(16));
    assert!(stderr(&second).contains("lea answered `approve` before"), "{}", stderr(&second));
    let resumed = desk.call(&["resume", "@last", "--no-input", "--as", "ren"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", stderr(&resumed));
    let report = stdout(&desk.call(&["report", "@last"]));
    assert!(report.contains("ren took the run up again"), "{report}");
    let late = desk.answer(&["reject", "@last", "--as", "ren"]);
    assert_eq!(late.status.code(), Some(16));
}

#[test]
fn d4_nobody_says_yes_to_what_they_have_not_seen() {
    let desk = desk();
    assert_eq!(desk.call(&[&RUN[..], &["--no-input"]].concat()).status.code(), Some(11));
    let status = stdout(&desk.call(&["status", "@last"]));
    let binding = crate::desk::binding(&desk.call(&crate::desk::STATUS));
    assert!(binding.len() == 12 && status.contains(&format!("--binding {binding}")), "{status}");
    for args in [&["approve", "@last"][..], &["reject", "@last"], &["answer", "@last", "approve"]] {
        let blind = desk.call(args);
        let said = stderr(&blind);
        assert_eq!(blind.status.code(), Some(2), "{args:?}: {said}");
        let choice = if args[0] == "reject" { "reject" } else { "approve" };
        assert!(said.contains(&format!("{choice} --binding {binding}")), "{args:?}: {said}");
        assert!(said.contains("?  "), "the question is shown: {said}");
    }
    let given = desk.call(&["approve", "@last", "--binding", &binding]);
    assert_eq!(given.status.code(), Some(0), "{}", stderr(&given));
}

#[test]
fn d4_at_a_terminal_it_is_shown_and_asked_for_and_a_no_leaves_the_question_open() {
    let desk = desk();
    assert_eq!(desk.call(&[&RUN[..], &["--no-input"]].concat()).status.code(), Some(11));
    for (typed, code, state) in [("n\n", 12, "waiting"), ("\n", 12, "waiting"), ("y\n", 0, "waiting")] {
        let (mut keys, line) = terminal();
        let mut approve = Running::start(&desk, &["approve", "@last", "--as", "lea"], line);
        approve.until_said("Answer `approve` to this? [y/N]");
        assert!(approve.said().contains("?  "), "{}", approve.said());
        keys.write_all(typed.as_bytes()).unwrap();
        assert_eq!(approve.exit_code(), Some(code), "{}", approve.said());
        assert!(stdout(&desk.call(&["status", "@last"])).contains(state));
    }
    let again = desk.answer(&["approve", "@last", "--as", "lea"]);
    assert!(stderr(&again).contains("lea has answered already"), "{}", stderr(&again));
}
