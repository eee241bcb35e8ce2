//! No text makes the parser panic or hang, and whatever it refuses it refuses with a place and a way out.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use sql::ErrorKind;

use super::{env, repository};

const PIECES: [&str; 26] = [
    "\n", "  ", "\t", ":", ": ", "- ", "[", "]", "{", "}", "\"", "'", "|", ">", "&a ", "*a",
    "<<: ", "${", "}", "$${", "#", "!!str ", "\u{0}", "é", "---\n", "%",
];

#[derive(Debug, Clone)]
enum Edit {
    Insert(prop::sample::Index, usize),
    Delete(prop::sample::Index, usize),
    Copy(prop::sample::Index, prop::sample::Index, usize),
    Raw(prop::sample::Index, char),
}

fn edit() -> impl Strategy<Value = Edit> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), 0..PIECES.len()).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        (index(), 1..40_usize).prop_map(|(at, len)| Edit::Delete(at, len)),
        (index(), index(), 1..80_usize).prop_map(|(from, to, len)| Edit::Copy(from, to, len)),
        (index(), any::<char>()).prop_map(|(at, c)| Edit::Raw(at, c)),
    ]
}

fn apply(text: &mut Vec<char>, edit: &Edit) {
    if text.is_empty() {
        return;
    }
    let len = text.len();
    match edit {
        Edit::Insert(at, piece) => {
            let at = at.index(len);
            text.splice(at..at, PIECES[*piece].chars());
        }
        Edit::Delete(at, count) => {
            let at = at.index(len);
            text.drain(at..(at + count).min(len));
        }
        Edit::Copy(from, to, count) => {
            let from = from.index(len);
            let copied: Vec<char> = text[from..(from + count).min(len)].to_vec();
            let to = to.index(len);
            text.splice(to..to, copied);
        }
        Edit::Raw(at, c) => text[at.index(len)] = *c,
    }
}

fn check(text: &str) -> Result<(), TestCaseError> {
    match engine::spec::parse_str(text, Path::new("m.yaml"), &env, &[]) {
        Ok(spec) => {
            // What is accepted can be shown, and the shown file is accepted too.
            let shown = engine::spec::show_defaults(&spec);
            let again = engine::spec::parse_str(&shown, Path::new("m.yaml"), &env, &[]);
            let again =
                again.map_err(|e| TestCaseError::fail(format!("{}\n{shown}", e.report())))?;
            prop_assert_eq!(super::essence(&again), super::essence(&spec));
        }
        Err(error) => {
            prop_assert_eq!(error.kind(), ErrorKind::Config);
            let place = error.place().unwrap_or_default();
            prop_assert!(place.starts_with("m.yaml:"), "{}", error.report());
            prop_assert!(error.next_step().is_some(), "{}", error.report());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_file_never_panics(edits in prop::collection::vec(edit(), 1..6), which in 0..2_usize) {
        let name = ["customers", "customers_delta"][which];
        let path = repository().join(format!("pipelines/{name}.yaml"));
        let mut text: Vec<char> = fs::read_to_string(path).unwrap().chars().collect();
        edits.iter().for_each(|edit| apply(&mut text, edit));
        check(&text.into_iter().collect::<String>())?;
    }

    #[test]
    fn any_text_at_all_never_panics(text in "\\PC{0,200}") {
        check(&text)?;
    }

    #[test]
    fn any_value_in_any_place_survives_being_shown(value in "\\PC{1,60}", lines in "[ -~\n]{1,80}") {
        let quoted = serde_json::to_string(&value).unwrap();
        let block = serde_json::to_string(&lines).unwrap();
        let file = super::minimal(&format!(
            "transform: {block}\nrules:\n  - {{ name: r, expect: {quoted} }}\n"
        ));
        check(&file)?;
    }
}

#[test]
fn deep_and_long_texts_are_refused_without_overflowing_the_stack() {
    let deep = 100_000;
    let column =
        |sql: String| super::minimal("").replace("sink:", &format!("  columns: {sql:?}\nsink:"));
    for text in [
        "[".repeat(deep),
        "{a: ".repeat(deep),
        "- ".repeat(deep),
        "? ".repeat(deep),
        format!("a: {}", "${".repeat(deep)),
        column(format!("m INT{}", "[]".repeat(deep))),
        column(format!(
            "m {}INT{}",
            "ARRAY<".repeat(deep),
            ">".repeat(deep)
        )),
        column(format!(
            "m INT DEFAULT {}1{}",
            "(".repeat(deep),
            ")".repeat(deep)
        )),
        column(format!("m INT DEFAULT {}1", "-".repeat(deep))),
        column(format!("m INT CHECK ({}true)", "NOT ".repeat(deep))),
        column(format!("m INT DEFAULT 1{}", " + 1".repeat(deep))),
    ] {
        check(&text).unwrap();
    }
}
