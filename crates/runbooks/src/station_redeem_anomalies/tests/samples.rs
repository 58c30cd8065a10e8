//! What was looked at: windows, files, named vouchers, dates.

use std::path::Path;

use super::*;

#[tokio::test]
async fn what_a_file_claims_is_acted_on_only_where_the_platform_says_the_same() {
    let world = world()
        .redeemed(voucher(1, VoucherStatus::Redeemed), &["a", "b"])
        .redeemed(voucher(2, VoucherStatus::Redeemed), &["a"])
        .redeemed(voucher(3, VoucherStatus::Redeemed), &["a", "b"]);
    let mut exports = MockRedemptionExports::new();
    exports
        .expect_repeats()
        .times(1..)
        .withf(|file| file == Path::new("/exports/events.csv"))
        .returning(|_| Ok(ExportedRepeats { rows: 5, redemptions: 4, vouchers: vec![id(1), id(2), id(4)] }));
    let input = Input { events: Some("/exports/events.csv".into()), ..Input::default() };
    let (outcome, says) = world.run_with(input, exports).await;
    assert_eq!(outcome, Outcome::Unverified, "{says}");
    assert!(says.contains("the file shows voucher") && says.contains("the platform does not"), "{says}");
    let tables = world.tables.lock().unwrap();
    let replaced: Vec<_> = tables.vouchers.values().filter_map(|one| one.replaces).collect();
    assert_eq!(replaced, [id(1)], "2 was redeemed once, 3 is not in the file, 4 is nobody's");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_interrupts_the_run_before_anything_is_done() {
    let world = world().redeemed(voucher(1, VoucherStatus::Redeemed), &["a", "b"]);
    let mut exports = MockRedemptionExports::new();
    exports.expect_repeats().returning(|_| {
        Err(PortError::Rejected {
            service: Service::Exports,
            call: "find repeated redemptions".into(),
            code: None,
            detail: "events.csv, line 3: voucher_id is no UUID".into(),
        })
    });
    let input = Input { events: Some("events.csv".into()), ..Input::default() };
    let (outcome, says) = world.run_with(input, exports).await;
    let told = vec!["chat #ops stuck".to_owned()];
    assert_eq!((outcome, world.calls.all()), (Outcome::Interrupted, told), "{says}");
    assert!(says.contains("line 3: voucher_id is no UUID"), "{says}");
}

#[tokio::test]
async fn a6_the_window_reaches_back_to_the_first_redemption() {
    let input = Input { window_hours: 1, ..Input::default() };
    let world = world().redeemed_at(voucher(1, VoucherStatus::Redeemed), &[(1, "a", 300), (2, "b", 30)]);
    let (outcome, says) = world.run_with(input, MockRedemptionExports::new()).await;
    assert_eq!(outcome, Outcome::Verified, "{says}");
    assert!(world.calls.contains("void"), "{says}");
}

#[tokio::test]
async fn a12_nothing_looked_at_is_not_all_clear() {
    let worlds =
        [world(), world().attempted(), world().redeemed(voucher(1, VoucherStatus::Redeemed), &["a"])];
    for world in worlds {
        let (outcome, says) = world.run().await;
        assert_eq!(outcome, Outcome::Unverified, "{says}");
        assert!(says.contains("nothing can be said") && !says.contains("all clear"), "{says}");
    }
}

#[tokio::test]
async fn a12_an_empty_file_is_not_all_clear() {
    let world = world().redeemed(voucher(1, VoucherStatus::Redeemed), &["a"]).attempted();
    let mut exports = MockRedemptionExports::new();
    exports.expect_repeats().returning(|_| Ok(ExportedRepeats::default()));
    let input = Input { events: Some("/exports/events.csv".into()), ..Input::default() };
    let (outcome, says) = world.run_with(input, exports).await;
    assert_eq!(outcome, Outcome::Unverified, "{says}");
}

#[tokio::test]
async fn a17b_a_voucher_that_does_not_exist_is_told() {
    let world = world().redeemed(voucher(1, VoucherStatus::Redeemed), &["a", "b"]).attempted();
    let input = Input { vouchers: vec![id(77)], ..Input::default() };
    let (outcome, says) = world.run_with(input, MockRedemptionExports::new()).await;
    assert_ne!(outcome, Outcome::Verified, "{says}");
    assert!(says.contains("has no voucher"), "{says}");
}

#[tokio::test]
async fn a_named_voucher_that_was_redeemed_once_is_all_clear() {
    let world = world().redeemed(voucher(1, VoucherStatus::Redeemed), &["a"]);
    let input = Input { vouchers: vec![id(1)], ..Input::default() };
    let (outcome, says) = world.run_with(input, MockRedemptionExports::new()).await;
    assert_eq!(outcome, Outcome::Verified, "{says}");
}

#[tokio::test]
async fn a12_a_double_that_only_the_platform_shows_is_told_and_left_alone() {
    for claimed in [vec![], vec![id(2)]] {
        let world = world()
            .redeemed(voucher(1, VoucherStatus::Redeemed), &["a", "b"])
            .redeemed(voucher(2, VoucherStatus::Redeemed), &["a", "b"])
            .attempted();
        let mut exports = MockRedemptionExports::new();
        let vouchers = claimed.clone();
        exports
            .expect_repeats()
            .returning(move |_| Ok(ExportedRepeats { rows: 5, redemptions: 4, vouchers: vouchers.clone() }));
        let input = Input { events: Some("/exports/events.csv".into()), ..Input::default() };
        let (outcome, says) = world.run_with(input, exports).await;
        assert_eq!(outcome, Outcome::Unverified, "{says}");
        assert!(says.contains(&format!("the platform shows voucher {}", id(1))), "{says}");
        let tables = world.tables.lock().unwrap();
        assert_eq!(tables.vouchers[&id(1)].status, VoucherStatus::Redeemed);
        let acted_on = if claimed.is_empty() { VoucherStatus::Redeemed } else { VoucherStatus::Void };
        assert_eq!(tables.vouchers[&id(2)].status, acted_on, "{says}");
    }
}

#[tokio::test]
async fn a_named_voucher_of_which_nothing_is_seen_is_not_all_clear() {
    let unseen = voucher(5, VoucherStatus::Issued);
    let seen = world().redeemed(voucher(1, VoucherStatus::Redeemed), &["a"]).attempted();
    seen.tables.lock().unwrap().vouchers.insert(unseen.id, unseen);
    for vouchers in [vec![id(5)], vec![id(1), id(5)]] {
        let input = Input { vouchers, ..Input::default() };
        let (outcome, says) = seen.run_with(input, MockRedemptionExports::new()).await;
        assert_eq!(outcome, Outcome::Unverified, "{says}");
        assert!(says.contains(&format!("attempt of voucher {}", id(5))), "{says}");
    }
    // Beside a double it is told too, and the double is handled.
    let beside = world().redeemed(voucher(1, VoucherStatus::Redeemed), &["a", "b"]).attempted();
    beside.tables.lock().unwrap().vouchers.insert(id(5), voucher(5, VoucherStatus::Issued));
    let input = Input { vouchers: vec![id(1), id(5)], ..Input::default() };
    let (outcome, says) = beside.run_with(input, MockRedemptionExports::new()).await;
    assert_eq!(outcome, Outcome::Unverified, "{says}");
    assert!(beside.calls.contains("void") && says.contains("nothing can be said of it"), "{says}");
}

#[tokio::test]
async fn a_refusal_counts_where_the_voucher_was_valid_then() {
    let dated = |minutes: i64| Voucher {
        expires_at: Some(start() + jiff::SignedDuration::from_mins(minutes)),
        ..voucher(1, VoucherStatus::Issued)
    };
    let other = || world().redeemed(voucher(2, VoucherStatus::Redeemed), &["a"]);
    // It was refused half an hour ago. Expired before that: the refusal is right.
    let right = other().refused(dated(-31), RedeemOutcome::AlreadyRedeemed, "k");
    let (outcome, says) = right.run().await;
    assert_eq!(outcome, Outcome::Verified, "{says}");
    assert!(says.starts_with("all clear"), "{says}");
    // Valid then, and expired since.
    let late = other().refused(dated(-1), RedeemOutcome::InvalidStation, "k");
    let (outcome, says) = late.run().await;
    assert_eq!(outcome, Outcome::Unverified, "{says}");
    assert!(says.contains("has expired since") && !late.calls.contains("scope"), "{says}");
    // Valid still.
    let valid = other().refused(dated(60), RedeemOutcome::AlreadyRedeemed, "k");
    let (outcome, says) = valid.run().await;
    assert_eq!(outcome, Outcome::Unverified, "{says}");
    assert!(says.contains("is valid and a station was told"), "{says}");
}

#[tokio::test]
async fn a_code_that_is_nobodys_is_told_unless_the_station_was_told_so() {
    let seen = || world().redeemed(voucher(1, VoucherStatus::Redeemed), &["a"]);
    let told_so = seen().of_nobody(RedeemOutcome::NotFound);
    let (outcome, says) = told_so.run().await;
    assert_eq!(outcome, Outcome::Verified, "{says}");
    for outcome in [RedeemOutcome::Redeemed, RedeemOutcome::AlreadyRedeemed, RedeemOutcome::InvalidStation] {
        let otherwise = seen().of_nobody(outcome);
        let (outcome, says) = otherwise.run().await;
        assert_eq!(outcome, Outcome::Unverified, "{says}");
        assert!(says.contains("a code that is no voucher's"), "{says}");
    }
}
