//! The shipped pipelines on their captured input: no service, both formats, four independent readers.

use std::path::Path;
use std::time::Duration;

use tests::capture;
use tests::engine::Engine;
use tests::python::{Reader, Readers, Table};
use tests::{need, repository};

use super::account;
use super::pipeline::Sink;

const RUN: Duration = Duration::from_secs(300);

/// `engine run` of both shipped pipelines until they are drained.
pub(super) fn run_shipped(warehouse: &Path) -> Engine {
    Engine::new([
        "run",
        "pipelines/customers.yaml",
        "pipelines/customers_delta.yaml",
        "--once",
    ])
    .env("WAREHOUSE", warehouse)
}

#[test]
fn four_readers_see_every_captured_change_once_and_a_second_run_adds_nothing() {
    let readers = need!(Readers::ready());
    let warehouse = tempfile::tempdir().expect("a temporary folder");
    run_shipped(warehouse.path()).run(RUN).expect_code(0);

    let messages = repository::path("pipelines/data/customers.jsonl");
    let expected = readers.reference(&messages);
    let first = read_both(&readers, warehouse.path());
    for (reader, table) in &first {
        let rows = account::without_ingestion_time(table.rows.clone());
        account::assert_same_rows(&format!("{reader:?}"), &rows, &expected);
        account::assert_each_once(&capture::read(&messages), &table.rows, &[]);
        assert_eq!(names(table), COLUMNS, "{reader:?}");
        assert_eq!(types(table), expected_types(*reader), "{reader:?}");
        assert_eq!(operations(table), [400, 441, 632, 127], "{reader:?}");
    }

    let again = run_shipped(warehouse.path()).run(RUN).expect_code(0);
    let said = (again.stdout + &again.stderr).to_lowercase();
    assert!(
        said.contains("nothing to do"),
        "a drained source is said to be so:\n{said}"
    );
    for ((reader, before), (_, after)) in first.iter().zip(&read_both(&readers, warehouse.path())) {
        assert_eq!(
            before.version, after.version,
            "{reader:?}: a run without changes makes no version"
        );
    }
}

const COLUMNS: [&str; 14] = [
    "customer_id",
    "email",
    "full_name",
    "location",
    "tier",
    "lifetime_value",
    "created_at",
    "updated_at",
    "_cdc_operation",
    "_ingestion_timestamp",
    "_source_system",
    "_topic",
    "_partition",
    "_offset",
];

/// The types of [`COLUMNS`] in each reader's own words.
fn expected_types(reader: Reader) -> Vec<&'static str> {
    let [long, text, decimal, instant, local, int] = match reader {
        Reader::Pyiceberg => [
            "long",
            "string",
            "decimal(12, 2)",
            "timestamptz",
            "timestamp",
            "int",
        ],
        Reader::Deltalake => [
            "long",
            "string",
            "decimal(12,2)",
            "timestamp",
            "timestamp_ntz",
            "integer",
        ],
        Reader::DuckdbIceberg | Reader::DuckdbDelta => {
            let instant = "TIMESTAMP WITH TIME ZONE";
            [
                "BIGINT",
                "VARCHAR",
                "DECIMAL(12,2)",
                instant,
                "TIMESTAMP",
                "INTEGER",
            ]
        }
    };
    vec![
        long, text, text, text, text, decimal, instant, local, text, instant, text, text, int, long,
    ]
}

fn read_both(readers: &Readers, warehouse: &Path) -> Vec<(Reader, Table)> {
    let locations = Sink::BOTH.map(|sink| sink.location(warehouse));
    let read = |location| {
        let readers = readers.clone();
        tests::python::Location::readers(location)
            .map(move |reader| (reader, readers.read(reader, location)))
    };
    locations.iter().flat_map(read).collect()
}

fn names(table: &Table) -> Vec<&str> {
    table.schema.iter().map(|(name, _)| name.as_str()).collect()
}

fn types(table: &Table) -> Vec<&str> {
    table.schema.iter().map(|(_, kind)| kind.as_str()).collect()
}

fn operations(table: &Table) -> [usize; 4] {
    ["SNAPSHOT", "INSERT", "UPDATE", "DELETE"].map(|operation| {
        let is = |row: &&serde_json::Value| row["_cdc_operation"] == operation;
        table.rows.iter().filter(is).count()
    })
}
