//! SQL text with its place in the user's file, and DataFusion's errors about it in the engine's words.

use std::sync::Arc;

use datafusion::common::{Column, Diagnostic, SchemaError, Span};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use strsim::osa_distance;

use crate::error::{Error, Result};

/// SQL text and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    text: String,
    file: Option<String>,
    key: Option<String>,
    first_line: usize,
}

impl Script {
    /// SQL that stands in no file.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            file: None,
            key: None,
            first_line: 1,
        }
    }

    /// SQL whose first line is line `first_line` of a file; `at` is `FILE:LINE:COLUMN (yaml.path)`.
    pub fn located(text: impl Into<String>, at: &str, first_line: usize) -> Self {
        let (place, key) = match at.rsplit_once(" (") {
            Some((place, key)) => (place, Some(key.trim_end_matches(')').to_owned())),
            None => (at, None),
        };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let mut file = place;
        for _ in 0..2 {
            if let Some((head, tail)) = file.rsplit_once(':')
                && is_number(tail)
            {
                file = head;
            }
        }
        Self {
            text: text.into(),
            file: Some(file.to_owned()),
            key,
            first_line,
        }
    }

    /// The same SQL, whose first line is line `line` of a text without a name.
    #[must_use]
    pub fn starting_at(self, line: usize) -> Self {
        Self {
            first_line: line,
            ..self
        }
    }

    /// The SQL.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where line `line`, column `column` of the SQL (both from 1) is: file and line of the file, and the column of
    /// the SQL's line. A file's indentation is not part of the SQL, so a column of the file is not known.
    pub fn place(&self, line: u64, column: u64) -> String {
        let key = self
            .key
            .as_deref()
            .map_or_else(String::new, |key| format!(" ({key})"));
        let line = (self.first_line as u64) + line.saturating_sub(1);
        match &self.file {
            Some(file) => format!("{file}:{line}{key}, SQL column {column}"),
            None => format!("line {line}, column {column}"),
        }
    }

    /// The line and the column of the SQL that [`Self::place`] made `error`'s place of, both from 1.
    pub fn point(&self, error: &Error) -> Option<(usize, usize)> {
        let place = error.place()?;
        let (_, column) = place.rsplit_once("column ")?;
        let column: u64 = column.parse().ok()?;
        let lines = self.text.lines().count().max(1);
        let line = (1..=lines).find(|line| self.place(*line as u64, column) == place)?;
        Some((line, usize::try_from(column).ok()?))
    }

    /// Where the SQL starts.
    pub fn start(&self) -> String {
        self.place(1, 1)
    }

    /// The first place where `name` is written in the SQL, quoted or not.
    pub fn find(&self, name: &str) -> Option<(u64, u64)> {
        let tokens = Tokenizer::new(&GenericDialect {}, &self.text)
            .tokenize_with_location()
            .ok()?;
        tokens.into_iter().find_map(|token| match token.token {
            Token::Word(word)
                if word.value == name
                    || (word.quote_style.is_none() && word.value.eq_ignore_ascii_case(name)) =>
            {
                Some((token.span.start.line, token.span.start.column))
            }
            _ => None,
        })
    }

    /// `error` at the first place where `name` is written, or at the start; an error that knows its place keeps it.
    #[must_use]
    pub fn locate(&self, error: Error, name: &str) -> Error {
        if error.place().is_some() {
            return error;
        }
        let place = self.find(name);
        error.at(place.map_or_else(|| self.start(), |(line, column)| self.place(line, column)))
    }

    /// A planning error of DataFusion in the engine's words, at its place in the user's file.
    pub fn error(&self, error: DataFusionError) -> Error {
        let (error, span) = unwrap(error, None);
        let at = span.map(|span| self.place(span.start.line, span.start.column));
        let located = |error: Error, name: Option<&str>| {
            let place = at.clone().or_else(|| {
                let (line, column) = self.find(name?)?;
                Some(self.place(line, column))
            });
            error.at(place.unwrap_or_else(|| self.start()))
        };
        match error {
            DataFusionError::External(inner) => match inner.downcast::<Error>() {
                Ok(ours) if ours.place().is_some() => *ours,
                Ok(ours) => ours.at(at.unwrap_or_else(|| self.start())),
                Err(other) => located(
                    Error::config("the SQL cannot be planned").source(other),
                    None,
                ),
            },
            DataFusionError::SQL(parser, _) => self.syntax(&parser.to_string()),
            DataFusionError::SchemaError(schema, _) => match *schema {
                SchemaError::FieldNotFound {
                    field,
                    valid_fields,
                } => located(unknown_column(&field, &valid_fields), Some(&field.name)),
                // With a table's name: the finished SELECT has a column of a table and another one of the same name.
                SchemaError::AmbiguousReference { field } if field.relation.is_some() => {
                    located(twice(&field.name), Some(&field.name))
                }
                SchemaError::DuplicateQualifiedField { name, .. }
                | SchemaError::DuplicateUnqualifiedField { name } => {
                    located(twice(&name), Some(&name))
                }
                SchemaError::AmbiguousReference { field } => {
                    located(in_several(&field.name), Some(&field.name))
                }
            },
            DataFusionError::Plan(message) => {
                let (error, name) = plan_message(&message);
                located(error, name.as_deref())
            }
            DataFusionError::NotImplemented(message) => located(not_supported(&message), None),
            other => located(
                Error::config(lower_first(&first_line(&other.strip_backtrace()))),
                None,
            ),
        }
    }

    /// The parser says the place at the end of its sentence: `… at Line: 1, Column: 8`.
    fn syntax(&self, message: &str) -> Error {
        let message = message
            .trim_start_matches("sql parser error: ")
            .trim_start_matches("SQL error: ");
        let split = message.rsplit_once(" at Line: ").and_then(|(text, place)| {
            let (line, column) = place.split_once(", Column: ")?;
            Some((text, line.trim().parse().ok()?, column.trim().parse().ok()?))
        });
        let (text, (line, column)) = match split {
            Some((text, line, column)) => (text, (line, column)),
            None if message.ends_with("found: EOF") => (message, self.end()),
            None => (message, (1, 1)),
        };
        Error::config(format!("SQL syntax: {}", lower_first(text))).at(self.place(line, column))
    }

    /// The place after the last character that is not white space.
    fn end(&self) -> (u64, u64) {
        let text = self.text.trim_end();
        let line = text.matches('\n').count() as u64 + 1;
        let last = text.rsplit('\n').next().unwrap_or_default();
        (line, last.chars().count() as u64 + 1)
    }

    /// [`Script::error`] inside a `Result`.
    ///
    /// # Errors
    /// The error, translated.
    pub fn result<T>(&self, result: Result<T, DataFusionError>) -> Result<T> {
        result.map_err(|e| self.error(e))
    }
}

