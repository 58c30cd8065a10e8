//! What an earlier run left behind.

use allclear_engine::gate::Question;
use allclear_engine::{Answer, Attention, Effect as _};

use super::super::cases::{Case, Held, Made};
use super::super::replace::{AdoptReplacement, Replacing, ReserveReplacement};
use super::*;

/// What a run made and did not release.
fn held_by(run: &str) -> Voucher {
    Voucher { held_by: Some(run.to_owned()), ..voucher(9, VoucherStatus::Void) }
}

/// A voucher that a run voided for its replacement.
fn voided() -> Voucher {
    Voucher { replaced_by: Some(replacement_of(id(1))), ..voucher(1, VoucherStatus::Void) }
}

/// Approves, and keeps what was shown.
#[derive(Default)]
struct Reader(Mutex<Vec<String>>);

#[async_trait::async_trait]
impl Humans for Reader {
    async fn ask(&self, question: &Question, given: &[Answer]) -> Attention {
        self.0.lock().unwrap().push(format!("{question:?}"));
        Attention::Answer(Answer::to(question, "approve", ["lea", "ren"][given.len()]))
    }
}

#[tokio::test]
async fn b2_a_later_run_adopts_what_an_ended_run_still_holds() {
    let world = world().begun(voucher(1, VoucherStatus::Redeemed), held_by("run-0"));
    let reader = Arc::new(Reader::default());
    let (outcome, says) =
        world.run_before(Input::default(), MockRedemptionExports::new(), reader.clone()).await;
    assert_eq!(outcome, Outcome::Verified, "{says}");
    assert_eq!(world.calls.all()[..4], ["take over", "void", "release", "audit voucher_void"]);
    let shown = reader.0.lock().unwrap().clone();
    assert_eq!(shown.len(), 1, "no question more than for any other voucher: {shown:?}");
    assert!(
        shown[0].contains("is held by run run-0 since 2026-11-23T06:10:00Z, which must have ended"),
        "{shown:?}"
    );
    world.assert_never_two();
    let tables = world.tables.lock().unwrap();
    let given = &tables.vouchers[&replacement_of(id(1))];
    assert_eq!((&given.status, &given.held_by), (&VoucherStatus::Issued, &None));
}

#[tokio::test]
async fn b2_a_release_that_was_still_to_come_is_made_by_a_later_run() {
    let world = world().begun(voided(), held_by("run-0"));
    let reader = Arc::new(Reader::default());
    let (outcome, says) =
        world.run_before(Input::default(), MockRedemptionExports::new(), reader.clone()).await;
    assert_eq!(outcome, Outcome::Verified, "{says}");
    assert_eq!(world.calls.all()[..3], ["take over", "release", "audit voucher_void"]);
    let shown = reader.0.lock().unwrap().concat();
    assert!(shown.contains("only the release is still to come"), "{shown}");
    world.assert_never_two();
}

#[tokio::test]
async fn b2_what_was_replaced_and_released_before_leaves_nothing_to_do() {
    let world = world().begun(voided(), voucher(9, VoucherStatus::Issued));
    let (outcome, says) = world.run().await;
    assert_eq!(outcome, Outcome::Verified, "{says}");
    assert!(says.contains("1 voucher was void and replaced already, with nothing left to do"), "{says}");
    // Whoever replaced it ended before that was on record.
    let calls = ["audit voucher_void", "audit incident_note", "chat #vendor-support anomalies"];
    assert_eq!(world.calls.all(), calls);
}

#[tokio::test]
async fn b2_a_missing_right_interrupts_and_is_not_repeated_on_the_others() {
    let fresh =
        (1..=3).fold(world(), |world, n| world.redeemed(voucher(n, VoucherStatus::Redeemed), &["a", "b"]));
    let begun =
        (1..=3).fold(world(), |world, n| world.begun(voucher(n, VoucherStatus::Redeemed), held_by("run-0")));
    for (world, call) in [(fresh, "hold"), (begun, "take over")] {
        world.tables.lock().unwrap().denied = true;
        let (outcome, says) = world.run().await;
        let calls = vec![call.to_owned(), "chat #ops stuck".to_owned()];
        assert_eq!((outcome, world.calls.all()), (Outcome::Interrupted, calls), "{says}");
        assert!(says.contains("lacks the permission") && !says.contains("left alone"), "{says}");
        let tables = world.tables.lock().unwrap();
        assert!((1..=3).all(|n| tables.vouchers[&id(n)].status == VoucherStatus::Redeemed));
    }
}

