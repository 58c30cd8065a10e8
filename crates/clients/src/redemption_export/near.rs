//! Searching short texts. A call of a search that is made for long ones costs more than looking at a cell of 36 bytes; here
//! eight bytes are compared at once, and nothing is called.

/// Where a byte is first.
#[inline]
pub(super) fn find(byte: u8, text: &[u8]) -> Option<usize> {
    let mut each = Each::of(byte, text);
    each.next()
}

/// Every place of a byte in a text, in order.
pub(super) struct Each<'a> {
    byte: u8,
    rest: &'a [u8],
    /// Where the word begins that was looked at last.
    at: usize,
    /// A high bit for each place in it that was not given yet.
    found: u64,
}

impl<'a> Each<'a> {
    #[inline]
    pub(super) fn of(byte: u8, text: &'a [u8]) -> Self {
        Self { byte, rest: text, at: 0_usize.wrapping_sub(8), found: 0 }
    }

    /// The next eight bytes. The last ones are filled up with a byte that is not looked for.
    #[inline]
    fn word(&mut self) -> Option<[u8; 8]> {
        if let Some((word, rest)) = self.rest.split_first_chunk::<8>() {
            self.rest = rest;
            return Some(*word);
        }
        let last = std::mem::take(&mut self.rest);
        let mut word = [!self.byte; 8];
        word[..last.len()].copy_from_slice(last);
        (!last.is_empty()).then_some(word)
    }
}

impl Iterator for Each<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.found == 0 {
            let word = self.word()?;
            self.at = self.at.wrapping_add(8);
            self.found = places(self.byte, u64::from_le_bytes(word));
        }
        let first = self.found.trailing_zeros() as usize / 8;
        self.found &= self.found - 1;
        Some(self.at + first)
    }
}

/// The high bit of each byte that is the one looked for, exactly: no byte carries into the next.
#[inline]
fn places(byte: u8, word: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let zero_where_equal = word ^ u64::from_ne_bytes([byte; 8]);
    !(((zero_where_equal & LOW) + LOW) | zero_where_equal | LOW)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_places_are_found(text in prop::collection::vec(prop_oneof![Just(b','), any::<u8>()], 0..40)) {
            let found: Vec<usize> = Each::of(b',', &text).collect();
            prop_assert_eq!(&found, &memchr::memchr_iter(b',', &text).collect::<Vec<_>>());
            prop_assert_eq!(find(b',', &text), found.first().copied());
        }
    }
}
