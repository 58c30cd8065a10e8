//! Nothing that is money, a credential or a customer's number leaves by any door: journal, plan, report, chat, pages,
//! tickets, audit rows.

use allclear::engine::report::{Form, Postmortem, to_markdown};
use allclear::runbooks::catalogue;
use allclear::sandbox::{Profile, Scenario, WorldSpec};
use serde_json::Value;

use crate::scene::{Scene, small};

/// What must be found nowhere: credentials of the sandbox, sessions, the station app's key.
const SECRETS: [&str; 10] = [
    "sandbox-admin-token",
    "sandbox-service-key",
    "sandbox-graph-token",
    "sandbox-pd-key",
    "sandboxrouting",
    "sandbox-provider-token",
    "xoxb",
    "sbp_5a9db0",
    "session-",
    "NTU1NTU1NTUt",
];

/// The first thing in a text that must not be there.
fn leak(text: &str, codes: &[String]) -> Option<String> {
    if let Some(secret) = SECRETS.iter().find(|secret| text.contains(**secret)) {
        return Some((*secret).to_owned());
    }
    // Numbers of this country as the world makes them: 25078 and seven digits.
    let digits: Vec<&str> = text.split(|c: char| !c.is_ascii_digit()).filter(|run| run.len() >= 11).collect();
    if let Some(number) = digits.iter().find(|run| run.starts_with("25078")) {
        return Some((*number).to_owned());
    }
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.into_iter().find(|word| codes.iter().any(|code| code == word)).map(str::to_owned)
}

#[tokio::test]
async fn no_secret_code_or_number_is_in_any_output_of_any_drill() {
    let mut looked_at = 0;
    for entry in catalogue() {
        for one in entry.scenarios {
            for profile in [Profile::AsIs, Profile::Target] {
                let scenario = Scenario::named(one.name).unwrap();
                let spec = WorldSpec {
                    profile,
                    vouchers: 12,
                    stations: 3,
                    targets_per_campaign: 60,
                    ..small(scenario)
                };
                let scene = Scene::with(entry.id, Value::Null, spec).await;
                let (plan, _) = scene.plan_and_run().await;
                let entries = scene.entries();
                let postmortem = Postmortem::from_entries(&entries, entry.steps);
                // Codes of digits alone are everywhere by chance; those with a letter are not.
                let codes: Vec<String> = scene
                    .sandbox
                    .with_world(|world| world.voucher_codes())
                    .into_iter()
                    .filter(|code| code.bytes().any(|byte| byte.is_ascii_uppercase()))
                    .collect();
                let mut outputs: Vec<String> =
                    scene.journal.links().into_iter().map(|link| link.body).collect();
                outputs.push(serde_json::to_string(&plan).unwrap());
                outputs.push(to_markdown(&postmortem, Form::Full));
                outputs.push(serde_json::to_string(&postmortem).unwrap());
                outputs.extend(scene.sandbox.with_world(|world| world.told()));
                for output in &outputs {
                    let leaked = leak(output, &codes);
                    assert!(leaked.is_none(), "{} {}: {leaked:?} in {output}", entry.id, one.name);
                }
                looked_at += outputs.len();
            }
        }
    }
    println!("{looked_at} outputs hold no secret, no code and no number");
    assert!(looked_at > 1_000);
}

#[test]
fn the_search_itself_finds_what_it_looks_for() {
    let codes = ["S0001".to_owned()];
    for text in ["token xoxb-1", "call +250788123456", "code \"S0001\""] {
        assert!(leak(text, &codes).is_some(), "{text}");
    }
    assert!(leak("voucher 6f1c2a4e is +250 78* *** 012", &codes).is_none());
}
