//! `engine sql`: queries over what pipelines wrote and read.
//!
//! Here is what the arguments ask for; [`shell`] takes statements and commands one by one, from the [`prompt`], a pipe, a file
//! or the command line; [`answer`] runs each and shows its rows; [`Queries`] plans and starts them.

mod answer;
mod caret;
mod describe;
pub mod external;
mod input;
mod known;
mod names;
mod prompt;
mod refuse;
mod run;
mod shell;
mod target;
mod waiting;

use std::io::IsTerminal;
use std::path::PathBuf;

use sql::Result;

pub(crate) use names::{add, not_there_yet, several, unknown};
pub use run::{Queries, Running, cannot_run};

use self::input::Lines;
use self::prompt::Prompt;
use self::shell::{Origin, Shell};
use self::target::Target;
use self::waiting::Keys;
use super::show::not_to_a_file;
use crate::cli::{OutputFormat, SqlArgs};

/// Runs `engine sql`.
///
/// # Errors
/// SQL that cannot be parsed or planned, a table that is not there, and what running it meets. At the prompt errors are told,
/// and are none.
pub async fn query(args: SqlArgs) -> Result<()> {
    super::plain_logs()?;
    let default = PathBuf::from("pipelines");
    let paths = match args.paths.is_empty() {
        false => args.paths,
        // Without a folder of that name there are no tables, and `SELECT 1` needs none.
        true if default.is_dir() => vec![default],
        true => Vec::new(),
    };
    let target = match args.output {
        Some(file) => Target::file(file),
        None if args.format == OutputFormat::Parquet => return Err(not_to_a_file()),
        None => Target::stdout(),
    };
    let mut shell = Shell::new(paths, args.format, target)?;
    shell.tells_progress = std::io::stderr().is_terminal();
    let ended = match (args.command, args.script) {
        (Some(text), _) => {
            let mut lines = Lines::new(text.as_bytes(), "the command line");
            Box::pin(shell.converse(&mut lines, Origin::Text)).await
        }
        (None, Some(script)) => Box::pin(shell.file(&script)).await,
        (None, None) if std::io::stdin().is_terminal() => Box::pin(converse(&mut shell)).await,
        (None, None) => {
            let mut lines = Lines::new(std::io::stdin().lock(), "standard input");
            Box::pin(shell.converse(&mut lines, Origin::Text)).await
        }
    };
    ended.map(|_| ())
}

/// The prompt, until it is left.
async fn converse(shell: &mut Shell) -> Result<shell::Flow> {
    shell.keys = Keys::watch()?;
    let mut prompt = Prompt::new(shell.known.clone(), std::io::stdout().is_terminal())?;
    let count = shell.queries.tables().iter().count();
    let noun = if count == 1 { "table" } else { "tables" };
    eprintln!(
        "engine {}, {count} {noun}; \\? for help, \\q or Ctrl-D to leave",
        env!("CARGO_PKG_VERSION")
    );
    shell.converse(&mut prompt, Origin::Prompt).await
}
