//! A batch, being filled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray, TimestampMicrosecondArray,
    UInt32Array,
};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use sql::change::{
    BatchCounts, CHANGE_TYPE, COMMIT_TIMESTAMP, COMMIT_VERSION, ChangeBatch, INGESTED_AT,
    KeyedMeta, OP, Partition, RawRecord, Reject, RejectReason, RowMeta, Span, lake_metadata_fields,
    utc_micros,
};
use sql::feed::BatchLimit;
use sql::versioned::Version;
use sql::{Error, Result};

use super::images::Image;
use super::raw::{self, Origin};
use crate::lake::cast::Caster;

/// The columns of a feed.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// The row's own columns, all nullable.
    pub(super) row: SchemaRef,
    /// Those, then the metadata columns.
    pub(super) full: SchemaRef,
    /// Those of the row that are read.
    pub(super) read: SchemaRef,
    /// What batches have.
    projection: Vec<String>,
}

impl Layout {
    /// The columns of a table's rows; all of them are read.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] for a column whose name is a metadata column's.
    pub(super) fn try_new(row: &Schema, table: &str) -> Result<Self> {
        let metadata = lake_metadata_fields();
        let mut fields: Vec<FieldRef> = Vec::with_capacity(row.fields().len() + metadata.len());
        for field in row.fields() {
            if metadata.iter().any(|own| own.name() == field.name()) {
                return Err(Error::config(format!(
                    "the column `{}` of {table} has the name of a column that says what a change is",
                    field.name()
                ))
                .at(table)
                .expected("other names than `_op`, `_change_type`, `_commit_version`, `_commit_timestamp`, `_ingested_at`")
                .remedy("Rename the column in the table."));
            }
            let plain = Field::new(field.name(), field.data_type().clone(), true);
            fields.push(Arc::new(plain));
        }
        let row = Arc::new(Schema::new(fields.clone()));
        fields.extend(metadata);
        let full = Arc::new(Schema::new(fields));
        Ok(Self {
            read: Arc::clone(&row),
            projection: names(&full),
            row,
            full,
        })
    }

    /// Reads what `projection` names, and `more`; `None` is the whole row.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Internal`] for a column that there is not.
    pub(super) fn project(&mut self, projection: &[String], more: Option<&[String]>) -> Result<()> {
        for name in projection {
            if self.full.column_with_name(name).is_none() {
                return Err(Error::internal(format!("no column `{name}` to project")));
            }
        }
        self.projection = projection.to_vec();
        let wanted = |field: &&FieldRef| match more {
            None => true,
            Some(more) => projection.contains(field.name()) || more.contains(field.name()),
        };
        let fields: Vec<FieldRef> = self.row.fields().iter().filter(wanted).cloned().collect();
        self.read = Arc::new(Schema::new(fields));
        Ok(())
    }

    /// The columns of `rows` as they are read: in order, with their types; null where the table no longer has them.
    pub(super) fn align(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let schema = rows.schema();
        let own: Vec<usize> = (0..schema.fields().len())
            .filter(|index| self.read.index_of(schema.field(*index).name()).is_ok())
            .collect();
        let rows = rows.project(&own).map_err(broken)?;
        Caster::try_new(&rows.schema(), &self.read)?.cast(&rows)
    }
}

/// The names of columns.
pub(super) fn names(schema: &Schema) -> Vec<String> {
    let fields = schema.fields().iter();
    fields.map(|field| field.name().clone()).collect()
}

/// What of a chunk becomes rows.
pub(super) struct Chunk<'a> {
    /// The rows, with the columns of [`Layout::read`].
    pub(super) rows: &'a RecordBatch,
    pub(super) images: &'a [Image],
    /// The number of its first row in the version.
    pub(super) first: i64,
    pub(super) version: &'a Version,
}

/// How rows are put into a batch.
pub(super) struct Making<'a> {
    pub(super) layout: &'a Layout,
    pub(super) partition: &'a Partition,
    pub(super) key: &'a [String],
    pub(super) keyed: bool,
    pub(super) keep_raw: bool,
}

