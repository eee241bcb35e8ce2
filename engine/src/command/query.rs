//! `engine sql`: queries over what pipelines wrote and read.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, TableProvider,
};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::{ExecutionPlanProperties, execute_stream};
use datafusion::prelude::SessionContext;
use datafusion::sql::TableReference;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::Statement as Ast;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use futures::StreamExt;
use sql::plan::Script;
use sql::session::{Role, session};
use sql::{Error, Result};

use super::feed_table::feed_table;
use super::print::print;
use super::tables::{KnownKind, KnownTable, KnownTables};
use crate::cli::{OutputFormat, SqlArgs};
use crate::lake;

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
                .source(error)
        })?,
        (None, None) => {
            return Err(Error::config("the interactive prompt is not built yet")
                .expected("-c 'SELECT …' or -f SCRIPT")
                .remedy("run e.g. engine sql -c 'SHOW TABLES'"));
        }
    };
    let paths = if args.paths.is_empty() {
        vec![PathBuf::from("pipelines")]
    } else {
        args.paths
    };
    let tables = KnownTables::of(&paths)?;
    let mut out = std::io::stdout();
    let script = Script::new(text);
    for statement in parse(&script)? {
        match execute(statement, &script, &tables, args.format, &mut out).await {
            // Whoever reads us has seen enough, as in `engine sql … | head`.
            Err(error) if is_closed_pipe(&error) => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}

fn parse(script: &Script) -> Result<Vec<Statement>> {
    let statements = DFParserBuilder::new(script.text())
        .with_dialect(&GenericDialect {})
        .build()
        .and_then(|mut parser| parser.parse_statements());
    script.result(statements).map(Vec::from)
}

fn is_closed_pipe(error: &Error) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

async fn execute(
    statement: Statement,
    script: &Script,
    tables: &KnownTables,
    format: OutputFormat,
    out: &mut (dyn Write + Send),
) -> Result<()> {
    if let Statement::Statement(ast) = &statement
        && matches!(**ast, Ast::ShowTables { .. })
    {
        let listing = listing(tables)?;
        return print(out, format, &listing.schema(), &[listing]);
    }
    refuse_writes(&statement)?;
    // Which tables a statement names does not depend on the session that runs it.
    let named = session(Role::Query)
        .state()
        .resolve_table_references(&statement);
    let references = script.result(named)?;
    let live = references.iter().any(|reference| {
        tables
            .named(reference)
            .iter()
            .any(|table| matches!(table.kind, KnownKind::Source))
    });
    let ctx = session(if live { Role::Tail } else { Role::Query });
    for reference in references {
        register(&ctx, &reference, tables).await?;
    }
    let plan = script.result(ctx.state().statement_to_plan(statement).await)?;
    let frame = script.result(ctx.execute_logical_plan(plan).await)?;
    let task = Arc::new(frame.task_ctx());
    let plan = script.result(frame.create_physical_plan().await)?;
    let schema = plan.schema();
    let unbounded = plan.boundedness().is_unbounded();
    let mut stream = execute_stream(plan, task).map_err(cannot_run)?;
    let mut batches = Vec::new();
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(cannot_run)?;
        if unbounded && format != OutputFormat::Json {
            // A live source has no end to wait for.
            print(out, format, &schema, &[batch])?;
        } else {
            batches.push(batch);
        }
    }
    if unbounded && format != OutputFormat::Json {
        return Ok(());
    }
    print(out, format, &schema, &batches)
}

/// `engine sql` reads. Everything that would write is refused by name.
fn refuse_writes(statement: &Statement) -> Result<()> {
    let inner = match statement {
        Statement::Explain(explain) => return refuse_writes(&explain.statement),
        Statement::Statement(ast) => ast,
        other => return Err(reads_only(&other.to_string())),
    };
    match **inner {
        Ast::Query(_) | Ast::ExplainTable { .. } => Ok(()),
        _ => Err(reads_only(&inner.to_string())),
    }
}

fn reads_only(statement: &str) -> Error {
    let word = statement
        .split_whitespace()
        .next()
        .unwrap_or("this statement")
        .to_uppercase();
    Error::config(format!("engine sql reads only, and does not run {word}"))
        .expected("SELECT, WITH, EXPLAIN, DESCRIBE or SHOW TABLES")
        .remedy("tables are written by pipelines: see engine run --help")
}

async fn register(
    ctx: &SessionContext,
    reference: &TableReference,
    tables: &KnownTables,
) -> Result<()> {
    let table = match tables.named(reference).as_slice() {
        [one] => *one,
        [] => return Err(unknown(reference, tables)),
        several => {
            let names: Vec<_> = several.iter().map(|table| table.name.to_string()).collect();
            return Err(
                Error::config(format!("`{reference}` may mean several tables"))
                    .expected(format!("one of {}", names.join(", ")))
                    .remedy("write the full name"),
            );
        }
    };
    let provider = open(ctx, table).await?;
    let resolved = reference.clone().resolve("datafusion", "public");
    let catalog = match ctx.catalog(&resolved.catalog) {
        Some(catalog) => catalog,
        None => {
            let catalog: Arc<dyn CatalogProvider> = Arc::new(MemoryCatalogProvider::new());
            ctx.register_catalog(resolved.catalog.to_string(), catalog.clone());
            catalog
        }
    };
    if catalog.schema(&resolved.schema).is_none() {
        catalog
            .register_schema(&resolved.schema, Arc::new(MemorySchemaProvider::new()))
            .map_err(cannot_register)?;
    }
    ctx.register_table(reference.clone(), provider)
        .map_err(cannot_register)?;
    Ok(())
}

async fn open(ctx: &SessionContext, table: &KnownTable) -> Result<Arc<dyn TableProvider>> {
    match &table.kind {
        KnownKind::Delta(delta) => lake::delta::delta_provider(delta).await,
        KnownKind::Iceberg(iceberg) => lake::iceberg::iceberg_provider(iceberg).await,
        KnownKind::Source => feed_table(ctx, &table.pipeline).await,
    }
}

fn unknown(reference: &TableReference, tables: &KnownTables) -> Error {
    let names: Vec<String> = tables.iter().map(|table| table.name.to_string()).collect();
    let wanted = reference.to_string();
    let nearest = crate::spec::nearest(&wanted, names.iter().map(String::as_str));
    let error = Error::config(format!("no table is named `{wanted}`"))
        .expected(format!("one of {}", names.join(", ")));
    match nearest {
        Some(nearest) => error.remedy(format!("did you mean `{nearest}`?")),
        None => error.remedy("list the tables with engine sql -c 'SHOW TABLES'"),
    }
}

/// What `SHOW TABLES` prints.
fn listing(tables: &KnownTables) -> Result<RecordBatch> {
    let column = |value: &dyn Fn(&KnownTable) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(tables.iter().map(value)))
    };
    RecordBatch::try_from_iter([
        ("table", column(&|table| table.name.to_string())),
        ("kind", column(&|table| table.kind.word().to_owned())),
        (
            "pipeline",
            column(&|table| table.pipeline.pipeline.name.clone()),
        ),
        (
            "file",
            column(&|table| table.pipeline.file.display().to_string()),
        ),
    ])
    .map_err(|error| Error::internal("the list of tables does not fit together").source(error))
}

fn cannot_register(error: DataFusionError) -> Error {
    Error::internal("a table cannot be registered").source(error)
}

fn cannot_run(error: DataFusionError) -> Error {
    Error::config("the query failed while it ran").source(error)
}
