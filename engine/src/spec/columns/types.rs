//! SQL types into Arrow types and wire encodings.
//!
//! Unsigned integers take the next wider signed type, since no lake has unsigned ones. Instants are kept in
//! microseconds; the declared precision says what unit Debezium sends. `DATETIME` without a precision is MySQL's and
//! SQL Server's, which Debezium sends in milliseconds.

use std::sync::Arc;

use arrow::datatypes::{DataType as Arrow, Field, TimeUnit};
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType as Sql, ExactNumberInfo, ObjectName, TimezoneInfo,
};
use sql::change::utc_micros;

use crate::spec::block::short;
use crate::spec::model::DeclaredType as Wire;

/// Digits that both lake formats can hold.
const MAX_DIGITS: u8 = 38;

/// Why a type is refused.
#[derive(Debug)]
pub(super) struct WrongType {
    pub(super) message: String,
    pub(super) expected: &'static str,
    pub(super) remedy: &'static str,
}

type Declared = Result<(Arrow, Wire), WrongType>;

fn wrong(message: impl Into<String>, expected: &'static str, remedy: &'static str) -> WrongType {
    WrongType {
        message: message.into(),
        expected,
        remedy,
    }
}

/// The Arrow type and the wire encoding of a declared SQL type.
pub(super) fn column_type(sql: &Sql) -> Declared {
    integer(sql)
        .or_else(|| text(sql))
        .map(Ok)
        .or_else(|| exact(sql))
        .or_else(|| temporal(sql))
        .unwrap_or_else(|| other(sql))
}

fn integer(sql: &Sql) -> Option<(Arrow, Wire)> {
    let arrow = match sql {
        Sql::TinyInt(_) => Arrow::Int8,
        Sql::TinyIntUnsigned(_)
        | Sql::UTinyInt
        | Sql::SmallInt(_)
        | Sql::Int2(_)
        | Sql::Int16
        | Sql::UInt8 => Arrow::Int16,
        Sql::SmallIntUnsigned(_)
        | Sql::Int2Unsigned(_)
        | Sql::USmallInt
        | Sql::UInt16
        | Sql::MediumInt(_)
        | Sql::MediumIntUnsigned(_)
        | Sql::Int(_)
        | Sql::Int4(_)
        | Sql::Int32
        | Sql::Integer(_) => Arrow::Int32,
        Sql::IntUnsigned(_)
        | Sql::Int4Unsigned(_)
        | Sql::IntegerUnsigned(_)
        | Sql::UInt32
        | Sql::BigInt(_)
        | Sql::Int8(_)
        | Sql::Int64 => Arrow::Int64,
        Sql::BigIntUnsigned(_) | Sql::UBigInt | Sql::Int8Unsigned(_) | Sql::UInt64 => {
            return Some((Arrow::Decimal128(20, 0), Wire::Decimal));
        }
        _ => return None,
    };
    Some((arrow, Wire::Integer))
}

fn text(sql: &Sql) -> Option<(Arrow, Wire)> {
    Some(match sql {
        Sql::Character(_)
        | Sql::Char(_)
        | Sql::CharacterVarying(_)
        | Sql::CharVarying(_)
        | Sql::Varchar(_)
        | Sql::Nvarchar(_)
        | Sql::CharacterLargeObject(_)
        | Sql::CharLargeObject(_)
        | Sql::Clob(_)
        | Sql::Text
        | Sql::TinyText
        | Sql::MediumText
        | Sql::LongText
        | Sql::String(_)
        | Sql::Enum(..)
        | Sql::Set(_)
        | Sql::TsVector => (Arrow::Utf8, Wire::Text),
        Sql::Uuid => (Arrow::Utf8, Wire::Uuid),
        Sql::JSON | Sql::JSONB => (Arrow::Utf8, Wire::Json),
        Sql::Binary(_)
        | Sql::Varbinary(_)
        | Sql::Blob(_)
        | Sql::TinyBlob
        | Sql::MediumBlob
        | Sql::LongBlob
        | Sql::Bytes(_)
        | Sql::Bytea
        | Sql::BitVarying(_)
        | Sql::VarBit(_) => (Arrow::Binary, Wire::Binary),
        // Debezium sends a single bit as a boolean.
        Sql::Bit(None | Some(1)) | Sql::Bool | Sql::Boolean => (Arrow::Boolean, Wire::Boolean),
        Sql::Bit(Some(_)) => (Arrow::Binary, Wire::Binary),
        Sql::Real | Sql::RealUnsigned | Sql::Float4 | Sql::Float32 => (Arrow::Float32, Wire::Float),
        Sql::Float(_)
        | Sql::FloatUnsigned(_)
        | Sql::Float8
        | Sql::Float64
        | Sql::Double(_)
        | Sql::DoubleUnsigned(_)
        | Sql::DoublePrecision
        | Sql::DoublePrecisionUnsigned => (Arrow::Float64, Wire::Float),
        _ => return None,
    })
}

