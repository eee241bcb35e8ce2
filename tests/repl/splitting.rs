//! Where statements end, and which lines they are in.

use proptest::prelude::*;
use sql::repl::{Next, Statement, Step, Typed, next};

/// Statements as `LINE: TEXT`, commands as their text; all lines are there at once.
fn steps(text: &str) -> Vec<String> {
    let mut typed = Typed::default();
    let mut found = Vec::new();
    for line in text.lines() {
        typed.line(line);
        while let Some(step) = typed.step() {
            found.push(told(&step));
        }
    }
    while let Some(step) = typed.end() {
        found.push(told(&step));
    }
    found
}

fn told(step: &Step) -> String {
    match step {
        Step::Statement(statement) => format!("{}: {}", statement.line, statement.bare()),
        Step::Command { text, line } => format!("{line}: {text}"),
    }
}

#[test]
fn a_statement_ends_at_its_semicolon_and_at_no_other() {
    for (text, expected) in [
        ("SELECT 1;", vec!["1: SELECT 1;"]),
        ("SELECT 1; SELECT 2;", vec!["1: SELECT 1;", "1: SELECT 2;"]),
        (
            "SELECT\n  1\n;\nSELECT 2",
            vec!["1: SELECT\n  1\n;", "4: SELECT 2"],
        ),
        (
            "SELECT ';', 'it''s;'; SELECT 2;",
            vec!["1: SELECT ';', 'it''s;';", "1: SELECT 2;"],
        ),
        ("SELECT \"a;b\";", vec!["1: SELECT \"a;b\";"]),
        ("SELECT 1 -- no; end\n;", vec!["1: SELECT 1 -- no; end\n;"]),
        (
            "SELECT /* no; end\n; */ 1;",
            vec!["1: SELECT /* no; end\n; */ 1;"],
        ),
        ("SELECT 'a\n;\nb';", vec!["1: SELECT 'a\n;\nb';"]),
        ("SELECT $$a;b$$;", vec!["1: SELECT $$a;b$$;"]),
        (";;\n; SELECT 1;", vec!["2: SELECT 1;"]),
        ("\n\n  SELECT 1;\n\n", vec!["3: SELECT 1;"]),
        ("-- a comment\n\nSELECT 1;", vec!["3: SELECT 1;"]),
        ("", vec![]),
        ("-- nothing; here", vec![]),
        ("/* nothing; here */ ;", vec![]),
        ("SELECT 'never ends; ", vec!["1: SELECT 'never ends;"]),
        (
            "SELECT 'ü;é' AS ж; SELECT 2;",
            vec!["1: SELECT 'ü;é' AS ж;", "1: SELECT 2;"],
        ),
    ] {
        assert_eq!(steps(text), expected, "{text}");
    }
}

#[test]
fn what_can_never_be_read_is_still_a_statement() {
    // No such operator: the tokenizer gives up at it.
    let text = "SELECT 1 ._ 2; SELECT 3;";
    assert_eq!(steps(text), ["1: SELECT 1 ._ 2;", "1: SELECT 3;"]);
}

#[test]
fn commands_stand_where_no_statement_has_begun() {
    for (text, expected) in [
        ("\\d", vec!["1: \\d"]),
        ("  \\d customers  ", vec!["1: \\d customers"]),
        ("SELECT 1; \\timing", vec!["1: SELECT 1;", "1: \\timing"]),
        (
            "-- first\n\\d it's\nSELECT 1;",
            vec!["2: \\d it's", "3: SELECT 1;"],
        ),
        ("/* a\n comment */ \\q", vec!["2: \\q"]),
        ("\\d a; b\nSELECT 1;", vec!["1: \\d a; b", "2: SELECT 1;"]),
        // Within a statement it is no command.
        ("SELECT 1\n\\d\n;", vec!["1: SELECT 1\n\\d\n;"]),
        ("SELECT '\n\\d\n';", vec!["1: SELECT '\n\\d\n';"]),
    ] {
        assert_eq!(steps(text), expected, "{text}");
    }
}

#[test]
fn a_statement_after_another_keeps_its_column() {
    let mut typed = Typed::default();
    typed.line("SELECT 1 AS ä; SELECT b;");
    assert!(matches!(typed.step(), Some(Step::Statement(_))));
    let Some(Step::Statement(Statement { text, line })) = typed.step() else {
        panic!("the second statement is there");
    };
    assert_eq!((text.as_str(), line), ("               SELECT b;", 1));
    assert!(!typed.begun());
}

#[test]
fn lines_that_came_are_pending_until_the_end_or_until_they_are_forgotten() {
    let mut typed = Typed::default();
    typed.line("SELECT");
    assert_eq!(typed.step(), None);
    typed.line("  1");
    assert_eq!(typed.step(), None);
    assert!(typed.begun());
    assert_eq!(typed.pending(), "SELECT\n  1\n");
    typed.clear();
    assert!(!typed.begun());
    typed.line("SELECT 2;");
    assert!(matches!(typed.step(), Some(Step::Statement(s)) if s.bare() == "SELECT 2;"));
}

proptest! {
    /// Quotes, comments, commands and semicolons in any order: line by line there are as many statements and commands as in
    /// the text as a whole, and the same ones, but for comments before them, whose lines are done with when they come.
    #[test]
    fn lines_make_the_statements_of_the_whole(text in "([a-z1;'\"\\\\\n -]|--|/\\*|\\*/|\\$\\$){0,40}") {
        let mut rest = text.as_str();
        let mut whole = Vec::new();
        while !rest.is_empty() {
            let (start, end) = match next(rest) {
                Next::Unfinished { .. } => break,
                Next::Nothing { end } => (end, end),
                Next::Statement { start, end } | Next::Command { start, end } => (start, end),
            };
            prop_assert!(end > 0);
            if start < end {
                whole.push(rest[start..end].trim());
            }
            rest = &rest[end..];
        }
        let mut typed = Typed::default();
        let mut lines = Vec::new();
        for line in text.split('\n') {
            typed.line(line);
            while let Some(step) = typed.step() {
                lines.push(match step {
                    Step::Statement(statement) => statement.bare().to_owned(),
                    Step::Command { text, .. } => text,
                });
            }
        }
        prop_assert_eq!(lines.len(), whole.len(), "{:?} {:?}", lines, whole);
        for (line, whole) in lines.iter().zip(whole) {
            prop_assert!(whole.ends_with(line.as_str()), "{:?} {:?}", line, whole);
        }
    }
}
