//! Claims: what a run says that it did. None can be made of words alone.
//!
//! A sentence such as "engineering was told" is only as good as what was read back. So each claim is made of something
//! settled, its verdict chooses between the words, and the claim carries the journal entries that it rests on. Whoever
//! reads the report can look them up, and a procedure cannot say more than was seen.
//!
//! A claim without a settled effect does not compile:
//!
//! ```compile_fail
//! use allclear_engine::{Claim, Note};
//!
//! let claim = Claim { says: "engineering was told".to_owned() };
//! let note = Note::Mitigation(claim);
//! ```
//!
//! A resolution without a proof does not either:
//!
//! ```compile_fail
//! use allclear_engine::Resolution;
//!
//! let resolution = Resolution { says: "it works again".to_owned(), rests_on: Vec::new() };
//! ```
//!
//! And neither does a verdict that nobody reads, where unused results are denied:
//!
//! ```compile_fail
//! #![deny(unused_must_use)]
//! use allclear_engine::{Effect, Halt, Run, Step};
//!
//! async fn tell<E: Effect>(run: &mut Run, step: &Step, effect: E) -> Result<(), Halt> {
//!     run.attempt(step, effect).await?;
//!     Ok(())
//! }
//! ```
//!
//! The same with its verdict read:
//!
//! ```
//! #![deny(unused_must_use)]
//! use allclear_engine::{Claim, Effect, Halt, Run, Step};
//!
//! async fn tell<E: Effect>(run: &mut Run, step: &Step, effect: E) -> Result<(), Halt> {
//!     let told = run.attempt(step, effect).await?;
//!     run.note(step, Claim::of(&told, "they were told", "whether they were told is not proven")).await
//! }
//! ```

use serde::{Deserialize, Serialize};

use crate::effect::Verdict;
use crate::run::Settled;

/// Why it does not matter that an effect is not proven. An effect's type says so ([`Effect::excuse`]), or the place where
/// it is performed ([`Effect::excused`]); the journal keeps it.
///
/// [`Effect::excuse`]: crate::effect::Effect::excuse
/// [`Effect::excused`]: crate::effect::Effect::excused
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// Its receiver takes things and shows none of them, and a second one is harmless. Excuses only what cannot be looked
    /// up: what was looked for and is not there is never excused by this.
    ReceiverCannotBeRead,
    /// Whatever does not work is itself the result and is filed as a finding: an exercise.
    FiledAsFinding,
    /// It says, for a later run, what this one holds; and a run that still holds something does not end as verified.
    HeldByNobodyAtTheEnd,
}

impl Because {
    /// The reason, as the second half of a sentence.
    pub fn says(self) -> &'static str {
        match self {
            Self::ReceiverCannotBeRead => "its receiver cannot be read back, and a second one is harmless",
            Self::FiledAsFinding => "what did not work was filed as a finding",
            Self::HeldByNobodyAtTheEnd => {
                "a later run needs it only for what this one leaves paused, and that is listed"
            }
        }
    }

    /// Whether it covers this verdict; `None` is an effect that came to no verdict.
    pub(crate) fn covers(self, verdict: Option<&Verdict>) -> bool {
        match self {
            Self::ReceiverCannotBeRead => matches!(verdict, Some(Verdict::Unverifiable { .. })),
            Self::FiledAsFinding | Self::HeldByNobodyAtTheEnd => true,
        }
    }
}

/// How sure a claim is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// Everything that it speaks of was read back.
    Proven,
    /// It was done and cannot be read back, and the step says why that does not matter.
    Excused,
    /// It is not proven, or not all of it.
    Unproven,
    /// A run of an older version noted it without saying.
    #[default]
    NotSaid,
}

/// One sentence of a procedure, and what it rests on. Only what was settled or seen makes one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    says: String,
    #[serde(default)]
    certainty: Certainty,
    /// Keys of journal entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rests_on: Vec<String>,
    /// The effects by which somebody should have been told and, as far as is known, was not. What makes up for one of them
    /// later closes the point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lacks: Vec<String>,
}

impl Claim {
    /// What one effect came to: `proven` where it was read back; else `otherwise`, and what reading back showed.
    pub fn of<R>(settled: &Settled<R>, proven: impl Into<String>, otherwise: impl Into<String>) -> Self {
        Self::of_all([settled.account()], proven, otherwise)
    }

