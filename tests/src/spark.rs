//! Apache Spark as an independent reader of what the engine wrote: Delta tables and their change feed by Delta's own
//! library, Iceberg tables by Iceberg's own, through the JDBC catalog. As another writer of the same tables
//! ([`Session`]). And as the peer that the engine is compared with:
//! the customers job as a Structured Streaming query.

mod talk;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::jdk;
use crate::kafka::Broker;
use crate::maven;
use crate::process;
use crate::python::{self, Location, Table};
use crate::repository;
use crate::skip::Missing;

pub use talk::{Ran, Session};

/// Each alone: Spark's own pom names a mirror that others cannot reach, and `pyspark` brings what these need.
const JARS: [&str; 4] = [
    "org.apache.iceberg:iceberg-spark-runtime-4.0_2.13:1.10.1",
    "io.delta:delta-spark_2.13:4.0.0",
    "io.delta:delta-storage:4.0.0",
    "org.xerial:sqlite-jdbc:3.46.1.3",
];

/// Part of the cache's entry: count it up when [`JARS`] changes.
const JARS_ENTRY: &str = "spark-jars-4.0.1-a";

/// What Spark needs to read from Kafka, each alone too.
const KAFKA_JARS: [&str; 4] = [
    "org.apache.spark:spark-sql-kafka-0-10_2.13:4.0.1",
    // There is no 4.0.1 of it.
    "org.apache.spark:spark-token-provider-kafka-0-10_2.13:4.0.0",
    "org.apache.kafka:kafka-clients:3.9.1",
    "org.apache.commons:commons-pool2:2.12.0",
];

/// Part of the cache's entry: count it up when [`KAFKA_JARS`] changes.
const KAFKA_JARS_ENTRY: &str = "spark-kafka-jars-4.0.1-a";

/// What Spark is asked for.
#[derive(Debug, Clone)]
pub struct View<'a> {
    location: &'a Location,
    without: Vec<&'a str>,
    changes_from: Option<u64>,
}

impl<'a> View<'a> {
    /// The table as it is now.
    pub fn table(location: &'a Location) -> Self {
        Self {
            location,
            without: Vec::new(),
            changes_from: None,
        }
    }

    /// The change feed of a Delta table from a version on, with `_change_type` and `_commit_version`, without
    /// `_commit_timestamp`.
    ///
    /// # Panics
    /// If it is no Delta table.
    pub fn changes(location: &'a Location, from: u64) -> Self {
        assert!(
            matches!(location, Location::Delta(_)),
            "only Delta tables have a change feed"
        );
        Self {
            changes_from: Some(from),
            ..Self::table(location)
        }
    }

    /// Without columns. Spark refuses an Iceberg table's `_partition`, which Iceberg reserves.
    #[must_use]
    pub fn without(mut self, columns: &[&'a str]) -> Self {
        self.without.extend(columns);
        self
    }

    fn request(&self) -> Value {
        let mut request = match self.location {
            Location::Delta(path) => json!({"format": "delta", "path": path}),
            Location::Iceberg {
                catalog,
                name,
                table,
            } => json!({"format": "iceberg", "catalog": catalog, "name": name, "table": table}),
        };
        request["without"] = json!(self.without);
        request["changes_from"] = json!(self.changes_from);
        request
    }
}

/// A Spark that can be started, on two threads with 1 GB of heap: one for each call but for [`Spark::talk`].
#[derive(Debug)]
pub struct Spark {
    python: PathBuf,
    jars: PathBuf,
    java_home: PathBuf,
}

impl Spark {
    /// Spark in a virtual environment of its own, made if it is not in the cache.
    ///
    /// # Errors
    /// [`Missing`] if Java 17 to 21, Python or the packages cannot be had here.
    pub fn ready() -> Result<Self, Missing> {
        let java = jdk::java("Spark 4.0", &(17..=21))?;
        Ok(Self {
            java_home: jdk::home(&java),
            python: python::environment("spark", "tests/readers/spark_requirements.txt")?,
            jars: maven::alone(JARS_ENTRY, &JARS)?,
        })
    }

