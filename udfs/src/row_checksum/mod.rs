//! `row_checksum(a, …)`: one checksum of a set of rows that does not depend on their order.
//!
//! Two tables whose rows have the same values in the checksum's columns have the same checksum, whatever the order of
//! the rows, the batches and partitions they came in, and the physical encoding of the columns. Two that differ in one
//! cell, or in how often a row is there, have different ones (but for one chance in 2^64 or so). It finds differences;
//! it is no defence against somebody who makes collisions on purpose.
//!
//! **The algorithm**, so that it can be computed elsewhere. A row's hash starts at 0 and goes through its columns from
//! left to right: the hash after a cell is XXH64 of the cell's bytes, seeded with the hash before it plus the tag of
//! the cell's kind, mod 2^64. Kinds, tags and bytes are in the table of `cell.rs`. The hashes of all rows are added mod 2^64, and the
//! checksum is XXH64, seeded with 0, of that sum and of the number of rows (two little-endian 64-bit numbers), as 16
//! lowercase hexadecimal digits: text passes unharmed through Delta, Iceberg and JSON, which all lack unsigned numbers
//! or the digits for them.
//!
//! Sums and counts merge, so partial aggregates do, over threads and over machines.

mod accumulate;
mod cell;
mod nested;
mod temporal;

use std::any::Any;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, not_impl_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, DocSection, Documentation, GroupsAccumulator, ReversedUDAF,
    Signature, Volatility,
};

use accumulate::{Checksum, GroupChecksums};
pub use cell::row_hashes;

static DOC: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DocSection::default(),
        "One checksum of a set of rows: equal for equal rows in any order and encoding, different if a cell differs or \
         a row is missing or doubled.",
        "row_checksum(column[, ..., column_n])",
    )
    .with_sql_example("SELECT row_checksum(customer_id, email) FROM customers;")
    .with_argument("column", "A column; the order of the columns matters.")
    .build()
});

/// The function. See the module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct RowChecksum {
    signature: Signature,
}

impl RowChecksum {
    /// The function.
    pub fn new() -> Self {
        Self {
            signature: Signature::variadic_any(Volatility::Immutable),
        }
    }
}

impl Default for RowChecksum {
    fn default() -> Self {
        Self::new()
    }
}

impl AggregateUDFImpl for RowChecksum {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        "row_checksum"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        for data_type in arg_types {
            if let Some(part) = cell::unsupported(data_type) {
                return plan_err!(
                    "row_checksum does not take values of type {part}; leave the column out or cast it"
                );
            }
        }
        Ok(DataType::Utf8)
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(["sum", "rows"]
            .into_iter()
            .map(|part| {
                let name = format_state_name(args.name, part);
                Arc::new(Field::new(name, DataType::UInt64, false))
            })
            .collect())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(&args)?;
        Ok(Box::new(Checksum::default()))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        refuse_distinct(&args)?;
        Ok(Box::new(GroupChecksums::default()))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    /// Of no rows.
    fn default_value(&self, _data_type: &DataType) -> Result<ScalarValue> {
        Checksum::default().evaluate()
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOC)
    }
}

fn refuse_distinct(args: &AccumulatorArgs) -> Result<()> {
    if args.is_distinct {
        return not_impl_err!(
            "row_checksum(DISTINCT …) over several columns; select the distinct rows in a subquery"
        );
    }
    Ok(())
}
