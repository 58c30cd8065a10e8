//! WhatsApp incidents, as the runbook of that name would journal them.

use allclear_core::{PortError, Service, error::WaitSource};
use allclear_engine::effect::{Repeat, Verdict};
use allclear_engine::journal::{Doing, Event, Finding, Note, Waiting};
use allclear_engine::{Outcome, Phase, Step};
use jiff::SignedDuration;

use crate::journal::{Fx, Journal, mitigation, of};

const D1: Step = Step {
    id: "WA-D1",
    phase: Phase::Detect,
    title: "Elevated failures in Notifications, toast error `send_failed`, or EF returning 5xx/429",
};
const I1: Step =
    Step { id: "WA-I1", phase: Phase::Immediate, title: "Pause campaigns to prevent further sends" };
const I2: Step = Step {
    id: "WA-I2",
    phase: Phase::Immediate,
    title: "Check quiet hours and throttle settings to ensure they are not misconfigured",
};
const M1: Step = Step {
    id: "WA-M1",
    phase: Phase::Mitigate,
    title: "If rate-limited (429), honor `retry-after` and reschedule sends",
};
const M2: Step = Step {
    id: "WA-M2",
    phase: Phase::Mitigate,
    title: "If invalid numbers, export failed targets for data cleanup",
};
const E1: Step =
    Step { id: "WA-E1", phase: Phase::Escalate, title: "Notify WABA provider if issue persists >15 minutes" };
const R1: Step = Step { id: "WA-R1", phase: Phase::Resolve, title: "Resume campaigns once EF returns `202`" };
const R2: Step = Step {
    id: "WA-R2",
    phase: Phase::Resolve,
    title: "Log incident summary in audit log under `incident_resolution`",
};
pub(crate) const STEPS: &[Step] = &[D1, I1, I2, M1, M2, E1, R1, R2];

pub(crate) fn verified(says: &str) -> Verdict {
    Verdict::Verified { says: says.to_owned() }
}

fn pending(says: &str) -> Verdict {
    Verdict::Pending { says: says.to_owned() }
}

fn pause(name: &'static str, id: &str) -> Fx {
    Fx {
        of: of(&I1, &format!("campaign {id}")),
        effect: "campaign.pause",
        title: format!("pause campaign {name}"),
        change: ["campaign", name, "status", "running", "paused"],
        repeat: Repeat::Readable,
    }
}

fn resume(name: &'static str, id: &str) -> Fx {
    Fx {
        of: of(&R1, &format!("campaign {id}")),
        effect: "campaign.resume",
        title: format!("resume campaign {name}"),
        change: ["campaign", name, "status", "paused", "running"],
        repeat: Repeat::Readable,
    }
}

