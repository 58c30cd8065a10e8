//! What a run may say of what it did, and how what is not proven bounds its end, whatever its procedure says.

use std::sync::Arc;
use std::time::Duration;

use allclear_core::Rehearsal;
use allclear_engine::report::Postmortem;
use allclear_engine::*;
use async_trait::async_trait;

use crate::toy::*;

const MEND: Step = Step { id: "TOY-R1", phase: Phase::Resolve, title: "Mend it" };
const SEE: Step = Step { id: "TOY-R2", phase: Phase::Resolve, title: "See that it is over" };
const STEPS: &[Step] = &[FLIP, MEND, SEE];

/// What a procedure does about a lamp that may lie, and a bell that works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    /// Looks away.
    DropsTheVerdict,
    /// Makes up for it by something proven.
    Cures,
    /// Needs no proof of it.
    Excuses(Because),
    /// Passes over a failed call.
    PassesOver,
    /// Tries until it holds.
    Tries,
    /// Tells by both.
    Tells,
    /// Tells by the lamp, which nothing may wait for.
    TellsBriefly,
    /// The same, and tells by the bell when it is over.
    TellsWhenItIsOver,
    /// Leaves behind what it must end, or ends it.
    Owes { closes: bool },
    /// Says that there is nothing to do.
    NothingToDo { looks: bool },
    /// Claims what it did.
    Claims,
    /// Resolves by what is proven, and then does something that is not.
    ResolvesTooSoon,
    /// Does something and then says that there is nothing to do.
    ClearsAfterwards,
}

struct Book {
    world: Shared,
    does: Does,
}

impl Book {
    fn lamp(&self) -> Flip {
        Flip::new(&self.world, "lamp")
    }

    fn bell(&self) -> Flip {
        Flip::new(&self.world, "bell")
    }
}

#[async_trait]
impl Runbook for Book {
    fn id(&self) -> &'static str {
        "book"
    }
    fn title(&self) -> &'static str {
        "Book"
    }
    fn version(&self) -> u32 {
        1
    }
    fn steps(&self) -> &'static [Step] {
        STEPS
    }
    fn rehearsal(&self) -> Option<Rehearsal> {
        Some(sandbox())
    }
    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        match self.does {
            Does::DropsTheVerdict => {
                let _ = run.attempt(&FLIP, self.lamp()).await?;
                run.perform(&MEND, self.bell()).await?;
            }
            Does::Cures => {
                let lamp = run.attempt(&FLIP, self.lamp()).await?;
                run.perform(&MEND, self.bell()).await?;
                run.cure(&MEND, lamp.account(), "the bell makes up for the lamp", &run.proof(&MEND)?).await?;
            }
            Does::Excuses(because) => {
                let _ = run.attempt(&FLIP, self.lamp().excused(because)).await?;
                run.perform(&MEND, self.bell()).await?;
            }
            Does::PassesOver => {
                let _ = run.attempt(&FLIP, self.lamp()).await;
                run.perform(&MEND, self.bell()).await?;
            }
            Does::Tries => {
                let watch = Watch::every(Duration::from_secs(30), Duration::from_hours(1));
                run.until(&MEND, watch, Achieving(self.lamp())).await?;
            }
            Does::Tells => {
                let lamp = run.attempt(&FLIP, self.lamp()).await?;
                let bell = run.attempt(&MEND, self.bell()).await?;
                let ways = [lamp.account(), bell.account()];
                run.told(&MEND, "they were told", "nobody was told", &ways).await?;
                let look = Look::at("the lamp", |on: &bool| format!("{on}"), async || Ok(true));
                run.probe(&SEE, look).await?;
                return run.resolve("it is over", run.proof(&SEE)?);
            }
            Does::TellsBriefly => {
                let lamp = run.tell(&FLIP, self.lamp()).await?;
                run.told(&FLIP, "they were told", "nobody was told", &[lamp.account()]).await?;
                if lamp.account().may_be_done() {
                    run.owe(&FLIP, "line", "it may be the last word").await?;
                }
                run.perform(&MEND, self.bell()).await?;
            }
            Does::TellsWhenItIsOver => {
                let lamp = run.tell(&FLIP, self.lamp()).await?;
                run.told(&FLIP, "they were told", "nobody was told", &[lamp.account()]).await?;
                let bell = run.tell_last(&MEND, self.bell()).await?;
                run.told(&MEND, "they know that it is over", "nobody knows it", &[bell.account()]).await?;
                if let Some(proof) = bell.account().proof() {
                    run.cure(&MEND, lamp.account(), "they know that it is over", &proof).await?;
                }
                let look = Look::at("the lamp", |on: &bool| format!("{on}"), async || Ok(true));
                run.probe(&SEE, look).await?;
                return run.resolve("it is over", run.proof(&SEE)?);
            }
            Does::Owes { closes } => {
                run.perform(&FLIP, self.lamp()).await?;
                run.owe(&FLIP, "page", "a page of this run is still open").await?;
                let bell = run.attempt(&MEND, self.bell()).await?;
                if let Some(proof) = bell.account().proof().filter(|_| closes) {
                    run.close(&MEND, "page", "the page is resolved", &proof).await?;
                }
            }
            Does::NothingToDo { looks } => {
                if looks {
                    run.probe(&FLIP, Look::at("the lamp", |on: &bool| format!("{on}"), async || Ok(true)))
                        .await?;
                }
                run.conclude_unless(false, "all clear")?;
            }
            Does::ClearsAfterwards => {
                let _ = run.attempt(&FLIP, self.lamp()).await?;
                run.perform(&MEND, self.bell()).await?;
                run.conclude_unless(false, "all clear")?;
            }
            Does::ResolvesTooSoon => {
                run.perform(&MEND, self.bell()).await?;
                let resolved = run.resolve("it is over", run.proof(&MEND)?)?;
                let _ = run.attempt(&FLIP, self.lamp()).await?;
                return Ok(resolved);
            }
            Does::Claims => {
                let both = run.attempt_each(&MEND, vec![self.lamp(), self.bell()]).await?;
                let claim = Claim::counted(&both, "switch was flipped", "switches were flipped");
                run.note(&MEND, claim.unwrap()).await?;
            }
        }
        run.resolve("it is over", run.proof(&MEND)?)
    }
}

