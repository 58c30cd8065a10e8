use allclear_core::delivery::MessageStatus;
use std::fmt::Write as _;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::header::{HeaderName, HeaderValue};
use sha2::Sha256;

use super::*;

pub(super) const CURRENT: &str = "the-current-secret";
const PREVIOUS: &str = "the-one-before-it";
/// Runs of each cheap property on bytes that nobody chose.
const RUNS: u32 = 100_000;

pub(super) fn now() -> Timestamp {
    "2026-11-23T09:00:00Z".parse().unwrap()
}

pub(super) fn secrets() -> Secrets {
    Secrets::new(CURRENT.into()).unwrap().with_previous(PREVIOUS.into()).unwrap()
}

fn sign(secret: &str, parts: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

fn headers(pairs: &[(&'static str, String)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect()
}

/// One sender's scheme, so that what all must do is tested on all.
pub(super) struct Scheme {
    pub(super) name: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) sign: fn(&str, &[u8], Timestamp) -> HeaderMap,
    pub(super) verify: fn(&[u8], &HeaderMap, &Secrets) -> Result<String, Refused>,
}

pub(super) const PAGERDUTY: &str = r#"{"event":{"id":"01EVENT","event_type":"incident.acknowledged","resource_type":"incident",
    "occurred_at":"2026-11-23T08:59:00Z","agent":{"id":"PUSER","type":"user_reference"},"client":null,
    "data":{"id":"PINC","title":"h\u00e9"}}}"#;
pub(super) const SLACK: &str = r#"{"type":"block_actions","user":{"id":"U1"},"channel":{"id":"C1"},
    "container":{"message_ts":"1700000000.000100"},"trigger_id":"13.37.abc",
    "response_url":"https://hooks.slack.com/actions/T/1/x",
    "actions":[{"action_id":"approve","block_id":"b","value":"opaque","action_ts":"1700000000.1"}]}"#;
pub(super) const WHATSAPP: &str = r#"{"object":"whatsapp_business_account","entry":[{"id":"2","changes":[
    {"field":"messages","value":{"statuses":[
        {"id":"wamid.1","status":"failed","timestamp":"1795424300","recipient_id":"250788123012",
         "biz_opaque_callback_data":"run/1","errors":[{"code":131026,"title":"x"}]},
        {"id":"wamid.2","status":"teleported","timestamp":"1795424300"},
        {"id":"wamid.3","status":"read","timestamp":"never"}]}},
    {"field":"account_update","value":{}}]}]}"#;

pub(super) fn schemes() -> [Scheme; 3] {
    let form = form_urlencoded::Serializer::new(String::new()).append_pair("payload", SLACK).finish();
    [
        Scheme {
            name: "PagerDuty",
            body: PAGERDUTY.into(),
            sign: |secret, body, _| {
                headers(&[("x-pagerduty-signature", format!("v1={}", sign(secret, &[body])))])
            },
            verify: |body, headers, secrets| {
                pagerduty::verify(body, headers, now(), secrets).map(|event| event.id)
            },
        },
        Scheme {
            name: "Slack",
            body: form.into(),
            sign: |secret, body, at| {
                let stamp = at.as_second().to_string();
                let signature = sign(secret, &[b"v0:", stamp.as_bytes(), b":", body]);
                headers(&[
                    ("x-slack-signature", format!("v0={signature}")),
                    ("x-slack-request-timestamp", stamp),
                ])
            },
            verify: |body, headers, secrets| {
                slack::verify(body, headers, now(), secrets).map(|click| click.id)
            },
        },
        Scheme {
            name: "WhatsApp",
            body: WHATSAPP.into(),
            sign: |secret, body, _| {
                headers(&[("x-hub-signature-256", format!("sha256={}", sign(secret, &[body])))])
            },
            verify: |body, headers, secrets| {
                whatsapp::verify(body, headers, now(), secrets).map(|delivery| delivery.id)
            },
        },
    ]
}

#[test]
fn the_signature_is_the_one_that_the_standard_gives() {
    // RFC 4231, test case 2.
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(sign("Jefe", &[b"what do ya want ", b"for nothing?"]), expected);
}

#[test]
fn what_they_signed_is_believed_with_either_secret() {
    for Scheme { name, body, sign, verify } in schemes() {
        for secret in [CURRENT, PREVIOUS] {
            assert!(verify(&body, &sign(secret, &body, now()), &secrets()).is_ok(), "{name} {secret}");
        }
        let only = Secrets::new(CURRENT.into()).unwrap();
        let late = verify(&body, &sign(PREVIOUS, &body, now()), &only);
        assert_eq!(late, Err(Refused::BadSignature), "{name}: after the rotation is over");
    }
}

