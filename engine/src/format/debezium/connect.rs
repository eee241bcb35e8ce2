//! Kafka Connect schemas as JSON: what `schemas.enable=true` puts before every payload.
//!
//! Parsed once per schema, so plainly with serde. Semantic names decide what a number or a string means.

use std::collections::BTreeMap;

use serde::Deserialize;
use sql::change::RejectReason;

use super::fault::{Fault, Step};
use super::wire::{Scalar, StructWire, Unit, Wire, WireField};

/// A schema, or a field of one.
#[derive(Debug, Deserialize)]
pub(super) struct ConnectSchema {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    optional: bool,
    name: Option<String>,
    parameters: Option<BTreeMap<String, serde_json::Value>>,
    field: Option<String>,
    #[serde(default)]
    fields: Vec<ConnectSchema>,
    items: Option<Box<ConnectSchema>>,
    keys: Option<Box<ConnectSchema>>,
    values: Option<Box<ConnectSchema>>,
    default: Option<serde_json::Value>,
}

/// What messages of a schema are.
#[derive(Debug)]
pub(super) enum Kind {
    /// An envelope whose rows have these fields.
    Envelope { after: Row, before: Row },
    /// A row without envelope.
    Flattened(Row),
    /// Never a row.
    Control,
}

/// The fields of a row.
#[derive(Debug, Default, Clone)]
pub(super) struct Row {
    pub(super) fields: Vec<WireField>,
    /// Nullable fields that have a default: converters send it in the place of null unless told not to.
    pub(super) defaults: Vec<String>,
    /// The defaults of fields, nullable or not, written as their values are.
    pub(super) values: Vec<(String, serde_json::Value)>,
}

/// Parses the text of a schema.
pub(super) fn parse(text: &[u8]) -> Step<ConnectSchema> {
    serde_json::from_slice(text).map_err(|error| {
        bad(format!("the message's schema cannot be read: {error}"))
            .expected("a Kafka Connect schema with `type`, `fields` and `field`")
    })
}

fn bad(what: impl Into<String>) -> Box<Fault> {
    Fault::new(RejectReason::BadSchema, what)
}

impl Row {
    /// The row without what the unwrap transformation adds (`__deleted`, `__op`, `__source_ts_ms`): a table has
    /// these only if they are declared.
    pub(super) fn without_added(mut self) -> Self {
        self.fields.retain(|field| !field.name.starts_with("__"));
        self.defaults.retain(|name| !name.starts_with("__"));
        self
    }
}

impl ConnectSchema {
    fn child(&self, name: &str) -> Option<&Self> {
        self.fields
            .iter()
            .find(|field| field.field.as_deref() == Some(name))
    }

    fn parameter(&self, name: &str) -> Option<i32> {
        match self.parameters.as_ref()?.get(name)? {
            serde_json::Value::String(text) => text.parse().ok(),
            other => other.as_i64().and_then(|value| i32::try_from(value).ok()),
        }
    }

    /// Tells what messages of this schema are.
    pub(super) fn kind(&self) -> Step<Kind> {
        if self.kind != "struct" {
            return Err(Fault::new(
                RejectReason::UnknownShape,
                format!("the message's schema is of type `{}`", self.kind),
            )
            .expected("the schema of a Debezium envelope or of a row"));
        }
        let name = self.name.as_deref().unwrap_or_default();
        let control = [
            ".Heartbeat",
            ".TransactionMetadataValue",
            ".SchemaChangeValue",
            ".Notification",
        ];
        if name.starts_with("io.debezium.connector.")
            && control.iter().any(|suffix| name.ends_with(suffix))
        {
            return Ok(Kind::Control);
        }
        let image = |field: &str| self.child(field).filter(|child| child.kind == "struct");
        let (before, after) = (image("before"), image("after"));
        let has_op = self.child("op").is_some_and(|op| op.kind == "string");
        // A flattened row may have a struct called `after` and a column called `op`; a CloudEvent's data has nothing
        // but images.
        let images_only = self
            .fields
            .iter()
            .all(|field| matches!(field.field.as_deref(), Some("before" | "after")));
        let both = before.is_some() && after.is_some();
        let said = both || image("source").is_some() || name.ends_with(".Envelope");
        if let Some(row) = after.or(before)
            && (images_only || (has_op && said))
        {
            let mysql = self.child("source").is_some_and(Self::is_mysql);
            return Ok(Kind::Envelope {
                after: row.row(mysql)?,
                before: before.unwrap_or(row).row(mysql)?,
            });
        }
        // Events of logical messages (`op` m) and of DDL have no images; rows have no block called `source`.
        let has_source = image("source").is_some();
        let message = has_op && self.child("message").is_some();
        let ddl = self.child("ddl").is_some() && self.child("databaseName").is_some();
        if has_source && (message || ddl) {
            return Ok(Kind::Control);
        }
        if has_op && name.ends_with(".Envelope") {
            return Err(Fault::new(
                RejectReason::UnknownShape,
                "the message's schema is of an envelope whose `before` and `after` are no structs",
            )
            .expected("the images of a table's rows"));
        }
        Ok(Kind::Flattened(self.row(false)?))
    }

    fn is_mysql(&self) -> bool {
        let name = self.name.as_deref().unwrap_or_default();
        name.contains(".mysql.") || name.contains(".mariadb.")
    }

