//! Random worlds in which up to three things lie or fail and people act at random moments. Whatever the product says, the
//! world is asked: nothing is verified that is not so, nobody was told who was not, nothing is left changed and not listed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use allclear::core::Clock as _;
use allclear::core::policy::QuietHours;
use allclear::engine::report::left;
use allclear::engine::{Entry, Event, Finished, Outcome, Terms, Verdict};
use allclear::sandbox::people::Act;
use allclear::sandbox::{Fault, FaultSet, Scenario, World, WorldSpec};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use uuid::Uuid;

use crate::plan_equals_run::{dispatcher, previews, stations, whatsapp, world};
use crate::scene::{Scene, approved};

/// How many worlds for each runbook; `ALLCLEAR_LIES` asks for more.
fn worlds() -> usize {
    std::env::var("ALLCLEAR_LIES").ok().and_then(|n| n.parse().ok()).unwrap_or(500)
}

/// What a person does, and to which campaign or voucher, when the journal has so many entries.
#[derive(Debug, Clone)]
struct Deed {
    at: u64,
    which: usize,
    act: Act,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let act = prop::sample::select(Act::ALL.to_vec());
    let deed = (3..120_u64, 1..=6_usize, act).prop_map(|(at, which, act)| Deed { at, which, act });
    prop::collection::vec(deed, 0..3)
}

/// How long the world is watched after a run that says that sending works.
const AFTERWARDS: Duration = Duration::from_mins(15);
/// What lies so far back is looked at, and from how many on repeats are no accident.
const LOOKED_AT: Duration = Duration::from_mins(30);
const FEWEST_REPEATS: usize = 10;

/// What people did to campaigns.
#[derive(Debug, Clone, Default)]
struct ByPeople {
    /// Those that they paused, started or stopped.
    touched: BTreeSet<Uuid>,
    /// Which they paused or stopped, and how many entries the journal had then.
    taken: Vec<(Uuid, u64)>,
    /// How many messages they skipped of which.
    skipped: BTreeMap<Uuid, u64>,
}

/// A world as it was and as it came to be.
struct Seen {
    before: Value,
    /// Whether its quiet hours were the usual ones throughout.
    usual_hours: bool,
    people: ByPeople,
    faults: FaultSet,
    finished: Finished,
    entries: Vec<Entry>,
    scene: Scene,
}

fn campaigns(state: &Value) -> BTreeMap<Uuid, &Value> {
    let all = state["campaigns"].as_array().unwrap();
    all.iter().map(|one| (one["id"].as_str().unwrap().parse().unwrap(), one)).collect()
}

async fn play(runbook: &'static str, spec: WorldSpec, deeds: Vec<Deed>) -> Seen {
    let odd = [Scenario::QuietHours, Scenario::QuietHoursMisconfigured];
    let usual_hours = !odd.contains(&spec.scenario);
    let faults = spec.faults.clone().unwrap_or_else(|| FaultSet::of(spec.profile));
    let scene = Scene::with(runbook, Value::Null, spec).await;
    let plan = scene.plan().await;
    let before = scene.sandbox.state();
    let listed = before["campaigns"].as_array().unwrap().iter();
    let ids: Vec<Uuid> = listed.map(|one| one["id"].as_str().unwrap().parse().unwrap()).collect();
    let people: Arc<Mutex<ByPeople>> = Arc::default();
    let (sandbox, acting) = (Arc::clone(&scene.sandbox), Arc::clone(&people));
    let listener = move |entry: &Entry| {
        for deed in deeds.iter().filter(|deed| deed.at == entry.seq) {
            let skipped = || sandbox.with_world(|world| world.skipped_rows().len() as u64);
            let before = skipped();
            let done = sandbox.with_world(|world| world.let_somebody(deed.act, deed.which));
            let Some(id) = ids.get(deed.which - 1) else { continue };
            let mut people = acting.lock().unwrap();
            match deed.act {
                Act::Pause | Act::Start | Act::Stop => {
                    people.touched.insert(*id);
                    if done && deed.act != Act::Start {
                        people.taken.push((*id, entry.seq));
                    }
                }
                Act::Skip => *people.skipped.entry(*id).or_default() += skipped() - before,
                _ => {}
            }
        }
    };
    let terms = Terms { listener: Some(Arc::new(listener)), ..scene.terms() };
    let finished = scene.run(approved(&plan, "drill-run"), terms).await;
    let (entries, people) = (scene.entries(), people.lock().unwrap().clone());
    Seen { before, usual_hours, people, faults, finished, entries, scene }
}

