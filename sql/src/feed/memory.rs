//! A feed over rows in memory: the double for tests and the shortest template for a new feed.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use super::{BatchLimit, ChangeFeed};
use crate::change::{BatchCounts, ChangeBatch, Op, Partition, Position, RowMeta, Span};
use crate::error::{Error, ErrorKind, Result};

/// Rows of one partition; row `i` has offset `i` and is an insert.
#[derive(Debug, Clone)]
pub struct MemoryFeed {
    partition: Partition,
    rows: RecordBatch,
    projection: Option<Vec<usize>>,
    next: usize,
    ends: bool,
}

impl MemoryFeed {
    /// A feed that is drained after its last row.
    pub fn bounded(topic: &str, rows: RecordBatch) -> Self {
        Self {
            partition: Partition::new(topic, 0),
            rows,
            projection: None,
            next: 0,
            ends: true,
        }
    }

    /// A feed that waits for ever after its last row, as a quiet topic does.
    pub fn unbounded(topic: &str, rows: RecordBatch) -> Self {
        Self {
            ends: false,
            ..Self::bounded(topic, rows)
        }
    }

    fn cut(&self, limit: &BatchLimit) -> Result<RecordBatch> {
        let rest = self.rows.num_rows() - self.next;
        let cut = self
            .rows
            .slice(self.next, rest.min(limit.max_records.max(1)));
        match &self.projection {
            Some(columns) => cut
                .project(columns)
                .map_err(|e| Error::internal("the projection does not fit the rows").source(e)),
            None => Ok(cut),
        }
    }

    fn offset(next: usize) -> Result<i64> {
        i64::try_from(next).map_err(|e| Error::internal("too many rows for an offset").source(e))
    }
}

#[async_trait]
impl ChangeFeed for MemoryFeed {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn project(&mut self, columns: &[String]) -> Result<()> {
        let schema = self.rows.schema();
        let indices = columns.iter().map(|name| {
            schema
                .index_of(name)
                .map_err(|e| Error::internal(format!("no column `{name}` to project")).source(e))
        });
        self.projection = Some(indices.collect::<Result<_>>()?);
        Ok(())
    }

    async fn seek(&mut self, position: &Position) -> Result<()> {
        let wanted = position.get(&self.partition).unwrap_or(0);
        let next = usize::try_from(wanted).unwrap_or(usize::MAX);
        if next > self.rows.num_rows() {
            return Err(Error::new(
                ErrorKind::DataLoss,
                format!("{} ends at {}", self.partition, self.rows.num_rows()),
            )
            .at(format!("{}@{wanted}", self.partition)));
        }
        self.next = next;
        Ok(())
    }

    async fn next(&mut self, limit: &BatchLimit) -> Result<Option<ChangeBatch>> {
        if self.next >= self.rows.num_rows() {
            if self.ends {
                return Ok(None);
            }
            return std::future::pending().await;
        }
        let rows = self.cut(limit)?;
        let n = rows.num_rows();
        let (start, end) = (Self::offset(self.next)?, Self::offset(self.next + n)?);
        let meta = RowMeta {
            ops: vec![Op::Create; n],
            partition: vec![0; n],
            offsets: (start..end).collect(),
            partitions: vec![self.partition.clone()],
            commit_micros: vec![i64::MIN; n],
            ..RowMeta::default()
        };
        let position = |next| Position::from_iter([(self.partition.clone(), next)]);
        let after = if start == 0 {
            Position::new()
        } else {
            position(start)
        };
        let span = Span::try_new(&after, &position(end))?;
        let counts = BatchCounts {
            records: n as u64,
            bytes: rows.get_array_memory_size() as u64,
            ..BatchCounts::default()
        };
        self.next += n;
        ChangeBatch::try_new(rows, meta, Vec::new(), span, counts).map(Some)
    }

    async fn ack(&mut self, _position: &Position) -> Result<()> {
        Ok(())
    }

    fn lag(&self) -> Option<u64> {
        Some((self.rows.num_rows() - self.next) as u64)
    }
}
