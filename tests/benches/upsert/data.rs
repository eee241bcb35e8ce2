//! Rows and batches that look random, and are the same in each run.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

/// Rows of a batch: nine of ten are of keys that are there, one of nine of these is deleted.
pub(crate) const BATCH: i64 = 10_000;

/// Which keys of the table a batch is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// All are as likely.
    Uniform,
    /// Of the last tenth of the table.
    Recent,
}

impl Keys {
    pub(crate) fn parse(name: &str) -> Self {
        match name {
            "uniform" => Self::Uniform,
            "recent" => Self::Recent,
            other => panic!("unknown keys {other}"),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Recent => "recent",
        }
    }
}

/// `id` is the key.
pub(crate) fn schema() -> Schema {
    Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("region", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("amount", DataType::Float64, true),
        Field::new("note", DataType::Utf8, true),
    ])
}

pub(crate) fn mixed(n: i64) -> i64 {
    let mut n = n.cast_unsigned().wrapping_add(0x9E37_79B9_7F4A_7C15);
    n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((n ^ (n >> 31)) >> 1).cast_signed()
}

pub(crate) fn region(id: i64) -> &'static str {
    if id % 2 == 0 { "us" } else { "eu" }
}

pub(crate) fn word(id: i64, round: i64) -> String {
    format!("{:016x}", mixed(id + round * 7))
}

/// Kept to two decimals, as money is.
pub(crate) fn amount(id: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    let cents = (mixed(id) % 10_000_000) as f64;
    cents / 100.0
}

/// The rows of these keys as a round makes them; round 0 is the filling.
pub(crate) fn rows(ids: &[i64], round: i64) -> RecordBatch {
    let texts = |of: &dyn Fn(i64) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(ids.iter().map(|id| of(*id))))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(ids.to_vec())),
        texts(&|id| region(id).to_owned()),
        Arc::new(Int64Array::from(vec![round; ids.len()])),
        texts(&|id| word(id, round)),
        Arc::new(Float64Array::from_iter_values(
            ids.iter().map(|id| amount(*id)),
        )),
        texts(&|id| word(id, round).repeat(2)),
    ];
    RecordBatch::try_new(Arc::new(schema()), columns).expect("columns of the schema")
}

/// The key column alone.
pub(crate) fn keys(ids: &[i64]) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
    RecordBatch::try_from_iter(vec![("id", column)]).expect("one column")
}

/// Keys of a batch.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) written: Vec<i64>,
    pub(crate) deleted: Vec<i64>,
}

/// The batch of a round, into a table that was filled with `size` rows.
pub(crate) fn batch(round: i64, keys: Keys, size: i64) -> Batch {
    let wanted = usize::try_from(BATCH * 9 / 10).expect("a small number");
    let mut old = BTreeSet::new();
    let mut n = 0;
    while old.len() < wanted {
        n += 1;
        let place = mixed(round * 1_000_003 + n);
        old.insert(match keys {
            Keys::Uniform => place % size,
            Keys::Recent => size - 1 - place % (size / 10),
        });
    }
    let (deleted, mut written): (Vec<i64>, Vec<i64>) =
        old.into_iter().partition(|id| mixed(*id) % 9 == 0);
    written.extend((0..BATCH / 10).map(|new| size + round * BATCH + new));
    Batch { written, deleted }
}
