//! Functions that list what a table or a pipeline says of itself.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use datafusion::catalog::TableProvider;
use iceberg::spec::{ManifestContentType, ManifestFile};
use sql::function::table::net_changes_sql;
use sql::session::{Role, session};
use sql::table::{ChangesTable, Range};
use sql::versioned::VersionedTable;
use sql::{Error, Result};

use super::Opened;
use super::target::{Names, spec};
use crate::lake::catalog::{Absent, OpenCatalog};
use crate::lake::iceberg::{iceberg_error, identifier, shown};
use crate::lake::versioned::VersionedSpec;
use crate::sink::open_existing;

/// `positions('pipeline')`: how far its table says that its sources were read.
pub(super) async fn positions(pipeline: &str, names: &Names<'_>) -> Result<RecordBatch> {
    let mut pipelines: Vec<&str> = Vec::new();
    for table in names.known.iter() {
        let name = table.pipeline.pipeline.name.as_str();
        if !pipelines.contains(&name) {
            pipelines.push(name);
        }
    }
    let found = names
        .known
        .iter()
        .find(|table| table.pipeline.pipeline.name == pipeline);
    let Some(found) = found else {
        let error = Error::config(format!("no pipeline is named `{pipeline}`"));
        return Err(match pipelines.as_slice() {
            [] => error
                .expected("a pipeline; no pipeline file is known here")
                .remedy("name pipeline files or their folder: engine sql FILE|DIR… -c 'SELECT …'"),
            some => {
                let error = error.expected(format!("one of {}", some.join(", ")));
                match crate::spec::nearest(pipeline, some.iter().copied()) {
                    Some(nearest) => error.remedy(format!("did you mean `{nearest}`?")),
                    None => error.remedy("list the pipelines with engine sql -c 'SHOW TABLES'"),
                }
            }
        });
    };
    let sink = open_existing(&found.pipeline.sink, pipeline, &[]).await?;
    let Some(mut sink) = sink else {
        return Err(
            Error::config(format!("the table of `{pipeline}` is not there yet")).remedy(format!(
                "run the pipeline first, as in `engine run --once {}`",
                found.pipeline.file.display()
            )),
        );
    };
    let stored = sink.progress().await?;
    let sources = stored.iter().map(|(partition, _)| partition.topic.as_str());
    let partitions = stored.iter().map(|(partition, _)| partition.number);
    let columns: [(&str, ArrayRef); 3] = [
        ("source", Arc::new(StringArray::from_iter_values(sources))),
        (
            "partition",
            Arc::new(Int32Array::from_iter_values(partitions)),
        ),
        (
            "position",
            Arc::new(Int64Array::from_iter_values(
                stored.iter().map(|(_, next)| next),
            )),
        ),
    ];
    RecordBatch::try_from_iter(columns).map_err(broken)
}

/// `manifests('t')`: the manifest files of an Iceberg table's current snapshot.
pub(super) async fn manifests(names: &Names<'_>, text: &str) -> Result<RecordBatch> {
    let (name, spec, _) = spec(names, text)?;
    let VersionedSpec::Iceberg(spec) = spec else {
        return Err(
            Error::config(format!("`{name}` is a Delta table, and has no manifests"))
                .expected("an Iceberg table")
                .remedy("its log is in snapshots('…') and files('…')"),
        );
    };
    let catalog = OpenCatalog::open(&spec.catalog, Absent::Refuse).await?;
    let table = catalog.load(&identifier(&spec)?).await?.ok_or_else(|| {
        Error::config(format!("there is no Iceberg table `{}`", shown(&spec))).at(catalog.place())
    })?;
    let mut files: Vec<ManifestFile> = Vec::new();
    if let Some(snapshot) = table.metadata().current_snapshot() {
        let list = table.manifest_list_reader(snapshot).load().await;
        let list = list.map_err(|error| iceberg_error("read a list of manifests", &name, error))?;
        files.extend(list.consume_entries());
    }
    listed(&files)
}

fn listed(files: &[ManifestFile]) -> Result<RecordBatch> {
    let long = |value: &dyn Fn(&ManifestFile) -> Option<i64>| -> ArrayRef {
        Arc::new(Int64Array::from_iter(files.iter().map(value)))
    };
    let count = |value: Option<u32>| value.map(i64::from);
    let rows = |value: Option<u64>| value.and_then(|value| i64::try_from(value).ok());
    let paths = files.iter().map(|file| file.manifest_path.as_str());
    let contents = files.iter().map(|file| match file.content {
        ManifestContentType::Data => "data",
        ManifestContentType::Deletes => "deletes",
    });
    let specs = files.iter().map(|file| file.partition_spec_id);
    let columns: [(&str, ArrayRef); 13] = [
        ("path", Arc::new(StringArray::from_iter_values(paths))),
        ("content", Arc::new(StringArray::from_iter_values(contents))),
        ("bytes", long(&|file| Some(file.manifest_length))),
        ("version", long(&|file| Some(file.sequence_number))),
        (
            "oldest_version",
            long(&|file| Some(file.min_sequence_number)),
        ),
        ("snapshot_id", long(&|file| Some(file.added_snapshot_id))),
        ("spec_id", Arc::new(Int32Array::from_iter_values(specs))),
        ("added_files", long(&|file| count(file.added_files_count))),
        (
            "existing_files",
            long(&|file| count(file.existing_files_count)),
        ),
        (
            "deleted_files",
            long(&|file| count(file.deleted_files_count)),
        ),
        ("added_rows", long(&|file| rows(file.added_rows_count))),
        (
            "existing_rows",
            long(&|file| rows(file.existing_rows_count)),
        ),
        ("deleted_rows", long(&|file| rows(file.deleted_rows_count))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .map_err(broken)
}

/// `net_changes('t', from, to)`: one row a key, as a query over the changes.
pub(super) async fn net_changes(
    shown: String,
    table: Arc<dyn VersionedTable>,
    range: Range,
    key: &[String],
) -> Result<Opened> {
    let columns: Vec<String> = table
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    if key.is_empty() {
        return Err(
            Error::config(format!("`{shown}` does not say what identifies its rows"))
                .expected("the key's columns as the last argument")
                .remedy("write e.g. net_changes('table', 3, 7, 'id'), or 'id, region'"),
        );
    }
    if let Some(missing) = key.iter().find(|name| !columns.contains(name)) {
        return Err(
            Error::config(format!("the key's column `{missing}` is none of `{shown}`"))
                .expected(format!("some of {}", columns.join(", "))),
        );
    }
    let ctx = session(Role::Query);
    let changes = Arc::new(ChangesTable::try_new(shown, table, range)?);
    let planned = async {
        ctx.register_table("changes", changes)?;
        let frame = ctx.sql(&net_changes_sql(&columns, key)).await?;
        Ok::<Arc<dyn TableProvider>, datafusion::error::DataFusionError>(frame.into_view())
    };
    let view = planned.await.map_err(|error| {
        Error::internal("the query for net changes cannot be planned").source(error)
    })?;
    Ok(view.into())
}

fn broken(error: arrow::error::ArrowError) -> Error {
    Error::internal("a list does not fit together").source(error)
}
