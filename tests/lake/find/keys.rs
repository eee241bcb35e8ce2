//! Sets of keys: every type, nulls, several columns, bounds.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray,
    Float64Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use engine::lake::keys::KeySet;
use proptest::prelude::*;
use sql::ErrorKind;

fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
    let named = columns
        .into_iter()
        .enumerate()
        .map(|(at, column)| (format!("k{at}"), column));
    RecordBatch::try_from_iter(named).unwrap()
}

fn hits(keys: &KeySet, columns: &[ArrayRef]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    keys.probe(columns, |row, key| found.push((row, key)))
        .unwrap();
    found
}

/// For each key type two keys, and a column whose rows are: null, the second key, another value, the first key.
fn of_every_type() -> Vec<(ArrayRef, ArrayRef)> {
    fn both<A: Array + 'static>(keys: A, others: A) -> (ArrayRef, ArrayRef) {
        (Arc::new(keys), Arc::new(others))
    }
    let decimals = |values: Vec<Option<i128>>| {
        Decimal128Array::from(values)
            .with_precision_and_scale(30, 4)
            .unwrap()
    };
    let times =
        |values: Vec<Option<i64>>| TimestampMicrosecondArray::from(values).with_timezone("UTC");
    let uuids = |values: Vec<Option<[u8; 16]>>| {
        FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), 16).unwrap()
    };
    let uuid = "7d444840-9dc0-11d1-b245-5ffdce74fad2";
    vec![
        both(
            Int64Array::from(vec![i64::MIN, i64::MAX]),
            Int64Array::from(vec![None, Some(i64::MAX), Some(0), Some(i64::MIN)]),
        ),
        both(
            Int32Array::from(vec![0, -1]),
            Int32Array::from(vec![None, Some(-1), Some(1), Some(0)]),
        ),
        both(
            Int16Array::from(vec![7, 0]),
            Int16Array::from(vec![None, Some(0), Some(1), Some(7)]),
        ),
        both(
            StringArray::from(vec![uuid, ""]),
            StringArray::from(vec![None, Some(""), Some("É"), Some(uuid)]),
        ),
        both(
            BinaryArray::from_vec(vec![b"a\0", b"a"]),
            BinaryArray::from_opt_vec(vec![None, Some(b"a"), Some(b"a\0\0"), Some(b"a\0")]),
        ),
        both(
            decimals(vec![Some(-1), Some(10_i128.pow(29))]),
            decimals(vec![None, Some(10_i128.pow(29)), Some(1), Some(-1)]),
        ),
        both(
            Date32Array::from(vec![-719_162, 2_932_896]),
            Date32Array::from(vec![None, Some(2_932_896), Some(0), Some(-719_162)]),
        ),
        both(
            times(vec![Some(-1), Some(i64::MAX)]),
            times(vec![None, Some(i64::MAX), Some(0), Some(-1)]),
        ),
        both(
            BooleanArray::from(vec![false, true]),
            BooleanArray::from(vec![None, Some(true), None, Some(false)]),
        ),
        both(
            uuids(vec![Some([1; 16]), Some([255; 16])]),
            uuids(vec![None, Some([255; 16]), Some([0; 16]), Some([1; 16])]),
        ),
        both(
            Float64Array::from(vec![f64::NAN, -0.5]),
            Float64Array::from(vec![None, Some(-0.5), Some(0.5), Some(f64::NAN)]),
        ),
    ]
}

#[test]
fn keys_of_every_type_are_found() {
    for (keys, others) in of_every_type() {
        let set = KeySet::try_new(&batch(vec![keys.clone()])).unwrap();
        let data_type = keys.data_type().clone();
        assert_eq!(hits(&set, &[others]), [(1, 1), (3, 0)], "{data_type}");
    }
}

#[test]
fn a_key_of_several_columns_is_found_only_whole() {
    for (keys, others) in of_every_type() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![5, 6]));
        let set = KeySet::try_new(&batch(vec![keys.clone(), numbers])).unwrap();
        let rows: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(6), Some(5), Some(6)]));
        assert_eq!(
            hits(&set, &[others, rows]),
            [(1, 1)],
            "{}",
            keys.data_type()
        );
    }
}

