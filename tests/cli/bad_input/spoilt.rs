//! Messages that are spoilt in every way, between good ones.

use serde_json::{Value, json};

pub(super) const TOPIC: &str = "postgres.public.customers";

/// What one bad message is set aside as.
pub(super) struct Bad {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Vec<u8>,
    pub(super) reason: &'static str,
    pub(super) column: Option<&'static str>,
    pub(super) detail: &'static str,
}

/// The event of a row with `change` applied to its image.
pub(super) fn event(id: i64, change: &Value) -> Value {
    let mut after = json!({
        "customer_id": id, "email": format!("{id}@example.com"), "first_name": "A", "last_name": "B",
        "phone": null, "city": null, "state": null, "country": null, "tier": "Gold",
        "lifetime_value": "AR4g", "created_at": "2026-11-22T10:07:32.270388Z",
        "updated_at": 1_795_342_052_270_388_i64,
    });
    for (name, value) in change.as_object().into_iter().flatten() {
        after[name] = value.clone();
    }
    json!({
        "before": null, "after": after, "op": "c", "ts_ms": 2,
        "source": {
            "version": "3.4.0.Final", "connector": "postgresql", "name": "postgres", "ts_ms": 1,
            "snapshot": "false", "db": "postgres", "schema": "public", "table": "customers",
            "txId": 1, "lsn": 1,
        },
    })
}

pub(super) fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// A message whose value is `value`, with a right key.
pub(super) fn bad(
    value: Vec<u8>,
    reason: &'static str,
    column: Option<&'static str>,
    detail: &'static str,
) -> Bad {
    Bad {
        key: Some(bytes(&json!({ "customer_id": 1 }))),
        value,
        reason,
        column,
        detail,
    }
}

pub(super) fn of_column(
    change: &Value,
    reason: &'static str,
    column: &'static str,
    detail: &'static str,
) -> Bad {
    bad(bytes(&event(1, change)), reason, Some(column), detail)
}

pub(super) fn replaced(from: &str, to: &[u8]) -> Vec<u8> {
    let text = event(1, &json!({})).to_string();
    let at = text.find(from).unwrap();
    let (head, tail) = (&text[..at], &text[at + from.len()..]);
    [head.as_bytes(), to, tail.as_bytes()].concat()
}

/// Every kind of bad message.
pub(super) fn all_bad() -> Vec<Bad> {
    let good = event(1, &json!({}));
    let mut unknown_op = good.clone();
    unknown_op["op"] = json!("x");
    let mut no_image = good.clone();
    no_image["after"] = Value::Null;
    let mut delete = good.clone();
    delete["op"] = json!("d");
    delete["after"] = Value::Null;
    let mut keyless = bad(
        bytes(&delete),
        "missing_key",
        None,
        "the Kafka key of a delete has no value for the key columns",
    );
    keyless.key = Some(bytes(&json!({ "id": 1 })));
    let cut = good.to_string();
    let mut truncated = cut.as_bytes()[..60].to_vec();
    truncated.push(0xc3);
    vec![
        bad(
            b"{\"before\":nul".to_vec(),
            "malformed",
            None,
            "broken JSON at byte 10",
        ),
        bad(
            cut.as_bytes()[..100].to_vec(),
            "malformed",
            None,
            "broken JSON",
        ),
        bad(truncated, "malformed", None, "the bytes at 60 are no UTF-8"),
        bad(
            replaced("Gold", b"G\xff\xfe"),
            "malformed",
            None,
            "are no UTF-8",
        ),
        bad(
            b"\0\0\0\0\x07rest".to_vec(),
            "malformed",
            None,
            "this is registry-framed",
        ),
        bad(
            replaced("\"email\":", b"\"email\":\"q\",\"email\":"),
            "malformed",
            None,
            "the key `email` comes twice in one object",
        ),
        of_column(
            &json!({ "customer_id": "abc" }),
            "type_mismatch",
            "customer_id",
            "\"abc\" is no integer",
        ),
        of_column(
            &json!({ "tier": 5 }),
            "type_mismatch",
            "tier",
            "5 is no string",
        ),
        of_column(
            &json!({ "tier": { "a": 1 } }),
            "type_mismatch",
            "tier",
            "is no string",
        ),
        of_column(
            &json!({ "created_at": "yesterday" }),
            "type_mismatch",
            "created_at",
            "\"yesterday\" is no ISO 8601 text",
        ),
        of_column(
            &json!({ "customer_id": 9_223_372_036_854_775_808_u64 }),
            "out_of_range",
            "customer_id",
            "expected an integer of 64 bits",
        ),
        of_column(
            &json!({ "lifetime_value": "AAAJGE5yoAA=" }),
            "out_of_range",
            "lifetime_value",
            "expected at most 12 digits, 2 of them after the point",
        ),
        bad(
            bytes(&unknown_op),
            "unknown_shape",
            None,
            "the operation \"x\" is not known",
        ),
        bad(
            bytes(&no_image),
            "unknown_shape",
            None,
            "an event with `op` c has no `after`",
        ),
        bad(
            b"[]".to_vec(),
            "unknown_shape",
            None,
            "expected a JSON object",
        ),
        bad(b"42".to_vec(), "unknown_shape", None, "the message is 42"),
        bad(
            b"{}".to_vec(),
            "unknown_shape",
            None,
            "no envelope and none of the columns: the message is {}",
        ),
        keyless,
    ]
}

/// Bad messages at even offsets, good ones of the customers 101, 102 … at odd offsets.
pub(super) fn mixed(bads: &[Bad]) -> Vec<String> {
    let mut lines = Vec::new();
    for (place, bad) in bads.iter().enumerate() {
        lines.push(line(2 * place, bad.key.as_deref(), &bad.value));
        let id = 101 + i64::try_from(place).unwrap();
        let key = bytes(&json!({ "customer_id": id }));
        lines.push(line(
            2 * place + 1,
            Some(&key),
            &bytes(&event(id, &json!({}))),
        ));
    }
    lines
}

pub(super) fn line(offset: usize, key: Option<&[u8]>, value: &[u8]) -> String {
    let mut record = json!({
        "topic": TOPIC, "partition": 0, "offset": offset, "ts": 1_795_342_053_301_i64,
        "headers": ["origin", "a test", "nothing", null],
    });
    let mut put = |name: &str, bytes: Option<&[u8]>| match bytes.map(std::str::from_utf8) {
        Some(Err(_)) => record[format!("{name}_base64")] = json!(base64(bytes.unwrap())),
        Some(Ok(text)) => record[name] = json!(text),
        None => record[name] = Value::Null,
    };
    put("key", key);
    put("payload", Some(value));
    record.to_string()
}

pub(super) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let all = group
            .iter()
            .fold(0_u32, |all, byte| all << 8 | u32::from(*byte));
        let all = all << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = LETTERS[(all >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}

pub(super) fn hex(bytes: &[u8]) -> Value {
    json!(
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    )
}
