//! The procedure as a specification: mocks only, virtual time, no sandbox and no network.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use allclear_core::ports::*;
use allclear_core::redeem::{
    RedeemAttempt, RedeemOutcome, Redemption, RedemptionSeen, VoucherEvent, VoucherHistory,
};
use allclear_core::station::{Station, StationId, StationLookup, StationStatus};
use allclear_core::voucher::{IssuingPath, StoredAmount};
use allclear_core::{
    Currency, Platform, PortError, Service, VirtualClock, Voucher, VoucherId, VoucherStatus,
};
use allclear_engine::Outcome;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Input, StationRedeemAnomalies};
use crate::mocked::{self, Calls, approver};

#[derive(Default)]
struct Tables {
    vouchers: BTreeMap<VoucherId, Voucher>,
    histories: BTreeMap<VoucherId, VoucherHistory>,
    attempts: Vec<RedeemAttempt>,
}

struct World {
    clock: Arc<VirtualClock>,
    calls: Calls,
    tables: Arc<Mutex<Tables>>,
}

fn start() -> Timestamp {
    "2026-11-23T07:00:00Z".parse().unwrap()
}

fn id(n: u128) -> VoucherId {
    VoucherId(Uuid::from_u128(n))
}

/// `Station n` has this id in `stations`, and another one in `petrol_stations`.
fn station(n: u128) -> StationId {
    StationId(Uuid::from_u128(100 + n))
}

fn petrol(n: u128) -> Uuid {
    Uuid::from_u128(200 + n)
}

fn voucher(n: u128, status: VoucherStatus) -> Voucher {
    let path = IssuingPath::WhatsApp;
    Voucher {
        id: id(n),
        status,
        amount: StoredAmount {
            amount_minor: 2_000,
            amount_hundredths: Some(2_000),
            currency: Currency::Rwf,
            path,
        },
        msisdn: "+250788123456".parse().unwrap(),
        campaign: None,
        station_scope: None,
        redeemed_at: None,
        updated_at: start() - Duration::from_mins(50),
        replaces: None,
        replaced_by: None,
        held_by: None,
    }
}

fn world() -> World {
    World { clock: Arc::new(VirtualClock::at(start())), calls: Calls::default(), tables: Arc::default() }
}

impl World {
    /// A voucher that was redeemed with these idempotency keys.
    fn redeemed(self, voucher: Voucher, keys: &[&str]) -> Self {
        let redemption = |(n, key): (usize, &&str)| Redemption {
            id: Uuid::new_v5(&voucher.id.0, format!("{n}").as_bytes()),
            station: Some(petrol(n as u128)),
            key: Some((*key).to_owned()),
            at: start() - Duration::from_mins(50),
        };
        let history =
            VoucherHistory { events: vec![], redemptions: keys.iter().enumerate().map(redemption).collect() };
        let mut tables = self.tables.lock().unwrap();
        tables.histories.insert(voucher.id, history);
        tables.vouchers.insert(voucher.id, voucher);
        drop(tables);
        self
    }

    /// A voucher that Station 1 refused.
    fn refused(self, voucher: Voucher, outcome: RedeemOutcome, key: &str) -> Self {
        let mut tables = self.tables.lock().unwrap();
        let attempt = RedeemAttempt {
            id: tables.attempts.len() as i64 + 1,
            voucher: Some(voucher.id),
            station: Some(station(1).0),
            key: Some(key.to_owned()),
            outcome,
            at: start() - Duration::from_mins(30),
        };
        tables.attempts.push(attempt);
        tables.vouchers.insert(voucher.id, voucher);
        drop(tables);
        self
    }

    fn redemption_log(&self) -> MockRedemptionLog {
        let mut mock = MockRedemptionLog::new();
        let tables = Arc::clone(&self.tables);
        mock.expect_redemptions().returning(move |_, after, _| {
            if after.is_some() {
                return Ok(vec![]);
            }
            let tables = tables.lock().unwrap();
            let seen = tables.histories.iter().flat_map(|(voucher, history)| {
                history.redemptions.iter().map(|one| RedemptionSeen { id: one.id, voucher: *voucher })
            });
            Ok(seen.collect())
        });
        let tables = Arc::clone(&self.tables);
        mock.expect_attempts().returning(move |_, after, _| {
            Ok(if after.is_some() { vec![] } else { tables.lock().unwrap().attempts.clone() })
        });
        let tables = Arc::clone(&self.tables);
        mock.expect_history().returning(move |voucher| {
            Ok(tables.lock().unwrap().histories.get(&voucher).cloned().unwrap_or_default())
        });
        let tables = Arc::clone(&self.tables);
        mock.expect_add_event().returning(move |event| {
            let added = VoucherEvent { id: event.id, kind: event.kind.clone(), station: None, at: start() };
            tables.lock().unwrap().histories.entry(event.voucher).or_default().events.push(added);
            Ok(())
        });
        mock
    }

