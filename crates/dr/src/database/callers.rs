//! Nothing restored reaches out: what is not proven silent is disabled, each by name, and what cannot be disabled is refused.

use super::compare::Change;
use super::error::{DatabaseError, Party};
use super::script::tried;
use super::session::{Session, literal, qualified, quoted};
use super::silent::Listener;

/// Refuses what the server computes while rows are loaded and indexed: checks, generated columns, domains. They cannot be
/// disabled, and they would run before anything could be.
pub(crate) async fn refuse_computed(
    session: &Session,
    listener: &Listener,
    schemas: &[String],
) -> Result<(), DatabaseError> {
    let sql = "SELECT format('the check %I of %s', k.conname, coalesce(k.conrelid::regclass::text, '')), pn.nspname::text, p.proname::text \
      FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace \
      JOIN pg_depend d ON d.classid = 'pg_constraint'::regclass AND d.objid = k.oid AND d.refclassid = 'pg_proc'::regclass \
      JOIN pg_proc p ON p.oid = d.refobjid JOIN pg_namespace pn ON pn.oid = p.pronamespace WHERE n.nspname = ANY($1) AND k.contype = 'c' \
      UNION ALL SELECT format('the generated column %I of %s', a.attname, a.attrelid::regclass), pn.nspname::text, p.proname::text \
      FROM pg_attrdef f JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum AND a.attgenerated <> '' \
      JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
      JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_proc'::regclass \
      JOIN pg_proc p ON p.oid = d.refobjid JOIN pg_namespace pn ON pn.oid = p.pronamespace WHERE n.nspname = ANY($1)";
    for row in session.rows("see what is computed", sql, &[&schemas]).await? {
        let (what, schema, name): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        if let Some(why) = listener.function_reaches(&schema, &name).filter(|why| !why.only_unknown) {
            return Err(DatabaseError::MayReachOut { what, why: why.says });
        }
    }
    Ok(())
}

/// Disables the triggers and rules that are not proven silent, and the target's jobs and subscriptions.
pub(crate) async fn stop(
    session: &Session,
    listener: &Listener,
    schemas: &[String],
    changes: &mut Vec<Change>,
    notes: &mut Vec<String>,
) -> Result<(), DatabaseError> {
    triggers(session, listener, schemas, changes, notes).await?;
    rules(session, listener, schemas, changes, notes).await?;
    jobs(session, notes).await?;
    subscriptions(session, notes).await?;
    foreign_tables(session, schemas, notes).await
}

/// Puts on record what was disabled on purpose, so that it is no difference.
fn disabled((kind, title): (&str, &str), why: &str, changes: &mut Vec<Change>, notes: &mut Vec<String>) {
    let says = format!("disabled, because it is not proven silent: {why}");
    notes.push(format!("the {kind} {title} was {says}"));
    changes.push(Change::disabled(kind, title, says));
}

async fn triggers(
    session: &Session,
    listener: &Listener,
    schemas: &[String],
    changes: &mut Vec<Change>,
    notes: &mut Vec<String>,
) -> Result<(), DatabaseError> {
    let doing = "disable triggers that may call out";
    let sql = "SELECT n.nspname::text, c.relname::text, t.tgname::text, pn.nspname::text, p.proname::text, \
      coalesce(substring(pg_get_triggerdef(t.oid) from ' WHEN \\((.*)\\) EXECUTE '), ''), format('%I.%I.%I', n.nspname, c.relname, t.tgname) \
      FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
      JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace pn ON pn.oid = p.pronamespace \
      WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND (n.nspname = ANY($1) OR pn.nspname = ANY($1) \
        AND n.nspname !~ '_before_[0-9]{8}t[0-9]+$') ORDER BY 1, 2, 3";
    for row in session.rows(doing, sql, &[&schemas]).await? {
        let [schema, table, trigger, of, function, when, title] =
            std::array::from_fn(|n| row.get::<_, String>(n));
        let reaches =
            listener.function_reaches(&of, &function).or_else(|| listener.definition_reaches(&when));
        let Some(why) = reaches else { continue };
        let (table, trigger) = (qualified(&schema, &table), quoted(&trigger));
        let disable = format!("ALTER TABLE {table} DISABLE TRIGGER {trigger}");
        if tried(session, doing, &disable).await?.is_ok() {
            disabled(("trigger", &title), &why.says, changes, notes);
            continue;
        }
        // Another role's table, such as `auth.users`.
        match tried(session, doing, &format!("DROP TRIGGER {trigger} ON {table}")).await? {
            Ok(()) => notes.push(format!(
                "the trigger {title} was removed, because it is not proven silent: {}",
                why.says
            )),
            Err(refused) => {
                return Err(DatabaseError::Permission {
                    party: Party::Target,
                    doing: format!("disable the trigger {title}, which is not proven silent ({})", why.says),
                    detail: refused.said(),
                });
            }
        }
    }
    Ok(())
}

