//! Whether code in a database can reach anything outside of it, by what it says.
//!
//! Proven silent is code in SQL or PL/pgSQL in which no word names a function, a relation or a command that leads outside, and
//! the functions that it names are silent themselves. Everything else is not proven. Names are taken as words, wherever they
//! stand and whatever schema they are looked up in: to take a column for a function costs a disabled trigger, to overlook one
//! costs a message to a customer.

use std::collections::{BTreeMap, BTreeSet};

use super::error::DatabaseError;
use super::session::Session;

/// Built-in functions that reach outside, or run SQL that stands in a text.
const OUTWARD: &str = "^(lo_import|lo_export|pg_notify|pg_read_.*|pg_ls_.*|pg_file_.*|pg_logical_.*|pg_replication_.*|pg_create_.*|pg_drop_.*|\
pg_terminate_backend|pg_cancel_backend|pg_reload_conf|pg_promote|pg_switch_wal|pg_rotate_logfile|(query|cursor|table|schema|database)_to_xml.*|\
ts_stat|ts_rewrite|pg_stat_file|pg_copy_.*|pg_sync_.*)$";

/// Commands that reach outside, run SQL that stands in a text, or make something that could.
const COMMANDS: [&str; 8] = ["execute", "notify", "copy", "create", "alter", "drop", "import", "prepare"];

/// Words of PL/pgSQL that may stand before a parenthesis and are no keywords of SQL.
const PLPGSQL: [&str; 9] =
    ["elsif", "elseif", "perform", "raise", "while", "foreach", "assert", "loop", "slice"];

/// Extensions whose functions compute, and nothing else.
const COMPUTING: [&str; 32] = [
    "plpgsql",
    "unaccent",
    "citext",
    "pg_trgm",
    "hstore",
    "ltree",
    "intarray",
    "pgcrypto",
    "uuid-ossp",
    "btree_gin",
    "btree_gist",
    "cube",
    "earthdistance",
    "fuzzystrmatch",
    "isn",
    "seg",
    "moddatetime",
    "autoinc",
    "insert_username",
    "lo",
    "vector",
    "postgis",
    "pg_jsonschema",
    "pgjwt",
    "pg_hashids",
    "dict_int",
    "dict_xsyn",
    "tsm_system_rows",
    "tsm_system_time",
    "bloom",
    "rum",
    "pgroonga",
];

/// What is known of one function.
struct Function {
    schema: String,
    name: String,
    language: String,
    extension: Option<String>,
    body: String,
    /// Whether `row.name` calls it.
    of_row: bool,
}

/// Knows every function of a database that is not built in, and judges code by it.
pub(crate) struct Listener {
    functions: Vec<Function>,
    by_name: BTreeMap<String, Vec<usize>>,
    /// Names of built-in functions that reach outside.
    outward: BTreeSet<String>,
    /// Words before a parenthesis that call nothing but what is built in: keywords, types, relations, built-in functions.
    built_in: BTreeSet<String>,
    /// Relations that are not the restored schemas' own: by name where no restored one has it, and as `schema.name`.
    elsewhere: BTreeSet<String>,
    foreign: BTreeSet<String>,
    /// Why nothing at all can be proven: an operator or a cast runs code that may reach outside without being named.
    hidden: Option<Why>,
}

/// Why code is not proven silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Why {
    pub(crate) says: String,
    /// Whether nothing speaks against it but that an extension's compiled code is not known.
    pub(crate) only_unknown: bool,
}

impl Why {
    fn because(says: String) -> Self {
        Self { says, only_unknown: false }
    }
}

/// Extensions that are made to reach outside.
const REACHING: [&str; 13] = [
    "dblink",
    "postgres_fdw",
    "http",
    "pg_net",
    "pg_cron",
    "pgmq",
    "wrappers",
    "aws_s3",
    "aws_lambda",
    "plsh",
    "file_fdw",
    "adminpack",
    "tcn",
];

