//! The timeline: what happened, one sentence per entry that says something new.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::words::{clock_from, listed, quoted, sentence, span, stopped};
use crate::claim::Certainty;
use crate::effect::{Change, Verdict};
use crate::gate::AnswerRefused;
use crate::journal::{Doing, Entry, Event, Finding, Note, Of, Waiting};
use crate::outcome::Outcome;
use crate::step::Phase;

/// Waits before another try that are shorter than this are left out: the failure has been told.
const LONG_WAIT: SignedDuration = SignedDuration::from_secs(30);

/// One sentence of the timeline, and the entry that it tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// The entry's number.
    pub seq: u64,
    /// The entry's time.
    pub at: Timestamp,
    /// Time since the first entry.
    pub since_start: SignedDuration,
    /// The step's phase, where it belongs to a step.
    pub phase: Option<Phase>,
    /// The step's id, where it belongs to a step.
    pub step: Option<String>,
    /// What happened: one line of plain text, free of control characters, not escaped for any markup.
    pub says: String,
}

/// Tells a run, one sentence per relevant entry.
///
/// Left out is what repeats or announces another sentence: an intent whose outcome follows, a look that was not yet
/// conclusive, short waits, the same failure or wait again while nothing else happened, and what the report tells in
/// sections of their own (impact, mitigations). The last entry is always told: it is where the run stands.
pub fn timeline(entries: &[Entry]) -> Vec<Moment> {
    let mut teller = Teller::new(entries);
    let mut moments = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let next = entries.get(index + 1);
        let says = teller.tell(entry);
        if next.is_none() || teller.is_relevant(entry, next) {
            moments.push(teller.moment(entry, says));
        }
    }
    moments
}

/// Tells one entry by itself, without what other entries would add.
pub fn told(entry: &Entry) -> String {
    Teller::new(std::slice::from_ref(entry)).tell(entry)
}

/// Goes through a journal and remembers what later sentences refer to.
struct Teller<'a> {
    began: Timestamp,
    /// The latest effect's title of each step and subject.
    titles: HashMap<(&'a str, &'a str), &'a str>,
    /// When each question was asked.
    asked: HashMap<(&'a str, &'a str), Timestamp>,
    /// What was said since something new happened.
    repeated: HashSet<(&'a str, &'a str, String)>,
}

impl<'a> Teller<'a> {
    fn new(entries: &[Entry]) -> Self {
        Self {
            began: entries.first().map_or(Timestamp::UNIX_EPOCH, |first| first.at),
            titles: HashMap::new(),
            asked: HashMap::new(),
            repeated: HashSet::new(),
        }
    }

    fn moment(&self, entry: &Entry, says: String) -> Moment {
        let of = entry.event.of();
        Moment {
            seq: entry.seq,
            at: entry.at,
            since_start: entry.at.duration_since(self.began),
            phase: of.map(|of| of.phase),
            step: of.map(|of| quoted(&of.step)),
            says,
        }
    }

    fn is_relevant(&mut self, entry: &'a Entry, next: Option<&Entry>) -> bool {
        match &entry.event {
            Event::Intended { .. } => {
                !matches!(next, Some(Entry { event: Event::Applied { .. } | Event::Failed { .. }, .. }))
            }
            Event::Announced { .. }
            | Event::GaveBack { untold: None }
            | Event::Judged { verdict: Verdict::Pending { .. }, .. }
            | Event::Slept { waiting: Waiting::ToVerify, .. }
            | Event::Noted {
                note:
                    Note::Affected { .. }
                    | Note::Count { .. }
                    | Note::Mitigation(_)
                    | Note::Owed(_)
                    | Note::Excused(_),
                ..
            } => false,
            Event::Noted { note: Note::Told(claim), .. } => claim.certainty() == Certainty::Unproven,
            Event::Slept { of, until, waiting, says } => {
                let is_long = until.duration_since(entry.at) >= LONG_WAIT;
                (*waiting == Waiting::ForTheWorld || is_long) && self.is_new(of, says)
            }
            Event::Failed { of, error, .. } => self.is_new(of, &error.to_string()),
            Event::Observed { of, says, .. } if !self.is_new(of, says) => false,
            Event::Observed { of, says, .. } => {
                self.repeated.clear();
                self.is_new(of, says)
            }
            _ => {
                self.repeated.clear();
                true
            }
        }
    }

    fn is_new(&mut self, of: &'a Of, says: &str) -> bool {
        self.repeated.insert((&of.step, &of.subject, says.to_owned()))
    }

    fn tell(&mut self, entry: &'a Entry) -> String {
        match &entry.event {
            Event::Intended { of, title, .. } | Event::AlreadySo { of, title, .. } => {
                self.titles.insert((&of.step, &of.subject), title);
            }
            Event::Asked { of, .. } => {
                self.asked.insert((&of.step, &of.subject), entry.at);
            }
            _ => {}
        }
        let text = self.say(entry);
        stopped(text)
    }

