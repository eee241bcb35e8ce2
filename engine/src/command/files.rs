//! Pipeline files from the command line's paths.

use std::path::{Path, PathBuf};

use sql::{Error, Result};

use crate::cli::FileArgs;
use crate::spec::{self, model::PipelineSpec};

/// Reads the environment for `${VAR}`; the one place that does.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Every pipeline of `args`, checked; names are unique among them.
///
/// # Errors
/// The first file that cannot be read or is wrong, two pipelines of one name, or a folder without pipelines.
pub fn load(args: &FileArgs) -> Result<Vec<PipelineSpec>> {
    let mut specs: Vec<PipelineSpec> = Vec::new();
    for file in expand(&args.files)? {
        let spec = spec::parse(&file, &environment, &args.sets)?;
        if let Some(twin) = specs.iter().find(|s| s.pipeline.name == spec.pipeline.name) {
            return Err(Error::config(format!("two pipelines are named `{}`", spec.pipeline.name))
                .at(format!("{} and {}", twin.file.display(), spec.file.display()))
                .expected("a name of its own for each: it is part of the positions' keys in the tables")
                .remedy("change `pipeline.name` in one of them"));
        }
        specs.push(spec);
    }
    Ok(specs)
}

/// Files as they are, folders as their `*.yaml` and `*.yml` files, sorted.
///
/// # Errors
/// A path that does not exist, or a folder without such a file.
pub fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(of_folder(path)?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn of_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |error: std::io::Error| {
        Error::config("the folder cannot be read")
            .at(folder.display().to_string())
            .source(error)
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let yaml = path
            .extension()
            .is_some_and(|ext| ext == "yaml" || ext == "yml");
        if yaml && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Error::config("the folder holds no pipeline file")
            .at(folder.display().to_string())
            .expected("files that end in .yaml or .yml")
            .remedy("name a pipeline file, or a folder that holds some"));
    }
    files.sort();
    Ok(files)
}
