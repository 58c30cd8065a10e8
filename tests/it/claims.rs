//! What runs claim, judged by the world: PagerDuty's incidents, Slack's history, the files that are there.

use std::sync::Arc;

use allclear::core::delivery::StatusReport;
use allclear::core::ports::{Delivery, DeliveryReports, FailedSend, SendLog, Targets};
use allclear::core::target::{SendTally, TargetProgress, TargetRange};
use allclear::core::{CampaignId, Msisdn, PortError, Target};
use allclear::engine::gate::Question;
use allclear::engine::report::Postmortem;
use allclear::engine::{Answer, Attention, Event, Finished, Humans, Outcome, Terms};
use allclear::sandbox::{Fault, FaultSet, Profile, Scenario, WorldSpec};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::scene::{Scene, approved, runbook_of, small};

async fn ran(scenario: Scenario, faults: &[Fault], input: Value) -> (Finished, Scene) {
    let spec = WorldSpec {
        profile: Profile::AsIs,
        vouchers: 20,
        stations: 3,
        targets_per_campaign: 120,
        faults: Some(faults.iter().fold(FaultSet::of(Profile::AsIs), |set, fault| set.with(*fault))),
        ..small(scenario)
    };
    let scene = Scene::with(runbook_of(scenario), input, spec).await;
    let (_, finished) = scene.plan_and_run().await;
    (finished, scene)
}

fn open_pages(scene: &Scene) -> Vec<String> {
    scene.sandbox.with_world(|world| world.open_pages())
}

/// Not the alert that called for the runbook.
fn is_ours(title: &str) -> bool {
    ["more than 15 minutes", "unreachable", "still stalled"].iter().any(|words| title.contains(words))
}

fn slack(scene: &Scene) -> Vec<String> {
    scene.sandbox.with_world(|world| world.slack_texts())
}

fn report(scene: &Scene) -> Postmortem {
    Postmortem::from_entries(&scene.entries(), scene.runbook().steps())
}

fn open(scene: &Scene) -> Vec<String> {
    report(scene).open_questions.iter().map(|one| one.text().to_owned()).collect()
}

fn claimed(scene: &Scene) -> String {
    report(scene).mitigations.iter().map(|one| one.text().to_owned()).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a8_an_incident_that_does_not_exist_was_not_closed() {
    let input = json!({ "incident": "some-other-key" });
    let (finished, scene) = ran(Scenario::PreviewRemoved, &[], input).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains("the incident is not closed"), "{}", finished.says);
    assert!(!open_pages(&scene).is_empty(), "the real one is open");
    assert!(open(&scene).iter().any(|text| text.contains("no incident with the key some-other-key")));
    assert!(slack(&scene).iter().any(|text| text.contains("work again")), "support is told all the same");
}

/// Somebody else closed it before: that is what was wanted.
#[tokio::test]
async fn a8_an_incident_that_others_closed_is_closed() {
    let spec = WorldSpec { vouchers: 20, ..small(Scenario::PreviewRemoved) };
    let scene = Scene::of(spec).await;
    scene.platform.paging.resolve("voucher-preview").await.unwrap();
    let (_, finished) = scene.plan_and_run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
}

#[tokio::test]
async fn a9_when_nobody_was_told_the_run_says_so_first() {
    let lost = [Fault::PagerDutyDropped, Fault::SlackMessageLost];
    for scenario in [Scenario::StalledUnreachable { minutes: 20 }, Scenario::Outage { minutes: 25 }] {
        let (finished, scene) = ran(scenario, &lost, json!(null)).await;
        assert_eq!(finished.outcome, Outcome::Unverified, "{scenario:?}: {}", finished.says);
        assert!(finished.says.contains("open: nobody was told"), "{scenario:?}: {}", finished.says);
        assert!(open(&scene)[0].starts_with("Nobody was told"), "{scenario:?}: {:?}", open(&scene));
        assert!(!claimed(&scene).contains("ngineering was told"), "{}", claimed(&scene));
        assert!(slack(&scene).is_empty(), "{scenario:?}: {:?}", slack(&scene));
        assert!(open_pages(&scene).iter().all(|title| !is_ours(title)), "{:?}", open_pages(&scene));
    }
}