#[test]
fn a_changed_body_is_refused_whichever_byte_was_changed() {
    for Scheme { name, body, sign, verify } in schemes() {
        let headers = sign(CURRENT, &body, now());
        for place in 0..body.len() {
            let mut changed = body.clone();
            changed[place] ^= 1;
            assert_eq!(
                verify(&changed, &headers, &secrets()),
                Err(Refused::BadSignature),
                "{name} at {place}"
            );
        }
        let longer = [&body[..], b" "].concat();
        assert_eq!(verify(&longer, &headers, &secrets()), Err(Refused::BadSignature), "{name}");
    }
}

#[test]
fn a_wrong_version_no_signature_and_a_cut_one_are_told_apart() {
    for Scheme { name, body, sign, verify } in schemes() {
        let missing = verify(&body, &HeaderMap::new(), &secrets());
        assert!(matches!(missing, Err(Refused::NoSignature { .. })), "{name}: {missing:?}");
        for (key, value) in &sign(CURRENT, &body, now()) {
            if key.as_str().ends_with("timestamp") {
                continue;
            }
            let changed = |value: &str| {
                let mut headers = sign(CURRENT, &body, now());
                headers.insert(key, HeaderValue::from_str(value).unwrap());
                verify(&body, &headers, &secrets())
            };
            let value = value.to_str().unwrap();
            let (version, digits) = value.split_once('=').unwrap();
            assert!(changed(value).is_ok(), "{name}");
            let other = changed(&format!("v9={digits}"));
            assert!(matches!(other, Err(Refused::WrongVersion { .. })), "{name}: {other:?}");
            for bad in [&digits[2..], "", "zz", &format!("{digits}00"), &"0".repeat(64)] {
                assert_eq!(changed(&format!("{version}={bad}")), Err(Refused::BadSignature), "{name} {bad}");
            }
        }
    }
}

#[test]
fn a_body_beyond_the_limit_is_not_looked_at() {
    for Scheme { name, sign, verify, .. } in schemes() {
        let body = vec![b' '; LONGEST_BODY + 1];
        let refused = verify(&body, &sign(CURRENT, &body, now()), &secrets());
        assert_eq!(refused, Err(Refused::TooLong { bytes: LONGEST_BODY + 1 }), "{name}");
    }
}

#[test]
fn a_secret_that_protects_nothing_is_no_secret() {
    for weak in ["", "        ", "short"] {
        assert_eq!(Secrets::new(weak.into()).unwrap_err(), Refused::WeakSecret);
        assert_eq!(secrets().with_previous(weak.into()).unwrap_err(), Refused::WeakSecret);
    }
}

#[test]
fn one_of_many_pagerduty_signatures_is_enough() {
    let (body, good) = (PAGERDUTY.as_bytes(), sign(CURRENT, &[PAGERDUTY.as_bytes()]));
    let bad = "0".repeat(64);
    let lists =
        [format!("v1={bad},v1={good}"), format!("v1={good},v1={bad}"), format!("v2={bad}, v1=, v1={good}")];
    for list in lists {
        let headers = headers(&[("x-pagerduty-signature", list.clone())]);
        let event = pagerduty::verify(body, &headers, now(), &secrets()).unwrap();
        assert_eq!((event.id.as_str(), event.kind.as_str()), ("01EVENT", "incident.acknowledged"), "{list}");
        assert!(event.agent.unwrap().is_user());
    }
    // Comparing is bounded: the good one behind a great many is not looked for.
    let many = format!("{}v1={good}", format!("v1={bad},").repeat(1_000));
    let headers = headers(&[("x-pagerduty-signature", many)]);
    assert_eq!(pagerduty::verify(body, &headers, now(), &secrets()), Err(Refused::BadSignature));
}

#[test]
fn an_old_pagerduty_event_is_refused_and_a_retry_of_two_days_is_not() {
    let at = |hours: i64| {
        let at = now() - SignedDuration::from_hours(hours);
        let body = PAGERDUTY.replace("2026-11-23T08:59:00Z", &at.to_string());
        let headers =
            headers(&[("x-pagerduty-signature", format!("v1={}", sign(CURRENT, &[body.as_bytes()])))]);
        pagerduty::verify(body.as_bytes(), &headers, now(), &secrets())
    };
    assert!(at(48).is_ok());
    assert_eq!(at(50), Err(Refused::TooOld { seconds: 50 * 3_600 }));
    assert_eq!(at(-1), Err(Refused::TooNew { seconds: 3_600 }));
}