fn book(does: Does, moods: &[Mood]) -> Book {
    let world = world(&["lamp", "bell"]);
    world.lock().unwrap().moods = moods.iter().rev().copied().collect();
    Book { world, does }
}

async fn ran(does: Does, moods: &[Mood]) -> (Finished, Postmortem, MemoryJournal) {
    let journal = MemoryJournal::new();
    let finished = run_on(&journal, &book(does, moods), clock(), terms()).await;
    let told = Postmortem::from_entries(&journal.entries().unwrap(), STEPS);
    (finished, told, journal)
}

fn open(told: &Postmortem) -> Vec<&str> {
    told.open_questions.iter().map(report::Statement::text).collect()
}

#[tokio::test]
async fn what_is_not_proven_ends_unverified_although_the_procedure_looks_away() {
    let (finished, told, _) = ran(Does::DropsTheVerdict, &[Mood::Lies]).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert_eq!(
        finished.says, "TOY-I1: it is over; open: “flip lamp” is not proven: it is still off",
        "what is open is listed"
    );
    assert!(open(&told).iter().any(|text| text.contains("“flip lamp” does not hold")), "{:?}", open(&told));
    let (finished, told, _) = ran(Does::DropsTheVerdict, &[]).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert!(open(&told)[0].starts_with("The journal leaves nothing open"), "{:?}", open(&told));
}

#[tokio::test]
async fn an_all_clear_is_bounded_by_what_was_done_before_it() {
    let (finished, ..) = ran(Does::ClearsAfterwards, &[Mood::Lies]).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains("“flip lamp” is not proven"), "{}", finished.says);
    let (finished, ..) = ran(Does::ClearsAfterwards, &[]).await;
    assert_eq!((finished.outcome, finished.says.as_str()), (Outcome::Verified, "all clear"));
}

