//! `engine sql` reads. Everything that would write is refused by name.

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement as Ast};
use sql::{Error, Result};

/// Refuses a statement that does not only read.
///
/// # Errors
/// [`sql::ErrorKind::Config`] that names it.
pub(super) fn refuse_writes(statement: &Statement) -> Result<()> {
    let inner = match statement {
        Statement::Explain(explain) => return refuse_writes(&explain.statement),
        Statement::Statement(ast) => ast,
        other => return Err(reads_only(&first_word(&other.to_string()))),
    };
    match &**inner {
        Ast::Query(query) if writes(query) => Err(reads_only("SELECT INTO")),
        Ast::Query(_) | Ast::ExplainTable { .. } => Ok(()),
        _ => Err(reads_only(&first_word(&inner.to_string()))),
    }
}

/// `SELECT … INTO t`, which the planner would take for a plain `SELECT`.
fn writes(query: &Query) -> bool {
    matches!(&*query.body, SetExpr::Select(select) if select.into.is_some())
}

fn first_word(statement: &str) -> String {
    let word = statement.split_whitespace().next();
    word.unwrap_or("this statement").to_uppercase()
}

pub(super) fn reads_only(what: &str) -> Error {
    Error::config(format!("engine sql reads only, and does not run {what}"))
        .expected("SELECT, WITH, EXPLAIN, DESCRIBE, SHOW TABLES or CREATE EXTERNAL TABLE")
        .remedy("tables are written by pipelines: see engine run --help")
}
