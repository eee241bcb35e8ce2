//! What the README says to type, and the shipped pipelines through the other commands.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tests::engine::Engine;
use tests::{process, repository};

use super::customers::run_shipped;

const RUN: Duration = Duration::from_secs(300);

#[test]
fn the_commands_of_the_readme_run_as_they_are_written() {
    let warehouse = tempfile::tempdir().expect("a temporary folder");
    let readme = fs::read_to_string(repository::path("README.md")).expect("text");
    let calls: Vec<&str> = readme
        .lines()
        .filter(|line| line.starts_with("cargo run "))
        .filter_map(|line| line.split_once(" -- ").map(|(_, arguments)| arguments))
        .collect();
    assert_eq!(
        calls.len(),
        3,
        "the run, the look at its rows, the run of all: {calls:?}"
    );
    let said: Vec<String> = calls
        .iter()
        .map(|arguments| {
            let engine = Engine::new(words(arguments)).env("WAREHOUSE", warehouse.path());
            engine.run(RUN).expect_code(0).stdout
        })
        .collect();
    for fact in [
        "SNAPSHOT", "400", "INSERT", "441", "UPDATE", "632", "DELETE", "127",
    ] {
        assert!(said[1].contains(fact), "no {fact} in:\n{}", said[1]);
    }
    for table in ["postgres_orders", "mysql_orders", "customers"] {
        let log = warehouse
            .path()
            .join("delta")
            .join(table)
            .join("_delta_log");
        assert!(log.is_dir(), "{} is not there", log.display());
    }
    let command = repository::path("scripts/test");
    assert!(readme.contains("\nscripts/test\n") && command.is_file());
}

#[test]
fn engine_sql_counts_both_tables_alike() {
    let warehouse = tempfile::tempdir().expect("a temporary folder");
    run_shipped(warehouse.path()).run(RUN).expect_code(0);
    let expected = json!([
        {"_cdc_operation": "DELETE", "n": 127}, {"_cdc_operation": "INSERT", "n": 441},
        {"_cdc_operation": "SNAPSHOT", "n": 400}, {"_cdc_operation": "UPDATE", "n": 632},
    ]);
    for table in ["iceberg.analytics.customers", "delta.customers_delta"] {
        assert_eq!(counts(warehouse.path(), table), expected, "{table}");
    }
}

#[test]
fn the_shipped_pipelines_are_valid_and_explained() {
    Engine::new(["validate", "pipelines/"])
        .run(RUN)
        .expect_code(0);
    for pipeline in [
        "pipelines/customers.yaml",
        "pipelines/customers_delta.yaml",
        "pipelines/postgres_orders_delta.yaml",
        "pipelines/mysql_orders_delta.yaml",
    ] {
        Engine::new(["validate", pipeline]).run(RUN).expect_code(0);
        let plan = Engine::new(["explain", pipeline])
            .run(RUN)
            .expect_code(0)
            .stdout;
        assert!(
            plan.contains("concat_nonblank"),
            "the plan of {pipeline}:\n{plan}"
        );
    }
}

fn counts(warehouse: &Path, table: &str) -> Value {
    let query = format!("SELECT _cdc_operation, count(*) AS n FROM {table} GROUP BY 1 ORDER BY 1");
    let answer = Engine::new(["sql", "--format", "json", "-c", &query])
        .env("WAREHOUSE", warehouse)
        .run(RUN)
        .expect_code(0);
    serde_json::from_str(&answer.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", answer.stdout))
}

/// The connector that the README says to register under `name`, as it is written but for `changed`: where the user's own
/// services are, and who may log in there.
pub(super) fn connector(name: &str, changed: &[(&str, &str)]) -> Value {
    let readme = fs::read_to_string(repository::path("README.md")).expect("text");
    let blocks = readme.split("```json\n").skip(1);
    let mut found = blocks
        .map(|block| block.split("```").next().unwrap_or_default())
        .map(|block| serde_json::from_str::<Value>(block).expect("what the README calls JSON"))
        .filter(|connector| connector["name"] == name);
    let mut connector = found.next().expect("the README has the connector");
    assert_eq!(found.next(), None, "the README has {name} twice");
    for (key, value) in changed {
        let is_place = [
            "hostname",
            "port",
            "user",
            "password",
            "dbname",
            "bootstrap.servers",
        ]
        .iter()
        .any(|end| key.ends_with(end));
        assert!(is_place, "{key} says more than where the services are");
        let written = &mut connector["config"][*key];
        assert!(written.is_string(), "the README's {name} has no {key}");
        *written = json!(value);
    }
    connector
}

/// The rights that the README says the connector's user needs on MySQL and MariaDB.
pub(super) fn rights() -> String {
    let readme = fs::read_to_string(repository::path("README.md")).expect("text");
    let (_, after) = readme.split_once("the user needs").expect("the sentence");
    let rights = after
        .trim_start()
        .strip_prefix('`')
        .expect("a list in code");
    rights.split('`').next().unwrap_or_default().to_owned()
}

/// Splits as a shell does.
fn words(arguments: &str) -> Vec<String> {
    let script = format!("printf '%s\\n' {arguments}");
    let printed = process::run(Command::new("sh").args(["-c", &script])).expect("a shell");
    printed.lines().map(str::to_owned).collect()
}