#[tokio::test]
async fn a9_one_way_of_telling_is_enough_and_the_words_name_the_other() {
    for lost in [Fault::PagerDutyDropped, Fault::SlackMessageLost] {
        for scenario in [Scenario::StalledUnreachable { minutes: 20 }, Scenario::Outage { minutes: 25 }] {
            let (finished, scene) = ran(scenario, &[lost], json!(null)).await;
            assert_eq!(finished.outcome, Outcome::Verified, "{scenario:?} {lost}: {}", finished.says);
            assert!(claimed(&scene).contains("(not proven: "), "{scenario:?} {lost}: {}", claimed(&scene));
            let said = slack(&scene).join("\n");
            assert!(!said.contains("Engineering was paged") || lost != Fault::PagerDutyDropped, "{said}");
        }
    }
}

#[tokio::test]
async fn a10_a_lost_message_is_no_telling() {
    let (finished, scene) = ran(Scenario::PreviewRemoved, &[Fault::SlackMessageLost], json!(null)).await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    let says = claimed(&scene);
    assert!(says.contains("support was not told to fall back to code view"), "{says}");
    assert!(says.contains("support was not told that previews work again"), "{says}");
    assert!(!says.contains("upport was told"), "{says}");

    for named in ["wrong-station", "double-redemption"] {
        let scenario = Scenario::named(named).unwrap();
        let (finished, scene) = ran(scenario, &[Fault::SlackMessageLost], json!(null)).await;
        assert_eq!(finished.outcome, Outcome::Unverified, "{named}: {}", finished.says);
        assert!(!finished.says.contains("1 operator was told"), "{named}: {}", finished.says);
        assert!(!claimed(&scene).contains("vendor's support was told"), "{named}: {}", claimed(&scene));
    }
}

#[tokio::test]
async fn a11_whoever_raises_an_alarm_answers_it() {
    for scenario in [Scenario::StalledUnreachable { minutes: 20 }, Scenario::Outage { minutes: 25 }] {
        let (finished, scene) = ran(scenario, &[], json!(null)).await;
        assert_eq!(finished.outcome, Outcome::Verified, "{scenario:?}: {}", finished.says);
        let ours: Vec<String> = open_pages(&scene).into_iter().filter(|title| is_ours(title)).collect();
        assert!(ours.is_empty(), "{scenario:?}: {ours:?}");
        let said = slack(&scene);
        assert_eq!(said.len(), 2, "{said:?}");
        let drifted = scene.entries().iter().any(|entry| matches!(entry.event, Event::Drifted { .. }));
        assert!(!drifted, "{scenario:?}: the plan has named the answer");
        assert!(said[1].contains("again"), "the last word is not the alarm: {said:?}");
        assert!(open(&scene)[0].starts_with("The journal leaves nothing open"), "{:?}", open(&scene));
    }
}

#[tokio::test]
async fn a11_an_alarm_that_is_not_over_is_listed_as_open() {
    let (finished, scene) = ran(Scenario::StalledOneTick, &[], json!(null)).await;
    assert_eq!(finished.outcome, Outcome::Refuted, "{}", finished.says);
    assert!(
        finished.says.ends_with("the campaigns are paused again and engineering was told"),
        "{}",
        finished.says
    );
    let pages = open_pages(&scene);
    assert!(pages.iter().any(|title| title.contains("still stalled")), "{pages:?}");
    let open = open(&scene).join("\n");
    assert!(open.contains("This run's own page is still open in PagerDuty"), "{open}");
    assert!(open.contains("The alarm is the last word in #ops"), "{open}");
}

/// Says yes to everything but that a block was lifted.
struct NotLifted;

#[async_trait::async_trait]
impl Humans for NotLifted {
    async fn ask(&self, question: &Question, _given: &[Answer]) -> Attention {
        let choice = if question.question.contains("lifted") { "reject" } else { "approve" };
        Attention::Answer(Answer::to(question, choice, "alex"))
    }
}

