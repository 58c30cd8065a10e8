//! The account's message templates.

use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use super::{answer, no_object, refusal, refused_because};
use crate::server::Shared;
use crate::services::header_text;

struct Template {
    id: &'static str,
    name: &'static str,
    category: &'static str,
    /// With a parameter for each pair of braces.
    body: &'static str,
    example: &'static [&'static str],
}

const LANGUAGE: &str = "en";
const TEMPLATES: [Template; 2] = [
    Template {
        id: "300000000000001",
        name: "voucher_ready",
        category: "UTILITY",
        body: "Hello {{1}}, your voucher of {{2}} RWF is ready.",
        example: &["Alice", "5,000"],
    },
    Template {
        id: "300000000000002",
        name: "weekend_offer",
        category: "MARKETING",
        body: "Hello {{1}}, fill up this weekend and keep {{2}} RWF.",
        example: &["Alice", "500"],
    },
];

impl Template {
    fn shown(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "language": LANGUAGE, "status": "APPROVED", "category": self.category,
            "parameter_format": "POSITIONAL",
            "components": [{ "type": "BODY", "text": self.body, "example": { "body_text": [self.example] } }],
        })
    }
}

pub(super) async fn list(
    State(shared): State<Shared>,
    Path((version, id)): Path<(String, String)>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    if let Some(refused) = refusal(&shared.world(), &version, &headers) {
        return refused;
    }
    if id != crate::BUSINESS_ACCOUNT_ID {
        return no_object(&id);
    }
    let query = query.unwrap_or_default();
    let mut shown: Vec<Value> = TEMPLATES.iter().map(Template::shown).collect();
    let (mut from, mut limit) = (0, 25);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let is_one = |row: &Value, field: &str| value.split(',').any(|one| row[field] == one);
        match name.as_ref() {
            "status" | "category" | "language" => shown.retain(|row| is_one(row, &name)),
            // A part of the name is enough.
            "name" => {
                shown.retain(|row| row["name"].as_str().is_some_and(|name| name.contains(value.as_ref())));
            }
            "limit" => limit = value.parse().unwrap_or(limit),
            "after" => from = value.parse().unwrap_or(from),
            _ => {}
        }
    }
    let total = shown.len();
    let page: Vec<Value> = shown.into_iter().skip(from).take(limit).collect();
    let end = from + page.len();
    let mut paging = json!({ "cursors": { "before": from.to_string(), "after": end.to_string() } });
    if end < total {
        let host = header_text(&headers, "host");
        paging["next"] = json!(format!("http://{host}/graph/{version}/{id}/message_templates?after={end}"));
    }
    let summary = json!({
        "total_count": total, "message_template_count": total, "message_template_limit": 250,
        "are_translations_complete": true,
    });
    answer(200, json!({ "data": page, "paging": paging, "summary": summary }))
}

/// What is wrong with a message made of a template.
pub(super) fn fault(content: &Value) -> Option<Response> {
    let name = content["name"].as_str().unwrap_or_default();
    let language = content["language"]["code"].as_str().unwrap_or_default();
    let known = TEMPLATES.iter().find(|one| one.name == name && language == LANGUAGE);
    let Some(template) = known else {
        let message = "(#132001) Template name does not exist in the translation";
        let details = format!("template name ({name}) does not exist in {language}");
        return Some(refused_because(404, 132_001, message, &details));
    };
    let of_body =
        |component: &&Value| component["type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("body"));
    let body = content["components"].as_array().into_iter().flatten().find(of_body);
    let given = body.and_then(|body| body["parameters"].as_array()).map_or(0, Vec::len);
    let wanted = template.example.len();
    (given != wanted).then(|| {
        let message = "(#132000) Number of parameters does not match the expected number of params";
        let details = format!("body: number of localizable_params ({given}) does not match the expected number of params ({wanted})");
        refused_because(400, 132_000, message, &details)
    })
}