/// The error under its wrappers, and the place that a wrapper knew.
fn unwrap(error: DataFusionError, span: Option<Span>) -> (DataFusionError, Option<Span>) {
    match error {
        DataFusionError::Context(_, inner) => unwrap(*inner, span),
        DataFusionError::Diagnostic(diagnostic, inner) => {
            let Diagnostic { span: found, .. } = *diagnostic;
            unwrap(*inner, span.or(found))
        }
        DataFusionError::Shared(inner) => match Arc::try_unwrap(inner) {
            Ok(inner) => unwrap(inner, span),
            Err(inner) => (DataFusionError::Shared(inner), span),
        },
        DataFusionError::Collection(mut errors) if !errors.is_empty() => {
            unwrap(errors.swap_remove(0), span)
        }
        other => (other, span),
    }
}

fn unknown_column(field: &Column, valid: &[Column]) -> Error {
    let shown = field.flat_name();
    let error = Error::config(format!("unknown column `{shown}`"));
    if valid.iter().any(|c| c.name == field.name) {
        return error.expected(format!(
            "`{}`, without a table's name or with another one",
            field.name
        ));
    }
    let same = valid
        .iter()
        .find(|c| c.name.eq_ignore_ascii_case(&field.name));
    if let Some(same) = same {
        return error.expected(format!("`\"{}\"`", same.name)).remedy(
            "quote a name that has capital letters: names without quotes are read as lowercase",
        );
    }
    let names: Vec<&str> = valid.iter().map(|c| c.name.as_str()).collect();
    let near = nearest(&field.name, &names);
    let error = error.expected(format!("one of {}", list(&names)));
    match near.as_slice() {
        [] => error,
        near => error.remedy(format!(
            "did you mean {}?",
            list(near).replace(", ", " or ")
        )),
    }
}

