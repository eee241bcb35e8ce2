//! Everything that real connectors sent decodes, to the values that the databases held.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use engine::format::Decoder;
use engine::format::debezium::DecoderOptions;
use engine::spec::model::DeclaredType as T;
use sql::change::Op;

use super::harness::*;

const CUSTOMER: [&str; 12] = [
    "customer_id",
    "email",
    "first_name",
    "last_name",
    "phone",
    "city",
    "state",
    "country",
    "tier",
    "lifetime_value",
    "created_at",
    "updated_at",
];

fn customers() -> engine::format::debezium::JsonDecoder {
    let mut columns: Vec<(&str, T, DataType)> = CUSTOMER
        .iter()
        .map(|name| (*name, T::Text, DataType::Utf8))
        .collect();
    columns[0] = ("customer_id", T::Integer, DataType::Int64);
    columns[9] = ("lifetime_value", T::Decimal, DataType::Decimal128(12, 2));
    columns[10] = ("created_at", T::TimestampTz, utc());
    columns[11] = ("updated_at", T::Timestamp { precision: 6 }, micros());
    declared(&columns)
}

#[test]
fn customers_replayed_are_the_table() {
    let mut decoder = customers();
    let messages = fixture("customers.jsonl");
    let decoded = run(&mut decoder, &messages).remove(0);

    assert_eq!(decoded.rejects, []);
    assert_eq!(decoded.counts.records, 1727);
    assert_eq!(decoded.counts.tombstones, 127);
    assert_eq!(decoded.counts.control, 0);
    let count = |op: Op| decoded.meta.ops.iter().filter(|o| **o == op).count();
    assert_eq!(
        [Op::Read, Op::Create, Op::Update, Op::Delete].map(count),
        [400, 441, 632, 127]
    );

    let mut table = BTreeMap::new();
    for (row, op) in decoded.meta.ops.iter().enumerate() {
        let key = cell(&decoded.rows, "customer_id", row);
        if *op == Op::Delete {
            assert_eq!(cell(&decoded.rows, "email", row), "NULL");
            table.remove(&key);
        } else {
            table.insert(key, line(&decoded.rows, row));
        }
    }
    assert_eq!(table, expected());
}

fn line(rows: &RecordBatch, row: usize) -> Vec<String> {
    let mut line = cells(rows, &CUSTOMER[..10], row);
    for name in &CUSTOMER[10..] {
        let array = rows.column_by_name(name).unwrap();
        line.push(
            array
                .as_primitive::<TimestampMicrosecondType>()
                .value(row)
                .to_string(),
        );
    }
    line
}

