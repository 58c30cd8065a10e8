//! What a person sees while a service fails: what a plan waits for and until when, and why a run stands still.

use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use allclear_core::VirtualClock;
use allclear_sandbox::{Profile, Sandbox, Scenario, Trouble, WorldSpec, trouble::Answer};
use serde_json::Value;

use crate::desk::{ALLCLEAR, stderr, stdout};

/// A platform in this process, so that its calls can be made to fail.
struct Platform {
    sandbox: Sandbox,
    folder: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Platform {
    fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let spec = WorldSpec {
            scenario: Scenario::Outage { minutes: 3 },
            profile: Profile::AsIs,
            targets_per_campaign: 100,
            vouchers: 0,
            stations: 0,
            notifications: 50,
            ..WorldSpec::default()
        };
        let clock = Arc::new(VirtualClock::at(spec.start));
        let sandbox = runtime.block_on(Sandbox::start_virtual(spec, clock)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let url = sandbox.base_url();
        let config = format!(
            "default_environment = \"box\"\n[environment.box]\nkind = \"sandbox\"\nurl = \"{url}\"\n"
        );
        std::fs::write(folder.path().join("allclear.toml"), config).unwrap();
        Self { sandbox, folder, _runtime: runtime }
    }

    fn fail(&self, calls: &str, writes: bool, times: u32, lasts: Option<u64>) {
        let answer = Answer::Says { status: 503, body: "upstream connect error".to_owned() };
        let trouble = Trouble { calls: calls.to_owned(), writes, times, lasts, answer, ..Trouble::default() };
        self.sandbox.with_world(|world| world.trouble(trouble.clone()));
    }

    fn call(&self, args: &[&str]) -> Output {
        self.call_from("state", args)
    }

    /// From the machine that has its runs in this folder.
    fn call_from(&self, machine: &str, args: &[&str]) -> Output {
        Command::new(ALLCLEAR)
            .args(args)
            .current_dir(self.folder.path())
            .env("ALLCLEAR_STATE_DIR", self.folder.path().join(machine))
            .env_remove("ALLCLEAR_CONFIG")
            .env("ALLCLEAR_OPERATOR", "kim")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn status(&self) -> Value {
        let told: Value = serde_json::from_str(&stdout(&self.call(&["status", "@last", "--json"]))).unwrap();
        told["runs"][0].clone()
    }
}

#[test]
fn b8_who_waits_for_a_plan_sees_what_it_waits_for_and_until_when() {
    let platform = Platform::new();
    platform.fail("/rest/v1/send_", false, 2, None);
    let planned = platform.call(&["plan", "whatsapp-send-failures"]);
    assert_eq!(planned.status.code(), Some(0), "{}", stderr(&planned));
    let said = stderr(&planned);
    let waits: Vec<&str> = said.lines().filter(|line| line.contains("the plan waits at WA-")).collect();
    assert_eq!(waits.len(), 2, "{said}");
    for wait in waits {
        for part in [" until ", " UTC, to try again in ", "Supabase", "503"] {
            assert!(wait.contains(part), "`{part}` is missing in: {wait}");
        }
    }
}

#[test]
fn the_status_of_an_interrupted_run_says_why_since_when_whose_fault_and_what_is_next() {
    let platform = Platform::new();
    platform.fail("/admin/", true, 0, Some(200_000));
    let run = ["run", "whatsapp-send-failures", "--yes", "--auto-approve"];
    let interrupted = platform.call(&run);
    assert_eq!(interrupted.status.code(), Some(17), "{}", stderr(&interrupted));
    let status = stdout(&platform.call(&["status"]));
    for part in [
        "interrupted",
        "since 2026-11-23 ",
        " UTC because of the admin API: WA-",
        "503",
        "allclear resume wsf-",
    ] {
        assert!(status.contains(part), "`{part}` is missing in: {status}");
    }
    let told = platform.status();
    assert_eq!(told["stopped"]["service"], "admin_api", "{told}");
    let next = format!("allclear resume {}", told["id"].as_str().unwrap());
    assert_eq!(told["next"], next, "{told}");
    assert!(told["stopped"]["why"].as_str().unwrap().contains("503"), "{told}");
    assert!(told["stopped"]["since"].as_str().unwrap().starts_with("2026-11-23T"), "{told}");

    platform.sandbox.with_world(allclear_sandbox::World::calm);
    let resumed = platform.call(&["resume", "@last", "--auto-approve"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", stderr(&resumed));
    let told = platform.status();
    assert!(told["stopped"].is_null() && told["next"].is_null(), "{told}");
}

#[test]
fn the_status_of_a_run_that_was_asked_to_let_go_says_so() {
    let platform = Platform::new();
    let run = ["run", "whatsapp-send-failures", "--yes", "--wait", "--timeout", "700ms"];
    let let_go = platform.call(&run);
    assert_eq!(let_go.status.code(), Some(124), "{}", stderr(&let_go));
    let told = platform.status();
    // It waits at a gate, which says more than that a process let go.
    assert!(told["next"].as_str().unwrap().starts_with("allclear answer "), "{told}");
}

#[test]
fn d5_an_undo_that_waits_for_a_service_keeps_other_machines_from_beginning_beside_it() {
    let platform = Platform::new();
    let run = ["run", "whatsapp-send-failures", "--yes", "--no-input"];
    let waits = platform.call(&run);
    assert_eq!(waits.status.code(), Some(11), "{}", stderr(&waits));
    let id = platform.status()["id"].as_str().unwrap().to_owned();
    assert_eq!(platform.call(&["abort", &id]).status.code(), Some(0));
    let ended = platform.call(&["resume", &id, "--no-input"]);
    assert_eq!(ended.status.code(), Some(12), "{}", stderr(&ended));

    platform.fail("/admin/api/campaigns/", true, 0, Some(200_000));
    let undo = platform.call(&["undo", &id, "--yes"]);
    assert_eq!(undo.status.code(), Some(17), "{}{}", stdout(&undo), stderr(&undo));
    let undo = platform.status()["id"].as_str().unwrap().to_owned();
    platform.sandbox.with_world(allclear_sandbox::World::calm);
    let beside = platform.call_from("elsewhere", &run);
    assert_eq!(beside.status.code(), Some(16), "{}{}", stdout(&beside), stderr(&beside));
    assert!(stderr(&beside).contains(&undo), "it says who goes on: {}", stderr(&beside));

    // Its own announcement keeps it from nothing.
    let resumed = platform.call(&["resume", &undo]);
    assert_eq!(resumed.status.code(), Some(14), "{}{}", stdout(&resumed), stderr(&resumed));
    let after = platform.call_from("elsewhere", &run);
    assert_eq!(after.status.code(), Some(0), "{}{}", stdout(&after), stderr(&after));
}
