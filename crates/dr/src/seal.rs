//! A signature under what an exercise left, so that whoever reads it later knows that nobody changed it since.
//!
//! A [`Statement`] names each file with its SHA-256, and the manifests of backup and copy with theirs; the signature (Ed25519, RFC 8032)
//! is over the statement's bytes as they stand in the bucket, and stands beside it. Who has only the public key can check it, also
//! with `openssl pkeyutl -verify -rawin`.

use std::fmt;
use std::str::FromStr;

use allclear_core::error::InvalidValue;
use allclear_core::ports::Artifact;
use allclear_core::recovery::BackupId;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::database::hex;

/// The form of the statement that this version writes and reads.
const FORMAT: u32 = 1;

/// What an exercise left, in one document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    format: u32,
    /// The exercise's run.
    pub run: String,
    /// How it ended.
    pub outcome: String,
    /// The backup beside which it stands.
    pub backup: BackupId,
    /// SHA-256 of the backup's manifest, which holds that of each of its files; `None` where there is no whole backup.
    pub backup_manifest_sha256: Option<String>,
    /// The same of the copy of the buckets.
    pub copy_manifest_sha256: Option<String>,
    /// How many entries the journal has.
    pub journal_entries: u64,
    /// The files: journal, report, log, row counts.
    pub files: Vec<Artifact>,
}

impl Statement {
    /// What is stated of a run's files. The manifests are those of its backup and copy as the bucket has them.
    pub fn of(run: &str, outcome: &str, backup: BackupId) -> Self {
        Self {
            format: FORMAT,
            run: run.to_owned(),
            outcome: outcome.to_owned(),
            backup,
            backup_manifest_sha256: None,
            copy_manifest_sha256: None,
            journal_entries: 0,
            files: Vec::new(),
        }
    }

    /// The bytes that are signed.
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = serde_json::to_string_pretty(self).expect("plain data is JSON");
        text.push('\n');
        text.into_bytes()
    }

    /// Reads one.
    pub fn read(bytes: &[u8]) -> Result<Self, InvalidValue> {
        let statement: Option<Self> = serde_json::from_slice(bytes).ok();
        statement.filter(|statement| statement.format == FORMAT).ok_or(InvalidValue {
            field: "statement",
            value: "(its content)".to_owned(),
            fix: "it is no statement of evidence, or one of another version; read it with the version that wrote it",
        })
    }
}

/// The key that signs. `Debug` does not show it.
pub struct SigningKey(Ed25519KeyPair);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public()).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// From its seed: 32 bytes as 64 hexadecimal digits, e.g. of `openssl rand -hex 32`.
    pub fn of_seed(seed: &SecretString) -> Result<Self, InvalidValue> {
        let invalid = || InvalidValue {
            field: "key",
            value: "(not shown)".to_owned(),
            fix: "give a seed of 64 hexadecimal digits; make one with `openssl rand -hex 32`",
        };
        let seed: [u8; 32] = bytes_of(seed.expose_secret()).ok_or_else(invalid)?;
        Ed25519KeyPair::from_seed_unchecked(&seed).map(Self).map_err(|_| invalid())
    }

    /// The other half, for whoever checks.
    pub fn public(&self) -> PublicKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(key)
    }

    /// Signs bytes.
    pub fn sign(&self, bytes: &[u8]) -> Signature {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.0.sign(bytes).as_ref());
        Signature(signature)
    }
}

/// The key that checks; it is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Whether these bytes were signed by the other half of this key.
    pub fn has_signed(&self, bytes: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(bytes, &signature.0).is_ok()
    }
}

/// A signature, as 128 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl FromStr for PublicKey {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        bytes_of(text).map(Self).ok_or_else(|| InvalidValue {
            field: "public key",
            value: text.chars().take(100).collect(),
            fix: "give 64 hexadecimal digits, as `allclear evidence seal` prints them",
        })
    }
}

impl FromStr for Signature {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        bytes_of(text.trim_end()).map(Self).ok_or_else(|| InvalidValue {
            field: "signature",
            value: text.chars().take(100).collect(),
            fix: "it has 128 hexadecimal digits",
        })
    }
}

/// Exactly so many bytes in hex.
fn bytes_of<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N * 2 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[n * 2..n * 2 + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: &str) -> SigningKey {
        SigningKey::of_seed(&seed.to_owned().into()).unwrap()
    }

    /// The second test of RFC 8032, 7.1.
    #[test]
    fn keys_and_signatures_are_those_of_the_standard() {
        let key = key("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        assert_eq!(key.public().to_string(), public);
        let signature = key.sign(&[0x72]);
        assert_eq!(
            signature.to_string(),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
        let read: Signature = format!("{signature}\n").parse().unwrap();
        let public: PublicKey = public.parse().unwrap();
        assert!(public.has_signed(&[0x72], &read));
        assert!(!public.has_signed(&[0x73], &read));
        let stranger = self::key(&"00".repeat(32)).public();
        assert!(!stranger.has_signed(&[0x72], &read));
    }

    #[test]
    fn a_key_that_is_none_is_refused_and_not_shown() {
        for wrong in ["", "zz", &"g".repeat(64), &"0".repeat(63), &"ä".repeat(32)] {
            let error = SigningKey::of_seed(&wrong.to_owned().into()).unwrap_err().to_string();
            assert!(
                error.contains("64 hexadecimal digits") && (wrong.is_empty() || !error.contains(wrong)),
                "{error}"
            );
        }
        assert!(!format!("{:?}", key(&"ab".repeat(32))).contains("abab"));
    }

    #[test]
    fn a_statement_is_read_as_it_was_written_and_nothing_else_is() {
        let mut statement = Statement::of("run-1", "verified", "dr-1".parse().unwrap());
        statement.files.push(Artifact { name: "a".to_owned(), bytes: 1, sha256: "aa".to_owned() });
        assert_eq!(Statement::read(&statement.bytes()).unwrap(), statement);
        let other = String::from_utf8(statement.bytes()).unwrap().replace("\"format\": 1", "\"format\": 2");
        assert!(Statement::read(other.as_bytes()).is_err());
        assert!(Statement::read(b"{}").is_err());
    }
}
