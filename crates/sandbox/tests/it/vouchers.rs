//! Vouchers: the rules of the table, and previews as the platform passes them on.

use allclear_sandbox::{FaultSet, PreviewAnswer, Profile, Scenario, WorldSpec};
use reqwest::Method;
use serde_json::{Value, json};

use super::{InBox, spec};

async fn first_voucher(world: &InBox) -> Value {
    world.rows("vouchers?select=*&order=id&limit=1").await.remove(0)
}

#[tokio::test]
async fn a_scope_points_to_a_station_in_inserts_and_changes() {
    let world = InBox::healthy().await;
    let voucher = first_voucher(&world).await;
    let petrol = world.rows("petrol_stations?select=id&limit=1").await[0]["id"].clone();
    let station = world.rows("stations?select=id&limit=1").await[0]["id"].clone();
    let path = format!("vouchers?id=eq.{}", voucher["id"].as_str().unwrap());
    let change = |scope: &Value| Some(json!({ "station_scope": scope }));
    let refused = world.rest(Method::PATCH, &path, "", change(&petrol)).await;
    assert_eq!(refused.status(), 409);
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "23503");
    assert_eq!(world.rest(Method::PATCH, &path, "", change(&station)).await.status(), 204);
    let insert = |scope: &Value, code: &str| {
        Some(json!({
            "code5": code, "amount_minor": 2000, "whatsapp_e164": "+250788000001", "policy_number": "P",
            "qr_payload": "x", "station_scope": scope, "expires_at": "2026-12-01T00:00:00Z",
        }))
    };
    let refused = world.rest(Method::POST, "vouchers", "", insert(&petrol, "ZZZZ1")).await;
    assert_eq!(refused.status(), 409);
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "23503");
    assert_eq!(world.rest(Method::POST, "vouchers", "", insert(&station, "ZZZZ2")).await.status(), 201);
    let stored = world.rows("vouchers?code5=eq.ZZZZ2&select=station_scope,expires_at").await.remove(0);
    assert_eq!(stored["station_scope"], station);
    assert!(stored["expires_at"].as_str().unwrap().starts_with("2026-12-01T00:00:00"), "{stored}");
}

#[tokio::test]
async fn previews_fail_in_the_platforms_own_words() {
    let default = "Voucher preview service not configured. Set VOUCHER_PREVIEW_ENDPOINT to enable previews.";
    let answers = [
        (PreviewAnswer::Reset, 503, "fetch failed"),
        (PreviewAnswer::Silent, 503, default),
        (PreviewAnswer::KeyRefused, 401, "Invalid JWT"),
        (PreviewAnswer::RequestRefused, 400, "amount must be a positive number"),
        (PreviewAnswer::TooMany, 429, "Too many requests"),
        (PreviewAnswer::Failing, 500, default),
    ];
    let preview = async |scenario| {
        let spec = WorldSpec { profile: Profile::AsIs, ..spec(scenario, FaultSet::of(Profile::AsIs)) };
        let world = InBox::of(spec).await;
        let id = first_voucher(&world).await["id"].clone();
        let answer = world.admin("/api/vouchers/preview", json!({ "voucherId": id })).await;
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    for (how, status, message) in answers {
        let (told, body) = preview(Scenario::PreviewAnswers { how, minutes: 3 }).await;
        assert_eq!(told, status, "{how:?}: {body}");
        let expected = json!({ "target": "voucher_preview", "status": "degraded", "message": message });
        assert_eq!(body["integration"], expected, "{how:?}");
    }
    let unconfigured = preview(Scenario::PreviewNotConfigured { minutes: 3 }).await;
    let silent = preview(Scenario::PreviewAnswers { how: PreviewAnswer::Silent, minutes: 3 }).await;
    assert_eq!(unconfigured, silent, "nothing tells one from the other");
    let (status, empty) = preview(Scenario::PreviewAnswers { how: PreviewAnswer::Empty, minutes: 3 }).await;
    assert_eq!(
        (status, &empty["imageUrl"], &empty["integration"]["status"]),
        (200, &Value::Null, &json!("ok"))
    );
}
