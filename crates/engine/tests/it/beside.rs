//! What the store keeps beside the journals, changed by hand: what waits for a run, what a run has claimed, and the switch
//! that stops everything. None of it is taken for a person's word, and each is refused by name.

use std::sync::Arc;

use allclear_core::Clock as _;
use allclear_engine::sqlite::{NotTaken, Store};
use allclear_engine::*;

use crate::store::new_run;
use crate::toy::*;

/// A store with a run that waits for a person's word on an effect in doubt.
struct Desk {
    folder: tempfile::TempDir,
    world: Shared,
}

impl Desk {
    fn new() -> Self {
        let world = world(&["a"]);
        world.lock().unwrap().moods = vec![Mood::LosesAnswer];
        Self { folder: tempfile::tempdir().unwrap(), world }
    }

    async fn waiting() -> Self {
        let desk = Self::new();
        let seam = desk.store().begin(&new_run("run-1", "flip-all"), clock()).unwrap();
        assert_eq!(desk.go_on(seam).await.unwrap().outcome, Outcome::InDoubt);
        desk
    }

    fn store(&self) -> Store {
        Store::open(&self.folder.path().join("runs.db")).unwrap()
    }

    fn sql(&self, text: &str) {
        rusqlite::Connection::open(self.folder.path().join("runs.db")).unwrap().execute_batch(text).unwrap();
    }

    async fn go_on(&self, seam: sqlite::SqliteSeam) -> Result<Finished, SeamError> {
        let runbook = FlipAll { repeat: Repeat::Neither, ..FlipAll::of(&self.world) };
        execute(&runbook, Box::new(seam), unplanned(), terms()).await
    }

    async fn resume(&self) -> Result<Finished, SeamError> {
        self.go_on(self.store().take_up("run-1", clock())?).await
    }

    fn answer(&self, choice: &str) {
        let store = self.store();
        let question = store.standing("run-1").unwrap().unwrap().question;
        store.answer("run-1", &Answer::to(&question, choice, "alex"), clock().now()).unwrap();
    }

    fn entries(&self) -> usize {
        self.store().entries("run-1").unwrap().len()
    }

    fn rung(&self) -> usize {
        self.world.lock().unwrap().ledger.len()
    }
}

/// That it says what and whose it is, and what a person does next.
fn assert_tells(error: &SeamError) {
    let text = error.to_string();
    assert!(matches!(error, SeamError::Altered { .. }), "{text}");
    assert!(text.contains("run-1") && text.contains("`allclear audit mend run-1"), "{text}");
}

#[tokio::test]
async fn d1_an_answer_that_was_changed_while_it_waited_is_nobodys_word() {
    for change in [
        "body = replace(body, 'alex', 'mallory')",
        "body = replace(body, 'did-not-happen', 'happened')",
        "body = replace(body, '2026', '2025')",
        "body = 'no json'",
        "body = x'00ff'",
        "gate = gate || ' '",
        "gate = '~abort'",
        "gate = x'00ff'",
        "number = 7",
        "digest = NULL",
        "digest = replace(digest, '0', '1') || 'x'",
        "digest = 7",
    ] {
        let desk = Desk::waiting().await;
        desk.answer("did-not-happen");
        let (before, rung) = (desk.entries(), desk.rung());
        desk.sql(&format!("UPDATE signal SET {change}"));
        assert_tells(&desk.resume().await.unwrap_err());
        let store = desk.store();
        let audit = store.audit(Some("run-1")).unwrap();
        assert!(!audit.is_good(), "{change}");
        assert!(audit.runs[0].problems()[0].contains("run-1"), "{change}: {audit:?}");
        // Nobody is told that it counts, and nothing is judged beside it.
        assert_tells(&store.standing("run-1").unwrap_err());
        assert_eq!((desk.entries(), desk.rung()), (before, rung), "{change}: something was done");

        assert_eq!(store.mend("run-1", "kim", clock().now(), "looked").unwrap().len(), 1, "{change}");
        assert!(store.audit(None).unwrap().is_good(), "{change}");
        assert_eq!(desk.resume().await.unwrap().outcome, Outcome::InDoubt, "{change}: it waits again");
        desk.answer("happened");
        assert_eq!(desk.resume().await.unwrap().outcome, Outcome::Verified, "{change}");
        assert_eq!(desk.rung(), 1, "{change}");
    }
}

#[tokio::test]
async fn d1_an_answer_that_was_given_to_another_run_by_hand_is_refused_there() {
    let desk = Desk::waiting().await;
    let store = desk.store();
    let other = world(&["b"]);
    other.lock().unwrap().moods = vec![Mood::LosesAnswer];
    let new = sqlite::NewRun { platform: "p2".into(), environment: "p2".into(), ..new_run("run-2", "other") };
    let seam = store.begin(&new, clock()).unwrap();
    drop(seam);
    desk.answer("happened");
    desk.sql("UPDATE signal SET run = 2");
    let error = store.take_up("run-2", clock()).unwrap_err();
    assert!(matches!(&error, SeamError::Altered { what, .. } if what.contains("run-2")), "{error}");
    assert_eq!(desk.resume().await.unwrap().outcome, Outcome::InDoubt);
}

