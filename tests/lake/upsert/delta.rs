//! Delta only: what an upsert touches and what it does not, what stands in the log, what it costs.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field};
use datafusion::prelude::{SessionConfig, SessionContext};
use engine::lake::delta::delta_provider;
use engine::sink::delta::DeltaUpsert;
use engine::sink::{Missing, UpsertSink as _};
use serde_json::Value;
use sql::ErrorKind;
use sql::change::NetChange;

use super::harness::{Bench, Kind, Shape, change, ids, many, shown, truncate};
use crate::lake::harness::{position, step};

fn paths(actions: &[Value]) -> BTreeSet<String> {
    let path = |action: &Value| action["path"].as_str().unwrap().to_owned();
    actions.iter().map(path).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_without_a_changed_row_are_not_touched() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    let mut files = Vec::new();
    for start in [0, 100, 200, 300] {
        let receipt = writer
            .apply(&change(&many(start..start + 100, "eu", 1), &[]))
            .await;
        files.extend(paths(&bench.actions(receipt.version, "add")));
    }
    // Row 250 stays as it is; 310 changes; 401 is new.
    let rows = [
        (250, Some("eu"), Some(250)),
        (310, Some("eu"), Some(0)),
        (401, None, None),
    ];
    let receipt = writer.apply(&change(&rows, &[105, 999])).await;
    let removed = paths(&bench.actions(receipt.version, "remove"));
    assert_eq!(
        removed,
        BTreeSet::from([files[1].clone(), files[3].clone()])
    );
    assert_eq!(bench.actions(receipt.version, "add").len(), 3);
    assert_eq!((receipt.rows, receipt.files), (2, 3));
    let count = bench.query("SELECT count(*), sum(n) FROM t").await;
    assert_eq!(count, [format!("400|{}", 399 * 200 - 105 - 310)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_keep_their_order_and_files_their_range() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..1_000, "eu", 1), &[])).await;
    let updates: Vec<_> = (0..1_000)
        .step_by(7)
        .map(|id| (id, Some("us"), Some(-id)))
        .collect();
    let deletes: Vec<_> = (0..1_000).step_by(5).filter(|id| id % 7 != 0).collect();
    let receipt = writer.apply(&change(&updates, &deletes)).await;
    let adds = bench.actions(receipt.version, "add");
    assert_eq!(adds.len(), 1);
    let stats: Value = serde_json::from_str(adds[0]["stats"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&stats["minValues"]["id"], &stats["maxValues"]["id"]),
        (&0.into(), &999.into())
    );
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let table = delta_provider(&bench.spec()).await.unwrap();
    context.register_table("t", table).unwrap();
    let read = context
        .sql("SELECT id FROM t")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let expected = (0..1_000)
        .filter(|id| id % 7 == 0 || id % 5 != 0)
        .map(|id| id.to_string());
    assert_eq!(shown(&read), expected.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_what_was_done() {
    let bench = Bench::new(Kind::Delta, Shape::partitioned());
    let mut writer = bench.writer().await;
    let first = writer.apply(&change(&many(0..10, "eu", 1), &[])).await;
    let before = bench.actions(first.version, "add").pop().unwrap();
    let rows = [
        (1, Some("eu"), Some(0)),
        (2, Some("us"), Some(2)),
        (3, Some("eu"), Some(3)),
        (77, Some("us"), None),
    ];
    let receipt = writer.apply(&change(&rows, &[4, 5, 1_000])).await;
    let info = bench.actions(receipt.version, "commitInfo").pop().unwrap();
    assert_eq!(
        (&info["operation"], &info["isBlindAppend"]),
        (&"MERGE".into(), &false.into())
    );
    assert_eq!(
        info["operationParameters"]["mergePredicate"],
        "target.`id` = source.`id`"
    );
    let adds = bench.actions(receipt.version, "add");
    let sizes: i64 = adds.iter().map(|add| add["size"].as_i64().unwrap()).sum();
    for (metric, value) in [
        ("numSourceRows", 7),
        ("numTargetRowsInserted", 1),
        ("numTargetRowsUpdated", 2),
        ("numTargetRowsDeleted", 2),
        ("numTargetRowsCopied", 6),
        ("numOutputRows", 9),
        ("numTargetFilesAdded", 2),
        ("numTargetFilesRemoved", 1),
        ("numTargetChangeFilesAdded", 2),
        ("numTargetBytesAdded", sizes),
        ("numTargetBytesRemoved", before["size"].as_i64().unwrap()),
    ] {
        assert_eq!(
            info["operationMetrics"][metric],
            value.to_string(),
            "{metric}"
        );
    }
    let remove = bench.actions(receipt.version, "remove").pop().unwrap();
    assert_eq!(remove["path"], before["path"]);
    assert_eq!(
        (&remove["dataChange"], &remove["extendedFileMetadata"]),
        (&true.into(), &true.into())
    );
    assert_eq!(remove["size"], before["size"]);
    assert_eq!(remove["partitionValues"], before["partitionValues"]);
    let age = info["timestamp"].as_i64().unwrap() - remove["deletionTimestamp"].as_i64().unwrap();
    assert!((0..600_000).contains(&age), "{age}");
    let txn = bench.actions(receipt.version, "txn").pop().unwrap();
    assert_eq!(
        (&txn["appId"], &txn["version"]),
        (&"customers/db.customers/0".into(), &2.into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_of_one_key_costs_its_file_and_no_other() {
    let mut shape = Shape::plain();
    let mut fields = shape.schema.fields().to_vec();
    fields.push(Arc::new(Field::new("payload", DataType::Utf8, true)));
    shape.schema = arrow::datatypes::Schema::new(fields);
    let bench = Bench::new(Kind::Delta, shape.clone());
    let mut sink = DeltaUpsert::open(
        &bench.spec(),
        "p",
        &shape.schema,
        &[],
        &shape.key,
        Missing::Refuse,
    )
    .await
    .unwrap();
    let rows = |from: i64, to: i64, n: i64| {
        let text = |id: i64| {
            format!(
                "{:x}",
                id.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed())
            )
            .repeat(4)
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(from..to)),
            Arc::new((from..to).map(|_| Some("eu")).collect::<StringArray>()),
            Arc::new((from..to).map(|_| Some(n)).collect::<Int64Array>()),
            Arc::new((from..to).map(|id| Some(text(id))).collect::<StringArray>()),
        ];
        let rows = RecordBatch::try_new(Arc::new(shape.schema.clone()), columns).unwrap();
        NetChange::try_new(false, rows, ids(&[])).unwrap()
    };
    let mut sizes = Vec::new();
    for file in 0..10 {
        let receipt = sink
            .upsert(
                &rows(file * 2_000, (file + 1) * 2_000, 0),
                &step(file, file + 1),
            )
            .await;
        sizes.push(receipt.unwrap().bytes);
    }
    let before = sink.bytes_read();
    let receipt = sink
        .upsert(&rows(5_000, 5_001, 1), &step(10, 11))
        .await
        .unwrap();
    let read = sink.bytes_read() - before;
    assert_eq!((receipt.rows, receipt.files), (1, 1));
    assert!(
        receipt.bytes < sizes[2] + sizes[2] / 10,
        "{receipt:?} {sizes:?}"
    );
    // Its keys to find the row, one row to see that it differs, and the file itself, with a footer each.
    let footers = 4 * 16 * 1024;
    assert!(read < 3 * sizes[2] + footers, "{read} {sizes:?}");
    // Nothing changes: keys, and the first row and then the others.
    let before = sink.bytes_read();
    let receipt = sink
        .upsert(&rows(5_000, 5_002, 1), &step(11, 12))
        .await
        .unwrap();
    assert_eq!(receipt.rows, 1);
    let before_same = sink.bytes_read();
    let receipt = sink
        .upsert(&rows(5_000, 5_002, 1), &step(12, 13))
        .await
        .unwrap();
    assert_eq!((receipt.rows, receipt.files), (0, 0));
    assert!(sink.bytes_read() - before_same < before_same - before + sizes[2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_table_without_a_feed_is_not_read() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut sink = DeltaUpsert::open(
        &bench.spec(),
        "p",
        &bench.shape.schema,
        &[],
        &bench.shape.key,
        Missing::Refuse,
    )
    .await
    .unwrap();
    sink.upsert(&change(&many(0..1_000, "eu", 1), &[]), &step(0, 1))
        .await
        .unwrap();
    bench.set(2, &[("delta.enableChangeDataFeed", "false")]);
    let before = sink.bytes_read();
    let receipt = sink
        .upsert(&truncate(&[(1, None, None)]), &step(1, 2))
        .await
        .unwrap();
    assert_eq!(sink.bytes_read(), before);
    assert_eq!((receipt.rows, receipt.files), (1, 1));
    assert_eq!(bench.rows().await, ["1|∅|∅"]);
    let info = bench.actions(receipt.version, "commitInfo").pop().unwrap();
    assert_eq!(info["operationMetrics"]["numTargetRowsDeleted"], "1000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_size_that_the_table_wants_its_files_to_have_is_kept_to() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    let rows: Vec<_> = (0..60_000)
        .map(|id| (id, Some("eu"), Some(id * 7_919 % 60_013)))
        .collect();
    let one = writer.apply(&change(&rows, &[])).await;
    assert_eq!(one.files, 1);
    let wanted = (one.bytes / 4).to_string();
    bench.set(2, &[("delta.targetFileSize", &wanted)]);
    let receipt = writer.apply(&change(&[(30_000, None, None)], &[])).await;
    assert!((3..9).contains(&receipt.files), "{receipt:?}");
    assert_eq!(
        bench
            .query("SELECT count(*), count(DISTINCT id) FROM t")
            .await,
        ["60000|60000"]
    );
    // Now only one of them is touched.
    let receipt = writer.apply(&change(&[(1, None, None)], &[])).await;
    assert_eq!(bench.actions(receipt.version, "remove").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_has_statistics_whatever_the_table_says() {
    let indexed = ("delta.dataSkippingNumIndexedCols", "0");
    let named = ("delta.dataSkippingStatsColumns", "n");
    for (property, others) in [(indexed, 0), (named, 1)] {
        let bench = Bench::new(Kind::Delta, Shape::plain());
        bench.sink().await;
        bench.set(1, &[property]);
        let mut writer = bench.writer().await;
        let receipt = writer.apply(&change(&many(5..9, "eu", 1), &[])).await;
        let add = bench.actions(receipt.version, "add").pop().unwrap();
        let stats: Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
        assert_eq!(
            (&stats["minValues"]["id"], &stats["maxValues"]["id"]),
            (&5.into(), &8.into())
        );
        assert_eq!(
            stats["minValues"].as_object().unwrap().len(),
            1 + others,
            "{stats}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_come_while_the_sink_is_open_stop_it() {
    for (property, value, message) in [
        (
            "delta.appendOnly",
            "true",
            "the Delta table allows appends only",
        ),
        (
            "delta.constraints.positive",
            "n > 0",
            "the Delta table has the CHECK constraint `positive`, which the engine does not enforce",
        ),
    ] {
        let bench = Bench::new(Kind::Delta, Shape::plain());
        let mut writer = bench.writer().await;
        writer.apply(&change(&[(1, None, Some(1))], &[])).await;
        bench.set(2, &[(property, value)]);
        let span = step(1, 2);
        let error = writer
            .sink
            .upsert(&change(&[(2, None, Some(2))], &[]), &span)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{property}");
        assert_eq!(error.message(), message);
        assert!(bench.try_open("p").await.is_err(), "{property}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_goes_on_from_a_checkpoint_when_the_commits_before_it_are_gone() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut idle = bench.sink().await;
    let mut writer = bench.writer().await;
    for at in 0..25 {
        writer
            .apply(&change(&many(at..at + 5, "eu", at), &[at - 10]))
            .await;
    }
    for version in 0..20 {
        std::fs::remove_file(bench.log(version)).unwrap();
    }
    let expected = position(&[("db.customers", 0, 25)]);
    assert_eq!(idle.progress().await.unwrap(), expected);
    idle.upsert(&change(&[(20, None, Some(1))], &[21]), &step(25, 26))
        .await
        .unwrap();
    let mut reopened = bench.writer().await;
    reopened.apply(&change(&[(22, None, Some(2))], &[23])).await;
    let rows = bench
        .query("SELECT id, n FROM t WHERE id >= 18 ORDER BY id")
        .await;
    let expected = [
        "18|324", "19|361", "20|1", "22|2", "24|576", "25|600", "26|624", "27|648", "28|672",
    ];
    assert_eq!(rows, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_cannot_be_written_leaves_nothing() {
    let bench = Bench::new(Kind::Delta, Shape::plain());
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..10, "eu", 1), &[])).await;
    let files = bench.data_files();
    let live = files.first().unwrap().clone();
    let hidden = live.with_extension("hidden");
    std::fs::rename(&live, &hidden).unwrap();
    let span = writer.next().await;
    let change = change(&many(5..15, "us", 1), &[]);
    let error = writer.sink.upsert(&change, &span).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
    std::fs::rename(&hidden, &live).unwrap();
    assert_eq!(bench.data_files(), files);
    writer.sink.upsert(&change, &span).await.unwrap();
    assert_eq!(bench.rows().await.len(), 15);
}
