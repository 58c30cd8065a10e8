//! Checking everything that a store holds: each run's journal, seal, row and plan, and what lies between them.

use std::path::PathBuf;

use serde::Serialize;

use super::look::{Difference, Looked};
use super::ruling::Closed;
use super::{Store, seal};
use crate::journal::{Damage, Event};
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::seam::SeamError;

/// What checking a store came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Each run, newest first; those of which only the seal is left come last.
    pub runs: Vec<AuditedRun>,
    /// What is wrong with the store beside its runs, in words.
    pub store: Vec<String>,
}

impl Audit {
    /// Whether everything is what was written.
    pub fn is_good(&self) -> bool {
        self.store.is_empty() && self.runs.iter().all(AuditedRun::is_good)
    }
}

/// What checking one run came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditedRun {
    /// Its id.
    pub run: String,
    /// Which environment it began in.
    pub environment: String,
    /// Which platform that was then; `None` where nothing says.
    pub platform: Option<String>,
    /// How many entries of its journal are whole.
    pub entries: u64,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// What is wrong with it.
    pub damage: Option<Damage>,
    /// The first entry that is wrong or missing.
    pub entry: Option<u64>,
    /// What its row says otherwise than its journal.
    pub differs: Vec<Difference>,
    /// What is wrong with the file that holds its plan.
    pub plan: Option<String>,
    /// The entries that do not follow from those before them, in words: the chain fits, and no run could have written them.
    pub structure: Vec<String>,
    /// What is wrong with what waits for it and with what it has claimed, in words.
    pub beside: Vec<String>,
    /// How a person ended it as damaged.
    pub closed: Option<Closed>,
    /// What is odd and does no harm.
    pub remarks: Vec<String>,
}

impl AuditedRun {
    /// Whether everything of it is what was written.
    pub fn is_good(&self) -> bool {
        self.problems().is_empty()
    }

    /// What is wrong with it, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        let damage = self.damage.iter().map(ToString::to_string);
        let differs = self.differs.iter().map(ToString::to_string);
        let structure = self.structure.iter().cloned();
        damage.chain(differs).chain(structure).chain(self.plan.clone()).chain(self.beside.clone()).collect()
    }
}

/// The platform that a run began on, by its first entry.
fn platform_of(looked: &Looked) -> Option<String> {
    looked.chain.entries.iter().find_map(|entry| match &entry.event {
        Event::Started { platform, .. } => platform.clone(),
        _ => None,
    })
}

impl Store {
    /// Where a run's plan is kept.
    pub fn plan_file(&self, run: &str) -> PathBuf {
        self.folder().join("runs").join(run).join("plan.json")
    }

    /// A run's plan: that of its file, when that is the one by the run's journal.
    pub fn plan_of(&self, run: &str) -> Result<Option<Plan>, SeamError> {
        let looked = self.look(run)?;
        looked.whole()?;
        self.read_plan(&looked)
    }

    fn read_plan(&self, looked: &Looked) -> Result<Option<Plan>, SeamError> {
        let run = &looked.summary.id;
        let file = self.plan_file(run);
        let bound = looked.chain.entries.first().and_then(|entry| match &entry.event {
            Event::Started { plan, plan_content, .. } => Some((plan.clone(), plan_content.clone())),
            _ => None,
        });
        let differs = |found: String, recorded: &str| SeamError::Differs {
            run: run.clone(),
            what: format!("the plan in {}", file.display()),
            found,
            recorded: recorded.to_owned(),
            next: format!(
                "Put the run's own plan back there, then `allclear resume {run}`; where it is lost, end the run with `allclear \
                 abort {run} --damaged --reason TEXT`"
            ),
        };
        let recorded = match &bound {
            // Nothing is recorded yet, so the file is all there is: the run is bound to it with its first entry.
            None => None,
            Some((None, _)) => return Ok(None),
            Some((Some(hash), content)) => Some((hash.clone(), content.clone())),
        };
        let expected = recorded.as_ref().map_or("not recorded yet", |(hash, _)| hash.as_str());
        let text = std::fs::read_to_string(&file)
            .map_err(|error| differs(format!("unreadable ({error})"), expected))?;
        let plan: Plan =
            serde_json::from_str(&text).map_err(|error| differs(format!("no plan ({error})"), expected))?;
        let own = plan.digest();
        if own != plan.hash {
            return Err(differs(format!("another than its own hash {} says ({own})", plan.hash), expected));
        }
        match recorded {
            Some((hash, _)) if hash != plan.hash => Err(differs(plan.hash, &hash)),
            Some((_, Some(content))) if content != plan.content() => {
                Err(differs(format!("changed in its remarks (content {})", plan.content()), &content))
            }
            _ => Ok(Some(plan)),
        }
    }

