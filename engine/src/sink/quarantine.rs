//! Records that became no rows: a Delta table that keeps them as they came, with the reason.
//!
//! It is written **before** the batch's own commit, so no reject is lost; and it is keyed by topic, partition and
//! offset, so a batch that is read again after a crash adds nothing: a `txn` action per partition holds the next
//! offset after the last record written, and records below it are skipped.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Array, Int64Array, ListBuilder, RecordBatch, StringArray,
    StringBuilder, StructBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use sql::change::{Partition, Position, Reject, Span};
use sql::{Error, ErrorKind, Result};

use super::Sink as _;
use super::delta::DeltaSink;
use crate::lake::cast::Caster;
use crate::lake::shape::Missing;
use crate::spec::model::{CatalogKind, DeltaTableSpec, PipelineBlock, SinkSpec, SinkTarget};

/// Attempts against another engine that writes the same quarantine.
const MAX_ATTEMPTS: u32 = 10;

/// The quarantine of one pipeline. The table is made at the first reject.
#[derive(Debug)]
pub struct Quarantine {
    table: DeltaTableSpec,
    pipeline: String,
    sink: Option<DeltaSink>,
}

/// Where a pipeline's rejects go.
///
/// # Errors
/// As [`default_table`], if its file does not say it.
pub fn table(pipeline: &PipelineBlock, sink: &SinkSpec) -> Result<DeltaTableSpec> {
    match &pipeline.on_error.table {
        Some(table) => Ok(table.clone()),
        None => default_table(sink, &pipeline.name),
    }
}

/// Where a pipeline's rejects go if its file does not say: `_quarantine/<pipeline>` beside a Delta target's folder, or in an
/// Iceberg target's warehouse.
///
/// # Errors
/// [`ErrorKind::Config`] if the warehouse is no folder that is known: a REST catalog's may be just a name.
pub fn default_table(sink: &SinkSpec, pipeline: &str) -> Result<DeltaTableSpec> {
    let (folder, storage_options) = match &sink.target {
        SinkTarget::Delta(table) => {
            let path = table.path.trim_end_matches('/');
            let parent = path.rsplit_once('/').map_or(".", |(parent, _)| parent);
            (Some(parent), &table.storage_options)
        }
        SinkTarget::Iceberg(table) => {
            let warehouse = match &table.catalog.kind {
                CatalogKind::Sql { warehouse, .. } => Some(warehouse.as_str()),
                CatalogKind::Rest(rest) => rest.warehouse.as_deref().filter(|warehouse| {
                    warehouse.starts_with("file:///") || warehouse.starts_with('/')
                }),
                CatalogKind::File { .. } => None,
            };
            (warehouse, &table.catalog.storage_options)
        }
    };
    let Some(folder) = folder else {
        return Err(
            Error::config("nothing says where records go that become no rows")
                .at(&sink.at)
                .expected("`pipeline.on_error.table`, or a catalog whose `warehouse` is a folder")
                .remedy("add `on_error: { table: { type: delta, path: … } }` to `pipeline`"),
        );
    };
    Ok(DeltaTableSpec {
        path: format!("{}/_quarantine/{pipeline}", folder.trim_end_matches('/')),
        storage_options: storage_options.clone(),
        properties: BTreeMap::new(),
    })
}

/// The quarantine table's columns.
pub fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let instant = |name: &str| {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        Field::new(name, utc, true)
    };
    let header = Field::new("element", DataType::Struct(header_fields()), true);
    Arc::new(Schema::new(vec![
        text("pipeline"),
        text("topic"),
        Field::new("partition", DataType::Int32, true),
        Field::new("offset", DataType::Int64, true),
        instant("timestamp"),
        Field::new("key", DataType::Binary, true),
        Field::new("value", DataType::Binary, true),
        Field::new("headers", DataType::List(Arc::new(header)), true),
        text("reason"),
        text("column"),
        text("detail"),
        instant("ingested_at"),
    ]))
}

fn header_fields() -> Fields {
    Fields::from(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("value", DataType::Binary, true),
    ])
}

impl Quarantine {
    /// The quarantine of `pipeline` in `table`. Touches nothing.
    pub fn new(table: DeltaTableSpec, pipeline: impl Into<String>) -> Self {
        Self {
            table,
            pipeline: pipeline.into(),
            sink: None,
        }
    }

    /// Where the table is.
    pub fn table(&self) -> &DeltaTableSpec {
        &self.table
    }

