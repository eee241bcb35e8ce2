//! The tables on Postgres.
//!
//! Left out of `all_types`, because what arrives is no longer the value: arrays of arrays (nulls), geometry and
//! composite types (structures), `hstore` (an extension), numerics of more than 38 digits. A time of day is declared as
//! `BIGINT`, which both lake formats have, and is the number of micro- or milliseconds that the connector sends.

use super::tables::{Column, Dialect, Table, Values};

use Values::{
    Bool, Bytes, Date, Decimal, Float32, Float64, Instant, Int, Json, Large, Literals, Text,
    Timestamp, Uuid,
};

const I16: Values = Int(-0x8000, 0x7FFF);
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
    Time(&'static str),
    ZonedTime,
    Interval,
    Bit,
    Bits,
    Money,
    Scaled,
    TextArray,
}

impl Print {
    fn expression(self, name: &str) -> String {
        match self {
            Self::Plain => name.to_owned(),
            Self::AsText => format!("{name}::text"),
            // A whole number gets its `.0`, so that it is a float in JSON too.
            Self::Float => format!(
                "(CASE WHEN {name}::float8::text ~ '^-?[0-9]+$' THEN {name}::float8::text || '.0' \
                 ELSE {name}::float8::text END)::json"
            ),
            Self::Bytes => base64(name),
            Self::Date => format!("to_char({name}, 'YYYY-MM-DD')"),
            Self::Local => format!("to_char({name}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"),
            Self::Instant => {
                format!("to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
            }
            Self::Time(scale) => format!("(extract(epoch FROM {name}) * {scale})::bigint"),
            Self::ZonedTime => {
                format!("replace(({name} AT TIME ZONE 'UTC')::text, '+00', 'Z')")
            }
            // The connector counts a month as 30.4375 days.
            Self::Interval => format!(
                "((extract(year FROM {name}) * 12 + extract(month FROM {name})) * 2629800000000 \
                 + extract(day FROM {name}) * 86400000000 \
                 + (extract(hour FROM {name}) * 3600 + extract(minute FROM {name}) * 60) * 1000000 \
                 + extract(microseconds FROM {name}))::bigint"
            ),
            Self::Bit => format!("({name} = B'1')"),
            Self::Bits => base64(&little_endian(name)),
            Self::Money => format!("{name}::numeric::numeric(19,2)::text"),
            Self::Scaled => format!("{name}::numeric(38,14)::text"),
            Self::TextArray => format!("{name}::text[]"),
        }
    }
}

fn base64(bytes: &str) -> String {
    format!("translate(encode({bytes}, 'base64'), E'\\n', '')")
}

/// The bytes of a bit string of up to 64 bits, least significant first, without zeros at the end.
fn little_endian(name: &str) -> String {
    let big = format!("int8send(lpad({name}::text, 64, '0')::bit(64)::bigint)");
    let bytes: Vec<String> = (1..=8)
        .rev()
        .map(|at| format!("substring({big} FROM {at} FOR 1)"))
        .collect();
    format!("rtrim({}, '\\x00'::bytea)", bytes.join(" || "))
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

fn table(
    name: &'static str,
    key: &[&'static str],
    columns: Vec<Column>,
    after_create: &[&str],
) -> Table {
    let after_create: Vec<String> = after_create
        .iter()
        .map(|clause| format!("ALTER TABLE {name} {clause};"))
        .collect();
    Table {
        name,
        dialect: Dialect::Postgres,
        columns,
        key: key.to_vec(),
        before_create: Vec::new(),
        full_identity: after_create.iter().any(|clause| clause.contains("FULL")),
        after_create,
    }
}

/// Every table that holds what the engine can hold.
pub(super) fn all() -> Vec<Table> {
    vec![
        customers(),
        docs(),
        order_items(),
        all_types(),
        bulk(),
        notes(),
    ]
}

fn customers() -> Table {
    let columns = vec![
        column("id", "bigint", "BIGINT", Print::Plain, I64),
        column("email", "text", "TEXT", Print::Plain, Text(40)),
        column("name", "text NOT NULL", "TEXT", Print::Plain, Text(30)),
        column("city", "varchar(40)", "VARCHAR(40)", Print::Plain, Text(40)),
        column("tier", "text", "TEXT", Print::Plain, TIERS),
        column(
            "balance",
            "numeric(12,2)",
            "DECIMAL(12,2)",
            Print::AsText,
            Decimal(12, 2),
        ),
        column("visits", "int", "INT", Print::Plain, I32),
        column(
            "created_at",
            "timestamptz NOT NULL",
            "TIMESTAMPTZ",
            Print::Instant,
            Instant(6),
        ),
        column(
            "updated_at",
            "timestamp(6)",
            "TIMESTAMP(6)",
            Print::Local,
            Timestamp(6),
        ),
    ];
    table("customers", &["id"], columns, &[])
}

const TIERS: Values = Literals(&["'Gold'", "'Silver'", "'Platinum'", "''", "' '"]);

fn docs() -> Table {
    let columns = vec![
        column("id", "bigint", "BIGINT", Print::Plain, I64),
        column("title", "text NOT NULL", "TEXT", Print::Plain, Text(40)),
        column("body", "text", "TEXT", Print::Plain, Large),
        column("meta", "jsonb", "JSONB", Print::AsText, Json),
        column("revision", "int", "INT", Print::Plain, I32),
    ];
    // Stored uncompressed and out of line: an update that leaves them alone does not send them.
    let out_of_line = [
        "ALTER body SET STORAGE EXTERNAL",
        "ALTER meta SET STORAGE EXTERNAL",
    ];
    table("docs", &["id"], columns, &out_of_line)
}

fn order_items() -> Table {
    let columns = vec![
        column("order_id", "bigint", "BIGINT", Print::Plain, I64),
        column("line", "int", "INT", Print::Plain, I32),
        column("sku", "text", "TEXT", Print::Plain, Text(20)),
        column("quantity", "int NOT NULL", "INT", Print::Plain, I32),
        column(
            "price",
            "numeric(18,4)",
            "DECIMAL(18,4)",
            Print::AsText,
            Decimal(18, 4),
        ),
        column("shipped", "date", "DATE", Print::Date, Date),
        column("remark", "text", "TEXT", Print::Plain, Large),
    ];
    let full = ["REPLICA IDENTITY FULL"];
    table("order_items", &["order_id", "line"], columns, &full)
}

fn bulk() -> Table {
    let columns = vec![
        column("id", "bigint", "BIGINT", Print::Plain, I64),
        column("part", "int", "INT", Print::Plain, I32),
        column("payload", "text", "TEXT", Print::Plain, Text(40)),
        column(
            "amount",
            "numeric(12,2)",
            "DECIMAL(12,2)",
            Print::AsText,
            Decimal(12, 2),
        ),
    ];
    table("bulk", &["id"], columns, &[])
}

fn notes() -> Table {
    let columns = vec![
        column("tag", "bigint", "BIGINT", Print::Plain, I64),
        column("author", "text", "TEXT", Print::Plain, TIERS),
        column("note", "text", "TEXT", Print::Plain, Text(30)),
        column("score", "int", "INT", Print::Plain, Int(0, 2)),
        column("noted", "date", "DATE", Print::Date, Date),
    ];
    table("notes", &[], columns, &["REPLICA IDENTITY FULL"])
}

fn all_types() -> Table {
    let mut columns = vec![column("id", "bigint", "BIGINT", Print::Plain, I64)];
    columns.extend(numbers());
    columns.extend(texts());
    columns.extend(times());
    columns.extend(lists());
    let mut table = table("all_types", &["id"], columns, &[]);
    table.before_create =
        vec!["CREATE TYPE workload_mood AS ENUM ('happy', 'so, so', 'traurig ☹', '');".to_owned()];
    table
}

fn numbers() -> Vec<Column> {
    let money = Literals(&[
        "0",
        "12.34",
        "-92233720368547758.08",
        "92233720368547758.07",
    ]);
    // As many digits as the declared type has; each comes with its own scale.
    let any = Literals(&[
        "0",
        "1.50",
        "-3.14159265358979",
        "1e20",
        "99999999999999999999.5",
        "-0.00000000000001",
        "123456789012345678901234.12345678901234",
    ]);
    vec![
        column("si", "smallint", "SMALLINT", Print::Plain, I16),
        column("i", "int", "INT", Print::Plain, I32),
        column("bi", "bigint", "BIGINT", Print::Plain, I64),
        column(
            "n",
            "numeric(12,2)",
            "DECIMAL(12,2)",
            Print::AsText,
            Decimal(12, 2),
        ),
        column(
            "n38",
            "numeric(38,10)",
            "DECIMAL(38,10)",
            Print::AsText,
            Decimal(38, 10),
        ),
        column(
            "n0",
            "numeric(38,0)",
            "DECIMAL(38,0)",
            Print::AsText,
            Decimal(38, 0),
        ),
        column("nv", "numeric", "DECIMAL(38,14)", Print::Scaled, any),
        column("r", "real", "REAL", Print::Float, Float32),
        column("d", "double precision", "DOUBLE", Print::Float, Float64),
        column("m", "money", "DECIMAL(19,2)", Print::Money, money),
        column("b", "boolean", "BOOLEAN", Print::Plain, Bool),
    ]
}

fn texts() -> Vec<Column> {
    let bits = |literals| Literals(literals);
    vec![
        column("t", "text", "TEXT", Print::Plain, Text(60)),
        column("vc", "varchar(40)", "VARCHAR(40)", Print::Plain, Text(40)),
        column("ch", "char(8)", "CHAR(8)", Print::Plain, Text(8)),
        column("by", "bytea", "BYTEA", Print::Bytes, Bytes(80)),
        column("u", "uuid", "UUID", Print::AsText, Uuid),
        column("j", "json", "JSON", Print::AsText, Json),
        column("jb", "jsonb", "JSONB", Print::AsText, Json),
        column(
            "mood",
            "workload_mood",
            "TEXT",
            Print::AsText,
            Literals(&["'happy'", "'so, so'", "'traurig ☹'", "''"]),
        ),
        column(
            "ip",
            "inet",
            "INET",
            Print::Plain,
            Literals(&["'10.0.0.1'", "'10.0.0.0/8'", "'::1'", "'2001:db8::/32'"]),
        ),
        column(
            "net",
            "cidr",
            "CIDR",
            Print::Plain,
            Literals(&["'10.0.0.0/8'", "'192.168.1.0/24'", "'2001:db8::/32'"]),
        ),
        column(
            "mac",
            "macaddr",
            "MACADDR",
            Print::Plain,
            Literals(&["'08:00:2b:01:02:03'", "'ff:ff:ff:ff:ff:ff'"]),
        ),
        column(
            "x",
            "xml",
            "XML",
            Print::AsText,
            Literals(&["'<a/>'", "'<a b=\"c\">ü &amp; <!-- --></a>'", "'text'"]),
        ),
        column(
            "span",
            "int4range",
            "INT4RANGE",
            Print::AsText,
            Literals(&["'[1,5)'", "'empty'", "'[,7)'", "'(,)'"]),
        ),
        column(
            "flag",
            "bit(1)",
            "BIT(1)",
            Print::Bit,
            bits(&["B'0'", "B'1'"]),
        ),
        column(
            "bits",
            "bit(12)",
            "BIT(12)",
            Print::Bits,
            bits(&[
                "B'000000000000'",
                "B'000000000101'",
                "B'111111111111'",
                "B'000100000000'",
            ]),
        ),
        column(
            "vbits",
            "bit varying(40)",
            "VARBIT(40)",
            Print::Bits,
            bits(&[
                "B''",
                "B'1'",
                "B'0001'",
                "B'100000000'",
                "B'1111111111111111111111111111111111111111'",
            ]),
        ),
    ]
}

fn times() -> Vec<Column> {
    let clock = Literals(&[
        "'00:00:00'",
        "'10:07:32.270'",
        "'23:59:59.999'",
        "'12:00:00.5'",
    ]);
    let fine = Literals(&["'00:00:00'", "'10:07:32.270388'", "'23:59:59.999999'"]);
    let zoned = Literals(&[
        "'00:00:00+00'",
        "'10:07:32.270388+02'",
        "'23:59:59.5-03:30'",
        "'12:00:00+00'",
    ]);
    let spans = Literals(&[
        "'0'",
        "'1 year 2 months 3 days 04:05:06.789012'",
        "'-1 month -04:05:06.5'",
        "'1 day -00:00:00.000001'",
    ]);
    vec![
        column("dt", "date", "DATE", Print::Date, Date),
        column("tm3", "time(3)", "BIGINT", Print::Time("1000"), clock),
        column("tm6", "time(6)", "BIGINT", Print::Time("1000000"), fine),
        column("tmtz", "timetz", "TIMETZ", Print::ZonedTime, zoned),
        column(
            "ts0",
            "timestamp(0)",
            "TIMESTAMP(0)",
            Print::Local,
            Timestamp(0),
        ),
        column(
            "ts3",
            "timestamp(3)",
            "TIMESTAMP(3)",
            Print::Local,
            Timestamp(3),
        ),
        column(
            "ts6",
            "timestamp(6)",
            "TIMESTAMP(6)",
            Print::Local,
            Timestamp(6),
        ),
        column(
            "tz0",
            "timestamptz(0)",
            "TIMESTAMPTZ",
            Print::Instant,
            Instant(0),
        ),
        column(
            "tz6",
            "timestamptz",
            "TIMESTAMPTZ",
            Print::Instant,
            Instant(6),
        ),
        column("iv", "interval", "BIGINT", Print::Interval, spans),
    ]
}

fn lists() -> Vec<Column> {
    vec![
        column(
            "ia",
            "int[]",
            "INT[]",
            Print::Plain,
            Literals(&["'{}'", "'{1,2,NULL}'", "'{-2147483648,2147483647}'"]),
        ),
        column(
            "la",
            "bigint[]",
            "BIGINT[]",
            Print::Plain,
            Literals(&[
                "'{}'",
                "'{NULL}'",
                "'{-9223372036854775808,9223372036854775807}'",
            ]),
        ),
        column(
            "ta",
            "text[]",
            "TEXT[]",
            Print::Plain,
            Literals(&[
                "'{}'",
                "'{x,\"\",NULL,\"NULL\"}'",
                "'{\"a,b\",\"q\\\"uo\\\\te\",\"ünï 😀\"}'",
            ]),
        ),
        column(
            "ba",
            "boolean[]",
            "BOOLEAN[]",
            Print::Plain,
            Literals(&["'{}'", "'{t,f,NULL}'"]),
        ),
        column(
            "na",
            "numeric(10,2)[]",
            "DECIMAL(10,2)[]",
            Print::TextArray,
            Literals(&["'{}'", "'{1.5,-0.01,NULL,99999999.99}'"]),
        ),
        column(
            "ua",
            "uuid[]",
            "UUID[]",
            Print::Plain,
            Literals(&["'{}'", "'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,NULL}'"]),
        ),
        column(
            "da",
            "date[]",
            "DATE[]",
            Print::TextArray,
            Literals(&["'{}'", "'{2024-02-29,NULL,9999-12-31}'"]),
        ),
    ]
}

/// Values beyond every lake type: infinities, years before 1 and after 9999, `24:00:00`, numerics that are none.
pub(super) fn oddities() -> Table {
    let columns = vec![
        column("id", "bigint", "BIGINT", Print::Plain, I64),
        column(
            "d",
            "date",
            "DATE",
            Print::AsText,
            Literals(&[
                "'infinity'",
                "'-infinity'",
                "'0044-03-15 BC'",
                "'12000-01-01'",
            ]),
        ),
        column(
            "ts",
            "timestamp",
            "TIMESTAMP(6)",
            Print::AsText,
            Literals(&[
                "'infinity'",
                "'-infinity'",
                "'0044-03-15 12:00:00 BC'",
                "'12000-01-01 00:00:00'",
            ]),
        ),
        column(
            "tz",
            "timestamptz",
            "TIMESTAMPTZ",
            Print::AsText,
            Literals(&[
                "'infinity'",
                "'-infinity'",
                "'0044-03-15 12:00:00+00 BC'",
                "'12000-01-01 00:00:00+00'",
            ]),
        ),
        column(
            "tm",
            "time",
            "TIME(6)",
            Print::AsText,
            Literals(&["'24:00:00'"]),
        ),
        column(
            "n",
            "numeric(20,4)",
            "DECIMAL(20,4)",
            Print::AsText,
            Literals(&["'NaN'"]),
        ),
    ];
    table("oddities", &["id"], columns, &[])
}