#[test]
fn slacks_timestamp_counts_five_minutes_both_ways_and_is_signed() {
    let [_, Scheme { body, sign, verify, .. }, _] = schemes();
    for (seconds, expected) in [
        (0, None),
        (300, None),
        (-300, None),
        (301, Some(Refused::TooOld { seconds: 301 })),
        (-301, Some(Refused::TooNew { seconds: 301 })),
        (31_536_000, Some(Refused::TooOld { seconds: 31_536_000 })),
    ] {
        let at = now() - SignedDuration::from_secs(seconds);
        let verified = verify(&body, &sign(CURRENT, &body, at), &secrets());
        assert_eq!(verified.err(), expected, "{seconds}");
    }
    // An old request with a new time on it.
    let mut headers = sign(CURRENT, &body, now() - SignedDuration::from_hours(1));
    headers.insert("x-slack-request-timestamp", HeaderValue::from(now().as_second()));
    assert_eq!(verify(&body, &headers, &secrets()), Err(Refused::BadSignature));
    headers.append("x-slack-request-timestamp", HeaderValue::from(1));
    assert!(matches!(verify(&body, &headers, &secrets()), Err(Refused::Ambiguous { .. })));
}

#[test]
fn a_click_says_who_clicked_what_and_its_answer_goes_to_slack_only() {
    use secrecy::ExposeSecret as _;
    let click = |payload: &str| {
        let body = form_urlencoded::Serializer::new(String::new()).append_pair("payload", payload).finish();
        let [_, Scheme { sign, .. }, _] = schemes();
        let headers = sign(CURRENT, body.as_bytes(), now());
        slack::verify(body.as_bytes(), &headers, now(), &secrets())
    };
    let known = click(SLACK).unwrap();
    assert_eq!((known.id.as_str(), known.user.as_str()), ("13.37.abc", "U1"));
    assert_eq!(known.actions[0].value.as_deref(), Some("opaque"));
    assert_eq!(known.message_ts.as_deref(), Some("1700000000.000100"));
    let url = known.response_url.unwrap();
    assert!(url.expose_secret().starts_with("https://hooks.slack.com/"));
    assert!(!format!("{url:?}").contains("hooks"));
    for elsewhere in ["https://hooks.slack.com.evil.example/", "http://169.254.169.254/"] {
        let other = click(&SLACK.replace("https://hooks.slack.com/", elsewhere)).unwrap();
        assert!(other.response_url.is_none(), "{elsewhere}");
    }
    assert!(matches!(click("{}"), Err(Refused::Unreadable { .. })));
}

#[test]
fn whatsapps_reports_are_read_beside_those_that_cannot_be() {
    let [.., Scheme { body, sign, .. }] = schemes();
    let delivery = whatsapp::verify(&body, &sign(CURRENT, &body, now()), now(), &secrets()).unwrap();
    assert_eq!(delivery.passed_over, 2);
    assert_eq!(delivery.other_fields, ["account_update"]);
    let [report] = &delivery.reports[..] else { panic!("{delivery:?}") };
    assert_eq!((report.status, &report.error_codes[..]), (MessageStatus::Failed, &[131_026][..]));
    assert_eq!(report.callback_data.as_deref(), Some("run/1"));
    assert!(!format!("{delivery:?}").contains("788123"));

    let later = now() + SignedDuration::from_hours(9 * 24);
    let old = whatsapp::verify(&body, &sign(CURRENT, &body, now()), later, &secrets()).unwrap();
    assert_eq!((old.reports.len(), old.passed_over), (0, 3));
}

#[test]
fn metas_handshake_needs_our_token_and_echoes_no_page() {
    let token = "our-verify-token".into();
    let ask = |query: &str| whatsapp::handshake(query, &token);
    let good = "hub.mode=subscribe&hub.verify_token=our-verify-token&hub.challenge=1158201444";
    assert_eq!(ask(good).as_deref(), Ok("1158201444"));
    for bad in [
        good.replace("our-verify", "their-verify"),
        good.replace("subscribe", "unsubscribe"),
        good.replace("1158201444", "<script>"),
        good.replace("1158201444", ""),
        String::new(),
    ] {
        assert!(ask(&bad).is_err(), "{bad}");
    }
    assert_eq!(
        whatsapp::handshake("hub.mode=subscribe&hub.verify_token=", &"".into()),
        Err(Refused::WeakSecret)
    );
}

