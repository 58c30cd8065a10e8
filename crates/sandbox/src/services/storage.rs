//! File storage: the pictures that previews point to.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use serde_json::json;
use uuid::Uuid;

use super::answer;
use crate::server::Shared;

pub(crate) fn routes() -> Router<Shared> {
    Router::new().route("/supabase/storage/v1/object/sign/vouchers/{file}", get(picture))
}

async fn picture(State(shared): State<Shared>, Path(file): Path<String>) -> Response {
    let world = shared.world();
    let id = file.strip_suffix(".png").and_then(|id| id.parse::<Uuid>().ok());
    let Some(voucher) = id.and_then(|id| world.vouchers.iter().find(|voucher| voucher.id == id)) else {
        return answer(
            400,
            json!({ "statusCode": "404", "error": "not_found", "message": "Object not found" }),
        );
    };
    if !world.previews_are_pictures() {
        return Html("<!DOCTYPE html><html><body>Internal error</body></html>").into_response();
    }
    match draw(voucher.id) {
        Ok(bytes) => {
            let made = world.pictures.get(&voucher.id).copied().unwrap_or(voucher.issued_at);
            let made = made.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            let headers = [(header::CONTENT_TYPE, "image/png".to_owned()), (header::LAST_MODIFIED, made)];
            (headers, bytes).into_response()
        }
        Err(error) => answer(500, json!({ "message": error.to_string() })),
    }
}

/// A picture of its own for each voucher: stripes made of its id.
fn draw(voucher: Uuid) -> Result<Vec<u8>, png::EncodingError> {
    const WIDTH: u32 = 160;
    const HEIGHT: u32 = 96;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, WIDTH, HEIGHT);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let row: Vec<u8> = (0..WIDTH as usize).map(|x| voucher.as_bytes()[x / 10]).collect();
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&row.repeat(HEIGHT as usize))?;
    writer.finish()?;
    Ok(bytes)
}
