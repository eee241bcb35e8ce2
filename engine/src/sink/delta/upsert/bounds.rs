//! What the log knows of a column's values in a file: statistics and partition values, out of their text.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::sink::delta::statistics::EXACT_DIGITS;

/// Some writers cut the microseconds off the largest time.
const CUT_MICROS: i64 = 999;

/// The smallest and largest value of a column in a file; null where it is not known.
#[derive(Debug, Clone)]
pub(in crate::sink::delta) struct Bounds {
    pub(in crate::sink::delta) min: ScalarValue,
    pub(in crate::sink::delta) max: ScalarValue,
    /// The column is null in all rows: no key is there.
    pub(in crate::sink::delta) never: bool,
}

impl Bounds {
    /// Of a column that is `value` in all rows.
    pub(in crate::sink::delta) fn exactly(value: ScalarValue) -> Self {
        Self {
            never: value.is_null(),
            min: value.clone(),
            max: value,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats<'a> {
    num_records: Option<u64>,
    #[serde(borrow, default)]
    min_values: HashMap<String, &'a RawValue>,
    #[serde(borrow, default)]
    max_values: HashMap<String, &'a RawValue>,
}

/// The number of rows that statistics tell.
pub(in crate::sink::delta) fn row_count(stats: &str) -> Option<u64> {
    serde_json::from_str::<Stats<'_>>(stats).ok()?.num_records
}

/// The bounds of the top-level column `name` for each of `stats`. What is missing or cannot be understood is unknown.
pub(in crate::sink::delta) fn bounds_of(
    name: &str,
    data_type: &DataType,
    stats: &[Option<&str>],
) -> Vec<Bounds> {
    let usable = match data_type {
        DataType::Decimal128(precision, _) => *precision <= EXACT_DIGITS,
        DataType::Binary | DataType::LargeBinary => false,
        other => !other.is_floating(),
    };
    let parsed = stats.iter().map(|stats| {
        let stats: Stats<'_> = serde_json::from_str(stats.filter(|_| usable)?).ok()?;
        let text = |values: &HashMap<String, &RawValue>| values.get(name).and_then(|v| plain(v));
        Some((text(&stats.min_values), text(&stats.max_values)))
    });
    let (mins, maxs): (Vec<_>, Vec<_>) = parsed.map(Option::unwrap_or_default).unzip();
    let (mins, maxs) = (typed(mins, data_type), typed(maxs, data_type));
    let null = ScalarValue::try_from(data_type).unwrap_or(ScalarValue::Null);
    (0..stats.len())
        .map(|at| {
            let value = |values: &Option<ArrayRef>| {
                let values = values.as_ref()?;
                ScalarValue::try_from_array(values, at).ok()
            };
            Bounds {
                min: value(&mins).unwrap_or_else(|| null.clone()),
                max: value(&maxs).map_or_else(|| null.clone(), padded),
                never: false,
            }
        })
        .collect()
}

/// A JSON string without its quotes, any other value as it stands.
fn plain(value: &RawValue) -> Option<String> {
    let text = value.get();
    if text.starts_with('"') {
        return serde_json::from_str(text).ok();
    }
    (text != "null").then(|| text.to_owned())
}

fn typed(texts: Vec<Option<String>>, data_type: &DataType) -> Option<ArrayRef> {
    let texts: ArrayRef = Arc::new(StringArray::from(texts));
    let options = CastOptions {
        safe: true,
        ..CastOptions::default()
    };
    cast_with_options(&texts, data_type, &options).ok()
}

fn padded(max: ScalarValue) -> ScalarValue {
    match max {
        ScalarValue::TimestampMicrosecond(Some(micros), zone) => {
            ScalarValue::TimestampMicrosecond(Some(micros.saturating_add(CUT_MICROS)), zone)
        }
        other => other,
    }
}

/// Whether partition values of this type survive being text, in every reader and in the writer of this library: binary values have
/// no spelling that all agree on, and negative decimals are misspelt.
pub(in crate::sink::delta) fn can_partition(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Boolean
            | DataType::Utf8
            | DataType::Date32
            | DataType::Timestamp(TimeUnit::Microsecond, _)
    )
}
