//! What a run leaves: a folder that is kept if the run fails, and the timeline of what was done to the engine.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Where the folder of a run is made; unless told, where temporary files are.
const FOLDER: &str = "ENGINE_CHAOS_FOLDER";

/// The folder of a run: pipelines, logs of each life of the engine, captured topics.
#[derive(Debug)]
pub(super) struct Folder {
    // Taken when it is kept.
    folder: Option<TempDir>,
    path: PathBuf,
}

impl Folder {
    /// An empty folder.
    pub(super) fn new() -> Self {
        let mut builder = tempfile::Builder::new();
        builder.prefix("engine-truth-");
        let folder = match std::env::var_os(FOLDER) {
            Some(parent) => {
                fs::create_dir_all(&parent).expect("a folder that can be written to");
                builder.tempdir_in(parent)
            }
            None => builder.tempdir(),
        };
        let folder = folder.expect("a temporary folder");
        Self {
            path: folder.path().to_owned(),
            folder: Some(folder),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A folder in it.
    pub(super) fn made(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        fs::create_dir_all(&path).expect("a temporary folder is writable");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            println!(
                "the run failed; what it left is in {}",
                folder.keep().display()
            );
        }
    }
}

/// Lines with the time since the run began, printed and kept in the run's folder. All clones are one.
#[derive(Debug, Clone)]
pub(super) struct Timeline {
    begun: Instant,
    file: Arc<Mutex<File>>,
}

impl Timeline {
    /// Begins now, in `folder`.
    pub(super) fn begin(folder: &Folder) -> Self {
        let file = File::create(folder.path().join("timeline.txt"));
        Self {
            begun: Instant::now(),
            file: Arc::new(Mutex::new(file.expect("a temporary folder is writable"))),
        }
    }

    /// The time since it began.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Says a line.
    pub(super) fn say(&self, text: &str) {
        let line = format!("[{:7.1} s] {text}", self.begun.elapsed().as_secs_f64());
        println!("{line}");
        let mut file = self.file.lock().expect("no holder of this lock panics");
        writeln!(file, "{line}").expect("a temporary folder is writable");
    }
}
