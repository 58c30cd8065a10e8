//! The table that names candidates: a fingerprint for each voucher, no voucher ids.
//!
//! Five million UUIDs in a `HashSet` take about 250 MiB. Here a voucher takes one word of eight bytes, at a load of 0.64 to 0.8
//! ten to twelve and a half: 48 bits of its hash (8 of them choose the segment and are not stored) and 24 bits that tell where it
//! was met first, so that the rows of the few candidates can be found again without reading everything.
//!
//! Rejected: a Bloom filter (it forgets where), sorting all ids (twice the memory, and a batch job), and tables that are filled
//! apart and merged later (a fingerprint that each of two tables met once belongs to no id that is still known).

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::VoucherId;

/// How many parts the table has, each with its lock. Each grows on its own, so no moment needs twice the memory.
const SEGMENTS: usize = 256;
/// Sightings that a watcher collects for a segment before it takes the lock.
const BATCH: usize = 32;
const PLACE_BITS: u32 = 24;
/// Bits of a voucher's hash that its word holds.
const REMAINDER_BITS: u32 = u64::BITS - PLACE_BITS;

/// Where something was seen: the number of a page or of a block of a file, below [`Place::COUNT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Place(u32);

impl Place {
    /// How many places can be told apart. One value of the field is taken: a word of all zeros is an empty slot.
    pub const COUNT: u32 = (1 << PLACE_BITS) - 1;

    /// The place with that number, if it is below [`COUNT`](Self::COUNT).
    pub fn new(number: u32) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number))
    }

    /// Its number.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// Remembers which vouchers it saw, and which of them more than once.
///
/// It errs on one side only: every voucher that was seen twice is among the [`repeated`](Self::repeated); one that was not may be
/// there because its fingerprint equals another's (below 0.1 expected among five million random ids). So read the rows of what it
/// names before you believe it.
#[derive(Debug)]
pub struct Repeats {
    segments: Vec<Mutex<Segment>>,
    places: Mutex<PlaceSet>,
}

impl Repeats {
    /// A table that holds that many different vouchers without growing. It grows when there are more.
    pub fn with_capacity(vouchers: usize) -> Self {
        let segment = || Mutex::new(Segment::with_capacity(vouchers / SEGMENTS));
        Self { segments: std::iter::repeat_with(segment).take(SEGMENTS).collect(), places: Mutex::default() }
    }

    /// Notes one row of a voucher, where only the answer matters and not the place.
    pub fn see(&mut self, voucher: Uuid) {
        let sighting = Sighting::new(voucher, Place::default());
        let segment = self.segments[sighting.segment()].get_mut().unwrap_or_else(PoisonError::into_inner);
        let places = self.places.get_mut().unwrap_or_else(PoisonError::into_inner);
        segment.see(&sighting, places);
    }

    /// A view of the table for one of several threads. What it was shown counts when it is dropped.
    ///
    /// ```
    /// use allclear_core::redemption::{Place, Repeats};
    /// use uuid::Uuid;
    ///
    /// let repeats = Repeats::with_capacity(2);
    /// std::thread::scope(|scope| {
    ///     for page in 0..2 {
    ///         let mut watcher = repeats.watch();
    ///         scope.spawn(move || watcher.see(Uuid::from_u128(7), Place::new(page).unwrap()));
    ///     }
    /// });
    /// assert_eq!(repeats.repeated().len(), 1);
    /// assert_eq!(repeats.places().len(), 2);
    /// ```
    pub fn watch(&self) -> Watcher<'_> {
        Watcher {
            repeats: self,
            staged: vec![Sighting::default(); SEGMENTS * BATCH],
            counts: [0; SEGMENTS],
            places: PlaceSet::default(),
        }
    }

    /// The vouchers that were seen more than once, and at worst a few others; sorted.
    pub fn repeated(&self) -> Vec<VoucherId> {
        let mut all: Vec<_> = self
            .segments
            .iter()
            .flat_map(|segment| locked(segment).repeated.iter().copied().map(VoucherId).collect::<Vec<_>>())
            .collect();
        all.sort_unstable();
        all
    }

    /// Every place at which one of the [`repeated`](Self::repeated) was seen, in order.
    pub fn places(&self) -> Vec<Place> {
        locked(&self.places).iter().collect()
    }
}

/// One thread's view of a [`Repeats`]: collects sightings and hands them over in batches, so that threads rarely meet.
#[derive(Debug)]
pub struct Watcher<'a> {
    repeats: &'a Repeats,
    /// `BATCH` slots for each segment.
    staged: Vec<Sighting>,
    counts: [u8; SEGMENTS],
    places: PlaceSet,
}

