//! The random worlds of `tests/it/lies/worlds.rs` with one guard taken out at a time: a guard that no world misses is none, and an
//! oracle that misses no guard sees nothing.
//!
//! The guards are taken out in a copy of the sources, all by one build, and switched off by an environment variable; what is
//! released has no such switch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Where the copy and its build are.
const FOLDER: &str = "target/unguarded";
/// Names the guard that is off, in the copy.
const WITHOUT: &str = "ALLCLEAR_WITHOUT";

/// A guard, and how the copy can do without it.
struct Guard {
    /// What it is known by.
    name: &'static str,
    /// What it is for.
    keeps: &'static str,
    file: &'static str,
    /// What stands there once.
    is: &'static str,
    /// What stands there in the copy; `OFF` is whether the guard is off.
    becomes: &'static str,
    /// What misses it.
    missed_by: MissedBy,
}

/// What shows that a guard is gone.
#[derive(Clone, Copy)]
enum MissedBy {
    /// Random worlds of these runbooks, by the names of their tests.
    Worlds(&'static [&'static str]),
    /// A test of the whole tree.
    Test(&'static str),
    /// A test of one package.
    TestOf(&'static str, &'static str),
}

use MissedBy::{Test, TestOf, Worlds};

const ALL: &[&str] = &["whatsapp", "the_dispatcher", "previews", "stations"];

