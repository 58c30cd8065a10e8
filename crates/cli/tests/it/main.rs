//! The command line as real processes against a real sandbox process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod approvals;
mod bad_input;
mod configured;
mod desk;
mod drills;
mod evidence;
mod exercise;
mod exported_file;
mod gates;
mod kill_walk;
mod letting_go;
mod stopping;
mod strace_walk;
mod use_as_a_person;
