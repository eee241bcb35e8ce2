//! Places in the clone.

use std::path::{Path, PathBuf};

/// The clone's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate `tests` is a folder of the clone")
        .to_path_buf()
}

/// A file or folder of the clone, which must exist.
pub fn path(relative: &str) -> PathBuf {
    let path = root().join(relative);
    assert!(path.exists(), "{relative} is missing from the clone");
    path
}
