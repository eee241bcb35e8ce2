//! Dates, times, timestamps, durations.

use arrow::datatypes::{DataType, TimeUnit};
use sql::change::RejectReason as R;

use super::super::harness::*;
use super::{Cell, Reject, check, check_of, named};

#[test]
fn dates_and_times() {
    for name in [
        "io.debezium.time.Date",
        "org.apache.kafka.connect.data.Date",
    ] {
        check(
            &named("int32", name),
            &DataType::Date32,
            &[
                ("19782", Cell("2024-02-29")),
                ("0", Cell("1970-01-01")),
                ("-719162", Cell("0001-01-01")),
                ("2932896", Cell("9999-12-31")),
                ("-719163", Reject(R::OutOfRange)),
                ("2932897", Reject(R::OutOfRange)),
                ("-622191234", Reject(R::OutOfRange)),
                ("-2147472692", Reject(R::OutOfRange)),
                ("\"2024-02-29\"", Reject(R::TypeMismatch)),
            ],
        );
    }
    let micros = DataType::Time64(TimeUnit::Microsecond);
    for name in [
        "io.debezium.time.Time",
        "org.apache.kafka.connect.data.Time",
    ] {
        check(
            &named("int32", name),
            &micros,
            &[
                ("86399999", Cell("23:59:59.999")),
                ("86400000", Reject(R::OutOfRange)),
            ],
        );
    }
    check(
        &named("int64", "io.debezium.time.MicroTime"),
        &micros,
        &[
            ("0", Cell("00:00:00")),
            ("86399999999", Cell("23:59:59.999999")),
            ("86400000000", Reject(R::OutOfRange)),
            ("-1", Reject(R::OutOfRange)),
            ("9223372036854775807", Reject(R::OutOfRange)),
        ],
    );
    check(
        &named("int64", "io.debezium.time.NanoTime"),
        &micros,
        &[
            ("86399999999000", Cell("23:59:59.999999")),
            ("1", Reject(R::OutOfRange)),
        ],
    );
    for connector in ["mysql", "mariadb"] {
        check_of(
            connector,
            &named("int64", "io.debezium.time.MicroTime"),
            &DataType::Int64,
            &[
                ("-3020399000000", Cell("-3020399000000")),
                ("3020399999999", Cell("3020399999999")),
            ],
        );
    }
    check(
        &named("string", "io.debezium.time.IsoDate"),
        &DataType::Date32,
        &[
            ("\"2024-02-29Z\"", Cell("2024-02-29")),
            ("\"2023-02-29Z\"", Reject(R::OutOfRange)),
            ("\"0000-12-30Z\"", Reject(R::OutOfRange)),
            ("\"2024-2-29\"", Reject(R::TypeMismatch)),
            ("19782", Reject(R::TypeMismatch)),
        ],
    );
    check(
        &named("string", "io.debezium.time.IsoTime"),
        &micros,
        &[
            ("\"12:34:56.789012Z\"", Cell("12:34:56.789012")),
            ("\"24:00:00Z\"", Reject(R::OutOfRange)),
        ],
    );
    check(
        &named("string", "io.debezium.time.ZonedTime"),
        &DataType::Utf8,
        &[("\"07:59:59.999999Z\"", Cell("07:59:59.999999Z"))],
    );
}

#[test]
fn local_timestamps_have_no_zone() {
    for name in [
        "io.debezium.time.Timestamp",
        "org.apache.kafka.connect.data.Timestamp",
    ] {
        check(
            &named("int64", name),
            &micros(),
            &[
                ("1709210096789", Cell("2024-02-29T12:34:56.789")),
                ("-1", Cell("1969-12-31T23:59:59.999")),
                ("9223372036854775807", Reject(R::OutOfRange)),
            ],
        );
    }
    check(
        &named("int64", "io.debezium.time.MicroTimestamp"),
        &micros(),
        &[
            ("1709210096789012", Cell("2024-02-29T12:34:56.789012")),
            ("-62135596800000000", Cell("0001-01-01T00:00:00")),
            ("253402300799999999", Cell("9999-12-31T23:59:59.999999")),
            ("253402300800000000", Reject(R::OutOfRange)),
            ("9223372036825200000", Reject(R::OutOfRange)),
            ("-9223372036832400000", Reject(R::OutOfRange)),
        ],
    );
    check(
        &named("int64", "io.debezium.time.NanoTimestamp"),
        &micros(),
        &[
            ("1709210096789012000", Cell("2024-02-29T12:34:56.789012")),
            ("-1000", Cell("1969-12-31T23:59:59.999999")),
            ("1709210096789012345", Reject(R::OutOfRange)),
            ("9223372036854775807", Reject(R::OutOfRange)),
            ("-9223372036854775808", Reject(R::OutOfRange)),
        ],
    );
    check(
        &named("string", "io.debezium.time.IsoTimestamp"),
        &micros(),
        &[
            (
                "\"2024-02-29T12:34:56.789012Z\"",
                Cell("2024-02-29T12:34:56.789012"),
            ),
            ("\"2024-02-29T12:34:56+02:00\"", Reject(R::TypeMismatch)),
        ],
    );
}

