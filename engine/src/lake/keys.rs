//! A batch's keys, and which rows of a table have them.
//!
//! Two keys are equal if their values are the same, byte for byte: there is no collation, no case folding, no padding. A
//! decimal compares by its unscaled value, a timestamp by its microseconds. A row with a null in its key has no key.
//!
//! [`KeySet::probe`] tells which rows of some columns have one of the keys; [`KeySet::between`] tells which keys can be where
//! only the smallest and the largest value are known: a file, a row group, a page.
//!
//! Memory: the keys in Arrow's row format, once whole and once per column, and about 40 bytes a key.
//!
//! Speed: a single integer key has a table of its own, which a probed value meets after a comparison with the smallest and
//! largest key. All other keys are hashed a column at a time, and only rows whose hash is that of a key are compared.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{CastOptions, cast_with_options, take_arrays};
use arrow::datatypes::{DataType, Int32Type, Int64Type, Schema};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::hash_utils::create_hashes;
use datafusion::physical_plan::joins::SeededRandomState;
use sql::{Error, Result};

/// Fixed, so that a run can be repeated: nothing is stored by these hashes.
const HASHES: SeededRandomState = SeededRandomState::with_seeds(11, 22, 33, 44);

/// A slot that holds no key.
const FREE: u32 = u32::MAX;

/// The keys of a batch. Built once, shared by all files that are searched.
#[derive(Debug)]
pub struct KeySet {
    keys: RecordBatch,
    converter: RowConverter,
    rows: Rows,
    lookup: Lookup,
    columns: Vec<SortedColumn>,
    /// For each key the first one that equals it; `None` if all differ.
    first: Option<Vec<u32>>,
}

#[derive(Debug)]
enum Lookup {
    /// One column of integers.
    Integers(Slots<i64>, i64, i64),
    /// Anything else, by hash.
    Hashes(Slots<u64>),
}

/// One column of the keys in ascending order.
#[derive(Debug)]
struct SortedColumn {
    /// `None` for types whose order in statistics is not to be relied on: floating point with its NaN and two zeros.
    order: Option<Order>,
    all: usize,
}

#[derive(Debug)]
struct Order {
    converter: RowConverter,
    rows: Rows,
    sorted: Vec<u32>,
}

impl KeySet {
    /// The keys that are the rows of `keys`: at least one column, no nulls, of types that have an order (no lists, structs or
    /// maps).
    ///
    /// # Errors
    /// [`sql::ErrorKind::Internal`] otherwise.
    pub fn try_new(keys: &RecordBatch) -> Result<Self> {
        let failed = |error| Error::internal("columns that cannot be a key").source(error);
        if keys.num_columns() == 0 || keys.columns().iter().any(|c| c.null_count() > 0) {
            return Err(Error::internal("a key without columns, or with nulls"));
        }
        if u32::try_from(keys.num_rows()).is_err() {
            return Err(Error::internal("too many keys at once"));
        }
        let converter = converter(keys.columns().iter().map(|c| c.data_type())).map_err(failed)?;
        let rows = converter.convert_columns(keys.columns()).map_err(failed)?;
        let columns = keys
            .columns()
            .iter()
            .map(SortedColumn::try_new)
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        let mut first = (0_u32..).take(keys.num_rows()).collect::<Vec<_>>();
        let lookup = match integers(keys.columns()) {
            Some(values) => of_integers(&values, &mut first),
            None => of_hashes(keys.columns(), &rows, &mut first)?,
        };
        let repeats = first.iter().zip(0_u32..).any(|(first, own)| *first != own);
        Ok(Self {
            keys: keys.clone(),
            converter,
            rows,
            lookup,
            columns,
            first: repeats.then_some(first),
        })
    }