    /// Reads tables, all in one session: a start takes longer than a read.
    ///
    /// # Panics
    /// With what Spark said if it cannot.
    pub fn read(&self, views: &[View<'_>]) -> Vec<Table> {
        let requests = views.iter().fold(String::new(), |mut lines, view| {
            writeln!(lines, "{}", view.request()).expect("text");
            lines
        });
        let folder = TempDir::with_prefix("engine-spark-").expect("a temporary folder");
        let file = folder.path().join("requests.jsonl");
        std::fs::write(&file, requests).expect("a temporary folder is writable");
        let mut script = self.script("tests/readers/read_spark.py", folder.path(), &[&self.jars]);
        let mut printed = python::lines(script.arg(&file)).into_iter();
        let tables: Vec<Table> = views
            .iter()
            .map(|_| {
                let header = printed.next().expect("a header for each table");
                let rows = header["rows"].as_u64().expect("a number of rows");
                let rows = usize::try_from(rows).expect("a number of rows");
                Table::new(header, printed.by_ref().take(rows).collect())
            })
            .collect();
        assert_eq!(printed.next(), None, "more than was asked for");
        tables
    }

    /// Makes the Delta tables of `readers/make_delta_tables.py` in `folder`, and beside each what changed in it.
    ///
    /// # Panics
    /// With what Spark said if it cannot.
    pub fn make_delta_tables(&self, folder: &Path) {
        let local = TempDir::with_prefix("engine-spark-").expect("a temporary folder");
        let script = "tests/readers/make_delta_tables.py";
        let mut script = self.script(script, local.path(), &[&self.jars]);
        python::lines(script.arg(folder));
    }

    /// Runs the customers job as a Structured Streaming query until `topic` is drained: into the table
    /// `analytics.customers` of the catalog `iceberg`, the file `catalog.db` in `warehouse`. It goes on where an earlier
    /// run ended.
    ///
    /// # Errors
    /// [`Missing`] if the jars that read from Kafka cannot be had here.
    ///
    /// # Panics
    /// With what Spark said if it cannot.
    pub fn stream_customers(
        &self,
        broker: &Broker,
        topic: &str,
        warehouse: &Path,
    ) -> Result<Streamed, Missing> {
        let kafka = maven::alone(KAFKA_JARS_ENTRY, &KAFKA_JARS)?;
        let folder = TempDir::with_prefix("engine-spark-").expect("a temporary folder");
        let mut script = self.script(
            "tests/readers/stream_spark.py",
            folder.path(),
            &[&self.jars, &kafka],
        );
        script.args([broker.bootstrap(), topic]).arg(warehouse);
        let printed = python::lines(&mut script);
        let [figures] = &printed[..] else {
            panic!("one line of figures: {printed:?}");
        };
        Ok(Streamed {
            records: figures["records"].as_u64().expect("a number"),
            batches: figures["batches"].as_u64().expect("a number"),
            seconds: figures["seconds"].as_f64().expect("a number"),
        })
    }

    /// A script of the clone in Spark's environment; everything that Spark leaves behind goes to `folder`.
    /// Makes Iceberg tables with histories in `folder`, and what each of their snapshots holds: see `make_iceberg_tables.py`.
    ///
    /// # Panics
    /// With what Spark said if it cannot.
    pub fn make_iceberg_tables(&self, folder: &Path) {
        let own = TempDir::with_prefix("engine-spark-").expect("a temporary folder");
        let script = "tests/readers/make_iceberg_tables.py";
        let mut script = self.script(script, own.path(), &[&self.jars]);
        if let Err(said) = process::run(script.arg(folder)) {
            panic!("Spark cannot make the tables: {said}");
        }
    }

    fn script(&self, script: &str, folder: &Path, jars: &[&Path]) -> Command {
        let jars = std::env::join_paths(jars).expect("paths without colons");
        let mut command = Command::new(&self.python);
        command
            .current_dir(folder)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("JAVA_HOME", &self.java_home)
            .env("SPARK_JARS", jars)
            .env("SPARK_LOCAL_DIRS", folder)
            // The environment's own Spark, not another one of this machine.
            .env_remove("SPARK_HOME")
            .env("TZ", "UTC")
            .arg(repository::path(script));
        command
    }
}

/// What a query of [`Spark::stream_customers`] did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Streamed {
    /// Records that it read, tombstones too.
    pub records: u64,
    /// Batches that it committed.
    pub batches: u64,
    /// From the query's start to its end, without the start of the JVM.
    pub seconds: f64,
}
