//! The written runbooks, and what binds them to the code: every bullet has an id, and the step of that id carries the
//! bullet's words.
//!
//! An id follows from where a bullet stands: the runbook's letters, the phase's letter, and its number in that phase. So
//! a bullet that is added, moved, taken out or reworded shows up as drift, and so does a step.
//!
//! An exercise is written in another shape than an incident: bullets before its outline, phases of its own, and at the end
//! what the last one found. All of them are bullets with ids like any other.

use std::fmt::Write as _;
use std::ops::Range;

use allclear_engine::{Phase, Step};
use serde::Serialize;

use crate::Entry;
use crate::dr_tabletop::LAST_HELD;

/// The text that the procedures were written from.
pub const WRITTEN: &[u8] = include_bytes!("../text/incident-runbooks.txt");

/// One bullet of the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bullet {
    /// Under which phase it stands.
    pub phase: Phase,
    /// Its number among the bullets of that phase, from 1.
    pub number: usize,
    /// Its words, on one line.
    pub words: String,
    /// Its line in the text, from 1.
    pub line: usize,
}

impl Bullet {
    /// Its id in a runbook with these letters.
    pub fn id(&self, letters: &str) -> String {
        format!("{letters}-{}{}", letter(self.phase), self.number)
    }
}

/// One section of the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// Its bullets, in order.
    pub bullets: Vec<Bullet>,
}

/// How the heading begins under which a section has the notes that exercises filed. What stands there is data: no bullet of it is
/// bound to a step.
pub const RETRO_NOTES: &str = "Retro Notes";

/// How the heading begins under which an exercise has what the last one found.
const LAST_FINDINGS: &str = "Latest Findings";
/// The dash of headings.
const DASH: &str = "–";

/// What does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(tag = "drift", rename_all = "snake_case")]
pub enum Drift {
    /// The text has a bullet that no step does.
    #[error("{id} (line {line}) has no step: \"{words}\"; write the step, or take the bullet out")]
    NoStep {
        /// The bullet's id.
        id: String,
        /// Where it stands.
        line: usize,
        /// What it says.
        words: String,
    },
    /// The code has a step that the text does not ask for.
    #[error("step {id} has no bullet in the text: \"{words}\"; write the bullet, or take the step out")]
    NoBullet {
        /// The step's id.
        id: String,
        /// What it says.
        words: String,
    },
    /// Text and step say different things.
    #[error(
        "{id} (line {line}): the text says \"{text}\" and the step \"{step}\"; decide which is meant and change the other"
    )]
    Words {
        /// The id of both.
        id: String,
        /// Where the bullet stands.
        line: usize,
        /// The bullet's words.
        text: String,
        /// The step's.
        step: String,
    },
    /// The text lacks a whole runbook.
    #[error("the text has no section \"{title}\"; write it, e.g. from `allclear show {runbook}`")]
    NoSection {
        /// Its heading.
        title: String,
        /// The runbook.
        runbook: String,
    },
}

/// How one runbook and its section fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Binding {
    /// The runbook.
    pub runbook: String,
    /// Ids that fit, with the bullet's line and words.
    pub bound: Vec<(String, usize, String)>,
    /// What does not.
    pub drifts: Vec<Drift>,
}

/// Reads a text. Bytes that are no UTF-8 become marks, and never an error: one odd dash in a heading must not hide the
/// rest.
pub fn parse(text: &[u8]) -> Vec<Section> {
    let text = String::from_utf8_lossy(text);
    let mut sections: Vec<Section> = Vec::new();
    let mut phase = None;
    // Whether the next line may go on with the last bullet.
    let mut open = false;
    let mut in_notes = false;
    for (index, line) in text.lines().enumerate() {
        let (trimmed, indented) = (line.trim(), line.starts_with(' '));
        if let Some(title) = line.strip_prefix("## ") {
            sections.push(Section { title: heading(title), bullets: Vec::new() });
            // What stands before the first phase says when and by whom.
            (phase, open, in_notes) = (Some(Phase::Prepare), false, false);
        } else if let Some(title) = line.strip_prefix("### ") {
            in_notes = title.starts_with(RETRO_NOTES);
            (phase, open) = (title.starts_with(LAST_FINDINGS).then_some(Phase::LastFindings), false);
        } else if in_notes {
            in_notes = !line.starts_with("# ");
        } else if let Some((name, rest)) = phase_line(trimmed).filter(|_| !indented) {
            phase = phase_named(name);
            open = phase.is_some() && !rest.is_empty();
            if open {
                add(&mut sections, phase, rest, index + 1);
            }
        } else if let Some(words) = trimmed.strip_prefix("- ").filter(|_| indented || stands_alone(phase)) {
            open = phase.is_some();
            add(&mut sections, phase, words, index + 1);
        } else if open && indented && !trimmed.is_empty() {
            if let Some(bullet) = sections.last_mut().and_then(|section| section.bullets.last_mut()) {
                let _ = write!(bullet.words, " {trimmed}");
            }
        } else {
            open = false;
        }
    }
    for bullet in sections.iter_mut().flat_map(|section| &mut section.bullets) {
        bullet.words = plain(&bullet.words);
    }
    sections
}

