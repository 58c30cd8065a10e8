//! The journal attacked: what was changed, cut, swapped or taken away is noticed before anything is done again, and it
//! hides and ends nothing.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use allclear_core::Clock as _;
use allclear_engine::journal::Damage;
use allclear_engine::sqlite::{NewRun, NotClosed, Store};
use allclear_engine::*;
use serde_json::json;

use crate::store::new_run;
use crate::toy::*;

/// A state folder, and the world that its runs act on.
struct Desk {
    folder: tempfile::TempDir,
    world: Shared,
}

impl Desk {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), world: world(&["a", "b"]) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("runs.db")
    }

    fn store(&self) -> Store {
        Store::open(&self.path()).unwrap()
    }

    fn sql(&self, text: &str) {
        rusqlite::Connection::open(self.path()).unwrap().execute_batch(text).unwrap();
    }

    /// Runs `id` until it lets go after `entries`; to its end where there are fewer.
    async fn run(&self, id: &str, entries: u64) -> Outcome {
        let store = self.store();
        let seam = store.begin(&input_of(id), clock()).unwrap();
        go_on(&self.world, seam, id, entries).await.unwrap().outcome
    }

    /// Takes `id` up and runs it to its end.
    async fn resume(&self, id: &str) -> Result<Finished, SeamError> {
        go_on(&self.world, self.store().take_up(id, clock())?, id, u64::MAX).await
    }

    /// The folder as it is now, somewhere else: what a kill right now would leave.
    fn copied(&self) -> Self {
        let copy = Self { folder: tempfile::tempdir().unwrap(), world: Arc::clone(&self.world) };
        copy_all(self.folder.path(), copy.folder.path());
        copy
    }

    fn seal(&self, id: &str) -> PathBuf {
        self.folder.path().join("seals").join(format!("{id}.seal"))
    }
}

fn copy_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn input_of(id: &str) -> NewRun {
    NewRun {
        input: json!({ "switches": 2 }),
        context: json!({ "sandbox": null }),
        environment: format!("toy-{id}"),
        platform: format!("platform of {id}"),
        ..new_run(id, "flip-all")
    }
}

async fn go_on(
    world: &Shared,
    seam: allclear_engine::sqlite::SqliteSeam,
    id: &str,
    entries: u64,
) -> Result<Finished, SeamError> {
    let new = input_of(id);
    let terms = Terms { input: new.input, context: new.context, ..Terms::new(id, "kim", new.environment) };
    let detach = terms.detach.clone();
    let listener: run::Listener = Arc::new(move |entry| {
        if entry.seq >= entries {
            detach.request();
        }
    });
    let terms = Terms { listener: Some(listener), ..terms };
    execute(&FlipAll::of(world), Box::new(seam), unplanned_for(id), terms).await
}

/// What a message about a damaged run must say.
fn assert_tells(error: &SeamError, run: &str) {
    let text = error.to_string();
    assert!(text.contains(run) && text.contains("`allclear "), "{text}");
}

#[tokio::test]
async fn d1_a_row_that_says_otherwise_is_refused_and_named_until_it_is_put_right() {
    for (column, value) in [
        ("environment", "'other'"),
        ("operator", "'mallory'"),
        ("input", "'{}'"),
        ("input", "'no json'"),
        ("context", "'{\"sandbox\":\"http://127.0.0.1:1\"}'"),
        ("context", "NULL || 7"),
        ("runbook", "'another'"),
        ("began_at", "'2020-01-01T00:00:00Z'"),
    ] {
        let desk = Desk::new();
        desk.run("run-1", 4).await;
        let value = if value == "NULL || 7" { "x'ff00'" } else { value };
        desk.sql(&format!("UPDATE run SET {column} = {value}"));
        let error = desk.resume("run-1").await.unwrap_err();
        assert!(matches!(&error, SeamError::Differs { .. }), "{column}: {error}");
        assert_tells(&error, "run-1");
        let named = if column == "began_at" { "beginning" } else { column };
        assert!(error.to_string().contains(named), "{column}: {error}");

        let store = desk.store();
        let run = store.find("run-1").unwrap();
        assert_eq!(
            (run.environment.as_str(), run.operator.as_str(), run.runbook.as_str()),
            ("toy-run-1", "kim", "flip-all")
        );
        assert_eq!((run.input, run.context), (input_of("run-1").input, input_of("run-1").context));
        assert!(!store.audit(None).unwrap().is_good(), "{column}");
        assert_eq!(store.mend("run-1", "kim", clock().now(), "a test").unwrap().len(), 1);
        assert_eq!(desk.resume("run-1").await.unwrap().outcome, Outcome::Verified, "{column}");
        assert_eq!(desk.world.lock().unwrap().ledger, ["a", "b"]);
    }
}