#[tokio::test]
async fn what_is_done_after_the_resolution_bounds_the_end_too() {
    let (finished, ..) = ran(Does::ResolvesTooSoon, &[Mood::Works, Mood::Lies]).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains("“flip lamp” is not proven"), "{}", finished.says);
    let (finished, ..) = ran(Does::ResolvesTooSoon, &[]).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
}

#[tokio::test]
async fn a_failed_call_that_the_procedure_passes_over_ends_unverified() {
    let (finished, ..) = ran(Does::PassesOver, &[Mood::Refuses]).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains("“flip lamp” was not done, as far as is known"), "{}", finished.says);
}

#[tokio::test]
async fn what_a_later_effect_cured_is_closed_and_does_not_stand_as_open() {
    let (finished, told, _) = ran(Does::Cures, &[Mood::Lies]).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert!(open(&told)[0].starts_with("The journal leaves nothing open"), "{:?}", open(&told));
    let (finished, told, _) = ran(Does::Tries, &[Mood::Lies, Mood::Lies, Mood::Works]).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert!(open(&told)[0].starts_with("The journal leaves nothing open"), "{:?}", open(&told));
}

#[tokio::test]
async fn what_is_excused_in_its_type_ends_verified_and_the_report_says_why() {
    let (finished, told, journal) = ran(Does::Excuses(Because::FiledAsFinding), &[Mood::Lies]).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert!(open(&told)[0].contains("but for what cannot be read back"), "{:?}", open(&told));
    let excused = journal.entries().unwrap().into_iter().find_map(|entry| match entry.event {
        Event::Noted { note: Note::Excused(excuse), .. } => Some(excuse),
        _ => None,
    });
    let excused = excused.expect("the journal keeps it");
    assert_eq!((excused.title(), excused.because()), ("flip lamp", Because::FiledAsFinding));
}

#[tokio::test]
async fn what_was_looked_for_and_is_not_there_is_not_excused_by_a_receiver_that_cannot_be_read() {
    for moods in [&[Mood::Lies][..], &[Mood::Refuses]] {
        let journal = MemoryJournal::new();
        let book = book(Does::Excuses(Because::ReceiverCannotBeRead), moods);
        let finished = run_on(&journal, &book, clock(), terms()).await;
        assert_ne!(finished.outcome, Outcome::Verified, "{}", finished.says);
    }
}

#[tokio::test]
async fn whoever_was_not_told_and_knows_that_it_is_over_is_no_open_point_and_stays_on_record() {
    for moods in [&[Mood::Lies, Mood::Works][..], &[Mood::Refuses, Mood::Works]] {
        let (finished, told, journal) = ran(Does::TellsWhenItIsOver, moods).await;
        assert_eq!(finished.outcome, Outcome::Verified, "{moods:?}: {}", finished.says);
        assert!(open(&told)[0].starts_with("The journal leaves nothing open"), "{:?}", open(&told));
        let entries = journal.entries().unwrap();
        let untold = entries.iter().any(|entry| {
            matches!(&entry.event, Event::Noted { note: Note::Told(claim), .. } if claim.says().starts_with("nobody was told"))
        });
        assert!(untold, "that nobody was told then is told: {moods:?}");
    }
    // The last word did not arrive either: both stand.
    let (finished, told, _) = ran(Does::TellsWhenItIsOver, &[Mood::Lies, Mood::Lies]).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    let open = open(&told);
    assert!(open.iter().any(|text| text.starts_with("Nobody was told")), "{open:?}");
    assert!(open.iter().any(|text| text.starts_with("Nobody knows it")), "{open:?}");
}

#[tokio::test]
async fn people_were_told_when_one_way_is_proven_and_nobody_was_when_none_is() {
    let says = |journal: &MemoryJournal| {
        journal.entries().unwrap().into_iter().find_map(|entry| match entry.event {
            Event::Noted { note: Note::Told(claim), .. } => {
                Some((claim.says().to_owned(), claim.certainty()))
            }
            _ => None,
        })
    };
    let (finished, _, journal) = ran(Does::Tells, &[Mood::Lies, Mood::Works]).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let one = "they were told (not proven: flip lamp: it is still off)".to_owned();
    assert_eq!(says(&journal), Some((one, Certainty::Proven)));

    let (finished, told, journal) = ran(Does::Tells, &[Mood::Lies, Mood::Lies]).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert_eq!(says(&journal).unwrap().1, Certainty::Unproven);
    assert!(open(&told)[0].starts_with("Nobody was told"), "that comes first: {:?}", open(&told));
}

