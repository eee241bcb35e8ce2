//! A wall clock that jumps when a test says so, for one process: Debian's libfaketime, loaded before its C library.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use tempfile::TempDir;

use crate::debian;
use crate::engine::Engine;
use crate::skip::{Missing, Need};

/// The variant for programs with threads.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// A clock for processes that are started with its [variables](Self::variables).
#[derive(Debug)]
pub struct Clock {
    library: PathBuf,
    /// Seconds that it is ahead of the machine's.
    ahead: Mutex<i64>,
    folder: TempDir,
}

impl Clock {
    /// A clock that is right, so far.
    ///
    /// # Errors
    /// [`Missing`] if libfaketime cannot be had here.
    pub fn new() -> Result<Self, Missing> {
        let library = match library() {
            Some(library) => library,
            None => {
                debian::install(&["faketime"], Need::Faketime)?;
                library().ok_or_else(|| {
                    let sentence = format!("{LIBRARY} is not there after installing faketime");
                    Missing::new(Need::Faketime, sentence)
                })?
            }
        };
        let clock = Self {
            library,
            ahead: Mutex::new(0),
            folder: TempDir::with_prefix("engine-clock-").expect("a temporary folder"),
        };
        clock.jump(0);
        Ok(clock)
    }

    /// Moves the wall clock of every process that has it, at once: forward, or back. Their monotonic clocks go on, as they
    /// do when a machine's clock is set.
    pub fn jump(&self, seconds: i64) {
        let mut ahead = self.ahead.lock().expect("no holder of this lock panics");
        *ahead += seconds;
        // Whole or not at all: it is read at every look at the clock.
        let next = self.folder.path().join("next");
        fs::write(&next, format!("{:+}\n", *ahead)).expect("a temporary folder is writable");
        fs::rename(&next, self.setting()).expect("a temporary folder is writable");
    }

    /// Seconds that it is ahead of the machine's clock; negative: behind.
    pub fn ahead(&self) -> i64 {
        *self.ahead.lock().expect("no holder of this lock panics")
    }

    fn setting(&self) -> PathBuf {
        self.folder.path().join("faketimerc")
    }

    /// The environment of a process that has this clock.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", self.library.display().to_string()),
            (
                "FAKETIME_TIMESTAMP_FILE",
                self.setting().display().to_string(),
            ),
            // Every look reads the file.
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
            // Times of files are the machine's.
            ("NO_FAKE_STAT", "1".to_owned()),
            ("FAKETIME_DONT_RESET", "1".to_owned()),
        ]
    }

    /// The engine with this clock.
    pub fn of(&self, engine: Engine) -> Engine {
        self.variables()
            .into_iter()
            .fold(engine, |engine, (name, value)| engine.env(name, value))
    }
}

/// Debian keeps it in the folder of the machine's architecture.
fn library() -> Option<PathBuf> {
    fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.path().join(LIBRARY))
        .chain([PathBuf::from("/usr/lib").join(LIBRARY)])
        .find(|file| file.is_file())
}
