//! A table's content in one number, the same wherever and in whatever order the rows come out.
//!
//! A row is the line that `COPY ... TO STDOUT` writes for it: `pg_dump` writes the same lines into its files. Each line's
//! 128-bit XXH3 is added up, so a row that is there twice counts twice and the order does not matter. It finds accidents, not
//! forgeries; against those stand the SHA-256 of each file and of the manifest.

use twox_hash::XxHash3_128;

/// Adds up the rows of one table.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    count: u64,
    sum: u128,
    /// The beginning of a line whose end has not come yet.
    begun: Vec<u8>,
    ended: bool,
}

impl Rows {
    /// Of a table with these columns: their names and their order are part of what is compared.
    pub(crate) fn with_columns(columns: &[String]) -> Self {
        let sum = columns
            .iter()
            .enumerate()
            .map(|(place, name)| XxHash3_128::oneshot_with_seed(place as u64 + 1, name.as_bytes()))
            .fold(0, u128::wrapping_add);
        Self { count: 0, sum, begun: Vec::new(), ended: false }
    }

    /// Takes the next piece, wherever it is cut.
    pub(crate) fn feed(&mut self, mut piece: &[u8]) {
        if !self.begun.is_empty() {
            let Some(end) = memchr::memchr(b'\n', piece) else {
                self.begun.extend_from_slice(piece);
                return;
            };
            self.begun.extend_from_slice(&piece[..end]);
            let line = std::mem::take(&mut self.begun);
            self.line(&line);
            piece = &piece[end + 1..];
        }
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', piece) {
            self.line(&piece[from..end]);
            from = end + 1;
        }
        self.begun.extend_from_slice(&piece[from..]);
    }

    fn line(&mut self, line: &[u8]) {
        // `\.` ends the data in a file of pg_dump's; COPY escapes backslashes, so no row looks like it.
        if line == b"\\." {
            self.ended = true;
        }
        if !self.ended {
            self.count += 1;
            self.sum = self.sum.wrapping_add(XxHash3_128::oneshot(line));
        }
    }

    /// Whether the mark that ends the data came, with nothing cut off after it.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended && self.begun.is_empty()
    }

    /// How many rows, and the digest in hex.
    pub(crate) fn finish(self) -> (u64, String) {
        (self.count, format!("{:032x}", self.sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(pieces: &[&[u8]]) -> (u64, String) {
        let mut rows = Rows::with_columns(&["a".to_owned(), "b".to_owned()]);
        for piece in pieces {
            rows.feed(piece);
        }
        rows.finish()
    }

    #[test]
    fn neither_order_nor_pieces_matter_but_every_byte_does() {
        let whole = digest(&[b"1\tx\n2\ty\n3\tz\n\\.\n\n\n"]);
        assert_eq!(whole.0, 3);
        assert_eq!(digest(&[b"3\tz\n1", b"\tx", b"\n2\ty\n"]), whole);
        assert_ne!(digest(&[b"1\tx\n2\ty\n3\tZ\n"]).1, whole.1);
        assert_ne!(digest(&[b"1\tx\n2\ty\n"]).1, whole.1);
        assert_ne!(digest(&[b"1\tx\n1\tx\n2\ty\n3\tz\n"]).1, whole.1);
    }

    #[test]
    fn columns_that_changed_places_are_a_difference() {
        let of = |names: [&str; 2]| Rows::with_columns(&names.map(str::to_owned)).finish().1;
        assert_ne!(of(["a", "b"]), of(["b", "a"]));
    }

    #[test]
    fn a_cut_file_does_not_end() {
        for (file, whole) in
            [(&b"1\n\\.\n\n\n"[..], true), (b"1\n\\.", false), (b"1\n2", false), (b"1\n", false)]
        {
            let mut rows = Rows::with_columns(&[]);
            rows.feed(file);
            assert_eq!(rows.is_ended(), whole);
        }
    }
}
