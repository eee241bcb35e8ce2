//! What cannot be read says why, and what can be.

use engine::lake::versioned::iceberg::IcebergVersions;
use serde_json::{Value, json};
use sql::ErrorKind;
use sql::versioned::{VersionedTable as _, Wanted};

use crate::lake::harness::iceberg_spec;
use crate::lake::upsert::harness::{Bench, Kind, Shape, change, many};
use crate::lake::upsert::iceberg::change_metadata;

/// A table of three versions: an append, a delete, an append.
async fn table_of_three() -> Bench {
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(0..6, "eu", 1), &[])).await;
    writer.apply(&change(&[], &[2])).await;
    writer.apply(&change(&many(6..8, "eu", 1), &[])).await;
    bench
}

async fn open(bench: &Bench) -> sql::Result<IcebergVersions> {
    IcebergVersions::open(&iceberg_spec(&bench.folder)).await
}

async fn refusal(table: &IcebergVersions, version: i64) -> (ErrorKind, String) {
    let error = table
        .changes(version, &Wanted::default())
        .await
        .err()
        .unwrap();
    (error.kind(), error.message().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_whose_base_has_expired_say_which_are_there() {
    let bench = table_of_three().await;
    change_metadata(&bench, |metadata| {
        let snapshots = metadata["snapshots"].as_array_mut().unwrap();
        snapshots.retain(|snapshot| snapshot["sequence-number"] != 1);
        metadata["snapshot-log"] = json!([]);
    });
    let table = open(&bench).await.unwrap();
    let readable = table.refresh().await.unwrap();
    assert_eq!(
        (readable.first, readable.last),
        (3, 3),
        "2 deletes from what is gone"
    );
    for (version, why) in [
        (
            1,
            "version 1 has expired: the table no longer has its snapshot",
        ),
        (
            2,
            "the changes of version 2 cannot be read: the snapshot before it has expired",
        ),
    ] {
        let error = table
            .changes(version, &Wanted::default())
            .await
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::DataLoss, "{}", error.report());
        assert_eq!(
            error.to_string(),
            format!("{why}, at lake.analytics.customers; expected versions 3 to 3")
        );
    }
    assert_eq!(
        table.versions(1, 9).await.unwrap_err().kind(),
        ErrorKind::DataLoss
    );
    let here: Vec<i64> = table
        .versions(2, 9)
        .await
        .unwrap()
        .iter()
        .map(|own| own.number)
        .collect();
    assert_eq!(here, [2, 3], "a reader that stands at 2 goes on");
    assert!(table.rows(2, &[]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_the_table_was_rolled_back_from_is_told_from_one_that_is_not_yet() {
    let bench = table_of_three().await;
    change_metadata(&bench, |metadata| {
        let second = metadata["snapshots"].as_array().unwrap().iter();
        let second = second
            .clone()
            .find(|own| own["sequence-number"] == 2)
            .unwrap();
        let id: Value = second["snapshot-id"].clone();
        metadata["current-snapshot-id"] = id.clone();
        metadata["refs"]["main"]["snapshot-id"] = id.clone();
        let log = metadata["snapshot-log"].as_array_mut().unwrap();
        let mut again = log.last().unwrap().clone();
        again["snapshot-id"] = id;
        log.push(again);
    });
    let table = open(&bench).await.unwrap();
    assert_eq!(table.refresh().await.unwrap().last, 2);
    let rolled = "version 3 is not in the history of the table's main branch: the table was rolled back to before it, or it is of another branch";
    assert_eq!(
        refusal(&table, 3).await,
        (ErrorKind::DataLoss, rolled.to_owned())
    );
    let error = table.versions(3, 9).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::DataLoss, rolled)
    );
    let unborn = "the Iceberg table has no version 4 yet";
    assert_eq!(
        refusal(&table, 4).await,
        (ErrorKind::Config, unborn.to_owned())
    );
    assert_eq!(table.versions(4, 9).await.unwrap(), []);
    // What comes next has the number 4: 3 stays away.
    let mut writer = bench.writer().await;
    writer.apply(&change(&many(10..12, "eu", 1), &[])).await;
    table.refresh().await.unwrap();
    let numbers = |versions: Vec<sql::versioned::Version>| -> Vec<i64> {
        versions.iter().map(|own| own.number).collect()
    };
    assert_eq!(numbers(table.versions(1, 9).await.unwrap()), [1, 2, 4]);
    assert_eq!(
        table.versions(3, 9).await.unwrap_err().kind(),
        ErrorKind::DataLoss
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_without_snapshots_is_at_version_0() {
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    bench.sink().await;
    let table = open(&bench).await.unwrap();
    let readable = table.refresh().await.unwrap();
    assert_eq!((readable.first, readable.last), (1, 0));
    assert_eq!(table.versions(0, 9).await.unwrap(), []);
    assert_eq!(table.versions(1, 9).await.unwrap(), []);
    assert!(table.at(0).await.is_ok());
    assert_eq!(table.snapshots().await.unwrap().num_rows(), 0);
    assert_eq!(table.files(None).await.unwrap().num_rows(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_format_version_1_says_what_to_do() {
    let bench = Bench::new(Kind::Iceberg, Shape::plain());
    bench.sink().await;
    change_metadata(&bench, |metadata| metadata["format-version"] = json!(1));
    let error = open(&bench).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{}", error.report());
    assert_eq!(
        error.message(),
        "the Iceberg table is of format version 1, whose snapshots have no sequence numbers: it has no versions"
    );
    assert!(error.next_step().unwrap().starts_with("Upgrade the table"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_that_is_not_there_is_named() {
    let bench = table_of_three().await;
    let table = open(&bench).await.unwrap();
    let wanted = Wanted {
        columns: vec!["nope".to_owned()],
        change_types: None,
    };
    let error = table.changes(1, &wanted).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "the Iceberg table has no column `nope`; expected one of id, region, n"
    );
    let error = IcebergVersions::from_metadata("/nowhere/v1.metadata.json").await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{}", error.report());
}
