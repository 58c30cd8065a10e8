//! No retry storm: a service that limits its callers, or is down, for ten minutes is asked a few times and not before it
//! said, by every runbook. Counted and timed before the sandbox, in virtual time.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use allclear::engine::{Event, Outcome, Plan, RetryPolicy};
use allclear::sandbox::{Profile, Scenario};

use crate::drilling::{Drill, Ran, Trouble, planned, run, untouched};
use crate::fault_layer::{Call, Fault, Seen, Service, http_date};

const LASTS: Duration = Duration::from_mins(10);

const DRILLS: [(Scenario, Profile); 4] = [
    (Scenario::PreviewRemoved, Profile::Target),
    (Scenario::Outage { minutes: 17 }, Profile::AsIs),
    (Scenario::StalledUnreachable { minutes: 16 }, Profile::Target),
    (Scenario::WrongScope, Profile::Target),
];

/// A service, and which calls are its.
type Group = (&'static str, fn(&Call) -> bool);

const GROUPS: [Group; 5] = [
    ("WhatsApp", |call| call.service == Service::Graph),
    ("edge function", |call| call.path.starts_with("/functions/v1/")),
    ("PostgREST", |call| call.path.starts_with("/rest/v1/")),
    ("PagerDuty", |call| matches!(call.service, Service::Events | Service::Paging)),
    ("Slack", |call| call.service == Service::Slack),
];

struct Calm {
    drill: Drill,
    plan: Plan,
    ran: Ran,
}

async fn calm() -> Vec<Calm> {
    let mut all = Vec::new();
    for (scenario, profile) in DRILLS {
        let drill = Drill { scenario, profile };
        let plan = planned(drill).await;
        let ran = run(drill, &plan, &Trouble::None, untouched).await;
        assert_eq!(ran.outcome, Some(Outcome::Verified), "{scenario:?}: {}", ran.says);
        all.push(Calm { drill, plan, ran });
    }
    all
}

fn says(status: &'static str, body: &'static str) -> Fault {
    Fault::Says { status, headers: String::new(), body }
}

fn limited(retry_after: Option<&str>) -> Fault {
    let headers = retry_after.map_or_else(String::new, |text| format!("retry-after: {text}\r\n"));
    Fault::Says { status: "429 Too Many Requests", headers, body: r#"{"message":"slow down"}"# }
}

fn is_same(one: &Seen, other: &Seen) -> bool {
    one.call == other.call && one.real_path == other.real_path
}

/// How many calls were held back.
fn held_back(ran: &Ran) -> usize {
    ran.seen.iter().filter(|one| one.spoiled).count()
}

/// The shortest time between a call that was held back and the next one of its kind, held back or not.
fn shortest_wait(ran: &Ran) -> Option<Duration> {
    let held = ran.seen.iter().enumerate().filter(|(_, one)| one.spoiled);
    let waits = held.filter_map(|(place, one)| {
        let next = ran.seen[place + 1..].iter().find(|other| is_same(one, other))?;
        Some(next.at.duration_since(one.at).unsigned_abs())
    });
    waits.min()
}

/// How often one thing was tried at most, by the journal.
fn most_tries(ran: &Ran) -> u32 {
    let attempts = ran.entries.iter().filter_map(|entry| match &entry.event {
        Event::Failed { attempt, .. } => Some(*attempt),
        _ => None,
    });
    attempts.max().unwrap_or(0)
}

/// Past the capture of test output: the table is what this test is for.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// One run under a storm.
async fn under(calm: &Calm, group: Group, fault: Fault) -> Ran {
    let until = calm.ran.entries[0].at + LASTS;
    let trouble = Trouble::Until { is: group.1, fault, until };
    let ran = run(calm.drill, &calm.plan, &trouble, untouched).await;
    let title = format!("{} {}", calm.drill.runbook(), group.0);
    assert!(ran.outcome.is_some() && !ran.says.is_empty(), "{title}: {}", ran.says);
    for (effect, times) in &ran.ledger {
        assert!(
            *times <= calm.ran.ledger.get(effect).copied().unwrap_or(1),
            "{title}: {effect:?} {times} times"
        );
    }
    ran
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_minutes_of_refusals_make_no_storm_and_nobody_comes_back_early() {
    let answers = [
        ("429, 60 s", limited(Some("60")), Duration::from_mins(1)),
        ("429, 600 s", limited(Some("600")), LASTS),
        ("429", limited(None), Duration::ZERO),
        ("503", says("503 Service Unavailable", "{}"), Duration::ZERO),
    ];
    let policy = RetryPolicy::default();
    let (mut text, mut runs, mut hit) = (String::new(), 0, BTreeSet::new());
    for calm in calm().await {
        for group in GROUPS {
            for (name, fault, asked) in &answers {
                let ran = under(&calm, group, fault.clone()).await;
                runs += 1;
                let (held, shortest, tries) = (held_back(&ran), shortest_wait(&ran), most_tries(&ran));
                let title = format!("{:<27} {:<13} {name:<10}", calm.drill.runbook(), group.0);
                if held > 0 {
                    hit.insert(group.0);
                    let _ = writeln!(
                        text,
                        "{title} {held:>2} held back, at most {tries} tries, shortest wait {shortest:?}, {:?}",
                        ran.outcome
                    );
                }
                assert!(held <= policy.budget as usize, "{title}: {held} calls");
                assert!(tries <= policy.tries, "{title}: {tries} tries");
                assert!(
                    shortest.is_none_or(|shortest| shortest >= *asked),
                    "{title}: back after {shortest:?}"
                );
            }
        }
    }
    print(&format!(
        "{text}{runs} runs; a call gets {} tries, a run {} repetitions\n",
        policy.tries, policy.budget
    ));
    assert_eq!(hit.len(), GROUPS.len(), "a service was never called: {hit:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_service_asks_for_is_kept_within_reason() {
    let stations = calm().await.pop().unwrap();
    let start = stations.ran.entries[0].at;
    let in_two_minutes = http_date(start + Duration::from_mins(2));
    let yesterday = http_date(start - Duration::from_hours(24));
    let own = Duration::from_secs(2)..=Duration::from_secs(75);
    let exactly = |seconds| Duration::from_secs(seconds)..=Duration::from_secs(seconds);
    let cases = [
        ("1", exactly(1)),
        ("0", exactly(1)),
        ("45", exactly(45)),
        (in_two_minutes.as_str(), exactly(120)),
        // A typing error there must not stop us for years.
        ("1000000000", exactly(3_600)),
        ("1e9", own.clone()),
        ("-5", own.clone()),
        ("soon", own.clone()),
        ("1.5", own.clone()),
        (yesterday.as_str(), own),
    ];
    for (asked, expected) in cases {
        let call = stations.ran.seen[0].call.clone();
        let trouble = Trouble::At { call, fault: limited(Some(asked)), always: false };
        let ran = run(stations.drill, &stations.plan, &trouble, untouched).await;
        let waited = shortest_wait(&ran).unwrap();
        assert!(expected.contains(&waited), "`{asked}`: {waited:?}");
        assert_eq!(ran.outcome, Some(Outcome::Verified), "`{asked}`: {}", ran.says);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stays_refused_is_not_tried_again() {
    let answers = [
        ("401", says("401 Unauthorized", "{}")),
        ("403", says("403 Forbidden", "{}")),
        ("400", says("400 Bad Request", "{}")),
        ("131048", says("400 Bad Request", r#"{"error":{"code":131048}}"#)),
        ("368", says("400 Bad Request", r#"{"error":{"code":368}}"#)),
        ("368, as 429", says("429 Too Many Requests", r#"{"error":{"code":368}}"#)),
    ];
    let mut runs = 0;
    for calm in calm().await {
        for group in GROUPS {
            for (name, fault) in &answers {
                // Only Meta's answers have Meta's codes; to the others that is a limit like any.
                if name.ends_with("429") && !["WhatsApp", "edge function"].contains(&group.0) {
                    continue;
                }
                let ran = under(&calm, group, fault.clone()).await;
                runs += 1;
                let title = format!("{} {} {name}: {}", calm.drill.runbook(), group.0, ran.says);
                assert!(most_tries(&ran) <= 1, "{title}");
                // Two messages to Slack are two calls, and neither is made twice. What went another way instead is looked
                // for once.
                let calls =
                    calm.ran.seen.iter().filter(|one| group.1(&one.call) && one.call.writes()).count();
                let refused = ran.seen.iter().filter(|one| one.spoiled && one.call.writes()).count();
                assert!(refused <= calls.max(1), "{title}: {refused} writes");
                assert!(held_back(&ran) <= 2 * calls.max(1), "{title}: {} calls", held_back(&ran));
            }
        }
    }
    print(&format!("{runs} runs against services that refuse for good: no call was repeated\n"));
}
