//! The tables on MariaDB.
//!
//! Left out, because what arrives is no longer the value: `BIGINT UNSIGNED` above the signed range (the connector sends a
//! negative number), `YEAR` 0 and zero dates (the snapshot fails or makes them up), floats of more than six
//! digits (the server itself prints no more in a snapshot), `INET6` (the connector cannot parse the table's DDL and stops).

use super::tables::{Column, Dialect, Table, Values};

use Values::{Bytes, Date, Decimal, Float64, Instant, Int, Json, Large, Literals, Text, Timestamp};

const I32: Values = Int(-0x8000_0000, 0x7FFF_FFFF);
const I64: Values = Int(-0x8000_0000_0000_0000, 0x7FFF_FFFF_FFFF_FFFF);

/// How a value is printed.
#[derive(Clone, Copy)]
enum Print {
    Plain,
    AsText,
    Float,
    Bytes,
    Date,
    Local,
    Instant,
    Time,
    Bit,
    /// So many bytes.
    Bits(usize),
}

impl Print {
    fn expression(self, name: &str) -> String {
        const LOCAL: &str = "'%Y-%m-%dT%H:%i:%s.%f'";
        match self {
            Self::Plain => name.to_owned(),
            Self::AsText => format!("CAST({name} AS CHAR)"),
            // A whole number gets its `.0`, so that it is a float in JSON too.
            Self::Float => {
                let text = format!("CAST({name} + 0e0 AS CHAR)");
                format!(
                    "JSON_EXTRACT(IF({text} REGEXP '^-?[0-9]+$', CONCAT({text}, '.0'), {text}), '$')"
                )
            }
            Self::Bytes => format!("REPLACE(TO_BASE64({name}), '\\n', '')"),
            Self::Date => format!("DATE_FORMAT({name}, '%Y-%m-%d')"),
            Self::Local => format!("DATE_FORMAT({name}, {LOCAL})"),
            // Whatever the session's time zone is.
            Self::Instant => format!(
                "CONCAT(DATE_FORMAT(DATE_ADD('1970-01-01', INTERVAL UNIX_TIMESTAMP({name}) SECOND), {LOCAL}), 'Z')"
            ),
            Self::Time => format!("CAST(TIME_TO_SEC({name}) * 1000000 AS SIGNED)"),
            Self::Bit => {
                format!("JSON_EXTRACT(IF({name} = 1, 'true', IF({name} = 0, 'false', NULL)), '$')")
            }
            Self::Bits(bytes) => {
                let little: Vec<String> = (0..bytes)
                    .map(|at| format!("CHAR(({name} >> {}) & 255 USING binary)", at * 8))
                    .collect();
                // CHAR leaves nulls out, and would make an empty text of them.
                format!(
                    "IF({name} IS NULL, NULL, TO_BASE64(CONCAT({})))",
                    little.join(", ")
                )
            }
        }
    }
}

fn column(
    name: &'static str,
    sql_type: &'static str,
    declared: &'static str,
    print: Print,
    values: Values,
) -> Column {
    Column {
        name,
        declared,
        canonical: print.expression(name),
        sql_type,
        values,
    }
}

fn table(name: &'static str, key: &[&'static str], columns: Vec<Column>) -> Table {
    Table {
        name,
        dialect: Dialect::MariaDb,
        columns,
        key: key.to_vec(),
        full_identity: true,
        before_create: Vec::new(),
        after_create: Vec::new(),
    }
}

/// Every table.
pub(super) fn all() -> Vec<Table> {
    vec![customers(), docs(), order_items(), all_types(), bulk()]
}

const TIERS: Values = Literals(&["'Gold'", "'Silver'", "'Platinum'", "''", "' '"]);