#[tokio::test]
async fn d1_a_row_before_the_first_entry_is_held_to_its_seal() {
    let desk = Desk::new();
    drop(desk.store().begin(&input_of("run-1"), clock()).unwrap());
    let whole = desk.copied();
    desk.sql("UPDATE run SET input = '{}'");
    assert!(matches!(desk.resume("run-1").await, Err(SeamError::Differs { .. })));
    assert_eq!(whole.resume("run-1").await.unwrap().outcome, Outcome::Verified);
}

#[tokio::test]
async fn d1_terms_other_than_recorded_are_refused_and_end_nothing() {
    let desk = Desk::new();
    desk.run("run-1", 4).await;
    let seam = desk.store().take_up("run-1", clock()).unwrap();
    let new = input_of("run-1");
    let terms =
        Terms { input: json!({}), context: new.context, ..Terms::new("run-1", "kim", new.environment) };
    let error = execute(&FlipAll::of(&desk.world), Box::new(seam), unplanned(), terms).await.unwrap_err();
    assert!(matches!(&error, SeamError::OtherTerms { what, .. } if what.contains("input")), "{error}");
    assert_eq!(desk.resume("run-1").await.unwrap().outcome, Outcome::Verified);
}

#[tokio::test]
async fn a_run_whose_terms_are_not_what_the_store_was_told_does_not_begin() {
    let desk = Desk::new();
    let seam = desk.store().begin(&input_of("run-1"), clock()).unwrap();
    let error = execute(&FlipAll::of(&desk.world), Box::new(seam), unplanned(), terms()).await.unwrap_err();
    assert!(matches!(error, SeamError::Terms { .. }), "{error}");
    assert!(desk.world.lock().unwrap().ledger.is_empty());
}

#[tokio::test]
async fn d5c_what_is_written_into_the_row_neither_hides_nor_ends_a_run() {
    for change in [
        "outcome = 'verified'",
        "outcome = 'refused'",
        "outcome = 'nonsense'",
        "outcome = 7",
        "entries = 99",
        "entries = 'many'",
        "last = 0",
        "last = 2",
        "last = 99",
        "last = 'x'",
    ] {
        let desk = Desk::new();
        desk.run("run-1", 4).await;
        desk.sql(&format!("UPDATE run SET {change}"));
        let run = desk.store().find("@last").unwrap();
        assert_eq!((run.outcome, run.damage), (None, None), "{change}");
        assert!(!run.differs.is_empty(), "{change}");
        assert_eq!(desk.resume("run-1").await.unwrap().outcome, Outcome::Verified, "{change}");
        assert_eq!(desk.world.lock().unwrap().ledger, ["a", "b"], "{change}");
        assert_eq!(desk.store().find("run-1").unwrap().differs, [], "{change}");
    }
}

#[tokio::test]
async fn d5c_an_ended_run_whose_row_says_that_it_goes_on_has_ended() {
    let desk = Desk::new();
    desk.run("run-1", u64::MAX).await;
    desk.sql("UPDATE run SET outcome = NULL");
    let run = desk.store().find("run-1").unwrap();
    assert_eq!(run.outcome, Some(Outcome::Verified));
    assert_eq!(run.differs.len(), 1);
}

#[tokio::test]
async fn an_intent_without_an_outcome_is_not_applied_again_by_the_next_process() {
    let desk = Desk::new();
    let whole = {
        desk.run("run-1", u64::MAX).await;
        desk.store().entries("run-1").unwrap()
    };
    let intent = whole.iter().position(|entry| matches!(entry.event, Event::Intended { .. })).unwrap();
    // Killed between the intent and its outcome, after the world had done it.
    let desk = Desk::new();
    desk.run("run-1", u64::MAX).await;
    let keep = intent as u64 + 1;
    cut(&desk, keep);
    reseal(&desk, keep);
    desk.world.lock().unwrap().ledger.truncate(1);
    desk.world.lock().unwrap().on.insert("b".to_owned(), false);
    assert_eq!(desk.resume("run-1").await.unwrap().outcome, Outcome::Verified);
    assert_eq!(desk.world.lock().unwrap().ledger, ["a", "b"]);
}

