//! The query language of PostgREST, the slice that is used: filters, select, order, limit and offset.

use std::borrow::Cow;
use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

/// A value in a row's column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Text(Cow<'a, str>),
    Int(i64),
    /// A numeric with two decimals.
    Hundredths(i64),
    Time(Timestamp),
    Id(Uuid),
    Json(&'a Value),
}

impl<'a> Cell<'a> {
    pub(crate) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn maybe(cell: Option<Self>) -> Self {
        cell.unwrap_or(Self::Null)
    }

    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Text(text) => json!(text),
            Self::Int(number) => json!(number),
            // PostgREST writes a numeric as a JSON number, trailing zeros included.
            Self::Hundredths(n) => {
                serde_json::from_str(&format!("{}.{:02}", n / 100, n % 100)).unwrap_or_default()
            }
            Self::Time(at) => json!(format!("{at:.6}")),
            Self::Id(id) => json!(id),
            Self::Json(value) => (*value).clone(),
        }
    }

    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            // As in Postgres: nulls last.
            (Self::Null, _) => Ordering::Greater,
            (_, Self::Null) => Ordering::Less,
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Time(a), Self::Time(b)) => a.cmp(b),
            (Self::Id(a), Self::Id(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.to_json().to_string().cmp(&other.to_json().to_string()),
        }
    }
}

/// A table's row.
pub(crate) trait Row {
    const COLUMNS: &'static [&'static str];
    fn cell(&self, column: &str) -> Option<Cell<'_>>;
}

/// A column, or what lies in its JSON under a key (`metadata->>held_by`).
pub(crate) fn look_up<'a>(row: &'a impl Row, path: &str) -> Cell<'a> {
    let Some((column, key)) = path.split_once("->>") else { return row.cell(path).unwrap_or(Cell::Null) };
    match row.cell(column) {
        Some(Cell::Json(value)) => match &value[key] {
            Value::Null => Cell::Null,
            Value::String(text) => Cell::text(text.as_str()),
            other => Cell::text(other.to_string()),
        },
        _ => Cell::Null,
    }
}

/// `alias:column` or `column`; a JSON path without an alias goes by its key.
fn named_column(item: &str) -> (&str, &str) {
    match item.split_once(':') {
        Some((alias, column)) => (alias, column),
        None => (item.rsplit("->>").next().unwrap_or(item), item),
    }
}

/// An error as PostgREST words it.
#[derive(Debug, Clone)]
pub(crate) struct RestError {
    pub(crate) http: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl RestError {
    pub(crate) fn new(http: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { http, code, message: message.into() }
    }
}

/// A literal of a filter, read as every type that it could be.
#[derive(Debug, Clone)]
struct Literal {
    text: String,
    int: Option<i64>,
    time: Option<Timestamp>,
    id: Option<Uuid>,
}

impl Literal {
    fn of(text: &str) -> Self {
        let text = text.trim_matches('"').to_owned();
        Self { int: text.parse().ok(), time: text.parse().ok(), id: text.parse().ok(), text }
    }

    fn compare(&self, cell: &Cell<'_>) -> Option<Ordering> {
        match cell {
            Cell::Null | Cell::Hundredths(_) => None,
            Cell::Text(text) => Some(text.as_ref().cmp(&self.text)),
            Cell::Int(number) => Some(number.cmp(&self.int?)),
            Cell::Time(at) => Some(at.cmp(&self.time?)),
            Cell::Id(id) => Some(id.cmp(&self.id?)),
            Cell::Json(value) => (value.as_str() == Some(&self.text)).then_some(Ordering::Equal),
        }
    }
}

#[derive(Debug, Clone)]
enum Test {
    Is(Ordering),
    Not(Ordering),
    In(Vec<Literal>),
    IsNull,
}

/// One filter of a request.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    pub(crate) column: String,
    negated: bool,
    test: Test,
    literal: Literal,
}

