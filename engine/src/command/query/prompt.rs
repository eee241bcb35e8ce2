//! A person at a terminal: the line editor, its history and the TAB key.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Behavior, CompletionType, Config, Context, Editor, Helper};
use sql::{Error, Result};

use super::input::{Input, Line};
use super::known::Known;
use crate::command::files::environment;

const FIRST: &str = "engine> ";
const MORE: &str = "     -> ";
const REMEMBERED: usize = 10_000;

/// The prompt.
pub(super) struct Prompt {
    editor: Editor<Tab, FileHistory>,
    history: Option<PathBuf>,
}

impl Prompt {
    /// A prompt that completes what `known` knows. `results_here`: whether results go to the same terminal.
    ///
    /// # Errors
    /// A terminal that cannot be used.
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
        let mut editor = Editor::with_config(config).map_err(no_terminal)?;
        editor.set_helper(Some(Tab {
            known,
            pending: String::new(),
        }));
        let history = history_file();
        if let Some(file) = &history {
            // There may be none yet, or none that can be read: no reason not to work.
            let _none = editor.load_history(file);
        }
        Ok(Self { editor, history })
    }
}

impl Input for Prompt {
    fn line(&mut self, pending: &str) -> Result<Line> {
        if let Some(tab) = self.editor.helper_mut() {
            pending.clone_into(&mut tab.pending);
        }
        let prompt = if pending.trim().is_empty() {
            FIRST
        } else {
            MORE
        };
        match self.editor.readline(prompt) {
            Ok(line) => Ok(Line::Text(line)),
            Err(ReadlineError::Interrupted) => Ok(Line::Interrupted),
            Err(ReadlineError::Eof) => Ok(Line::End),
            // The window changed its size before a key was pressed.
            Err(ReadlineError::Signal(_)) => Ok(Line::Text(String::new())),
            Err(error) => Err(no_terminal(error)),
        }
    }

    fn remember(&mut self, text: &str) {
        let added = self.editor.add_history_entry(text).unwrap_or_default();
        if let Some(file) = self.history.as_ref().filter(|_| added) {
            let folder = file.parent().map(std::fs::create_dir_all);
            // A history that cannot be written is kept for this session.
            let _kept = folder.map(|_| self.editor.append_history(file));
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
