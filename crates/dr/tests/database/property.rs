//! Random schemas: what `pg_dump` writes of both sides is the same after a restore, and any single difference that is put in
//! afterwards is found.
//!
//! `PROPERTY=N` tries N schemas, `PROPERTY_SEED=S` one again.

use std::fmt::Write as _;
use std::process::Command;

use allclear_core::ports::StagingDatabase as _;

use crate::world::{Exercise, clusters};

/// Schemas in the test command; each has some thirty differences put in.
const SCHEMAS: u64 = 5;

/// Random enough, and the same for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, many: u64) -> u64 {
        self.next() % many
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// A schema as SQL, and single differences: each with what takes it back.
struct Made {
    sql: String,
    differences: Vec<(String, String)>,
}

impl Made {
    fn by(dice: &mut Dice) -> Self {
        let mut made = Self { sql: String::new(), differences: Vec::new() };
        made.shared(dice);
        for number in 0..2 + dice.below(3) {
            made.table(dice, number);
        }
        made.around();
        made
    }

    fn add(&mut self, sql: &str) {
        let _ = writeln!(self.sql, "{sql}");
    }

    fn differs(&mut self, by: impl Into<String>, back: impl Into<String>) {
        self.differences.push((by.into(), back.into()));
    }

    /// What tables use.
    fn shared(&mut self, dice: &mut Dice) {
        let body = |n: &str| {
            format!(
                "CREATE OR REPLACE FUNCTION public.norm(x text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT lower(x) || '{n}' $$"
            )
        };
        self.add(&format!("{};", body("n")));
        self.differs(body("m"), body("n"));
        self.differs("ALTER FUNCTION public.norm(text) COST 7", "ALTER FUNCTION public.norm(text) COST 100");
        self.differs(
            "ALTER FUNCTION public.norm(text) SET work_mem = '1MB'",
            "ALTER FUNCTION public.norm(text) RESET work_mem",
        );
        let labels = dice.one(&["'a', 'b'", "'b', 'a', 'c'", "'it''s', 'b'"]);
        self.add(&format!("CREATE TYPE kind AS ENUM ({labels});"));
        self.differs(
            "ALTER TYPE public.kind RENAME VALUE 'b' TO 'bb'",
            "ALTER TYPE public.kind RENAME VALUE 'bb' TO 'b'",
        );
        let most = 20 + dice.below(50);
        self.add(&format!(
            "CREATE DOMAIN short AS text CONSTRAINT few CHECK (length(norm(VALUE)) < {most});"
        ));
        self.differs(
            "ALTER DOMAIN public.short DROP CONSTRAINT few",
            format!(
                "ALTER DOMAIN public.short ADD CONSTRAINT few CHECK (length(public.norm(VALUE)) < {most})"
            ),
        );
        self.add("CREATE SEQUENCE counter; SELECT nextval('counter');");
        self.differs("SELECT setval('public.counter', 9)", "SELECT setval('public.counter', 1)");
        self.differs("ALTER SEQUENCE public.counter CYCLE", "ALTER SEQUENCE public.counter NO CYCLE");
        self.add("CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.w := trim(new.w); RETURN new; END $$;");
        self.add("CREATE TYPE pair AS (x int, y kind);");
        self.differs("ALTER TYPE public.pair ADD ATTRIBUTE z int", "ALTER TYPE public.pair DROP ATTRIBUTE z");
    }

    fn table(&mut self, dice: &mut Dice, number: u64) {
        let odd = dice.one(&["", " x", "\"\"q", "é", "%s", ".", "'"]);
        let t = format!("public.\"t{number}{odd}\"");
        let (kind, default) =
            (dice.one(&["kind", "short", "kind[]", "pair", "jsonb", "numeric(9,2)", "bytea"]), dice.below(9));
        let partitioned = dice.below(4) == 0;
        let mut columns = format!("id int, w short DEFAULT 'd{default}', n numeric, v {kind}");
        if dice.coin() {
            columns.push_str(", g text GENERATED ALWAYS AS (norm(w::text)) STORED");
        }
        let by = if partitioned { " PARTITION BY RANGE (id)" } else { "" };
        self.add(&format!("CREATE TABLE {t} ({columns}, CONSTRAINT \"pk{number}\" PRIMARY KEY (id), CONSTRAINT \"pos{number}\" CHECK (n > 0 OR norm('x') IS NULL)){by};"));
        if partitioned {
            self.add(&format!("CREATE TABLE part{number}a PARTITION OF {t} FOR VALUES FROM (0) TO (20); CREATE TABLE part{number}b PARTITION OF {t} DEFAULT;"));
        }
        let rows = 1 + dice.below(60);
        self.add(&format!(
            "INSERT INTO {t} (id, w, n) SELECT i, 'w ' || i, i * 1.50 FROM generate_series(1, {rows}) i;"
        ));
        self.rows_differ(&t);
        self.definitions_differ(dice, &t, number, default, partitioned);
    }

