//! The command line, as data. What each command does is in `command`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::spec::{duration, nearest};

/// Change-data-capture pipelines in SQL: Debezium events from Kafka into Delta Lake and Apache Iceberg, exactly once.
#[derive(Debug, Parser)]
#[command(
    name = "engine",
    version,
    about,
    max_term_width = 110,
    arg_required_else_help = true
)]
#[command(after_help = "\
Examples:
  engine run pipelines/customers.yaml --once      drain what is there, then exit
  engine run pipelines                            run every pipeline of a folder until SIGTERM
  engine validate pipelines/customers.yaml        check the file and its SQL without touching a table
  engine sql -c 'SELECT count(*) FROM iceberg.analytics.customers'
  engine changes customers --from 3 --to 7        what the versions 3 to 7 of a table changed
  engine maintain pipelines --dry-run             what compaction and expiry would do to every pipeline's table

Exit codes: 0 ok, 2 bad configuration or SQL, 3 cannot connect or write, 4 stopped by a data policy,
5 another engine owns the table, 70 a bug.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run pipelines: read changes, transform them, commit them to their tables.
    ///
    /// A pipeline goes on where its table says it stopped. SIGTERM or Ctrl-C finishes the batch, commits it and exits 0.
    Run(RunArgs),
    /// Check pipeline files: keys, environment, SQL, rules, and that the result fits the target format.
    Validate(ValidateArgs),
    /// Show what a pipeline would do: the columns it decodes, its plan, the table it writes.
    Explain(ExplainArgs),
    /// Query what pipelines wrote, and their sources.
    ///
    /// On a terminal it is a prompt; statements that are piped in, or given with -c or -f, run one after another until the first
    /// error. A statement ends with `;`, the last one may do without.
    ///
    /// Tables are named `<catalog>.<namespace>.<table>` (Iceberg), `delta.<pipeline>` (Delta),
    /// `quarantine.<pipeline>` (messages set aside) and `<pipeline>.<source>` (a source, read live: use LIMIT); a bare
    /// name works where it is unique.
    #[command(after_long_help = sql_help())]
    Sql(SqlArgs),
    /// Show what changed in a Delta or Iceberg table: rows, or a report of them.
    ///
    /// TABLE is a name as `engine sql` knows it (bare where it is unique), the folder of a Delta table, or an Iceberg table's
    /// metadata file. The versions --from … --to are both included; a version is a Delta version or an Iceberg sequence number,
    /// or a time, as in '2026-11-22 10:00:00' (UTC). Within a version both images of an update stand next to each other.
    #[command(after_help = "\
Examples:
  engine changes customers --from 3 --to 7          the changes of the versions 3 to 7, by row
  engine changes delta.orders --from '2026-11-22 10:00:00' --type delete --columns order_id
  engine changes customers --key customer_id=42     what became of one row
  engine changes customers --report table           rows, files and keys by version
  engine changes ./warehouse/orders --follow        new changes as they are committed, until Ctrl-C")]
    Changes(ChangesArgs),
    /// Keep tables fast: compact small files and files with many deleted rows, expire old snapshots, delete files nobody needs.
    ///
    /// One full pass over the table of each pipeline, also beside engines that write to it, and whatever `maintenance.enabled` says.
    /// Rows, positions and change feeds stay as they are. Nothing younger than `maintenance.retention` (7 days) is removed, and
    /// nothing that a registered reader still needs.
    Maintain(MaintainArgs),
}

/// Which pipeline files, and what to change in them.
#[derive(Debug, Clone, Args)]
pub struct FileArgs {
    /// Pipeline files, or folders of `*.yaml` and `*.yml` files.
    #[arg(required = true, value_name = "FILE|DIR")]
    pub files: Vec<PathBuf>,
    /// Set a value of the pipeline file, e.g. `--set pipeline.batch.max_records=1000`. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub sets: Vec<(String, String)>,
}

/// `engine run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The files.
    #[command(flatten)]
    pub files: FileArgs,
    /// Read up to the ends that the topics have now, commit, and exit.
    #[arg(long)]
    pub once: bool,
}

/// `engine validate`.
#[derive(Debug, Clone, Args)]
pub struct ValidateArgs {
    /// The files.
    #[command(flatten)]
    pub files: FileArgs,
    /// Ask the brokers for a message whose schema tells the columns, where `source.columns` does not, and an Iceberg REST
    /// catalog whether it knows us and the table can be reached.
    #[arg(long)]
    pub connect: bool,
    /// Print the whole file as it takes effect, defaults included.
    #[arg(long)]
    pub show_defaults: bool,
}

/// `engine explain`.
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// The pipeline file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Set a value of the pipeline file.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub sets: Vec<(String, String)>,
}

