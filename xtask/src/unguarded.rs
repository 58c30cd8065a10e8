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
    /// The runbooks whose worlds may miss it, by the names of their tests.
    worlds: &'static [&'static str],
}

const ALL: &[&str] = &["whatsapp", "the_dispatcher", "previews", "stations"];

const GUARDS: &[Guard] = &[
    Guard {
        name: "account",
        keeps: "what is not proven or still owed bounds the end",
        file: "crates/engine/src/run/ledger.rs",
        is: "(!all.is_empty()).then_some((step, all))",
        becomes: "(!all.is_empty() && !OFF).then_some((step, all))",
        worlds: ALL,
    },
    Guard {
        name: "told",
        keeps: "a message is read back before it is said that people were told",
        file: "crates/runbooks/src/effects/chat.rs",
        is: "            None => Judgement::pending(\n                \"Slack accepted the message and does not show it\",",
        becomes: "            None if OFF => Judgement::verified(\"Slack accepted the message\", vec![]),\n            None => Judgement::pending(\n                \"Slack accepted the message and does not show it\",",
        worlds: ALL,
    },
    Guard {
        name: "listed",
        keeps: "what is left changed is listed",
        file: "crates/engine/src/report/left.rs",
        is: "    let stories = stories(entries);\n    let outcome =",
        becomes: "    if OFF { return Vec::new(); }\n    let stories = stories(entries);\n    let outcome =",
        worlds: &["whatsapp", "the_dispatcher"],
    },
    Guard {
        name: "people",
        keeps: "what somebody took since is theirs",
        file: "crates/runbooks/src/effects/campaign.rs",
        is: "        if now.status != CampaignStatus::Paused {\n            return Ok(Some(format!(\"it is {}, and not paused by us any more\", now.status)));",
        becomes: "        if OFF {\n            return Ok(None);\n        }\n        if now.status != CampaignStatus::Paused {\n            return Ok(Some(format!(\"it is {}, and not paused by us any more\", now.status)));",
        worlds: &["whatsapp", "the_dispatcher"],
    },
    Guard {
        name: "repeats",
        keeps: "distinct recipients are progress, repeats are failures",
        file: "crates/clients/src/supabase/sends.rs",
        is: "Tried::WentOut if row.queue_id.is_some_and(|id| !gone_out.insert(id)) => tally.repeats += 1,",
        becomes: "Tried::WentOut if row.queue_id.is_some_and(|id| !gone_out.insert(id)) && !OFF => tally.repeats += 1,",
        worlds: &["whatsapp", "the_dispatcher"],
    },
    Guard {
        name: "delivery",
        keeps: "what was accepted is not delivered yet",
        file: "crates/runbooks/src/whatsapp_send_failures/effects/canary.rs",
        is: "        let is_known = !canary.message_id.is_empty();\n",
        becomes: "        if OFF { return Ok(sent(Vec::new())); }\n        let is_known = !canary.message_id.is_empty();\n",
        worlds: &["whatsapp"],
    },
    Guard {
        name: "given-up",
        keeps: "messages that were given up because of what is over are put back",
        file: "crates/runbooks/src/effects/given_up/mod.rs",
        is: "    if run.is_plan() || campaigns.is_empty() {\n        return Ok(());\n    }\n    let found = run.probe(step, GivenUpMessages::at_the_end",
        becomes: "    if run.is_plan() || campaigns.is_empty() || OFF {\n        return Ok(());\n    }\n    let found = run.probe(step, GivenUpMessages::at_the_end",
        worlds: &["whatsapp", "the_dispatcher"],
    },
    Guard {
        name: "night",
        keeps: "nothing is started in quiet hours or into them",
        file: "crates/runbooks/src/quiet.rs",
        is: "    hours.next_allowed(now, zone, drains).filter(|allowed| *allowed > now)",
        becomes: "    hours.next_allowed(now, zone, drains).filter(|allowed| *allowed > now && !OFF)",
        worlds: &["whatsapp", "the_dispatcher"],
    },
    Guard {
        name: "fresh",
        keeps: "previews work where every one is shown",
        file: "crates/runbooks/src/voucher_preview_failures/detect.rs",
        is: "            Some(failed) => Err(format!(\n                \"{} of {} without a preview: {}\",",
        becomes: "            Some(_) if OFF => Ok(()),\n            Some(failed) => Err(format!(\n                \"{} of {} without a preview: {}\",",
        worlds: &["previews"],
    },
    Guard {
        name: "void",
        keeps: "the original is read back as void",
        file: "crates/runbooks/src/station_redeem_anomalies/replace.rs",
        is: "        Ok(if released && original.status == VoucherStatus::Void {",
        becomes: "        Ok(if OFF || (released && original.status == VoucherStatus::Void) {",
        worlds: &["stations"],
    },
    Guard {
        name: "double",
        keeps: "a double is told by station and time, whatever the key says",
        file: "crates/core/src/redeem.rs",
        is: "                if place > 0 {\n                    return Repetition::Double;",
        becomes: "                if place > 0 && !OFF {\n                    return Repetition::Double;",
        worlds: &["stations"],
    },
];

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
    println!("worlds of each kind: {worlds}\n{:<10} {:>6}  wrong worlds", "without", "wrong");
    let nothing = count(&program, worlds, "nothing", ALL);
    println!("{:<10} {:>6}  {}", "nothing", nothing.0, nothing.1);
    let mut all_are_missed = nothing.0 == 0;
    for Guard { name, keeps, worlds: tests, .. } in GUARDS {
        let (wrong, where_) = count(&program, worlds, name, tests);
        println!("{name:<10} {wrong:>6}  {where_} ({keeps})");
        all_are_missed &= wrong > 0;
    }
    all_are_missed
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

/// In how many worlds something untrue was said, and of which kinds.
fn count(program: &Path, worlds: &str, off: &str, tests: &[&str]) -> (u64, String) {
    let mut play = Command::new(program);
    play.args(tests.iter().map(|test| format!("lies::worlds::{test}"))).arg("--nocapture");
    play.env("ALLCLEAR_LIES", worlds).env(WITHOUT, off).env("RUST_BACKTRACE", "0");
    play.current_dir(Path::new(FOLDER).join("src"));
    let Ok(said) = play.output() else { return (0, "it did not run".to_owned()) };
    let said = [said.stdout, said.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // What the tests say of themselves: `3 of 200 wrong`, and then each world.
    let wrong: Vec<u64> = said.lines().filter_map(|line| wrong_in(line)).collect();
    (wrong.iter().sum(), format!("{wrong:?} of {}", tests.join(", ")))
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
