//! The query language of PostgREST, the slice that is used: filters, select, order, limit and offset.

use std::borrow::Cow;
use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::kind::{Kind, time};

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
            Self::Time(at) => json!(format!("{}:00", moment(*at, "T"))),
            Self::Id(id) => json!(id),
            Self::Json(value) => (*value).clone(),
        }
    }

    /// As Postgres writes it as a text; nothing for a null.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Text(text) => text.clone().into_owned(),
            Self::Time(at) => moment(*at, " "),
            Self::Id(id) => id.to_string(),
            other => other.to_json().to_string(),
        }
    }

    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Time(a), Self::Time(b)) => a.cmp(b),
            (Self::Id(a), Self::Id(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.to_json().to_string().cmp(&other.to_json().to_string()),
        }
    }
}

/// A moment as Postgres writes it: microseconds without the zeros at their end. In JSON a `T` stands before the time and the
/// offset has its minutes.
fn moment(at: Timestamp, between: &str) -> String {
    let written = at.strftime(&format!("%Y-%m-%d{between}%H:%M:%S%.6f")).to_string();
    format!("{}+00", written.trim_end_matches('0').trim_end_matches('.'))
}

/// A table's row.
pub(crate) trait Row {
    const TABLE: &'static str;
    /// Every column with its type, in the table's order.
    const COLUMNS: &'static [(&'static str, Kind)];
    fn cell(&self, column: &str) -> Option<Cell<'_>>;

    /// The type of a column, or of what lies in its JSON; `None` for what is no column.
    fn kind_of(path: &str) -> Option<Kind> {
        let column = path.split("->>").next().unwrap_or(path);
        let (_, kind) = Self::COLUMNS.iter().find(|(name, _)| *name == column)?;
        Some(if column == path { *kind } else { Kind::Text })
    }
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
    pub(crate) details: Option<String>,
    pub(crate) hint: Option<String>,
}

impl RestError {
    pub(crate) fn new(http: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { http, code, message: message.into(), details: None, hint: None }
    }

    /// With what the official clients read beside the message.
    pub(crate) fn because(self, details: impl Into<String>) -> Self {
        Self { details: Some(details.into()), ..self }
    }

