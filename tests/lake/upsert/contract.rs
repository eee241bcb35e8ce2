//! What every sink of keyed rows does, run on each of them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use engine::sink::Receipt;
use engine::sink::backfill::Backfill;
use sql::ErrorKind;
use sql::change::NetChange;
use tests::rest_catalog::Catalog;
use tests::{full, need};

use super::harness::{
    Bench, Kind, Shape, TOPIC, Writer, change, ids, many, plain, shown, truncate,
};
use crate::lake::harness::{position, runtime, span, step};

macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        contract!(@kind memory Memory plain $($case)*);
        contract!(@kind delta Delta plain $($case)*);
        contract!(@kind partitioned_delta Delta partitioned $($case)*);
        contract!(@kind iceberg Iceberg plain $($case)*);
        contract!(@kind partitioned_iceberg Iceberg partitioned $($case)*);
        contract!(@copied copied_iceberg Iceberg plain $($case)*);
        contract!(@copied copied_partitioned_iceberg Iceberg partitioned $($case)*);

        /// One server for all: it is a JVM.
        #[test]
        fn rest() {
            full!();
            let catalog = need!(Catalog::start());
            let runtime = runtime();
            for shape in [Shape::plain(), Shape::partitioned(), Shape::plain().copied()] {
                $(
                    println!("{} {shape:?}", stringify!($case));
                    runtime.block_on($case(Bench::rest(&catalog, catalog.url(), shape.clone())));
                )*
            }
        }
    };
    (@kind $module:ident $kind:ident $shape:ident $($case:ident)*) => {
        contract!(@module $module $kind (Shape::$shape()) $($case)*);
    };
    (@copied $module:ident $kind:ident $shape:ident $($case:ident)*) => {
        contract!(@module $module $kind (Shape::$shape().copied()) $($case)*);
    };
    (@module $module:ident $kind:ident ($shape:expr) $($case:ident)*) => {
        mod $module {
            use super::{Bench, Kind, Shape};
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(Bench::new(Kind::$kind, $shape)).await;
                }
            )*
        }
    };
}

contract!(
    rows_are_inserted_updated_and_deleted,
    a_row_comes_back_after_its_delete,
    deletes_of_keys_that_are_not_there_do_nothing,
    a_change_that_changes_nothing_writes_no_file,
    a_truncate_empties_the_table_before_the_rows,
    nulls_replace_values_and_values_nulls,
    a_row_moves_between_regions,
    an_empty_change_moves_the_positions,
    an_empty_change_without_a_span_does_nothing,
    a_change_without_a_span_is_refused,
    the_same_span_again_changes_nothing,
    a_stale_writer_is_fenced_and_changes_nothing,
    a_reopened_sink_goes_on,
    two_pipelines_share_a_table,
    added_columns_are_null_in_old_rows_and_may_be_updated,
    rows_that_are_there_get_what_was_noted_and_no_others,
    a_note_is_done_by_whoever_opens_the_table_next,
    a_key_that_the_table_holds_twice_is_there_once_after_it_is_written,
    a_key_that_the_table_holds_twice_is_gone_after_its_delete,
    rows_are_fetched_by_key,
    a_key_twice_in_a_change_is_refused,
    rows_that_are_appended_are_found_by_key,
);

async fn rows_are_inserted_updated_and_deleted(bench: Bench) {
    let mut writer = bench.writer().await;
    let rows = [
        (1, Some("eu"), Some(10)),
        (2, Some("us"), Some(20)),
        (3, Some("eu"), None),
    ];
    let receipt = writer.apply(&change(&rows, &[])).await;
    assert_eq!(
        (receipt.rows, receipt.conflicts, receipt.already_landed),
        (3, 0, false)
    );
    let receipt = writer
        .apply(&change(
            &[(4, Some("us"), Some(40)), (2, Some("us"), Some(21))],
            &[1],
        ))
        .await;
    assert_eq!(receipt.rows, 2);
    assert_eq!(bench.rows().await, ["2|us|21", "3|eu|∅", "4|us|40"]);
    let stored = writer.sink.progress().await.unwrap();
    assert_eq!(stored, position(&[(TOPIC, 0, 2)]));
}

