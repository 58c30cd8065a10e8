//! What there is to do: which objects are there already, and which have to be read.

use std::collections::HashMap;

use super::ledger::Known;
use super::manifest::{Entry, Manifest};
use super::shelf::Stored;
use super::source::Listed;

/// Up to this size an object is read into memory and put in one request; larger ones go up in parts.
pub(super) const SMALL: u64 = 8 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// There already, with the same content; and whether this backup uploaded it.
    pub(super) kept: Vec<(Entry, bool)>,
    pub(super) small: Vec<Listed>,
    pub(super) large: Vec<Listed>,
}

impl Plan {
    /// An object needs no reading when its bucket, name, size and version are those of an earlier copy (or of this one's
    /// ledger), *and* the bucket's own list has what that copy stored, with the right size.
    ///
    /// That trusts the version: an ETag, or a file's inode, size and both times. It is what every sync tool trusts, or less:
    /// they look at size and time alone. Whoever does not, calls [`verify`](super::S3Copies::verify).
    pub(super) fn new(
        listed: Vec<Listed>,
        names: &[String],
        known: &Known,
        previous: Option<&Manifest>,
        stored: &Stored,
    ) -> Self {
        let before = previous.map(|manifest| by_name(manifest, names)).unwrap_or_default();
        let mut plan = Self::default();
        for object in listed {
            let is_there = |entry: &Entry| {
                entry.version.is_some()
                    && entry.version == object.version
                    && entry.size == object.size
                    && stored.get(entry.stored_as()) == Some(&object.size)
            };
            let done =
                known.objects.get(&(object.bucket, object.name.clone())).filter(|(entry, _)| is_there(entry));
            if let Some((entry, uploaded)) = done {
                plan.kept.push((entry.clone(), *uploaded));
                continue;
            }
            match before.get(&(object.bucket, &*object.name)).filter(|entry| is_there(entry)) {
                Some(entry) => plan.kept.push((Entry { bucket: object.bucket, ..(*entry).clone() }, false)),
                None if object.size <= SMALL => plan.small.push(object),
                None => plan.large.push(object),
            }
        }
        plan
    }
}

/// The manifest's entries by the names that the buckets have now; a manifest numbers them in its own order.
fn by_name<'a>(manifest: &'a Manifest, names: &[String]) -> HashMap<(u16, &'a str), &'a Entry> {
    let now: Vec<Option<u16>> = manifest
        .buckets
        .iter()
        .map(|bucket| names.iter().position(|name| name == bucket).map(|at| at as u16))
        .collect();
    let entries = manifest.entries.iter();
    entries.filter_map(|entry| Some(((now[usize::from(entry.bucket)]?, &*entry.name), entry))).collect()
}