    /// With what to do about it.
    pub(crate) fn hinting(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// A literal of a filter, read as every type that it could be.
#[derive(Debug, Clone)]
struct Literal {
    text: String,
    int: Option<i64>,
    number: Option<f64>,
    time: Option<Timestamp>,
    id: Option<Uuid>,
}

impl Literal {
    fn of(text: &str) -> Self {
        let text = text.trim_matches('"').to_owned();
        let (int, number) = (text.parse().ok(), text.parse().ok());
        Self { int, number, time: time(&text).ok(), id: text.parse().ok(), text }
    }

    /// `None` where there is nothing to compare with: a null.
    fn compare(&self, cell: &Cell<'_>) -> Option<Ordering> {
        match cell {
            Cell::Null => None,
            Cell::Text(text) => Some(text.as_ref().cmp(&self.text)),
            Cell::Int(number) => Some(number.cmp(&self.int?)),
            Cell::Hundredths(number) => (*number as f64 / 100.0).partial_cmp(&self.number?),
            Cell::Time(at) => Some(at.cmp(&self.time?)),
            Cell::Id(id) => Some(id.cmp(&self.id?)),
            Cell::Json(value) => {
                Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned).cmp(&self.text))
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Test {
    Is(Ordering),
    Not(Ordering),
    In(Vec<Literal>),
    /// The pattern in lower case where case does not count.
    Like {
        pattern: String,
        any_case: bool,
    },
    IsNull,
    /// Within a JSON column.
    Contains(Value),
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
            "like" => Test::Like { pattern: value.to_owned(), any_case: false },
            "ilike" => Test::Like { pattern: value.to_lowercase(), any_case: true },
            "is" if value == "null" => Test::IsNull,
            "cs" => Test::Contains(serde_json::from_str(value).map_err(|error| {
                let message = "invalid input syntax for type json";
                RestError::new(400, "22P02", message).because(error.to_string())
            })?),
            "in" => {
                let list = value.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).ok_or_else(bad)?;
                let items = outside_parentheses(list).into_iter();
                Test::In(items.filter(|item| !item.is_empty()).map(Literal::of).collect())
            }
            _ => return Err(bad()),
        };
        Ok(Self { column: column.to_owned(), negated, test: check, literal: Literal::of(value) })
    }

    /// Whether it holds; `None` for what SQL does not know, because the cell is null. The opposite of that is not known either.
    fn holds(&self, row: &impl Row) -> Option<bool> {
        let cell = look_up(row, &self.column);
        let holds = match &self.test {
            Test::Is(wanted) => self.literal.compare(&cell).map(|found| found == *wanted),
            Test::Not(unwanted) => self.literal.compare(&cell).map(|found| found != *unwanted),
            Test::In(_) | Test::Like { .. } if cell == Cell::Null => None,
            Test::In(list) => {
                Some(list.iter().any(|literal| literal.compare(&cell) == Some(Ordering::Equal)))
            }
            Test::Like { pattern, any_case } => {
                let text = cell.to_text();
                Some(is_like(&if *any_case { text.to_lowercase() } else { text }, pattern))
            }
            Test::IsNull => Some(cell == Cell::Null),
            Test::Contains(part) => match &cell {
                Cell::Json(whole) => Some(contains(whole, part)),
                _ => None,
            },
        };
        holds.map(|holds| holds != self.negated)
    }

    /// Refuses literals that are none of the column's type.
    fn check<R: Row>(&self) -> Result<(), RestError> {
        let kind = R::kind_of(&self.column).ok_or_else(|| no_column::<R>(&self.column))?;
        match &self.test {
            Test::IsNull => Ok(()),
            Test::Contains(_) if kind == Kind::Json => Ok(()),
            Test::Contains(_) => {
                let message = format!("operator does not exist for {}: @> unknown", self.column);
                Err(RestError::new(404, "42883", message))
            }
            Test::In(list) => list.iter().try_for_each(|literal| kind.check(&literal.text)),
            Test::Like { .. } if kind == Kind::Text => Ok(()),
            Test::Like { .. } => {
                let message = format!("operator does not exist for {}: ~~ unknown", self.column);
                Err(RestError::new(404, "42883", message))
            }
            Test::Is(_) | Test::Not(_) => kind.check(&self.literal.text),
        }
    }

    /// The value of an equality filter.
    pub(crate) fn equals(&self) -> Option<&str> {
        matches!(self.test, Test::Is(Ordering::Equal)).then_some(self.literal.text.as_str())
    }
}

/// Whether a JSON value contains another, as Postgres' `@>` means it.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, part)| whole.get(key).is_some_and(|whole| contains(whole, part)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            part.iter().all(|part| whole.iter().any(|whole| contains(whole, part)))
        }
        _ => whole == part,
    }
}

/// Rows of other tables are in no answer here.
fn no_relationship<R: Row>(other: &str) -> RestError {
    let other = other.split('!').next().unwrap_or(other);
    let table = R::TABLE;
    let message =
        format!("Could not find a relationship between '{table}' and '{other}' in the schema cache");
    let details = format!(
        "Searched for a foreign key relationship between '{table}' and '{other}' in the schema 'public', but no matches were \
         found."
    );
    RestError::new(400, "PGRST200", message).because(details)
}

fn no_column<R: Row>(column: &str) -> RestError {
    let column = column.split("->>").next().unwrap_or(column);
    RestError::new(400, "42703", format!("column {}.{column} does not exist", R::TABLE))
}

/// Whether a text is like a pattern: `*` and `%` are anything, `_` is one character.
fn is_like(text: &str, pattern: &str) -> bool {
    let Some(first) = pattern.chars().next() else { return text.is_empty() };
    let rest = &pattern[first.len_utf8()..];
    match first {
        '*' | '%' => {
            let ends = text.char_indices().map(|(place, _)| place).chain([text.len()]);
            ends.into_iter().any(|place| is_like(&text[place..], rest))
        }
        one => match text.chars().next() {
            Some(other) if one == '_' || one == other => is_like(&text[other.len_utf8()..], rest),
            _ => false,
        },
    }
}

/// Filters of which all hold, or one: `and(…)` and `or(…)`, within each other as deep as somebody writes.
#[derive(Debug, Clone)]
enum Group {
    One(Filter),
    All(Vec<Group>),
    Any(Vec<Group>),
    Not(Box<Group>),
}

/// Groups within each other at most; a request that has more is none that anybody wrote.
const DEPTH: usize = 8;

