//! Previews of vouchers: a real call, and the picture it points to.
//!
//! The status page's light for previews may be a year old, and `?force=true` is not read. This call reads request
//! headers before it asks the function, so it is never answered from a cache.

use std::sync::Arc;

use allclear_core::function::{Preview, PreviewFault, PreviewImage};
use allclear_core::ports::VoucherPreviews;
use allclear_core::{PortError, VoucherId};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::AdminApi;
use crate::hex::hex;
use crate::http::{Call, Http, Reply};

/// A picture of a voucher is far smaller; a larger one is not fetched.
const MOST_PIXELS: u64 = 16_000_000;

/// The client.
#[derive(Debug)]
pub struct Previews {
    admin: Arc<AdminApi>,
    /// Where pictures lie: the platform's storage, and nowhere else. It sends no credential, the link carries its own.
    storage: Http,
}

#[derive(Deserialize)]
struct Rendered {
    #[serde(rename = "imageUrl")]
    image_url: Option<String>,
}

impl Previews {
    pub(crate) fn new(admin: Arc<AdminApi>, storage: Http) -> Self {
        Self { admin, storage }
    }

    /// Fetches and decodes the picture. Its address comes from an answer, so it may name only our storage.
    async fn picture(
        &self,
        reply: &Reply,
        address: &str,
    ) -> Result<Result<PreviewImage, PreviewFault>, PortError> {
        let no_picture = |detail: &str| Ok(Err(PreviewFault::NoPicture { detail: detail.to_owned() }));
        let Some(path) = self.storage.path_here(address) else {
            return Err(reply.unusable("its picture lies on another host than the platform's storage"));
        };
        // A picture out of some cache on the way would show nothing of what lies there now.
        let picture = self.storage.send(Call::read_at(path).header("cache-control", "no-cache")).await?;
        // That storage is away, or wants fewer calls, says nothing about the picture.
        if picture.status == 429 || picture.status >= 500 {
            picture.expect_success()?;
        }
        if !picture.is_success() {
            return no_picture(&format!("fetching it answers HTTP {}", picture.status));
        }
        match decode(&picture.body) {
            Ok((width, height)) => {
                let (bytes, sha256) = (picture.body.len() as u64, hex(&Sha256::digest(&picture.body)));
                let made_at = picture.header("last-modified").and_then(written_at);
                Ok(Ok(PreviewImage { width, height, bytes, sha256, made_at }))
            }
            Err(detail) => no_picture(&detail),
        }
    }
}

/// Decodes a PNG to its last row; a header alone proves little.
fn decode(bytes: &[u8]) -> Result<(u32, u32), String> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
    let (width, height) = (reader.info().width, reader.info().height);
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(format!("it has {width} × {height} pixels"));
    }
    while reader.next_row().map_err(|error| error.to_string())?.is_some() {}
    Ok((width, height))
}

/// The time in a `Last-Modified` header.
fn written_at(header: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(header).ok().map(|at| at.timestamp())
}

/// What the platform says where the function has no message of its own, whatever its status: it names the setting that
/// would be missing.
const DEFAULT_WORDS: &str = "VOUCHER_PREVIEW_ENDPOINT";
/// What Node's `fetch` says of a way that is broken.
const BROKEN_WAY: [&str; 5] = ["fetch failed", "terminated", "socket hang up", "ECONNRE", "ENOTFOUND"];

/// What a failed preview means. The admin API gives no reason; it follows from the status and its words.
fn fault_of(status: u16, body: &Value, clean: impl Fn(&str) -> String) -> PreviewFault {
    let message = body["integration"]["message"].as_str().unwrap_or_default();
    let defaulted = message.contains(DEFAULT_WORDS);
    // The default words name a cause that a status other than 503 disproves.
    let says = || if defaulted { String::new() } else { clean(message) };
    match status {
        _ if body["status"] == "not_configured" => PreviewFault::NotConfigured,
        503 if defaulted || message.is_empty() => {
            PreviewFault::NotConfiguredOrSilent { says: clean(message) }
        }
        503 if message.contains("operation was aborted") => PreviewFault::Timeout { says: says() },
        503 if BROKEN_WAY.iter().any(|words| message.contains(words)) => {
            PreviewFault::Unreachable { says: says() }
        }
        401 | 403 => PreviewFault::CredentialRefused { status, says: says() },
        404 => PreviewFault::NotDeployed { says: says() },
        429 => PreviewFault::RateLimited { says: says() },
        400..=499 => PreviewFault::RequestRefused { status, says: says() },
        status => PreviewFault::HttpError { status, says: says() },
    }
}

