//! Looking at a run: its row, its journal and its seal, compared. The journal is the truth; what else says otherwise is
//! told, and nobody takes up what is damaged.

use jiff::Timestamp;
use rusqlite::types::Value as Cell;
use rusqlite::{Connection, OptionalExtension as _};
use serde::Serialize;
use serde_json::Value;

use super::chain::{self, Chain, cell};
use super::ruling::Closed;
use super::seal::{self, Begun, Sealed};
use super::{NewRun, Store};
use crate::journal::{Damage, Damaged, Event};
use crate::outcome::Outcome;
use crate::seam::SeamError;

/// What the store knows of a run, by its journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSummary {
    /// Its id.
    pub id: String,
    /// Which runbook.
    pub runbook: String,
    /// Which environment.
    pub environment: String,
    /// Who started it.
    pub operator: String,
    /// The procedure's input.
    pub input: Value,
    /// What an adapter needs to take it up again.
    pub context: Value,
    /// When it began, by the run's clock; `None` where that is lost.
    pub began_at: Option<Timestamp>,
    /// How it ended; `None` while it can be resumed, and where it is damaged and nobody has ended it.
    pub outcome: Option<Outcome>,
    /// How many entries its journal has, as far as it is whole.
    pub entries: u64,
    /// Whether a process has it right now.
    pub held: bool,
    /// What is wrong with it, where something is: then it cannot be taken up.
    pub damage: Option<Damage>,
    /// What its row says otherwise than its journal.
    pub differs: Vec<Difference>,
    /// How a person ended it although it is damaged.
    pub closed: Option<Closed>,
}

/// A column of a run's row that says otherwise than its journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("its row says {what} {found}, and its journal says {recorded}")]
pub struct Difference {
    /// What, e.g. `environment`.
    pub what: &'static str,
    /// What the row says.
    pub found: String,
    /// What the journal says.
    pub recorded: String,
    /// Whether a resume would rest on it; the others are counted anew when the run is taken up.
    pub matters: bool,
}

/// A run's row, as it is stored.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) number: i64,
    id: Cell,
    runbook: Cell,
    environment: Cell,
    operator: Cell,
    input: Cell,
    context: Cell,
    began_at: Cell,
    outcome: Cell,
    entries: Cell,
    last: Cell,
}

const COLUMNS: &str =
    "number, id, runbook, environment, operator, input, context, began_at, outcome, entries, last";

/// What a run is called whose id cannot be read, before its number in the store.
const NUMBER: &str = "number-";

fn nameless(number: i64) -> String {
    format!("{NUMBER}{number}")
}

