//! Values for rows that are there before their column comes.
//!
//! `ALTER TABLE … ADD COLUMN … DEFAULT` gives the source's rows a value and sends no event. A target that is kept by key does the
//! same: it notes the values in a property of the table, adds the columns, gives the rows their values, and takes the note away.
//! Whoever opens the table and finds a note goes on with it before anything else is written, so that a crash in between loses
//! nothing, and a null that the source sends later stays null.

use std::collections::BTreeMap;

use arrow::array::{Array as _, ArrayRef, BooleanArray, RecordBatch, Scalar};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{is_not_null, is_null, or};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use sql::{Error, Result};

/// The table's property that holds the note: JSON, the text of the value by column. `{}` is none.
pub const BACKFILL_PROPERTY: &str = "engine.backfill";

/// The texts of values by column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backfill(BTreeMap<String, String>);

/// The same with the types of a table's columns.
#[derive(Debug, Clone)]
pub(crate) struct Values(Vec<(String, ArrayRef)>);

impl Backfill {
    /// The value `text` for the column `name`, if a column of this type can have it.
    ///
    /// `None` for types without a text of their own, and for a text that is no value of the type.
    pub fn value(text: &str, data_type: &DataType) -> Option<ScalarValue> {
        let own = data_type.is_numeric()
            || data_type.is_temporal()
            || matches!(data_type, DataType::Utf8 | DataType::Boolean);
        let value = ScalarValue::Utf8(Some(text.to_owned())).cast_to(data_type);
        value.ok().filter(|value| own && !value.is_null())
    }

    /// Adds a value.
    pub fn insert(&mut self, column: &str, text: &str) {
        self.0.insert(column.to_owned(), text.to_owned());
    }

    /// Whether there is nothing to give.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The columns.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Both; what was noted before stays.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for (column, text) in &other.0 {
            self.0.entry(column.clone()).or_insert_with(|| text.clone());
        }
        self
    }

    /// The note that a table has.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] if somebody wrote something else there.
    pub(crate) fn noted(property: Option<&String>, place: &str) -> Result<Self> {
        let Some(text) = property else {
            return Ok(Self::default());
        };
        serde_json::from_str(text).map(Self).map_err(|error| {
            Error::config(format!(
                "the table's property `{BACKFILL_PROPERTY}` is not what the engine wrote"
            ))
            .at(place)
            .expected("texts by column, as in {\"city\":\"Rome\"}")
            .remedy(format!(
                "set `{BACKFILL_PROPERTY}` to {{}}, and fill the new columns by an UPDATE"
            ))
            .source(error)
        })
    }

    /// As the property holds it.
    pub(crate) fn note(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_else(|_| "{}".to_owned())
    }

    /// With the types of `schema`. Columns that it has not are left out: they did not come.
    pub(crate) fn values(&self, schema: &Schema) -> Result<Values> {
        let mut values = Vec::new();
        for (column, text) in &self.0 {
            let Some((_, field)) = schema.column_with_name(column) else {
                continue;
            };
            let value = Self::value(text, field.data_type()).ok_or_else(|| {
                Error::config(format!(
                    "`{text}` is no value of the column `{column}` of type {}",
                    field.data_type()
                ))
                .expected(format!("what `{BACKFILL_PROPERTY}` notes"))
            })?;
            let value = value
                .to_array()
                .map_err(|error| Error::internal("a value that is no array").source(error))?;
            values.push((column.clone(), value));
        }
        Ok(Values(values))
    }
}

impl Values {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The columns and `others` alone, of `schema`.
    pub(crate) fn columns(&self, schema: &Schema, others: &[String]) -> SchemaRef {
        let fields = schema.fields().iter();
        let fields = fields.filter(|field| {
            let own = self.0.iter().any(|(name, _)| name == field.name());
            own || others.contains(field.name())
        });
        Schema::new(fields.cloned().collect::<Vec<_>>()).into()
    }

    /// Whether one of `rows` lacks a value.
    pub(crate) fn lack_in(&self, rows: &RecordBatch) -> bool {
        let mut columns = self
            .0
            .iter()
            .filter_map(|(name, _)| rows.column_by_name(name));
        columns.any(|column| column.null_count() > 0)
    }

    /// `rows` with the values where there was null, and in how many rows there was.
    pub(crate) fn fill(&self, rows: &RecordBatch) -> Result<(RecordBatch, u64)> {
        let failed = |error| Error::internal("a column cannot be filled").source(error);
        let mut columns = rows.columns().to_vec();
        let mut touched: Option<BooleanArray> = None;
        for (name, value) in &self.0 {
            let Some((at, _)) = rows.schema_ref().column_with_name(name) else {
                continue;
            };
            let Some(column) = columns.get_mut(at).filter(|column| column.null_count() > 0) else {
                continue;
            };
            let null = is_null(column).map_err(failed)?;
            touched = Some(match touched {
                Some(touched) => or(&touched, &null).map_err(failed)?,
                None => null,
            });
            let there = is_not_null(column).map_err(failed)?;
            *column = zip(&there, column, &Scalar::new(value)).map_err(failed)?;
        }
        let filled = RecordBatch::try_new(rows.schema(), columns).map_err(failed)?;
        Ok((
            filled,
            touched.map_or(0, |touched| touched.true_count() as u64),
        ))
    }
}
