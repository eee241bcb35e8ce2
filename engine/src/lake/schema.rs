//! The columns that a target table gets from the columns that SQL returns.
//!
//! Both formats store fewer types than Arrow has. The mapping here never loses anything: a type without an exact
//! home is refused with the `CAST` that gives it one.
//!
//! | Arrow | Delta | Iceberg |
//! |---|---|---|
//! | Int8, Int16 | as is | Int32 |
//! | UInt8, UInt16, UInt32 | the next wider signed type | Int32, Int32, Int64 |
//! | UInt64 | Decimal(20, 0) | Decimal(20, 0) |
//! | Float16 | Float32 | Float32 |
//! | LargeUtf8, Utf8View, dictionaries of strings | Utf8 | Utf8 |
//! | Binary, LargeBinary, BinaryView | Binary | LargeBinary |
//! | FixedSizeBinary | Binary | as is |
//! | Date64 | Date32 | Date32 |
//! | Timestamp of any unit | microseconds, zone `UTC` or none | microseconds, zone `+00:00` or none |
//! | Time32, Time64 | refused | Time64 of microseconds |
//! | decimals of up to 38 digits | Decimal128 | Decimal128 |
//! | lists, structs, maps | as is, by their parts | as is, by their parts |
//! | wider decimals, intervals, durations, unions, Null | refused | refused |

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, TimeUnit};
use sql::{Error, Result};

/// A table format that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFormat {
    /// Delta Lake.
    Delta,
    /// Apache Iceberg, format version 2.
    Iceberg,
}

impl TableFormat {
    /// How the format spells UTC in Arrow.
    pub fn utc(self) -> &'static str {
        match self {
            Self::Delta => "UTC",
            Self::Iceberg => "+00:00",
        }
    }
}

impl fmt::Display for TableFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delta => "Delta",
            Self::Iceberg => "Iceberg",
        })
    }
}

