//! `engine sql`: queries over what pipelines wrote and read.
//!
//! Here are the arguments, the statements and what is printed of them; [`Queries`] plans and starts each.

pub mod external;
mod names;
mod refuse;
mod run;

use std::path::PathBuf;

use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use futures::StreamExt;
use sql::plan::Script;
use sql::{Error, ErrorKind, Result};

pub(crate) use names::{add, not_there_yet, several, unknown};
pub use run::{Queries, Running, cannot_run};

use super::print::{Output, print};
use super::tables::KnownTables;
use crate::cli::{OutputFormat, SqlArgs};

/// Runs `engine sql`.
///
/// # Errors
/// SQL that cannot be parsed or planned, a table that is not there, and what running it meets.
pub async fn query(args: SqlArgs) -> Result<()> {
    super::plain_logs()?;
    let text = match (&args.command, &args.script) {
        (Some(text), _) => text.clone(),
        (None, Some(script)) => std::fs::read_to_string(script).map_err(|error| {
            Error::config("the script cannot be read")
                .at(script.display().to_string())
                .expected("a file of SQL statements that this user may read")
                .remedy("check the path and its permissions")
                .source(error)
        })?,
        (None, None) => {
            return Err(Error::config("the interactive prompt is not built yet")
                .expected("-c 'SELECT …' or -f SCRIPT")
                .remedy("run e.g. engine sql -c 'SHOW TABLES'"));
        }
    };
    let default = PathBuf::from("pipelines");
    let paths = match args.paths.is_empty() {
        false => args.paths,
        // Without a folder of that name there are no tables, and `SELECT 1` needs none.
        true if default.is_dir() => vec![default],
        true => Vec::new(),
    };
    let queries = Queries::new(KnownTables::of(&paths)?);
    let mut out = Output::stdout();
    let script = match args.script {
        Some(script) => Script::located(text, &script.display().to_string(), 1),
        None => Script::new(text),
    };
    for statement in parse(&script).map_err(of_a_query)? {
        let running = queries
            .start(statement, &script)
            .await
            .map_err(of_a_query)?;
        show(running, args.format, &mut out)
            .await
            .map_err(of_a_query)?;
        if out.is_closed() {
            break;
        }
    }
    Ok(())
}

/// A kind's general remedy speaks of pipeline files; what is wrong here is the query.
fn of_a_query(error: Error) -> Error {
    if error.kind() == ErrorKind::Config && error.next_step().is_none() {
        return error.remedy("correct the query, then run it again");
    }
    error
}

fn parse(script: &Script) -> Result<Vec<Statement>> {
    let statements = DFParserBuilder::new(script.text())
        .with_dialect(&GenericDialect {})
        .build()
        .and_then(|mut parser| parser.parse_statements());
    script.result(statements).map(Vec::from)
}

/// Prints what a statement returns.
async fn show(mut running: Running, format: OutputFormat, out: &mut Output) -> Result<()> {
    let mut batches = Vec::new();
    let mut first = true;
    while let Some(batch) = running.stream.next().await {
        let batch = batch.map_err(cannot_run)?;
        if running.unbounded && format != OutputFormat::Json {
            // A live source has no end to wait for.
            print(out, format, &running.schema, &[batch], first)?;
            first = false;
            if out.is_closed() {
                return Ok(());
            }
        } else {
            batches.push(batch);
        }
    }
    // A statement without columns has no result: DDL.
    if !first || running.schema.fields().is_empty() {
        return Ok(());
    }
    print(out, format, &running.schema, &batches, true)
}
