//! The SQL functions of the engine: pure computations on columns.
//!
//! Every function is deterministic and holds no state of its own, so that a plan that names one means the same on any
//! machine that registers [`all`]. What each does, with examples, is in `docs/functions.md`.
//!
//! | function | kind | what |
//! |---|---|---|
//! | `cdc_operation(op)` | scalar | Debezium's letter of an operation as a word |
//! | `concat_nonblank(sep, a, …)` | scalar | joins values; nulls and blanks are skipped |
//! | `row_checksum(a, …)` | aggregate | one checksum of a set of rows, in any order |

mod cdc_operation;
mod concat_nonblank;
mod row_checksum;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

pub use cdc_operation::CdcOperation;
pub use concat_nonblank::ConcatNonblank;
pub use row_checksum::{RowChecksum, row_hashes};

/// Every function of this crate.
#[derive(Debug, Clone)]
pub struct Functions {
    /// Functions of a row.
    pub scalar: Vec<ScalarUDF>,
    /// Functions of a set of rows.
    pub aggregate: Vec<AggregateUDF>,
}

/// Every function of this crate, to be registered in every session: pipelines, the prompt, tests and workers.
pub fn all() -> Functions {
    Functions {
        scalar: vec![
            ScalarUDF::from(CdcOperation::new()),
            ScalarUDF::from(ConcatNonblank::new()),
        ],
        aggregate: vec![AggregateUDF::from(RowChecksum::new())],
    }
}