async fn a_row_comes_back_after_its_delete(bench: Bench) {
    let mut writer = bench.writer().await;
    writer
        .apply(&change(
            &[(1, Some("eu"), Some(1)), (2, Some("eu"), Some(2))],
            &[],
        ))
        .await;
    writer.apply(&change(&[], &[1])).await;
    assert_eq!(bench.rows().await, ["2|eu|2"]);
    writer
        .apply(&change(&[(1, Some("eu"), Some(3))], &[]))
        .await;
    assert_eq!(bench.rows().await, ["1|eu|3", "2|eu|2"]);
    writer.apply(&change(&[], &[1, 2])).await;
    assert_eq!(bench.rows().await, [""; 0]);
    writer.apply(&change(&[(2, Some("us"), None)], &[])).await;
    assert_eq!(bench.rows().await, ["2|us|∅"]);
}

async fn deletes_of_keys_that_are_not_there_do_nothing(bench: Bench) {
    let mut writer = bench.writer().await;
    writer.apply(&change(&[], &[7])).await;
    writer.apply(&change(&many(0..5, "eu", 1), &[])).await;
    let receipt = writer.apply(&change(&[], &[7, -1])).await;
    assert_eq!((receipt.rows, receipt.files), (0, 0));
    assert_eq!(bench.rows().await.len(), 5);
}

async fn a_change_that_changes_nothing_writes_no_file(bench: Bench) {
    let mut writer = bench.writer().await;
    let rows = many(0..20, "eu", 1);
    let first = writer.apply(&change(&rows, &[])).await;
    let again = writer.apply(&change(&rows, &[])).await;
    if !bench.writes_blindly() {
        assert_eq!((again.rows, again.files, again.bytes), (0, 0, 0));
    }
    assert_eq!(again.version, first.version + 1);
    assert_eq!(bench.rows().await.len(), 20);
}

async fn a_truncate_empties_the_table_before_the_rows(bench: Bench) {
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..10, "eu", 1), &[])).await;
    writer.apply(&change(&many(10..20, "us", 1), &[])).await;
    writer
        .apply(&truncate(&[
            (3, Some("eu"), Some(3)),
            (4, Some("us"), Some(0)),
            (50, None, None),
        ]))
        .await;
    assert_eq!(bench.rows().await, ["3|eu|3", "4|us|0", "50|∅|∅"]);
    writer.apply(&truncate(&[])).await;
    assert_eq!(bench.rows().await, [""; 0]);
    writer.apply(&truncate(&[])).await;
    writer.apply(&change(&[(1, None, None)], &[])).await;
    assert_eq!(bench.rows().await, ["1|∅|∅"]);
}

async fn nulls_replace_values_and_values_nulls(bench: Bench) {
    let mut writer = bench.writer().await;
    writer
        .apply(&change(&[(1, None, None), (2, Some("eu"), Some(2))], &[]))
        .await;
    writer
        .apply(&change(&[(1, Some("eu"), Some(1)), (2, None, None)], &[]))
        .await;
    assert_eq!(bench.rows().await, ["1|eu|1", "2|∅|∅"]);
    let receipt = writer.apply(&change(&[(2, None, None)], &[])).await;
    assert_eq!(receipt.rows, u64::from(bench.writes_blindly()));
    assert_eq!(bench.rows().await, ["1|eu|1", "2|∅|∅"]);
}

async fn a_row_moves_between_regions(bench: Bench) {
    let mut writer = bench.writer().await;
    writer
        .apply(&change(
            &[(1, Some("eu"), Some(1)), (2, Some("eu"), Some(2))],
            &[],
        ))
        .await;
    writer
        .apply(&change(&[(1, Some("us"), Some(1))], &[]))
        .await;
    assert_eq!(bench.rows().await, ["1|us|1", "2|eu|2"]);
    writer
        .apply(&change(
            &[(1, None, Some(1)), (2, Some("a b/c%"), Some(2))],
            &[],
        ))
        .await;
    assert_eq!(bench.rows().await, ["1|∅|1", "2|a b/c%|2"]);
    writer
        .apply(&change(
            &[(1, Some("eu"), Some(1)), (2, Some("eu"), Some(2))],
            &[],
        ))
        .await;
    assert_eq!(bench.rows().await, ["1|eu|1", "2|eu|2"]);
}

async fn an_empty_change_moves_the_positions(bench: Bench) {
    let mut writer = bench.writer().await;
    let first = writer.apply(&change(&[], &[])).await;
    let second = writer.apply(&change(&[], &[])).await;
    assert!(second.version > first.version);
    assert_eq!((second.rows, second.files), (0, 0));
    let stored = bench.sink().await.progress().await.unwrap();
    assert_eq!(stored, position(&[(TOPIC, 0, 2)]));
}

