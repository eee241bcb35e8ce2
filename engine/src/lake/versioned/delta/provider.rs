//! A version of a table with deletion vectors, for SQL. The library's own scan shows deleted rows as soon as it is split or filtered.

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result as DataFusionResult};
use datafusion::datasource::TableType;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::TryStreamExt as _;

use super::columns::Columns;
use super::place::Place;
use super::read::{Part, Reader};

/// Rows of files without those that are deleted.
#[derive(Debug)]
pub(super) struct LiveRows {
    pub(super) place: Place,
    pub(super) columns: Arc<Columns>,
    pub(super) parts: Vec<Part>,
}

#[async_trait]
impl TableProvider for LiveRows {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(self.columns.schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let fields = self.columns.schema().fields();
        let wanted: Vec<_> = match projection {
            Some(places) => {
                let chosen = places.iter().filter_map(|place| fields.get(*place));
                chosen.map(|field| field.name().clone()).collect()
            }
            None => fields.iter().map(|field| field.name().clone()).collect(),
        };
        let reader = Reader::try_new(&self.place, &self.columns, &wanted, false)
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        let shares = state.config().target_partitions().max(1);
        let share = self.parts.len().div_ceil(shares).max(1);
        let mut partitions: Vec<Arc<dyn PartitionStream>> = Vec::new();
        for parts in self.parts.chunks(share) {
            partitions.push(Arc::new(Share {
                reader: reader.clone(),
                parts: parts.to_vec(),
            }));
        }
        let schema = Arc::clone(reader.schema());
        if partitions.is_empty() {
            partitions.push(Arc::new(Share {
                reader,
                parts: Vec::new(),
            }));
        }
        let plan = StreamingTableExec::try_new(schema, partitions, None, [], false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// Files that are read one after the other.
#[derive(Debug)]
struct Share {
    reader: Reader,
    parts: Vec<Part>,
}

impl PartitionStream for Share {
    fn schema(&self) -> &SchemaRef {
        self.reader.schema()
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.reader.all(self.parts.clone());
        let rows = rows.map_err(|error| DataFusionError::External(Box::new(error)));
        let schema = Arc::clone(self.reader.schema());
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }
}
