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
        let finished =
            execute(&Asking(scene.gate.clone()), Box::new(seam), unplanned(), terms()).await.unwrap();
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
        execute(&Asking(self.gate.clone()), Box::new(seam), unplanned(), terms).await.unwrap().outcome
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
    let finished = execute(&runbook, Box::new(seam), unplanned(), silent).await.unwrap();
    assert_eq!(finished.outcome, Outcome::Rejected);
}

#[tokio::test]
async fn b9_an_approval_taken_in_before_its_deadline_counts_although_nobody_ran_until_after_it() {
    // Whoever approved may be the one who takes the run up: what the store took in, it took in from somebody who might.
    for resumed_by in ["kim", "alex", "sam", "robin"] {
        let gate = gate().answered_by(two_others()).expires(Duration::from_mins(10), Approval::Reject);
        let scene = Scene::waiting_at(gate).await;
        scene.clock.advance(Duration::from_mins(9));
        assert_eq!(scene.answer("approve", "alex"), Ok(()));
        assert_eq!(scene.answer("approve", "sam"), Ok(()));
        scene.clock.advance(Duration::from_hours(5));
        let by = Terms { operator: resumed_by.to_owned(), ..terms() };
        assert_eq!(scene.resume_with(by).await, Outcome::Verified, "taken up by {resumed_by}");
        assert_eq!(scene.story(), ["alex approve", "sam approve"]);
    }
}

#[tokio::test]
async fn b9_what_was_refused_at_the_door_stays_refused_and_one_of_two_in_time_is_not_two() {
    let gate = gate().answered_by(two_others()).expires(Duration::from_mins(10), Approval::Reject);
    let scene = Scene::waiting_at(gate).await;
    assert_eq!(scene.answer("approve", "alex"), Ok(()));
    scene.clock.advance(Duration::from_mins(10));
    let deadline = scene.question().deadline.unwrap();
    assert_eq!(scene.answer("approve", "sam"), Err(NotTaken::TooLate { deadline }));
    assert_eq!(scene.resume().await, Outcome::Rejected);
    assert_eq!(scene.story(), ["alex approve", "expired: reject"]);
}

#[tokio::test]
async fn b9_an_approval_taken_in_counts_after_a_later_hand_over_and_after_a_stop_of_everything() {
    let gate =
        gate().answered_by(Approvers::somebody_else()).expires(Duration::from_mins(10), Approval::Reject);
    let scene = Scene::waiting_at(gate).await;
    scene.store().stop_all("ren", Some("the platform is restored"), scene.clock.now()).unwrap();
    assert_eq!(scene.answer("approve", "alex"), Ok(()), "an answer can wait");
    scene.store().hand_over("run-1", "kim", "alex").unwrap();
    scene.clock.advance(Duration::from_hours(1));
    scene.store().lift_stop("ren", scene.clock.now()).unwrap();
    assert_eq!(scene.resume_with(Terms { operator: "alex".to_owned(), ..terms() }).await, Outcome::Verified);
    assert_eq!(scene.story(), ["alex approve"]);
}

#[tokio::test]
async fn b9_nobody_says_for_themselves_that_the_store_took_an_answer_in() {
    let gate =
        gate().answered_by(Approvers::somebody_else()).expires(Duration::from_mins(10), Approval::Reject);
    let scene = Scene::waiting_at(gate).await;
    let accepted = allclear_engine::gate::Accepted { at: scene.clock.now(), holders: Vec::new() };
    let forged = Answer { accepted: Some(accepted), ..Answer::to(&scene.question(), "approve", "robin") };
    scene.store().hand_over("run-1", "kim", "robin").unwrap();
    let refused = scene.store().answer("run-1", &forged, scene.clock.now());
    assert!(matches!(refused, Err(NotTaken::Refused(AnswerRefused::NotAllowed { .. }))), "{refused:?}");
    scene.clock.advance(Duration::from_mins(10));
    let late = Answer { by: "alex".to_owned(), ..forged };
    let refused = scene.store().answer("run-1", &late, scene.clock.now());
    assert!(matches!(refused, Err(NotTaken::TooLate { .. })), "{refused:?}");
}

