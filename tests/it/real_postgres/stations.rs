//! Station Redeem Anomalies.

use allclear::engine::Outcome;
use allclear::sandbox::{Profile, Scenario, WorldSpec};
use serde_json::Value;

use super::{Real, on_the_sandbox};
use crate::scene::small;

const RUNBOOK: &str = "station-redeem-anomalies";
/// Vouchers that two redemptions tell of.
const TWICE: &str =
    "SELECT voucher_id::text FROM voucher_redemptions GROUP BY 1 HAVING count(*) > 1 ORDER BY 1";

fn world(scenario: Scenario, profile: Profile) -> WorldSpec {
    WorldSpec { profile, vouchers: 40, stations: 4, ..small(scenario) }
}

/// Runs in Postgres and on the sandbox alone, and compares how both end and what became of the vouchers.
async fn handled(scenario: Scenario, profile: Profile) -> Real {
    let real = Real::of(RUNBOOK, world(scenario, profile)).await;
    let finished = real.run().await;
    let (drill, state) = on_the_sandbox(RUNBOOK, world(scenario, profile)).await;
    assert_eq!((finished.outcome, &finished.says), (drill.outcome, &drill.says));
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(vouchers_of_note(&real).await, by_id(state["vouchers"].as_array().unwrap().clone()));
    assert_eq!(real.audit_by_us().await, state["audit_by_us"]);
    real
}

/// What the sandbox's state says of the vouchers of the last day, read from the database.
async fn vouchers_of_note(real: &Real) -> Vec<Value> {
    let sql = "
        SELECT json_build_object(
          'id', id, 'status', status, 'amount_minor', amount_minor, 'held', metadata ? 'held_by',
          'replaces', metadata->>'replaces', 'scope', station_scope
        ) FROM vouchers WHERE issued_at > (SELECT shows FROM platform.clock) - interval '24 hours'";
    by_id(real.list(sql).await.iter().map(|row| serde_json::from_str(row).unwrap()).collect())
}

fn by_id(mut vouchers: Vec<Value>) -> Vec<Value> {
    vouchers.sort_by_key(|one| one["id"].as_str().unwrap().to_owned());
    vouchers
}

#[tokio::test]
async fn what_was_redeemed_twice_is_voided_and_replaced_once_by_the_database_itself() {
    for profile in [Profile::AsIs, Profile::Target] {
        let real = handled(Scenario::DoubleRedemption, profile).await;
        let twice = real.list(TWICE).await;
        assert_eq!(twice.len(), 3);

        let voided = "SELECT id::text FROM vouchers WHERE status = 'void' ORDER BY 1";
        assert_eq!(real.list(voided).await, twice, "the originals, and nothing else");
        let replaced = "
            SELECT metadata->>'replaces' FROM vouchers WHERE metadata ? 'replaces' AND NOT metadata ? 'held_by'
              AND status = 'issued' ORDER BY 1";
        assert_eq!(real.list(replaced).await, twice, "each once");
        let worth_and_link = "
            SELECT count(*) FROM vouchers AS one JOIN vouchers AS made ON made.metadata->>'replaces' = one.id::text
            WHERE (made.amount_minor, made.amount, made.currency, made.whatsapp_e164)
                = (one.amount_minor, one.amount, one.currency, one.whatsapp_e164)
              AND one.metadata->>'replaced_by' = made.id::text
              AND made.qr_payload = 'voucher:' || made.code5 AND made.code5 <> one.code5";
        assert_eq!(real.number(worth_and_link).await, 3);

        let events = "
            SELECT event_type || ' ' || voucher_id FROM voucher_events WHERE context ? 'run' ORDER BY 1";
        let made = "SELECT id::text FROM vouchers WHERE metadata ? 'replaces' ORDER BY 1";
        let issued = real.list(made).await.into_iter().map(|id| format!("issued {id}"));
        let void = twice.iter().map(|id| format!("void {id}"));
        assert_eq!(real.list(events).await, issued.chain(void).collect::<Vec<_>>());
        let untouched = "SELECT count(*) FROM vouchers WHERE updated_at > (SELECT max(created_at) FROM voucher_redemptions)";
        assert_eq!(real.number(untouched).await, 6, "the originals and their replacements");
    }
}

#[tokio::test]
async fn a_scope_that_its_constraint_would_refuse_is_corrected_to_one_that_it_takes() {
    let real = handled(Scenario::WrongScope, Profile::Target).await;
    let broken = "SELECT count(*) FROM vouchers WHERE station_scope IS NOT NULL
        AND NOT EXISTS (SELECT FROM stations WHERE id = station_scope)";
    assert_eq!(real.number(broken).await, 0);
    let corrected = "SELECT DISTINCT stations.name FROM vouchers JOIN stations ON stations.id = station_scope
        WHERE code5 LIKE 'S%'";
    assert_eq!(real.list(corrected).await, ["Station 1"]);
    // All rows hold what the constraint says, so that it can be made anew.
    real.ask(
        "ALTER TABLE vouchers DROP CONSTRAINT vouchers_station_scope_fkey,
        ADD FOREIGN KEY (station_scope) REFERENCES stations(id)",
    )
    .await;
}

#[tokio::test]
async fn a_customer_at_the_wrong_station_changes_no_row_of_the_tables() {
    let digest = "SELECT md5(string_agg(vouchers::text, '' ORDER BY id)) FROM vouchers";
    let real = Real::of(RUNBOOK, world(Scenario::WrongStation, Profile::Target)).await;
    let before = real.list(digest).await;
    let finished = real.run().await;
    let (drill, _) = on_the_sandbox(RUNBOOK, world(Scenario::WrongStation, Profile::Target)).await;
    assert_eq!((finished.outcome, &finished.says), (drill.outcome, &drill.says));
    assert_eq!(real.list(digest).await, before);
    assert_eq!(real.number("SELECT count(*) FROM voucher_events WHERE context ? 'run'").await, 0);
    let told = real.scene.sandbox.with_world(|world| world.slack_texts());
    assert!(told.iter().any(|text| text.starts_with("For the operator of Station 1")), "{told:?}");
}