    fn vouchers(&self) -> MockVouchers {
        let mut mock = MockVouchers::new();
        let tables = Arc::clone(&self.tables);
        mock.expect_find().returning(move |voucher| Ok(tables.lock().unwrap().vouchers[&voucher].clone()));
        let (tables, calls) = (Arc::clone(&self.tables), self.calls.clone());
        mock.expect_set_scope().returning(move |voucher, _, scope| {
            calls.note("scope");
            tables.lock().unwrap().vouchers.get_mut(&voucher).unwrap().station_scope = Some(scope);
            Ok(1)
        });
        mock
    }

    fn replacements(&self) -> MockReplacements {
        let mut mock = MockReplacements::new();
        let tables = Arc::clone(&self.tables);
        mock.expect_of().returning(move |original| {
            let tables = tables.lock().unwrap();
            Ok(tables
                .vouchers
                .values()
                .filter(|voucher| voucher.replaces == Some(original))
                .cloned()
                .collect())
        });
        let (tables, calls) = (Arc::clone(&self.tables), self.calls.clone());
        mock.expect_reserve().returning(move |new| {
            calls.note("hold");
            let held = Voucher {
                id: new.id,
                status: VoucherStatus::Void,
                replaces: Some(new.original),
                held_by: Some(new.held_by.clone()),
                amount: new.amount.clone(),
                ..voucher(0, VoucherStatus::Void)
            };
            tables.lock().unwrap().vouchers.entry(new.id).or_insert(held);
            Ok(())
        });
        let (tables, calls) = (Arc::clone(&self.tables), self.calls.clone());
        mock.expect_void_original().returning(move |original, seen, replacement| {
            calls.note("void");
            let mut tables = tables.lock().unwrap();
            let row = tables.vouchers.get_mut(&original).unwrap();
            assert_eq!(row.as_seen(), *seen, "the expected state goes with the request");
            (row.status, row.replaced_by) = (VoucherStatus::Void, Some(replacement));
            Ok(1)
        });
        let (tables, calls) = (Arc::clone(&self.tables), self.calls.clone());
        mock.expect_release().returning(move |replacement, _| {
            calls.note("release");
            let mut tables = tables.lock().unwrap();
            let row = tables.vouchers.get_mut(&replacement).unwrap();
            (row.status, row.held_by) = (VoucherStatus::Issued, None);
            Ok(1)
        });
        mock
    }

    fn stations() -> MockStations {
        let mut mock = MockStations::new();
        let known =
            |n: u128| Station { id: station(n), name: format!("Station {n}"), status: StationStatus::Active };
        mock.expect_look_up().returning(move |wanted| {
            let found = (1..=2).find(|n| station(*n).0 == wanted).map(known);
            let petrol_station = (1..=2).find(|n| petrol(*n) == wanted).map(|n| format!("Station {n}"));
            Ok(StationLookup { station: found, petrol_station })
        });
        mock.expect_named()
            .returning(move |name| Ok((1..=2).map(known).filter(|one| one.name == name).collect()));
        mock
    }

    async fn run(&self) -> (Outcome, String) {
        self.run_with(Input::default(), MockRedemptionExports::new()).await
    }

    async fn run_with(&self, input: Input, exports: MockRedemptionExports) -> (Outcome, String) {
        let on = Platform {
            redemptions: Arc::new(self.redemption_log()),
            redemption_exports: Arc::new(exports),
            vouchers: Arc::new(self.vouchers()),
            replacements: Arc::new(self.replacements()),
            stations: Arc::new(Self::stations()),
            chat: Arc::new(mocked::chat(&self.calls)),
            audit: Arc::new(mocked::audit(&self.calls)),
            ..mocked::platform()
        };
        let runbook = StationRedeemAnomalies { on, input };
        let finished = mocked::run(&runbook, Arc::clone(&self.clock), approver()).await;
        (finished.outcome, finished.says)
    }
}

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
    assert_eq!(outcome, Outcome::Verified, "{says}");
    let tables = world.tables.lock().unwrap();
    let replaced: Vec<_> = tables.vouchers.values().filter_map(|one| one.replaces).collect();
    assert_eq!(replaced, [id(1)], "2 was redeemed once, 3 is not in the file, 4 is nobody's");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_ends_the_run_before_anything_is_done() {
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
    assert_eq!((outcome, world.calls.all()), (Outcome::Unverified, vec![]), "{says}");
    assert!(says.contains("line 3: voucher_id is no UUID"), "{says}");
}

#[tokio::test]
async fn a_replay_is_no_double_redemption() {
    let world = world().redeemed(voucher(1, VoucherStatus::Redeemed), &["a", "a"]);
    let (outcome, says) = world.run().await;
    assert_eq!((outcome, world.calls.all().len()), (Outcome::Verified, 0), "{says}");
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
async fn a_scope_of_the_wrong_table_is_corrected_to_the_station_that_was_meant() {
    let wrong = Voucher { station_scope: Some(StationId(petrol(1))), ..voucher(1, VoucherStatus::Issued) };
    let world = world().refused(wrong, RedeemOutcome::InvalidStation, "k");
    let (outcome, says) = world.run().await;
    assert_eq!(outcome, Outcome::Verified, "{says}");
    assert_eq!(world.calls.all()[..3], ["scope", "audit voucher_scope", "chat #data-ops wrong scope"]);
    assert_eq!(world.tables.lock().unwrap().vouchers[&id(1)].station_scope, Some(station(1)));
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
