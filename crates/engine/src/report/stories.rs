//! Effects, each told as one story: intended, perhaps in doubt, done or not, read back.
//!
//! Entries of one effect are scattered through the journal, and a failed call does not name its effect. What ties them
//! together is that a procedure does one thing after the other: an outcome belongs to the latest intent of its step
//! and subject.

use std::collections::HashMap;

use allclear_core::{Class, PortError};

use crate::effect::{Change, Repeat, Verdict};
use crate::journal::{Doing, Entry, Event, Finding, Of};
use crate::probe::Evidence;
use crate::run::effect_id;

/// One effect of one run, from its first intent on. Performing it anew (another round) is another story.
#[derive(Debug)]
pub(super) struct Story<'a> {
    pub(super) of: &'a Of,
    pub(super) effect: &'a str,
    pub(super) title: &'a str,
    pub(super) changes: &'a [Change],
    /// The engine's idempotency key; none where nothing had to be sent.
    pub(super) key: Option<&'a str>,
    /// Why nothing takes it back, where the effect says so.
    pub(super) stays: Option<&'a str>,
    /// Entries of the intents, first to last.
    pub(super) intents: Vec<u64>,
    pub(super) done: Option<Done<'a>>,
    pub(super) doubts: Vec<Doubt<'a>>,
    pub(super) failures: Vec<(u64, &'a PortError)>,
    pub(super) judged: Option<Judged<'a>>,
    repeat: Repeat,
    /// Whether the latest intent has an outcome, be it that the outcome is in doubt.
    answered: bool,
}

/// How an effect came to be so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done<'a> {
    pub(super) seq: u64,
    pub(super) how: How<'a>,
}

/// By what it is known that an effect was made.
#[derive(Debug, Clone, Copy)]
pub(super) enum How<'a> {
    /// The service answered.
    Applied(&'a str),
    /// The service said that it was done already.
    AlreadyDone(&'a PortError),
    /// It was asked for afterwards.
    Reconciled(&'a str),
    /// A person said so.
    Vouched(&'a str),
    /// It was so before anything was sent.
    AlreadySo,
}

/// An effect that may have happened.
#[derive(Debug)]
pub(super) struct Doubt<'a> {
    pub(super) seq: u64,
    pub(super) why: Why<'a>,
    /// What became of it, in order.
    pub(super) clues: Vec<Clue<'a>>,
}

/// Why an outcome is not known.
#[derive(Debug, Clone, Copy)]
pub(super) enum Why<'a> {
    /// The run said why.
    Said(&'a str),
    /// The answer to the call was lost.
    Lost(&'a PortError),
}

/// Something that was found out about a doubt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clue<'a> {
    pub(super) seq: u64,
    pub(super) shows: Shows<'a>,
}

/// What a clue shows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shows<'a> {
    /// The service was asked.
    Found(Finding, &'a str),
    /// A person told: the choice, and who.
    Told(&'a str, &'a str),
    /// It was sent again under the same key, which is safe for this effect.
    SentAgain,
    /// The wanted state was found to hold.
    FoundSo,
}

impl Doubt<'_> {
    /// Whether it is known by now, one way or the other.
    pub(super) fn is_resolved(&self) -> bool {
        self.clues.iter().any(|clue| match clue.shows {
            Shows::Found(finding, _) => finding != Finding::Unknown,
            Shows::Told(choice, _) => choice == HAPPENED || choice == DID_NOT,
            Shows::SentAgain | Shows::FoundSo => true,
        })
    }
}

/// What reading back showed at last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged<'a> {
    pub(super) seq: u64,
    pub(super) verdict: &'a Verdict,
    pub(super) evidence: &'a [Evidence],
}

/// The answers that a person can give about a doubt, as the engine offers them.
pub(super) const HAPPENED: &str = "happened";
pub(super) const DID_NOT: &str = "did-not-happen";

impl<'a> Story<'a> {
    /// The entries that tell how it came out: what was intended, what was done, what was seen.
    pub(super) fn seqs(&self) -> Vec<u64> {
        self.intents.last().copied().into_iter().chain(self.outcome_seqs()).collect()
    }

    /// The entries of what was done and what was seen.
    pub(super) fn outcome_seqs(&self) -> impl Iterator<Item = u64> + use<> {
        let done = self.done.map(|done| done.seq);
        done.into_iter().chain(self.judged.map(|judged| judged.seq))
    }

    /// What open points of this effect go by.
    pub(super) fn id(&self) -> String {
        effect_id(&self.of.step, &self.of.subject, self.effect)
    }

    /// Whether something was sent and holds now.
    pub(super) fn changed_something(&self) -> bool {
        self.done.is_some() && !self.intents.is_empty()
    }

    /// Whether the journal ends, or goes on elsewhere, right after an intent: nobody knows what became of it.
    pub(super) fn was_cut_off(&self) -> bool {
        !self.intents.is_empty() && !self.answered
    }

    /// Whether it may have happened and nothing tells.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.done.is_none() && (self.was_cut_off() || self.doubts.iter().any(|doubt| !doubt.is_resolved()))
    }

    fn is(&self, of: &Of, effect: &str) -> bool {
        self.of.step == of.step && self.of.subject == of.subject && self.effect == effect
    }

    fn clue(&mut self, seq: u64, shows: Shows<'a>) {
        if let Some(doubt) = self.doubts.last_mut() {
            doubt.clues.push(Clue { seq, shows });
        }
    }

    fn doubt(&mut self, seq: u64, why: Why<'a>) {
        self.answered = true;
        self.doubts.push(Doubt { seq, why, clues: Vec::new() });
    }
}

