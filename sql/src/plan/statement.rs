//! One `SELECT`, and nothing else.

use std::collections::VecDeque;

use datafusion::execution::SessionState;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{self, SetExpr};
use datafusion::sql::sqlparser::dialect::GenericDialect;

use super::script::Script;
use crate::error::{Error, Result};

const ONE_SELECT: &str = "one SELECT";

/// The one `SELECT` (or `WITH … SELECT`) of `script`.
///
/// # Errors
/// [`crate::ErrorKind::Config`] for a syntax error, no or several statements, or any other statement.
pub fn parse_select(state: &SessionState, script: &Script) -> Result<Statement> {
    let limit = state.config().options().sql_parser.recursion_limit;
    let mut statements: VecDeque<Statement> = DFParserBuilder::new(script.text())
        .with_dialect(&GenericDialect {})
        .with_recursion_limit(limit)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|e| script.error(e))?;
    let many = statements.len();
    let refuse = |message: String| {
        Err(Error::config(message)
            .at(script.start())
            .expected(ONE_SELECT))
    };
    let Some(statement) = statements.pop_front() else {
        return refuse("the SQL is empty".to_owned());
    };
    if many > 1 {
        return refuse(format!("the SQL has {many} statements"));
    }
    match &statement {
        Statement::Statement(inner) => match inner.as_ref() {
            ast::Statement::Query(query) => match written_by(&query.body) {
                None => Ok(statement),
                Some(what) => refuse(format!(
                    "the SQL is {what}, and a pipeline's SQL only reads"
                )),
            },
            other => refuse(format!(
                "the SQL is {}, and a pipeline's SQL only reads",
                verb(&other.to_string())
            )),
        },
        other => refuse(format!(
            "the SQL is {}, and a pipeline's SQL only reads",
            verb(&other.to_string())
        )),
    }
}

/// The statement that a query's body hides: `WITH x AS (…) INSERT …`, `SELECT … INTO t`.
fn written_by(body: &SetExpr) -> Option<&'static str> {
    match body {
        SetExpr::Insert(_) => Some("an INSERT"),
        SetExpr::Update(_) => Some("an UPDATE"),
        SetExpr::Delete(_) => Some("a DELETE"),
        SetExpr::Merge(_) => Some("a MERGE"),
        SetExpr::Select(select) if select.into.is_some() => Some("a SELECT INTO"),
        SetExpr::SetOperation { left, right, .. } => written_by(left).or_else(|| written_by(right)),
        SetExpr::Query(query) => written_by(&query.body),
        _ => None,
    }
}

/// The first word of a statement with its article.
fn verb(statement: &str) -> String {
    let word = statement.split_whitespace().next().unwrap_or("a statement");
    let article = if word.starts_with(['A', 'E', 'I', 'O', 'U']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {word}")
}