/// Where a section's lines are in a text, without its heading; `None` where the text has no section of that title.
pub(crate) fn section(text: &str, title: &str) -> Option<Range<usize>> {
    let is_it = |line: &str| line.strip_prefix("## ").is_some_and(|it| heading(it) == title);
    below(text, 0..text.len(), is_it, &["## ", "# "])
}

/// The same of a part of a section, by how its heading begins.
pub(crate) fn subsection(text: &str, section: Range<usize>, title: &str) -> Option<Range<usize>> {
    let is_it = |line: &str| line.strip_prefix("### ").is_some_and(|it| it.starts_with(title));
    below(text, section, is_it, &["### "])
}

/// What stands below the first line that is meant, up to the next that begins with one of `ends`.
fn below(
    text: &str,
    within: Range<usize>,
    is_meant: impl Fn(&str) -> bool,
    ends: &[&str],
) -> Option<Range<usize>> {
    let (mut at, mut begin) = (within.start, None);
    for line in text[within.clone()].split_inclusive('\n') {
        if begin.is_some_and(|_| ends.iter().any(|end| line.starts_with(end))) {
            break;
        }
        at += line.len();
        if begin.is_none() && is_meant(line) {
            begin = Some(at);
        }
    }
    begin.map(|begin| begin..at)
}

/// Whether the bullets of a phase stand at the margin, not below a numbered line.
fn stands_alone(phase: Option<Phase>) -> bool {
    matches!(phase, Some(Phase::Prepare | Phase::LastFindings))
}

/// A heading with its dash as it was meant. Read with the wrong encoding an en dash becomes three letters, or a mark.
fn heading(title: &str) -> String {
    title.trim().replace("â€“", DASH).replace('\u{fffd}', DASH).replace(" - ", " – ")
}

fn add(sections: &mut [Section], phase: Option<Phase>, words: &str, line: usize) {
    let (Some(section), Some(phase)) = (sections.last_mut(), phase) else { return };
    let number = section.bullets.iter().filter(|bullet| bullet.phase == phase).count() + 1;
    // Rendered from code, a bullet carries its id.
    let words =
        words.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map_or(words, |(_, words)| words);
    section.bullets.push(Bullet { phase, number, words: words.to_owned(), line });
}

/// `1. **Detect**: words` as name and words.
fn phase_line(line: &str) -> Option<(&str, &str)> {
    let (number, rest) = line.split_once(". **")?;
    let (name, rest) = rest.split_once("**")?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| (name, rest.trim_start_matches(':').trim()))
}

fn phase_named(name: &str) -> Option<Phase> {
    Some(match name {
        "Detect" => Phase::Detect,
        "Immediate Actions" => Phase::Immediate,
        "Mitigation" => Phase::Mitigate,
        "Escalation" => Phase::Escalate,
        "Resolution" => Phase::Resolve,
        "Postmortem Inputs" => Phase::Postmortem,
        "Notification Drill" => Phase::Notify,
        "Backup Execution" => Phase::Backup,
        "Restore & Cutover Rehearsal" => Phase::Restore,
        "Stakeholder Comms" => Phase::Communicate,
        "Findings & Follow-Up" => Phase::FollowUp,
        _ => return None,
    })
}

fn written_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Detect => "Detect",
        Phase::Immediate => "Immediate Actions",
        Phase::Mitigate => "Mitigation",
        Phase::Escalate => "Escalation",
        Phase::Resolve => "Resolution",
        Phase::Postmortem => "Postmortem Inputs",
        Phase::Notify => "Notification Drill",
        Phase::Backup => "Backup Execution",
        Phase::Restore => "Restore & Cutover Rehearsal",
        Phase::Communicate => "Stakeholder Comms",
        Phase::FollowUp => "Findings & Follow-Up",
        Phase::Prepare => "Preparation",
        Phase::LastFindings => LAST_FINDINGS,
    }
}

/// Incidents and exercises share letters; no runbook has phases of both.
fn letter(phase: Phase) -> char {
    match phase {
        Phase::Detect => 'D',
        Phase::Immediate => 'I',
        Phase::Mitigate => 'M',
        Phase::Escalate => 'E',
        Phase::Resolve | Phase::Restore => 'R',
        Phase::Postmortem | Phase::Prepare => 'P',
        Phase::Notify => 'N',
        Phase::Backup => 'B',
        Phase::Communicate => 'C',
        Phase::FollowUp => 'F',
        Phase::LastFindings => 'L',
    }
}

