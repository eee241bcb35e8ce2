//! A person at a terminal: the line editor, its history and the TAB key.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use rustyline::completion::Completer;
use rustyline::error::{ReadlineError, Signal};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::{FileHistory, History, MemHistory};
use rustyline::validate::Validator;
use rustyline::{Behavior, CompletionType, Config, Context, Editor, Helper};
use sql::{Error, Result};

use super::input::{Input, Line};
use super::known::Known;
use crate::command::files::environment;

const FIRST: &str = "engine> ";
const MORE: &str = "     -> ";
const REMEMBERED: usize = 2_000;

/// The prompt.
///
/// The line editor handles signals of its own for as long as it lives, Ctrl-C among them. So there is one for each line: between
/// two lines, while a query runs, Ctrl-C is the shell's.
pub(super) struct Prompt {
    known: Arc<Mutex<Known>>,
    config: Config,
    history: FileHistory,
    file: Option<PathBuf>,
}

impl Prompt {
    /// A prompt that completes what `known` knows. `results_here`: whether results go to the same terminal.
    ///
    /// # Errors
    /// None that a user can cause.
    pub(super) fn new(known: Arc<Mutex<Known>>, results_here: bool) -> Result<Self> {
        let behavior = match results_here {
            true => Behavior::Stdio,
            false => Behavior::PreferTerm,
        };
        let config = Config::builder()
            .max_history_size(REMEMBERED)
            .and_then(|config| config.history_ignore_dups(true))
            .map_err(no_terminal)?
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .behavior(behavior)
            .build();
        let mut history = FileHistory::with_config(&config);
        let file = history_file();
        if let Some(file) = &file {
            // There may be none yet, or none that can be read: no reason not to work.
            let _none = history.load(file);
        }
        Ok(Self {
            known,
            config,
            history,
            file,
        })
    }

    fn editor(&self, pending: &str) -> rustyline::Result<Editor<Tab, MemHistory>> {
        let mut history = MemHistory::with_config(&self.config);
        for entry in self.history.iter() {
            history.add(entry)?;
        }
        let mut editor = Editor::with_history(self.config.clone(), history)?;
        editor.set_helper(Some(Tab {
            known: self.known.clone(),
            pending: pending.to_owned(),
        }));
        Ok(editor)
    }
}

impl Input for Prompt {
    fn line(&mut self, pending: &str) -> Result<Line> {
        let prompt = match pending.trim() {
            "" => FIRST,
            _ => MORE,
        };
        let mut editor = self.editor(pending).map_err(no_terminal)?;
        match editor.readline(prompt) {
            Ok(line) => Ok(Line::Text(line)),
            Err(ReadlineError::Interrupted | ReadlineError::Signal(Signal::Interrupt)) => {
                Ok(Line::Interrupted)
            }
            Err(ReadlineError::Eof) => Ok(Line::End),
            // The window changed its size.
            Err(ReadlineError::Signal(Signal::Resize)) => Ok(Line::Text(String::new())),
            Err(error) => Err(no_terminal(error)),
        }
    }

    fn remember(&mut self, text: &str) {
        let added = self.history.add(text).unwrap_or_default();
        if let Some(file) = self.file.as_ref().filter(|_| added) {
            let folder = file.parent().map(std::fs::create_dir_all);
            // A history that cannot be written is kept for this session.
            let _kept = folder.map(|_| self.history.append(file));
        }
    }
}

/// `ENGINE_HISTORY`, or `engine/history` in the user's folder for states; `None` to keep none.
fn history_file() -> Option<PathBuf> {
    if let Some(file) = environment("ENGINE_HISTORY") {
        return (!file.is_empty()).then(|| PathBuf::from(file));
    }
    let absolute = |name: &str| {
        environment(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    let states = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local").join("state")))?;
    Some(states.join("engine").join("history"))
}

fn no_terminal(error: ReadlineError) -> Error {
    Error::config("this terminal cannot be used for a prompt")
        .remedy("pipe the statements in, or use -c 'SELECT …' or -f SCRIPT")
        .source(error)
}

/// The TAB key.
struct Tab {
    known: Arc<Mutex<Known>>,
    /// What was typed of the statement in earlier lines.
    pending: String,
}

impl Completer for Tab {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let completion = self.known.lock().complete(&self.pending, line, at);
        Ok((completion.start, completion.words))
    }
}

impl Hinter for Tab {
    type Hint = String;
}

impl Highlighter for Tab {}

impl Validator for Tab {}

impl Helper for Tab {}
