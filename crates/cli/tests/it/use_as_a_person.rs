//! What a person does: plan, look, approve, run, wait at a gate, answer, resume, report.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use serde_json::{Value, json};

use crate::desk::{Desk, stderr, stdout, world};

fn outage(profile: &str) -> Value {
    world(&json!({ "scenario": "outage", "minutes": 3 }), profile)
}

#[test]
fn a_saved_plan_is_run_as_shown_and_refused_after_drift_or_a_foreign_approval() {
    let world = outage("target");
    let desk = Desk::with(&world);
    let planned = desk.call(&["plan", "whatsapp-send-failures", "-o", "plan.json", "--detailed-exitcode"]);
    assert_eq!(planned.status.code(), Some(20), "{}", stderr(&planned));
    assert!(stdout(&planned).contains("running → paused"), "{}", stdout(&planned));
    assert!(desk.effects().is_empty(), "a plan changes nothing");

    let foreign = "0123456789abcdef";
    let args = ["run", "whatsapp-send-failures", "--plan", "plan.json", "--approve-plan", foreign];
    let refused = desk.call(&args);
    assert_eq!(refused.status.code(), Some(16));
    assert!(stderr(&refused).contains("the approval is for plan 0123456789abcdef"), "{}", stderr(&refused));

    let plan: Value =
        serde_json::from_str(&std::fs::read_to_string(desk.folder().join("plan.json")).unwrap()).unwrap();
    let pauses = |effect: &&Value| effect["effect"] == "campaign.pause";
    let pause = plan["effects"].as_array().unwrap().iter().find(pauses).unwrap();
    let campaign = pause["changes"][0]["id"].as_str().unwrap();
    desk.with_control(async |control| control.act("pause_campaign", campaign).await.unwrap());
    let drifted = desk.call(&["run", "whatsapp-send-failures", "--plan", "plan.json", "--yes"]);
    assert_eq!(drifted.status.code(), Some(16), "{}", stderr(&drifted));
    assert!(stderr(&drifted).contains("the world has moved"), "{}", stderr(&drifted));
    assert!(desk.effects().is_empty());

    desk.start_over(&world);
    let hash = &plan["hash"].as_str().unwrap()[..12];
    let args =
        ["run", "whatsapp-send-failures", "--plan", "plan.json", "--approve-plan", hash, "--auto-approve"];
    let run = desk.call(&args);
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));

    let mut tampered = plan.clone();
    tampered["effects"][0]["changes"][0]["after"] = json!("done");
    std::fs::write(desk.folder().join("tampered.json"), tampered.to_string()).unwrap();
    let refused = desk.call(&["run", "whatsapp-send-failures", "--plan", "tampered.json", "--yes"]);
    assert_eq!(refused.status.code(), Some(16), "{}", stderr(&refused));
}