/// One line, single spaces, nothing bold, no full stop at the end.
fn plain(words: &str) -> String {
    let words = words.replace("**", "");
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    words.strip_suffix('.').unwrap_or(&words).to_owned()
}

/// The letters that a runbook's ids begin with.
fn letters(steps: &[Step]) -> &str {
    steps.first().and_then(|step| step.id.split('-').next()).unwrap_or_default()
}

/// Binds runbooks to a text; sections that no runbook has are left alone.
pub fn bind(text: &[u8], runbooks: &[Entry]) -> Vec<Binding> {
    let sections = parse(text);
    runbooks.iter().map(|entry| bind_one(&sections, entry.id, entry.title, entry.steps)).collect()
}

fn bind_one(sections: &[Section], runbook: &str, title: &str, steps: &[Step]) -> Binding {
    let mut binding = Binding { runbook: runbook.to_owned(), bound: Vec::new(), drifts: Vec::new() };
    let Some(section) = sections.iter().find(|section| section.title == title) else {
        binding.drifts.push(Drift::NoSection { title: title.to_owned(), runbook: runbook.to_owned() });
        return binding;
    };
    let id_of = |bullet: &Bullet| bullet.id(letters(steps));
    for bullet in &section.bullets {
        let (id, line, words) = (id_of(bullet), bullet.line, bullet.words.clone());
        match steps.iter().find(|step| step.id == id) {
            None => binding.drifts.push(Drift::NoStep { id, line, words }),
            Some(step) if plain(step.title) != words => {
                binding.drifts.push(Drift::Words { id, line, text: words, step: plain(step.title) });
            }
            Some(_) => binding.bound.push((id, line, words)),
        }
    }
    for step in steps.iter().filter(|step| !section.bullets.iter().any(|bullet| id_of(bullet) == step.id)) {
        binding.drifts.push(Drift::NoBullet { id: step.id.to_owned(), words: plain(step.title) });
    }
    binding
}

/// The runbook as text, from the code: what can replace the written one.
pub fn render(entry: &Entry) -> String {
    let mut text = format!("## {}\n", entry.title);
    let of = |phase: Phase| entry.steps.iter().filter(move |step| step.phase == phase);
    let has = |phase: Phase| of(phase).next().is_some();
    if has(Phase::Prepare) {
        text.push('\n');
        for step in of(Phase::Prepare) {
            let _ = writeln!(text, "- [{}] {}.", step.id, named_in_bold(step.title));
        }
        text.push_str("\n### Scenario Outline\n");
    }
    let numbered = Phase::ALL.into_iter().filter(|phase| !stands_alone(Some(*phase)) && has(*phase));
    for (number, phase) in numbered.enumerate() {
        let _ = write!(text, "\n{}. **{}**\n", number + 1, written_name(phase));
        for step in of(phase) {
            let _ = writeln!(text, "   - [{}] {}.", step.id, step.title);
        }
    }
    if has(Phase::LastFindings) {
        let _ = write!(text, "\n### {LAST_FINDINGS} ({LAST_HELD})\n\n");
        for step in of(Phase::LastFindings) {
            let _ = writeln!(text, "- [{}] {}.", step.id, step.title);
        }
    }
    text
}

