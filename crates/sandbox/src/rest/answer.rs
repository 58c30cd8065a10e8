//! What a request wants of its answer (`Prefer`, `Accept`), and the answer: a list, one object, or CSV.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::query::{Cell, Query, RestError, Row, look_up};

/// What becomes of a row that is there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Duplicates {
    /// The insert fails.
    #[default]
    Refused,
    /// It is left as it is, and is not in the answer.
    Ignored,
    /// It takes over what is given.
    Merged,
}

/// What the `Prefer` header asks for.
#[derive(Debug, Default)]
pub(super) struct Prefer {
    /// Exact, planned or estimated: a world knows how many rows it has, so all three say the same.
    pub(super) count: bool,
    pub(super) representation: bool,
    pub(super) strict: bool,
    pub(super) max_affected: Option<usize>,
    pub(super) duplicates: Duplicates,
    applied: Vec<String>,
    unknown: Vec<String>,
}

impl Prefer {
    pub(super) fn parse(headers: &HeaderMap) -> Result<Self, RestError> {
        let mut prefer = Self::default();
        let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        for item in values.flat_map(|value| value.split(',')).map(str::trim).filter(|item| !item.is_empty()) {
            prefer.take(item);
        }
        if prefer.strict && !prefer.unknown.is_empty() {
            let details = format!("Invalid preferences: {}", prefer.unknown.join(", "));
            let message = "Invalid preferences given with handling=strict";
            return Err(RestError::new(400, "PGRST122", message).because(details));
        }
        if !prefer.strict {
            // Then it is not kept to, and nothing says that it were.
            prefer.applied.retain(|item| !item.starts_with("max-affected="));
        }
        Ok(prefer)
    }

    fn take(&mut self, item: &str) {
        match item {
            "count=exact" | "count=planned" | "count=estimated" => self.count = true,
            "return=representation" => self.representation = true,
            "handling=strict" => self.strict = true,
            "resolution=ignore-duplicates" => self.duplicates = Duplicates::Ignored,
            "resolution=merge-duplicates" => self.duplicates = Duplicates::Merged,
            "return=minimal" | "return=headers-only" => {}
            other => match other.strip_prefix("max-affected=") {
                Some(number) => self.max_affected = number.parse().ok(),
                None => return self.unknown.push(item.to_owned()),
            },
        }
        self.applied.push(item.to_owned());
    }

    /// Refuses a change of more rows than the request allows.
    pub(super) fn check_affected(&self, rows: usize) -> Result<(), RestError> {
        if self.strict && self.max_affected.is_some_and(|most| rows > most) {
            let message = "Query result exceeds max-affected preference constraint";
            let details = format!("The query affects {rows} rows");
            return Err(RestError::new(400, "PGRST124", message).because(details));
        }
        Ok(())
    }
}

/// In which form rows come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    List,
    /// One object, and anything but one row is refused: `.single()` of the official client.
    One,
    Csv,
}

impl Form {
    fn accepted(headers: &HeaderMap) -> Result<Self, RestError> {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
        let forms = accept.split(',').filter_map(|kind| match kind.split(';').next()?.trim() {
            "*/*" | "application/*" | "application/json" | "application/vnd.pgrst.array+json" => {
                Some(Self::List)
            }
            "application/vnd.pgrst.object+json" | "application/vnd.pgrst.object" => Some(Self::One),
            "text/csv" => Some(Self::Csv),
            _ => None,
        });
        let message = || format!("None of these media types are available: {accept}");
        forms.into_iter().next().ok_or_else(|| RestError::new(406, "PGRST107", message()))
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::List => "application/json; charset=utf-8",
            Self::One => "application/vnd.pgrst.object+json; charset=utf-8",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }
}

/// What a request asks for beside its method and body.
pub(super) struct Asked {
    pub(super) query: Query,
    pub(super) prefer: Prefer,
    form: Form,
}

