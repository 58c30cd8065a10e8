//! Previews of vouchers: a real call, and the picture it points to.
//!
//! The status page's light for previews may be a year old, and `?force=true` is not read. This call reads request
//! headers before it asks the function, so it is never answered from a cache.

use std::sync::Arc;

use allclear_core::function::{Preview, PreviewFault, PreviewImage};
use allclear_core::ports::VoucherPreviews;
use allclear_core::{PortError, VoucherId};
use async_trait::async_trait;
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
        let picture = self.storage.send(Call::read_at(path)).await?;
        if !picture.is_success() {
            return no_picture(&format!("fetching it answers HTTP {}", picture.status));
        }
        match decode(&picture.body) {
            Ok((width, height)) => {
                let sha256 = hex(&Sha256::digest(&picture.body));
                Ok(Ok(PreviewImage { width, height, bytes: picture.body.len() as u64, sha256 }))
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

/// What a failed preview means. The admin API gives no reason; it follows from the status and its default words.
fn fault_of(status: u16, body: &Value) -> PreviewFault {
    let message = body["integration"]["message"].as_str().unwrap_or_default();
    let early = body["status"] == "not_configured";
    match status {
        503 if message.starts_with("Configure ") => PreviewFault::NotConfigured,
        _ if early => PreviewFault::NotConfigured,
        503 if message.contains("operation was aborted") => PreviewFault::Timeout,
        404 => PreviewFault::NotDeployed,
        status => PreviewFault::HttpError { status },
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
            return Ok(Preview::Failed { fault: fault_of(reply.status, &body), says_degraded });
        }
        let rendered: Rendered = reply.expect()?;
        let Some(address) = rendered.image_url else {
            let fault = PreviewFault::NoPicture { detail: "the answer points to none".to_owned() };
            return Ok(Preview::Failed { fault, says_degraded });
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
    fn the_reason_follows_from_status_and_words() {
        let said = |message: &str| json!({ "integration": { "status": "degraded", "message": message } });
        let cases = [
            (
                503,
                "Configure VOUCHER_PREVIEW_ENDPOINT to enable voucher previews.",
                PreviewFault::NotConfigured,
            ),
            (503, "This operation was aborted", PreviewFault::Timeout),
            (404, "Requested function was not found", PreviewFault::NotDeployed),
            (500, "render failed", PreviewFault::HttpError { status: 500 }),
            (503, "Service is temporarily unavailable", PreviewFault::HttpError { status: 503 }),
        ];
        for (status, message, fault) in cases {
            assert_eq!(fault_of(status, &said(message)), fault, "{status} {message}");
        }
        assert_eq!(fault_of(200, &json!({ "status": "not_configured" })), PreviewFault::NotConfigured);
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
