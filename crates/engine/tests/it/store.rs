//! The SQLite store: durable, owned by one, and honest about damage.

use std::sync::Arc;

use allclear_core::Clock as _;
use allclear_engine::sqlite::{FindError, NewRun, Store};
use allclear_engine::*;
use serde_json::Value;

use crate::toy::*;

pub(crate) fn new_run(id: &str, runbook: &str) -> NewRun {
    NewRun {
        id: id.into(),
        runbook: runbook.into(),
        environment: "toy".into(),
        platform: "toy".into(),
        operator: "kim".into(),
        input: Value::Null,
        context: Value::Null,
    }
}

#[test]
fn whoever_opens_a_new_store_at_once_waits_for_the_other() {
    for _ in 0..40 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.db");
        std::thread::scope(|scope| {
            let openers: Vec<_> = (0..6).map(|_| scope.spawn(|| Store::open(&path).map(drop))).collect();
            for opener in openers {
                opener.join().unwrap().unwrap();
            }
        });
    }
}

#[tokio::test]
async fn a_run_is_found_again_by_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.db");
    let shared = world(&["a", "b"]);
    {
        let store = Store::open(&path).unwrap();
        let seam = store.begin(&new_run("run-1", "flip-all"), clock()).unwrap();
        let finished = execute(&FlipAll::of(&shared), Box::new(seam), unplanned(), terms()).await.unwrap();
        assert_eq!(finished.outcome, Outcome::Verified);
    }
    let store = Store::open(&path).unwrap();
    let run = store.find("@last").unwrap();
    assert_eq!((run.id.as_str(), run.outcome, run.held), ("run-1", Some(Outcome::Verified), false));
    assert_eq!(store.entries("run-1").unwrap().len() as u64, run.entries);
    let seam = store.take_up("run-1", clock()).unwrap();
    assert_eq!(seam.incarnation(), 1);
    assert!(matches!(store.find("x"), Err(FindError::Unknown { .. })));
}

#[tokio::test]
async fn the_store_writes_the_same_bytes_as_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("runs.db")).unwrap();
    let seam = store.begin(&new_run("run-1", "flip-all"), clock()).unwrap();
    execute(&FlipAll::of(&world(&["a"])), Box::new(seam), unplanned(), terms()).await.unwrap();
    let journal = MemoryJournal::new();
    run_on(&journal, &FlipAll::of(&world(&["a"])), clock(), terms()).await;
    assert_eq!(store.links("run-1").unwrap(), journal.links());
}

#[tokio::test]
async fn one_process_holds_a_run_and_one_run_holds_a_runbook() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.db");
    let store = Store::open(&path).unwrap();
    let held = store.begin(&new_run("run-1", "flip-all"), clock()).unwrap();
    let other = Store::open(&path).unwrap();
    assert!(other.runs().unwrap()[0].held);
    assert!(matches!(other.take_up("run-1", clock()), Err(SeamError::Locked { .. })));
    let refused = other.begin(&new_run("run-2", "flip-all"), clock()).unwrap_err();
    assert!(matches!(&refused, SeamError::Held { holder, .. } if holder == "run-1"), "{refused}");
    assert_eq!(other.runs().unwrap().len(), 1, "a run that could not begin leaves no trace");
    drop(held);
    assert!(other.take_up("run-1", clock()).is_ok(), "the kernel frees the lock with its process");
}

