//! The plan node that reads the changes of a table.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::{Result as DfResult, Statistics, internal_err};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalSortExpr};
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::limit::LimitStream;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use futures::StreamExt;

use super::Range;
use super::read::Reading;
use crate::change::{CHANGE_TYPE, COMMIT_TIMESTAMP, COMMIT_VERSION};
use crate::table::Slots;
use crate::table::exec::{FEED_GUESS, ROW_BYTES, names};
use crate::versioned::Wanted;

/// Reads the changes of a range of versions, in the order of the versions. Holds plain data only; the table is found at
/// execution in the session's [`Slots`].
#[derive(Debug, Clone)]
pub struct ChangesExec {
    table: String,
    schema: SchemaRef,
    projection: Option<Vec<usize>>,
    range: Range,
    change_types: Option<Vec<String>>,
    fetch: Option<usize>,
    projected: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ChangesExec {
    /// Reads the columns `projection` of `schema` (the row's, then what is added to it) of the changes that the versions
    /// of `range` made to the table that the session's slots hold under `table`; only those of `change_types`, if it says
    /// which.
    ///
    /// # Errors
    /// If the projection names a column that the schema does not have.
    pub fn try_new(
        table: String,
        schema: &SchemaRef,
        projection: Option<Vec<usize>>,
        range: Range,
        change_types: Option<Vec<String>>,
    ) -> DfResult<Self> {
        let projected = match &projection {
            Some(indices) => Arc::new(schema.project(indices)?),
            None => Arc::clone(schema),
        };
        Ok(Self {
            table,
            schema: Arc::clone(schema),
            projection,
            range,
            change_types,
            fetch: None,
            properties: properties(&projected, range, None),
            projected,
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// The same node that ends after `fetch` rows; a range without an end that is cut so is bounded.
    #[must_use]
    pub fn limited(mut self, fetch: Option<usize>) -> Self {
        self.properties = properties(&self.projected, self.range, fetch);
        self.fetch = fetch;
        self
    }

    /// What the session's slots call the table.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Every column, before projection.
    pub fn full_schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Which columns are read; `None` is all of them.
    pub fn projection(&self) -> Option<&[usize]> {
        self.projection.as_deref()
    }

    /// Which versions are read.
    pub fn range(&self) -> Range {
        self.range
    }

    /// Which changes are read; `None` is all of them.
    pub fn change_types(&self) -> Option<&[String]> {
        self.change_types.as_deref()
    }

    /// The row's columns that are read.
    fn wanted(&self) -> Wanted {
        let added = [CHANGE_TYPE, COMMIT_VERSION, COMMIT_TIMESTAMP];
        let columns = self.projected.fields().iter().map(|f| f.name().clone());
        Wanted {
            columns: columns
                .filter(|name| !added.contains(&name.as_str()))
                .collect(),
            change_types: self.change_types.clone(),
        }
    }
}

fn properties(schema: &SchemaRef, range: Range, fetch: Option<usize>) -> Arc<PlanProperties> {
    let boundedness = match (range.to, fetch) {
        (None, None) => Boundedness::Unbounded {
            requires_infinite_memory: false,
        },
        _ => Boundedness::Bounded,
    };
    let order = schema.index_of(COMMIT_VERSION).ok().map(|index| {
        let column = Arc::new(Column::new(COMMIT_VERSION, index));
        [PhysicalSortExpr::new(column, SortOptions::default())]
    });
    Arc::new(
        PlanProperties::new(
            EquivalenceProperties::new_with_orderings(Arc::clone(schema), order),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            boundedness,
        )
        .with_scheduling_type(SchedulingType::Cooperative),
    )
}

impl DisplayAs for ChangesExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (table, columns) = (&self.table, names(&self.projected));
        let versions = match (self.range.from, self.range.to) {
            (from, Some(to)) if from == to => from.to_string(),
            (from, Some(to)) => format!("{from} to {to}"),
            (from, None) => format!("{from} and on"),
        };
        if t == DisplayFormatType::TreeRender {
            writeln!(f, "table={table}")?;
            writeln!(f, "versions={versions}")?;
            return write!(f, "columns={columns}");
        }
        write!(
            f,
            "ChangesExec: table={table}, versions=[{versions}], projection=[{columns}]"
        )?;
        if let Some(types) = &self.change_types {
            write!(f, ", change_types=[{}]", types.join(", "))?;
        }
        if self.range.to.is_none() {
            f.write_str(", infinite_source=true")?;
        }
        if let Some(fetch) = self.fetch {
            write!(f, ", fetch={fetch}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for ChangesExec {
    fn name(&self) -> &'static str {
        "ChangesExec"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        if children.is_empty() {
            Ok(self)
        } else {
            internal_err!("ChangesExec is a leaf")
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("ChangesExec has one partition, not {partition}");
        }
        let Some(slots) = context.session_config().get_extension::<Slots>() else {
            return internal_err!("the session was not made by sql::session");
        };
        let Some(table) = slots.table(&self.table) else {
            return internal_err!("no table was put under {}", self.table);
        };
        let reading = Reading {
            table,
            wanted: self.wanted(),
            schema: Arc::clone(&self.projected),
        };
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let rows = reading.rows(self.range).inspect(move |batch| {
            if let Ok(batch) = batch {
                metrics.record_output(batch.num_rows());
            }
        });
        let schema = Arc::clone(&self.projected);
        let rows = make_cooperative(Box::pin(RecordBatchStreamAdapter::new(schema, rows)));
        Ok(match self.fetch {
            None => rows,
            Some(fetch) => {
                // What the limit counts is not what the node counts: it may cut a batch.
                let own = BaselineMetrics::new(&ExecutionPlanMetricsSet::new(), partition);
                Box::pin(LimitStream::new(rows, 0, Some(fetch), own))
            }
        })
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn partition_statistics(&self, _partition: Option<usize>) -> DfResult<Statistics> {
        let mut statistics = Statistics::new_unknown(&self.projected);
        if self.range.to.is_none() {
            // More than any table: never the side of a join that is collected.
            let rows = self.fetch.unwrap_or(FEED_GUESS);
            statistics.num_rows = Precision::Inexact(rows);
            statistics.total_byte_size = Precision::Inexact(rows.saturating_mul(ROW_BYTES));
        }
        Ok(statistics)
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(self.clone().limited(limit)))
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }
}
