//! The copy's contents beside the platform's own list of its buckets. The copy was read through S3; the list comes from the
//! platform's table of objects, so that what one way does not show the other does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use allclear_core::PortError;
use allclear_core::error::Service;
use allclear_core::platform::Recovery;
use allclear_core::ports::{ObjectCopies, StoredObjects};
use allclear_core::recovery::{BackupId, StoredObject};
use allclear_engine::{Evidence, Halt, Observation, Probe, Run};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::DR_B1;
use super::exercise::Tabletop;
use super::findings::Topic;
use super::words::count;

/// So many names are told; the others are counted.
const NAMED: usize = 5;
/// How far the platform's clock may be behind ours.
const CLOCK_SKEW: Duration = Duration::from_mins(1);

/// Objects that differ in one way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Differing {
    count: u64,
    /// The first of them, as `bucket/name`.
    named: Vec<String>,
}

impl Differing {
    fn add(&mut self, bucket: &str, name: &str) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(format!("{bucket}/{name}"));
        }
    }

    fn says(&self, what: &str) -> Option<String> {
        let names = self.named.join(", ");
        let more = if self.count > self.named.len() as u64 { ", …" } else { "" };
        (self.count > 0).then(|| format!("{} {what} ({names}{more})", self.count))
    }
}

/// What the comparison came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Inventory {
    listed: u64,
    copied: u64,
    /// Differences that came after the copy had begun, which are none of its faults.
    younger: u64,
    not_copied: Differing,
    only_copied: Differing,
    resized: Differing,
}

impl Inventory {
    pub(super) fn is_equal(&self) -> bool {
        [&self.not_copied, &self.only_copied, &self.resized].iter().all(|differing| differing.count == 0)
    }

    /// In one sentence.
    pub(super) fn says(&self) -> String {
        let listed = format!("the platform lists {}", count(self.listed, "object", "objects"));
        let younger = match self.younger {
            0 => String::new(),
            younger => format!("; {younger} changed after the copy had begun and count for nothing"),
        };
        if self.is_equal() {
            return format!("{listed}, and the copy has them with their sizes{younger}");
        }
        let differences = [
            self.not_copied.says("not in the copy"),
            self.only_copied.says("in the copy and not on the list"),
            self.resized.says("of another size"),
        ];
        let differences: Vec<String> = differences.into_iter().flatten().collect();
        format!("{listed}, the copy has {}: {}{younger}", self.copied, differences.join("; "))
    }

    /// Compares one bucket. A size that the platform does not say is not compared.
    fn compare(
        &mut self,
        bucket: &str,
        listed: &[StoredObject],
        copied: &[StoredObject],
        begun_at: Timestamp,
    ) {
        self.listed += listed.len() as u64;
        self.copied += copied.len() as u64;
        let mut rest: HashMap<&str, Option<u64>> =
            copied.iter().map(|object| (object.name.as_str(), object.bytes)).collect();
        for object in listed {
            let found = rest.remove(object.name.as_str());
            let same_size = |bytes: Option<u64>| object.bytes.is_none() || object.bytes == bytes;
            if found.is_some_and(same_size) {
                continue;
            }
            if object.changed_at.is_some_and(|changed| changed + CLOCK_SKEW > begun_at) {
                self.younger += 1;
            } else if found.is_some() {
                self.resized.add(bucket, &object.name);
            } else {
                self.not_copied.add(bucket, &object.name);
            }
        }
        let mut rest: Vec<&str> = rest.into_keys().collect();
        rest.sort_unstable();
        for name in rest {
            self.only_copied.add(bucket, name);
        }
    }
}

/// Reads both and compares them.
pub(super) struct BothLists {
    copies: Arc<dyn ObjectCopies>,
    stored: Arc<dyn StoredObjects>,
    id: BackupId,
}