/// All effects of a run, in the order of their first intents.
pub(super) fn stories(entries: &[Entry]) -> Vec<Story<'_>> {
    let mut reader = Reader::default();
    for entry in entries {
        reader.read(entry);
    }
    reader.stories
}

#[derive(Default)]
struct Reader<'a> {
    stories: Vec<Story<'a>>,
    /// The latest story of each step and subject.
    latest: HashMap<(&'a str, &'a str), usize>,
    /// Questions about doubts: by the question's step and subject, the story.
    asked: HashMap<(&'a str, &'a str), usize>,
}

impl<'a> Reader<'a> {
    fn read(&mut self, entry: &'a Entry) {
        let seq = entry.seq;
        match &entry.event {
            Event::Intended { of, effect, title, key, changes, repeat, stays, .. } => {
                let story = match self.find(of, effect).filter(|&i| self.stories[i].key == Some(key)) {
                    Some(index) => &mut self.stories[index],
                    None => self.begin(of, effect, title, *repeat),
                };
                // Only what the receiver would drop is sent again while in doubt.
                let in_doubt = story.doubts.last().is_some_and(|doubt| !doubt.is_resolved());
                if in_doubt && story.repeat == Repeat::Keyed {
                    story.clue(seq, Shows::SentAgain);
                }
                (story.key, story.changes, story.answered) = (Some(key.as_str()), changes, false);
                story.stays = stays.as_deref();
                story.intents.push(seq);
            }
            Event::AlreadySo { of, effect, title, .. } => {
                let story = match self.find(of, effect).filter(|&i| self.stories[i].done.is_none()) {
                    Some(index) => &mut self.stories[index],
                    None => self.begin(of, effect, title, Repeat::Readable),
                };
                if story.doubts.last().is_some_and(|doubt| !doubt.is_resolved()) {
                    story.clue(seq, Shows::FoundSo);
                }
                story.done = Some(Done { seq, how: How::AlreadySo });
            }
            Event::Applied { of, effect, says, .. } => {
                if let Some(story) = self.of(of, effect) {
                    story.answered = true;
                    story.done = Some(Done { seq, how: How::Applied(says) });
                }
            }
            Event::Failed { of, doing: Doing::Applying, error, .. } => self.failed(seq, of, error),
            Event::InDoubt { of, effect, why, .. } => {
                if let Some(story) = self.of(of, effect) {
                    story.doubt(seq, Why::Said(why));
                }
            }
            Event::Reconciled { of, effect, finding, says, .. } => {
                if let Some(story) = self.of(of, effect) {
                    story.clue(seq, Shows::Found(*finding, says));
                    if *finding == Finding::Happened {
                        story.done = Some(Done { seq, how: How::Reconciled(says) });
                    }
                }
            }
            Event::Judged { of, effect, verdict, evidence } => {
                if let Some(story) = self.of(of, effect) {
                    story.judged = Some(Judged { seq, verdict, evidence });
                }
            }
            Event::Asked { of, question } if question.choices.iter().any(|choice| choice.id == DID_NOT) => {
                let about = self.stories.iter().rposition(|story| {
                    story.of.step == of.step
                        && of.subject.starts_with(&format!("{} {}", story.of.subject, story.effect))
                });
                if let Some(index) = about {
                    self.asked.insert((&of.step, &of.subject), index);
                }
            }
            Event::Answered { of, answer } => {
                let about = self.asked.get(&(of.step.as_str(), of.subject.as_str()));
                if let Some(story) = about.map(|&index| &mut self.stories[index]) {
                    story.clue(seq, Shows::Told(&answer.choice, &answer.by));
                    if answer.choice == HAPPENED {
                        story.done = Some(Done { seq, how: How::Vouched(&answer.by) });
                    }
                }
            }
            _ => {}
        }
    }

    fn failed(&mut self, seq: u64, of: &'a Of, error: &'a PortError) {
        let latest = self.latest.get(&(of.step.as_str(), of.subject.as_str()));
        let Some(story) = latest.map(|&index| &mut self.stories[index]) else { return };
        story.answered = true;
        match error.class() {
            Class::AlreadyDone => story.done = Some(Done { seq, how: How::AlreadyDone(error) }),
            Class::OutcomeUnknown => story.doubt(seq, Why::Lost(error)),
            Class::RetryAfter(_) | Class::Permanent | Class::Stop(_) => story.failures.push((seq, error)),
        }
    }

    fn begin(&mut self, of: &'a Of, effect: &'a str, title: &'a str, repeat: Repeat) -> &mut Story<'a> {
        let index = self.stories.len();
        self.latest.insert((&of.step, &of.subject), index);
        self.stories.push(Story {
            of,
            effect,
            title,
            changes: &[],
            key: None,
            stays: None,
            intents: Vec::new(),
            done: None,
            doubts: Vec::new(),
            failures: Vec::new(),
            judged: None,
            repeat,
            answered: true,
        });
        &mut self.stories[index]
    }

    fn find(&self, of: &Of, effect: &str) -> Option<usize> {
        self.stories.iter().rposition(|story| story.is(of, effect))
    }

    fn of(&mut self, of: &Of, effect: &str) -> Option<&mut Story<'a>> {
        self.find(of, effect).map(|index| &mut self.stories[index])
    }
}
