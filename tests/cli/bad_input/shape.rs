//! Tables that are there already and are not what the pipeline writes.

use std::fs;

use serde_json::{Value, json};

use super::super::case::{Case, DELTA_TABLE, SHIPPED_ROWS};

const SHAPE: &str = "error: the table exists and has another shape than the SQL returns";
const LOG: &str = "warehouse/delta/customers/_delta_log/00000000000000000000.json";

/// A Delta pipeline whose table was made by hand.
fn made(protocol: &Value, configuration: &Value, fields: &Value) -> Case {
    let schema = json!({ "type": "struct", "fields": fields }).to_string();
    let meta = json!({ "metaData": {
        "id": "11111111-1111-1111-1111-111111111111",
        "format": { "provider": "parquet", "options": {} },
        "schemaString": schema,
        "partitionColumns": [],
        "configuration": configuration,
        "createdTime": 1,
    }});
    let log = format!("{}\n{meta}\n", json!({ "protocol": protocol }));
    Case::delta().file(LOG, &log)
}

fn field(name: &str, kind: &str, nullable: bool, metadata: &Value) -> Value {
    json!({ "name": name, "type": kind, "nullable": nullable, "metadata": metadata })
}

fn plain() -> Value {
    json!({ "minReaderVersion": 1, "minWriterVersion": 2 })
}

/// The run is refused, and nothing is added to the table's folder.
fn refused(case: &Case, says: &[&str]) {
    let before = case.files();
    case.runs(
        2,
        &[says, &["warehouse/delta/customers\n", "\n  next: "]].concat(),
    );
    assert_eq!(case.files(), before);
}

#[test]
fn another_type_names_the_column_and_both_types() {
    let of = |case: Case| case.edit("    tier,", "    length(tier) AS tier,");
    let says = [
        SHAPE,
        "`tier` is Utf8 in the table and Int32 in the SQL",
        "\n  next: CAST or rename the columns in the SQL",
    ];
    for case in [Case::delta(), Case::iceberg()] {
        case.runs(0, &[]);
        let before = case.files();
        let case = of(case);
        case.runs(2, &says);
        assert_eq!(case.files(), before);
        let case = case.edit("    length(tier) AS tier,", "    tier,");
        case.runs(0, &["nothing to do"]);
    }
    let fields = json!([field("customer_id", "string", true, &json!({}))]);
    refused(
        &made(&plain(), &json!({}), &fields),
        &[
            SHAPE,
            "`customer_id` is Utf8 in the table and Int64 in the SQL",
        ],
    );
}

#[test]
fn a_column_that_the_table_requires_is_named() {
    let fields = json!([field("must", "string", false, &json!({}))]);
    refused(
        &made(&plain(), &json!({}), &fields),
        &[
            SHAPE,
            "`must` (Utf8) is required by the table and not in the SQL",
        ],
    );
}

#[test]
fn other_partitions_are_named() {
    let case = Case::delta();
    case.runs(0, &[]);
    let case = case.edit("  mode: append", "  mode: append\n  partition_by: [tier]");
    refused(
        &case,
        &["error: the table exists and is not partitioned, but the pipeline says tier"],
    );
    let case = Case::iceberg();
    case.runs(0, &[]);
    case.edit("day(_ing", "month(_ing").runs(
        2,
        &[
            "is partitioned by day(_ingestion_timestamp), but the pipeline says month(_ingestion_timestamp)",
            "\n  next: Make `sink.partition_by` equal to the table's partitions",
        ],
    );
}

#[test]
fn features_that_the_engine_cannot_write_are_named_with_the_way_out() {
    let v3 = |feature: &str| {
        json!({
            "minReaderVersion": 3, "minWriterVersion": 7,
            "readerFeatures": [feature], "writerFeatures": [feature],
        })
    };
    let fields = json!([field("customer_id", "long", true, &json!({}))]);
    refused(
        &made(
            &v3("deletionVectors"),
            &json!({ "delta.enableDeletionVectors": "true" }),
            &fields,
        ),
        &[
            "table feature `deletionVectors`",
            "REORG TABLE … APPLY (PURGE)",
        ],
    );
    let mapped = json!([field(
        "customer_id",
        "long",
        true,
        &json!({ "delta.columnMapping.id": 1, "delta.columnMapping.physicalName": "col-1" }),
    )]);
    refused(
        &made(
            &json!({ "minReaderVersion": 2, "minWriterVersion": 5 }),
            &json!({ "delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "1" }),
            &mapped,
        ),
        &["table feature `columnMapping`", "DROP FEATURE"],
    );
    refused(
        &made(&v3("noSuchFeature"), &json!({}), &fields),
        &["table feature `noSuchFeature`, which the engine cannot write"],
    );
    let generated = json!([field(
        "g",
        "long",
        true,
        &json!({ "delta.generationExpression": "customer_id + 1" }),
    )]);
    refused(
        &made(
            &json!({ "minReaderVersion": 1, "minWriterVersion": 4 }),
            &json!({}),
            &generated,
        ),
        &["generated column `g`", "state it under `rules:`"],
    );
}

#[test]
fn a_damaged_log_is_told_at_once() {
    for log in [
        "garbage",
        "{\"protocol\":{\"minReaderVersion\":1}}\n",
        "{\"protocol\":{\"minReaderVersion\":1,\"minWriterVersion\":2}}\n{\"metaData\":{}}\n",
    ] {
        let case = Case::delta().file(LOG, log);
        refused(
            &case,
            &[
                "error: ",
                "the Delta table's log cannot be understood",
                "repair the log, or use another table",
            ],
        );
    }
}

#[test]
fn a_file_in_the_tables_place_is_refused() {
    let case = Case::delta().file("warehouse/delta/customers", "something else");
    case.runs(
        2,
        &[
            "error: the table's path is a file",
            "\n  expected: a folder, or a path where one can be made",
            "\n  next: Name another path, or move the file out of the way.",
        ],
    );
    let kept = fs::read_to_string(case.path("warehouse/delta/customers")).unwrap();
    assert_eq!(kept, "something else");
}

#[test]
fn other_files_in_the_tables_folder_are_left_alone() {
    let case = Case::delta().file("warehouse/delta/customers/readme.txt", "mine");
    case.runs(0, &[]);
    assert_eq!(case.rows(DELTA_TABLE), SHIPPED_ROWS);
    let kept = fs::read_to_string(case.path("warehouse/delta/customers/readme.txt")).unwrap();
    assert_eq!(kept, "mine");
}