impl Filter {
    fn parse(column: &str, text: &str) -> Result<Self, RestError> {
        let bad = || RestError::new(400, "PGRST100", format!("failed to parse filter ({column}={text})"));
        let (negated, rest) = text.strip_prefix("not.").map_or((false, text), |rest| (true, rest));
        let (operator, value) = rest.split_once('.').ok_or_else(bad)?;
        let check = match operator {
            "eq" => Test::Is(Ordering::Equal),
            "neq" => Test::Not(Ordering::Equal),
            "gt" => Test::Is(Ordering::Greater),
            "lt" => Test::Is(Ordering::Less),
            "gte" => Test::Not(Ordering::Less),
            "lte" => Test::Not(Ordering::Greater),
            "is" if value == "null" => Test::IsNull,
            "in" => {
                let list = value.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).ok_or_else(bad)?;
                Test::In(list.split(',').filter(|item| !item.is_empty()).map(Literal::of).collect())
            }
            _ => return Err(bad()),
        };
        Ok(Self { column: column.to_owned(), negated, test: check, literal: Literal::of(value) })
    }

    pub(crate) fn holds(&self, row: &impl Row) -> bool {
        let cell = look_up(row, &self.column);
        let holds = match &self.test {
            Test::Is(wanted) => self.literal.compare(&cell) == Some(*wanted),
            Test::Not(unwanted) => self.literal.compare(&cell).is_some_and(|found| found != *unwanted),
            Test::In(list) => list.iter().any(|literal| literal.compare(&cell) == Some(Ordering::Equal)),
            Test::IsNull => cell == Cell::Null,
        };
        holds != self.negated
    }

    /// The value of an equality filter.
    pub(crate) fn equals(&self) -> Option<&str> {
        matches!(self.test, Test::Is(Ordering::Equal)).then_some(self.literal.text.as_str())
    }
}

/// Filters of which all hold, or one: `and(…)` and `or(…)`, within each other as deep as somebody writes.
#[derive(Debug, Clone)]
enum Group {
    One(Filter),
    All(Vec<Group>),
    Any(Vec<Group>),
}

/// Groups within each other at most; a request that has more is none that anybody wrote.
const DEPTH: usize = 8;

impl Group {
    /// The inside of one pair of parentheses; `any`: whether one of its parts is enough.
    fn parse(any: bool, text: &str, depth: usize) -> Result<Self, RestError> {
        let bad = || RestError::new(400, "PGRST100", format!("failed to parse logic tree ({text})"));
        let inside = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).ok_or_else(bad)?;
        if depth == DEPTH {
            return Err(bad());
        }
        let part = |part: &str| match (part.strip_prefix("and("), part.strip_prefix("or(")) {
            (Some(_), _) => Self::parse(false, &part["and".len()..], depth + 1),
            (_, Some(_)) => Self::parse(true, &part["or".len()..], depth + 1),
            _ => {
                let (column, condition) = part.split_once('.').ok_or_else(bad)?;
                Filter::parse(column, condition).map(Self::One)
            }
        };
        let parts = outside_parentheses(inside).into_iter().map(part).collect::<Result<Vec<_>, _>>()?;
        Ok(if any { Self::Any(parts) } else { Self::All(parts) })
    }

    fn holds(&self, row: &impl Row) -> bool {
        match self {
            Self::One(filter) => filter.holds(row),
            Self::All(parts) => parts.iter().all(|part| part.holds(row)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(row)),
        }
    }

    fn columns(&self) -> Vec<&str> {
        match self {
            Self::One(filter) => vec![filter.column.as_str()],
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::columns).collect(),
        }
    }
}

/// What stands between the commas that are in no parentheses.
fn outside_parentheses(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut begins) = (Vec::new(), 0_usize, 0);
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                parts.push(&text[begins..place]);
                begins = place + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begins..]);
    parts
}

/// A parsed query string.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    pub(crate) filters: Vec<Filter>,
    groups: Vec<Group>,
    pub(crate) select: Option<Vec<String>>,
    order: Vec<(String, bool)>,
    pub(crate) limit: Option<usize>,
    pub(crate) offset: usize,
    pub(crate) on_conflict: Option<String>,
}

