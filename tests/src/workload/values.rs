//! Random values as SQL literals: ordinary ones, and those at which something usually breaks.
//!
//! Statements are plain ASCII, whatever the value, so that no client's encoding has a say.

use std::fmt::Write as _;

use super::random::Random;
use super::tables::{Column, Dialect, Values};

/// Of 100 values of a column that may be null, so many are.
const NULLS: usize = 12;
/// Of 100 large texts, so many are beyond what Postgres keeps in the row.
const LARGE: usize = 65;

const PIECES: &[&str] = &[
    "a",
    "Ünal",
    "José ",
    "東京",
    "😀",
    "e\u{301}",
    "\u{202e}عربى\u{202c}",
    "👩‍👩‍👧",
    "𝒳",
    "'",
    "''",
    "\"",
    "\\",
    "\\n",
    "\n",
    "\r\n",
    "\t",
    "\u{1}",
    "\u{1f}",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "\u{ffff}",
    // `psql` does not print the noncharacters U+nFFFE and U+nFFFF above the first plane.
    "\u{10fffd}",
    "null",
    "NULL",
    "\\N",
    ";--",
    "/*",
    "${HOME}",
    "%s",
    "{}",
    " ",
    "  ",
    "__debezium_unavailable_valu",
    "\\u0041",
    "=1+1",
    ",",
];

const DAYS: &[&str] = &[
    "1583-01-01",
    "1899-12-31",
    "1900-02-28",
    "1969-12-31",
    "1970-01-01",
    "2000-02-29",
    "2038-01-19",
    "2262-04-12",
    "9999-12-31",
];
const ANCIENT_DAYS: &[&str] = &[
    "0001-01-01",
    "0099-03-01",
    "1000-01-01",
    "1582-10-04",
    "1582-10-15",
];
const CLOCKS: &[&str] = &[
    "00:00:00.000000",
    "23:59:59.999999",
    "12:00:00.000001",
    "10:07:32.270388",
    "00:00:00.500000",
];
const DOCUMENTS: &[&str] = &[
    "null",
    "{}",
    "[]",
    "\"text\"",
    "true",
    "-0.50",
    "12345678901234567890.123456789",
    "{\"a\": [1, 2.50, null, true], \"b\": {\"c\": \"\"}}",
    "{\"ünï\": \"😀 \\\" \\\\ \\n\", \"z\": 1,  \"a\":  2}",
];
const DOUBLES: &[f64] = &[
    0.0,
    -0.0,
    0.1,
    -1.5,
    1.0,
    1e15,
    1e16,
    0.300_000_000_000_000_04,
    1.234_567_890_123_456_8e20,
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    5e-324,
    1e-5,
];

/// What values may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) dialect: Dialect,
    /// Days before the Gregorian calendar, too.
    pub(super) ancient: bool,
}

/// A value for the column: a literal, or an expression where that is shorter.
pub(super) fn literal(column: &Column, range: Range, random: &mut Random) -> String {
    let nullable = !column.sql_type.contains("NOT NULL");
    if nullable && random.chance(NULLS) {
        return "NULL".to_owned();
    }
    let dialect = range.dialect;
    match column.values {
        Values::Int(low, high) => int(low, high, random).to_string(),
        Values::Decimal(precision, scale) => decimal(precision, scale, random),
        Values::Float64 => number(dialect, &format!("{:e}", double(random))),
        Values::Float32 => number(dialect, &format!("{:e}", float(random))),
        Values::Bool => random.chance(50).to_string(),
        Values::Text(most) => text(dialect, &words(most, random)),
        Values::Large => large(dialect, random),
        Values::Json => json(dialect, random),
        Values::Bytes(most) => bytes(dialect, most, random),
        Values::Date => format!("'{}'", day(range, random)),
        Values::Timestamp(digits) => {
            format!("'{} {}'", day(range, random), clock(digits, random))
        }
        Values::Instant(digits) => instant(range, digits, random),
        Values::Uuid => uuid(random),
        Values::Literals(literals) => (*random.one(literals)).to_owned(),
    }
}

/// A text as a literal.
pub(super) fn text(dialect: Dialect, text: &str) -> String {
    let plain = |c: char| c == ' ' || c.is_ascii_graphic() && c != '\'' && c != '\\';
    if text.chars().all(plain) {
        return format!("'{text}'");
    }
    let mut written = String::new();
    match dialect {
        Dialect::Postgres => {
            written.push_str("E'");
            for c in text.chars() {
                match c {
                    '\'' | '\\' => written.extend(['\\', c]),
                    c if plain(c) => written.push(c),
                    c => write!(written, "\\U{:08X}", u32::from(c)).expect("a string takes all"),
                }
            }
            written.push('\'');
        }
        Dialect::MariaDb => {
            written.push_str("_utf8mb4 x'");
            written.push_str(&hex(text.as_bytes()));
            written.push('\'');
        }
    }
    written
}

fn int(low: i128, high: i128, random: &mut Random) -> i128 {
    match random.below(10) {
        0 => low,
        1 => high,
        2 => 0_i128.clamp(low, high),
        3 => random.between(low, high),
        _ => random.between(low.max(-1000), high.min(1_000_000)),
    }
}

fn decimal(precision: u32, scale: u32, random: &mut Random) -> String {
    let most = 10_i128.pow(precision) - 1;
    let digits = match random.below(8) {
        0 => most,
        1 => -most,
        2 => 0,
        3 => -1,
        4 => random.between(-most, most),
        _ => random.between(-999_999_999, 999_999_999).clamp(-most, most),
    };
    let sign = if digits < 0 { "-" } else { "" };
    let scale = usize::try_from(scale).expect("a small number");
    let text = format!("{:0width$}", digits.unsigned_abs(), width = scale + 1);
    let (whole, part) = text.split_at(text.len() - scale);
    if part.is_empty() {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{part}")
    }
}

