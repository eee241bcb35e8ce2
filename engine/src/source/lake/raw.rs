//! A row as a record of its own, for the quarantine: there is no message that it came in.

use arrow::array::RecordBatch;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use sql::change::{Partition, RawRecord};
use sql::{Error, Result};

use super::images::Image;

/// Rows of one version that have a number of their own.
const NUMBERED: i64 = 1 << 32;

/// Where rows are from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    /// The source's partition.
    pub(super) partition: &'a Partition,
    /// The version.
    pub(super) version: i64,
    /// When it was committed.
    pub(super) micros: i64,
}

/// The rows as JSON. `numbers` are their places in the version, and stand with it in the offset: 32 bits each, so that a record
/// is told from every other one and a later one has a greater offset.
///
/// # Errors
/// [`sql::ErrorKind::Config`] for a version with more rows than there are numbers, and for rows that JSON cannot hold.
pub(super) fn records(
    rows: &RecordBatch,
    images: &[Image],
    numbers: &[i64],
    key: &[String],
    origin: Origin<'_>,
) -> Result<Vec<RawRecord>> {
    let keys: Vec<usize> = key
        .iter()
        .filter_map(|name| rows.schema().index_of(name).ok())
        .collect();
    let keys = rows.project(&keys).map_err(unwritable)?;
    let values = lines(rows)?;
    let keys = if keys.num_columns() == 0 {
        Vec::new()
    } else {
        lines(&keys)?
    };
    let mut records = Vec::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        let number = numbers.get(index).copied().unwrap_or(NUMBERED);
        let offset = origin
            .version
            .checked_mul(NUMBERED)
            .filter(|_| number < NUMBERED)
            .and_then(|offset| offset.checked_add(number));
        let offset = offset.ok_or_else(|| {
            Error::config("a version has more rows than can be set aside one by one")
                .at(format!("{} version {}", origin.partition.topic, origin.version))
                .remedy("Let the rules `drop` or `warn` instead of `quarantine` until the version is read.")
        })?;
        let image = images.get(index).copied().unwrap_or(Image::Read);
        records.push(RawRecord {
            partition: origin.partition.clone(),
            offset,
            timestamp_ms: Some(origin.micros.div_euclid(1000)),
            key: keys.get(index).cloned(),
            value: Some(value),
            headers: vec![
                header("version", origin.version.to_string()),
                header("change_type", image.word().to_owned()),
            ],
        });
    }
    Ok(records)
}

fn header(name: &str, value: String) -> (String, Option<Vec<u8>>) {
    (name.to_owned(), Some(value.into_bytes()))
}

/// One JSON object a row.
fn lines(rows: &RecordBatch) -> Result<Vec<Vec<u8>>> {
    let mut text = Vec::new();
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, LineDelimited>(&mut text);
    writer.write(rows).map_err(unwritable)?;
    writer.finish().map_err(unwritable)?;
    drop(writer);
    let lines = text.split(|byte| *byte == b'\n');
    Ok(lines
        .filter(|line| !line.is_empty())
        .map(<[u8]>::to_vec)
        .collect())
}

fn unwritable(error: arrow::error::ArrowError) -> Error {
    Error::config("a row of the source cannot be written as JSON, which the quarantine keeps")
        .remedy("Let the rules `drop` or `warn` instead of `quarantine`.")
        .source(error)
}
