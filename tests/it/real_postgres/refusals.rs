//! What the database refuses, and what our clients take it for.

use allclear::core::error::StopReason;
use allclear::core::ports::{NewReplacement, NewVoucherEvent};
use allclear::core::{Class, PortError, Voucher, VoucherId};
use allclear::sandbox::{Profile, Scenario, WorldSpec};
use serde_json::json;
use uuid::Uuid;

use super::Real;
use crate::scene::{Scene, small};

const NOWHERE: &str = "6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90";
const RUNBOOK: &str = "station-redeem-anomalies";

fn world() -> WorldSpec {
    WorldSpec { profile: Profile::Target, vouchers: 12, stations: 4, ..small(Scenario::DoubleRedemption) }
}

async fn a_voucher(scene: &Scene) -> Voucher {
    let ids = scene.platform.vouchers.newest_redeemable(1).await.unwrap();
    scene.platform.vouchers.find(ids[0]).await.unwrap()
}

fn replacement_of(original: &Voucher, id: VoucherId) -> NewReplacement {
    NewReplacement {
        id,
        original: original.id,
        amount: original.amount.clone(),
        msisdn: original.msisdn.clone(),
        station_scope: original.station_scope,
        campaign: original.campaign,
        expires_at: original.expires_at,
        held_by: "run".to_owned(),
    }
}

#[tokio::test]
async fn an_event_of_no_voucher_is_refused_for_good_as_on_the_sandbox() {
    let real = Real::of(RUNBOOK, world()).await;
    let sandbox = Scene::with(RUNBOOK, json!(null), world()).await;
    let event = || NewVoucherEvent {
        id: Uuid::from_u128(1),
        voucher: NOWHERE.parse().unwrap(),
        kind: "void".to_owned(),
        context: json!({}),
    };
    let theirs = real.scene.platform.redemptions.add_event(&event()).await.unwrap_err();
    let ours = sandbox.platform.redemptions.add_event(&event()).await.unwrap_err();
    assert!(matches!(&theirs, PortError::Rejected { code: Some(code), .. } if code == "23503"), "{theirs}");
    assert_eq!(theirs, ours);
}

#[tokio::test]
async fn a_code_that_is_taken_is_anothers_and_the_next_one_is_tried() {
    let real = Real::of(RUNBOOK, world()).await;
    let original = a_voucher(&real.scene).await;
    let replacement = replacement_of(&original, NOWHERE.parse().unwrap());
    let replacements = &real.scene.platform.replacements;
    replacements.reserve(&replacement).await.unwrap();
    let code = format!("SELECT code5 FROM vouchers WHERE id = '{NOWHERE}'");
    let first = real.list(&code).await;
    replacements.reserve(&replacement).await.unwrap();
    assert_eq!(real.list(&code).await, first, "the same row");
    real.ask(&format!("UPDATE vouchers SET id = gen_random_uuid() WHERE id = '{NOWHERE}'")).await;
    replacements.reserve(&replacement).await.unwrap();
    let second = real.list(&code).await;
    assert!(second.len() == 1 && second != first, "{first:?} {second:?}");
}

#[tokio::test]
async fn a_missing_grant_stops_and_names_itself() {
    let real = Real::of(RUNBOOK, world()).await;
    let original = a_voucher(&real.scene).await;
    let platform = &real.scene.platform;
    let stops = |error: PortError, grant: &str| {
        assert_eq!(error.class(), Class::Stop(StopReason::Permission), "{error}");
        assert!(error.to_string().contains(&format!("`GRANT {grant} TO service_role;`")), "{error}");
    };
    real.ask("REVOKE INSERT ON vouchers FROM service_role; REVOKE SELECT ON send_queue FROM service_role")
        .await;
    let replacement = replacement_of(&original, NOWHERE.parse().unwrap());
    stops(
        platform.replacements.reserve(&replacement).await.unwrap_err(),
        "SELECT, INSERT ON public.vouchers",
    );
    let campaign = platform.campaigns.running().await.unwrap().remove(0);
    stops(platform.send_queue.pending(campaign.id).await.unwrap_err(), "SELECT ON public.send_queue");
    stops(platform.send_queue.waiting_campaigns().await.unwrap_err(), "SELECT ON public.send_queue");
    real.ask("REVOKE SELECT ON vouchers FROM service_role").await;
    stops(platform.vouchers.find(original.id).await.unwrap_err(), "SELECT ON public.vouchers");
}

#[tokio::test]
async fn a_change_of_what_is_no_more_as_it_was_seen_changes_nothing() {
    let real = Real::of(RUNBOOK, world()).await;
    let original = a_voucher(&real.scene).await;
    let station =
        real.list("SELECT id::text FROM stations ORDER BY id LIMIT 1").await.remove(0).parse().unwrap();
    let seen = original.as_seen();
    let vouchers = &real.scene.platform.vouchers;
    assert_eq!(vouchers.set_scope(original.id, &seen, station).await, Ok(1));
    assert_eq!(
        vouchers.set_scope(original.id, &seen, station).await,
        Ok(0),
        "the trigger has moved updated_at"
    );
    let again = vouchers.find(original.id).await.unwrap();
    assert!(again.updated_at > original.updated_at, "{again:?}");
}
