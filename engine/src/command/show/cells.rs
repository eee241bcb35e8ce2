//! Values as text for people.

use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use sql::Result;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{Look, cannot_show};

/// What stands for a missing value.
const NULL: &str = "NULL";

/// One value: its lines, or none for NULL.
pub(super) type Cell = Option<String>;

/// The rows of `batch`.
pub(super) fn rows(batch: &RecordBatch) -> Result<Vec<Vec<Cell>>> {
    let options = FormatOptions::default();
    let mut rows = vec![Vec::with_capacity(batch.num_columns()); batch.num_rows()];
    for column in batch.columns() {
        let values = ArrayFormatter::try_new(column, &options).map_err(cannot_show)?;
        let nulls = column.logical_nulls();
        for (index, row) in rows.iter_mut().enumerate() {
            let null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(index));
            row.push(match null {
                true => None,
                false => {
                    let text = values.value(index).try_to_string().map_err(cannot_show)?;
                    Some(printable(&text))
                }
            });
        }
    }
    Ok(rows)
}

/// Without what would move a terminal's cursor or change its state. Line ends stay.
fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' => clean.push('\n'),
            control if control.is_control() => clean.extend(control.escape_default()),
            letter => clean.push(letter),
        }
    }
    clean
}

/// The lines of a cell as they are shown, without colour.
pub(super) fn lines(cell: &Cell) -> impl Iterator<Item = &str> {
    cell.as_deref().unwrap_or(NULL).split('\n')
}

/// Columns of the terminal that a text takes.
pub(super) fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// `text` in at most `room` columns: cut with `…` if it is wider.
pub(super) fn cut(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut taken = 1;
    for letter in text.chars() {
        taken += letter.width().unwrap_or_default();
        if taken > room {
            break;
        }
        short.push(letter);
    }
    short.push('…');
    short
}

/// `text` as it is written for `cell`: dim if it is NULL and there are colours.
pub(super) fn dimmed(text: String, cell: &Cell, look: Look) -> String {
    match cell {
        None if look.colour && !text.is_empty() => format!("\u{1b}[2m{text}\u{1b}[0m"),
        _ => text,
    }
}