#[test]
fn each_event_is_let_through_once() {
    for Scheme { name, body, sign, verify } in schemes() {
        let mut guard = ReplayGuard::new(Duration::from_mins(10), 100);
        let id = verify(&body, &sign(CURRENT, &body, now()), &secrets()).unwrap();
        assert_eq!(guard.admit(&id, now()), Ok(()), "{name}");
        // The same again, signed anew and by the other secret: still the same event.
        let again = verify(&body, &sign(PREVIOUS, &body, now()), &secrets()).unwrap();
        assert_eq!(guard.admit(&again, now()), Err(Refused::Replayed), "{name}");
        assert_eq!(Refused::Replayed.status(), 200);
    }
}

#[test]
fn of_ten_deliveries_at_once_one_is_let_through() {
    for Scheme { name, body, sign, verify } in schemes() {
        let guard = std::sync::Mutex::new(ReplayGuard::new(Duration::from_mins(10), 100));
        let headers = sign(CURRENT, &body, now());
        let deliver = || {
            let id = verify(&body, &headers, &secrets()).unwrap();
            guard.lock().unwrap().admit(&id, now())
        };
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..10).map(|_| scope.spawn(deliver)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{name}");
        assert_eq!(results.iter().filter(|r| **r == Err(Refused::Replayed)).count(), 9, "{name}");
    }
}

/// Meta escapes what is beyond ASCII before it signs; the same document with the letters themselves is another body.
#[test]
fn a_body_with_escaped_letters_is_verified_as_it_came() {
    let [.., Scheme { sign, verify, .. }] = schemes();
    let escaped = WHATSAPP.replacen("account_update", r"caf\u00e9", 1);
    let written_again = escaped.replace(r"\u00e9", "\u{e9}");
    let headers = sign(CURRENT, escaped.as_bytes(), now());
    assert!(verify(escaped.as_bytes(), &headers, &secrets()).is_ok());
    assert_ne!(escaped, written_again);
    assert_eq!(verify(written_again.as_bytes(), &headers, &secrets()), Err(Refused::BadSignature));
}

#[test]
fn a_click_answers_the_gate_that_its_button_was_made_for() {
    use super::approval::{self, Approval, Button};
    let button = |choice: &str| Button {
        run: "20261123-0900-abcd".to_owned(),
        gate: "resume".to_owned(),
        binding: "0123456789ab".to_owned(),
        choice: choice.to_owned(),
    };
    let click = |kind: &str, actions: serde_json::Value| {
        let mut payload: serde_json::Value = serde_json::from_str(SLACK).unwrap();
        payload["type"] = kind.into();
        payload["actions"] = actions;
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("payload", &payload.to_string())
            .finish();
        let [_, Scheme { sign, .. }, _] = schemes();
        let headers = sign(CURRENT, body.as_bytes(), now());
        approval::read(&slack::verify(body.as_bytes(), &headers, now(), &secrets()).unwrap())
    };
    let yes = button("approve");
    let action = |id: &str, value: &str| serde_json::json!({ "action_id": id, "value": value });
    let ours = action(&yes.action_id(), &yes.value().unwrap());
    let expected = Approval { user: "U1".to_owned(), button: yes.clone() };
    assert_eq!(click("block_actions", serde_json::json!([ours])), Ok(Some(expected)));

    // Other people's buttons, and what is no click.
    assert_eq!(click("block_actions", serde_json::json!([action("approve", "opaque")])), Ok(None));
    assert_eq!(click("block_actions", serde_json::json!([action("allclear_approvals:x", "")])), Ok(None));
    assert_eq!(click("view_submission", serde_json::json!([ours])), Ok(None));

    let id = yes.action_id();
    for wrong in [
        serde_json::json!([ours, ours]),
        serde_json::json!([action(&id, "")]),
        serde_json::json!([action(&id, "run\ngate\nbinding")]),
        serde_json::json!([action(&id, "run\ngate\nbinding\napprove\nmore")]),
        serde_json::json!([action(&id, "run\n\nbinding\napprove")]),
        serde_json::json!([action(&id, &format!("{}\ng\nb\napprove", "r".repeat(2_000)))]),
        // One button's id with another one's value.
        serde_json::json!([action(&id, &button("abort").value().unwrap())]),
        serde_json::json!([{ "action_id": id }]),
    ] {
        assert!(matches!(click("block_actions", wrong.clone()), Err(Refused::Unreadable { .. })), "{wrong}");
    }
    assert_eq!(Button { gate: "a\nb".to_owned(), ..yes.clone() }.value(), None);
    assert_eq!(Button { run: "r".repeat(2_000), ..yes }.value(), None);
}