/// Cuts the journal of run-1 after `keep` entries and repairs the row, as somebody would who knows the tables.
fn cut(desk: &Desk, keep: u64) {
    desk.sql(&format!(
        "DELETE FROM entry WHERE run = 1 AND seq > {keep};
         UPDATE run SET outcome = NULL, entries = {keep},
             last = (SELECT coalesce(max(id), 0) FROM entry WHERE run = 1) WHERE number = 1;"
    ));
}

/// Makes the seal fit what is there, as a process that was killed right there would have left it.
fn reseal(desk: &Desk, keep: u64) {
    let text = std::fs::read_to_string(desk.seal("run-1")).unwrap();
    let links = desk.store().links("run-1").unwrap();
    let hash = links.last().map_or(journal::GENESIS, |link| &link.hash);
    let says = format!("{keep:020} {hash} 0");
    let check = &journal::digest(says.as_bytes())[..16];
    let line = format!("{:<127}\n", format!("{says} {check}"));
    std::fs::write(desk.seal("run-1"), format!("{line}{line}{}", &text[256..])).unwrap();
}

#[tokio::test]
async fn d2_a_tail_cut_at_every_entry_is_noticed_before_anything_is_done() {
    for whole in [4, u64::MAX] {
        let desk = Desk::new();
        desk.run("run-1", whole).await;
        let length = desk.store().entries("run-1").unwrap().len() as u64;
        for keep in 0..length {
            let desk = desk.copied();
            cut(&desk, keep);
            let before = desk.world.lock().unwrap().ledger.clone();
            let error = desk.resume("run-1").await.unwrap_err();
            let damage = Damage::Cut { sealed: length, found: keep };
            assert!(
                matches!(&error, SeamError::Damaged { damage: found, .. } if *found == damage),
                "{error}"
            );
            assert_tells(&error, "run-1");
            assert_eq!(desk.world.lock().unwrap().ledger, before);
            let store = desk.store();
            assert_eq!(store.runs().unwrap()[0].damage, Some(damage));
            assert_eq!(store.audit(Some("run-1")).unwrap().runs[0].entry, Some(keep + 1));
            assert_eq!(store.whole_entries("run-1").unwrap().0.len() as u64, keep);
            assert!(store.standing("run-1").is_err());
            // What a run that had not ended holds is not known any more, so none begins beside it.
            let beside = NewRun { platform: "platform of run-1".into(), ..input_of("run-2") };
            if whole == 4 {
                assert_tells(&store.begin(&beside, clock()).unwrap_err(), "run-1");
            }
            store.begin(&input_of("run-3"), clock()).unwrap();
        }
    }
}

#[tokio::test]
async fn d2_an_old_copy_of_the_database_is_noticed() {
    let desk = Desk::new();
    desk.run("run-1", 4).await;
    let old = desk.copied();
    desk.resume("run-1").await.unwrap();
    desk.run("run-2", 2).await;
    for name in ["runs.db", "runs.db-wal", "runs.db-shm"] {
        let _ = std::fs::remove_file(desk.folder.path().join(name));
        let _ = std::fs::copy(old.folder.path().join(name), desk.folder.path().join(name));
    }
    let error = desk.resume("run-1").await.unwrap_err();
    assert!(matches!(&error, SeamError::Damaged { damage: Damage::Cut { .. }, .. }), "{error}");
    let error = desk.resume("run-2").await.unwrap_err();
    assert!(matches!(&error, SeamError::Damaged { damage: Damage::Missing { .. }, .. }), "{error}");
    assert_tells(&error, "run-2");
    let runs = desk.store().runs().unwrap();
    assert_eq!(runs.iter().map(|run| run.id.as_str()).collect::<Vec<_>>(), ["run-1", "run-2"]);
    assert_eq!(runs[1].environment, "toy-run-2", "the seal knows what is lost");
    let beside = NewRun { platform: "platform of run-2".into(), ..input_of("run-4") };
    assert_tells(&desk.store().begin(&beside, clock()).unwrap_err(), "run-2");
    assert_eq!(desk.world.lock().unwrap().ledger.len(), 2);
}

