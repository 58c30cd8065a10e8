//! Which runbooks there are, what they take, and how each can be drilled.

use allclear_core::Platform;
use allclear_engine::{Runbook, Step};
use serde_json::Value;

use crate::campaign_dispatcher_stalls::{
    CampaignDispatcherStalls, Input as DispatcherInput, STEPS as DISPATCHER_STEPS,
};
use crate::dr_tabletop::cadence::{CADENCE, FirstOfQuarter};
use crate::dr_tabletop::{
    DrTabletop, Input as TabletopInput, SCENARIOS as TABLETOP_SCENARIOS, STEPS as TABLETOP_STEPS,
};
use crate::station_redeem_anomalies::{
    Input as StationInput, STEPS as STATION_STEPS, StationRedeemAnomalies,
};
use crate::voucher_preview_failures::{
    Input as PreviewInput, STEPS as PREVIEW_STEPS, VoucherPreviewFailures,
};
use crate::whatsapp_send_failures::{Input as WhatsAppInput, STEPS as WHATSAPP_STEPS, WhatsAppSendFailures};

/// A named outage that a drill can begin with; the sandbox knows how to make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What happens in it.
    pub says: &'static str,
}

/// A number that a runbook may be told, and which ones make sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    /// The field's name.
    pub name: &'static str,
    /// What is counted, e.g. `hours`.
    pub unit: &'static str,
    /// The least.
    pub least: u64,
    /// The most.
    pub most: u64,
}

impl Number {
    const fn of(name: &'static str, unit: &'static str, least: u64, most: u64) -> Self {
        Self { name, unit, least, most }
    }

    fn check(&self, value: &Value) -> Result<(), String> {
        let Self { name, unit, least, most } = self;
        if value.as_u64().is_some_and(|number| (*least..=*most).contains(&number)) {
            return Ok(());
        }
        Err(format!("`{name}` is {}; give a whole number of {unit} from {least} to {most}", shown(value)))
    }
}

/// A value as it was typed, cut where nobody would read on.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        None => text,
        Some((cut, _)) => format!("{}…", &text[..cut]),
    }
}

/// One runbook of the catalogue.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Its name on the command line.
    pub id: &'static str,
    /// Its title in the written runbook.
    pub title: &'static str,
    /// Its bullets.
    pub steps: &'static [Step],
    /// How it can be drilled; the first is the default.
    pub scenarios: &'static [Scenario],
    /// When it is held, where it is held by the calendar.
    pub cadence: Option<FirstOfQuarter>,
    /// Which fields of its input name files.
    pub files: &'static [&'static str],
    /// The numbers of its input.
    pub numbers: &'static [Number],
    /// Makes the runbook for an input, on a platform.
    pub build: fn(Value, Platform) -> Result<Box<dyn Runbook>, InputError>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("id", &self.id).finish_non_exhaustive()
    }
}

/// An input that a runbook does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{runbook} does not take this input: {detail}")]
pub struct InputError {
    /// Which runbook.
    pub runbook: &'static str,
    /// What is wrong with it, field and value.
    pub detail: String,
}

/// A name that no runbook has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no runbook `{name}`{}; `allclear list` shows all", suggestion.map_or_else(String::new, |s| format!(", did you mean `{s}`?")))]
pub struct UnknownRunbook {
    /// What was asked for.
    pub name: String,
    /// The nearest name, where one is near.
    pub suggestion: Option<&'static str>,
}

/// All runbooks, in the order of the written text.
pub fn catalogue() -> &'static [Entry] {
    const CATALOGUE: &[Entry] = &[PREVIEW, WHATSAPP, DISPATCHER, STATION, TABLETOP];
    CATALOGUE
}

const PREVIEW: Entry = Entry {
    id: "voucher-preview-failures",
    title: "Voucher Preview Failures",
    steps: PREVIEW_STEPS,
    scenarios: &[
        Scenario { name: "function-removed", says: "the preview function is not deployed any more" },
        Scenario { name: "function-broken", says: "a bad version of the preview function is deployed" },
        Scenario { name: "no-picture", says: "the function answers well, and what it points to is a page" },
        Scenario {
            name: "timeout",
            says: "the function does not answer in time until the network is repaired",
        },
        Scenario { name: "not-configured", says: "the admin API does not know where the function is" },
        Scenario { name: "throttled", says: "the host holds calls of the function back" },
        Scenario { name: "connection-reset", says: "the platform does not reach the function" },
        Scenario {
            name: "silent-503",
            says: "the function answers 503 without a word, which reads as not configured",
        },
        Scenario { name: "key-refused", says: "the function refuses the platform's own key" },
        Scenario { name: "request-refused", says: "the function refuses what the platform asks it for" },
        Scenario { name: "too-many-calls", says: "the function wants fewer calls" },
        Scenario {
            name: "old-build-fails",
            says: "a function that was not deployed lately fails without a word",
        },
        Scenario { name: "empty-answer", says: "the function answers well, with nothing in it" },
        Scenario { name: "healthy", says: "nothing is wrong; nothing must be done" },
    ],
    cadence: None,
    files: &[],
    numbers: &[Number::of("window_minutes", "minutes", 1, 10_080)],
    build: |input, on| {
        let input: PreviewInput = read(&PREVIEW, input)?;
        Ok(Box::new(VoucherPreviewFailures { on, input }))
    },
};

