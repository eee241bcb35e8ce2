//! The SQL of `engine sql`, golden: each `cases/*.slt` is a test.
//!
//! A case is records, separated by empty lines; `#` starts a comment. All of them share one session over the two tables of
//! [`items`]: `delta.items_delta` and `lake.shop.items`, in each of which every commit is known.
//!
//! ```text
//! statement              succeeds, and returns nothing
//! query                  its rows, as CSV with a header
//! sorted                 as `query`, for what has no order
//! plan                   what the physical plan reads, filters and sorts
//! error                  what it says: each line must stand in the report
//! <SQL, one line or more>
//! ----
//! <what is expected, but for `statement`>
//! ```
//!
//! `{folder}` is the folder of the case, in SQL and in what is expected. `ENGINE_BLESS=1` writes what was seen into the files,
//! to be read before it is kept.

mod changes;
mod items;
mod plans;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use engine::command::query::{Queries, cannot_run};
use engine::command::tables::KnownTables;
use futures::TryStreamExt;
use sql::Error;
use sql::function::table::TableFunction;
use sql::plan::Script;
use tests::repository;

use items::Items;

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_their_changes() {
    case("changes.slt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn iceberg_alike() {
    case("iceberg.slt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_files_and_positions() {
    case("versions.slt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn external_tables() {
    case("external.slt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused() {
    case("refused.slt").await;
}

#[test]
fn every_case_is_a_test() {
    let folder = repository::root().join("tests/slt/cases");
    let tests = include_str!("mod.rs");
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(tests.contains(&format!("case(\"{name}\")")), "{name}");
    }
}

#[test]
fn every_function_is_in_the_manual() {
    let manual = repository::root().join("docs/change-feeds.md");
    let manual = fs::read_to_string(manual).unwrap().replace("\\|", "|");
    for function in TableFunction::ALL {
        assert_eq!(TableFunction::named(function.name()), Some(function));
        let usage = function.usage();
        assert!(
            usage.starts_with(&format!("{}(", function.name())),
            "{usage}"
        );
        assert!(manual.contains(&format!("| `{usage}` |")), "{usage}");
    }
}

async fn case(name: &str) {
    let file = repository::root().join("tests/slt/cases").join(name);
    let text = fs::read_to_string(&file).unwrap();
    let items = Items::shared();
    let tables = KnownTables::of(&[items.folder().to_owned()]).unwrap();
    let queries = Queries::new(tables);
    let mut seen = String::new();
    let mut wrong = Vec::new();
    for record in text.split("\n\n") {
        let record = record.trim_matches('\n');
        let commands = record.lines().filter(|line| !line.starts_with('#'));
        let Some(kind) = commands.clone().next() else {
            writeln!(seen, "{record}\n").unwrap();
            continue;
        };
        let head: Vec<&str> = record.lines().take_while(|line| *line != "----").collect();
        let sql: Vec<&str> = head
            .iter()
            .copied()
            .filter(|line| !line.starts_with('#'))
            .skip(1)
            .collect();
        let expected = record.split_once("\n----\n").map_or("", |(_, rest)| rest);
        let sql = items.filled(&sql.join("\n"));
        let answer = run(&queries, &sql).await;
        let got = items.emptied(&shown(kind, answer));
        let fits = match kind {
            "error" => {
                !expected.is_empty() && expected.lines().all(|line| got.contains(line.trim()))
            }
            _ => got.trim_end() == expected.trim_end(),
        };
        if !fits {
            wrong.push(format!("{kind}\n{sql}\nexpected\n{expected}\ngot\n{got}"));
        }
        writeln!(seen, "{}", head.join("\n")).unwrap();
        let kept = if kind == "error" && fits {
            expected
        } else {
            &got
        };
        match kind {
            "statement" => writeln!(seen).unwrap(),
            _ => writeln!(seen, "----\n{}\n", kept.trim_end()).unwrap(),
        }
    }
    if std::env::var_os("ENGINE_BLESS").is_some() {
        return fs::write(&file, format!("{}\n", seen.trim_end())).unwrap();
    }
    assert!(
        wrong.is_empty(),
        "{}:\n{}",
        file.display(),
        wrong.join("\n\n")
    );
}

async fn run(queries: &Queries, sql: &str) -> Result<Vec<RecordBatch>, Error> {
    let script = Script::new(sql);
    let statements = DFParserBuilder::new(script.text())
        .with_dialect(&GenericDialect {})
        .build()
        .and_then(|mut parser| parser.parse_statements());
    let mut statements: Vec<Statement> = script.result(statements)?.into();
    assert_eq!(statements.len(), 1, "one statement a record: {sql}");
    let running = queries.start(statements.remove(0), &script).await?;
    let schema = running.schema;
    let mut rows: Vec<RecordBatch> = running.stream.try_collect().await.map_err(cannot_run)?;
    if rows.is_empty() {
        rows.push(RecordBatch::new_empty(schema));
    }
    Ok(rows)
}

fn shown(kind: &str, answer: Result<Vec<RecordBatch>, Error>) -> String {
    let rows = match (kind, answer) {
        ("error", Err(error)) => return error.report(),
        (_, Err(error)) => return error.report(),
        (_, Ok(rows)) => rows,
    };
    match kind {
        "plan" => plan(&rows),
        "sorted" => {
            let text = csv(&rows);
            let mut lines: Vec<&str> = text.lines().collect();
            let mut rows = lines.split_off(1.min(lines.len()));
            rows.sort_unstable();
            [lines, rows].concat().join("\n")
        }
        _ if rows.iter().all(|batch| batch.num_columns() == 0) => String::new(),
        _ => csv(&rows),
    }
}

fn csv(rows: &[RecordBatch]) -> String {
    let mut text = Vec::new();
    let mut writer = arrow::csv::WriterBuilder::new()
        .with_null("NULL".into())
        .build(&mut text);
    for batch in rows {
        writer.write(batch).unwrap();
    }
    drop(writer);
    String::from_utf8(text).unwrap()
}

/// What the physical plan of an `EXPLAIN` reads, filters and sorts. How work is dealt out depends on the machine.
fn plan(rows: &[RecordBatch]) -> String {
    const SHOWN: [&str; 5] = [
        "ChangesExec",
        "SourceExec",
        "EmptyExec",
        "FilterExec",
        "SortExec",
    ];
    for batch in rows {
        let kinds = batch.column(0).as_string::<i32>();
        let plans = batch.column(1).as_string::<i32>();
        for (kind, plan) in kinds.iter().zip(plans) {
            if kind == Some("physical_plan") {
                let nodes = plan.unwrap().lines().map(str::trim);
                let nodes = nodes.filter(|node| SHOWN.iter().any(|name| node.starts_with(name)));
                return nodes.collect::<Vec<_>>().join("\n");
            }
        }
    }
    panic!("a record of kind `plan` is no EXPLAIN")
}

/// A folder's path as text.
fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