#[tokio::test]
async fn d2_a_write_ahead_log_deleted_after_a_kill_is_noticed() {
    let desk = Desk::new();
    let store = desk.store();
    let seam = store.begin(&input_of("run-1"), clock()).unwrap();
    go_on(&desk.world, seam, "run-1", 5).await.unwrap();
    // The store is still open, so this is what a kill leaves.
    for gone in [
        &["runs.db-wal"][..],
        &["runs.db-wal", "runs.db-shm"],
        &["runs.db"],
        &["runs.db", "runs.db-wal", "runs.db-shm"],
    ] {
        let killed = desk.copied();
        for name in gone {
            std::fs::remove_file(killed.folder.path().join(name)).unwrap();
        }
        let error = match Store::open(&killed.path()) {
            Ok(_) => killed.resume("run-1").await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(&error, SeamError::Damaged { .. }), "{gone:?}: {error}");
        assert_tells(&error, "run-1");
    }
    assert_eq!(desk.copied().resume("run-1").await.unwrap().outcome, Outcome::Verified);
}

#[tokio::test]
async fn d2_a_deleted_row_is_noticed_and_a_person_can_end_what_is_lost() {
    let desk = Desk::new();
    desk.run("run-1", 4).await;
    desk.sql("DELETE FROM run");
    let store = desk.store();
    assert!(matches!(store.runs().unwrap()[0].damage, Some(Damage::Missing { sealed: 5 })));
    let again = NewRun { id: "run-2".into(), ..input_of("run-1") };
    assert_tells(&store.begin(&again, clock()).unwrap_err(), "run-1");
    let closed = store.close("run-1", "kim", clock().now(), "looked at the platform").unwrap();
    assert_eq!((closed.by.as_str(), closed.reason.as_str()), ("kim", "looked at the platform"));
    assert_eq!(store.find("run-1").unwrap().closed, Some(closed));
    store.begin(&again, clock()).unwrap();
}

#[tokio::test]
async fn a_seal_that_is_behind_is_what_a_loss_of_power_leaves() {
    let desk = Desk::new();
    desk.run("run-1", u64::MAX).await;
    let length = desk.store().entries("run-1").unwrap().len();
    for behind in 0..length {
        let desk = desk.copied();
        let links = desk.store().links("run-1").unwrap();
        let hash = if behind == 0 { journal::GENESIS } else { &links[behind - 1].hash };
        let says = format!("{behind:020} {hash} 0");
        let check = &journal::digest(says.as_bytes())[..16];
        let line = format!("{:<127}\n", format!("{says} {check}"));
        let text = std::fs::read_to_string(desk.seal("run-1")).unwrap();
        std::fs::write(desk.seal("run-1"), format!("{line}{line}{}", &text[256..])).unwrap();
        assert_eq!(desk.store().find("run-1").unwrap().damage, None, "behind at {behind}");
    }
}

#[tokio::test]
async fn a_seal_that_is_lost_or_broken_is_refused_and_can_be_made_anew_by_a_person() {
    for attack in ["gone", "empty", "short", "garbage"] {
        let desk = Desk::new();
        desk.run("run-1", 4).await;
        let seal = desk.seal("run-1");
        match attack {
            "gone" => std::fs::remove_file(&seal).unwrap(),
            "empty" => std::fs::write(&seal, "").unwrap(),
            "short" => std::fs::write(&seal, &std::fs::read(&seal).unwrap()[..300]).unwrap(),
            _ => std::fs::write(&seal, [7_u8; 900]).unwrap(),
        }
        let error = desk.resume("run-1").await.unwrap_err();
        assert!(
            matches!(&error, SeamError::Damaged { damage: Damage::Seal { .. }, .. }),
            "{attack}: {error}"
        );
        assert_tells(&error, "run-1");
        let store = desk.store();
        store.mend("run-1", "kim", clock().now(), "a clean-up deleted it").unwrap();
        assert_eq!(desk.resume("run-1").await.unwrap().outcome, Outcome::Verified, "{attack}");
        assert!(desk.store().audit(None).unwrap().is_good());
    }
}

