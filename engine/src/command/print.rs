//! Query results on standard output.

use std::fmt::Display;
use std::io::{ErrorKind, Stdout, Write};

use arrow::array::RecordBatch;
use arrow::csv;
use arrow::datatypes::SchemaRef;
use arrow::json::WriterBuilder;
use arrow::json::writer::JsonArray;
use arrow::util::pretty::pretty_format_batches;
use sql::{Error, Result};

use crate::cli::OutputFormat;

/// Standard output, as long as somebody reads it: what comes after `head` has seen enough goes nowhere, and is no error.
#[derive(Debug)]
pub struct Output {
    stdout: Stdout,
    closed: bool,
}

impl Output {
    /// This process' standard output.
    pub fn stdout() -> Self {
        Self {
            stdout: std::io::stdout(),
            closed: false,
        }
    }

    /// Whether the reader went away.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Writes a text and a line's end.
    ///
    /// # Errors
    /// Standard output that cannot be written to, such as a file on a full disk.
    pub fn line(&mut self, text: impl Display) -> Result<()> {
        writeln!(self, "{text}").map_err(cannot_write)
    }

    fn unless_closed<T>(&mut self, result: std::io::Result<T>, closed: T) -> std::io::Result<T> {
        match result {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(closed)
            }
            other => other,
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.closed {
            return Ok(bytes.len());
        }
        let written = self.stdout.write(bytes);
        self.unless_closed(written, bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let flushed = self.stdout.flush();
        self.unless_closed(flushed, ())
    }
}

/// Prints the result of one query, or the next part of it: only the `first` part has a header where the format has one.
///
/// # Errors
/// A value that the format cannot show, or standard output that cannot be written to.
pub fn print(
    out: &mut dyn Write,
    format: OutputFormat,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    first: bool,
) -> Result<()> {
    match format {
        OutputFormat::Table => table(out, schema, batches),
        OutputFormat::Json => json(out, batches),
        OutputFormat::Csv => comma_separated(out, schema, batches, first),
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
    writeln!(out).map_err(cannot_write)
}

fn comma_separated(
    out: &mut dyn Write,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    first: bool,
) -> Result<()> {
    let mut writer = csv::WriterBuilder::new().with_header(first).build(out);
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
