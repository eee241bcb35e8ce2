//! The two table providers over [`SourceExec`]: a pipeline's micro-batch, and a feed.

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::ROW;
use super::exec::{Ends, SourceExec};

/// The table that a pipeline's SQL reads: the rows of one micro-batch. Recognised by its type, never by its name.
#[derive(Debug, Clone)]
pub struct SlotTable {
    name: String,
    schema: SchemaRef,
}

impl SlotTable {
    /// The source `name` with its row and metadata columns. All columns become nullable: a delete has only its key,
    /// and the optimiser would otherwise fold `IS NULL` away.
    pub fn new(name: impl Into<String>, schema: &Schema) -> Self {
        let fields: Vec<Field> = schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect();
        Self {
            name: name.into(),
            schema: Arc::new(Schema::new(fields)),
        }
    }

    /// The same table with the hidden column [`ROW`] as its last one.
    #[must_use]
    pub fn with_row(&self) -> Self {
        let mut fields: Vec<_> = self.schema.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(ROW, DataType::UInt64, false)));
        Self {
            name: self.name.clone(),
            schema: Arc::new(Schema::new(fields)),
        }
    }

    /// The source's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[async_trait]
impl TableProvider for SlotTable {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let exec = SourceExec::try_new(
            self.name.clone(),
            &self.schema,
            projection.cloned(),
            Ends::WithTheBatch,
            Vec::new(),
        )?;
        Ok(Arc::new(exec.limited(limit)))
    }
}

/// A feed as a table at the prompt: rows come for ever. The feed is opened by each execution, through the opener that
/// the session's [`super::Slots`] hold under the same name.
#[derive(Debug, Clone)]
pub struct FeedTable {
    name: String,
    schema: SchemaRef,
    topics: Vec<String>,
    ends: Ends,
}

impl FeedTable {
    /// The feed `name` with the columns of [`crate::feed::ChangeFeed::schema`]; `topics` are for `EXPLAIN`.
    pub fn new(name: impl Into<String>, schema: SchemaRef, topics: Vec<String>) -> Self {
        Self {
            name: name.into(),
            schema,
            topics,
            ends: Ends::Never,
        }
    }

    /// The same table over a feed that ends when everything is read that was there at the start.
    #[must_use]
    pub fn ending(mut self) -> Self {
        self.ends = Ends::WhenRead;
        self
    }
}

#[async_trait]
impl TableProvider for FeedTable {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let exec = SourceExec::try_new(
            self.name.clone(),
            &self.schema,
            projection.cloned(),
            self.ends,
            self.topics.clone(),
        )?;
        Ok(Arc::new(exec.limited(limit)))
    }
}
