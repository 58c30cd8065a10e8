//! The journal: what happened in a run, in order, each entry chained to the one before.
//!
//! An entry's hash covers the hash before it and the entry's own bytes as they are stored, so any flipped byte is
//! found and located. Everything that people read (live view, report, page) is made from entries and nothing else.

use allclear_core::PortError;
use allclear_core::owner::Announced;
use allclear_core::ports::DangerousApprovals;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::approval::{PlanApproval, Shown};
use crate::claim::{Claim, Closing, Excuse, Owed};
use crate::effect::{Change, Repeat, Verdict};
use crate::gate::{Answer, AnswerRefused, Question};
use crate::outcome::Outcome;
use crate::owner::Known;
use crate::probe::Evidence;
use crate::step::Phase;

/// Which step an entry belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Of {
    /// The step's id.
    pub step: String,
    /// The step's phase.
    pub phase: Phase,
    /// What the step is about; empty where it is about one thing only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
}

/// What somebody or something was doing when a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// Looking.
    Observing,
    /// Predicting an effect.
    Predicting,
    /// Applying an effect.
    Applying,
    /// Asking whether an effect happened.
    Reconciling,
    /// Reading an effect back.
    Verifying,
}

/// Why a run waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// For the world to get better, or for a moment that was named.
    ForTheWorld,
    /// Until a failed call may be tried again.
    ToRetry,
    /// Until an effect can be seen.
    ToVerify,
}

