//! What every sink does, run on each of them.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use engine::sink::memory::Fault;
use engine::sink::{Missing, Receipt, open_with};
use sql::ErrorKind;
use sql::change::Partition;
use std::sync::Arc;
use tests::rest_catalog::Catalog;
use tests::{full, need};

use super::harness::{Bench, Kind, fitted, output, position, rows, runtime, span, step};

macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        contract!(@kind memory Memory $($case)*);
        contract!(@kind delta Delta $($case)*);
        contract!(@kind iceberg Iceberg $($case)*);

        /// One server for all: it is a JVM.
        #[test]
        fn rest() {
            full!();
            let catalog = need!(Catalog::start());
            let runtime = runtime();
            $(
                println!("{}", stringify!($case));
                runtime.block_on($case(Bench::rest(&catalog, catalog.url())));
            )*
        }
    };
    (@kind $module:ident $kind:ident $($case:ident)*) => {
        mod $module {
            use super::{Bench, Kind};
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(Bench::new(Kind::$kind)).await;
                }
            )*
        }
    };
}

contract!(
    a_new_table_has_no_positions,
    what_was_written_is_read_back_with_its_positions,
    a_reopened_sink_goes_on,
    partitions_of_several_topics_move_each_on_its_own,
    the_same_span_again_adds_nothing,
    a_stale_writer_is_fenced_and_changes_nothing,
    a_span_that_starts_elsewhere_is_fenced,
    a_batch_without_rows_moves_the_positions,
    an_empty_span_does_nothing,
    rows_without_a_span_are_refused,
    batches_of_another_schema_are_refused,
    of_two_racing_sinks_one_wins_each_span,
    two_pipelines_share_a_table,
    added_columns_are_null_in_old_rows,
    a_column_that_changes_its_type_is_refused,
    an_open_sink_takes_columns_that_another_one_added,
);

async fn a_new_table_has_no_positions(bench: Bench) {
    let mut sink = bench.sink().await;
    assert_eq!(sink.progress().await.unwrap(), position(&[]));
    assert_eq!(bench.ids().await, Vec::<i64>::new());
}

async fn what_was_written_is_read_back_with_its_positions(bench: Bench) {
    let mut sink = bench.sink().await;
    let batch = fitted(sink.as_ref(), &rows(0, 5));
    let receipt = sink.write(&[batch], &step(0, 5)).await.unwrap();
    assert_eq!(
        (receipt.rows, receipt.already_landed, receipt.conflicts),
        (5, false, 0)
    );
    if bench.kind != Kind::Memory {
        assert_eq!(receipt.files, 1);
        assert!(receipt.bytes > 0);
    }
    assert_eq!(bench.ids().await, [0, 1, 2, 3, 4]);
    assert_eq!(
        sink.progress().await.unwrap(),
        position(&[("db.customers", 0, 5)])
    );
}

async fn a_reopened_sink_goes_on(bench: Bench) {
    for start in [0, 4, 8] {
        let mut sink = bench.sink().await;
        let batch = fitted(sink.as_ref(), &rows(start, start + 4));
        let receipt = sink.write(&[batch], &step(start, start + 4)).await.unwrap();
        assert_eq!(receipt.rows, 4);
    }
    assert_eq!(bench.ids().await, (0..12).collect::<Vec<_>>());
    let stored = bench.sink().await.progress().await.unwrap();
    assert_eq!(stored, position(&[("db.customers", 0, 12)]));
}

async fn partitions_of_several_topics_move_each_on_its_own(bench: Bench) {
    let mut sink = bench.sink().await;
    let batch = fitted(sink.as_ref(), &rows(0, 2));
    let first = span(&[], &[("a.b", 0, 3), ("a.b", 1, 5)]);
    sink.write(std::slice::from_ref(&batch), &first)
        .await
        .unwrap();
    let second = span(&[("a.b", 1, 5)], &[("a.b", 1, 9), ("c", 0, 1)]);
    sink.write(&[batch], &second).await.unwrap();
    let expected = position(&[("a.b", 0, 3), ("a.b", 1, 9), ("c", 0, 1)]);
    assert_eq!(sink.progress().await.unwrap(), expected);
    assert_eq!(bench.sink().await.progress().await.unwrap(), expected);
}

