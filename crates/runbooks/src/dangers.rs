//! Every effect that cannot be undone has been thought about: it says that it is dangerous, or stands here with the reason why it
//! is not. A new one that does neither fails this test.

use std::path::Path;

/// Effects without an undo that do no harm by that.
const HARMLESS: [(&str, &str); 25] = [
    ("StartStopped", "gives back what a stop took, and the stop was agreed to"),
    ("TakeBackup", "adds a file"),
    ("CopyObjects", "adds files"),
    ("WriteDocument", "adds a file of the exercise"),
    ("KeepEvidence", "adds a file"),
    ("WriteFile", "adds a file"),
    ("KeepBeside", "adds a file"),
    ("CallIn", "is a message"),
    ("TryOut", "leaves nothing in a rehearsal copy that is replaced anyway"),
    ("AuditNote", "adds a row for the record"),
    ("PostMessage", "is a message"),
    ("ResolveIncident", "closes what the run opened, or what it has proven to be over"),
    ("AdoptReplacement", "stays held by whoever takes it over: nobody can redeem it"),
    ("ReserveReplacement", "is held: nobody can redeem it"),
    ("ReleaseReplacement", "gives a customer back what the void took, and the void was agreed to"),
    ("RecordEvent", "adds a row for the record"),
    ("SendCanary", "is a message to a number of our own"),
    ("RequeueNotifications", "sends what was to be sent anyway"),
    ("RepairPolicy", "is decided by a person at a gate, and the policy before it is in the journal"),
    ("RestoreQueue", "gives back what a skip took"),
    ("GiveUpAgain", "takes back what a run put back, where nobody has tried it"),
    ("PostponeSends", "delays what would be refused meanwhile"),
    ("SpreadSends", "delays what would go out in quiet hours"),
    ("OpenTicket", "is a message"),
    ("ExportFailedTargets", "adds a file"),
];

/// The effects of a source text that have no undo, each with whether it says that it is dangerous.
fn without_undo(source: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    for part in source.split("Effect for ").skip(1) {
        let body = part.split("\n}\n").next().unwrap_or_default();
        let name: String = part.chars().take_while(|c| c.is_alphanumeric()).collect();
        if body.contains("type Undo = NoUndo") {
            found.push((name, body.contains("fn danger(")));
        }
    }
    found
}

fn sources(folder: &Path, into: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            into.push(std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_effect_that_cannot_be_undone_says_whether_it_is_dangerous() {
    let mut all = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    let found: Vec<(String, bool)> = all.iter().flat_map(|source| without_undo(source)).collect();
    assert!(found.len() > 20, "{found:?}");
    for (name, says) in &found {
        let harmless = HARMLESS.iter().any(|(known, _)| known == name);
        assert!(
            says ^ harmless,
            "{name} says that it is dangerous: {says}; it is listed as harmless: {harmless}"
        );
    }
    for dangerous in ["VoidVoucher", "RestoreBackup", "DeployFunction"] {
        assert!(found.contains(&(dangerous.to_owned(), true)), "{dangerous}");
    }
}
