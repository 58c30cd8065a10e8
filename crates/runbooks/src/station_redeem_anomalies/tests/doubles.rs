//! Double redemptions: what is one, and what is done about it.

use super::*;

#[tokio::test]
async fn a_double_redemption_is_held_voided_released_and_recorded_in_that_order() {
    let world = world().redeemed(voucher(1, VoucherStatus::Redeemed), &["a", "b"]);
    let (outcome, says) = world.run().await;
    assert_eq!(outcome, Outcome::Verified, "{says}");
    let expected = [
        "hold",
        "void",
        "release",
        "audit voucher_void",
        "audit incident_note",
        "chat #vendor-support anomalies",
    ];
    assert_eq!(world.calls.all(), expected);
    let tables = world.tables.lock().unwrap();
    let replacement = tables.vouchers.values().find(|one| one.replaces == Some(id(1))).unwrap();
    assert_eq!((&replacement.status, replacement.amount.amount_minor), (&VoucherStatus::Issued, 2_000));
}

#[tokio::test]
async fn a_replay_is_no_double_redemption() {
    let replayed = world().redeemed_at(voucher(1, VoucherStatus::Redeemed), &[(1, "a", 50), (1, "a", 49)]);
    let world = replayed.attempted();
    let (outcome, says) = world.run().await;
    assert_eq!((outcome, world.calls.all().len()), (Outcome::Verified, 0), "{says}");
}

#[tokio::test]
async fn a5_equal_keys_at_two_stations_are_a_double() {
    let world = world().redeemed_at(voucher(1, VoucherStatus::Redeemed), &[(1, "a", 50), (2, "a", 30)]);
    let (outcome, says) = world.run().await;
    assert_eq!(outcome, Outcome::Verified, "{says}");
    assert!(world.calls.contains("void"), "{says}");
}

#[tokio::test]
async fn a5_the_same_station_and_key_hours_later_is_for_a_person() {
    let world = world().redeemed_at(voucher(1, VoucherStatus::Redeemed), &[(1, "a", 300), (1, "a", 30)]);
    let (outcome, says) = world.run().await;
    assert_eq!(outcome, Outcome::Unverified, "{says}");
    assert!(says.contains("one fill or two") && !world.calls.contains("void"), "{says}");
}

#[tokio::test]
async fn what_is_no_clear_case_is_left_to_a_person() {
    let mut unknown = voucher(1, VoucherStatus::Redeemed);
    unknown.amount.path = IssuingPath::Unknown;
    let mut disagree = voucher(1, VoucherStatus::Redeemed);
    disagree.amount.amount_hundredths = Some(200_000);
    for odd in [unknown, disagree, voucher(1, VoucherStatus::Void)] {
        let world = world().redeemed(odd, &["a", "b"]);
        let (outcome, says) = world.run().await;
        assert_eq!(outcome, Outcome::Unverified, "{says}");
        assert!(says.contains("is not replaced"), "{says}");
        assert!(!world.calls.contains("hold") && !world.calls.contains("void"));
    }
}

#[tokio::test]
async fn a_run_replaces_twenty_vouchers_at_most() {
    let world =
        (1..=22).fold(world(), |world, n| world.redeemed(voucher(n, VoucherStatus::Redeemed), &["a", "b"]));
    let (outcome, says) = world.run().await;
    assert_eq!(outcome, Outcome::Unverified, "{says}");
    let released = world.calls.all().iter().filter(|call| *call == "release").count();
    assert_eq!((released, says.matches("a run replaces 20 at most").count()), (20, 2), "{says}");
}

#[tokio::test]
async fn a_voucher_that_has_a_replacement_gets_no_second_one() {
    let other = Voucher { replaces: Some(id(1)), ..voucher(9, VoucherStatus::Issued) };
    let world = world().redeemed(voucher(1, VoucherStatus::Redeemed), &["a", "b"]);
    world.tables.lock().unwrap().vouchers.insert(other.id, other);
    let (outcome, says) = world.run().await;
    assert_eq!(outcome, Outcome::Unverified, "{says}");
    assert!(says.contains("replaces it already") && !world.calls.contains("hold"), "{says}");
}

#[tokio::test]
async fn a_replacement_is_good_for_as_long_as_what_it_replaces_and_none_is_given_for_what_has_expired() {
    let date = start() + Duration::from_hours(48);
    let dated = Voucher { expires_at: Some(date), ..voucher(1, VoucherStatus::Redeemed) };
    let valid = world().redeemed(dated.clone(), &["a", "b"]);
    let (outcome, says) = valid.run().await;
    assert_eq!(outcome, Outcome::Verified, "{says}");
    assert_eq!(valid.tables.lock().unwrap().vouchers[&replacement_of(id(1))].expires_at, Some(date));
    let gone = Voucher { expires_at: Some(start() - Duration::from_mins(1)), ..dated };
    let expired = world().redeemed(gone, &["a", "b"]);
    let (outcome, says) = expired.run().await;
    assert_eq!(outcome, Outcome::Unverified, "{says}");
    assert!(says.contains("it expired") && !expired.calls.contains("hold"), "{says}");
}

#[tokio::test]
async fn a_replacement_that_breaks_a_rule_of_the_table_is_left_alone_and_the_others_go_on() {
    let world =
        (1..=3).fold(world(), |world, n| world.redeemed(voucher(n, VoucherStatus::Redeemed), &["a", "b"]));
    world.tables.lock().unwrap().breaks_a_rule = Some(id(2));
    let (outcome, says) = world.run().await;
    assert_eq!(outcome, Outcome::Unverified, "{says}");
    assert!(
        says.contains("was left as it is") && says.contains("points to a row that is not there"),
        "{says}"
    );
    let released = world.calls.all().iter().filter(|call| *call == "release").count();
    assert_eq!(released, 2, "{says}");
    assert_eq!(world.tables.lock().unwrap().vouchers[&id(2)].status, VoucherStatus::Redeemed);
}

#[tokio::test]
async fn more_events_than_redemptions_are_for_a_person() {
    let world = world().redeemed(voucher(1, VoucherStatus::Redeemed), &["a"]).attempted();
    let world = world.with_event(id(1)).with_event(id(1));
    let input = Input { vouchers: vec![id(1)], ..Input::default() };
    let (outcome, says) = world.run_with(input, MockRedemptionExports::new()).await;
    assert_eq!(outcome, Outcome::Unverified, "{says}");
    assert!(says.contains("more `redeemed` events than redemptions"), "{says}");
    assert!(!world.calls.contains("void"), "{says}");
}