fn double(random: &mut Random) -> f64 {
    if random.chance(60) {
        return *random.one(DOUBLES);
    }
    loop {
        let value = f64::from_bits(random.bits());
        // Writers differ in where they begin with exponents; of a text with more digits than a double has, a fast
        // JSON reader may make the next double.
        if value.is_finite() && !(1e15..1e16).contains(&value.abs()) {
            return value;
        }
    }
}

fn float(random: &mut Random) -> f32 {
    const FLOATS: &[f32] = &[
        0.0,
        -0.0,
        0.1,
        -1.5,
        16_777_217.0,
        f32::MAX,
        f32::MIN,
        1e-45,
    ];
    if random.chance(60) {
        return *random.one(FLOATS);
    }
    loop {
        let low = u32::try_from(random.bits() >> 32).expect("32 bits");
        let value = f32::from_bits(low);
        if value.is_finite() && !(1e15..1e16).contains(&value.abs()) {
            return value;
        }
    }
}

/// Quoted, Postgres reads it as the column's type; without quotes it would be a numeric, which has no -0.
fn number(dialect: Dialect, text: &str) -> String {
    match dialect {
        Dialect::Postgres => format!("'{text}'"),
        Dialect::MariaDb => text.to_owned(),
    }
}

fn words(most: usize, random: &mut Random) -> String {
    let pieces = random.below(7);
    let mut words = String::new();
    for _ in 0..pieces {
        let piece = random.one(PIECES);
        if words.chars().count() + piece.chars().count() <= most {
            words.push_str(piece);
        }
    }
    words
}

fn large(dialect: Dialect, random: &mut Random) -> String {
    if !random.chance(LARGE) {
        return text(dialect, &words(60, random));
    }
    let unit = format!("{:016x}{}", random.bits(), words(20, random));
    let times = 3000 / unit.chars().count() + random.below(500);
    format!("repeat({}, {times})", text(dialect, &unit))
}

fn json(dialect: Dialect, random: &mut Random) -> String {
    if random.chance(70) {
        let document = *random.one(DOCUMENTS);
        return text(dialect, document);
    }
    let (unit, times) = (format!("{:x}", random.bits()), 200 + random.below(200));
    match dialect {
        Dialect::Postgres => {
            format!("('{{\"k\": \"' || repeat('{unit}', {times}) || '\"}}')::jsonb")
        }
        Dialect::MariaDb => format!("concat('{{\"k\": \"', repeat('{unit}', {times}), '\"}}')"),
    }
}

fn bytes(dialect: Dialect, most: usize, random: &mut Random) -> String {
    let length = random.below(most + 1);
    let bytes: Vec<u8> = (0..length)
        .map(|_| match random.below(4) {
            0 => 0,
            1 => 0xFF,
            _ => u8::try_from(random.below(256)).expect("below 256"),
        })
        .collect();
    match dialect {
        Dialect::Postgres => format!("'\\x{}'", hex(&bytes)),
        Dialect::MariaDb => format!("x'{}'", hex(&bytes)),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes all");
    }
    text
}

fn day(range: Range, random: &mut Random) -> String {
    if range.ancient && random.chance(10) {
        return (*random.one(ANCIENT_DAYS)).to_owned();
    }
    if random.chance(40) {
        return (*random.one(DAYS)).to_owned();
    }
    let year = if random.chance(70) {
        random.between(1960, 2040)
    } else {
        random.between(1583, 9999)
    };
    let (month, day) = (random.between(1, 12), random.between(1, 28));
    format!("{year:04}-{month:02}-{day:02}")
}

/// A time of day with so many digits after the second.
fn clock(digits: usize, random: &mut Random) -> String {
    let clock = if random.chance(50) {
        (*random.one(CLOCKS)).to_owned()
    } else {
        let (hour, minute) = (random.below(24), random.below(60));
        let (second, micros) = (random.below(60), random.below(1_000_000));
        format!("{hour:02}:{minute:02}:{second:02}.{micros:06}")
    };
    let end = if digits == 0 { 8 } else { 9 + digits };
    clock[..end].to_owned()
}

fn instant(range: Range, digits: usize, random: &mut Random) -> String {
    let clock = clock(digits, random);
    match range.dialect {
        Dialect::Postgres => {
            let day = day(range, random);
            let ends = day.starts_with("9999") || day.starts_with("0001");
            let zone = if ends {
                "+00"
            } else {
                *random.one(&["+00", "+05:30", "-11", "+14"])
            };
            format!("'{day} {clock}{zone}'")
        }
        Dialect::MariaDb => {
            let day = match random.below(6) {
                0 => "1970-01-02".to_owned(),
                1 => "2038-01-18".to_owned(),
                _ => format!(
                    "{}-{:02}-{:02}",
                    random.between(1971, 2037),
                    random.between(1, 12),
                    random.between(1, 28)
                ),
            };
            format!("'{day} {clock}'")
        }
    }
}

fn uuid(random: &mut Random) -> String {
    // Version 4 of the standard's variant: MariaDB refuses others.
    let high = random.bits() & 0xFFFF_FFFF_FFFF_0FFF | 0x4000;
    let low = random.bits() & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000;
    let text = format!("{high:016x}{low:016x}");
    let parts = [
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..],
    ];
    format!("'{}'", parts.join("-"))
}