impl Group {
    /// `and=(…)`, `or=(…)` and their opposites. `None` where the name is another one.
    fn named(name: &str, text: &str) -> Option<Result<Self, RestError>> {
        let (negated, name) = name.strip_prefix("not.").map_or((false, name), |name| (true, name));
        let any = match name {
            "or" => true,
            "and" => false,
            _ => return None,
        };
        Some(Self::parse(any, text, 0).map(|group| if negated { Self::Not(Box::new(group)) } else { group }))
    }

    /// The inside of one pair of parentheses; `any`: whether one of its parts is enough.
    fn parse(any: bool, text: &str, depth: usize) -> Result<Self, RestError> {
        let bad = || RestError::new(400, "PGRST100", format!("failed to parse logic tree ({text})"));
        let inside = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).ok_or_else(bad)?;
        if depth == DEPTH {
            return Err(bad());
        }
        let parts = outside_parentheses(inside).into_iter().map(|part| Self::part(part, depth + 1));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        Ok(if any { Self::Any(parts) } else { Self::All(parts) })
    }

    fn part(part: &str, depth: usize) -> Result<Self, RestError> {
        let bad = || RestError::new(400, "PGRST100", format!("failed to parse logic tree ({part})"));
        if let Some(rest) = part.strip_prefix("not.") {
            return Self::part(rest, depth).map(|group| Self::Not(Box::new(group)));
        }
        for (word, any) in [("and", false), ("or", true)] {
            if let Some(rest) = part.strip_prefix(word).filter(|rest| rest.starts_with('(')) {
                return Self::parse(any, rest, depth);
            }
        }
        let (column, condition) = part.split_once('.').ok_or_else(bad)?;
        Filter::parse(column, condition).map(Self::One)
    }

    /// As a filter holds: what is not known spoils an `and`, unless something in it is false, and an `or` the other way.
    fn holds(&self, row: &impl Row) -> Option<bool> {
        let decided = |parts: &[Self], decides: bool| {
            let held: Vec<_> = parts.iter().map(|part| part.holds(row)).collect();
            if held.contains(&Some(decides)) {
                return Some(decides);
            }
            (!held.contains(&None)).then_some(!decides)
        };
        match self {
            Self::One(filter) => filter.holds(row),
            Self::All(parts) => decided(parts, false),
            Self::Any(parts) => decided(parts, true),
            Self::Not(group) => group.holds(row).map(|holds| !holds),
        }
    }

    fn check<R: Row>(&self) -> Result<(), RestError> {
        match self {
            Self::One(filter) => filter.check::<R>(),
            Self::All(parts) | Self::Any(parts) => parts.iter().try_for_each(Self::check::<R>),
            Self::Not(group) => group.check::<R>(),
        }
    }
}

/// What stands between the commas that are in no parentheses and in no quotes.
fn outside_parentheses(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut quoted, mut begins) = (Vec::new(), 0_usize, false, 0);
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            _ if quoted => {}
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

/// One column to order by.
#[derive(Debug, Clone)]
struct Order {
    column: String,
    descending: bool,
    nulls_first: bool,
}

impl Order {
    fn parse(part: &str) -> Result<Self, RestError> {
        let mut words = part.split('.');
        let column = words.next().unwrap_or_default().to_owned();
        let (mut descending, mut nulls_first) = (false, None);
        for word in words {
            match word {
                "asc" => descending = false,
                "desc" => descending = true,
                "nullsfirst" => nulls_first = Some(true),
                "nullslast" => nulls_first = Some(false),
                _ => return Err(RestError::new(400, "PGRST100", format!("failed to parse order ({part})"))),
            }
        }
        Ok(Self { column, descending, nulls_first: nulls_first.unwrap_or(descending) })
    }

    fn compare(&self, one: &impl Row, other: &impl Row) -> Ordering {
        let (one, other) = (look_up(one, &self.column), look_up(other, &self.column));
        if (one == Cell::Null) != (other == Cell::Null) {
            let null_is_first = if self.nulls_first { Ordering::Less } else { Ordering::Greater };
            return if one == Cell::Null { null_is_first } else { null_is_first.reverse() };
        }
        let ordering = one.compare(&other);
        if self.descending { ordering.reverse() } else { ordering }
    }
}

