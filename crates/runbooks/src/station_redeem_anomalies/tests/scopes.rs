//! Scopes and keys.

use super::*;

#[tokio::test]
async fn a_scope_of_the_wrong_table_is_corrected_to_the_station_that_was_meant() {
    let wrong = Voucher { station_scope: Some(StationId(petrol(1))), ..voucher(1, VoucherStatus::Issued) };
    let world = world().refused(wrong, RedeemOutcome::InvalidStation, "k");
    let (outcome, says) = world.run().await;
    assert_eq!(outcome, Outcome::Verified, "{says}");
    assert_eq!(world.calls.all()[..3], ["scope", "audit voucher_scope", "chat #data-ops wrong scope"]);
    assert_eq!(world.tables.lock().unwrap().vouchers[&id(1)].station_scope, Some(station(1)));
}

#[tokio::test]
async fn f1_a_voucher_that_somebody_edits_meanwhile_is_left_to_them_and_the_others_are_corrected() {
    let wrong =
        |n| Voucher { station_scope: Some(StationId(petrol(1))), ..voucher(n, VoucherStatus::Issued) };
    let world = world().refused(wrong(1), RedeemOutcome::InvalidStation, "k");
    let world = world.refused(wrong(2), RedeemOutcome::InvalidStation, "l");
    world.tables.lock().unwrap().edited = Some(id(1));
    let (outcome, says) = world.run().await;
    assert_eq!(outcome, Outcome::Unverified, "{says}");
    assert!(says.contains(&format!("the scope of voucher {} was left as it is", id(1))), "{says}");
    assert_eq!(world.tables.lock().unwrap().vouchers[&id(2)].station_scope, Some(station(1)));
}

#[tokio::test]
async fn a_sound_scope_is_kept_and_the_operator_is_told() {
    let elsewhere = Voucher { station_scope: Some(station(2)), ..voucher(1, VoucherStatus::Issued) };
    let world = world().refused(elsewhere, RedeemOutcome::InvalidStation, "k");
    let (outcome, says) = world.run().await;
    assert_eq!(outcome, Outcome::Verified, "{says}");
    assert!(!world.calls.contains("scope") && !world.calls.contains("chat #data-ops wrong scope"));
    assert!(world.calls.all()[0].starts_with("chat #ops voucher"));
}

#[tokio::test]
async fn one_key_for_two_vouchers_is_told_and_nothing_is_touched() {
    let world = world().refused(voucher(1, VoucherStatus::Issued), RedeemOutcome::Replay, "same").refused(
        voucher(2, VoucherStatus::Issued),
        RedeemOutcome::Replay,
        "same",
    );
    let (outcome, says) = world.run().await;
    assert_eq!(outcome, Outcome::Unverified, "{says}");
    assert!(says.contains("one idempotency key came with 2 vouchers"), "{says}");
    assert_eq!(world.calls.all(), ["audit incident_note", "chat #vendor-support anomalies"]);
}