/// What a reconciler found, as it is journalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// It happened.
    Happened,
    /// It did not.
    DidNot,
    /// Cannot be known.
    Unknown,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Event {
    /// The run began.
    Started {
        /// The run's id; empty in journals of versions that did not record it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        run: String,
        /// Which runbook.
        runbook: String,
        /// The runbook's title.
        title: String,
        /// Version of the procedure.
        version: u32,
        /// Which environment.
        environment: String,
        /// Which platform that was, whatever it is called. Journals of older versions do not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        platform: Option<String>,
        /// Who started it.
        operator: String,
        /// The procedure's input.
        input: Value,
        /// Hash of the plan that this run is bound to.
        plan: Option<String>,
        /// Who approved that plan. What a resume goes by.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        approvals: Vec<PlanApproval>,
        /// Address of the sandbox that is rehearsed on; `None` where the run acts for real.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rehearsal: Option<String>,
        /// Digest of everything in that plan, remarks included: the file that holds it is compared with this. `None` without
        /// a plan, and in journals of versions that did not record it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plan_content: Option<String>,
        /// What an adapter needs to take the run up again (sandbox, approvers); `None` in journals of versions that did
        /// not record it.
        #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
        context: Option<Value>,
        /// Who agrees to what is dangerous; `None` in a journal that does not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dangerous: Option<DangerousApprovals>,
    },
    /// Somebody approved the plan.
    PlanApproved {
        /// Who.
        by: String,
        /// Hash of what was shown.
        plan: String,
        /// How many effects it names, conditional ones included.
        effects: usize,
        /// How they showed it; `None` where that is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shown: Option<Shown>,
    },
    /// A process took the run up again.
    Resumed {
        /// Who.
        by: String,
        /// How often that has happened.
        incarnation: u32,
    },
    /// The run is somebody else's responsibility from now on.
    HandedOver {
        /// Who handed it over.
        from: String,
        /// Who has it.
        to: String,
    },
    /// The run said on the platform's own record that it goes on.
    Announced {
        /// Its number among those of its runbook there.
        number: u32,
        /// From which machine.
        host: String,
        /// How the run has ended by that record: only whoever was killed before its journal could say so finds that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended: Option<String>,
    },
    /// The platform's record could not be written or read. The run goes on, and that no other machine runs the same is not
    /// proven.
    NotAnnounced {
        /// Why.
        why: String,
    },
    /// By the platform's record another run has the runbook, or somebody took this one over.
    Owned {
        /// The announcement that stands, or was taken over.
        by: Announced,
        /// What this machine knows of that run.
        known: Known,
    },
    /// The run said on the platform's record that it has ended.
    GaveBack {
        /// Why that could not be said; `None` where it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        untold: Option<String>,
    },
    /// A probe found something.
    Observed {
        /// Which step.
        of: Of,
        /// The value.
        value: Value,
        /// One sentence.
        says: String,
        /// What it rests on.
        evidence: Vec<Evidence>,
    },
    /// A call failed.
    Failed {
        /// Which step.
        of: Of,
        /// While doing what.
        doing: Doing,
        /// Which try it was, from 1.
        attempt: u32,
        /// What went wrong.
        error: PortError,
    },
    /// An effect is about to be applied. Durable before the first byte leaves.
    Intended {
        /// Which step.
        of: Of,
        /// The effect, e.g. `campaign.pause`.
        effect: String,
        /// The sentence.
        title: String,
        /// Which try it is, from 1.
        attempt: u32,
        /// The idempotency key.
        key: String,
        /// What may be done when the outcome is not known.
        repeat: Repeat,
        /// What will change.
        changes: Vec<Change>,
        /// Figures and remarks.
        notes: Vec<String>,
        /// Which incarnation of the run wrote this.
        incarnation: u32,
        /// Why nothing takes it back; `None` where `undo` does, or in a journal of a version that did not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stays: Option<String>,
    },
    /// The wanted state already held; nothing was sent.
    AlreadySo {
        /// Which step.
        of: Of,
        /// The effect.
        effect: String,
        /// The sentence.
        title: String,
        /// The receipt to go on with.
        receipt: Value,
    },
    /// The prediction is not what the plan showed.
    Drifted {
        /// Which step.
        of: Of,
        /// The effect.
        effect: String,
        /// What the plan showed.
        planned: Vec<Change>,
        /// What would change now.
        found: Vec<Change>,
    },
    /// An effect was applied.
    Applied {
        /// Which step.
        of: Of,
        /// The effect.
        effect: String,
        /// Which try succeeded.
        attempt: u32,
        /// The receipt.
        receipt: Value,
        /// One sentence.
        says: String,
    },
    /// An effect may have happened: the process died, or the answer was lost.
    InDoubt {
        /// Which step.
        of: Of,
        /// The effect.
        effect: String,
        /// Which try.
        attempt: u32,
        /// Why it is not known.
        why: String,
    },
    /// The service was asked whether it happened.
    Reconciled {
        /// Which step.
        of: Of,
        /// The effect.
        effect: String,
        /// Which try it is about.
        attempt: u32,
        /// What was found.
        finding: Finding,
        /// How.
        says: String,
        /// The receipt, where it happened. `null` is one: that of an effect with nothing to tell.
        #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
        receipt: Option<Value>,
    },
    /// An effect was read back.
    Judged {
        /// Which step.
        of: Of,
        /// The effect.
        effect: String,
        /// The verdict.
        verdict: Verdict,
        /// What it rests on.
        evidence: Vec<Evidence>,
    },
    /// People were asked.
    Asked {
        /// Which step.
        of: Of,
        /// The question.
        question: Question,
    },
    /// Somebody answered.
    Answered {
        /// Which step.
        of: Of,
        /// The answer.
        answer: Answer,
    },
    /// An answer did not count.
    AnswerRefused {
        /// Which step.
        of: Of,
        /// Who gave it.
        by: String,
        /// Why.
        why: AnswerRefused,
    },
    /// Nobody answered in time; the declared answer counts.
    GateExpired {
        /// Which step.
        of: Of,
        /// The declared answer.
        choice: String,
    },
    /// The run waits.
    Slept {
        /// Which step.
        of: Of,
        /// Until when.
        until: Timestamp,
        /// What for.
        waiting: Waiting,
        /// One sentence.
        says: String,
    },
    /// A deadline was set.
    DeadlineSet {
        /// Which step it leads to.
        of: Of,
        /// When it passes.
        at: Timestamp,
        /// What happens then.
        says: String,
    },
    /// A deadline passed.
    DeadlinePassed {
        /// Which step it leads to.
        of: Of,
        /// When it was to pass.
        at: Timestamp,
    },
    /// A service is away for long, so somebody is told that the run waits for it.
    WaitsLong {
        /// For what.
        says: String,
    },
    /// The procedure tells something for the report.
    Noted {
        /// Which step.
        of: Of,
        /// What.
        note: Note,
    },
    /// The procedure ran in another order than was recorded.
    OrderDiffers {
        /// The key that was asked for.
        key: String,
        /// The key that was recorded at this place.
        recorded: String,
    },
    /// The process let go; the run can be resumed.
    Detached {
        /// Why.
        why: String,
        /// How the run stands since. Entries of before there was this do not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        outcome: Option<Outcome>,
    },
    /// The run ended.
    Concluded {
        /// How.
        outcome: Outcome,
        /// One sentence.
        says: String,
        /// Keys of the entries that prove it; none where it is not proven, or where an older version ended the run.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rests_on: Vec<String>,
    },
}