#[tokio::test]
async fn d5b_two_names_of_one_platform_are_one_for_every_claim() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("runs.db")).unwrap();
    let by_another_name = |id: &str, runbook: &str| NewRun {
        environment: "toy-two".into(),
        platform: "toy".into(),
        ..new_run(id, runbook)
    };
    let _held = store.begin(&new_run("run-1", "a-third"), clock()).unwrap();
    let refused = store.begin(&by_another_name("run-2", "a-third"), clock()).unwrap_err();
    let said = refused.to_string();
    assert!(
        said.contains("held by run run-1")
            && said.contains("`toy-two` here, and `toy` there: both are names of the same platform"),
        "{said}"
    );
    // What a run acts on is held by the platform too, whichever runbook takes it.
    let mut first = store.begin(&new_run("run-3", "another"), clock()).unwrap();
    first.claim("toy/a").await.unwrap();
    let seam = store.begin(&by_another_name("run-4", "flip-all"), clock()).unwrap();
    let terms =
        Terms { environment: "toy-two".into(), platform: Some("toy".into()), run: "run-4".into(), ..terms() };
    let finished =
        execute(&FlipAll::of(&world(&["a"])), Box::new(seam), unplanned_for("run-4"), terms).await.unwrap();
    assert_eq!(finished.outcome, Outcome::Refused, "{}", finished.says);
    assert!(finished.says.contains("both are names of the same platform"), "{}", finished.says);
    // Another platform, though it is called the same.
    let elsewhere = NewRun { platform: "elsewhere".into(), ..new_run("run-5", "flip-all") };
    assert!(store.begin(&elsewhere, clock()).is_ok());
}

#[tokio::test]
async fn claims_end_with_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("runs.db")).unwrap();
    for id in ["run-1", "run-2"] {
        let seam = store.begin(&new_run(id, "flip-all"), clock()).unwrap();
        execute(
            &FlipAll::of(&world(&["a"])),
            Box::new(seam),
            unplanned_for(id),
            Terms { run: id.into(), ..terms() },
        )
        .await
        .unwrap();
    }
    assert_eq!(store.runs().unwrap().len(), 2);
}

#[tokio::test]
async fn two_runbooks_cannot_act_on_the_same_thing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("runs.db")).unwrap();
    let mut first = store.begin(&new_run("run-1", "one"), clock()).unwrap();
    first.claim("toy/a").await.unwrap();
    let second = store.begin(&new_run("run-2", "flip-all"), clock()).unwrap();
    let shared = world(&["a"]);
    let finished = execute(
        &FlipAll::of(&shared),
        Box::new(second),
        unplanned_for("run-2"),
        Terms { run: "run-2".into(), ..terms() },
    )
    .await
    .unwrap();
    assert_eq!(finished.outcome, Outcome::Refused);
    assert!(finished.says.contains("held by run run-1"), "{}", finished.says);
    assert!(shared.lock().unwrap().ledger.is_empty());
}

#[tokio::test]
async fn a_flipped_byte_is_located_and_nothing_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.db");
    let store = Store::open(&path).unwrap();
    let seam = store.begin(&new_run("run-1", "flip-all"), clock()).unwrap();
    execute(&FlipAll::of(&world(&["a"])), Box::new(seam), unplanned(), terms()).await.unwrap();
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute("UPDATE entry SET body = replace(body, 'off', 'oft') WHERE seq = 2", []).unwrap();
    let error = store.take_up("run-1", clock()).unwrap_err();
    assert!(error.to_string().contains("damaged at entry 2"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_runs_share_commits_and_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("runs.db")).unwrap();
    let mut runs = Vec::new();
    for n in 0..32 {
        let store = store.clone();
        runs.push(tokio::spawn(async move {
            let id = format!("run-{n}");
            let new = NewRun { environment: id.clone(), platform: id.clone(), ..new_run(&id, "flip-all") };
            let seam = store.begin(&new, clock()).unwrap();
            let shared = world(&["a", "b", "c"]);
            let own = Terms::new(id.clone(), "kim", id.clone());
            execute(&FlipAll::of(&shared), Box::new(seam), unplanned_for(&id), own).await.unwrap().outcome
        }));
    }
    for run in runs {
        assert_eq!(run.await.unwrap(), Outcome::Verified);
    }
    for run in store.runs().unwrap() {
        assert_eq!(store.entries(&run.id).unwrap().len(), 11);
    }
}

