//! One statement at a time: from its syntax tree to a stream of its rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlanProperties, execute_stream};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as Ast;
use futures::stream;
use sql::change::is_metadata;
use sql::plan::{Script, expand_wildcards};
use sql::session::{Role, session};
use sql::{Error, Result};

use super::names::register;
use super::refuse::refuse_writes;
use crate::command::tables::{KnownKind, KnownTable, KnownTables};

/// The statements of one `engine sql`: what they may name, for as long as it lasts.
#[derive(Debug)]
pub struct Queries {
    tables: KnownTables,
}

/// A statement that runs. Dropping the stream ends it.
pub struct Running {
    /// The columns of its rows; none if the statement has no result to show.
    pub schema: SchemaRef,
    /// Its rows. An error of it goes through [`cannot_run`].
    pub stream: SendableRecordBatchStream,
    /// Whether the rows may never end: they are to be shown as they come.
    pub unbounded: bool,
}

impl Running {
    /// A result that is there at once.
    fn ready(rows: RecordBatch) -> Self {
        let schema = rows.schema();
        let rows = stream::iter([Ok(rows)]);
        Self {
            schema: Arc::clone(&schema),
            stream: Box::pin(RecordBatchStreamAdapter::new(schema, rows)),
            unbounded: false,
        }
    }
}

impl Queries {
    /// Statements over `tables`.
    pub fn new(tables: KnownTables) -> Self {
        Self { tables }
    }

    /// The same statements over `tables`: the pipeline files were read again.
    #[must_use]
    pub fn over(&self, tables: KnownTables) -> Self {
        Self { tables }
    }

    /// The tables of the pipelines.
    pub fn tables(&self) -> &KnownTables {
        &self.tables
    }

    /// Plans `statement`, which stands in `script`, and starts it.
    ///
    /// # Errors
    /// SQL that cannot be planned, a table that is not there, a statement that would write, and what opening tables meets.
    pub async fn start(&self, mut statement: Statement, script: &Script) -> Result<Running> {
        if let Statement::Statement(ast) = &statement
            && matches!(**ast, Ast::ShowTables { .. })
        {
            return self.listing().map(Running::ready);
        }
        refuse_writes(&statement)?;
        // Which tables a statement names does not depend on the session that runs it.
        let state = session(Role::Query).state();
        let mut references = script.result(state.resolve_table_references(&statement))?;
        references.retain(|name| !state.table_functions().contains_key(name.table()));
        let live = references.iter().any(|reference| {
            self.tables
                .named(reference)
                .iter()
                .any(|table| matches!(table.kind, KnownKind::Source))
        });
        let ctx = session(if live { Role::Tail } else { Role::Query });
        for reference in references {
            let table = register(&ctx, &reference, &self.tables)
                .await
                .map_err(|error| script.locate(error, reference.table()))?;
            if let Some(schema) = table {
                let columns = schema.fields().iter().map(|field| field.name().clone());
                let metadata: Vec<String> = columns.filter(|name| is_metadata(name)).collect();
                expand_wildcards(&mut statement, &reference, &metadata)
                    .map_err(|error| script.locate(error, reference.table()))?;
            }
        }
        let plan = script.result(ctx.state().statement_to_plan(statement).await)?;
        let frame = script.result(ctx.execute_logical_plan(plan).await)?;
        let task = Arc::new(frame.task_ctx());
        let plan = script.result(frame.create_physical_plan().await)?;
        Ok(Running {
            schema: plan.schema(),
            unbounded: plan.boundedness().is_unbounded(),
            stream: execute_stream(plan, task).map_err(cannot_run)?,
        })
    }

    /// What `SHOW TABLES` prints.
    ///
    /// # Errors
    /// None that a user can cause.
    pub fn listing(&self) -> Result<RecordBatch> {
        let column = |value: &dyn Fn(&KnownTable) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(self.tables.iter().map(value)))
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
}

/// An error that a running statement met.
pub fn cannot_run(error: DataFusionError) -> Error {
    Error::config("the query failed while it ran").source(error)
}
