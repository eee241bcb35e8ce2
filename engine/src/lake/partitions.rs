//! Partition specs of Iceberg tables, out of `partition_by`.

use arrow::datatypes::Schema;
use iceberg::arrow::arrow_schema_to_schema_auto_assign_ids;
use iceberg::spec::{PrimitiveType, TableMetadata, Transform, Type, UnboundPartitionSpec};
use sql::{Error, Result};

use super::iceberg::iceberg_error;
use super::shape::{no_partition_column, same_partitions};
use crate::spec::model::{PartitionField, PartitionTransform};

fn transform(transform: PartitionTransform) -> Transform {
    match transform {
        PartitionTransform::Identity => Transform::Identity,
        PartitionTransform::Year => Transform::Year,
        PartitionTransform::Month => Transform::Month,
        PartitionTransform::Day => Transform::Day,
        PartitionTransform::Hour => Transform::Hour,
        PartitionTransform::Bucket(buckets) => Transform::Bucket(buckets),
        PartitionTransform::Truncate(width) => Transform::Truncate(width),
    }
}

fn partition_name(column: &str, transform: &Transform) -> String {
    match transform {
        Transform::Identity => column.to_owned(),
        Transform::Bucket(_) => format!("{column}_bucket"),
        Transform::Truncate(_) => format!("{column}_trunc"),
        other => format!("{column}_{other}"),
    }
}

/// Whether a new table with `columns` can be partitioned by `partition_by`.
///
/// # Errors
/// [`sql::ErrorKind::Config`] for a column that is not there and for a transform that its type does not have.
pub fn check_new_partitions(columns: &Schema, partition_by: &[PartitionField]) -> Result<()> {
    let schema = arrow_schema_to_schema_auto_assign_ids(columns)
        .map_err(|error| iceberg_error("map the columns", "sink", error))?;
    partition_spec(&schema, partition_by).map(drop)
}

/// The partition spec of `partition_by` over `schema`.
///
/// # Errors
/// [`sql::ErrorKind::Config`] for a column that is not there and for a transform that its type does not have.
pub(crate) fn partition_spec(
    schema: &iceberg::spec::Schema,
    partition_by: &[PartitionField],
) -> Result<UnboundPartitionSpec> {
    let mut builder = UnboundPartitionSpec::builder();
    for field in partition_by {
        let Some(source) = schema.field_by_name(&field.column) else {
            return Err(no_partition_column(field));
        };
        let transform = transform(field.transform);
        transform.result_type(&source.field_type).map_err(|error| {
            Error::config(format!(
                "column `{}` of type {} cannot be partitioned by {transform}",
                field.column, source.field_type
            ))
            .at(&field.at)
            .expected("a date or a timestamp for `year`, `month`, `day` and `hour`; a number, a text or bytes for `truncate`")
            .remedy("partition by another column or transform, or CAST the column in the SQL")
            .source(error)
        })?;
        if cannot_truncate(&transform, &source.field_type) {
            return Err(Error::config(format!(
                "column `{}` of bytes cannot be partitioned by {transform}, which the library does not know of bytes",
                field.column
            ))
            .at(&field.at)
            .expected("a number or a text for `truncate`")
            .remedy("partition by another column, or by `bucket`"));
        }
        let name = partition_name(&field.column, &transform);
        builder = builder
            .add_partition_field(source.id, name, transform)
            .map_err(|error| {
                Error::config(format!("cannot partition by column `{}`", field.column))
                    .at(&field.at)
                    .source(error)
            })?;
    }
    Ok(builder.build())
}

fn cannot_truncate(transform: &Transform, source: &Type) -> bool {
    matches!(transform, Transform::Truncate(_))
        && matches!(source, Type::Primitive(PrimitiveType::Binary))
}

/// Refuses a table that is partitioned otherwise than `partition_by` says, or in a way that nothing can be written by. Saying
/// nothing takes the table as it is.
pub(crate) fn check_partitions(
    metadata: &TableMetadata,
    partition_by: &[PartitionField],
    place: &str,
) -> Result<()> {
    let schema = metadata.current_schema();
    for field in metadata.default_partition_spec().fields() {
        let unknown = matches!(field.transform, Transform::Unknown);
        let source = schema.field_by_id(field.source_id);
        if unknown || source.is_some_and(|s| cannot_truncate(&field.transform, &s.field_type)) {
            return Err(Error::config(format!(
                "the table is partitioned by `{}`, which is {} of {}: the engine cannot write by that",
                field.name,
                field.transform,
                source.map_or_else(|| "a column".to_owned(), |s| s.field_type.to_string())
            ))
            .at(place)
            .remedy("Change the table's partition spec, or write to another table."));
        }
    }
    if partition_by.is_empty() {
        return Ok(());
    }
    let there: Vec<String> = metadata
        .default_partition_spec()
        .fields()
        .iter()
        .map(|field| {
            let column = schema.name_by_field_id(field.source_id).unwrap_or("?");
            shown_partition(column, &field.transform)
        })
        .collect();
    let wanted: Vec<String> = partition_by
        .iter()
        .map(|field| shown_partition(&field.column, &transform(field.transform)))
        .collect();
    same_partitions(&there, &wanted, place)
}

fn shown_partition(column: &str, transform: &Transform) -> String {
    match transform {
        Transform::Identity => column.to_owned(),
        Transform::Bucket(buckets) => format!("bucket({buckets}, {column})"),
        Transform::Truncate(width) => format!("truncate({width}, {column})"),
        other => format!("{other}({column})"),
    }
}
