//! An error as it is told at the prompt: with the place in the statement that it is about.

use sql::Error;
use sql::plan::Script;

use crate::run::policy;

/// The whole error, and under its place the statement's line with a caret.
pub(super) fn render(error: &Error, script: Option<&Script>) -> String {
    let told = policy::render(error);
    let marked = script.and_then(|script| marked(error, script));
    let (Some(marked), Some(place)) = (marked, error.place()) else {
        return told;
    };
    let place = format!("\n  at: {place}");
    match told.split_once(&place) {
        Some((before, after)) => format!("{before}{place}\n{marked}{after}"),
        None => told,
    }
}

fn marked(error: &Error, script: &Script) -> Option<String> {
    let (line, column) = script.point(error)?;
    let line = script.text().lines().nth(line.checked_sub(1)?)?;
    // Blanks stand for a statement before this one in the same line.
    let indent = line.len() - line.trim_start().len();
    let skipped = line.get(..indent)?.chars().count();
    let text: String = line
        .trim()
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    let before: String = text
        .chars()
        .take(column.checked_sub(1)?.checked_sub(skipped)?)
        .collect();
    let blanks = unicode_width::UnicodeWidthStr::width(before.as_str());
    Some(format!("      {text}\n      {:blanks$}^", ""))
}
