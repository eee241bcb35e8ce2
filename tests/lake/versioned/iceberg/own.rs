//! Tables that the engine writes: appends, upserts of both kinds, maintenance in between, and what reading them costs.

use engine::lake::versioned::iceberg::IcebergVersions;
use sql::versioned::{VersionedTable as _, Wanted};
use tests::need;
use tests::python::Readers;

use super::{agrees, changes, states};
use crate::lake::harness::{iceberg_spec, runtime};
use crate::lake::maintain::eager;
use crate::lake::upsert::harness::{Bench, Kind, Shape, change, many, truncate};
use crate::lake::upsert::iceberg::arguments;

#[test]
fn the_changes_of_upserts_are_what_the_snapshots_differ_by() {
    let readers = need!(Readers::ready());
    for shape in [
        Shape::plain(),
        Shape::partitioned(),
        Shape::plain().copied(),
        Shape::partitioned().copied(),
    ] {
        let bench = Bench::new(Kind::Iceberg, shape);
        runtime().block_on(async {
            let mut writer = bench.writer().await;
            writer.apply(&change(&many(0..20, "eu", 1), &[])).await;
            writer.apply(&change(&many(20..30, "us", 1), &[])).await;
            writer.apply(&change(&many(5..12, "us", 2), &[0, 21])).await;
            // One as it was, one that is not there, one that moves.
            let rows = [(3, Some("eu"), Some(3)), (12, None, None)];
            writer.apply(&change(&rows, &[77, 6])).await;
            writer.sink.maintain(&eager()).await.unwrap();
            writer.apply(&change(&many(0..4, "eu", 9), &[12])).await;
            writer.apply(&truncate(&many(0..2, "eu", 1))).await;
        });
        let printed = readers.run("check_iceberg.py", arguments(&bench));
        let states = states(&printed);
        runtime().block_on(async {
            let spec = iceberg_spec(&bench.folder);
            let table = IcebergVersions::open(&spec).await.unwrap();
            agrees(&table, &states).await;
            let keyed = table.with_key(vec!["id".to_owned()]).unwrap();
            agrees(&keyed, &states).await;
            let updated = changes(&keyed, 3, &["id".to_owned()]).await;
            let words: Vec<&str> = updated.iter().map(|own| own.0.as_str()).collect();
            let pairs = ["update_preimage", "update_postimage"].repeat(7);
            assert_eq!(
                words.iter().filter(|word| word.starts_with("up")).count(),
                14
            );
            assert_eq!(words.iter().filter(|word| **word == "delete").count(), 2);
            let only_pairs: Vec<_> = words.iter().filter(|word| word.starts_with("up")).collect();
            assert_eq!(only_pairs, pairs.iter().collect::<Vec<_>>());
            let replaced: Vec<_> = keyed.versions(0, i64::MAX).await.unwrap();
            let replaced = replaced.iter().filter(|own| own.operation == "replace");
            assert!(replaced.clone().count() >= 1, "maintenance did something");
            assert!(replaced.clone().all(|own| !own.changes_rows));
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_costs_what_its_own_files_cost() {
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..200_000, "eu", 7), &[])).await;
    let large: u64 = bench
        .data_files()
        .iter()
        .map(|f| f.metadata().unwrap().len())
        .sum();
    writer
        .apply(&change(&many(500_000..500_010, "us", 7), &[]))
        .await;
    let all: u64 = bench
        .data_files()
        .iter()
        .map(|f| f.metadata().unwrap().len())
        .sum();
    let small = all - large;
    assert!(large > 20 * small, "{large} and {small} bytes");
    let table = IcebergVersions::open(&iceberg_spec(&bench.folder))
        .await
        .unwrap();
    let columns: Vec<String> = ["id", "region", "n"].map(str::to_owned).to_vec();
    assert_eq!(changes(&table, 2, &columns).await.len(), 10);
    let read = table.bytes_read();
    // The footer is looked for in the file's last bytes, so some are read twice.
    assert!((1..=3 * small).contains(&read), "{read} bytes of {small}");
    // A column costs less than all.
    assert_eq!(
        changes(&table, 1, &["region".to_owned()]).await.len(),
        200_000
    );
    let one = table.bytes_read() - read;
    assert!(one < large / 4, "{one} bytes of {large}");
    // What nobody asked for is not opened.
    let before = table.bytes_read();
    let wanted = Wanted {
        columns,
        change_types: Some(vec!["delete".to_owned()]),
    };
    use futures::TryStreamExt as _;
    let rows = table.changes(1, &wanted).await.unwrap();
    assert_eq!(rows.try_collect::<Vec<_>>().await.unwrap().len(), 0);
    assert_eq!(table.bytes_read(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_by_position_does_not_read_the_rows_that_stay() {
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..200_000, "eu", 7), &[])).await;
    let large: u64 = bench
        .data_files()
        .iter()
        .map(|f| f.metadata().unwrap().len())
        .sum();
    writer.apply(&change(&[], &[100, 101])).await;
    let table = IcebergVersions::open(&iceberg_spec(&bench.folder))
        .await
        .unwrap();
    let columns: Vec<String> = ["id", "region", "n"].map(str::to_owned).to_vec();
    let made = changes(&table, 2, &columns).await;
    assert_eq!(
        made.iter().map(|own| own.0.as_str()).collect::<Vec<_>>(),
        ["delete"; 2]
    );
    let read = table.bytes_read();
    assert!(read < large / 2, "{read} bytes of {large}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_versions_are_seen_when_they_are_looked_for() {
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..3, "eu", 1), &[])).await;
    let table = IcebergVersions::open(&iceberg_spec(&bench.folder))
        .await
        .unwrap();
    let table = table.with_key(vec!["id".to_owned()]).unwrap();
    assert_eq!(table.refresh().await.unwrap().last, 1);
    writer.apply(&change(&many(1..2, "us", 1), &[0])).await;
    assert_eq!(table.versions(2, 9).await.unwrap(), [], "not looked for");
    let readable = table.refresh().await.unwrap();
    assert_eq!((readable.first, readable.last), (1, 2));
    assert_eq!(table.key(), ["id"], "it is still who it was");
    let versions = table.versions(2, 9).await.unwrap();
    assert_eq!(versions.len(), 1);
    let at = versions[0].committed_micros;
    assert_eq!(table.version_at(at).await.unwrap(), Some(2));
    assert_eq!(table.version_at(at - 1).await.unwrap().unwrap_or(1), 1);
    assert_eq!(table.version_at(0).await.unwrap(), None);
    let none: Vec<_> = futures::TryStreamExt::try_collect(table.rows(0, &[]).await.unwrap())
        .await
        .unwrap();
    assert!(none.is_empty(), "the version 0 is the table before all");
    let compared = table.compare(1, 2).await.unwrap();
    let shown: Vec<_> = compared
        .iter()
        .map(|own| {
            (
                own.content,
                own.added_files,
                own.added_rows,
                own.removed_files,
            )
        })
        .collect();
    assert_eq!(shown, [("data", 1, 1, 0), ("position_deletes", 1, 2, 0)]);
}
