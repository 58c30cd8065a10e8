//! `[environment.NAME.recovery]`: what the disaster recovery exercise needs beside the platform.
//!
//! It stands in the environment that is restored into. The database that backups are taken from is a source and no
//! environment: nothing here can write to it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use allclear_clients::smoke::StationLogin;
use allclear_clients::storage::StorageAccess;
use allclear_core::recovery::{Exercise, Objectives, Participant, Role};
use allclear_dr::database::{Mask, MaskedBy, MaskingProfile};
use allclear_dr::seal::SigningKey;
use secrecy::SecretString;
use serde::Deserialize;

use crate::exit::CliError;
use crate::secret::Source;

/// The table, as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecoveryTable {
    /// The ref of the project that backups are taken from.
    source_project: String,
    source_database: Source,
    target_database: Source,
    #[serde(default = "default_schemas")]
    schemas: Vec<String>,
    /// The routing key of the exercise's own PagerDuty service.
    pagerduty_routing_key: Source,
    /// Where backups are kept.
    bucket: BucketTable,
    /// Where the platform's own buckets are.
    objects: ObjectTable,
    /// The platform's own list of those buckets, which the copy is compared with.
    inventory: Option<StorageTable>,
    /// Where the exercise's files are kept for people.
    evidence: Option<EvidenceTable>,
    station: StationTable,
    /// Which columns hold personal data; none is masked where it is left out.
    masking: Option<MaskingTable>,
    /// What signs an exercise's evidence.
    signing: Option<SigningTable>,
    /// The folder of the team's documents, usually a checkout.
    documents: PathBuf,
    participants: Vec<Participant>,
    rollback_owner: String,
    #[serde(default = "default_status_channel")]
    status_channel: String,
    #[serde(default = "default_copy_budget")]
    copy_budget_minutes: u64,
    /// How long the recovery may take; nothing is held to it where it is left out.
    rto_minutes: Option<u64>,
    /// How old the data may be that is brought back; as above.
    rpo_minutes: Option<u64>,
    #[serde(default = "default_checklist")]
    cutover_checklist: String,
    /// The team's runbook file below `documents`: the notes are filed in its section of the exercise.
    runbook_file: Option<String>,
    /// The PagerDuty services on which a real incident stops the exercise.
    #[serde(default)]
    incident_services: Vec<String>,
}

/// A bucket in an S3 service.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct BucketTable {
    endpoint: String,
    #[serde(default = "default_region")]
    region: String,
    name: String,
    #[serde(default = "default_prefix")]
    prefix: String,
    access_key: String,
    secret_key: Source,
}

/// The platform's buckets, behind Supabase's S3 protocol.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectTable {
    endpoint: String,
    #[serde(default = "default_region")]
    region: String,
    buckets: Vec<String>,
    access_key: String,
    secret_key: Source,
}

/// A project's Storage, by its own API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct StorageTable {
    endpoint: String,
    key: Source,
}

/// A private bucket in a project's Storage.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct EvidenceTable {
    endpoint: String,
    bucket: String,
    key: Source,
}

/// The key that signs evidence.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SigningTable {
    key: Source,
}

