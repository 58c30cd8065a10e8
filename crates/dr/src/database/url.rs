//! Where a database is, taken apart once so that nothing later has to look into a string with a password in it.

use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};

use super::error::DatabaseError;

/// How the connection is encrypted, as libpq's `sslmode` means it. What may fall back to an open connection (`allow`, `prefer`)
/// is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// Not at all. The default for this machine's own addresses only.
    Off,
    /// `require` without a root certificate: encrypted, whoever is at the other end.
    Encrypted,
    /// `verify-ca`, and `require` with a root certificate: the other end's certificate was signed by one of the roots.
    Signed {
        /// Where the roots are.
        roots: Roots,
    },
    /// `verify-full`, and the default for other machines: and it is that of the host.
    Verified {
        /// Where the roots are.
        roots: Roots,
    },
}

/// Whose signature is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// The system's own.
    System,
    /// Those of a file (PEM). Supabase's is offered on the project's page of database settings.
    File(PathBuf),
}

/// A `postgres://` URL in its parts. Its `Debug` does not show the password.
///
/// ```
/// use allclear_dr::database::DatabaseUrl;
/// let url: DatabaseUrl = "postgres://postgres:s3cret@db.abcdefghijklmnopqrst.supabase.co/postgres".parse()?;
/// assert_eq!(url.project(), Some("abcdefghijklmnopqrst"));
/// assert!(!format!("{url:?}").contains("s3cret"));
/// # Ok::<(), allclear_dr::database::DatabaseError>(())
/// ```
#[derive(Debug, Clone)]
pub struct DatabaseUrl {
    host: String,
    port: u16,
    database: String,
    user: String,
    password: SecretString,
    tls: Tls,
}

impl DatabaseUrl {
    /// The host, without brackets where it is an IPv6 address, in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The database's name.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The role to connect as.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// How the connection is encrypted.
    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    pub(crate) fn password(&self) -> &SecretString {
        &self.password
    }

    /// Supabase's project ref: of `db.REF.supabase.co`, or of the pooler's user `postgres.REF`.
    pub fn project(&self) -> Option<&str> {
        let of_host = self
            .host
            .strip_prefix("db.")
            .and_then(|rest| rest.split_once(".supabase."))
            .map(|(project, _)| project);
        of_host.or_else(|| self.user.rsplit_once('.').map(|(_, project)| project)).filter(|it| is_project(it))
    }

    /// The same place with another database's name.
    #[must_use]
    pub fn with_database(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }
    }
}

/// Refs of Supabase's projects are 20 lower-case letters (and digits, in self-hosted imitations).
fn is_project(text: &str) -> bool {
    text.len() == 20 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl std::str::FromStr for DatabaseUrl {
    type Err = DatabaseError;

    fn from_str(text: &str) -> Result<Self, DatabaseError> {
        let rest = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"))
            .ok_or_else(|| bad("scheme", "it is not postgres", "begin it with `postgres://`"))?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        // The last `@`, because people forget to encode one in a password.
        let (who, place) = place
            .rsplit_once('@')
            .ok_or_else(|| bad("user", "it is missing", "put `user:password@` before the host"))?;
        let (user, password) = who.split_once(':').unwrap_or((who, ""));
        let user = decoded("user", user)?;
        if user.is_empty() {
            return Err(bad("user", "it is empty", "put `user:password@` before the host"));
        }
        let (address, database) = place.split_once('/').unwrap_or((place, ""));
        let (host, port) = host_and_port(address)?;
        let database = if database.is_empty() { user.clone() } else { decoded("database", database)? };
        if port == 6543 {
            return Err(bad(
                "port",
                "6543 is Supabase's transaction pooler, which cannot hold a snapshot over several connections",
                "use 5432, the direct connection or the session pooler",
            ));
        }
        let tls = tls_of(query, &host)?;
        Ok(Self { host, port, database, user, password: decoded("password", password)?.into(), tls })
    }
}

fn host_and_port(address: &str) -> Result<(String, u16), DatabaseError> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest
                .split_once(']')
                .ok_or_else(|| bad("host", "its bracket is not closed", "write IPv6 as `[::1]`"))?;
            (host, after.strip_prefix(':').unwrap_or(""))
        }
        None => address.split_once(':').unwrap_or((address, "")),
    };
    if host.is_empty() || host.contains(['/', ',', ' ']) {
        return Err(bad("host", "it is empty or more than one", "name one host"));
    }
    let port = if port.is_empty() { 5432 } else { port.parse().map_err(|_| bad_port())? };
    Ok((host.to_ascii_lowercase(), port))
}

fn bad_port() -> DatabaseError {
    bad(
        "port",
        "it is no number from 1 to 65535",
        "encode `:`, `/` and `@` in the password as %3A, %2F and %40",
    )
}

