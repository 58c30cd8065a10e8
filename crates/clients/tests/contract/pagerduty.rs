//! PagerDuty's Events API and REST API.

use std::path::Path;

use allclear_clients::pagerduty::Region;
use allclear_core::Platform;
use allclear_core::ports::Page;

use crate::front::{Front, Then};
use crate::meaning::{self, Meaning};
use crate::prism::Prism;
use crate::{Check, platform, specs};

struct Served {
    rest: Prism,
    events: Prism,
    rest_statuses: Vec<u16>,
    events_statuses: Vec<u16>,
}

fn serve(folder: &Path) -> Result<Served, String> {
    let rest = specs::excerpt(
        &specs::read(&folder.join("pagerduty-rest.fixed.json")),
        &[("/incidents", "/incidents")],
    );
    // Its server's URL ends with /v2, which a contract server leaves out.
    let events = specs::excerpt(
        &specs::read(&folder.join("pagerduty-events-v2.json")),
        &[("/enqueue", "/v2/enqueue")],
    );
    Ok(Served {
        rest_statuses: specs::statuses(&rest, "/incidents", "get"),
        events_statuses: specs::statuses(&events, "/v2/enqueue", "post"),
        rest: Prism::serve("pagerduty-rest", &rest)?,
        events: Prism::serve("pagerduty-events", &events)?,
    })
}

fn page() -> Page {
    Page {
        dedup_key: "allclear/run-1".to_owned(),
        summary: "WhatsApp sends fail".to_owned(),
        severity: allclear_core::incident::Severity::Critical,
        source: "allclear".to_owned(),
        details: "131048: 12".to_owned(),
    }
}

/// All calls in all answers that the contract knows.
pub(crate) async fn calls_are_legal_and_every_answer_has_a_meaning(folder: &Path) -> Check {
    let served = serve(folder)?;
    check_that_it_bites(&served)?;
    let rest = Front::start(Then::Forward { to: served.rest.base.clone(), wanting: None }).await;
    let events = Front::start(Then::Forward { to: served.events.base.clone(), wanting: None }).await;
    let platform = platform(|endpoints| {
        endpoints.pagerduty = Region::Custom { events: events.base.clone(), rest: rest.base.clone() };
    });
    for (what, meant) in calls(&platform).await {
        if meant != Meaning::Done {
            return Err(format!(
                "{what} came to {meant:?}; the contract servers say:\n{}\n{}",
                served.rest.said(),
                served.events.said()
            ));
        }
    }
    let mut checked = 0;
    for status in &served.rest_statuses {
        rest.now(Then::Forward { to: served.rest.base.clone(), wanting: Some(*status) });
        let meant = meaning::of(&platform.paging.find("k").await);
        // The description's example of a 400 carries the code of a thing that is not there, and the code counts.
        if (*status, meant) != (400, Meaning::NotFound) {
            expect(&format!("find, {status}"), meant, meaning::of_status(*status, false))?;
        }
        checked += 1;
    }
    for status in &served.events_statuses {
        events.now(Then::Forward { to: served.events.base.clone(), wanting: Some(*status) });
        for (what, meant) in [
            ("trigger", meaning::of(&platform.paging.trigger(&page()).await)),
            ("resolve", meaning::of(&platform.paging.resolve("k").await)),
        ] {
            expect(&format!("{what}, {status}"), meant, meaning::of_status(*status, true))?;
            checked += 1;
        }
    }
    if checked < 10 { Err(format!("only {checked} answers were checked")) } else { Ok(()) }
}

async fn calls(platform: &Platform) -> [(&'static str, Meaning); 3] {
    [
        ("trigger", meaning::of(&platform.paging.trigger(&page()).await)),
        ("resolve", meaning::of(&platform.paging.resolve("k").await)),
        ("find", meaning::of(&platform.paging.find("allclear/run-1").await)),
    ]
}

/// A contract server that lets everything pass would prove nothing.
fn check_that_it_bites(served: &Served) -> Check {
    let event = r#"{"routing_key":"x","event_action":"explode"}"#;
    let wrong = [
        ("an unknown action", served.events.raw("POST", "/v2/enqueue", "", event)),
        ("no routing key", served.events.raw("POST", "/v2/enqueue", "", r#"{"event_action":"trigger"}"#)),
        ("no key", served.rest.raw("GET", "/incidents", "", "")),
        (
            "an unknown range",
            served.rest.raw("GET", "/incidents?date_range=some", "authorization: Token token=x\r\n", ""),
        ),
    ];
    for (what, status) in wrong {
        if status < 400 {
            return Err(format!("the contract server allows {what}: {status}"));
        }
    }
    Ok(())
}

fn expect(what: &str, meant: Meaning, expected: Meaning) -> Check {
    if meant == expected { Ok(()) } else { Err(format!("{what}: {meant:?}, and it should be {expected:?}")) }
}