impl Query {
    pub(crate) fn parse(text: &str) -> Result<Self, RestError> {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            match name.as_ref() {
                "select" if value != "*" => {
                    query.select = Some(value.split(',').map(str::to_owned).collect());
                }
                "select" | "columns" => {}
                "order" => {
                    for part in value.split(',') {
                        let (column, direction) = part.split_once('.').unwrap_or((part, "asc"));
                        query.order.push((column.to_owned(), direction.starts_with("desc")));
                    }
                }
                "limit" => query.limit = value.parse().ok(),
                "offset" => query.offset = value.parse().unwrap_or(0),
                "or" => query.groups.push(Group::parse(true, &value, 0)?),
                "and" => query.groups.push(Group::parse(false, &value, 0)?),
                "on_conflict" => query.on_conflict = Some(value.into_owned()),
                column => query.filters.push(Filter::parse(column, &value)?),
            }
        }
        Ok(query)
    }

    pub(crate) fn check_columns<R: Row>(&self) -> Result<(), RestError> {
        let selected = self.select.iter().flatten().map(|item| named_column(item).1);
        let named = self
            .filters
            .iter()
            .map(|f| f.column.as_str())
            .chain(self.groups.iter().flat_map(Group::columns))
            .chain(self.order.iter().map(|(c, _)| c.as_str()))
            .chain(selected);
        for column in named {
            let column = column.split("->>").next().unwrap_or(column);
            if !R::COLUMNS.contains(&column) {
                return Err(RestError::new(400, "42703", format!("column {column} does not exist")));
            }
        }
        Ok(())
    }

    /// The places of the rows that pass, in the order asked for.
    pub(crate) fn places<R: Row>(&self, rows: &[R]) -> Vec<usize> {
        let passes = |row: &R| {
            self.filters.iter().all(|filter| filter.holds(row))
                && self.groups.iter().all(|group| group.holds(row))
        };
        let mut places: Vec<usize> =
            rows.iter().enumerate().filter(|(_, row)| passes(row)).map(|(place, _)| place).collect();
        if !self.order.is_empty() {
            places.sort_by(|&a, &b| {
                self.order.iter().fold(Ordering::Equal, |so_far, (column, descending)| {
                    so_far.then_with(|| {
                        let cell = |place: usize| rows[place].cell(column).unwrap_or(Cell::Null);
                        let ordering = cell(a).compare(&cell(b));
                        if *descending { ordering.reverse() } else { ordering }
                    })
                })
            });
        }
        places
    }

    pub(crate) fn render<R: Row>(&self, row: &R) -> Value {
        let mut object = serde_json::Map::new();
        let columns: Vec<&str> = match &self.select {
            Some(columns) => columns.iter().map(String::as_str).collect(),
            None => R::COLUMNS.to_vec(),
        };
        for column in columns {
            let (name, path) = named_column(column);
            object.insert(name.to_owned(), look_up(row, path).to_json());
        }
        Value::Object(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Message {
        id: i64,
        status: &'static str,
    }

    impl Row for Message {
        const COLUMNS: &'static [&'static str] = &["id", "status"];
        fn cell(&self, column: &str) -> Option<Cell<'_>> {
            match column {
                "id" => Some(Cell::Int(self.id)),
                "status" => Some(Cell::text(self.status)),
                _ => None,
            }
        }
    }

    fn found(query: &str) -> Vec<i64> {
        let status = |id| if id % 2 == 0 { "SKIPPED" } else { "PENDING" };
        let rows: Vec<Message> = (1..=10).map(|id| Message { id, status: status(id) }).collect();
        let query = Query::parse(query).unwrap();
        query.check_columns::<Message>().unwrap();
        query.places(&rows).into_iter().map(|place| rows[place].id).collect()
    }

    #[test]
    fn groups_hold_as_postgrest_reads_them() {
        assert_eq!(found("or=(id.eq.1,and(id.gte.4,id.lte.6))"), [1, 4, 5, 6]);
        assert_eq!(found("id=lt.6&or=(status.eq.PENDING,and(status.eq.SKIPPED,or(id.eq.2)))"), [1, 2, 3, 5]);
        assert_eq!(found("or=(id.in.(1,2),id.eq.9)&status=eq.PENDING"), [1, 9]);
        assert_eq!(found("and=(id.gt.2,id.not.eq.4,id.lt.6)"), [3, 5]);
    }

    #[test]
    fn a_group_that_is_none_is_refused_and_one_of_an_unknown_column_too() {
        for text in ["or=id.eq.1", "or=(id)", "or=(id.eq.1"] {
            assert_eq!(Query::parse(text).unwrap_err().code, "PGRST100", "{text}");
        }
        let nested = format!("or={}id.eq.1{}", "(or".repeat(20), ")".repeat(20));
        assert_eq!(Query::parse(&nested).unwrap_err().code, "PGRST100");
        let unknown = Query::parse("or=(id.eq.1,and(id.gt.2,colour.eq.red))").unwrap();
        assert_eq!(unknown.check_columns::<Message>().unwrap_err().code, "42703");
    }
}
