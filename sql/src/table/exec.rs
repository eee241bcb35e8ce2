//! The plan node that reads a source.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Result as DfResult, Statistics, internal_err};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning};
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::limit::LimitStream;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use futures::{Stream, stream};
use serde::{Deserialize, Serialize};

use super::ROW;
use super::slots::{OpenFeed, Slots};
use crate::change::Position;
use crate::error::Error;
use crate::feed::{BatchLimit, ChangeFeed};

/// When the rows of a source end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ends {
    /// With the micro-batch that the slot holds.
    WithTheBatch,
    /// When everything is read that was there at the start: a feed that ends.
    WhenRead,
    /// Never: a feed.
    Never,
}

/// Rows that the planner may expect of a micro-batch, so that it builds hash tables from lookups that are smaller.
const BATCH_GUESS: usize = 50_000;
/// Rows that the planner may expect of a feed: more than any table, so that a feed is never the side that is collected.
pub(super) const FEED_GUESS: usize = 1 << 40;
/// Bytes of a row, for the same guesses.
pub(super) const ROW_BYTES: usize = 128;

/// Reads a source. Holds plain data only; rows and feeds are found at execution in the session's [`Slots`].
#[derive(Debug, Clone)]
pub struct SourceExec {
    name: String,
    schema: SchemaRef,
    projection: Option<Vec<usize>>,
    ends: Ends,
    topics: Vec<String>,
    fetch: Option<usize>,
    projected: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl SourceExec {
    /// Reads the columns `projection` of `schema` from the source `name`.
    ///
    /// # Errors
    /// If the projection names a column that the schema does not have.
    pub fn try_new(
        name: String,
        schema: &SchemaRef,
        projection: Option<Vec<usize>>,
        ends: Ends,
        topics: Vec<String>,
    ) -> DfResult<Self> {
        let projected = match &projection {
            Some(indices) => Arc::new(schema.project(indices)?),
            None => Arc::clone(schema),
        };
        let properties = properties(&projected, ends, None);
        Ok(Self {
            name,
            schema: Arc::clone(schema),
            projection,
            ends,
            topics,
            fetch: None,
            projected,
            properties,
        })
    }

    /// The same node that ends after `fetch` rows; a feed that is cut so is bounded.
    #[must_use]
    pub fn limited(mut self, fetch: Option<usize>) -> Self {
        self.properties = properties(&self.projected, self.ends, fetch);
        self.fetch = fetch;
        self
    }

    /// The source's name.
    pub fn source(&self) -> &str {
        &self.name
    }

    /// Every column of the source, before projection.
    pub fn full_schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Which columns are read; `None` is all of them.
    pub fn projection(&self) -> Option<&[usize]> {
        self.projection.as_deref()
    }

    /// When the rows end.
    pub fn ends(&self) -> Ends {
        self.ends
    }

    /// The topics behind a feed.
    pub fn topics(&self) -> &[String] {
        &self.topics
    }

    fn rows(&self, slots: &Slots, slice: usize) -> DfResult<SendableRecordBatchStream> {
        let Some(rows) = slots.rows(&self.name) else {
            return internal_err!("no rows were put under the source {}", self.name);
        };
        let schema = Arc::clone(&self.projected);
        let starts = (0..rows.num_rows()).step_by(slice.max(1));
        let slices = starts.map(move |start| {
            let part = rows.slice(start, slice.min(rows.num_rows() - start));
            by_name(&part, &schema, start)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.projected),
            stream::iter(slices),
        )))
    }

    fn tail(&self, slots: &Slots, slice: usize) -> DfResult<SendableRecordBatchStream> {
        let Some(open) = slots.feed(&self.name) else {
            return internal_err!("no feed was put under the source {}", self.name);
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.projected),
            tail(open, Arc::clone(&self.projected), slice),
        )))
    }
}