    fn say(&self, entry: &Entry) -> String {
        let time = |at: Timestamp| clock_from(self.began, at);
        match &entry.event {
            Event::Started { title, version, environment, operator, .. } => format!(
                "{} started “{}” (version {version}) in {}",
                quoted(operator),
                quoted(title),
                quoted(environment)
            ),
            Event::PlanApproved { by, effects, .. } => {
                let (by, s) = (quoted(by), if *effects == 1 { "" } else { "s" });
                format!("{by} approved the plan with {effects} possible change{s}")
            }
            Event::Resumed { by, .. } => format!("{} took the run up again", quoted(by)),
            Event::HandedOver { from, to } => {
                format!("{} handed the run over to {}", quoted(from), quoted(to))
            }
            Event::Announced { .. }
            | Event::NotAnnounced { .. }
            | Event::Owned { .. }
            | Event::GaveBack { .. } => owner_text(&entry.event),
            Event::Observed { says, .. } | Event::Applied { says, .. } => sentence(says),
            Event::Failed { of, doing, error, .. } => {
                format!("{}, a call failed: {}", self.while_doing(of, *doing), quoted(&error.to_string()))
            }
            Event::Intended { title, .. } => format!("The run set out to {}", quoted(title)),
            Event::AlreadySo { title, .. } => {
                format!("The run did not have to {}: it was so already", quoted(title))
            }
            Event::Drifted { planned, found, .. } => format!(
                "The run found something else than the plan showed: planned was {}, and now it would be {}",
                changes_text(planned),
                changes_text(found)
            ),
            Event::InDoubt { of, why, .. } => {
                format!("It was not known whether {} had happened: {}", self.title(of), quoted(why))
            }
            Event::Reconciled { of, finding, says, .. } => {
                let found = match finding {
                    Finding::Happened => "it had",
                    Finding::DidNot => "it had not",
                    Finding::Unknown => "it could not tell",
                };
                let title = self.title(of);
                format!("The run checked whether {title} had happened: {found} ({})", quoted(says))
            }
            Event::Judged { verdict, .. } => verdict_text(verdict),
            Event::Asked { question, .. } => match question.deadline {
                None => format!("The run asked: {}", quoted(&question.question)),
                Some(at) => {
                    format!("The run asked, until {}: {}", time(at), quoted(&question.question))
                }
            },
            Event::Answered { of, answer } => {
                let after = self.since_asked(of, entry.at);
                let (by, choice) = (quoted(&answer.by), quoted(&answer.choice));
                match &answer.comment {
                    None => format!("{by} answered “{choice}”{after}"),
                    Some(remark) => {
                        format!("{by} answered “{choice}”{after}, and said: “{}”", quoted(remark))
                    }
                }
            }
            Event::AnswerRefused { by, why, .. } => refused_text(by, why),
            Event::GateExpired { choice, .. } => {
                format!("Nobody answered in time, so “{}” counted as the answer", quoted(choice))
            }
            Event::Slept { until, waiting, says, .. } => match waiting {
                Waiting::ToRetry => format!("The run began to wait until {}, to try again", time(*until)),
                Waiting::ForTheWorld | Waiting::ToVerify => {
                    format!("The run began to wait until {}: {}", time(*until), quoted(says))
                }
            },
            Event::DeadlineSet { at, says, .. } => {
                format!("The run set a deadline at {}: {}", time(*at), quoted(says))
            }
            Event::DeadlinePassed { at, .. } => format!("The deadline of {} passed", time(*at)),
            Event::WaitsLong { says } => {
                format!("The run waits for long, so somebody was to be told: {}", quoted(says))
            }
            Event::Noted { note, .. } => note_text(note),
            Event::OrderDiffers { key, recorded } => format!(
                "The procedure went another way than before: it came to `{}` where the journal has `{}`",
                quoted(key),
                quoted(recorded)
            ),
            Event::Detached { why, outcome: Some(Outcome::Interrupted) } => {
                format!("The run was interrupted: {}", quoted(why))
            }
            Event::Detached { why, .. } => format!("The process let go: {}", quoted(why)),
            Event::Concluded { outcome, says, .. } => {
                format!("The run ended as {outcome}: {}", quoted(says))
            }
        }
    }

    fn while_doing(&self, of: &Of, doing: Doing) -> String {
        let title = self.title(of);
        match doing {
            Doing::Observing => "While looking".to_owned(),
            Doing::Predicting => "While working out what would change".to_owned(),
            Doing::Applying => format!("While doing {title}"),
            Doing::Reconciling => format!("While checking whether {title} had happened"),
            Doing::Verifying => format!("While reading back {title}"),
        }
    }