impl Watcher<'_> {
    /// Notes one row of a voucher.
    pub fn see(&mut self, voucher: Uuid, at: Place) {
        let sighting = Sighting::new(voucher, at);
        let segment = sighting.segment();
        let count = usize::from(self.counts[segment]);
        self.staged[segment * BATCH + count] = sighting;
        self.counts[segment] += 1;
        if count + 1 == BATCH {
            self.hand_over(segment);
        }
    }

    fn hand_over(&mut self, number: usize) {
        let count = usize::from(std::mem::take(&mut self.counts[number]));
        let staged = &self.staged[number * BATCH..][..count];
        locked(&self.repeats.segments[number]).see_all(staged, &mut self.places);
    }
}

impl Drop for Watcher<'_> {
    fn drop(&mut self) {
        for segment in 0..SEGMENTS {
            self.hand_over(segment);
        }
        locked(&self.repeats.places).absorb(&self.places);
    }
}

/// A panic in another thread leaves whole words behind, so the table is still right.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A voucher that was met, hashed.
#[derive(Debug, Clone, Copy, Default)]
struct Sighting {
    hash: u64,
    voucher: Uuid,
    place: Place,
}

impl Sighting {
    fn new(voucher: Uuid, place: Place) -> Self {
        Self { hash: hash(voucher), voucher, place }
    }

    fn segment(&self) -> usize {
        (self.hash >> (u64::BITS - SEGMENTS.ilog2())) as usize
    }

    /// The word that stands for it: never zero.
    fn word(&self) -> u64 {
        let remainder = (self.hash << SEGMENTS.ilog2()) >> PLACE_BITS;
        remainder << PLACE_BITS | u64::from(self.place.0 + 1)
    }
}

/// Mixes all bits of an id into 64. Ids are not always random (time-ordered UUIDs, numbers padded to one), so their bits are not
/// taken as they are. Not secret: who can choose ids can make candidates, which are read again, and nothing else.
fn hash(voucher: Uuid) -> u64 {
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        (product as u64) ^ ((product >> 64) as u64)
    };
    let (high, low) = voucher.as_u64_pair();
    let mixed = fold(high ^ 0x9e37_79b9_7f4a_7c15, low ^ 0xd1b5_4a32_d192_ed03);
    fold(mixed ^ low.rotate_left(29), 0xa24b_aed4_963e_e407)
}

/// Open addressing, by the upper bits of the remainder: a slot's neighbours hold neighbouring values, so growing is one sweep.
#[derive(Debug)]
struct Segment {
    slots: Vec<u64>,
    used: usize,
    repeated: HashSet<Uuid>,
}

impl Segment {
    fn with_capacity(vouchers: usize) -> Self {
        let slots = vec![0; vouchers * 10 / 7 + 16];
        Self { slots, used: 0, repeated: HashSet::new() }
    }

    /// Each sighting's slot is far from the others and in no cache. So all are looked at first: reads that do not wait for
    /// each other overlap, and that halves the time.
    fn see_all(&mut self, sightings: &[Sighting], places: &mut PlaceSet) {
        let touched = sightings.iter().fold(0, |all, one| all | self.slots[self.home(one.word())]);
        std::hint::black_box(touched);
        for sighting in sightings {
            self.see(sighting, places);
        }
    }

    fn see(&mut self, sighting: &Sighting, places: &mut PlaceSet) {
        if self.used * 5 >= self.slots.len() * 4 {
            self.grow();
        }
        let word = sighting.word();
        let slot = self.slot_of(word);
        if self.slots[slot] == 0 {
            self.slots[slot] = word;
            self.used += 1;
            return;
        }
        self.repeated.insert(sighting.voucher);
        places.insert(place_of(self.slots[slot]));
        places.insert(sighting.place);
    }

    /// Where a word belongs if nothing is in its way.
    fn home(&self, word: u64) -> usize {
        let scaled = u128::from(word >> PLACE_BITS) * self.slots.len() as u128;
        (scaled >> REMAINDER_BITS) as usize
    }

    /// The slot that holds this word's fingerprint, or the free one where it belongs. There is one: at most 4 in 5 are used.
    fn slot_of(&self, word: u64) -> usize {
        let mut slot = self.home(word);
        loop {
            let there = self.slots[slot];
            if there == 0 || (there ^ word) >> PLACE_BITS == 0 {
                return slot;
            }
            slot += 1;
            if slot == self.slots.len() {
                slot = 0;
            }
        }
    }

