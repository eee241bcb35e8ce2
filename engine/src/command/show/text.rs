//! JSON and comma-separated values, for other programs.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::csv;
use arrow::datatypes::SchemaRef;
use arrow::json::WriterBuilder;
use arrow::json::writer::{JsonArray, LineDelimited};
use sql::Result;

use super::{cannot_show, cannot_write};

/// One array of objects. NULL is written as `null`.
#[derive(Debug, Default)]
pub struct Json {
    begun: bool,
}

impl Json {
    pub(super) fn rows(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let mut array = Vec::new();
        let mut writer = WriterBuilder::new()
            .with_explicit_nulls(true)
            .build::<_, JsonArray>(&mut array);
        writer.write(batch).map_err(cannot_show)?;
        writer.finish().map_err(cannot_show)?;
        drop(writer);
        // Arrays of several batches are one array: brackets become commas.
        let objects = array
            .strip_prefix(b"[")
            .and_then(|rest| rest.strip_suffix(b"]"))
            .unwrap_or(&array);
        out.write_all(if self.begun { b"," } else { b"[" })
            .and_then(|()| out.write_all(objects))
            .map_err(cannot_write)?;
        self.begun = true;
        Ok(())
    }

    pub(super) fn finish(self, out: &mut dyn Write) -> Result<()> {
        let end = if self.begun { "]" } else { "[]" };
        writeln!(out, "{end}").map_err(cannot_write)
    }
}

/// An object a line.
#[derive(Debug)]
pub struct JsonLines;

impl JsonLines {
    pub(super) fn rows(&self, batch: &RecordBatch, out: &mut dyn Write) -> Result<()> {
        let mut lines = Vec::new();
        let mut writer = WriterBuilder::new()
            .with_explicit_nulls(true)
            .build::<_, LineDelimited>(&mut lines);
        writer.write(batch).map_err(cannot_show)?;
        writer.finish().map_err(cannot_show)?;
        drop(writer);
        out.write_all(&lines).map_err(cannot_write)
    }
}

/// A header, then a line a row. NULL is an empty field.
#[derive(Debug)]
pub struct Csv {
    schema: SchemaRef,
    begun: bool,
}

impl Csv {
    /// None yet.
    pub fn new(schema: &SchemaRef) -> Self {
        Self {
            schema: schema.clone(),
            begun: false,
        }
    }

    pub(super) fn rows(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<()> {
        let mut lines = Vec::new();
        let header = !std::mem::replace(&mut self.begun, true);
        let mut writer = csv::WriterBuilder::new()
            .with_header(header)
            .build(&mut lines);
        writer.write(batch).map_err(cannot_show)?;
        drop(writer);
        out.write_all(&lines).map_err(cannot_write)
    }

    pub(super) fn finish(mut self, out: &mut dyn Write) -> Result<()> {
        match self.begun {
            true => Ok(()),
            false => self.rows(&RecordBatch::new_empty(self.schema.clone()), out),
        }
    }
}