const GUARDS: &[Guard] = &[
    Guard {
        name: "account",
        keeps: "what is not proven or still owed bounds the end",
        file: "crates/engine/src/run/ledger.rs",
        is: "(!all.is_empty()).then_some((step, all))",
        becomes: "(!all.is_empty() && !OFF).then_some((step, all))",
        missed_by: Worlds(ALL),
    },
    Guard {
        name: "told",
        keeps: "a message is read back before it is said that people were told",
        file: "crates/runbooks/src/effects/chat.rs",
        is: "            None => Judgement::pending(\n                \"Slack accepted the message and does not show it\",",
        becomes: "            None if OFF => Judgement::verified(\"Slack accepted the message\", vec![]),\n            None => Judgement::pending(\n                \"Slack accepted the message and does not show it\",",
        missed_by: Worlds(ALL),
    },
    Guard {
        name: "listed",
        keeps: "what is left changed is listed",
        file: "crates/engine/src/report/left.rs",
        is: "    let stories = stories(entries);\n    let outcome =",
        becomes: "    if OFF { return Vec::new(); }\n    let stories = stories(entries);\n    let outcome =",
        missed_by: Worlds(&["whatsapp", "the_dispatcher"]),
    },
    Guard {
        name: "people",
        keeps: "what somebody took since is theirs",
        file: "crates/runbooks/src/effects/campaign/mod.rs",
        is: "        if now.status != CampaignStatus::Paused {\n            return Ok(Some(format!(\"it is {}, and not paused by us any more\", now.status)));",
        becomes: "        if OFF {\n            return Ok(None);\n        }\n        if now.status != CampaignStatus::Paused {\n            return Ok(Some(format!(\"it is {}, and not paused by us any more\", now.status)));",
        missed_by: Worlds(&["whatsapp", "the_dispatcher"]),
    },
    Guard {
        name: "repeats",
        keeps: "distinct recipients are progress, repeats are failures",
        file: "crates/clients/src/supabase/sends.rs",
        is: "Tried::WentOut if row.queue_id.is_some_and(|id| !gone_out.insert(id)) => tally.repeats += 1,",
        becomes: "Tried::WentOut if row.queue_id.is_some_and(|id| !gone_out.insert(id)) && !OFF => tally.repeats += 1,",
        missed_by: Worlds(&["whatsapp", "the_dispatcher"]),
    },
    Guard {
        name: "delivery",
        keeps: "what was accepted is not delivered yet",
        file: "crates/runbooks/src/whatsapp_send_failures/effects/canary.rs",
        is: "        let is_known = !canary.message_id.is_empty();\n",
        becomes: "        if OFF { return Ok(sent(Vec::new())); }\n        let is_known = !canary.message_id.is_empty();\n",
        missed_by: Worlds(&["whatsapp"]),
    },
    Guard {
        name: "given-up",
        keeps: "messages that were given up because of what is over are put back",
        file: "crates/runbooks/src/effects/given_up/mod.rs",
        is: "    if run.is_plan() || campaigns.is_empty() {\n        return Ok(());\n    }\n    let found = run.probe(step, GivenUpMessages::at_the_end",
        becomes: "    if run.is_plan() || campaigns.is_empty() || OFF {\n        return Ok(());\n    }\n    let found = run.probe(step, GivenUpMessages::at_the_end",
        missed_by: Test("given_up::s1_only_what_passes_is_put_back_and_what_nobody_knows_is_no_good_end"),
    },
    Guard {
        name: "night",
        keeps: "nothing is started in quiet hours or into them",
        file: "crates/runbooks/src/quiet.rs",
        is: "    hours.next_allowed(now, zone, drains).filter(|allowed| *allowed > now)",
        becomes: "    hours.next_allowed(now, zone, drains).filter(|allowed| *allowed > now && !OFF)",
        missed_by: Worlds(&["whatsapp", "the_dispatcher"]),
    },
    Guard {
        name: "movement",
        keeps: "movement counts from the start and not from when the run looks",
        file: "crates/runbooks/src/campaign_dispatcher_stalls/detect.rs",
        is: "        let ours = started_at.filter(|at| *at + TO_THE_SECOND >= self.replay);",
        becomes: "        if OFF {\n            return Timestamp::now().max(self.replay);\n        }\n        let ours = started_at.filter(|at| *at + TO_THE_SECOND >= self.replay);",
        missed_by: Test("dispatcher::s6_what_went_out_while_the_run_was_away_is_movement"),
    },
    Guard {
        name: "looked-at-again",
        keeps: "what an earlier process had only looked at is looked at again",
        file: "crates/engine/src/run/settle/mod.rs",
        is: "                None if !was_made => break,",
        becomes: "                None if !was_made || OFF => break,",
        missed_by: Test("nights::what_was_set_out_to_before_the_night_is_done_after_it"),
    },
    Guard {
        name: "days",
        keeps: "what is too long for a day is spread over days",
        file: "crates/runbooks/src/quiet.rs",
        is: "        if drains(all + beside, limits, policy) <= day(policy) {",
        becomes: "        if OFF || drains(all + beside, limits, policy) <= day(policy) {",
        missed_by: Test("nights::what_needs_longer_than_a_day_is_spread_over_days"),
    },
    Guard {
        name: "policy",
        keeps: "unsound settings are no all-clear",
        file: "crates/runbooks/src/whatsapp_send_failures/policy.rs",
        is: "        let faults = stored.faults();\n        if faults.is_empty() {\n            return Ok(false);",
        becomes: "        let faults = stored.faults();\n        if OFF || faults.is_empty() {\n            return Ok(false);",
        missed_by: Test("nights::a_policy_that_would_hold_messages_back_by_day_is_no_all_clear_at_night"),
    },
    Guard {
        name: "given-back",
        keeps: "messages that somebody gives back after the skip end nothing",
        file: "crates/runbooks/src/whatsapp_send_failures/contingencies.rs",
        is: "            if let Verdict::Unverifiable { says } = one.verdict() {",
        becomes: "            if let (Verdict::Unverifiable { says }, false) = (one.verdict(), OFF) {",
        missed_by: Test("left::a_message_that_somebody_gives_back_right_after_the_skip_ends_nothing"),
    },
    Guard {
        name: "kept-by-undo",
        keeps: "an undo keeps messages of a campaign that somebody stopped or paused",
        file: "crates/runbooks/src/whatsapp_send_failures/effects/queue.rs",
        is: "        if now.status == CampaignStatus::Running {\n            return Ok(None);",
        becomes: "        if OFF || now.status == CampaignStatus::Running {\n            return Ok(None);",
        missed_by: Test("left::an_undo_keeps_messages_skipped_of_a_campaign_that_somebody_stopped_or_paused"),
    },
    Guard {
        name: "stopped-by-ended",
        keeps: "what an ended run left stopped is owed by the next",
        file: "crates/runbooks/src/campaign_dispatcher_stalls/mod.rs",
        is: "        for one in run.probe(&CD_D1, stopped).await? {",
        becomes: "        for one in run.probe(&CD_D1, stopped).await?.into_iter().filter(|_| !OFF) {",
        missed_by: Test(
            "undone::a_campaign_that_an_ended_run_left_stopped_keeps_the_next_run_from_ending_as_verified",
        ),
    },
    Guard {
        name: "blocked-all-day",
        keeps: "sends that are blocked all day begin nothing",
        file: "crates/runbooks/src/quiet.rs",
        is: "        if blocks_all_day(&stored.value) {",
        becomes: "        if !OFF && blocks_all_day(&stored.value) {",
        missed_by: Test(
            "nights::sends_that_somebody_blocks_all_day_while_a_run_waits_are_not_begun_before_that_is_lifted",
        ),
    },
    Guard {
        name: "named-campaign",
        keeps: "a named campaign that does not run is no all-clear",
        file: "crates/runbooks/src/campaign_dispatcher_stalls/stall.rs",
        is: "        if running.is_empty() && !self.input.campaigns.is_empty() && held.is_empty() {",
        becomes: "        if !OFF && running.is_empty() && !self.input.campaigns.is_empty() && held.is_empty() {",
        missed_by: Test("dispatcher::a17b_a_named_campaign_that_does_not_run_is_no_all_clear"),
    },
    Guard {
        name: "last-message",
        keeps: "a run waits for the chat service with its last messages",
        file: "crates/engine/src/run/settle/mod.rs",
        is: "        match self.settle(step, &message, 0, Persistence::Full).await {",
        becomes: "        let persistence = if OFF { Persistence::Brief } else { Persistence::Full };\n        match self.settle(step, &message, 0, persistence).await {",
        missed_by: Test("stuck::b1_a_run_waits_for_the_chat_service_before_it_ends_with_people_untold"),
    },
    Guard {
        name: "moot",
        keeps: "what the last message makes moot is closed",
        file: "crates/engine/src/run/ledger.rs",
        is: "                self.untold.retain(|claim| !claim.is_closed_by(closing));",
        becomes: "                self.untold.retain(|claim| OFF || !claim.is_closed_by(closing));",
        missed_by: Test(
            "stuck::what_could_not_be_told_at_first_and_is_over_by_the_end_keeps_no_run_from_its_end",
        ),
    },
    Guard {
        name: "still-so",
        keeps: "what a message says must still be so right before it is sent",
        file: "crates/engine/src/run/settle/mod.rs",
        is: "            Some((_, says)) => Err(Halt::Refuted { step: step.id.to_owned(), says }),\n            None => Ok(()),",
        becomes: "            Some((_, says)) if !OFF => Err(Halt::Refuted { step: step.id.to_owned(), says }),\n            _ => Ok(()),",
        missed_by: Test(
            "stuck::what_breaks_again_while_the_last_message_waits_is_not_told_as_over_and_is_no_good_end",
        ),
    },
    Guard {
        name: "kept-for-the-morning",
        keeps: "what is kept for the morning is not due before it",
        file: "crates/runbooks/src/campaign_dispatcher_stalls/night.rs",
        is: "        for waiting in &done.still_paused() {",
        becomes: "        for waiting in done.still_paused().iter().filter(|_| !OFF) {",
        missed_by: Test(
            "nights::what_is_kept_for_the_morning_is_not_sent_at_night_whatever_wakes_the_dispatcher",
        ),
    },
    Guard {
        name: "overridden",
        keeps: "what somebody did right before our write is given back to them",
        file: "crates/runbooks/src/effects/campaign/whose.rs",
        is: "        Ok((!was_lifted).then(|| theirs.clone()))",
        becomes: "        Ok((!was_lifted && !OFF).then(|| theirs.clone()))",
        missed_by: Test(
            "people::what_somebody_stops_or_pauses_right_before_our_write_is_theirs_again_and_told",
        ),
    },
    Guard {
        name: "third-look",
        keeps: "one movement between two looks is no recovery",
        file: "crates/runbooks/src/campaign_dispatcher_stalls/stall.rs",
        is: "            second.into_iter().filter(|look| look.movement == Movement::Moves).collect();",
        becomes: "            second.into_iter().filter(|look| !OFF && look.movement == Movement::Moves).collect();",
        missed_by: Test("dispatcher::one_movement_between_two_looks_is_no_recovery_and_two_are"),
    },
    Guard {
        name: "last-look",
        keeps: "what a good end rests on is looked at right before it",
        file: "crates/engine/src/runbook.rs",
        is: "    match Box::pin(run.look_before_the_end()).await? {\n        None => Ok(end),",
        becomes: "    match Box::pin(run.look_before_the_end()).await? {\n        _ if OFF => Ok(end),\n        None => Ok(end),",
        missed_by: Test(
            "last_word::s1_what_was_proven_before_the_process_died_is_looked_at_again_before_the_last_word",
        ),
    },
    Guard {
        name: "several-looks",
        keeps: "one look that met a glitch ends nothing",
        file: "crates/engine/src/run/observe.rs",
        is: "            if round == LOOKS {",
        becomes: "            if round == LOOKS || OFF {",
        missed_by: Test("last_word::e3_one_bad_answer_to_the_last_look_ends_nothing"),
    },
    Guard {
        name: "old-diagnosis",
        keeps: "what was found minutes ago is looked at again before it is acted upon",
        file: "crates/engine/src/run/settle/mod.rs",
        is: "        if !was_made && (set_out || needs_no_look) {",
        becomes: "        if !was_made && (set_out || needs_no_look || OFF) {",
        missed_by: Test(
            "last_word::f4_f6_what_was_found_hours_ago_is_looked_at_again_before_anything_is_touched_or_told",
        ),
    },
    Guard {
        name: "taken-over",
        keeps: "a run that was taken over says nothing more",
        file: "crates/engine/src/runbook.rs",
        is: "    if !matches!(result, Err(Halt::Seam(_) | Halt::Aborted { .. })) {",
        becomes: "    if !OFF && !matches!(result, Err(Halt::Seam(_) | Halt::Aborted { .. })) {",
        missed_by: Test("last_word::e1_a_run_that_was_taken_over_while_it_was_suspended_says_nothing_more"),
    },
    Guard {
        name: "skipped-by-ended",
        keeps: "messages that an ended run skipped keep later runs from an all-clear",
        file: "crates/runbooks/src/effects/held.rs",
        is: "    for one in skipped {",
        becomes: "    for one in skipped.iter().filter(|_| !OFF) {",
        missed_by: Test(
            "last_word::s4_messages_that_an_ended_run_skipped_keep_a_run_that_cannot_give_them_back_from_an_all_clear",
        ),
    },
    Guard {
        name: "undo-by-day",
        keeps: "an undo sends nothing at night",
        file: "crates/engine/src/undo/reversal.rs",
        is: "        self.by.not_before()",
        becomes: "        self.by.not_before().filter(|_| !OFF)",
        missed_by: Test("left::an_undo_sends_nothing_at_night_and_its_plan_says_so"),
    },
    Guard {
        name: "announced-undo",
        keeps: "an undo goes on as a run of what it undoes",
        file: "crates/engine/src/undo/mod.rs",
        is: "        self.original.announced_as()",
        becomes: "        if OFF { self.id() } else { self.original.announced_as() }",
        missed_by: TestOf(
            "allclear-cli",
            "troubled::d5_an_undo_that_waits_for_a_service_keeps_other_machines_from_beginning_beside_it",
        ),
    },
    Guard {
        name: "waits-by-then",
        keeps: "a start counts what waits by then",
        file: "crates/runbooks/src/quiet.rs",
        is: "        Ok(self.messages.max(due))",
        becomes: "        Ok(if OFF { self.messages } else { self.messages.max(due) })",
        missed_by: TestOf(
            "allclear-runbooks",
            "quiet::tests::what_came_to_wait_since_the_plan_was_made_is_counted_right_before_the_start",
        ),
    },
];

