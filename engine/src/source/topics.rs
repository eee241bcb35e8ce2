//! Which topics a source reads.

use regex::Regex;
use sql::{Error, Result};

use crate::spec::model::{KafkaSpec, Topics};

/// How many known topics an error lists.
const LISTED: usize = 8;

/// The configured topics: names, and patterns that whole names match.
#[derive(Debug, Clone, Default)]
pub struct TopicFilter {
    /// These must be there.
    names: Vec<String>,
    patterns: Vec<Pattern>,
}

/// A pattern as the file says it, and as it is matched.
#[derive(Debug, Clone)]
struct Pattern {
    said: String,
    regex: Regex,
    /// Said by `topics_regex`, not by a `*` in `topics`.
    is_regex: bool,
}

impl TopicFilter {
    /// The filter of a source.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] if a pattern does not parse.
    pub fn try_new(spec: &KafkaSpec) -> Result<Self> {
        let whole = |said: &str, pattern: &str, is_regex| {
            let regex = Regex::new(&format!("^(?:{pattern})$")).map_err(|error| {
                Error::config(format!("{said:?} is no pattern of topic names"))
                    .at(spec.at.clone())
                    .source(error)
            })?;
            Ok(Pattern {
                said: said.to_owned(),
                regex,
                is_regex,
            })
        };
        let mut filter = Self::default();
        match &spec.topics {
            Topics::Regex(pattern) => filter.patterns.push(whole(pattern, pattern, true)?),
            Topics::Names(names) => {
                for name in names {
                    if is_glob(name) {
                        filter.patterns.push(whole(name, &glob(name), false)?);
                    } else {
                        filter.names.push(name.clone());
                    }
                }
            }
        }
        Ok(filter)
    }

    /// Exactly these topics.
    pub fn named<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self {
            names: names.into_iter().map(Into::into).collect(),
            patterns: Vec::new(),
        }
    }

    /// Whether `topic` is one of them. Topics that Kafka and Connect keep for themselves (`__…`) match no pattern.
    pub fn matches(&self, topic: &str) -> bool {
        self.names(topic)
            || (!topic.starts_with("__")
                && (self.patterns.iter()).any(|pattern| pattern.regex.is_match(topic)))
    }

    /// Whether `topic` is named; a topic that only matches a pattern may go away.
    pub fn names(&self, topic: &str) -> bool {
        self.names.iter().any(|name| name == topic)
    }

    /// The topics that are named.
    pub(crate) fn named_topics(&self) -> &[String] {
        &self.names
    }

    /// Checks that every named topic is among the `found` ones and that every pattern matches one of them.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] that tells what is missing, and which topics are `known` at `place`.
    pub(crate) fn check(&self, found: &[&str], known: &[String], place: &str) -> Result<()> {
        let missing: Vec<&str> = self
            .names
            .iter()
            .map(String::as_str)
            .filter(|name| !found.contains(name))
            .collect();
        let idle = |pattern: &&Pattern| {
            !(found.iter()).any(|topic| !topic.starts_with("__") && pattern.regex.is_match(topic))
        };
        let error = match (missing.as_slice(), self.patterns.iter().find(idle)) {
            ([], None) => return Ok(()),
            ([], Some(pattern)) => pattern.unmatched(),
            (missing, _) => without(missing, known),
        };
        Err(error.at(place).expected(listed(known)))
    }
}

impl Pattern {
    fn unmatched(&self) -> Error {
        if self.is_regex {
            return Error::config(format!("no topic matches `topics_regex` {:?}", self.said))
                .remedy("Correct `source.topics_regex`; it must match a topic's whole name.");
        }
        let error = Error::config(format!("no topic matches `{}`", self.said));
        match self.said.strip_suffix(".*") {
            Some(prefix) => error.remedy(format!(
                "Correct `source.topics`; the pattern stands for every topic whose name starts with `{prefix}.`. Or start the connector that writes them."
            )),
            None => error.remedy(
                "Correct `source.topics`; `*` stands for any characters, the rest for itself. Or start the connector that writes the topics.",
            ),
        }
    }
}

/// Whether an entry of `topics` is a pattern: no topic's name has a `*`.
pub(crate) fn is_glob(entry: &str) -> bool {
    entry.contains('*')
}

/// The regular expression of a pattern in which `*` stands for any characters, also none.
pub(crate) fn glob(pattern: &str) -> String {
    let parts: Vec<String> = pattern.split('*').map(regex::escape).collect();
    parts.join(".*")
}

fn without(missing: &[&str], known: &[String]) -> Error {
    let error = Error::config(match missing {
        [one] => format!("there is no topic `{one}`"),
        many => format!("there are no topics `{}`", many.join("`, `")),
    });
    match missing.iter().find_map(|name| nearest(name, known)) {
        Some(near) => error.remedy(format!("Did you mean `{near}`?")),
        None => {
            error.remedy("Correct `source.topics`, or start the connector that writes the topic.")
        }
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
    names.dedup();
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
