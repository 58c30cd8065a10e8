//! Answers over the durable store: from other processes, at once, again, too early, too late, and with nobody there.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use allclear_core::{Clock, VirtualClock};
use allclear_engine::gate::AnswerRefused;
use allclear_engine::sqlite::{NotTaken, Store};
use allclear_engine::*;
use async_trait::async_trait;

use crate::gates::{Asking, gate, two_others};
use crate::store::new_run;
use crate::toy::*;

/// A store, a clock, and a run that waits at a gate with no process.
struct Scene {
    folder: tempfile::TempDir,
    clock: Arc<VirtualClock>,
    gate: Gate<Approval>,
}

impl Scene {
    async fn waiting_at(gate: Gate<Approval>) -> Self {
        let scene = Self { folder: tempfile::tempdir().unwrap(), clock: clock(), gate };
        let seam = scene.store().begin(&new_run("run-1", "asking"), scene.clock.clone()).unwrap();
        let finished = execute(&Asking(scene.gate.clone()), Box::new(seam), terms()).await.unwrap();
        assert_eq!(finished.outcome, Outcome::WaitingForHuman);
        scene
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("runs.db")
    }

    fn store(&self) -> Store {
        Store::open(&self.path()).unwrap()
    }

    fn question(&self) -> Question {
        self.store().standing("run-1").unwrap().unwrap().question
    }

    fn answer(&self, choice: &str, by: &str) -> Result<(), NotTaken> {
        self.store().answer("run-1", &Answer::to(&self.question(), choice, by), self.clock.now())
    }

    async fn resume_with(&self, terms: Terms) -> Outcome {
        let seam = self.store().take_up("run-1", self.clock.clone()).unwrap();
        execute(&Asking(self.gate.clone()), Box::new(seam), terms).await.unwrap().outcome
    }

    async fn resume(&self) -> Outcome {
        self.resume_with(terms()).await
    }

    /// Who answered what, and who was refused.
    fn story(&self) -> Vec<String> {
        let entries = self.store().entries("run-1").unwrap().into_iter();
        let told = entries.filter_map(|entry| match entry.event {
            Event::Answered { answer, .. } => Some(format!("{} {}", answer.by, answer.choice)),
            Event::AnswerRefused { by, why, .. } => Some(format!("{by} refused: {why}")),
            Event::GateExpired { choice, .. } => Some(format!("expired: {choice}")),
            _ => None,
        });
        told.collect()
    }
}

fn settled(by: &str, choice: &str) -> Result<(), NotTaken> {
    Err(NotTaken::Settled { by: by.to_owned(), choice: choice.to_owned() })
}

fn repeated(by: &str) -> Result<(), NotTaken> {
    Err(AnswerRefused::Repeated { by: by.to_owned() }.into())
}

#[tokio::test]
async fn an_answer_given_while_no_process_runs_is_there_when_one_does() {
    let scene = Scene::waiting_at(gate()).await;
    assert_eq!(scene.answer("approve", "alex"), Ok(()));
    assert_eq!(scene.answer("approve", "alex"), repeated("alex"));
    assert_eq!(scene.answer("reject", "robin"), settled("alex", "approve"));
    assert_eq!(scene.resume().await, Outcome::Verified);
    assert_eq!(scene.story(), ["alex approve"]);
    let ended = Err(NotTaken::Ended { outcome: Outcome::Verified });
    let late = Answer { binding: String::new(), ..Answer::to(&question_of(&scene), "reject", "sam") };
    assert_eq!(scene.store().answer("run-1", &late, scene.clock.now()), ended);
}

fn question_of(scene: &Scene) -> Question {
    let entries = scene.store().entries("run-1").unwrap().into_iter();
    let mut asked = entries.filter_map(|entry| match entry.event {
        Event::Asked { question, .. } => Some(question),
        _ => None,
    });
    asked.next().unwrap()
}

#[test]
fn of_many_people_at_once_one_is_first_and_the_others_hear_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for round in 0..5 {
        let scene = runtime.block_on(Scene::waiting_at(gate()));
        let results: Vec<Result<(), NotTaken>> = std::thread::scope(|scope| {
            let lanes: Vec<_> = (0..8)
                .map(|lane| {
                    let scene = &scene;
                    let choice = if lane % 2 == 0 { "approve" } else { "reject" };
                    scope.spawn(move || scene.answer(choice, &format!("person-{lane}")))
                })
                .collect();
            lanes.into_iter().map(|lane| lane.join().unwrap()).collect()
        });
        let taken = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(taken, 1, "round {round}: {results:?}");
        assert!(results.iter().all(|r| matches!(r, Ok(()) | Err(NotTaken::Settled { .. }))), "{results:?}");
        runtime.block_on(scene.resume());
        assert_eq!(scene.story().len(), 1, "{:?}", scene.story());
    }
}