#[tokio::test]
async fn a_run_of_an_older_version_is_sealed_when_it_is_taken_up() {
    let desk = Desk::new();
    desk.run("run-1", 4).await;
    // As an older version would have written it: no id and no context in the first entry, no seal.
    let mut before = journal::GENESIS.to_owned();
    let raw = rusqlite::Connection::open(desk.path()).unwrap();
    for (place, link) in desk.store().links("run-1").unwrap().iter().enumerate() {
        let mut entry: serde_json::Value = serde_json::from_str(&link.body).unwrap();
        for field in ["run", "context", "plan_content"] {
            entry["event"].as_object_mut().unwrap().remove(field);
        }
        let body = entry.to_string();
        let hash = journal::link_hash(&before, &body);
        raw.execute("UPDATE entry SET body = ?, hash = ? WHERE seq = ?", (&body, &hash, place as i64 + 1))
            .unwrap();
        before = hash;
    }
    std::fs::remove_dir_all(desk.folder.path().join("seals")).unwrap();
    let audit = desk.store().audit(None).unwrap();
    assert!(audit.is_good() && audit.runs[0].remarks[0].contains("older version"), "{audit:?}");
    let seam = desk.store().take_up("run-1", clock()).unwrap();
    drop(seam);
    assert!(desk.seal("run-1").exists());
    assert_eq!(desk.resume("run-1").await.unwrap().outcome, Outcome::Verified);
}

#[tokio::test]
async fn files_of_another_run_are_noticed() {
    let desk = Desk::new();
    desk.run("run-1", 4).await;
    desk.run("run-2", 4).await;
    // Its seal.
    let swapped = desk.copied();
    std::fs::copy(desk.seal("run-2"), swapped.seal("run-1")).unwrap();
    assert_tells(&swapped.resume("run-1").await.unwrap_err(), "run-1");
    // Its journal, by the row.
    let swapped = desk.copied();
    swapped.sql("UPDATE run SET last = (SELECT last FROM run WHERE number = 2) WHERE number = 1");
    assert_eq!(swapped.store().find("run-1").unwrap().differs.len(), 1, "the store still has its own");
    // Its journal, with the entries claimed too.
    let swapped = desk.copied();
    swapped.sql("DELETE FROM entry WHERE run = 1; UPDATE entry SET run = 1; UPDATE run SET last = (SELECT max(id) FROM entry)");
    let error = swapped.resume("run-1").await.unwrap_err();
    assert!(error.to_string().contains("entry 1"), "{error}");
    assert_tells(&error, "run-1");
    // The whole database of another desk.
    let other = Desk::new();
    other.run("run-9", 4).await;
    let swapped = desk.copied();
    std::fs::copy(other.path(), swapped.path()).unwrap();
    assert_tells(&swapped.resume("run-1").await.unwrap_err(), "run-1");
    // Another run of the same name.
    let other = Desk::new();
    other.run("run-1", u64::MAX).await;
    let swapped = desk.copied();
    std::fs::copy(other.path(), swapped.path()).unwrap();
    let error = swapped.resume("run-1").await;
    assert!(error.is_err() || swapped.world.lock().unwrap().ledger.len() < 3, "{error:?}");
}

#[tokio::test]
async fn an_entry_that_is_gone_from_the_middle_is_named() {
    let desk = Desk::new();
    desk.run("run-1", u64::MAX).await;
    let length = desk.store().entries("run-1").unwrap().len() as u64;
    for gone in 1..=length {
        let desk = desk.copied();
        desk.sql(&format!("DELETE FROM entry WHERE seq = {gone}"));
        let found = desk.store().audit(Some("run-1")).unwrap().runs.remove(0);
        assert_eq!(found.entry, Some(gone), "{found:?}");
        assert_eq!(desk.store().whole_entries("run-1").unwrap().0.len() as u64, gone - 1);
    }
}

#[tokio::test]
async fn entries_that_lead_in_circles_or_nowhere_are_damage_and_hang_nothing() {
    for change in [
        "previous = id",
        "previous = id + 1",
        "previous = 99",
        "previous = -1",
        "previous = 'x'",
        "seq = 7",
        "run = 5",
    ] {
        let desk = Desk::new();
        desk.run("run-1", 4).await;
        desk.sql(&format!("UPDATE entry SET {change} WHERE seq = 3"));
        let run = desk.store().find("run-1").unwrap();
        assert!(
            matches!(run.damage, Some(Damage::Entry(ref damaged)) if damaged.seq == 3),
            "{change}: {:?}",
            run.damage
        );
        assert_tells(&desk.resume("run-1").await.unwrap_err(), "run-1");
    }
}