    /// The keys as they were given.
    pub fn keys(&self) -> &RecordBatch {
        &self.keys
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.num_rows()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first key that equals key `key`: itself, unless a key was given twice. [`KeySet::probe`] reports the first.
    pub fn first(&self, key: usize) -> usize {
        let first = self.first.as_ref().and_then(|first| first.get(key));
        first.map_or(key, |first| *first as usize)
    }

    /// Whether a key was given twice.
    pub fn has_repeats(&self) -> bool {
        self.first.is_some()
    }

    /// Calls `hit(row, key)` for each row of `columns` that has one of the keys. `columns` are as many and of the same types as the
    /// keys' and may have nulls.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Internal`] for columns of other types.
    pub fn probe(&self, columns: &[ArrayRef], mut hit: impl FnMut(usize, usize)) -> Result<()> {
        let fits = columns.len() == self.keys.num_columns()
            && columns
                .iter()
                .zip(self.keys.columns())
                .all(|(a, b)| a.data_type() == b.data_type());
        if !fits {
            return Err(Error::internal("columns that are not those of the key"));
        }
        match &self.lookup {
            Lookup::Integers(slots, min, max) => {
                probe_integers(columns, slots, *min..=*max, &mut hit);
                Ok(())
            }
            Lookup::Hashes(slots) => self.probe_hashes(columns, slots, &mut hit),
        }
    }

    fn probe_hashes(
        &self,
        columns: &[ArrayRef],
        slots: &Slots<u64>,
        hit: &mut impl FnMut(usize, usize),
    ) -> Result<()> {
        let hashes = hashes(columns)?;
        let mut candidates: Vec<u32> = Vec::new();
        for (row, hash) in (0_u32..).zip(&hashes) {
            if slots.find(*hash, |_| true).is_some() {
                candidates.push(row);
            }
        }
        if candidates.is_empty() {
            return Ok(());
        }
        let failed = |error| Error::internal("columns that cannot be a key").source(error);
        let candidates = UInt32Array::from(candidates);
        let found = take_arrays(columns, &candidates, None).map_err(failed)?;
        let found = self.converter.convert_columns(&found).map_err(failed)?;
        for (row, found) in candidates.values().iter().zip(&found) {
            let hash = hashes.get(*row as usize).copied().unwrap_or_default();
            // A null is encoded as no value is, so a row with one equals no key.
            let same = |key: u32| self.rows.row(key as usize) == found;
            if let Some(key) = slots.find(hash, same) {
                hit(*row as usize, key as usize);
            }
        }
        Ok(())
    }

    /// For each pair of `mins` and `maxs` the keys that can be between them, as a range of [`KeySet::sorted`] of that column.
    /// Bounds of another type are cast; a bound that is null, or cannot be cast, is unknown and keeps everything on its side.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Internal`] if there is no such column, or the two differ in length.
    pub fn between(
        &self,
        column: usize,
        mins: &ArrayRef,
        maxs: &ArrayRef,
    ) -> Result<Vec<Range<usize>>> {
        let sorted = self.columns.get(column);
        let sorted = sorted.ok_or_else(|| Error::internal("a key has no such column"))?;
        if mins.len() != maxs.len() {
            return Err(Error::internal("bounds without counterparts"));
        }
        let Some(order) = &sorted.order else {
            return Ok(vec![0..sorted.all; mins.len()]);
        };
        let data_type = self.keys.column(column).data_type();
        let encoded = |bounds: &ArrayRef| {
            let bounds = lenient(bounds, data_type);
            let rows = bounds.as_ref().and_then(|bounds| {
                order
                    .converter
                    .convert_columns(std::slice::from_ref(bounds))
                    .ok()
            });
            bounds.zip(rows)
        };
        let (mins_of, maxs_of) = (encoded(mins), encoded(maxs));
        let position = |bounds: &Option<(ArrayRef, Rows)>, at: usize, end: bool| {
            let (bounds, rows) = bounds.as_ref()?;
            bounds.is_valid(at).then(|| {
                let bound = rows.row(at);
                order.sorted.partition_point(|key| {
                    let key = order.rows.row(*key as usize);
                    if end { key <= bound } else { key < bound }
                })
            })
        };
        Ok((0..mins.len())
            .map(|at| {
                let start = position(&mins_of, at, false).unwrap_or(0);
                let end = position(&maxs_of, at, true).unwrap_or(sorted.all);
                start..end.max(start)
            })
            .collect())
    }

    /// Sorts indexes of keys by the whole key, column by column.
    pub fn sort(&self, keys: &mut [u32]) {
        keys.sort_unstable_by_key(|key| self.rows.row(*key as usize));
    }

    /// The indexes of the keys in the order of `column`, as far as it has one: for ranges of [`KeySet::between`].
    pub fn sorted(&self, column: usize) -> Option<&[u32]> {
        let order = self.columns.get(column)?.order.as_ref()?;
        Some(&order.sorted)
    }
}

impl SortedColumn {
    fn try_new(column: &ArrayRef) -> Result<Self, ArrowError> {
        let all = column.len();
        if column.data_type().is_floating() {
            return Ok(Self { order: None, all });
        }
        let converter = converter([column.data_type()])?;
        let rows = converter.convert_columns(std::slice::from_ref(column))?;
        let mut sorted: Vec<u32> = (0_u32..).take(all).collect();
        sorted.sort_unstable_by_key(|key| rows.row(*key as usize));
        let order = Some(Order {
            converter,
            rows,
            sorted,
        });
        Ok(Self { order, all })
    }
}

fn converter<'a>(
    types: impl IntoIterator<Item = &'a DataType>,
) -> Result<RowConverter, ArrowError> {
    let fields = types.into_iter().cloned().map(SortField::new).collect();
    RowConverter::new(fields)
}

