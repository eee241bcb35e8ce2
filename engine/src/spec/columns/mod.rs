//! `columns:`: the row's columns as SQL DDL, for messages that carry no types.

mod types;

use std::sync::Arc;

use arrow::datatypes::Field as ArrowField;
use datafusion::sql::sqlparser::ast::{
    ColumnDef, ColumnOption, Expr, Ident, IndexColumn, TableConstraint,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use sql::change::is_metadata;
use sql::{Error, Result};

use super::block::short;
use super::field::Field;
use super::model::DeclaredColumn;

/// Levels of brackets in a column list, its own parentheses included.
const MAX_DEPTH: usize = 8;
/// Words and signs of one column.
const MAX_WORDS: usize = 80;

/// What `columns:` declares.
#[derive(Debug)]
pub(super) struct Declared {
    /// The columns, in order.
    pub(super) columns: Vec<DeclaredColumn>,
    /// The columns of `PRIMARY KEY`, in its order; empty if there is none.
    pub(super) primary_key: Vec<String>,
}

/// Reads a column list as Postgres writes it: names, types, `NOT NULL` and `PRIMARY KEY`.
pub(super) fn parse(field: &Field<'_>) -> Result<Declared> {
    let ddl = field.text()?;
    let (columns, constraints) = parse_list(field, &ddl)?;
    let mut declared = Declared {
        columns: Vec::with_capacity(columns.len()),
        primary_key: Vec::new(),
    };
    for column in &columns {
        declared.add(field, column)?;
    }
    for constraint in &constraints {
        declared.constrain(field, constraint)?;
    }
    if declared.columns.is_empty() {
        return Err(field
            .error("`columns` declares no column")
            .expected("a column list: `id BIGINT NOT NULL, name TEXT`")
            .remedy("declare the row's columns, or remove the key"));
    }
    Ok(declared)
}

type Parsed = (Vec<ColumnDef>, Vec<TableConstraint>);

/// The list is put in parentheses on lines of their own: lines shift by one, columns stay.
fn parse_list(field: &Field<'_>, ddl: &str) -> Result<Parsed> {
    let failed = |error: ParserError| syntax_error(field, ddl, &error);
    let text = format!("(\n{ddl}\n)");
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, &text)
        .tokenize_with_location()
        .map_err(|error| failed(ParserError::TokenizerError(error.to_string())))?;
    refuse_nesting(field, &tokens)?;
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
    let parsed = parser.parse_columns().map_err(failed)?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        let (line, column) = (next.span.start.line, next.span.start.column);
        return Err(
            place(field, line, column, "the column list ended before this")
                .expected("columns separated by commas, nothing after them")
                .remedy("remove the parenthesis and what follows it"),
        );
    }
    Ok(parsed)
}

/// The parser and what it builds recurse without a bound where types nest: the bound is here.
fn refuse_nesting(field: &Field<'_>, tokens: &[TokenWithSpan]) -> Result<()> {
    let (mut depth, mut words) = (0_usize, 0_usize);
    for token in tokens {
        match token.token {
            Token::LParen | Token::LBracket | Token::Lt => depth += 1,
            Token::RParen | Token::RBracket | Token::Gt => depth = depth.saturating_sub(1),
            Token::ShiftRight => depth = depth.saturating_sub(2),
            _ => {}
        }
        match token.token {
            Token::Comma if depth <= 1 => words = 0,
            // The values of an enum.
            Token::Whitespace(_) | Token::SingleQuotedString(_) | Token::Comma => {}
            _ => words += 1,
        }
        if depth > MAX_DEPTH || words > MAX_WORDS {
            let (line, column) = (token.span.start.line, token.span.start.column);
            return Err(
                place(field, line, column, "a column is longer than any type is")
                    .expected("`name TYPE [NOT NULL] [PRIMARY KEY]`, separated by commas")
                    .remedy("declare the column's type alone"),
            );
        }
    }
    Ok(())
}

/// An error at a place of the parenthesised text.
fn place(field: &Field<'_>, line: u64, column: u64, message: impl Into<String>) -> Error {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    field.error_in(number(line).saturating_sub(1), number(column), message)
}

