//! Snapshots, files and manifests as rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use iceberg::spec::{
    DataContentType, ManifestContentType, ManifestFile, SnapshotRef, Struct, TableMetadata, Type,
};
use serde_json::Value;
use sql::versioned::{files_schema, snapshots_schema};
use sql::{Error, Result};

use super::Now;
use super::deletes::Deletes;
use super::history::summed;
use super::state::{Data, Kind, State};
use crate::lake::live::LiveFile;
use crate::lake::partition_values::is_writable;

/// The columns of [`super::IcebergVersions::manifests`].
///
/// | column | type | meaning |
/// |---|---|---|
/// | `path` | Utf8 | |
/// | `content` | Utf8 | `data` or `deletes` |
/// | `spec_id` | Int32 | the partition spec of its files |
/// | `version` | Int64 | the sequence number it came with |
/// | `min_version` | Int64 | the smallest data sequence number of its live files |
/// | `snapshot_id` | Int64 | the snapshot that wrote it |
/// | `bytes` | Int64 | |
/// | `added_files` `existing_files` `deleted_files` | Int64 | null if the list does not say |
/// | `added_rows` `existing_rows` `deleted_rows` | Int64 | the same |
pub fn manifests_schema() -> SchemaRef {
    let long = |name: &str| Field::new(name, DataType::Int64, true);
    Arc::new(Schema::new(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("content", DataType::Utf8, false),
        Field::new("spec_id", DataType::Int32, true),
        long("version"),
        long("min_version"),
        long("snapshot_id"),
        long("bytes"),
        long("added_files"),
        long("existing_files"),
        long("deleted_files"),
        long("added_rows"),
        long("existing_rows"),
        long("deleted_rows"),
    ]))
}

impl Now {
    pub(super) fn snapshots(&self) -> Result<RecordBatch> {
        let own = self.history.versions();
        let long = |of: &dyn Fn(&SnapshotRef) -> Option<i64>| -> ArrayRef {
            Arc::new(own.iter().map(of).collect::<Int64Array>())
        };
        let sum = |name: &'static str| -> ArrayRef {
            long(&|own| summed(own, name).and_then(|value| i64::try_from(value).ok()))
        };
        let times = own
            .iter()
            .map(|own| own.timestamp_ms().saturating_mul(1000));
        let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
        let operations = own.iter().map(|own| own.summary().operation.as_str());
        let last = self.history.last();
        let current = own.iter().map(|own| Some(own.sequence_number() == last));
        let rest = own.iter().map(|own| {
            let all: BTreeMap<_, _> = own.summary().additional_properties.iter().collect();
            serde_json::to_string(&all).ok()
        });
        let columns: Vec<ArrayRef> = vec![
            long(&|own| Some(own.sequence_number())),
            long(&|own| Some(own.snapshot_id())),
            long(&|own| own.parent_snapshot_id()),
            Arc::new(times),
            Arc::new(StringArray::from_iter_values(operations)),
            Arc::new(current.collect::<BooleanArray>()),
            sum("added-data-files"),
            sum("deleted-data-files"),
            sum("added-records"),
            sum("deleted-records"),
            sum("total-data-files"),
            sum("total-records"),
            sum("total-files-size"),
            Arc::new(rest.collect::<StringArray>()),
        ];
        built(snapshots_schema(), columns)
    }

    pub(super) async fn files(&self, snapshot: Option<&SnapshotRef>) -> Result<RecordBatch> {
        let state = self.manifests.state(&self.table, &self.name, snapshot);
        let State { data, deletes } = state.await?;
        let metadata = self.table.metadata_ref();
        let index = Deletes::new(&metadata, &self.reader, deletes.values().cloned());
        let mut rows = Vec::with_capacity(data.len() + deletes.len());
        for own in data.values() {
            let Data { file, entry } = own;
            let deleted = index.count(own);
            rows.push((file, "data", entry.file_sequence_number, deleted));
        }
        for own in deletes.values() {
            let content = match own.kind {
                Kind::Positions => "position_deletes",
                Kind::Vector { .. } => "deletion_vector",
                Kind::Equality(_) => "equality_deletes",
            };
            let added = own.entry.file_sequence_number;
            rows.push((&own.live.file, content, added, None));
        }
        let long = |value: u64| i64::try_from(value).ok();
        let partitions = rows
            .iter()
            .map(|(file, ..)| shown_partition(&metadata, file));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|(file, ..)| &file.path),
            )),
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|(_, content, ..)| content),
            )),
            Arc::new(partitions.collect::<StringArray>()),
            Arc::new(
                rows.iter()
                    .map(|row| long(row.0.rows))
                    .collect::<Int64Array>(),
            ),
            Arc::new(
                rows.iter()
                    .map(|row| long(row.0.size))
                    .collect::<Int64Array>(),
            ),
            Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
            Arc::new(
                rows.iter()
                    .map(|row| row.3.and_then(long))
                    .collect::<Int64Array>(),
            ),
            Arc::new(
                rows.iter()
                    .map(|row| Some(row.0.spec))
                    .collect::<Int32Array>(),
            ),
        ];
        built(files_schema(), columns)
    }

    pub(super) async fn manifests(&self, snapshot: Option<&SnapshotRef>) -> Result<RecordBatch> {
        let own = match snapshot {
            Some(snapshot) => {
                let list = self.manifests.list(&self.table, &self.name, snapshot);
                list.await?
            }
            None => Vec::new(),
        };
        let long = |of: &dyn Fn(&ManifestFile) -> Option<i64>| -> ArrayRef {
            Arc::new(own.iter().map(of).collect::<Int64Array>())
        };
        let rows = |value: Option<u64>| value.and_then(|value| i64::try_from(value).ok());
        let content = own.iter().map(|own| match own.content {
            ManifestContentType::Data => "data",
            ManifestContentType::Deletes => "deletes",
        });
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(
                own.iter().map(|own| &own.manifest_path),
            )),
            Arc::new(StringArray::from_iter_values(content)),
            Arc::new(
                own.iter()
                    .map(|own| Some(own.partition_spec_id))
                    .collect::<Int32Array>(),
            ),
            long(&|own| Some(own.sequence_number)),
            long(&|own| Some(own.min_sequence_number)),
            long(&|own| Some(own.added_snapshot_id)),
            long(&|own| Some(own.manifest_length)),
            long(&|own| own.added_files_count.map(i64::from)),
            long(&|own| own.existing_files_count.map(i64::from)),
            long(&|own| own.deleted_files_count.map(i64::from)),
            long(&|own| rows(own.added_rows_count)),
            long(&|own| rows(own.existing_rows_count)),
            long(&|own| rows(own.deleted_rows_count)),
        ];
        built(manifests_schema(), columns)
    }

    /// What differs between two snapshots, by partition and content.
    pub(super) async fn compare(
        &self,
        from: Option<&SnapshotRef>,
        to: Option<&SnapshotRef>,
    ) -> Result<Vec<Compared>> {
        let old = self.manifests.state(&self.table, &self.name, from).await?;
        let new = self.manifests.state(&self.table, &self.name, to).await?;
        let metadata = self.table.metadata();
        let mut all: BTreeMap<(Option<String>, &'static str), Compared> = BTreeMap::new();
        for (of, but, added) in [(&new, &old, true), (&old, &new, false)] {
            let data = of
                .data
                .iter()
                .filter(|(path, _)| !but.data.contains_key(*path));
            let data = data.map(|(_, own)| (&own.file, &own.entry));
            let deletes = of
                .deletes
                .iter()
                .filter(|(at, _)| !but.deletes.contains_key(*at));
            let deletes = deletes.map(|(_, own)| (&own.live.file, &own.entry));
            for (file, entry) in data.chain(deletes) {
                let content = match entry.content_type() {
                    DataContentType::Data => "data",
                    DataContentType::PositionDeletes => "position_deletes",
                    DataContentType::EqualityDeletes => "equality_deletes",
                };
                let partition = shown_partition(metadata, file);
                let own = all.entry((partition.clone(), content));
                let own = own.or_insert_with(|| Compared {
                    partition,
                    content,
                    ..Compared::default()
                });
                let (files, rows) = if added {
                    (&mut own.added_files, &mut own.added_rows)
                } else {
                    (&mut own.removed_files, &mut own.removed_rows)
                };
                *files += 1;
                *rows += file.rows;
            }
        }
        Ok(all.into_values().collect())
    }
}