impl BothLists {
    /// `None` where the environment has no way to the platform's list.
    fn of(recovery: &Recovery, id: &BackupId) -> Option<Self> {
        let stored = Arc::clone(recovery.stored.as_ref()?);
        Some(Self { copies: Arc::clone(&recovery.copies), stored, id: id.clone() })
    }
}

#[async_trait]
impl Probe for BothLists {
    type Value = Inventory;

    fn subject(&self) -> String {
        format!("copy of the buckets {} beside the platform's own list", self.id)
    }

    async fn observe(&self, _now: Timestamp) -> Result<Observation<Inventory>, PortError> {
        let absent = || PortError::NotFound {
            service: Service::ObjectStore,
            what: format!("manifest of copy {}", self.id),
        };
        let copied = self.copies.objects(&self.id).await?.ok_or_else(absent)?;
        let mut value = Inventory::default();
        for (bucket, objects) in &copied.buckets {
            let listed = self.stored.of_bucket(bucket).await?;
            value.compare(bucket, &listed, objects, copied.begun_at);
        }
        let says = value.says();
        let source = "Supabase Storage, its own list of objects, and the copy's manifest";
        Ok(Observation { value, evidence: vec![Evidence::new(source, says.clone())], says })
    }
}

impl Tabletop<'_> {
    /// What the platform knows and the copy lacks, or the other way round, is a finding. The copy stays what it is.
    pub(super) async fn compare_lists(&mut self, run: &mut Run) -> Result<(), Halt> {
        let Some(probe) = BothLists::of(self.recovery, &self.record.id) else { return Ok(()) };
        match run.probe(&DR_B1, probe).await {
            Ok(inventory) => {
                let says = inventory.says();
                self.record.log(run.now(), format!("Object lists: {says}"));
                if !inventory.is_equal() {
                    self.record.find(Topic::ObjectLists, says);
                }
                self.record.inventory = Some(inventory);
            }
            Err(Halt::Failed { error, .. }) => {
                let says = format!("the copy was not compared with the platform's own list: {error}");
                self.record.find(Topic::ObjectLists, says);
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn object(name: &str, bytes: u64, minute: i64) -> StoredObject {
        StoredObject { name: name.to_owned(), bytes: Some(bytes), changed_at: Some(at(minute)) }
    }

    #[test]
    fn each_way_in_which_the_lists_differ_is_told_apart() {
        let listed = [
            object("same", 1, 5),
            object("lost", 1, 5),
            object("grown", 2, 5),
            object("new", 1, 101),
            object("replaced", 2, 101),
            StoredObject { bytes: None, ..object("unsaid", 0, 5) },
        ];
        let copied = ["deleted", "grown", "replaced", "same", "unsaid"]
            .map(|name| StoredObject { changed_at: None, ..object(name, 1, 0) });
        let mut inventory = Inventory::default();
        inventory.compare("vouchers", &listed, &copied, at(100));
        assert!(!inventory.is_equal());
        assert_eq!(
            inventory.says(),
            "the platform lists 6 objects, the copy has 5: 1 not in the copy (vouchers/lost); \
             1 in the copy and not on the list (vouchers/deleted); 1 of another size (vouchers/grown); \
             2 changed after the copy had begun and count for nothing"
        );
    }

    #[test]
    fn an_object_that_the_copy_has_is_the_same_however_young_it_is() {
        let mut inventory = Inventory::default();
        inventory.compare("vouchers", &[object("a", 1, 200)], &[object("a", 1, 0)], at(100));
        assert!(inventory.is_equal());
        assert_eq!(inventory.says(), "the platform lists 1 object, and the copy has them with their sizes");
    }

    #[test]
    fn of_many_only_the_first_are_named() {
        let mut inventory = Inventory::default();
        let listed: Vec<StoredObject> = (0..9).map(|number| object(&number.to_string(), 1, 5)).collect();
        inventory.compare("b", &listed, &[], at(100));
        assert!(
            inventory.says().contains("9 not in the copy (b/0, b/1, b/2, b/3, b/4, …)"),
            "{}",
            inventory.says()
        );
    }
}