fn customers() -> Table {
    let columns = vec![
        column("id", "bigint", "BIGINT", Print::Plain, I64),
        column("email", "text", "TEXT", Print::Plain, Text(40)),
        column("name", "text NOT NULL", "TEXT", Print::Plain, Text(30)),
        column("city", "varchar(40)", "VARCHAR(40)", Print::Plain, Text(40)),
        column("tier", "varchar(10)", "TEXT", Print::Plain, TIERS),
        column(
            "balance",
            "decimal(12,2)",
            "DECIMAL(12,2)",
            Print::AsText,
            Decimal(12, 2),
        ),
        column("visits", "int", "INT", Print::Plain, I32),
        column(
            "created_at",
            "timestamp(6) NOT NULL DEFAULT '2020-01-01 00:00:00'",
            "TIMESTAMPTZ",
            Print::Instant,
            Instant(6),
        ),
        column(
            "updated_at",
            "datetime(6)",
            "DATETIME(6)",
            Print::Local,
            Timestamp(6),
        ),
    ];
    table("customers", &["id"], columns)
}

fn docs() -> Table {
    let columns = vec![
        column("id", "bigint", "BIGINT", Print::Plain, I64),
        column(
            "title",
            "varchar(200) NOT NULL",
            "TEXT",
            Print::Plain,
            Text(40),
        ),
        column("body", "longtext", "TEXT", Print::Plain, Large),
        column("meta", "json", "TEXT", Print::AsText, Json),
        column("revision", "int", "INT", Print::Plain, I32),
    ];
    table("docs", &["id"], columns)
}

fn order_items() -> Table {
    let columns = vec![
        column("order_id", "bigint", "BIGINT", Print::Plain, I64),
        column("line", "int", "INT", Print::Plain, I32),
        column("sku", "varchar(80)", "TEXT", Print::Plain, Text(20)),
        column("quantity", "int NOT NULL", "INT", Print::Plain, I32),
        column(
            "price",
            "decimal(18,4)",
            "DECIMAL(18,4)",
            Print::AsText,
            Decimal(18, 4),
        ),
        column("shipped", "date", "DATE", Print::Date, Date),
        column("remark", "mediumtext", "TEXT", Print::Plain, Large),
    ];
    table("order_items", &["order_id", "line"], columns)
}

fn bulk() -> Table {
    let columns = vec![
        column("id", "bigint", "BIGINT", Print::Plain, I64),
        column("part", "int", "INT", Print::Plain, I32),
        column("payload", "text", "TEXT", Print::Plain, Text(40)),
        column(
            "amount",
            "decimal(12,2)",
            "DECIMAL(12,2)",
            Print::AsText,
            Decimal(12, 2),
        ),
    ];
    table("bulk", &["id"], columns)
}

fn all_types() -> Table {
    let mut columns = vec![column("id", "bigint", "BIGINT", Print::Plain, I64)];
    columns.extend(numbers());
    columns.extend(texts());
    columns.extend(times());
    table("all_types", &["id"], columns)
}

fn numbers() -> Vec<Column> {
    let int = |name, sql_type, declared, low, high| {
        column(name, sql_type, declared, Print::Plain, Int(low, high))
    };
    let short = Literals(&["0", "1.5", "-0.25", "1024", "-65536", "0.015625"]);
    vec![
        int("ti", "tinyint", "SMALLINT", -128, 127),
        int("tu", "tinyint unsigned", "SMALLINT", 0, 255),
        int("si", "smallint", "SMALLINT", -0x8000, 0x7FFF),
        int("su", "smallint unsigned", "INT", 0, 0xFFFF),
        int("mi", "mediumint", "INT", -0x80_0000, 0x7F_FFFF),
        int("mu", "mediumint unsigned", "INT", 0, 0xFF_FFFF),
        int("i", "int", "INT", -0x8000_0000, 0x7FFF_FFFF),
        int("iu", "int unsigned", "BIGINT", 0, 0xFFFF_FFFF),
        int("bi", "bigint", "BIGINT", i64::MIN.into(), i64::MAX.into()),
        int("bu", "bigint unsigned", "BIGINT", 0, i64::MAX.into()),
        int("bl", "boolean", "SMALLINT", 0, 1),
        column(
            "n",
            "decimal(12,2)",
            "DECIMAL(12,2)",
            Print::AsText,
            Decimal(12, 2),
        ),
        column(
            "n38",
            "decimal(38,10)",
            "DECIMAL(38,10)",
            Print::AsText,
            Decimal(38, 10),
        ),
        column("f", "float", "REAL", Print::Float, short),
        column("d", "double", "DOUBLE", Print::Float, Float64),
        column(
            "flag",
            "bit(1)",
            "BIT(1)",
            Print::Bit,
            Literals(&["b'0'", "b'1'"]),
        ),
        column(
            "bits",
            "bit(12)",
            "BIT(12)",
            Print::Bits(2),
            Literals(&["b'0'", "b'101'", "b'111111111111'", "b'100000000'"]),
        ),
    ]
}

