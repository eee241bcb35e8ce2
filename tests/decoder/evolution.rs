//! Columns that are learned, widened, ignored or refused.

use arrow::datatypes::{DataType, Field};
use engine::format::debezium::{DecoderOptions, JsonDecoder};
use engine::format::{Decoder, Pushed};
use sql::ErrorKind;
use sql::change::RejectReason as R;

use super::encoder::{base64, big_endian};
use super::harness::*;

fn learning() -> JsonDecoder {
    decoder(DecoderOptions::default())
}

fn typed(name: &str, kind: &str) -> String {
    field(name, &format!(r#""type":"{kind}""#))
}

fn decimal(name: &str, precision: u8, scale: u8) -> String {
    field(
        name,
        &format!(
            r#""type":"bytes","name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{{"scale":"{scale}","connect.decimal.precision":"{precision}"}}"#
        ),
    )
}

fn column_type(decoder: &JsonDecoder, name: &str) -> DataType {
    let schema = decoder.schema().unwrap();
    schema.field_with_name(name).unwrap().data_type().clone()
}

#[test]
fn the_first_row_teaches_the_columns_without_being_taken() {
    let mut decoder = learning();
    assert!(decoder.schema().is_none());
    let fields = [typed("id", "int64"), typed("name", "string")].join(",");
    let message = with_schema(&fields, r#"{"id":1,"name":"x"}"#);
    let Pushed::NewSchema(schema) = message.push(&mut decoder).unwrap() else {
        panic!("not asked for columns");
    };
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names[..3], ["id", "name", "_op"]);
    assert_eq!(names.len(), 2 + 10);
    assert!(schema.fields().iter().all(|field| field.is_nullable()));
    let untaken = decoder.finish(0).unwrap();
    assert_eq!(untaken.counts, sql::change::BatchCounts::default());
    decoder.adopt(schema).unwrap();
    assert_eq!(message.push(&mut decoder).unwrap(), Pushed::Row);
    let schema = decoder.schema().unwrap();
    assert_eq!(
        decoder.adopt(schema.clone()).unwrap_err().kind(),
        ErrorKind::Internal
    );
    assert_eq!(
        decoder.project(&[]).unwrap_err().kind(),
        ErrorKind::Internal
    );
    assert_eq!(decoder.finish(0).unwrap().rows.num_rows(), 1);
    let unknown = decoder.project(&["nope".to_owned()]).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Internal);
}

#[test]
fn types_widen_and_never_narrow() {
    let cases = [
        ("int8", "int16", DataType::Int16),
        ("int16", "int8", DataType::Int16),
        ("int32", "int64", DataType::Int64),
        ("boolean", "int16", DataType::Int16),
        ("int8", "boolean", DataType::Int8),
        ("float", "double", DataType::Float64),
        ("double", "float", DataType::Float64),
    ];
    for (first, second, wide) in cases {
        let mut decoder = learning();
        let value = |kind: &str| match kind {
            "boolean" => "true",
            _ => "1",
        };
        let message = |kind| with_schema(&typed("v", kind), &format!(r#"{{"v":{}}}"#, value(kind)));
        let expected = if wide == DataType::Float64 {
            "1.0"
        } else {
            "1"
        };
        row(&mut decoder, &message(first));
        for kind in [second, first, second] {
            let rows = row(&mut decoder, &message(kind)).rows;
            assert_eq!(cell(&rows, "v", 0), expected, "{first} {second}");
        }
        assert_eq!(column_type(&decoder, "v"), wide, "{first} {second}");
    }
}

#[test]
fn decimals_grow_on_both_sides_of_the_point() {
    let mut decoder = learning();
    let message = |precision, scale, unscaled| {
        with_schema(
            &decimal("v", precision, scale),
            &format!(r#"{{"v":"{}"}}"#, base64(&big_endian(unscaled))),
        )
    };
    row(&mut decoder, &message(5, 3, 12_345));
    let rows = row(&mut decoder, &message(6, 4, 123_456)).rows;
    assert_eq!(cell(&rows, "v", 0), "12.3456");
    assert_eq!(column_type(&decoder, "v"), DataType::Decimal128(6, 4));
    let rows = row(&mut decoder, &message(5, 3, 12_345)).rows;
    assert_eq!(cell(&rows, "v", 0), "12.3450");
    let rows = row(&mut decoder, &message(10, 2, 12_345)).rows;
    assert_eq!(cell(&rows, "v", 0), "123.4500");
    assert_eq!(column_type(&decoder, "v"), DataType::Decimal128(12, 4));
}

#[test]
fn columns_come_and_go_and_structs_grow() {
    let mut decoder = learning();
    let point = |fields: &str| field("p", &format!(r#""type":"struct","fields":[{fields}]"#));
    let x = typed("x", "int32");
    let xy = format!("{},{}", typed("y", "int32"), typed("x", "int64"));
    let first = [typed("a", "int32"), point(&x)].join(",");
    let second = [typed("b", "string"), point(&xy)].join(",");
    row(&mut decoder, &with_schema(&first, r#"{"a":1,"p":{"x":1}}"#));
    let rows = row(
        &mut decoder,
        &with_schema(&second, r#"{"b":"x","p":{"y":2,"x":3}}"#),
    )
    .rows;
    assert_eq!(
        cells(&rows, &["a", "p", "b"], 0),
        ["NULL", "{x: 3, y: 2}", "x"]
    );
    let rows = row(&mut decoder, &with_schema(&first, r#"{"a":1,"p":{"x":1}}"#)).rows;
    assert_eq!(
        cells(&rows, &["a", "p", "b"], 0),
        ["1", "{x: 1, y: NULL}", "NULL"]
    );
}

#[test]
fn another_type_stops_the_pipeline() {
    let mut decoder = learning();
    row(
        &mut decoder,
        &with_schema(&typed("v", "int32"), r#"{"v":1}"#),
    );
    let changed = with_schema(&typed("v", "string"), r#"{"v":"x"}"#).at(7);
    let error = changed.push(&mut decoder).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Policy);
    assert_eq!(
        error.report(),
        "error: the column `v` changed from Int32 to Utf8, which does not widen it\n  \
         at: shop.public.t/0@7 column `v`\n  \
         expected: Int32, or a type that Int32 can be widened to\n  \
         next: Declare `columns:` with a type that holds both, set `schema_change: ignore`, or start a new table."
    );
}

#[test]
fn changes_can_be_ignored() {
    let mut decoder = decoder(DecoderOptions {
        ignore_schema_change: true,
        ..DecoderOptions::default()
    });
    row(
        &mut decoder,
        &with_schema(&typed("v", "int32"), r#"{"v":1}"#),
    );
    let more = [typed("v", "int64"), typed("w", "string")].join(",");
    let rows = row(&mut decoder, &with_schema(&more, r#"{"v":2,"w":"x"}"#)).rows;
    assert_eq!(cell(&rows, "v", 0), "2");
    assert_eq!(rows.num_columns(), 1 + 10);
    let wide = reject(
        &mut decoder,
        &with_schema(&more, r#"{"v":3000000000,"w":"x"}"#),
    );
    assert_eq!(wide.reason, R::OutOfRange);
    let other = reject(
        &mut decoder,
        &with_schema(&typed("v", "string"), r#"{"v":"2"}"#),
    );
    assert_eq!(other.reason, R::TypeMismatch);
}

#[test]
fn a_schema_that_contradicts_itself_is_a_reject() {
    let mut decoder = learning();
    for fields in [
        [typed("v", "int32"), typed("v", "int64")].join(","),
        typed("v", "int65"),
        field("v", r#""type":"array""#),
        field(
            "v",
            r#""type":"bytes","name":"org.apache.kafka.connect.data.Decimal""#,
        ),
        r#"{"type":"int32"}"#.to_owned(),
        r#"{"field":"v"}"#.to_owned(),
    ] {
        let rejected = reject(&mut decoder, &with_schema(&fields, r#"{"v":1}"#));
        assert_eq!(
            rejected.reason,
            R::BadSchema,
            "{fields}: {}",
            rejected.detail
        );
    }
    let scalar = Message::value(r#"{"schema":{"type":"string"},"payload":"x"}"#);
    assert_eq!(reject(&mut decoder, &scalar).reason, R::UnknownShape);
}

#[test]
fn a_stray_message_without_schema_is_set_aside() {
    let mut decoder = learning();
    let good = with_schema(&typed("v", "int32"), r#"{"v":1}"#);
    row(&mut decoder, &good);
    for value in [
        envelope("c", "null", r#"{"v":1}"#),
        envelope("d", "null", "null"),
        r#"{"v":1}"#.to_owned(),
    ] {
        let rejected = reject(&mut decoder, &Message::value(&value));
        assert_eq!(rejected.reason, R::BadSchema, "{value}");
    }
    row(&mut decoder, &good);
}

#[test]
fn names_of_metadata_columns_are_refused() {
    let mut decoder = learning();
    let error = with_schema(&typed("_op", "string"), r#"{"_op":"x"}"#)
        .push(&mut decoder)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Policy);
    let mut columns = columns_of(&[(
        "_op",
        engine::spec::model::DeclaredType::Text,
        DataType::Utf8,
    )]);
    let refused = |columns| {
        let options = DecoderOptions {
            columns: Some(columns),
            ..DecoderOptions::default()
        };
        JsonDecoder::try_new(options).unwrap_err().kind()
    };
    assert_eq!(refused(columns.clone()), ErrorKind::Config);
    columns[0].field = std::sync::Arc::new(Field::new("a", DataType::Utf8, true));
    columns.push(columns[0].clone());
    assert_eq!(refused(columns.clone()), ErrorKind::Config);
    columns.truncate(1);
    columns[0].field = std::sync::Arc::new(Field::new(
        "a",
        DataType::Duration(arrow::datatypes::TimeUnit::Second),
        true,
    ));
    assert_eq!(refused(columns), ErrorKind::Config);
    let strict = DataType::List(std::sync::Arc::new(Field::new(
        "item",
        DataType::Int32,
        false,
    )));
    let list = engine::spec::model::DeclaredType::List;
    assert_eq!(
        refused(columns_of(&[("a", list, strict)])),
        ErrorKind::Config
    );
    assert_eq!(refused(Vec::new()), ErrorKind::Config);
}

#[test]
fn declared_columns_never_change() {
    let mut decoder = declared(&[(
        "v",
        engine::spec::model::DeclaredType::Integer,
        DataType::Int16,
    )]);
    let fields = [typed("v", "int64"), typed("w", "string")].join(",");
    let rows = row(&mut decoder, &with_schema(&fields, r#"{"v":2,"w":"x"}"#)).rows;
    assert_eq!(cell(&rows, "v", 0), "2");
    let big = reject(
        &mut decoder,
        &with_schema(&fields, r#"{"v":70000,"w":"x"}"#),
    );
    assert_eq!(big.reason, R::OutOfRange);
}
