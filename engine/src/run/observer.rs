//! Who hears what a pipeline does: the progress line, the log, the metrics, the health endpoint.

use std::io::{IsTerminal, Stderr};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use sql::change::Position;

use super::pipeline::Outcome;
use crate::spec::model::{PipelineSpec, SinkTarget};
use crate::telemetry::{BatchReport, Health, Metrics, PipelineHealth, PipelineNames, Progress};

/// What the pipelines of one process share.
#[derive(Debug, Clone)]
pub struct Observers {
    metrics: Arc<Metrics>,
    health: Health,
    terminal: Option<Arc<Mutex<Progress<Stderr>>>>,
    begun: Instant,
}

impl Observers {
    /// Observers that draw a progress line if `line` and standard error is a terminal.
    pub fn new(metrics: Arc<Metrics>, health: Health, line: bool) -> Self {
        let terminal = (line && std::io::stderr().is_terminal()).then(|| {
            let width = terminal_size::terminal_size_of(std::io::stderr())
                .map_or(80, |(width, _)| usize::from(width.0));
            Arc::new(Mutex::new(Progress::new(std::io::stderr(), width)))
        });
        Self {
            metrics,
            health,
            terminal,
            begun: Instant::now(),
        }
    }

    /// The observer of one pipeline, whose rows go to `table`.
    pub fn of(&self, spec: &PipelineSpec, table: String) -> Observer {
        let sink = match spec.sink.target {
            SinkTarget::Delta(_) => "delta",
            SinkTarget::Iceberg(_) => "iceberg",
        };
        let names = PipelineNames {
            pipeline: spec.pipeline.name.clone(),
            source: spec.source.name().to_owned(),
            sink: sink.to_owned(),
        };
        self.metrics.started(&names);
        let health = self.health.pipeline(&names.pipeline);
        Observer {
            shared: self.clone(),
            names,
            health,
            table,
        }
    }
}

/// Hears of one pipeline's life. Calls come from the pipeline's own task, in order.
#[derive(Debug)]
pub struct Observer {
    shared: Observers,
    names: PipelineNames,
    health: PipelineHealth,
    table: String,
}

impl Observer {
    /// The names that the pipeline's reports carry.
    pub fn names(&self) -> &PipelineNames {
        &self.names
    }

    /// A step of starting up begins.
    pub fn phase(&self, what: &str) {
        tracing::debug!(pipeline = self.names.pipeline, "{what}");
    }

    /// Source and target are open; the table stands at `position`.
    pub fn started(&self, position: &Position) {
        self.shared.metrics.up(&self.names.pipeline, true);
        self.health.connected();
        let position = if position.is_empty() {
            "the beginning".to_owned()
        } else {
            position.to_string()
        };
        self.say(&format!(
            "{}: into {}, from {position}",
            self.names.pipeline, self.table
        ));
        tracing::info!(
            target: SAID,
            pipeline = self.names.pipeline,
            table = self.table,
            position,
            "pipeline started"
        );
    }

    /// Nothing is left to read for now.
    pub fn caught_up(&self) {
        self.health.caught_up();
    }

    /// A batch was committed.
    pub fn committed(&self, report: &BatchReport) {
        self.shared.metrics.batch(report);
        self.health.committed();
        report.to_log_event();
        if let Some(terminal) = &self.shared.terminal {
            report_closed(terminal.lock().batch(report, self.shared.begun.elapsed()));
        }
    }

    /// The pipeline ended well.
    pub fn ended(&self, outcome: &Outcome) {
        if outcome.commits == 0 {
            let standing = if outcome.position.is_empty() {
                "there is no message yet".to_owned()
            } else {
                format!(
                    "the table already holds everything up to {}",
                    outcome.position
                )
            };
            self.say(&format!(
                "{}: nothing to do, {standing}",
                self.names.pipeline
            ));
            tracing::info!(target: SAID, pipeline = self.names.pipeline, "nothing to do, {standing}");
            return;
        }
        tracing::info!(
            target: SAID,
            pipeline = self.names.pipeline,
            table = self.table,
            commits = outcome.commits,
            position = %outcome.position,
            "pipeline ended"
        );
        if let Some(terminal) = &self.shared.terminal {
            let elapsed = self.shared.begun.elapsed();
            report_closed(
                terminal
                    .lock()
                    .finish(&self.names.pipeline, &self.table, elapsed),
            );
        }
    }

    /// The pipeline is over, well or not.
    pub fn close(&self) {
        self.shared.metrics.up(&self.names.pipeline, false);
        self.health.finished();
    }

    fn say(&self, text: &str) {
        if let Some(terminal) = &self.shared.terminal {
            report_closed(terminal.lock().message(text));
        }
    }
}

/// The target of events that the progress line says in its own words on a terminal.
pub const SAID: &str = "engine::said";

/// A terminal that went away takes nothing but its progress line with it.
fn report_closed(result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(error = %error, "the progress line cannot be written");
    }
}