/// What one partition has in one snapshot and not in another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// Its values as JSON; nothing for a table without partitions.
    pub partition: Option<String>,
    /// `data`, `position_deletes` (deletion vectors too) or `equality_deletes`.
    pub content: &'static str,
    /// Files that only the later snapshot has.
    pub added_files: u64,
    /// Rows of these files; deletes, if they are such files.
    pub added_rows: u64,
    /// Files that only the earlier snapshot has.
    pub removed_files: u64,
    /// Rows of these files.
    pub removed_rows: u64,
}

fn built(schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(schema, columns)
        .map_err(|error| Error::internal("a list cannot be put together").source(error))
}

/// The values of a file's partition as JSON.
fn shown_partition(metadata: &TableMetadata, file: &LiveFile) -> Option<String> {
    let spec = metadata.partition_spec_by_id(file.spec)?;
    if spec.fields().is_empty() {
        return None;
    }
    let schema = metadata.current_schema();
    let one = |at: usize, value: Option<&iceberg::spec::Literal>| -> Option<Value> {
        let field = spec.fields().get(at)?;
        let mut schemas = std::iter::once(schema).chain(metadata.schemas_iter());
        let source = schemas.find_map(|schema| schema.field_by_id(field.source_id))?;
        let of: Type = field.transform.result_type(&source.field_type).ok()?;
        value?.clone().try_into_json(&of).ok()
    };
    // Some values make the library panic where it shows them.
    let plain = is_writable(spec, schema, &file.partition);
    let shown = spec.fields().iter().enumerate().map(|(at, field)| {
        let value = value_at(&file.partition, at).filter(|_| plain);
        (field.name.clone(), one(at, value).unwrap_or(Value::Null))
    });
    let shown: serde_json::Map<String, Value> = shown.collect();
    serde_json::to_string(&shown).ok()
}

fn value_at(partition: &Struct, at: usize) -> Option<&iceberg::spec::Literal> {
    partition.fields().get(at).and_then(Option::as_ref)
}