    /// The title of the effect that a step last performed on a subject, in quotes.
    fn title(&self, of: &Of) -> String {
        let title = self.titles.get(&(of.step.as_str(), of.subject.as_str()));
        title.map_or_else(|| format!("“{}”", quoted(&of.subject)), |title| format!("“{}”", quoted(title)))
    }

    fn since_asked(&self, of: &Of, at: Timestamp) -> String {
        let asked = self.asked.get(&(of.step.as_str(), of.subject.as_str()));
        asked.map_or_else(String::new, |asked| format!(" after {}", span(at.duration_since(*asked))))
    }
}

/// Changes, in the words of the report.
pub(super) fn changes_text(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "no change".to_owned();
    }
    listed(&changes.iter().map(change_text).collect::<Vec<_>>())
}

/// One change, in the words of the report.
pub(super) fn change_text(change: &Change) -> String {
    let Change { kind, label, field, before, after, .. } = change;
    let [kind, label, field, before, after] = [kind, label, field, before, after].map(|text| quoted(text));
    format!("{kind} {label}: {field} {before} → {after}")
}

/// A verdict, as a sentence.
pub(super) fn verdict_text(verdict: &Verdict) -> String {
    let says = quoted(verdict.says());
    match verdict {
        Verdict::Verified { .. } => format!("Verified: {says}"),
        Verdict::Pending { .. } => format!("Not seen yet: {says}"),
        Verdict::Refuted { .. } => format!("Refuted: {says}"),
        Verdict::Unverifiable { .. } => format!("Cannot be verified: {says}"),
    }
}

/// What the platform's record says of the run, as a sentence.
fn owner_text(event: &Event) -> String {
    match event {
        Event::Announced { ended: Some(how), .. } => {
            format!("By the platform's record the run has ended {}", quoted(how))
        }
        Event::Announced { host, .. } => {
            format!("The platform's record says that the run goes on, on {}", quoted(host))
        }
        Event::NotAnnounced { why } => format!(
            "The run could not be announced on the platform ({}): it goes on, and that no other machine runs the same is \
             not proven",
            quoted(why)
        ),
        Event::Owned { by, .. } => match &by.ended {
            Some(ended) if ended.taken_over => {
                format!("By the platform's record the run was {}", quoted(&ended.how))
            }
            Some(_) => format!(
                "By the platform's record another ended after this plan was made: {}",
                quoted(&by.to_string())
            ),
            None => {
                format!("By the platform's record another has the runbook: {}", quoted(&by.to_string()))
            }
        },
        Event::GaveBack { untold: None } => "The platform's record says that the run has ended".to_owned(),
        Event::GaveBack { untold: Some(why) } => {
            format!("The platform could not be told that the run has ended ({})", quoted(why))
        }
        _ => String::new(),
    }
}

/// A refused answer, as a sentence.
pub(super) fn refused_text(by: &str, why: &AnswerRefused) -> String {
    let why = match why {
        AnswerRefused::Foreign { .. } => {
            "it was given to something else than this question and what it showed".to_owned()
        }
        AnswerRefused::NotOffered { choice, offered } => {
            format!("“{}” was not offered ({} was)", quoted(choice), quoted(offered))
        }
        AnswerRefused::NotAllowed { who, .. } => format!("it takes {}", quoted(who)),
        AnswerRefused::Repeated { .. } => "the same person had answered before".to_owned(),
        AnswerRefused::Unconfirmed { choice, what } => {
            format!("“{}” took {}, typed, and that was not typed", quoted(choice), quoted(what))
        }
        AnswerRefused::BadName { why } => quoted(why),
        AnswerRefused::TooLate { .. } => "the gate's deadline had passed".to_owned(),
        AnswerRefused::Closed { how } => format!("the gate was closed ({})", quoted(how)),
    };
    format!("The answer from {} did not count: {why}", quoted(by))
}

fn note_text(note: &Note) -> String {
    match note {
        Note::Affected { kind, label, says, .. } => affected_text(kind, label, says),
        Note::Count { what, count } => format!("The run counted {count} {}", quoted(what)),
        Note::Mitigation(claim) | Note::Told(claim) => sentence(claim.says()),
        Note::Owed(owed) => format!("Until the run closes it: {}", quoted(owed.says())),
        Note::Closed(closing) => sentence(closing.says()),
        Note::Excused(excuse) => {
            format!("“{}” is not proven and need not be: {}", quoted(excuse.title()), excuse.because().says())
        }
        Note::Artifact { name, says } => format!("The run left the file {}: {}", quoted(name), quoted(says)),
        Note::OpenQuestion { says } => format!("The run left open: {}", quoted(says)),
    }
}

/// Something affected, as a sentence.
pub(super) fn affected_text(kind: &str, label: &str, says: &str) -> String {
    let kind = sentence(kind);
    format!("{} {}: {}", kind.trim_end_matches('.'), quoted(label), quoted(says))
}
