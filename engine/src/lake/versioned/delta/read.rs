//! Rows of the table's files, with the table's columns, in the file's order.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use datafusion::common::ScalarValue;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, RowSelection, RowSelector,
};
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::basic::Type;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use roaring::RoaringTreemap;
use sql::change::CHANGE_TYPE;
use sql::versioned::Rows;
use sql::{Error, Result};

use super::columns::Columns;
use super::commit::DataFile;
use super::place::Place;
use crate::lake::delta::partition_value;

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 8 * 1024;
/// Files whose footers are read before their turn.
const AHEAD: usize = 2;

/// Which rows of a file are read.
#[derive(Debug, Clone)]
pub(super) enum Which {
    All,
    Only(Arc<RoaringTreemap>),
    Without(Arc<RoaringTreemap>),
}

/// What is said of the rows that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing: they are just rows.
    None,
    /// This.
    All(&'static str),
    /// What the file says of each.
    Stored,
}

/// Rows of one file.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) file: Arc<DataFile>,
    pub(super) which: Which,
    pub(super) change: Change,
}

/// Reads files into columns of the table.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    place: Place,
    columns: Arc<Columns>,
    /// The names of the columns that are read.
    wanted: Arc<[String]>,
    schema: SchemaRef,
    with_change: bool,
}

impl Reader {
    /// Reads `wanted` of `columns`, and says what changed if `with_change`.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] for a column that the table has not.
    pub(super) fn try_new(
        place: &Place,
        columns: &Arc<Columns>,
        wanted: &[String],
        with_change: bool,
    ) -> Result<Self> {
        let field = |name: &String| {
            let column = columns.column(name).ok_or_else(|| {
                Error::config(format!("the Delta table has no column `{name}`")).at(place.table())
            });
            Ok(Arc::clone(column?.field()))
        };
        let mut fields: Vec<FieldRef> = wanted.iter().map(field).collect::<Result<_>>()?;
        if with_change {
            fields.push(Arc::new(Field::new(CHANGE_TYPE, DataType::Utf8, true)));
        }
        Ok(Self {
            place: place.clone(),
            columns: Arc::clone(columns),
            wanted: wanted.into(),
            schema: Arc::new(Schema::new(fields)),
            with_change,
        })
    }

    /// The schema of what is read.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows of files, one after the other.
    pub(super) fn all(&self, parts: Vec<Part>) -> Rows {
        let reader = self.clone();
        stream::iter(parts)
            .map(move |part| {
                let reader = reader.clone();
                async move { reader.open(part).await }
            })
            .buffered(AHEAD)
            .try_flatten()
            .boxed()
    }

    /// The rows of one file. Memory: one row group, compressed, and one batch.
    async fn open(&self, part: Part) -> Result<Rows> {
        let file = Arc::clone(&part.file);
        let failed = |error: ParquetError| self.place.failed(&file.path, error);
        let mut input = self.place.parquet(&file.path, file.size).await?;
        let mut footer = input.footer().await.map_err(failed)?;
        let total = u64::try_from(footer.file_metadata().num_rows()).unwrap_or(0);
        let selection = selection(&part.which, total, &self.place, &file.path)?;
        if selection.is_some() {
            footer = input.page_index(footer).await.map_err(failed)?;
        }
        let metadata = arrow_metadata(footer).map_err(failed)?;
        let fields = metadata.schema().fields();
        let mut roots = Vec::new();
        let mut sources = Vec::with_capacity(self.wanted.len());
        for name in self.wanted.iter() {
            let source = self.source(name, &file, fields)?;
            if let Source::Stored(at) = source {
                roots.push(at);
            }
            sources.push(source);
        }
        let change = match part.change {
            Change::Stored if self.with_change => {
                let at = fields.iter().position(|field| field.name() == CHANGE_TYPE);
                let at = at.ok_or_else(|| no_change_type(&file.path))?;
                roots.push(at);
                Some(Source::Stored(at))
            }
            Change::All(word) if self.with_change => {
                Some(Source::Constant(ScalarValue::Utf8(Some(word.to_owned()))))
            }
            _ => None,
        };
        // Decoded batches have the chosen columns in the file's order.
        roots.sort_unstable();
        roots.dedup();
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots.iter().copied());
        let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(input, metadata)
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS);
        if let Some(selection) = selection {
            builder = builder.with_row_selection(selection);
        }
        let assembly = Assembly {
            reader: self.clone(),
            roots,
            sources,
            change,
            path: file.path.clone(),
        };
        let batches = builder.build().map_err(failed)?;
        let rows = batches.map(move |batch| {
            let batch = batch.map_err(|e| assembly.reader.place.failed(&assembly.path, e))?;
            assembly.assemble(&batch)
        });
        Ok(rows.boxed())
    }

    /// Where a column's values come from, in a file with these columns.
    fn source(&self, name: &str, file: &DataFile, fields: &Fields) -> Result<Source> {
        let Some(column) = self.columns.column(name) else {
            return Err(Error::internal(format!("no column `{name}`")));
        };
        let partition = file.partition.as_ref();
        if let Some(text) = partition.and_then(|values| values.get(column.physical())) {
            let data_type = column.field().data_type();
            let value = partition_value(name, text.as_deref(), data_type);
            return Ok(Source::Constant(value.map_err(|e| e.at(&file.path))?));
        }
        Ok(match column.find(fields, self.columns.naming()) {
            Some(at) => Source::Stored(at),
            None => Source::Absent,
        })
    }
}

