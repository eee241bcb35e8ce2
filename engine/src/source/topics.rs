//! Which topics a source reads.

use regex::Regex;
use sql::{Error, Result};

use crate::spec::model::{KafkaSpec, Topics};

/// How many known topics an error lists.
const LISTED: usize = 8;

/// The configured topics, by name or by pattern.
#[derive(Debug, Clone)]
pub enum TopicFilter {
    /// Exactly these.
    Names(Vec<String>),
    /// Every topic whose whole name matches, but for those that Kafka keeps for itself (`__…`).
    Pattern(Regex),
}

impl TopicFilter {
    /// The filter of a source.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] if the regular expression does not parse.
    pub fn try_new(spec: &KafkaSpec) -> Result<Self> {
        match &spec.topics {
            Topics::Names(names) => Ok(Self::Names(names.clone())),
            Topics::Regex(pattern) => Regex::new(&format!("^(?:{pattern})$"))
                .map(Self::Pattern)
                .map_err(|error| {
                    Error::config(format!(
                        "`topics_regex` {pattern:?} is no regular expression"
                    ))
                    .at(spec.at.clone())
                    .source(error)
                }),
        }
    }

    /// Whether `topic` is one of them.
    pub fn matches(&self, topic: &str) -> bool {
        match self {
            Self::Names(names) => names.iter().any(|name| name == topic),
            Self::Pattern(regex) => !topic.starts_with("__") && regex.is_match(topic),
        }
    }

    /// Whether `topic` is named; a topic that only matches a pattern may go away.
    pub fn names(&self, topic: &str) -> bool {
        matches!(self, Self::Names(names) if names.iter().any(|name| name == topic))
    }

    /// The error for topics that are not among the `known` ones of `place`.
    pub(crate) fn missing(&self, known: &[String], place: &str) -> Error {
        let error = match self {
            Self::Names(names) => {
                let missing: Vec<&str> = names
                    .iter()
                    .filter(|name| !known.contains(name))
                    .map(String::as_str)
                    .collect();
                let error = Error::config(match missing.as_slice() {
                    [one] => format!("there is no topic `{one}`"),
                    many => format!("there are no topics `{}`", many.join("`, `")),
                });
                match missing.iter().find_map(|name| nearest(name, known)) {
                    Some(near) => error.remedy(format!("Did you mean `{near}`?")),
                    None => error.remedy(
                        "Correct `source.topics`, or start the connector that writes the topic.",
                    ),
                }
            }
            Self::Pattern(regex) => Error::config(format!(
                "no topic matches `topics_regex` {:?}",
                regex
                    .as_str()
                    .trim_start_matches("^(?:")
                    .trim_end_matches(")$")
            ))
            .remedy("Correct `source.topics_regex`; it must match a topic's whole name."),
        };
        error.at(place).expected(listed(known))
    }
}

/// The known name that is most like `name`, if one is.
pub(crate) fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate.as_str()))
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn listed(known: &[String]) -> String {
    let mut names: Vec<&str> = known
        .iter()
        .map(String::as_str)
        .filter(|name| !name.starts_with("__"))
        .collect();
    names.sort_unstable();
    let shown = names
        .iter()
        .take(LISTED)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len() {
        0 => "a topic that exists; there are none yet".to_owned(),
        n if n > LISTED => format!("one of {n} topics: {shown}, …"),
        _ => format!("one of: {shown}"),
    }
}