/// `**Cadence**: words`.
fn named_in_bold(title: &str) -> String {
    title.split_once(": ").map_or_else(|| title.to_owned(), |(name, rest)| format!("**{name}**: {rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;

    fn drifts(text: &str) -> Vec<Drift> {
        bind(text.as_bytes(), catalogue()).into_iter().flat_map(|binding| binding.drifts).collect()
    }

    fn written() -> String {
        String::from_utf8_lossy(WRITTEN).into_owned()
    }

    #[test]
    fn every_bullet_of_the_written_runbooks_is_bound_to_a_step() {
        let bindings = bind(WRITTEN, catalogue());
        for binding in &bindings {
            assert!(binding.drifts.is_empty(), "{}: {:#?}", binding.runbook, binding.drifts);
        }
        let bullets: Vec<usize> = bindings.iter().map(|binding| binding.bound.len()).collect();
        assert_eq!(bullets, [8, 8, 7, 7, 13]);
    }

    #[test]
    fn one_changed_word_is_drift() {
        let edited = written().replacen("honor `retry-after`", "ignore `retry-after`", 1);
        let found = drifts(&edited);
        assert!(matches!(&found[..], [Drift::Words { id, .. }] if id == "WA-M1"), "{found:?}");
    }

    #[test]
    fn a_bullet_that_is_taken_out_or_added_is_drift() {
        let without = written().replacen("   - Pause campaign to prevent stale state.\n", "", 1);
        assert!(
            drifts(&without).iter().any(|drift| matches!(drift, Drift::NoBullet { id, .. } if id == "CD-I2"))
        );
        let pause = "   - Pause campaign to prevent stale state.\n";
        let more = written().replacen(pause, &format!("{pause}   - Phone a friend.\n"), 1);
        let found = drifts(&more);
        assert!(matches!(&found[..], [Drift::NoStep { id, .. }] if id == "CD-I3"), "{found:?}");
    }

    #[test]
    fn a_step_that_is_taken_out_is_drift() {
        let entry = catalogue().iter().find(|entry| entry.id == "station-redeem-anomalies").unwrap();
        let fewer = Entry { steps: &entry.steps[..entry.steps.len() - 1], ..*entry };
        let found = &bind(WRITTEN, &[fewer])[0].drifts;
        assert!(matches!(&found[..], [Drift::NoStep { id, .. }] if id == "SR-R1"), "{found:?}");
    }

    #[test]
    fn a_wrongly_encoded_dash_hides_nothing() {
        let mut broken = WRITTEN.to_vec();
        let place = broken.windows(12).position(|window| window == b"## Voucher P").unwrap();
        broken.splice(place..place, b"## Broken \xe2\x28 heading\n\n".iter().copied());
        assert_eq!(parse(&broken).len(), parse(WRITTEN).len() + 1);
        assert!(bind(&broken, catalogue()).iter().all(|binding| binding.drifts.is_empty()));
    }

    #[test]
    fn the_section_of_the_exercise_is_bound_word_by_word() {
        let section = written().find("## DR Tabletop").unwrap();
        let (before, exercise) = (written()[..section].to_owned(), written()[section..].to_owned());
        for (from, to, id) in [
            ("14:00 UTC", "15:00 UTC", "DR-P1"),
            ("Data Platform Lead,", "Data Platform Team,", "DR-P2"),
            ("within 5 minutes", "within 9 minutes", "DR-N1"),
            ("statement draft", "statement text", "DR-N2"),
            ("staging project ref", "production project ref", "DR-B1"),
            ("row-count parity", "row-count", "DR-B2"),
            ("campaign send,", "campaign stop,", "DR-R1"),
            ("without executing", "while executing", "DR-R2"),
            ("escalation email", "escalation letter", "DR-C1"),
            ("action owners", "owners", "DR-F1"),
            ("new controls", "controls", "DR-F2"),
            ("HTTP 401", "HTTP 403", "DR-L1"),
            ("took 11 minutes", "took 9 minutes", "DR-L2"),
        ] {
            assert!(exercise.contains(from), "{from}");
            let found = drifts(&format!("{before}{}", exercise.replacen(from, to, 1)));
            assert!(matches!(&found[..], [Drift::Words { id: one, .. }] if one == id), "{id}: {found:?}");
        }
        let entry = catalogue().iter().find(|entry| entry.id == "dr-tabletop").unwrap();
        for (index, step) in entry.steps.iter().enumerate() {
            let mut fewer = entry.steps.to_vec();
            fewer.remove(index);
            let found = &bind(WRITTEN, &[Entry { steps: fewer.leak(), ..*entry }])[0].drifts;
            assert!(matches!(&found[..], [Drift::NoStep { id, .. }] if id == step.id), "{found:?}");
        }
    }

    #[test]
    fn the_dash_of_a_heading_may_be_written_as_it_likes() {
        for dash in ["â€“".as_bytes(), "–".as_bytes(), b"-", b"\x96"] {
            let heading = [b"## DR Tabletop Test ", dash, b" Backup/Restore Cutover\n"].concat();
            assert_eq!(parse(&heading)[0].title, "DR Tabletop Test – Backup/Restore Cutover", "{dash:?}");
        }
    }

    /// Beside the ids, line breaks and the dash of its heading, the exercise from code is the exercise as it was written.
    #[test]
    fn the_rendered_exercise_is_the_written_one() {
        let entry = catalogue().iter().find(|entry| entry.id == "dr-tabletop").unwrap();
        let rendered = render(entry);
        let without_ids =
            entry.steps.iter().fold(rendered, |text, step| text.replace(&format!("[{}] ", step.id), ""));
        let on_one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let written = written().replace("â€“", DASH);
        let section = &written[written.find("## DR Tabletop").unwrap()..];
        assert_eq!(on_one_line(&without_ids), on_one_line(section));
    }

    #[test]
    fn a_runbook_rendered_from_code_can_replace_the_written_one() {
        for entry in catalogue() {
            let binding = &bind(render(entry).as_bytes(), &[*entry])[0];
            assert!(binding.drifts.is_empty(), "{:?}", binding.drifts);
            assert_eq!(binding.bound.len(), entry.steps.len());
        }
    }
}