/// Where the values of a column come from.
#[derive(Debug)]
enum Source {
    /// The file's column at this place.
    Stored(usize),
    /// The same value in each row.
    Constant(ScalarValue),
    /// The file is older than the column.
    Absent,
}

/// Makes batches of the table out of batches of a file.
struct Assembly {
    reader: Reader,
    /// Places of the decoded columns among all of the file.
    roots: Vec<usize>,
    sources: Vec<Source>,
    change: Option<Source>,
    path: String,
}

impl Assembly {
    fn assemble(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.reader.schema.fields().len());
        let columns = &self.reader.columns;
        for (name, source) in self.reader.wanted.iter().zip(&self.sources) {
            let Some(column) = columns.column(name) else {
                return Err(Error::internal(format!("no column `{name}`")));
            };
            arrays.push(match source {
                Source::Stored(at) => {
                    column.take(self.stored(batch, *at)?, columns.naming(), &self.path)?
                }
                Source::Constant(value) => repeated(value, rows)?,
                Source::Absent => arrow::array::new_null_array(column.field().data_type(), rows),
            });
        }
        match &self.change {
            Some(Source::Stored(at)) => {
                let words = arrow::compute::cast(self.stored(batch, *at)?, &DataType::Utf8);
                arrays.push(words.map_err(|e| no_change_type(&self.path).source(e))?);
            }
            Some(Source::Constant(value)) => arrays.push(repeated(value, rows)?),
            Some(Source::Absent) | None if self.reader.with_change => {
                arrays.push(Arc::new(StringArray::new_null(rows)));
            }
            _ => {}
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.reader.schema), arrays, &options)
            .map_err(|error| {
                Error::config("a data file does not fit the table's columns")
                    .at(&self.path)
                    .source(error)
            })
    }

    fn stored<'a>(&self, batch: &'a RecordBatch, at: usize) -> Result<&'a ArrayRef> {
        let place = self.roots.binary_search(&at).ok();
        let column = place.and_then(|place| batch.columns().get(place));
        column.ok_or_else(|| Error::internal("a column was lost while reading").at(&self.path))
    }
}

fn repeated(value: &ScalarValue, rows: usize) -> Result<ArrayRef> {
    value
        .to_array_of_size(rows)
        .map_err(|error| Error::internal("cannot repeat a value").source(error))
}

fn no_change_type(path: &str) -> Error {
    Error::config(format!(
        "a file of the change feed has no column `{CHANGE_TYPE}` of text"
    ))
    .at(path)
    .remedy("Read the versions after it.")
}

/// The rows to decode, unless it is all of them.
fn selection(which: &Which, total: u64, place: &Place, path: &str) -> Result<Option<RowSelection>> {
    let (rows, chosen) = match which {
        Which::All => return Ok(None),
        Which::Only(rows) => (rows, true),
        Which::Without(rows) => (rows, false),
    };
    if rows.max().is_some_and(|last| last >= total) {
        return Err(Error::config(
            "a deletion vector of the Delta table names rows that its file does not have",
        )
        .at(format!("{}: {path}", place.table())));
    }
    let selector = |rows: u64, chosen: bool| {
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        if chosen {
            RowSelector::select(rows)
        } else {
            RowSelector::skip(rows)
        }
    };
    let mut selectors = Vec::new();
    let mut next = 0;
    for row in rows.iter() {
        if row > next {
            selectors.push(selector(row - next, !chosen));
        }
        selectors.push(selector(1, chosen));
        next = row + 1;
    }
    if total > next {
        selectors.push(selector(total - next, !chosen));
    }
    // Neighbours become one.
    Ok(Some(RowSelection::from(selectors)))
}

/// The columns as Parquet has them. Times of 96 bits, which Spark writes, are instants of the table, and read as microseconds: as
/// nanoseconds they would overflow.
fn arrow_metadata(footer: ParquetMetaData) -> Result<ArrowReaderMetadata, ParquetError> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::try_new(Arc::new(footer), options.clone())?;
    let leaves = metadata.parquet_schema().columns();
    if !leaves
        .iter()
        .any(|leaf| leaf.physical_type() == Type::INT96)
    {
        return Ok(metadata);
    }
    let mut leaves = leaves.iter().map(|leaf| leaf.physical_type());
    let fields = metadata.schema().fields().iter();
    let fields: Vec<_> = fields.map(|field| instants(field, &mut leaves)).collect();
    let footer = Arc::clone(metadata.metadata());
    ArrowReaderMetadata::try_new(footer, options.with_schema(Arc::new(Schema::new(fields))))
}

/// The field, with instants for times of 96 bits. `leaves` are the physical types from it on.
fn instants(field: &FieldRef, leaves: &mut impl Iterator<Item = Type>) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|f| instants(f, leaves)).collect())
        }
        DataType::List(element) => DataType::List(instants(element, leaves)),
        DataType::Map(entries, sorted) => DataType::Map(instants(entries, leaves), *sorted),
        other => match leaves.next() {
            Some(Type::INT96) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            _ => other.clone(),
        },
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}
