//! Some rows of the dispatcher's queue, told by their ids.

use serde::{Deserialize, Serialize};

/// Some rows of one campaign's queue: ascending ranges of ids, first and last included, and no other row of the campaign
/// within any of them at the time they were read.
///
/// What a run skips it gives back, and nothing else: a queue's `SKIPPED` does not say by whom. A queue has tens of thousands of
/// rows, and those that wait mostly follow each other, so ranges are few where ids are many.
///
/// ```
/// use allclear_core::queue_rows::QueueRows;
///
/// let waiting = QueueRows::of([(1, true), (2, true), (5, true), (6, false), (9, true)]);
/// assert_eq!(waiting.ranges(), [(1, 5), (9, 9)]);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QueueRows(Vec<(i64, i64)>);

impl QueueRows {
    /// Out of all rows of a campaign, by id, those that are wanted.
    pub fn of(rows: impl IntoIterator<Item = (i64, bool)>) -> Self {
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        let mut goes_on = false;
        for (id, wanted) in rows {
            match ranges.last_mut() {
                Some(last) if wanted && goes_on => last.1 = id,
                _ if wanted => ranges.push((id, id)),
                _ => {}
            }
            goes_on = wanted;
        }
        Self(ranges)
    }

    /// These rows, ascending, whatever else stands between them: only numbers that follow each other make a range.
    pub fn of_ids(ids: impl IntoIterator<Item = i64>) -> Self {
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        for id in ids {
            match ranges.last_mut() {
                Some(last) if id - last.1 <= 1 => last.1 = id,
                _ => ranges.push((id, id)),
            }
        }
        Self(ranges)
    }

    /// Whether a row is among them.
    pub fn has(&self, id: i64) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&id))
    }

    /// The ranges, ascending: first and last row of each.
    pub fn ranges(&self) -> &[(i64, i64)] {
        &self.0
    }

    /// Whether there is no row in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These and those.
    #[must_use]
    pub fn and(&self, those: &Self) -> Self {
        let mut all: Vec<(i64, i64)> = self.0.iter().chain(&those.0).copied().collect();
        all.sort_unstable();
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        for (first, end) in all {
            match ranges.last_mut() {
                Some(last) if first <= last.1 => last.1 = last.1.max(end),
                _ => ranges.push((first, end)),
            }
        }
        Self(ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_never_reaches_over_a_row_that_is_not_wanted() {
        let every_second = (1..=10).map(|id| (id, id % 2 == 0));
        assert_eq!(QueueRows::of(every_second).ranges(), [(2, 2), (4, 4), (6, 6), (8, 8), (10, 10)]);
        let all = (1..=63_360).map(|id| (id * 3, true));
        assert_eq!(QueueRows::of(all).ranges(), [(3, 190_080)]);
        assert!(QueueRows::of([(1, false)]).is_empty());
    }

    #[test]
    fn ids_alone_make_a_range_only_where_nothing_can_stand_between() {
        let rows = QueueRows::of_ids([3, 4, 5, 7, 9, 10]);
        assert_eq!(rows.ranges(), [(3, 5), (7, 7), (9, 10)]);
        assert!(rows.has(4) && rows.has(7) && !rows.has(6) && !rows.has(8));
    }

    #[test]
    fn both_together_hold_what_each_holds_and_nothing_between() {
        let one = QueueRows(vec![(1, 4), (9, 9)]);
        assert_eq!(one.and(&QueueRows(vec![(3, 6), (11, 12)])).ranges(), [(1, 6), (9, 9), (11, 12)]);
        assert_eq!(one.and(&QueueRows::default()), one);
        // Rows that follow each other are not known to have none between.
        assert_eq!(one.and(&QueueRows(vec![(5, 8)])).ranges(), [(1, 4), (5, 8), (9, 9)]);
    }
}
