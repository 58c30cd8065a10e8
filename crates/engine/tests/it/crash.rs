//! What remains of a run that was cut off anywhere.

use allclear_engine::*;

use crate::toy::*;

/// Cuts the journal after every entry in turn, in a world in which everything that was sent has happened.
#[tokio::test]
async fn a_run_cut_after_any_entry_resumes_and_repeats_nothing() {
    let whole = MemoryJournal::new();
    let shared = world(&["a", "b", "c"]);
    run_on(&whole, &FlipAll::of(&shared), clock(), terms()).await;
    let length = whole.links().len();
    assert!(length > 9);

    for cut in 0..length {
        let shared = world(&["a", "b", "c"]);
        let journal = MemoryJournal::new();
        run_on(&journal, &FlipAll::of(&shared), clock(), terms()).await;
        journal.cut(cut);
        // What the cut run had sent stays sent; what it had not even intended is taken back.
        let intended =
            journal.entries().unwrap().iter().filter(|e| matches!(e.event, Event::Intended { .. })).count();
        {
            let mut world = shared.lock().unwrap();
            world.ledger.truncate(intended);
            let sent = world.ledger.clone();
            for (name, on) in &mut world.on {
                *on = sent.contains(name);
            }
        }
        let finished = run_on(&journal, &FlipAll::of(&shared), clock(), terms()).await;
        assert_eq!(finished.outcome, Outcome::Verified, "cut after {cut}");
        assert_eq!(shared.lock().unwrap().ledger, ["a", "b", "c"], "cut after {cut}");
        journal.entries().unwrap();
    }
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_and_not_sent_again() {
    let shared = world(&["a"]);
    shared.lock().unwrap().moods = vec![Mood::LosesAnswer];
    let journal = MemoryJournal::new();
    let finished = run_on(&journal, &FlipAll::of(&shared), clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Verified);
    assert_eq!(shared.lock().unwrap().ledger, ["a"]);
    let entries = journal.entries().unwrap();
    assert!(
        entries
            .iter()
            .any(|e| matches!(e.event, Event::Reconciled { finding: journal::Finding::Happened, .. }))
    );
}

#[tokio::test]
async fn an_effect_that_nobody_can_look_up_ends_in_doubt_until_a_person_tells() {
    for (mood, choice) in [(Mood::LosesAnswer, "happened"), (Mood::Vanishes, "did-not-happen")] {
        let shared = world(&["a"]);
        shared.lock().unwrap().moods = vec![mood];
        let journal = MemoryJournal::new();
        let runbook = FlipAll { repeat: Repeat::Neither, ..FlipAll::of(&shared) };
        let finished = run_on(&journal, &runbook, clock(), terms()).await;
        assert_eq!(finished.outcome, Outcome::InDoubt);
        let sent = usize::from(mood == Mood::LosesAnswer);
        assert_eq!(shared.lock().unwrap().ledger.len(), sent, "nothing is sent while in doubt");

        let question = open_question(&journal);
        journal.answer(&question.gate, Answer::to(&question, choice, "kim"));
        let finished = run_on(&journal, &runbook, clock(), terms()).await;
        assert_eq!(finished.outcome, Outcome::Verified);
        assert_eq!(shared.lock().unwrap().ledger.len(), 1, "{choice}");
    }
}

pub(crate) fn open_question(journal: &MemoryJournal) -> Question {
    let asked = journal.entries().unwrap().into_iter().rev().find_map(|entry| match entry.event {
        Event::Asked { question, .. } => Some(question),
        _ => None,
    });
    asked.unwrap()
}

#[tokio::test]
async fn a_keyed_effect_is_sent_again_with_the_same_key() {
    let shared = world(&["a"]);
    shared.lock().unwrap().moods = vec![Mood::LosesAnswer];
    let journal = MemoryJournal::new();
    let runbook = FlipAll { repeat: Repeat::Keyed, ..FlipAll::of(&shared) };
    run_on(&journal, &runbook, clock(), terms()).await;
    let keys: Vec<String> = journal
        .entries()
        .unwrap()
        .into_iter()
        .filter_map(|e| match e.event {
            Event::Intended { key, .. } => Some(key),
            _ => None,
        })
        .collect();
    assert!(!keys.is_empty() && keys.windows(2).all(|pair| pair[0] == pair[1]), "{keys:?}");
}

#[tokio::test]
async fn a_lie_is_refuted_and_never_verified() {
    let shared = world(&["a"]);
    shared.lock().unwrap().moods = vec![Mood::Lies];
    let journal = MemoryJournal::new();
    let finished = run_on(&journal, &FlipAll::of(&shared), clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Refuted);
}

#[tokio::test]
async fn a_busy_service_is_tried_again_and_a_refusal_is_not() {
    let shared = world(&["a"]);
    shared.lock().unwrap().moods = vec![Mood::Busy, Mood::Busy];
    let finished = run_on(&MemoryJournal::new(), &FlipAll::of(&shared), clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Verified);

    let shared = world(&["a"]);
    shared.lock().unwrap().moods = vec![Mood::Works, Mood::Refuses];
    let finished = run_on(&MemoryJournal::new(), &FlipAll::of(&shared), clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Interrupted);
    assert_eq!(shared.lock().unwrap().moods.len(), 1, "one try and no more");
}

#[tokio::test]
async fn a_service_that_stays_busy_is_left_alone_after_a_few_tries() {
    let shared = world(&["a"]);
    shared.lock().unwrap().moods = vec![Mood::Busy; 100];
    let finished = run_on(&MemoryJournal::new(), &FlipAll::of(&shared), clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Interrupted);
    assert_eq!(shared.lock().unwrap().moods.len(), 87, "thirteen tries");
}

#[tokio::test]
async fn the_same_seed_writes_the_same_bytes() {
    let mut chains = Vec::new();
    for _ in 0..2 {
        let shared = world(&["a", "b"]);
        shared.lock().unwrap().moods = vec![Mood::Works, Mood::Busy, Mood::LosesAnswer];
        let journal = MemoryJournal::new();
        run_on(&journal, &FlipAll::of(&shared), clock(), terms()).await;
        chains.push(journal.links());
    }
    assert_eq!(chains[0], chains[1]);
}

#[tokio::test]
async fn another_order_than_recorded_is_refused_in_strict_mode_and_warned_about_otherwise() {
    for strict in [true, false] {
        let shared = world(&["a", "b"]);
        let journal = MemoryJournal::new();
        run_on(&journal, &FlipAll::of(&shared), clock(), terms()).await;
        let length = journal.links().len();
        journal.cut(length - 1);
        let mut reversed = FlipAll::of(&shared);
        reversed.names.reverse();
        let seam = journal.seam(clock()).unwrap();
        let finished = execute(&reversed, Box::new(seam), unplanned(), Terms { strict, ..terms() }).await;
        match finished {
            // An error and no outcome: the procedure that wrote the journal can still end the run.
            Err(SeamError::OrderDiffers { .. }) => assert!(strict),
            other => assert_eq!((strict, other.unwrap().outcome), (false, Outcome::Verified)),
        }
        let warned = journal.entries().unwrap().iter().any(|e| matches!(e.event, Event::OrderDiffers { .. }));
        assert_eq!(warned, !strict);
        assert_eq!(shared.lock().unwrap().ledger, ["a", "b"]);
    }
}

/// The same procedure as another version has it.
struct Version(u32, FlipAll);

#[async_trait::async_trait]
impl Runbook for Version {
    fn id(&self) -> &'static str {
        self.1.id()
    }
    fn title(&self) -> &'static str {
        self.1.title()
    }
    fn version(&self) -> u32 {
        self.0
    }
    fn steps(&self) -> &'static [Step] {
        self.1.steps()
    }
    fn rehearsal(&self) -> Option<allclear_core::Rehearsal> {
        self.1.rehearsal()
    }
    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        self.1.procedure(run).await
    }
}

#[tokio::test]
async fn a_run_is_taken_up_by_the_version_that_started_it_and_by_no_other() {
    let shared = world(&["a", "b"]);
    shared.lock().unwrap().moods = vec![Mood::Refuses, Mood::Works];
    let journal = MemoryJournal::new();
    let version = |number| Version(number, FlipAll::of(&shared));
    let first = run_on(&journal, &version(2), clock(), terms()).await;
    assert_eq!(first.outcome, Outcome::Interrupted, "{}", first.says);
    for other in [1, 3] {
        let seam = journal.seam(clock()).unwrap();
        let error = execute(&version(other), Box::new(seam), unplanned(), terms()).await.unwrap_err();
        let told = matches!(&error, SeamError::OtherVersion { started: 2, this, .. } if *this == other);
        assert!(told, "{error}");
        assert_eq!(shared.lock().unwrap().ledger, ["a"], "version {other}");
    }
    let finished = run_on(&journal, &version(2), clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(shared.lock().unwrap().ledger, ["a", "b"]);
}
