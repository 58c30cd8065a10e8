//! Every drill of every runbook, as a person starts it: `allclear drill`, over HTTP, to its end.

use std::process::Command;

use serde_json::Value;

use crate::desk::{ALLCLEAR, stderr, stdout};

/// Drills that do not end verified, and how they end. A drill shows what the runbook does when things go wrong too.
const OTHER_ENDS: [(&str, &str, i32); 8] = [
    ("whatsapp-send-failures", "flapping", 13),
    ("campaign-dispatcher-stalls", "one-tick", 13),
    ("campaign-dispatcher-stalls", "targets-not-updated", 10),
    ("station-redeem-anomalies", "unknown-worth", 10),
    ("station-redeem-anomalies", "key-collision", 10),
    ("dr-tabletop", "wrong-target", 16),
    ("dr-tabletop", "changed-row", 13),
    ("dr-tabletop", "smoke-test-fails", 13),
];

fn allclear(folder: &std::path::Path, args: &[&str]) -> std::process::Output {
    let mut command = Command::new(ALLCLEAR);
    command.args(args).current_dir(folder).env("ALLCLEAR_STATE_DIR", folder.join("state"));
    command.env_remove("ALLCLEAR_CONFIG").stdin(std::process::Stdio::null()).output().unwrap()
}

#[test]
fn every_drill_that_is_listed_ends_as_it_should() {
    let folder = tempfile::tempdir().unwrap();
    let listed = allclear(folder.path(), &["drill", "--list", "--json"]);
    let listed: Value = serde_json::from_str(&stdout(&listed)).unwrap();
    let drills = listed["drills"].as_array().unwrap();
    for drill in drills {
        let (runbook, scenario) = (drill["runbook"].as_str().unwrap(), drill["scenario"].as_str().unwrap());
        let expected =
            OTHER_ENDS.iter().find(|end| end.0 == runbook && end.1 == scenario).map_or(0, |end| end.2);
        let args = [
            "drill",
            runbook,
            "--scenario",
            scenario,
            "--virtual",
            "--auto-approve",
            "--targets",
            "200",
            "--as",
            "kim",
        ];
        let output = allclear(folder.path(), &args);
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{runbook} {scenario}: {}\n{}",
            stdout(&output),
            stderr(&output)
        );
        // A relapse pauses again what was resumed, so there the same thing rightly happens twice.
        assert!(
            expected == 13 || stderr(&output).contains("0 of them more than once"),
            "{runbook} {scenario}: {}",
            stderr(&output)
        );
    }
    println!("{} drills end as they should", drills.len());
    assert!(drills.len() >= 36, "{}", drills.len());
}

#[test]
fn the_text_is_bound_and_an_edit_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let bound = allclear(folder.path(), &["check"]);
    assert_eq!(bound.status.code(), Some(0), "{}", stdout(&bound));
    assert!(stdout(&bound).contains("43 bullets bound, 0 drifts"), "{}", stdout(&bound));
    let shown = allclear(folder.path(), &["show", "station-redeem-anomalies"]);
    let text = stdout(&shown).replace("mark voucher `void`", "mark voucher `lost`");
    std::fs::write(folder.path().join("edited.md"), text).unwrap();
    let edited = allclear(folder.path(), &["check", "--text", "edited.md"]);
    assert_eq!(edited.status.code(), Some(13), "{}", stdout(&edited));
    assert!(
        stdout(&edited).contains("SR-M1 (line") && stdout(&edited).contains("`lost`"),
        "{}",
        stdout(&edited)
    );
    let missing = allclear(folder.path(), &["check", "--text", "nowhere.md"]);
    assert_eq!(missing.status.code(), Some(2), "{}", stderr(&missing));
}

#[test]
fn people_act_beside_a_drill_when_its_script_says() {
    let folder = tempfile::tempdir().unwrap();
    let drill = |people: &[&str]| {
        let mut args =
            vec!["drill", "whatsapp-send-failures", "--virtual", "--auto-approve", "--targets", "200"];
        for script in people {
            args.extend(["--people", script]);
        }
        let output = allclear(folder.path(), &args);
        (output.status.code(), stdout(&output) + &stderr(&output))
    };
    let (code, says) = drill(&["3m:post", "campaign.pause*2:settings"]);
    assert_eq!(code, Some(0), "{says}");
    let (code, says) = drill(&["campaign.start*4:pause:1"]);
    assert_eq!(code, Some(10), "{says}");
    assert!(says.contains("3 campaigns run again") && says.contains("somebody else took it"), "{says}");
    let (code, says) = drill(&["6m:dance"]);
    assert_eq!(code, Some(2), "{says}");
    assert!(says.contains("`dance` is none of pause, start") && says.contains("6m:pause"), "{says}");
}
