//! The fields of a row image into the projected columns.

use std::collections::HashMap;

use super::column::Column;
use super::fault::Step;
use super::layout::{Layout, Seen};
use super::plan::TOP;
use super::read::{Scratch, blame, read};
use super::scan::Cursor;
use super::unavailable::Placeholder;
use super::wire::{Wire, WireField};

/// Fields that the unwrap transformation adds to a row, and what they are for.
pub(super) const ADDED: [&str; 4] = ["__deleted", "__op", "__source_ts_us", "__source_ts_ms"];
pub(super) const DELETED: usize = 0;
pub(super) const OP: usize = 1;
pub(super) const SOURCE_TS_US: usize = 2;
pub(super) const SOURCE_TS_MS: usize = 3;

/// Reads images of one schema.
#[derive(Debug)]
pub(super) struct RowReader {
    fields: Vec<FieldReader>,
    layout: Layout,
}

#[derive(Debug)]
struct FieldReader {
    name: String,
    wire: Wire,
    /// The row column, and its place among the projected ones.
    target: Option<(usize, Option<usize>)>,
    /// Which of [`ADDED`] it is. It says so even if it is a column too.
    added: Option<usize>,
}

/// Where values go, and what happens on the way.
pub(super) struct RowTarget<'t> {
    pub(super) columns: &'t mut [Column],
    pub(super) scratch: &'t mut Scratch,
    /// Present where values may be unavailable: they become null and their fields are added to `marks`.
    pub(super) placeholder: Option<&'t Placeholder>,
    pub(super) marks: &'t mut Vec<usize>,
}

/// What an image had.
#[derive(Debug, Default)]
pub(super) struct RowSeen<'a> {
    /// Row fields that came and were not null, by their index in the row.
    pub(super) values: Seen,
    /// Whether any row field came.
    pub(super) any: bool,
    /// How many fields came, of the row or not.
    pub(super) members: usize,
    /// Whether a field of [`TOP`] came that is not the row's: a flattened row may be something else.
    pub(super) sign: bool,
    /// The text of [`ADDED`] fields.
    pub(super) added: [Option<&'a [u8]>; ADDED.len()],
}

/// Where each row column goes: its index in the row, and among the projected columns if it is one.
pub(super) type Places = HashMap<String, (usize, Option<usize>)>;

impl RowReader {
    /// Reads those of `fields` that are in `places`, and [`ADDED`] if `flattened`.
    pub(super) fn new(fields: &[WireField], places: &Places, flattened: bool) -> Self {
        let added = |name: &str| {
            let place = ADDED.iter().position(|known| *known == name);
            place.filter(|_| flattened)
        };
        let row = fields.iter().filter_map(|field| {
            Some(FieldReader {
                name: field.name.clone(),
                wire: field.wire.clone(),
                target: Some(*places.get(&field.name)?),
                added: added(&field.name),
            })
        });
        let mut fields: Vec<FieldReader> = row.collect();
        for name in ADDED.into_iter().chain(TOP) {
            if flattened && !fields.iter().any(|field| field.name == name) {
                fields.push(FieldReader {
                    name: name.to_owned(),
                    wire: Wire::Scalar(super::wire::Scalar::Json),
                    target: None,
                    added: added(name),
                });
            }
        }
        Self {
            layout: Layout::new(fields.iter().map(|field| field.name.as_str())),
            fields,
        }
    }

    /// Reads one image. Columns whose fields do not come are left as they are.
    pub(super) fn read<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        to: &mut RowTarget<'_>,
    ) -> Step<RowSeen<'a>> {
        let mut seen = RowSeen::default();
        let Self { fields, layout } = self;
        let walked = layout.walk(cursor, |slot, cursor| {
            let Some(reader) = fields.get_mut(slot) else {
                return cursor.value().map(|_| ());
            };
            if let Some(place) = reader.added.and_then(|which| seen.added.get_mut(which)) {
                let mut ahead = *cursor;
                *place = Some(ahead.value()?);
            }
            let Some((field, column)) = reader.target else {
                seen.sign |= reader.added.is_none();
                return cursor.value().map(|_| ());
            };
            seen.any = true;
            if cursor.peek() != Some(b'n') {
                seen.values.insert(field);
            }
            if let Some(placeholder) = to.placeholder
                && placeholder.is_at(&reader.wire, *cursor)?
            {
                cursor.value()?;
                to.marks.push(field);
                if let Some(column) = column.and_then(|column| to.columns.get_mut(column)) {
                    column.append_null();
                }
                return Ok(());
            }
            match column.and_then(|column| to.columns.get_mut(column)) {
                Some(column) => {
                    let start = *cursor;
                    read(&mut reader.wire, column, cursor, to.scratch)
                        .map_err(|fault| blame(fault, &reader.name, start))
                }
                None => cursor.value().map(|_| ()),
            }
        })?;
        seen.members = walked.members;
        Ok(seen)
    }

    /// How the column of row field `index` is written, if this schema has it.
    pub(super) fn wire_of(&mut self, index: usize) -> Option<&mut Wire> {
        self.fields
            .iter_mut()
            .find(|reader| reader.target.is_some_and(|(field, _)| field == index))
            .map(|reader| &mut reader.wire)
    }
}
