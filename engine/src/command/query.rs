//! `engine sql`: queries over what pipelines wrote and read.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, TableProvider,
};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::{ExecutionPlanProperties, execute_stream};
use datafusion::prelude::SessionContext;
use datafusion::sql::TableReference;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement as Ast};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use futures::StreamExt;
use sql::change::metadata_names;
use sql::plan::{Script, expand_wildcards};
use sql::session::{Role, session};
use sql::{Error, ErrorKind, Result};

use super::feed_table::feed_table;
use super::print::{Output, print};
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
    let tables = KnownTables::of(&paths)?;
    let mut out = Output::stdout();
    let script = match args.script {
        Some(script) => Script::located(text, &script.display().to_string(), 1),
        None => Script::new(text),
    };
    for statement in parse(&script).map_err(of_a_query)? {
        execute(statement, &script, &tables, args.format, &mut out)
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

async fn execute(
    mut statement: Statement,
    script: &Script,
    tables: &KnownTables,
    format: OutputFormat,
    out: &mut Output,
) -> Result<()> {
    if let Statement::Statement(ast) = &statement
        && matches!(**ast, Ast::ShowTables { .. })
    {
        let listing = listing(tables)?;
        return print(out, format, &listing.schema(), &[listing], true);
    }
    refuse_writes(&statement)?;
    // Which tables a statement names does not depend on the session that runs it.
    let state = session(Role::Query).state();
    let mut references = script.result(state.resolve_table_references(&statement))?;
    references.retain(|name| !state.table_functions().contains_key(name.table()));
    let live = references.iter().any(|reference| {
        tables
            .named(reference)
            .iter()
            .any(|table| matches!(table.kind, KnownKind::Source))
    });
    let ctx = session(if live { Role::Tail } else { Role::Query });
    for reference in references {
        let table = register(&ctx, &reference, tables)
            .await
            .map_err(|error| script.locate(error, reference.table()))?;
        if let Some(schema) = table {
            let metadata = metadata_names(&schema);
            expand_wildcards(&mut statement, &reference, &metadata)
                .map_err(|error| script.locate(error, reference.table()))?;
        }
    }
    let plan = script.result(ctx.state().statement_to_plan(statement).await)?;
    let frame = script.result(ctx.execute_logical_plan(plan).await)?;
    let task = Arc::new(frame.task_ctx());
    let plan = script.result(frame.create_physical_plan().await)?;
    let schema = plan.schema();
    let unbounded = plan.boundedness().is_unbounded();
    let mut stream = execute_stream(plan, task).map_err(cannot_run)?;
    let mut batches = Vec::new();
    let mut first = true;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(cannot_run)?;
        if unbounded && format != OutputFormat::Json {
            // A live source has no end to wait for.
            print(out, format, &schema, &[batch], first)?;
            first = false;
            if out.is_closed() {
                return Ok(());
            }
        } else {
            batches.push(batch);
        }
    }
    if !first {
        return Ok(());
    }
    print(out, format, &schema, &batches, true)
}

/// `engine sql` reads. Everything that would write is refused by name.
fn refuse_writes(statement: &Statement) -> Result<()> {
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

fn reads_only(what: &str) -> Error {
    Error::config(format!("engine sql reads only, and does not run {what}"))
        .expected("SELECT, WITH, EXPLAIN, DESCRIBE or SHOW TABLES")
        .remedy("tables are written by pipelines: see engine run --help")
}

/// Registers the table that `reference` names. Returns the schema of a source: its wildcards mean less than all of it.
async fn register(
    ctx: &SessionContext,
    reference: &TableReference,
    tables: &KnownTables,
) -> Result<Option<SchemaRef>> {
    let table = match tables.named(reference).as_slice() {
        [one] => *one,
        [] => return Err(unknown(reference, tables)),
        several => {
            let names: Vec<_> = several.iter().map(|table| table.shown()).collect();
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
    let schema = matches!(table.kind, KnownKind::Source).then(|| provider.schema());
    ctx.register_table(reference.clone(), provider)
        .map_err(cannot_register)?;
    Ok(schema)
}

async fn open(ctx: &SessionContext, table: &KnownTable) -> Result<Arc<dyn TableProvider>> {
    let opened = match &table.kind {
        KnownKind::Delta(delta) | KnownKind::Quarantine(delta) => {
            lake::delta::delta_provider(delta).await
        }
        KnownKind::Iceberg(iceberg) => lake::iceberg::iceberg_provider(iceberg).await,
        KnownKind::Source => return feed_table(ctx, &table.pipeline).await,
    };
    opened.map_err(|error| match error.message().starts_with("there is no ") {
        true => not_there_yet(table, error),
        false => error,
    })
}

/// The pipeline that would have made the table is known, so the way out is too.
fn not_there_yet(table: &KnownTable, error: Error) -> Error {
    let name = table.shown();
    let place = error.place().unwrap_or(&name).to_owned();
    if matches!(table.kind, KnownKind::Quarantine(_)) {
        return Error::config(format!(
            "`{name}` is not there: no message was set aside yet"
        ))
        .at(place)
        .remedy("nothing is wrong: the table is made with the first message that is set aside");
    }
    let first = format!(
        "run the pipeline first, as in `engine run --once {}`, with the same WAREHOUSE and working folder",
        table.pipeline.file.display()
    );
    // The catalog is there: perhaps the table is in it under another name.
    let catalog =
        matches!(table.kind, KnownKind::Iceberg(_)) && std::path::Path::new(&place).exists();
    Error::config(format!("`{name}` is not there yet: {}", error.message()))
        .at(place)
        .remedy(match catalog {
            true => {
                format!("{first}; if it ran, check the catalog's name, which is part of its keys")
            }
            false => first,
        })
}

fn unknown(reference: &TableReference, tables: &KnownTables) -> Error {
    let names: Vec<String> = tables.iter().map(KnownTable::shown).collect();
    let wanted = reference.to_string();
    let error = Error::config(format!("no table is named `{wanted}`"));
    if names.is_empty() {
        return error
            .expected("a table that a pipeline writes or reads; no pipeline file is known here")
            .remedy("name pipeline files or their folder: engine sql FILE|DIR… -c 'SELECT …'");
    }
    let error = error.expected(format!("one of {}", names.join(", ")));
    let nearest = crate::spec::nearest(&wanted, names.iter().map(String::as_str));
    // A wrong bare name is compared with the bare names.
    let nearest = nearest.map(str::to_owned).or_else(|| {
        let bare = crate::spec::nearest(reference.table(), tables.iter().map(|t| t.name.table()))?;
        let known = tables.iter().find(|table| table.name.table() == bare)?;
        Some(known.shown())
    });
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
        ("table", column(&KnownTable::shown)),
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
