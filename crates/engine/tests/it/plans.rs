//! A plan names what a run does, and a run does what was planned.

use std::sync::Arc;

use allclear_engine::*;

use crate::toy::*;

async fn plan_of(shared: &Shared) -> Plan {
    plan(&FlipAll::of(shared), terms(), clock()).await.unwrap()
}

#[tokio::test]
async fn a_plan_names_exactly_the_effects_of_the_run_and_changes_nothing() {
    let shared = world(&["a", "b", "c"]);
    shared.lock().unwrap().on.insert("b".into(), true);
    let plan = plan_of(&shared).await;
    assert!(shared.lock().unwrap().ledger.is_empty());
    let planned: Vec<String> = plan.certain().map(|effect| effect.subject.clone()).collect();
    let journal = MemoryJournal::new();
    run_planned_on(&journal, &FlipAll::of(&shared), clock(), approved(&plan), terms()).await;
    assert_eq!(shared.lock().unwrap().ledger, planned);
}

#[tokio::test]
async fn the_same_world_gives_the_same_hash_and_another_world_another() {
    let shared = world(&["a", "b"]);
    let first = plan_of(&shared).await;
    let second = plan_of(&shared).await;
    assert_eq!(first.hash, second.hash);
    assert_eq!(first.check_no_drift(&second), Ok(()));
    shared.lock().unwrap().on.insert("a".into(), true);
    let moved = plan_of(&shared).await;
    let refusal = first.check_no_drift(&moved).unwrap_err();
    assert!(matches!(&refusal, Refusal::Drift { what } if what.contains("flip a")), "{refusal}");
}

#[tokio::test]
async fn a_changed_plan_file_is_refused_with_no_effect() {
    let shared = world(&["a"]);
    let mut plan = plan_of(&shared).await;
    plan.effects[0].changes[0].after = "off".into();
    let yes = PlanApproval::of(&plan, "run-1", "alex", Shown::Hash);
    let rules = PlanRules::anyone("kim", plan.made_at);
    let refused = ApprovedPlan::by(plan.clone(), "run-1", vec![yes], &rules);
    assert_eq!(refused, Err(Refusal::TamperedPlan { hash: plan.hash }));
}

#[tokio::test]
async fn an_effect_that_nobody_was_shown_asks_first() {
    let shared = world(&["a"]);
    let plan = plan_of(&shared).await;
    shared.lock().unwrap().on.insert("b".into(), false);
    let journal = MemoryJournal::new();
    let finished = run_planned_on(&journal, &FlipAll::of(&shared), clock(), approved(&plan), terms()).await;
    assert_eq!(finished.outcome, Outcome::WaitingForHuman);
    assert_eq!(shared.lock().unwrap().ledger, ["a"]);
    let approving = Terms { humans: Arc::new(AutoApprove { role: "commander".into() }), ..terms() };
    let recorded = ApprovedPlan::recorded(plan, "run-1", &journal.entries().unwrap()).unwrap();
    let finished = run_planned_on(&journal, &FlipAll::of(&shared), clock(), recorded, approving).await;
    assert_eq!(finished.outcome, Outcome::Verified);
    assert_eq!(shared.lock().unwrap().ledger, ["a", "b"]);
}

/// T9 for plans: each field of an approval changed by itself, and every way to use one that is not its own.
#[tokio::test]
async fn t9_a_plan_approval_with_any_one_field_changed_is_refused() {
    let shared = world(&["a", "b"]);
    let plan = plan_of(&shared).await;
    let approvers = Approvers {
        needed: 2,
        among: vec!["alex".into(), "lea".into(), "kim".into()],
        not_the_requester: true,
    };
    let rules = PlanRules { approvers, requester: "kim".to_owned(), now: plan.made_at };
    let yes = |by: &str| PlanApproval::of(&plan, "run-1", by, Shown::Hash);
    let of = |one: PlanApproval| ApprovedPlan::by(plan.clone(), "run-1", vec![one, yes("lea")], &rules);
    assert!(of(yes("alex")).is_ok());
    assert!(of(PlanApproval { plan: plan.hash[..12].to_owned(), ..yes("Alex") }).is_ok());

    let good = || yes("alex");
    let until = Some(plan.made_at);
    let bad = [
        PlanApproval { plan: plan.hash[..11].to_owned(), ..good() },
        PlanApproval { plan: String::new(), ..good() },
        PlanApproval { plan: format!("{}0", plan.hash), ..good() },
        PlanApproval { plan: plan.hash.replace(|c: char| c.is_ascii_digit(), "f"), ..good() },
        PlanApproval { run: "run-2".to_owned(), ..good() },
        PlanApproval { effects: 1, ..good() },
        PlanApproval { effects: 3, ..good() },
        PlanApproval { until, ..good() },
        yes("kim"),
        yes("KİM"),
        yes("mia"),
        yes("LEA"),
        yes(""),
        yes("al\u{200b}ex"),
    ];
    for one in bad {
        let told = format!("{one:?}");
        assert!(of(one).is_err(), "{told}");
    }
    assert!(ApprovedPlan::by(plan.clone(), "run-1", vec![good()], &rules).is_err(), "one of two");
    assert!(
        ApprovedPlan::by(plan.clone(), "run-1", vec![], &PlanRules::anyone("kim", plan.made_at)).is_err()
    );
    assert!(ApprovedPlan::changes_nothing(plan.clone(), "run-1").is_err());
}

