//! What half a word may mean.

use datafusion::common::utils::quote_identifier;
use datafusion::sql::sqlparser::keywords::RESERVED_FOR_COLUMN_ALIAS;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::command::command_names;
use super::relations::{Named, Relation, is_word, leads_to_relation, normal, relations};
use super::split::{Next, next, offset, tokens};

/// The names that a session knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Tables by their full names, quoted where SQL needs it.
    pub tables: Vec<String>,
    /// Scalar, aggregate and window functions.
    pub functions: Vec<String>,
    /// Functions that stand in FROM.
    pub table_functions: Vec<String>,
    /// What `\format` takes.
    pub formats: Vec<String>,
}

/// The words that may stand in the place of what was typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Completion {
    /// The byte of the line where the word starts.
    pub start: usize,
    /// What may stand there, sorted.
    pub words: Vec<String>,
}

/// Keywords of queries. The parser knows many more, which would bury these.
const KEYWORDS: [&str; 63] = [
    "ALL",
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "CREATE",
    "CROSS",
    "DATE",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "ANALYZE",
    "EXTERNAL",
    "EXTRACT",
    "FALSE",
    "FILTER",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "ILIKE",
    "IN",
    "INNER",
    "INTERSECT",
    "INTERVAL",
    "IS",
    "JOIN",
    "LEFT",
    "LIKE",
    "LIMIT",
    "LOCATION",
    "NOT",
    "NULL",
    "NULLS",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OVER",
    "PARTITION",
    "RIGHT",
    "SELECT",
    "SHOW",
    "STORED",
    "TABLE",
    "TABLES",
    "THEN",
    "TIMESTAMP",
    "TRUE",
    "UNION",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
    "WITH",
];

/// Where a statement begins.
const STARTS: [&str; 8] = [
    "SELECT", "WITH", "EXPLAIN", "DESCRIBE", "SHOW", "CREATE", "VALUES", "DROP",
];

/// What may stand in the place of the word before byte `at` of `line`. `before` is what was typed of the statement in earlier
/// lines; `columns` tells a relation's columns, or none if they are not known.
pub fn complete(
    before: &str,
    line: &str,
    at: usize,
    names: &Names,
    columns: &mut dyn FnMut(&Relation) -> Vec<String>,
) -> Completion {
    let typed = line.get(..at).unwrap_or(line);
    if let Some(completion) = command(before, typed, names) {
        return completion;
    }
    let (text, skipped) = open_statement(before, typed);
    let Some(cursor) = Cursor::new(&text) else {
        return Completion::default();
    };
    // The word starts in this line: a name does not go over a line's end.
    let Some(start) = (skipped + cursor.start).checked_sub(before.len()) else {
        return Completion::default();
    };
    // Without the word, whose quote may be open.
    let whole = format!(
        "{} {}",
        text.get(..cursor.start).unwrap_or_default(),
        line.get(at..).unwrap_or_default()
    );
    let mut words = match &cursor.place {
        Place::TableText => tables(&names.tables, &cursor.word),
        Place::Relation => {
            let mut words = tables(&names.tables, &cursor.word);
            words.extend(functions(&names.table_functions, &cursor.word));
            words
        }
        Place::Start => keywords(&STARTS, &cursor.word),
        Place::AfterRelation => keywords(&KEYWORDS, &cursor.word),
        Place::Expression => expression(&cursor, &relations(&tokens(&whole).0), names, columns),
    };
    words.sort();
    words.dedup();
    Completion { start, words }
}

/// The statement that is open at the cursor, with what it has of this line, and how many bytes of all that stand before it.
fn open_statement(before: &str, typed: &str) -> (String, usize) {
    let mut text = format!("{before}{typed}");
    let mut skipped = 0;
    while let Next::Statement { end, .. } | Next::Nothing { end } = next(&text) {
        if end >= text.len() && !text.trim_end().ends_with(';') {
            break;
        }
        skipped += end;
        text = text.split_off(end);
        if text.is_empty() {
            break;
        }
    }
    (text, skipped)
}