fn syntax_error(field: &Field<'_>, ddl: &str, error: &ParserError) -> Error {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
        ParserError::RecursionLimitExceeded => "types are nested too deep",
    };
    let (message, location) = match message.rsplit_once(" at Line: ") {
        Some((message, location)) => (message, location.split_once(", Column: ")),
        None => (message, None),
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let location = location.and_then(|(line, column)| Some((number(line)?, number(column)?)));
    let expected = "`name TYPE [NOT NULL] [PRIMARY KEY]`, separated by commas";
    let Some((line, column)) = location else {
        return field
            .error(format!("`columns` is not a column list: {message}"))
            .expected(expected)
            .remedy("correct the SQL");
    };
    let lines = u64::try_from(ddl.split('\n').count()).unwrap_or(u64::MAX);
    if line > lines.saturating_add(1) {
        // The parenthesis that stands after the text: the list goes on where it should have ended.
        let trailing = message.starts_with("Expected: column name");
        let remedy = if trailing {
            "remove the comma after the last column"
        } else {
            "complete the last column"
        };
        return field
            .error("`columns` ends in the middle of a column list")
            .expected(expected)
            .remedy(remedy);
    }
    let message = format!("`columns` is not a column list: {}", lower_first(message));
    place(field, line, column, message)
        .expected(expected)
        .remedy("correct the SQL at this place")
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(chars).collect()
    })
}

/// SQL's rule: without quotes, letter case does not count.
fn name_of(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

fn at_ident(field: &Field<'_>, ident: &Ident, message: impl Into<String>) -> Error {
    place(
        field,
        ident.span.start.line,
        ident.span.start.column,
        message,
    )
}

impl Declared {
    fn add(&mut self, field: &Field<'_>, column: &ColumnDef) -> Result<()> {
        let name = name_of(&column.name);
        let error = |message: String| at_ident(field, &column.name, message);
        if is_metadata(&name) {
            return Err(error(format!("`{name}` is a metadata column's name"))
                .expected("a name that the engine does not use itself")
                .remedy("a row's column of this name cannot be read; remove it"));
        }
        if self.has(&name) {
            return Err(
                error(format!("column `{}` is declared twice", short(&name)))
                    .expected("distinct names")
                    .remedy("remove one of them"),
            );
        }
        let (data_type, encoding) = types::column_type(&column.data_type).map_err(|wrong| {
            error(format!("column `{}`: {}", short(&name), wrong.message))
                .expected(wrong.expected)
                .remedy(wrong.remedy)
        })?;
        let mut not_null = false;
        for option in &column.options {
            match &option.option {
                ColumnOption::Null => {}
                ColumnOption::NotNull => not_null = true,
                ColumnOption::PrimaryKey(_) => {
                    not_null = true;
                    self.set_key(vec![name.clone()])
                        .map_err(|()| second_key(error("a second `PRIMARY KEY`".to_owned())))?;
                }
                other => {
                    return Err(error(format!(
                        "column `{}`: `{}` says nothing about how values are read",
                        short(&name),
                        short(&other.to_string())
                    ))
                    .expected("`NOT NULL`, `NULL` or `PRIMARY KEY` after the type")
                    .remedy("remove it"));
                }
            }
        }
        self.columns.push(DeclaredColumn {
            field: Arc::new(ArrowField::new(name, data_type, true)),
            encoding,
            not_null,
        });
        Ok(())
    }

    fn constrain(&mut self, field: &Field<'_>, constraint: &TableConstraint) -> Result<()> {
        let TableConstraint::PrimaryKey(key) = constraint else {
            return Err(field
                .error(format!(
                    "`{}` says nothing about how values are read",
                    short(&constraint.to_string())
                ))
                .expected("columns, and `PRIMARY KEY (column, …)`")
                .remedy("remove it"));
        };
        let mut names = Vec::with_capacity(key.columns.len());
        for column in &key.columns {
            let Some(ident) = plain_column(column) else {
                return Err(field
                    .error("`PRIMARY KEY` names something that is not a column")
                    .expected("`PRIMARY KEY (column, …)`")
                    .remedy("name columns only"));
            };
            let name = name_of(ident);
            if !self.has(&name) || names.contains(&name) {
                let message = format!("`PRIMARY KEY` names `{}`", short(&name));
                return Err(at_ident(field, ident, message)
                    .expected("columns of this list, each once")
                    .remedy("correct its name, or declare it"));
            }
            names.push(name);
        }
        self.set_key(names)
            .map_err(|()| second_key(field.error("`columns` has two primary keys")))
    }

    fn has(&self, name: &str) -> bool {
        self.columns
            .iter()
            .any(|column| column.field.name() == name)
    }

    fn set_key(&mut self, names: Vec<String>) -> Result<(), ()> {
        if !self.primary_key.is_empty() {
            return Err(());
        }
        self.primary_key = names;
        Ok(())
    }
}

fn second_key(error: Error) -> Error {
    error
        .expected("one primary key")
        .remedy("write `PRIMARY KEY (a, b)` at the list's end for a key of several columns")
}

fn plain_column(column: &IndexColumn) -> Option<&Ident> {
    match &column.column.expr {
        Expr::Identifier(ident) => Some(ident),
        _ => None,
    }
}
