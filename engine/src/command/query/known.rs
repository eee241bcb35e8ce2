//! What the prompt can complete.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray};
use clap::ValueEnum;
use futures::StreamExt;
use sql::function::table::TableFunction;
use sql::plan::Script;
use sql::repl::{Completion, Names, Relation, complete};
use sql::session::{Role, session};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::answer::parse;
use super::run::Queries;
use crate::cli::OutputFormat;
use crate::command::tables::KnownTable;

/// A table that takes longer to open has no columns to offer: a person waits.
const PATIENCE: Duration = Duration::from_secs(3);

/// Names, and the columns that were asked for.
#[derive(Debug)]
pub(super) struct Known {
    queries: Arc<Queries>,
    names: Names,
    columns: HashMap<String, Vec<String>>,
}

impl Known {
    pub(super) fn new(queries: Arc<Queries>) -> Self {
        let state = session(Role::Query).state();
        let mut functions: Vec<String> = state
            .scalar_functions()
            .keys()
            .chain(state.aggregate_functions().keys())
            .chain(state.window_functions().keys())
            .cloned()
            .collect();
        functions.sort();
        functions.dedup();
        let formats = OutputFormat::value_variants().iter();
        let names = Names {
            tables: tables_of(&queries),
            functions,
            table_functions: TableFunction::ALL
                .map(|function| function.name().to_owned())
                .to_vec(),
            formats: formats.map(|format| format.name().to_owned()).collect(),
        };
        Self {
            queries,
            names,
            columns: HashMap::new(),
        }
    }

    /// What may stand at byte `at` of `line`, after the lines `before`. May open tables, and waits for that: for a thread that
    /// may wait.
    pub(super) fn complete(&mut self, before: &str, line: &str, at: usize) -> Completion {
        let Self {
            queries,
            names,
            columns,
        } = self;
        complete(before, line, at, names, &mut |relation| {
            let query = query_of(relation);
            if let Some(known) = columns.get(&query) {
                return known.clone();
            }
            let asked = Handle::current().block_on(timeout(PATIENCE, columns_of(queries, &query)));
            let found = asked.ok().flatten().unwrap_or_default();
            columns.insert(query, found.clone());
            found
        })
    }

    /// Columns may have changed, and tables may have been made known.
    pub(super) fn forget_columns(&mut self) {
        self.columns.clear();
        self.names.tables = tables_of(&self.queries);
    }
}

fn tables_of(queries: &Queries) -> Vec<String> {
    let known = queries.tables().iter().map(KnownTable::shown);
    let externals = queries.externals();
    known
        .chain(externals.iter().map(|table| table.shown()))
        .collect()
}

/// A statement that tells a relation's columns.
fn query_of(relation: &Relation) -> String {
    let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
    match relation {
        Relation::Table(name) => format!("DESCRIBE {name}"),
        // A table at a version has the columns of the table, or fewer.
        Relation::Function {
            name,
            argument: Some(table),
        } if name == "at" => format!("DESCRIBE {table}"),
        Relation::Function { name, argument } => {
            let argument = argument.as_deref().map(text).unwrap_or_default();
            format!("SELECT * FROM {name}({argument})")
        }
    }
}

/// `None` if the statement cannot be run: it is no mistake of anybody who is still writing.
async fn columns_of(queries: &Queries, query: &str) -> Option<Vec<String>> {
    let script = Script::new(query);
    let statement = parse(&script).ok()?.pop()?;
    let described = query.starts_with("DESCRIBE");
    let mut running = queries.start(statement, &script).await.ok()?;
    if !described {
        let fields = running.schema.fields().iter();
        return Some(fields.map(|field| field.name().clone()).collect());
    }
    let mut names = Vec::new();
    while let Some(rows) = running.stream.next().await {
        let rows = rows.ok()?;
        let column = rows.column_by_name("column_name")?;
        let column = column.as_string_opt::<i32>()?;
        names.extend((0..column.len()).map(|row| column.value(row).to_owned()));
    }
    Some(names)
}
