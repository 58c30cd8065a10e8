//! Statements: sentences that name the entries they follow from.

use serde::Serialize;

use super::words::{plain, with_readable_times};

/// The entries that something follows from: at least one, in ascending order, each once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Cites(Vec<u64>);

impl Cites {
    /// Cites one entry.
    pub fn one(seq: u64) -> Self {
        Self(vec![seq])
    }

    /// Cites another entry as well.
    pub fn and(self, seq: u64) -> Self {
        self.and_all([seq])
    }

    /// Cites more entries as well.
    pub fn and_all(mut self, seqs: impl IntoIterator<Item = u64>) -> Self {
        self.0.extend(seqs);
        self.0.sort_unstable();
        self.0.dedup();
        self
    }

    /// Cites all of these; `None` where there are none.
    pub fn all(seqs: impl IntoIterator<Item = u64>) -> Option<Self> {
        let mut seqs = seqs.into_iter();
        seqs.next().map(|first| Self::one(first).and_all(seqs))
    }

    /// The entries' numbers.
    pub fn seqs(&self) -> &[u64] {
        &self.0
    }
}

impl From<u64> for Cites {
    fn from(seq: u64) -> Self {
        Self::one(seq)
    }
}

/// A sentence of a report and the entries it follows from. There is no way to make one that cites nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statement {
    text: String,
    cites: Cites,
}

impl Statement {
    /// Says `text`, because of `cites`. Control characters are removed from the text, and times read as people
    /// write them.
    pub fn new(text: impl AsRef<str>, cites: impl Into<Cites>) -> Self {
        Self { text: with_readable_times(&plain(text.as_ref())), cites: cites.into() }
    }

    /// The sentence: one line, free of control characters, not escaped for any markup.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The entries it follows from.
    pub fn cites(&self) -> &[u64] {
        self.cites.seqs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn citations_are_sorted_and_each_is_named_once() {
        assert_eq!(Cites::one(7).and(3).and_all([7, 5]).seqs(), [3, 5, 7]);
        assert_eq!(Cites::all([]), None);
    }
}