#[tokio::test]
async fn d1_an_abort_and_a_hand_over_that_were_changed_name_nobody() {
    for (abort, change) in [
        (true, "body = 'mallory'"),
        (true, "gate = '~hand-over', body = 'kim' || char(10) || 'mallory'"),
        (false, "body = 'kim' || char(10) || 'mallory'"),
        (false, "gate = '~abort', body = 'mallory'"),
    ] {
        let desk = Desk::waiting().await;
        let store = desk.store();
        if abort {
            store.abort("run-1", "lea", None).unwrap();
        } else {
            store.hand_over("run-1", "kim", "lea").unwrap();
        }
        desk.sql(&format!("UPDATE signal SET {change}"));
        assert_tells(&desk.resume().await.unwrap_err());
        assert!(!store.is_to_end("run-1").unwrap(), "{change}");
        let question = store.entries("run-1").unwrap().into_iter().find_map(|entry| match entry.event {
            Event::Asked { question, .. } => Some(question),
            _ => None,
        });
        let answer = Answer::to(&question.unwrap(), "happened", "alex");
        let refused = store.answer("run-1", &answer, clock().now()).unwrap_err();
        assert!(matches!(&refused, NotTaken::Store(SeamError::Altered { .. })), "{change}: {refused}");
        // A person can end it all the same, with a reason.
        store.close("run-1", "kim", clock().now(), "looked at it").unwrap();
        assert_eq!(store.find("run-1").unwrap().closed.unwrap().by, "kim");
    }
}

#[tokio::test]
async fn d1_what_waits_and_was_changed_under_a_running_process_stops_it_at_its_next_look() {
    let desk = Desk::new();
    desk.world.lock().unwrap().moods.clear();
    let store = desk.store();
    let seam = store.begin(&new_run("run-1", "flip-all"), clock()).unwrap();
    store.abort("run-1", "lea", None).unwrap();
    desk.sql("UPDATE signal SET body = 'mallory'");
    assert_tells(&desk.go_on(seam).await.unwrap_err());
    assert_eq!(desk.rung(), 0);
    store.mend("run-1", "kim", clock().now(), "looked").unwrap();
    store.abort("run-1", "lea", None).unwrap();
    let ended = desk.resume().await.unwrap();
    assert_eq!(ended.outcome, Outcome::Rejected, "{}", ended.says);
    assert!(ended.says.contains("lea"), "{}", ended.says);
}

#[tokio::test]
async fn d5_a_claim_that_was_given_to_another_run_is_refused_by_name_and_taken_again_by_whose_it_is() {
    for change in [
        "run = 2",
        "resource = 'toy/a' WHERE resource LIKE '%runbook other'",
        "digest = NULL",
        "digest = 'x'",
    ] {
        let desk = Desk::waiting().await;
        let store = desk.store();
        let other = new_run("run-2", "other");
        drop(store.begin(&other, clock()).unwrap());
        desk.sql("DELETE FROM claim WHERE resource = 'toy/a'");
        let filter = if change.contains("WHERE") { "" } else { " WHERE resource LIKE '%runbook flip-all'" };
        desk.sql(&format!("UPDATE claim SET {change}{filter}"));
        let audit = store.audit(None).unwrap();
        assert!(!audit.is_good(), "{change}");
        let error = desk.resume().await.unwrap_err();
        assert!(matches!(&error, SeamError::Altered { .. }), "{change}: {error}");
        for run in ["run-1", "run-2"] {
            store.mend(run, "kim", clock().now(), "looked").unwrap();
        }
        assert_eq!(desk.resume().await.unwrap().outcome, Outcome::InDoubt, "{change}");
        drop(store.take_up("run-2", clock()).unwrap());
        assert!(store.audit(Some("run-1")).unwrap().is_good(), "{change}");
        assert!(store.audit(Some("run-2")).unwrap().runs[0].beside.is_empty(), "{change}");
    }
}

#[tokio::test]
async fn d5_a_claim_that_is_gone_is_told_and_taken_again_by_a_resume() {
    let desk = Desk::waiting().await;
    desk.sql("DELETE FROM claim");
    let problems = desk.store().audit(None).unwrap().runs[0].problems();
    assert!(problems[0].contains("claim on toy/runbook flip-all is gone"), "{problems:?}");
    assert_eq!(desk.resume().await.unwrap().outcome, Outcome::InDoubt);
    let store = desk.store();
    assert!(store.audit(None).unwrap().is_good());
    let beside = store.begin(&new_run("run-2", "flip-all"), clock()).unwrap_err();
    assert!(matches!(&beside, SeamError::Held { holder, .. } if holder == "run-1"), "{beside}");
    desk.answer("happened");
    assert_eq!(desk.resume().await.unwrap().outcome, Outcome::Verified);
    assert!(store.audit(None).unwrap().is_good(), "what has ended claims nothing");
}