fn exact(sql: &Sql) -> Option<Declared> {
    match sql {
        Sql::Numeric(digits)
        | Sql::Decimal(digits)
        | Sql::DecimalUnsigned(digits)
        | Sql::Dec(digits)
        | Sql::DecUnsigned(digits) => Some(decimal(digits)),
        _ => None,
    }
}

fn decimal(digits: &ExactNumberInfo) -> Declared {
    const EXPECTED: &str = "`DECIMAL(precision, scale)` with a precision of 1 to 38";
    let (precision, scale) = match digits {
        ExactNumberInfo::None => {
            return Err(wrong(
                "a decimal without precision and scale",
                EXPECTED,
                "name both, as in `DECIMAL(12,2)`; or declare `TEXT`, which keeps every digit",
            ));
        }
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let fits = u8::try_from(precision)
        .ok()
        .filter(|p| (1..=MAX_DIGITS).contains(p));
    let Some(precision) = fits else {
        return Err(wrong(
            format!("a decimal of {precision} digits"),
            EXPECTED,
            "declare `TEXT`, which keeps every digit: neither lake format has wider decimals",
        ));
    };
    match i8::try_from(scale) {
        Ok(scale) if scale >= 0 && scale.unsigned_abs() <= precision => {
            Ok((Arrow::Decimal128(precision, scale), Wire::Decimal))
        }
        _ => Err(wrong(
            format!("a decimal with scale {scale} and {precision} digits"),
            "a scale of 0 up to the precision",
            "correct the scale, or declare `TEXT`",
        )),
    }
}

fn temporal(sql: &Sql) -> Option<Declared> {
    let zoned = |zone: &TimezoneInfo| matches!(zone, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz);
    Some(match sql {
        Sql::Date | Sql::Date32 => Ok((Arrow::Date32, Wire::Date)),
        // Debezium sends it as text with its offset.
        Sql::Time(_, zone) if zoned(zone) => Ok((Arrow::Utf8, Wire::Text)),
        Sql::Time(precision, _) => time(*precision),
        Sql::Timestamp(precision, zone) if zoned(zone) => {
            unit(*precision, 6).map(|_| (utc_micros(), Wire::TimestampTz))
        }
        Sql::Timestamp(precision, _) | Sql::TimestampNtz(precision) => timestamp(*precision, 6),
        Sql::Datetime(precision) => timestamp(*precision, 3),
        _ => return None,
    })
}

/// The digits of the unit that Debezium sends for a declared precision: 3, 6 or 9.
fn unit(precision: Option<u64>, default: u8) -> Result<u8, WrongType> {
    match precision {
        None => Ok(default),
        Some(0..=3) => Ok(3),
        Some(4..=6) => Ok(6),
        Some(7..=9) => Ok(9),
        Some(more) => Err(wrong(
            format!("a precision of {more} digits"),
            "a precision of 0 to 9",
            "declare `(3)` for milliseconds, `(6)` for microseconds, `(9)` for nanoseconds",
        )),
    }
}

fn time(precision: Option<u64>) -> Declared {
    match unit(precision, 6)? {
        3 => Ok((Arrow::Time32(TimeUnit::Millisecond), Wire::Time)),
        6 => Ok((Arrow::Time64(TimeUnit::Microsecond), Wire::Time)),
        _ => Err(wrong(
            "a time of day in nanoseconds",
            "`TIME(3)` or `TIME(6)`",
            "declare `BIGINT`, which keeps the nanoseconds",
        )),
    }
}

fn timestamp(precision: Option<u64>, default: u8) -> Declared {
    let precision = unit(precision, default)?;
    let arrow = Arrow::Timestamp(TimeUnit::Microsecond, None);
    Ok((arrow, Wire::Timestamp { precision }))
}

fn other(sql: &Sql) -> Declared {
    match sql {
        Sql::Array(element) => array(element),
        Sql::Custom(name, _) => named(name, sql),
        Sql::Interval { .. } => Err(wrong(
            "`INTERVAL` has several forms on the wire",
            "the type of the form that the connector sends",
            "declare `BIGINT` for `interval.handling.mode=numeric` (microseconds), `TEXT` for `string`",
        )),
        Sql::GeometricType(_) | Sql::Struct(..) | Sql::Map(..) | Sql::Tuple(_) | Sql::Nested(_) => {
            Err(wrong(
                format!("`{}` is a structure", short(&sql.to_string())),
                "a scalar type or an array of one",
                "declare `JSON`, which keeps the value's JSON text",
            ))
        }
        Sql::Unspecified => Err(wrong(
            "the type is missing",
            "a type after the name",
            "add the type that the source table has",
        )),
        _ => Err(unknown(sql)),
    }
}

fn unknown(sql: &Sql) -> WrongType {
    wrong(
        format!("the type `{}` is not known", short(&sql.to_string())),
        "a type of Postgres or MySQL that one column of a table can have",
        "declare the type as what is sent: `TEXT` for a string, `BIGINT` for a number, `JSON` for anything else",
    )
}

/// Types that the parser has no word for.
fn named(name: &ObjectName, sql: &Sql) -> Declared {
    Ok(match name.to_string().to_lowercase().as_str() {
        "smallserial" | "serial2" => (Arrow::Int16, Wire::Integer),
        "serial" | "serial4" | "year" => (Arrow::Int32, Wire::Integer),
        "bigserial" | "serial8" | "oid" => (Arrow::Int64, Wire::Integer),
        "citext" | "xml" | "inet" | "cidr" | "macaddr" | "macaddr8" | "ltree" | "bpchar"
        | "name" | "tsvector" | "int4range" | "int8range" | "numrange" | "tsrange"
        | "tstzrange" | "daterange" | "nchar" | "nclob" | "ntext" => (Arrow::Utf8, Wire::Text),
        "hstore" => (Arrow::Utf8, Wire::Json),
        "uniqueidentifier" => (Arrow::Utf8, Wire::Uuid),
        "datetime2" => return timestamp(Some(7), 9),
        "money" => {
            return Err(wrong(
                "`MONEY` has no precision",
                "`DECIMAL(19, scale)`",
                "declare `DECIMAL(19,2)`, or with the connector's `money.fraction.digits`",
            ));
        }
        _ => return Err(unknown(sql)),
    })
}

fn array(element: &ArrayElemTypeDef) -> Declared {
    let element = match element {
        ArrayElemTypeDef::AngleBracket(element)
        | ArrayElemTypeDef::SquareBracket(element, _)
        | ArrayElemTypeDef::Parenthesis(element) => column_type(element)?,
        ArrayElemTypeDef::None => {
            return Err(wrong(
                "an array without its elements' type",
                "`TEXT[]` or `ARRAY<TEXT>`",
                "name the elements' type",
            ));
        }
    };
    match element {
        (Arrow::List(_), _) => Err(wrong(
            "an array of arrays, which connectors send as nulls",
            "an array of a scalar type",
            "declare `JSON`, which keeps what is sent",
        )),
        // A list's elements are read by their Arrow type alone, which does not say these units.
        (_, Wire::Timestamp { precision: 3 | 9 }) => Err(wrong(
            "an array of timestamps in milliseconds or nanoseconds",
            "an array of `TIMESTAMP(6)`",
            "declare `BIGINT[]`, which keeps the numbers",
        )),
        (arrow, _) => {
            let item = Arc::new(Field::new("item", arrow, true));
            Ok((Arrow::List(item), Wire::List))
        }
    }
}
