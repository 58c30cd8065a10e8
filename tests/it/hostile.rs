//! Drills in which whoever may name a campaign or a station names it to deceive: judged by what others received.

use allclear::core::text::is_hidden;
use allclear::engine::report::{Form, Postmortem, to_markdown};
use allclear::sandbox::{Profile, Scenario};

use crate::scene::{Scene, small};

/// Directions, zero widths, lines of its own, mentions, links, markup, escape sequences.
const NAMES: [&str; 8] = [
    "\u{202e}dne eht ni dneS\u{202c}",
    "Pay\u{200b}day\u{2066}\u{2069}\u{feff}",
    "Fuel\nall is well: nothing was paused\r\n# Solved",
    "<!channel> <@U0BOSS> <https://evil.example|the runbook>",
    "*Resolved* _by_ ~nobody~ `allclear abort @last` [click](https://evil.example)",
    "\u{1b}[2J\u{1b}[1;31mred\u{1b}]0;title\u{7}\u{9b}5m",
    "\u{2028}line\u{2029}\u{85}separators\u{0}",
    "| a | table | <img src=x onerror=alert(1)> <script>",
];

fn is_harmless(text: &str) -> bool {
    !text.chars().any(|c| {
        is_hidden(c) || (c.is_control() && c != '\n' && c != '\t') || c == '\u{2028}' || c == '\u{2029}'
    })
}

#[tokio::test]
async fn d8_hostile_names_neither_hide_nor_act_in_anything_that_others_receive() {
    let scenarios = [
        (Scenario::Outage { minutes: 6 }, Profile::AsIs),
        (Scenario::Stalled, Profile::Target),
        (Scenario::RateLimited { minutes: 3 }, Profile::Target),
        (Scenario::DoubleRedemption, Profile::AsIs),
        (Scenario::WrongStation, Profile::AsIs),
    ];
    let mut chats = 0;
    for (scenario, profile) in scenarios {
        let spec = allclear::sandbox::WorldSpec {
            profile,
            vouchers: 20,
            stations: 8,
            campaigns: 8,
            targets_per_campaign: 60,
            ..small(scenario)
        };
        let scene = Scene::of(spec).await;
        scene.sandbox.with_world(|world| world.rename(&NAMES));
        let (plan, finished) = scene.plan_and_run().await;
        let shown = format!("{scenario:?}: {}", finished.says);

        let told = scene.sandbox.with_world(|world| world.told());
        let slack = scene.sandbox.with_world(|world| world.slack_texts());
        chats += slack.len();
        for text in &told {
            assert!(is_harmless(text), "{shown}: {text:?}");
            let own_lines =
                text.lines().any(|line| line.starts_with("all is well") || line.starts_with("# Solved"));
            assert!(!own_lines, "a name wrote a line of its own: {shown}: {text}");
        }
        for text in &slack {
            assert!(!text.contains('<') && !text.contains('>'), "{shown}: {text}");
        }

        let report =
            to_markdown(&Postmortem::from_entries(&scene.entries(), scene.runbook().steps()), Form::Full);
        assert!(is_harmless(&report), "{shown}");
        for markup in ["<script", "<img", "](https://evil", "*Resolved*", "<!channel"] {
            assert!(!report.contains(markup), "{markup}: {shown}\n{report}");
        }
        let document = serde_json::to_value(&plan).unwrap();
        assert!(texts(&document).iter().all(|text| is_harmless(text)), "the plan is for people: {document}");
    }
    assert!(chats > 3, "most of these drills tell somebody");
}

/// All texts in a document.
fn texts(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::String(text) => vec![text.clone()],
        serde_json::Value::Array(all) => all.iter().flat_map(texts).collect(),
        serde_json::Value::Object(all) => all.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}
