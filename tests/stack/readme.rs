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
fn the_queries_of_the_readme_answer_as_it_says() {
    let readme = fs::read_to_string(repository::path("README.md")).expect("text");
    let asked = readme
        .split_once("\n## Ask your change feeds\n")
        .and_then(|(_, rest)| rest.split_once("\n## "))
        .map(|(section, _)| section)
        .expect("the section");
    let warehouse = tempfile::tempdir().expect("a temporary folder");
    let (_, run) = asked.split_once("after `engine ").expect("the run");
    let (run, _) = run.split_once('`').expect("its end");
    Engine::new(words(run))
        .env("WAREHOUSE", warehouse.path())
        .run(RUN)
        .expect_code(0);
    let mut answers = 0;
    for block in asked.split("```sql\n").skip(1) {
        let (query, rest) = block.split_once("```\n").expect("the query's end");
        let answer = rest
            .split_once("```text\n")
            .and_then(|(_, rest)| rest.split_once("```\n"))
            .map(|(answer, _)| answer)
            .expect("an answer");
        let said = Engine::new(["sql", "-c", query])
            .env("WAREHOUSE", warehouse.path())
            .run(RUN)
            .expect_code(0);
        assert_eq!(said.stdout, answer, "of\n{query}");
        answers += 1;
    }
    assert_eq!(answers, 5);

    // The last column is when the run was.
    let untimed = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.contains('|'));
        let columns = lines.map(|line| line.rsplit_once('|').map_or(line, |(rest, _)| rest));
        columns.map(str::to_owned).collect()
    };
    let (_, changes) = asked.split_once("\nengine changes ").expect("the command");
    let (arguments, rest) = changes.split_once('\n').expect("its end");
    let (_, answer) = rest.split_once("```text\n").expect("an answer");
    let (answer, _) = answer.split_once("```").expect("its end");
    let said = Engine::new(words(&format!("changes {arguments}")))
        .env("WAREHOUSE", warehouse.path())
        .run(RUN)
        .expect_code(0);
    assert_eq!(untimed(&said.stdout), untimed(answer));
    assert_eq!(untimed(answer).len(), 3);
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

/// Splits as a shell does.
fn words(arguments: &str) -> Vec<String> {
    let script = format!("printf '%s\\n' {arguments}");
    let printed = process::run(Command::new("sh").args(["-c", &script])).expect("a shell");
    printed.lines().map(str::to_owned).collect()
}