#[tokio::test]
async fn an_answer_from_another_process_reaches_the_waiting_run() {
    use crate::toy::FlipAll;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.db");
    let store = Store::open(&path).unwrap();
    let shared = world(&["a"]);
    shared.lock().unwrap().moods = vec![Mood::LosesAnswer];
    let runbook = FlipAll { repeat: Repeat::Neither, ..FlipAll::of(&shared) };
    let seam = store.begin(&new_run("run-1", "flip-all"), clock()).unwrap();
    let waiting = Terms { humans: Arc::new(Elsewhere), ..terms() };
    let answering = async {
        let other = Store::open(&path).unwrap();
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            let entries = other.entries("run-1").unwrap();
            let asked = entries.into_iter().find_map(|entry| match entry.event {
                Event::Asked { question, .. } => Some(question),
                _ => None,
            });
            if let Some(question) = asked {
                let answer = Answer::to(&question, "happened", "alex");
                return other.answer("run-1", &answer, clock().now()).unwrap();
            }
        }
    };
    let (finished, ()) = tokio::join!(execute(&runbook, Box::new(seam), unplanned(), waiting), answering);
    assert_eq!(finished.unwrap().outcome, Outcome::Verified);
    assert_eq!(shared.lock().unwrap().ledger.len(), 1);
}

#[tokio::test]
async fn the_stores_seam_sleeps_until_the_time_comes_and_not_at_all_when_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("runs.db")).unwrap();
    let clock = clock();
    let mut seam = store.begin(&new_run("run-1", "flip-all"), clock.clone()).unwrap();
    let began = clock.now();
    let later = began + jiff::SignedDuration::from_hours(2);
    assert_eq!(seam.sleep(later).await.unwrap(), seam::Woken::Time);
    assert_eq!(clock.now(), later);
    assert_eq!(seam.sleep(began).await.unwrap(), seam::Woken::Time);
    assert_eq!(clock.now(), later, "what has passed is not waited for");
}

#[tokio::test]
async fn d2_a_run_that_had_ended_and_is_lost_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.db");
    let store = Store::open(&path).unwrap();
    let seam = store.begin(&new_run("run-1", "flip-all"), clock()).unwrap();
    let finished = execute(&FlipAll::of(&world(&["a"])), Box::new(seam), unplanned(), terms()).await.unwrap();
    assert_eq!(finished.outcome, Outcome::Verified);
    rusqlite::Connection::open(&path).unwrap().execute("DELETE FROM run", []).unwrap();
    assert!(store.find("run-1").unwrap().damage.is_some(), "it is told all the same");
    assert!(store.begin(&new_run("run-2", "flip-all"), clock()).is_ok());
}

#[tokio::test]
async fn who_holds_a_run_is_read_from_its_journal_by_whoever_takes_it_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("runs.db")).unwrap();
    let holders = Arc::new(std::sync::Mutex::new(Vec::new()));
    let shared = world(&["a"]);
    let runbook = || {
        let (holders, shared) = (Arc::clone(&holders), Arc::clone(&shared));
        crate::patience::doing(move |run: &mut Run| {
            let (holders, flip) = (Arc::clone(&holders), Flip::new(&shared, "a"));
            Box::pin(async move {
                holders.lock().unwrap().push((run.requester().to_owned(), run.holder().to_owned()));
                run.perform(&FLIP, flip).await
            })
        })
    };
    let seam = store.begin(&new_run("run-1", "doing"), clock()).unwrap();
    store.hand_over("run-1", "kim", "lea").unwrap();
    shared.lock().unwrap().moods = vec![Mood::Refuses];
    execute(&runbook(), Box::new(seam), unplanned(), terms()).await.unwrap();
    let seam = store.take_up("run-1", clock()).unwrap();
    let finished = execute(&runbook(), Box::new(seam), unplanned(), terms()).await.unwrap();
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let kim = "kim".to_owned();
    assert_eq!(*holders.lock().unwrap(), [(kim.clone(), kim.clone()), (kim, "lea".to_owned())]);
}
