//! The metadata columns that SQL sees beside a row's own columns.
//!
//! | column | type | meaning |
//! |---|---|---|
//! | `_op` | Utf8 | Debezium's letter |
//! | `_change_type` | Utf8 | Delta's word for the image; null for a truncate |
//! | `_commit_timestamp` | Timestamp(µs, UTC) | when the source committed it (`source.ts_us`, else `source.ts_ms`) |
//! | `_commit_version` | Int64 | lake feeds: Delta's version, Iceberg's sequence number |
//! | `_topic` `_partition` `_offset` | Utf8, Int32, Int64 | Kafka feeds: the only order there is |
//! | `_before` | Struct | the image before the change, as sent |
//! | `_source` | Struct | Debezium's `source` block |
//! | `_ingested_at` | Timestamp(µs, UTC) | when the engine read the batch |
//! | `_unavailable_columns` | List\<Utf8\> | row columns whose value the source did not send (unchanged TOAST); null if none |

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, TimeUnit};

/// Debezium's operation letter.
pub const OP: &str = "_op";
/// Delta's word for the image.
pub const CHANGE_TYPE: &str = "_change_type";
/// When the source committed the change.
pub const COMMIT_TIMESTAMP: &str = "_commit_timestamp";
/// A lake feed's version.
pub const COMMIT_VERSION: &str = "_commit_version";
/// The Kafka topic.
pub const TOPIC: &str = "_topic";
/// The Kafka partition.
pub const PARTITION: &str = "_partition";
/// The Kafka offset.
pub const OFFSET: &str = "_offset";
/// The image before the change, as sent.
pub const BEFORE: &str = "_before";
/// Debezium's `source` block.
pub const SOURCE: &str = "_source";
/// When the engine read it.
pub const INGESTED_AT: &str = "_ingested_at";
/// Columns whose value the source did not send.
pub const UNAVAILABLE_COLUMNS: &str = "_unavailable_columns";

/// Every name that a source reserves. A row's own column may not have one of them.
pub const METADATA: [&str; 11] = [
    OP,
    CHANGE_TYPE,
    COMMIT_TIMESTAMP,
    COMMIT_VERSION,
    TOPIC,
    PARTITION,
    OFFSET,
    BEFORE,
    SOURCE,
    INGESTED_AT,
    UNAVAILABLE_COLUMNS,
];

/// Whether `name` is a metadata column.
pub fn is_metadata(name: &str) -> bool {
    METADATA.contains(&name)
}

/// The names that a lake feed's metadata columns have, in their order after the row's own columns. A row's own column may have
/// any other name, also one that Kafka feeds reserve: what a pipeline wrote with `_topic` in it can be read again.
pub const LAKE_METADATA: [&str; 5] = [
    OP,
    CHANGE_TYPE,
    COMMIT_VERSION,
    COMMIT_TIMESTAMP,
    INGESTED_AT,
];

/// The metadata columns of a lake feed, in their order after the row's own columns.
pub fn lake_metadata_fields() -> Vec<FieldRef> {
    let field = |name: &str| {
        let data_type = match name {
            COMMIT_VERSION => DataType::Int64,
            COMMIT_TIMESTAMP | INGESTED_AT => utc_micros(),
            _ => DataType::Utf8,
        };
        Arc::new(Field::new(name, data_type, true))
    };
    LAKE_METADATA.into_iter().map(field).collect()
}

/// The metadata columns of a feed with this schema: `*` leaves them out. Only a lake feed has [`COMMIT_VERSION`].
pub fn metadata_names(schema: &Schema) -> Vec<String> {
    let of_lake = schema.column_with_name(COMMIT_VERSION).is_some();
    let is_metadata = |name: &str| {
        if of_lake {
            LAKE_METADATA.contains(&name)
        } else {
            is_metadata(name)
        }
    };
    let names = schema.fields().iter().map(|field| field.name());
    names.filter(|name| is_metadata(name)).cloned().collect()
}

/// The one spelling of an instant inside the engine: microseconds, `UTC`. Sinks rename the zone where a format wants another.
pub fn utc_micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The metadata columns of a Kafka feed whose row has `row` columns, in their order after the row's own columns.
pub fn kafka_metadata_fields(row: &Fields) -> Vec<FieldRef> {
    let utf8 = |name| Arc::new(Field::new(name, DataType::Utf8, true));
    vec![
        utf8(OP),
        utf8(CHANGE_TYPE),
        Arc::new(Field::new(COMMIT_TIMESTAMP, utc_micros(), true)),
        utf8(TOPIC),
        Arc::new(Field::new(PARTITION, DataType::Int32, true)),
        Arc::new(Field::new(OFFSET, DataType::Int64, true)),
        Arc::new(Field::new(BEFORE, DataType::Struct(row.clone()), true)),
        Arc::new(Field::new(
            SOURCE,
            DataType::Struct(source_struct_fields()),
            true,
        )),
        Arc::new(Field::new(INGESTED_AT, utc_micros(), true)),
        Arc::new(Field::new(
            UNAVAILABLE_COLUMNS,
            DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))),
            true,
        )),
    ]
}

/// The fields of `_source`: what the Postgres, MySQL and MariaDB connectors send, names as sent.
/// A field that a connector does not have is null.
pub fn source_struct_fields() -> Fields {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let long = |name: &str| Field::new(name, DataType::Int64, true);
    Fields::from(vec![
        text("version"),
        text("connector"),
        text("name"),
        long("ts_ms"),
        long("ts_us"),
        long("ts_ns"),
        text("snapshot"),
        text("db"),
        text("sequence"),
        text("schema"),
        text("table"),
        long("txId"),
        long("lsn"),
        long("xmin"),
        long("server_id"),
        text("gtid"),
        text("file"),
        long("pos"),
        long("row"),
        long("thread"),
        text("query"),
    ])
}