/// What a test program says when tests fail.
const TESTS_FAILED: i32 = 101;
/// How many worlds of each kind are played, if it is not said.
const WORLDS: &str = "200";

/// Builds the copy and counts, for each guard, the worlds in which its absence shows.
pub(crate) fn run(worlds: Option<&str>) -> bool {
    let worlds = worlds.unwrap_or(WORLDS);
    if worlds.parse::<u32>().is_err() {
        eprintln!("give the number of worlds for each runbook");
        return false;
    }
    let Some(programs) = built() else { return false };
    println!("of {worlds} worlds of each runbook are wrong, or the test named fails, without");
    let mut as_it_should = missed(&programs, worlds, "nothing", Worlds(ALL)).is_none();
    println!("  nothing: {}", if as_it_should { "none" } else { "some, and that is a defect" });
    for Guard { name, keeps, missed_by, .. } in GUARDS {
        let missed = missed(&programs, worlds, name, *missed_by);
        println!("  {name} ({keeps}): {}", missed.as_deref().unwrap_or("NOTHING"));
        as_it_should &= missed.is_some();
    }
    as_it_should
}

/// The whole tree's test program.
const TREE: &str = "allclear";
/// Whose test programs are built, and which: one of each package.
const PROGRAMS: [(&str, &str); 3] =
    [(TREE, "it"), ("allclear-cli", "it"), ("allclear-runbooks", "allclear_runbooks")];