/// What was put into the batch so far.
#[derive(Default)]
pub(super) struct Fill {
    pub(super) records: usize,
    pub(super) bytes: usize,
    pub(super) versions: usize,
    /// The batch ends here, full or not.
    pub(super) closed: bool,
    /// The row's columns from now on: the batch ends here.
    pub(super) new_schema: Option<SchemaRef>,
    started: Option<Instant>,
    control: u64,
    chunks: Vec<RecordBatch>,
    images: Vec<Image>,
    numbers: Vec<i64>,
    micros: Vec<i64>,
    raw: Vec<RawRecord>,
    rejects: Vec<Reject>,
}

impl Fill {
    pub(super) fn is_full(&self, limit: &BatchLimit, max_versions: Option<usize>) -> bool {
        self.closed
            || self.new_schema.is_some()
            || self.records >= limit.max_records.max(1)
            || self.bytes >= limit.max_bytes.max(1)
            || max_versions.is_some_and(|most| self.versions >= most)
    }

    /// How long the batch may still wait; `None` before there is anything in it.
    pub(super) fn left(&self, limit: &BatchLimit) -> Option<Duration> {
        self.started
            .map(|started| limit.max_wait.saturating_sub(started.elapsed()))
    }

    /// Rows of `row_bytes` each that still fit; at least one.
    pub(super) fn room(&self, limit: &BatchLimit, row_bytes: usize) -> usize {
        let rows = limit.max_records.saturating_sub(self.records);
        let bytes = limit.max_bytes.saturating_sub(self.bytes) / row_bytes.max(1);
        rows.min(bytes).max(1)
    }

    /// Counts records that are no rows: versions that change none, images that nobody wants.
    pub(super) fn control(&mut self, records: usize) {
        if records > 0 {
            self.count(records, 0);
            self.control += records as u64;
        }
    }

    fn count(&mut self, records: usize, bytes: usize) {
        self.records += records;
        self.bytes = self.bytes.saturating_add(bytes);
        self.started.get_or_insert_with(Instant::now);
    }

    /// Adds the rows `kept` of `chunk`, in this order.
    pub(super) fn add(
        &mut self,
        chunk: &Chunk<'_>,
        kept: &[usize],
        row_bytes: usize,
        making: &Making<'_>,
    ) -> Result<()> {
        if kept.is_empty() {
            return Ok(());
        }
        let rows = pick(chunk.rows, kept)?;
        let image = |row: &usize| chunk.images.get(*row).copied().unwrap_or(Image::Read);
        let images: Vec<Image> = kept.iter().map(image).collect();
        if making.keep_raw {
            self.raw
                .extend(chunk.records(&rows, &images, kept, making)?);
        }
        let count = kept.len();
        self.count(count, count.saturating_mul(row_bytes));
        self.numbers
            .extend(std::iter::repeat_n(chunk.version.number, count));
        self.micros
            .extend(std::iter::repeat_n(chunk.version.committed_micros, count));
        self.images.extend(images);
        self.chunks.push(rows);
        Ok(())
    }

    /// Sets aside the rows `keyless` of `chunk`, where a key is needed; what they take away was never there.
    pub(super) fn reject(
        &mut self,
        chunk: &Chunk<'_>,
        keyless: &[usize],
        row_bytes: usize,
        making: &Making<'_>,
    ) -> Result<()> {
        let image = |row: &usize| chunk.images.get(*row).copied().unwrap_or(Image::Read);
        let (gone, rows): (Vec<usize>, Vec<usize>) = keyless
            .iter()
            .copied()
            .partition(|row| matches!(image(row), Image::Before | Image::Delete));
        self.control(gone.len());
        if rows.is_empty() {
            return Ok(());
        }
        let images: Vec<Image> = rows.iter().map(image).collect();
        let records = chunk.records(&pick(chunk.rows, &rows)?, &images, &rows, making)?;
        self.count(rows.len(), rows.len().saturating_mul(row_bytes));
        self.rejects
            .extend(records.into_iter().map(|record| Reject {
                record,
                reason: RejectReason::MissingKey,
                column: None,
                detail: format!(
                    "a key column is null, and the target is kept by {}",
                    making.key.join(", ")
                ),
            }));
        Ok(())
    }

