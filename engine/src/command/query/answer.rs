//! One statement's rows, from the stream to the output.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use futures::StreamExt;
use sql::plan::Script;
use sql::{Error, ErrorKind, Result};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinHandle;

use super::run::cannot_run;
use super::shell::Shell;
use super::waiting::{Waiting, unless_stopped};
use crate::cli::OutputFormat;
use crate::command::show::{Look, ParquetFile, Show};

/// Batches that may be ready before they are shown.
const READY: usize = 16;

/// How a statement ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// By itself.
    Whole,
    /// By Ctrl-C, or because nobody reads.
    Stopped,
}

impl Shell {
    /// Runs the statements of `script` and shows their rows.
    ///
    /// # Errors
    /// SQL that is wrong, and what running it meets.
    pub(super) async fn answer(&mut self, script: &Script) -> Result<Ended> {
        for statement in parse(script).map_err(of_a_query)? {
            let answered = Box::pin(self.answer_one(statement, script)).await;
            if answered.map_err(of_a_query)? == Ended::Stopped {
                return Ok(Ended::Stopped);
            }
        }
        Ok(Ended::Whole)
    }

    async fn answer_one(&mut self, statement: Statement, script: &Script) -> Result<Ended> {
        self.keys.forget();
        let mut waiting = Waiting::new(self.tells_progress);
        let queries = self.queries.clone();
        let started = queries.start(statement, script);
        let Some(running) = unless_stopped(&mut self.keys, &mut waiting, started).await else {
            waiting.clear();
            return Ok(self.stopped());
        };
        waiting.clear();
        let running = running?;
        let show = match running.schema.fields().is_empty() {
            // DDL has no result.
            true => None,
            false => Some(self.show(&running.schema, running.unbounded)?),
        };
        let live = running.unbounded && self.target.is_terminal();
        let rows = Rows::of(running.stream);
        let ended = self.pass_on(rows, show, live, &mut waiting).await?;
        if self.timing {
            eprintln!("Time: {:.3} ms", waiting.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(ended)
    }

    async fn pass_on(
        &mut self,
        mut rows: Rows,
        mut show: Option<Show>,
        live: bool,
        waiting: &mut Waiting,
    ) -> Result<Ended> {
        let mut whole = false;
        while !self.target.is_closed() {
            match unless_stopped(&mut self.keys, waiting, rows.next()).await {
                None => break,
                Some(None) => {
                    whole = true;
                    break;
                }
                Some(Some(batch)) => {
                    waiting.clear();
                    let batch = batch.map_err(cannot_run)?;
                    waiting.count(batch.num_rows());
                    if let Some(show) = &mut show {
                        show.rows(&batch, &mut self.target)?;
                    }
                    if rows.none_ready() {
                        self.target.hand_on()?;
                    }
                    if live && batch.num_rows() > 0 {
                        waiting.stop();
                    }
                }
            }
        }
        waiting.clear();
        match show {
            Some(Show::Parquet(_)) if !whole => {}
            Some(show) => show.finish(&mut self.target)?,
            None => {}
        }
        self.target.hand_on()?;
        match whole {
            true => Ok(Ended::Whole),
            false => Ok(self.stopped()),
        }
    }

    /// Shows rows that are there already.
    ///
    /// # Errors
    /// Output that cannot be written to.
    pub(super) fn show_ready(&mut self, rows: &RecordBatch) -> Result<()> {
        let mut show = self.show(&rows.schema(), false)?;
        show.rows(rows, &mut self.target)?;
        show.finish(&mut self.target)?;
        self.target.hand_on()
    }

    fn show(&mut self, schema: &SchemaRef, unbounded: bool) -> Result<Show> {
        if self.format == OutputFormat::Parquet {
            let file = ParquetFile::new(self.target.take_file()?, schema)?;
            return Ok(Show::Parquet(Box::new(file)));
        }
        self.target.open()?;
        let look = Look::here(self.target.is_terminal());
        match self.format {
            OutputFormat::Table => Ok(Show::table(schema, look, self.expanded, unbounded)),
            format => Show::new(format, schema, look, unbounded),
        }
    }

    fn stopped(&self) -> Ended {
        if !self.target.is_closed() {
            eprintln!("stopped");
        }
        Ended::Stopped
    }
}

/// The rows of a stream that is read by a task of its own: a step that takes long holds up nobody who wants to stop it.
/// Dropped, it ends the task and with it the query.
struct Rows {
    batches: Receiver<Result<RecordBatch, DataFusionError>>,
    task: JoinHandle<()>,
}

impl Rows {
    fn of(mut stream: SendableRecordBatchStream) -> Self {
        let (send, batches) = channel(READY);
        let task = tokio::spawn(async move {
            while let Some(batch) = stream.next().await {
                if send.send(batch).await.is_err() {
                    return;
                }
            }
        });
        Self { batches, task }
    }

    /// Whether the next rows are yet to come.
    fn none_ready(&self) -> bool {
        self.batches.is_empty()
    }

    async fn next(&mut self) -> Option<Result<RecordBatch, DataFusionError>> {
        match self.batches.recv().await {
            Some(batch) => Some(batch),
            // No more rows, unless the task broke.
            None => match (&mut self.task).await {
                Err(error) if error.is_panic() => Some(Err(DataFusionError::External(Box::new(
                    Error::internal("the query broke while it ran").source(error),
                )))),
                _ => None,
            },
        }
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The statements of `script`.
///
/// # Errors
/// Syntax errors.
pub(super) fn parse(script: &Script) -> Result<Vec<Statement>> {
    let statements = DFParserBuilder::new(script.text())
        .with_dialect(&GenericDialect {})
        .build()
        .and_then(|mut parser| parser.parse_statements());
    script.result(statements).map(Vec::from)
}

/// A kind's general remedy speaks of pipeline files; what is wrong here is the query.
fn of_a_query(error: Error) -> Error {
    if error.kind() == ErrorKind::Config && error.next_step().is_none() {
        return error.remedy("correct the query, then run it again");
    }
    error
}
