//! The vendors' own descriptions of their services.
//!
//! They are not ours to hand on, so they lie outside the project and are read when the tests run: in the folder that
//! `ALLCLEAR_SPECS` names, or in `shared/specs` beside the project. Without them there is nothing to compare with, and every
//! test here counts as ignored, never as passed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// The folder, where there is one.
pub(crate) fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/specs");
    let folder = std::env::var_os("ALLCLEAR_SPECS").map_or(beside, PathBuf::from);
    folder.is_dir().then_some(folder)
}

pub(crate) fn read(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A description cut to some paths and to what they refer to; the whole one takes a contract server long to read. A path
/// may be served under another name than its own: `(as described, as called)`.
pub(crate) fn excerpt(whole: &Value, paths: &[(&str, &str)]) -> Value {
    let mut kept = Map::new();
    for (described, called) in paths {
        let path = &whole["paths"][*described];
        assert!(path.is_object(), "the description has no path {described}");
        kept.insert((*called).to_owned(), path.clone());
    }
    let mut cut = json!({ "openapi": whole["openapi"], "info": whole["info"], "paths": kept });
    if !whole["security"].is_null() {
        cut["security"] = whole["security"].clone();
    }
    let mut wanted = BTreeSet::new();
    references(&cut["paths"], &mut wanted);
    let mut done = BTreeSet::new();
    cut["components"] = json!({ "securitySchemes": whole["components"]["securitySchemes"] });
    while let Some(reference) = wanted.pop_first() {
        // A reference may go into a part; the part is kept whole.
        let mut steps = reference.strip_prefix("#/components/").unwrap_or_default().split('/');
        let (Some(kind), Some(name)) = (steps.next(), steps.next()) else {
            panic!("a reference to somewhere else: {reference}");
        };
        let reference = format!("{kind}/{name}");
        if !done.insert(reference.clone()) {
            continue;
        }
        let part = &whole["components"][kind][name];
        references(part, &mut wanted);
        cut["components"][kind][name] = part.clone();
    }
    cut
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get("$ref") {
                found.insert(reference.clone());
            }
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// The statuses that a description promises for a call.
pub(crate) fn statuses(spec: &Value, path: &str, method: &str) -> Vec<u16> {
    let responses = spec["paths"][path][method]["responses"].as_object().into_iter().flatten();
    responses.filter_map(|(status, _)| status.parse().ok()).collect()
}
