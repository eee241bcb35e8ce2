//! The plan node that reads pieces of an Iceberg table.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::{Result as DfResult, Statistics, internal_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning};
use datafusion::physical_optimizer::pruning::PruningPredicate;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use sql::{Error, Result};
use tokio::sync::OnceCell;

use super::pieces::Piece;
use super::{Files, Snapshot, external, precision, prune, reopened};
use crate::lake::versioned::iceberg::columns::Columns;
use crate::lake::versioned::iceberg::read::{Which, open};

/// What is read: plain data.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    pub(super) snapshot: Snapshot,
    pub(super) projection: Option<Vec<usize>>,
    /// They leave out; they do not filter.
    pub(super) filters: Vec<Expr>,
    /// What each task reads.
    pub(super) parts: Vec<Vec<Piece>>,
    /// Files that are read, of so many.
    pub(super) files: usize,
    pub(super) of_files: usize,
    pub(super) delete_files: usize,
    /// How many rows they have, and whether that is exact.
    pub(super) rows: (usize, bool),
}

/// Reads an Iceberg table at a snapshot. Holds plain data only: what is open is found again from the metadata file.
#[derive(Debug, Clone)]
pub struct IcebergScanExec {
    scan: Scan,
    full: SchemaRef,
    projected: SchemaRef,
    properties: Arc<PlanProperties>,
    files: Arc<OnceCell<Files>>,
    metrics: ExecutionPlanMetricsSet,
}

impl IcebergScanExec {
    pub(super) fn try_new(
        scan: Scan,
        full: &SchemaRef,
        files: Arc<OnceCell<Files>>,
    ) -> DfResult<Self> {
        let projected = match &scan.projection {
            Some(places) => Arc::new(full.project(places)?),
            None => Arc::clone(full),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&projected)),
            Partitioning::UnknownPartitioning(scan.parts.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self {
            scan,
            full: Arc::clone(full),
            projected,
            properties: Arc::new(properties),
            files,
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    pub(super) fn scan(&self) -> &Scan {
        &self.scan
    }

    /// Every column of the table, before projection.
    pub fn full_schema(&self) -> &SchemaRef {
        &self.full
    }
}

impl DisplayAs for IcebergScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scan = &self.scan;
        let columns: Vec<&str> = self
            .projected
            .fields()
            .iter()
            .map(|own| own.name().as_str())
            .collect();
        write!(
            f,
            "IcebergScanExec: table={}, version={}, files={} of {}, delete_files={}, tasks={}, projection=[{}]",
            scan.snapshot.name,
            scan.snapshot.version,
            scan.files,
            scan.of_files,
            scan.delete_files,
            scan.parts.len(),
            columns.join(", ")
        )?;
        if !scan.filters.is_empty() {
            let filters: Vec<String> = scan.filters.iter().map(ToString::to_string).collect();
            write!(f, ", pruning=[{}]", filters.join(", "))?;
        }
        Ok(())
    }
}

impl ExecutionPlan for IcebergScanExec {
    fn name(&self) -> &'static str {
        "IcebergScanExec"
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
            internal_err!("IcebergScanExec has no children")
        }
    }

    fn execute(
        &self,
        partition: usize,
        _context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let Some(pieces) = self.scan.parts.get(partition).cloned() else {
            return internal_err!("IcebergScanExec has no partition {partition}");
        };
        let names = self.projected.fields().iter().map(|own| own.name().clone());
        let task = Task {
            files: Arc::clone(&self.files),
            snapshot: self.scan.snapshot.clone(),
            names: names.collect(),
            predicate: prune::predicate(&self.full, &self.scan.filters)?.map(Arc::new),
            groups: MetricBuilder::new(&self.metrics).counter("row_groups_read", partition),
            pruned: MetricBuilder::new(&self.metrics).counter("row_groups_pruned", partition),
        };
        let measured = BaselineMetrics::new(&self.metrics, partition);
        let rows = futures::stream::iter(pieces)
            .then(move |piece| {
                let task = task.clone();
                async move { task.read(&piece).await }
            })
            .try_flatten()
            .map_err(external)
            .inspect_ok(move |batch| measured.record_output(batch.num_rows()));
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.projected),
            rows,
        )))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn partition_statistics(&self, partition: Option<usize>) -> DfResult<Statistics> {
        let mut statistics = Statistics::new_unknown(&self.projected);
        if partition.is_none() {
            statistics.num_rows = precision(self.scan.rows);
        } else {
            statistics.num_rows = Precision::Absent;
        }
        Ok(statistics)
    }
}

/// What a task has in hand.
#[derive(Clone)]
struct Task {
    files: Arc<OnceCell<Files>>,
    snapshot: Snapshot,
    names: Vec<String>,
    predicate: Option<Arc<PruningPredicate>>,
    groups: Count,
    pruned: Count,
}

impl Task {
    async fn read(&self, piece: &Piece) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let load = || reopened(&self.snapshot);
        let files = self.files.get_or_try_init(load).await?;
        let data = files.data.get(&piece.path);
        let data = data
            .ok_or_else(|| Error::config("the snapshot has no such data file").at(&piece.path))?;
        let dead = files.deletes.dead(data, None).await?;
        let which = Which::all_but(&dead, data.file.rows);
        if which.is_empty(data.file.rows) {
            return Ok(futures::stream::empty().boxed());
        }
        let opened = open(&files.reader, &data.file).await?;
        let groups = self.chosen(piece, &files.columns, &opened.metadata)?;
        if groups.is_empty() {
            return Ok(futures::stream::empty().boxed());
        }
        let columns = files.columns.select(&self.names)?;
        let constants = files.deletes.constants(&data.file);
        opened.rows(columns, constants, &which, Some(groups))
    }

    /// The row groups of the piece that the filters leave.
    fn chosen(
        &self,
        piece: &Piece,
        columns: &Columns,
        metadata: &parquet::arrow::arrow_reader::ArrowReaderMetadata,
    ) -> Result<Vec<usize>> {
        let all = metadata.metadata().row_groups().iter().enumerate();
        let mine = all.filter(|(_, group)| {
            let starts = group.columns().first().map(|column| column.byte_range().0);
            (piece.from..piece.to).contains(&starts.unwrap_or(0))
        });
        let mine: Vec<usize> = mine.map(|(at, _)| at).collect();
        let kept = match &self.predicate {
            Some(predicate) => {
                let kept = prune::row_groups(predicate, columns, metadata, &mine);
                kept.map_err(|error| Error::internal("row groups cannot be chosen").source(error))?
            }
            None => vec![true; mine.len()],
        };
        let total = mine.len();
        let chosen: Vec<usize> = mine
            .into_iter()
            .zip(kept)
            .filter_map(|(at, kept)| kept.then_some(at))
            .collect();
        self.groups.add(chosen.len());
        self.pruned.add(total - chosen.len());
        Ok(chosen)
    }
}
