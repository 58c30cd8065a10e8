//! PagerDuty's Events API and REST API: our calls are legal by the vendor's description, all its answers have a meaning, and
//! the sandbox keeps to the same description.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use allclear_clients::pagerduty::{PagerDuty, Region};
use allclear_core::incident::Severity;
use allclear_core::ports::{Acknowledgements as _, OpenIncidents as _, Page, Paging as _};
use allclear_core::{Clock, VirtualClock};
use allclear_sandbox::{Sandbox, WorldSpec};
use serde_json::{Value, json};

use crate::front::{Front, Then};
use crate::meaning::{self, Meaning};
use crate::prism::{Prism, raw};
use crate::{Check, NOBODY, specs};

const INCIDENT: &str = "/incidents/{id}";
const LOG: &str = "/incidents/{id}/log_entries";
const NOTES: &str = "/incidents/{id}/notes";
const UPDATES: &str = "/incidents/{id}/status_updates";
const REQUESTS: &str = "/incidents/{id}/responder_requests";
const PATHS: [&str; 8] = ["/incidents", INCIDENT, LOG, NOTES, UPDATES, REQUESTS, "/users", "/oncalls"];

/// The description of the REST API, as far as we call it.
fn rest(folder: &Path) -> Result<Value, String> {
    let whole = specs::read(&folder.join("pagerduty-rest.fixed.json"));
    let mut cut = specs::excerpt(&whole, &PATHS.map(|path| (path, path)));
    // It contradicts itself: an acknowledgement must have one spelling of its type and the other at once.
    let kind = &mut cut["components"]["schemas"]["AcknowledgeLogEntry"]["allOf"][1]["properties"]["type"];
    if kind["enum"] != json!(["acknowledgement_log_entry"]) {
        return Err("the schema of acknowledgements is another one now".to_owned());
    }
    kind["enum"] = json!(["acknowledge_log_entry"]);
    // And its own example of a channel is of several kinds at once, of which it allows one.
    let channel = &mut cut["components"]["schemas"]["Channel"];
    let kinds = channel["oneOf"].take();
    if !kinds.is_array() {
        return Err("the schema of channels is another one now".to_owned());
    }
    channel["anyOf"] = kinds;
    channel.as_object_mut().map(|channel| channel.remove("oneOf"));
    Ok(cut)
}

/// The description of the Events API. Its server's URL ends with /v2, which a contract server leaves out.
fn events(folder: &Path) -> Value {
    let whole = specs::read(&folder.join("pagerduty-events-v2.json"));
    specs::excerpt(&whole, &[("/enqueue", "/v2/enqueue")])
}

fn client(events: &str, rest: &str, from: &str) -> PagerDuty {
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let mut settings =
        allclear_clients::sandbox::settings(NOBODY, folder).expect("the sandbox's settings are valid");
    settings.endpoints.pagerduty = Region::Custom { events: events.to_owned(), rest: rest.to_owned() };
    from.clone_into(&mut settings.pagerduty_from);
    settings.timeout = Duration::from_secs(30);
    let start = "2026-11-23T09:00:00Z".parse().expect("a valid time");
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::at(start));
    let routing_key = settings.credentials.pagerduty_routing_key.clone();
    PagerDuty::connect(&settings, &routing_key, &clock).expect("the settings are valid")
}

fn page() -> Page {
    Page {
        dedup_key: "allclear/run-1".to_owned(),
        summary: "WhatsApp sends fail".to_owned(),
        severity: Severity::Critical,
        source: "allclear".to_owned(),
        details: "131048: 12".to_owned(),
    }
}

/// Each call, with the method and the path of the request that it is about.
const CALLS: [(&str, &str, &str); 11] = [
    ("trigger", "POST", "/v2/enqueue"),
    ("acknowledge", "POST", "/v2/enqueue"),
    ("resolve", "POST", "/v2/enqueue"),
    ("find", "GET", "/incidents"),
    ("on_services", "GET", "/incidents"),
    ("of_incident", "GET", LOG),
    ("called_in", "GET", INCIDENT),
    ("call_in", "POST", REQUESTS),
    ("on_calls", "GET", "/oncalls"),
    ("note", "POST", NOTES),
    ("status_update", "POST", UPDATES),
];

