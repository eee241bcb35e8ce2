//! One statement at a time: from its syntax tree to a stream of its rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlanProperties, execute_stream};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{CreateExternalTable, Statement};
use datafusion::sql::sqlparser::ast::{ObjectName, ObjectType, Statement as Ast};
use futures::stream;
use parking_lot::RwLock;
use sql::change::metadata_names;
use sql::function::table::{TableFunction, calls, replace};
use sql::plan::{Script, expand_wildcards};
use sql::session::{Role, session};
use sql::{Error, Result};

use super::external::{self, External};
use super::names::register;
use super::refuse::{reads_only, refuse_writes};
use crate::command::functions::{self, target::Names};
use crate::command::tables::KnownTables;

/// The statements of one `engine sql`: what they may name, for as long as it lasts.
#[derive(Debug)]
pub struct Queries {
    tables: KnownTables,
    externals: RwLock<Vec<Arc<External>>>,
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
    /// Of a statement that has no result.
    fn nothing() -> Self {
        Self::ready(RecordBatch::new_empty(Arc::new(Schema::empty())))
    }

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
        Self {
            tables,
            externals: RwLock::default(),
        }
    }

    /// The same statements over `tables`: the pipeline files were read again.
    #[must_use]
    pub fn over(&self, tables: KnownTables) -> Self {
        Self {
            tables,
            externals: RwLock::new(self.externals()),
        }
    }

    /// The tables of the pipelines.
    pub fn tables(&self) -> &KnownTables {
        &self.tables
    }

    /// The tables that statements of this session made known.
    pub fn externals(&self) -> Vec<Arc<External>> {
        self.externals.read().clone()
    }

    /// What a statement may name now.
    pub fn names(&self) -> Names<'_> {
        Names {
            known: &self.tables,
            externals: self.externals(),
        }
    }

    /// Plans `statement`, which stands in `script`, and starts it.
    ///
    /// # Errors
    /// SQL that cannot be planned, a table that is not there, a statement that would write, and what opening tables meets.
    pub async fn start(&self, statement: Statement, script: &Script) -> Result<Running> {
        if let Statement::Statement(ast) = &statement
            && matches!(**ast, Ast::ShowTables { .. })
        {
            return self.listing().map(Running::ready);
        }
        let Some(statement) = self.define(statement, script).await? else {
            return Ok(Running::nothing());
        };
        refuse_writes(&statement)?;
        let (ctx, statement) = self.resolve(statement, script).await?;
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

    /// A session that has every table of `statement` and every function that it calls, and the statement over them.
    async fn resolve(
        &self,
        mut statement: Statement,
        script: &Script,
    ) -> Result<(SessionContext, Statement)> {
        let names = self.names();
        let called = calls(&statement, script)?;
        let mut opened = Vec::with_capacity(called.len());
        for call in &called {
            let table = functions::open(call, &names).await;
            let place = || script.place(call.at.0, call.at.1);
            opened.push(table.map_err(|error| match error.place() {
                Some(_) => error,
                None => error.at(place()),
            })?);
        }
        replace(&mut statement, &called);
        // Which tables a statement names does not depend on the session that runs it.
        let state = session(Role::Query).state();
        let mut references = script.result(state.resolve_table_references(&statement))?;
        references.retain(|name| {
            let function = called.iter().any(|call| call.is_named(name));
            !function && !state.table_functions().contains_key(name.table())
        });
        let live = opened.iter().any(|table| table.endless)
            || references.iter().any(|name| names.is_live(name));
        let ctx = session(if live { Role::Tail } else { Role::Query });
        for (call, table) in called.iter().zip(opened) {
            if call.function == TableFunction::Kafka {
                let metadata = metadata_names(&table.provider.schema());
                expand_wildcards(&mut statement, &call.reference(), &metadata)?;
            }
            table.put_into(&ctx, &call.reference())?;
        }
        for reference in references {
            let table = register(&ctx, &reference, &names)
                .await
                .map_err(|error| script.locate(error, reference.table()))?;
            if let Some(schema) = table {
                expand_wildcards(&mut statement, &reference, &metadata_names(&schema))
                    .map_err(|error| script.locate(error, reference.table()))?;
            }
        }
        Ok((ctx, statement))
    }

    /// Does what a statement says that makes a table known or forgets one; returns any other statement.
    async fn define(&self, statement: Statement, script: &Script) -> Result<Option<Statement>> {
        match statement {
            Statement::CreateExternalTable(create) => {
                self.create(create, script).await?;
                Ok(None)
            }
            Statement::Statement(ast) => match *ast {
                Ast::Drop {
                    object_type: ObjectType::Table,
                    if_exists,
                    names,
                    ..
                } => self.forget(&names, if_exists).map(|()| None),
                other => Ok(Some(Statement::Statement(Box::new(other)))),
            },
            other => Ok(Some(other)),
        }
    }

    async fn create(&self, create: CreateExternalTable, script: &Script) -> Result<()> {
        let name = external::reference(&create.name)?;
        let place = |error: Error| script.locate(error, name.table());
        let names = self.names();
        if names.external(&name).is_some() {
            if create.if_not_exists {
                return Ok(());
            }
            if !create.or_replace {
                return Err(place(
                    Error::config(format!("there is a table `{name}` already"))
                        .remedy("choose another name, or write CREATE OR REPLACE EXTERNAL TABLE"),
                ));
            }
        } else if let Some(known) = self.tables.iter().find(|table| table.name == name) {
            return Err(place(
                Error::config(format!("`{}` is a table of a pipeline", known.shown()))
                    .remedy("choose another name"),
            ));
        }
        let table = External::create(create, script).await.map_err(place)?;
        let mut externals = self.externals.write();
        externals.retain(|known| known.name != table.name);
        externals.push(Arc::new(table));
        Ok(())
    }

    fn forget(&self, names: &[ObjectName], if_exists: bool) -> Result<()> {
        let mut externals = self.externals.write();
        let dropped = names.iter().map(external::reference);
        let dropped = dropped.collect::<Result<Vec<_>>>()?;
        for name in &dropped {
            if externals.iter().any(|table| &table.name == name) {
                continue;
            }
            if !self.tables.named(name).is_empty() {
                return Err(reads_only("DROP"));
            }
            if !if_exists {
                return Err(
                    Error::config(format!("no table of this session is named `{name}`"))
                        .expected("a table that CREATE EXTERNAL TABLE made known"),
                );
            }
        }
        externals.retain(|table| !dropped.contains(&table.name));
        Ok(())
    }

    /// What `SHOW TABLES` prints.
    ///
    /// # Errors
    /// None that a user can cause.
    pub fn listing(&self) -> Result<RecordBatch> {
        let externals = self.externals();
        let rows = externals.iter().map(|table| Row {
            table: table.shown(),
            kind: table.word(),
            pipeline: None,
            file: table.location.clone(),
        });
        let rows = rows.chain(self.tables.iter().map(|table| Row {
            table: table.shown(),
            kind: table.kind.word(),
            pipeline: Some(table.pipeline.pipeline.name.as_str()),
            file: table.pipeline.file.display().to_string(),
        }));
        let rows: Vec<Row<'_>> = rows.collect();
        let column = |value: &dyn for<'a> Fn(&'a Row<'_>) -> Option<&'a str>| -> ArrayRef {
            Arc::new(StringArray::from_iter(rows.iter().map(value)))
        };
        RecordBatch::try_from_iter([
            ("table", column(&|row| Some(&row.table))),
            ("kind", column(&|row| Some(row.kind))),
            ("pipeline", column(&|row| row.pipeline)),
            ("file", column(&|row| Some(&row.file))),
        ])
        .map_err(|error| Error::internal("the list of tables does not fit together").source(error))
    }
}

/// A line of `SHOW TABLES`.
struct Row<'a> {
    table: String,
    kind: &'a str,
    pipeline: Option<&'a str>,
    file: String,
}

/// An error that a running statement met: ours as it is, for it knows what to do next.
pub fn cannot_run(error: DataFusionError) -> Error {
    match unwrapped(error) {
        Ok(ours) => ours,
        Err(error) => Error::config("the query failed while it ran").source(error),
    }
}

fn unwrapped(error: DataFusionError) -> Result<Error, DataFusionError> {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => Ok(*ours),
            Err(other) => Err(DataFusionError::External(other)),
        },
        DataFusionError::Context(text, inner) => {
            unwrapped(*inner).map_err(|inner| DataFusionError::Context(text, Box::new(inner)))
        }
        other => Err(other),
    }
}