impl Row {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            id: cell(row, 1)?,
            runbook: cell(row, 2)?,
            environment: cell(row, 3)?,
            operator: cell(row, 4)?,
            input: cell(row, 5)?,
            context: cell(row, 6)?,
            began_at: cell(row, 7)?,
            outcome: cell(row, 8)?,
            entries: cell(row, 9)?,
            last: cell(row, 10)?,
        })
    }

    /// The row with this number.
    pub(super) fn numbered(connection: &Connection, number: i64) -> rusqlite::Result<Option<Self>> {
        let text = format!("SELECT {COLUMNS} FROM run WHERE number = ?");
        connection.prepare_cached(&text)?.query_row([number], Self::read).optional()
    }

    /// The row of a run. A damaged index must not hide it, so it is looked for without one where it is not found with it.
    pub(super) fn of(connection: &Connection, run: &str) -> rusqlite::Result<Option<Self>> {
        let wanted = Cell::Text(run.to_owned());
        for table in ["run", "run NOT INDEXED"] {
            let text = format!("SELECT {COLUMNS} FROM {table} WHERE id = ?");
            let found = connection.prepare_cached(&text)?.query_row([run], Self::read).optional()?;
            if let Some(row) = found.filter(|row| row.id == wanted) {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Its id, or what stands for it where that cannot be read.
    pub(super) fn id(&self) -> String {
        match &self.id {
            Cell::Text(id) => id.clone(),
            _ => nameless(self.number),
        }
    }

    pub(super) fn last(&self) -> &Cell {
        &self.last
    }

    /// What it calls the platform.
    pub(super) fn environment(&self) -> String {
        match &self.environment {
            Cell::Text(environment) => environment.clone(),
            _ => "?".to_owned(),
        }
    }

    /// How many entries it says that the journal has.
    pub(super) fn entries(&self) -> u64 {
        match self.entries {
            Cell::Integer(entries) => u64::try_from(entries).unwrap_or(0),
            _ => 0,
        }
    }

    /// What it says of the run's beginning, where all of it can be read.
    fn begun(&self) -> Result<Begun, String> {
        let text = |what: &str, cell: &Cell| match cell {
            Cell::Text(text) => Ok(text.clone()),
            other => Err(format!("{what} is {other:?}")),
        };
        let json = |what: &str, cell: &Cell| {
            serde_json::from_str(&text(what, cell)?).map_err(|error| format!("{what}: {error}"))
        };
        let began_at = text("its beginning", &self.began_at)?;
        Ok(Begun {
            new: NewRun {
                id: text("its id", &self.id)?,
                runbook: text("its runbook", &self.runbook)?,
                environment: text("its environment", &self.environment)?,
                // Rows do not say it; before it was known, the environment's name stood for it.
                platform: text("its environment", &self.environment)?,
                operator: text("its operator", &self.operator)?,
                input: json("its input", &self.input)?,
                context: json("its context", &self.context)?,
            },
            began_at: began_at.parse().map_err(|error| format!("its beginning: {error}"))?,
        })
    }
}

/// A run as it is stored, with everything that was found about it.
#[derive(Debug)]
pub(super) struct Looked {
    /// `None` where the store has lost the row.
    pub(super) row: Option<Row>,
    pub(super) chain: Chain,
    pub(super) seal: seal::Look,
    pub(super) summary: RunSummary,
}

impl Looked {
    /// Refuses a damaged one.
    pub(super) fn whole(&self) -> Result<(), SeamError> {
        match &self.summary.damage {
            Some(damage) => Err(SeamError::Damaged { run: self.summary.id.clone(), damage: damage.clone() }),
            None => Ok(()),
        }
    }

    /// Refuses one whose row says otherwise in what a resume rests on.
    pub(super) fn same(&self) -> Result<(), SeamError> {
        let run = &self.summary.id;
        match self.summary.differs.iter().find(|differs| differs.matters) {
            Some(Difference { what, found, recorded, .. }) => Err(SeamError::Differs {
                run: run.clone(),
                what: format!("the {what} in its row"),
                found: found.clone(),
                recorded: recorded.clone(),
                next: format!(
                    "Put the row right with `allclear audit mend {run}`, then `allclear resume {run}`"
                ),
            }),
            None => Ok(()),
        }
    }
}

impl Store {
    /// Looks at one run. The seal is read first: it is never ahead of a journal that is read after it.
    pub(super) fn look(&self, run: &str) -> Result<Looked, SeamError> {
        if let Some(number) = run.strip_prefix(NUMBER).and_then(|number| number.parse().ok()) {
            return self.look_at_number(number);
        }
        let seal = self.seal_of(run)?;
        let found = self
            .committer
            .read("reading a journal", |connection| {
                let Some(row) = Row::of(connection, run)? else { return Ok(None) };
                Ok(Some((read_chain(connection, &row, &seal)?, row)))
            })
            .map_err(|error| error.about(run))?;
        let closed = self.closing_of(run)?;
        let looked = match found {
            Some((chain, row)) => compare(row, chain, seal, closed),
            None => lost(run, &seal, closed).ok_or_else(|| SeamError::Missing { run: run.to_owned() })?,
        };
        Ok(self.with_holder(looked))
    }

    /// Looks at the run with this number. What cannot be read is damage of that run and of no other.
    pub(super) fn look_at_number(&self, number: i64) -> Result<Looked, SeamError> {
        let unread = |error: &SeamError| Damage::Unread { detail: error.to_string() };
        let row = self.committer.read("reading a row", |connection| Row::numbered(connection, number));
        let row = match row {
            Ok(Some(row)) => row,
            Ok(None) => return Err(SeamError::Missing { run: nameless(number) }),
            Err(error) => return Ok(unknown(nameless(number), None, unread(&error))),
        };
        let run = row.id();
        let beside = self.seal_of(&run).and_then(|seal| Ok((seal, self.closing_of(&run)?)));
        let (seal, closed) = match beside {
            Ok(beside) => beside,
            Err(error) => {
                let looked = unknown(run, row.begun().ok().as_ref(), unread(&error));
                return Ok(Looked { row: Some(row), ..looked });
            }
        };
        let chain =
            self.committer.read("reading a journal", |connection| read_chain(connection, &row, &seal));
        Ok(self.with_holder(match chain {
            Ok(chain) => compare(row, chain, seal, closed),
            Err(error) => {
                let known = row.begun().ok();
                let looked = unknown(run, known.as_ref(), unread(&error));
                Looked { row: Some(row), ..looked }
            }
        }))
    }

    /// The runs that have a seal and no row, and that had done something.
    pub(super) fn lost_runs(&self, known: &[String]) -> Result<Vec<Looked>, SeamError> {
        let sealed = seal::sealed_runs(self.folder()).map_err(|error| super::opening(&error))?;
        let mut lost_runs = Vec::new();
        for run in sealed.into_iter().filter(|run| !known.contains(run)) {
            let seal = self.seal_of(&run)?;
            let closed = self.closing_of(&run)?;
            // Between the listing and now it may have got its row.
            let row = self.committer.read("reading a row", |connection| Row::of(connection, &run))?;
            if row.is_none() {
                lost_runs.extend(lost(&run, &seal, closed));
            }
        }
        Ok(lost_runs)
    }

    fn seal_of(&self, run: &str) -> Result<seal::Look, SeamError> {
        seal::look(self.folder(), run).map_err(|error| {
            let detail = format!("{}: {error}", seal::path_of(self.folder(), run).display());
            SeamError::Store { doing: "reading a seal", detail }.about(run)
        })
    }

    fn with_holder(&self, mut looked: Looked) -> Looked {
        let summary = &mut looked.summary;
        summary.held =
            summary.outcome.is_none() && matches!(self.try_lock(&summary.id), Err(SeamError::Locked { .. }));
        looked
    }
}

/// Reads a journal. Where the seal is ahead of what the row leads to, the store may still have the rest.
fn read_chain(connection: &Connection, row: &Row, seal: &seal::Look) -> rusqlite::Result<Chain> {
    let chain = chain::read(connection, row.number, row.last())?;
    match seal {
        seal::Look::Says(sealed) if sealed.tail.entries > chain.entries.len() as u64 && !chain.led_astray => {
            let through = chain::read_through(connection, row.number, row.last())?;
            Ok(if through.entries.len() > chain.entries.len() { through } else { chain })
        }
        _ => Ok(chain),
    }
}

/// A run of which the store has nothing but the seal; none where that says that nothing was done.
fn lost(run: &str, seal: &seal::Look, closed: Option<Closed>) -> Option<Looked> {
    let (known, sealed) = match seal {
        seal::Look::None => return None,
        seal::Look::Says(Sealed { tail, .. }) if tail.entries == 0 => return None,
        seal::Look::Says(sealed) => (Some(&sealed.begun), sealed.tail.entries),
        seal::Look::Broken(_) => (None, 0),
    };
    let mut looked = unknown(run.to_owned(), known, Damage::Missing { sealed });
    looked.summary.outcome = closed.as_ref().map(|_| Outcome::Rejected);
    looked.summary.closed = closed;
    Some(Looked { seal: seal.clone(), ..looked })
}

fn unknown(run: String, known: Option<&Begun>, damage: Damage) -> Looked {
    let mut summary = summary_of(known);
    summary.id = run;
    summary.damage = Some(damage);
    Looked { row: None, chain: Chain::empty(), seal: seal::Look::None, summary }
}

fn summary_of(known: Option<&Begun>) -> RunSummary {
    let unknown = || "?".to_owned();
    let new = known.map(|begun| &begun.new);
    RunSummary {
        id: new.map_or_else(unknown, |new| new.id.clone()),
        runbook: new.map_or_else(unknown, |new| new.runbook.clone()),
        environment: new.map_or_else(unknown, |new| new.environment.clone()),
        operator: new.map_or_else(unknown, |new| new.operator.clone()),
        input: new.map_or(Value::Null, |new| new.input.clone()),
        context: new.map_or(Value::Null, |new| new.context.clone()),
        began_at: known.map(|begun| begun.began_at),
        outcome: None,
        entries: 0,
        held: false,
        damage: None,
        differs: Vec::new(),
        closed: None,
    }
}

/// Compares what was found of a run.
fn compare(row: Row, chain: Chain, seal: seal::Look, closed: Option<Closed>) -> Looked {
    let in_row = row.begun();
    let begun = begun_by(&chain, &seal, in_row.as_ref().ok());
    let mut summary = summary_of(begun.as_ref());
    summary.id = row.id();
    summary.entries = chain.entries.len() as u64;
    summary.damage = damage_of(&row, &chain, &seal, begun.as_ref(), &in_row);
    summary.differs = begun.map_or_else(Vec::new, |begun| differences(&row, &chain, &begun));
    summary.outcome = match (&closed, &summary.damage) {
        (Some(_), _) => Some(Outcome::Rejected),
        (None, None) => chain.outcome(),
        (None, Some(_)) => None,
    };
    summary.closed = closed;
    Looked { row: Some(row), chain, seal, summary }
}

/// How the run began: by its journal, by its seal before the first entry, and by its row where an older version wrote it.
fn begun_by(chain: &Chain, seal: &seal::Look, in_row: Option<&Begun>) -> Option<Begun> {
    let sealed = match seal {
        seal::Look::Says(sealed) => Some(&sealed.begun),
        seal::Look::None | seal::Look::Broken(_) => None,
    };
    let outside = sealed.or(in_row).cloned();
    let Some(first) = chain.entries.first() else { return outside };
    let Event::Started { run, runbook, environment, platform, operator, input, context, .. } = &first.event
    else {
        return outside;
    };
    let context = context.clone().or_else(|| outside.as_ref().map(|begun| begun.new.context.clone()));
    let id =
        if run.is_empty() { outside.as_ref().map(|begun| begun.new.id.clone()) } else { Some(run.clone()) };
    Some(Begun {
        new: NewRun {
            id: id?,
            runbook: runbook.clone(),
            environment: environment.clone(),
            platform: platform
                .clone()
                .or_else(|| outside.as_ref().map(|begun| begun.new.platform.clone()))
                .unwrap_or_else(|| environment.clone()),
            operator: operator.clone(),
            input: input.clone(),
            context: context?,
        },
        began_at: outside.map_or(first.at, |begun| begun.began_at),
    })
}

fn damage_of(
    row: &Row,
    chain: &Chain,
    seal: &seal::Look,
    begun: Option<&Begun>,
    in_row: &Result<Begun, String>,
) -> Option<Damage> {
    let run = row.id();
    let found = chain.entries.len() as u64;
    if let Some(damaged) = &chain.damaged {
        return Some(damaged.clone().into());
    }
    let started = chain.entries.first().map(|entry| &entry.event);
    match started {
        None => {}
        Some(Event::Started { run: of, .. }) if of.is_empty() || *of == run => {}
        Some(Event::Started { run: of, .. }) => {
            return Some(Damaged { seq: 1, what: format!("it is the beginning of run {of}") }.into());
        }
        Some(_) => return Some(Damaged { seq: 1, what: "it is no beginning".to_owned() }.into()),
    }
    let broken =
        |what: &str| Some(Damage::Seal { path: format!("seals/{run}.seal"), what: what.to_owned(), found });
    match seal {
        seal::Look::Broken(what) => return broken(what),
        seal::Look::None => {
            // A version that seals is known by the id in the first entry.
            let older = matches!(started, Some(Event::Started { run, .. }) if run.is_empty());
            if !older {
                return broken("is missing");
            }
        }
        seal::Look::Says(sealed) => {
            if sealed.begun.new.id != run {
                return broken(&format!("is that of run {}", sealed.begun.new.id));
            }
            let tail = &sealed.tail;
            if tail.entries > found {
                return Some(Damage::Cut { sealed: tail.entries, found });
            }
            if chain.hash_at(tail.entries) != Some(&tail.hash) {
                return Some(Damage::OtherEnd { seq: tail.entries.max(1) });
            }
            if begun.is_some_and(|begun| *begun != sealed.begun) {
                return broken("tells of another beginning than entry 1 of the journal");
            }
        }
    }
    match (begun, in_row) {
        (None, Err(what)) => Some(Damage::Row { what: what.clone() }),
        _ => None,
    }
}

/// What the row says otherwise.
fn differences(row: &Row, chain: &Chain, begun: &Begun) -> Vec<Difference> {
    let text = |cell: &Cell| match cell {
        Cell::Text(text) => text.clone(),
        Cell::Null => "nothing".to_owned(),
        Cell::Integer(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    // Compared as values: another spacing of the same JSON is no difference.
    let json = |cell: &Cell| match serde_json::from_str::<Value>(&text(cell)) {
        Ok(value) => value.to_string(),
        Err(_) => text(cell),
    };
    let NewRun { runbook, environment, operator, input, context, .. } = &begun.new;
    let outcome = chain.outcome().map_or_else(|| "nothing".to_owned(), super::outcome_text);
    let entries = chain.entries.len().to_string();
    let all = [
        ("runbook", text(&row.runbook), runbook.clone(), true),
        ("environment", text(&row.environment), environment.clone(), true),
        ("operator", text(&row.operator), operator.clone(), true),
        ("input", json(&row.input), input.to_string(), true),
        ("context", json(&row.context), context.to_string(), true),
        ("beginning", text(&row.began_at), begun.began_at.to_string(), true),
        ("outcome", text(&row.outcome), outcome, false),
        ("number of entries", text(&row.entries), entries, false),
        ("place of the latest entry", text(&row.last), chain.last_id.to_string(), false),
    ];
    all.into_iter()
        .filter(|(_, found, recorded, _)| found != recorded)
        .map(|(what, found, recorded, matters)| Difference { what, found, recorded, matters })
        .collect()
}

/// How a run began, by what cannot be changed unnoticed.
pub(super) fn begun_by_journal(looked: &Looked) -> Option<Begun> {
    let in_row = looked.row.as_ref().and_then(|row| row.begun().ok());
    begun_by(&looked.chain, &looked.seal, in_row.as_ref())
}
