//! Bodies: rows whose keys are columns and whose values are of their columns' types. What is neither is refused; nothing is
//! dropped silently.

use axum::http::{HeaderMap, header};
use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::kind::{Kind, time};
use super::query::{Query, RestError, Row};

/// What a body gives for one row.
pub(super) struct Given {
    table: &'static str,
    values: Map<String, Value>,
}

impl Given {
    /// The rows of a body, one or a list of them.
    pub(super) fn rows<R: Row>(
        query: &Query,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Vec<Self>, RestError> {
        check_type(headers)?;
        let bad = |message: &str| RestError::new(400, "PGRST102", message);
        let body = serde_json::from_slice(body).map_err(|_| bad("Empty or invalid json"))?;
        let objects = match body {
            Value::Array(rows) => rows,
            object => vec![object],
        };
        let mut rows: Vec<Self> = Vec::new();
        for object in objects {
            let Value::Object(values) = object else { return Err(bad("All object keys must match")) };
            let alike = rows.first().is_none_or(|first| first.values.keys().eq(values.keys()));
            if !alike && query.columns.is_none() {
                return Err(bad("All object keys must match"));
            }
            rows.push(Self { table: R::TABLE, values });
        }
        rows.iter_mut().try_for_each(|row| row.check::<R>(query.columns.as_deref()))?;
        Ok(rows)
    }

    /// Keeps what counts, and refuses what is no column or no value of one.
    fn check<R: Row>(&mut self, columns: Option<&[String]>) -> Result<(), RestError> {
        if let Some(columns) = columns {
            columns.iter().try_for_each(|column| kind_of::<R>(column).map(drop))?;
            self.values.retain(|name, _| columns.contains(name));
        }
        for (name, value) in &self.values {
            let kind = kind_of::<R>(name)?;
            match value {
                Value::Null => {}
                Value::String(text) => kind.check(text)?,
                _ if kind == Kind::Text || kind == Kind::Json => {}
                other => kind.check(&other.to_string())?,
            }
        }
        Ok(())
    }

    /// Each with the row that is made of it.
    pub(super) fn each<R>(
        given: Vec<Self>,
        mut make: impl FnMut(&Self) -> Result<R, RestError>,
    ) -> Result<Vec<(Self, R)>, RestError> {
        given.into_iter().map(|given| make(&given).map(|row| (given, row))).collect()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// `None` for a null, and for what is not given.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.values.get(name)? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    pub(super) fn required(&self, name: &'static str) -> Result<String, RestError> {
        self.text(name).ok_or_else(|| self.missing(name))
    }

    pub(super) fn missing(&self, name: &str) -> RestError {
        let message = format!(
            "null value in column \"{name}\" of relation \"{}\" violates not-null constraint",
            self.table
        );
        RestError::new(400, "23502", message)
    }

    pub(super) fn uuid(&self, name: &str) -> Option<Uuid> {
        self.text(name)?.parse().ok()
    }

    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    pub(super) fn time(&self, name: &str) -> Option<Timestamp> {
        time(&self.text(name)?).ok()
    }

    pub(super) fn json(&self, name: &str) -> Value {
        self.values.get(name).cloned().unwrap_or_default()
    }

    /// Digits of a phone number. The world keeps numbers as numbers, so it takes no others.
    pub(super) fn digits(&self, name: &'static str) -> Result<u64, RestError> {
        let text = self.required(name)?;
        text.trim_start_matches('+')
            .parse()
            .map_err(|_| self.violates(&format!("{}_{name}_check", self.table)))
    }

    pub(super) fn violates(&self, constraint: &str) -> RestError {
        let message =
            format!("new row for relation \"{}\" violates check constraint \"{constraint}\"", self.table);
        RestError::new(400, "23514", message)
    }

    /// Columns that this world cannot change are refused, loudly.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), RestError> {
        match self.names().find(|name| !known.contains(name)) {
            Some(_) => {
                Err(RestError::new(403, "42501", format!("permission denied for table {}", self.table)))
            }
            None => Ok(()),
        }
    }
}

fn kind_of<R: Row>(name: &str) -> Result<Kind, RestError> {
    let column = R::COLUMNS.iter().find(|(column, _)| *column == name);
    column.map(|(_, kind)| *kind).ok_or_else(|| {
        let message = format!("Could not find the '{name}' column of '{}' in the schema cache", R::TABLE);
        RestError::new(400, "PGRST204", message)
    })
}

fn check_type(headers: &HeaderMap) -> Result<(), RestError> {
    let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return Ok(());
    };
    if kind.starts_with("application/json") {
        return Ok(());
    }
    Err(RestError::new(400, "PGRST102", format!("Content-Type not acceptable: {kind}")))
}
