//! The random worlds of `tests/it/lies/worlds.rs` with one guard taken out at a time: a guard that no world misses is none, and an
//! oracle that misses no guard sees nothing.
//!
//! The guards are taken out in a copy of the sources, all by one build, and switched off by an environment variable; what is
//! released has no such switch.

use std::path::{Path, PathBuf};
use std::process::Command;

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
}

use MissedBy::{Test, Worlds};

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
        file: "crates/runbooks/src/effects/campaign.rs",
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
        file: "crates/runbooks/src/campaign_dispatcher_stalls/mod.rs",
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
    let Some(program) = built() else { return false };
    println!("of {worlds} worlds of each runbook are wrong, or the test named fails, without");
    let mut as_it_should = missed(&program, worlds, "nothing", Worlds(ALL)).is_none();
    println!("  nothing: {}", if as_it_should { "none" } else { "some, and that is a defect" });
    for Guard { name, keeps, missed_by, .. } in GUARDS {
        let missed = missed(&program, worlds, name, *missed_by);
        println!("  {name} ({keeps}): {}", missed.as_deref().unwrap_or("NOTHING"));
        as_it_should &= missed.is_some();
    }
    as_it_should
}

/// The test program of a copy in which every guard can be switched off.
fn built() -> Option<PathBuf> {
    let copy = Path::new(FOLDER).join("src");
    let listed = Command::new("git").args(["ls-files"]).output().ok()?;
    let _ = std::fs::remove_dir_all(&copy);
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
    let target = std::fs::canonicalize(FOLDER).ok()?.join("build");
    let mut build = Command::new("cargo");
    build.args(["test", "--package", "allclear", "--all-features", "--test", "it", "--no-run"]);
    let said = build.current_dir(&copy).env("CARGO_TARGET_DIR", &target).output().ok()?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let program = said.lines().rev().find_map(|line| line.split_once('(')?.1.strip_suffix(')'));
    if program.is_none() {
        eprintln!("{said}");
    }
    program.map(PathBuf::from)
}

/// What shows that this guard is off; `None` where nothing does.
fn missed(program: &Path, worlds: &str, off: &str, by: MissedBy) -> Option<String> {
    let tests = match by {
        Worlds(runbooks) => runbooks.iter().map(|one| format!("lies::worlds::{one}")).collect(),
        Test(name) => vec![name.to_owned()],
    };
    let mut play = Command::new(program);
    play.args(&tests).arg("--nocapture").current_dir(Path::new(FOLDER).join("src"));
    play.env("ALLCLEAR_LIES", worlds).env(WITHOUT, off).env("RUST_BACKTRACE", "0");
    let said = play.output().ok()?;
    match by {
        Test(name) => (said.status.code() == Some(TESTS_FAILED)).then(|| name.to_owned()),
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
