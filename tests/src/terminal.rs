//! The engine on a terminal: keys in, and what a person would read out.

use std::io::Write;
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

use crate::debian;
use crate::engine::{Engine, Outcome, Running};
use crate::skip::{Missing, Need};
use crate::wait;

/// `ROWS COLUMNS PROGRAM…` on a terminal of its own.
const SCRIPT: &str = include_str!("terminal.py");
const ROWS: &str = "40";
const COLUMNS: &str = "160";

/// How long anything may take to be shown.
const LIMIT: Duration = Duration::from_secs(120);

/// Ctrl-C.
pub const CTRL_C: &str = "\u{3}";
/// Ctrl-D.
pub const CTRL_D: &str = "\u{4}";
/// The TAB key.
pub const TAB: &str = "\t";
/// The arrow key that asks for the line before.
pub const UP: &str = "\u{1b}[A";
/// The key that ends a line.
pub const ENTER: &str = "\r";

/// A wrapper for [`Engine::under`] that gives the engine a terminal.
///
/// # Errors
/// A machine without Python.
pub fn wrapper() -> Result<[String; 5], Missing> {
    let python = debian::program("python3", &[], &["python3"], Need::Python)?;
    let python = python.display().to_string();
    Ok([&python, "-c", SCRIPT, ROWS, COLUMNS].map(str::to_owned))
}

/// An engine on a terminal. What it shows is read from the last thing on that was waited for.
#[derive(Debug)]
pub struct Terminal {
    running: Running,
    keys: ChildStdin,
    seen: usize,
}

impl Terminal {
    /// Starts an engine that was made [`Engine::under`] the [`wrapper()`].
    pub fn start(engine: Engine) -> Self {
        let engine = engine.env("TERM", "xterm").stdin(Stdio::piped());
        let mut running = engine.start();
        let keys = running.take_stdin().expect("a pipe");
        Self {
            running,
            keys,
            seen: 0,
        }
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.keys
            .write_all(keys.as_bytes())
            .and_then(|()| self.keys.flush())
            .unwrap_or_else(|error| panic!("nobody reads keys ({error}):\n{}", self.shown()));
    }

    /// Types a line and ends it.
    pub fn type_line(&mut self, line: &str) {
        self.press(line);
        self.press(ENTER);
    }

    /// Waits until `text` is shown, after all that was waited for before.
    ///
    /// # Panics
    /// If it is not; with all that is shown.
    pub fn shows(&mut self, text: &str) {
        let found = wait::until(LIMIT, || {
            let shown = self.shown();
            let place = shown.get(self.seen..)?.find(text)?;
            Some(self.seen + place + text.len())
        });
        match found {
            Some(end) => self.seen = end,
            None => panic!(
                "`{text}` is not shown after byte {} of:\n{}",
                self.seen,
                self.shown()
            ),
        }
    }

    /// All that was shown so far, without what moves the cursor or changes colours.
    pub fn shown(&self) -> String {
        without_controls(&self.running.stdout())
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not come; with all that is shown.
    pub fn ends(self) -> Outcome {
        // The input stays open: a hung-up terminal would end it, too.
        let _keys = self.keys;
        self.running.finish(LIMIT)
    }
}

/// Text as it was written, one after another: lines that are written again are there again.
fn without_controls(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut letters = raw.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' => match letters.next() {
                Some('[') => {
                    // Parameters, then one letter.
                    while letters.next_if(|c| !('@'..='~').contains(c)).is_some() {}
                    letters.next();
                }
                Some(']') => while letters.next().is_some_and(|c| c != '\u{7}') {},
                _ => {}
            },
            '\r' | '\u{7}' => {}
            letter => text.push(letter),
        }
    }
    text
}