impl Listener {
    /// Asks a database. `schemas` are those that are being restored.
    pub(crate) async fn ask(session: &Session, schemas: &[String]) -> Result<Self, DatabaseError> {
        let doing = "see what code calls";
        let sql = "SELECT n.nspname::text, p.proname::text, l.lanname::text, x.extname::text, \
          coalesce(pg_get_function_sqlbody(p.oid), p.prosrc), p.pronargs = 1 AND EXISTS (SELECT FROM pg_type a \
          WHERE a.oid = p.proargtypes[0] AND a.typtype IN ('c', 'p')) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
          JOIN pg_language l ON l.oid = p.prolang LEFT JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid \
          AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass LEFT JOIN pg_extension x ON x.oid = d.refobjid \
          WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2, p.oid";
        let function = |row: &tokio_postgres::Row| Function {
            schema: row.get(0),
            name: row.get(1),
            language: row.get(2),
            extension: row.get(3),
            body: row.get(4),
            of_row: row.get(5),
        };
        let functions: Vec<Function> = session.rows(doing, sql, &[]).await?.iter().map(function).collect();
        let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (number, function) in functions.iter().enumerate() {
            by_name.entry(function.name.to_lowercase()).or_default().push(number);
        }
        let names = async |sql: &str| {
            let rows = session.rows(doing, sql, &[&schemas]).await?;
            Ok::<BTreeSet<String>, DatabaseError>(
                rows.iter().map(|row| row.get::<_, String>(0).to_lowercase()).collect(),
            )
        };
        let outward = format!(
            "SELECT proname::text FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '{OUTWARD}' \
             AND cardinality($1::text[]) >= 0"
        );
        let elsewhere = "SELECT unnest(CASE WHEN EXISTS (SELECT FROM pg_class o JOIN pg_namespace r ON r.oid = o.relnamespace \
          WHERE o.relname = c.relname AND r.nspname = ANY($1)) THEN ARRAY[n.nspname || '.' || c.relname] \
          ELSE ARRAY[n.nspname || '.' || c.relname, c.relname::text] END) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
          WHERE c.relkind IN ('r', 'p', 'v', 'f') AND NOT n.nspname = ANY($1) AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
          AND n.nspname !~ '_before_[0-9]{8}t[0-9]+$'";
        // A view over a foreign table reaches as far as the table.
        let foreign = "WITH RECURSIVE f AS (SELECT oid, relname FROM pg_class WHERE relkind = 'f' AND cardinality($1::text[]) >= 0 UNION \
          SELECT v.oid, v.relname FROM f JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = f.oid \
          AND d.classid = 'pg_rewrite'::regclass JOIN pg_rewrite w ON w.oid = d.objid JOIN pg_class v ON v.oid = w.ev_class) \
          SELECT DISTINCT relname::text FROM f";
        let built_in = "SELECT proname::text FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND cardinality($1::text[]) >= 0 \
          UNION SELECT typname::text FROM pg_type UNION SELECT relname::text FROM pg_class UNION SELECT word FROM pg_get_keywords()";
        let mut built_in = names(built_in).await?;
        built_in.extend(PLPGSQL.iter().map(|word| (*word).to_owned()));
        let (outward, elsewhere, foreign) =
            (names(&outward).await?, names(elsewhere).await?, names(foreign).await?);
        let mut listener = Self { functions, by_name, outward, built_in, elsewhere, foreign, hidden: None };
        let implied = "SELECT p.proname::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
          WHERE n.nspname <> 'pg_catalog' AND cardinality($1::text[]) >= 0 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass \
          AND d.objid = p.oid AND d.deptype = 'e') AND (EXISTS (SELECT FROM pg_operator o WHERE o.oprcode = p.oid) OR EXISTS (SELECT FROM pg_cast c WHERE c.castfunc = p.oid))";
        let implied = names(implied).await?;
        listener.hidden = implied.iter().find_map(|name| listener.reaches_by(name));
        Ok(listener)
    }

    /// Why code is not proven silent; `None` where it is.
    pub(crate) fn reaches(&self, code: &str) -> Option<Why> {
        self.hidden.clone().or_else(|| self.judge(code, true, &mut BTreeSet::new()))
    }

    /// The same of a definition, in which commands are no statements.
    pub(crate) fn definition_reaches(&self, sql: &str) -> Option<Why> {
        self.hidden.clone().or_else(|| self.judge(sql, false, &mut BTreeSet::new()))
    }

    /// Why a function is not proven silent.
    pub(crate) fn function_reaches(&self, schema: &str, name: &str) -> Option<Why> {
        if schema == "pg_catalog" {
            return self.outward.contains(name).then(|| format!("{name} reaches outside")).map(Why::because);
        }
        self.hidden.clone().or_else(|| self.reaches_by(&name.to_lowercase()))
    }

    /// By any of the functions of a name.
    fn reaches_by(&self, name: &str) -> Option<Why> {
        self.reaches_from(name, &mut BTreeSet::new())
    }

    /// The same; `seen` are the functions on the way here. One that calls itself is as silent as the rest of it.
    fn reaches_from(&self, name: &str, seen: &mut BTreeSet<usize>) -> Option<Why> {
        self.by_name.get(name)?.iter().find_map(|number| self.one(*number, seen))
    }

    fn one(&self, number: usize, seen: &mut BTreeSet<usize>) -> Option<Why> {
        if !seen.insert(number) {
            return None;
        }
        let function = &self.functions[number];
        let named = format!("{}.{}", function.schema, function.name);
        match (&function.extension, function.language.as_str()) {
            (Some(extension), _) if COMPUTING.contains(&extension.as_str()) => None,
            (Some(extension), _) => Some(Why {
                says: format!("{named} belongs to the extension {extension}"),
                only_unknown: !REACHING.contains(&extension.as_str()),
            }),
            (None, "sql" | "plpgsql") => self
                .judge(&function.body, true, seen)
                .map(|why| Why { says: format!("{named}: {}", why.says), ..why }),
            (None, language) => Some(Why::because(format!("{named} is written in {language}"))),
        }
    }

    fn judge(&self, code: &str, commands: bool, seen: &mut BTreeSet<usize>) -> Option<Why> {
        let words = words(code);
        (0..words.len()).find_map(|place| {
            let at = Place { words: &words, place };
            let (word, after) = (at.word(0), at.word(1));
            let is_name = word.starts_with(|c: char| c.is_alphabetic() || c == '_');
            let says = if !is_name {
                None
            } else if commands && COMMANDS.contains(&word) && at.word(-1) != "." {
                Some(format!("it has the command {}", word.to_uppercase()))
            } else if ["do", "load"].contains(&word) && after == TEXT {
                Some("it runs what stands in a text".to_owned())
            } else if self.outward.contains(word) && after == "(" {
                Some(format!("it calls {word}"))
            } else if self.foreign.contains(word) {
                Some(format!("it names the foreign table {word}"))
            } else if at.is_written() && self.elsewhere.contains(&at.qualified()) {
                Some(format!("it writes to {}, which is not restored", at.qualified()))
            } else if after == "(" && !self.by_name.contains_key(word) && !self.built_in.contains(word) {
                Some(format!("it calls {}, which is not there", at.qualified()))
            } else {
                None
            };
            says.map(Why::because).or_else(|| self.called(&at, seen))
        })
    }

    /// Whether what is called at a place reaches out.
    fn called(&self, at: &Place<'_>, seen: &mut BTreeSet<usize>) -> Option<Why> {
        if at.word(1) == "(" {
            return self.reaches_from(at.word(0), seen);
        }
        if at.word(-1) != "." {
            return None;
        }
        let of_row = self.by_name.get(at.word(0))?.iter().filter(|it| self.functions[**it].of_row);
        of_row.copied().find_map(|it| self.one(it, seen))
    }
}