    fn row(&self, mysql: bool) -> Step<Row> {
        let mut row = Row::default();
        for field in &self.fields {
            let name = field.name_in_struct()?;
            if row.fields.iter().any(|known| known.name == name) {
                return Err(bad(format!(
                    "the message's schema has the field `{name}` twice"
                )));
            }
            row.fields.push(WireField {
                name: name.to_owned(),
                wire: field.wire(mysql)?,
            });
            if let Some(value) = &field.default {
                row.values.push((name.to_owned(), value.clone()));
                if field.optional {
                    row.defaults.push(name.to_owned());
                }
            }
        }
        Ok(row)
    }

    /// The fields of a key's struct, or the one value of a primitive key.
    pub(super) fn key(&self) -> Step<Result<Vec<WireField>, Wire>> {
        if self.kind == "struct" {
            Ok(Ok(self.row(false)?.fields))
        } else {
            Ok(Err(self.wire(false)?))
        }
    }

    fn name_in_struct(&self) -> Step<&str> {
        self.field
            .as_deref()
            .ok_or_else(|| bad("the message's schema has a field without a name"))
    }

    fn wire(&self, mysql: bool) -> Step<Wire> {
        if let Some(scalar) = self.semantic(mysql)? {
            return Ok(Wire::Scalar(scalar));
        }
        let scalar = match self.kind.as_str() {
            "boolean" => Scalar::Bool,
            "int8" => Scalar::Int(8),
            "int16" => Scalar::Int(16),
            "int32" => Scalar::Int(32),
            "int64" => Scalar::Int(64),
            "float" | "float32" => Scalar::Float32,
            "double" | "float64" => Scalar::Float64,
            "string" => Scalar::Text,
            "bytes" => Scalar::Bytes,
            "array" => {
                let item = Self::part(self.items.as_deref(), "items")?;
                return Ok(Wire::List(Box::new(item.wire(mysql)?)));
            }
            "map" => {
                let key = Self::part(self.keys.as_deref(), "keys")?.wire(mysql)?;
                let value = Self::part(self.values.as_deref(), "values")?.wire(mysql)?;
                return Ok(Wire::Map(Box::new(key), Box::new(value)));
            }
            "struct" => {
                let row = self.row(mysql)?;
                return Ok(Wire::Struct(StructWire::new(row.fields)));
            }
            other => {
                return Err(bad(format!(
                    "the message's schema has the unknown type `{}`",
                    super::fault::shown(other.as_bytes())
                )));
            }
        };
        Ok(Wire::Scalar(scalar))
    }

    fn part<'s>(part: Option<&'s Self>, name: &str) -> Step<&'s Self> {
        part.ok_or_else(|| {
            bad(format!(
                "the message's schema has a container without `{name}`"
            ))
        })
    }

    /// What the semantic name says, if it is known and on the type that it belongs to.
    fn semantic(&self, mysql: bool) -> Step<Option<Scalar>> {
        let Some(name) = self.name.as_deref() else {
            return Ok(None);
        };
        let short = name
            .strip_prefix("io.debezium.time.")
            .or_else(|| name.strip_prefix("org.apache.kafka.connect.data."))
            .or_else(|| name.strip_prefix("io.debezium.data."));
        let scalar = match (self.kind.as_str(), short.unwrap_or_default()) {
            ("int32", "Date") => Scalar::Date,
            ("int32" | "int64", "Time") => Scalar::Time(Unit::Milli),
            ("int64", "MicroTime") if mysql => Scalar::TimeSpan(Unit::Micro),
            ("int64", "NanoTime") if mysql => Scalar::TimeSpan(Unit::Nano),
            ("int64", "MicroTime") => Scalar::Time(Unit::Micro),
            ("int64", "NanoTime") => Scalar::Time(Unit::Nano),
            ("int64", "Timestamp") => Scalar::Timestamp(Unit::Milli),
            ("int64", "MicroTimestamp") => Scalar::Timestamp(Unit::Micro),
            ("int64", "NanoTimestamp") => Scalar::Timestamp(Unit::Nano),
            ("string", "ZonedTimestamp") => Scalar::Instant,
            ("string", "ZonedTime") => Scalar::ZonedTime,
            ("string", "IsoDate") => Scalar::IsoDate,
            ("string", "IsoTime") => Scalar::IsoTime,
            ("string", "IsoTimestamp") => Scalar::IsoTimestamp,
            ("string", "Json") => Scalar::Json,
            ("struct", "StructuredDate") => Scalar::StructuredDate,
            ("struct", "StructuredTime") => Scalar::StructuredTime,
            ("struct", "StructuredTimestamp") => Scalar::StructuredTimestamp,
            ("struct", "StructuredZonedTimestamp") => Scalar::StructuredInstant,
            ("struct", "VariableScaleDecimal") => Scalar::VariableDecimal,
            ("bytes", "Decimal") => {
                let scale = self.parameter("scale").ok_or_else(|| {
                    bad("the message's schema has a decimal without a readable `scale`")
                })?;
                let precision = self
                    .parameter("connect.decimal.precision")
                    .and_then(|precision| u32::try_from(precision).ok())
                    .filter(|precision| *precision > 0);
                Scalar::Decimal { scale, precision }
            }
            _ => return Ok(None),
        };
        Ok(Some(scalar))
    }
}
