//! Station Redeem Anomalies where it is hard: what is a double, what was looked at, what files say, what ended runs left.
//! Judged by the ledger and the vouchers.

use std::time::Duration;

use allclear::core::{Clock as _, VoucherId};
use allclear::engine::{Finished, MemoryJournal, Outcome, Terms, execute};
use allclear::sandbox::{Profile, Sandbox, Scenario, Trouble, World, WorldSpec, trouble};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::scene::{Scene, approved, drill, small};

const RUNBOOK: &str = "station-redeem-anomalies";

fn spec(scenario: Scenario) -> WorldSpec {
    WorldSpec { profile: Profile::AsIs, vouchers: 40, stations: 4, ..small(scenario) }
}

async fn scene(scenario: Scenario, input: Value) -> Scene {
    Scene::with(RUNBOOK, input, spec(scenario)).await
}

async fn ran(scene: &Scene) -> Finished {
    scene.plan_and_run().await.1
}

fn doubles(sandbox: &Sandbox) -> Vec<Uuid> {
    sandbox.with_world(|world| world.vouchers_redeemed_twice())
}

fn count(scene: &Scene, effect: &str) -> usize {
    scene.effects().iter().filter(|((name, _), _)| name == effect).map(|(_, times)| times).sum()
}

fn voided(scene: &Scene) -> Vec<Uuid> {
    let voids = scene.effects().into_keys().filter(|(effect, _)| effect == "voucher.void");
    voids.map(|(_, voucher)| voucher.parse().unwrap()).collect()
}

fn minutes(scene: &Scene, ago: u64) -> Timestamp {
    scene.clock.now() - Duration::from_mins(ago)
}

/// The station (by its place), the key and how many minutes ago of each of two redemptions.
type Twice<'a> = [(usize, Option<&'a str>, u64); 2];

/// What two redemptions are.
enum Is {
    Double,
    ForAPerson,
    Replay,
}

#[tokio::test]
async fn a5_a_double_is_told_by_station_and_time_whatever_the_keys_say() {
    let key = Some("00000000-0000-4000");
    let cases: [(Twice<'_>, Is); 8] = [
        ([(0, key, 50), (1, key, 30)], Is::Double),
        ([(0, None, 50), (1, None, 30)], Is::Double),
        ([(0, key, 50), (1, key, 50)], Is::Double),
        ([(0, None, 50), (0, None, 30)], Is::Double),
        ([(0, key, 50), (0, Some("another"), 50)], Is::Double),
        ([(0, key, 50), (0, key, 30)], Is::ForAPerson),
        ([(0, key, 1_300), (0, key, 30)], Is::ForAPerson),
        ([(0, key, 50), (0, key, 49)], Is::Replay),
    ];
    for (how, is) in cases {
        let scene = scene(Scenario::DoubleRedemption, json!(null)).await;
        let first = doubles(&scene.sandbox)[0];
        let at = how.map(|(station, key, ago)| (station, key, minutes(&scene, ago)));
        scene.sandbox.with_world(|world| world.let_redemptions_be(first, &at));
        let finished = ran(&scene).await;
        let expected = match is {
            Is::Double => (Outcome::Verified, 3),
            Is::ForAPerson => (Outcome::Unverified, 2),
            Is::Replay => (Outcome::Verified, 2),
        };
        assert_eq!((finished.outcome, voided(&scene).len()), expected, "{how:?}: {}", finished.says);
        assert_eq!(voided(&scene).contains(&first), matches!(is, Is::Double), "{how:?}");
        assert_eq!(finished.says.contains("one fill or two"), matches!(is, Is::ForAPerson), "{how:?}");
    }
}

#[tokio::test]
async fn a6_a_window_of_an_hour_reaches_back_to_the_first_redemption() {
    // Within the window, one before it, and both before it.
    for (first, second, voids) in [(50, 30, 3), (600, 30, 3), (60 * 24 * 20, 5, 3), (600, 90, 2)] {
        let scene = scene(Scenario::DoubleRedemption, json!({ "window_hours": 1 })).await;
        let voucher = doubles(&scene.sandbox)[0];
        let at = [(0, Some("a"), minutes(&scene, first)), (1, Some("b"), minutes(&scene, second))];
        scene.sandbox.with_world(|world| world.let_redemptions_be(voucher, &at));
        let finished = ran(&scene).await;
        assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
        assert_eq!(voided(&scene).len(), voids, "{first} {second}");
        assert!(!finished.says.contains("all clear"), "{}", finished.says);
    }
}

#[tokio::test]
async fn a6_an_hour_in_which_nothing_was_redeemed_is_no_all_clear() {
    let scene = scene(Scenario::DoubleRedemption, json!({ "window_hours": 1 })).await;
    scene.clock.advance_to(scene.clock.now() + Duration::from_hours(3));
    let finished = ran(&scene).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
}

#[tokio::test]
async fn a12_where_nothing_was_looked_at_nothing_is_clear() {
    type Empty = fn(&mut World);
    let empties: [(&str, Empty); 3] = [
        ("no redemptions", |world| world.forget_redemptions()),
        ("no requests", |world| world.forget_requests()),
        ("neither", |world| {
            world.forget_redemptions();
            world.forget_requests();
        }),
    ];
    for (what, empty) in empties {
        let scene = scene(Scenario::Healthy, json!(null)).await;
        scene.sandbox.with_world(empty);
        let finished = ran(&scene).await;
        assert_eq!(finished.outcome, Outcome::Unverified, "{what}: {}", finished.says);
        assert!(scene.effects().is_empty(), "{what}: {:?}", scene.effects());
    }
}

#[tokio::test]
async fn a17b_a_voucher_that_does_not_exist_is_told_beside_doubles() {
    let input = json!({ "vouchers": ["6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90"] });
    let scene = scene(Scenario::DoubleRedemption, input).await;
    let refusal = allclear::engine::plan(&*scene.runbook(), scene.terms(), scene.clock.clone()).await;
    let said = refusal.unwrap_err().to_string();
    assert!(said.contains("has no voucher"), "{said}");
    assert!(scene.effects().is_empty());
}

#[tokio::test]
async fn a_voucher_that_nobody_tried_to_redeem_is_not_called_clear() {
    let healthy = scene(Scenario::Healthy, json!(null)).await;
    let unused = healthy.platform.vouchers.newest_redeemable(1).await.unwrap()[0];
    let scene = scene(Scenario::Healthy, json!({ "vouchers": [unused] })).await;
    let finished = ran(&scene).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains(&unused.to_string()), "{}", finished.says);
}