/// A cast that makes a null of what does not fit: an unknown bound only costs time.
fn lenient(bounds: &ArrayRef, to: &DataType) -> Option<ArrayRef> {
    if bounds.data_type() == to {
        return Some(ArrayRef::clone(bounds));
    }
    let options = CastOptions {
        safe: true,
        ..CastOptions::default()
    };
    cast_with_options(bounds, to, &options).ok()
}

fn hashes(columns: &[ArrayRef]) -> Result<Vec<u64>> {
    let mut hashes = vec![0; columns.first().map_or(0, |column| column.len())];
    create_hashes(columns, HASHES.random_state(), &mut hashes)
        .map_err(|error| Error::internal("columns that cannot be a key").source(error))?;
    Ok(hashes)
}

/// The values of a key of one integer column.
fn integers(columns: &[ArrayRef]) -> Option<Vec<i64>> {
    let [column] = columns else {
        return None;
    };
    match column.data_type() {
        DataType::Int32 => {
            let values = column.as_primitive::<Int32Type>().values();
            Some(values.iter().copied().map(i64::from).collect())
        }
        DataType::Int64 => Some(column.as_primitive::<Int64Type>().values().to_vec()),
        _ => None,
    }
}

fn of_integers(values: &[i64], first: &mut [u32]) -> Lookup {
    let mut slots = Slots::for_keys(values.len());
    for ((key, value), first) in (0_u32..).zip(values).zip(first) {
        *first = slots.insert(*value, key, |_| true);
    }
    let min = values.iter().copied().min().unwrap_or(0);
    let max = values.iter().copied().max().unwrap_or(-1);
    Lookup::Integers(slots, min, max)
}

fn of_hashes(columns: &[ArrayRef], rows: &Rows, first: &mut [u32]) -> Result<Lookup> {
    let mut slots = Slots::for_keys(first.len());
    for ((key, hash), first) in (0_u32..).zip(hashes(columns)?).zip(first) {
        let own = rows.row(key as usize);
        *first = slots.insert(hash, key, |there| rows.row(there as usize) == own);
    }
    Ok(Lookup::Hashes(slots))
}