impl Asked {
    pub(super) fn parse(query: &str, headers: &HeaderMap) -> Result<Self, RestError> {
        Ok(Self {
            query: Query::parse(query)?,
            prefer: Prefer::parse(headers)?,
            form: Form::accepted(headers)?,
        })
    }

    /// Refuses anything but one row where one object was asked for. To be asked before anything is changed.
    pub(super) fn check_single(&self, rows: usize) -> Result<(), RestError> {
        if self.form != Form::One || rows == 1 {
            return Ok(());
        }
        let message = "Cannot coerce the result to a single JSON object";
        Err(RestError::new(406, "PGRST116", message).because(format!("The result contains {rows} rows")))
    }

    /// Rows, in the form that was asked for.
    pub(super) fn rows<R: Row>(&self, status: StatusCode, rows: &[&R], range: &str) -> Response {
        let rendered = || rows.iter().map(|row| self.query.render(*row));
        let body = match self.form {
            Form::List => Value::Array(rendered().collect()).to_string(),
            Form::One => rendered().next().unwrap_or(Value::Null).to_string(),
            Form::Csv => csv(&self.query, rows),
        };
        let mut answer = self.nothing(status, range);
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(self.form.content_type()));
        *answer.body_mut() = body.into();
        answer
    }

    /// No rows, only what is said of them.
    pub(super) fn nothing(&self, status: StatusCode, range: &str) -> Response {
        let mut answer = status.into_response();
        let applied = self.prefer.applied.join(", ");
        for (name, value) in [("content-range", range), ("preference-applied", &applied)] {
            if let Some(value) = HeaderValue::from_str(value).ok().filter(|value| !value.is_empty()) {
                answer.headers_mut().insert(name, value);
            }
        }
        answer
    }

    /// `Content-Range`: the places of the rows that are meant, and how many there are where that was asked for.
    pub(super) fn range(&self, from: usize, rows: usize, total: usize) -> String {
        let total = if self.prefer.count { total.to_string() } else { "*".to_owned() };
        match rows {
            0 => format!("*/{total}"),
            rows => format!("{from}-{}/{total}", from + rows - 1),
        }
    }
}

/// A header and lines as Postgres writes a row: nothing for a null, quotes for whatever is not plain. Without rows there is no
/// header either.
fn csv<R: Row>(query: &Query, rows: &[&R]) -> String {
    let columns = query.selected::<R>();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).filter(|_| !rows.is_empty()).collect();
    let line = |row: &&R| {
        let cells: Vec<String> = columns.iter().map(|(_, path)| quoted(&look_up(*row, path))).collect();
        cells.join(",")
    };
    let lines: Vec<String> = rows.iter().map(line).collect();
    format!("{}\n{}", names.join(","), lines.join("\n"))
}

fn quoted(cell: &Cell<'_>) -> String {
    let text = cell.to_text();
    let is_plain = |one: char| !one.is_whitespace() && !"\"\\(),".contains(one);
    if *cell == Cell::Null || (!text.is_empty() && text.chars().all(is_plain)) {
        return text;
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\"\""))
}

/// A refusal, as PostgREST words it.
pub(super) fn refused(error: &RestError) -> Response {
    let status = StatusCode::from_u16(error.http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body =
        json!({ "code": error.code, "message": error.message, "details": error.details, "hint": error.hint });
    (status, [(header::CONTENT_TYPE, Form::List.content_type())], body.to_string()).into_response()
}

/// The answer where the first row that is asked for is none of those that there are.
pub(super) fn beyond(offset: usize, total: usize) -> Response {
    let details = format!("An offset of {offset} was requested, but there are only {total} rows.");
    let error = RestError::new(416, "PGRST103", "Requested range not satisfiable").because(details);
    let mut answer = refused(&error);
    if let Ok(range) = HeaderValue::from_str(&format!("*/{total}")) {
        answer.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    answer
}