#[test]
fn bounds_leave_the_keys_between_them() {
    for (keys, others) in of_every_type() {
        let set = KeySet::try_new(&batch(vec![keys.clone()])).unwrap();
        let unknown = others.slice(0, 1);
        let data_type = keys.data_type().clone();
        let all = 0..2;
        assert_eq!(
            set.between(0, &unknown, &unknown).unwrap(),
            [all],
            "{data_type}"
        );
        let Some(sorted) = set.sorted(0) else {
            assert!(data_type.is_floating());
            continue;
        };
        let (small, large) = (sorted[0] as usize, sorted[1] as usize);
        let (small, large) = (keys.slice(small, 1), keys.slice(large, 1));
        for (min, max, kept) in [
            (&small, &small, 0..1),
            (&large, &large, 1..2),
            (&small, &large, 0..2),
            (&unknown, &small, 0..1),
            (&large, &unknown, 1..2),
        ] {
            assert_eq!(set.between(0, min, max).unwrap(), [kept], "{data_type}");
        }
    }
}

#[test]
fn a_key_given_twice_is_reported_by_its_first_place() {
    for keys in [
        Arc::new(Int64Array::from(vec![4, 9, 4])) as ArrayRef,
        Arc::new(StringArray::from(vec!["4", "9", "4"])),
    ] {
        let set = KeySet::try_new(&batch(vec![keys.clone()])).unwrap();
        assert!(set.has_repeats());
        assert_eq!([set.first(0), set.first(1), set.first(2)], [0, 1, 0]);
        assert_eq!(hits(&set, &[keys]), [(0, 0), (1, 1), (2, 0)]);
    }
}

#[test]
fn keys_with_nulls_or_of_other_types_are_refused() {
    let nulls: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let error = KeySet::try_new(&batch(vec![nulls])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    let set = KeySet::try_new(&batch(vec![Arc::new(Int64Array::from(vec![1]))])).unwrap();
    let text: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
    let error = set.probe(&[text], |_, _| {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
}

#[test]
fn no_keys_are_found_nowhere() {
    for column in [
        Arc::new(Int64Array::from(vec![0, -1])) as ArrayRef,
        Arc::new(StringArray::from(vec!["", "a"])),
    ] {
        let set = KeySet::try_new(&batch(vec![column.slice(0, 0)])).unwrap();
        assert!(set.is_empty());
        assert_eq!(hits(&set, &[column]), []);
    }
}

type Key = (i64, String, i128);

fn key() -> impl Strategy<Value = Key> {
    (-4_i64..4, "[ab\\x00é]{0,3}", -3_i128..3)
}

fn columns(keys: &[Option<Key>]) -> Vec<ArrayRef> {
    let decimals: Decimal128Array = keys.iter().map(|k| k.as_ref().map(|k| k.2)).collect();
    let texts: StringArray = keys
        .iter()
        .map(|k| k.as_ref().map(|k| k.1.as_str()))
        .collect();
    vec![
        Arc::new(
            keys.iter()
                .map(|k| k.as_ref().map(|k| k.0))
                .collect::<Int64Array>(),
        ),
        Arc::new(texts),
        Arc::new(decimals.with_precision_and_scale(20, 2).unwrap()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_found_is_what_is_equal(
        keys in prop::collection::vec(key(), 0..40),
        rows in prop::collection::vec(prop::option::weighted(0.9, key()), 0..200),
        one_column in prop::option::of(0_usize..3),
    ) {
        let wanted: Vec<_> = keys.iter().cloned().map(Some).collect();
        let (mut wanted, mut probed) = (columns(&wanted), columns(&rows));
        let part = |key: &Key| match one_column {
            None => format!("{key:?}"),
            Some(0) => format!("{:?}", key.0),
            Some(1) => format!("{:?}", key.1),
            Some(_) => format!("{:?}", key.2),
        };
        if let Some(column) = one_column {
            wanted = vec![wanted[column].clone()];
            probed = vec![probed[column].clone()];
        }
        let set = KeySet::try_new(&batch(wanted)).unwrap();
        let mut expected = Vec::new();
        for (row, value) in rows.iter().enumerate() {
            let Some(value) = value else { continue };
            if let Some(first) = keys.iter().position(|key| part(key) == part(value)) {
                expected.push((row, first));
            }
        }
        prop_assert_eq!(hits(&set, &probed), expected);
    }
}

#[test]
fn bounds_of_a_narrower_type_are_cast() {
    let set = KeySet::try_new(&batch(vec![Arc::new(Int64Array::from(vec![1, 5, 9]))])).unwrap();
    let (mins, maxs): (ArrayRef, ArrayRef) = (
        Arc::new(Int32Array::from(vec![2, 6, 10])),
        Arc::new(Int32Array::from(vec![5, 8, 20])),
    );
    assert_eq!(set.between(0, &mins, &maxs).unwrap(), [1..2, 2..2, 3..3]);
}
