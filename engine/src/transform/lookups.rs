//! Static tables that the SQL may join.
//!
//! CSV and Parquet are read whole into memory: a snapshot, so that a file that is replaced while the pipeline runs
//! changes nothing before the next refresh. Lake tables are opened by whoever knows them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::prelude::ParquetReadOptions;
use futures::future::BoxFuture;
use sql::session::{Role, session};
use sql::{Error, Result};

use super::Lookup;
use crate::spec::model::{TableKind, TableSpec};

/// Opens a Delta or Iceberg table for reading, at the version it has now.
pub type OpenLake =
    dyn Fn(TableSpec) -> BoxFuture<'static, Result<Arc<dyn TableProvider>>> + Send + Sync;

/// Opens every table of `specs`, in order.
///
/// # Errors
/// [`sql::ErrorKind::Config`] at the table's entry in the pipeline's file: a file that is not there or is empty, a
/// header that names a column twice, a row with more or fewer fields than the header.
pub async fn open(specs: &[TableSpec], lake: &OpenLake) -> Result<Vec<Lookup>> {
    let mut lookups: Vec<Lookup> = Vec::with_capacity(specs.len());
    for spec in specs {
        let provider = match &spec.kind {
            TableKind::Csv(path) => csv(path).await,
            TableKind::Parquet(path) => parquet(path).await,
            TableKind::Delta(_) | TableKind::Iceberg(_) => lake(spec.clone()).await,
        };
        let provider = provider.map_err(|e| match e.place() {
            Some(_) => e,
            None => e.at(spec.at.clone()),
        })?;
        lookups.push((spec.name.clone(), provider));
    }
    Ok(lookups)
}

async fn csv(path: &str) -> Result<Arc<dyn TableProvider>> {
    let path = PathBuf::from(path);
    let read = tokio::task::spawn_blocking(move || read_csv(&path)).await;
    let rows = read.map_err(|e| Error::internal("reading a lookup was cut short").source(e))??;
    table(rows.schema(), vec![rows])
}

fn table(schema: SchemaRef, rows: Vec<RecordBatch>) -> Result<Arc<dyn TableProvider>> {
    let table = MemTable::try_new(schema, vec![rows])
        .map_err(|e| Error::internal("a lookup's rows do not fit its columns").source(e))?;
    Ok(Arc::new(table))
}

fn missing(path: &Path, error: std::io::Error) -> Error {
    Error::config(format!(
        "the lookup's file {} cannot be read",
        path.display()
    ))
    .source(error)
    .remedy("correct `path`; a relative path starts at the pipeline's file")
}

/// The whole file, each column with the narrowest type that loses nothing of any of its values.
fn read_csv(path: &Path) -> Result<RecordBatch> {
    let open = || File::open(path).map_err(|e| missing(path, e));
    let broken = |e: arrow::error::ArrowError| {
        Error::config(format!("{} is no CSV file with a header", path.display()))
            .source(e)
            .expected("one header line, then lines with as many fields, separated by commas")
    };
    let (header, _) = Format::default()
        .with_header(true)
        .infer_schema(BufReader::new(open()?), Some(0))
        .map_err(broken)?;
    if header.fields().is_empty() {
        return Err(Error::config(format!("{} is empty", path.display()))
            .expected("a CSV file whose first line names the columns"));
    }
    let mut names = BTreeSet::new();
    for field in header.fields() {
        if field.name().trim().is_empty() {
            return Err(Error::config(format!(
                "the header of {} has a column without a name",
                path.display()
            )));
        }
        if !names.insert(field.name().as_str()) {
            return Err(Error::config(format!(
                "the header of {} names `{}` twice",
                path.display(),
                field.name()
            ))
            .remedy("rename one of the columns"));
        }
    }
    let text = header
        .fields()
        .iter()
        .map(|f| Field::new(f.name(), DataType::Utf8, true));
    let text: SchemaRef = Arc::new(Schema::new(text.collect::<Vec<_>>()));
    let reader = ReaderBuilder::new(Arc::clone(&text))
        .with_header(true)
        .build(BufReader::new(open()?))
        .map_err(broken)?;
    let batches = reader
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(broken)?;
    typed(&arrow::compute::concat_batches(&text, &batches).map_err(broken)?)
}

fn typed(text: &RecordBatch) -> Result<RecordBatch> {
    let schema = text.schema();
    let mut fields = Vec::with_capacity(schema.fields().len());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for (field, column) in schema.fields().iter().zip(text.columns()) {
        let data_type = type_of(column.as_string::<i32>());
        let column = cast(column, &data_type)
            .map_err(|e| Error::internal("a lookup's column changed its mind").source(e))?;
        fields.push(Field::new(field.name(), data_type, true));
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|e| Error::internal("a lookup's columns do not fit together").source(e))
}

/// A number, date or truth value only if every value of the column is written as one is printed: `007` is text.
fn type_of(column: &StringArray) -> DataType {
    if column.null_count() == column.len() {
        return DataType::Utf8;
    }
    let all = |is: fn(&str) -> bool| column.iter().flatten().all(is);
    if all(|v| v.parse::<i64>().is_ok_and(|n| n.to_string() == v)) {
        DataType::Int64
    } else if all(is_decimal) {
        DataType::Float64
    } else if all(|v| v == "true" || v == "false") {
        DataType::Boolean
    } else if all(is_date) {
        DataType::Date32
    } else {
        DataType::Utf8
    }
}

fn is_decimal(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    digits(whole)
        && digits(fraction)
        && (whole == "0" || !whole.starts_with('0'))
        && text.len() <= 16
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
}

async fn parquet(path: &str) -> Result<Arc<dyn TableProvider>> {
    let kind = std::fs::metadata(path).map_err(|e| missing(Path::new(path), e))?;
    let url = if kind.is_dir() && !path.ends_with('/') {
        format!("{path}/")
    } else {
        path.to_owned()
    };
    let broken = |e: datafusion::error::DataFusionError| {
        Error::config(format!("{path} cannot be read as Parquet")).source(e)
    };
    // A single file may have any name.
    let options = match Path::new(path).extension().and_then(|e| e.to_str()) {
        Some(extension) if kind.is_file() => {
            ParquetReadOptions::default().file_extension(extension)
        }
        _ if kind.is_file() => ParquetReadOptions::default().file_extension(""),
        _ => ParquetReadOptions::default(),
    };
    let frame = session(Role::Query)
        .read_parquet(&url, options)
        .await
        .map_err(broken)?;
    let schema: SchemaRef = Arc::new(frame.schema().as_arrow().clone());
    if schema.fields().is_empty() {
        return Err(Error::config(format!("{path} holds no Parquet file"))
            .expected("a `.parquet` file, or a folder of them"));
    }
    table(schema, frame.collect().await.map_err(broken)?)
}