async fn an_empty_change_without_a_span_does_nothing(bench: Bench) {
    let mut writer = bench.writer().await;
    let before = writer.apply(&change(&[], &[])).await;
    let receipt = writer
        .sink
        .upsert(&change(&[], &[]), &span(&[], &[]))
        .await
        .unwrap();
    let expected = Receipt {
        version: before.version,
        ..Receipt::default()
    };
    assert_eq!(receipt, expected);
}

async fn a_change_without_a_span_is_refused(bench: Bench) {
    let mut sink = bench.sink().await;
    for change in [
        change(&[(1, None, None)], &[]),
        change(&[], &[1]),
        truncate(&[]),
    ] {
        let error = sink.upsert(&change, &span(&[], &[])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
}

async fn the_same_span_again_changes_nothing(bench: Bench) {
    let mut sink = bench.sink().await;
    let rows = change(&many(0..5, "eu", 1), &[]);
    sink.upsert(&rows, &step(0, 5)).await.unwrap();
    let again = sink.upsert(&rows, &step(0, 5)).await.unwrap();
    assert!(again.already_landed);
    assert_eq!((again.rows, again.files), (0, 0));
    // Another engine with the very same batch did not commit it, so it is one engine too many.
    let mut twin = bench.sink().await;
    let error = twin.upsert(&rows, &step(0, 5)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{}", error.report());
    assert_eq!(bench.rows().await.len(), 5);
}

async fn a_stale_writer_is_fenced_and_changes_nothing(bench: Bench) {
    let mut stale = bench.sink().await;
    let mut fresh = bench.sink().await;
    fresh
        .upsert(&change(&many(0..5, "eu", 1), &[]), &step(0, 5))
        .await
        .unwrap();
    fresh
        .upsert(&change(&many(0..5, "eu", 2), &[]), &step(5, 7))
        .await
        .unwrap();
    let before = bench.rows().await;
    let error = stale
        .upsert(&change(&many(0..5, "eu", 3), &[4]), &step(0, 5))
        .await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert_eq!(
        error.message(),
        "the table's position of db.customers/0 is 7, but this batch starts at not set and ends at 5"
    );
    assert_eq!(bench.rows().await, before);
}

async fn a_reopened_sink_goes_on(bench: Bench) {
    for start in [0, 4, 8] {
        let mut writer = bench.writer().await;
        writer
            .apply(&change(&many(start..start + 6, "eu", start), &[]))
            .await;
    }
    let rows = bench.query("SELECT id, n FROM t ORDER BY id").await;
    let expected = (0..14).map(|id| format!("{id}|{}", id * (id.min(8) / 4 * 4)));
    assert_eq!(rows, expected.collect::<Vec<_>>());
}

async fn two_pipelines_share_a_table(bench: Bench) {
    let run = async |pipeline: &str, region: &str, first: i64| {
        let mut writer = Writer::of(bench.try_open(pipeline).await.unwrap());
        for at in 0..6 {
            let rows = many(first..first + 5, region, at);
            writer.apply(&change(&rows, &[first + 100 + at])).await;
        }
        writer.sink.progress().await.unwrap()
    };
    let (a, b) = tokio::join!(run("customers", "eu", 0), run("customers-2", "us", 5));
    let expected = position(&[(TOPIC, 0, 6)]);
    assert_eq!((a, b), (expected.clone(), expected));
    let rows = bench.query("SELECT id, n FROM t ORDER BY id").await;
    assert_eq!(
        rows,
        (0..10)
            .map(|id| format!("{id}|{}", id * 5))
            .collect::<Vec<_>>()
    );
}

fn wider() -> Arc<Schema> {
    let mut fields = Shape::plain().schema.fields().to_vec();
    fields.push(Arc::new(Field::new("score", DataType::Float64, true)));
    Arc::new(Schema::new(fields))
}

async fn added_columns_are_null_in_old_rows_and_may_be_updated(bench: Bench) {
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(1..4, "eu", 1), &[])).await;
    writer.sink.evolve(&wider()).await.unwrap();
    // A change that was planned before the column came.
    writer
        .apply(&change(&[(1, Some("eu"), Some(5))], &[]))
        .await;
    let mut columns = plain(&[(2, Some("eu"), Some(2)), (9, None, None)])
        .columns()
        .to_vec();
    columns.push(Arc::new(Float64Array::from(vec![0.5, 1.5])));
    let rows = RecordBatch::try_new(wider(), columns).unwrap();
    let receipt = writer
        .apply(&NetChange::try_new(false, rows, ids(&[])).unwrap())
        .await;
    assert_eq!(receipt.rows, 2);
    let rows = bench.query("SELECT id, n, score FROM t ORDER BY id").await;
    assert_eq!(rows, ["1|5|∅", "2|2|0.5", "3|3|∅", "9|∅|1.5"]);
}

fn score(text: &str) -> Backfill {
    let mut values = Backfill::default();
    values.insert("score", text);
    values
}

/// Rows of [`wider`].
fn scored(rows: &[super::harness::Plain<'_>], scores: &[Option<f64>]) -> NetChange {
    let mut columns = plain(rows).columns().to_vec();
    columns.push(Arc::new(Float64Array::from(scores.to_vec())));
    let rows = RecordBatch::try_new(wider(), columns).unwrap();
    NetChange::try_new(false, rows, ids(&[])).unwrap()
}

async fn rows_that_are_there_get_what_was_noted_and_no_others(bench: Bench) {
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(1..5, "eu", 1), &[])).await;
    // Deleted rows stay deleted, and rows lie in several files and partitions.
    writer
        .apply(&change(&[(2, Some("us"), Some(7)), (6, None, None)], &[3]))
        .await;
    let before = writer.sink.progress().await.unwrap();
    writer.sink.note_backfill(&score("2.5")).await.unwrap();
    writer.sink.evolve(&wider()).await.unwrap();
    assert_eq!(writer.sink.backfill().await.unwrap(), 4);
    let all = "SELECT id, region, n, score FROM t ORDER BY id";
    let filled = ["1|eu|1|2.5", "2|us|7|2.5", "4|eu|4|2.5", "6|∅|∅|2.5"];
    assert_eq!(bench.query(all).await, filled);
    assert_eq!(writer.sink.progress().await.unwrap(), before);
    if bench.kind == Kind::Delta {
        bench.feed_tells_every_version();
    }
    // It is done once: nulls that come later stay.
    writer
        .apply(&scored(
            &[(1, Some("eu"), Some(1)), (7, Some("us"), None)],
            &[None, None],
        ))
        .await;
    assert_eq!(writer.sink.backfill().await.unwrap(), 0);
    let mut writer = bench.writer().await;
    assert_eq!(writer.sink.backfill().await.unwrap(), 0);
    let scores = bench.query("SELECT id, score FROM t ORDER BY id").await;
    assert_eq!(scores, ["1|∅", "2|2.5", "4|2.5", "6|2.5", "7|∅"]);
    writer.apply(&change(&[], &[2, 4])).await;
    assert_eq!(bench.query("SELECT count(*) FROM t").await, ["3"]);
}