/// The test programs of a copy in which every guard can be switched off, by their packages.
fn built() -> Option<BTreeMap<&'static str, PathBuf>> {
    let copy = Path::new(FOLDER).join("src");
    copy_without_guards(&copy)?;
    let target = std::fs::canonicalize(FOLDER).ok()?.join("build");
    let mut build = Command::new("cargo");
    build.args(["test", "--all-features", "--lib", "--test", "it", "--no-run", "--message-format", "json"]);
    for (package, _) in PROGRAMS {
        build.args(["--package", package]);
    }
    let said = build.current_dir(&copy).env("CARGO_TARGET_DIR", &target).output().ok()?;
    let artifacts: Vec<Value> = String::from_utf8_lossy(&said.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let mut programs = BTreeMap::new();
    for (package, target) in PROGRAMS {
        let is_it = |one: &&Value| {
            let of = one["manifest_path"].as_str().is_some_and(|path| is_of(Path::new(path), package));
            of && one["target"]["name"] == target && one["profile"]["test"] == true
        };
        let Some(program) = artifacts.iter().find(is_it).and_then(|one| one["executable"].as_str()) else {
            eprintln!("no test program of {package}:\n{}", String::from_utf8_lossy(&said.stderr));
            return None;
        };
        programs.insert(package, PathBuf::from(program));
    }
    Some(programs)
}

