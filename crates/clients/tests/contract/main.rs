//! Our clients against what the vendors say of their services: their OpenAPI descriptions, served by Prism, replies that
//! were recorded from the real thing, and lists of errors.
//!
//! The descriptions are not part of the project (see [`specs`]). Where they are absent every test is ignored and it is said
//! so; where they are there and Node.js is not, the tests fail.

mod deno;
mod front;
mod management;
mod meaning;
mod npm;
mod pagerduty;
mod prism;
mod slack;
mod specs;
mod storage;
mod supabase;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use allclear_clients::{Endpoints, Settings};
use allclear_core::{Clock, Platform, VirtualClock};
use libtest_mimic::{Arguments, Trial};

/// What a test comes to.
type Check = Result<(), String>;

/// Nobody listens there: a client that calls somebody it should not fails.
const NOBODY: &str = "http://127.0.0.1:1";

fn main() -> ExitCode {
    let folder = specs::folder();
    if folder.is_none() {
        eprintln!(
            "\nThe vendors' descriptions are not there, so the contract tests are IGNORED. They are looked for in\n\
             ../shared/specs beside the project, or where ALLCLEAR_SPECS says.\n"
        );
    }
    let trials = vec![
        trial("pagerduty", folder.as_ref(), |folder| {
            run(pagerduty::calls_are_legal_and_every_answer_has_a_meaning(folder))
        }),
        trial("pagerduty_sandbox", folder.as_ref(), |folder| {
            run(pagerduty::the_sandbox_keeps_the_contract(folder))
        }),
        trial("supabase", folder.as_ref(), |folder| {
            run(supabase::calls_are_legal_and_every_answer_has_a_meaning(folder))
        }),
        trial("supabase_recorded", folder.as_ref(), |folder| {
            run(supabase::every_recorded_reply_has_a_meaning(folder))
        }),
        trial("supabase_project", folder.as_ref(), |folder| {
            run(management::reads_are_legal_and_every_answer_has_a_meaning(folder))
        }),
        trial("supabase_project_recorded", folder.as_ref(), |folder| {
            run(management::recorded_replies_are_read(folder))
        }),
        trial("supabase_sandbox", folder.as_ref(), |folder| {
            run(management::the_sandbox_keeps_the_contract(folder))
        }),
        trial("storage_sandbox", folder.as_ref(), |folder| {
            run(storage::the_sandbox_keeps_the_contract(folder))
        }),
        trial("storage_recorded", folder.as_ref(), |folder| {
            run(storage::every_recorded_reply_has_a_meaning(folder))
        }),
        // It compares with no description, so it is never ignored.
        Trial::test("deno", || {
            run(deno::a_function_on_deno_is_taken_for_what_it_answers()).map_err(Into::into)
        }),
        trial("slack", folder.as_ref(), |folder| run(slack::every_error_word_has_a_meaning(folder))),
        trial("slack_sandbox", folder.as_ref(), |folder| run(slack::the_sandbox_keeps_the_contract(folder))),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(name: &str, folder: Option<&PathBuf>, check: fn(&Path) -> Check) -> Trial {
    let known = folder.cloned().unwrap_or_default();
    Trial::test(name, move || check(&known).map_err(Into::into)).with_ignored_flag(folder.is_none())
}

fn run(check: impl Future<Output = Check>) -> Check {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(check)
}

/// All clients, at nobody's but for what `point` says.
fn platform(point: impl FnOnce(&mut Endpoints)) -> Platform {
    let start = "2026-11-23T09:00:00Z".parse().expect("a valid time");
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::at(start));
    allclear_clients::connect(settings(point), &clock).expect("the settings are valid")
}

/// What [`platform`] is made of.
fn settings(point: impl FnOnce(&mut Endpoints)) -> Settings {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let mut settings =
        allclear_clients::sandbox::settings(NOBODY, folder).expect("the sandbox's settings are valid");
    settings.timeout = Duration::from_secs(30);
    // A project's ref as the vendor's description has it.
    "abcdefghijklmnopqrst".clone_into(&mut settings.supabase_project);
    point(&mut settings.endpoints);
    settings
}
