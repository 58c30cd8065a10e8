//! The command line as real processes against a real sandbox process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod approvals;
mod bad_input;
mod configured;
mod desk;
mod drills;
mod ending;
mod evidence;
mod exercise;
mod exported_file;
mod gates;
mod journals;
mod kill_walk;
mod letting_go;
mod owners;
mod sandbox_life;
mod soak;
mod stopping;
mod strace_walk;
mod troubled;
mod use_as_a_person;
