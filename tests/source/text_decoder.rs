//! A decoder whose rows are the values' text.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use engine::format::{Decoded, Decoder, Pushed, RawMessage};
use sql::Result;
use sql::change::{BatchCounts, Op, Reject, RejectReason, RowMeta};

use super::support::record;

/// Rows are the values' text, in the column that the value names: `a` goes to `text`, `+note:a` needs the column `note`.
/// `control` and `bad` are what they say.
#[derive(Default)]
pub struct TextDecoder {
    columns: Option<Vec<String>>,
    projected: Vec<String>,
    rows: Vec<(String, String)>,
    meta: RowMeta,
    rejects: Vec<Reject>,
    counts: BatchCounts,
    pub pushed: Arc<AtomicUsize>,
}

impl TextDecoder {
    /// Knows its one column.
    pub fn declared() -> Self {
        Self {
            columns: Some(vec!["text".to_owned()]),
            projected: vec!["text".to_owned()],
            ..Self::default()
        }
    }
}

fn schema_of(columns: &[String]) -> SchemaRef {
    let field = |name: &String| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

impl Decoder for TextDecoder {
    fn schema(&self) -> Option<SchemaRef> {
        self.columns.as_deref().map(schema_of)
    }

    fn adopt(&mut self, schema: SchemaRef) -> Result<()> {
        assert!(self.is_empty(), "adopt only between batches");
        let names: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
        self.columns = Some(names);
        Ok(())
    }

    fn project(&mut self, columns: &[String]) -> Result<()> {
        assert!(self.is_empty(), "project only between batches");
        self.projected = columns.to_vec();
        Ok(())
    }

    fn needs(&mut self, message: &RawMessage<'_>) -> Result<Option<SchemaRef>> {
        let text = message.value.map(String::from_utf8_lossy);
        let column = text
            .as_deref()
            .and_then(|text| text.strip_prefix('+')?.split_once(':'))
            .map(|(column, _)| column.to_owned());
        let mut columns = self.columns.clone().unwrap_or_default();
        match column {
            Some(column) if !columns.contains(&column) => {
                columns.push(column);
                Ok(Some(schema_of(&columns)))
            }
            _ => Ok(None),
        }
    }

    fn push(&mut self, message: &RawMessage<'_>) -> Result<Pushed> {
        self.pushed.fetch_add(1, Ordering::SeqCst);
        let text = message
            .value
            .map(|v| String::from_utf8_lossy(v).into_owned());
        let pushed = match text.as_deref() {
            None if message.key.is_some() => Pushed::Tombstone,
            None | Some("control") => Pushed::Control,
            Some("bad") => Pushed::Reject,
            Some(text) => {
                let (column, text) = match text.strip_prefix('+').and_then(|t| t.split_once(':')) {
                    Some((column, text)) => (column, text),
                    None => ("text", text),
                };
                let mut columns = self.columns.clone().unwrap_or_default();
                if !columns.iter().any(|c| c == column) {
                    columns.push(column.to_owned());
                    return Ok(Pushed::NewSchema(schema_of(&columns)));
                }
                self.rows.push((column.to_owned(), text.to_owned()));
                self.add_meta(message);
                Pushed::Row
            }
        };
        match pushed {
            Pushed::Tombstone => self.counts.tombstones += 1,
            Pushed::Control => self.counts.control += 1,
            Pushed::Resend => self.counts.resends += 1,
            Pushed::Reject => self.rejects.push(reject(message)),
            Pushed::Row | Pushed::NewSchema(_) => {}
        }
        self.counts.records += 1;
        self.counts.bytes += message.size() as u64;
        Ok(pushed)
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn finish(&mut self, _ingested_at_micros: i64) -> Result<Decoded> {
        let rows = std::mem::take(&mut self.rows);
        let arrays: Vec<ArrayRef> = self
            .projected
            .iter()
            .map(|name| {
                let cell = |(c, t): &(String, String)| (c == name).then(|| t.clone());
                Arc::new(rows.iter().map(cell).collect::<StringArray>()) as ArrayRef
            })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(Decoded {
            rows: RecordBatch::try_new_with_options(schema_of(&self.projected), arrays, &options)
                .unwrap(),
            meta: std::mem::take(&mut self.meta),
            rejects: std::mem::take(&mut self.rejects),
            counts: std::mem::take(&mut self.counts),
        })
    }
}

impl TextDecoder {
    fn add_meta(&mut self, message: &RawMessage<'_>) {
        let known = self
            .meta
            .partitions
            .iter()
            .position(|p| p == message.partition);
        let index = known.unwrap_or_else(|| {
            self.meta.partitions.push(message.partition.clone());
            self.meta.partitions.len() - 1
        });
        self.meta.ops.push(Op::Create);
        self.meta.partition.push(index as u32);
        self.meta.offsets.push(message.offset);
        self.meta.commit_micros.push(i64::MIN);
    }
}

fn reject(message: &RawMessage<'_>) -> Reject {
    Reject {
        record: record(
            &message.partition.topic,
            message.partition.number,
            message.offset,
            None,
        ),
        reason: RejectReason::Malformed,
        column: None,
        detail: "bad".to_owned(),
    }
}
