//! The table of every type, captured with schemas and without.

use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::{DataType, Field, TimeUnit};
use engine::format::debezium::DecoderOptions;
use engine::spec::model::DeclaredType as T;

use super::harness::*;

/// The columns of `all_types` as a person would declare them.
fn all_types() -> Vec<(&'static str, T, DataType)> {
    let utf8 = DataType::Utf8;
    let item = |data_type| DataType::List(Arc::new(Field::new("item", data_type, true)));
    vec![
        ("id", T::Integer, DataType::Int64),
        ("si", T::Integer, DataType::Int16),
        ("i", T::Integer, DataType::Int32),
        ("bi", T::Integer, DataType::Int64),
        ("r", T::Float, DataType::Float32),
        ("d", T::Float, DataType::Float64),
        ("n", T::Decimal, DataType::Decimal128(12, 2)),
        ("nv", T::Decimal, DataType::Decimal128(38, 14)),
        ("b", T::Boolean, DataType::Boolean),
        ("t", T::Text, utf8.clone()),
        ("ch", T::Text, utf8.clone()),
        ("by", T::Binary, DataType::Binary),
        ("dt", T::Date, DataType::Date32),
        ("tm", T::Time, DataType::Time64(TimeUnit::Microsecond)),
        ("tmtz", T::Text, utf8.clone()),
        ("ts", T::Timestamp { precision: 6 }, micros()),
        ("ts3", T::Timestamp { precision: 3 }, micros()),
        ("tstz", T::TimestampTz, utc()),
        ("iv", T::Integer, DataType::Int64),
        ("u", T::Uuid, utf8.clone()),
        ("j", T::Json, utf8.clone()),
        ("ia", T::List, item(DataType::Int32)),
        ("ta", T::List, item(utf8.clone())),
        ("m", T::Text, utf8.clone()),
        ("mo", T::Decimal, DataType::Decimal128(38, 2)),
        ("bt", T::Binary, DataType::Binary),
        ("ip", T::Text, utf8),
    ]
}

#[test]
fn all_types_are_the_same_with_and_without_schema() {
    let columns = all_types();
    let plain = run(&mut declared(&columns), &fixture("all_types.jsonl")).remove(0);
    let both = run(&mut declared(&columns), &fixture("all_types.schema.jsonl")).remove(0);
    let learned = run(
        &mut decoder(DecoderOptions::default()),
        &fixture("all_types.schema.jsonl"),
    )
    .remove(1);
    for batch in [&plain, &both, &learned] {
        assert_eq!(batch.rejects, []);
        assert_eq!(batch.rows.num_rows(), 3);
    }
    for (name, _, data_type) in &columns {
        let column = plain.rows.column_by_name(name).unwrap();
        assert_eq!(column, both.rows.column_by_name(name).unwrap(), "{name}");
        if *name != "nv" {
            let learned = learned.rows.column_by_name(name).unwrap();
            assert_eq!(learned.data_type(), data_type, "{name}");
            assert_eq!(column, learned, "{name}");
        }
        assert!(column.is_null(1) || *name == "id", "{name}");
    }
    let expected = [
        ("si", "-32768"),
        ("bi", "9223372036854775807"),
        ("r", "1.5"),
        ("n", "1234567890.12"),
        ("nv", "3.14159265358979"),
        ("t", "héllo \"q\" \\n"),
        ("ch", "ab   "),
        ("by", "deadbeef"),
        ("dt", "2024-02-29"),
        ("tm", "23:59:59.999999"),
        ("ts", "2024-02-29T12:34:56.789012"),
        ("ts3", "2024-02-29T12:34:56.789"),
        ("tstz", "2024-02-29T12:34:56.789012Z"),
        ("j", "{\"a\":1}"),
        ("ia", "[1, 2, NULL]"),
        ("mo", "12.34"),
        ("bt", "05"),
    ];
    for (name, text) in expected {
        assert_eq!(cell(&plain.rows, name, 0), text, "{name}");
    }
    assert_eq!(cell(&learned.rows, "nv", 0), "3.14159265358979");
    assert_eq!(cell(&learned.rows, "nv", 2), "99999999999999999999.5");
    assert_eq!(
        cell(&plain.rows, "nv", 2),
        "99999999999999999999.50000000000000"
    );
    assert_eq!(
        cell(&learned.rows, "pt", 0),
        "{x: 1.5, y: 2.5, wkb: 0101000000000000000000f83f0000000000000440, srid: NULL}"
    );
}
