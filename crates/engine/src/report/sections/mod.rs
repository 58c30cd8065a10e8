//! The sections of a post-mortem, each made from the facts of a journal.

pub(super) mod effects;
pub(super) mod evidence;
pub(super) mod open;
pub(super) mod overview;
pub(super) mod paragraph;
pub(super) mod people;
pub(super) mod waiting;
