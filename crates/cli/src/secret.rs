//! Where a secret is read from. Never the configuration itself: it would end up in a repository.

use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::exit::CliError;

/// The place of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// An environment variable.
    Env(String),
    /// A file.
    File(PathBuf),
}

impl Source {
    /// The secret. `key` is the setting's name, for messages.
    pub(crate) fn read(&self, key: &str) -> Result<SecretString, CliError> {
        let text = match self {
            Self::Env(env) => std::env::var(env).map_err(|_| {
                CliError::usage(format!("{key}: the variable {env} is not set; set it to the credential"))
            })?,
            Self::File(file) => std::fs::read_to_string(file).map_err(|error| {
                CliError::usage(format!("{key}: {} cannot be read: {error}", file.display()))
            })?,
        };
        Ok(text.trim().to_owned().into())
    }
}

const SHAPE: &str = r#"give { env = "VARIABLE" } or { file = "path" }"#;

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SourceVisitor)
    }
}

/// Written by hand, because a derived one would repeat the secret in its complaint about a plain string.
struct SourceVisitor;

impl<'de> Visitor<'de> for SourceVisitor {
    type Value = Source;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHAPE)
    }

    fn visit_str<E: de::Error>(self, _secret: &str) -> Result<Source, E> {
        Err(E::custom(format!(
            "a credential must not stand in the configuration; {SHAPE}, and replace that credential"
        )))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Source, A::Error> {
        let mut source = None;
        while let Some(key) = map.next_key::<String>()? {
            let found = match key.as_str() {
                "env" => Source::Env(map.next_value()?),
                "file" => Source::File(map.next_value()?),
                other => return Err(de::Error::unknown_field(other, &["env", "file"])),
            };
            if source.replace(found).is_some() {
                return Err(de::Error::custom(format!("a credential has one place; {SHAPE}")));
            }
        }
        source.ok_or_else(|| de::Error::custom(SHAPE))
    }
}
