//! The switch that stops everything.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::Clock as _;
use allclear_engine::sqlite::Store;
use allclear_engine::*;

use crate::gates::{Asking, gate};
use crate::store::new_run;
use crate::toy::*;

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("runs.db")).unwrap();
    (folder, store)
}

#[tokio::test]
async fn a_stop_halts_a_run_before_its_next_effect_and_lifting_it_lets_it_go_on() {
    let (_folder, store) = store();
    let shared = world(&["a", "b"]);
    let seam = store.begin(&new_run("run-1", "flip-all"), clock()).unwrap();
    let stop = store.stop_all("lea", Some("wrong runbook"), clock().now()).unwrap();
    let again = store.stop_all("ren", None, clock().now()).unwrap();
    assert_eq!(again, stop, "the first one holds");
    let finished = execute(&FlipAll::of(&shared), Box::new(seam), unplanned(), terms()).await.unwrap();
    assert_eq!(finished.outcome, Outcome::Detached);
    assert!(finished.says.contains("lea stopped all automation"), "{}", finished.says);
    assert!(shared.lock().unwrap().ledger.is_empty());

    let refused = |result: Result<_, SeamError>| match result {
        Err(SeamError::Stopped(stop)) => stop.to_string(),
        other => panic!("{other:?}"),
    };
    let begun = store.begin(&new_run("run-2", "another"), clock()).map(drop);
    assert!(refused(begun).ends_with("wrong runbook"));
    refused(store.take_up("run-1", clock()).map(drop));
    assert_eq!(store.runs().unwrap().len(), 1);

    assert_eq!(store.lift_stop("ren", clock().now()).unwrap(), Some(stop));
    assert_eq!((store.stopped().unwrap(), store.lift_stop("ren", clock().now()).unwrap()), (None, None));
    let seam = store.take_up("run-1", clock()).unwrap();
    let finished = execute(&FlipAll::of(&shared), Box::new(seam), unplanned(), terms()).await.unwrap();
    assert_eq!((finished.outcome, shared.lock().unwrap().ledger.len()), (Outcome::Verified, 2));
}

#[tokio::test]
async fn a_stop_reaches_a_run_that_waits_and_an_answer_waits_for_its_lifting() {
    let (_folder, store) = store();
    let seam = store.begin(&new_run("run-1", "asking"), clock()).unwrap();
    let waiting = Terms { humans: Arc::new(Elsewhere), ..terms() };
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        store.stop_all("lea", None, clock().now()).unwrap();
        let question = store.standing("run-1").unwrap().unwrap().question;
        store.answer("run-1", &Answer::to(&question, "approve", "alex"), clock().now()).unwrap();
    };
    let runbook = Asking(gate());
    let (finished, ()) = tokio::join!(execute(&runbook, Box::new(seam), unplanned(), waiting), stopping);
    assert_eq!(finished.unwrap().outcome, Outcome::Detached);
    store.lift_stop("lea", clock().now()).unwrap();
    let seam = store.take_up("run-1", clock()).unwrap();
    assert_eq!(
        execute(&Asking(gate()), Box::new(seam), unplanned(), terms()).await.unwrap().outcome,
        Outcome::Verified
    );
}

#[tokio::test]
async fn a_run_can_be_ended_while_everything_is_stopped() {
    let (_folder, store) = store();
    let shared = world(&["a"]);
    drop(store.begin(&new_run("run-1", "flip-all"), clock()).unwrap());
    store.stop_all("lea", None, clock().now()).unwrap();
    store.abort("run-1", "lea", None).unwrap();
    let seam = store.take_up("run-1", clock()).unwrap();
    let finished = execute(&FlipAll::of(&shared), Box::new(seam), unplanned(), terms()).await.unwrap();
    assert_eq!((finished.outcome, shared.lock().unwrap().ledger.len()), (Outcome::Rejected, 0));
}

#[tokio::test]
async fn a_store_of_an_older_version_gets_the_switch() {
    let (folder, store) = store();
    let path = folder.path().join("runs.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("DROP TABLE stop").unwrap();
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.stopped().unwrap(), None);
}

#[tokio::test]
async fn an_abort_that_comes_after_many_looks_is_seen_at_the_next_safe_point() {
    let (_folder, store) = store();
    let mut seam = store.begin(&new_run("run-1", "flip-all"), clock()).unwrap();
    for _ in 0..3 {
        assert_eq!(seam.signal("~abort", None, false).await.unwrap(), seam::Woken::Time);
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    store.abort("run-1", "lea", None).unwrap();
    let woken = seam.signal("~abort", None, false).await.unwrap();
    assert_eq!(woken, seam::Woken::By(seam::Signal::Abort { by: "lea".into(), reason: None }));
}
