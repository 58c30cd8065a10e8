//! A runbook of your own, for a platform of your own: a full disk. `cargo run --example own_runbook`

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use allclear::core::{Clock as _, VirtualClock};
use allclear::engine::report::{Form, Postmortem, to_markdown};
use allclear::engine::{
    Act, Answer, Approval, ApprovedPlan, Change, Gate, Halt, Look, MemoryJournal, Outcome,
};
use allclear::engine::{Phase, PlanApproval, PlanRules, Resolution, Run, Runbook, Shown, Standing, Step};
use allclear::engine::{Terms, execute, plan};

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
        run.resolve("the disk has room again", run.proof(&R1)?)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runbook = DiskFull(Arc::new(AtomicU64::new(97)));
    let journal = MemoryJournal::new();
    let clock = Arc::new(VirtualClock::at(jiff::Timestamp::UNIX_EPOCH));
    let terms = Terms::new("run-1", "kim", "example");
    let shown = plan(&runbook, terms.clone(), clock.clone()).await?;
    // Kim looks at the plan and agrees to it, by its hash.
    let yes = PlanApproval::of(&shown, "run-1", "kim", Shown::Hash);
    let approved =
        ApprovedPlan::by(shown.clone(), "run-1", vec![yes], &PlanRules::anyone("kim", clock.now()))?;
    let finished = execute(&runbook, Box::new(journal.seam(clock.clone())?), approved, terms.clone()).await?;
    assert_eq!(finished.outcome, Outcome::WaitingForHuman);
    // Nobody was there at the gate. Lea answers it from elsewhere, and the run is taken up again.
    let asked = Standing::of(&journal.entries()?).expect("the run waits at its gate").question;
    journal.answer(&asked.gate, Answer::to(&asked, "approve", "lea"));
    let approved = ApprovedPlan::recorded(shown, "run-1", &journal.entries()?)?;
    let finished = execute(&runbook, Box::new(journal.seam(clock)?), approved, terms).await?;
    assert_eq!(finished.outcome, Outcome::Verified);
    println!("{}", to_markdown(&Postmortem::from_entries(&journal.entries()?, runbook.steps()), Form::Full));
    Ok(())
}