async fn the_same_span_again_adds_nothing(bench: Bench) {
    let mut sink = bench.sink().await;
    let batch = fitted(sink.as_ref(), &rows(0, 5));
    sink.write(std::slice::from_ref(&batch), &step(0, 5))
        .await
        .unwrap();
    let again = sink
        .write(std::slice::from_ref(&batch), &step(0, 5))
        .await
        .unwrap();
    assert!(again.already_landed);
    assert_eq!((again.rows, again.files), (0, 0));
    // Another engine with the very same batch did not commit it, so it is one engine too many.
    let mut twin = bench.sink().await;
    let error = twin.write(&[batch], &step(0, 5)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{}", error.report());
    assert_eq!(bench.ids().await, [0, 1, 2, 3, 4]);
}

async fn a_stale_writer_is_fenced_and_changes_nothing(bench: Bench) {
    let mut stale = bench.sink().await;
    let mut fresh = bench.sink().await;
    let batch = fitted(fresh.as_ref(), &rows(0, 5));
    fresh
        .write(std::slice::from_ref(&batch), &step(0, 5))
        .await
        .unwrap();
    fresh.write(&[batch], &step(5, 7)).await.unwrap();
    let files = bench.data_files_or_none();
    let own = fitted(stale.as_ref(), &rows(0, 5));
    let error = stale.write(&[own], &step(0, 5)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert_eq!(
        error.message(),
        "the table's position of db.customers/0 is 7, but this batch starts at not set and ends at 5"
    );
    assert_eq!(bench.data_files_or_none(), files);
    assert_eq!(
        stale.progress().await.unwrap(),
        position(&[("db.customers", 0, 7)])
    );
}

async fn a_span_that_starts_elsewhere_is_fenced(bench: Bench) {
    let mut sink = bench.sink().await;
    let batch = fitted(sink.as_ref(), &rows(0, 1));
    sink.write(std::slice::from_ref(&batch), &step(0, 5))
        .await
        .unwrap();
    for (from, to) in [(0, 7), (4, 6), (6, 9)] {
        let error = sink
            .write(std::slice::from_ref(&batch), &step(from, to))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced, "{from}..{to}");
    }
    assert_eq!(bench.ids().await, [0]);
}

async fn a_batch_without_rows_moves_the_positions(bench: Bench) {
    let mut sink = bench.sink().await;
    let first = sink.write(&[], &step(0, 5)).await.unwrap();
    let none = fitted(sink.as_ref(), &rows(5, 5));
    let second = sink.write(&[none], &step(5, 9)).await.unwrap();
    assert!(second.version > first.version);
    assert_eq!((second.rows, second.files), (0, 0));
    let stored = bench.sink().await.progress().await.unwrap();
    assert_eq!(stored.get(&Partition::new("db.customers", 0)), Some(9));
}

async fn an_empty_span_does_nothing(bench: Bench) {
    let mut sink = bench.sink().await;
    let before = sink.write(&[], &step(0, 5)).await.unwrap();
    let receipt = sink.write(&[], &span(&[], &[])).await.unwrap();
    let expected = Receipt {
        version: before.version,
        ..Receipt::default()
    };
    assert_eq!(receipt, expected);
}

async fn rows_without_a_span_are_refused(bench: Bench) {
    let mut sink = bench.sink().await;
    let batch = fitted(sink.as_ref(), &rows(0, 1));
    let error = sink.write(&[batch], &span(&[], &[])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
}

async fn batches_of_another_schema_are_refused(bench: Bench) {
    let mut sink = bench.sink().await;
    let text = Schema::new(vec![Field::new("id", DataType::Utf8, true)]);
    let batch = RecordBatch::new_empty(Arc::new(text));
    let error = sink.write(&[batch], &step(0, 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert_eq!(bench.ids().await, Vec::<i64>::new());
}

async fn of_two_racing_sinks_one_wins_each_span(bench: Bench) {
    const END: i64 = 60;
    let partition = Partition::new("db.customers", 0);
    let race = async |bench: &Bench| {
        let mut sink = bench.sink().await;
        let mut won = 0;
        loop {
            let from = sink.progress().await.unwrap().get(&partition).unwrap_or(0);
            if from == END {
                return won;
            }
            let batch = fitted(sink.as_ref(), &rows(from, from + 4));
            match sink.write(&[batch], &step(from, from + 4)).await {
                Ok(receipt) => won += receipt.rows,
                Err(error) => assert!(
                    matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Conflict),
                    "{}",
                    error.report()
                ),
            }
        }
    };
    let (a, b) = tokio::join!(race(&bench), race(&bench));
    assert_eq!(a + b, 60);
    assert_eq!(bench.ids().await, (0..END).collect::<Vec<_>>());
}

async fn two_pipelines_share_a_table(bench: Bench) {
    let run = async |pipeline: &str, first: i64| {
        let mut sink = bench.try_open(pipeline, &output()).await.unwrap();
        for at in 0..8 {
            let batch = fitted(sink.as_ref(), &rows(first + at, first + at + 1));
            sink.write(&[batch], &step(at, at + 1)).await.unwrap();
        }
        sink.progress().await.unwrap()
    };
    let (a, b) = tokio::join!(run("customers", 0), run("customers-2", 8));
    let expected = position(&[("db.customers", 0, 8)]);
    assert_eq!((a, b), (expected.clone(), expected));
    assert_eq!(bench.ids().await, (0..16).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_double_fails_as_it_is_told() {
    let bench = Bench::new(Kind::Memory);
    let mut sink = bench.sink().await;
    let batch = fitted(sink.as_ref(), &rows(0, 2));
    bench.memory.fail_next(Fault::BeforeCommit);
    let error = sink
        .write(std::slice::from_ref(&batch), &step(0, 2))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(sink.progress().await.unwrap(), position(&[]));
    bench.memory.fail_next(Fault::LostAnswer);
    sink.write(std::slice::from_ref(&batch), &step(0, 2))
        .await
        .unwrap_err();
    let again = sink.write(&[batch], &step(0, 2)).await.unwrap();
    assert!(again.already_landed);
    assert_eq!(bench.ids().await, [0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engines_that_start_at_once_make_one_table() {
    for kind in [Kind::Delta, Kind::Iceberg] {
        let bench = Bench::new(kind);
        let names = ["p0", "p1", "p2", "p3"];
        let sinks = futures::future::join_all(names.map(async |name| {
            let mut sink = bench.try_open(name, &output()).await.unwrap();
            sink.write(&[], &step(0, 1)).await.unwrap();
        }));
        sinks.await;
        for name in names {
            let mut sink = bench.try_open(name, &output()).await.unwrap();
            assert_eq!(sink.progress().await.unwrap().len(), 1, "{kind:?} {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_adds_columns_where_that_is_allowed() {
    let item = DataType::Struct(vec![Field::new("n", DataType::Int32, true)].into());
    let list = DataType::List(Arc::new(Field::new("element", item, true)));
    let local = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let mut fields = output().fields().to_vec();
    fields.push(Arc::new(Field::new("items", list, true)));
    fields.push(Arc::new(Field::new("at", local, true)));
    let wide = Schema::new(fields);
    for kind in [Kind::Delta, Kind::Iceberg] {
        let bench = Bench::new(kind);
        bench.sink().await;
        let mut sink = open_with(&bench.spec, "p", &wide, Missing::Add)
            .await
            .unwrap();
        let names: Vec<_> = sink
            .schema()
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect();
        assert_eq!(names, ["id", "tier", "items", "at"], "{kind:?}");
        let batch = fitted(sink.as_ref(), &rows(0, 2));
        sink.write(&[batch], &step(0, 2)).await.unwrap();
        assert_eq!(bench.ids().await, [0, 1]);
    }
}

fn wider() -> Arc<Schema> {
    let mut fields = output().fields().to_vec();
    fields.push(Arc::new(Field::new("score", DataType::Float64, true)));
    Arc::new(Schema::new(fields))
}

async fn added_columns_are_null_in_old_rows(bench: Bench) {
    let mut sink = bench.sink().await;
    let batch = fitted(sink.as_ref(), &rows(0, 2));
    sink.write(&[batch], &step(0, 2)).await.unwrap();
    sink.evolve(&wider()).await.unwrap();
    sink.evolve(&wider()).await.unwrap();
    assert_eq!(sink.schema().fields(), wider().fields());
    let batch = fitted(sink.as_ref(), &rows(2, 4));
    sink.write(&[batch], &step(2, 4)).await.unwrap();
    let batches = bench.query("SELECT count(*), count(score) FROM t").await;
    let count = |column| {
        batches[0]
            .column(column)
            .as_primitive::<arrow::datatypes::Int64Type>()
            .value(0)
    };
    assert_eq!((count(0), count(1)), (4, 0));
    assert_eq!(
        sink.progress().await.unwrap(),
        position(&[("db.customers", 0, 4)])
    );
}

async fn a_column_that_changes_its_type_is_refused(bench: Bench) {
    let mut sink = bench.sink().await;
    let changed = Schema::new(vec![Field::new("id", DataType::Utf8, true)]);
    let error = sink.evolve(&Arc::new(changed)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.message(),
        "column `id` is Int64 in the table and would become Utf8: the types do not fit"
    );
}

async fn an_open_sink_takes_columns_that_another_one_added(bench: Bench) {
    let mut old = bench.sink().await;
    let planned = old.schema();
    bench.sink().await.evolve(&wider()).await.unwrap();
    for at in [0, 2] {
        let batch = rows(at, at + 2);
        assert_eq!(batch.schema_ref().fields(), planned.fields());
        old.write(&[batch], &step(at, at + 2)).await.unwrap();
    }
    let mut reopened = bench.sink().await;
    assert_eq!(reopened.schema().fields(), wider().fields());
    assert_eq!(
        reopened.progress().await.unwrap(),
        position(&[("db.customers", 0, 4)])
    );
    assert_eq!(bench.ids().await, [0, 1, 2, 3]);
}

impl Bench {
    fn data_files_or_none(&self) -> usize {
        match self.kind {
            Kind::Memory => 0,
            Kind::Delta | Kind::Iceberg => self.data_files().len(),
        }
    }
}