    /// The same of several that make one claim: `proven` only where each of them is.
    pub fn of_all<'a>(
        accounts: impl IntoIterator<Item = &'a Account>,
        proven: impl Into<String>,
        otherwise: impl Into<String>,
    ) -> Self {
        let accounts: Vec<&Account> = accounts.into_iter().collect();
        let rests_on = accounts.iter().flat_map(|one| one.rests_on.iter().cloned()).collect();
        let lacking: Vec<&Account> = accounts.iter().copied().filter(|one| !one.is_proven()).collect();
        // A claim about nothing at all is not a proven one.
        if lacking.is_empty() && !accounts.is_empty() {
            return Self { says: proven.into(), certainty: Certainty::Proven, rests_on, lacks: Vec::new() };
        }
        let certainty = if !lacking.is_empty() && lacking.iter().all(|one| one.is_excused()) {
            Certainty::Excused
        } else {
            Certainty::Unproven
        };
        let mut says = otherwise.into();
        let why: Vec<&str> = lacking.iter().map(|one| one.verdict.says()).collect();
        if !why.is_empty() {
            says = format!("{says}: {}", why.join("; "));
        }
        Self { says, certainty, rests_on, lacks: Vec::new() }
    }

    /// How many of these are proven, in words: `one` for exactly one, `many` else. `None` where none is: nothing is
    /// claimed of what was not done.
    pub fn counted<'a, R: 'a>(
        settled: impl IntoIterator<Item = &'a Settled<R>>,
        one: &str,
        many: &str,
    ) -> Option<Self> {
        let all: Vec<&Account> = settled.into_iter().map(Settled::account).collect();
        let proven = all.iter().filter(|account| account.is_proven()).count();
        let says = match proven {
            0 => return None,
            1 => format!("1 {one}"),
            some => format!("{some} {many}"),
        };
        let lacking = all.len() - proven;
        let rests_on = all.iter().flat_map(|account| account.rests_on.iter().cloned()).collect();
        if lacking == 0 {
            return Some(Self { says, certainty: Certainty::Proven, rests_on, lacks: Vec::new() });
        }
        let says = format!("{says}; of {lacking} more that is not proven");
        Some(Self { says, certainty: Certainty::Unproven, rests_on, lacks: Vec::new() })
    }

    /// What was seen: by a probe, by a condition that came about, or by a person who answered.
    pub fn seen(proof: &Proof, says: impl Into<String>) -> Self {
        Self {
            says: says.into(),
            certainty: Certainty::Proven,
            rests_on: proof.rests_on.clone(),
            lacks: Vec::new(),
        }
    }

    /// Whether somebody was told, by whichever of several ways: `told` where one of them is proven, `untold` where none can
    /// have arrived. Between the two nobody knows.
    pub(crate) fn told(told: String, untold: String, ways: &[&Account]) -> Self {
        let rests_on = ways.iter().flat_map(|way| way.rests_on.iter().cloned()).collect();
        let lacking: Vec<String> = ways
            .iter()
            .filter(|way| !way.is_proven())
            .map(|way| format!("{}: {}", way.title, way.verdict.says()))
            .collect();
        let (mut says, certainty) = if lacking.len() < ways.len() {
            (told, Certainty::Proven)
        } else if !ways.is_empty() && ways.iter().all(|way| way.is_excused()) {
            (told, Certainty::Excused)
        } else if ways.iter().any(|way| way.may_be_done()) {
            (
                format!("it is not known whether {told}: look, before it is said again by hand"),
                Certainty::Unproven,
            )
        } else {
            (untold, Certainty::Unproven)
        };
        if certainty == Certainty::Excused {
            let why: Vec<&str> = ways.iter().map(|way| way.verdict.says()).collect();
            says = format!("{says}: {}", why.join("; "));
        } else if !lacking.is_empty() {
            says = format!("{says} (not proven: {})", lacking.join("; "));
        }
        Self { says, certainty, rests_on, lacks: Vec::new() }
    }

    /// The sentence.
    pub fn says(&self) -> &str {
        &self.says
    }

    /// How sure it is.
    pub fn certainty(&self) -> Certainty {
        self.certainty
    }

    /// Keys of the journal entries that it rests on.
    pub fn rests_on(&self) -> &[String] {
        &self.rests_on
    }

    pub(crate) fn lacking(self, lacks: Vec<String>) -> Self {
        Self { lacks, ..self }
    }

    /// Whether this closing makes up for what it lacks.
    pub(crate) fn is_closed_by(&self, closing: &Closing) -> bool {
        self.lacks.contains(&closing.id)
    }
}

/// What became of one effect: its sentence, its verdict, and the entry that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub(crate) key: String,
    pub(crate) title: String,
    pub(crate) verdict: Verdict,
    pub(crate) may_be_done: bool,
    pub(crate) excuse: Option<Because>,
    pub(crate) rests_on: Vec<String>,
}

impl Account {
    /// The effect's sentence, e.g. `tell #ops`.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What reading back showed.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Whether it was read back as so.
    pub fn is_proven(&self) -> bool {
        self.verdict.is_verified()
    }

    /// Whether it may be so: it was done, or may have been, and was not looked for in vain.
    pub fn may_be_done(&self) -> bool {
        self.may_be_done
    }

    /// Whether it is not proven, and its type says why that does not matter.
    pub fn is_excused(&self) -> bool {
        !self.is_proven() && self.excuse.is_some_and(|because| because.covers(Some(&self.verdict)))
    }

    /// The proof that it is so; `None` where there is none.
    pub fn proof(&self) -> Option<Proof> {
        self.is_proven().then(|| Proof { rests_on: self.rests_on.clone() })
    }
}

/// Something that was read back, seen, or told by a person, in this run. Made by the engine only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    pub(crate) rests_on: Vec<String>,
}

impl Proof {
    /// Both together.
    pub fn and(mut self, other: Self) -> Self {
        self.rests_on.extend(other.rests_on);
        self
    }

    /// Keys of the journal entries that it rests on.
    pub fn rests_on(&self) -> &[String] {
        &self.rests_on
    }
}

/// Something of this run's own making that somebody must end: a page that it raised. Closed by a proof only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    pub(crate) id: String,
    pub(crate) says: String,
}

impl Owed {
    /// What tells it from others in the run.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is open, in one sentence.
    pub fn says(&self) -> &str {
        &self.says
    }
}

/// An open point that something proven closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    pub(crate) id: String,
    pub(crate) says: String,
    pub(crate) rests_on: Vec<String>,
}

impl Closing {
    /// Which point.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How, in one sentence.
    pub fn says(&self) -> &str {
        &self.says
    }

    /// Keys of the journal entries that prove it.
    pub fn rests_on(&self) -> &[String] {
        &self.rests_on
    }
}

/// An effect that is not proven, and why that does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excuse {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) because: Because,
}

impl Excuse {
    /// The effect, as the run knows it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The effect's sentence.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Why.
    pub fn because(&self) -> Because {
        self.because
    }
}