#[tokio::test]
async fn b2_what_another_run_took_in_the_last_moment_is_left_alone_and_the_others_go_on() {
    let world = world().begun(voucher(1, VoucherStatus::Redeemed), held_by("run-0"));
    let world = world.redeemed(voucher(2, VoucherStatus::Redeemed), &["a", "b"]);
    world.tables.lock().unwrap().snatched_by = Some("run-elsewhere");
    let (outcome, says) = world.run().await;
    assert_eq!(outcome, Outcome::Unverified, "{says}");
    assert!(says.contains("run run-0 does not hold its replacement any more"), "{says}");
    assert_eq!(world.calls.all()[..4], ["take over", "hold", "void", "release"]);
    assert_eq!(world.tables.lock().unwrap().vouchers[&id(1)].status, VoucherStatus::Redeemed);
}

#[tokio::test]
async fn b2_never_two_replacements() {
    let worth_more = || {
        let mut held = held_by("run-0");
        held.amount.amount_minor = 9_000;
        held
    };
    let of_a_person = Voucher { replaced_by: None, ..voided() };
    // Given twice already, of another worth, voided by somebody else, taken back by somebody.
    let odd = [
        (voucher(1, VoucherStatus::Redeemed), voucher(9, VoucherStatus::Issued), "may be out twice"),
        (voucher(1, VoucherStatus::Redeemed), voucher(9, VoucherStatus::Void), "may be out twice"),
        (voucher(1, VoucherStatus::Redeemed), worth_more(), "not worth the same"),
        (of_a_person, held_by("run-0"), "names no replacement"),
        (voided(), voucher(9, VoucherStatus::Void), "look at it by hand"),
    ];
    for (original, replacement, why) in odd {
        let world = world().begun(original, replacement);
        let before = world.tables.lock().unwrap().vouchers.clone();
        let (outcome, says) = world.run().await;
        assert_eq!(outcome, Outcome::Unverified, "{says}");
        assert!(says.contains("is not replaced") && says.contains(why), "{says}");
        assert_eq!(world.tables.lock().unwrap().vouchers, before, "{says}");
    }
    // One that a person made stands in the way, held or not, also beside ours.
    let of_a_person = || Voucher { replaces: Some(id(1)), ..voucher(8, VoucherStatus::Issued) };
    let beside = world().begun(voucher(1, VoucherStatus::Redeemed), held_by("run-0"));
    beside.tables.lock().unwrap().vouchers.insert(id(8), of_a_person());
    let (outcome, says) = beside.run().await;
    assert_eq!(outcome, Outcome::Unverified, "{says}");
    assert!(says.contains("replaces it already") && !beside.calls.contains("take over"), "{says}");
    // A second run after one that took over finds nothing to do.
    let again = world().begun(voucher(1, VoucherStatus::Redeemed), held_by("run-0"));
    for _ in 0..2 {
        let (outcome, says) = again.run().await;
        assert_eq!(outcome, Outcome::Verified, "{says}");
        again.assert_never_two();
    }
    assert_eq!(again.calls.all().iter().filter(|call| *call == "release").count(), 1);
}

#[test]
fn b2_taking_over_claims_what_making_it_claims() {
    let (original, held) = (voucher(1, VoucherStatus::Redeemed), held_by("run-0"));
    let case = Case {
        id: original.id,
        seen: original.as_seen(),
        status: original.status,
        amount: original.amount,
        customer: original.msisdn.to_string(),
        scope: None,
        expires_at: None,
        history: VoucherHistory::default(),
        replacements: vec![replacement_of(id(1))],
        replaced_by: None,
        made: Some(Made::Held(Held {
            by: "run-0".to_owned(),
            since: held.updated_at,
            amount_minor: held.amount.amount_minor,
        })),
    };
    let what = Replacing::of(&case, "run-1", start()).unwrap();
    let (on, from) = (mocked::platform(), what.from.clone().unwrap());
    let adopt = AdoptReplacement::of(&on, &what, &from);
    let reserve = ReserveReplacement::of(&on, &what);
    assert_eq!(adopt.subject(), reserve.subject(), "a run that has not ended keeps its claim on it");
    for stays in [adopt.cannot_undo(), reserve.cannot_undo()] {
        assert!(
            stays.is_some_and(|why| why.contains("nobody can redeem it") && why.contains("takes it over"))
        );
    }
}
