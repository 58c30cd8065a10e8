//! What is left when all rows are there: keys, triggers, policies, grants, what is computed, and that nothing reaches out.
//!
//! All of it in the transaction that ends with the swap.

use std::sync::{Mutex, PoisonError};

use allclear_core::recovery::{Restored, Took};

use super::callers;
use super::catalog::Table;
use super::compare::{self, Change};
use super::dump::Dump;
use super::error::DatabaseError;
use super::masked::{self, MaskedTable};
use super::masking::MaskingProfile;
use super::neutralise::silence_queues;
use super::outside::{self, Outside};
use super::progress::Part;
use super::restore::Plan;
use super::script::{self, tried};
use super::session::{Session, qualified};
use super::silent::Listener;
use super::swap::{self, Mark};

/// All that the end of a restore needs.
pub(crate) struct Finish<'a> {
    pub(crate) session: &'a Session,
    pub(crate) plan: &'a Plan<'a>,
    pub(crate) dump: &'a Dump<'a>,
    pub(crate) listener: &'a Listener,
    /// What was masked, and by which profile.
    pub(crate) masked: &'a [MaskedTable],
    pub(crate) masking: &'a MaskingProfile,
    /// Whether staging's server fills materialised views as if its sessions had no search path: from 17 on.
    pub(crate) fills_without_path: bool,
}

/// The class of what has a name that nothing has: SQLSTATE 42, `undefined_table` and its like.
const UNDEFINED: &str = "42";

