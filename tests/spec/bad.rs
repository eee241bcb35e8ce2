//! Every file in `bad/` is refused with exactly the text beside it.
//!
//! A first line `# --set KEY=VALUE` is the command line's. `UPDATE_EXPECTED=1` writes the `.err` files anew: read
//! the difference before it is committed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sql::ErrorKind;

#[test]
fn every_wrong_file_is_refused_with_its_text() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("spec/bad");
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut cases = 0;
    let mut failures = Vec::new();
    for path in sorted_files(&folder, "yaml") {
        cases += 1;
        let name = path.file_name().unwrap().to_str().unwrap();
        let report = refused(&fs::read_to_string(&path).unwrap(), name);
        let expected_path = path.with_extension("err");
        if update {
            fs::write(&expected_path, &report).unwrap();
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if report != expected {
            failures.push(format!(
                "{name}\n--- expected\n{expected}\n--- is\n{report}"
            ));
        }
    }
    assert!(cases >= 40, "only {cases} cases were found");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_no_orphans(&folder);
}

/// An expected text whose file was renamed or removed tests nothing.
fn assert_no_orphans(folder: &Path) {
    let stems = |extension| -> BTreeSet<_> {
        (sorted_files(folder, extension).iter())
            .map(|path| path.file_stem().unwrap().to_owned())
            .collect()
    };
    assert_eq!(stems("yaml"), stems("err"));
}

fn sorted_files(folder: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = (fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

/// The report on a text that must be refused, with what holds for every refusal.
fn refused(text: &str, name: &str) -> String {
    let set = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("# --set "));
    let sets: Vec<(String, String)> = set
        .and_then(|set| set.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into_iter()
        .collect();
    let Err(error) = engine::spec::parse_str(text, Path::new(name), &super::env, &sets) else {
        panic!("{name} is accepted");
    };
    assert_eq!(error.kind(), ErrorKind::Config, "{name}");
    let place = error.place().unwrap_or_default();
    assert!(
        place.starts_with(&format!("{name}:")) || place.starts_with("--set "),
        "{name} has no place, but `{place}`"
    );
    assert!(
        error.next_step().is_some(),
        "{name} says nothing to do: {}",
        error.report()
    );
    format!("{}\n", error.report())
}