#[tokio::test]
async fn d5_a_stop_that_was_lifted_renamed_or_deleted_by_hand_holds_as_it_was_said() {
    for change in [
        "UPDATE stop SET by = 'mallory'",
        "UPDATE stop SET reason = 'never mind'",
        "UPDATE stop SET lifted_by = 'mallory', lifted_at = at",
        "DELETE FROM stop",
    ] {
        let desk = Desk::waiting().await;
        let store = desk.store();
        let stop = store.stop_all("lea", Some("wrong runbook"), clock().now()).unwrap();
        desk.sql(change);
        assert_eq!(store.stopped().unwrap(), Some(stop.clone()), "{change}");
        let refused = store.begin(&new_run("run-2", "another"), clock()).map(drop);
        assert_eq!(refused, Err(SeamError::Stopped(stop.clone())), "{change}");
        assert_eq!(desk.resume().await.map(drop), Err(SeamError::Stopped(stop.clone())), "{change}");
        let audit = store.audit(None).unwrap();
        let told = |what: &String| what.contains("lea") && what.contains("`allclear lift-stop`");
        assert!(audit.store.iter().any(told), "{change}: {:?}", audit.store);
        assert_eq!(store.lift_stop("ren", clock().now()).unwrap(), Some(stop), "{change}");
        assert!(store.audit(None).unwrap().is_good(), "{change}");
        assert_eq!(desk.resume().await.unwrap().outcome, Outcome::InDoubt, "{change}");
    }
}

#[tokio::test]
async fn d5_a_running_process_hears_who_stopped_it_from_the_chain_and_not_from_the_row() {
    let desk = Desk::new();
    let store = desk.store();
    let seam = store.begin(&new_run("run-1", "flip-all"), clock()).unwrap();
    store.stop_all("lea", None, clock().now()).unwrap();
    desk.sql("UPDATE stop SET by = 'mallory'");
    let finished = desk.go_on(seam).await.unwrap();
    assert_eq!(finished.outcome, Outcome::Detached);
    assert!(finished.says.contains("lea stopped all automation"), "{}", finished.says);
}

#[tokio::test]
async fn what_an_older_version_left_beside_its_journals_counts_as_it_is_found_and_is_bound_from_then_on() {
    let desk = Desk::waiting().await;
    desk.answer("happened");
    desk.sql(
        "ALTER TABLE signal DROP COLUMN digest; ALTER TABLE claim DROP COLUMN digest;
         INSERT INTO stop (by, at) VALUES ('lea', '2026-11-23T09:00:00Z')",
    );
    let store = desk.store();
    assert_eq!(store.stopped().unwrap().unwrap().by, "lea");
    assert_eq!(store.lift_stop("ren", clock().now()).unwrap().unwrap().by, "lea");
    let audit = store.audit(None).unwrap();
    assert!(audit.is_good(), "{audit:?}");
    assert_eq!(desk.resume().await.unwrap().outcome, Outcome::Verified);
    assert_eq!(Arc::clone(&desk.world).lock().unwrap().ledger.len(), 1);
}

#[tokio::test]
async fn d5b_a_run_is_not_taken_up_on_another_platform_than_it_began_on() {
    let desk = Desk::new();
    let store = desk.store();
    let here = |platform: &str| Terms { platform: Some(platform.to_owned()), ..terms() };
    let runbook = || FlipAll { repeat: Repeat::Neither, ..FlipAll::of(&desk.world) };
    let seam = store.begin(&new_run("run-1", "flip-all"), clock()).unwrap();
    execute(&runbook(), Box::new(seam), unplanned(), here("toy")).await.unwrap();
    for other in [Some("elsewhere".to_owned()), None] {
        let seam = store.take_up("run-1", clock()).unwrap();
        let terms = Terms { platform: other, ..terms() };
        let error = execute(&runbook(), Box::new(seam), unplanned(), terms).await.unwrap_err();
        let SeamError::OtherTerms { run, what } = &error else { panic!("{error}") };
        assert!(run == "run-1" && what.contains("the platform is"), "{error}");
        assert!(what.contains("by entry 1 of its journal it is toy"), "{error}");
    }
    desk.answer("happened");
    let seam = store.take_up("run-1", clock()).unwrap();
    let finished = execute(&runbook(), Box::new(seam), unplanned(), here("toy")).await.unwrap();
    assert_eq!((finished.outcome, desk.rung()), (Outcome::Verified, 1));
}

