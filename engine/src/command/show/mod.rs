//! How rows look: a table, records, JSON, comma-separated values, Parquet.
//!
//! Rows come in batches and go out as they come. A table waits for its first rows to know how wide its columns are; nothing
//! else is kept. Which format a result has does not depend on where it goes, with two exceptions: on a terminal, a table's
//! wide cells are cut and NULL is dim; Parquet goes to files only.

mod cells;
mod file;

mod records;
mod table;
mod text;

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use sql::{Error, Result};

use super::files::environment;
use crate::cli::OutputFormat;

pub use file::ParquetFile;
pub use records::Records;
pub use table::Table;
pub use text::{Csv, Json, JsonLines};

/// How tables are drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// Columns of the terminal: a table fits into them, or it is cut. `None` where it is no terminal: nothing is.
    pub width: Option<usize>,
    /// Whether NULL is dim.
    pub colour: bool,
}

impl Look {
    /// How tables look on standard output now: as they fit a `terminal`, or as they are.
    pub fn here(terminal: bool) -> Self {
        if !terminal {
            return Self::default();
        }
        let plain = environment("NO_COLOR").is_some_and(|value| !value.is_empty())
            || environment("TERM").is_some_and(|term| term == "dumb");
        let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        Self {
            width: width.filter(|width| *width > 0),
            colour: !plain,
        }
    }
}

/// A result on its way out.
#[derive(Debug)]
pub enum Show {
    /// Columns side by side.
    Table(Table),
    /// A line a column.
    Records(Records),
    /// One array.
    Json(Json),
    /// A line a row, for what never ends.
    JsonLines(JsonLines),
    /// With a header.
    Csv(Csv),
    /// A file of its own, beside the output.
    Parquet(Box<ParquetFile>),
}

impl Show {
    /// A table, or records if `expanded`. If `unbounded`, rows are shown as they come.
    pub fn table(schema: &SchemaRef, look: Look, expanded: bool, unbounded: bool) -> Self {
        match expanded {
            true => Self::Records(Records::new(schema, look)),
            false => Self::Table(Table::new(schema, look, unbounded)),
        }
    }

    /// A result in `format`. What is `unbounded` is shown as it comes, and as JSON a line a row.
    ///
    /// # Errors
    /// Parquet, which goes to files only: [`ParquetFile`].
    pub fn new(
        format: OutputFormat,
        schema: &SchemaRef,
        look: Look,
        unbounded: bool,
    ) -> Result<Self> {
        Ok(match format {
            OutputFormat::Table => Self::table(schema, look, false, unbounded),
            OutputFormat::Json if unbounded => Self::JsonLines(JsonLines),
            OutputFormat::Json => Self::Json(Json::default()),
            OutputFormat::Csv => Self::Csv(Csv::new(schema)),
            OutputFormat::Parquet => return Err(not_to_a_file()),
        })
    }

    /// Shows the next rows. Not all of what a table was given need be written yet.
    ///
    /// # Errors
    /// A value that the format cannot show, or output that cannot be written to.
    pub fn rows(&mut self, rows: &RecordBatch, out: &mut dyn Write) -> Result<()> {
        match self {
            Self::Table(table) => table.rows(rows, out),
            Self::Records(records) => records.rows(rows, out),
            Self::Json(json) => json.rows(rows, out),
            Self::JsonLines(lines) => lines.rows(rows, out),
            Self::Csv(csv) => csv.rows(rows, out),
            Self::Parquet(file) => file.rows(rows),
        }
    }

    /// Shows what is left. A result that is given up (`Ctrl-C`) is finished, too, so that what was shown can be read; but not a
    /// Parquet file, which is there as a whole or not at all: drop it.
    ///
    /// # Errors
    /// As [`Self::rows`].
    pub fn finish(self, out: &mut dyn Write) -> Result<()> {
        match self {
            Self::Table(table) => table.finish(out),
            Self::Records(records) => records.finish(out),
            Self::Json(json) => json.finish(out),
            Self::JsonLines(_) => Ok(()),
            Self::Csv(csv) => csv.finish(out),
            Self::Parquet(file) => file.finish(),
        }
    }
}

/// Parquet without a file.
pub(super) fn not_to_a_file() -> Error {
    Error::config("Parquet is written to a file")
        .expected(
            "engine sql with --output FILE beside --format parquet, or \\o FILE at its prompt",
        )
        .remedy("name a file, or choose another format")
}

fn footer(rows: usize, out: &mut dyn Write) -> Result<()> {
    let noun = if rows == 1 { "row" } else { "rows" };
    writeln!(out, "({rows} {noun})").map_err(cannot_write)
}

fn cannot_show(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::config("the result cannot be shown in this format")
        .remedy("cast the column to TEXT, or choose another --format")
        .source(error)
}

fn cannot_write(error: std::io::Error) -> Error {
    Error::new(sql::ErrorKind::Storage, "the output cannot be written to").source(error)
}