    /// Writes what is not there yet, durably. Returns the number of records added. All rejects of a batch must come in one
    /// call, whatever set them aside.
    ///
    /// # Errors
    /// From the table's storage; [`ErrorKind::Config`] if the table there is no quarantine.
    pub async fn write(&mut self, rejects: &[Reject], at_micros: i64) -> Result<u64> {
        if rejects.is_empty() {
            return Ok(0);
        }
        let mut lost = None;
        for _ in 0..MAX_ATTEMPTS {
            let sink = self.open().await?;
            let stored = sink.progress().await?;
            let new: Vec<&Reject> = rejects
                .iter()
                .filter(|reject| {
                    stored
                        .get(&reject.record.partition)
                        .is_none_or(|next| reject.record.offset >= next)
                })
                .collect();
            if new.is_empty() {
                return Ok(0);
            }
            let span = span(&stored, &new)?;
            let rows = rows(&self.pipeline, &new, at_micros)?;
            let sink = self.open().await?;
            let rows = Caster::try_new(&schema(), &sink.schema())?.cast(&rows)?;
            match sink.write(&[rows], &span).await {
                Ok(receipt) => return Ok(receipt.rows),
                // Another engine of this pipeline was faster: see what is left to add.
                Err(error) if matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Conflict) => {
                    lost = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        let conflict = Error::new(
            ErrorKind::Conflict,
            "cannot write the quarantine: other engines write it all the time",
        )
        .at(&self.table.path);
        Err(match lost {
            Some(error) => conflict.source(error),
            None => conflict,
        })
    }

    async fn open(&mut self) -> Result<&mut DeltaSink> {
        let sink = match self.sink.take() {
            Some(sink) => sink,
            None => {
                let schema = schema();
                DeltaSink::open(&self.table, &self.pipeline, &schema, &[], Missing::Refuse).await?
            }
        };
        Ok(self.sink.insert(sink))
    }
}

fn span(stored: &Position, rejects: &[&Reject]) -> Result<Span> {
    let mut ends: BTreeMap<Partition, i64> = BTreeMap::new();
    for reject in rejects {
        let next = reject.record.offset.saturating_add(1);
        let end = ends.entry(reject.record.partition.clone()).or_insert(next);
        *end = next.max(*end);
    }
    Span::try_new(stored, &ends.into_iter().collect())
}

fn rows(pipeline: &str, rejects: &[&Reject], at_micros: i64) -> Result<RecordBatch> {
    let texts = |value: &dyn Fn(&Reject) -> Option<String>| -> ArrayRef {
        let values: StringArray = rejects.iter().map(|reject| value(reject)).collect();
        Arc::new(values)
    };
    let partitions: Int32Array = rejects
        .iter()
        .map(|reject| Some(reject.record.partition.number))
        .collect();
    let offsets: Int64Array = rejects
        .iter()
        .map(|reject| Some(reject.record.offset))
        .collect();
    let timestamps: TimestampMicrosecondArray = rejects
        .iter()
        .map(|reject| {
            reject
                .record
                .timestamp_ms
                .and_then(|ms| ms.checked_mul(1_000))
        })
        .collect();
    let ingested = TimestampMicrosecondArray::from(vec![at_micros; rejects.len()]);
    let columns: Vec<ArrayRef> = vec![
        texts(&|_| Some(pipeline.to_owned())),
        texts(&|reject| Some(reject.record.partition.topic.clone())),
        Arc::new(partitions),
        Arc::new(offsets),
        Arc::new(timestamps.with_timezone("UTC")),
        binaries(rejects.iter().map(|reject| reject.record.key.as_deref())),
        binaries(rejects.iter().map(|reject| reject.record.value.as_deref())),
        headers(rejects),
        texts(&|reject| Some(reject.reason.name().to_owned())),
        texts(&|reject| reject.column.clone()),
        texts(&|reject| Some(reject.detail.clone())),
        Arc::new(ingested.with_timezone("UTC")),
    ];
    RecordBatch::try_new(schema(), columns)
        .map_err(|error| Error::internal("rejects do not make a batch").source(error))
}

fn binaries<'a>(values: impl Iterator<Item = Option<&'a [u8]>>) -> ArrayRef {
    let mut builder = BinaryBuilder::new();
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}

fn headers(rejects: &[&Reject]) -> ArrayRef {
    let fields = header_fields();
    let element = Field::new("element", DataType::Struct(fields.clone()), true);
    let entry = StructBuilder::from_fields(fields, 0);
    let mut builder = ListBuilder::new(entry).with_field(element);
    for reject in rejects {
        let entry = builder.values();
        for (name, value) in &reject.record.headers {
            if let Some(keys) = entry.field_builder::<StringBuilder>(0) {
                keys.append_value(name);
            }
            if let Some(values) = entry.field_builder::<BinaryBuilder>(1) {
                values.append_option(value.as_deref());
            }
            entry.append(true);
        }
        builder.append(true);
    }
    Arc::new(builder.finish())
}
