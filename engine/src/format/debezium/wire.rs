//! How a value is written on the wire, apart from the column it goes to.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use sql::change::utc_micros;

use super::layout::Layout;
use crate::spec::model::DecimalHandling;

/// The unit of a number that stands for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Milli,
    Micro,
    Nano,
}

/// A value without parts, or one that is read as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    /// `true`, `false`, and 0 and 1 of connectors that say so.
    Bool,
    /// An integer of so many bits.
    Int(u8),
    Float32,
    Float64,
    /// A string.
    Text,
    /// A string, or any other value kept as it is written.
    Json,
    /// Base64.
    Bytes,
    /// Base64 of the unscaled value with the schema's scale and precision; or a number.
    Decimal {
        scale: i32,
        precision: Option<u32>,
    },
    /// `{"scale":…,"value":…}`.
    VariableDecimal,
    /// Declared without a schema: any of the above, or decimal text; base64 has the column's scale. What strings are is said.
    AnyDecimal(DecimalHandling),
    /// Days since the epoch.
    Date,
    /// Days since the epoch, or `YYYY-MM-DD`.
    AnyDate,
    /// Since midnight.
    Time(Unit),
    /// Since midnight, or `HH:MM:SS[.f]`.
    AnyTime(Unit),
    /// MySQL's `TIME`: a span of up to 838 hours in either direction, not a time of day.
    TimeSpan(Unit),
    /// A local wall clock as if it were UTC.
    Timestamp(Unit),
    /// The same, or ISO 8601. `floor` drops nanoseconds, because the column was declared so.
    AnyTimestamp {
        unit: Unit,
        floor: bool,
    },
    /// ISO 8601 with a zone.
    Instant,
    /// `07:59:59.999Z`.
    ZonedTime,
    /// ISO 8601 strings whose `Z` means nothing.
    IsoDate,
    IsoTime,
    IsoTimestamp,
    /// Debezium's structured types: an object of calendar parts.
    StructuredDate,
    StructuredTime,
    StructuredTimestamp,
    StructuredInstant,
}

/// A value of any kind.
#[derive(Debug, Clone)]
pub(super) enum Wire {
    Scalar(Scalar),
    List(Box<Wire>),
    Map(Box<Wire>, Box<Wire>),
    Struct(StructWire),
}

/// A field of a row or a struct.
#[derive(Debug, Clone)]
pub(super) struct WireField {
    pub(super) name: String,
    pub(super) wire: Wire,
}

/// An object with known fields.
#[derive(Debug, Clone)]
pub(super) struct StructWire {
    pub(super) fields: Vec<WireField>,
    pub(super) layout: Layout,
    /// For each field the child column it goes to; set by [`Wire::bind`].
    pub(super) children: Vec<Option<usize>>,
}

impl StructWire {
    pub(super) fn new(fields: Vec<WireField>) -> Self {
        let layout = Layout::new(fields.iter().map(|field| field.name.as_str()));
        let children = vec![None; fields.len()];
        Self {
            fields,
            layout,
            children,
        }
    }
}

/// The decimal type that holds every value of `precision` digits with `scale`; text if none does.
fn decimal_type(scale: i32, precision: Option<u32>) -> DataType {
    // A negative scale stands for zeros at the end: no table format has it, so they become digits.
    let extra = scale.min(0).unsigned_abs();
    let scale = i8::try_from(scale.max(0)).unwrap_or(i8::MAX);
    let digits = precision.map_or(38, |precision| precision.saturating_add(extra));
    match u8::try_from(digits) {
        Ok(digits @ 1..=38) if scale <= 38 => {
            DataType::Decimal128(digits.max(scale.unsigned_abs()), scale)
        }
        _ => DataType::Utf8,
    }
}

