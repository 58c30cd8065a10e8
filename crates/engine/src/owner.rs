//! A run announces itself on the platform's own record before it touches anything else, and says there that it has ended
//! before it ends.
//!
//! The store of runs knows one machine's; the platform is what all machines share ([`allclear_core::owner`] tells how two of
//! them settle it). Both ends are entries of the journal, made beside the procedure: whoever is killed in between does
//! them again, and the rows' ids make that harmless. A run that can be resumed keeps its announcement.
//!
//! | the record says | the run |
//! |---|---|
//! | nobody goes on, or we do | goes on |
//! | another goes on, or ended since this one's plan was made, and this one has done nothing yet | ends as refused |
//! | another goes on, or took this one over, and this one has acted | is left as it was, to be resumed or aborted |
//! | this one ended | records that it has, where its journal comes to the same end; else the journal is a copy that is older than what was done by it, and it is left as it was |
//! | nothing: it cannot be reached, or loses rows | goes on, and says that no other is not proven |

use std::sync::Arc;
use std::time::Duration;

use allclear_core::clock::after;
use allclear_core::owner::{
    Announced, AnnouncedEffect, Announcement, EffectFound, EffectPlace, Ended, Owner, ProcessId, Told,
    announce, end, ended_runs,
};
use allclear_core::ports::Announcements;
use allclear_core::{Class, Clock, PortError};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::effect::Intent;
use crate::journal::Event;
use crate::outcome::{Halt, Outcome, Refusal};
use crate::replay::BESIDE;
use crate::run::Run;
use crate::seam::SeamError;
#[cfg(feature = "sqlite")]
use crate::sqlite::{RunSummary, Store};

/// So often a read or a keyed insert is made, with a second between.
const TRIES: u32 = 3;
/// A platform that takes longer to fail holds nobody up a second time.
const PATIENCE: Duration = Duration::from_secs(10);
/// For so long an answer about who has a run holds.
const FRESH: Duration = Duration::from_secs(2);
/// How long whoever takes a run over waits before it begins: longer than the other one may go by what it had been told before.
pub const UNTIL_IT_KNOWS: Duration = Duration::from_secs(4);
/// So many ended runs of this store, which could not tell the platform that they have, are told of before one begins.
const MOST_UNTOLD: u32 = 16;

/// What this machine knows of a run that the platform's record names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// Nothing: it is another machine's, or another store's.
    Elsewhere,
    /// It is kept here and has not ended.
    Here,
    /// It was kept here and has ended so.
    Ended(String),
}

#[cfg(feature = "sqlite")]
impl Known {
    /// What a durable store knows of a run.
    pub fn of(store: &Store, run: &str) -> Self {
        match store.find(run) {
            // A store finds runs by the beginning of their names too.
            Ok(found) if found.id != run => Self::Elsewhere,
            Err(_) => Self::Elsewhere,
            Ok(RunSummary { outcome: Some(outcome), .. }) => Self::Ended(outcome.title().to_owned()),
            Ok(RunSummary { closed: Some(closed), .. }) => {
                Self::Ended(format!("as damaged, by {}", closed.by))
            }
            Ok(_) => Self::Here,
        }
    }
}

/// What a store says of a run.
type Knows = Arc<dyn Fn(&str) -> Known + Send + Sync>;

/// Where and as whose a run announces itself.
#[derive(Clone)]
pub struct Announcing {
    on: Arc<dyn Announcements>,
    host: String,
    knows: Knows,
    seen: Option<usize>,
}