/// Which columns hold personal data, and by what it is replaced.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct MaskingTable {
    /// From which pseudonyms are drawn.
    key: Option<Source>,
    columns: Vec<MaskedColumnTable>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct MaskedColumnTable {
    #[serde(default = "default_schema")]
    schema: String,
    table: String,
    column: String,
    rule: MaskRule,
    /// For the rule `fixed`.
    text: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MaskRule {
    Pseudonym,
    Fixed,
    Null,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct StationTable {
    code: String,
    passcode: Source,
}

fn default_schema() -> String {
    "public".to_owned()
}

fn default_schemas() -> Vec<String> {
    vec!["public".to_owned()]
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

fn default_prefix() -> String {
    "supabase".to_owned()
}

fn default_status_channel() -> String {
    "#ops-status".to_owned()
}

fn default_copy_budget() -> u64 {
    5
}

/// A month: an objective beyond it is a slip of the pen.
const MOST_OBJECTIVE_MINUTES: u64 = 43_200;

fn default_checklist() -> String {
    "docs/incidents/cutover-checklist.md".to_owned()
}

/// An S3 service, and how it knows us.
#[derive(Debug, Clone)]
pub(crate) struct ObjectService {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    /// The key's id, which is no secret.
    pub(crate) access_key: String,
    pub(crate) secret_key: SecretString,
}

/// The bucket of the exercise's files.
#[derive(Debug, Clone)]
pub(crate) struct EvidencePlace {
    pub(crate) access: StorageAccess,
    pub(crate) bucket: String,
}

/// All that the exercise must be told, secrets included.
#[derive(Debug, Clone)]
pub(crate) struct RecoverySettings {
    pub(crate) source_project: String,
    pub(crate) source_database: SecretString,
    pub(crate) target_database: SecretString,
    pub(crate) schemas: Vec<String>,
    pub(crate) routing_key: SecretString,
    pub(crate) backups: ObjectService,
    pub(crate) bucket: String,
    pub(crate) prefix: String,
    pub(crate) objects: ObjectService,
    pub(crate) object_buckets: Vec<String>,
    pub(crate) inventory: Option<StorageAccess>,
    pub(crate) evidence: Option<EvidencePlace>,
    pub(crate) station: StationLogin,
    pub(crate) masking: MaskingProfile,
    pub(crate) signing: Option<Arc<SigningKey>>,
    pub(crate) documents: PathBuf,
    pub(crate) exercise: Exercise,
}

impl RecoveryTable {
    /// Reads the secrets and checks what can be checked without a connection. `name` is the environment's.
    pub(crate) fn settings(&self, name: &str) -> Result<RecoverySettings, CliError> {
        let at = |field: &str| format!("environment.{name}.recovery.{field}");
        for role in Role::ALL {
            if !self.participants.iter().any(|one| one.role == role) {
                let field = at("participants");
                let role = role.title();
                return Err(CliError::usage(format!("{field}: nobody is the {role}; name somebody")));
            }
        }
        if !self.documents.is_dir() {
            let folder = self.documents.display();
            return Err(CliError::usage(format!("{}: {folder} is no folder", at("documents"))));
        }
        let is_id = |id: &String| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if let Some(wrong) = self.incident_services.iter().find(|id| !is_id(id)) {
            let field = at("incident_services");
            return Err(CliError::usage(format!(
                "{field}: `{wrong}` is no id of a PagerDuty service; it stands at the end of the service's address, e.g. PABC123"
            )));
        }
        let minutes = |field: &str, minutes: u64, most: u64| {
            if (1..=most).contains(&minutes) {
                return Ok(Duration::from_secs(minutes * 60));
            }
            let field = at(field);
            Err(CliError::usage(format!("{field} is {minutes}; give minutes from 1 to {most}")))
        };
        let copy_budget = minutes("copy_budget_minutes", self.copy_budget_minutes, 1_440)?;
        let objective = |field: &str, told: Option<u64>| {
            told.map(|told| minutes(field, told, MOST_OBJECTIVE_MINUTES)).transpose()
        };
        let objectives = Objectives {
            rto: objective("rto_minutes", self.rto_minutes)?,
            rpo: objective("rpo_minutes", self.rpo_minutes)?,
        };
        let service = |endpoint: &str, region: &str, access: &str, secret: &Source, field: &str| {
            Ok::<_, CliError>(ObjectService {
                endpoint: endpoint.to_owned(),
                region: region.to_owned(),
                access_key: access.to_owned(),
                secret_key: secret.read(&at(&format!("{field}.secret_key")))?,
            })
        };
        let Self { bucket, objects, station, .. } = self;
        Ok(RecoverySettings {
            source_project: self.source_project.clone(),
            source_database: self.source_database.read(&at("source_database"))?,
            target_database: self.target_database.read(&at("target_database"))?,
            schemas: self.schemas.clone(),
            routing_key: self.pagerduty_routing_key.read(&at("pagerduty_routing_key"))?,
            backups: service(
                &bucket.endpoint,
                &bucket.region,
                &bucket.access_key,
                &bucket.secret_key,
                "bucket",
            )?,
            bucket: bucket.name.clone(),
            prefix: bucket.prefix.clone(),
            objects: service(
                &objects.endpoint,
                &objects.region,
                &objects.access_key,
                &objects.secret_key,
                "objects",
            )?,
            object_buckets: objects.buckets.clone(),
            inventory: self.inventory(&at)?,
            evidence: self.evidence(&at)?,
            station: StationLogin {
                code: station.code.clone(),
                passcode: station.passcode.read(&at("station.passcode"))?,
            },
            masking: self.masking(&at)?,
            signing: self.signing(&at)?,
            documents: self.documents.clone(),
            exercise: Exercise {
                participants: self.participants.clone(),
                rollback_owner: self.rollback_owner.clone(),
                status_channel: self.status_channel.clone(),
                // Known once the bucket's address is put together.
                destination: String::new(),
                copy_budget,
                objectives,
                cutover_checklist: self.cutover_checklist.clone(),
                runbook_file: self.runbook_file.clone(),
                incident_services: self.incident_services.clone(),
            },
        })
    }

    fn inventory(&self, at: &impl Fn(&str) -> String) -> Result<Option<StorageAccess>, CliError> {
        let access = |table: &StorageTable| {
            let key = table.key.read(&at("inventory.key"))?;
            Ok(StorageAccess { endpoint: table.endpoint.clone(), key })
        };
        self.inventory.as_ref().map(access).transpose()
    }

    fn signing(&self, at: &impl Fn(&str) -> String) -> Result<Option<Arc<SigningKey>>, CliError> {
        let Some(table) = &self.signing else { return Ok(None) };
        let field = at("signing.key");
        let key = SigningKey::of_seed(&table.key.read(&field)?);
        key.map(|key| Some(Arc::new(key))).map_err(|error| CliError::usage(format!("{field}: {error}")))
    }

    fn masking(&self, at: &impl Fn(&str) -> String) -> Result<MaskingProfile, CliError> {
        let Some(table) = &self.masking else { return Ok(MaskingProfile::default()) };
        let key = table.key.as_ref().map(|key| key.read(&at("masking.key"))).transpose()?;
        let columns = table.columns.iter().map(|column| column.told(at)).collect::<Result<_, _>>()?;
        MaskingProfile::new(key.unwrap_or_default(), columns)
            .map_err(|error| CliError::usage(format!("{}: {error}", at("masking"))))
    }

    /// Evidence is written, and the project that backups are taken from is not written to.
    fn evidence(&self, at: &impl Fn(&str) -> String) -> Result<Option<EvidencePlace>, CliError> {
        let Some(table) = &self.evidence else { return Ok(None) };
        let EvidenceTable { endpoint, bucket, key } = table;
        if endpoint.contains(&self.source_project) {
            let field = at("evidence.endpoint");
            return Err(CliError::usage(format!(
                "{field}: it is the project that backups are taken from, which an exercise never writes to; name another"
            )));
        }
        let access = StorageAccess { endpoint: endpoint.clone(), key: key.read(&at("evidence.key"))? };
        Ok(Some(EvidencePlace { access, bucket: bucket.clone() }))
    }
}

impl MaskedColumnTable {
    fn told(&self, at: &impl Fn(&str) -> String) -> Result<MaskedBy, CliError> {
        let Self { schema, table, column, rule, text } = self;
        let mask = match (rule, text) {
            (MaskRule::Fixed, Some(text)) if !text.is_empty() => Mask::Fixed(text.clone()),
            (MaskRule::Pseudonym, None) => Mask::Pseudonym,
            (MaskRule::Null, None) => Mask::Null,
            (rule, _) => {
                let field = at("masking.columns");
                let fix = if *rule == MaskRule::Fixed {
                    "the rule `fixed` needs a `text` that is not empty"
                } else {
                    "only the rule `fixed` takes a `text`"
                };
                return Err(CliError::usage(format!("{field}: {schema}.{table}.{column}: {fix}")));
            }
        };
        Ok(MaskedBy { schema: schema.clone(), table: table.clone(), column: column.clone(), mask })
    }
}