    /// The batch, which covers `span`; `now` is when it was read, and `version` what is done with it.
    pub(super) fn finish(
        self,
        making: &Making<'_>,
        span: Span,
        now: i64,
        version: Option<i64>,
    ) -> Result<ChangeBatch> {
        let layout = making.layout;
        let rows = concat_batches(&layout.read, &self.chunks).map_err(broken)?;
        let count = self.images.len();
        let columns = layout
            .projection
            .iter()
            .map(|name| self.column(name, &rows, now));
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let fields = layout.projection.iter().map(|name| {
            let field = layout.full.field_with_name(name).map_err(broken)?;
            Ok(field.clone())
        });
        let schema = Arc::new(Schema::new(fields.collect::<Result<Vec<Field>>>()?));
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let projected =
            RecordBatch::try_new_with_options(schema, columns, &options).map_err(broken)?;
        let op = |image: &Image| {
            if making.keyed {
                image.keyed_op()
            } else {
                image.op()
            }
        };
        // What a snapshot reads may have been there for years: it is not late.
        let micros = self.images.iter().zip(&self.micros);
        let micros = micros.map(|(image, micros)| match image {
            Image::Read => i64::MIN,
            _ => *micros,
        });
        let meta = RowMeta {
            ops: self.images.iter().map(op).collect(),
            partition: vec![0; count],
            offsets: self.numbers.clone(),
            partitions: vec![making.partition.clone()],
            commit_micros: micros.collect(),
            raw: making.keep_raw.then_some(self.raw),
            keyed: making.keyed.then(nothing_unsent),
        };
        let counts = BatchCounts {
            records: self.records as u64,
            bytes: self.bytes as u64,
            control: self.control,
            ..BatchCounts::default()
        };
        let batch = ChangeBatch::try_new(projected, meta, self.rejects, span, counts)?;
        Ok(batch.up_to_version(version))
    }

    fn column(&self, name: &str, rows: &RecordBatch, now: i64) -> Result<ArrayRef> {
        if let Some(column) = rows.column_by_name(name) {
            return Ok(Arc::clone(column));
        }
        let count = self.images.len();
        let instants = |values: TimestampMicrosecondArray| -> ArrayRef {
            Arc::new(values.with_data_type(utc_micros()))
        };
        let words = |word: &dyn Fn(&Image) -> &'static str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(self.images.iter().map(word)))
        };
        Ok(match name {
            OP => words(&|image| image.op().letter()),
            CHANGE_TYPE => words(&|image| image.word()),
            COMMIT_VERSION => Arc::new(Int64Array::from(self.numbers.clone())),
            COMMIT_TIMESTAMP => instants(TimestampMicrosecondArray::from(self.micros.clone())),
            INGESTED_AT => instants(TimestampMicrosecondArray::from(vec![now; count])),
            _ => return Err(Error::internal(format!("column `{name}` was not read"))),
        })
    }
}

impl Chunk<'_> {
    /// `rows` are those of `places` in the chunk.
    fn records(
        &self,
        rows: &RecordBatch,
        images: &[Image],
        places: &[usize],
        making: &Making<'_>,
    ) -> Result<Vec<RawRecord>> {
        let number = |place: &usize| {
            let place = i64::try_from(*place).unwrap_or(i64::MAX);
            self.first.saturating_add(place)
        };
        let numbers: Vec<i64> = places.iter().map(number).collect();
        let origin = Origin {
            partition: making.partition,
            version: self.version.number,
            micros: self.version.committed_micros,
        };
        raw::records(rows, images, &numbers, making.key, origin)
    }
}

/// A table's changes have all values.
fn nothing_unsent() -> KeyedMeta {
    KeyedMeta {
        tombstones: Vec::new(),
        leaving: Vec::new(),
        arriving: Vec::new(),
        old_keys: RecordBatch::new_empty(Arc::new(Schema::empty())),
        unavailable: Vec::new(),
        again: Vec::new(),
    }
}

fn pick(rows: &RecordBatch, kept: &[usize]) -> Result<RecordBatch> {
    let all = kept.len() == rows.num_rows() && kept.iter().enumerate().all(|(i, row)| i == *row);
    if all {
        return Ok(rows.clone());
    }
    let indices = kept
        .iter()
        .map(|row| u32::try_from(*row).unwrap_or(u32::MAX));
    let indices = UInt32Array::from_iter_values(indices);
    take_record_batch(rows, &indices).map_err(broken)
}

fn broken(error: arrow::error::ArrowError) -> Error {
    Error::internal("the rows of a lake feed do not fit together").source(error)
}
