//! `engine validate`: everything that can be known without touching a table.

use arrow::datatypes::Schema;
use sql::Result;

use super::files::load;
use super::print::Output;
use crate::cli::ValidateArgs;
use crate::lake::catalog::{Absent, OpenCatalog};
use crate::lake::iceberg::identifier;
use crate::lake::partitions::check_new_partitions;
use crate::lake::schema::{TableFormat, target_schema};
use crate::lake::shape::no_partition_column;
use crate::run::pipeline::{describe_sink, plan};
use crate::source::{self, Discovered};
use crate::spec::model::{CatalogKind, Mode, PipelineSpec, SinkSpec, SinkTarget, SourceSpec};
use crate::spec::show_defaults;
use crate::transform::Transform;
use crate::upsert::UpsertPlan;

/// Runs `engine validate`.
///
/// # Errors
/// The first thing that is wrong, with its place in the file.
pub async fn validate(args: ValidateArgs) -> Result<()> {
    super::plain_logs()?;
    let mut out = Output::stdout();
    for spec in load(&args.files)? {
        if args.show_defaults {
            out.line(show_defaults(&spec).trim_end())?;
            continue;
        }
        if args.connect {
            check_catalog(&spec.sink).await?;
        }
        match check(&spec, args.connect).await? {
            Some(columns) => {
                out.line(format_args!(
                    "ok: {} (pipeline {}): {} columns into {}",
                    spec.file.display(),
                    spec.pipeline.name,
                    columns.fields().len(),
                    describe_sink(&spec.sink)
                ))?;
                for field in columns.fields() {
                    out.line(format_args!("  {:<28} {}", field.name(), field.data_type()))?;
                }
            }
            None => out.line(format_args!(
                "ok: {} (pipeline {}): the file is right; its SQL was not checked, because {}",
                spec.file.display(),
                spec.pipeline.name,
                match &spec.source {
                    SourceSpec::Kafka(_) =>
                        "the columns come with the messages. Declare `source.columns`, or ask the brokers with --connect.",
                    SourceSpec::Lake(_) =>
                        "the table that it reads is not there yet, or not on this machine: look for it with --connect.",
                }
            ))?,
        }
    }
    Ok(())
}

/// The target's columns, or `None` if the source's columns are not known without connecting.
async fn check(spec: &PipelineSpec, connect: bool) -> Result<Option<Schema>> {
    let Some(known) = source::discover_schema(&spec.source, connect).await? else {
        return Ok(None);
    };
    let (_, target) = planned(spec, &known).await?;
    Ok(Some(target))
}

/// Whether the target's catalog answers, knows us, and has a table that the engine can reach, if it has it at all. A catalog that
/// is a file may be made by the first run.
async fn check_catalog(sink: &SinkSpec) -> Result<()> {
    let SinkTarget::Iceberg(table) = &sink.target else {
        return Ok(());
    };
    if let CatalogKind::Rest(_) = &table.catalog.kind {
        let catalog = OpenCatalog::open(&table.catalog, Absent::Refuse).await?;
        catalog.load(&identifier(table)?).await?;
    }
    Ok(())
}

/// The transform of a pipeline and the target's columns, checked against each other, the rules and the partitioning.
///
/// # Errors
/// SQL, rules, types and partition columns that do not fit.
pub async fn planned(spec: &PipelineSpec, source: &Discovered) -> Result<(Transform, Schema)> {
    let transform = plan(spec, &source.schema).await?;
    if spec.sink.mode != Mode::Append {
        UpsertPlan::try_new(&transform, &source.key, &spec.sink.at)?;
    }
    let format = match &spec.sink.target {
        SinkTarget::Delta(_) => TableFormat::Delta,
        SinkTarget::Iceberg(_) => TableFormat::Iceberg,
    };
    let target = target_schema(transform.output_schema(), format).map_err(|error| {
        error.at(spec
            .transform
            .as_ref()
            .map_or(&spec.sink.at, |sql| &sql.at)
            .clone())
    })?;
    for field in &spec.sink.partition_by {
        if target.field_with_name(&field.column).is_err() {
            let names: Vec<_> = target.fields().iter().map(|f| f.name().as_str()).collect();
            return Err(no_partition_column(field).expected(format!("one of {}", names.join(", "))));
        }
    }
    if format == TableFormat::Iceberg {
        check_new_partitions(&target, &spec.sink.partition_by)?;
    }
    Ok((transform, target))
}
