//! Who is called, who answers, and what leaves the house.

use allclear_core::recovery::*;
use allclear_engine::Outcome;

use super::world::*;

#[tokio::test]
async fn without_all_four_roles_nothing_begins_and_the_missing_one_is_named() {
    for (index, title) in
        [(0, "Support Manager"), (1, "Incident Commander"), (3, "Stakeholder Communications")]
    {
        let mut world = world();
        world.exercise.participants[index].pagerduty_user = String::new();
        let finished = world.run().await;
        assert_eq!(finished.outcome, Outcome::Refused, "{}", finished.says);
        assert!(finished.says.contains(title) && world.calls.all().is_empty(), "{}", finished.says);
    }
}

#[tokio::test]
async fn late_and_missing_answers_are_findings_by_pagerdutys_clock() {
    let world = world().with(|outside| {
        // 5:01 after the incident was opened, and one who answers long after the five minutes were over.
        outside.acks.retain(|ack| ack.user != "PSUPP" && ack.user != "PSTAKE");
        outside.acks.push(Acknowledgement { user: "PSUPP".to_owned(), at: after(301) });
    });
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    let report = world.artifact("tabletop-report.md");
    for line in [
        "- Kim (Incident Commander) acknowledged after 40 s at 14:00:40 UTC.",
        "- Robin (Support Manager) acknowledged after 5 min 1 s at 14:05:01 UTC, late.",
        "- Sam (Stakeholder Communications) did not acknowledge.",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
    let retro = world.document("docs/incidents/dr-tabletop.md");
    assert_eq!(retro.matches("- [ ] acknowledgements: ").count(), 2, "{retro}");
}

#[tokio::test]
async fn exactly_five_minutes_are_in_time() {
    let world = world().with(|outside| outside.acks.last_mut().unwrap().at = after(300));
    let finished = world.run().await;
    assert!(finished.says.ends_with("0 findings"), "{}", finished.says);
}

#[tokio::test]
async fn a_service_that_acknowledges_is_nobody() {
    let world = world().with(|outside| {
        outside.acks = vec![Acknowledgement { user: "PSERVICE".to_owned(), at: after(3) }];
    });
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Verified, "{}", finished.says);
    assert_eq!(world.artifact("tabletop-report.md").matches("did not acknowledge").count(), 8);
}

#[tokio::test]
async fn answers_that_cannot_be_read_are_not_guessed() {
    let world = world().with(|outside| outside.acks_unread = true);
    let finished = world.run().await;
    assert_eq!(finished.outcome, Outcome::Unverified, "{}", finished.says);
    assert!(finished.says.contains("who acknowledged is not known"), "{}", finished.says);
    let report = world.artifact("tabletop-report.md");
    assert!(!report.contains("did not acknowledge") && world.times("restore") == 1, "{report}");
}

#[tokio::test]
async fn whoever_is_asked_already_is_not_asked_again() {
    let everybody = ["PCOMM", "PDATA", "PSUPP", "PSTAKE"].map(str::to_owned);
    let world = world().with(|outside| outside.asked = everybody.to_vec());
    world.run().await;
    assert!(!world.calls.all().iter().any(|call| call.starts_with("call in")));
}