fn fx(
    step: &Step,
    subject: &str,
    effect: &'static str,
    title: &str,
    change: [&'static str; 5],
    repeat: Repeat,
) -> Fx {
    Fx { of: of(step, subject), effect, title: title.to_owned(), change, repeat }
}

fn canary() -> Fx {
    fx(
        &R1,
        "canary",
        "message.send",
        "send a canary message to our own number +25078*****12",
        ["message", "canary", "to +25078*****12", "not sent", "delivered"],
        Repeat::Readable,
    )
}

fn limited() -> PortError {
    PortError::RateLimited {
        service: Service::EdgeFunctions,
        call: "POST wa-send-media".to_owned(),
        wait_seconds: Some(120),
        source_of_wait: WaitSource::RetryAfterHeader,
        detail: "429, code 130429".to_owned(),
    }
}

fn detect(j: &mut Journal) {
    let d1 = of(&D1, "");
    j.started("kim").ms(41).approved("kim", 11).ms(310);
    j.failed(
        &d1,
        Doing::Observing,
        1,
        PortError::Unavailable {
            service: Service::Supabase,
            call: "GET send_logs".to_owned(),
            detail: "503".to_owned(),
        },
    );
    j.slept(&d1, 2, Waiting::ToRetry, "try again in 2 s").ms(420);
    j.observed(
        &d1,
        "412 of 1620 sends failed in the last 30 minutes (25 %); the provider limits our rate",
        &[("send_logs (PostgREST)", "1208 sent, failed: 398 × 130429, 14 × 131026")],
    );
    for (code, count) in [("130429", 398), ("131026", 14)] {
        j.ms(2).noted(&D1, Note::Count { what: format!("failed sends with code {code}"), count });
    }
}

/// Two campaigns paused; the answer to the second pause is lost with the process that waited for it.
fn pause_both(j: &mut Journal) {
    let i1 = of(&I1, "");
    let (spring, loyalty) = (pause("Spring", "6f1c2a4e"), pause("Loyalty | gold", "b07d9e13"));
    j.ms(260).observed(
        &i1,
        "2 campaigns are running: Spring, Loyalty | gold",
        &[("campaigns (PostgREST)", "2 rows with status running")],
    );
    for (name, failed) in [("Spring", 301), ("Loyalty | gold", 111)] {
        let says = format!("it was running, with {failed} failed sends in the window");
        let (kind, id, label) = ("campaign".to_owned(), String::new(), name.to_owned());
        j.ms(2).noted(&I1, Note::Affected { kind, id, label, says });
    }
    j.ms(90).intended(&spring, 1, 0).ms(180).applied(&spring, 1, "campaign Spring was paused");
    j.ms(95).intended(&loyalty, 1, 0);
    j.secs(372).resumed("dana", 1).ms(12);
    j.in_doubt(&loyalty, "the process ended between the intent and the answer").ms(230);
    j.reconciled(&loyalty, Finding::Happened, "the audit log has our pause at 2026-11-23T09:00:04Z");
    for (fx, name) in [(&spring, "Spring"), (&loyalty, "Loyalty | gold")] {
        let shows = [
            ("campaigns (PostgREST)", "status paused"),
            ("send_logs (PostgREST)", "no sends since the pause"),
        ];
        let watch = format!("watch whether campaign {name} stops sending");
        if name == "Loyalty | gold" {
            j.ms(150).judged(fx, pending(&watch), &shows);
            j.slept(&fx.of, 30, Waiting::ToVerify, &watch);
            j.ms(160).judged(fx, pending(&watch), &shows);
            j.slept(&fx.of, 30, Waiting::ToVerify, &watch);
        }
        j.ms(155).judged(fx, verified(&format!("campaign {name} is paused and sends nothing")), &shows);
    }
    let says = "2 campaigns were paused, and it was proven that they stopped sending".to_owned();
    j.ms(2).noted(&I1, mitigation(&says));
}

fn repair_policy(j: &mut Journal) {
    let i2 = of(&I2, "");
    let repair = fx(
        &I2,
        "send policy",
        "policy.write",
        "repair the sending policy",
        ["send policy", "default", "sends a minute", "6000", "600"],
        Repeat::Keyed,
    );
    let shown = [
        "6000 sends a minute are more than the account may send (1000)",
        "it would become: quiet hours 21:00 to 07:00, 600 sends a minute",
    ];
    j.ms(300).observed(
        &i2,
        "quiet hours 21:00 to 07:00, 6000 sends a minute: more than the account may send (1000)",
        &[("settings (admin API)", "throttle_per_minute 6000")],
    );
    j.ms(4).asked(&i2, "The sending policy is misconfigured. Repair it?", &shown, &["approve", "reject"]);
    j.secs(65).refused(&i2, "kim");
    j.secs(127).answered(&i2, "dana", "approve", Some("raised by mistake this morning"));
    j.ms(110).intended(&repair, 1, 0);
    j.secs(10).failed(
        &repair.of,
        Doing::Applying,
        1,
        PortError::OutcomeUnknown {
            service: Service::AdminApi,
            call: "PUT /api/settings".to_owned(),
            detail: "no answer within 10 s".to_owned(),
        },
    );
    j.ms(105).intended(&repair, 2, 0).ms(240).applied(&repair, 2, "the sending policy was written");
    j.ms(130).judged(
        &repair,
        verified("the stored policy is the wanted one"),
        &[("settings (PostgREST)", "throttle_per_minute 600")],
    );
    j.ms(2).noted(&I2, mitigation("the misconfigured sending policy was repaired"));
}

fn honour_the_rate_limit(j: &mut Journal) {
    let postpone = fx(
        &M1,
        "queue of campaign 6f1c2a4e",
        "queue.postpone",
        "move the queued sends of campaign Spring behind the rate limit",
        ["queue", "Spring", "earliest send", "now", "09:13:30"],
        Repeat::Keyed,
    );
    j.ms(200).intended(&postpone, 1, 0).ms(330).applied(
        &postpone,
        1,
        "4870 queued sends of Spring were moved",
    );
    j.ms(150).judged(
        &postpone,
        verified("no queued send of Spring is due before 09:13:30"),
        &[("send_queue (PostgREST)", "earliest 09:13:30")],
    );
    j.slept(&of(&M1, ""), 90, Waiting::ForTheWorld, "the rate limit ends then; nothing is sent before");
    let says = "the rate limit was honoured, and queued sends were moved behind it".to_owned();
    j.ms(1).noted(&M1, mitigation(&says));
}

/// Canaries fail until the deadline, the provider and the operations channel are told, and a canary arrives.
fn canaries(j: &mut Journal) {
    let canary = canary();
    let deadline = "2026-11-23T09:13:20Z".parse().expect("a valid time");
    let says = "escalate if the failures last more than 15 minutes".to_owned();
    j.ms(3).push("WA-R1 canary/deadline", Event::DeadlineSet { of: canary.of.clone(), at: deadline, says });
    let mut round = 0;
    while j.now() < deadline {
        round += 1;
        j.ms(110).intended(&canary, 1, round).ms(230).failed(&canary.of, Doing::Applying, 1, limited());
        let left = deadline.duration_since(j.now()).as_secs().clamp(0, 120) + 1;
        j.slept(&canary.of, left, Waiting::ForTheWorld, &limited().to_string());
    }
    j.ms(4)
        .push("WA-R1 canary/deadline passed", Event::DeadlinePassed { of: canary.of.clone(), at: deadline });
    escalate(j);
    j.slept(&canary.of, 30, Waiting::ForTheWorld, &limited().to_string());
    let id = "wamid.HBgLMjUwNzg4";
    j.ms(110).intended(&canary, 1, round + 1).ms(240);
    j.applied(&canary, 1, &format!("the function accepted the canary as {id}"));
    let log = format!("{id}: sent");
    j.ms(120).judged(&canary, pending("the canary is on its way"), &[("send_logs (PostgREST)", &log)]);
    j.slept(&canary.of, 5, Waiting::ToVerify, "the canary is on its way");
    let log = format!("{id}: delivered");
    j.ms(120).judged(&canary, verified("the canary was delivered"), &[("send_logs (PostgREST)", &log)]);
}

fn escalate(j: &mut Journal) {
    let ticket = fx(
        &E1,
        "provider ticket",
        "provider.ticket",
        "open a ticket at the WhatsApp provider",
        ["ticket", "Sends fail: rate limit", "state", "not opened", "open"],
        Repeat::Neither,
    );
    let slack = fx(
        &E1,
        "channel #ops",
        "slack.post",
        "tell #ops",
        ["message", "#ops", "escalation", "not posted", "posted"],
        Repeat::Readable,
    );
    j.ms(120).intended(&ticket, 1, 0).ms(900).applied(&ticket, 1, "the provider opened ticket WABA-20931");
    let says = "the provider gave ticket WABA-20931; its intake cannot be read back".to_owned();
    j.ms(5).judged(&ticket, Verdict::Unverifiable { says }, &[]);
    j.ms(90).intended(&slack, 1, 0).ms(200).applied(
        &slack,
        1,
        "Slack accepted the message as 1763889204.0001",
    );
    let evidence = [("Slack, conversations.history", "message 1763889204.0001")];
    j.ms(180).judged(&slack, verified("the channel has the message"), &evidence);
    j.ms(1).noted(&E1, mitigation("the WhatsApp provider was notified"));
}

fn resume_and_record(j: &mut Journal) {
    let audit = fx(
        &R2,
        "incident_resolution",
        "audit.insert",
        "write `incident_resolution` to the platform's audit log",
        ["audit_log", "incident_resolution", "row", "absent", "present"],
        Repeat::Keyed,
    );
    for (name, id) in [("Spring", "6f1c2a4e"), ("Loyalty | gold", "b07d9e13")] {
        let fx = resume(name, id);
        j.ms(100).intended(&fx, 1, 0).ms(210).applied(&fx, 1, &format!("campaign {name} was resumed"));
        let evidence = [("campaigns (PostgREST)", "status running")];
        j.ms(130).judged(&fx, verified(&format!("campaign {name} is running")), &evidence);
    }
    j.ms(3).noted(
        &R1,
        Note::OpenQuestion {
            says: "find out who raised the throttle, and whether it needs a review".to_owned(),
        },
    );
    j.ms(80).intended(&audit, 1, 0).ms(150).applied(&audit, 1, "audit row 3b0f77aa was written");
    j.ms(90).judged(&audit, verified("the audit row is there"), &[("audit_log (PostgREST)", "row 3b0f77aa")]);
    j.ms(4).concluded(
        Outcome::Verified,
        "a canary was delivered and 2 of the campaigns that this run paused send again",
    );
}

/// A whole incident: paused, interrupted, repaired, waited out, escalated, resumed.
pub(crate) fn resolved() -> Journal {
    let mut j = Journal::at("2026-11-23T09:00:00.125Z");
    detect(&mut j);
    pause_both(&mut j);
    repair_policy(&mut j);
    honour_the_rate_limit(&mut j);
    canaries(&mut j);
    resume_and_record(&mut j);
    j
}

/// A run whose ticket may have gone out, and that nobody has taken up again since it asked.
pub(crate) fn unfinished() -> Journal {
    let mut j = Journal::at("2026-11-23T22:40:00Z");
    detect(&mut j);
    let spring = pause("Spring", "6f1c2a4e");
    j.ms(90).intended(&spring, 1, 0).ms(180).applied(&spring, 1, "campaign Spring was paused");
    let shows = [("campaigns (PostgREST)", "status paused"), ("send_logs (PostgREST)", "41 sent since")];
    let says = "campaign Spring is paused in data only: 41 sends since".to_owned();
    j.secs(65).judged(&spring, Verdict::Refuted { says }, &shows);
    let ticket = fx(
        &E1,
        "provider ticket",
        "provider.ticket",
        "open a ticket at the WhatsApp provider",
        ["ticket", "Sends fail: rate limit", "state", "not opened", "open"],
        Repeat::Neither,
    );
    j.ms(100).intended(&ticket, 1, 0).secs(30).failed(
        &ticket.of,
        Doing::Applying,
        1,
        PortError::OutcomeUnknown {
            service: Service::Provider,
            call: "POST /tickets".to_owned(),
            detail: "connection closed before the answer".to_owned(),
        },
    );
    let gate = of(&E1, "provider ticket provider.ticket");
    j.ms(3).asked(
        &gate,
        "Did this happen: open a ticket at the WhatsApp provider?",
        &["the service can neither be asked nor drop a repetition"],
        &["happened", "did-not-happen", "stop"],
    );
    j.ms(2).detached("WA-E1: open a ticket at the WhatsApp provider: the service can neither be asked nor drop a repetition");
    j.secs(5_400).resumed("lee", 1).ms(8);
    j.detached("WA-E1: open a ticket at the WhatsApp provider: the service can neither be asked nor drop a repetition");
    j
}

/// What services and people could write to take over a terminal, a table or a page.
pub(crate) const HOSTILE: &str = "<script>alert(1)</script> | `x` [a](https://evil.example) \u{1b}[31mred\u{1b}[0m\n\n# Owned\r\n| --- |\u{202e}";

/// A run in which every foreign text is hostile.
pub(crate) fn hostile() -> Journal {
    let mut j = Journal::at("2026-11-23T09:00:00Z");
    let step = of(&I1, HOSTILE);
    let fx = Fx { title: HOSTILE.to_owned(), change: [HOSTILE; 5], ..pause("Spring", HOSTILE) };
    let error = || PortError::OutcomeUnknown {
        service: Service::AdminApi,
        call: HOSTILE.to_owned(),
        detail: HOSTILE.to_owned(),
    };
    j.started(HOSTILE).approved(HOSTILE, 1).observed(&step, HOSTILE, &[(HOSTILE, HOSTILE)]);
    j.intended(&fx, 1, 0).failed(&fx.of, Doing::Applying, 1, error());
    j.reconciled(&fx, Finding::Unknown, HOSTILE);
    j.asked(&step, HOSTILE, &[HOSTILE], &["approve"]).refused(&step, HOSTILE);
    j.answered(&step, HOSTILE, HOSTILE, Some(HOSTILE));
    j.intended(&fx, 2, 0).applied(&fx, 2, HOSTILE).judged(&fx, verified(HOSTILE), &[(HOSTILE, HOSTILE)]);
    j.slept(&step, 60, Waiting::ForTheWorld, HOSTILE);
    let (of, at) = (step.clone(), j.now() + SignedDuration::from_secs(5));
    j.push(HOSTILE, Event::DeadlineSet { of, at, says: HOSTILE.to_owned() });
    let text = || HOSTILE.to_owned();
    j.noted(&I1, Note::Affected { kind: text(), id: text(), label: text(), says: text() });
    j.noted(&I1, Note::Count { what: text(), count: 1 });
    j.noted(&I1, mitigation(&text()));
    j.noted(&I1, Note::Artifact { name: text(), says: text() });
    j.noted(&I1, Note::OpenQuestion { says: text() });
    j.push("~order", Event::OrderDiffers { key: text(), recorded: text() });
    j.detached(HOSTILE).resumed(HOSTILE, 1).concluded(Outcome::Unverified, HOSTILE);
    j
}
