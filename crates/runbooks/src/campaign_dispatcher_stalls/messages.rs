//! The words we send to others.

use allclear_core::incident::Severity;
use allclear_core::ports::{ChatMessage, Page};

use super::detect::CampaignLook;
use crate::effects::Paused;

fn names(campaigns: &[CampaignLook]) -> String {
    campaigns.iter().map(|look| look.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The dispatcher sends and nobody sees it.
pub(super) fn silent_targets(campaigns: &str) -> String {
    format!(
        "the dispatcher is active and targets are not updated ({campaigns}): messages go out and campaign_targets does not show them; \
no replay cures that, and a start could send twice"
    )
}

/// The same messages go out again and again.
pub(super) fn repeating(campaigns: &str) -> String {
    format!(
        "people get the same message again ({campaigns}): messages go out and their rows of send_queue go on waiting; pause these \
campaigns and mark what has gone out as SENT"
    )
}

/// Messages left the queue, and nothing shows that they went out.
pub(super) fn lost_sight(campaigns: &str) -> String {
    format!(
        "what was due is due no more, and neither the send log nor campaign_targets shows that it went out ({campaigns}): \
look who took it out of the queue"
    )
}

/// The alert for engineering.
pub(super) fn page(run: &str, why: &str, campaigns: &[CampaignLook]) -> Page {
    let lines: Vec<String> = campaigns
        .iter()
        .map(|look| format!("{}: {}; queue {}", look.name, look.progress, look.depth))
        .collect();
    Page {
        dedup_key: format!("campaign-dispatcher-stalls/{run}/{why}"),
        summary: format!(
            "The campaign dispatcher is {}; campaigns stay paused: {}",
            why.replace('-', " "),
            names(campaigns)
        ),
        severity: Severity::Critical,
        source: "allclear".to_owned(),
        details: format!("{}\nRun {run}.", lines.join("\n")),
    }
}

/// The line for the operations channel.
pub(super) fn chat(
    channel: &str,
    run: &str,
    why: &str,
    campaigns: &[CampaignLook],
    paged: bool,
) -> ChatMessage {
    let paged = if paged { "Engineering was paged." } else { "Engineering could not be paged: tell them." };
    ChatMessage {
        channel: channel.to_owned(),
        text: format!(
            "The campaign dispatcher is {}. These campaigns stay paused: {}. {paged} Run {run}.",
            why.replace('-', " "),
            names(campaigns)
        ),
        about: why.to_owned(),
        marker: format!("campaign-dispatcher-stalls/{run}/{why}"),
    }
}

/// The incident that stays open while a campaign counts as done.
pub(super) fn stopped(run: &str, paused: &Paused) -> Page {
    Page {
        dedup_key: format!("campaign-dispatcher-stalls/{run}/stopped/{}", paused.campaign),
        summary: format!(
            "Campaign {} is stopped and about to be started again; if this stays open, start it",
            paused.name
        ),
        severity: Severity::Critical,
        source: "allclear".to_owned(),
        details: format!(
            "Run {run} stopped campaign {} to replay it. Take it up with: allclear resume {run}",
            paused.campaign
        ),
    }
}