/// The batches of a feed for as long as somebody asks; dropping the stream drops the feed.
fn tail(
    open: OpenFeed,
    schema: SchemaRef,
    slice: usize,
) -> impl Stream<Item = DfResult<RecordBatch>> + Send {
    let columns: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
    let limit = BatchLimit {
        max_records: slice.max(1),
        max_bytes: 8 << 20,
        max_wait: std::time::Duration::from_millis(100),
    };
    stream::try_unfold(None, move |feed: Option<Box<dyn ChangeFeed>>| {
        let (open, schema, columns) = (Arc::clone(&open), Arc::clone(&schema), columns.clone());
        async move {
            let mut feed = match feed {
                Some(feed) => feed,
                None => {
                    let mut feed = open().await.map_err(external)?;
                    feed.project(&columns).map_err(external)?;
                    feed.seek(&Position::new()).await.map_err(external)?;
                    feed
                }
            };
            let Some(batch) = feed.next(&limit).await.map_err(external)? else {
                return Ok(None);
            };
            if batch.next_schema().is_some() {
                feed.project(&columns).map_err(external)?;
            }
            let rows = by_name(batch.rows(), &schema, 0)?;
            Ok(Some((rows, Some(feed))))
        }
    })
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The columns of `schema` out of `rows`, found by name; [`ROW`] counts from `start`.
fn by_name(rows: &RecordBatch, schema: &SchemaRef, start: usize) -> DfResult<RecordBatch> {
    let columns = schema.fields().iter().map(|field| -> DfResult<ArrayRef> {
        if field.name() == ROW {
            let end = start + rows.num_rows();
            return Ok(Arc::new(UInt64Array::from_iter_values(
                (start..end).map(|row| row as u64),
            )));
        }
        match rows.column_by_name(field.name()) {
            Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
            Some(column) => internal_err!(
                "column {} was decoded as {}, and the plan reads {}",
                field.name(),
                column.data_type(),
                field.data_type()
            ),
            None => internal_err!("column {} was not decoded", field.name()),
        }
    });
    let columns = columns.collect::<DfResult<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}

fn properties(schema: &SchemaRef, ends: Ends, fetch: Option<usize>) -> Arc<PlanProperties> {
    let boundedness = match (ends, fetch) {
        (Ends::Never, None) => Boundedness::Unbounded {
            requires_infinite_memory: false,
        },
        _ => Boundedness::Bounded,
    };
    Arc::new(
        PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            boundedness,
        )
        .with_scheduling_type(SchedulingType::Cooperative),
    )
}

pub(super) fn names(schema: &Schema) -> String {
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    names.join(", ")
}

impl DisplayAs for SourceExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, columns) = (&self.name, names(&self.projected));
        if t == DisplayFormatType::TreeRender {
            writeln!(f, "source={name}")?;
            return write!(f, "columns={columns}");
        }
        write!(f, "SourceExec: source={name}, projection=[{columns}]")?;
        if self.ends == Ends::Never {
            f.write_str(", infinite_source=true")?;
        }
        if !self.topics.is_empty() {
            write!(f, ", topics=[{}]", self.topics.join(", "))?;
        }
        if let Some(fetch) = self.fetch {
            write!(f, ", fetch={fetch}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for SourceExec {
    fn name(&self) -> &'static str {
        "SourceExec"
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
            internal_err!("SourceExec is a leaf")
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("SourceExec has one partition, not {partition}");
        }
        let config = context.session_config();
        let Some(slots) = config.get_extension::<Slots>() else {
            return internal_err!("the session was not made by sql::session");
        };
        let rows = match self.ends {
            Ends::WithTheBatch => self.rows(&slots, config.batch_size())?,
            Ends::Never | Ends::WhenRead => self.tail(&slots, config.batch_size())?,
        };
        let rows = make_cooperative(rows);
        Ok(match self.fetch {
            None => rows,
            Some(fetch) => {
                let metrics = BaselineMetrics::new(&ExecutionPlanMetricsSet::new(), partition);
                Box::pin(LimitStream::new(rows, 0, Some(fetch), metrics))
            }
        })
    }

    fn partition_statistics(&self, _partition: Option<usize>) -> DfResult<Statistics> {
        let guess = match self.ends {
            // What ends may be collected. Joins multiply their sides' rows, so a large guess would overflow.
            Ends::WithTheBatch | Ends::WhenRead => BATCH_GUESS,
            Ends::Never => FEED_GUESS,
        };
        let rows = self.fetch.map_or(guess, |fetch| fetch.min(guess));
        Ok(Statistics {
            num_rows: Precision::Inexact(rows),
            total_byte_size: Precision::Inexact(rows * ROW_BYTES),
            column_statistics: vec![ColumnStatistics::new_unknown(); self.projected.fields().len()],
        })
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(self.clone().limited(limit)))
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }
}
