//! All parsers of webhooks, fed with what is almost right: documents of each sender, changed in their structure and signed, so
//! that everything behind the signature is reached.

use serde_json::{Value, json};

use super::tests::{PAGERDUTY, SLACK, Scheme, WHATSAPP, now, schemes, secrets};
use super::{approval, slack};

/// Documents, all schemes together.
const RUNS: u32 = 200_000;

/// Where a run begins; another start is tried with the variable.
fn seed() -> u64 {
    std::env::var("ALLCLEAR_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(4)
}

/// A reproducible source of numbers (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A number below `bound`.
fn below(random: &mut Dice, bound: usize) -> usize {
    usize::try_from(random.next_u64() % bound.max(1) as u64).unwrap_or(0)
}

/// A value where another one stood.
fn odd(random: &mut Dice) -> Value {
    match below(random, 14) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(u64::MAX),
        4 => json!(1e300),
        5 => json!(""),
        6 => json!("\u{0}\u{1b}[31m\u{202e}"),
        7 => json!("9".repeat(400)),
        8 => json!("+999999-12-31T23:59:60Z"),
        9 => json!("-9223372036854775808"),
        10 => json!([]),
        11 => json!({}),
        12 => json!([[[[[[[[]]]]]]]]),
        _ => json!("run\ngate\nbinding\nchoice"),
    }
}

/// Changes one place of a document, somewhere in its depth.
fn change(value: &mut Value, random: &mut Dice) {
    let deeper = below(random, 4) > 0;
    match value {
        Value::Object(object) if deeper && !object.is_empty() => {
            let place = below(random, object.len());
            let key = object.keys().nth(place).cloned().unwrap_or_default();
            match below(random, 8) {
                0 => drop(object.remove(&key)),
                1 => drop(object.insert(format!("{key}\u{e9}"), odd(random))),
                _ => object.get_mut(&key).into_iter().for_each(|inner| change(inner, random)),
            }
        }
        Value::Array(list) if deeper && !list.is_empty() => {
            let place = below(random, list.len());
            match below(random, 6) {
                0 => drop(list.remove(place)),
                1 => list.push(list[place].clone()),
                _ => change(&mut list[place], random),
            }
        }
        other => *other = odd(random),
    }
}

/// Bytes that are no document any more.
fn damage(bytes: &mut Vec<u8>, random: &mut Dice) {
    for _ in 0..=below(random, 3) {
        let place = below(random, bytes.len());
        match below(random, 3) {
            0 => bytes.truncate(place),
            1 if !bytes.is_empty() => bytes[place] = random.next_u64().to_le_bytes()[0],
            _ => bytes.insert(place, random.next_u64().to_le_bytes()[0]),
        }
    }
}

#[test]
fn no_document_that_is_almost_right_brings_a_parser_down() {
    let (seed, secrets) = (seed(), secrets());
    let mut random = Dice(seed);
    let documents: [Value; 3] =
        [PAGERDUTY, SLACK, WHATSAPP].map(|text| serde_json::from_str(text).expect("the examples are JSON"));
    let schemes = schemes();
    let (mut read, mut refused) = (0_u32, 0_u32);
    for run in 0..RUNS {
        let kind = below(&mut random, documents.len());
        let Scheme { name, sign, verify, .. } = &schemes[kind];
        let mut document = documents[kind].clone();
        for _ in 0..below(&mut random, 4) {
            change(&mut document, &mut random);
        }
        let mut body = document.to_string().into_bytes();
        if *name == "Slack" {
            let payload = document.to_string();
            body = form_urlencoded::Serializer::new(String::new())
                .append_pair("payload", &payload)
                .finish()
                .into_bytes();
        }
        if below(&mut random, 8) == 0 {
            damage(&mut body, &mut random);
        }
        let headers = sign(super::tests::CURRENT, &body, now());
        let tried = std::panic::catch_unwind(|| {
            if *name == "Slack"
                && let Ok(click) = slack::verify(&body, &headers, now(), &secrets)
            {
                let _ = approval::read(&click);
            }
            verify(&body, &headers, &secrets)
        });
        let Ok(verified) = tried else {
            panic!("seed {seed}, run {run}, {name}: {}", String::from_utf8_lossy(&body));
        };
        // The signature is right, so whatever is refused is refused by what stands in the document.
        assert_ne!(verified, Err(super::Refused::BadSignature), "seed {seed}, run {run}, {name}");
        if verified.is_ok() { read += 1 } else { refused += 1 }
    }
    // Both sides of every check are reached, or this would try nothing.
    assert!(read > RUNS / 20 && refused > RUNS / 20, "seed {seed}: {read} read, {refused} refused");
}