fn tls_of(query: &str, host: &str) -> Result<Tls, DatabaseError> {
    let (mut mode, mut roots) = (None, None);
    for (name, value) in query.split('&').filter(|it| !it.is_empty()).filter_map(|it| it.split_once('=')) {
        match name {
            "sslmode" => mode = Some(value),
            "sslrootcert" if value == "system" => roots = Some(Roots::System),
            "sslrootcert" => roots = Some(Roots::File(PathBuf::from(decoded("sslrootcert", value)?))),
            // Written by Prisma and Supabase's dashboard; nothing here depends on them.
            "pgbouncer" | "connection_limit" | "connect_timeout" | "application_name" | "schema" => {}
            _ => {
                return Err(bad(
                    "parameters",
                    "one of them is not known",
                    "leave only sslmode and sslrootcert",
                ));
            }
        }
    }
    match (mode, roots) {
        (Some("require" | "verify-ca"), Some(Roots::System)) => Err(bad(
            "sslrootcert",
            "with the system's roots anybody's certificate passes that does not name the host",
            "use `verify-full` with it",
        )),
        (Some("disable"), _) => Ok(Tls::Off),
        (None, None) if is_loopback(host) => Ok(Tls::Off),
        (Some("require"), None) => Ok(Tls::Encrypted),
        (Some("require" | "verify-ca"), Some(roots)) => Ok(Tls::Signed { roots }),
        (Some("verify-ca"), None) => {
            Err(bad("sslmode", "`verify-ca` needs to be told whose signature", "give `sslrootcert`"))
        }
        (Some("verify-full") | None, roots) => Ok(Tls::Verified { roots: roots.unwrap_or(Roots::System) }),
        (Some(_), _) => {
            Err(bad("sslmode", "it may fall back to an open connection", "use `verify-full` or `disable`"))
        }
    }
}

fn decoded(field: &'static str, text: &str) -> Result<String, DatabaseError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(bad(field, "a `%` in it is not followed by two hex digits", "encode `%` as %25"));
        };
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.chars().any(char::is_control))
        .ok_or_else(|| bad(field, "it is not UTF-8 or holds control characters", "encode it as UTF-8"))
}

fn bad(field: &'static str, problem: &'static str, fix: &'static str) -> DatabaseError {
    DatabaseError::Url { field, problem, fix }
}

/// Every spelling of the password that a program may echo.
pub(crate) fn spellings(url: &DatabaseUrl) -> Vec<String> {
    let plain = url.password.expose_secret();
    let encoded: String = plain
        .bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect();
    let escaped = plain.replace('\\', "\\\\").replace(':', "\\:");
    let mut all = vec![plain.to_owned(), encoded, escaped];
    all.retain(|one| !one.is_empty());
    all.sort_by_key(|one| std::cmp::Reverse(one.len()));
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DatabaseUrl, DatabaseError> {
        text.parse()
    }

    #[test]
    fn a_pooler_user_and_a_direct_host_name_the_same_project() {
        let direct =
            parse("postgres://postgres:x@db.abcdefghijklmnopqrst.supabase.co:5432/postgres").unwrap();
        let pooler = parse(
            "postgresql://postgres.abcdefghijklmnopqrst:x@aws-0-eu-central-1.pooler.supabase.com/postgres",
        )
        .unwrap();
        assert_eq!(direct.project(), Some("abcdefghijklmnopqrst"));
        assert_eq!(pooler.project(), direct.project());
        assert_eq!(*direct.tls(), Tls::Verified { roots: Roots::System });
    }

    #[test]
    fn odd_passwords_and_addresses_are_read_as_meant() {
        let url = parse("postgres://me:p%40ss@w:rd@[::1]:5433/my%20db?sslmode=disable").unwrap();
        assert_eq!((url.host(), url.port(), url.database()), ("::1", 5433, "my db"));
        assert_eq!(url.password().expose_secret(), "p@ss@w:rd");
        assert_eq!(*url.tls(), Tls::Off);
        assert_eq!(parse("postgres://me:x@localhost").unwrap().database(), "me");
    }

    #[test]
    fn tls_is_what_libpq_means_by_it() {
        let of = |query: &str| {
            parse(&format!("postgres://me:x@db.example/p?{query}")).map(|url| url.tls().clone())
        };
        let file = || Roots::File("/ca.pem".into());
        assert_eq!(of("sslmode=require"), Ok(Tls::Encrypted));
        assert_eq!(of("sslmode=require&sslrootcert=/ca.pem"), Ok(Tls::Signed { roots: file() }));
        assert_eq!(of("sslmode=verify-ca&sslrootcert=/ca.pem"), Ok(Tls::Signed { roots: file() }));
        assert_eq!(of("sslmode=verify-full&sslrootcert=/ca.pem"), Ok(Tls::Verified { roots: file() }));
        assert_eq!(of("sslrootcert=/ca.pem"), Ok(Tls::Verified { roots: file() }));
        assert_eq!(of("sslrootcert=system"), Ok(Tls::Verified { roots: Roots::System }));
        assert_eq!(of("sslmode=disable"), Ok(Tls::Off));
        for refused in
            ["sslmode=prefer", "sslmode=allow", "sslmode=verify-ca", "sslmode=require&sslrootcert=system"]
        {
            assert!(of(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_bad_url_is_told_by_field_and_never_repeated() {
        for (text, field) in [
            ("mysql://me:s3cret@h/db", "scheme"),
            ("postgres://s3cret.example/db", "user"),
            ("postgres://:s3cret@h/db", "user"),
            ("postgres://me:s3cret@/db", "host"),
            ("postgres://me:s3cret@h:s3cret/db", "port"),
            ("postgres://me:s3cret@h:6543/db", "port"),
            ("postgres://me:s3cret%zz@h/db", "password"),
            ("postgres://me:s3cret@h/db?sslmode=prefer", "sslmode"),
            ("postgres://me:s3cret@h/db?service=s3cret", "parameters"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(field) && !error.contains("s3cret"), "{text}: {error}");
        }
    }
}