async fn rules(
    session: &Session,
    listener: &Listener,
    schemas: &[String],
    changes: &mut Vec<Change>,
    notes: &mut Vec<String>,
) -> Result<(), DatabaseError> {
    let doing = "disable rules that may call out";
    let sql = "SELECT n.nspname::text, c.relname::text, w.rulename::text, regexp_replace(pg_get_ruledef(w.oid), '^CREATE RULE ', ''), \
      format('%I.%I.%I', n.nspname, c.relname, w.rulename) FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class \
      JOIN pg_namespace n ON n.oid = c.relnamespace WHERE w.rulename <> '_RETURN' AND w.ev_enabled <> 'D' AND n.nspname = ANY($1)";
    for row in session.rows(doing, sql, &[&schemas]).await? {
        let [schema, table, rule, definition, title] = std::array::from_fn(|n| row.get::<_, String>(n));
        let Some(why) = listener.reaches(&definition) else { continue };
        let disable = format!("ALTER TABLE {} DISABLE RULE {}", qualified(&schema, &table), quoted(&rule));
        session.batch(doing, &disable).await?;
        disabled(("rule", &title), &why.says, changes, notes);
    }
    Ok(())
}

async fn jobs(session: &Session, notes: &mut Vec<String>) -> Result<(), DatabaseError> {
    let doing = "disable scheduled jobs";
    let ask = "SELECT to_regclass('cron.job') IS NOT NULL, \
               EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
               WHERE n.nspname = 'cron' AND p.proname = 'alter_job')";
    let row = session.row(doing, ask, &[]).await?;
    let disable = match (row.get(0), row.get(1)) {
        (false, _) => return Ok(()),
        // On Supabase the table itself belongs to somebody else.
        (true, true) => "SELECT cron.alter_job(job_id := jobid, active := false) FROM cron.job WHERE active",
        (true, false) => "UPDATE cron.job SET active = false WHERE active",
    };
    let active = "SELECT concat_ws(' ', to_jsonb(j) ->> 'jobid', to_jsonb(j) ->> 'jobname') FROM cron.job j WHERE active ORDER BY jobid";
    for row in session.rows(doing, active, &[]).await? {
        notes.push(format!("the scheduled job {} was disabled", row.get::<_, String>(0)));
    }
    session.batch(doing, disable).await
}

/// A subscription would bring rows into the restored tables, and tells its publisher so.
async fn subscriptions(session: &Session, notes: &mut Vec<String>) -> Result<(), DatabaseError> {
    let doing = "disable subscriptions";
    let sql = "SELECT s.subname::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid \
               WHERE d.datname = current_database() AND s.subenabled";
    for row in session.rows(doing, sql, &[]).await? {
        let name: String = row.get(0);
        session.batch(doing, &format!("ALTER SUBSCRIPTION {} DISABLE", quoted(&name))).await?;
        notes.push(format!("the subscription {name} was disabled"));
    }
    Ok(())
}

/// A foreign table cannot be disabled. That its server is not production's was seen before anybody was called.
async fn foreign_tables(
    session: &Session,
    schemas: &[String],
    notes: &mut Vec<String>,
) -> Result<(), DatabaseError> {
    let sql = "SELECT format('the foreign table %I.%I reaches the server %I, as staging defines it', n.nspname, c.relname, s.srvname) \
      FROM pg_foreign_table f JOIN pg_class c ON c.oid = f.ftrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
      JOIN pg_foreign_server s ON s.oid = f.ftserver WHERE n.nspname = ANY($1) ORDER BY 1";
    let rows = session.rows("list the foreign tables", sql, &[&schemas]).await?;
    notes.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    Ok(())
}

/// Turns the triggers and rules of a table off for a change that is not the application's; what turns them on again.
pub(crate) async fn paused(
    session: &Session,
    doing: &str,
    schema: &str,
    table: &str,
) -> Result<String, DatabaseError> {
    let name = qualified(schema, table);
    let sql = format!(
        "SELECT format('ALTER TABLE {{0}} DISABLE TRIGGER %I;', t.tgname), format('ALTER TABLE {{0}} ENABLE %s TRIGGER %I;', \
           CASE t.tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END, t.tgname) \
         FROM pg_trigger t WHERE t.tgrelid = {0}::regclass AND NOT t.tgisinternal AND t.tgenabled <> 'D' \
         UNION ALL SELECT format('ALTER TABLE {{0}} DISABLE RULE %I;', w.rulename), format('ALTER TABLE {{0}} ENABLE %s RULE %I;', \
           CASE w.ev_enabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END, w.rulename) \
         FROM pg_rewrite w WHERE w.ev_class = {0}::regclass AND w.ev_enabled <> 'D' \
         UNION ALL SELECT 'ALTER TABLE {{0}} NO FORCE ROW LEVEL SECURITY;', 'ALTER TABLE {{0}} FORCE ROW LEVEL SECURITY;' \
         FROM pg_class WHERE oid = {0}::regclass AND relforcerowsecurity",
        literal(&name)
    );
    let (mut off, mut on) = (String::new(), String::new());
    for row in session.rows(doing, &sql, &[]).await? {
        off.push_str(&row.get::<_, String>(0).replace("{0}", &name));
        on.push_str(&row.get::<_, String>(1).replace("{0}", &name));
    }
    session.batch(doing, &off).await?;
    Ok(on)
}