/// The target's columns for SQL that returns `output`: same names, same order, all nullable, types of `format`.
///
/// # Errors
/// [`sql::ErrorKind::Config`] for a type that the format cannot hold exactly, for two columns of one name (also if
/// they differ only in case: readers of both formats ignore it), and for names that Delta cannot store.
pub fn target_schema(output: &Schema, format: TableFormat) -> Result<Schema> {
    if output.fields().is_empty() {
        return Err(
            Error::config("the SQL returns no columns").remedy("Select at least one column.")
        );
    }
    check_names(output.fields(), format)?;
    let fields = output
        .fields()
        .iter()
        .map(|field| {
            let data_type = target_type(field.data_type(), format)
                .map_err(|refusal| refusal.into_error(field.name(), field.data_type(), format))?;
            Ok(Field::new(field.name(), data_type, true))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Schema::new(fields))
}

/// Names that Parquet-based Delta tables cannot hold without column mapping.
const DELTA_FORBIDDEN: &[char] = &[' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];

fn check_names(fields: &Fields, format: TableFormat) -> Result<()> {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for field in fields {
        let name = field.name();
        if name.is_empty() {
            return Err(Error::config("the SQL returns a column without a name")
                .remedy("Name it with AS in the SELECT list."));
        }
        if format == TableFormat::Delta && name.contains(DELTA_FORBIDDEN) {
            return Err(Error::config(format!(
                "Delta cannot store a column named `{name}`"
            ))
            .expected("a name without spaces, commas, semicolons, braces, parentheses, tabs, line ends and `=`")
            .remedy("Rename it with AS in the SELECT list."));
        }
        let Some(first) = seen.insert(name.to_lowercase(), name) else {
            continue;
        };
        let message = if first == name {
            format!("the SQL returns two columns named `{name}`")
        } else {
            format!("the SQL returns two columns that differ only in case: `{first}` and `{name}`")
        };
        return Err(Error::config(message)
            .remedy("Rename one of them with AS in the SELECT list, or leave it out."));
    }
    Ok(())
}

/// Why a type has no home in a format, and the cast that gives it one.
struct Refusal {
    why: &'static str,
    cast: &'static str,
}

impl Refusal {
    fn into_error(self, column: &str, data_type: &DataType, format: TableFormat) -> Error {
        Error::config(format!(
            "{format} cannot store column `{column}` of type {data_type}: {}",
            self.why
        ))
        .remedy(self.cast.replace("{column}", &quoted(column)))
    }
}

/// `name` as it is written in SQL.
fn quoted(name: &str) -> String {
    let plain = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain && !name.starts_with(|c: char| c.is_ascii_digit()) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

fn target_type(from: &DataType, format: TableFormat) -> Result<DataType, Refusal> {
    use DataType::{
        Binary, BinaryView, Boolean, Date32, Date64, Decimal32, Decimal64, Decimal128, Decimal256,
        Dictionary, FixedSizeBinary, FixedSizeList, Float16, Float32, Float64, Int8, Int16, Int32,
        Int64, LargeBinary, LargeList, LargeListView, LargeUtf8, List, ListView, Map, Struct,
        Time32, Time64, Timestamp, UInt8, UInt16, UInt32, UInt64, Utf8, Utf8View,
    };
    let iceberg = format == TableFormat::Iceberg;
    Ok(match from {
        Boolean | Int32 | Int64 | Float32 | Float64 | Utf8 | Date32 => from.clone(),
        Int8 | Int16 | UInt8 if iceberg => Int32,
        Int8 | Int16 => from.clone(),
        UInt8 => Int16,
        UInt16 => Int32,
        UInt32 => Int64,
        UInt64 => Decimal128(20, 0),
        Float16 => Float32,
        LargeUtf8 | Utf8View => Utf8,
        FixedSizeBinary(_) if iceberg => from.clone(),
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) if !iceberg => Binary,
        Binary | LargeBinary | BinaryView => LargeBinary,
        Date64 => Date32,
        Decimal32(p, s) | Decimal64(p, s) | Decimal128(p, s) | Decimal256(p, s) => {
            decimal_type(*p, *s)?
        }
        Timestamp(_, zone) => Timestamp(
            TimeUnit::Microsecond,
            zone.as_ref().map(|_| format.utc().into()),
        ),
        Time32(_) | Time64(_) if iceberg => Time64(TimeUnit::Microsecond),
        Dictionary(_, values) => target_type(values, format)?,
        List(item)
        | LargeList(item)
        | ListView(item)
        | LargeListView(item)
        | FixedSizeList(item, _) => List(Arc::new(Field::new(
            "element",
            target_type(item.data_type(), format)?,
            true,
        ))),
        Struct(fields) => Struct(struct_fields(fields, format)?),
        Map(entries, _) => map_type(entries, format)?,
        other => return Err(refusal(other)),
    })
}

fn decimal_type(precision: u8, scale: i8) -> Result<DataType, Refusal> {
    if precision > 38 {
        return Err(Refusal {
            why: "a decimal has at most 38 digits",
            cast: "Write CAST({column} AS DECIMAL(38, s)) with the scale you need, or CAST({column} AS TEXT).",
        });
    }
    if scale < 0 {
        return Err(Refusal {
            why: "a decimal's scale is not negative",
            cast: "Write CAST({column} AS DECIMAL(38, 0)).",
        });
    }
    Ok(DataType::Decimal128(precision, scale))
}

fn struct_fields(fields: &Fields, format: TableFormat) -> Result<Fields, Refusal> {
    if fields.is_empty() {
        return Err(Refusal {
            why: "a struct needs at least one field",
            cast: "Leave {column} out of the SELECT list.",
        });
    }
    fields
        .iter()
        .map(|field| {
            let data_type = target_type(field.data_type(), format)?;
            Ok(Field::new(field.name(), data_type, true))
        })
        .collect()
}

fn map_type(entries: &FieldRef, format: TableFormat) -> Result<DataType, Refusal> {
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(refusal(entries.data_type()));
    };
    let [key, value] = fields.as_ref() else {
        return Err(refusal(entries.data_type()));
    };
    let entries = Fields::from(vec![
        Field::new("key", target_type(key.data_type(), format)?, false),
        Field::new("value", target_type(value.data_type(), format)?, true),
    ]);
    let entries = Field::new("key_value", DataType::Struct(entries), false);
    Ok(DataType::Map(Arc::new(entries), false))
}

fn refusal(data_type: &DataType) -> Refusal {
    match data_type {
        DataType::Time32(_) | DataType::Time64(_) => Refusal {
            why: "the format has no time of day",
            cast: "Write CAST({column} AS BIGINT) or CAST({column} AS TEXT).",
        },
        DataType::Null => Refusal {
            why: "NULL alone has no type",
            cast: "Write CAST(NULL AS …) with the type you want for {column}.",
        },
        DataType::Duration(_) | DataType::Interval(_) => Refusal {
            why: "the format has no intervals",
            cast: "Write CAST({column} AS TEXT), or compute a number with date_part('epoch', …).",
        },
        _ => Refusal {
            why: "the format has no such type",
            cast: "Write CAST({column} AS TEXT), or leave it out of the SELECT list.",
        },
    }
}

/// `schema` without any metadata, at every depth: what is left is names, types and nullability.
pub fn without_metadata(schema: &Schema) -> Schema {
    Schema::new(plain_fields(schema.fields()))
}

fn plain_fields(fields: &Fields) -> Fields {
    fields.iter().map(plain_field).collect()
}

fn plain_field(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::List(item) => DataType::List(plain_field(item)),
        DataType::Map(entries, sorted) => DataType::Map(plain_field(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(plain_fields(fields)),
        other => other.clone(),
    };
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
}