/// Something that a procedure tells for the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum Note {
    /// Something was affected by the incident.
    Affected {
        /// What kind of thing.
        kind: String,
        /// Which one.
        id: String,
        /// Its name for people.
        label: String,
        /// How, in one sentence.
        says: String,
    },
    /// A figure of the incident.
    Count {
        /// What is counted.
        what: String,
        /// How many.
        count: u64,
    },
    /// What was done against the incident. Made of something settled only.
    Mitigation(Claim),
    /// Whether somebody was told. Made of the ways that were tried only.
    Told(Claim),
    /// Something of the run's own making that must be ended.
    Owed(Owed),
    /// An open point that something proven closed.
    Closed(Closing),
    /// An effect that is not proven, and why that does not matter.
    Excused(Excuse),
    /// A file was left behind.
    Artifact {
        /// Its name in the run's folder.
        name: String,
        /// What is in it.
        says: String,
    },
    /// Something remains open for people.
    OpenQuestion {
        /// What.
        says: String,
    },
}

impl From<Claim> for Note {
    fn from(claim: Claim) -> Self {
        Self::Mitigation(claim)
    }
}

impl Event {
    /// The step it belongs to, where it belongs to one.
    pub fn of(&self) -> Option<&Of> {
        match self {
            Self::Observed { of, .. }
            | Self::Failed { of, .. }
            | Self::Intended { of, .. }
            | Self::AlreadySo { of, .. }
            | Self::Drifted { of, .. }
            | Self::Applied { of, .. }
            | Self::InDoubt { of, .. }
            | Self::Reconciled { of, .. }
            | Self::Judged { of, .. }
            | Self::Asked { of, .. }
            | Self::Answered { of, .. }
            | Self::AnswerRefused { of, .. }
            | Self::GateExpired { of, .. }
            | Self::Slept { of, .. }
            | Self::DeadlineSet { of, .. }
            | Self::DeadlinePassed { of, .. }
            | Self::Noted { of, .. } => Some(of),
            Self::Started { .. }
            | Self::PlanApproved { .. }
            | Self::Resumed { .. }
            | Self::HandedOver { .. }
            | Self::Announced { .. }
            | Self::NotAnnounced { .. }
            | Self::Owned { .. }
            | Self::GaveBack { .. }
            | Self::WaitsLong { .. }
            | Self::OrderDiffers { .. }
            | Self::Detached { .. }
            | Self::Concluded { .. } => None,
        }
    }
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1 without gaps.
    pub seq: u64,
    /// When it was written, by the run's clock.
    pub at: Timestamp,
    /// A clock that nobody can set, in microseconds; comparable until the machine reboots.
    pub mono_us: u64,
    /// What the run finds it again by; unique within the run.
    pub key: String,
    /// What happened.
    pub event: Event,
}

/// A link of the chain: an entry's bytes as stored, and its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The entry as JSON, exactly as stored.
    pub body: String,
    /// SHA-256 over the hash before and the body, in hex.
    pub hash: String,
}

/// The hash before the first entry.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The hash of an entry's stored bytes after `before`.
pub fn link_hash(before: &str, body: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(before.as_bytes());
    hasher.update(body.as_bytes());
    hex(&hasher.finalize())
}

/// SHA-256 in hex.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// A journal that is not what was written, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("its journal is damaged at entry {seq}: {what}; everything before it is intact")]
pub struct Damaged {
    /// The first entry that is wrong.
    pub seq: u64,
    /// What is wrong with it.
    pub what: String,
}

/// What is wrong with a run as it is stored. Nothing of it is taken up; what is whole of it can be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "damage", rename_all = "snake_case")]
pub enum Damage {
    /// An entry is not what was written.
    #[error(transparent)]
    Entry(#[from] Damaged),
    /// The end of the journal is missing.
    #[error(
        "its journal ends at entry {found}, and its seal says that entry {sealed} was written: the end is missing (an old \
         copy was put back, a write-ahead log was deleted, or entries were cut)"
    )]
    Cut {
        /// The last entry that was sealed.
        sealed: u64,
        /// The last entry that is there.
        found: u64,
    },
    /// The entry that was sealed is another than the one that is there.
    #[error(
        "its entry {seq} is another than the one that was sealed: the journal or the seal is from another copy or another run"
    )]
    OtherEnd {
        /// Which entry.
        seq: u64,
    },
    /// The seal says nothing that can be used.
    #[error(
        "its seal {path} {what}, so nobody can tell whether entry {found}, the last one there, was the last one written"
    )]
    Seal {
        /// Where the seal is.
        path: String,
        /// What is wrong with it.
        what: String,
        /// The last entry that is there.
        found: u64,
    },
    /// The run is gone from the store.
    #[error(
        "the store has no row of it, and its seal says that {sealed} entries were written: an old copy was put back, or the row was deleted"
    )]
    Missing {
        /// How many entries were sealed.
        sealed: u64,
    },
    /// Its row cannot be read.
    #[error("its row in the store cannot be read ({what})")]
    Row {
        /// What is wrong.
        what: String,
    },
    /// The store cannot read it.
    #[error("the store cannot read it ({detail})")]
    Unread {
        /// What the store said.
        detail: String,
    },
}