    fn rows_differ(&mut self, t: &str) {
        self.differs(
            format!("INSERT INTO {t} (id, n) VALUES (900, 1)"),
            format!("DELETE FROM {t} WHERE id = 900"),
        );
        self.differs(
            format!("UPDATE {t} SET w = w || '!' WHERE id = 1"),
            format!("UPDATE {t} SET w = left(w, -1) WHERE id = 1"),
        );
        self.differs(
            format!("UPDATE {t} SET n = 1.5 WHERE id = 1"),
            format!("UPDATE {t} SET n = 1.50 WHERE id = 1"),
        );
        self.differs(
            format!("UPDATE {t} SET w = NULL WHERE id = 1"),
            format!("UPDATE {t} SET w = 'w 1' WHERE id = 1"),
        );
    }

    fn definitions_differ(&mut self, dice: &mut Dice, t: &str, number: u64, default: u64, partitioned: bool) {
        let w = dice.one(&["w", "lower(w::text)", "n, w"]);
        let index = format!("CREATE INDEX ix{number} ON {t} ({w})");
        self.add(&format!("{index}; COMMENT ON TABLE {t} IS 'about {number}';"));
        self.differs(format!("DROP INDEX public.ix{number}"), index);
        self.differs(
            format!("COMMENT ON TABLE {t} IS 'About {number}'"),
            format!("COMMENT ON TABLE {t} IS 'about {number}'"),
        );
        self.differs(format!("COMMENT ON COLUMN {t}.n IS 'n'"), format!("COMMENT ON COLUMN {t}.n IS NULL"));
        self.differs(
            format!("ALTER TABLE {t} ALTER w SET DEFAULT 'other'"),
            format!("ALTER TABLE {t} ALTER w SET DEFAULT 'd{default}'"),
        );
        self.differs(
            format!("ALTER TABLE {t} ALTER n SET STATISTICS 9"),
            format!("ALTER TABLE {t} ALTER n SET STATISTICS -1"),
        );
        self.differs(format!("REVOKE SELECT ON {t} FROM anon"), format!("GRANT SELECT ON {t} TO anon"));
        self.differs(
            format!("GRANT SELECT (n) ON {t} TO anon"),
            format!("REVOKE SELECT (n) ON {t} FROM anon"),
        );
        self.differs(
            format!("ALTER TABLE {t} OWNER TO pg_monitor"),
            format!("ALTER TABLE {t} OWNER TO postgres"),
        );
        if dice.coin() {
            let policy =
                |x: u64| format!("CREATE POLICY mine ON {t} FOR SELECT TO authenticated USING (n > {x})");
            self.add(&format!("ALTER TABLE {t} ENABLE ROW LEVEL SECURITY; {};", policy(1)));
            self.differs(
                format!("DROP POLICY mine ON {t}; {}", policy(2)),
                format!("DROP POLICY mine ON {t}; {}", policy(1)),
            );
            self.differs(
                format!("ALTER POLICY mine ON {t} TO anon"),
                format!("ALTER POLICY mine ON {t} TO authenticated"),
            );
            self.differs(
                format!("ALTER TABLE {t} DISABLE ROW LEVEL SECURITY"),
                format!("ALTER TABLE {t} ENABLE ROW LEVEL SECURITY"),
            );
        }
        if dice.coin() {
            self.add(&format!(
                "CREATE TRIGGER touch BEFORE UPDATE ON {t} FOR EACH ROW EXECUTE FUNCTION touch();"
            ));
            self.differs(
                format!("ALTER TABLE {t} DISABLE TRIGGER touch"),
                format!("ALTER TABLE {t} ENABLE TRIGGER touch"),
            );
            self.differs(
                format!("CREATE OR REPLACE TRIGGER touch BEFORE UPDATE OF n ON {t} FOR EACH ROW EXECUTE FUNCTION public.touch()"),
                format!("CREATE OR REPLACE TRIGGER touch BEFORE UPDATE ON {t} FOR EACH ROW EXECUTE FUNCTION public.touch()"),
            );
        }
        if !partitioned {
            let check = |valid| {
                format!(
                    "ALTER TABLE {t} DROP CONSTRAINT \"pos{number}\", ADD CONSTRAINT \"pos{number}\" CHECK (n > 0 OR public.norm('x') IS NULL){valid}"
                )
            };
            self.differs(check(" NOT VALID"), check(""));
            self.differs(
                format!("ALTER TABLE {t} SET (fillfactor = 50)"),
                format!("ALTER TABLE {t} RESET (fillfactor)"),
            );
            self.differs(
                format!("ALTER TABLE {t} REPLICA IDENTITY FULL"),
                format!("ALTER TABLE {t} REPLICA IDENTITY DEFAULT"),
            );
            self.differs(
                format!("ALTER TABLE {t} CLUSTER ON \"pk{number}\""),
                format!("ALTER TABLE {t} SET WITHOUT CLUSTER"),
            );
        }
        let view = |x: u64| {
            format!(
                "CREATE OR REPLACE VIEW public.view{number} AS SELECT id, count(*) AS c FROM {t} WHERE n > {x} GROUP BY id"
            )
        };
        self.add(&format!("{};", view(0)));
        self.differs(view(1), view(0));
        self.add(&format!("CREATE MATERIALIZED VIEW kept{number} AS SELECT id, c FROM view{number};"));
        self.differs(
            format!("REFRESH MATERIALIZED VIEW public.kept{number} WITH NO DATA"),
            format!("REFRESH MATERIALIZED VIEW public.kept{number}"),
        );
    }