#[tokio::test]
async fn a11_a_run_that_people_end_lists_its_own_page_as_open() {
    let scene = Scene::of(small(Scenario::named("policy-blocked").unwrap())).await;
    let plan = scene.plan().await;
    let terms = Terms { humans: Arc::new(NotLifted), ..scene.terms() };
    let finished = scene.run(approved(&plan, "drill-run"), terms).await;
    assert_eq!(finished.outcome, Outcome::Rejected, "{}", finished.says);
    assert!(open_pages(&scene).iter().any(|title| is_ours(title)), "{:?}", open_pages(&scene));
    let open = open(&scene).join("\n");
    assert!(open.contains("This run's own page is still open in PagerDuty"), "{open}");
    assert!(open.contains("The alarm is the last word in #ops"), "{open}");
}

/// A platform that never marks a target: what failed stands in the send log only.
struct Unmarked(Arc<dyn Targets>);

#[async_trait::async_trait]
impl Targets for Unmarked {
    async fn failed(&self, _: CampaignId, _: TargetRange, _: u32) -> Result<Vec<Target>, PortError> {
        Ok(Vec::new())
    }

    async fn count_failed(&self, _: CampaignId) -> Result<u64, PortError> {
        Ok(0)
    }

    async fn progress(&self, campaign: CampaignId) -> Result<TargetProgress, PortError> {
        self.0.progress(campaign).await
    }
}

/// A send log that keeps counts and no rows of its campaigns' failures.
struct Forgotten(Arc<dyn SendLog>);

#[async_trait::async_trait]
impl SendLog for Forgotten {
    async fn tally(&self, campaign: Option<CampaignId>, since: Timestamp) -> Result<SendTally, PortError> {
        self.0.tally(campaign, since).await
    }

    async fn delivery_reports(&self, now: Timestamp) -> Result<DeliveryReports, PortError> {
        self.0.delivery_reports(now).await
    }

    async fn status_reports(
        &self,
        message_id: &str,
        since: Timestamp,
    ) -> Result<Vec<StatusReport>, PortError> {
        self.0.status_reports(message_id, since).await
    }

    async fn failed_sends(&self, _: CampaignId) -> Result<Vec<FailedSend>, PortError> {
        Ok(Vec::new())
    }

    async fn to_number(&self, number: &Msisdn, since: Timestamp) -> Result<Vec<Delivery>, PortError> {
        self.0.to_number(number, since).await
    }
}

#[tokio::test]
async fn a14_without_a_file_nothing_was_exported() {
    let mut scene = Scene::of(small(Scenario::named("invalid-numbers").unwrap())).await;
    scene.platform.targets = Arc::new(Unmarked(Arc::clone(&scene.platform.targets)));
    scene.platform.send_log = Arc::new(Forgotten(Arc::clone(&scene.platform.send_log)));
    scene.plan_and_run().await;
    let says = claimed(&scene);
    assert!(!says.contains("exported for data cleanup"), "{says}");
    let open = open(&scene).join("\n");
    assert!(open.contains("No failed target could be exported"), "{open}");
}

#[tokio::test]
async fn a3_no_move_is_claimed_that_was_not_made() {
    let spec = small(Scenario::named("rate-limited").unwrap());
    let scene = Scene::of(spec).await;
    for campaign in scene.platform.campaigns.running().await.unwrap() {
        scene.platform.campaigns.pause(campaign.id).await.unwrap();
    }
    let (_, finished) = scene.plan_and_run().await;
    let says = claimed(&scene);
    assert!(!says.contains("were paused"), "{says}");
    // The messages of campaigns that others paused are moved too, and then it is so.
    let moved = scene.effects().iter().any(|((effect, _), _)| effect == "send_queue.postpone");
    assert_eq!(says.contains("moved"), moved, "{says}");
    assert!(
        !finished.says.contains("runs again") && !finished.says.contains("0 campaigns"),
        "{}",
        finished.says
    );
    let timeline: Vec<String> =
        report(&scene).timeline.iter().map(|l| l.statement.text().to_owned()).collect();
    assert!(
        !timeline.iter().any(|text| text.contains("running:.") || text.contains("running: .")),
        "{timeline:?}"
    );
}