async fn call(pagerduty: &PagerDuty, name: &str, incident: &str) -> Meaning {
    match name {
        "trigger" => meaning::of(&pagerduty.trigger(&page()).await),
        "acknowledge" => meaning::of(&pagerduty.acknowledge("allclear/run-1").await),
        "resolve" => meaning::of(&pagerduty.resolve("allclear/run-1").await),
        "find" => meaning::of(&pagerduty.find("allclear/run-1").await),
        "on_services" => meaning::of(&pagerduty.on_services(&["PSBXSERVICE".to_owned()]).await),
        "of_incident" => meaning::of(&pagerduty.of_incident(incident).await),
        "called_in" => meaning::of(&pagerduty.called_in(incident).await),
        "call_in" => {
            meaning::of(&pagerduty.call_in(incident, &["PSBXUSER2".to_owned()], "please join").await)
        }
        "on_calls" => meaning::of(&pagerduty.on_calls("PSBXPOLICY").await),
        "note" => meaning::of(&pagerduty.note(incident, "campaigns are paused").await),
        _ => meaning::of(&pagerduty.status_update(incident, "campaigns are paused").await),
    }
}

/// All calls in all answers that the contract knows.
pub(crate) async fn calls_are_legal_and_every_answer_has_a_meaning(folder: &Path) -> Check {
    let (rest_spec, events_spec) = (rest(folder)?, events(folder));
    let rest = Prism::serve("pagerduty-rest", &rest_spec)?;
    let events = Prism::serve("pagerduty-events", &events_spec)?;
    let forward = |prism: &Prism| Then::Forward { to: prism.base.clone(), wanting: None };
    let (rest_front, events_front) =
        (Front::start(forward(&rest)).await, Front::start(forward(&events)).await);
    // The user that the description has as its example.
    let pagerduty = client(&events_front.base, &rest_front.base, "125.greenholt.earline@graham.name");
    let (mut wrong, mut checked) = (Vec::new(), 0);
    // The description's example of open incidents says of each page that another one follows; the sandbox's ends.
    for (name, method, path) in CALLS.iter().copied().filter(|(name, ..)| *name != "on_services") {
        let (prism, front, spec) = match path {
            "/v2/enqueue" => (&events, &events_front, &events_spec),
            _ => (&rest, &rest_front, &rest_spec),
        };
        let meant = call(&pagerduty, name, "PT4KHLK").await;
        if meant != Meaning::Done {
            return Err(format!("{name} came to {meant:?}; the contract server says:\n{}", prism.said()));
        }
        for status in specs::statuses(spec, path, &method.to_lowercase()) {
            front.now(Then::ForwardWanting { to: prism.base.clone(), method, status });
            let meant = call(&pagerduty, name, "PT4KHLK").await;
            let expected = meaning::of_status(status, method == "POST");
            // The description's example of a 400 carries the code of a thing that is not there, and the code counts.
            if meant != expected && (status, meant) != (400, Meaning::NotFound) {
                wrong.push(format!("{name}, {status}: {meant:?}, and it should be {expected:?}"));
            }
            checked += 1;
        }
        front.now(forward(prism));
    }
    if checked < 50 {
        wrong.push(format!("only {checked} answers were checked"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

const KEY: &str = "authorization: Token token=sandbox-pd-key\r\n";
const ACCEPT: &str = "accept: application/vnd.pagerduty+json;version=2\r\n";
const FROM: &str = "from: second@example.test\r\n";

/// The calls through a server that refuses what breaks the description on either side, and requests that it refuses.
pub(crate) async fn the_sandbox_keeps_the_contract(folder: &Path) -> Check {
    let start = "2026-11-23T09:00:00Z".parse().map_err(|error| format!("{error}"))?;
    let sandbox = Sandbox::start_virtual(WorldSpec::default(), Arc::new(VirtualClock::at(start)))
        .await
        .map_err(|error| error.to_string())?;
    let base = sandbox.base_url();
    let rest = Prism::before("pagerduty-rest-sandbox", &rest(folder)?, &format!("{base}/pagerduty"))?;
    let events =
        Prism::before("pagerduty-events-sandbox", &events(folder), &format!("{base}/pagerduty-events"))?;
    let pagerduty = client(&events.base, &rest.base, "oncall@example.test");
    let said = || format!("{}\n{}", rest.said(), events.said());

    pagerduty.trigger(&page()).await.map_err(|error| format!("trigger: {error}\n{}", said()))?;
    let found = pagerduty.find("allclear/run-1").await.map_err(|error| format!("{error}\n{}", said()))?;
    let incident = found.ok_or("the sandbox has no incident")?.id;
    let path = format!("/incidents/{incident}");
    for (name, ..) in CALLS.iter().filter(|(name, ..)| !matches!(*name, "trigger" | "resolve")) {
        let meant = call(&pagerduty, name, &incident).await;
        if meant != Meaning::Done {
            return Err(format!("{name} came to {meant:?}; the contract server says:\n{}", said()));
        }
    }
    let asked = pagerduty.called_in(&incident).await.map_err(|error| error.to_string())?;
    if asked != ["PSBXUSER1", "PSBXUSER2"] {
        return Err(format!("asked were {asked:?}"));
    }
    // The alert was acknowledged by the integration, which is nobody; a person opens it again in no way that we know.
    if pagerduty.of_incident(&incident).await != Ok(Vec::new()) {
        return Err("an event's acknowledgement was taken for a person's".to_owned());
    }
    let headers = format!("{KEY}{ACCEPT}{FROM}");
    let change = |status: &str| {
        let body = json!({ "incident": { "type": "incident_reference", "status": status } }).to_string();
        rest.raw("PUT", &path, &headers, &body)
    };
    let (again, resolved) = (change("acknowledged"), change("resolved"));
    if (again, resolved) != (400, 200) {
        return Err(format!("acknowledging again is a {again}, resolving a {resolved}:\n{}", said()));
    }
    refuses_alike(folder, &base, &incident)
}

/// What the description refuses, the sandbox does.
fn refuses_alike(folder: &Path, sandbox: &str, incident: &str) -> Check {
    let rest = Prism::serve("pagerduty-rest-refusals", &rest(folder)?)?;
    let events = Prism::serve("pagerduty-events-refusals", &events(folder))?;
    let (read, write) = (format!("{KEY}{ACCEPT}"), format!("{KEY}{ACCEPT}{FROM}"));
    let one = format!("/incidents/{incident}");
    let (notes, updates) = (format!("{one}/notes"), format!("{one}/status_updates"));
    let requests = format!("{one}/responder_requests");
    let log = format!("{one}/log_entries?is_overview=perhaps");
    let rest_requests: Vec<(&str, &str, &str, &str)> = vec![
        ("GET", "/incidents", ACCEPT, ""),
        ("GET", "/incidents", KEY, ""),
        ("GET", "/incidents?date_range=some", &read, ""),
        ("GET", "/incidents?limit=many", &read, ""),
        ("GET", "/oncalls?earliest=maybe", &read, ""),
        ("GET", &log, &read, ""),
        ("POST", &notes, &read, r#"{"note":{"content":"x"}}"#),
        ("POST", &notes, &write, r#"{"note":{}}"#),
        ("POST", &notes, &write, r#"{"note":{"content":7}}"#),
        ("POST", &updates, &write, r#"{"subject":"x"}"#),
        ("PUT", &one, &write, r#"{"incident":{"status":"resolved"}}"#),
        ("PUT", &one, &write, r#"{"incident":{"type":"incident","status":"snoozed"}}"#),
        ("POST", &requests, &read, r#"{"message":"x","responder_request_targets":[]}"#),
        ("POST", &requests, &read, r#"{"requester_id":"PSBXUSER1","responder_request_targets":[]}"#),
        ("POST", &requests, &read, r#"{"requester_id":"PSBXUSER1","message":"x"}"#),
    ];
    let event = |change: &dyn Fn(&mut Value)| {
        let mut event = json!({
            "routing_key": "sandboxroutingkey00000000000000ab", "event_action": "trigger", "dedup_key": "k",
            "payload": { "summary": "s", "source": "s", "severity": "info", "custom_details": {} },
        });
        change(&mut event);
        event.to_string()
    };
    let wrong_events = [
        event(&|event| event["event_action"] = json!("explode")),
        event(&|event| event["event_action"] = json!(null)),
        event(&|event| event["routing_key"] = json!(7)),
        event(&|event| event["dedup_key"] = json!(7)),
        event(&|event| event["payload"]["severity"] = json!("awful")),
        event(&|event| event["payload"]["source"] = json!(null)),
        event(&|event| event["payload"]["summary"] = json!(7)),
        event(&|event| event["payload"]["custom_details"] = json!("text")),
    ];
    let mut wrong = Vec::new();
    let mut compare = |what: String, description: u16, ours: u16| {
        if description < 400 || !(400..500).contains(&ours) {
            wrong.push(format!("{what}: the description answers {description}, the sandbox {ours}"));
        }
    };
    for (method, path, headers, body) in rest_requests {
        let ours = raw(sandbox, method, &format!("/pagerduty{path}"), headers, body);
        compare(format!("{method} {path} {body}"), rest.raw(method, path, headers, body), ours);
    }
    for body in &wrong_events {
        let ours = raw(sandbox, "POST", "/pagerduty-events/v2/enqueue", "", body);
        compare(body.clone(), events.raw("POST", "/v2/enqueue", "", body), ours);
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}