impl std::fmt::Debug for Announcing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Announcing").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Announcing {
    /// On a platform's record, from the machine of this name.
    pub fn on(record: Arc<dyn Announcements>, host: impl Into<String>) -> Self {
        Self { on: record, host: host.into(), knows: Arc::new(|_| Known::Elsewhere), seen: None }
    }

    /// The same, with a store that knows its own runs: one that ended while the platform could not be told is told of then,
    /// and holds nobody up.
    pub fn knowing(self, knows: impl Fn(&str) -> Known + Send + Sync + 'static) -> Self {
        Self { knows: Arc::new(knows), ..self }
    }

    /// The same, for a plan that was made when so many runs of the runbook had ended ([`ended_before`](Self::ended_before)):
    /// a run whose plan another one has overtaken is refused. Without it that is not noticed.
    pub fn seen(self, ended: Option<usize>) -> Self {
        Self { seen: ended, ..self }
    }

    /// How many runs of the runbook have ended, to be asked before a plan is made; `None` where the record cannot be read.
    pub async fn ended_before(&self, runbook: &str) -> Option<usize> {
        self.on.all(runbook).await.ok().map(|all| ended_runs(&all))
    }

    /// The runs of a runbook that have not ended, wherever they are.
    pub async fn going_on(&self, runbook: &str, clock: &dyn Clock) -> Result<Vec<Announced>, PortError> {
        let all = persistent(clock, || self.on.all(runbook)).await?;
        Ok(all.into_iter().filter(Announced::goes_on).collect())
    }

    /// The same, with the runs of a durable store.
    #[cfg(feature = "sqlite")]
    pub fn knowing_store(self, store: &Store) -> Self {
        let store = store.clone();
        self.knowing(move |run| Known::of(&store, run))
    }

    /// Says that a run has ended, where its announcement stands.
    pub async fn end(
        &self,
        runbook: &str,
        run: &str,
        ended: &Ended,
        clock: &dyn Clock,
    ) -> Result<Told, PortError> {
        persistent(clock, || Box::pin(end(&*self.on, runbook, run, ended))).await
    }

    async fn take(&self, ours: &Announcement, clock: &dyn Clock) -> Event {
        for _ in 0..MOST_UNTOLD {
            let owner = persistent(clock, || Box::pin(announce(&*self.on, ours, self.seen))).await;
            let other = match owner {
                Ok(Owner::Ours(number)) => {
                    return Event::Announced { number, host: self.host.clone(), ended: None };
                }
                Ok(Owner::OursEnded(own)) => {
                    let (number, host) = (own.number, self.host.clone());
                    return Event::Announced { number, host, ended: own.ended.map(|ended| ended.how) };
                }
                Ok(Owner::TakenOver(own)) => return Event::Owned { by: own, known: Known::Here },
                Ok(Owner::Since(other)) => return Event::Owned { by: other, known: Known::Elsewhere },
                Ok(Owner::Another(other)) => other,
                Ok(Owner::Unproven) => {
                    let why = "its audit log accepted the row and does not have it".to_owned();
                    return Event::NotAnnounced { why };
                }
                Err(error) => return Event::NotAnnounced { why: error.to_string() },
            };
            let Known::Ended(how) = (self.knows)(&other.says.run) else {
                let known = (self.knows)(&other.says.run);
                return Event::Owned { by: other, known };
            };
            let told = self.end(&ours.runbook, &other.says.run, &Ended::by_itself(how), clock).await;
            if let Err(error) = told {
                return Event::NotAnnounced { why: error.to_string() };
            }
        }
        Event::NotAnnounced { why: "runs of this machine that have ended still stand on it".to_owned() }
    }

    async fn give_back(&self, runbook: &str, run: &str, outcome: Outcome, clock: &dyn Clock) -> Event {
        let untold = match self.end(runbook, run, &Ended::by_itself(outcome.title()), clock).await {
            Ok(Told::Yes | Told::NothingStands) => None,
            Ok(Told::Unproven) => Some("its audit log accepted the row and does not have it".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        Event::GaveBack { untold }
    }
}

/// How a run stands on the platform's record, as far as this process knows.
#[derive(Debug)]
pub(crate) struct Standing {
    process: ProcessId,
    runbook: String,
    /// Its number among those of its runbook.
    number: Option<u32>,
    /// How it has ended, where the record knows more than the journal.
    pub(crate) ended: Option<String>,
    /// Until when, in monotonic time, the record is not asked again because it did not answer.
    away_until: Option<Duration>,
}

impl Standing {
    /// Of a run that has not looked.
    pub(crate) fn unknown() -> Self {
        let runbook = String::new();
        Self { process: ProcessId::random(), runbook, number: None, ended: None, away_until: None }
    }
}

/// Announces the run, before anything of its procedure.
pub(crate) async fn take(run: &mut Run, runbook: &str) -> Result<(), Halt> {
    let Some(announcing) = run.terms.announcing.clone() else { return Ok(()) };
    runbook.clone_into(&mut run.standing_on_record.runbook);
    // A run that is to end does that, whoever else goes on.
    run.check_stop().await?;
    let ours = Announcement {
        run: run.id().to_owned(),
        runbook: runbook.to_owned(),
        by: run.requester().to_owned(),
        host: announcing.host.clone(),
        environment: run.terms.environment.clone(),
    };
    let clock = run.clock();
    let key = announced_key(run.seam.incarnation());
    let entry = run.record(&key, async move { announcing.take(&ours, &*clock).await }).await?.entry;
    let (by, known) = match entry.event {
        Event::Owned { by, known } => (by, known),
        Event::Announced { number, ended, .. } => {
            run.standing_on_record.number = Some(number);
            run.standing_on_record.ended = ended;
            return Ok(());
        }
        _ => return Ok(()),
    };
    let says = owned_by(&by, &known, run.id(), &run.terms.environment);
    // It may have changed something: whoever settles that finds it as it was.
    if run.is_ahead() {
        return Err(SeamError::Owned { run: run.id().to_owned(), says }.into());
    }
    Err(Refusal::Owned { says }.into())
}

/// Says on the record that the run ends, before it does.
pub(crate) async fn give_back(run: &mut Run, runbook: &str, outcome: Outcome) -> Result<(), SeamError> {
    let Some(announcing) = run.terms.announcing.clone() else { return Ok(()) };
    let incarnation = run.seam.incarnation();
    let taken = run.seam.recorded(&announced_key(incarnation)).map(|entry| &entry.event);
    if matches!(taken, Some(Event::Owned { .. })) {
        return Ok(());
    }
    let (id, runbook, clock) = (run.id().to_owned(), runbook.to_owned(), run.clock());
    let body = async move { announcing.give_back(&runbook, &id, outcome, &*clock).await };
    match run.record(&format!("{BESIDE}gave back {incarnation}"), body).await {
        Err(Halt::Seam(error)) => Err(error),
        // Recording beside the procedure is never out of order.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Says on the platform's record which effect the run is about to apply. A copy of its journal that is older, or that goes on
/// beside it, finds another's word there; a run that somebody took over meanwhile finds its end. Neither does anything.
pub(crate) async fn announce_effect(
    run: &mut Run,
    key: &str,
    effect: &str,
    intent: &Intent,
) -> Result<(), SeamError> {
    let Some(announcing) = run.terms.announcing.clone() else { return Ok(()) };
    let standing = &run.standing_on_record;
    // That people are told how the run stands is found by name, and done once whichever copy of the journal comes to it.
    let is_told_beside = run.is_beside();
    if let Some(how) = standing.ended.as_ref().filter(|_| !is_told_beside) {
        return Err(ended_elsewhere(run.id(), how));
    }
    // Asked once, and not again while the platform is away: what is told about an outage must not wait for it.
    let clock = run.clock();
    if standing.away_until.is_some_and(|until| clock.monotonic() < until) {
        return Ok(());
    }
    let at = EffectPlace { runbook: standing.runbook.clone(), number: standing.number, key: key.to_owned() };
    let ours = AnnouncedEffect {
        run: run.id().to_owned(),
        effect: effect.to_owned(),
        process: standing.process,
        intended_at: intent.at,
        host: announcing.host.clone(),
    };
    // A process that was suspended finds its connections dead: one failure is no outage.
    let tell = || announcing.on.announce_effect(&at, &ours);
    let mut found = EffectFound::default();
    for _ in 0..TRIES {
        let (asked, asked_at) = (clock.monotonic(), clock.now());
        let Ok(answer) = persistent(&*clock, tell).await else {
            run.standing_on_record.away_until = Some(clock.monotonic() + PATIENCE);
            return Ok(());
        };
        found = answer;
        // The answer is as old as the question: a process that was suspended in between asks again.
        let took = clock.monotonic().saturating_sub(asked);
        if took < FRESH && clock.now() < after(asked_at, FRESH) {
            break;
        }
    }
    if let Some(Ended { how, .. }) = found.ended.filter(|_| !is_told_beside) {
        return Err(ended_elsewhere(&ours.run, &how));
    }
    match found.effect {
        Some(theirs) if theirs.process != ours.process => Err(another_copy(&ours, &theirs)),
        _ => Ok(()),
    }
}

fn another_copy(ours: &AnnouncedEffect, theirs: &AnnouncedEffect) -> SeamError {
    let AnnouncedEffect { run, effect, .. } = ours;
    let AnnouncedEffect { intended_at, host, .. } = theirs;
    let says = format!(
        "by the platform's record another copy of its journal came to `{effect}` at {intended_at} on {host}, so it was not applied \
         here; go on with that one, or, where it is gone for good, end this one with `allclear abort {run}` and start the runbook \
         anew"
    );
    SeamError::Owned { run: run.clone(), says }
}

/// Before a run's last word: whoever took it over goes on, and what they did is not this one's to tell.
pub(crate) async fn check_not_taken_over(run: &mut Run) -> Result<(), SeamError> {
    let Some(announcing) = run.terms.announcing.clone() else { return Ok(()) };
    if run.standing_on_record.number.is_none() {
        return Ok(());
    }
    let (clock, runbook) = (run.clock(), run.standing_on_record.runbook.clone());
    let Ok(all) = persistent(&*clock, || announcing.on.all(&runbook)).await else { return Ok(()) };
    let own = all.into_iter().rfind(|one| one.says.run == run.id());
    match own.filter(|own| own.ended.as_ref().is_some_and(|ended| ended.taken_over)) {
        None => Ok(()),
        Some(own) => {
            let says = owned_by(&own, &Known::Here, run.id(), &run.terms.environment);
            Err(SeamError::Owned { run: run.id().to_owned(), says })
        }
    }
}

/// Why a run that has ended by the platform's record does nothing new, where its journal does not say so.
pub(crate) fn ended_elsewhere(run: &str, how: &str) -> SeamError {
    let says = format!(
        "by the platform's record it has ended ({how}), and its journal does not say so: it is an older copy, or somebody ended it \
         from elsewhere. Nothing more was done here; end it with `allclear abort {run}`"
    );
    SeamError::Owned { run: run.to_owned(), says }
}

fn announced_key(incarnation: u32) -> String {
    format!("{BESIDE}announced {incarnation}")
}

/// Who has it, since when, and what a person does next.
pub(crate) fn owned_by(by: &Announced, known: &Known, ours: &str, environment: &str) -> String {
    let Announcement { run, runbook, host, environment: theirs, .. } = &by.says;
    if run == ours {
        let how = by.ended.as_ref().map_or("", |ended| &ended.how);
        return format!(
            "it was {how}; whoever did that goes on. What it has changed is in `allclear status {run}`; end it with \
             `allclear abort {run}`"
        );
    }
    if let Some(Ended { how, .. }) = &by.ended {
        return format!(
            "{by}, ended {how} after this plan was made, so nothing was begun here; make a new plan and look at it"
        );
    }
    let names = if theirs.is_empty() || theirs == environment {
        String::new()
    } else {
        format!(" (`{environment}` here, and `{theirs}` there: both are names of the same platform)")
    };
    let next = match known {
        Known::Here => format!(
            "it is kept here: `allclear watch {run}`, or `allclear resume {run}` where no process has it, or `allclear \
             hand-over {run}`, or `allclear abort {run}`"
        ),
        Known::Elsewhere | Known::Ended(_) => format!(
            "on {host}: `allclear watch {run}`, or `allclear hand-over {run}` to work on it from there. Only when that \
             machine and its run are gone for good: `allclear run {runbook} --take-over {run} --reason TEXT`"
        ),
    };
    format!("{by}, has not ended, so nothing was begun here{names}; {next}")
}

/// Reads, and inserts with ids of ours, may be made again whatever became of them.
async fn persistent<'a, T>(
    clock: &dyn Clock,
    make: impl Fn() -> BoxFuture<'a, Result<T, PortError>> + Send,
) -> Result<T, PortError> {
    let began = clock.monotonic();
    let mut tried = 1;
    loop {
        let error = match make().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let may_pass = matches!(error.class(), Class::RetryAfter(_) | Class::OutcomeUnknown);
        if !may_pass || tried == TRIES || clock.monotonic().saturating_sub(began) > PATIENCE {
            return Err(error);
        }
        tried += 1;
        clock.sleep_until(after(clock.now(), Duration::from_secs(1))).await;
    }
}
