//! PostgREST's reads, as far as the smoke tests need them: `select` and `column=eq.value`.

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::{Staging, refused};
use crate::services::{answer, has_bearer};

pub(super) async fn rows(
    State(staging): State<Staging>,
    headers: HeaderMap,
    Path(table): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    if !has_bearer(&headers, crate::SERVICE_KEY) {
        return answer(401, json!({ "code": "PGRST301", "message": "JWSError JWSInvalidSignature" }));
    }
    let Some((sql, values)) = statement(&table, &query.unwrap_or_default()) else {
        return answer(400, json!({ "code": "PGRST100", "message": "failed to parse the query" }));
    };
    let values: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> =
        values.iter().map(|value| value as &(dyn tokio_postgres::types::ToSql + Sync)).collect();
    let read = async {
        let client = staging.connect().await?;
        client.query_one(&sql, &values).await?.try_get::<_, String>(0)
    };
    match read.await {
        Ok(rows) => ([(header::CONTENT_TYPE, "application/json")], rows).into_response(),
        Err(error) => refused(&error),
    }
}

/// The statement and its values; `None` where the query is none that we know.
fn statement(table: &str, query: &str) -> Option<(String, Vec<String>)> {
    let (mut columns, mut conditions, mut values) = ("*".to_owned(), Vec::new(), Vec::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name == "select" {
            value.split(',').all(is_name).then_some(())?;
            columns = value.into_owned();
            continue;
        }
        let wanted = value.strip_prefix("eq.").filter(|_| is_name(&name))?;
        values.push(wanted.to_owned());
        conditions.push(format!("{name}::text = ${}", values.len()));
    }
    is_name(table).then_some(())?;
    let condition = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" and ") };
    let sql = format!(
        "select coalesce(json_agg(row_to_json(t)), '[]')::text from (select {columns} from {table} where {condition}) t"
    );
    Some((sql, values))
}

/// Names go into the statement as they are, so they hold nothing but what a name may.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_becomes_a_statement_and_nothing_else_gets_in() {
        let (sql, values) = statement("vouchers", "select=id,status&id=eq.a%20b").unwrap();
        assert!(sql.contains("select id,status from vouchers where id::text = $1"), "{sql}");
        assert_eq!(values, ["a b"]);
        for bad in ["id;drop=eq.1", "select=id;drop", "id=gt.1", "order=id"] {
            assert!(statement("vouchers", bad).is_none(), "{bad}");
        }
        assert!(statement("vouchers; drop table x", "").is_none());
    }
}