const WHATSAPP: Entry = Entry {
    id: "whatsapp-send-failures",
    title: "WhatsApp Send Failures",
    steps: WHATSAPP_STEPS,
    scenarios: &[
        Scenario { name: "rate-limited", says: "WhatsApp answers 130429 for ten minutes" },
        Scenario { name: "invalid-numbers", says: "a fifth of the numbers cannot receive" },
        Scenario {
            name: "outage",
            says: "the send function fails for 25 minutes, long enough to notify the provider",
        },
        Scenario {
            name: "quiet-hours-misconfigured",
            says: "quiet hours are swapped and hold everything back",
        },
        Scenario { name: "throttle-misconfigured", says: "the throttle is 0" },
        Scenario { name: "auth-expired", says: "the WhatsApp token has expired" },
        Scenario { name: "policy-blocked", says: "WhatsApp restricts the account" },
        Scenario { name: "flapping", says: "sends fail again after the resume" },
        Scenario { name: "healthy", says: "nothing is wrong; nothing must be done" },
    ],
    cadence: None,
    files: &[],
    numbers: &[
        Number::of("window_minutes", "minutes", 1, 10_080),
        Number::of("elevated_percent", "percent", 1, 100),
    ],
    build: |input, on| {
        let input: WhatsAppInput = read(&WHATSAPP, input)?;
        Ok(Box::new(WhatsAppSendFailures { on, input }))
    },
};

const DISPATCHER: Entry = Entry {
    id: "campaign-dispatcher-stalls",
    title: "Campaign Dispatcher Stalls",
    steps: DISPATCHER_STEPS,
    scenarios: &[
        Scenario {
            name: "stalled",
            says: "the dispatcher runs and takes nothing until a campaign is started anew",
        },
        Scenario { name: "unreachable", says: "the dispatcher does not run for twenty minutes" },
        Scenario { name: "one-tick", says: "after the replay it sends once and stalls again" },
        Scenario { name: "targets-not-updated", says: "messages go out and the targets do not show it" },
        Scenario {
            name: "quiet-hours",
            says: "nothing moves because it is quiet hours; nothing must be done",
        },
        Scenario {
            name: "empty-queue",
            says: "nothing moves because everything is sent; nothing must be done",
        },
        Scenario { name: "healthy", says: "nothing is wrong; nothing must be done" },
    ],
    cadence: None,
    files: &[],
    numbers: &[Number::of("stalled_minutes", "minutes", 1, 1_440)],
    build: |input, on| {
        let input: DispatcherInput = read(&DISPATCHER, input)?;
        Ok(Box::new(CampaignDispatcherStalls { on, input }))
    },
};

const STATION: Entry = Entry {
    id: "station-redeem-anomalies",
    title: "Station Redeem Anomalies",
    steps: STATION_STEPS,
    scenarios: &[
        Scenario { name: "double-redemption", says: "stations redeemed three vouchers twice" },
        Scenario { name: "unknown-worth", says: "as before; one row does not tell what it is worth" },
        Scenario {
            name: "replays",
            says: "the app's offline queue stored redemptions again; nothing must be done",
        },
        Scenario {
            name: "key-collision",
            says: "valid vouchers are refused because the app's key is the same for all",
        },
        Scenario {
            name: "wrong-scope",
            says: "vouchers are refused because their scope is an id of the wrong table",
        },
        Scenario {
            name: "wrong-station",
            says: "a voucher is refused because the customer is at another station",
        },
        Scenario { name: "healthy", says: "nothing is wrong; nothing must be done" },
    ],
    cadence: None,
    files: &["events"],
    numbers: &[Number::of("window_hours", "hours", 1, 8_760)],
    build: |input, on| {
        let input: StationInput = read(&STATION, input)?;
        Ok(Box::new(StationRedeemAnomalies { on, input }))
    },
};

const TABLETOP: Entry = Entry {
    id: "dr-tabletop",
    title: "DR Tabletop Test – Backup/Restore Cutover",
    steps: TABLETOP_STEPS,
    scenarios: TABLETOP_SCENARIOS,
    cadence: Some(CADENCE),
    files: &[],
    numbers: &[],
    build: |input, on| {
        let input: TabletopInput = read(&TABLETOP, input)?;
        Ok(Box::new(DrTabletop { on, input }))
    },
};

