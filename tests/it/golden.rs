//! The postmortem of each runbook, as people read it. A change of one shows here and is reviewed like code.

use allclear::engine::report::{Form, Postmortem, check_citations, to_markdown};
use allclear::sandbox::{Profile, Scenario, WorldSpec};

use crate::scene::{Scene, small};

async fn postmortem(scenario: Scenario) -> String {
    let spec = WorldSpec {
        profile: Profile::AsIs,
        vouchers: 20,
        stations: 3,
        targets_per_campaign: 120,
        campaigns: 2,
        ..small(scenario)
    };
    let scene = Scene::of(spec).await;
    scene.plan_and_run().await;
    let entries = scene.entries();
    let postmortem = Postmortem::from_entries(&entries, scene.runbook().steps());
    check_citations(&postmortem, &entries).unwrap();
    to_markdown(&postmortem, Form::Full)
}

#[tokio::test]
async fn voucher_preview_failures() {
    insta::assert_snapshot!(postmortem(Scenario::PreviewBroken).await);
}

#[tokio::test]
async fn whatsapp_send_failures() {
    insta::assert_snapshot!(postmortem(Scenario::Outage { minutes: 25 }).await);
}

#[tokio::test]
async fn campaign_dispatcher_stalls() {
    insta::assert_snapshot!(postmortem(Scenario::StalledUnreachable { minutes: 20 }).await);
}

#[tokio::test]
async fn station_redeem_anomalies() {
    insta::assert_snapshot!(postmortem(Scenario::DoubleOfUnknownWorth).await);
}
