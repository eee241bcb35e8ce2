//! What to do with messages of one schema, made once and used for each of them.

use arrow::datatypes::{DataType, Field};

use super::connect::Row;
use super::layout::Layout;
use super::outputs::Outputs;
use super::row::RowReader;
use super::source_block::SourceReader;
use super::wire::{Scalar, Unit, Wire, WireField};
use crate::spec::model::{DeclaredColumn, DeclaredType};

/// The keys that tell message shapes apart, and those that envelopes have.
pub(super) const TOP: [&str; 20] = [
    "before",
    "after",
    "source",
    "op",
    "schema",
    "payload",
    "specversion",
    "iodebeziumop",
    "iodebeziumtsms",
    "data",
    "ddl",
    "databaseName",
    "tableChanges",
    "status",
    "event_count",
    "data_collections",
    "aggregate_type",
    "type",
    "ts_ms",
    "additional_data",
];

/// Names for the places in [`TOP`].
pub(super) mod top {
    pub(in super::super) const BEFORE: usize = 0;
    pub(in super::super) const AFTER: usize = 1;
    pub(in super::super) const SOURCE: usize = 2;
    pub(in super::super) const OP: usize = 3;
    pub(in super::super) const SCHEMA: usize = 4;
    pub(in super::super) const PAYLOAD: usize = 5;
    pub(in super::super) const SPECVERSION: usize = 6;
    pub(in super::super) const CE_OP: usize = 7;
    pub(in super::super) const CE_TS_MS: usize = 8;
    pub(in super::super) const DATA: usize = 9;
    pub(in super::super) const DDL: usize = 10;
    pub(in super::super) const DATABASE: usize = 11;
    pub(in super::super) const TABLE_CHANGES: usize = 12;
    pub(in super::super) const STATUS: usize = 13;
    pub(in super::super) const EVENT_COUNT: usize = 14;
    pub(in super::super) const COLLECTIONS: usize = 15;
    pub(in super::super) const AGGREGATE: usize = 16;
    pub(in super::super) const TYPE: usize = 17;
    pub(in super::super) const TS_MS: usize = 18;
    pub(in super::super) const ADDITIONAL: usize = 19;
}

/// What the messages of a plan are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// No schema: each message tells by its content.
    Open,
    Envelope,
    Flattened,
    Control,
}

/// Readers for every part of a message.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) shape: Shape,
    /// Whether a message without any field of [`TOP`] but the row's own can only be a row.
    pub(super) plain: bool,
    /// Whether the last message without a schema was a row, and the next one is tried as one first.
    pub(super) expects_row: bool,
    /// [`TOP`].
    pub(super) top: Layout,
    /// `after`.
    pub(super) after: RowReader,
    /// A row without envelope.
    pub(super) flat: RowReader,
    /// `before`, where it is the row.
    pub(super) image: RowReader,
    /// `before`, as the column `_before`.
    pub(super) before: RowReader,
    /// A bare key.
    pub(super) key: RowReader,
    pub(super) source: SourceReader,
}

impl Plan {
    /// A plan whose rows are written as `after` says, and images before the change as `before` says.
    pub(super) fn new(
        shape: Shape,
        after: &Row,
        before: &Row,
        outputs: &Outputs,
        declared: Option<&[DeclaredColumn]>,
    ) -> Self {
        let fit = |row: &Row| -> Vec<WireField> {
            row.fields
                .iter()
                .filter_map(|field| fitted(field, outputs, declared))
                .collect()
        };
        let (after, before) = (fit(after), fit(before));
        let places = outputs.places();
        // What else is told from a row by fields that the row may have, all of them.
        let own = |slot: usize| TOP.get(slot).is_some_and(|name| places.contains_key(*name));
        Self {
            shape,
            plain: ![top::OP, top::SCHEMA, top::SPECVERSION]
                .into_iter()
                .any(own),
            expects_row: false,
            top: Layout::new(TOP),
            after: RowReader::new(&after, &places, false),
            flat: RowReader::new(&after, &places, true),
            image: RowReader::new(&before, &places, false),
            before: RowReader::new(&before, &outputs.places_in_struct(), false),
            key: RowReader::new(&after, &places, false),
            source: SourceReader::new(outputs.has_source()),
        }
    }
}

/// A field bound to its column's type; `None` if no column takes it.
pub(super) fn fitted(
    field: &WireField,
    outputs: &Outputs,
    declared: Option<&[DeclaredColumn]>,
) -> Option<WireField> {
    let column: &Field = outputs.row.get(outputs.index_of(&field.name)?)?;
    let mut wire = field.wire.clone();
    wire.bind(column.data_type());
    let encoding = declared
        .into_iter()
        .flatten()
        .find(|column| *column.field.name() == field.name)
        .map(|column| column.encoding);
    let wire = match (encoding, wire) {
        // TIMESTAMP(9) says that nanoseconds are dropped.
        (
            Some(DeclaredType::Timestamp { precision: 7.. }),
            Wire::Scalar(Scalar::Timestamp(Unit::Nano)),
        ) => Wire::Scalar(Scalar::AnyTimestamp {
            unit: Unit::Nano,
            floor: true,
        }),
        // JSON keeps whatever comes.
        (Some(DeclaredType::Json), Wire::Scalar(Scalar::Text))
            if matches!(column.data_type(), DataType::Utf8) =>
        {
            Wire::Scalar(Scalar::Json)
        }
        (_, wire) => wire,
    };
    Some(WireField {
        name: field.name.clone(),
        wire,
    })
}
