//! Every effect of the tree leaves a receipt that a run can be taken up with. The engine refuses to plan or send an effect whose
//! receipt does not survive in the journal; here the types themselves are looked at, in the sources, so that a new one is met
//! before anything performs it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Every type that some effect has for a receipt, without its `Option`. A new one is added here once somebody has looked that
/// nothing of it is left out, renamed in one direction, or written as something that reads as another.
const RECEIPTS: [&str; 17] = [
    "()",
    "Backup",
    "Canary",
    "Exported",
    "IsBack",
    "Moved",
    "ObjectCopy",
    "Paused",
    "Posted",
    "Reference",
    "Requeued",
    "Restored",
    "Resumed",
    "Reversed",
    "Rows",
    "Skipped",
    "SmokeResult",
];

/// What loses something, or reads as something else than was written, on a type or a field.
const LOSES: [&str; 7] = [
    "skip_serializing",
    "skip_deserializing",
    "serde(skip)",
    "untagged",
    "serialize =",
    "deserialize_with",
    "serialize_with",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// The sources of all crates.
fn tree() -> Vec<(PathBuf, String)> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    for one in std::fs::read_dir(crates).unwrap() {
        let folder = one.unwrap().path().join("src");
        if folder.is_dir() {
            sources(&folder, &mut found);
        }
    }
    found.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// The receipt types that are declared, and where.
fn declared(tree: &[(PathBuf, String)]) -> BTreeMap<String, Vec<String>> {
    let mut declared: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, text) in tree {
        for line in text.lines() {
            let Some(named) = line.trim().strip_prefix("type Receipt = ") else { continue };
            let named = named.trim_end_matches(';');
            let bare = named.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>')).unwrap_or(named);
            declared.entry(bare.to_owned()).or_default().push(path.display().to_string());
        }
    }
    // An effect that wraps another has that one's.
    declared.remove("E::Receipt");
    declared
}

/// A type's declaration with its attributes, as it stands in the sources. A receipt's own file is looked at first.
fn declaration<'a>(tree: &'a [(PathBuf, String)], named: &str, near: &[String]) -> Option<&'a str> {
    // Otherwise it is one of the ports'; the wire of a service may have one of the same name.
    let of_a_port = |path: &Path| path.to_string_lossy().contains("/core/src/");
    let rank = |path: &Path| {
        if near.contains(&path.display().to_string()) { 0 } else { 1 + usize::from(!of_a_port(path)) }
    };
    let mut ordered: Vec<&(PathBuf, String)> = tree.iter().collect();
    ordered.sort_by_key(|(path, _)| rank(path));
    ordered.into_iter().find_map(|(_, text)| {
        let at = ["struct", "enum"].iter().find_map(|kind| {
            let found = format!("{kind} {named}");
            text.match_indices(&found).map(|(at, _)| at).find(|at| {
                let after = text[at + found.len()..].chars().next();
                after.is_some_and(|after| " {(;<".contains(after))
            })
        })?;
        // Back over its attributes and comments to the blank line before it.
        let from = text[..at].rfind("\n\n").map_or(0, |from| from + 2);
        let to = text[at..].find("\n}").or_else(|| text[at..].find(";\n")).map_or(text.len(), |to| at + to);
        Some(&text[from..to])
    })
}

#[test]
fn b5_every_receipt_type_of_the_tree_is_known_here() {
    let tree = tree();
    let declared = declared(&tree);
    let found: BTreeSet<&str> = declared.keys().map(String::as_str).collect();
    let known: BTreeSet<&str> = RECEIPTS.into_iter().collect();
    assert_eq!(found, known, "look at what is new and name it in RECEIPTS: {declared:#?}");
    let effects: usize = declared.values().map(Vec::len).sum();
    let implementations: usize = tree
        .iter()
        .flat_map(|(_, text)| text.lines())
        .filter(|line| line.starts_with("impl") && line.contains(" Effect for "))
        .count();
    // Those that wrap another effect are the only ones that declare none of their own.
    let wrapping: usize =
        tree.iter().map(|(_, text)| text.matches("type Receipt = E::Receipt;").count()).sum();
    assert_eq!(effects + wrapping, implementations, "an effect whose receipt is written another way");
}

#[test]
fn b5_no_receipt_leaves_anything_out_or_reads_as_something_else_than_was_written() {
    let tree = tree();
    for (named, near) in declared(&tree) {
        if named == "()" {
            continue;
        }
        let text = declaration(&tree, &named, &near).unwrap_or_else(|| panic!("no declaration of {named}"));
        for derived in ["Serialize", "Deserialize"] {
            assert!(text.contains(derived), "{named} does not derive {derived}:\n{text}");
        }
        for loses in LOSES {
            let allowed = loses == "skip_serializing" && text.contains("default, skip_serializing_if");
            assert!(!text.contains(loses) || allowed, "{named} has `{loses}`:\n{text}");
        }
        for loses in ["f32", "f64", "Duration", "HashMap<("] {
            assert!(!text.contains(loses), "{named} holds a {loses}: is it read as it was written?\n{text}");
        }
    }
}
