//! The engine: everything that touches the world.
//!
//! [`run()`] is the whole program: arguments in, exit code out. The modules follow a change's way: [`source`] fetches
//! records, [`format`] decodes them, [`transform`] runs the pipeline's SQL, [`quality`] judges rows, [`sink`] commits
//! them with their positions, and [`run`](mod@run) turns these in a loop that [`telemetry`] reports on. [`spec`] is the pipeline
//! file, [`lake`] opens tables, [`maintain`] keeps them fast, [`command`] is what the command line does with all of it.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

pub mod cli;
pub mod clock;
pub mod command;
pub mod format;
pub mod lake;
pub mod maintain;
pub mod quality;
pub mod resend;
pub mod run;
pub mod sink;
pub mod source;
pub mod spec;
pub mod telemetry;
pub mod transform;
pub mod upsert;

/// Runs the program. Results go to standard output; errors, progress and logs to standard error.
pub fn run<I, T>(args: I) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let cli = match cli::Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // clap knows which of help, version and mistakes goes where; a closed pipe is nobody's mistake.
            let _closed = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| sql::Error::internal("the runtime could not be started").source(error))
        .and_then(|runtime| {
            let result = runtime.block_on(command::execute(cli.command));
            // A blocked poll or upload must not keep the process from exiting.
            runtime.shutdown_timeout(std::time::Duration::from_secs(2));
            result
        });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", run::policy::render(&error));
            ExitCode::from(run::policy::policy(error.kind()).exit)
        }
    }
}
