//! The copy of the buckets, against S3 servers that other people wrote.
//!
//! This program is also the child that tests kill and measure: with [`child::JOB`] set it copies and does nothing else. That
//! is why it has a main of its own.
#![allow(clippy::unwrap_used, reason = "these are tests, though without the attribute that tells clippy so")]

mod child;
mod contract;
mod copying;
mod damage;
mod faults;
mod killing;
mod moto;
mod world;

use std::future::Future;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// Turns functions into tests of their own names.
macro_rules! trials {
    ($($module:ident::$test:ident,)*) => {
        vec![$(Trial::test(stringify!($test), || { run($module::$test()); Ok(()) })),*]
    };
}

fn main() -> ExitCode {
    if let Some(job) = std::env::var_os(child::JOB) {
        return run(child::work(&job));
    }
    if let Some(folder) = std::env::var_os(child::SERVE) {
        return run(child::serve(&folder));
    }
    let trials = trials![
        contract::ours_does_what_the_copy_needs,
        contract::another_server_does_what_the_copy_needs,
        copying::every_object_arrives_with_its_checksum_and_its_odd_name,
        copying::odd_keys_of_a_bucket_arrive_under_their_own_names,
        copying::nothing_is_uploaded_twice_and_each_manifest_is_whole,
        copying::an_empty_source_is_refused_when_the_last_copy_had_objects,
        copying::a_copy_never_deletes_anything,
        copying::progress_is_told_and_ends_with_everything_done,
        copying::a_young_file_is_read_again_and_not_believed_unchanged,
        copying::a_whole_copy_is_left_as_it_is,
        damage::damaged_objects_are_named_and_put_back_by_the_next_copy,
        damage::a_damaged_manifest_is_named_and_does_not_stop_the_next_copy,
        faults::a_cut_in_any_request_costs_a_retry_and_no_object,
        faults::a_network_that_stays_away_ends_the_copy_and_it_resumes,
        faults::slow_down_is_obeyed,
        faults::a_long_wait_is_handed_up,
        faults::a_flipped_bit_is_found_by_the_server,
        faults::truncated_answers_are_told_from_whole_ones,
        faults::a_wrong_key_is_named_as_such_and_never_shown,
        faults::a_refusal_names_the_permission,
        faults::a_missing_bucket_is_named,
        faults::objects_that_change_or_vanish_are_told,
        faults::a_full_disk_is_named_and_the_copy_goes_on_when_there_is_room,
        killing::killed_anywhere_a_copy_resumes_and_repeats_no_finished_upload,
        killing::a_killed_multipart_upload_goes_on_with_the_parts_that_are_there,
        killing::memory_stays_within_its_budget,
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(test)
}