/// `engine sql`.
#[derive(Debug, Clone, Args)]
pub struct SqlArgs {
    /// Pipeline files or folders whose tables can be named [default: ./pipelines].
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Run these statements or backslash commands, and exit.
    #[arg(
        short = 'c',
        long = "command",
        value_name = "SQL",
        conflicts_with = "script"
    )]
    pub command: Option<String>,
    /// Run the statements and commands of this file, and exit.
    #[arg(short = 'f', long = "file", value_name = "SCRIPT")]
    pub script: Option<PathBuf>,
    /// How results are printed. json is one array a query, and for what never ends an object a line; in a table, a missing value
    /// is NULL; in csv, an empty field. Times are RFC 3339.
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub format: OutputFormat,
    /// Write results to this file instead of standard output; parquet needs it, and takes one query.
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `engine changes`.
#[derive(Debug, Clone, Args)]
pub struct ChangesArgs {
    /// The table: its name, the folder of a Delta table, or the metadata file of an Iceberg table.
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// Pipeline files or folders whose tables can be named [default: ./pipelines].
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The first version, or a time: the first version committed then or later [default: the oldest that can be read].
    #[arg(long, value_name = "VERSION|TIME", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// The last version, or a time: the last version committed then or earlier [default: the newest].
    #[arg(long, value_name = "VERSION|TIME", allow_hyphen_values = true)]
    pub to: Option<String>,
    /// Show new versions as they are committed, from --from on, or those that come after the newest.
    #[arg(long, conflicts_with_all = ["to", "report"])]
    pub follow: bool,
    /// Only changes of rows with this value; may be repeated, and all must hold.
    #[arg(long = "key", value_name = "COLUMN=VALUE", value_parser = column_value)]
    pub keys: Vec<(String, String)>,
    /// Only these changes.
    #[arg(long = "type", value_name = "TYPE", value_enum, value_delimiter = ',')]
    pub types: Vec<ChangeType>,
    /// Only these columns of the row; what is said of the change comes in any case.
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// Print figures by version instead of rows: changes by kind, distinct keys, files, bytes.
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with_all = ["columns", "format"])]
    pub report: Option<ReportFormat>,
    /// How rows are printed.
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub format: OutputFormat,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// A line a version, and their total.
    Table,
    /// One JSON object.
    Json,
}

/// What a change is, by Delta's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ChangeType {
    /// A row that is new.
    Insert,
    /// A row before an update.
    #[value(name = "update_preimage")]
    UpdatePreimage,
    /// A row after an update.
    #[value(name = "update_postimage")]
    UpdatePostimage,
    /// A row that is gone.
    Delete,
}

impl ChangeType {
    /// Its word in `_change_type`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::UpdatePreimage => "update_preimage",
            Self::UpdatePostimage => "update_postimage",
            Self::Delete => "delete",
        }
    }
}

/// `engine maintain`.
#[derive(Debug, Clone, Args)]
pub struct MaintainArgs {
    /// The files.
    #[command(flatten)]
    pub files: FileArgs,
    /// Only print what would be done.
    #[arg(long)]
    pub dry_run: bool,
    /// Keep everything that is younger than this, in place of what the file says: 12h, 30d. Shorter than the file's needs
    /// --shorten-retention.
    #[arg(long, value_name = "DURATION", value_parser = age)]
    pub retention: Option<Duration>,
    /// Let --retention be shorter than what the file says, even 0s. Readers and time travel lose what is older, and an attempt to
    /// commit that takes longer than it loses its files.
    #[arg(long, requires = "retention")]
    pub shorten_retention: bool,
}

/// How query results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Columns side by side; on a terminal, what is too wide is cut.
    Table,
    /// One JSON array of objects a query; an object a line if it never ends.
    Json,
    /// Comma-separated values with a header.
    Csv,
    /// A Parquet file.
    Parquet,
}

impl OutputFormat {
    /// What the command line and the prompt call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }

    /// The format called `name`.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] for another name.
    pub fn named(name: &str) -> sql::Result<Self> {
        let known = Self::value_variants().iter().copied();
        let names: Vec<&str> = Self::value_variants().iter().map(|f| f.name()).collect();
        known
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| {
                let error = sql::Error::config(format!("there is no format `{name}`"))
                    .expected(format!("one of {}", names.join(", ")));
                match nearest(name, names) {
                    Some(near) => error.remedy(format!("did you mean `{near}`?")),
                    None => error.remedy("choose one of them: \\format NAME"),
                }
            })
    }
}

/// What `engine sql --help` says of the prompt.
fn sql_help() -> String {
    format!(
        "Commands, at the prompt, in files and in pipes, where no statement has begun:\n{}\n\
         Ctrl-C stops a query, and clears a line. TAB completes keywords, tables, columns and functions. The history is kept in\n\
         $ENGINE_HISTORY, or engine/history in $XDG_STATE_HOME or ~/.local/state. NO_COLOR=1: no colours.",
        sql::repl::help()
    )
}

fn age(text: &str) -> Result<Duration, String> {
    match text.trim() {
        "0" | "0s" => Ok(Duration::ZERO),
        text => duration(text).ok_or_else(|| {
            format!("`{text}` is no duration: a whole number and a unit, such as 30m, 12h, 7d")
        }),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("`{text}` is not KEY=VALUE, e.g. pipeline.batch.max_records=1000"))
}

fn column_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(column, _)| !column.is_empty())
        .map(|(column, value)| (column.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("`{text}` is not COLUMN=VALUE, e.g. customer_id=42"))
}
