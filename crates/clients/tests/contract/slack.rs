//! Slack's error words: each one that its method reference lists has a meaning.

use std::path::Path;
use std::sync::Arc;

use allclear_core::ports::{ChatMessage, Posted};
use allclear_core::{PortError, VirtualClock};
use allclear_sandbox::{Sandbox, WorldSpec};

use crate::front::{Front, Then, answer};
use crate::meaning::{self, Meaning};
use crate::{Check, platform, specs};

/// Words that mean more than that this request is refused.
const WORDS: &[(&str, Meaning)] = &[
    ("access_denied", Meaning::Permission),
    ("accesslimited", Meaning::Permission),
    ("account_inactive", Meaning::Credential),
    ("app_access_restricted", Meaning::Permission),
    ("ekm_access_denied", Meaning::Policy),
    ("enterprise_is_restricted", Meaning::Permission),
    ("fatal_error", Meaning::Unknown),
    ("internal_error", Meaning::Unknown),
    ("invalid_auth", Meaning::Credential),
    ("message_limit_exceeded", Meaning::Policy),
    ("missing_scope", Meaning::Permission),
    ("no_permission", Meaning::Permission),
    ("not_allowed_token_type", Meaning::Permission),
    ("not_authed", Meaning::Credential),
    ("org_login_required", Meaning::Credential),
    ("rate_limited", Meaning::RateLimited),
    ("ratelimited", Meaning::RateLimited),
    ("request_timeout", Meaning::Unknown),
    ("service_unavailable", Meaning::Unavailable),
    ("team_access_not_granted", Meaning::Permission),
    ("team_added_to_org", Meaning::Unavailable),
    ("token_expired", Meaning::Credential),
    ("token_revoked", Meaning::Credential),
    ("two_factor_setup_required", Meaning::Credential),
];

fn expected(word: &str, writes: bool) -> Meaning {
    match WORDS.iter().find(|(known, _)| *known == word) {
        // A read has no outcome that could be unknown: it may be made again.
        Some((_, Meaning::Unknown)) if !writes => Meaning::Unavailable,
        Some((_, meaning)) => *meaning,
        None => Meaning::Rejected,
    }
}

fn words(folder: &Path, method: &str) -> Vec<String> {
    let reference = specs::read(&folder.join(format!("slack-api-ref/{method}.json")));
    reference["errors"].as_object().into_iter().flatten().map(|(word, _)| word.clone()).collect()
}

/// Every listed word, for the write and for the read.
pub(crate) async fn every_error_word_has_a_meaning(folder: &Path) -> Check {
    let front = Front::start(Then::Answer(String::new())).await;
    let platform = platform(|endpoints| endpoints.slack.clone_from(&front.base));
    let message = ChatMessage {
        channel: "#ops".to_owned(),
        text: "hello".to_owned(),
        about: "campaign c".to_owned(),
        marker: "run-1/1".to_owned(),
    };
    let mut wrong = Vec::new();
    let thread = Posted { ts: "1.5".to_owned() };
    let methods =
        [("chat.postMessage", true), ("conversations.history", false), ("conversations.replies", false)];
    for (method, writes) in methods {
        let listed = words(folder, method);
        if listed.len() < 20 {
            return Err(format!("{method} lists only {} error words", listed.len()));
        }
        for word in listed {
            let body = format!(r#"{{"ok":false,"error":"{word}"}}"#);
            let json = [("content-type".to_owned(), "application/json; charset=utf-8".to_owned())];
            front.now(Then::Answer(answer(200, &json, &body)));
            let result = match method {
                "chat.postMessage" => platform.chat.post(&message).await.map(drop),
                "conversations.history" => platform.chat.find("C0OPS", "run-1/1").await.map(drop),
                _ => platform.chat.find_reply("C0OPS", &thread, "run-1/1").await.map(drop),
            };
            let (meant, should) = (meaning::of(&result), expected(&word, writes));
            let named = match &result {
                Err(PortError::Rejected { code, .. }) => code.as_deref() == Some(&word),
                Err(error) => error.to_string().contains(&word),
                Ok(()) => false,
            };
            let by_default = matches!(&result, Err(error) if error.to_string().contains("do not know"));
            if meant != should || !named || by_default {
                wrong.push(format!("{method} {word}: {meant:?}, and it should be {should:?} and say so"));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Arguments of a method that the reference knows, and those that it requires.
fn arguments(folder: &Path, method: &str) -> (Vec<String>, Vec<String>) {
    let reference = specs::read(&folder.join(format!("slack-api-ref/{method}.json")));
    let all = || reference["args"].as_object().into_iter().flatten();
    let required = all().filter(|(_, about)| about["required"] == true);
    (all().map(|(name, _)| name.clone()).collect(), required.map(|(name, _)| name.clone()).collect())
}

/// What the client asks is what the reference has arguments for, and what the sandbox refuses it refuses in listed words.
pub(crate) async fn the_sandbox_keeps_the_contract(folder: &Path) -> Check {
    let start = "2026-11-23T09:00:00Z".parse().map_err(|error| format!("{error}"))?;
    let clock = Arc::new(VirtualClock::at(start));
    let sandbox =
        Sandbox::start_virtual(WorldSpec::default(), clock).await.map_err(|error| error.to_string())?;
    let front = Front::start(Then::Forward { to: sandbox.base_url(), wanting: None }).await;
    let platform = platform(|endpoints| endpoints.slack = format!("{}/slack/api", front.base));
    let message = |channel: &str, text: &str| ChatMessage {
        channel: channel.to_owned(),
        text: text.to_owned(),
        about: "x".to_owned(),
        marker: "run-1/2".to_owned(),
    };
    let posted = platform.chat.post(&message("#ops", "hello")).await.map_err(|error| error.to_string())?;
    let reply =
        platform.chat.reply(&posted, &message("#ops", "more")).await.map_err(|error| error.to_string())?;
    let found =
        platform.chat.find_reply("#ops", &posted, "run-1/2").await.map_err(|error| error.to_string())?;
    if found != Some(posted.clone()) || platform.chat.find("#ops", "run-1/2").await != Ok(Some(reply)) {
        return Err("a message or its answer is not found again".to_owned());
    }
    let mut wrong = Vec::new();
    for (method, names) in front.arguments() {
        if method == "conversations.list" {
            // The reference that we have does not hold it.
            continue;
        }
        let (known, required) = arguments(folder, &method);
        wrong.extend(names.iter().filter(|n| !known.contains(n)).map(|n| format!("{method} has no {n}")));
        wrong.extend(required.iter().filter(|n| !names.contains(n)).map(|n| format!("{method} needs {n}")));
    }
    let nowhere = Posted { ts: "9.9".to_owned() };
    let refused = [
        ("chat.postMessage", platform.chat.post(&message("#nowhere", "x")).await.map(drop)),
        ("chat.postMessage", platform.chat.post(&message("#ops", "")).await.map(drop)),
        ("chat.postMessage", platform.chat.reply(&nowhere, &message("#ops", "x")).await.map(drop)),
        ("conversations.history", platform.chat.find("C0NOWHERE", "x").await.map(drop)),
        ("conversations.replies", platform.chat.find_reply("C0OPS", &nowhere, "x").await.map(drop)),
    ];
    for (method, result) in refused {
        match result {
            Err(PortError::Rejected { code: Some(word), .. }) if words(folder, method).contains(&word) => {}
            other => wrong.push(format!("{method}: {other:?} is no word of its reference")),
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}
