//! Where results go, and in which format.

use std::fs;

use serde_json::Value;

use super::case::{Case, FILE, assert_says};

const SERIES: &str = "SELECT value AS n, CASE WHEN value % 3 = 0 THEN NULL ELSE value * 2.5 END AS x, \
                      'ü' || value AS t FROM generate_series(1, 20000) ORDER BY 1";

#[test]
fn a_parquet_file_is_there_as_a_whole_or_not_at_all() {
    let case = Case::iceberg();
    let args = |query: &str| {
        [
            "sql",
            FILE,
            "--format",
            "parquet",
            "-o",
            "out.parquet",
            "-c",
            query,
        ]
        .map(str::to_owned)
    };
    let call = |query: &str| case.call(&args(query).each_ref().map(String::as_str));
    let outcome = call(SERIES);
    assert_says(&outcome, 0, &[]);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
    let bytes = fs::read(case.path("out.parquet")).unwrap();
    assert_eq!(rows_of(&bytes), 20_000);
    // What fails leaves the file of before.
    let failing = "SELECT 1 / (value - 15000) AS a FROM generate_series(1, 20000)";
    assert_says(&call(failing), 2, &["ivide by zero"]);
    assert_eq!(fs::read(case.path("out.parquet")).unwrap(), bytes);
    assert_says(
        &call("SELECT 1 AS a; SELECT 2 AS a"),
        2,
        &[
            "error: a Parquet file holds the result of one query",
            "\n  at: out.parquet",
        ],
    );
    let left: Vec<_> = fs::read_dir(case.path("."))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("part") && name != "out.parquet")
        .collect();
    assert_eq!(left, [""; 0]);
    assert_says(
        &case.call(&["sql", FILE, "--format", "parquet", "-c", "SELECT 1"]),
        2,
        &[
            "error: Parquet is written to a file",
            "--output FILE beside",
        ],
    );
    assert_says(
        &case.call(&[
            "sql",
            FILE,
            "--format",
            "parquet",
            "-o",
            "no/such/a.parquet",
            "-c",
            "SELECT 1",
        ]),
        3,
        &[
            "error: the output file cannot be written",
            "\n  at: no/such/a.parquet",
        ],
    );
}

/// Counted by the reader of Parquet files, from bytes.
fn rows_of(bytes: &[u8]) -> i64 {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.parquet");
    fs::write(&file, bytes).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let context = datafusion::prelude::SessionContext::new();
        let options = datafusion::prelude::ParquetReadOptions::default();
        let frame = context
            .read_parquet(file.to_str().unwrap(), options)
            .await
            .unwrap();
        let checked = frame
            .filter(datafusion::prelude::col("t").not_eq(datafusion::prelude::lit("")))
            .unwrap();
        i64::try_from(checked.count().await.unwrap()).unwrap()
    })
}

#[test]
fn results_of_many_batches_are_one_result() {
    let case = Case::iceberg();
    for format in ["json", "csv", "table"] {
        let printed = case.call(&["sql", FILE, "--format", format, "-c", SERIES]);
        assert_says(&printed, 0, &[]);
        let kept = case.call(&["sql", FILE, "--format", format, "-o", "out", "-c", SERIES]);
        assert_eq!(kept.stdout, "");
        assert_eq!(
            fs::read_to_string(case.path("out")).unwrap(),
            printed.stdout,
            "{format}"
        );
        match format {
            "json" => {
                let rows: Vec<Value> = serde_json::from_str(&printed.stdout).unwrap();
                assert_eq!(rows.len(), 20_000);
                assert_eq!(rows[2]["x"], Value::Null);
                assert_eq!(rows[19_999]["t"], "ü20000");
            }
            "csv" => {
                let lines: Vec<&str> = printed.stdout.lines().collect();
                assert_eq!(lines.len(), 20_001);
                assert_eq!((lines[0], lines[3]), ("n,x,t", "3,,ü3"));
            }
            _ => {
                let lines: Vec<&str> = printed.stdout.lines().collect();
                assert_eq!(lines.len(), 20_003);
                assert_eq!(lines.last(), Some(&"(20000 rows)"));
            }
        }
    }
}

#[test]
fn what_could_move_a_terminal_is_escaped_and_nothing_is_cut_in_a_file() {
    let case = Case::iceberg();
    let wide = "y".repeat(400);
    let outcome = case.call(&[
        "sql",
        FILE,
        "-c",
        &format!("SELECT '{wide}' AS w, 'a' || chr(27) || '[2J' || chr(9) AS c"),
    ]);
    assert_says(&outcome, 0, &[]);
    assert!(outcome.stdout.contains(&wide));
    assert!(
        outcome.stdout.contains("a\\u{1b}[2J\\t\n"),
        "{}",
        outcome.stdout
    );
}
