//! Iceberg's values as Arrow's, and which keys a partition can hold.

use std::collections::HashSet;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::ScalarValue;
use iceberg::spec::{
    Datum, Literal, PartitionSpec, PrimitiveType, Struct, TableMetadata, Transform,
};
use iceberg::transform::create_transform_function;

use super::files::LiveFile;
use crate::lake::keys::KeySet;
pub(super) use crate::lake::live::scalar;

/// One bound for each file, as an array of the key's type; what is not known is null.
pub(super) fn bounds<'a>(
    data_type: &DataType,
    of_files: impl Iterator<Item = Option<&'a Datum>>,
) -> Option<ArrayRef> {
    let null = ScalarValue::try_from(data_type).ok()?;
    let values = of_files.map(|bound| {
        bound
            .and_then(|bound| scalar(bound.literal(), bound.data_type()))
            .and_then(|bound| bound.cast_to(data_type).ok())
            .unwrap_or_else(|| null.clone())
    });
    let values: Vec<ScalarValue> = values.collect();
    if values.is_empty() {
        return Some(arrow::array::new_empty_array(data_type));
    }
    ScalarValue::iter_to_array(values).ok()
}

/// A partition field's value, if it is known and not null.
fn partition_value(value: Option<&Literal>, of: &PrimitiveType) -> Option<ScalarValue> {
    scalar(&value?.as_primitive_literal()?, of)
}

/// Columns of the key that a partition fixes: by their place in the key, each an array of one value.
pub(super) fn constants(
    metadata: &TableMetadata,
    spec: &PartitionSpec,
    partition: &Struct,
    key: &[(i32, DataType)],
) -> Vec<(usize, ArrayRef)> {
    let mut constants = Vec::new();
    for (field, value) in spec.fields().iter().zip(partition.iter()) {
        let place = key.iter().position(|(id, _)| *id == field.source_id);
        let (Some(place), Transform::Identity) = (place, field.transform) else {
            continue;
        };
        let array = primitive_type(metadata, field.source_id)
            .and_then(|of| partition_value(value, &of))
            .and_then(|value| {
                let (_, data_type) = key.get(place)?;
                value.cast_to(data_type).ok()?.to_array().ok()
            });
        if let Some(array) = array {
            constants.push((place, array));
        }
    }
    constants
}

/// Columns of the table that the partition of a file fixes, by their place in `schema`, each an array of one value.
pub(in crate::sink::iceberg) fn partition_values(
    metadata: &TableMetadata,
    schema: &Schema,
    file: &LiveFile,
) -> Vec<(usize, ArrayRef)> {
    let ids = schema.fields().iter().map(|field| {
        let id = metadata.current_schema().field_id_by_name(field.name());
        (id.unwrap_or(-1), field.data_type().clone())
    });
    let ids: Vec<_> = ids.collect();
    match metadata.partition_spec_by_id(file.spec) {
        Some(spec) => constants(metadata, spec, &file.partition, &ids),
        None => Vec::new(),
    }
}

pub(super) fn primitive_type(metadata: &TableMetadata, id: i32) -> Option<PrimitiveType> {
    let field = metadata.current_schema().field_by_id(id)?;
    field.field_type.as_primitive_type().cloned()
}

/// For one partition spec: the partitions that keys fall into.
#[derive(Debug, Default)]
pub(super) struct KeyPartitions {
    /// The field's place in the spec, its values' type in Iceberg and in Arrow, and the values that keys have.
    fields: Vec<(usize, PrimitiveType, DataType, HashSet<ScalarValue>)>,
}

impl KeyPartitions {
    /// Looks at `identity`, `bucket` and `truncate` of key columns whose hash or prefix all writers agree on. Time transforms are
    /// left to the bounds: writers have disagreed about times before 1970.
    pub(super) fn new(
        metadata: &TableMetadata,
        spec: &PartitionSpec,
        keys: &KeySet,
        key: &[(i32, DataType)],
    ) -> Self {
        let mut fields = Vec::new();
        for (at, field) in spec.fields().iter().enumerate() {
            let place = key.iter().position(|(id, _)| *id == field.source_id);
            let values = place.map(|place| keys.keys().column(place));
            let Some(values) = values.filter(|values| agreed(values.data_type(), field.transform))
            else {
                continue;
            };
            let transformed = create_transform_function(&field.transform)
                .and_then(|transform| transform.transform(ArrayRef::clone(values)));
            let source = primitive_type(metadata, field.source_id);
            let (Ok(transformed), Some(source)) = (transformed, source) else {
                continue;
            };
            let of = match field.transform {
                Transform::Bucket(_) => PrimitiveType::Int,
                _ => source,
            };
            let set: Result<HashSet<_>, _> = (0..transformed.len())
                .map(|row| ScalarValue::try_from_array(&transformed, row))
                .collect();
            if let Ok(set) = set {
                fields.push((at, of, transformed.data_type().clone(), set));
            }
        }
        Self { fields }
    }

    /// Whether a file of this partition can hold one of the keys.
    pub(super) fn may_hold(&self, partition: &Struct) -> bool {
        self.fields.iter().all(|(at, of, data_type, set)| {
            let value = partition.fields().get(*at).and_then(Option::as_ref);
            let Some(value) = value else {
                // Null: no key is.
                return false;
            };
            partition_value(Some(value), of)
                .and_then(|value| value.cast_to(data_type).ok())
                .is_none_or(|value| set.contains(&value))
        })
    }
}

fn agreed(data_type: &DataType, transform: Transform) -> bool {
    match transform {
        Transform::Identity => !data_type.is_floating(),
        Transform::Bucket(_) | Transform::Truncate(_) => matches!(
            data_type,
            DataType::Int32 | DataType::Int64 | DataType::Utf8
        ),
        _ => false,
    }
}