/// Whether this manifest is of that package: packages are named after their folders.
fn is_of(manifest: &Path, package: &str) -> bool {
    let folder = manifest.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    folder == Some(package.strip_prefix("allclear-").unwrap_or("src"))
}

/// Copies what belongs to the project, with a switch at each guard.
fn copy_without_guards(copy: &Path) -> Option<()> {
    let listed = Command::new("git").args(["ls-files"]).output().ok()?;
    let _ = std::fs::remove_dir_all(copy);
    for file in String::from_utf8(listed.stdout).ok()?.lines() {
        let to = copy.join(file);
        std::fs::create_dir_all(to.parent()?).ok()?;
        std::fs::copy(file, to).ok()?;
    }
    for guard in GUARDS {
        let path = copy.join(guard.file);
        let text = std::fs::read_to_string(&path).ok()?;
        if text.matches(guard.is).count() != 1 {
            eprintln!("the guard `{}` does not stand in {} as it did", guard.name, guard.file);
            return None;
        }
        let off = format!("std::env::var(\"{WITHOUT}\").is_ok_and(|off| off == \"{}\")", guard.name);
        std::fs::write(&path, text.replace(guard.is, &guard.becomes.replace("OFF", &off))).ok()?;
    }
    Some(())
}

/// What shows that this guard is off; `None` where nothing does.
fn missed(
    programs: &BTreeMap<&'static str, PathBuf>,
    worlds: &str,
    off: &str,
    by: MissedBy,
) -> Option<String> {
    let (package, tests) = match by {
        Worlds(runbooks) => (TREE, runbooks.iter().map(|one| format!("lies::worlds::{one}")).collect()),
        Test(name) => (TREE, vec![name.to_owned()]),
        TestOf(package, name) => (package, vec![name.to_owned()]),
    };
    let mut play = Command::new(programs.get(package)?);
    play.args(&tests).arg("--nocapture").current_dir(Path::new(FOLDER).join("src"));
    play.env("ALLCLEAR_LIES", worlds).env(WITHOUT, off).env("RUST_BACKTRACE", "0");
    let said = play.output().ok()?;
    match by {
        Test(name) | TestOf(_, name) => (said.status.code() == Some(TESTS_FAILED)).then(|| name.to_owned()),
        Worlds(runbooks) => {
            let said = [said.stdout, said.stderr].concat();
            // What the tests say of themselves: `3 of 200 wrong`, and then each world.
            let wrong: u64 = String::from_utf8_lossy(&said).lines().filter_map(wrong_in).sum();
            (wrong > 0).then(|| format!("{wrong} of the worlds of {}", runbooks.join(", ")))
        }
    }
}

fn wrong_in(line: &str) -> Option<u64> {
    let (wrong, rest) = line.split_once(" of ")?;
    rest.ends_with(" wrong").then(|| wrong.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever moves a guard moves it here too.
    #[test]
    fn every_guard_stands_where_it_is_taken_out() {
        for guard in GUARDS {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(guard.file);
            let text = std::fs::read_to_string(path).unwrap();
            assert_eq!(text.matches(guard.is).count(), 1, "{} in {}", guard.name, guard.file);
        }
    }
}