    /// What keeps a run from being taken up, in words.
    pub(super) fn what_is_wrong(&self, looked: &Looked) -> Option<String> {
        if let Some(damage) = &looked.summary.damage {
            return Some(damage.to_string());
        }
        if let Some(differs) = looked.summary.differs.iter().find(|differs| differs.matters) {
            return Some(differs.to_string());
        }
        if let Err(altered) = self.check_sent(looked) {
            return Some(altered.to_string());
        }
        self.plan_problem(looked)
    }

    fn plan_problem(&self, looked: &Looked) -> Option<String> {
        match self.read_plan(looked) {
            Err(SeamError::Differs { what, found, recorded, .. }) => {
                Some(format!("{what} is {found}, and by entry 1 of its journal it is {recorded}"))
            }
            Err(error) => Some(error.to_string()),
            Ok(_) => None,
        }
    }

    /// Checks every run, or one.
    pub fn audit(&self, run: Option<&str>) -> Result<Audit, SeamError> {
        let looked = match run {
            Some(run) => vec![self.look(run)?],
            None => self.look_at_all()?,
        };
        let runs = looked.iter().map(|looked| self.audited(looked)).collect::<Result<_, _>>()?;
        let store = if run.is_none() { self.audit_store()? } else { Vec::new() };
        Ok(Audit { runs, store })
    }

    fn audited(&self, looked: &Looked) -> Result<AuditedRun, SeamError> {
        let summary = &looked.summary;
        let mut remarks = Vec::new();
        match &looked.seal {
            seal::Look::Says(sealed) if sealed.half => {
                remarks.push(
                    "one of the two places of its seal cannot be read; the other one counts".to_owned(),
                );
            }
            seal::Look::None if summary.damage.is_none() => {
                remarks.push(
                    "an older version wrote it and gave it no seal; it gets one when it is taken up"
                        .to_owned(),
                );
            }
            _ => {}
        }
        // Without a row there is no journal that a plan could be compared with; a run that a person ended needs none.
        let plan =
            (looked.row.is_some() && summary.damage.is_none()).then(|| self.plan_problem(looked)).flatten();
        let mut beside: Vec<String> =
            self.check_sent(looked).err().map(|error| error.to_string()).into_iter().collect();
        beside.extend(self.wrong_claims(looked)?);
        Ok(AuditedRun {
            run: summary.id.clone(),
            environment: summary.environment.clone(),
            platform: platform_of(looked),
            entries: summary.entries,
            outcome: summary.outcome,
            entry: summary.damage.as_ref().and_then(Damage::entry),
            damage: summary.damage.clone(),
            differs: summary.differs.clone(),
            plan,
            structure: crate::structure::oddities(&looked.chain.entries),
            beside,
            closed: summary.closed.clone(),
            remarks,
        })
    }

    /// What lies between the runs: SQLite's own structure, and the tables that no journal covers.
    fn audit_store(&self) -> Result<Vec<String>, SeamError> {
        let mut wrong = self.committer.read("checking the store's structure", |connection| {
            let mut statement = connection.prepare("PRAGMA integrity_check(20)")?;
            let said = statement.query_map([], |row| row.get::<_, String>(0))?;
            Ok(said
                .collect::<rusqlite::Result<Vec<_>>>()?
                .into_iter()
                .filter(|said| said != "ok")
                .collect::<Vec<_>>())
        })?;
        wrong.extend(self.check_rulings()?);
        let read = self.committer.read("looking at the stop switch", |connection| {
            Ok((super::stop::row_in_force(connection)?, super::stop::in_force(connection)?))
        });
        wrong.extend(match read {
            Ok((row, holds)) if row != holds => {
                let holds =
                    holds.map_or_else(|| "nobody stopped everything".to_owned(), |stop| stop.to_string());
                Some(format!(
                    "the row of the stop switch is not what was written: {holds}, and that counts; `allclear lift-stop` puts the \
                     row right"
                ))
            }
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        });
        Ok(wrong)
    }
}
