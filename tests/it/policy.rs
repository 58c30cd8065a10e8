//! A sending policy that cannot be read: told, no reason not to pause, and nothing that hangs on it is called proven.

use allclear::engine::Outcome;
use allclear::sandbox::{Profile, Scenario, Trouble, WorldSpec, trouble};

use crate::drills::statuses;
use crate::scene::{Scene, small};

/// What the settings answer: as in the production dump, empty, with rows missing, with values that are none.
const UNREADABLE: [(u16, &str); 5] = [
    (400, r#"{"code":"42703","details":null,"hint":null,"message":"column settings.key does not exist"}"#),
    (
        404,
        r#"{"code":"PGRST205","details":null,"hint":null,"message":"Could not find the table 'public.settings'"}"#,
    ),
    (200, "[]"),
    (200, r#"[{"key":"quiet_hours.rw","value":{"start":"22:00","end":"06:00"}}]"#),
    (
        200,
        r#"[{"key":"quiet_hours.rw","value":{"start":"22:00","end":"06:00"}},{"key":"send_throttle.whatsapp.per_minute","value":"many"}]"#,
    ),
];

async fn scene(scenario: Scenario, status: u16, body: &str) -> Scene {
    let scene = Scene::of(WorldSpec { profile: Profile::Target, ..small(scenario) }).await;
    let trouble = Trouble {
        calls: "GET /supabase/rest/v1/settings".to_owned(),
        lasts: Some(100_000_000),
        answer: trouble::Answer::Says { status, body: body.to_owned() },
        ..Trouble::default()
    };
    scene.sandbox.with_world(|world| world.trouble(trouble));
    scene
}

#[tokio::test]
async fn b11_a_policy_that_cannot_be_read_is_told_and_blocks_no_pause() {
    for scenario in [Scenario::Outage { minutes: 6 }, Scenario::Stalled] {
        for (status, body) in UNREADABLE {
            let scene = scene(scenario, status, body).await;
            let (plan, finished) = scene.plan_and_run().await;
            let shown = format!("{scenario:?} {status} {body}: {}", finished.says);
            assert!(plan.seen.iter().any(|seen| seen.says.contains("policy cannot be read")), "{shown}");
            assert_eq!(finished.outcome, Outcome::Unverified, "{shown}");
            assert!(finished.says.contains("check quiet hours and throttle by hand"), "{shown}");
            let pauses = scene.effects().keys().filter(|(effect, _)| effect == "campaign.pause").count();
            assert_eq!(pauses, 4, "{shown}");
            assert_eq!(statuses(&scene).iter().filter(|status| *status == "running").count(), 4, "{shown}");
            assert!(!scene.effects().keys().any(|(effect, _)| effect == "settings.write"), "{shown}");
        }
    }
}

#[tokio::test]
async fn b11_quiet_hours_that_miss_one_end_are_asked_about_and_not_taken_for_readable() {
    let body = r#"[{"key":"quiet_hours.rw","value":{"start":"22:00"}},{"key":"send_throttle.whatsapp.per_minute","value":60},{"key":"opt_out.list","value":[]}]"#;
    let scene = scene(Scenario::Outage { minutes: 6 }, 200, body).await;
    let (_, finished) = scene.plan_and_run().await;
    // The repair is written, and the table goes on saying the old.
    assert_ne!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let pauses = scene.effects().keys().filter(|(effect, _)| effect == "campaign.pause").count();
    assert_eq!(pauses, 4, "{}", finished.says);
}

/// The platform says that it saved the settings, and does not, for so many minutes.
async fn forgetful(scenario: Scenario, minutes: u64) -> Scene {
    let scene = Scene::of(WorldSpec { profile: Profile::AsIs, ..small(scenario) }).await;
    let body = r#"{"data":{"saved":true},"message":"Settings saved."}"#.to_owned();
    let trouble = Trouble {
        calls: "POST /admin/api/settings".to_owned(),
        lasts: Some(minutes * 60),
        answer: trouble::Answer::Says { status: 200, body },
        ..Trouble::default()
    };
    scene.sandbox.with_world(|world| world.trouble(trouble));
    scene
}

#[tokio::test]
async fn settings_that_do_not_hold_are_written_again_later_and_end_nothing_for_good() {
    for scenario in [Scenario::QuietHoursMisconfigured, Scenario::ThrottleMisconfigured] {
        let scene = forgetful(scenario, 20).await;
        let (_, finished) = scene.plan_and_run().await;
        assert_eq!(finished.outcome, Outcome::Verified, "{scenario:?}: {}", finished.says);
        assert_eq!(statuses(&scene).iter().filter(|status| *status == "running").count(), 4);

        let scene = forgetful(scenario, 100_000).await;
        let (_, finished) = scene.plan_and_run().await;
        assert_eq!(finished.outcome, Outcome::Interrupted, "{scenario:?}: {}", finished.says);
        assert_eq!(statuses(&scene).iter().filter(|status| *status == "running").count(), 0);
    }
}