fn command(before: &str, typed: &str, names: &Names) -> Option<Completion> {
    let trimmed = typed.trim_start();
    if !before.trim().is_empty() || !trimmed.starts_with('\\') {
        return None;
    }
    let indent = typed.len() - trimmed.len();
    let Some((name, argument)) = trimmed.split_once(char::is_whitespace) else {
        let mut words: Vec<String> = command_names()
            .filter(|name| name.starts_with(trimmed))
            .map(str::to_owned)
            .collect();
        words.sort();
        return Some(Completion {
            start: indent,
            words,
        });
    };
    let argument = argument.trim_start();
    let fixed = |known: &[String]| -> Vec<String> {
        let fits = known.iter().filter(|word| word.starts_with(argument));
        fits.cloned().collect()
    };
    let mut words: Vec<String> = match name {
        "\\d" => tables(&names.tables, argument),
        "\\df" => {
            let mut all = fixed(&names.functions);
            all.extend(fixed(&names.table_functions));
            all
        }
        "\\format" => fixed(&names.formats),
        "\\timing" | "\\x" => fixed(&["on".to_owned(), "off".to_owned()]),
        _ => Vec::new(),
    };
    words.sort();
    words.dedup();
    let start = typed.len() - argument.len();
    Some(Completion { start, words })
}

/// What kind of word is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A statement's first word.
    Start,
    /// After FROM, JOIN, or a comma of FROM.
    Relation,
    /// After a relation.
    AfterRelation,
    /// The string that names a table function's table.
    TableText,
    /// Anywhere else.
    Expression,
}

/// The word before the cursor.
struct Cursor {
    place: Place,
    /// Where it starts in the text.
    start: usize,
    /// The word with the names before its periods, as typed.
    word: String,
}

impl Cursor {
    /// `None` in a string or a comment, where there is nothing to complete.
    fn new(text: &str) -> Option<Self> {
        let (tokens, error) = tokens(text);
        let mut tokens = tokens.as_slice();
        let mut start = text.len();
        if let Some(error) = error {
            let open = offset(text, error.location);
            if error.message.contains("comment") {
                return None;
            }
            match text.get(open..).and_then(|rest| rest.chars().next()) {
                Some('"') => start = open,
                Some('\'') => return Self::in_text(text, tokens, open + 1),
                _ => return None,
            }
        }
        if ends_in_comment(tokens) {
            return None;
        }
        // Words and periods without a gap are one name.
        while let [head @ .., last] = tokens {
            let first = start == text.len() || !matches!(last.token, Token::Period);
            let joins = match &last.token {
                Token::Period => true,
                Token::Word(_) => first && begins_word(text, start),
                _ => false,
            };
            if !joins || offset(text, last.span.end) != start {
                break;
            }
            start = offset(text, last.span.start);
            tokens = head;
        }
        if matches!(significant(tokens).last(), Some(Token::Backslash)) {
            return None;
        }
        Some(Self {
            place: place(tokens),
            start,
            word: text.get(start..).unwrap_or_default().to_owned(),
        })
    }

    /// In a string: it names a table if it is a table function's first argument.
    fn in_text(text: &str, tokens: &[TokenWithSpan], start: usize) -> Option<Self> {
        let significant = significant(tokens);
        let [.., before, Token::Word(_), Token::LParen] = significant.as_slice() else {
            return None;
        };
        if !leads_to_relation(before) && **before != Token::Comma {
            return None;
        }
        Some(Self {
            place: Place::TableText,
            start,
            word: text.get(start..).unwrap_or_default().to_owned(),
        })
    }
}

/// Whether what starts at `start` goes on from a word: at the end of the text, or at a period.
fn begins_word(text: &str, start: usize) -> bool {
    start == text.len() || text.get(start..).is_some_and(|rest| rest.starts_with('.'))
}

fn ends_in_comment(tokens: &[TokenWithSpan]) -> bool {
    use datafusion::sql::sqlparser::tokenizer::Whitespace;
    // A line comment goes on until its line ends, and the cursor is in it.
    tokens.last().is_some_and(|last| {
        matches!(&last.token, Token::Whitespace(Whitespace::SingleLineComment { comment, .. })
            if !comment.ends_with('\n'))
    })
}

fn significant(tokens: &[TokenWithSpan]) -> Vec<&Token> {
    tokens
        .iter()
        .map(|found| &found.token)
        .filter(|token| !matches!(token, Token::Whitespace(_)))
        .collect()
}