/// The table as `COPY … CSV` wrote it.
fn expected() -> BTreeMap<String, Vec<String>> {
    let path = format!(
        "{}/fixtures/customers.expected.csv",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(path).unwrap();
    assert!(!text.contains('"'), "quotes need a real parser");
    text.lines()
        .skip(1)
        .map(|line| {
            let mut cells: Vec<String> = line
                .split(',')
                .map(|cell| if cell.is_empty() { "NULL" } else { cell }.to_owned())
                .collect();
            for cell in &mut cells[10..] {
                *cell = micros_of(cell).to_string();
            }
            (cells[0].clone(), cells)
        })
        .collect()
}

fn micros_of(text: &str) -> i64 {
    let text = text.trim_end_matches("+00");
    let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().unwrap();
    let fraction = format!("{:0<6}", text.get(20..).unwrap_or(""));
    let seconds = super::encoder::days(number(0..4), number(5..7), number(8..10)) * 86_400
        + number(11..13) * 3600
        + number(14..16) * 60
        + number(17..19);
    seconds * 1_000_000 + fraction.parse::<i64>().unwrap()
}

fn docs_columns() -> Vec<(&'static str, T, DataType)> {
    vec![
        ("id", T::Integer, DataType::Int32),
        ("title", T::Text, DataType::Utf8),
        ("body", T::Text, DataType::Utf8),
        ("n", T::Integer, DataType::Int32),
        ("lang", T::Text, DataType::Utf8),
        ("headline", T::Text, DataType::Utf8),
    ]
}

#[test]
fn docs_have_unavailable_bodies_a_key_change_and_new_columns() {
    let mut declared = declared(&docs_columns());
    let names = [
        "id",
        "title",
        "n",
        "lang",
        "headline",
        "_op",
        "_unavailable_columns",
    ];
    let expected = [
        ["1", "first", "1", "NULL", "NULL", "c", "NULL"],
        ["2", "second", "1", "NULL", "NULL", "c", "NULL"],
        ["1", "first", "2", "NULL", "NULL", "u", "[body]"],
        ["2", "NULL", "NULL", "NULL", "NULL", "d", "NULL"],
        ["20", "second", "1", "NULL", "NULL", "c", "[body]"],
        ["1", "NULL", "NULL", "NULL", "NULL", "d", "NULL"],
        ["3", "third", "1", "en", "NULL", "c", "NULL"],
        ["3", "third!", "NULL", "en", "NULL", "u", "NULL"],
        ["4", "NULL", "NULL", "en", "fourth", "c", "NULL"],
    ];
    let decoded = run(&mut declared, &fixture("docs.jsonl")).remove(0);
    assert_eq!(decoded.rejects, []);
    assert_eq!(decoded.counts.tombstones, 2);
    for (row, expected) in expected.iter().enumerate() {
        assert_eq!(cells(&decoded.rows, &names, row), expected, "row {row}");
        if ["u", "d"].contains(&expected[5]) && row < 6 {
            assert_eq!(cell(&decoded.rows, "body", row), "NULL");
        }
    }
    assert_eq!(cell(&decoded.rows, "body", 4), "NULL");

    // The same events with schemas: columns are learned on the way.
    let mut learning = decoder(DecoderOptions::default());
    let batches = run(&mut learning, &fixture("docs.schema.jsonl"));
    let rows: Vec<usize> = batches.iter().map(|batch| batch.rows.num_rows()).collect();
    assert_eq!(rows, [0, 6, 2, 1], "a batch ends where the columns change");
    let mut row = 0;
    for batch in &batches {
        assert_eq!(batch.rejects, []);
        for at in 0..batch.rows.num_rows() {
            for (name, expected) in names.iter().zip(expected[row]) {
                if batch.rows.column_by_name(name).is_some() {
                    assert_eq!(cell(&batch.rows, name, at), expected, "row {row} {name}");
                } else {
                    assert_eq!(expected, "NULL", "row {row} {name}");
                }
            }
            row += 1;
        }
    }
    assert_eq!(row, expected.len());
}

#[test]
fn orders_with_a_truncate() {
    let mut decoder = declared(&[
        ("id", T::Integer, DataType::Int64),
        ("status", T::Text, DataType::Utf8),
        ("amount", T::Decimal, DataType::Decimal128(10, 2)),
        ("placed_at", T::TimestampTz, utc()),
    ]);
    let decoded = run(&mut decoder, &fixture("orders.jsonl")).remove(0);
    assert_eq!(decoded.rejects, []);
    assert_eq!(decoded.rows.num_rows(), 29);
    assert_eq!(decoded.counts.tombstones, 1);
    let names = ["id", "status", "amount", "placed_at", "_op", "_change_type"];
    assert_eq!(
        cells(&decoded.rows, &names, 0),
        [
            "1",
            "new",
            "1.50",
            "2026-11-22T10:06:34.231666Z",
            "c",
            "insert"
        ]
    );
    assert_eq!(
        cells(&decoded.rows, &names, 25),
        ["6", "NULL", "NULL", "NULL", "d", "delete"]
    );
    assert_eq!(
        cells(&decoded.rows, &names, 27),
        ["NULL", "NULL", "NULL", "NULL", "t", "NULL"]
    );
    assert_eq!(decoded.meta.offsets[27], 28);
    // The true image is there for those who say so.
    let mut full = self::decoder(DecoderOptions {
        columns: Some(columns_of(&[
            ("id", T::Integer, DataType::Int64),
            ("status", T::Text, DataType::Utf8),
        ])),
        before_image_full: true,
        ..DecoderOptions::default()
    });
    let decoded = run(&mut full, &fixture("orders.jsonl")).remove(0);
    assert_eq!(
        cells(&decoded.rows, &["id", "status", "_op"], 25),
        ["6", "new", "d"]
    );
}

#[test]
fn transaction_markers_are_no_rows() {
    let mut decoder = customers();
    let decoded = run(&mut decoder, &fixture("transaction.jsonl")).remove(0);
    assert_eq!(decoded.counts.control, 26);
    assert_eq!(decoded.rows.num_rows(), 0);
    assert_eq!(decoded.rejects, []);
}

#[test]
fn mysql_orders_with_their_schema() {
    let mut decoder = decoder(DecoderOptions::default());
    let batches = run(&mut decoder, &fixture("mysql.orders.schema.jsonl"));
    let rows = &batches[1].rows;
    assert_eq!(batches[1].rejects, []);
    let names = [
        "id",
        "customer_id",
        "amount",
        "status",
        "placed_at",
        "updated_at",
        "_op",
    ];
    assert_eq!(
        cells(rows, &names, 0),
        [
            "1",
            "1",
            "10.50",
            "new",
            "2026-11-22T09:46:04.547690",
            "2026-11-22T09:46:04Z",
            "r"
        ]
    );
    assert_eq!(
        cells(rows, &["id", "amount", "status"], 1),
        ["2", "99.99", "paid"]
    );
}

#[test]
fn a_projection_decodes_only_its_columns_in_its_order() {
    let mut decoder = customers();
    let wanted: Vec<String> = ["_offset", "tier", "customer_id", "_op"]
        .map(str::to_owned)
        .to_vec();
    decoder.project(&wanted).unwrap();
    let decoded = run(&mut decoder, &fixture("customers.jsonl")).remove(0);
    let names: Vec<&String> = decoded
        .rows
        .schema_ref()
        .fields()
        .iter()
        .map(|f| f.name())
        .collect();
    assert_eq!(names, wanted.iter().collect::<Vec<_>>());
    assert_eq!(decoded.rows.num_rows(), 1600);
    let offsets = decoded.rows.column(0).as_primitive::<Int64Type>();
    assert_eq!(offsets.values(), decoded.meta.offsets.as_slice());
    let full = run(&mut customers(), &fixture("customers.jsonl")).remove(0);
    for name in &wanted {
        assert_eq!(
            decoded.rows.column_by_name(name),
            full.rows.column_by_name(name)
        );
    }
    assert_eq!(decoded.meta, full.meta);
}
