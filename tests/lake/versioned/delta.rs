//! Delta tables whose history the engine's own sinks and the library's operations made.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::prelude::{SessionContext, col, lit};
use deltalake::operations::write::SchemaMode;
use deltalake::protocol::SaveMode;
use deltalake::{DeltaTable, ensure_table_uri, open_table};
use engine::lake::versioned::delta::DeltaVersions;
use engine::lake::versioned::{MissingFeed, VersionedSpec, open};
use engine::sink::delta::DeltaUpsert;
use engine::sink::{Missing, UpsertSink};
use engine::spec::model::DeltaTableSpec;
use sql::ErrorKind;
use sql::versioned::{VersionedTable, Wanted};
use tempfile::TempDir;

use super::contract::{Images, all, collect, fold, follows, holds, refusal, state, told};
use crate::lake::harness::{self, delta_spec, fitted, rows, span};
use crate::lake::upsert::harness::{
    Bench, Kind, Plain, Shape, Writer, change, many, plain, truncate,
};

async fn versions(spec: &DeltaTableSpec) -> DeltaVersions {
    let opened = DeltaVersions::open(spec).await;
    opened.unwrap_or_else(|error| panic!("{}", error.report()))
}

/// A history of rows that come, change, move and go.
async fn history(bench: &Bench) {
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..40, "eu", 10), &[])).await;
    writer.apply(&change(&many(40..50, "us", 10), &[])).await;
    for round in 1..12_i64 {
        let ids = (0..6).map(|at| (round * 7 + at * 5) % 60);
        let regions = [Some("eu"), Some("us"), None];
        let region = |id: i64| regions[usize::try_from((id + round) % 3).unwrap()];
        let rows: Vec<Plain<'_>> = ids.map(|id| (id, region(id), Some(id * round))).collect();
        let mut deletes = vec![round * 2 + 70, round + 20];
        deletes.retain(|id| rows.iter().all(|row| row.0 != *id));
        writer.apply(&change(&rows, &deletes)).await;
    }
    writer.apply(&truncate(&many(3..5, "eu", 1))).await;
    writer.apply(&change(&many(0..3, "us", 1), &[])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds_for_our_own_upserts() {
    for (shape, images) in [
        (Shape::plain(), Images::Together),
        (Shape::partitioned(), Images::Apart),
    ] {
        let bench = Bench::new(Kind::Delta, shape);
        history(&bench).await;
        let spec = VersionedSpec::Delta(bench.spec());
        let table = open(&spec, MissingFeed::Error).await.unwrap();
        assert_eq!(table.format(), "delta");
        assert_eq!(table.name(), bench.spec().path);
        holds(table.as_ref(), images).await;
    }
}

async fn opened(path: &Path) -> DeltaTable {
    let url = ensure_table_uri(path.to_str().unwrap()).unwrap();
    open_table(url).await.unwrap()
}

/// A table of [`Shape::plain`] with these properties.
async fn made(path: &Path, partition_by: &[String], properties: &[(&str, &str)]) -> DeltaTableSpec {
    let mut spec = delta_spec(path);
    for (key, value) in properties {
        let (key, value) = ((*key).to_owned(), (*value).to_owned());
        spec.properties.insert(key, value);
    }
    let (shape, key) = (Shape::plain(), ["id".to_owned()]);
    let missing = Missing::Refuse;
    let sink = DeltaUpsert::open(&spec, "p", &shape.schema, partition_by, &key, missing).await;
    let mut writer = Writer::of(Box::new(sink.unwrap()) as Box<dyn UpsertSink>);
    writer.apply(&change(&many(0..20, "eu", 10), &[])).await;
    spec
}

async fn merged(table: DeltaTable, rows: &[Plain<'_>]) -> DeltaTable {
    let source = SessionContext::new().read_batch(plain(rows)).unwrap();
    let (table, _) = table
        .merge(source, col("target.id").eq(col("source.id")))
        .with_source_alias("source")
        .with_target_alias("target")
        .when_matched_delete(|delete| delete.predicate(col("source.n").is_null()))
        .unwrap()
        .when_matched_update(|update| {
            update
                .update("region", col("source.region"))
                .update("n", col("source.n"))
        })
        .unwrap()
        .when_not_matched_insert(|insert| {
            insert
                .set("id", col("source.id"))
                .set("region", col("source.region"))
                .set("n", col("source.n"))
        })
        .unwrap()
        .await
        .unwrap();
    table
}

/// What the library can do to a table.
async fn operations(path: &Path) -> DeltaTable {
    let table = opened(path).await;
    let table = table.write([plain(&many(20..30, "us", 10))]).await.unwrap();
    let sources = [
        (3, Some("eu"), Some(1)),
        (21, Some("us"), None),
        (50, None, Some(5)),
    ];
    let table = merged(table, &sources).await;
    let (table, _) = table
        .delete()
        .with_predicate(col("id").eq(lit(5)))
        .await
        .unwrap();
    let update = table.update().with_predicate(col("id").lt(lit(3)));
    let (table, _) = update.with_update("n", lit(-1_i64)).await.unwrap();
    let (table, _) = table.optimize().await.unwrap();
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("note", DataType::Utf8, true),
    ]);
    let ids = Int64Array::from(vec![60, 61]);
    let notes = StringArray::from(vec![Some("new"), None]);
    let late = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids), Arc::new(notes)]);
    let write = table.write([late.unwrap()]);
    let table = write.with_schema_mode(SchemaMode::Merge).await.unwrap();
    let table = merged(table, &[(60, Some("eu"), Some(6)), (0, Some("eu"), None)]).await;
    let (table, _) = table
        .delete()
        .with_predicate(col("region").eq(lit("us")))
        .await
        .unwrap();
    table
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds_for_operations_of_the_library() {
    for partition_by in [vec![], vec!["region".to_owned()]] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("table");
        let spec = made(&path, &partition_by, &[]).await;
        operations(&path).await;
        let table = versions(&spec).await;
        assert!(table.schema().column_with_name("note").is_some());
        holds(&table, Images::Apart).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds_where_rewritten_files_are_compared() {
    for partition_by in [vec![], vec!["region".to_owned()]] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("table");
        let off = ("delta.enableChangeDataFeed", "false");
        let spec = made(&path, &partition_by, &[off]).await;
        operations(&path).await;
        let table = versions(&spec).await.with_missing_feed(MissingFeed::Diff);
        holds(&table, Images::Together).await;
        if !partition_by.is_empty() {
            continue;
        }
        // A row that was only copied is no change.
        let changes = told(&table, 3).await;
        let mut kinds: Vec<_> = changes
            .iter()
            .map(|(row, kind)| format!("{kind} {row}"))
            .collect();
        kinds.sort();
        let expected = [
            "delete 21|us|210|∅",
            "delete 3|eu|30|∅",
            "insert 3|eu|1|∅",
            "insert 50|∅|5|∅",
        ];
        assert_eq!(kinds, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rewritten_files_without_a_feed_are_refused_and_the_rest_is_read() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("table");
    let off = ("delta.enableChangeDataFeed", "false");
    let spec = made(&path, &[], &[off]).await;
    let table = opened(&path).await;
    let table = table.write([plain(&many(20..30, "us", 10))]).await.unwrap();
    let table = merged(table, &[(3, Some("eu"), Some(1))]).await;
    let reader = versions(&spec).await;
    assert_eq!(told(&reader, 2).await.len(), 10);
    let error = refusal(reader.changes(3, &all(&reader)).await).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    let shown = error.report();
    assert!(
        shown.contains("`delta.enableChangeDataFeed` was not true"),
        "{shown}"
    );
    assert!(shown.contains("this one does not to this day"), "{shown}");
    assert!(shown.contains("on_missing_feed: diff"), "{shown}");

    let on = [("delta.enableChangeDataFeed".to_owned(), "true".to_owned())];
    let table = table
        .set_tbl_properties()
        .with_properties(on.into())
        .await
        .unwrap();
    merged(table, &[(4, Some("eu"), Some(1))]).await;
    let shown = refusal(reader.changes(3, &all(&reader)).await)
        .await
        .report();
    reader.refresh().await.unwrap();
    let later = refusal(reader.changes(3, &all(&reader)).await)
        .await
        .report();
    assert!(later.contains("a version from 4 to 5"), "{shown} {later}");
    let changes = told(&reader, 5).await;
    let kinds: Vec<_> = changes
        .iter()
        .map(|(row, kind)| format!("{kind} {row}"))
        .collect();
    assert_eq!(
        kinds,
        ["update_preimage 4|eu|40", "update_postimage 4|eu|1"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_costs_the_bytes_of_its_own_files() {
    let bench = harness::Bench::new(Kind::Delta);
    let mut sink = bench.sink().await;
    for at in 0..5 {
        let batch = fitted(sink.as_ref(), &rows(at * 20_000, (at + 1) * 20_000));
        let after: Vec<_> = (at > 0).then_some(("t", 0, at)).into_iter().collect();
        sink.write(&[batch], &span(&after, &[("t", 0, at + 1)]))
            .await
            .unwrap();
    }
    let spec = delta_spec(&bench.folder.join("table"));
    let table = versions(&spec).await;
    let last = table.refresh().await.unwrap().last;
    let version = table.versions(last, last).await.unwrap().remove(0);
    assert_eq!(
        (version.size.added_files, version.size.added_rows),
        (1, Some(20_000))
    );
    assert_eq!(table.bytes_read(), 0);
    assert_eq!(told(&table, last).await.len(), 20_000);
    let read = table.bytes_read();
    // The file's end is read once to find its footer, and again with its columns.
    let most = version.size.bytes + 16 * 1024;
    assert!(read <= most, "{read} of {}", version.size.bytes);
    // One column of it costs less, and nothing at all of a type that an append does not have.
    let wanted = Wanted {
        columns: vec!["tier".to_owned()],
        change_types: None,
    };
    collect(table.changes(last, &wanted).await).await;
    let one = table.bytes_read() - read;
    assert!(one < read, "{one} of {read}");
    let wanted = Wanted {
        change_types: Some(vec!["delete".to_owned()]),
        ..wanted
    };
    collect(table.changes(last, &wanted).await).await;
    assert_eq!(table.bytes_read(), read + one);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_keeps_up_with_writers() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..10, "eu", 1), &[])).await;
    let start = bench.newest();
    let table: Arc<dyn VersionedTable> = Arc::new(versions(&bench.spec()).await);
    let reading = tokio::spawn(follows(table, start + 12));
    for round in 0..12 {
        let rows = many(round..round + 5, "us", round);
        writer.apply(&change(&rows, &[round + 20])).await;
    }
    assert!(bench.newest() >= start + 12);
    reading.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_cleaned_up_is_said() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    history(&bench).await;
    // Checkpoints are made every ten commits.
    let checkpoint = bench
        .folder
        .join("_delta_log/00000000000000000010.checkpoint.parquet");
    assert!(checkpoint.exists());
    let table = versions(&bench.spec()).await;
    for version in 0..8 {
        std::fs::remove_file(bench.log(version)).unwrap();
    }
    let last = bench.newest_of(8);
    let range = table.refresh().await.unwrap();
    assert_eq!((range.first, range.last), (8, last));
    let error = refusal(table.changes(3, &all(&table)).await).await;
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    let shown = error.report();
    assert!(
        shown.contains(&format!("a version from 8 to {last}")),
        "{shown}"
    );
    // The changes of a version before the checkpoint are there, the version as a table is not.
    assert!(!told(&table, 9).await.is_empty());
    let error = refusal(table.rows(9, &[]).await).await;
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    assert!(
        error
            .report()
            .contains(&format!("a version from 10 to {last}"))
    );
    let mut seen = state(&table, 10).await;
    for number in 11..=last {
        fold(&mut seen, &told(&table, number).await);
    }
    assert!(seen == state(&table, last).await);

    let cdc = bench.actions(12, "cdc");
    let path = cdc[0]["path"].as_str().unwrap();
    std::fs::remove_file(bench.folder.join(path)).unwrap();
    let error = refusal(table.changes(12, &all(&table)).await).await;
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    let shown = error.report();
    assert!(
        shown.contains("it was vacuumed") && shown.contains(path),
        "{shown}"
    );
}

impl Bench {
    /// The newest version of a log that begins at `first`.
    fn newest_of(&self, first: i64) -> i64 {
        let versions = (first..).take_while(|version| self.log(*version).exists());
        versions.last().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn features_that_are_not_known_are_refused_by_name() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..10, "eu", 1), &[])).await;
    let table = versions(&bench.spec()).await;
    let next = bench.newest() + 1;
    let protocol = serde_json::json!({"protocol": {
        "minReaderVersion": 3, "minWriterVersion": 7,
        "readerFeatures": ["rowsOfTomorrow"],
        "writerFeatures": ["rowsOfTomorrow", "changeDataFeed"],
    }});
    std::fs::write(bench.log(next), protocol.to_string()).unwrap();
    let error = table.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error
            .report()
            .contains("the table feature `rowsOfTomorrow`")
    );
    let error = DeltaVersions::open(&bench.spec()).await.unwrap_err();
    assert!(
        error.report().contains("rowsOfTomorrow"),
        "{}",
        error.report()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_not_there_is_said() {
    let folder = TempDir::new().unwrap();
    let error = DeltaVersions::open(&delta_spec(&folder.path().join("none"))).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.message(), "there is no Delta table");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overwrite_tells_of_all_rows() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("table");
    let spec = made(&path, &[], &[]).await;
    let table = opened(&path).await;
    let write = table.write([plain(&many(0..2, "us", 1))]);
    write.with_save_mode(SaveMode::Overwrite).await.unwrap();
    let table = versions(&spec).await;
    let kinds: Vec<_> = told(&table, 2)
        .await
        .into_iter()
        .map(|(_, kind)| kind)
        .collect();
    let deletes = vec!["delete".to_owned(); 20];
    assert_eq!(kinds, [deletes, vec!["insert".to_owned(); 2]].concat());
    holds(&table, Images::Together).await;
}
