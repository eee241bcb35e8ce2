//! What a converter does, written without a line of the decoder: base64, two's complement, calendars, JSON strings.

/// Standard base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |word, (i, byte)| {
            word | u32::from(*byte) << (16 - 8 * i)
        });
        for i in 0..4 {
            if i <= chunk.len() {
                out.push(char::from(ALPHABET[(word >> (18 - 6 * i)) as usize & 63]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// The shortest big-endian two's complement, as Java's `BigInteger.toByteArray`.
pub fn big_endian(value: i128) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let mut start = 0;
    while start < 15 {
        let (first, second) = (bytes[start], bytes[start + 1]);
        let redundant = (first == 0 && second < 0x80) || (first == 0xff && second >= 0x80);
        if !redundant {
            break;
        }
        start += 1;
    }
    bytes[start..].to_vec()
}

/// Days since 1970-01-01, counted year by year.
pub fn days(year: i64, month: i64, day: i64) -> i64 {
    let leap = |y: i64| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    let before_year: i64 = if year >= 1970 {
        (1970..year).map(|y| 365 + i64::from(leap(y))).sum()
    } else {
        -(year..1970).map(|y| 365 + i64::from(leap(y))).sum::<i64>()
    };
    let lengths = [
        31,
        28 + i64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let before_month: i64 = lengths[..usize::try_from(month - 1).unwrap()].iter().sum();
    before_year + before_month + day - 1
}

/// The calendar date of a day: the inverse of [`days`], by search.
pub fn date(day: i64) -> (i64, i64, i64) {
    // Never too late a year.
    let mut year = 1970
        + if day < 0 {
            day.div_euclid(365)
        } else {
            day / 366
        };
    while days(year + 1, 1, 1) <= day {
        year += 1;
    }
    let mut month = 12;
    while days(year, month, 1) > day {
        month -= 1;
    }
    (year, month, day - days(year, month, 1) + 1)
}

/// `YYYY-MM-DDTHH:MM:SS[.f]` of microseconds, trailing zeros dropped as Java does.
pub fn iso(micros: i64) -> String {
    let (year, month, day) = date(micros.div_euclid(86_400_000_000));
    format!(
        "{year:04}-{month:02}-{day:02}T{}",
        time(micros.rem_euclid(86_400_000_000))
    )
}

/// `HH:MM:SS[.f]`.
pub fn time(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    let mut out = format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    if micros % 1_000_000 != 0 {
        let fraction = format!("{:06}", micros % 1_000_000);
        out.push('.');
        out.push_str(fraction.trim_end_matches('0'));
    }
    out
}

/// A JSON string; `wild` escapes what need not be.
pub fn string(text: &str, wild: bool) -> String {
    let mut out = String::from("\"");
    for (i, c) in text.chars().enumerate() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || (wild && (i % 2 == 0 || c as u32 > 0xffff)) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            '/' if wild => out.push_str("\\/"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The decimal text of `unscaled` × 10^-`scale`.
pub fn decimal(unscaled: i128, scale: i32) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = unscaled.unsigned_abs().to_string();
    if scale <= 0 {
        let zeros = if unscaled == 0 { 0 } else { -scale };
        return format!(
            "{sign}{digits}{}",
            "0".repeat(usize::try_from(zeros).unwrap())
        );
    }
    let scale = usize::try_from(scale).unwrap();
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let point = padded.len() - scale;
    format!("{sign}{}.{}", &padded[..point], &padded[point..])
}
