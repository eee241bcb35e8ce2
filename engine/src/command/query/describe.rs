//! `\d NAME` and `\df`.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::logical_expr::{Documentation, Signature};
use datafusion::sql::TableReference;
use sql::function::table::TableFunction;
use sql::plan::Script;
use sql::session::{Role, session};
use sql::{Error, Result};

use super::shell::Shell;
use crate::cli::OutputFormat;
use crate::command::tables::{KnownKind, KnownTable};
use crate::source::describe_table;
use crate::spec::model::{Bootstrap, CatalogKind, SourceSpec};

impl Shell {
    /// What a table is, and its columns.
    ///
    /// # Errors
    /// A table that is not there.
    pub(super) async fn describe(&mut self, name: &str) -> Result<()> {
        let reference = TableReference::from(name);
        let heading = match self.queries.tables().named(&reference).as_slice() {
            [one] => Some(heading(one)),
            _ => None,
        };
        // Other programs read columns, not sentences.
        if let Some(heading) = heading
            && self.format == OutputFormat::Table
        {
            self.target.open()?;
            writeln!(self.target, "{heading}").map_err(|error| {
                Error::new(sql::ErrorKind::Storage, "the output cannot be written to").source(error)
            })?;
        }
        let script = Script::new(format!("DESCRIBE {name}"));
        self.answer(&script).await.map(|_| ())
    }

    /// The functions, or those whose names hold `part`, with all that is said of them.
    ///
    /// # Errors
    /// No such function.
    pub(super) fn functions(&mut self, part: Option<&str>) -> Result<()> {
        let wanted = part.unwrap_or_default().to_lowercase();
        let found: Vec<Function> = functions()
            .into_iter()
            .filter(|function| function.name.contains(&wanted))
            .collect();
        if found.is_empty() {
            return Err(
                Error::config(format!("no function has `{wanted}` in its name"))
                    .remedy("see all of them with \\df"),
            );
        }
        let column = |value: &dyn Fn(&Function) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(found.iter().map(value)))
        };
        let about = |function: &Function| match part {
            Some(_) => function.about.clone(),
            None => first_sentence(&function.about),
        };
        let rows = RecordBatch::try_from_iter([
            ("function", column(&|function| function.name.clone())),
            ("kind", column(&|function| function.kind.to_owned())),
            ("arguments", column(&|function| function.arguments.clone())),
            ("description", column(&about)),
        ])
        .map_err(|error| Error::internal("the list of functions does not fit").source(error))?;
        self.show_ready(&rows)
    }
}

/// What a table is, where it is, and whose.
fn heading(table: &KnownTable) -> String {
    let spec = &table.pipeline;
    let place = match &table.kind {
        KnownKind::Delta(delta) | KnownKind::Quarantine(delta) => delta.path.clone(),
        KnownKind::Iceberg(iceberg) => match &iceberg.catalog.kind {
            CatalogKind::Sql { uri, warehouse } => format!("{warehouse}, catalog {uri}"),
            CatalogKind::Rest(rest) => format!("catalog {}", rest.uri),
            CatalogKind::File { metadata } => metadata.clone(),
        },
        KnownKind::Source => source_place(&spec.source),
    };
    format!(
        "{}: {} of the pipeline {} ({})\nat {place}",
        table.shown(),
        match &table.kind {
            KnownKind::Delta(_) => "Delta table",
            KnownKind::Iceberg(_) => "Iceberg table",
            KnownKind::Quarantine(_) => "messages set aside, a Delta table,",
            KnownKind::Source => "source, read live,",
        },
        spec.pipeline.name,
        spec.file.display()
    )
}

fn source_place(source: &SourceSpec) -> String {
    match source {
        SourceSpec::Kafka(kafka) => match &kafka.bootstrap {
            Bootstrap::Brokers(brokers) => format!("Kafka {brokers}"),
            Bootstrap::File(path) => path.display().to_string(),
        },
        SourceSpec::Lake(lake) => describe_table(&lake.table),
    }
}

struct Function {
    name: String,
    kind: &'static str,
    arguments: String,
    about: String,
}

impl Function {
    fn new(
        name: &str,
        kind: &'static str,
        signature: &Signature,
        documentation: Option<&Documentation>,
    ) -> Self {
        let arguments = match documentation {
            Some(documentation) => one_line(&documentation.syntax_example),
            None => {
                let kinds = signature.type_signature.to_string_repr();
                format!("{name}({})", kinds.join(" or "))
            }
        };
        Self {
            name: name.to_owned(),
            kind,
            arguments,
            about: documentation
                .map(|documentation| one_line(&documentation.description))
                .unwrap_or_default(),
        }
    }
}

/// Every function of a session, by name.
fn functions() -> Vec<Function> {
    let state = session(Role::Query).state();
    let mut all: Vec<Function> = Vec::new();
    all.extend(state.scalar_functions().iter().map(|(name, function)| {
        Function::new(
            name,
            "scalar",
            function.signature(),
            function.documentation(),
        )
    }));
    all.extend(state.aggregate_functions().iter().map(|(name, function)| {
        Function::new(
            name,
            "aggregate",
            function.signature(),
            function.documentation(),
        )
    }));
    all.extend(state.window_functions().iter().map(|(name, function)| {
        Function::new(
            name,
            "window",
            function.signature(),
            function.documentation(),
        )
    }));
    all.extend(TableFunction::ALL.map(|function| Function {
        name: function.name().to_owned(),
        kind: "table",
        arguments: function.usage().to_owned(),
        about: function.about().to_owned(),
    }));
    all.sort_by(|a, b| (&a.name, a.kind).cmp(&(&b.name, b.kind)));
    all
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn first_sentence(text: &str) -> String {
    match text.split_once(". ") {
        Some((first, _)) => format!("{first}."),
        None => text.to_owned(),
    }
}
