//! The images of changes: their types, and which of them a target that is kept by key needs, in which order.
//!
//! A version is one step: what it takes away, it takes away from the rows before it. So a target that is kept by key applies all
//! removals of a version first, then all that it brings. Else two rows that exchange their keys would end as one: the image before the
//! second would take away the image after the first.

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use sql::change::{CHANGE_TYPE, Op};
use sql::{Error, Result};

/// The type of a change row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Image {
    Insert,
    Before,
    After,
    Delete,
    /// A row of the initial snapshot.
    Read,
}

impl Image {
    /// Delta's word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Insert | Self::Read => "insert",
            Self::Before => "update_preimage",
            Self::After => "update_postimage",
            Self::Delete => "delete",
        }
    }

    /// The operation that SQL sees: both images of an update are of an update.
    pub(super) fn op(self) -> Op {
        match self {
            Self::Insert => Op::Create,
            Self::Before | Self::After => Op::Update,
            Self::Delete => Op::Delete,
            Self::Read => Op::Read,
        }
    }

    /// The operation as a target that is kept by key sees it: an image before takes its key away.
    pub(super) fn keyed_op(self) -> Op {
        match self {
            Self::Before => Op::Delete,
            other => other.op(),
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "insert" => Self::Insert,
            "update_preimage" => Self::Before,
            "update_postimage" => Self::After,
            "delete" => Self::Delete,
            _ => return None,
        })
    }
}

/// The types of change rows.
pub(super) fn images(changes: &RecordBatch) -> Result<Vec<Image>> {
    let column = changes
        .column_by_name(CHANGE_TYPE)
        .ok_or_else(|| Error::internal("change rows have no type"))?;
    let words = cast(column, &DataType::Utf8)
        .map_err(|error| Error::internal("the types of changes are no text").source(error))?;
    let words = words
        .as_string_opt::<i32>()
        .ok_or_else(|| Error::internal("the types of changes are no text"))?;
    words
        .iter()
        .map(|word| {
            word.and_then(Image::from_word)
                .ok_or_else(|| Error::internal(format!("a change of the type {word:?}")))
        })
        .collect()
}

/// Rows of a version, by what they do to a target that is kept by key.
#[derive(Debug, Default)]
pub(super) struct Arranged {
    /// Deletes, and images before of rows whose key changes.
    pub(super) removals: Vec<usize>,
    /// Inserts and images after.
    pub(super) additions: Vec<usize>,
    /// Images before of rows that keep their key: their images after say it all.
    pub(super) redundant: usize,
    /// Removals and additions without a whole key.
    pub(super) keyless: Vec<usize>,
}

/// Arranges change rows; both images of an update are next to each other. `keys` are the key columns.
pub(super) fn arrange(images: &[Image], keys: &[ArrayRef]) -> Result<Arranged> {
    let fields = keys
        .iter()
        .map(|key| SortField::new(key.data_type().clone()));
    let encode =
        RowConverter::new(fields.collect()).and_then(|converter| converter.convert_columns(keys));
    let encoded = encode.map_err(|error| {
        Error::config("the source's key columns cannot be compared")
            .expected("keys of plain types")
            .source(error)
    })?;
    let mut arranged = Arranged::default();
    for (row, image) in images.iter().enumerate() {
        let keeps_key = *image == Image::Before
            && images.get(row + 1) == Some(&Image::After)
            && encoded.row(row) == encoded.row(row + 1);
        if keeps_key {
            arranged.redundant += 1;
        } else if keys.iter().any(|key| key.is_null(row)) {
            arranged.keyless.push(row);
        } else if matches!(image, Image::Before | Image::Delete) {
            arranged.removals.push(row);
        } else {
            arranged.additions.push(row);
        }
    }
    Ok(arranged)
}