#[tokio::test]
async fn b6_one_damaged_run_hides_and_blocks_no_other() {
    let desk = Desk::new();
    for id in ["run-1", "run-2", "run-3"] {
        desk.run(id, 4).await;
    }
    desk.sql("UPDATE entry SET body = x'ff' WHERE run = 2 AND seq = 3");
    desk.sql("UPDATE run SET input = x'ff', began_at = 'never', id = x'ff' WHERE number = 3");
    let store = desk.store();
    let runs = store.runs().unwrap();
    assert_eq!(runs.len(), 4, "the third is there without its name, and its seal without a row: {runs:?}");
    assert_eq!(runs.iter().filter(|run| run.damage.is_none()).count(), 1);
    assert_eq!(desk.resume("run-1").await.unwrap().outcome, Outcome::Verified);
    assert_tells(&desk.resume("run-2").await.unwrap_err(), "run-2");
    assert_eq!(store.whole_entries("run-2").unwrap().0.len(), 2);
}

#[tokio::test]
async fn a_person_ends_a_damaged_run_with_a_reason_and_what_it_held_is_free() {
    let desk = Desk::new();
    desk.run("run-1", 4).await;
    let again = NewRun { id: "run-2".into(), ..input_of("run-1") };
    let store = desk.store();
    assert!(matches!(store.close("run-1", "kim", clock().now(), "no"), Err(NotClosed::Whole { .. })));
    desk.sql("UPDATE entry SET body = replace(body, 'flip', 'flop') WHERE seq = 3");
    let links = store.links("run-1").unwrap();
    assert!(matches!(store.begin(&again, clock()), Err(SeamError::Held { .. })));
    let closed = store.close("run-1", "kim", clock().now(), "looked: nothing was changed").unwrap();
    assert_eq!(closed.entries, 2);
    let run = store.find("run-1").unwrap();
    assert_eq!(run.outcome, Some(Outcome::Rejected));
    assert_eq!(run.closed, Some(closed));
    assert_eq!(store.links("run-1").unwrap(), links, "what is damaged stays as it is");
    store.begin(&again, clock()).unwrap();
    assert!(store.close("run-1", "kim", clock().now(), "again").is_err());
    assert!(store.take_up("run-1", clock()).is_err());
    // The ruling itself is in a chain and sealed.
    let changed = desk.copied();
    changed.sql("UPDATE ruling SET body = replace(body, 'kim', 'lea')");
    let audit = changed.store().audit(None).unwrap();
    assert!(!audit.store.is_empty(), "{audit:?}");
    let cut = desk.copied();
    cut.sql("DELETE FROM ruling");
    assert!(!cut.store().audit(None).unwrap().store.is_empty());
}

#[tokio::test]
async fn a_run_held_by_a_process_is_not_ended_as_damaged() {
    let desk = Desk::new();
    let store = desk.store();
    let held = store.begin(&input_of("run-1"), clock()).unwrap();
    desk.sql("UPDATE run SET input = '{}'");
    assert!(matches!(
        desk.store().close("run-1", "kim", clock().now(), "no"),
        Err(NotClosed::Store(SeamError::Locked { .. }))
    ));
    drop(held);
    desk.store().close("run-1", "kim", clock().now(), "yes").unwrap();
}

