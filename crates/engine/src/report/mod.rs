//! The report: a run told from its journal, and from nothing else.
//!
//! Everything here is a pure function of entries. A [`Statement`] cannot be made without the entries that it follows
//! from, so a reader can check every sentence; where the journal does not tell, the report says that it does not.
//!
//! | function | what it gives |
//! |---|---|
//! | [`timeline`] | one sentence per entry that says something new |
//! | [`left()`] | what the run left changed, and what gives it back |
//! | [`owed`] | what the run made and did not end: its own pages, alarms without an answer |
//! | [`time_spent`] | where the time went, in parts that add up exactly |
//! | [`Postmortem::from_entries`] | all sections, for JSON |
//! | [`to_markdown`] | the same as a page, short, for a review or in full ([`Form`]) |
//! | [`check_citations`] | that every sentence cites what the journal has |
//!
//! Texts from services and people pass through here on their way to terminals and pages. They lose control characters
//! where they enter a sentence, and are escaped where a sentence enters markup.
//!
//! # Example
//!
//! ```
//! use allclear_engine::report::{Form, Postmortem, check_citations, to_markdown};
//! use allclear_engine::{Entry, Event, Outcome};
//!
//! let entries = [Entry {
//!     seq: 1,
//!     at: "2026-11-23T09:00:00Z".parse().unwrap(),
//!     mono_us: 0,
//!     key: "~concluded".to_owned(),
//!     event: Event::Concluded {
//!         outcome: Outcome::Verified,
//!         says: "tea can be made".to_owned(),
//!         rests_on: Vec::new(),
//!     },
//! }];
//! let told = Postmortem::from_entries(&entries, &[]);
//! check_citations(&told, &entries).unwrap();
//! assert!(to_markdown(&told, Form::Full).contains("The run ended as verified: tea can be made. [1]"));
//! ```

pub(crate) mod left;
mod markdown;
mod postmortem;
mod questions;
mod sections;
mod statement;
mod stories;
mod time;
mod timeline;
mod words;

pub use left::{Left, Remedy, left};
pub use markdown::{Form, to_markdown};
pub use postmortem::{
    Bullet, Changed, CitationError, Cited, Exchange, Fact, FailedCall, Header, Line, POSTMORTEM_SCHEMA,
    Postmortem, TimeSection, Verification, check_citations,
};
pub use sections::open::owed;
pub use statement::{Cites, Statement};
pub use time::{StepTime, TimeSpent, time_spent};
pub use timeline::{Moment, timeline, told};
