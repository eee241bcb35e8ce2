//! Statements and commands, one after another: typed at the prompt, piped, or read from a file.
//!
//! At the prompt an error is told and the next line is awaited; everywhere else it ends the run. Standard output has results
//! only; what the shell says about itself goes to standard error.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sql::plan::Script;
use sql::repl::{Command, Statement, Step, Typed, help};
use sql::{Error, Result};
use tokio::task::block_in_place;

use super::answer::Ended;
use super::caret;
use super::input::{Input, Line, Lines};
use super::known::Known;
use super::run::Queries;
use super::target::Target;
use super::waiting::Keys;
use crate::cli::OutputFormat;
use crate::command::tables::KnownTables;

/// Files that run files that run files: one that runs itself must end.
const DEEPEST: usize = 16;

/// Where statements stand, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin<'a> {
    /// Each statement on its own: a person sees it.
    Prompt,
    /// One text without a name.
    Text,
    /// A file.
    File(&'a Path),
}

impl Origin<'_> {
    fn script(&self, statement: &Statement) -> Script {
        match self {
            Self::Prompt => Script::new(&statement.text),
            Self::Text => Script::new(&statement.text).starting_at(statement.line),
            Self::File(path) => {
                Script::located(&statement.text, &path.display().to_string(), statement.line)
            }
        }
    }
}

/// Whether there is more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Yes.
    On,
    /// No: `\q`, or nobody reads.
    Quit,
}

/// One `engine sql`: what its statements may name, and how it shows what they return.
#[derive(Debug)]
pub(super) struct Shell {
    pub(super) queries: Arc<Queries>,
    pub(super) known: Arc<Mutex<Known>>,
    pub(super) paths: Vec<PathBuf>,
    pub(super) format: OutputFormat,
    pub(super) expanded: bool,
    pub(super) timing: bool,
    pub(super) target: Target,
    pub(super) keys: Keys,
    /// Whether somebody is there to see how a query goes on.
    pub(super) tells_progress: bool,
    last: Option<Script>,
    depth: usize,
}

impl Shell {
    /// Statements over the tables of the pipelines in `paths`.
    ///
    /// # Errors
    /// A path that does not exist.
    pub(super) fn new(paths: Vec<PathBuf>, format: OutputFormat, target: Target) -> Result<Self> {
        let queries = Arc::new(Queries::new(KnownTables::of(&paths)?));
        Ok(Self {
            known: Arc::new(Mutex::new(Known::new(queries.clone()))),
            queries,
            paths,
            format,
            expanded: false,
            timing: false,
            target,
            keys: Keys::none(),
            tells_progress: false,
            last: None,
            depth: 0,
        })
    }

    /// Does what `input` says until it ends.
    ///
    /// # Errors
    /// The first one, but at the prompt, where it is told.
    pub(super) async fn converse(
        &mut self,
        input: &mut dyn Input,
        origin: Origin<'_>,
    ) -> Result<Flow> {
        let mut typed = Typed::default();
        loop {
            // Reading waits for a person or another program: others go on meanwhile.
            let line = block_in_place(|| input.line(typed.pending()))?;
            let ended = line == Line::End;
            match line {
                Line::Text(line) => typed.line(&line),
                Line::Interrupted => typed.clear(),
                // Who leaves in the middle of a statement does not mean to run it.
                Line::End if matches!(origin, Origin::Prompt) => return Ok(Flow::Quit),
                Line::End => {}
            }
            loop {
                let step = if ended { typed.end() } else { typed.step() };
                let Some(step) = step else { break };
                input.remember(text_of(&step));
                if Box::pin(self.step(&step, origin)).await? == Flow::Quit
                    || self.target.is_closed()
                {
                    return Ok(Flow::Quit);
                }
            }
            if ended {
                return Ok(Flow::On);
            }
        }
    }

    async fn step(&mut self, step: &Step, origin: Origin<'_>) -> Result<Flow> {
        let script = match step {
            Step::Statement(statement) => Some(origin.script(statement)),
            Step::Command { .. } => None,
        };
        let done = match (step, &script) {
            (Step::Statement(_), Some(script)) => self.statement(script).await,
            (Step::Statement(_), None) => Ok(Flow::On),
            (Step::Command { text, line }, _) => {
                let done = self.command(text).await;
                done.map_err(|error| match (error.place(), origin) {
                    (None, Origin::File(path)) => error.at(format!("{}:{line}", path.display())),
                    (None, Origin::Text) => error.at(format!("line {line}")),
                    _ => error,
                })
            }
        };
        match (done, origin) {
            (Err(error), Origin::Prompt) => {
                eprintln!("{}", caret::render(&error, script.as_ref()));
                Ok(Flow::On)
            }
            (done, _) => done,
        }
    }