fn probe_integers(
    columns: &[ArrayRef],
    slots: &Slots<i64>,
    range: std::ops::RangeInclusive<i64>,
    hit: &mut impl FnMut(usize, usize),
) {
    let Some(column) = columns.first() else {
        return;
    };
    let nulls = column.nulls();
    let mut probe = |row: usize, value: i64| {
        if range.contains(&value)
            && let Some(key) = slots.find(value, |_| true)
            && nulls.is_none_or(|nulls| nulls.is_valid(row))
        {
            hit(row, key as usize);
        }
    };
    match column.data_type() {
        DataType::Int32 => {
            let values = column.as_primitive::<Int32Type>().values();
            for (row, value) in values.iter().enumerate() {
                probe(row, i64::from(*value));
            }
        }
        _ => {
            let values = column.as_primitive::<Int64Type>().values();
            for (row, value) in values.iter().enumerate() {
                probe(row, *value);
            }
        }
    }
}

/// A value that spreads over slots.
trait Spread: Copy + PartialEq + Default {
    fn spread(self) -> u64;
}

impl Spread for i64 {
    fn spread(self) -> u64 {
        self.cast_unsigned().spread()
    }
}

impl Spread for u64 {
    fn spread(self) -> u64 {
        // Fibonacci hashing: neighbours land far apart, the upper bits are the good ones.
        self.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// An open-addressed table from values to keys, at most half full.
#[derive(Debug)]
struct Slots<V> {
    slots: Vec<(V, u32)>,
    shift: u32,
}

impl<V: Spread> Slots<V> {
    fn for_keys(keys: usize) -> Self {
        let size = (keys * 2).next_power_of_two().max(16);
        Self {
            slots: vec![(V::default(), FREE); size],
            shift: 64 - size.trailing_zeros(),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "shifted right, the value is below the number of slots"
    )]
    fn start(&self, value: V) -> usize {
        (value.spread() >> self.shift) as usize
    }

    /// A key that was put in for `value` and is the `same`.
    fn find(&self, value: V, same: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = self.start(value);
        // Half of the slots are free, so it ends.
        while let Some(slot) = self.slots.get(at)
            && slot.1 != FREE
        {
            if slot.0 == value && same(slot.1) {
                return Some(slot.1);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        None
    }

    /// Puts `key` in for `value`, unless a key is there that is the `same`. Returns the key that is there.
    fn insert(&mut self, value: V, key: u32, same: impl Fn(u32) -> bool) -> u32 {
        if let Some(there) = self.find(value, same) {
            return there;
        }
        let mask = self.slots.len() - 1;
        let mut at = self.start(value);
        while let Some(slot) = self.slots.get_mut(at) {
            if slot.1 == FREE {
                *slot = (value, key);
                break;
            }
            at = (at + 1) & mask;
        }
        key
    }
}

/// Whether a table with these columns can be kept by `key`.
///
/// # Errors
/// [`sql::ErrorKind::Config`] for a key without columns, with one twice, with one that is not there or that has no order.
pub(crate) fn check_key(key: &[String], schema: &Schema) -> Result<()> {
    if key.is_empty() {
        return Err(Error::config("an upsert needs a key"));
    }
    for (at, name) in key.iter().enumerate() {
        let Some((_, field)) = schema.column_with_name(name) else {
            return Err(
                Error::config(format!("the key column `{name}` is not in the table"))
                    .remedy("Select it, or name another column as the key."),
            );
        };
        if key.iter().take(at).any(|earlier| earlier == name) {
            return Err(Error::config(format!("the key names `{name}` twice")));
        }
        if matches!(field.data_type(), DataType::Map(_, _)) || field.data_type().is_nested() {
            return Err(Error::config(format!(
                "the key column `{name}` is a {}",
                field.data_type()
            ))
            .expected("a key of numbers, text, dates, times or binary values"));
        }
    }
    Ok(())
}