#[async_trait]
impl VoucherPreviews for Previews {
    async fn preview(&self, voucher: VoucherId) -> Result<Preview, PortError> {
        let call = || Call::read("/api/vouchers/preview").posting(json!({ "voucherId": voucher }));
        let began = self.storage.now();
        let reply = self.admin.call(call).await?;
        let body = reply.json().unwrap_or_default();
        // Without an integration it is the admin API's own failure and says nothing about previews.
        if body["integration"].is_null() && body["status"].is_null() {
            reply.expect_success()?;
        }
        let says_degraded = body["integration"]["status"] == "degraded";
        if !reply.is_success() || says_degraded || body["status"] == "not_configured" {
            return Ok(Preview::Failed {
                fault: fault_of(reply.status, &body, |text| reply.clean(text)),
                says_degraded,
            });
        }
        // Nothing at all: a page instead of an answer would be another matter, and is an error of its own.
        if reply.body.trim_ascii().is_empty() || reply.body.trim_ascii() == b"null" {
            return Ok(Preview::Failed { fault: PreviewFault::EmptyAnswer, says_degraded });
        }
        let rendered: Rendered = reply.expect()?;
        let Some(address) = rendered.image_url else {
            return Ok(Preview::Failed { fault: PreviewFault::EmptyAnswer, says_degraded });
        };
        Ok(match self.picture(&reply, &address).await? {
            Ok(image) => {
                Preview::Rendered { image, took: self.storage.now().duration_since(began).unsigned_abs() }
            }
            Err(fault) => Preview::Failed { fault, says_degraded },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c9_the_reason_follows_from_status_and_words() {
        const DEFAULT: &str =
            "Voucher preview service not configured. Set VOUCHER_PREVIEW_ENDPOINT to enable previews.";
        let fault = |status, message: &str| {
            let body = json!({ "integration": { "status": "degraded", "message": message } });
            fault_of(status, &body, str::to_owned)
        };
        let says = |message: &str| message.to_owned();
        let none = String::new;
        assert_eq!(fault(503, DEFAULT), PreviewFault::NotConfiguredOrSilent { says: says(DEFAULT) });
        assert_eq!(fault(503, ""), PreviewFault::NotConfiguredOrSilent { says: none() });
        let aborted = "This operation was aborted";
        assert_eq!(fault(503, aborted), PreviewFault::Timeout { says: says(aborted) });
        for way in ["fetch failed", "terminated", "read ECONNRESET", "getaddrinfo ENOTFOUND functions"] {
            assert_eq!(fault(503, way), PreviewFault::Unreachable { says: says(way) });
        }
        let busy = "Service is temporarily unavailable";
        assert_eq!(fault(503, busy), PreviewFault::HttpError { status: 503, says: says(busy) });
        let missing = "Requested function was not found";
        assert_eq!(fault(404, missing), PreviewFault::NotDeployed { says: says(missing) });
        for status in [401, 403] {
            let refused = PreviewFault::CredentialRefused { status, says: says("Invalid JWT") };
            assert_eq!(fault(status, "Invalid JWT"), refused);
        }
        for status in [400, 409, 413, 422] {
            let refused = PreviewFault::RequestRefused { status, says: says("amount is missing") };
            assert_eq!(fault(status, "amount is missing"), refused);
        }
        assert_eq!(fault(429, "slow down"), PreviewFault::RateLimited { says: says("slow down") });
        // The default words come with every status of a function that says nothing, and name the wrong cause there.
        for status in [500, 502, 504, 546] {
            assert_eq!(fault(status, DEFAULT), PreviewFault::HttpError { status, says: none() });
        }
        assert_eq!(fault(401, DEFAULT), PreviewFault::CredentialRefused { status: 401, says: none() });
        let early = json!({ "status": "not_configured" });
        assert_eq!(fault_of(200, &early, str::to_owned), PreviewFault::NotConfigured);
    }

    #[test]
    fn the_time_of_a_picture_is_the_storages() {
        let at = "2026-11-23T07:00:05Z".parse().ok();
        assert_eq!(written_at("Mon, 23 Nov 2026 07:00:05 GMT"), at);
        assert_eq!(written_at("yesterday"), None);
    }

    #[test]
    fn a_page_or_half_a_picture_is_no_picture() {
        assert!(decode(b"<!DOCTYPE html><html></html>").is_err());
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 40, 30);
        encoder.set_color(png::ColorType::Grayscale);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[7; 1_200]).unwrap();
        writer.finish().unwrap();
        assert_eq!(decode(&bytes), Ok((40, 30)));
        assert!(decode(&bytes[..bytes.len() / 2]).is_err(), "a cut file must not pass by its header");
    }
}
