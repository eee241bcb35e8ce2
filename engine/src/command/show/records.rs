//! A line a column, for rows that are wider than a screen.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use sql::Result;

use super::cells::{self, Cell, dimmed, lines, width};
use super::{Look, cannot_write, footer};

/// Records as psql's `\x` draws them. Nothing is cut.
#[derive(Debug)]
pub struct Records {
    names: Vec<String>,
    widest: usize,
    look: Look,
    rows: usize,
}

impl Records {
    /// None yet.
    pub fn new(schema: &SchemaRef, look: Look) -> Self {
        let names: Vec<String> = schema
            .fields()
            .iter()
            .map(|field| field.name().replace(char::is_control, " "))
            .collect();
        Self {
            widest: names
                .iter()
                .map(|name| width(name))
                .max()
                .unwrap_or_default(),
            names,
            look,
            rows: 0,
        }
    }

    pub(super) fn rows(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<()> {
        for row in cells::rows(batch)? {
            self.rows += 1;
            writeln!(out, "-[ record {} ]-", self.rows).map_err(cannot_write)?;
            for (name, cell) in self.names.iter().zip(&row) {
                self.cell(name, cell, out)?;
            }
        }
        Ok(())
    }

    fn cell(&self, name: &str, cell: &Cell, out: &mut dyn Write) -> Result<()> {
        let mut name = name;
        for line in lines(cell) {
            let blanks = " ".repeat(self.widest.saturating_sub(width(name)));
            let text = dimmed(line.to_owned(), cell, self.look);
            let line = format!("{name}{blanks} | {text}");
            writeln!(out, "{}", line.trim_end()).map_err(cannot_write)?;
            name = "";
        }
        Ok(())
    }

    pub(super) fn finish(self, out: &mut dyn Write) -> Result<()> {
        footer(self.rows, out)
    }
}