/// Runs until entry 3, does `attack`, and goes on.
async fn attacked_while_it_runs(desk: &Desk, attack: impl Fn(&Path) + Send + Sync + 'static) -> SeamError {
    let seam = desk.store().begin(&input_of("run-1"), clock()).unwrap();
    let new = input_of("run-1");
    let folder = desk.folder.path().to_path_buf();
    let listener: run::Listener = Arc::new(move |entry| {
        if entry.seq == 3 {
            attack(&folder);
            // Long enough for files to be looked at again.
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
    });
    let terms = Terms {
        input: new.input,
        context: new.context,
        listener: Some(listener),
        ..Terms::new("run-1", "kim", new.environment)
    };
    execute(&FlipAll::of(&desk.world), Box::new(seam), unplanned(), terms).await.unwrap_err()
}

#[tokio::test]
async fn a17_what_vanishes_under_a_running_process_is_told_at_the_next_record() {
    let remove = |name: &'static str| {
        move |folder: &Path| {
            let path = if name.is_empty() { folder.to_path_buf() } else { folder.join(name) };
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
        }
    };
    for name in [
        "",
        "runs.db",
        "runs.db-wal",
        "runs.db-shm",
        "seals",
        "seals/run-1.seal",
        "locks",
        "locks/run-1.lock",
    ] {
        let desk = Desk::new();
        let error = attacked_while_it_runs(&desk, remove(name)).await;
        assert!(matches!(&error, SeamError::Gone { .. }), "{name}: {error}");
        let ledger = desk.world.lock().unwrap().ledger.len();
        assert!(ledger <= 1, "{name}: it went on and did {ledger} things");
        let _ = std::fs::create_dir_all(desk.folder.path());
    }
}

#[tokio::test]
async fn a17_a_folder_that_was_moved_or_replaced_is_told_too() {
    let desk = Desk::new();
    let error = attacked_while_it_runs(&desk, |folder| {
        let aside = folder.with_extension("aside");
        std::fs::rename(folder, &aside).unwrap();
        copy_all_into(&aside, folder);
        std::fs::remove_dir_all(aside).unwrap();
    })
    .await;
    assert!(matches!(&error, SeamError::Gone { .. }), "{error}");
    // The copy was whole, and goes on.
    assert_eq!(desk.resume("run-1").await.unwrap().outcome, Outcome::Verified);
    assert_eq!(desk.world.lock().unwrap().ledger, ["a", "b"]);
}

fn copy_all_into(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    copy_all(from, to);
}

#[tokio::test]
async fn a17_an_empty_folder_made_again_has_no_such_run_and_no_empty_report() {
    let desk = Desk::new();
    desk.run("run-1", 4).await;
    std::fs::remove_dir_all(desk.folder.path()).unwrap();
    let store = desk.store();
    assert!(matches!(store.entries("run-1"), Err(SeamError::Missing { .. })));
    assert!(matches!(store.links("run-1"), Err(SeamError::Missing { .. })));
    assert!(store.abort("run-1", "kim", None).is_err() && store.hand_over("run-1", "kim", "lea").is_err());
}

/// What a store tells, and what a resume would go by.
fn told(store: &Store) -> Result<String, SeamError> {
    let runs = store.runs()?;
    let mut told = format!("{:?}", store.stopped()?);
    for run in runs {
        let entries = store.whole_entries(&run.id)?.0;
        let standing = if run.damage.is_none() { store.standing(&run.id)? } else { None };
        write!(told, "{run:?} {entries:?} {standing:?}").unwrap();
    }
    Ok(told)
}

/// Flips bytes of a file of the desk, and counts those that changed what is told without being told themselves.
fn flip_through(desk: &Desk, name: &str, stride: usize) -> (usize, usize, Vec<String>) {
    let file = desk.folder.path().join(name);
    let good = std::fs::read(&file).unwrap();
    let whole = told(&desk.store()).unwrap();
    let (mut flipped, mut noticed, mut silent) = (0, 0, Vec::new());
    for place in (0..good.len()).step_by(stride) {
        for bit in [0x01, 0x80] {
            let mut bad = good.clone();
            bad[place] ^= bit;
            std::fs::write(&file, &bad).unwrap();
            flipped += 1;
            let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let store = Store::open(&desk.path())?;
                let told = told(&store)?;
                Ok::<_, SeamError>((told, store.audit(None)?.is_good()))
            }));
            match opened {
                Err(_) => silent.push(format!("byte {place} of {name}: a panic")),
                Ok(Ok((told, true))) if told != whole => silent
                    .push(format!("byte {place} of {name} with {bit:#x}: told otherwise and called good")),
                Ok(Ok((_, true))) => {}
                Ok(Ok((_, false)) | Err(_)) => noticed += 1,
            }
            for beside in ["runs.db-wal", "runs.db-shm"] {
                let _ = std::fs::remove_file(desk.folder.path().join(beside));
            }
        }
    }
    std::fs::write(&file, &good).unwrap();
    (flipped, noticed, silent)
}