fn texts() -> Vec<Column> {
    vec![
        column("ch", "char(8)", "CHAR(8)", Print::Plain, Text(8)),
        column("vc", "varchar(40)", "VARCHAR(40)", Print::Plain, Text(40)),
        column("tt", "tinytext", "TEXT", Print::Plain, Text(60)),
        column("t", "text", "TEXT", Print::Plain, Text(60)),
        column("bl1", "blob", "BLOB", Print::Bytes, Bytes(80)),
        column(
            "vb",
            "varbinary(20)",
            "VARBINARY(20)",
            Print::Bytes,
            Bytes(20),
        ),
        column("fb", "binary(5)", "BINARY(5)", Print::Bytes, Bytes(5)),
        column(
            "en",
            "enum('happy','so so','traurig ☹','')",
            "TEXT",
            Print::Plain,
            Literals(&["'happy'", "'so so'", "'traurig ☹'", "''"]),
        ),
        column(
            "st",
            "set('a','b','c')",
            "TEXT",
            Print::Plain,
            Literals(&["''", "'a'", "'a,c'", "'a,b,c'"]),
        ),
        column("j", "json", "TEXT", Print::AsText, Json),
        // None that ends in zero: the connector loses such bytes on the way from the binary log, and shifts the rest.
        column(
            "u",
            "uuid",
            "UUID",
            Print::AsText,
            Literals(&[
                "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
                "'00112233-4455-4677-8899-aabbccddeeff'",
                "'ffffffff-ffff-4fff-bfff-ffffffffffff'",
            ]),
        ),
    ]
}

fn times() -> Vec<Column> {
    let spans = Literals(&[
        "'00:00:00'",
        "'10:07:32'",
        "'-838:59:59'",
        "'838:59:59'",
        "'-00:00:01'",
    ]);
    let fine = Literals(&[
        "'00:00:00'",
        "'10:07:32.270388'",
        "'-838:59:59.000001'",
        "'-00:00:00.5'",
        "'838:59:59.999999'",
    ]);
    vec![
        column("dt", "date", "DATE", Print::Date, Date),
        column("dt0", "datetime", "DATETIME", Print::Local, Timestamp(0)),
        column(
            "dt3",
            "datetime(3)",
            "DATETIME(3)",
            Print::Local,
            Timestamp(3),
        ),
        column(
            "dt6",
            "datetime(6)",
            "DATETIME(6)",
            Print::Local,
            Timestamp(6),
        ),
        column(
            "ts0",
            "timestamp NULL",
            "TIMESTAMPTZ",
            Print::Instant,
            Instant(0),
        ),
        column(
            "ts6",
            "timestamp(6) NULL",
            "TIMESTAMPTZ",
            Print::Instant,
            Instant(6),
        ),
        column("tm0", "time", "BIGINT", Print::Time, spans),
        column("tm6", "time(6)", "BIGINT", Print::Time, fine),
        column("y", "year", "YEAR", Print::Plain, Int(1901, 2155)),
    ]
}
