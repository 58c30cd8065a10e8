//! Bad input: one clear message, the right exit code, nothing changed.

use std::process::Output;

use serde_json::{Value, json};

use crate::desk::{ALLCLEAR, Desk, stderr, world};

fn outage() -> Value {
    world(&json!({ "scenario": "outage", "minutes": 3 }), "target")
}

/// The same at this machine's time: what is no sandbox to the configuration is compared with our clock.
#[expect(clippy::disallowed_methods, reason = "the process that is tested has this machine's time too")]
fn outage_now() -> Value {
    let mut world = outage();
    world["start"] = jiff::Timestamp::now().to_string().into();
    world
}

/// Checks exit code and message, and that the message is the only thing said.
fn assert_says(output: &Output, code: i32, parts: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for part in parts {
        assert!(said.contains(part), "`{part}` is missing in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn an_unknown_runbook_is_told_with_the_nearest_name() {
    let desk = Desk::with(&outage());
    let output = desk.call(&["plan", "whatsap-send-failures"]);
    assert_says(&output, 2, &["did you mean `whatsapp-send-failures`?"]);
}

#[test]
fn a_campaign_id_that_is_no_uuid_is_refused_before_anything() {
    let desk = Desk::with(&outage());
    let output = desk.call(&["run", "whatsapp-send-failures", "--campaign", "summer", "--yes"]);
    assert_says(&output, 2, &["campaign id `summer`", "give a UUID"]);
    assert!(desk.effects().is_empty());
}

#[test]
fn a_campaign_that_does_not_exist_changes_nothing() {
    let desk = Desk::with(&outage());
    let nobody = "00000000-0000-4000-8000-000000000000";
    let output =
        desk.call(&["run", "whatsapp-send-failures", "--campaign", nobody, "--yes", "--auto-approve"]);
    assert_says(&output, 10, &[nobody, "check the id"]);
    assert!(desk.effects().is_empty());
}

#[test]
fn a_bad_configuration_names_key_and_line() {
    let desk = Desk::with(&outage());
    let cases = [
        ("[environment.x]\nkind = \"sandbox\"\nur1 = \"http://127.0.0.1:1\"\n", "ur1"),
        ("default_enviroment = \"x\"\n", "default_enviroment"),
        ("[environment.x]\nkind = \"cloud\"\n", "cloud"),
        ("nonsense\n", "line 1"),
    ];
    for (text, part) in cases {
        std::fs::write(desk.folder().join("bad.toml"), text).unwrap();
        let output = desk.call(&["--config", "bad.toml", "--env", "x", "plan", "whatsapp-send-failures"]);
        assert_says(&output, 2, &["bad.toml", part]);
    }
    assert_says(
        &desk.call(&["--config", "absent.toml", "plan", "whatsapp-send-failures"]),
        2,
        &["absent.toml", "cannot be read"],
    );
    assert_says(
        &desk.call(&["--env", "prod", "plan", "whatsapp-send-failures"]),
        2,
        &["no environment `prod`", "box"],
    );
}

fn staging(url: &str) -> String {
    let at = |path: &str| format!("{url}/{path}");
    format!(
        "[environment.staging]\nkind = \"staging\"\npagerduty_from = \"oncall@example.test\"\nsupabase_project = \"ref\"\n\
         [environment.staging.endpoints]\nadmin = \"{}\"\nsupabase = \"{}\"\nsupabase_management = \"{}\"\ngraph = \"{}\"\npagerduty_events = \"{}\"\n\
         pagerduty_rest = \"{}\"\nslack = \"{}\"\nprovider = \"{}\"\n\
         [environment.staging.credentials]\nadmin_token = {{ env = \"T_ADMIN\" }}\nservice_key = {{ env = \"T_SERVICE\" }}\n\
         management_token = {{ env = \"T_OTHER\" }}\ngraph_token = {{ env = \"T_OTHER\" }}\npagerduty_rest_key = {{ env = \"T_OTHER\" }}\npagerduty_routing_key = {{ env = \"T_OTHER\" }}\n\
         slack_token = {{ env = \"T_OTHER\" }}\nprovider_token = {{ env = \"T_OTHER\" }}\n\
         [environment.staging.whatsapp]\nphone_id = \"1\"\nbusiness_account = \"2\"\ncanary_number = \"+250788000001\"\ncanary_template = \"t\"\n\
         [environment.staging.limits]\nrecipients_zone = \"Africa/Kigali\"\nquiet_start = \"22:00\"\nquiet_end = \"06:00\"\nthrottle_per_minute = 60\nops_channel = \"#ops\"\n",
        at("admin"),
        at("supabase"),
        at("supabase-management"),
        at("graph/v23.0"),
        at("pagerduty-events"),
        at("pagerduty"),
        at("slack/api"),
        at("provider")
    )
}

#[test]
fn a_wrong_token_and_an_unreachable_host_are_told_apart_and_secrets_are_not_told_at_all() {
    let desk = Desk::with(&outage_now());
    std::fs::write(desk.folder().join("s.toml"), staging(&desk.url)).unwrap();
    let call = |service_key: &str| {
        let args = ["--config", "s.toml", "--env", "staging", "run", "whatsapp-send-failures", "--yes"];
        desk.command(ALLCLEAR.as_ref(), &args)
            .env("T_ADMIN", "sandbox-admin-token")
            .env("T_SERVICE", service_key)
            .env("T_OTHER", "another-secret-canary")
            .output()
            .unwrap()
    };
    let wrong = call("wrong-secret-canary");
    assert_says(&wrong, 10, &["Supabase", "replace the credential", "nothing was changed"]);
    assert!(!stderr(&wrong).contains("secret-canary"), "{}", stderr(&wrong));

    std::fs::write(desk.folder().join("s.toml"), staging("http://127.0.0.1:9")).unwrap();
    assert_says(&call("sandbox-service-key"), 10, &["unavailable", "base URL"]);
    std::fs::write(desk.folder().join("s.toml"), staging("http://example.test")).unwrap();
    assert_says(&call("x"), 2, &["clear text", "https"]);
    let browsers = call("sb_publishable_secret-canary");
    assert_says(&browsers, 2, &["credentials.service_key is a publishable key", "sb_secret_"]);
    assert!(!stderr(&browsers).contains("secret-canary"), "{}", stderr(&browsers));
    assert!(desk.effects().is_empty());
}

/// Plans in an environment that is `text`, with a key that Supabase does not know: what is wrong with the settings is said
/// before that, and nobody else is called.
fn plan_with(desk: &Desk, text: &str, webhook: &str) -> Output {
    std::fs::write(desk.folder().join("s.toml"), text).unwrap();
    desk.command(
        ALLCLEAR.as_ref(),
        &["--config", "s.toml", "--env", "staging", "plan", "whatsapp-send-failures"],
    )
    .env("T_ADMIN", "sandbox-admin-token")
    .env("T_SERVICE", "wrong-secret-canary")
    .env("T_OTHER", "another-secret-canary")
    .env("T_WEBHOOK", webhook)
    .output()
    .unwrap()
}

#[test]
fn the_region_of_pagerduty_is_said_once_and_is_one() {
    let desk = Desk::with(&outage_now());
    let with_addresses = staging(&desk.url);
    let is_address =
        |line: &&str| line.starts_with("pagerduty_events") || line.starts_with("pagerduty_rest =");
    let lines: Vec<&str> = with_addresses.lines().filter(|line| !is_address(line)).collect();
    let without = lines.join("\n") + "\n";
    assert_ne!(without, with_addresses, "the addresses are taken out");
    let region = |text: &str, region: &str| {
        text.replace(
            "kind = \"staging\"\n",
            &format!("kind = \"staging\"\npagerduty_region = \"{region}\"\n"),
        )
    };
    let one_or_the_other = ["environment.staging", "give pagerduty_region", "not the one and the other"];
    assert_says(&plan_with(&desk, &without, ""), 2, &one_or_the_other);
    assert_says(&plan_with(&desk, &region(&with_addresses, "us"), ""), 2, &one_or_the_other);
    let mars = plan_with(&desk, &region(&without, "mars"), "");
    assert_says(&mars, 2, &["environment.staging", "pagerduty_region `mars`", "\"us\" or \"eu\""]);
    for known in ["us", "eu"] {
        let taken = plan_with(&desk, &region(&without, known), "");
        assert_says(&taken, 10, &["Supabase", "replace the credential"]);
    }
    assert!(desk.effects().is_empty());
}

#[test]
fn slacks_webhook_may_be_left_out_and_must_be_an_address_and_is_not_shown() {
    let desk = Desk::with(&outage_now());
    let text = staging(&desk.url);
    let with =
        text.replace("provider_token = {", "slack_webhook = { env = \"T_WEBHOOK\" }\nprovider_token = {");
    assert_ne!(with, text);
    for wrong in ["secret-canary", "http://hooks.slack.example/secret-canary"] {
        let output = plan_with(&desk, &with, wrong);
        assert_says(&output, 2, &["credentials.slack_webhook is no https address"]);
        assert!(!stderr(&output).contains("secret-canary"), "{}", stderr(&output));
    }
    let missing = plan_with(&desk, &with.replace("T_WEBHOOK", "T_NO_SUCH_WEBHOOK"), "");
    assert_says(&missing, 2, &["credentials.slack_webhook", "T_NO_SUCH_WEBHOOK"]);
    let address = "https://hooks.slack.example/services/secret-canary";
    for (text, webhook) in [(&text, ""), (&with, address)] {
        let taken = plan_with(&desk, text, webhook);
        assert_says(&taken, 10, &["Supabase", "replace the credential"]);
        assert!(!stderr(&taken).contains("secret-canary"), "{}", stderr(&taken));
    }
    assert!(desk.effects().is_empty());
}

#[test]
fn a_missing_secret_is_named_by_its_variable() {
    let desk = Desk::with(&outage());
    std::fs::write(desk.folder().join("s.toml"), staging(&desk.url)).unwrap();
    let output = desk.call(&["--config", "s.toml", "--env", "staging", "plan", "whatsapp-send-failures"]);
    assert_says(&output, 2, &["credentials.admin_token", "T_ADMIN"]);
}

#[test]
fn a_damaged_journal_is_located_and_nothing_is_done() {
    let desk = Desk::with(&outage());
    // Leaves a run behind that waits at its first approval... by ending it right there.
    let output = desk.call(&["run", "whatsapp-send-failures", "--yes", "--no-input"]);
    assert!(output.status.code().is_some());
    let before = desk.effects();
    let store = rusqlite::Connection::open(desk.state().join("runs.db")).unwrap();
    store.execute("UPDATE run SET outcome = NULL", []).unwrap();
    store.execute("UPDATE entry SET body = replace(body, 'e', 'x') WHERE seq = 5", []).unwrap();
    drop(store);
    assert_says(
        &desk.call(&["resume", "@last"]),
        1,
        &["damaged at entry 5", "everything before it is intact"],
    );
    assert_eq!(desk.effects(), before);
}

#[test]
fn a_run_that_another_process_holds_is_left_alone() {
    let desk = Desk::with(&world(&json!({ "scenario": "quiet-hours-misconfigured" }), "target"));
    let output = desk.call(&["run", "whatsapp-send-failures", "--yes", "--no-input"]);
    assert_eq!(output.status.code(), Some(11), "it waits at its gate: {}", stderr(&output));
    let store = rusqlite::Connection::open(desk.state().join("runs.db")).unwrap();
    let id: String = store.query_row("SELECT id FROM run", [], |row| row.get(0)).unwrap();
    let lock = std::fs::File::open(desk.state().join("locks").join(format!("{id}.lock"))).unwrap();
    lock.lock().unwrap();
    assert_says(&desk.call(&["resume", "@last"]), 16, &["held by another process"]);
    // A second run of the same runbook in the same environment is refused too, and told who holds it.
    let second = desk.call(&["run", "whatsapp-send-failures", "--yes"]);
    assert_says(&second, 16, &["held by run", &id]);
}

#[test]
fn no_run_and_no_such_run_say_what_there_is() {
    let desk = Desk::with(&outage());
    assert_says(&desk.call(&["resume", "@last"]), 2, &["no runs yet"]);
    assert_says(&desk.call(&["report", "x"]), 2, &["no runs yet"]);
    assert_says(&desk.call(&["answer"]), 2, &["Usage"]);
}

/// Every number that a runbook may be told, with what fits.
const NUMBERS: [(&str, &str, &str); 5] = [
    ("station-redeem-anomalies", "window_hours", "8760"),
    ("whatsapp-send-failures", "window_minutes", "10080"),
    ("whatsapp-send-failures", "elevated_percent", "100"),
    ("voucher-preview-failures", "window_minutes", "10080"),
    ("campaign-dispatcher-stalls", "stalled_minutes", "1440"),
];

const ODD: [&str; 16] = [
    "0",
    "-1",
    "1e9",
    "1000000000",
    "4000000000",
    "1e18",
    "1000000000000000000",
    "NaN",
    "inf",
    "",
    "text",
    "2.5",
    "null",
    "[]",
    "18446744073709551616",
    "\u{0666}",
];

#[test]
fn d8b_a_number_is_in_its_bounds_or_refused_with_them() {
    let desk = Desk::with(&outage());
    for (runbook, field, most) in NUMBERS {
        for value in ODD {
            let output = desk.call(&["plan", runbook, "--set", &format!("{field}={value}")]);
            assert_says(&output, 2, &[&format!("`{field}` is "), &format!("from 1 to {most}")]);
        }
        for value in ["1", most] {
            let output = desk.call(&["plan", runbook, "--set", &format!("{field}={value}")]);
            assert_says(&output, 0, &[]);
        }
    }
}

#[test]
fn d8b_a_number_after_a_flag_is_in_its_bounds_or_refused_with_them() {
    let desk = Desk::with(&outage());
    let drill = |flag: &str, value: &str| {
        desk.call(&["drill", "whatsapp-send-failures", "--auto-approve", &format!("{flag}={value}")])
    };
    let timeout = |value: &str| {
        desk.call(&["run", "whatsapp-send-failures", "--no-input", &format!("--timeout={value}")])
    };
    for value in ODD.iter().filter(|value| **value != "1e9") {
        assert_says(&drill("--targets", value), 2, &["--targets"]);
        if !["4000000000", "1000000000", "1000000000000000000", "0"].contains(value) {
            assert_says(&drill("--seed", value), 2, &["--seed"]);
        }
        assert_says(&timeout(value), 2, &["--timeout", "at most 720h"]);
        assert_says(&drill("--sandbox-idle", value), 2, &["--sandbox-idle"]);
        let minutes = ["link", "@last", "backup.log", &format!("--minutes={value}")];
        assert_says(&desk.call(&minutes), 2, &["--minutes"]);
    }
    for value in ["0", "-1", "4000000000", "1e18", "NaN", "inf", "-inf", "", "text"] {
        assert_says(&drill("--speed", value), 2, &["--speed", "from 0.1 to 10000"]);
    }
    for value in ["1000000h", "9223372036854775807s", "99999999999999999999h", "-5m", "0s"] {
        assert_says(&timeout(value), 2, &["--timeout", "at most 720h"]);
    }
    for (field, value) in [
        ("campaigns", json!(4_000_000_000_u64)),
        ("targets_per_campaign", json!(4_000_000_000_u64)),
        ("vouchers", json!(4_000_000_000_u64)),
        ("stations", json!(4_000_000_000_u64)),
        ("notifications", json!(4_000_000_000_u64)),
        ("start", json!("9999-12-30T00:00:00Z")),
        ("scenario", json!({ "scenario": "outage", "minutes": u64::MAX })),
    ] {
        let mut world = outage();
        world[field] = value;
        let output = desk.call(&["sandbox", "--world", &world.to_string(), "--exit-when-idle", "1"]);
        assert_says(&output, 2, &["--world", field]);
    }
}