#[tokio::test]
async fn an_approved_plan_is_executed_by_its_run_alone_and_leaves_any_other_as_it_is() {
    let shared = world(&["a"]);
    let plan = plan_of(&shared).await;
    let run = |terms: Terms| {
        let (shared, plan) = (Arc::clone(&shared), plan.clone());
        async move {
            let seam = MemoryJournal::new().seam(clock()).unwrap();
            execute(&FlipAll::of(&shared), Box::new(seam), approved(&plan), terms).await.unwrap().outcome
        }
    };
    assert_eq!(run(Terms { run: "run-2".into(), ..terms() }).await, Outcome::Refused);
    assert_eq!(run(Terms { environment: "another".into(), ..terms() }).await, Outcome::Refused);
    assert_eq!(run(Terms { input: serde_json::json!(1), ..terms() }).await, Outcome::Refused);
    assert!(shared.lock().unwrap().ledger.is_empty());

    // What was begun goes on with its own plan, and another one leaves it as it was.
    let journal = MemoryJournal::new();
    let detach = Detach::default();
    detach.request();
    let stopped = Terms { detach, ..terms() };
    run_planned_on(&journal, &FlipAll::of(&shared), clock(), approved(&plan), stopped).await;
    shared.lock().unwrap().on.insert("b".into(), false);
    let other = plan_of(&shared).await;
    let entries = journal.entries().unwrap();
    assert!(matches!(
        ApprovedPlan::recorded(other.clone(), "run-1", &entries),
        Err(Refusal::ForeignApproval { .. })
    ));
    let seam = journal.seam(clock()).unwrap();
    let taken_up = execute(&FlipAll::of(&shared), Box::new(seam), approved(&other), terms()).await;
    assert!(matches!(taken_up, Err(SeamError::OtherTerms { .. })), "{taken_up:?}");
    assert!(ApprovedPlan::recorded(plan.clone(), "run-1", &[]).is_err());
    let recorded = ApprovedPlan::recorded(plan, "run-1", &journal.entries().unwrap()).unwrap();
    assert_eq!(recorded.approvals()[0].by, "alex");
    let mut flip_a = FlipAll::of(&shared);
    flip_a.names = vec!["a".to_owned()];
    let finished = run_planned_on(&journal, &flip_a, clock(), recorded, terms()).await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
}

#[tokio::test]
async fn a_role_approves_a_plan_in_a_rehearsal_only() {
    let shared = world(&["a"]);
    let plan = plan_of(&shared).await;
    let role = PlanApproval::of(&plan, "run-1", "commander", Shown::Role);
    let approved = || {
        ApprovedPlan::by(plan.clone(), "run-1", vec![role.clone()], &PlanRules::anyone("kim", plan.made_at))
            .unwrap()
    };
    let seam = || Box::new(MemoryJournal::new().seam(clock()).unwrap());
    let real = ForReal(FlipAll::of(&shared));
    assert_eq!(execute(&real, seam(), approved(), terms()).await.unwrap().outcome, Outcome::Refused);
    let unplanned = execute(&real, seam(), unplanned(), terms()).await.unwrap();
    assert_eq!(unplanned.outcome, Outcome::Refused);
    assert!(shared.lock().unwrap().ledger.is_empty());
    let rehearsed = execute(&FlipAll::of(&shared), seam(), approved(), terms()).await.unwrap();
    assert_eq!(rehearsed.outcome, Outcome::Verified);
}

/// The same procedure at a platform that acts for real.
struct ForReal(FlipAll);

#[async_trait::async_trait]
impl Runbook for ForReal {
    fn id(&self) -> &'static str {
        self.0.id()
    }
    fn title(&self) -> &'static str {
        self.0.title()
    }
    fn version(&self) -> u32 {
        self.0.version()
    }
    fn steps(&self) -> &'static [Step] {
        self.0.steps()
    }
    async fn procedure(&self, run: &mut Run) -> Result<Resolution, Halt> {
        self.0.procedure(run).await
    }
}