    /// What is there, and what is not.
    fn around(&mut self) {
        self.differs("CREATE TABLE public.more (id int)", "DROP TABLE public.more");
        self.differs("CREATE VIEW public.more AS SELECT 1 AS a", "DROP VIEW public.more");
        self.differs(
            "CREATE FUNCTION public.more() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "DROP FUNCTION public.more()",
        );
        self.differs("CREATE TYPE public.more AS ENUM ('a')", "DROP TYPE public.more");
        self.differs("CREATE CAST (public.kind AS int) WITH INOUT", "DROP CAST (public.kind AS int)");
        self.differs("GRANT CREATE ON SCHEMA public TO anon", "REVOKE CREATE ON SCHEMA public FROM anon");
        self.differs("CREATE VIEW auth.more AS SELECT last_value FROM public.counter", "DROP VIEW auth.more");
        self.differs(
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT ON TABLES FROM anon",
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO anon",
        );
    }
}

/// What `pg_dump` writes of a database's definitions.
fn dumped(port: u16, password: &str, database: &str) -> String {
    let output = Command::new("pg_dump")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "postgres", "-d", database])
        .args(["--schema-only", "--schema=public"])
        .env("PGPASSWORD", password)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // A word of its own in each dump.
    text.lines().filter(|line| !line.contains("restrict ")).collect::<Vec<_>>().join("\n")
}

/// Tries one schema; how many differences were put in.
async fn tried(seed: u64) -> usize {
    let made = Made::by(&mut Dice(seed));
    let exercise = Exercise::not_enrolled(&format!("property_{seed}")).await;
    exercise.databases.enrol().await.unwrap();
    exercise
        .on_production(&made.sql)
        .await
        .unwrap_or_else(|error| panic!("{error}, seed {seed}:\n{}", made.sql));
    let (_, parity) = exercise
        .backups_and_restores()
        .await
        .unwrap_or_else(|error| panic!("{error}, seed {seed}:\n{}", made.sql));
    assert!(parity.holds(), "seed {seed}: {:?}\n{}", parity.different, made.sql);
    let of =
        |cluster: &allclear_dr::cluster::Cluster| dumped(cluster.port(), cluster.password(), &exercise.name);
    let (source, staging) = (of(&clusters().production), of(&clusters().staging));
    assert!(source == staging, "seed {seed}: dumps differ\n{source}\n---\n{staging}");
    for (by, back) in &made.differences {
        exercise.on_staging(by).await.unwrap_or_else(|error| panic!("{by}: {error}, seed {seed}"));
        let parity = exercise.staging().parity(&Exercise::id()).await.unwrap();
        assert!(!parity.holds(), "not found: {by}, seed {seed}");
        exercise.on_staging(back).await.unwrap_or_else(|error| panic!("{back}: {error}, seed {seed}"));
    }
    let parity = exercise.staging().parity(&Exercise::id()).await.unwrap();
    assert!(parity.holds(), "seed {seed}, all taken back: {:?}", parity.different);
    exercise.gone().await;
    made.differences.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_schemas_are_restored_as_they_are_and_any_single_difference_is_found() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("PROPERTY_SEED") {
        tried(seed).await;
        return;
    }
    let schemas = number("PROPERTY").unwrap_or(SCHEMAS);
    let mut found = 0;
    for seed in 0..schemas {
        found += tried(seed).await;
    }
    println!("{schemas} random schemas, {found} differences put in, all found");
}
