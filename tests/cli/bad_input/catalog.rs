//! The Iceberg catalog's SQLite file.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::skip::{Missing, Need};
use tests::{debian, need};

use super::super::case::{Case, FILE, ICEBERG_TABLE, SHIPPED_ROWS, assert_says};

#[test]
fn a_file_that_is_no_sqlite_database_is_refused_and_left_alone() {
    let text = "this is not a database, not at all. ".repeat(100);
    let case = Case::iceberg().file("warehouse/catalog.db", &text);
    case.runs(
        2,
        &[
            "error: cannot read the catalog: the file is no intact SQLite database",
            "warehouse/catalog.db\n",
            "\n  next: Restore it from a backup, or name another file.",
        ],
    );
    assert_eq!(
        std::fs::read_to_string(case.path("warehouse/catalog.db")).unwrap(),
        text
    );
}

#[test]
fn a_folder_in_the_catalogs_place_is_refused() {
    Case::iceberg().folder("warehouse/catalog.db").runs(
        2,
        &[
            "error: the catalog's path is a folder",
            "warehouse/catalog.db\n",
            "\n  expected: a SQLite file, or a path where one can be made",
        ],
    );
}

#[test]
fn a_file_in_the_warehouses_place_is_refused() {
    let case = Case::iceberg().file("warehouse", "something else");
    case.runs(
        2,
        &[
            "error: the warehouse's path is a file",
            "/warehouse\n",
            "\n  expected: a folder, or a path where one can be made",
        ],
    );
    assert_eq!(
        std::fs::read_to_string(case.path("warehouse")).unwrap(),
        "something else"
    );
}

#[test]
fn a_warehouse_that_cannot_be_made_is_refused() {
    let mut case = Case::iceberg().file("occupied", "");
    let inside = case.path("occupied/warehouse").display().to_string();
    case = case.env("WAREHOUSE", &inside);
    case.runs(2, &["error: ", "occupied", "a file", "\n  next: "]);
}

#[test]
fn a_database_that_is_no_catalog_is_refused_at_once() {
    let python = need!(python());
    let case = Case::iceberg().folder("warehouse");
    sqlite(&python, &case, "CREATE TABLE iceberg_tables (a INTEGER)");
    case.runs(
        2,
        &[
            "the tables in this database are not those of an Iceberg catalog",
            "warehouse/catalog.db\n",
            "\n  next: Name another file",
        ],
    );
}

#[test]
fn another_catalog_name_finds_nothing_and_says_why() {
    let case = Case::iceberg();
    case.runs(0, &[]);
    let case = case.edit("name: iceberg\n", "name: other\n");
    let outcome = case.call(&["sql", FILE, "-c", "SELECT 1 FROM other.analytics.customers"]);
    assert_says(
        &outcome,
        2,
        &[
            "error: `other.analytics.customers` is not there yet: there is no Iceberg table",
            "warehouse/catalog.db\n",
            "\n  next: run the pipeline first",
            "the catalog's name",
        ],
    );
}

#[test]
fn a_catalog_that_another_process_locks_is_waited_for() {
    let python = need!(python());
    let case = Case::iceberg();
    case.runs(0, &[]);
    let mut lines = case.lines();
    let last = lines
        .last()
        .unwrap()
        .replace("\"offset\": 1726", "\"offset\": 1727");
    lines.push(last);
    let case = case.messages(&lines);
    let holder = Holder::lock(&python, &case);
    let running = case.start();
    let told = tests::wait::until(Duration::from_secs(60), || {
        running
            .stderr()
            .contains("another process holds its lock")
            .then_some(())
    });
    assert!(
        told.is_some(),
        "it does not say why it waits:\n{}",
        running.stderr()
    );
    holder.release();
    let outcome = running.finish(Duration::from_secs(60));
    assert_says(&outcome, 0, &["catalog.db"]);
    assert!(case.rows(ICEBERG_TABLE) >= SHIPPED_ROWS);
    case.runs(0, &["nothing to do"]);
}

/// Python, whose standard library has another SQLite.
fn python() -> Result<PathBuf, Missing> {
    debian::program("python3", &[], &["python3"], Need::Python)
}

/// Another process that holds the catalog's exclusive lock until it is told to let go.
struct Holder(std::process::Child);

impl Holder {
    fn lock(python: &Path, case: &Case) -> Self {
        let script = "import sqlite3, sys\n\
            c = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
            c.execute('BEGIN EXCLUSIVE')\n\
            print('locked', flush=True)\n\
            sys.stdin.read()\n\
            c.execute('ROLLBACK')";
        let mut child = Command::new(python)
            .args(["-c", script])
            .arg(case.path("warehouse/catalog.db"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut said, &mut line).unwrap();
        assert_eq!(line, "locked\n");
        Self(child)
    }

    fn release(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

fn sqlite(python: &Path, case: &Case, statement: &str) {
    let script =
        "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute(sys.argv[2])\nc.commit()";
    let status = Command::new(python)
        .args(["-c", script])
        .arg(case.path("warehouse/catalog.db"))
        .arg(statement)
        .status();
    assert!(status.unwrap().success());
}
