//! Sums of row hashes, alone and by group.

use std::mem::{size_of, size_of_val, take};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray, UInt64Array};
use arrow::datatypes::UInt64Type;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use twox_hash::XxHash64;

use super::cell::row_hashes;

/// The checksum of the rows seen so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Checksum {
    sum: u64,
    rows: u64,
}

impl Checksum {
    fn add(&mut self, sum: u64, rows: u64) {
        self.sum = self.sum.wrapping_add(sum);
        self.rows = self.rows.wrapping_add(rows);
    }

    fn text(self) -> String {
        let mut bytes = [0; 16];
        let (sum, rows) = bytes.split_at_mut(8);
        sum.copy_from_slice(&self.sum.to_le_bytes());
        rows.copy_from_slice(&self.rows.to_le_bytes());
        format!("{:016x}", XxHash64::oneshot(0, &bytes))
    }
}

impl Accumulator for Checksum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for hash in row_hashes(values)? {
            self.add(hash, 1);
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for hash in row_hashes(values)? {
            self.add(hash.wrapping_neg(), 1_u64.wrapping_neg());
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.sum.into(), self.rows.into()])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (sums, rows) = state_columns(states)?;
        for (sum, rows) in sums.values().iter().zip(rows.values()) {
            self.add(*sum, *rows);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Utf8(Some(self.text())))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The checksums of many groups at once.
#[derive(Debug, Default)]
pub(crate) struct GroupChecksums {
    groups: Vec<Checksum>,
}

impl GroupChecksums {
    fn add(&mut self, group: usize, sum: u64, rows: u64) -> Result<()> {
        match self.groups.get_mut(group) {
            Some(checksum) => {
                checksum.add(sum, rows);
                Ok(())
            }
            None => internal_err!("row_checksum has no group {group}"),
        }
    }

    fn emit(&mut self, emit_to: EmitTo) -> Vec<Checksum> {
        match emit_to {
            EmitTo::All => take(&mut self.groups),
            EmitTo::First(n) => {
                let rest = self.groups.split_off(n.min(self.groups.len()));
                std::mem::replace(&mut self.groups, rest)
            }
        }
    }
}

impl GroupsAccumulator for GroupChecksums {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.resize(total_num_groups, Checksum::default());
        for (row, (hash, group)) in row_hashes(values)?.iter().zip(group_indices).enumerate() {
            if kept(opt_filter, row) {
                self.add(*group, *hash, 1)?;
            }
        }
        Ok(())
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.resize(total_num_groups, Checksum::default());
        let (sums, rows) = state_columns(values)?;
        let states = sums.values().iter().zip(rows.values());
        for (row, ((sum, rows), group)) in states.zip(group_indices).enumerate() {
            if kept(opt_filter, row) {
                self.add(*group, *sum, *rows)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let texts = self.emit(emit_to).into_iter().map(Checksum::text);
        Ok(Arc::new(StringArray::from_iter_values(texts)))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = self.emit(emit_to);
        Ok(vec![
            Arc::new(UInt64Array::from_iter_values(groups.iter().map(|g| g.sum))),
            Arc::new(UInt64Array::from_iter_values(groups.iter().map(|g| g.rows))),
        ])
    }

    /// A partial aggregation that finds almost only distinct groups stops grouping and sends every row as a group.
    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let mut hashes = row_hashes(values)?;
        let mut rows = vec![1; hashes.len()];
        for (row, (hash, count)) in hashes.iter_mut().zip(&mut rows).enumerate() {
            if !kept(opt_filter, row) {
                (*hash, *count) = (0, 0);
            }
        }
        Ok(vec![
            Arc::new(UInt64Array::from(hashes)),
            Arc::new(UInt64Array::from(rows)),
        ])
    }

    fn supports_convert_to_state(&self) -> bool {
        true
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<Checksum>()
    }
}

fn kept(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

fn state_columns(states: &[ArrayRef]) -> Result<(&UInt64Array, &UInt64Array)> {
    if let [sums, rows] = states
        && let Some(sums) = sums.as_primitive_opt::<UInt64Type>()
        && let Some(rows) = rows.as_primitive_opt::<UInt64Type>()
    {
        return Ok((sums, rows));
    }
    internal_err!("row_checksum merges a sum and a count of rows")
}