impl Finish<'_> {
    /// `early` are the tables whose plain indexes are there; `pointing_in` what staging's other schemas hold.
    pub(crate) async fn all(
        &self,
        early: &impl Fn(&Table) -> bool,
        pointing_in: &[Outside],
        part: &Part,
        log: &Mutex<Vec<Took>>,
    ) -> Result<Restored, DatabaseError> {
        let (session, manifest) = (self.session, self.plan.manifest);
        let path = &manifest.surroundings.search_path;
        let mut changes = Vec::new();
        let mut notes = self.moved();
        let doing = "create indexes, keys, triggers and policies";
        script::run(session, doing, &self.dump.after(early), path).await?;
        part.add(1, 0);
        self.outside_keys(&mut changes, &mut notes).await?;
        script::run(session, "grant", &self.dump.grants(), path).await?;
        swap::grant(session, &self.plan.schemas, &manifest.schema_scripts).await?;
        self.refreshed(&mut changes, &mut notes).await?;
        part.add(1, 0);
        outside::rebuilt(session, &manifest.outside, pointing_in, &mut changes, &mut notes).await?;
        callers::stop(session, self.listener, &manifest.schemas, &mut changes, &mut notes).await?;
        let number = swap::number(session).await?;
        let tables: Vec<Table> = manifest.tables.iter().map(|dumped| dumped.table.clone()).collect();
        silence_queues(session, &tables, number, &mut changes, &mut notes).await?;
        compare::write_down(session, manifest, number, &changes).await?;
        masked::write_down(session, number, self.masked).await?;
        notes.extend(masked::notes(self.masked));
        part.add(1, 0);
        self.marked(number, notes, log).await
    }

    fn moved(&self) -> Vec<String> {
        let moved = self.plan.moves.iter().filter(|it| it.from != it.to);
        moved
            .map(|it| {
                format!(
                    "the extension {} was moved from {} to {}, where production has it",
                    it.name, it.from, it.to
                )
            })
            .collect()
    }

    /// Staging has its own users, so a key to `auth.users` holds for new rows only.
    async fn outside_keys(
        &self,
        changes: &mut Vec<Change>,
        notes: &mut Vec<String>,
    ) -> Result<(), DatabaseError> {
        for (entry, titles) in self.dump.outside_keys() {
            let title = titles[0];
            let key = entry.sql.trim_end().trim_end_matches(';');
            let not_valid = if key.ends_with(" NOT VALID") { "" } else { " NOT VALID" };
            let doing = format!("create the key {title}");
            let made = tried(self.session, &doing, &format!("{key}{not_valid};")).await?;
            // A partitioned table takes only keys that hold for all of its rows.
            let refused = match made {
                Err(refused) if refused.is_code("0A000") => {
                    tried(self.session, &doing, &entry.sql).await?.err()
                }
                other => other.err(),
            };
            let says = match refused {
                None => "it holds for new rows only: it points at staging's own rows".to_owned(),
                Some(refused) => {
                    notes.push(format!("the key {title} was not made: {}", refused.said()));
                    format!("it could not be made on staging's own rows: {}", refused.said())
                }
            };
            changes.extend(titles.iter().map(|title| Change::not_valid(title, says.clone())));
        }
        Ok(())
    }

    /// Fills the materialised views, as production's sessions would. One that may reach outside stays empty.
    async fn refreshed(
        &self,
        changes: &mut Vec<Change>,
        notes: &mut Vec<String>,
    ) -> Result<(), DatabaseError> {
        for (schema, name) in self.dump.to_refresh() {
            let doing = format!("fill the materialised view {schema}.{name}");
            let ask = "SELECT pg_get_viewdef(c.oid), format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                       WHERE n.nspname = $1 AND c.relname = $2";
            let row = self.session.row(&doing, ask, &[&schema, &name]).await?;
            let (query, title): (String, String) = (row.get(0), row.get(1));
            if let Some(why) = self.listener.definition_reaches(&query).filter(|why| !why.only_unknown) {
                let says = format!("left empty, because it may reach outside: {}", why.says);
                notes.push(format!("the materialised view {title} was {says}"));
                changes.push(Change::empty(&title, says));
                continue;
            }
            self.session.look_in(&self.plan.manifest.surroundings.search_path).await?;
            let fill = format!("REFRESH MATERIALIZED VIEW {}", qualified(schema, name));
            let filled = tried(self.session, &doing, &fill).await?;
            self.session.look_in("").await?;
            match filled {
                Err(refused) if self.fills_without_path && refused.is_code(UNDEFINED) => {
                    let says = format!(
                        "left empty: PostgreSQL 17 and later fill it without a search path, and then {}; give its functions one on \
                         production (ALTER FUNCTION … SET search_path = …)",
                        refused.said()
                    );
                    notes.push(format!("the materialised view {title} was {says}"));
                    changes.push(Change::empty(&title, says));
                }
                other => other?,
            }
        }
        Ok(())
    }

    async fn marked(
        &self,
        number: i64,
        notes: Vec<String>,
        log: &Mutex<Vec<Took>>,
    ) -> Result<Restored, DatabaseError> {
        let (plan, manifest) = (self.plan, self.plan.manifest);
        let put_aside: Vec<&str> =
            plan.schemas.iter().filter_map(|schema| schema.put_aside.as_deref()).collect();
        let restored = Restored {
            id: manifest.id.clone(),
            tables: manifest.tables.len() as u64,
            rows: manifest.rows(),
            put_aside: (!put_aside.is_empty()).then(|| put_aside.join(", ")),
            notes,
            began_at: Some(plan.began_at),
            took: log.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        };
        let json = |list: Result<String, serde_json::Error>| list.unwrap_or_else(|_| "[]".to_owned());
        let mark = Mark {
            number,
            backup: manifest.id.as_str(),
            manifest_sha256: &plan.digest,
            schemas: &manifest.schemas,
            tables: restored.tables,
            rows: restored.rows,
            put_aside: restored.put_aside.clone(),
            began_at: plan.began_at.to_string(),
            masking: self.masking.fingerprint(),
            notes: json(serde_json::to_string(&restored.notes)),
            took: json(serde_json::to_string(&restored.took)),
        };
        swap::mark(self.session, &mark).await?;
        Ok(restored)
    }
}