impl Seen {
    fn has(&self, fault: Fault) -> bool {
        self.faults.has(fault)
    }

    fn is_verified(&self) -> bool {
        self.finished.outcome == Outcome::Verified
    }

    fn world<T>(&self, ask: impl FnOnce(&mut World) -> T) -> T {
        self.scene.sandbox.with_world(ask)
    }

    /// What is said to be verified of an effect beyond what the world did.
    fn untold(&self) -> Vec<String> {
        let mut said: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in &self.entries {
            if let Event::Judged { effect, verdict: Verdict::Verified { .. }, .. } = &entry.event {
                *said.entry(effect.as_str()).or_default() += 1;
            }
        }
        let mut did: BTreeMap<String, usize> = BTreeMap::new();
        for ((effect, _), times) in self.scene.effects() {
            *did.entry(effect).or_default() += times;
        }
        // Where no log says delivered, it is proven of a canary that it was accepted, and a person looks at the phone.
        let canary = (!self.has(Fault::DeliveryNeverLogged)).then_some("message.send");
        ["slack.post", "pagerduty.trigger", "provider.ticket"]
            .into_iter()
            .chain(canary)
            .filter_map(|effect| {
                let (said, did) =
                    (said.get(effect).copied().unwrap_or(0), did.get(effect).copied().unwrap_or(0));
                (said > did).then(|| format!("{effect} is proven {said} times and happened {did} times"))
            })
            .collect()
    }

    /// Campaigns that we left paused, and messages that we left skipped, which no list names.
    fn unlisted(&self) -> Vec<String> {
        let listed: Vec<String> =
            left(&self.entries).iter().map(|one| format!("{} {}", one.id, one.says)).collect();
        let listed = listed.join("\n");
        let ours: BTreeSet<String> = self.scene.effects().into_keys().map(|(_, subject)| subject).collect();
        let (after, before) = (self.scene.sandbox.state(), campaigns(&self.before));
        let mut wrong = Vec::new();
        for (id, now) in campaigns(&after) {
            let name = now["name"].as_str().unwrap();
            let (was, is) = (&before[&id]["status"], &now["status"]);
            let untouched = !self.people.touched.contains(&id) && ours.contains(&id.to_string());
            if untouched && was != is && (self.is_verified() || !listed.contains(&id.to_string())) {
                wrong.push(format!("campaign {name} was {was} and is {is}"));
            }
            let (was, is) = (before[&id]["skipped"].as_u64(), now["skipped"].as_u64());
            let theirs = self.people.skipped.get(&id).copied().unwrap_or(0);
            if is > was.map(|was| was + theirs) && (self.is_verified() || !listed.contains(name)) {
                wrong.push(format!("campaign {name} has {is:?} skipped messages and had {was:?}"));
            }
        }
        wrong
    }

    /// That messages go out, each once, for a while after a run that says so.
    async fn sending(&self) -> Vec<String> {
        // Where nothing waits, nothing but a canary could be seen to go out, and that is what is said.
        let is_said = self.finished.says.contains("no customer's message was seen to go out");
        let unseen = is_said && self.world(|world| world.due()) == 0;
        let fails = |seen: &Self| {
            seen.world(|world| world.fails_for_customers().filter(|_| !world.rests() && !unseen))
        };
        if let Some(why) = fails(self) {
            return vec![format!("messages to customers fail: {why}")];
        }
        let (due, now, rests) = self.world(|world| (world.due(), world.now(), world.rests()));
        let seen = self.world(|world| world.went_out_since(now - LOOKED_AT));
        self.scene.clock.sleep_until(now + AFTERWARDS).await;
        let out = self.world(|world| {
            world.advance_to(now + AFTERWARDS);
            world.went_out_since(now)
        });
        let mut wrong = Vec::new();
        if due > 0 && out.accepted == 0 && !rests && self.world(|world| world.fails_for_customers().is_none())
        {
            wrong.push(format!("{due} messages are due and none goes out"));
        }
        // What began only after the run had looked, nobody could have told it.
        if out.accepted > out.distinct && seen.accepted >= seen.distinct + FEWEST_REPEATS {
            wrong.push(format!("{} messages go out for {} rows", out.accepted, out.distinct));
        }
        wrong
    }

    /// Messages of campaigns that we started again and that nobody else touched, lost to what is over.
    fn lost(&self) -> Vec<String> {
        let did = self.scene.effects().into_keys();
        let started: BTreeSet<Uuid> = did
            .filter(|(effect, _)| effect == "campaign.start")
            .filter_map(|(_, subject)| subject.parse().ok())
            .collect();
        let untouched = started.difference(&self.people.touched);
        untouched
            .map(|id| (id, self.world(|world| world.lost(*id))))
            .filter(|(_, lost)| *lost > 0)
            .map(|(id, lost)| format!("{lost} messages of {id} are given up because of what is over"))
            .collect()
    }