/// One word among its neighbours.
struct Place<'a> {
    words: &'a [String],
    place: usize,
}

impl Place<'_> {
    /// The word so far away; nothing where there is none.
    fn word(&self, away: isize) -> &str {
        let place = self.place.checked_add_signed(away);
        place.and_then(|place| self.words.get(place)).map_or("", String::as_str)
    }

    /// With its schema, where it is named with one.
    fn qualified(&self) -> String {
        let word = self.word(0);
        if self.word(-1) == "." { format!("{}.{word}", self.word(-2)) } else { word.to_owned() }
    }

    /// Whether it stands where a command names what it changes.
    fn is_written(&self) -> bool {
        let before = if self.word(-1) == "." { -3 } else { -1 };
        let (command, more) = (self.word(before), self.word(before - 1));
        ["into", "update", "only"].contains(&command) || (command, more) == ("from", "delete")
    }
}

/// What stands for a text among words.
const TEXT: &str = "'";

/// The words of SQL, in lower case, quoted names without quotes; a text is one word, each mark is one, comments are none.
fn words(code: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        rest = if rest.starts_with("--") {
            rest.find('\n').map_or("", |end| &rest[end..])
        } else if rest.starts_with("/*") {
            comment_end(rest)
        } else if first == '\'' {
            words.push(TEXT.to_owned());
            text_end(after, words.len() >= 2 && words[words.len() - 2] == "e")
        } else if first == '"' {
            let end = after.find('"').unwrap_or(after.len());
            words.push(after[..end].to_lowercase());
            after.get(end + 1..).unwrap_or("")
        } else if let Some(tag) = dollar_tag(rest) {
            // A text in dollars is a text; what is in it runs only by EXECUTE or DO.
            words.push(TEXT.to_owned());
            let body = &rest[tag.len()..];
            body.find(tag).map_or("", |end| &body[end + tag.len()..])
        } else if first.is_alphabetic() || first == '_' {
            let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
            let end = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
            words.push(rest[..end].to_lowercase());
            &rest[end..]
        } else {
            words.extend((!first.is_whitespace()).then(|| first.to_string()));
            after
        };
    }
    words
}

