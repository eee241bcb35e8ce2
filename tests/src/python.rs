//! Independent readers of tables: Python scripts in `tests/readers`, each on one library that shares no code
//! with the engine's writers.

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::cache::Cache;
use crate::debian;
use crate::process;
use crate::repository;
use crate::skip::{Missing, Need};

/// A Python with the readers' libraries.
#[derive(Debug, Clone)]
pub struct Readers {
    python: PathBuf,
}

/// One independent reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Apache's Python implementation of Iceberg, through the SQL catalog.
    Pyiceberg,
    /// DuckDB's iceberg extension, from the metadata file that the catalog points at.
    DuckdbIceberg,
    /// The `deltalake` wheel: another version of the kernel.
    Deltalake,
    /// DuckDB's delta extension.
    DuckdbDelta,
}

impl Reader {
    /// Both readers of Iceberg tables.
    pub const ICEBERG: [Self; 2] = [Self::Pyiceberg, Self::DuckdbIceberg];
    /// Both readers of Delta tables.
    pub const DELTA: [Self; 2] = [Self::Deltalake, Self::DuckdbDelta];

    fn script(self) -> &'static str {
        match self {
            Self::Pyiceberg => "tests/readers/read_pyiceberg.py",
            Self::DuckdbIceberg => "tests/readers/read_duckdb_iceberg.py",
            Self::Deltalake => "tests/readers/read_deltalake.py",
            Self::DuckdbDelta => "tests/readers/read_duckdb_delta.py",
        }
    }
}

/// Where a table is.
#[derive(Debug, Clone)]
pub enum Location {
    /// A table of an Iceberg SQL catalog on SQLite.
    Iceberg {
        /// The catalog's database file.
        catalog: PathBuf,
        /// The catalog's name, a part of its keys.
        name: String,
        /// `namespace.table`.
        table: String,
    },
    /// A Delta table's folder.
    Delta(PathBuf),
}

impl Location {
    /// The readers that read it.
    pub fn readers(&self) -> [Reader; 2] {
        match self {
            Self::Iceberg { .. } => Reader::ICEBERG,
            Self::Delta(_) => Reader::DELTA,
        }
    }

    /// How many commits it has had, by the numbers of the files that only a commit makes (old ones may be gone).
    /// Reads no table, so it is cheap; 0 if there is none yet.
    pub fn commits(&self) -> u64 {
        let (folder, end) = match self {
            Self::Delta(path) => (path.join("_delta_log"), ".json"),
            Self::Iceberg { catalog, table, .. } => {
                let warehouse = catalog.parent().expect("a file is in a folder");
                let table = table.replace('.', "/");
                (warehouse.join(table).join("metadata"), ".metadata.json")
            }
        };
        let number = |name: &str| {
            let digits = name.split(|c: char| !c.is_ascii_digit()).next()?;
            name.ends_with(end).then(|| digits.parse::<u64>().ok())?
        };
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        let last = files
            .filter_map(|file| number(&file.file_name().to_string_lossy()))
            .max();
        last.map_or(0, |last| last + 1)
    }

    /// Whether there is a table yet.
    pub fn exists(&self) -> bool {
        self.commits() > 0
    }
}

/// A table as a reader saw it.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Names and types, in the reader's own words.
    pub schema: Vec<(String, String)>,
    /// What changes with every commit: Delta's version, the name of Iceberg's metadata file. The deltalake
    /// and DuckDB readers of one table say the same.
    pub version: Value,
    /// Rows as objects, sorted by `_partition` and `_offset`: decimals as text, timestamps as ISO-8601 with
    /// microseconds (`Z` where the column has a zone), nulls as null.
    pub rows: Vec<Value>,
}

impl Table {
    /// A table as `readers/canonical.py` prints it: a header with schema and version, then the rows.
    pub(crate) fn new(mut header: Value, rows: Vec<Value>) -> Self {
        let schema = serde_json::from_value(header["schema"].take()).expect("names and types");
        Self {
            schema,
            version: header["version"].take(),
            rows,
        }
    }
}

impl Readers {
    /// A virtual environment in the cache, made if it is not there.
    ///
    /// # Errors
    /// [`Missing`] if Python or the packages cannot be had here.
    pub fn ready() -> Result<Self, Missing> {
        let python = environment("readers", "tests/readers/requirements.txt")?;
        Ok(Self { python })
    }

    /// Reads a whole table.
    ///
    /// # Panics
    /// With what the reader said if it cannot.
    pub fn read(&self, reader: Reader, location: &Location) -> Table {
        let mut command = self.script(reader.script());
        match location {
            Location::Iceberg {
                catalog,
                name,
                table,
            } => {
                command.arg(catalog).args([name, table]);
            }
            Location::Delta(path) => {
                command.arg(path);
            }
        }
        self.table(&mut command)
    }

    /// The change data feed of the Delta table in `path` from version `first` on, by the deltalake wheel: rows with
    /// `_change_type`, `_commit_version` and `_commit_timestamp`.
    pub fn changes(&self, path: &Path, first: u64) -> Table {
        let mut command = self.script("tests/readers/read_changes.py");
        self.table(command.arg(path).arg(first.to_string()))
    }