async fn a_note_is_done_by_whoever_opens_the_table_next(bench: Bench) {
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(1..4, "eu", 1), &[])).await;
    writer.sink.note_backfill(&score("2.5")).await.unwrap();
    // The column did not come: nothing can be filled, and nothing is forgotten.
    assert_eq!(writer.sink.backfill().await.unwrap(), 0);
    let mut next = bench.writer().await;
    // What was noted first is what the old rows have.
    next.sink.note_backfill(&score("9")).await.unwrap();
    next.sink.evolve(&wider()).await.unwrap();
    let mut last = bench.writer().await;
    assert_eq!(last.sink.backfill().await.unwrap(), 3);
    assert_eq!(
        bench.query("SELECT id, score FROM t ORDER BY id").await,
        ["1|2.5", "2|2.5", "3|2.5"]
    );
}

/// Appends rows without looking for keys, as another writer would.
async fn append(bench: &Bench, rows: &[super::harness::Plain<'_>]) {
    let mut other = Writer::of(bench.try_open("other").await.unwrap());
    let span = other.next().await;
    other.sink.write(&[plain(rows)], &span).await.unwrap();
}

async fn a_key_that_the_table_holds_twice_is_there_once_after_it_is_written(bench: Bench) {
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..4, "eu", 1), &[])).await;
    append(
        &bench,
        &[
            (1, Some("us"), Some(7)),
            (1, Some("eu"), Some(8)),
            (2, Some("eu"), Some(2)),
        ],
    )
    .await;
    writer
        .apply(&change(
            &[(1, Some("eu"), Some(9)), (2, Some("eu"), Some(2))],
            &[],
        ))
        .await;
    assert_eq!(bench.rows().await, ["0|eu|0", "1|eu|9", "2|eu|2", "3|eu|3"]);
}

