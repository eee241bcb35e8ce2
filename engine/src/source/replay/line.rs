//! One captured message: a line of JSON as `kcat -J` prints it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use sql::{Error, Result};

/// What a line must look like, for errors.
const FORM: &str =
    "one JSON object a line as `kcat -J` prints it: topic, partition, offset, key, payload";

/// A message's place only: what the index needs of a line.
#[derive(Debug, Deserialize)]
pub(super) struct Place<'a> {
    /// Topic.
    #[serde(borrow)]
    pub(super) topic: Cow<'a, str>,
    /// Partition number.
    pub(super) partition: i32,
    /// Offset.
    pub(super) offset: i64,
}

#[derive(Debug, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    partition: i32,
    offset: i64,
    #[serde(default)]
    ts: Option<i64>,
    #[serde(default, borrow)]
    headers: Option<Vec<Option<Text<'a>>>>,
    #[serde(default, borrow, deserialize_with = "said")]
    key: Option<Option<Text<'a>>>,
    #[serde(default, borrow, deserialize_with = "said")]
    payload: Option<Option<Text<'a>>>,
    #[serde(default, borrow)]
    key_base64: Option<Text<'a>>,
    #[serde(default, borrow)]
    payload_base64: Option<Text<'a>>,
}

/// A string that borrows from the line where it has no escapes, also inside options and lists.
#[derive(Debug, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Tells a field that is null from one that is absent.
fn said<'de, D>(deserializer: D) -> Result<Option<Option<Text<'de>>>, D::Error>
where
    D: Deserializer<'de>,
{
    Option::<Text<'de>>::deserialize(deserializer).map(Some)
}

/// A captured message, borrowed from its line where possible.
#[derive(Debug)]
pub(super) struct Captured<'a> {
    pub(super) topic: Cow<'a, str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) key: Option<Cow<'a, [u8]>>,
    pub(super) value: Option<Cow<'a, [u8]>>,
    headers: Vec<Option<Cow<'a, str>>>,
}

impl Captured<'_> {
    /// Names and values of the headers.
    pub(super) fn headers(&self) -> Vec<(&str, Option<&[u8]>)> {
        self.headers
            .chunks_exact(2)
            .filter_map(|pair| match pair {
                [Some(name), value] => Some((name.as_ref(), value.as_ref().map(|v| v.as_bytes()))),
                _ => None,
            })
            .collect()
    }
}

/// The place of the message on `line`; `at` is `FILE:LINE`.
pub(super) fn place<'a>(line: &'a [u8], at: &dyn Fn() -> String) -> Result<Place<'a>> {
    serde_json::from_slice(line).map_err(|error| broken(error, at()))
}

/// The message on `line`; `at` is `FILE:LINE`.
pub(super) fn message<'a>(line: &'a [u8], at: &dyn Fn() -> String) -> Result<Captured<'a>> {
    let line: Line<'a> = serde_json::from_slice(line).map_err(|error| broken(error, at()))?;
    let headers = line.headers.unwrap_or_default();
    if !headers.len().is_multiple_of(2) {
        return Err(Error::config("`headers` is a list of odd length")
            .at(at())
            .expected("a flat list: name, value, name, value; a value may be null"));
    }
    let headers: Vec<Option<Cow<'a, str>>> =
        headers.into_iter().map(|text| text.map(|t| t.0)).collect();
    if headers.iter().step_by(2).any(Option::is_none) {
        return Err(Error::config("a header's name is null")
            .at(at())
            .expected("a flat list: name, value, name, value; a value may be null"));
    }
    Ok(Captured {
        topic: line.topic,
        partition: line.partition,
        offset: line.offset,
        timestamp_ms: line.ts,
        key: bytes("key", line.key, line.key_base64, at)?,
        value: bytes("payload", line.payload, line.payload_base64, at)?,
        headers,
    })
}

fn bytes<'a>(
    field: &str,
    text: Option<Option<Text<'a>>>,
    base64: Option<Text<'a>>,
    at: &dyn Fn() -> String,
) -> Result<Option<Cow<'a, [u8]>>> {
    match (text, base64) {
        (Some(Some(_)), Some(_)) => Err(Error::config(format!(
            "both `{field}` and `{field}_base64` are set"
        ))
        .at(at())
        .expected("one of them")),
        (_, Some(base64)) => STANDARD
            .decode(base64.0.as_bytes())
            .map(|bytes| Some(Cow::Owned(bytes)))
            .map_err(|error| {
                Error::config(format!("`{field}_base64` is not base64"))
                    .at(at())
                    .expected("standard base64 with padding")
                    .source(error)
            }),
        (Some(None), None) => Ok(None),
        (Some(Some(Text(Cow::Borrowed(text)))), None) => Ok(Some(Cow::Borrowed(text.as_bytes()))),
        (Some(Some(Text(Cow::Owned(text)))), None) => Ok(Some(Cow::Owned(text.into_bytes()))),
        (None, None) => Err(Error::config(format!("missing field `{field}`"))
            .at(at())
            .expected(format!("`{field}` (a string or null) or `{field}_base64`"))),
    }
}

fn broken(error: serde_json::Error, at: String) -> Error {
    use serde_json::error::Category;
    let text = error.to_string();
    // serde_json counts lines inside this one line; the column is what helps.
    let column = error.column();
    let text = text.split(" at line ").next().unwrap_or(&text).to_owned();
    let message = match error.classify() {
        Category::Data => text,
        Category::Eof => "the line ends in the middle of a JSON value".to_owned(),
        Category::Syntax | Category::Io => format!("the line is not JSON: {text}"),
    };
    Error::config(message)
        .at(format!("{at}:{column}"))
        .expected(FORM)
        .remedy("correct this line of the file of captured messages, or capture them again")
}