#[test]
fn the_guard_is_bounded_forgets_in_time_and_rather_refuses_than_forgets_early() {
    let window = Duration::from_mins(10);
    let mut guard = ReplayGuard::new(window, 3);
    for id in ["a", "b", "c"] {
        guard.admit(id, now()).unwrap();
    }
    assert_eq!(guard.admit("d", now()), Err(Refused::Busy));
    assert_eq!(guard.admit("a", now() + window), Err(Refused::Replayed));
    // A clock that was set back forgets nothing.
    assert_eq!(guard.admit("a", now() - window * 100), Err(Refused::Replayed));
    assert_eq!(guard.admit("d", now() + window + Duration::from_secs(1)), Ok(()));
    assert_eq!(guard.len(), 1);
    assert_eq!(guard.admit("a", now() + window + Duration::from_secs(1)), Ok(()));
}

fn runner(runs: u32) -> TestRunner {
    TestRunner::new(Config { cases: runs, failure_persistence: None, ..Config::default() })
}

#[test]
fn the_order_of_reports_makes_no_difference_and_a_failure_is_the_end() {
    let all = [MessageStatus::Sent, MessageStatus::Delivered, MessageStatus::Read, MessageStatus::Failed];
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
    let reports = proptest::collection::vec(proptest::sample::select(all.to_vec()), 1..12);
    let shuffled = reports.prop_flat_map(|reports| (Just(reports.clone()), Just(reports).prop_shuffle()));
    let check = |(one, other): (Vec<MessageStatus>, Vec<MessageStatus>)| {
        let known = |reports: &[MessageStatus]| reports[1..].iter().fold(reports[0], |s, r| s.after(*r));
        let status = known(&one);
        prop_assert_eq!(status, known(&other));
        prop_assert_eq!(status.is_final(), one.contains(&MessageStatus::Failed));
        prop_assert!(one.iter().all(|report| *report <= status && status.after(*report) == status));
        Ok(())
    };
    runner(5_000).run(&shuffled, check).unwrap();
}

/// Bytes that look enough like the real thing to come far.
fn almost() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static [u8]> = vec![
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"\"",
        b"\\u12",
        b"\\",
        b"null",
        b"1e999",
        b"-",
        b"payload=",
        b"%7B",
        b"%",
        b"&",
        b"event",
        b"\"id\"",
        b"statuses",
        b"\"errors\":[{\"code\":",
        b"v1=",
        b"sha256=",
        b"\xff\xfe",
        b"\0",
        PAGERDUTY.as_bytes(),
        WHATSAPP.as_bytes(),
    ];
    let word = prop_oneof![
        3 => proptest::sample::select(words).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(word, 0..8).prop_map(|words| words.concat())
}

/// Nobody has to sign for what comes before the signature is checked.
#[test]
fn no_unsigned_bytes_are_believed_and_none_cause_a_panic() {
    let (secrets, schemes) = (secrets(), schemes());
    let input = (almost(), almost());
    let check = |(body, header): (Vec<u8>, Vec<u8>)| {
        for Scheme { verify, .. } in &schemes {
            let Ok(value) = HeaderValue::from_bytes(&header) else { continue };
            let mut headers = HeaderMap::new();
            for name in [
                "x-pagerduty-signature",
                "x-hub-signature-256",
                "x-slack-signature",
                "x-slack-request-timestamp",
            ] {
                headers.insert(name, value.clone());
            }
            prop_assert!(verify(&body, &headers, &secrets).is_err());
        }
        let query = String::from_utf8_lossy(&body);
        prop_assert!(whatsapp::handshake(&query, &"our-verify-token".into()).is_err());
        Ok(())
    };
    runner(RUNS).run(&input, check).unwrap();
}

/// A sender whose secret leaked, or who sends nonsense, may be refused and may not bring us down.
#[test]
fn no_signed_bytes_cause_a_panic() {
    let (secrets, schemes) = (secrets(), schemes());
    let check = |body: Vec<u8>| {
        for Scheme { verify, sign, name, .. } in &schemes {
            let verified = verify(&body, &sign(CURRENT, &body, now()), &secrets);
            prop_assert_ne!(verified, Err(Refused::BadSignature), "{}", name);
        }
        Ok(())
    };
    runner(RUNS).run(&almost(), check).unwrap();
}
