//! Pipelines into an Iceberg REST catalog: the real binary, Apache's server, two readers that are not ours.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tests::engine::{Engine, Outcome};
use tests::meddler::{Fault, Meddler};
use tests::proxy::Cutter;
use tests::python::Readers;
use tests::rest_catalog::Catalog;
use tests::{capture, need, ports, repository, wait};

use super::account;

const RUN: Duration = Duration::from_secs(300);
const SOON: Duration = Duration::from_secs(60);

/// A pipeline file in a folder of its own.
struct Pipeline {
    folder: TempDir,
}

impl Pipeline {
    /// The shipped customers pipeline, which appends, into the catalog at `url`.
    fn shipped(url: &str) -> Self {
        let text = fs::read_to_string(repository::path("pipelines/customers.yaml"))
            .expect("a shipped pipeline");
        let start = text.find("  catalog:\n").expect("its catalog");
        let end = start + text[start..].find("  table:").expect("its table");
        let messages = repository::path("pipelines/data/customers.jsonl");
        let text = format!("{}{}{}", &text[..start], catalog(url), &text[end..]);
        let messages = format!("file:{}", messages.display());
        Self::of(&text.replace("file:data/customers.jsonl", &messages))
    }

    /// The captured customers, kept by key.
    fn upsert(url: &str) -> Self {
        let messages = repository::path("tests/fixtures/customers.jsonl");
        Self::of(&format!(
            "pipeline: {{ name: customers }}
source:
  type: kafka
  name: customers
  bootstrap_servers: file:{}
  topics: [postgres.public.customers]
  columns: |
    customer_id BIGINT NOT NULL PRIMARY KEY, email TEXT, first_name TEXT, last_name TEXT, phone TEXT, city TEXT,
    state TEXT, country TEXT, tier TEXT, lifetime_value DECIMAL(12,2), created_at TIMESTAMPTZ, updated_at TIMESTAMP(6)
sink:
  type: iceberg
{}  table: live.customers
  mode: upsert
",
            messages.display(),
            catalog(url)
        ))
    }

    fn of(text: &str) -> Self {
        let folder = TempDir::with_prefix("engine-rest-").expect("a temporary folder");
        fs::write(folder.path().join("p.yaml"), text).expect("a temporary folder is writable");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn engine(&self, arguments: &[&str]) -> Engine {
        Engine::new(arguments.iter().copied())
            .current_dir(self.folder.path())
            .env("WAREHOUSE", self.path("warehouse"))
    }

    fn run(&self, batch: usize) -> Outcome {
        self.once(batch).run(RUN)
    }

    fn once(&self, batch: usize) -> Engine {
        let batch = format!("pipeline.batch.max_records={batch}");
        self.engine(&["run", "--once", "p.yaml", "--set", &batch])
    }
}

/// The catalog's block. The rejects go beside the pipeline's file: the server's warehouse is not the pipeline's.
fn catalog(url: &str) -> String {
    format!("  catalog: {{ type: rest, uri: \"{url}\", warehouse: \"file://${{WAREHOUSE}}\" }}\n")
}

/// Both readers' rows of `table`, which agree.
fn read(catalog: &Catalog, readers: &Readers, table: &str) -> Vec<Value> {
    let by_pyiceberg = catalog.read(readers, table);
    let by_duckdb = catalog.read_by_duckdb(readers, table);
    assert_eq!(by_pyiceberg.version, by_duckdb.version);
    assert_eq!(by_pyiceberg.rows, by_duckdb.rows, "two readers disagree");
    by_pyiceberg.rows
}

fn holds_every_change_once(rows: Vec<Value>, readers: &Readers) {
    let messages = repository::path("pipelines/data/customers.jsonl");
    account::assert_each_once(&capture::read(&messages), &rows, &[]);
    let rows = account::without_ingestion_time(rows);
    account::assert_same_rows("REST", &rows, &readers.reference(&messages));
}

/// `SELECT *` of the database at the end of the capture: email, tier and value by id.
fn expected() -> BTreeMap<String, [String; 3]> {
    let text = fs::read_to_string(repository::path("tests/fixtures/customers.expected.csv"))
        .expect("the fixture");
    let rows = text.lines().skip(1).map(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        (
            cells[0].to_owned(),
            [1, 8, 9].map(|at| cells[at].to_owned()),
        )
    });
    rows.collect()
}

fn equals_the_database(rows: &[Value]) {
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let found: BTreeMap<_, _> = rows
        .iter()
        .map(|row| {
            let cells = ["email", "tier", "lifetime_value"].map(|name| text(row, name));
            (row["customer_id"].to_string(), cells)
        })
        .collect();
    assert_eq!(found.len(), rows.len(), "a key is there twice");
    assert_eq!(found, expected());
}

