//! Backslash commands: one table of them is what is parsed and what the help says.

use std::fmt::Write;
use std::time::Duration;

use strsim::osa_distance;

use crate::error::{Error, Result};

/// How long `\watch` waits between two runs if it does not say.
const WATCH: Duration = Duration::from_secs(2);

/// A backslash command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `\d`: the tables.
    Tables,
    /// `\d NAME`: what a table is, and its columns.
    Describe(String),
    /// `\df [NAME]`: the functions, or one of them.
    Functions(Option<String>),
    /// `\watch [SECONDS]`: the last query again and again.
    Watch(Duration),
    /// `\timing [on|off]`; without a word, the other way.
    Timing(Option<bool>),
    /// `\x [on|off]`; without a word, the other way.
    Expanded(Option<bool>),
    /// `\format NAME`; without a name, tell it.
    Format(Option<String>),
    /// `\o FILE`; without a file, standard output again.
    Output(Option<String>),
    /// `\i FILE`.
    Include(String),
    /// `\refresh`.
    Refresh,
    /// `\?`.
    Help,
    /// `\q`.
    Quit,
}

struct Entry {
    names: &'static [&'static str],
    arguments: &'static str,
    about: &'static str,
    parse: fn(Option<&str>) -> Option<Command>,
}

const COMMANDS: &[Entry] = &[
    Entry {
        names: &["\\d"],
        arguments: "[NAME]",
        about: "the tables; or a table's columns, kind, pipeline and place",
        parse: |name| Some(name.map_or(Command::Tables, |name| Command::Describe(name.to_owned()))),
    },
    Entry {
        names: &["\\df"],
        arguments: "[NAME]",
        about: "the functions; or those with NAME in their name, with what they do",
        parse: |name| Some(Command::Functions(name.map(str::to_owned))),
    },
    Entry {
        names: &["\\watch"],
        arguments: "[SECONDS]",
        about: "run the last query again every 2 (or so many) seconds, until Ctrl-C",
        parse: |seconds| match seconds {
            None => Some(Command::Watch(WATCH)),
            Some(seconds) => {
                let pause = Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?;
                (!pause.is_zero()).then_some(Command::Watch(pause))
            }
        },
    },
    Entry {
        names: &["\\timing"],
        arguments: "[on|off]",
        about: "say after each query how long it took",
        parse: |word| switch(word).map(Command::Timing),
    },
    Entry {
        names: &["\\x"],
        arguments: "[on|off]",
        about: "tables expanded: a line a column",
        parse: |word| switch(word).map(Command::Expanded),
    },
    Entry {
        names: &["\\format"],
        arguments: "[table|json|csv|parquet]",
        about: "how results are printed; parquet needs \\o FILE",
        parse: |format| Some(Command::Format(format.map(str::to_owned))),
    },
    Entry {
        names: &["\\o"],
        arguments: "[FILE]",
        about: "write results to a file; without one, to standard output again",
        parse: |file| Some(Command::Output(file.map(str::to_owned))),
    },
    Entry {
        names: &["\\i"],
        arguments: "FILE",
        about: "run the statements and commands of a file",
        parse: |file| file.map(|file| Command::Include(file.to_owned())),
    },
    Entry {
        names: &["\\refresh"],
        arguments: "",
        about: "read the pipeline files again",
        parse: |word| word.is_none().then_some(Command::Refresh),
    },
    Entry {
        names: &["\\?", "\\h"],
        arguments: "",
        about: "this help",
        parse: |_| Some(Command::Help),
    },
    Entry {
        names: &["\\q"],
        arguments: "",
        about: "leave; so does Ctrl-D",
        parse: |word| word.is_none().then_some(Command::Quit),
    },
];

impl Command {
    /// The command that `line` is: a name, and what follows it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Config`] for an unknown name, and for what cannot follow a name.
    pub fn parse(line: &str) -> Result<Self> {
        let line = line.trim().trim_end_matches(';').trim_end();
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let Some(entry) = COMMANDS.iter().find(|entry| entry.names.contains(&name)) else {
            return Err(unknown(name));
        };
        let rest = rest.trim();
        (entry.parse)((!rest.is_empty()).then_some(rest)).ok_or_else(|| {
            let usage = format!("{name} {}", entry.arguments);
            let usage = usage.trim_end();
            let error = match rest {
                "" => Error::config(format!("{name} needs more")),
                rest => Error::config(format!("{name} does not take `{rest}`")),
            };
            error
                .expected(format!("{usage}: {}", entry.about))
                .remedy("see \\? for all commands")
        })
    }
}

fn unknown(name: &str) -> Error {
    let error = Error::config(format!("there is no command {name}"));
    let near = command_names()
        .map(|known| (osa_distance(name, known), known))
        .filter(|(distance, known)| *distance == 1 && known.len() > 2)
        .min();
    match near {
        Some((_, known)) => error.remedy(format!("did you mean {known}? See \\? for all commands")),
        None => error.remedy("see \\? for all commands"),
    }
}

/// `None` for a word that is neither.
fn switch(word: Option<&str>) -> Option<Option<bool>> {
    match word {
        None => Some(None),
        Some("on") => Some(Some(true)),
        Some("off") => Some(Some(false)),
        Some(_) => None,
    }
}

/// Every command's name, with its backslash.
pub fn command_names() -> impl Iterator<Item = &'static str> {
    COMMANDS
        .iter()
        .flat_map(|entry| entry.names.iter().copied())
}

/// What `\?` prints, and the command line's help: a line a command.
pub fn help() -> String {
    let left: Vec<String> = COMMANDS
        .iter()
        .map(|entry| format!("{} {}", entry.names.join(", "), entry.arguments))
        .collect();
    let width = left
        .iter()
        .map(|text| text.trim_end().len())
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for (left, entry) in left.iter().zip(COMMANDS) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {:width$}  {}", left.trim_end(), entry.about);
    }
    text
}
