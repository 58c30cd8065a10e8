//! Campaign Dispatcher Stalls.

use allclear::engine::Outcome;
use allclear::sandbox::{Profile, Scenario, WorldSpec};
use serde_json::Value;

use super::{Real, on_the_sandbox};
use crate::scene::small;

const RUNBOOK: &str = "campaign-dispatcher-stalls";

fn world(named: &str) -> WorldSpec {
    WorldSpec { profile: Profile::Target, ..small(Scenario::named(named).unwrap()) }
}

async fn statuses(real: &Real) -> Vec<String> {
    real.list("SELECT id || ' ' || status FROM campaigns ORDER BY 1").await
}

/// The same in the sandbox's state.
fn statuses_of(state: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let campaigns = state["campaigns"].as_array().unwrap().iter();
    let mut all: Vec<_> =
        campaigns.map(|one| format!("{} {}", text(&one["id"]), text(&one["status"]))).collect();
    all.sort();
    all
}

const SENT: &str = "SELECT count(*) FROM send_logs";
const RECIPIENTS: &str = "SELECT count(DISTINCT (campaign_id, msisdn_e164)) FROM send_logs";
/// Messages to numbers that are no targets of their campaign.
const STRAYS: &str = "
    SELECT count(*) FROM send_logs LEFT JOIN campaign_targets AS target
    ON (target.campaign_id, target.msisdn) = (send_logs.campaign_id, msisdn_e164) WHERE target.id IS NULL";
/// Messages that went out and whose targets do not show it.
const UNSHOWN: &str = "
    SELECT count(*) FROM send_queue JOIN campaign_targets AS target
    ON (target.campaign_id, target.msisdn) = (send_queue.campaign_id, msisdn_e164)
    WHERE send_queue.status = 'SENT' AND target.status = 'queued'";
/// What was done to each campaign that somebody did something to during the run, in order.
const ACTIONS: &str = "
    SELECT string_agg(action, ', ' ORDER BY created_at) FROM audit_log
    WHERE action LIKE 'campaign\\_%' AND created_at > (SELECT min(created_at) FROM audit_log) GROUP BY target_id";

#[tokio::test]
async fn stalled_campaigns_move_again_and_nobody_got_a_message_twice() {
    for named in ["stalled", "unreachable"] {
        let real = Real::of(RUNBOOK, world(named)).await;
        let before = real.number(SENT).await;
        let finished = real.run().await;
        let (drill, state) = on_the_sandbox(RUNBOOK, world(named)).await;
        assert_eq!((finished.outcome, &finished.says), (drill.outcome, &drill.says), "{named}");
        assert_eq!(finished.outcome, Outcome::Verified, "{named}: {}", finished.says);

        assert_eq!(statuses(&real).await, statuses_of(&state), "{named}");
        assert_eq!(real.audit_by_us().await, state["audit_by_us"], "{named}");
        assert_eq!(real.list(ACTIONS).await, vec!["campaign_pause, campaign_start"; 4], "{named}");

        let sent = real.number(SENT).await;
        assert!(sent > before, "{named}: nothing went out");
        assert_eq!(real.number(RECIPIENTS).await, sent, "{named}: each recipient once");
        assert_eq!(real.number(STRAYS).await, 0, "{named}");
        assert_eq!(real.number(UNSHOWN).await, 0, "{named}");
    }
}

#[tokio::test]
async fn messages_that_went_out_and_still_wait_in_the_database_are_not_sent_again() {
    let real = Real::of(RUNBOOK, world("stalled")).await;
    real.ask("UPDATE send_queue SET status = 'PENDING' WHERE status = 'SENT'").await;
    let before = real.number(SENT).await;
    let finished = real.run().await;
    assert_eq!(finished.outcome, Outcome::Refused, "{}", finished.says);
    assert_eq!(real.number(SENT).await, before);
    assert_eq!(real.list(ACTIONS).await, vec!["campaign_pause"; 4]);
}
