//! What each command does. Arguments are in `cli`; results go to standard output, everything else to standard error.

use sql::Result;

use crate::cli::Command;
use crate::telemetry::logs;

pub mod changes;
pub mod explain;
pub mod feed_table;
pub mod files;
pub mod functions;
pub mod maintain;
pub mod print;
pub mod query;
pub mod run;
pub mod show;
pub mod tables;
pub mod validate;

/// Does what the command line says.
///
/// # Errors
/// What goes wrong, for the caller to print and to turn into an exit code.
pub async fn execute(command: Command) -> Result<()> {
    match command {
        Command::Run(args) => run::run(args).await,
        Command::Validate(args) => validate::validate(args).await,
        Command::Explain(args) => explain::explain(args).await,
        Command::Sql(args) => query::query(args).await,
        Command::Changes(args) => changes::changes(args).await,
        Command::Maintain(args) => maintain::maintain(args).await,
    }
}

/// Warnings as plain sentences, for commands that end by themselves.
fn plain_logs() -> Result<()> {
    let filter = files::environment("RUST_LOG");
    let filter = filter
        .as_deref()
        .unwrap_or("error,engine=warn,rdkafka=off,librdkafka=off");
    logs::init(logs::Style::Sentences, Some(filter)).map(|_| ())
}