#[tokio::test]
async fn two_of_three_are_two_different_people_neither_of_whom_holds_the_run() {
    let scene = Scene::waiting_at(gate().answered_by(two_others())).await;
    scene.store().hand_over("run-1", "kim", "robin").unwrap();
    for by in ["kim", "robin"] {
        assert!(
            matches!(scene.answer("approve", by), Err(NotTaken::Refused(AnswerRefused::NotAllowed { .. }))),
            "{by} started it or has it, although no process has recorded that yet"
        );
    }
    assert_eq!(scene.answer("approve", "alex"), Ok(()));
    assert_eq!(scene.answer("approve", "alex"), repeated("alex"));
    assert_eq!(scene.resume().await, Outcome::WaitingForHuman);
    assert_eq!(scene.answer("approve", "alex"), repeated("alex"));
    assert_eq!(scene.answer("approve", "sam"), Ok(()));
    assert_eq!(scene.resume().await, Outcome::Verified);
    assert_eq!(scene.story(), ["alex approve", "sam approve"]);
}

#[tokio::test]
async fn a_wrong_confirmation_can_be_made_good_and_lies_nowhere_in_the_clear() {
    let gate = gate().confirmed_by(Approval::Approve, "the voucher's last three characters", "zq7");
    let scene = Scene::waiting_at(gate).await;
    let question = scene.question();
    let store = scene.store();
    let hand_in = |text: &str| {
        let answer = Answer::to(&question, "approve", "alex").typing(text);
        store.answer("run-1", &answer, scene.clock.now())
    };
    assert!(matches!(
        scene.answer("approve", "alex"),
        Err(NotTaken::Refused(AnswerRefused::Unconfirmed { .. }))
    ));
    assert_eq!((hand_in("xk9"), hand_in("ZQ7")), (Ok(()), Ok(())));
    assert!(!bytes_in(scene.folder.path(), &["zq7", "ZQ7", "xk9"]), "an answer waits in the clear");
    assert_eq!(scene.resume().await, Outcome::Verified);
    let told = scene.story();
    assert!(
        told[0].starts_with("alex refused: `approve` counts only with the voucher's last three"),
        "{told:?}"
    );
    assert_eq!(told[1], "alex approve");
    assert!(!bytes_in(scene.folder.path(), &["zq7", "ZQ7", "xk9"]));
}

fn bytes_in(folder: &Path, texts: &[&str]) -> bool {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).any(|path| {
        let bytes = std::fs::read(path).unwrap();
        texts.iter().any(|text| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    })
}

#[tokio::test]
async fn at_the_deadline_the_declared_answer_counts_and_later_ones_are_not_taken() {
    for (declared, outcome) in [(Approval::Approve, Outcome::Verified), (Approval::Reject, Outcome::Rejected)]
    {
        let scene = Scene::waiting_at(gate().expires(Duration::from_mins(10), declared)).await;
        let deadline = scene.question().deadline.unwrap();
        scene.clock.advance_to(deadline);
        assert_eq!(scene.answer("approve", "alex"), Err(NotTaken::TooLate { deadline }));
        assert_eq!(scene.resume().await, outcome);
        assert_eq!(scene.story(), [format!("expired: {}", declared.id())]);
    }
}

#[tokio::test]
async fn nothing_is_taken_for_a_question_that_is_not_asked() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("runs.db")).unwrap();
    let clock = clock();
    let _held = store.begin(&new_run("run-1", "asking"), clock.clone()).unwrap();
    let scene = Scene::waiting_at(gate()).await;
    let foreign = Answer::to(&scene.question(), "approve", "alex");
    assert_eq!(store.answer("run-1", &foreign, clock.now()), Err(NotTaken::NothingAsked));
    let another = Answer { binding: "ffffffffffff".into(), ..foreign };
    let refused = scene.store().answer("run-1", &another, clock.now());
    assert!(matches!(refused, Err(NotTaken::Refused(AnswerRefused::Foreign { .. }))), "{refused:?}");
}

/// Somebody at a prompt who never types.
struct Silent;

#[async_trait]
impl Humans for Silent {
    async fn ask(&self, _question: &Question, _given: &[Answer]) -> Attention {
        std::future::pending().await
    }
}

/// Real time, a thousand times as fast.
#[derive(Debug)]
struct Fast(std::time::Instant, jiff::Timestamp);

#[async_trait]
impl Clock for Fast {
    fn now(&self) -> jiff::Timestamp {
        self.1 + self.0.elapsed() * 1_000
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed() * 1_000
    }

    async fn sleep_until(&self, at: jiff::Timestamp) {
        while self.now() < at {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test]
async fn a_prompt_that_nobody_looks_at_holds_up_neither_an_answer_nor_the_deadline() {
    let scene = Scene::waiting_at(gate()).await;
    let silent = Terms { humans: Arc::new(Silent), ..terms() };
    let elsewhere = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        scene.answer("approve", "alex").unwrap();
    };
    let (outcome, ()) = tokio::join!(scene.resume_with(silent), elsewhere);
    assert_eq!(outcome, Outcome::Verified);

    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("runs.db")).unwrap();
    let fast = Arc::new(Fast(std::time::Instant::now(), clock().now()));
    let seam = store.begin(&new_run("run-1", "asking"), fast).unwrap();
    let runbook = Asking(gate().expires(Duration::from_mins(1), Approval::Reject));
    let silent = Terms { humans: Arc::new(Silent), ..terms() };
    let finished = execute(&runbook, Box::new(seam), silent).await.unwrap();
    assert_eq!(finished.outcome, Outcome::Rejected);
}
