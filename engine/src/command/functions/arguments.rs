//! The arguments of a call: constants.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::Expr;
use sql::change::utc_micros;
use sql::function::table::{Call, TableFunction};
use sql::session::{Role, session};
use sql::{Error, Result};

use crate::spec::model::OffsetReset;

/// The word that makes a range endless.
const FOLLOW: &str = "follow";

/// One end of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// A version.
    Version(i64),
    /// A time, microseconds since the epoch.
    Instant(i64),
    /// There is none: new versions are read as they come.
    Follow,
}

impl Bound {
    /// What a command line says: a version, a time, or `follow`.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] if it is neither.
    pub fn parse(text: &str) -> Result<Self> {
        match text.trim().parse() {
            Ok(version) => Self::of(&ScalarValue::Int64(Some(version))),
            Err(_) => Self::of(&ScalarValue::Utf8(Some(text.to_owned()))),
        }
    }

    fn of(value: &ScalarValue) -> Result<Self> {
        const EXPECTED: &str = "a version, as in 7, or a time, as in '2026-11-22 10:00:00' (UTC) or now() - INTERVAL '1 hour'";
        let wrong = |message: String| Err(Error::config(message).expected(EXPECTED));
        if value.is_null() {
            return wrong("a version or time is null".to_owned());
        }
        if let Some(text) = value.try_as_str().flatten() {
            let text = text.trim();
            if text.eq_ignore_ascii_case(FOLLOW) {
                return Ok(Self::Follow);
            }
            return match instant(value) {
                Some(instant) => Ok(Self::Instant(instant)),
                None if text.parse::<i64>().is_ok() => {
                    wrong(format!("`'{text}'` is a text, and no version"))
                        .map_err(|error| error.remedy(format!("write {text} without quotes")))
                }
                None => wrong(format!("`{text}` is no version and no time")),
            };
        }
        match value.data_type() {
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => match instant(value) {
                Some(instant) => Ok(Self::Instant(instant)),
                None => wrong(format!("{value} is too far away for a time")),
            },
            kind if kind.is_integer() => match whole(value) {
                Some(version) if version < 0 => {
                    wrong(format!("{version} is negative, and versions are not"))
                }
                Some(version) => Ok(Self::Version(version)),
                None => wrong(format!("{value} is too large for a version")),
            },
            _ => wrong(format!("{value} is no version and no time")),
        }
    }
}

fn instant(value: &ScalarValue) -> Option<i64> {
    match value.cast_to(&utc_micros()).ok()? {
        ScalarValue::TimestampMicrosecond(micros, _) => micros,
        _ => None,
    }
}

fn whole(value: &ScalarValue) -> Option<i64> {
    match value.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(whole) => whole,
        _ => None,
    }
}

/// The arguments of one call.
pub(super) struct Arguments<'a>(&'a Call);

impl<'a> Arguments<'a> {
    pub(super) fn of(call: &'a Call) -> Self {
        Self(call)
    }

    fn function(&self) -> TableFunction {
        self.0.function
    }