/// A parsed query string.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    pub(crate) filters: Vec<Filter>,
    groups: Vec<Group>,
    pub(crate) select: Option<Vec<String>>,
    order: Vec<Order>,
    pub(crate) limit: Option<usize>,
    pub(crate) offset: usize,
    pub(crate) on_conflict: Option<String>,
    /// The only keys of a body that count.
    pub(crate) columns: Option<Vec<String>>,
}

impl Query {
    pub(crate) fn parse(text: &str) -> Result<Self, RestError> {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            match name.as_ref() {
                "select" if value != "*" => {
                    query.select = Some(outside_parentheses(&value).into_iter().map(str::to_owned).collect());
                }
                "select" => {}
                "columns" => {
                    let names = value.split(',').map(|name| name.trim_matches('"').to_owned());
                    query.columns = Some(names.collect());
                }
                "order" => query.order = value.split(',').map(Order::parse).collect::<Result<_, _>>()?,
                "limit" => query.limit = Some(number(&name, &value)?),
                "offset" => query.offset = number(&name, &value)?,
                "on_conflict" => query.on_conflict = Some(value.into_owned()),
                other => match Group::named(other, &value) {
                    Some(group) => query.groups.push(group?),
                    None => query.filters.push(Filter::parse(other, &value)?),
                },
            }
        }
        Ok(query)
    }

    /// Whether it says which rows are meant.
    pub(crate) fn is_filtered(&self) -> bool {
        !(self.filters.is_empty() && self.groups.is_empty())
    }

    /// Refuses columns that the table does not have, and literals that are none of their column's type.
    pub(crate) fn check<R: Row>(&self) -> Result<(), RestError> {
        let selected = self.selected::<R>().into_iter().map(|(_, path)| path);
        if let Some((other, _)) = self.select.iter().flatten().find_map(|item| item.split_once('(')) {
            return Err(no_relationship::<R>(named_column(other).1));
        }
        for column in selected.chain(self.order.iter().map(|order| order.column.as_str())) {
            R::kind_of(column).ok_or_else(|| no_column::<R>(column))?;
        }
        self.filters.iter().try_for_each(Filter::check::<R>)?;
        self.groups.iter().try_for_each(Group::check::<R>)
    }

    /// The places of the rows that pass, in the order asked for.
    pub(crate) fn places<R: Row>(&self, rows: &[R]) -> Vec<usize> {
        let passes = |row: &R| {
            self.filters.iter().all(|filter| filter.holds(row) == Some(true))
                && self.groups.iter().all(|group| group.holds(row) == Some(true))
        };
        let mut places: Vec<usize> =
            rows.iter().enumerate().filter(|(_, row)| passes(row)).map(|(place, _)| place).collect();
        if !self.order.is_empty() {
            places.sort_by(|&a, &b| {
                let by =
                    |so_far: Ordering, order: &Order| so_far.then_with(|| order.compare(&rows[a], &rows[b]));
                self.order.iter().fold(Ordering::Equal, by)
            });
        }
        places
    }

    /// What an answer shows of each row, in order: the name, and the column or what lies in its JSON.
    pub(crate) fn selected<R: Row>(&self) -> Vec<(&str, &str)> {
        match &self.select {
            Some(items) => items
                .iter()
                .flat_map(|item| match item.as_str() {
                    "*" => R::COLUMNS.iter().map(|(name, _)| (*name, *name)).collect(),
                    item => vec![named_column(item)],
                })
                .collect(),
            None => R::COLUMNS.iter().map(|(name, _)| (*name, *name)).collect(),
        }
    }

    pub(crate) fn render<R: Row>(&self, row: &R) -> Value {
        let shown = self.selected::<R>().into_iter();
        Value::Object(shown.map(|(name, path)| (name.to_owned(), look_up(row, path).to_json())).collect())
    }
}

fn number(name: &str, text: &str) -> Result<usize, RestError> {
    text.parse().map_err(|_| RestError::new(400, "PGRST100", format!("failed to parse {name} ({text})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Message {
        id: i64,
        status: &'static str,
    }

    impl Row for Message {
        const TABLE: &'static str = "messages";
        const COLUMNS: &'static [(&'static str, Kind)] = &[("id", Kind::Int), ("status", Kind::Text)];
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
        query.check::<Message>().unwrap();
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
        assert_eq!(unknown.check::<Message>().unwrap_err().code, "42703");
    }
}