#[tokio::test]
async fn d5c_an_answer_after_an_abort_is_refused_and_so_is_a_hand_over() {
    let scene = Scene::waiting_at(gate()).await;
    scene.store().abort("run-1", "ren", None).unwrap();
    let aborted = NotTaken::Aborted { by: "ren".to_owned() };
    for choice in ["approve", "reject"] {
        assert_eq!(scene.answer(choice, "alex"), Err(aborted.clone()));
    }
    assert_eq!(scene.store().hand_over("run-1", "kim", "lea"), Err(aborted));
    assert_eq!(scene.resume().await, Outcome::Rejected);
    assert!(scene.story().is_empty());
    let ended = NotTaken::Ended { outcome: Outcome::Rejected };
    assert_eq!(scene.store().hand_over("run-1", "kim", "lea"), Err(ended));
}

#[tokio::test]
async fn d5c_an_abort_after_an_answer_that_settles_is_still_an_abort() {
    let scene = Scene::waiting_at(gate()).await;
    assert_eq!(scene.answer("approve", "alex"), Ok(()));
    scene.store().abort("run-1", "ren", None).unwrap();
    assert_eq!(scene.resume().await, Outcome::Rejected);
}

#[tokio::test]
async fn d3_the_door_knows_a_person_by_every_spelling_and_takes_no_name_that_is_none() {
    let scene = Scene::waiting_at(gate().answered_by(two_others())).await;
    for by in ["Kim", "ＫＩＭ", " kim "] {
        let refused = scene.answer("approve", by);
        assert!(matches!(refused, Err(NotTaken::Refused(AnswerRefused::NotAllowed { .. }))), "{by:?}");
    }
    for by in ["", "le\u{200b}a", "l\u{435}a"] {
        let refused = scene.answer("approve", by);
        assert!(matches!(refused, Err(NotTaken::Refused(AnswerRefused::BadName { .. }))), "{by:?}");
        assert!(scene.store().hand_over("run-1", "kim", by).is_err());
    }
    assert_eq!(scene.answer("approve", "Lea"), Ok(()));
    assert!(matches!(scene.answer("approve", "lea"), Err(NotTaken::Refused(AnswerRefused::Repeated { .. }))));
}

/// T9: an approval counts for what it was given to, and for nothing else.
#[tokio::test]
async fn t9_an_answer_with_any_one_field_changed_is_refused() {
    let typed = || gate().confirmed_by(Approval::Approve, "the code", "Q7");
    let approvers = Approvers { among: vec!["alex".into(), "kim".into(), "sam".into()], ..two_others() };
    let gate = || typed().answered_by(approvers.clone()).expires(Duration::from_mins(10), Approval::Reject);
    let scene = Scene::waiting_at(gate()).await;
    let good = Answer::to(&scene.question(), "approve", "alex").typing("Q7");
    let door = |answer: &Answer, now| scene.store().answer("run-1", answer, now);
    let now = scene.clock.now();
    for place in 0..good.binding.len() {
        let mut binding = good.binding.clone().into_bytes();
        binding[place] ^= 1;
        let binding = String::from_utf8(binding).unwrap();
        assert!(door(&Answer { binding, ..good.clone() }, now).is_err());
    }
    for by in ["kim", "KIM", "mia", "", "al\u{200b}ex"] {
        assert!(door(&Answer { by: by.to_owned(), ..good.clone() }, now).is_err(), "{by}");
    }
    for choice in ["", "Approve", "yes", "maybe"] {
        assert!(door(&Answer { choice: choice.to_owned(), ..good.clone() }, now).is_err(), "{choice}");
    }
    assert!(door(&Answer { typed: None, ..good.clone() }, now).is_err());
    assert!(door(&good, scene.question().deadline.unwrap()).is_err());
    let other = Scene::waiting_at(gate().about("something else")).await;
    assert!(other.store().answer("run-1", &good, now).is_err(), "another question");
    assert_eq!(door(&good, now), Ok(()));
    // What was typed is judged by the run alone, so the door may take it again; the run counts one person once.
    let wrong = Answer::to(&scene.question(), "approve", "sam").typing("Q8");
    let _ = door(&wrong, now);
    assert_eq!(scene.resume().await, Outcome::WaitingForHuman);
    assert!(door(&good, now).is_err(), "used twice");
    scene.store().abort("run-1", "ren", None).unwrap();
    let right = Answer::to(&scene.question(), "approve", "sam").typing("Q7");
    assert!(door(&right, now).is_err(), "after an abort");
    assert_eq!(scene.resume().await, Outcome::Rejected);
}
