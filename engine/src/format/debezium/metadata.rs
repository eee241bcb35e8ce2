//! The metadata columns of a finished batch, out of what stands beside its rows.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, ListBuilder, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::Fields;
use sql::change::{
    BEFORE, CHANGE_TYPE, COMMIT_TIMESTAMP, INGESTED_AT, OFFSET, OP, PARTITION, Partition, RowMeta,
    SOURCE, TOPIC, UNAVAILABLE_COLUMNS,
};
use sql::{Error, Result};

/// What metadata columns are made of.
pub(super) struct Made<'m> {
    pub(super) meta: &'m RowMeta,
    pub(super) row: &'m Fields,
    pub(super) unavailable: &'m [(usize, usize)],
    pub(super) ingested_at: i64,
    pub(super) before: Option<ArrayRef>,
    pub(super) source: Option<ArrayRef>,
}

impl Made<'_> {
    /// The column called `name`.
    pub(super) fn column(&self, name: &str) -> Result<ArrayRef> {
        let meta = self.meta;
        let array: ArrayRef = match name {
            OP => Arc::new(StringArray::from_iter_values(
                meta.ops.iter().map(|op| op.letter()),
            )),
            CHANGE_TYPE => Arc::new(StringArray::from_iter(
                meta.ops.iter().map(|op| op.change_type()),
            )),
            COMMIT_TIMESTAMP => {
                let known = |micros: &i64| Some(*micros).filter(|micros| *micros != i64::MIN);
                utc(meta.commit_micros.iter().map(known))
            }
            TOPIC => Arc::new(StringArray::from_iter(
                self.partitions().map(|p| p.map(|p| p.topic.as_str())),
            )),
            PARTITION => Arc::new(Int32Array::from_iter(
                self.partitions().map(|p| p.map(|p| p.number)),
            )),
            OFFSET => Arc::new(Int64Array::from_iter_values(meta.offsets.iter().copied())),
            INGESTED_AT => utc(meta.ops.iter().map(|_| Some(self.ingested_at))),
            UNAVAILABLE_COLUMNS => self.unavailable_columns(),
            BEFORE => kept(self.before.as_ref(), name)?,
            SOURCE => kept(self.source.as_ref(), name)?,
            other => return Err(Error::internal(format!("no metadata column is `{other}`"))),
        };
        Ok(array)
    }

    fn partitions(&self) -> impl Iterator<Item = Option<&Partition>> {
        self.meta.partition.iter().map(|index| {
            let index = usize::try_from(*index).ok()?;
            self.meta.partitions.get(index)
        })
    }

    fn unavailable_columns(&self) -> ArrayRef {
        let mut lists = ListBuilder::new(StringBuilder::new());
        let mut marks = self.unavailable.iter().peekable();
        for row in 0..self.meta.ops.len() {
            let mut any = false;
            while let Some((_, field)) = marks.next_if(|(at, _)| *at == row) {
                any = true;
                lists
                    .values()
                    .append_option(self.row.get(*field).map(|field| field.name()));
            }
            lists.append(any);
        }
        Arc::new(lists.finish())
    }
}

fn kept(column: Option<&ArrayRef>, name: &str) -> Result<ArrayRef> {
    column
        .map(Arc::clone)
        .ok_or_else(|| Error::internal(format!("the column `{name}` was not decoded")))
}

fn utc(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter(values).with_timezone("UTC"))
}