/// Finds a runbook by its name.
pub fn find(name: &str) -> Result<&'static Entry, UnknownRunbook> {
    catalogue().iter().find(|entry| entry.id == name).ok_or_else(|| {
        let nearest = catalogue().iter().map(|entry| (strsim::levenshtein(name, entry.id), entry.id)).min();
        let suggestion = nearest.filter(|(distance, id)| *distance <= id.len() / 3).map(|(_, id)| id);
        UnknownRunbook { name: name.to_owned(), suggestion }
    })
}

fn read<T: serde::de::DeserializeOwned + Default>(entry: &Entry, input: Value) -> Result<T, InputError> {
    if input.is_null() {
        return Ok(T::default());
    }
    let wrong = |detail: String| InputError { runbook: entry.id, detail };
    for number in entry.numbers {
        if let Some(value) = input.get(number.name) {
            number.check(value).map_err(wrong)?;
        }
    }
    let parts = input.clone();
    serde_json::from_value(input).map_err(|error| {
        let field = wrong_field::<T>(&parts);
        wrong(
            field.map_or_else(|| error.to_string(), |(name, value)| format!("`{name}` is {value}; {error}")),
        )
    })
}

/// The field that cannot be read: the error of the whole does not name it. Every input has a default for each of its fields, so
/// each can be read alone.
fn wrong_field<T: serde::de::DeserializeOwned>(input: &Value) -> Option<(String, String)> {
    let alone =
        |name: &String, value: &Value| Value::Object([(name.clone(), value.clone())].into_iter().collect());
    let mut fields = input.as_object()?.iter();
    let (name, value) =
        fields.find(|(name, value)| serde_json::from_value::<T>(alone(name, value)).is_err())?;
    Some((name.clone(), shown(value)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mocked::platform;

    fn refused(entry: &Entry, field: &str, value: &Value) -> Option<String> {
        let input = Value::Object([(field.to_owned(), value.clone())].into_iter().collect());
        (entry.build)(input, platform()).err().map(|error| error.to_string())
    }

    #[test]
    fn d8b_every_number_of_every_input_has_bounds() {
        let defaults = [
            json!(PreviewInput::default()),
            json!(WhatsAppInput::default()),
            json!(DispatcherInput::default()),
            json!(StationInput::default()),
            json!(TabletopInput::default()),
        ];
        for (entry, input) in catalogue().iter().zip(defaults) {
            let numbers = input.as_object().unwrap().iter().filter(|(_, value)| value.is_number());
            for (name, value) in numbers {
                let number = entry.numbers.iter().find(|number| number.name == name);
                let number = number.unwrap_or_else(|| panic!("{}: `{name}` has no bounds", entry.id));
                assert_eq!(number.check(value), Ok(()), "{}: its own default", entry.id);
            }
        }
    }

    #[test]
    fn d8b_a_number_out_of_bounds_is_refused_with_field_value_and_bounds() {
        for entry in catalogue() {
            for number in entry.numbers {
                for good in [number.least, number.most] {
                    assert_eq!(refused(entry, number.name, &json!(good)), None, "{} {good}", number.name);
                }
                let bad = [
                    json!(number.least - 1),
                    json!(number.most + 1),
                    json!(-1),
                    json!(1_000_000_000_u64),
                    json!(4_000_000_000_u64),
                    json!(1_000_000_000_000_000_000_u64),
                    json!(u64::MAX),
                    json!(1e300),
                    json!(2.5),
                    json!("NaN"),
                    json!("inf"),
                    json!(""),
                    json!("6 hours"),
                    json!("\u{0666}"),
                    json!(null),
                    json!([6]),
                    json!({ "hours": 6 }),
                    json!(true),
                    json!("9".repeat(5_000)),
                ];
                for value in bad {
                    let said = refused(entry, number.name, &value).expect("out of bounds");
                    let bounds = format!("from {} to {}", number.least, number.most);
                    for part in [&format!("`{}` is ", number.name), &bounds, &number.unit.to_owned()] {
                        assert!(said.contains(part), "`{part}` is missing in: {said}");
                    }
                    assert!(said.len() < 300, "nobody reads on: {said}");
                }
            }
        }
    }

    #[test]
    fn d8b_any_other_value_that_cannot_be_read_is_named_by_its_field() {
        let cases = [
            ("whatsapp-send-failures", "campaigns", json!("summer")),
            ("voucher-preview-failures", "voucher", json!(6)),
            ("campaign-dispatcher-stalls", "replay", json!("twice")),
            ("station-redeem-anomalies", "events", json!(6)),
            ("dr-tabletop", "date", json!("2025-13-01")),
            ("dr-tabletop", "windows", json!(1)),
        ];
        for (runbook, field, value) in cases {
            let said = refused(find(runbook).unwrap(), field, &value).expect("it cannot be read");
            assert!(said.contains(&format!("`{field}` is {value}")), "{said}");
        }
    }
}
