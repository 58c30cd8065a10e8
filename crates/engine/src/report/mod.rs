//! The story, told from the journal and from nothing else: timeline, time accounting, postmortem.
//!
//! Every sentence of a postmortem is a [`Statement`] and cites the entries it rests on; one without citations cannot be
//! made.

mod markdown;
mod postmortem;
mod time;
mod timeline;

pub use markdown::to_markdown;
pub use postmortem::{EffectTold, Postmortem, SCHEMA, Statement, UnknownCitation, check_citations};
pub use time::{StepTime, TimeSpent, time_spent};
pub use timeline::{Moment, sentence, timeline};