#[test]
fn a_gate_is_answered_from_elsewhere_and_the_run_goes_on() {
    let desk = Desk::with(&outage("as-is"));
    let waiting = desk.call(&["run", "whatsapp-send-failures", "--yes", "--no-input"]);
    assert_eq!(waiting.status.code(), Some(11), "{}", stderr(&waiting));
    assert!(stderr(&waiting).contains("allclear answer"), "{}", stderr(&waiting));
    let foreign = desk.call(&["approve", "@last", "--binding", "ffffffffffff"]);
    assert_eq!(foreign.status.code(), Some(16), "{}", stderr(&foreign));
    let status = desk.call(&["status", "@last"]);
    assert!(
        stdout(&status).contains("waiting") && stdout(&status).contains("skipped"),
        "{}",
        stdout(&status)
    );
    let approved = desk.answer(&["approve", "@last"]);
    assert_eq!(approved.status.code(), Some(0), "{}", stderr(&approved));
    let resumed = desk.call(&["resume", "@last", "--no-input"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", stderr(&resumed));
    assert_eq!(desk.call(&["resume", "@last"]).status.code(), Some(16), "an ended run is not resumed");
}

#[test]
fn an_aborted_run_ends_and_says_what_was_changed() {
    let desk = Desk::with(&outage("as-is"));
    desk.call(&["run", "whatsapp-send-failures", "--yes", "--no-input"]);
    assert_eq!(desk.call(&["abort", "@last"]).status.code(), Some(0));
    let ended = desk.call(&["resume", "@last", "--no-input"]);
    assert_eq!(ended.status.code(), Some(12), "{}", stderr(&ended));
    let report = stdout(&desk.call(&["report", "@last"]));
    assert!(report.contains("running → paused") && report.contains("kim ended the run"), "{report}");
}

#[test]
fn the_postmortem_cites_its_evidence_and_is_for_its_owner_only() {
    let desk = Desk::with(&world(&json!({ "scenario": "outage", "minutes": 6 }), "as-is"));
    let run = desk.call(&["--json", "run", "whatsapp-send-failures", "--yes", "--auto-approve"]);
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    let said: Value = serde_json::from_str(&stdout(&run)).unwrap();
    assert_eq!(said["schema"], "allclear.run/1");
    let path = said["postmortem"].as_str().unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    for part in [
        "## Summary",
        "## Impact",
        "## What was changed",
        "## Where the time went",
        "provider",
        "## Timeline",
    ] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    for secret in ["sandbox-service-key", "sandbox-admin-token", "xoxb-", "+2507880", "250788000001"] {
        assert!(
            !text.contains(secret) && !stderr(&run).contains(secret) && !stdout(&run).contains(secret),
            "{secret}"
        );
    }
}

#[test]
fn every_command_has_help_with_an_example_and_json_where_it_has_results() {
    let desk = Desk::with(&outage("target"));
    for command in [
        "list",
        "show",
        "check",
        "plan",
        "run",
        "watch",
        "approve",
        "reject",
        "answer",
        "resume",
        "abort",
        "hand-over",
        "stop-all",
        "lift-stop",
        "status",
        "report",
        "drill",
        "doctor",
        "completions",
    ] {
        let help = desk.call(&[command, "--help"]);
        assert!(
            help.status.success() && stdout(&help).contains("Example: allclear"),
            "{command}: {}",
            stdout(&help)
        );
    }
    for args in [
        &["list"][..],
        &["show", "whatsapp-send-failures"],
        &["check"],
        &["plan", "whatsapp-send-failures"],
        &["status"],
        &["stop-all"],
        &["lift-stop"],
        &["doctor", "--drill"],
        &["doctor"],
        &["drill", "--list"],
    ] {
        let output = desk.call(&[&["--json"], args].concat());
        let document: Value = serde_json::from_str(&stdout(&output))
            .unwrap_or_else(|e| panic!("{args:?}: {e}: {}", stderr(&output)));
        assert!(document["schema"].as_str().unwrap().starts_with("allclear."), "{args:?}");
    }
    let doctor = desk.call(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(0), "{}", stdout(&doctor));
    assert!(stdout(&desk.call(&["completions", "bash"])).contains("complete"));
}

#[test]
fn a_closed_terminal_is_no_reason_to_panic() {
    let desk = Desk::with(&outage("target"));
    let mut child = desk
        .command(crate::desk::ALLCLEAR.as_ref(), &["completions", "bash"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
}

#[test]
fn the_version_is_told_at_once() {
    let desk = Desk::with(&outage("target"));
    let began = Instant::now();
    for _ in 0..10 {
        assert!(desk.call(&["--version"]).status.success());
    }
    println!("--version: {:.1} ms each", began.elapsed().as_secs_f64() * 100.0);
}

#[test]
fn doctor_names_a_project_that_is_paused_or_ill_and_says_what_to_do() {
    for profile in ["as-is", "target"] {
        let desk = Desk::with(&crate::desk::world(&json!({ "scenario": "healthy" }), profile));
        let doctor = |act: &str| {
            desk.with_control(async |control| control.act(act, "").await.unwrap());
            let output = desk.call(&["doctor"]);
            assert_ne!(output.status.code(), Some(0), "{act}");
            let said = stdout(&output);
            let of = |what: &str| said.lines().find(|line| line.starts_with(what)).unwrap().to_owned();
            (of("Supabase project"), of("Supabase  "))
        };
        let (project, tables) = doctor("break_rest");
        assert!(project.contains("ACTIVE_UNHEALTHY") && project.contains("rest is UNHEALTHY"), "{project}");
        assert!(tables.ends_with(" ok"), "{tables}");
        let (project, tables) = doctor("pause_project");
        assert!(
            project.contains("is INACTIVE") && project.contains("restore it in Supabase's dashboard"),
            "{project}"
        );
        assert!(tables.contains("the project is paused"), "{tables}");
    }
}