    fn grow(&mut self) {
        let more = vec![0; self.slots.len() * 5 / 4 + 16];
        for word in std::mem::replace(&mut self.slots, more).into_iter().filter(|word| *word != 0) {
            let slot = self.slot_of(word);
            self.slots[slot] = word;
        }
    }
}

fn place_of(word: u64) -> Place {
    Place((word as u32 & ((1 << PLACE_BITS) - 1)) - 1)
}

/// A set of places: one bit for each, at most 2 MiB whatever repeats how often.
#[derive(Debug, Default)]
struct PlaceSet(Vec<u64>);

impl PlaceSet {
    fn insert(&mut self, place: Place) {
        let (word, bit) = (place.0 as usize / 64, place.0 % 64);
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << bit;
    }

    fn absorb(&mut self, other: &Self) {
        other.iter().for_each(|place| self.insert(place));
    }

    fn iter(&self) -> impl Iterator<Item = Place> {
        let bits = |word: u64| (0..64).filter(move |bit| word >> bit & 1 == 1);
        self.0
            .iter()
            .enumerate()
            .flat_map(move |(index, word)| bits(*word).map(move |bit| Place(index as u32 * 64 + bit)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use proptest::prelude::*;

    use super::*;

    /// Ids that look alike, ids that are random, and few of them, so that they repeat.
    fn vouchers() -> impl Strategy<Value = Vec<u128>> {
        let id = prop_oneof![0..200_u128, (0..50_u128).prop_map(|high| high << 90), any::<u128>()];
        prop::collection::vec(id, 0..600)
    }

    fn counted(seen: &[u128]) -> (Vec<u128>, BTreeSet<u32>) {
        let mut at: HashMap<u128, Vec<u32>> = HashMap::new();
        for (index, voucher) in seen.iter().enumerate() {
            at.entry(*voucher).or_default().push(index as u32);
        }
        at.retain(|_, places| places.len() > 1);
        let mut repeated: Vec<_> = at.keys().copied().collect();
        repeated.sort_unstable();
        (repeated, at.into_values().flatten().collect())
    }

    fn ids(repeats: &Repeats) -> Vec<u128> {
        repeats.repeated().into_iter().map(|id| id.0.as_u128()).collect()
    }

    proptest! {
        #[test]
        fn names_what_a_map_would_name(seen in vouchers(), capacity in 0..1_000_usize) {
            let mut repeats = Repeats::with_capacity(capacity);
            for voucher in &seen {
                repeats.see(Uuid::from_u128(*voucher));
            }
            prop_assert_eq!(ids(&repeats), counted(&seen).0);
        }

        #[test]
        fn threads_together_name_the_same_and_know_where(seen in vouchers(), threads in 1..4_usize) {
            let repeats = Repeats::with_capacity(0);
            std::thread::scope(|scope| {
                for thread in 0..threads {
                    let (mut watcher, seen) = (repeats.watch(), &seen);
                    scope.spawn(move || {
                        for (index, voucher) in seen.iter().enumerate().skip(thread).step_by(threads) {
                            watcher.see(Uuid::from_u128(*voucher), Place::new(index as u32).unwrap());
                        }
                    });
                }
            });
            let (repeated, places) = counted(&seen);
            prop_assert_eq!(ids(&repeats), repeated);
            let found: BTreeSet<_> = repeats.places().into_iter().map(Place::number).collect();
            prop_assert_eq!(found, places);
        }
    }

    #[test]
    fn a_million_vouchers_take_eight_to_thirteen_bytes_each_and_none_is_taken_for_another() {
        let count = 1_000_000_usize;
        for capacity in [count, 0] {
            let mut repeats = Repeats::with_capacity(capacity);
            for voucher in 0..count as u128 {
                repeats.see(Uuid::from_u128(voucher << 64 | 0x8000));
            }
            assert_eq!(repeats.repeated(), []);
            let slots: usize = repeats.segments.iter().map(|segment| locked(segment).slots.len()).sum();
            let each = slots as f64 * 8.0 / count as f64;
            assert!((8.0..13.0).contains(&each), "{each} bytes a voucher from {capacity}");
        }
    }

    #[test]
    fn places_end_where_the_field_does() {
        assert_eq!(Place::new(Place::COUNT), None);
        let last = Place::new(Place::COUNT - 1).unwrap();
        assert_eq!(place_of(Sighting::new(Uuid::nil(), last).word()), last);
    }
}
