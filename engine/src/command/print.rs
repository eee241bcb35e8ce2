//! Query results on standard output.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::csv;
use arrow::datatypes::SchemaRef;
use arrow::json::WriterBuilder;
use arrow::json::writer::JsonArray;
use arrow::util::pretty::pretty_format_batches;
use sql::{Error, Result};

use crate::cli::OutputFormat;

/// Prints the result of one query.
///
/// # Errors
/// A value that the format cannot show, or standard output that cannot be written to.
pub fn print(
    out: &mut dyn Write,
    format: OutputFormat,
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<()> {
    match format {
        OutputFormat::Table => table(out, schema, batches),
        OutputFormat::Json => json(out, batches),
        OutputFormat::Csv => comma_separated(out, schema, batches),
    }
}

fn table(out: &mut dyn Write, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<()> {
    let empty = [RecordBatch::new_empty(schema.clone())];
    let shown = if batches.is_empty() {
        &empty[..]
    } else {
        batches
    };
    let drawn = pretty_format_batches(shown).map_err(cannot_show)?;
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let noun = if rows == 1 { "row" } else { "rows" };
    writeln!(out, "{drawn}\n{rows} {noun}").map_err(cannot_write)
}

fn json(out: &mut dyn Write, batches: &[RecordBatch]) -> Result<()> {
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, JsonArray>(&mut *out);
    for batch in batches {
        writer.write(batch).map_err(cannot_show)?;
    }
    writer.finish().map_err(cannot_show)?;
    drop(writer);
    if batches.iter().all(|batch| batch.num_rows() == 0) {
        // The writer opens its array with the first row.
        return writeln!(out, "{}", if batches.is_empty() { "[]" } else { "" })
            .map_err(cannot_write);
    }
    writeln!(out).map_err(cannot_write)
}

fn comma_separated(out: &mut dyn Write, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<()> {
    let mut writer = csv::WriterBuilder::new().with_header(true).build(out);
    if batches.is_empty() {
        writer
            .write(&RecordBatch::new_empty(schema.clone()))
            .map_err(cannot_show)?;
    }
    for batch in batches {
        writer.write(batch).map_err(cannot_show)?;
    }
    Ok(())
}

fn cannot_show(error: arrow::error::ArrowError) -> Error {
    Error::config("the result cannot be shown in this format")
        .remedy("cast the column to TEXT, or choose another --format")
        .source(error)
}

fn cannot_write(error: std::io::Error) -> Error {
    Error::new(
        sql::ErrorKind::Storage,
        "standard output cannot be written to",
    )
    .source(error)
}
