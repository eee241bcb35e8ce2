//! `engine explain`: what a pipeline would do, without doing it.

use sql::{Error, Result};

use super::files::load;
use super::print::Output;
use super::validate::planned;
use crate::cli::{ExplainArgs, FileArgs};
use crate::run::pipeline::describe_sink;
use crate::source;
use crate::spec::model::{Bootstrap, OnFail, SourceSpec, SourceTables, Topics};

/// Runs `engine explain`.
///
/// # Errors
/// The first thing that is wrong with the pipeline.
pub async fn explain(args: ExplainArgs) -> Result<()> {
    super::plain_logs()?;
    let files = FileArgs {
        files: vec![args.file],
        sets: args.sets,
    };
    let mut out = Output::stdout();
    for spec in load(&files)? {
        let known = source::discover_schema(&spec.source, true)
            .await?
            .ok_or_else(|| {
                Error::config("the source's columns are not known")
                    .at(spec.file.display().to_string())
                    .remedy(match spec.source {
                        SourceSpec::Kafka(_) => {
                            "declare `source.columns`, or write a message to the topic first"
                        }
                        SourceSpec::Lake(_) => "run the pipeline that writes the table first",
                    })
            })?;
        let (transform, target) = planned(&spec, &known).await?;
        out.line(format_args!("pipeline   {}", spec.pipeline.name))?;
        out.line(format_args!("source     {}", described(&spec.source)))?;
        out.line(format_args!(
            "decodes    {} of {} columns: {}",
            transform.source_columns().len(),
            known.schema.fields().len(),
            transform.source_columns().join(", ")
        ))?;
        out.line(format_args!("target     {}", describe_sink(&spec.sink)))?;
        for field in target.fields() {
            out.line(format_args!(
                "           {:<28} {}",
                field.name(),
                field.data_type()
            ))?;
        }
        for rule in &spec.rules {
            out.line(format_args!(
                "rule       {}: {} or {}",
                rule.name,
                rule.expect.value.trim(),
                consequence(rule.on_fail)
            ))?;
        }
        out.line(format_args!("\n{}", transform.explain(false)))?;
    }
    Ok(())
}

/// The source in a line.
fn described(source: &SourceSpec) -> String {
    match source {
        SourceSpec::Kafka(kafka) => format!(
            "{} (unbounded): {}{} from {}",
            kafka.name,
            topics(&kafka.topics),
            tables(&kafka.tables, &kafka.name),
            brokers(&kafka.bootstrap)
        ),
        SourceSpec::Lake(lake) => format!(
            "{} ({}): changes of {}",
            lake.name,
            if lake.end.is_some() {
                "bounded"
            } else {
                "unbounded"
            },
            source::describe_table(&lake.table)
        ),
    }
}

fn consequence(on_fail: OnFail) -> &'static str {
    match on_fail {
        OnFail::Warn => "warn",
        OnFail::Drop => "drop",
        OnFail::Quarantine => "quarantine",
        OnFail::Fail => "fail",
    }
}

/// Whose rows are taken, if not all of them.
fn tables(tables: &SourceTables, name: &str) -> String {
    match tables {
        SourceTables::Any => String::new(),
        SourceTables::OneOfTheName => format!(", rows of the table {name},"),
        SourceTables::Only(tables) => format!(", rows of {},", tables.join(", ")),
    }
}

fn topics(topics: &Topics) -> String {
    match topics {
        Topics::Names(names) => names.join(", "),
        Topics::Regex(regex) => format!("topics like {regex}"),
    }
}

fn brokers(bootstrap: &Bootstrap) -> String {
    match bootstrap {
        Bootstrap::Brokers(brokers) => brokers.clone(),
        Bootstrap::File(path) => path.display().to_string(),
    }
}