/// All redemptions of a sandbox as rows of an export.
async fn rows(scene: &Scene) -> Vec<(VoucherId, [String; 4])> {
    let log = &scene.platform.redemptions;
    let seen = log.redemptions(Timestamp::UNIX_EPOCH, None, 1_000).await.unwrap();
    let vouchers: std::collections::BTreeSet<VoucherId> = seen.iter().map(|one| one.voucher).collect();
    let mut rows = Vec::new();
    for voucher in vouchers {
        for one in log.history(voucher).await.unwrap().redemptions {
            let key = one.key.unwrap_or_default();
            rows.push((voucher, [one.id.to_string(), voucher.to_string(), one.at.to_string(), key]));
        }
    }
    rows
}

const HEADER: [&str; 4] = ["id", "voucher_id", "created_at", "idempotency_key"];

fn text(rows: &[(VoucherId, [String; 4])], separator: &str, end: &str, quoted: bool) -> String {
    let cell = |text: &str| if quoted { format!("\"{text}\"") } else { text.to_owned() };
    let line = |cells: Vec<String>| cells.join(separator) + end;
    let header = line(HEADER.iter().map(|name| cell(name)).collect());
    let lines = rows.iter().map(|(_, cells)| line(cells.iter().map(|one| cell(one)).collect()));
    header + &lines.collect::<String>()
}

async fn scene_with_file(scenario: Scenario, content: &[u8]) -> (Scene, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.csv");
    std::fs::write(&path, content).unwrap();
    (scene(scenario, json!({ "events": path })).await, folder)
}

#[tokio::test]
async fn a12_every_common_kind_of_csv_is_read() {
    let rows = rows(&scene(Scenario::DoubleRedemption, json!(null)).await).await;
    let bom = |text: String| [b"\xef\xbb\xbf".as_slice(), text.as_bytes()].concat();
    let kinds = [
        ("plain", text(&rows, ",", "\n", false).into_bytes()),
        ("crlf", text(&rows, ",", "\r\n", false).into_bytes()),
        ("bom", bom(text(&rows, ",", "\n", false))),
        ("semicolons and bom", bom(text(&rows, ";", "\r\n", false))),
        ("tabs", text(&rows, "\t", "\n", false).into_bytes()),
        ("quoted", text(&rows, ",", "\r\n", true).into_bytes()),
        ("quoted, semicolons", text(&rows, ";", "\n", true).into_bytes()),
        ("no end of line at the end", text(&rows, ",", "\n", false).trim_end().as_bytes().to_vec()),
    ];
    for (kind, content) in kinds {
        let (scene, folder) = scene_with_file(Scenario::DoubleRedemption, &content).await;
        let finished = ran(&scene).await;
        assert_eq!(finished.outcome, Outcome::Verified, "{kind}: {}", finished.says);
        assert_eq!(voided(&scene).len(), 3, "{kind}");
        drop(folder);
    }
}

