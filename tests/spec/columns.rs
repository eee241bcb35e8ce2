//! `columns:` as SQL.

use arrow::datatypes::{DataType, TimeUnit};
use engine::spec::model::{DeclaredColumn, DeclaredType, KafkaSpec, SourceSpec};

use super::{good, minimal};

fn source(ddl: &str, more: &str) -> KafkaSpec {
    let lines: String = ddl.lines().map(|line| format!("    {line}\n")).collect();
    let file = minimal("").replace("sink:", &format!("  columns: |\n{lines}{more}sink:"));
    let SourceSpec::Kafka(kafka) = good(&file).source else {
        panic!("no Kafka source");
    };
    kafka
}

fn columns(ddl: &str) -> Vec<DeclaredColumn> {
    source(ddl, "").columns.unwrap()
}

fn timestamp(zone: Option<&str>) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into))
}

fn list(item: DataType) -> DataType {
    DataType::new_list(item, true)
}

#[test]
fn each_type_has_its_arrow_type_and_its_encoding() {
    use DeclaredType as T;
    let utf8 = DataType::Utf8;
    let cases = [
        ("BOOLEAN", DataType::Boolean, T::Boolean),
        ("BIT(1)", DataType::Boolean, T::Boolean),
        ("BIT(8)", DataType::Binary, T::Binary),
        ("TINYINT", DataType::Int8, T::Integer),
        ("TINYINT UNSIGNED", DataType::Int16, T::Integer),
        ("SMALLINT", DataType::Int16, T::Integer),
        ("SMALLINT UNSIGNED", DataType::Int32, T::Integer),
        ("MEDIUMINT UNSIGNED", DataType::Int32, T::Integer),
        ("INT", DataType::Int32, T::Integer),
        ("INTEGER", DataType::Int32, T::Integer),
        ("INT UNSIGNED", DataType::Int64, T::Integer),
        ("SERIAL", DataType::Int32, T::Integer),
        ("BIGSERIAL", DataType::Int64, T::Integer),
        ("INT8", DataType::Int64, T::Integer),
        ("BIGINT", DataType::Int64, T::Integer),
        ("BIGINT UNSIGNED", DataType::Decimal128(20, 0), T::Decimal),
        ("REAL", DataType::Float32, T::Float),
        ("DOUBLE PRECISION", DataType::Float64, T::Float),
        ("FLOAT", DataType::Float64, T::Float),
        ("DECIMAL(12,2)", DataType::Decimal128(12, 2), T::Decimal),
        ("NUMERIC(38)", DataType::Decimal128(38, 0), T::Decimal),
        ("TEXT", utf8.clone(), T::Text),
        ("VARCHAR(10)", utf8.clone(), T::Text),
        ("CHAR(3)", utf8.clone(), T::Text),
        ("CITEXT", utf8.clone(), T::Text),
        ("ENUM('a','b')", utf8.clone(), T::Text),
        ("UUID", utf8.clone(), T::Uuid),
        ("JSON", utf8.clone(), T::Json),
        ("JSONB", utf8.clone(), T::Json),
        ("HSTORE", utf8, T::Json),
        ("BYTEA", DataType::Binary, T::Binary),
        ("VARBINARY(16)", DataType::Binary, T::Binary),
        ("DATE", DataType::Date32, T::Date),
        ("TIME", DataType::Time64(TimeUnit::Microsecond), T::Time),
        ("TIME(6)", DataType::Time64(TimeUnit::Microsecond), T::Time),
        ("TIME(3)", DataType::Time32(TimeUnit::Millisecond), T::Time),
        ("TIMESTAMP", timestamp(None), T::Timestamp { precision: 6 }),
        (
            "TIMESTAMP(3)",
            timestamp(None),
            T::Timestamp { precision: 3 },
        ),
        (
            "TIMESTAMP(6)",
            timestamp(None),
            T::Timestamp { precision: 6 },
        ),
        (
            "TIMESTAMP(9)",
            timestamp(None),
            T::Timestamp { precision: 9 },
        ),
        (
            "TIMESTAMP(0)",
            timestamp(None),
            T::Timestamp { precision: 3 },
        ),
        ("DATETIME", timestamp(None), T::Timestamp { precision: 3 }),
        (
            "DATETIME(6)",
            timestamp(None),
            T::Timestamp { precision: 6 },
        ),
        ("TIMESTAMPTZ", timestamp(Some("UTC")), T::TimestampTz),
        (
            "TIMESTAMP(6) WITH TIME ZONE",
            timestamp(Some("UTC")),
            T::TimestampTz,
        ),
        ("TEXT[]", list(DataType::Utf8), T::List),
        ("ARRAY<INT>", list(DataType::Int32), T::List),
        ("TIMESTAMPTZ[]", list(timestamp(Some("UTC"))), T::List),
    ];
    for (sql, arrow, wire) in cases {
        let declared = columns(&format!("c {sql}"));
        assert_eq!(*declared[0].field.data_type(), arrow, "{sql}");
        assert_eq!(declared[0].encoding, wire, "{sql}");
        assert!(declared[0].field.is_nullable(), "{sql}");
    }
}

#[test]
fn names_follow_sql_case_rules() {
    let names: Vec<_> = (columns("Id BIGINT, \"Order\" TEXT, \"a b\" TEXT, größe INT").iter())
        .map(|column| column.field.name().clone())
        .collect();
    assert_eq!(names, ["id", "Order", "a b", "größe"]);
}

#[test]
fn not_null_is_remembered_and_comments_are_sql() {
    let declared = columns("a INT NOT NULL, -- the key\nb INT, /* other */ c INT NULL\n-- end");
    let found: Vec<_> = declared.iter().map(|column| column.not_null).collect();
    assert_eq!(found, [true, false, false]);
}

#[test]
fn a_primary_key_fills_key_unless_key_is_said() {
    assert_eq!(source("a INT PRIMARY KEY, b INT", "").key, ["a"]);
    assert_eq!(
        source("a INT, b INT, PRIMARY KEY (b, a)", "").key,
        ["b", "a"]
    );
    assert_eq!(
        source("a INT PRIMARY KEY, b INT", "  key: [b]\n").key,
        ["b"]
    );
    assert!(source("a INT, b INT", "").key.is_empty());
    assert!(columns("a INT PRIMARY KEY")[0].not_null);
}