    /// The version history of the Delta table in `path`, oldest first: each version's `commitInfo` as the deltalake
    /// wheel tells it.
    pub fn history(&self, path: &Path) -> Vec<Value> {
        let mut command = self.script("tests/readers/read_history.py");
        self.lines(command.arg(path)).collect()
    }

    /// The table that a script prints by `readers/canonical.py`.
    ///
    /// # Panics
    /// With what the script said if it failed.
    pub fn table(&self, command: &mut Command) -> Table {
        let mut lines = self.lines(command);
        let header = lines
            .next()
            .expect("a reader prints the table's schema first");
        Table::new(header, lines.collect())
    }

    /// What the table of the shipped customers pipelines must hold after the capture file `messages`, computed
    /// by `readers/reference.py`: the columns in the rows are the table's but for `_ingestion_timestamp`.
    pub fn reference(&self, messages: &Path) -> Vec<Value> {
        let mut command = self.script("tests/readers/reference.py");
        self.lines(command.arg(messages)).collect()
    }

    /// What the capture file `messages` amounts to for the table that `description` describes, by
    /// `readers/replay.py`, whose lines these are. `more` are its options.
    ///
    /// # Panics
    /// With what the replayer said if it cannot.
    pub fn replay(
        &self,
        messages: &Path,
        description: &Path,
        more: &[&str],
    ) -> impl Iterator<Item = Value> + use<> {
        let mut command = self.script("tests/readers/replay.py");
        self.lines(command.arg(messages).arg(description).args(more))
    }

    /// One small Iceberg and one small Delta table in `folder`, by writers that are not ours.
    pub fn write_samples(&self, folder: &Path) -> [Location; 2] {
        let mut command = self.script("tests/readers/write_samples.py");
        self.lines(command.arg(folder)).for_each(drop);
        [
            Location::Iceberg {
                catalog: folder.join("catalog.db"),
                name: "samples".to_owned(),
                table: "n.t".to_owned(),
            },
            Location::Delta(folder.join("delta")),
        ]
    }

    /// What another script of `tests/readers` prints, line by line.
    ///
    /// # Panics
    /// With what the script said if it fails.
    pub fn run<I: AsRef<OsStr>>(
        &self,
        script: &str,
        args: impl IntoIterator<Item = I>,
    ) -> Vec<Value> {
        let mut command = self.script(&format!("tests/readers/{script}"));
        self.lines(command.args(args)).collect()
    }

    /// Removes every file of the Delta table in `folder` that the table does not need.
    pub fn vacuum(&self, folder: &Path) {
        let mut command = self.script("tests/readers/vacuum.py");
        self.lines(command.arg(folder)).for_each(drop);
    }

    /// A command that runs a script of the clone, to which arguments can be added.
    pub fn script(&self, script: &str) -> Command {
        let mut command = Command::new(&self.python);
        command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg(repository::path(script));
        command
    }

    fn lines(&self, command: &mut Command) -> impl Iterator<Item = Value> + use<> {
        lines(command).into_iter()
    }
}

/// The lines of JSON that a reader prints.
///
/// # Panics
/// With what the reader said if it failed.
pub(crate) fn lines(command: &mut Command) -> Vec<Value> {
    let output = match process::run(command) {
        Ok(output) => output,
        Err(said) => panic!("an independent reader failed: {said}"),
    };
    output
        .lines()
        .map(|line| serde_json::from_str(line).expect("readers print JSON lines"))
        .collect()
}

/// The `python` of a virtual environment in the cache, made if it is not there. `requirements` is the file of the
/// clone that lists its packages: another content is another environment.
///
/// # Errors
/// [`Missing`] if Python or the packages cannot be had here.
pub(crate) fn environment(name: &str, requirements: &str) -> Result<PathBuf, Missing> {
    let requirements = repository::path(requirements);
    let mut hash = DefaultHasher::new();
    fs::read(&requirements)
        .expect("a readable file")
        .hash(&mut hash);
    let folder = Cache::open().entry(&format!("{name}-{:016x}", hash.finish()), |folder| {
        make_environment(folder, &requirements)
    })?;
    Ok(folder.join("bin/python"))
}

fn make_environment(folder: &Path, requirements: &Path) -> Result<(), Missing> {
    let python = debian::program("python3", &[], &["python3", "python3-venv"], Need::Python)?;
    if process::run(Command::new(&python).args(["-c", "import ensurepip, venv"])).is_err() {
        debian::install(&["python3-venv"], Need::Python)?;
    }
    process::run(Command::new(&python).args(["-m", "venv"]).arg(folder))
        .map_err(|said| Missing::new(Need::Python, said))?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "-q", "--disable-pip-version-check", "-r"])
        .arg(requirements);
    process::run(&mut pip)
        .map(drop)
        .map_err(|said| Missing::new(Need::Network, format!("pip could not install: {said}")))
}