fn utf16(text: &str, big: bool) -> Vec<u8> {
    let unit = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
    std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(unit).collect()
}

#[tokio::test]
async fn a12_a_file_that_cannot_be_read_is_refused_with_its_reason_and_is_never_all_clear() {
    let rows = rows(&scene(Scenario::DoubleRedemption, json!(null)).await).await;
    let plain = text(&rows, ",", "\n", false);
    let without_mark = utf16(&plain, false)[2..].to_vec();
    let kinds = [
        ("cr", text(&rows, ",", "\r", false).into_bytes(), "CR alone"),
        ("cr in the middle", plain.replacen(",key", ",\rkey", 1).into_bytes(), "line "),
        ("utf-16", utf16(&plain, false), "UTF-16"),
        ("utf-16, big", utf16(&plain, true), "UTF-16"),
        ("utf-16, no mark", without_mark, "events.csv"),
        ("bars", text(&rows, "|", "\n", false).into_bytes(), "line 1"),
        ("nothing", Vec::new(), "empty"),
        ("no header", plain.split_once('\n').unwrap().1.as_bytes().to_vec(), "line 1"),
        ("an array", b"[{\"id\":1}]".to_vec(), "JSON array"),
    ];
    for (kind, content, words) in kinds {
        for scenario in [Scenario::DoubleRedemption, Scenario::Healthy] {
            let (scene, folder) = scene_with_file(scenario, &content).await;
            let refusal = allclear::engine::plan(&*scene.runbook(), scene.terms(), scene.clock.clone()).await;
            let said = refusal.map(|plan| plan.ends).unwrap_err().to_string();
            assert!(said.contains(words) && said.contains("events.csv"), "{kind}: {said}");
            assert!(scene.effects().is_empty(), "{kind}");
            drop(folder);
        }
    }
}

#[tokio::test]
async fn a12_where_file_and_platform_disagree_people_are_told() {
    let all = rows(&scene(Scenario::DoubleRedemption, json!(null)).await).await;
    let doubled = doubles(&scene(Scenario::DoubleRedemption, json!(null)).await.sandbox);
    let without: Vec<_> = all.iter().filter(|(voucher, _)| voucher.0 != doubled[0]).cloned().collect();
    let mut invented = all.clone();
    let once = all.iter().find(|(voucher, _)| !doubled.contains(&voucher.0)).unwrap().clone();
    let [_, voucher, _, _] = &once.1;
    let again = ["more".to_owned(), voucher.clone(), "2026-11-23T06:30:00Z".to_owned(), "other".to_owned()];
    invented.push((once.0, again));
    let none: Vec<_> = Vec::new();
    let cases: [(&str, &[_], usize, &str); 3] = [
        ("the file lacks a double", &without, 2, "and the file does not"),
        ("the file doubles another", &invented, 3, "and the platform does not"),
        ("the file has none", &none, 0, "and the file does not"),
    ];
    for (what, rows, voids, words) in cases {
        let (scene, finished) =
            with_file_kept(Scenario::DoubleRedemption, text(rows, ",", "\n", false).as_bytes()).await;
        assert_eq!(finished.outcome, Outcome::Unverified, "{what}: {}", finished.says);
        assert!(finished.says.contains(words), "{what}: {}", finished.says);
        assert_eq!(voided(&scene).len(), voids, "{what}");
    }
    // A file without a redemption was not compared with anything.
    let (_, finished) = with_file_kept(Scenario::Healthy, text(&none, ",", "\n", false).as_bytes()).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    // An unknown voucher that only the file has.
    let unknown = "6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90";
    let row = |id: &str| {
        let cells = [id, unknown, "2026-11-23T06:30:00Z", id].map(str::to_owned);
        (unknown.parse::<VoucherId>().unwrap(), cells)
    };
    let file = text(&[row("x"), row("y")], ",", "\n", false);
    let (scene, finished) = with_file_kept(Scenario::Healthy, file.as_bytes()).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains(unknown) && voided(&scene).is_empty(), "{}", finished.says);
}