#[test]
fn every_change_is_appended_once_and_a_second_run_adds_nothing() {
    let readers = need!(Readers::ready());
    let catalog = need!(Catalog::start());
    let pipeline = Pipeline::shipped(catalog.url());
    pipeline
        .engine(&["validate", "--connect", "p.yaml"])
        .run(SOON)
        .expect_code(0);
    pipeline.run(50_000).expect_code(0);
    let rows = read(&catalog, &readers, "analytics.customers");
    holds_every_change_once(rows, &readers);
    let place = catalog.load("analytics.customers")["metadata-location"].take();
    pipeline
        .run(50_000)
        .expect_code(0)
        .expect_words(&["nothing to do"]);
    let after = catalog.load("analytics.customers")["metadata-location"].take();
    assert_eq!(place, after, "a run without changes makes no commit");
    let counted = pipeline
        .engine(&[
            "sql",
            "p.yaml",
            "--format",
            "csv",
            "-c",
            "SELECT count(*) AS n FROM iceberg.analytics.customers",
        ])
        .run(SOON)
        .expect_code(0);
    assert_eq!(counted.stdout.trim(), "n\n1600");
}

#[test]
fn appends_are_exact_when_answers_get_lost() {
    let readers = need!(Readers::ready());
    let catalog = need!(Catalog::start());
    let meddler = Meddler::before(catalog.url());
    let pipeline = Pipeline::shipped(&meddler.url());
    meddler.spoil(&FAULTS);
    pipeline.run(100).expect_code(0);
    meddler.release();
    let rows = read(&catalog, &readers, "analytics.customers");
    holds_every_change_once(rows, &readers);
}

/// More than one of each, none so often that a batch fails.
const FAULTS: [Fault; 12] = [
    Fault::Lost,
    Fault::Refused(503),
    Fault::Twice,
    Fault::LostAs(500),
    Fault::Refused(409),
    Fault::Held,
    Fault::LostAs(504),
    Fault::Refused(429),
    Fault::LostAs(502),
    Fault::Held,
    Fault::Lost,
    Fault::LostAs(503),
];

#[test]
fn a_table_is_kept_equal_to_the_database_when_answers_get_lost() {
    let readers = need!(Readers::ready());
    let catalog = need!(Catalog::start());
    let meddler = Meddler::before(catalog.url());
    let pipeline = Pipeline::upsert(&meddler.url());
    meddler.spoil(&FAULTS);
    pipeline.run(200).expect_code(0);
    meddler.release();
    equals_the_database(&read(&catalog, &readers, "live.customers"));
    pipeline
        .run(200)
        .expect_code(0)
        .expect_words(&["nothing to do"]);
}

#[test]
fn a_pipeline_waits_for_its_catalog() {
    let catalog = need!(Catalog::start());
    let cutter = Cutter::before(catalog.url().trim_start_matches("http://"));
    cutter.refuse();
    let pipeline = Pipeline::shipped(&format!("http://{}", cutter.address()));
    let running = pipeline.once(50_000).start();
    let tried = wait::until(SOON, || (cutter.refused() > 2).then_some(()));
    assert!(tried.is_some(), "it does not try again: {}", running.said());
    cutter.go_on();
    running.finish(RUN).expect_code(0);
    let table = catalog.load("analytics.customers");
    let properties = &table["metadata"]["properties"];
    let position = "engine.customers.pos.postgres.public.customers.0";
    assert!(properties[position].is_string(), "{properties}");
}

#[test]
fn a_catalog_that_is_not_there_or_does_not_know_us_is_said_so() {
    let away = format!("http://127.0.0.1:{}", ports::free());
    let pipeline = Pipeline::shipped(&away);
    pipeline
        .engine(&["validate", "--connect", "p.yaml"])
        .run(SOON)
        .expect_code(3)
        .expect_words(&["cannot connect to the Iceberg REST catalog", &away]);
    let catalog = need!(Catalog::start());
    let meddler = Meddler::before(catalog.url());
    meddler.ask_for_tokens("engine:swordfish");
    let pipeline = Pipeline::shipped(&meddler.url());
    pipeline.run(50_000).expect_code(3).expect_words(&[
        "the catalog does not know who we are",
        "token",
        "next:",
    ]);
    let with_secret = |secret: &str| {
        let file = pipeline.path("p.yaml");
        let text = fs::read_to_string(&file).expect("the file");
        let text = text.replace(
            "type: rest,",
            &format!("type: rest, credential: \"{secret}\","),
        );
        fs::write(&file, text).expect("a temporary folder is writable");
    };
    with_secret("engine:${SECRET}");
    let run = |secret: &str| pipeline.once(50_000).env("SECRET", secret).run(RUN);
    let wrong = run("catfish").expect_code(3);
    assert!(!wrong.stderr.contains("catfish"), "{}", wrong.stderr);
    run("swordfish").expect_code(0);
    assert!(has_table(&catalog, Path::new("analytics/customers")));
}

fn has_table(catalog: &Catalog, folder: &Path) -> bool {
    catalog.warehouse().join(folder).join("metadata").is_dir()
}