/// Comments nest.
fn comment_end(code: &str) -> &str {
    let mut depth = 0;
    let mut at = 0;
    let bytes = code.as_bytes();
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return code.get(at..).unwrap_or("");
        }
    }
    ""
}

/// Behind a text whose first quote was taken.
fn text_end(code: &str, escapes: bool) -> &str {
    let bytes = code.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => return &code[at + 1..],
            _ => at += 1,
        }
    }
    ""
}

/// `$$` or `$tag$` at the beginning.
fn dollar_tag(code: &str) -> Option<&str> {
    let rest = code.strip_prefix('$')?;
    let end = rest.find('$')?;
    let tag = &rest[..end];
    let fits = tag.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !tag.starts_with(|c: char| c.is_ascii_digit());
    fits.then(|| &code[..end + 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_wherever_they_stand_and_texts_are_none() {
        let code = "begin -- net.http_post\n perform \"Net\" . http_post('execute; it''s'); /* drop /* x */ */ \
                    x := e'\\'' || $q$ copy $q$; end";
        assert_eq!(
            words(code),
            [
                "begin",
                "perform",
                "net",
                ".",
                "http_post",
                "(",
                "'",
                ")",
                ";",
                "x",
                ":",
                "=",
                "e",
                "'",
                "|",
                "|",
                "'",
                ";",
                "end"
            ]
        );
        assert_eq!(words("do $$ x $$"), ["do", "'"]);
    }

    #[test]
    fn text_that_never_ends_ends_the_words() {
        for code in ["'abc", "/* abc", "$a$ abc", "\"abc", "e'abc\\", "-- abc"] {
            assert!(words(code).len() <= 2, "{code}");
        }
    }
}