#[tokio::test]
async fn d1_a_seal_of_another_platform_than_the_journals_is_damage() {
    let desk = Desk::new();
    let store = desk.store();
    let seam = store.begin(&new_run("run-1", "flip-all"), clock()).unwrap();
    let here = Terms { platform: Some("toy".to_owned()), ..terms() };
    execute(&FlipAll::of(&desk.world), Box::new(seam), unplanned(), here).await.unwrap();
    let path = desk.folder.path().join("seals/run-1.seal");
    let text = std::fs::read_to_string(&path).unwrap();
    let header =
        text[256..].lines().next().unwrap().replace("\"platform\":\"toy\"", "\"platform\":\"other\"");
    let check = journal::digest(header.as_bytes());
    std::fs::write(&path, format!("{}{header}\n{check}\n", &text[..256])).unwrap();
    let audit = store.audit(Some("run-1")).unwrap();
    assert!(audit.runs[0].problems()[0].contains("another beginning than entry 1"), "{audit:?}");
}

#[tokio::test]
async fn d2_a_run_whose_end_is_missing_or_changed_is_not_undone() {
    let ended = || async {
        let desk = Desk::new();
        desk.world.lock().unwrap().moods.clear();
        let seam = desk.store().begin(&new_run("run-1", "flip-all"), clock()).unwrap();
        assert_eq!(desk.go_on(seam).await.unwrap().outcome, Outcome::Verified);
        desk
    };
    let desk = ended().await;
    let journal = desk.store().journal("run-1").unwrap();
    assert_eq!(journal.entries().len(), desk.entries());
    assert!(UndoRun::of(Box::new(FlipAll::of(&desk.world)), journal).is_ok());
    for attack in [
        "DELETE FROM entry WHERE seq = (SELECT max(seq) FROM entry);
         UPDATE run SET last = (SELECT max(id) FROM entry)",
        "UPDATE entry SET body = replace(body, 'off', 'oft') WHERE seq = 2",
        "DELETE FROM run",
    ] {
        let desk = ended().await;
        desk.sql(attack);
        let error = desk.store().journal("run-1").unwrap_err();
        assert!(matches!(&error, SeamError::Damaged { run, .. } if run == "run-1"), "{attack}: {error}");
    }
    let desk = ended().await;
    std::fs::remove_file(desk.folder.path().join("seals/run-1.seal")).unwrap();
    assert!(matches!(desk.store().journal("run-1"), Err(SeamError::Damaged { .. })));
}

#[tokio::test]
async fn an_audit_names_an_entry_that_no_run_could_have_written_although_the_chain_fits() {
    let desk = Desk::waiting().await;
    let mut before = journal::GENESIS.to_owned();
    let raw = rusqlite::Connection::open(desk.folder.path().join("runs.db")).unwrap();
    for (place, link) in desk.store().links("run-1").unwrap().iter().enumerate() {
        // The first intent under another effect's name: what became of it belongs to none.
        let body = match place {
            1 => link.body.replace("switch.flip/intent", "switch.flop/intent"),
            _ => link.body.clone(),
        };
        let hash = journal::link_hash(&before, &body);
        raw.execute("UPDATE entry SET body = ?, hash = ? WHERE seq = ?", (&body, &hash, place as i64 + 1))
            .unwrap();
        before = hash;
    }
    std::fs::remove_file(desk.folder.path().join("seals/run-1.seal")).unwrap();
    desk.store().mend("run-1", "kim", clock().now(), "a test").unwrap();
    let audit = desk.store().audit(None).unwrap();
    assert!(!audit.is_good());
    assert!(audit.runs[0].structure[0].contains("entry 3"), "{audit:?}");
}

#[tokio::test]
async fn whether_an_answer_would_be_taken_is_said_as_the_door_says_it_and_takes_none_in() {
    let desk = Desk::waiting().await;
    let store = desk.store();
    let question = store.standing("run-1").unwrap().unwrap().question;
    let now = clock().now();
    let right = Answer::to(&question, "happened", "alex");
    for wrong in [
        Answer { choice: "perhaps".into(), ..right.clone() },
        Answer { binding: "another".into(), ..right.clone() },
        Answer { by: " ".into(), ..right.clone() },
    ] {
        let would = store.would_take("run-1", &wrong, now).unwrap_err();
        assert_eq!(would, store.answer("run-1", &wrong, now).unwrap_err());
    }
    for _ in 0..2 {
        store.would_take("run-1", &right, now).unwrap();
    }
    store.answer("run-1", &right, now).unwrap();
    let second = Answer { by: "robin".into(), ..right };
    let would = store.would_take("run-1", &second, now).unwrap_err();
    assert_eq!(would, store.answer("run-1", &second, now).unwrap_err());
    assert!(matches!(would, NotTaken::Settled { .. }), "{would}");
}