    /// The first argument: a text, or a name without quotes.
    pub(super) fn name(&self) -> Result<String> {
        let argument = self.0.arguments.first();
        let text = match argument {
            Some(Expr::Identifier(name)) => Some(name.to_string()),
            Some(Expr::CompoundIdentifier(names)) => {
                let names: Vec<String> = names.iter().map(ToString::to_string).collect();
                Some(names.join("."))
            }
            Some(Expr::Value(value)) => value.value.clone().into_string(),
            _ => None,
        };
        match text {
            Some(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
            _ => {
                let said = argument.map(ToString::to_string).unwrap_or_default();
                Err(Error::config(format!("`{said}` names nothing"))
                    .expected(self.function().usage())
                    .remedy("write the name as a text, in single quotes"))
            }
        }
    }

    /// The columns that the last argument names, if it is there.
    pub(super) fn key(&self) -> Result<Option<Vec<String>>> {
        let Some(argument) = self.0.arguments.get(3) else {
            return Ok(None);
        };
        let text = match argument {
            Expr::Value(value) => value.value.clone().into_string(),
            _ => None,
        };
        let names = |text: String| -> Vec<String> {
            let names = text.split(',').map(|name| name.trim().to_owned());
            names.filter(|name| !name.is_empty()).collect()
        };
        match text.map(names) {
            Some(names) if !names.is_empty() => Ok(Some(names)),
            _ => Err(Error::config(format!("`{argument}` names no columns"))
                .expected(self.function().usage())
                .remedy("write the names as one text, as in 'id, region'")),
        }
    }

    /// The version or time that an argument is, if it is there.
    pub(super) async fn bound(&self, index: usize) -> Result<Option<Bound>> {
        let Some(argument) = self.0.arguments.get(index) else {
            return Ok(None);
        };
        let bound = match self.constant(argument).await {
            Ok(value) => Bound::of(&value)?,
            Err(error) => return Err(error),
        };
        let follows = matches!(
            self.function(),
            TableFunction::TableChanges | TableFunction::Kafka
        );
        let may_follow = follows && index == 2;
        if bound == Bound::Follow && !may_follow {
            return Err(Error::config(format!(
                "'{FOLLOW}' cannot stand for argument {} of {}",
                index + 1,
                self.function().name()
            ))
            .expected(self.function().usage()));
        }
        Ok(Some(bound))
    }

    /// The offset that `bound`, an argument, is.
    pub(super) fn offset(&self, index: usize, bound: &Bound) -> Result<i64> {
        match bound {
            Bound::Version(offset) => Ok(*offset),
            _ => Err(self.no_offset(index)),
        }
    }

    /// Where a topic is to be read from, if the argument is there: an offset, so many before the end, or one of the ends.
    pub(super) async fn start(&self, index: usize) -> Result<Option<OffsetReset>> {
        let Some(argument) = self.0.arguments.get(index) else {
            return Ok(None);
        };
        let value = self.constant(argument).await?;
        let word = value.try_as_str().flatten().unwrap_or_default().trim();
        let offset = value.data_type().is_integer().then(|| whole(&value));
        match (word, offset.flatten()) {
            (_, Some(offset)) if offset >= 0 => Ok(Some(OffsetReset::At(offset))),
            (_, Some(back)) => Ok(Some(OffsetReset::Last(back.saturating_neg()))),
            (word, _) if word.eq_ignore_ascii_case("earliest") => Ok(Some(OffsetReset::Earliest)),
            (word, _) if word.eq_ignore_ascii_case("latest") => Ok(Some(OffsetReset::Latest)),
            _ => Err(self.no_offset(index)),
        }
    }

    fn no_offset(&self, index: usize) -> Error {
        Error::config(format!(
            "argument {} of {} is no offset",
            index + 1,
            self.function().name()
        ))
        .expected(self.function().usage())
        .remedy("write an offset, -10 for the last ten of each partition, 'earliest' or 'latest'; choose by time with WHERE _commit_timestamp >= …")
    }

    /// The call in SQL, which no other call of the statement has.
    pub(super) fn text(&self) -> &str {
        &self.0.text
    }

    /// The value of an expression over nothing.
    async fn constant(&self, expression: &Expr) -> Result<ScalarValue> {
        let no_constant = || {
            Error::config(format!(
                "`{expression}` is no constant, and {} needs to know it before it reads",
                self.function().name()
            ))
            .expected(self.function().usage())
        };
        let ctx = session(Role::Query);
        let rows = async {
            let frame = ctx.sql(&format!("SELECT {expression}")).await?;
            frame.collect().await
        };
        let rows = rows.await.map_err(|error| no_constant().source(error))?;
        let value = rows.iter().find(|batch| batch.num_rows() == 1);
        value
            .and_then(|batch| batch.columns().first())
            .and_then(|column| ScalarValue::try_from_array(column, 0).ok())
            .ok_or_else(no_constant)
    }
}