fn place(tokens: &[TokenWithSpan]) -> Place {
    let tokens = significant(tokens);
    let Some(last) = tokens.last() else {
        return Place::Start;
    };
    if is_word(last, &["EXPLAIN", "ANALYZE", "VERBOSE"]) {
        return Place::Start;
    }
    if leads_to_relation(last) {
        return Place::Relation;
    }
    // The clause that the cursor is in: the last such word of this parenthesis.
    let mut open = 0_i32;
    for token in tokens.iter().rev() {
        match token {
            Token::RParen => open += 1,
            Token::LParen if open == 0 => return Place::Expression,
            Token::LParen => open -= 1,
            token if open == 0 && leads_to_relation(token) => {
                return match **last == Token::Comma {
                    true => Place::Relation,
                    false => Place::AfterRelation,
                };
            }
            token
                if open == 0
                    && is_word(
                        token,
                        &[
                            "SELECT", "WHERE", "BY", "HAVING", "ON", "LIMIT", "USING", "QUALIFY",
                        ],
                    ) =>
            {
                return Place::Expression;
            }
            _ => {}
        }
    }
    Place::Expression
}

fn expression(
    cursor: &Cursor,
    relations: &[Named],
    names: &Names,
    columns: &mut dyn FnMut(&Relation) -> Vec<String>,
) -> Vec<String> {
    let word = cursor.word.as_str();
    if let Some((qualifier, column)) = word.rsplit_once('.') {
        let called = unquoted(qualifier);
        let named = relations
            .iter()
            .find(|named| named.is_called(&called) || named.is_called(qualifier));
        let Some(named) = named else {
            return Vec::new();
        };
        let found = fitting(&columns(&named.relation), column);
        return found
            .into_iter()
            .map(|column| format!("{qualifier}.{column}"))
            .collect();
    }
    let mut words = Vec::new();
    for named in relations {
        words.extend(fitting(&columns(&named.relation), word));
        if let Some(alias) = &named.alias
            && fits(alias, word)
        {
            words.push(quoted(alias));
        }
    }
    // Without a letter there are hundreds of functions and keywords, which would bury the columns.
    if !word.is_empty() || words.is_empty() {
        words.extend(keywords(&KEYWORDS, word));
    }
    if !word.is_empty() {
        words.extend(functions(&names.functions, word));
    }
    words
}

/// Columns that begin like `typed`, as SQL must write them.
fn fitting(columns: &[String], typed: &str) -> Vec<String> {
    let fitting = columns.iter().filter(|name| fits(name, typed));
    fitting.map(|name| quoted(name)).collect()
}

fn fits(name: &str, typed: &str) -> bool {
    let typed = typed.trim_matches('"');
    starts_with(name, typed)
}

/// Whatever the case.
fn starts_with(name: &str, typed: &str) -> bool {
    name.to_lowercase().starts_with(&typed.to_lowercase())
}

/// A name as SQL must write it.
fn quoted(name: &str) -> String {
    let upper = name.to_uppercase();
    let reserved = RESERVED_FOR_COLUMN_ALIAS
        .iter()
        .any(|keyword| format!("{keyword:?}") == upper);
    match reserved {
        true => format!("\"{name}\""),
        false => quote_identifier(name).into_owned(),
    }
}

fn unquoted(name: &str) -> String {
    match name
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(inner) => inner.replace("\"\"", "\""),
        None => normal(name, None),
    }
}

/// Tables whose full name begins like `typed`, or the last part of whose name does.
fn tables(tables: &[String], typed: &str) -> Vec<String> {
    let plain = typed.replace('"', "");
    let fitting = tables.iter().filter(|table| {
        let table = table.replace('"', "");
        starts_with(&table, &plain)
            || (!plain.contains('.')
                && table
                    .rsplit('.')
                    .next()
                    .is_some_and(|last| starts_with(last, &plain)))
    });
    fitting.cloned().collect()
}

fn functions(functions: &[String], typed: &str) -> Vec<String> {
    let fitting = functions.iter().filter(|name| starts_with(name, typed));
    fitting.map(|name| format!("{name}(")).collect()
}

/// Keywords in the case that was begun with.
fn keywords(keywords: &[&str], typed: &str) -> Vec<String> {
    let lower = typed.chars().any(char::is_lowercase);
    let fitting = keywords
        .iter()
        .filter(|keyword| starts_with(keyword, typed));
    fitting
        .map(|keyword| match lower {
            true => keyword.to_lowercase(),
            false => (*keyword).to_owned(),
        })
        .collect()
}
