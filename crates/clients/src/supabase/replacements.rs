//! Replacing a voucher, in three guarded moves.
//!
//! The database has no word for *held*. A held replacement is a row with status `void` and the run in
//! `metadata.held_by`: nobody can redeem it, and no other run can release it.

use allclear_core::ports::{NewReplacement, Replacements};
use allclear_core::voucher::AsSeen;
use allclear_core::{PortError, Voucher, VoucherId};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::vouchers::as_seen;
use super::{Result, Supabase, read, table};

/// How many codes are tried before giving up: 60 million codes, so more than one collision means something else.
const CODES: u32 = 5;
/// What a code may consist of, as the database checks it.
const LETTERS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Columns of the original that its replacement takes over. The code and what it is printed into stay in this file.
#[derive(Deserialize)]
struct Original {
    code5: String,
    qr_payload: String,
    policy_number: String,
    plate: Option<String>,
    issued_by_admin: Option<Uuid>,
    created_by: Option<Uuid>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    metadata: Value,
}

/// The n-th code for a replacement: the same in every attempt, so that a repeated insert is the same row.
fn code(id: VoucherId, n: u32) -> String {
    let digest = Sha256::digest(format!("voucher code {id} {n}").as_bytes());
    digest.iter().take(5).map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}

/// The filters of a change of what a run holds.
fn held(id: VoucherId, by: &str) -> [(&'static str, String); 3] {
    [("id", format!("eq.{id}")), ("status", "eq.void".to_owned()), ("metadata->>held_by", format!("eq.{by}"))]
}

impl Supabase {
    async fn one<T: serde::de::DeserializeOwned>(&self, id: VoucherId, columns: &str) -> Result<T> {
        let call = read("vouchers").query("select", columns).query("id", format!("eq.{id}"));
        let service = self.http.service();
        let found = self.rows::<T>(call).await?.pop();
        found.ok_or_else(|| PortError::NotFound { service, what: format!("voucher {id}") })
    }

    /// What is in a row's metadata, as an object.
    async fn metadata(&self, id: VoucherId) -> Result<serde_json::Map<String, Value>> {
        match self.one::<Metadata>(id, "metadata").await?.metadata {
            Value::Object(object) => Ok(object),
            _ => Ok(serde_json::Map::new()),
        }
    }
}

#[async_trait]
impl Replacements for Supabase {
    /// `GET /vouchers?metadata->>replaces=eq.X`.
    async fn of(&self, original: VoucherId) -> Result<Vec<Voucher>> {
        self.vouchers_where("metadata->>replaces", format!("eq.{original}")).await
    }

    /// `POST /vouchers?on_conflict=id` with `resolution=ignore-duplicates`, status `void`. A code that is taken is
    /// another one's: the next is tried.
    async fn reserve(&self, replacement: &NewReplacement) -> Result<()> {
        let columns = "code5,qr_payload,policy_number,plate,issued_by_admin,created_by";
        let original: Original = self.one(replacement.original, columns).await?;
        for n in 0..CODES {
            let code = code(replacement.id, n);
            let row = json!({
                "id": replacement.id,
                "qr_payload": original.qr_payload.replace(&original.code5, &code),
                "code5": code,
                // The trigger derives `amount`. Author columns are copied too, because they decide what it is worth.
                "amount_minor": replacement.amount.amount_minor,
                "currency": replacement.amount.currency,
                "issued_by_admin": original.issued_by_admin,
                "created_by": original.created_by,
                "policy_number": original.policy_number,
                "plate": original.plate,
                "whatsapp_e164": replacement.msisdn.expose(),
                "station_scope": replacement.station_scope,
                "campaign_id": replacement.campaign,
                "expires_at": replacement.expires_at,
                "status": "void",
                "metadata": { "replaces": replacement.original, "held_by": replacement.held_by },
            });
            match self.insert_once("vouchers", row).await {
                Err(PortError::AlreadyDone { .. }) => {}
                other => return other,
            }
        }
        Err(PortError::Rejected {
            service: self.http.service(),
            call: "POST /rest/v1/vouchers".to_owned(),
            code: Some("23505".to_owned()),
            detail: format!("{CODES} codes in a row are taken; look at the constraint on vouchers.code5"),
        })
    }

    /// `PATCH /vouchers?id=eq.X&status=eq.void&metadata->>held_by=eq.R {metadata}` with `max-affected=1`.
    async fn adopt(&self, id: VoucherId, from: &str, to: &str) -> Result<u64> {
        let mut metadata = self.metadata(id).await?;
        metadata.insert("held_by".to_owned(), json!(to));
        self.change_one(&table("vouchers"), &held(id, from), json!({ "metadata": metadata })).await
    }

    /// `PATCH /vouchers?id=eq.X&status=eq.S&updated_at=eq.T {status: void, metadata}` with `max-affected=1`. The metadata
    /// is read before; had it changed since, so had `updated_at`, and nothing would be changed.
    async fn void_original(&self, id: VoucherId, seen: &AsSeen, replaced_by: VoucherId) -> Result<u64> {
        let mut metadata = self.metadata(id).await?;
        metadata.insert("replaced_by".to_owned(), json!(replaced_by));
        let change = json!({ "status": "void", "metadata": metadata });
        self.change_one(&table("vouchers"), &as_seen(id, seen), change).await
    }

    /// `PATCH /vouchers?id=eq.X&status=eq.void&metadata->>held_by=eq.R {status: issued, metadata}` with `max-affected=1`.
    async fn release(&self, id: VoucherId, held_by: &str) -> Result<u64> {
        let mut metadata = self.metadata(id).await?;
        metadata.remove("held_by");
        let change = json!({ "status": "issued", "metadata": metadata });
        self.change_one(&table("vouchers"), &held(id, held_by), change).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacements_code_is_the_same_in_every_attempt_and_fits_the_databases_check() {
        let id: VoucherId = "6f1c2a4e-0d52-4a55-9a3e-2f0c8b1d7e90".parse().unwrap();
        assert_eq!(code(id, 0), code(id, 0));
        assert_ne!(code(id, 0), code(id, 1));
        assert!(code(id, 3).len() == 5 && code(id, 3).bytes().all(|byte| LETTERS.contains(&byte)));
    }
}