    async fn statement(&mut self, script: &Script) -> Result<Flow> {
        self.last = Some(script.clone());
        let answered = self.answer(script).await;
        // A statement may have changed what there is.
        self.known.lock().forget_columns();
        answered.map(|_| Flow::On)
    }

    async fn command(&mut self, text: &str) -> Result<Flow> {
        match Command::parse(text)? {
            Command::Quit => return Ok(Flow::Quit),
            Command::Help => {
                eprint!("{}", help());
            }
            Command::Tables => {
                let tables = self.queries.listing()?;
                self.show_ready(&tables)?;
            }
            Command::Describe(name) => self.describe(&name).await?,
            Command::Functions(name) => self.functions(name.as_deref())?,
            Command::Watch(pause) => return self.watch(pause).await,
            Command::Timing(on) => {
                self.timing = on.unwrap_or(!self.timing);
                tell_switch("timing", self.timing);
            }
            Command::Expanded(on) => {
                self.expanded = on.unwrap_or(!self.expanded);
                tell_switch("expanded display", self.expanded);
            }
            Command::Format(None) => eprintln!("the format is {}", self.format.name()),
            Command::Format(Some(name)) => self.format = OutputFormat::named(&name)?,
            Command::Output(None) => self.target = Target::stdout(),
            Command::Output(Some(file)) => self.target = Target::file(file),
            Command::Include(file) => return Box::pin(self.include(Path::new(&file))).await,
            Command::Refresh => self.refresh()?,
        }
        Ok(Flow::On)
    }

    /// Runs a file. `\q` in it ends the file only.
    async fn include(&mut self, path: &Path) -> Result<Flow> {
        if self.depth >= DEEPEST {
            return Err(Error::config("files run files too deep")
                .at(path.display().to_string())
                .expected(format!("at most {DEEPEST} within each other"))
                .remedy("look for one that runs itself"));
        }
        self.depth += 1;
        let ran = self.file(path).await;
        self.depth -= 1;
        ran.map(|_| Flow::On)
    }

    /// Runs the statements and commands of a file.
    ///
    /// # Errors
    /// A file that cannot be read, and the first error in it.
    pub(super) async fn file(&mut self, path: &Path) -> Result<Flow> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::config("the script cannot be read")
                .at(path.display().to_string())
                .expected("a file of SQL statements that this user may read")
                .remedy("check the path and its permissions")
                .source(error)
        })?;
        let mut lines = Lines::new(text.as_bytes(), path.display().to_string());
        self.converse(&mut lines, Origin::File(path)).await
    }

    /// Runs the last query again and again, until it is stopped.
    async fn watch(&mut self, pause: Duration) -> Result<Flow> {
        let Some(script) = self.last.clone() else {
            return Err(Error::config("there is no query to run again")
                .remedy("run one first, then \\watch"));
        };
        loop {
            if self.target.is_terminal() {
                eprint!("\u{1b}[2J\u{1b}[H");
            }
            let now = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ");
            eprintln!("{now}, every {} s", pause.as_secs_f64());
            if self.answer(&script).await? == Ended::Stopped {
                return Ok(Flow::On);
            }
            tokio::select! {
                biased;
                () = self.keys.pressed() => return Ok(Flow::On),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Reads the pipeline files again.
    fn refresh(&mut self) -> Result<()> {
        let tables = KnownTables::of(&self.paths)?;
        let count = tables.iter().count();
        self.queries = Arc::new(self.queries.over(tables));
        *self.known.lock() = Known::new(self.queries.clone());
        let noun = if count == 1 { "table" } else { "tables" };
        eprintln!("{count} {noun}");
        Ok(())
    }
}

fn text_of(step: &Step) -> &str {
    match step {
        Step::Statement(statement) => statement.bare(),
        Step::Command { text, .. } => text,
    }
}

fn tell_switch(what: &str, on: bool) {
    eprintln!("{what} is {}", if on { "on" } else { "off" });
}