#[test]
fn instants_are_utc() {
    check(
        &named("string", "io.debezium.time.ZonedTimestamp"),
        &utc(),
        &[
            ("\"2024-02-29T12:34:56Z\"", Cell("2024-02-29T12:34:56Z")),
            (
                "\"2024-02-29T12:34:56.7Z\"",
                Cell("2024-02-29T12:34:56.700Z"),
            ),
            (
                "\"2024-02-29T12:34:56.789012000Z\"",
                Cell("2024-02-29T12:34:56.789012Z"),
            ),
            ("\"2024-02-29T12:34Z\"", Cell("2024-02-29T12:34:00Z")),
            (
                "\"2024-02-29T12:34:56+05:30\"",
                Cell("2024-02-29T07:04:56Z"),
            ),
            ("\"2024-02-29T00:00:00-0130\"", Cell("2024-02-29T01:30:00Z")),
            ("\"2024-02-29 12:34:56+02\"", Cell("2024-02-29T10:34:56Z")),
            ("\"0001-01-01T00:00:00Z\"", Cell("0001-01-01T00:00:00Z")),
            (
                "\"9999-12-31T23:59:59.999999Z\"",
                Cell("9999-12-31T23:59:59.999999Z"),
            ),
            ("\"2024-02-29T12:34:56.789012345Z\"", Reject(R::OutOfRange)),
            ("\"9999-12-31T23:59:59-01:00\"", Reject(R::OutOfRange)),
            ("\"infinity\"", Reject(R::OutOfRange)),
            ("\"-infinity\"", Reject(R::OutOfRange)),
            ("\"0000-12-30T00:00:00Z\"", Reject(R::OutOfRange)),
            ("\"-0001-12-30T00:00:00Z\"", Reject(R::OutOfRange)),
            ("\"+294276-12-31T23:59:59.999999Z\"", Reject(R::OutOfRange)),
            ("\"2024-02-30T00:00:00Z\"", Reject(R::OutOfRange)),
            ("\"2024-02-29T25:00:00Z\"", Reject(R::OutOfRange)),
            ("\"2024-02-29T12:34:56\"", Reject(R::TypeMismatch)),
            ("\"2024-02-29\"", Reject(R::TypeMismatch)),
            (
                "\"2024-02-29T12:34:56.1234567890Z\"",
                Reject(R::TypeMismatch),
            ),
            ("\"2024-02-29T12:34:56Zx\"", Reject(R::TypeMismatch)),
            ("\"\"", Reject(R::TypeMismatch)),
            ("1709210096789", Reject(R::TypeMismatch)),
        ],
    );
}

#[test]
fn structured_temporals() {
    let date = r#"{"year":2024,"month":2,"day":29,"specialValue":null}"#;
    check(
        &format!(
            r#"{},"fields":[]"#,
            named("struct", "io.debezium.time.StructuredDate")
        ),
        &DataType::Date32,
        &[
            (date, Cell("2024-02-29")),
            (r#"{"year":0,"month":0,"day":0}"#, Reject(R::OutOfRange)),
            (r#"{"year":2024,"month":2}"#, Reject(R::OutOfRange)),
            (
                r#"{"specialValue":"POSITIVE_INFINITY"}"#,
                Reject(R::OutOfRange),
            ),
            ("\"2024-02-29\"", Reject(R::TypeMismatch)),
        ],
    );
    let parts = r#""year":2024,"month":2,"day":29,"hour":12,"minute":34,"second":56"#;
    check(
        &format!(
            r#"{},"fields":[]"#,
            named("struct", "io.debezium.time.StructuredTimestamp")
        ),
        &micros(),
        &[
            (
                &format!(r#"{{{parts},"nanos":789012000}}"#),
                Cell("2024-02-29T12:34:56.789012"),
            ),
            (
                &format!(r#"{{{parts},"picoseconds":789012000000}}"#),
                Cell("2024-02-29T12:34:56.789012"),
            ),
            (&format!(r#"{{{parts},"nanos":1}}"#), Reject(R::OutOfRange)),
        ],
    );
    check(
        &format!(
            r#"{},"fields":[]"#,
            named("struct", "io.debezium.time.StructuredZonedTimestamp")
        ),
        &utc(),
        &[(
            &format!(r#"{{{parts},"nanos":0,"offsetSeconds":7200,"zoneId":"+02:00"}}"#),
            Cell("2024-02-29T10:34:56Z"),
        )],
    );
    check(
        &format!(
            r#"{},"fields":[]"#,
            named("struct", "io.debezium.time.StructuredTime")
        ),
        &DataType::Time64(TimeUnit::Microsecond),
        &[
            (
                r#"{"hour":23,"minute":59,"second":59,"nanos":999999000}"#,
                Cell("23:59:59.999999"),
            ),
            (
                r#"{"hour":24,"minute":0,"second":0,"nanos":0}"#,
                Reject(R::OutOfRange),
            ),
        ],
    );
}

#[test]
fn durations_intervals_years() {
    for name in ["MicroDuration", "NanoDuration"] {
        check(
            &named("int64", &format!("io.debezium.time.{name}")),
            &DataType::Int64,
            &[
                ("37091106789000", Cell("37091106789000")),
                ("-1", Cell("-1")),
            ],
        );
    }
    check(
        &named("string", "io.debezium.time.Interval"),
        &DataType::Utf8,
        &[("\"P1Y2M-3DT4H5M6.789S\"", Cell("P1Y2M-3DT4H5M6.789S"))],
    );
    check(
        &named("int32", "io.debezium.time.Year"),
        &DataType::Int32,
        &[("1901", Cell("1901")), ("0", Cell("0"))],
    );
}
