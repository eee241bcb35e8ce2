//! The relations that a half-written statement names.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// A table, or a table function's call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relation {
    /// A table by its name, as it is written.
    Table(String),
    /// A table function, lowercase, and the text of its first argument if that is a string or a name.
    Function {
        /// Its name.
        name: String,
        /// The table that it is about, if it is about one.
        argument: Option<String>,
    },
}

/// A relation and what the statement calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) relation: Relation,
    pub(super) alias: Option<String>,
}

impl Named {
    /// Whether `name`, as in `name.column`, means this relation.
    pub(super) fn is_called(&self, name: &str) -> bool {
        match (&self.alias, &self.relation) {
            (Some(alias), _) => alias == name,
            (None, Relation::Table(table)) => {
                table == name || table.rsplit('.').next() == Some(name)
            }
            (None, Relation::Function { name: function, .. }) => function == name,
        }
    }
}

/// Words that follow a relation and are no alias.
const NO_ALIAS: [&str; 22] = [
    "ON",
    "USING",
    "WHERE",
    "GROUP",
    "ORDER",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "JOIN",
    "LEFT",
    "RIGHT",
    "FULL",
    "INNER",
    "CROSS",
    "NATURAL",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "QUALIFY",
    "WINDOW",
    "SELECT",
    "FETCH",
];

/// What follows FROM, JOIN, a comma of FROM, DESCRIBE or TABLE.
pub(super) fn relations(tokens: &[TokenWithSpan]) -> Vec<Named> {
    let tokens: Vec<&Token> = tokens
        .iter()
        .map(|found| &found.token)
        .filter(|token| !matches!(token, Token::Whitespace(_)))
        .collect();
    let mut found = Vec::new();
    let mut rest = tokens.as_slice();
    // Whether a comma leads to another relation, for each open parenthesis.
    let mut listing = vec![false];
    while let [token, after @ ..] = rest {
        rest = after;
        match token {
            Token::LParen => listing.push(false),
            Token::RParen if listing.len() > 1 => {
                listing.pop();
            }
            token => {
                let in_list = listing.last().copied().unwrap_or_default();
                let starts = match token {
                    Token::Comma => in_list,
                    token => leads_to_relation(token),
                };
                let ends = ends_relations(token);
                if let Some(last) = listing.last_mut()
                    && (starts || ends)
                {
                    *last = starts;
                }
                if starts && let Some((named, after)) = relation(rest) {
                    found.push(named);
                    rest = after;
                }
            }
        }
    }
    found
}

/// Whether a relation's name is what comes after `token`.
pub(super) fn leads_to_relation(token: &Token) -> bool {
    is_word(token, &["FROM", "JOIN", "DESCRIBE", "TABLE"])
}

fn ends_relations(token: &Token) -> bool {
    is_word(
        token,
        &[
            "SELECT",
            "WHERE",
            "GROUP",
            "ORDER",
            "HAVING",
            "LIMIT",
            "OFFSET",
            "UNION",
            "EXCEPT",
            "INTERSECT",
            "QUALIFY",
            "WINDOW",
            "ON",
            "USING",
        ],
    )
}

pub(super) fn is_word(token: &Token, words: &[&str]) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none()
        && words.iter().any(|known| word.value.eq_ignore_ascii_case(known)))
}

/// The relation that `tokens` start with, and what follows it and its alias.
fn relation<'a>(tokens: &'a [&'a Token]) -> Option<(Named, &'a [&'a Token])> {
    let (name, mut rest) = name(tokens)?;
    let relation = match rest {
        [Token::LParen, inside @ ..] => {
            let argument = match inside {
                [Token::SingleQuotedString(text), ..] => Some(text.clone()),
                [Token::Word(_), ..] => self::name(inside).map(|(name, _)| name),
                _ => None,
            };
            rest = after_parenthesis(inside);
            Relation::Function { name, argument }
        }
        _ => Relation::Table(name),
    };
    if let [Token::Word(word), after @ ..] = rest
        && word.quote_style.is_none()
        && word.value.eq_ignore_ascii_case("AS")
    {
        rest = after;
    }
    let alias = match rest {
        [token @ Token::Word(word), after @ ..] if !is_word(token, &NO_ALIAS) => {
            rest = after;
            Some(normal(&word.value, word.quote_style))
        }
        _ => None,
    };
    Some((Named { relation, alias }, rest))
}

/// A name of one or several words, each as it is written, and what follows.
fn name<'a>(tokens: &'a [&'a Token]) -> Option<(String, &'a [&'a Token])> {
    let [Token::Word(first), rest @ ..] = tokens else {
        return None;
    };
    let mut name = first.to_string();
    let mut rest = rest;
    if first.quote_style.is_none() {
        name = name.to_lowercase();
    }
    while let [Token::Period, Token::Word(word), after @ ..] = rest {
        name.push('.');
        name.push_str(&match word.quote_style {
            Some(_) => word.to_string(),
            None => word.value.to_lowercase(),
        });
        rest = after;
    }
    Some((name, rest))
}

/// A name as SQL reads it.
pub(super) fn normal(value: &str, quote: Option<char>) -> String {
    match quote {
        Some(_) => value.to_owned(),
        None => value.to_lowercase(),
    }
}

fn after_parenthesis<'a>(tokens: &'a [&'a Token]) -> &'a [&'a Token] {
    let mut open = 1_usize;
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::LParen => open += 1,
            Token::RParen => open -= 1,
            _ => {}
        }
        if open == 0 {
            return tokens.get(index + 1..).unwrap_or_default();
        }
    }
    &[]
}
