//! A runbook of your own, for a platform of your own: a full disk. `cargo run --example own_runbook`

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use allclear::core::VirtualClock;
use allclear::engine::report::{Postmortem, to_markdown};
use allclear::engine::{Act, Approval, AutoApprove, Change, Gate, Halt, Look, MemoryJournal, Outcome, Phase};
use allclear::engine::{Resolution, Run, Runbook, SeamError, Step, Terms, execute};

const D1: Step = Step { id: "DF-D1", phase: Phase::Detect, title: "A disk is more than 90 % full" };
const R1: Step = Step { id: "DF-R1", phase: Phase::Resolve, title: "Empty the cache; verify the room" };

/// Your platform. Here it is one figure: how many percent of the disk are in use.
struct DiskFull(Arc<AtomicU64>);

#[async_trait::async_trait]
impl Runbook for DiskFull {
    fn id(&self) -> &'static str {
        "disk-full"
    }
    fn title(&self) -> &'static str {
        "Disk full"
    }
    fn version(&self) -> u32 {
        1
    }
    fn steps(&self) -> &'static [Step] {
        &[D1, R1]
    }
    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        let disk = &self.0;
        let look = Look::at("df", |used| format!("{used} % are in use"), async || Ok(disk.load(SeqCst)));
        let used = run.probe(&D1, look).await?;
        run.conclude_unless(used > 90, "all clear: there is room")?;

        run.approve(&R1, Gate::new("Empty the build cache?", Approval::Approve)).await?;
        let change = Change::new("cache", "build", "content", "old builds", "empty");
        let empty = async || Ok(format!("{} % were freed", disk.swap(40, SeqCst) - 40));
        let room = async || Ok((disk.load(SeqCst) <= 90, format!("{} % are in use", disk.load(SeqCst))));
        let act = Act::new("cache.empty", "empty the build cache", change, empty, room);
        run.perform(&R1, act.harmless_to_repeat()).await?;
        Ok(Resolution::verified("the disk has room again"))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), SeamError> {
    let runbook = DiskFull(Arc::new(AtomicU64::new(97)));
    let journal = MemoryJournal::new();
    let clock = Arc::new(VirtualClock::at(jiff::Timestamp::UNIX_EPOCH));
    let humans = Arc::new(AutoApprove { role: "operations".to_owned() });
    let terms = Terms { humans, ..Terms::new("run-1", "kim", "example") };
    let finished = execute(&runbook, Box::new(journal.seam(clock)?), terms).await?;
    assert_eq!(finished.outcome, Outcome::Verified);
    println!("{}", to_markdown(&Postmortem::from_entries(&journal.entries()?, runbook.steps())));
    Ok(())
}
