//! The manifest of one copy: every object with its size and SHA-256, whole on its own.
//!
//! A text of one JSON object a line, so that it can be read with common tools on a bad day: first what it is, then the objects
//! by bucket and name, last the sums and the SHA-256 of all lines before. A manifest that was cut or edited does not read.

use allclear_core::recovery::{BackupId, Took};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{hex, unhex};

const FORMAT: &str = "allclear-object-copy/1";

/// One copied object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Which of the manifest's buckets.
    pub(super) bucket: u16,
    pub(super) name: Box<str>,
    pub(super) size: u64,
    pub(super) sha256: [u8; 32],
    /// Where it stands, for one that went up in parts; others stand under their SHA-256.
    pub(super) key: Option<Box<[u8; 32]>>,
    /// The source's version of it; `None` where the next copy has to read it again.
    pub(super) version: Option<Box<str>>,
}

impl Entry {
    /// The name of what is stored.
    pub(super) fn stored_as(&self) -> &[u8; 32] {
        self.key.as_deref().unwrap_or(&self.sha256)
    }
}

/// A whole copy, as its manifest tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) id: BackupId,
    pub(super) at: Timestamp,
    pub(super) buckets: Vec<String>,
    pub(super) entries: Vec<Entry>,
    pub(super) uploaded: u64,
    /// Objects that became others while they were copied; the copy has what they were when they were read.
    pub(super) changed: Vec<String>,
    /// Objects that were listed and were gone when they were to be read.
    pub(super) vanished: Vec<String>,
    pub(super) took: Vec<Took>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: String,
    id: BackupId,
    at: Timestamp,
    buckets: Vec<String>,
    objects_stand_in: String,
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    bucket: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    name: std::borrow::Cow<'a, str>,
    size: u64,
    #[serde(borrow)]
    sha256: std::borrow::Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<std::borrow::Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
struct Tail {
    objects: u64,
    bytes: u64,
    uploaded: u64,
    changed: Vec<String>,
    vanished: Vec<String>,
    took: Vec<Took>,
    lines_sha256: String,
}

impl Manifest {
    pub(super) fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum()
    }

    /// The manifest as text.
    pub(super) fn to_text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.entries.len() * 200 + 1_000);
        push_line(
            &mut text,
            &Head {
                format: FORMAT.to_owned(),
                id: self.id.clone(),
                at: self.at,
                buckets: self.buckets.clone(),
                objects_stand_in: "objects/{first digit}/{key, or else sha256}, beside the backups' folders"
                    .to_owned(),
            },
        );
        for entry in &self.entries {
            push_line(
                &mut text,
                &Line {
                    bucket: self.buckets[usize::from(entry.bucket)].as_str().into(),
                    name: (&*entry.name).into(),
                    size: entry.size,
                    sha256: hex(&entry.sha256).into(),
                    key: entry.key.as_ref().map(|key| hex(&**key)),
                    version: entry.version.as_deref().map(Into::into),
                },
            );
        }
        let lines_sha256 = hex(&Sha256::digest(&text));
        push_line(
            &mut text,
            &Tail {
                objects: self.entries.len() as u64,
                bytes: self.bytes(),
                uploaded: self.uploaded,
                changed: self.changed.clone(),
                vanished: self.vanished.clone(),
                took: self.took.clone(),
                lines_sha256,
            },
        );
        text
    }

    /// Reads a manifest, or says why it is none.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
        let ended = text.strip_suffix('\n').ok_or("its end is missing")?;
        let (lines, tail) = ended.rsplit_once('\n').ok_or("it has one line only")?;
        let tail: Tail = serde_json::from_str(tail).map_err(|_| "its end is missing")?;
        if hex(&Sha256::digest(&text.as_bytes()[..=lines.len()])) != tail.lines_sha256 {
            return Err("its lines are not those that it was written with".to_owned());
        }
        let mut lines = lines.lines();
        let head: Head = serde_json::from_str(lines.next().unwrap_or_default())
            .map_err(|error| format!("its first line does not read: {error}"))?;
        if head.format != FORMAT {
            return Err(format!("its format is `{}`, which this version does not know", head.format));
        }
        let entries = lines.map(|line| entry(line, &head.buckets)).collect::<Result<Vec<_>, _>>()?;
        let manifest = Self {
            id: head.id,
            at: head.at,
            buckets: head.buckets,
            entries,
            uploaded: tail.uploaded,
            changed: tail.changed,
            vanished: tail.vanished,
            took: tail.took,
        };
        if manifest.entries.len() as u64 != tail.objects || manifest.bytes() != tail.bytes {
            return Err("its sums are not those of its lines".to_owned());
        }
        Ok(manifest)
    }
}

fn entry(line: &str, buckets: &[String]) -> Result<Entry, String> {
    let read: Line<'_> =
        serde_json::from_str(line).map_err(|error| format!("a line does not read: {error}"))?;
    let bucket =
        buckets.iter().position(|bucket| *bucket == read.bucket).ok_or("a line of an unknown bucket")?;
    let digest = |text: &str| unhex(text).ok_or_else(|| format!("`{text}` is no SHA-256"));
    Ok(Entry {
        bucket: bucket as u16,
        name: read.name.into(),
        size: read.size,
        sha256: digest(&read.sha256)?,
        key: read.key.as_deref().map(digest).transpose()?.map(Box::new),
        version: read.version.map(Into::into),
    })
}

fn push_line(text: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(&mut *text, value).expect("plain data, written to memory");
    text.push(b'\n');
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn manifest() -> Manifest {
        let entry = |name: &str, size, digit| Entry {
            bucket: 0,
            name: name.into(),
            size,
            sha256: [digit; 32],
            key: None,
            version: Some("v1".into()),
        };
        let large =
            Entry { key: Some(Box::new([7; 32])), version: None, ..entry("/a//../\u{1} \"ü\"\n", 9, 3) };
        Manifest {
            id: "dr-1".parse().unwrap(),
            at: "2026-11-25T10:00:00Z".parse().unwrap(),
            buckets: vec!["vouchers".into()],
            entries: vec![entry("a", 1, 1), large],
            uploaded: 2,
            changed: vec![],
            vanished: vec!["vouchers/x".into()],
            took: vec![],
        }
    }

    #[test]
    fn a_manifest_reads_back_as_it_was_written() {
        assert_eq!(Manifest::parse(&manifest().to_text()), Ok(manifest()));
    }

    #[test]
    fn a_manifest_cut_anywhere_or_with_any_byte_changed_does_not_read_as_another() {
        let text = manifest().to_text();
        for length in 0..text.len() {
            assert!(Manifest::parse(&text[..length]).is_err(), "cut at {length}");
        }
        let tail_at = text[..text.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
        for at in 0..tail_at {
            let mut bad = text.clone();
            bad[at] ^= 1;
            assert!(Manifest::parse(&bad).is_err(), "byte {at}");
        }
    }
}