async fn a_key_that_the_table_holds_twice_is_gone_after_its_delete(bench: Bench) {
    let mut writer = bench.writer().await;
    append(
        &bench,
        &[
            (1, Some("us"), Some(7)),
            (1, Some("eu"), Some(8)),
            (2, Some("eu"), Some(2)),
        ],
    )
    .await;
    writer.apply(&change(&[], &[1])).await;
    assert_eq!(bench.rows().await, ["2|eu|2"]);
}

async fn rows_are_fetched_by_key(bench: Bench) {
    let mut writer = bench.writer().await;
    let nothing = writer.sink.fetch(&ids(&[1])).await.unwrap();
    assert_eq!((nothing.rows.num_rows(), nothing.found), (0, vec![None]));
    writer.apply(&change(&many(0..50, "eu", 2), &[])).await;
    writer
        .apply(&change(
            &[(100, Some("us"), None), (7, None, Some(1))],
            &[8],
        ))
        .await;
    let fetched = writer
        .sink
        .fetch(&ids(&[7, 8, 100, 49, 7, -5]))
        .await
        .unwrap();
    assert_eq!(fetched.rows.schema(), writer.sink.schema());
    let rows = shown(&[fetched.rows]);
    let found: Vec<_> = fetched
        .found
        .iter()
        .map(|at| at.map(|at| rows[at].as_str()))
        .collect();
    let expected = [
        Some("7|∅|1"),
        None,
        Some("100|us|∅"),
        Some("49|eu|98"),
        Some("7|∅|1"),
        None,
    ];
    assert_eq!(found, expected);
    let none = writer.sink.fetch(&ids(&[])).await.unwrap();
    assert!(none.found.is_empty());
    append(&bench, &[(7, Some("eu"), Some(2))]).await;
    let twice = writer.sink.fetch(&ids(&[7])).await.unwrap();
    assert_eq!((twice.rows.num_rows(), twice.found), (1, vec![Some(0)]));
}

async fn a_key_twice_in_a_change_is_refused(bench: Bench) {
    let mut writer = bench.writer().await;
    for wrong in [
        change(&[(1, None, None)], &[1]),
        change(&[(1, None, None), (1, None, Some(1))], &[]),
    ] {
        let span = writer.next().await;
        let error = writer.sink.upsert(&wrong, &span).await.unwrap_err();
        assert_eq!(error.message(), "a net change has a key twice");
    }
    assert_eq!(bench.rows().await, [""; 0]);
    writer.apply(&change(&[(1, None, None)], &[])).await;
}

async fn rows_that_are_appended_are_found_by_key(bench: Bench) {
    let mut writer = bench.writer().await;
    append(&bench, &many(0..10, "eu", 1)).await;
    writer
        .apply(&change(&[(4, Some("eu"), Some(0))], &[5]))
        .await;
    let rows = bench.query("SELECT count(*), sum(n) FROM t").await;
    assert_eq!(rows, ["9|36"]);
}

#[tokio::test]
async fn columns_that_are_no_key_are_refused() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let refused = async |key: &[&str]| {
        let mut shape = Shape::plain();
        shape.key = key.iter().map(|name| (*name).to_owned()).collect();
        let list = DataType::new_list(DataType::Int64, true);
        let mut fields = shape.schema.fields().to_vec();
        fields.push(Arc::new(Field::new("list", list, true)));
        shape.schema = Schema::new(fields);
        let folder = bench.folder.join(key.join("-"));
        let bench = Bench::in_folder(Kind::Delta, shape, &folder);
        let error = bench.try_open("p").await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.message().to_owned()
    };
    assert_eq!(refused(&[]).await, "an upsert needs a key");
    assert_eq!(
        refused(&["nope"]).await,
        "the key column `nope` is not in the table"
    );
    assert_eq!(refused(&["id", "id"]).await, "the key names `id` twice");
    assert!(
        refused(&["list"])
            .await
            .starts_with("the key column `list` is a List(")
    );
}

#[tokio::test]
async fn the_double_fetches_what_it_holds() {
    let bench = Bench::new(Kind::Memory, Shape::keyed_by(&[("id", DataType::Int64)]));
    let mut sink = bench.sink().await;
    assert_eq!(sink.key(), ["id"]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2])),
        Arc::new(Int64Array::from(vec![10, 20])),
    ];
    let rows = RecordBatch::try_new(sink.schema(), columns).unwrap();
    let change = NetChange::try_new(false, rows, ids(&[])).unwrap();
    sink.upsert(&change, &step(0, 1)).await.unwrap();
    let fetched = sink.fetch(&ids(&[2])).await.unwrap();
    assert_eq!(shown(&[fetched.rows]), ["2|20"]);
}