impl Scalar {
    fn arrow_type(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int(8) => DataType::Int8,
            Self::Int(16) => DataType::Int16,
            Self::Int(32) => DataType::Int32,
            Self::Int(_) | Self::TimeSpan(_) => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Text | Self::Json | Self::ZonedTime | Self::VariableDecimal => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Decimal { scale, precision } => decimal_type(scale, precision),
            Self::AnyDecimal(_) => decimal_type(0, None),
            Self::Date | Self::AnyDate | Self::IsoDate | Self::StructuredDate => DataType::Date32,
            Self::Time(_) | Self::AnyTime(_) | Self::IsoTime | Self::StructuredTime => {
                DataType::Time64(TimeUnit::Microsecond)
            }
            Self::Timestamp(_)
            | Self::AnyTimestamp { .. }
            | Self::IsoTimestamp
            | Self::StructuredTimestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Instant | Self::StructuredInstant => utc_micros(),
        }
    }

    /// What a value should have been, for sentences.
    pub(super) fn expects(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Int(_) => "an integer",
            Self::Float32 | Self::Float64 => "a number, \"NaN\", \"Infinity\" or \"-Infinity\"",
            Self::Text => "a string",
            Self::Json => "JSON",
            Self::Bytes => "base64",
            Self::Decimal { .. } => "base64 of the unscaled value, or a number",
            Self::VariableDecimal => "an object with `scale` and `value`",
            Self::AnyDecimal(DecimalHandling::Auto) => {
                "base64 of an unscaled value, a decimal string or a number"
            }
            Self::AnyDecimal(DecimalHandling::Precise) => {
                "base64 of an unscaled value or a number, as `decimal_handling: precise` says"
            }
            Self::AnyDecimal(DecimalHandling::Text) => {
                "a decimal string or a number, as `decimal_handling: string` says"
            }
            Self::Date => "days since 1970-01-01",
            Self::AnyDate => "days since 1970-01-01, or YYYY-MM-DD",
            Self::Time(_) | Self::TimeSpan(_) => "an integer, the time since midnight",
            Self::AnyTime(_) => "the time since midnight, or HH:MM:SS",
            Self::Timestamp(_) => "an integer, the time since 1970-01-01",
            Self::AnyTimestamp { .. } => {
                "an integer, the time since 1970-01-01, or YYYY-MM-DDTHH:MM:SS"
            }
            Self::Instant => "YYYY-MM-DDTHH:MM:SS with a zone",
            Self::ZonedTime => "HH:MM:SS with a zone",
            Self::IsoDate => "YYYY-MM-DD",
            Self::IsoTime => "HH:MM:SS",
            Self::IsoTimestamp => "YYYY-MM-DDTHH:MM:SS",
            Self::StructuredDate
            | Self::StructuredTime
            | Self::StructuredTimestamp
            | Self::StructuredInstant => "an object of calendar parts",
        }
    }
}

impl Wire {
    /// The Arrow type that holds every value of this kind, if nothing else was declared.
    pub(super) fn arrow_type(&self) -> DataType {
        match self {
            Self::Scalar(scalar) => scalar.arrow_type(),
            Self::List(item) => {
                DataType::List(Arc::new(Field::new("item", item.arrow_type(), true)))
            }
            Self::Map(key, value) => {
                let entries = Fields::from(vec![
                    Field::new("key", key.arrow_type(), false),
                    Field::new("value", value.arrow_type(), true),
                ]);
                let entries = Field::new("entries", DataType::Struct(entries), false);
                DataType::Map(Arc::new(entries), false)
            }
            Self::Struct(wire) => DataType::Struct(
                wire.fields
                    .iter()
                    .map(|field| Field::new(&field.name, field.wire.arrow_type(), true))
                    .collect(),
            ),
        }
    }

    /// Finds the child columns of structs, by name, in the column's type.
    pub(super) fn bind(&mut self, column: &DataType) {
        match (self, column) {
            (Self::List(item), DataType::List(field)) => item.bind(field.data_type()),
            (Self::Map(key, value), DataType::Map(entries, _)) => {
                if let DataType::Struct(fields) = entries.data_type()
                    && let [k, v] = fields.iter().as_slice()
                {
                    key.bind(k.data_type());
                    value.bind(v.data_type());
                }
            }
            (Self::Struct(wire), DataType::Struct(fields)) => {
                for (field, child) in wire.fields.iter_mut().zip(&mut wire.children) {
                    *child = fields.iter().position(|f| *f.name() == field.name);
                    if let Some(target) = child.and_then(|child| fields.get(child)) {
                        field.wire.bind(target.data_type());
                    }
                }
            }
            _ => {}
        }
    }
}
