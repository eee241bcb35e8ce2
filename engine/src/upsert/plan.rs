//! How a query's output is keyed, and what its columns are made of.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use sql::change::is_metadata;
use sql::plan::Lineage;
use sql::{Error, Result};

use super::{batch_of, broken};
use crate::lake::cast::Caster;
use crate::transform::Transform;

/// Longest key in a sentence.
const SHOWN: usize = 80;

/// How the output of a query is kept by key.
#[derive(Debug, Clone)]
pub struct UpsertPlan {
    /// The source's key columns.
    key: Vec<String>,
    /// The output's column of each of them.
    target: Vec<String>,
    pub(super) lineage: Lineage,
    pub(super) output: SchemaRef,
    /// Present once the sink is open.
    bound: Option<Bound>,
}

/// What the target's types say.
#[derive(Debug, Clone)]
struct Bound {
    schema: SchemaRef,
    rows: Caster,
    keys: SchemaRef,
}

impl UpsertPlan {
    /// The plan of `transform` over a source with these key columns.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] if the source's key is not known, or if the query does not return every key column as
    /// it is.
    pub fn try_new(transform: &Transform, key: &[String], at: &str) -> Result<Self> {
        if key.is_empty() {
            return Err(Error::config(
                "the target is kept by key, but the key of the source is not known",
            )
            .at(at)
            .expected("the columns that identify a row")
            .remedy("Say them: `key: [id]` in the source, or PRIMARY KEY in its `columns`."));
        }
        let lineage = transform.lineage()?;
        let output = Arc::clone(transform.output_schema());
        let target = key
            .iter()
            .map(|name| {
                let place = lineage
                    .output
                    .iter()
                    .position(|origin| origin.plain.as_ref() == Some(name));
                let field = place.and_then(|place| output.fields().get(place));
                field.map(|field| field.name().clone()).ok_or_else(|| {
                    Error::config(format!("the SQL does not return the key column `{name}` as it is"))
                        .at(transform.place())
                        .expected("every key column as a plain column, renamed at most: the target is kept by key")
                        .remedy(format!("Add `{name}` to the SELECT list."))
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            key: key.to_vec(),
            target,
            lineage,
            output,
            bound: None,
        })
    }

    /// The plan for a target with these columns.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Config`] if a column does not fit.
    pub fn bind(&mut self, target: &SchemaRef) -> Result<()> {
        let keys = self.target.iter().map(|name| {
            let field = target.field_with_name(name).map_err(broken)?;
            Ok(field.clone())
        });
        self.bound = Some(Bound {
            rows: Caster::try_new(&self.output, target)?,
            keys: Arc::new(Schema::new(keys.collect::<Result<Vec<Field>>>()?)),
            schema: Arc::clone(target),
        });
        Ok(())
    }

    /// The source's key columns.
    pub fn key(&self) -> &[String] {
        &self.key
    }

    /// The output's key columns.
    pub fn target_key(&self) -> &[String] {
        &self.target
    }

    fn bound(&self) -> Result<&Bound> {
        self.bound
            .as_ref()
            .ok_or_else(|| Error::internal("an upsert was run before its target was open"))
    }

    pub(super) fn target_schema(&self) -> Result<&SchemaRef> {
        Ok(&self.bound()?.schema)
    }

    /// Output rows with the target's types.
    pub(super) fn cast(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        self.bound()?.rows.cast(rows)
    }

    /// The key columns of source rows.
    pub(super) fn source_keys(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let (mut fields, mut columns) = (Vec::new(), Vec::<ArrayRef>::new());
        for name in &self.key {
            let column = rows.column_by_name(name).ok_or_else(|| {
                Error::internal(format!("the key column `{name}` was not decoded"))
            })?;
            fields.push(Field::new(name, column.data_type().clone(), true));
            columns.push(Arc::clone(column));
        }
        batch_of(Arc::new(Schema::new(fields)), columns, rows.num_rows())
    }

    /// Keys of the source as the target has them: its names and types.
    pub(super) fn target_keys(&self, keys: &RecordBatch) -> Result<RecordBatch> {
        let named = self
            .target
            .iter()
            .zip(keys.schema().fields().iter().cloned().collect::<Vec<_>>());
        let named: Vec<Field> = named
            .map(|(name, field)| field.as_ref().clone().with_name(name))
            .collect();
        let schema = Arc::new(Schema::new(named));
        let renamed = batch_of(
            Arc::clone(&schema),
            keys.columns().to_vec(),
            keys.num_rows(),
        )?;
        Caster::try_new(&schema, &self.bound()?.keys)?.cast(&renamed)
    }

    /// The key of a source row, for a sentence.
    pub(super) fn show_key(&self, rows: &RecordBatch, row: u64) -> String {
        let options = FormatOptions::default().with_null("null");
        let row = usize::try_from(row).unwrap_or(usize::MAX);
        let shown = self.key.iter().filter_map(|name| {
            let column = rows.column_by_name(name)?;
            let formatter = ArrayFormatter::try_new(column.as_ref(), &options).ok()?;
            (row < column.len()).then(|| format!("{name}={}", formatter.value(row)))
        });
        let shown = shown.collect::<Vec<_>>().join(", ");
        shown.chars().take(SHOWN).collect()
    }

    /// The first output column that is `column` unchanged.
    pub(super) fn plain(&self, column: &str) -> Option<usize> {
        let mut output = self.lineage.output.iter();
        output.position(|origin| origin.plain.as_deref() == Some(column))
    }

    /// The row's own columns that an output column is made of. Metadata is about the change: it says nothing of a value.
    pub(super) fn made_of(&self, output: usize) -> BTreeSet<&str> {
        let origin = self.lineage.output.get(output);
        let columns = origin.into_iter().flat_map(|origin| &origin.columns);
        columns
            .map(String::as_str)
            .filter(|name| !is_metadata(name))
            .collect()
    }
}
