//! The pipeline file: what is refused and how it is said, what defaults are, what values mean.

mod bad;
mod columns;
mod defaults;
mod lake;
mod mutations;
mod shipped;
mod values;

use std::path::{Path, PathBuf};

use engine::spec::model::PipelineSpec;

/// The repository's root.
fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap().to_path_buf()
}

/// The variables that these tests set.
fn env(name: &str) -> Option<String> {
    let value = match name {
        "NUMBER" => "7",
        "TRUTH" => "true",
        "EMPTY" => "",
        "WORD" => "blue: green # grey",
        _ => return None,
    };
    Some(value.to_owned())
}

/// A file that says only what has no default, with `more` in place of nothing at its end.
fn minimal(more: &str) -> String {
    format!(
        "pipeline: {{ name: p }}\n\
         source:\n  \
           type: kafka\n  \
           name: t\n  \
           bootstrap_servers: localhost:9092\n  \
           topics: [a.b.c]\n\
         sink: {{ type: delta, path: out, mode: append }}\n\
         {more}"
    )
}

fn parse(text: &str, sets: &[(&str, &str)]) -> sql::Result<PipelineSpec> {
    let sets: Vec<(String, String)> = (sets.iter())
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    engine::spec::parse_str(text, Path::new("test.yaml"), &env, &sets)
}

/// Parses a file that must be right.
fn good(text: &str) -> PipelineSpec {
    parse(text, &[]).unwrap_or_else(|error| panic!("{}\n{text}", error.report()))
}

/// A spec as text, without the places in the file, the file itself and what masks secrets.
fn essence(spec: &PipelineSpec) -> String {
    let text = format!("{spec:#?}");
    let kept = text.lines().filter(|line| {
        let line = line.trim_start();
        !["at: ", "first_line: ", "file: "]
            .iter()
            .any(|key| line.starts_with(key))
    });
    kept.collect::<Vec<_>>().join("\n")
}