#[tokio::test]
async fn every_flipped_byte_is_noticed_or_changes_nothing() {
    let all = std::env::var("ALLCLEAR_WALK").is_ok_and(|value| value == "all");
    for entries in [4, u64::MAX] {
        let desk = Desk::new();
        desk.run("run-1", entries).await;
        let seal = "seals/run-1.seal";
        for (name, stride) in [("runs.db", 37), (seal, 5)] {
            let (flipped, noticed, silent) = flip_through(&desk, name, if all { 1 } else { stride });
            println!("{name}: {flipped} bytes flipped, {noticed} noticed, {} silent", silent.len());
            assert!(silent.is_empty(), "{silent:#?}");
            assert!(noticed * 10 > flipped, "the oracle does not bite: {noticed} of {flipped}");
        }
    }
}

#[tokio::test]
async fn d2_a_journal_of_the_same_length_whose_chain_fits_is_not_the_one_that_was_sealed() {
    let desk = Desk::new();
    desk.run("run-1", 4).await;
    let links = desk.store().links("run-1").unwrap();
    for changed in 1..links.len() {
        let desk = desk.copied();
        let raw = rusqlite::Connection::open(desk.path()).unwrap();
        let mut before = journal::GENESIS.to_owned();
        for (place, link) in links.iter().enumerate() {
            // A second later, and everything after it chained anew.
            let body =
                if place == changed { link.body.replace("09:00:0", "09:00:1") } else { link.body.clone() };
            assert!(place != changed || body != link.body, "entry {changed} has a time");
            let hash = journal::link_hash(&before, &body);
            raw.execute(
                "UPDATE entry SET body = ?, hash = ? WHERE seq = ?",
                (&body, &hash, place as i64 + 1),
            )
            .unwrap();
            before = hash;
        }
        let error = desk.resume("run-1").await.unwrap_err();
        let other = matches!(&error, SeamError::Damaged { damage: Damage::OtherEnd { .. }, .. });
        assert!(other, "entry {changed}: {error}");
        assert_tells(&error, "run-1");
    }
}

#[tokio::test]
async fn d1_the_file_of_a_plan_is_held_to_the_journal_to_the_last_remark() {
    let desk = Desk::new();
    let store = desk.store();
    let new = input_of("run-1");
    let here = || Terms {
        input: new.input.clone(),
        context: new.context.clone(),
        ..Terms::new("run-1", "kim", new.environment.clone())
    };
    let planned = plan(&FlipAll::of(&desk.world), here(), clock()).await.unwrap();
    let file = store.plan_file("run-1");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let write = |plan: &Plan| std::fs::write(&file, serde_json::to_string(plan).unwrap()).unwrap();
    write(&planned);
    let seam = store.begin(&new, clock()).unwrap();
    desk.world.lock().unwrap().moods = vec![Mood::Refuses];
    let interrupted =
        execute(&FlipAll::of(&desk.world), Box::new(seam), approved(&planned), here()).await.unwrap();
    assert_eq!(interrupted.outcome, Outcome::Interrupted, "{}", interrupted.says);
    assert_eq!(store.plan_of("run-1").unwrap().as_ref(), Some(&planned));

    let refused = |what: &str| {
        let error = store.plan_of("run-1").unwrap_err();
        assert!(matches!(&error, SeamError::Differs { .. }), "{what}: {error}");
        assert_tells(&error, "run-1");
        assert!(error.to_string().contains("plan.json"), "{what}: {error}");
        assert!(!store.audit(Some("run-1")).unwrap().is_good(), "{what}");
    };
    // Another plan, right in itself.
    let other = world(&["a"]);
    write(&plan(&FlipAll::of(&other), here(), clock()).await.unwrap());
    refused("another plan");
    // The same one, with another remark for whoever reads it.
    let mut remarked = planned.clone();
    remarked.ends = "nothing will happen".to_owned();
    remarked.hash = remarked.digest();
    write(&remarked);
    refused("another remark");
    let mut tampered = planned.clone();
    tampered.effects.clear();
    write(&tampered);
    refused("effects left out");
    std::fs::write(&file, "no plan").unwrap();
    refused("no plan");
    std::fs::remove_file(&file).unwrap();
    refused("no file");
    write(&planned);
    assert_eq!(store.plan_of("run-1").unwrap(), Some(planned));
}
