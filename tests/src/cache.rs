//! What tests download once and keep outside the clone.
//!
//! `$ENGINE_TEST_CACHE`, else `$XDG_CACHE_HOME/engine-tests`, else `$HOME/.cache/engine-tests`. An entry is a
//! folder that appears whole or not at all; its name holds the versions, so that a new version is a new entry.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::skip::Missing;

/// The folder of downloads.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// Held while one process fills or changes an entry; released when dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Cache {
    /// The folder named by the environment, made if it is not there.
    ///
    /// # Panics
    /// If the folder cannot be made: the sentence says which variable names another.
    pub fn open() -> Self {
        let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let root = folder("ENGINE_TEST_CACHE")
            .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("engine-tests")))
            .or_else(|| folder("HOME").map(|home| home.join(".cache/engine-tests")))
            .expect("ENGINE_TEST_CACHE, XDG_CACHE_HOME or HOME names the folder of test downloads");
        if let Err(error) = fs::create_dir_all(&root) {
            panic!(
                "cannot make {}: {error}; name a writable folder in ENGINE_TEST_CACHE",
                root.display()
            );
        }
        Self { root }
    }

    /// The cache's own folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Waits until no other thread or process holds the lock called `name`.
    pub fn lock(&self, name: &str) -> Lock {
        let path = self.root.join(format!(".{name}.lock"));
        let file = File::create(&path).expect("the cache's folder is writable");
        file.lock().expect("a lock of a local file");
        Lock { _file: file }
    }

    /// The entry called `name`: as it is if it is there, else filled by `fill`, which gets an empty folder
    /// at the entry's final path (virtual environments hold their own path). A failed `fill` leaves nothing.
    pub fn entry(
        &self,
        name: &str,
        fill: impl FnOnce(&Path) -> Result<(), Missing>,
    ) -> Result<PathBuf, Missing> {
        let path = self.root.join(name);
        let complete = path.join(".complete");
        if complete.exists() {
            return Ok(path);
        }
        let _held = self.lock(name);
        if complete.exists() {
            return Ok(path);
        }
        if path.exists() {
            fs::remove_dir_all(&path).expect("a half-filled entry can be removed");
        }
        fs::create_dir_all(&path).expect("the cache's folder is writable");
        fill(&path)?;
        File::create(&complete).expect("the cache's folder is writable");
        Ok(path)
    }
}
