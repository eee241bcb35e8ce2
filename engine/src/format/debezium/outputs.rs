//! The columns that a batch has: which of the row's own, which of the metadata columns, in which order.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Fields, Schema, SchemaRef};
use sql::change::{SOURCE, is_metadata, kafka_metadata_fields};
use sql::{Error, Result};

use super::column::Column;
use super::row::Places;

/// The row's columns and the projection over them and the metadata columns.
#[derive(Debug)]
pub(super) struct Outputs {
    /// The row's own columns.
    pub(super) row: Fields,
    /// Row and metadata columns.
    pub(super) schema: SchemaRef,
    /// The projected columns, in order.
    pub(super) projected: SchemaRef,
    /// Each projected column: the row column that it is, by its place among the distinct ones, or metadata.
    pub(super) sources: Vec<Option<usize>>,
    /// The distinct projected row columns, by their index in the row.
    pub(super) columns: Vec<usize>,
}

/// The whole schema of a feed whose rows have `row` columns.
pub(super) fn schema_of(row: &Fields) -> SchemaRef {
    let metadata = kafka_metadata_fields(row);
    let fields: Vec<FieldRef> = row.iter().cloned().chain(metadata).collect();
    Arc::new(Schema::new(fields))
}

/// The row columns of a whole schema.
pub(super) fn row_of(schema: &Schema) -> Fields {
    schema
        .fields()
        .iter()
        .filter(|field| !is_metadata(field.name()))
        .cloned()
        .collect()
}

impl Outputs {
    /// All columns of rows that have `row` columns.
    pub(super) fn all(row: Fields) -> Result<Self> {
        let schema = schema_of(&row);
        let names: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
        Self::project(row, &names)
    }

    /// Only these columns.
    pub(super) fn project(row: Fields, names: &[String]) -> Result<Self> {
        let schema = schema_of(&row);
        let mut columns: Vec<usize> = Vec::new();
        let mut sources = Vec::with_capacity(names.len());
        let mut fields = Vec::with_capacity(names.len());
        for name in names {
            let (index, field) = schema.column_with_name(name).ok_or_else(|| {
                Error::internal(format!("the projection has the unknown column `{name}`"))
            })?;
            fields.push(field.clone());
            sources.push((index < row.len()).then(|| {
                let known = columns.iter().position(|column| *column == index);
                known.unwrap_or_else(|| {
                    columns.push(index);
                    columns.len() - 1
                })
            }));
        }
        Ok(Self {
            row,
            schema,
            projected: Arc::new(Schema::new(fields)),
            sources,
            columns,
        })
    }

    /// Whether a metadata column is projected.
    pub(super) fn has(&self, name: &str) -> bool {
        self.projected.column_with_name(name).is_some()
    }

    pub(super) fn has_source(&self) -> bool {
        self.has(SOURCE)
    }

    /// Where each row column goes.
    pub(super) fn places(&self) -> Places {
        let place = |index: usize| self.columns.iter().position(|column| *column == index);
        self.row
            .iter()
            .enumerate()
            .map(|(index, field)| (field.name().clone(), (index, place(index))))
            .collect()
    }

    /// Where each row column goes in a struct of all of them.
    pub(super) fn places_in_struct(&self) -> Places {
        self.row
            .iter()
            .enumerate()
            .map(|(index, field)| (field.name().clone(), (index, Some(index))))
            .collect()
    }

    /// Empty columns for the distinct projected row columns.
    pub(super) fn empty_columns(&self) -> Result<Vec<Column>> {
        self.columns
            .iter()
            .filter_map(|index| self.row.get(*index))
            .map(|field| Column::try_new(field.data_type()))
            .collect()
    }

    /// An empty metadata column, if it is projected.
    pub(super) fn empty_metadata(&self, name: &str) -> Result<Option<Column>> {
        match self.projected.column_with_name(name) {
            Some((_, field)) => Column::try_new(field.data_type()).map(Some),
            None => Ok(None),
        }
    }

    /// The index of a row column.
    pub(super) fn index_of(&self, name: &str) -> Option<usize> {
        self.row.iter().position(|field| field.name() == name)
    }

    /// The projected columns as a batch of `rows` rows.
    pub(super) fn batch(
        &self,
        columns: Vec<arrow::array::ArrayRef>,
        rows: usize,
    ) -> Result<RecordBatch> {
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.projected), columns, &options)
            .map_err(super::column::bug)
    }
}