/// Names that are a typing error away, best first.
fn nearest<'a>(wanted: &str, names: &[&'a str]) -> Vec<&'a str> {
    let most = (wanted.chars().count() / 3).max(1);
    let mut near: Vec<(usize, &str)> = names
        .iter()
        .map(|name| {
            (
                osa_distance(&wanted.to_lowercase(), &name.to_lowercase()),
                *name,
            )
        })
        .filter(|(distance, _)| *distance <= most)
        .collect();
    near.sort_unstable();
    near.dedup();
    let best = near.first().map(|(distance, _)| *distance);
    let near = near
        .into_iter()
        .filter(|(distance, _)| Some(*distance) == best);
    near.take(3).map(|(_, name)| name).collect()
}

fn list(names: &[&str]) -> String {
    const SHOWN: usize = 12;
    let mut shown: Vec<String> = Vec::new();
    for name in names {
        let name = format!("`{name}`");
        if !shown.contains(&name) {
            shown.push(name);
        }
    }
    let more = shown.len().saturating_sub(SHOWN);
    shown.truncate(SHOWN);
    let mut text = shown.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn in_several(name: &str) -> Error {
    Error::config(format!("the column `{name}` is in several tables"))
        .expected(format!("a table's name before it, as in `t.{name}`"))
        .remedy("with `*`, write `t.*` for each table")
}

fn twice(name: &str) -> Error {
    Error::config(format!("the SQL returns two columns named `{name}`"))
        .expected("a name of its own for each column")
        .remedy(format!(
            "rename one of them, as in `… AS {name}_2`; with `*` of several tables, name the columns instead"
        ))
}

/// What DataFusion says in words only: unknown tables and functions.
fn plan_message(message: &str) -> (Error, Option<String>) {
    let message = first_line_and_hint(message);
    if let Some(table) = message
        .0
        .strip_prefix("table '")
        .and_then(|rest| rest.strip_suffix("' not found"))
    {
        let name = table.rsplit('.').next().unwrap_or(table).to_owned();
        return (
            Error::config(format!("unknown table `{name}`"))
                .expected("the source's name or a name from `tables:`"),
            Some(name),
        );
    }
    if let Some(function) = message
        .0
        .strip_prefix("Invalid function '")
        .and_then(|rest| rest.split('\'').next())
    {
        let error = Error::config(format!("unknown function `{function}`"));
        let error = match message.1 {
            Some(hint) => error.remedy(hint),
            None => error,
        };
        return (error, Some(function.to_owned()));
    }
    if message
        .0
        .starts_with("Projections require unique expression names")
    {
        let name = message.0.split('"').nth(1).unwrap_or_default();
        let name = name.rsplit(" AS ").next().unwrap_or_default();
        let name = name.rsplit('.').next().unwrap_or_default();
        return (twice(name), Some(name.to_owned()));
    }
    let error = match not_grouped(&message.0) {
        Some(error) => error,
        None => Error::config(lower_first(&message.0)),
    };
    (
        match message.1 {
            Some(hint) => error.remedy(hint),
            None => error,
        },
        None,
    )
}

/// `Column in SELECT must be in GROUP BY or an aggregate function: While expanding wildcard, column "c" must …`
fn not_grouped(message: &str) -> Option<Error> {
    let (clause, rest) = message
        .strip_prefix("Column in ")?
        .split_once(" must be in GROUP BY or an aggregate function")?;
    let column = rest.split('"').nth(1)?;
    Some(
        Error::config(format!(
            "`{column}` stands in {clause} beside an aggregate, but not in GROUP BY"
        ))
        .expected("columns of GROUP BY, and aggregates"),
    )
}

/// The planner's message for a subquery that it cannot turn into a join is a dump of its tree.
fn not_supported(message: &str) -> Error {
    if message.starts_with("Physical plan does not support logical expression") {
        return Error::config("a subquery stands where it cannot be computed")
            .expected("IN, EXISTS and correlated subqueries as conditions of WHERE")
            .remedy("write it as a LEFT JOIN");
    }
    Error::config(format!(
        "this SQL is not supported: {}",
        lower_first(&first_line(message))
    ))
}

fn first_line_and_hint(message: &str) -> (String, Option<String>) {
    let mut lines = message.lines();
    let first = lines
        .next()
        .unwrap_or_default()
        .trim_end_matches('.')
        .to_owned();
    let hint = lines
        .find(|line| line.starts_with("Did you mean"))
        .map(lower_first);
    (first, hint)
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    let second_is_lower = text.chars().nth(1).is_some_and(char::is_lowercase);
    match chars.next() {
        Some(first) if second_is_lower => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}
