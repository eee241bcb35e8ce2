//! What is refused, in the words that the user reads.

use std::path::Path;

use arrow::datatypes::{DataType, Field, Schema};
use engine::lake::delta::delta_provider;
use engine::lake::iceberg::iceberg_provider;
use engine::lake::storage::storage_error;
use engine::spec::model::PartitionTransform;
use sql::{Error, ErrorKind};
use tempfile::TempDir;

use super::harness::{Bench, Kind, delta_spec, fitted, iceberg_spec, output, rows, step};

async fn refused(bench: &Bench, output: &Schema) -> Error {
    match bench.try_open("customers", output).await {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_another_shape_is_refused_column_by_column() {
    let other = Schema::new(vec![
        Field::new("id", DataType::Utf8, true),
        Field::new("score", DataType::Float64, true),
    ]);
    for kind in [Kind::Delta, Kind::Iceberg] {
        let bench = Bench::new(kind);
        bench.sink().await;
        let error = refused(&bench, &other).await;
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(
            error.message(),
            "the table exists and has another shape than the SQL returns: `id` is Int64 in the table and Utf8 in the SQL \
             (the types do not fit); `score` (Float64) is not in the table"
        );
        assert_eq!(
            error.next_step(),
            Some(
                "CAST or rename the columns in the SQL, add missing columns to the table, or write to another table."
            )
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_narrower_sql_fits_into_a_wider_table() {
    let narrow = Schema::new(vec![Field::new("id", DataType::Int32, true)]);
    for kind in [Kind::Delta, Kind::Iceberg] {
        let bench = Bench::new(kind);
        bench.sink().await;
        let sink = bench.try_open("customers", &narrow).await.unwrap();
        assert_eq!(sink.schema().fields(), output().fields());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_partitions_are_refused() {
    for (kind, there, transform, message) in [
        (
            Kind::Delta,
            None,
            PartitionTransform::Identity,
            "the table exists and is not partitioned, but the pipeline says tier",
        ),
        (
            Kind::Iceberg,
            Some(PartitionTransform::Identity),
            PartitionTransform::Bucket(4),
            "the table exists and is partitioned by tier, but the pipeline says bucket(4, tier)",
        ),
    ] {
        let mut bench = Bench::new(kind);
        if let Some(there) = there {
            bench = bench.partitioned(&[("tier", there)]);
        }
        bench.sink().await;
        let bench = bench.partitioned(&[("tier", transform)]);
        assert_eq!(refused(&bench, &output()).await.message(), message);
        bench.partitioned(&[]).sink().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_cannot_be_are_refused_before_anything_is_made() {
    let transform = [("tier", PartitionTransform::Truncate(1))];
    let bench = Bench::new(Kind::Delta).partitioned(&transform);
    let error = refused(&bench, &output()).await;
    assert_eq!(
        error.message(),
        "a Delta table has no partition transforms, but `tier` is partitioned by one"
    );
    assert_eq!(error.place(), Some("p.yaml:9:3 (sink.partition_by[0])"));
    assert!(!bench.folder.join("table").exists());
    for kind in [Kind::Delta, Kind::Iceberg] {
        let bench = Bench::new(kind).partitioned(&[("nope", PartitionTransform::Identity)]);
        assert_eq!(
            refused(&bench, &output()).await.message(),
            "`partition_by` names the column `nope`, which the SQL does not return"
        );
    }
    let bench = Bench::new(Kind::Iceberg).partitioned(&[("tier", PartitionTransform::Day)]);
    assert_eq!(
        refused(&bench, &output()).await.message(),
        "column `tier` of type string cannot be partitioned by day"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_whose_values_do_not_survive_being_text_are_refused() {
    for (data_type, name) in [
        (DataType::Decimal128(10, 2), "Decimal128(10, 2)"),
        (DataType::Float64, "Float64"),
        (DataType::Binary, "Binary"),
    ] {
        let field = Field::new("tier", data_type, true);
        let output = Schema::new(vec![Field::new("id", DataType::Int64, true), field]);
        let identity = [("tier", PartitionTransform::Identity)];
        let bench = Bench::new(Kind::Delta).partitioned(&identity);
        let error = refused(&bench, &output).await;
        assert_eq!(
            error.message(),
            format!(
                "column `tier` of type {name} cannot be a partition of a Delta table: its values cannot be read back exactly"
            )
        );
        assert_eq!(error.place(), Some("p.yaml:9:3 (sink.partition_by[0])"));
        assert!(!bench.folder.join("table").exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_is_a_file_is_refused() {
    let bench = Bench::new(Kind::Delta);
    std::fs::write(bench.folder.join("table"), "x").unwrap();
    let error = refused(&bench, &output()).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.message(), "the table's path is a file");
    let bench = Bench::new(Kind::Iceberg);
    std::fs::create_dir(bench.folder.join("catalog.db")).unwrap();
    assert_eq!(
        refused(&bench, &output()).await.message(),
        "the catalog's path is a folder"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_to_read_must_be_there() {
    let folder = TempDir::new().unwrap();
    let error = delta_provider(&delta_spec(&folder.path().join("no")))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::Config, "there is no Delta table")
    );
    assert!(!folder.path().join("no").exists(), "reading makes nothing");
    let error = iceberg_provider(&iceberg_spec(folder.path()))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::Config, "there is no catalog file")
    );
    let bench = Bench::new(Kind::Iceberg);
    bench.sink().await;
    let mut spec = iceberg_spec(&bench.folder);
    spec.table = "nope".to_owned();
    let error = iceberg_provider(&spec).await.unwrap_err();
    assert_eq!(
        error.message(),
        "there is no Iceberg table `lake.analytics.nope`"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_that_is_none_is_refused() {
    let bench = Bench::new(Kind::Iceberg);
    let file = bench.folder.join("catalog.db");
    std::fs::write(
        &file,
        "not a database, but long enough to look at".repeat(40),
    )
    .unwrap();
    let error = refused(&bench, &output()).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error
            .message()
            .ends_with("the file is no intact SQLite database"),
        "{}",
        error.report()
    );
    std::fs::write(&file, "").unwrap();
    let error = iceberg_provider(&iceberg_spec(&bench.folder))
        .await
        .unwrap_err();
    assert_eq!(
        error.message(),
        "the file is a SQLite database, but no Iceberg catalog"
    );
}

/// A Delta table made by hand: its protocol and its properties.
fn foreign_delta(folder: &Path, protocol: &str, configuration: &str) {
    let log = folder.join("table/_delta_log");
    std::fs::create_dir_all(&log).unwrap();
    let schema = r#"{\"type\":\"struct\",\"fields\":[{\"name\":\"id\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}},{\"name\":\"tier\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}}]}"#;
    let mapped = r#"\"metadata\":{\"delta.columnMapping.id\":@,\"delta.columnMapping.physicalName\":\"c@\"}"#;
    let schema = if configuration.contains("columnMapping") {
        let first = mapped.replace('@', "1");
        let second = mapped.replace('@', "2");
        let plain = r#"\"metadata\":{}"#;
        schema
            .replacen(plain, &first, 1)
            .replacen(plain, &second, 1)
    } else {
        schema.to_owned()
    };
    let commit = format!(
        "{{\"protocol\":{protocol}}}\n{{\"metaData\":{{\"id\":\"00000000-0000-0000-0000-000000000001\",\
         \"format\":{{\"provider\":\"parquet\",\"options\":{{}}}},\"schemaString\":\"{schema}\",\
         \"partitionColumns\":[],\"configuration\":{configuration},\"createdTime\":0}}}}\n"
    );
    std::fs::write(log.join("00000000000000000000.json"), commit).unwrap();
}

const DELETION_VECTORS: &str = r#"{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletion_vectors_are_neither_read_nor_written() {
    let bench = Bench::new(Kind::Delta);
    foreign_delta(&bench.folder, DELETION_VECTORS, "{}");
    let error = refused(&bench, &output()).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.message(),
        "the Delta table has the table feature `deletionVectors`, which the engine cannot write"
    );
    let read = delta_provider(&delta_spec(&bench.folder.join("table")))
        .await
        .unwrap_err();
    assert_eq!(
        read.message(),
        "the Delta table has the table feature `deletionVectors`, which the engine cannot read correctly"
    );
    assert_eq!(read.next_step(), error.next_step());
    assert!(read.next_step().unwrap().contains("REORG TABLE"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_whose_rules_an_append_would_break_are_refused() {
    let plain = r#"{"minReaderVersion":1,"minWriterVersion":2}"#;
    for (protocol, configuration, what) in [
        (
            r#"{"minReaderVersion":1,"minWriterVersion":3}"#,
            r#"{"delta.constraints.positive":"id > 0"}"#,
            "the Delta table has the CHECK constraint `positive`, which the engine does not enforce",
        ),
        (
            r#"{"minReaderVersion":2,"minWriterVersion":5}"#,
            r#"{"delta.columnMapping.mode":"name"}"#,
            "the Delta table has the table feature `columnMapping`, which the engine cannot write",
        ),
        (
            r#"{"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["rowTracking","domainMetadata"]}"#,
            "{}",
            "the Delta table has the table features `rowTracking`, `domainMetadata`, which the engine cannot write",
        ),
    ] {
        let bench = Bench::new(Kind::Delta);
        foreign_delta(&bench.folder, protocol, configuration);
        let error = refused(&bench, &output()).await;
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::Config, what),
            "{}",
            error.report()
        );
    }
    let bench = Bench::new(Kind::Delta);
    foreign_delta(&bench.folder, plain, "{}");
    bench.sink().await;
    let bench = Bench::new(Kind::Delta);
    foreign_delta(&bench.folder, r#"{"minReaderVersion":1}"#, "{}");
    let error = refused(&bench, &output()).await;
    assert_eq!(
        (error.kind(), error.message()),
        (
            ErrorKind::Config,
            "the Delta table's log cannot be understood"
        ),
        "{}",
        error.report()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nanoseconds_in_an_iceberg_table_are_refused() {
    let bench = Bench::new(Kind::Iceberg);
    let micros = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
    let schema = Schema::new(vec![Field::new("at", micros, true)]);
    bench.try_open("customers", &schema).await.unwrap();
    let metadata = bench.folder.join("analytics/customers/metadata");
    for file in std::fs::read_dir(metadata).unwrap().flatten() {
        let text = std::fs::read_to_string(file.path()).unwrap();
        std::fs::write(
            file.path(),
            text.replace("\"timestamp\"", "\"timestamp_ns\""),
        )
        .unwrap();
    }
    let expected =
        "column `at` is a timestamp of nanoseconds, which the engine does not read or write";
    assert_eq!(refused(&bench, &schema).await.message(), expected);
    let error = iceberg_provider(&iceberg_spec(&bench.folder))
        .await
        .unwrap_err();
    assert_eq!(error.message(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_cannot_be_written_is_named() {
    // Nobody, not even root, makes folders there.
    let place = Path::new("/sys/engine-cannot-write-here");
    for kind in [Kind::Delta, Kind::Iceberg] {
        let error = refused(&Bench::in_folder(kind, place), &output()).await;
        assert_eq!(error.kind(), ErrorKind::Storage, "{}", error.report());
        assert!(
            error
                .place()
                .unwrap()
                .starts_with("/sys/engine-cannot-write-here")
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_vanished_stops_its_sink() {
    let bench = Bench::new(Kind::Delta);
    let mut sink = bench.sink().await;
    std::fs::remove_dir_all(bench.folder.join("table")).unwrap();
    let batch = fitted(sink.as_ref(), &rows(0, 1));
    let error = sink.write(&[batch], &step(0, 1)).await.unwrap_err();
    assert_eq!(error.message(), "the Delta table is no longer there");
}

#[test]
fn the_systems_errors_say_what_to_do() {
    let cases = [
        (
            28,
            ErrorKind::Storage,
            "cannot write a data file: the disk is full",
        ),
        (
            122,
            ErrorKind::Storage,
            "cannot write a data file: the disk is full",
        ),
        (
            27,
            ErrorKind::Storage,
            "cannot write a data file: a file would be larger than allowed",
        ),
        (
            30,
            ErrorKind::Storage,
            "cannot write a data file: the file system is read-only",
        ),
        (
            13,
            ErrorKind::Storage,
            "cannot write a data file: permission denied",
        ),
        (
            20,
            ErrorKind::Config,
            "cannot write a data file: a part of the path is a file, not a folder",
        ),
        (
            5,
            ErrorKind::Unavailable,
            "cannot write a data file: the storage failed",
        ),
    ];
    for (code, kind, message) in cases {
        let error = std::io::Error::from_raw_os_error(code);
        let wrapped = Error::internal("wrapped").source(error);
        let error = storage_error("write a data file", "/lake/t", wrapped);
        assert_eq!((error.kind(), error.message()), (kind, message));
        assert_eq!(error.place(), Some("/lake/t"));
    }
}
