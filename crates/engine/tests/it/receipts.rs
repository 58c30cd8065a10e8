//! What a receipt of nothing survives: `null` is a receipt, and no receipt is another thing.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use allclear_core::PortError;
use allclear_engine::journal::{Finding, read_chain};
use allclear_engine::*;
use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::toy::*;

/// Flips a switch and has a receipt of any type to show for it.
struct FlipFor<R>(Flip, R);

#[async_trait]
impl<R: Serialize + DeserializeOwned + Clone + Send + Sync> Effect for FlipFor<R> {
    type Receipt = R;
    type Undo = NoUndo;

    fn name(&self) -> &'static str {
        "switch.flip"
    }

    fn subject(&self) -> String {
        self.0.subject()
    }

    fn title(&self) -> String {
        self.0.title()
    }

    fn repeat(&self) -> Repeat {
        Repeat::Readable
    }

    async fn predict(&self, foreseen: &Foreseen) -> Result<Prediction, PortError> {
        self.0.predict(foreseen).await
    }

    fn foresee(&self, _prediction: &Prediction) -> R {
        self.1.clone()
    }

    async fn apply(&self, intent: &Intent) -> Result<Applied<R>, PortError> {
        let applied = self.0.apply(intent).await?;
        Ok(Applied { receipt: self.1.clone(), says: applied.says })
    }

    async fn reconcile(&self, intent: &Intent) -> Result<Reconciled<R>, PortError> {
        Ok(match self.0.reconcile(intent).await? {
            Reconciled::Happened(applied) => {
                Reconciled::Happened(Applied { receipt: self.1.clone(), says: applied.says })
            }
            Reconciled::DidNot { why } => Reconciled::DidNot { why },
            Reconciled::Unknown { why } => Reconciled::Unknown { why },
        })
    }

    async fn verify(&self, intent: &Intent, _receipt: &R, now: Timestamp) -> Result<Judgement, PortError> {
        self.0.verify(intent, &String::new(), now).await
    }
}

struct Flipping<R> {
    world: Shared,
    receipt: R,
    seen: Arc<Mutex<Vec<R>>>,
}

#[async_trait]
impl<R: Serialize + DeserializeOwned + Clone + Send + Sync> Runbook for Flipping<R> {
    fn id(&self) -> &'static str {
        "flipping"
    }

    fn title(&self) -> &'static str {
        "Flipping"
    }

    fn version(&self) -> u32 {
        1
    }

    fn steps(&self) -> &'static [Step] {
        &[FLIP]
    }

    fn rehearsal(&self) -> Option<allclear_core::Rehearsal> {
        Some(sandbox())
    }

    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        let effect = FlipFor(Flip::new(&self.world, "a"), self.receipt.clone());
        let receipt = run.perform(&FLIP, effect).await?;
        self.seen.lock().unwrap().push(receipt);
        run.resolve("flipped", run.proof(&FLIP)?)
    }
}

/// The answer is lost, the service says that it happened, and the process is killed after every entry in turn, twice.
async fn killed_twice<R>(receipt: R)
where
    R: Serialize + DeserializeOwned + Clone + PartialEq + std::fmt::Debug + Send + Sync,
{
    let begin = || {
        let world = world(&["a"]);
        world.lock().unwrap().moods = vec![Mood::LosesAnswer];
        Flipping { world, receipt: receipt.clone(), seen: Arc::default() }
    };
    let whole = MemoryJournal::new();
    run_on(&whole, &begin(), clock(), terms()).await;
    let entries = whole.entries().unwrap();
    let happened = entries.iter().position(|entry| {
        matches!(entry.event, Event::Reconciled { finding: Finding::Happened, receipt: Some(_), .. })
    });
    let happened = happened.expect("a receipt of nothing is a receipt");
    for first in happened..entries.len() {
        for second in [first, entries.len() - 1] {
            let runbook = begin();
            let journal = MemoryJournal::new();
            run_on(&journal, &runbook, clock(), terms()).await;
            for cut in [first, second] {
                journal.cut(cut + 1);
                let finished = run_on(&journal, &runbook, clock(), terms()).await;
                assert_eq!(
                    finished.outcome,
                    Outcome::Verified,
                    "{receipt:?} cut after {cut}: {}",
                    finished.says
                );
            }
            assert_eq!(runbook.world.lock().unwrap().ledger, ["a"]);
            assert!(runbook.seen.lock().unwrap().iter().all(|seen| *seen == receipt));
        }
    }
}

#[tokio::test]
async fn b5_a_unit_receipt_survives_a_second_kill() {
    killed_twice(()).await;
}

#[tokio::test]
async fn b5_a_receipt_that_is_none_survives_a_second_kill() {
    killed_twice(None::<String>).await;
}

