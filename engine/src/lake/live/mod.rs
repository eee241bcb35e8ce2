//! The data files and delete files that a snapshot of an Iceberg table has, and reading them.

pub(crate) mod positions;
mod read;

use std::collections::HashMap;

use datafusion::common::ScalarValue;
use iceberg::metadata_columns::RESERVED_FIELD_ID_DELETE_FILE_PATH;
use iceberg::spec::{
    DataFileFormat, Datum, ManifestEntry, ManifestFile, PrimitiveLiteral, PrimitiveType, Struct,
};
use sql::{Error, ErrorKind, Result};

pub(crate) use read::{LakeReader, all_but};

/// A data file that is part of a snapshot.
#[derive(Debug, Clone)]
pub(crate) struct LiveFile {
    pub(crate) path: String,
    pub(crate) format: DataFileFormat,
    pub(crate) size: u64,
    pub(crate) rows: u64,
    pub(crate) sequence: i64,
    pub(crate) spec: i32,
    pub(crate) partition: Struct,
}

/// A position-delete file that is part of a snapshot.
#[derive(Debug, Clone)]
pub(crate) struct LiveDelete {
    pub(crate) file: LiveFile,
    pub(crate) scope: Scope,
}

/// The data files that a position-delete file is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// One, by its path.
    File(String),
    /// Those of its partition whose path lies between the two.
    Between(Option<String>, Option<String>),
}

impl LiveFile {
    pub(crate) fn new(manifest: &ManifestFile, entry: &ManifestEntry) -> Self {
        let file = entry.data_file();
        Self {
            path: file.file_path().to_owned(),
            format: file.file_format(),
            size: file.file_size_in_bytes(),
            rows: file.record_count(),
            sequence: entry.sequence_number().unwrap_or(0),
            spec: manifest.partition_spec_id,
            partition: file.partition().clone(),
        }
    }

    /// That the file has as many rows as its manifest says; rows are found by their numbers.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if not.
    pub(crate) fn check_rows(&self, stored: i64) -> Result<()> {
        if u64::try_from(stored).ok() == Some(self.rows) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Storage,
            format!(
                "a data file has {stored} rows, but its manifest says {}",
                self.rows
            ),
        )
        .at(&self.path))
    }
}

impl Scope {
    pub(crate) fn of(entry: &ManifestEntry) -> Self {
        let file = entry.data_file();
        if let Some(path) = file.referenced_data_file() {
            return Self::File(path);
        }
        let bound = |bounds: &HashMap<i32, Datum>| {
            let bound = bounds.get(&RESERVED_FIELD_ID_DELETE_FILE_PATH)?;
            match bound.literal() {
                PrimitiveLiteral::String(path) => Some(path.clone()),
                _ => None,
            }
        };
        Self::Between(bound(file.lower_bounds()), bound(file.upper_bounds()))
    }
}

impl LiveDelete {
    /// Whether its positions may be of `data`, by the rules of the format.
    pub(crate) fn applies_to(&self, data: &LiveFile) -> bool {
        if self.file.sequence < data.sequence {
            return false;
        }
        match &self.scope {
            Scope::File(path) => *path == data.path,
            Scope::Between(least, most) => {
                self.file.spec == data.spec
                    && self.file.partition == data.partition
                    && least.as_ref().is_none_or(|least| *least <= data.path)
                    && most.as_ref().is_none_or(|most| data.path <= *most)
            }
        }
    }

    /// Whether it is about `data` and nothing else, so that another file may take its place.
    pub(crate) fn is_only_about(&self, data: &LiveFile) -> bool {
        self.scope == Scope::File(data.path.clone())
            && self.file.spec == data.spec
            && self.file.partition == data.partition
    }
}

/// A value as Arrow has it. `None` for types whose order or bytes differ between the two.
pub(crate) fn scalar(literal: &PrimitiveLiteral, of: &PrimitiveType) -> Option<ScalarValue> {
    use PrimitiveLiteral as L;
    use PrimitiveType as T;
    Some(match (literal, of) {
        (L::Boolean(value), T::Boolean) => ScalarValue::Boolean(Some(*value)),
        (L::Int(value), T::Int) => ScalarValue::Int32(Some(*value)),
        (L::Int(value), T::Date) => ScalarValue::Date32(Some(*value)),
        (L::Long(value), T::Long) => ScalarValue::Int64(Some(*value)),
        (L::Long(value), T::Time) => ScalarValue::Time64Microsecond(Some(*value)),
        (L::Long(value), T::Timestamp) => ScalarValue::TimestampMicrosecond(Some(*value), None),
        (L::Long(value), T::Timestamptz) => {
            ScalarValue::TimestampMicrosecond(Some(*value), Some("+00:00".into()))
        }
        (L::String(value), T::String) => ScalarValue::Utf8(Some(value.clone())),
        (L::Binary(value), T::Binary) => ScalarValue::LargeBinary(Some(value.clone())),
        (L::Int128(value), T::Decimal { precision, scale }) => ScalarValue::Decimal128(
            Some(*value),
            u8::try_from(*precision).ok()?,
            i8::try_from(*scale).ok()?,
        ),
        _ => return None,
    })
}
