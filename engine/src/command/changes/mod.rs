//! `engine changes`: what changed in a table, row by row or as a report.

mod report;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::ScalarValue;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{ident, lit};
use futures::StreamExt;
use sql::change::{CHANGE_TYPE, COMMIT_TIMESTAMP, COMMIT_VERSION};
use sql::session::{Role, session};
use sql::table::{ChangesTable, Range};
use sql::{Error, ErrorKind, Result};

use super::functions::range::{self, Bound};
use super::functions::target::{Names, Target, versioned};
use super::print::Output;
use super::query::cannot_run;
use super::show::{Look, Show};
use super::tables::KnownTables;
use crate::cli::{ChangesArgs, OutputFormat};
use crate::spec::nearest;

/// Runs `engine changes`.
///
/// # Errors
/// [`sql::ErrorKind::Config`] for a table, a column or a version that is not there; [`sql::ErrorKind::DataLoss`] for versions
/// that are gone; of the storage or catalog.
pub async fn changes(args: ChangesArgs) -> Result<()> {
    super::plain_logs()?;
    show(args).await.map_err(|error| {
        // A kind's general remedy speaks of pipeline files; what is wrong here is an argument.
        match (error.kind(), error.next_step()) {
            (ErrorKind::Config, None) => error.remedy("see engine changes --help"),
            _ => error,
        }
    })
}

async fn show(args: ChangesArgs) -> Result<()> {
    let default = PathBuf::from("pipelines");
    let paths = match args.paths.is_empty() {
        false => args.paths.clone(),
        true if default.is_dir() => vec![default],
        true => Vec::new(),
    };
    let known = KnownTables::of(&paths)?;
    let names = Names {
        known: &known,
        externals: Vec::new(),
    };
    let target = versioned(&names, &args.table).await?;
    let range = asked(&target, &args).await?;
    let Target { shown, table, key } = target;
    // One partition: filters would deal the rows out to several and lose their order.
    let ctx = session(if args.follow {
        Role::Tail
    } else {
        Role::Pipeline
    });
    let row = table.schema();
    let provider = ChangesTable::try_new(shown.clone(), Arc::clone(&table), range)?;
    let frame = ctx.read_table(Arc::new(provider)).map_err(cannot_plan)?;
    let frame = chosen(frame, &row, &args)?;
    let mut out = Output::stdout();
    match args.report {
        Some(format) => {
            let of = report::Of {
                shown: &shown,
                table: table.as_ref(),
                range,
                key: &key,
            };
            report::report(&mut out, format, &of, frame).await
        }
        None => {
            let frame = projected(frame, &row, &args)?;
            rows(&mut out, frame, args.format, args.follow).await
        }
    }
}

/// The versions that the command line asks for.
async fn asked(target: &Target, args: &ChangesArgs) -> Result<Range> {
    let bound = |text: &Option<String>, option: &str| -> Result<Option<Bound>> {
        let parsed = text.as_deref().map(Bound::parse).transpose();
        parsed.map_err(|error| error.at(option.to_owned()))
    };
    let table = target.table.as_ref();
    let readable = table.refresh().await?;
    let (from, to) = (bound(&args.from, "--from")?, bound(&args.to, "--to")?);
    if args.follow {
        return range::follow(table, readable, from.as_ref()).await;
    }
    let from = from.unwrap_or(Bound::Version(readable.first));
    range::between(table, readable, &from, to.as_ref()).await
}

/// The rows that `--key` and `--type` leave.
fn chosen(mut frame: DataFrame, row: &Schema, args: &ChangesArgs) -> Result<DataFrame> {
    for (name, value) in &args.keys {
        let field = row
            .field_with_name(name)
            .map_err(|_| no_column(name, row, "--key"))?;
        let kind = field.data_type();
        let literal = ScalarValue::try_from_string(value.clone(), kind).map_err(|error| {
            Error::config(format!("`{value}` is no value of the column `{name}`"))
                .at("--key")
                .expected(format!("a value of {kind}"))
                .source(error)
        })?;
        let equal = ident(name).eq(lit(literal));
        frame = frame.filter(equal).map_err(cannot_plan)?;
    }
    if !args.types.is_empty() {
        let words = args.types.iter().map(|kind| lit(kind.word())).collect();
        let is_one = ident(CHANGE_TYPE).in_list(words, false);
        frame = frame.filter(is_one).map_err(cannot_plan)?;
    }
    Ok(frame)
}

/// The columns that `--columns` names, then what is said of the change.
fn projected(frame: DataFrame, row: &Schema, args: &ChangesArgs) -> Result<DataFrame> {
    if args.columns.is_empty() {
        return Ok(frame);
    }
    let added = [CHANGE_TYPE, COMMIT_VERSION, COMMIT_TIMESTAMP];
    let mut columns: Vec<Expr> = Vec::new();
    for name in &args.columns {
        if added.contains(&name.as_str()) {
            continue;
        }
        if row.field_with_name(name).is_err() {
            return Err(no_column(name, row, "--columns"));
        }
        columns.push(ident(name));
    }
    columns.extend(added.map(ident));
    frame.select(columns).map_err(cannot_plan)
}

fn no_column(name: &str, row: &Schema, at: &str) -> Error {
    let names: Vec<&str> = row.fields().iter().map(|f| f.name().as_str()).collect();
    let error = Error::config(format!("the table has no column `{name}`"))
        .at(at)
        .expected(format!("one of {}", names.join(", ")));
    match nearest(name, names.iter().copied()) {
        Some(nearest) => error.remedy(format!("did you mean `{nearest}`?")),
        None => error,
    }
}

async fn rows(
    out: &mut Output,
    frame: DataFrame,
    format: OutputFormat,
    follow: bool,
) -> Result<()> {
    let mut stream = frame.execute_stream().await.map_err(cannot_run)?;
    let look = Look::here(out.is_terminal());
    let mut show = Show::new(format, &stream.schema(), look, follow)?;
    while let Some(batch) = stream.next().await {
        show.rows(&batch.map_err(cannot_run)?, out)?;
        if out.is_closed() {
            return Ok(());
        }
    }
    show.finish(out)
}

fn cannot_plan(error: DataFusionError) -> Error {
    Error::internal("the query for the changes cannot be planned").source(error)
}