#[tokio::test]
async fn b5_other_receipts_survive_a_second_kill() {
    killed_twice(Some("kept".to_owned())).await;
    killed_twice(serde_json::Value::Null).await;
    killed_twice(Vec::<u8>::new()).await;
    killed_twice(PhantomData::<u8>).await;
}

#[test]
fn b5_a_journal_that_wrote_no_receipt_and_one_of_nothing_alike_reads_as_one_of_nothing() {
    let event = |receipt: &str| {
        let of = r#"{"step":"TOY-I1","phase":"immediate"}"#;
        let text = format!(
            r#"{{"is":"reconciled","of":{of},"effect":"e","attempt":1,"finding":"happened","says":"s"{receipt}}}"#
        );
        match serde_json::from_str(&text).unwrap() {
            Event::Reconciled { receipt, .. } => receipt,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(event(r#","receipt":null"#), Some(serde_json::Value::Null));
    assert_eq!(event(""), None);
}

#[test]
fn entries_are_read_as_they_were_written_whatever_is_null_in_them() {
    let context = |context| Event::Started {
        run: "run-1".into(),
        runbook: "r".into(),
        title: "R".into(),
        version: 1,
        environment: "toy".into(),
        platform: None,
        operator: "kim".into(),
        input: serde_json::Value::Null,
        plan: None,
        approvals: Vec::new(),
        rehearsal: None,
        dangerous: None,
        plan_content: None,
        context,
    };
    for event in [context(None), context(Some(serde_json::Value::Null))] {
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    }
    assert!(read_chain(&[]).unwrap().is_empty());
}

/// Reads as nothing that it was written as.
#[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize)]
#[serde(untagged)]
enum Either {
    Number(u64),
    #[serde(skip_deserializing)]
    Word(String),
}

/// Has keys that JSON has none of.
#[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize)]
struct ByPair(std::collections::BTreeMap<(u8, u8), u8>);

/// Is written otherwise than it is read.
#[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize)]
struct Renamed {
    #[serde(rename(serialize = "left", deserialize = "right"))]
    left: u8,
}

/// Is another one each time that it is read.
#[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize)]
struct Grows(#[serde(deserialize_with = "one_more")] u8);

fn one_more<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    <u8 as serde::Deserialize>::deserialize(from).map(|one| one + 1)
}

async fn refused<R>(receipt: R)
where
    R: Serialize + DeserializeOwned + Clone + PartialEq + std::fmt::Debug + Send + Sync,
{
    let runbook = Flipping { world: world(&["a"]), receipt: receipt.clone(), seen: Arc::default() };
    let halt = plan(&runbook, terms(), clock()).await;
    // A plan says what it came to, and names no effect that could not be taken up again.
    let planned = halt.unwrap();
    assert!(planned.effects.is_empty(), "{receipt:?}: {planned:?}");
    assert!(planned.ends.contains("does not survive in the journal"), "{receipt:?}: {}", planned.ends);

    let finished = run_on(&MemoryJournal::new(), &runbook, clock(), terms()).await;
    assert_eq!(finished.outcome, Outcome::Refused, "{receipt:?}: {}", finished.says);
    assert!(finished.says.contains("the receipt of switch.flip"), "{receipt:?}: {}", finished.says);
    assert!(runbook.world.lock().unwrap().ledger.is_empty(), "{receipt:?}: it was sent");
}

#[tokio::test]
async fn b5_an_effect_whose_receipt_would_not_survive_a_replay_is_not_planned_and_never_sent() {
    refused(Either::Word("kept".to_owned())).await;
    refused(ByPair([((1, 2), 3)].into())).await;
    refused(Renamed { left: 1 }).await;
    refused(Grows(1)).await;
}

#[tokio::test]
async fn b5_what_a_procedure_goes_on_with_is_what_a_replay_gives_it_bit_for_bit() {
    // The shortest text of a number is not always read as that number again: what counts is that it is the same each time.
    for number in [0.1 + 0.2, 1.0 / 3.0, 5e-324, 1.797_693_134_862_315_7e308, 8.410_000_000_000_002e21] {
        let runbook = Flipping { world: world(&["a"]), receipt: Bits(number), seen: Arc::default() };
        let journal = MemoryJournal::new();
        run_on(&journal, &runbook, clock(), terms()).await;
        run_on(&journal, &runbook, clock(), terms()).await;
        let seen = runbook.seen.lock().unwrap();
        assert_eq!((seen.len(), seen[0].0.to_bits()), (2, seen[1].0.to_bits()), "{number}");
    }
}

/// A number, compared to the last bit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, serde::Deserialize)]
struct Bits(f64);
