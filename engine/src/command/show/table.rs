//! Columns side by side.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use sql::Result;

use super::cells::{self, Cell, cut, dimmed, lines, width};
use super::{Look, cannot_write, footer};

/// So many rows decide how wide columns are. Rows after them are written as they come; what is wider moves its row's rest.
const LOOKED_AT: usize = 1_000;

/// No column is made narrower to fit a terminal.
const NARROWEST: usize = 8;

/// A table as psql draws it: numbers to the right, NULL as a word, texts of several lines on several lines.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    look: Look,
    unbounded: bool,
    waiting: Vec<Vec<Cell>>,
    begun: bool,
    rows: usize,
}

#[derive(Debug)]
struct Column {
    name: String,
    right: bool,
    width: usize,
}

impl Table {
    /// An empty one. If `unbounded`, the first batch decides the widths, with each type's usual width at least.
    pub fn new(schema: &SchemaRef, look: Look, unbounded: bool) -> Self {
        let columns = schema.fields().iter().map(|field| {
            let usual = if unbounded {
                usual(field.data_type())
            } else {
                0
            };
            let name = field.name().replace(char::is_control, " ");
            Column {
                right: field.data_type().is_numeric(),
                width: width(&name).max(usual),
                name,
            }
        });
        // A plan is for reading as a whole.
        let plan = schema.field_with_name("plan").is_ok();
        Self {
            columns: columns.collect(),
            look: Look {
                width: look.width.filter(|_| !plan),
                ..look
            },
            unbounded,
            waiting: Vec::new(),
            begun: false,
            rows: 0,
        }
    }

    pub(super) fn rows(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<()> {
        let rows = cells::rows(batch)?;
        self.rows += rows.len();
        if self.begun {
            return rows.iter().try_for_each(|row| self.row(row, out));
        }
        self.waiting.extend(rows);
        let enough = self.waiting.len() >= LOOKED_AT;
        match enough || (self.unbounded && !self.waiting.is_empty()) {
            true => self.begin(out),
            false => Ok(()),
        }
    }

    pub(super) fn finish(mut self, out: &mut dyn Write) -> Result<()> {
        if !self.begun {
            self.begin(out)?;
        }
        footer(self.rows, out)
    }

    fn begin(&mut self, out: &mut dyn Write) -> Result<()> {
        self.begun = true;
        let waiting = std::mem::take(&mut self.waiting);
        for row in &waiting {
            for (column, cell) in self.columns.iter_mut().zip(row) {
                let widest = lines(cell).map(width).max().unwrap_or_default();
                column.width = column.width.max(widest);
            }
        }
        self.fit();
        let names: Vec<Cell> = self.columns.iter().map(|c| Some(c.name.clone())).collect();
        self.row(&names, out)?;
        let rule: Vec<String> = self
            .columns
            .iter()
            .map(|column| "-".repeat(column.width + 2))
            .collect();
        writeln!(out, "{}", rule.join("+")).map_err(cannot_write)?;
        waiting.iter().try_for_each(|row| self.row(row, out))
    }

    /// Makes the widest columns narrower until the table fits.
    fn fit(&mut self) {
        let Some(room) = self.look.width else {
            return;
        };
        let borders = 3 * self.columns.len().saturating_sub(1) + 2;
        let mut total = borders + self.columns.iter().map(|c| c.width).sum::<usize>();
        while total > room {
            let widest = self.columns.iter_mut().max_by_key(|column| column.width);
            let Some(widest) = widest.filter(|column| column.width > NARROWEST) else {
                return;
            };
            widest.width -= 1;
            total -= 1;
        }
    }

    fn row(&self, row: &[Cell], out: &mut dyn Write) -> Result<()> {
        let height = row.iter().map(|cell| lines(cell).count()).max();
        for index in 0..height.unwrap_or(1) {
            let mut line = String::new();
            for (number, (column, cell)) in self.columns.iter().zip(row).enumerate() {
                line.push_str(if number == 0 { " " } else { " | " });
                let text = lines(cell).nth(index).unwrap_or_default();
                let text = match self.look.width {
                    Some(_) => cut(text, column.width),
                    None => text.to_owned(),
                };
                let blanks = " ".repeat(column.width.saturating_sub(width(&text)));
                let text = dimmed(text, cell, self.look);
                let (before, after) = match column.right {
                    true => (blanks.as_str(), ""),
                    false => ("", blanks.as_str()),
                };
                line.push_str(&[before, &text, after].concat());
            }
            writeln!(out, "{}", line.trim_end()).map_err(cannot_write)?;
        }
        Ok(())
    }
}

/// The width that values of a type usually have.
fn usual(data_type: &DataType) -> usize {
    match data_type {
        DataType::Boolean => 5,
        DataType::Date32 | DataType::Date64 => 10,
        DataType::Timestamp(_, _) => 27,
        numeric if numeric.is_numeric() => 10,
        _ => 16,
    }
}