    /// Campaigns that somebody paused or stopped and that we set out to start after that, without a pause of our own in between.
    /// Where the platform loses what it records of people, nobody can know.
    fn overruled(&self) -> Vec<String> {
        if self.has(Fault::AuditWriteLost) {
            return Vec::new();
        }
        let ours = |id: Uuid| {
            self.entries.iter().filter(move |entry| entry.key.contains(&id.to_string())).filter_map(|entry| {
                match &entry.event {
                    Event::Intended { effect, .. } if effect == "campaign.start" => Some((entry.seq, true)),
                    Event::Applied { effect, .. } if effect == "campaign.pause" => Some((entry.seq, false)),
                    _ => None,
                }
            })
        };
        let first_after = |(id, at): (Uuid, u64)| ours(id).find(|(seq, _)| *seq > at);
        let overruled =
            self.people.taken.iter().filter(|taken| matches!(first_after(**taken), Some((_, true))));
        overruled.map(|(id, at)| format!("{id}, which somebody took at entry {at}, was started")).collect()
    }

    /// Campaigns that we started in quiet hours.
    fn started_at_night(&self) -> Vec<String> {
        let (hours, zone) =
            (QuietHours::parse("22:00", "06:00").unwrap(), TimeZone::get("Africa/Kigali").unwrap());
        let ledger = self.scene.sandbox.ledger().into_iter();
        let starts = ledger.filter(|entry| entry.effect == "campaign.start" && self.usual_hours);
        let at_night = starts.filter(|entry| hours.contains(entry.at.to_zoned_datetime(zone.clone()).time()));
        at_night
            .map(|entry| format!("{} was started in quiet hours, at {}", entry.subject, entry.at))
            .collect()
    }

    async fn wrong(&self, runbook: &str) -> Vec<String> {
        let mut wrong = self.untold();
        wrong.extend(self.unlisted());
        wrong.extend(self.started_at_night());
        wrong.extend(self.overruled());
        if self.is_verified() {
            wrong.extend(match runbook {
                "voucher-preview-failures" => {
                    let works = self.world(|world| world.previews_work());
                    (!works).then(|| "previews do not work".to_owned()).into_iter().collect()
                }
                "station-redeem-anomalies" => {
                    let stand = self.world(|world| world.doubles_that_stand());
                    (!stand.is_empty()).then(|| format!("doubles stand: {stand:?}")).into_iter().collect()
                }
                _ => [self.lost(), self.sending().await].concat(),
            });
        }
        wrong
    }
}

fn judged(runbook: &'static str, scenario: impl Strategy<Value = Scenario>) {
    let anytime = (world(scenario), 0..24_u64)
        .prop_map(|(spec, hours)| WorldSpec { start: spec.start + Duration::from_hours(hours), ..spec });
    let strategy = (anytime, deeds());
    let mut runner = TestRunner::deterministic();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut verified, mut failures) = (0, Vec::new());
    for number in 0..worlds() {
        let (spec, deeds) = strategy.new_tree(&mut runner).unwrap().current();
        let shown = format!("{number}: {spec:?} {deeds:?}");
        runtime.block_on(async {
            let seen = play(runbook, spec, deeds).await;
            verified += usize::from(seen.is_verified());
            let wrong = seen.wrong(runbook).await;
            if !wrong.is_empty() {
                let Finished { outcome, says } = &seen.finished;
                failures.push(format!("{}\n  {outcome}: {says}\n  in {shown}", wrong.join("; ")));
            }
        });
    }
    println!("{runbook}: {} worlds with lies and people, {verified} verified", worlds());
    assert!(failures.is_empty(), "{} of {} wrong\n{}", failures.len(), worlds(), failures.join("\n\n"));
}

#[test]
fn whatsapp_says_nothing_untrue_whoever_lies_and_acts() {
    judged("whatsapp-send-failures", whatsapp());
}

#[test]
fn the_dispatcher_says_nothing_untrue_whoever_lies_and_acts() {
    judged("campaign-dispatcher-stalls", dispatcher());
}

#[test]
fn previews_say_nothing_untrue_whoever_lies_and_acts() {
    judged("voucher-preview-failures", previews());
}

#[test]
fn stations_say_nothing_untrue_whoever_lies_and_acts() {
    judged("station-redeem-anomalies", stations());
}