#[tokio::test]
async fn what_may_have_been_done_and_cannot_be_asked_for_is_not_told_as_not_done() {
    for (mood, may_be) in [(Mood::GoesDark, true), (Mood::Refuses, false)] {
        let (finished, told, _) = ran(Does::TellsBriefly, &[mood]).await;
        assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
        let shown = format!("{} {:?}", finished.says, open(&told));
        assert_eq!(shown.contains("may have been done, and nothing tells"), may_be, "{mood:?}: {shown}");
        assert_eq!(shown.contains("was not done"), !may_be, "{mood:?}: {shown}");
        assert_eq!(shown.contains("it may be the last word"), may_be, "{mood:?}: {shown}");
    }
}

#[tokio::test]
async fn what_the_run_made_and_did_not_end_is_open_and_no_verified_end() {
    let (finished, told, _) = ran(Does::Owes { closes: false }, &[]).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.ends_with("open: a page of this run is still open"), "{}", finished.says);
    assert!(open(&told).contains(&"A page of this run is still open."), "{:?}", open(&told));
    let (finished, told, _) = ran(Does::Owes { closes: true }, &[]).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(open(&told).len(), 1, "{:?}", open(&told));
    // A resolve that is not proven closes nothing.
    let (finished, ..) = ran(Does::Owes { closes: true }, &[Mood::Works, Mood::Lies]).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
}

#[tokio::test]
async fn an_all_clear_takes_a_look() {
    let (finished, ..) = ran(Does::NothingToDo { looks: true }, &[]).await;
    assert_eq!((finished.outcome, finished.says.as_str()), (Outcome::Verified, "all clear"));
    let (finished, ..) = ran(Does::NothingToDo { looks: false }, &[]).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
}

#[tokio::test]
async fn a_count_counts_what_is_proven_and_cites_its_verdicts() {
    let (_, told, journal) = ran(Does::Claims, &[]).await;
    let [claim] = &told.mitigations[..] else { panic!("{:?}", told.mitigations) };
    assert_eq!(claim.text(), "2 switches were flipped.");
    let entries = journal.entries().unwrap();
    let verdicts = entries.iter().filter(|entry| matches!(entry.event, Event::Judged { .. }));
    for verdict in verdicts {
        assert!(claim.cites().contains(&verdict.seq), "{:?} lacks {}", claim.cites(), verdict.seq);
    }
    let (finished, told, _) = ran(Does::Claims, &[Mood::Works, Mood::Lies]).await;
    assert_eq!(finished.outcome, Outcome::Unverified);
    assert_eq!(told.mitigations[0].text(), "Not proven: 1 switch was flipped; of 1 more that is not proven.");
}

/// The account is kept from the journal alone: whoever takes a run up again comes to the same end.
#[tokio::test]
async fn a_run_that_is_taken_up_anywhere_ends_the_same() {
    for (does, moods) in [
        (Does::DropsTheVerdict, &[Mood::Lies][..]),
        (Does::Cures, &[Mood::Lies]),
        (Does::Excuses(Because::FiledAsFinding), &[Mood::Lies]),
        (Does::Owes { closes: true }, &[]),
        (Does::Tells, &[Mood::Lies, Mood::Works]),
    ] {
        let journal = MemoryJournal::new();
        let book = book(does, moods);
        let finished = run_on(&journal, &book, clock(), terms()).await;
        let length = journal.entries().unwrap().len();
        // The last two: the end itself, and what it excuses.
        for cut in [length - 1, length - 2] {
            journal.cut(cut);
            let book = Book { world: Arc::clone(&book.world), does };
            let again = run_on(&journal, &book, clock(), terms()).await;
            assert_eq!(
                (again.outcome, &again.says),
                (finished.outcome, &finished.says),
                "{does:?} cut at {cut}"
            );
        }
    }
}
