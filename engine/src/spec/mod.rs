//! The pipeline file: YAML into typed, checked data.
//!
//! A file goes through four steps, none of which touches the world beyond reading it: YAML into a tree of values that
//! remember their places; `--set` values put into the tree; `${VARIABLES}` filled in; and the tree read, block by
//! block, into [`model::PipelineSpec`] with every default said. Nothing in a file is ignored: unknown keys are errors
//! with the nearest known key, and what is designed but not built yet is refused by name.
//!
//! Every error is of kind [`sql::ErrorKind::Config`] and names its place as `FILE:LINE:COLUMN (yaml.path)`.

mod block;
mod columns;
mod effective;
mod env;
mod field;
mod iceberg;
mod kafka;
mod lake;
mod maintenance;
pub mod model;
mod names;
mod nearest;
mod observability;
mod overrides;
mod paths;
mod pipeline;
mod properties;
mod rest;
mod sink;
mod source;
mod statements;
mod tables;
mod tree;
mod units;
mod yaml;

use std::path::Path;

use sql::{Error, Result};

pub use effective::{Effective, show_defaults};
pub use lake::reads;
pub use nearest::nearest;
pub use units::{duration, size};

use block::Context;
use field::Field;
use model::PipelineSpec;

use crate::sink::quarantine;

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Reads and checks the pipeline file at `path`. `env` looks up variables; `sets` are the `--set` paths and values.
///
/// # Errors
/// [`sql::ErrorKind::Config`] for a file that cannot be read or is wrong.
pub fn parse(
    path: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    sets: &[(String, String)],
) -> Result<PipelineSpec> {
    let shown = path.display().to_string();
    let unreadable = |error: std::io::Error| {
        Error::config("the pipeline file cannot be read")
            .at(shown.clone())
            .expected("a YAML file that this user may read")
            .remedy("check the path and its permissions")
            .source(error)
    };
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > MAX_FILE {
        return Err(
            Error::config(format!("the pipeline file has {length} bytes"))
                .at(shown)
                .expected(format!("at most {MAX_FILE} bytes"))
                .remedy("is this a pipeline file?"),
        );
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().get(..error.utf8_error().valid_up_to());
        let line = valid.map_or(1, |b| b.iter().filter(|b| **b == b'\n').count() + 1);
        Error::config("the pipeline file is not UTF-8")
            .at(format!("{shown}:{line}"))
            .expected("UTF-8 text")
            .remedy("save it as UTF-8")
    })?;
    parse_str(&text, path, env, sets)
}

/// Checks `text` as the content of the pipeline file at `path`, which is not read: it names places, and paths
/// relative to the file start at its folder.
///
/// # Errors
/// [`sql::ErrorKind::Config`] for a text that is wrong.
pub fn parse_str(
    text: &str,
    path: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    sets: &[(String, String)],
) -> Result<PipelineSpec> {
    let file = path.display().to_string();
    let working = working()?;
    let absolute = paths::absolute(&working, &file);
    let mut root = yaml::load(text, &file)?;
    let context = Context {
        file,
        folder: (absolute.parent()).map_or_else(|| working.clone(), Path::to_path_buf),
        working,
    };
    for (key, value) in sets {
        overrides::set(&mut root, key, value)?;
    }
    env::substitute(&mut root, "", &context, env)?;
    read(&Field::root(&context, &root), absolute)
}

/// The Iceberg table that `options` name: the keys of a pipeline's `sink:` with dots, such as `catalog.type` and `table`.
///
/// # Errors
/// [`sql::ErrorKind::Config`] for keys and values that a `sink:` could not have; the place is the option.
pub fn iceberg_table(options: &[(String, String)]) -> Result<model::IcebergTableSpec> {
    let read = || {
        let file = "OPTIONS".to_owned();
        let working = working()?;
        let mut root = yaml::load("{}", &file)?;
        let context = Context {
            file,
            folder: working.clone(),
            working,
        };
        for (key, value) in options {
            overrides::set(&mut root, key, value)?;
        }
        let mut block = Field::root(&context, &root).block()?;
        block.only(&["catalog", "table", "storage_options"], &[])?;
        iceberg::iceberg_table(&mut block)
    };
    read().map_err(|error: Error| match error.place() {
        Some(place) => {
            let place = place.replace("--set ", "OPTIONS ");
            error.at(place)
        }
        None => error,
    })
}

fn working() -> Result<std::path::PathBuf> {
    std::env::current_dir().map_err(|error| {
        Error::config("the working folder cannot be read")
            .remedy("change into a folder that exists")
            .source(error)
    })
}

/// Reads the top level.
fn read(root: &Field<'_>, file: std::path::PathBuf) -> Result<PipelineSpec> {
    const KNOWN: [&str; 9] = [
        "pipeline",
        "source",
        "transform",
        "rules",
        "tables",
        "functions",
        "sink",
        "maintenance",
        "observability",
    ];
    let mut block = root.block()?;
    block.only(&KNOWN, &["quality"])?;
    let pipeline = pipeline::read(&mut block)?;
    let source = source::read(&mut block, &pipeline.name)?;
    let transform = block.optional("transform", "the row's columns as they are", Field::located)?;
    let rules = statements::rules(&mut block)?;
    let tables = tables::read(&mut block, source.name())?;
    let functions = statements::functions(&mut block)?;
    let sink = sink::read(&mut block)?;
    lake::refuse_circle(&source, &sink)?;
    quarantine::table(&pipeline, &sink)?;
    let maintenance = maintenance::read(&mut block)?;
    let observability = observability::read(&mut block)?;
    Ok(PipelineSpec {
        file,
        pipeline,
        source,
        transform,
        rules,
        tables,
        functions,
        sink,
        maintenance,
        observability,
        effective: block.finish().into(),
    })
}
