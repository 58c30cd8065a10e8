//! Slack's error words: each one that its method reference lists has a meaning.

use std::path::Path;

use allclear_core::PortError;
use allclear_core::ports::ChatMessage;

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
    for (method, writes) in [("chat.postMessage", true), ("conversations.history", false)] {
        let listed = words(folder, method);
        if listed.len() < 20 {
            return Err(format!("{method} lists only {} error words", listed.len()));
        }
        for word in listed {
            let body = format!(r#"{{"ok":false,"error":"{word}"}}"#);
            let json = [("content-type".to_owned(), "application/json; charset=utf-8".to_owned())];
            front.now(Then::Answer(answer(200, &json, &body)));
            let result = if writes {
                platform.chat.post(&message).await
            } else {
                platform.chat.find("#ops", "run-1/1").await.map(|found| found.expect("there was an answer"))
            };
            let (meant, should) = (meaning::of(&result), expected(&word, writes));
            let named = match &result {
                Err(PortError::Rejected { code, .. }) => code.as_deref() == Some(&word),
                Err(error) => error.to_string().contains(&word),
                Ok(_) => false,
            };
            if meant != should || !named {
                wrong.push(format!("{method} {word}: {meant:?}, and it should be {should:?} and say so"));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}