/// The file lies there for as long as the run reads it.
async fn with_file_kept(scenario: Scenario, content: &[u8]) -> (Scene, Finished) {
    let (scene, folder) = scene_with_file(scenario, content).await;
    let finished = ran(&scene).await;
    drop(folder);
    (scene, finished)
}

/// A GRANT that is missing for a while, or the database away.
fn refused(calls: &str, status: u16, code: &str, times: u32) -> Trouble {
    let body = json!({ "code": code, "message": "permission denied for table vouchers" }).to_string();
    Trouble {
        calls: calls.to_owned(),
        times,
        answer: trouble::Answer::Says { status, body },
        ..Trouble::default()
    }
}

#[tokio::test]
async fn b2_what_an_ended_run_held_is_given_out_once_by_the_next() {
    // The first insert, the first change (the void), and the third change (the first release) are refused.
    for (calls, skip) in [
        ("POST /supabase/rest/v1/vouchers", 0),
        ("PATCH /supabase/rest/v1/vouchers", 0),
        ("PATCH /supabase/rest/v1/vouchers", 1),
    ] {
        let scene = scene(Scenario::DoubleRedemption, json!(null)).await;
        let plan = scene.plan().await;
        let refused = Trouble { skip, ..refused(calls, 403, "42501", u32::MAX) };
        scene.sandbox.with_world(|world| world.trouble(refused));
        let first = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
        assert_eq!(first.outcome, Outcome::Interrupted, "{calls} {skip}: {}", first.says);
        let tries = scene.sandbox.with_world(World::calm);
        assert_eq!(tries, 1, "{calls} {skip}: a stop is not repeated on the others");
        scene.journal.abort("lee");
        let ended = scene.run(approved(&plan, "drill-run"), scene.terms()).await;
        assert_eq!(ended.outcome, Outcome::Rejected, "{calls} {skip}: {}", ended.says);
        // Another run, later.
        let plan = scene.plan_of("next-run").await;
        let seam = MemoryJournal::new().seam(scene.clock.clone()).unwrap();
        let terms = Terms { humans: drill(), ..Terms::new("next-run", "kim", "sandbox") };
        let next =
            execute(&*scene.runbook(), Box::new(seam), approved(&plan, "next-run"), terms).await.unwrap();
        assert_eq!(next.outcome, Outcome::Verified, "{calls} {skip}: {}", next.says);
        for effect in ["voucher.reserve", "voucher.void", "voucher.release"] {
            assert_eq!(count(&scene, effect), 3, "{effect} {calls} {skip}: {:?}", scene.effects());
        }
    }
}

#[tokio::test]
async fn a_scope_that_names_no_station_keeps_its_voucher_from_being_replaced_and_no_other() {
    let scene = scene(Scenario::DoubleRedemption, json!(null)).await;
    let first = doubles(&scene.sandbox)[0];
    assert!(scene.sandbox.with_world(|world| world.let_scope_be_wrong(first)));
    let finished = ran(&scene).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains(&format!("voucher {first} was left as it is")), "{}", finished.says);
    assert!(voided(&scene).len() == 2 && !voided(&scene).contains(&first), "{:?}", voided(&scene));
}

#[tokio::test]
async fn a_voucher_that_expired_is_not_replaced_and_one_that_has_a_date_keeps_it() {
    let scene = scene(Scenario::DoubleRedemption, json!(null)).await;
    let doubles = doubles(&scene.sandbox);
    let (gone, later) = (minutes(&scene, 5), scene.clock.now() + Duration::from_hours(40));
    scene.sandbox.with_world(|world| {
        assert!(world.let_expire(doubles[0], gone) && world.let_expire(doubles[1], later));
    });
    let finished = ran(&scene).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(!voided(&scene).contains(&doubles[0]) && voided(&scene).len() == 2, "{}", finished.says);
    let replacement = scene.platform.replacements.of(VoucherId(doubles[1])).await.unwrap();
    assert_eq!(replacement[0].expires_at, Some(later));
}

#[tokio::test]
async fn a_collision_of_keys_is_told_beside_a_double() {
    let scene = scene(Scenario::DoubleRedemption, json!(null)).await;
    scene.sandbox.with_world(World::let_keys_collide);
    let finished = ran(&scene).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains("one idempotency key came with"), "{}", finished.says);
    assert_eq!(voided(&scene).len(), 3, "{}", finished.says);
}
