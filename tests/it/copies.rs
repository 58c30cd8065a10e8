//! A copy of a run's journal that is older than what was done by it, as a backup of a laptop that was lost: it does nothing
//! again, whether the run has ended or was killed, wherever the copy was made.

use allclear::engine::seam::SeamError;
use allclear::engine::{Event, Finished, MemoryJournal, Outcome, Plan, execute};

use crate::owners::{Killed, acted, announcing, died, go, on_record, outage, terms};
use crate::scene::{Scene, approved};

/// The run, on a machine.
async fn on(host: &str, scene: &Scene, journal: &MemoryJournal, plan: &Plan) -> Result<Finished, SeamError> {
    go(scene, journal, plan, terms(scene, "run-1", announcing(scene, host))).await
}

/// The same, killed at a boundary.
async fn killed(scene: &Scene, journal: &MemoryJournal, plan: &Plan, boundary: u32) {
    let inner = Box::new(journal.seam(scene.clock.clone()).unwrap());
    let seam = Box::new(Killed { inner, left: boundary });
    let terms = terms(scene, "run-1", announcing(scene, "a laptop"));
    let ended = execute(&*scene.runbook(), seam, approved(plan, "run-1"), terms).await;
    assert_eq!(ended, Err(died()));
}

#[tokio::test]
async fn d2_an_older_copy_of_a_run_that_has_ended_does_nothing_again() {
    let scene = outage().await;
    let plan = scene.plan().await;
    let journal = MemoryJournal::new();
    let ended = on("a laptop", &scene, &journal, &plan).await.unwrap();
    assert_eq!(ended.outcome, Outcome::Verified, "{}", ended.says);
    let (before, entries) = (acted(&scene), journal.entries().unwrap());
    let gave_back = entries.iter().position(|entry| matches!(entry.event, Event::GaveBack { .. })).unwrap();
    let whole = 1 + entries.iter().rposition(|entry| !entry.key.starts_with('~')).unwrap();
    for cut in (1..gave_back).rev() {
        journal.cut(cut);
        let copy = on("another laptop", &scene, &journal, &plan).await;
        assert_eq!(acted(&scene), before, "cut at {cut}: {copy:?}");
        match copy {
            Err(SeamError::Owned { says, .. }) => {
                assert!(says.contains("has ended (verified)") && says.contains("older copy"), "{says}");
            }
            // Everything of the procedure is in it.
            Ok(finished) if cut >= whole => assert_eq!(finished.outcome, Outcome::Verified),
            other => panic!("cut at {cut}: {other:?}"),
        }
        assert_eq!(on_record(&scene), (1, 1), "cut at {cut}");
    }
}

#[tokio::test]
async fn d2_an_older_copy_of_a_run_that_was_killed_repeats_no_effect() {
    let calm = outage().await;
    let (plan, journal) = (calm.plan().await, MemoryJournal::new());
    assert_eq!(on("a laptop", &calm, &journal, &plan).await.unwrap().outcome, Outcome::Verified);
    let entries = journal.entries().unwrap();
    let boundaries = 2 * u32::try_from(entries.len()).unwrap();
    let mut refused = 0;
    for (dies_at, back) in
        [(boundaries / 3, 10), (boundaries / 2, 25), (boundaries - 20, 3), (boundaries - 8, 40)]
    {
        let scene = outage().await;
        let plan = scene.plan().await;
        let journal = MemoryJournal::new();
        killed(&scene, &journal, &plan, dies_at).await;
        let whole = journal.entries().unwrap().len();
        journal.cut(whole - back);
        let copy = on("another laptop", &scene, &journal, &plan).await;
        let twice: Vec<_> = acted(&scene)
            .into_iter()
            .filter(|(effect, times)| *times > calm.effects().get(effect).copied().unwrap_or(1))
            .collect();
        assert!(twice.is_empty(), "killed at {dies_at}, {back} entries older: {twice:?} after {copy:?}");
        refused += usize::from(matches!(copy, Err(SeamError::Owned { .. })));
    }
    assert!(refused >= 2, "the copies had nothing to repeat");
}