impl Damage {
    /// The first entry that is wrong or missing, where there is one.
    pub fn entry(&self) -> Option<u64> {
        match self {
            Self::Entry(damaged) => Some(damaged.seq),
            Self::Cut { found, .. } => Some(found + 1),
            Self::OtherEnd { seq } => Some(*seq),
            Self::Missing { .. } => Some(1),
            Self::Seal { .. } | Self::Row { .. } | Self::Unread { .. } => None,
        }
    }
}

/// Checks a whole chain and reads its entries.
pub fn read_chain<'a>(links: impl IntoIterator<Item = &'a Link>) -> Result<Vec<Entry>, Damaged> {
    let mut entries = Vec::new();
    let mut before = GENESIS.to_owned();
    for (seq, link) in (1..).zip(links) {
        let hash = link_hash(&before, &link.body);
        if hash != link.hash {
            return Err(Damaged { seq, what: "its hash does not fit its content".to_owned() });
        }
        let entry: Entry = serde_json::from_str(&link.body)
            .map_err(|error| Damaged { seq, what: format!("it cannot be read ({error})") })?;
        if entry.seq != seq {
            return Err(Damaged { seq, what: format!("it is numbered {}", entry.seq) });
        }
        before = hash;
        entries.push(entry);
    }
    Ok(entries)
}

/// A run's journal that was found whole: its chain fits, and where a store keeps it, its end is the one that was sealed. Made
/// by [`Store::journal`](crate::sqlite::Store::journal) and [`MemoryJournal::journal`](crate::MemoryJournal::journal) alone, so
/// that nothing is taken back by a journal that nobody looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeJournal {
    pub(crate) run: String,
    pub(crate) entries: Vec<Entry>,
    /// The hash of the latest entry.
    pub(crate) tail: String,
}

impl WholeJournal {
    /// What was recorded.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// Reads an optional value of which `null` is one: what is absent is none, and what is there is some. Without this the
/// receipt of an effect with nothing to tell would read as no receipt at all.
fn given<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Vec<Link> {
        let mut before = GENESIS.to_owned();
        (1..=5)
            .map(|seq| {
                let entry = Entry {
                    seq,
                    at: Timestamp::UNIX_EPOCH,
                    mono_us: seq,
                    key: format!("k{seq}"),
                    event: Event::Detached { why: format!("because {seq}"), outcome: None },
                };
                let body = serde_json::to_string(&entry).unwrap();
                let hash = link_hash(&before, &body);
                before.clone_from(&hash);
                Link { body, hash }
            })
            .collect()
    }

    #[test]
    fn every_flipped_bit_is_found_at_its_entry() {
        let good = chain();
        assert_eq!(read_chain(&good).unwrap().len(), 5);
        for entry in 0..good.len() {
            for byte in 0..good[entry].body.len() {
                let mut bad = good.clone();
                let mut bytes = bad[entry].body.clone().into_bytes();
                bytes[byte] ^= 1;
                bad[entry].body = String::from_utf8_lossy(&bytes).into_owned();
                let damaged = read_chain(&bad).unwrap_err();
                assert_eq!(damaged.seq, entry as u64 + 1);
            }
        }
    }

    #[test]
    fn an_event_of_a_step_names_it_and_one_of_the_run_names_none() {
        let of = || Of { step: "TOY-I1".to_owned(), phase: Phase::Immediate, subject: String::new() };
        let passed = Event::DeadlinePassed { of: of(), at: Timestamp::UNIX_EPOCH };
        assert_eq!(passed.of(), Some(&of()));
        let let_go = Event::Detached { why: String::new(), outcome: None };
        assert_eq!(let_go.of(), None);
    }

    #[test]
    fn a_removed_entry_is_noticed() {
        let mut links = chain();
        links.remove(2);
        assert_eq!(read_chain(&links).unwrap_err().seq, 3);
    }
}
