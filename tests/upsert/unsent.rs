//! Values that the source did not send, because they had not changed.

use tests::need;
use tests::python::Readers;

use super::{Format, Pipeline};

const DOCS: &str =
    "  columns: \"id BIGINT PRIMARY KEY, title TEXT, body TEXT, n INT, lang TEXT\"\n";

fn docs(format: Format, sql: &str, sink: &str) -> Pipeline {
    Pipeline::into_format(
        format,
        "docs.jsonl",
        "cdc.postgres.public.docs",
        DOCS,
        sql,
        sink,
    )
}

/// Lengths of batches, each into a Delta table; the first and the last also into an Iceberg table, the first into one whose
/// files are copied.
fn runs(batches: &[usize]) -> Vec<(Format, usize)> {
    let of = |format: Format, batches: &[usize]| -> Vec<(Format, usize)> {
        batches.iter().map(|batch| (format, *batch)).collect()
    };
    let (first, last) = (&batches[..1], &batches[batches.len() - 1..]);
    [
        of(Format::Delta, batches),
        of(Format::Iceberg, first),
        of(Format::Iceberg, last),
        of(Format::CopiedIceberg, first),
    ]
    .concat()
}

#[test]
fn a_changed_key_takes_its_text_along_from_the_target() {
    let readers = need!(Readers::ready());
    for (format, batch) in runs(&[1, 2, 3, 1_000]) {
        let pipeline = docs(
            format,
            "SELECT body AS text, id AS doc, char_length(body) AS length FROM t",
            "",
        );
        pipeline.run(batch).expect_code(0);
        let rows = pipeline.rows(&readers, "doc");
        let keys: Vec<&str> = rows.keys().map(String::as_str).collect();
        assert_eq!(keys, ["20", "3", "4"], "batches of {batch}, {format:?}");
        let text = rows["20"]["text"].as_str().expect("a text");
        assert!(text.starts_with("c9f0f895fb98"), "it is that of row 2");
        assert_eq!(rows["20"]["length"], 12_800);
    }
}

/// The text itself is not in the target, but what is computed of it alone is kept.
#[test]
fn a_column_computed_of_unsent_values_alone_is_kept() {
    let readers = need!(Readers::ready());
    for (format, batch) in runs(&[1, 3, 1_000]) {
        let pipeline = docs(
            format,
            "SELECT id, char_length(body) AS length, _op AS op FROM t",
            "",
        );
        pipeline.run(batch).expect_code(0);
        let rows = pipeline.rows(&readers, "id");
        assert_eq!(
            rows["20"]["length"], 12_800,
            "batches of {batch}, {format:?}"
        );
        assert_eq!(rows["3"]["length"], 5);
    }
}

#[test]
fn a_column_that_mixes_sent_and_unsent_values_follows_the_policy() {
    let readers = need!(Readers::ready());
    for format in Format::ALL {
        mixes(&readers, format);
    }
}

fn mixes(readers: &Readers, format: Format) {
    let sql = "SELECT id, concat(title, ': ', left(body, 4)) AS both FROM t";
    docs(format, sql, "").run(1).expect_code(4).expect_words(&[
        "`body`",
        "docs/0@2",
        "next:",
        "sink.unavailable",
    ]);
    // In one batch the text is there.
    let whole = docs(format, sql, "");
    whole.run(1_000).expect_code(0);
    assert_eq!(whole.rows(readers, "id")["20"]["both"], "second: c9f0");

    let null = docs(format, sql, "  unavailable: \"null\"\n");
    null.run(1).expect_code(0);
    let rows = null.rows(readers, "id");
    assert_eq!(rows["20"]["both"], "second: ");

    let aside = docs(format, sql, "  unavailable: quarantine\n");
    aside.run(1).expect_code(0);
    let rows = aside.rows(readers, "id");
    let keys: Vec<&str> = rows.keys().map(String::as_str).collect();
    assert_eq!(keys, ["3", "4"], "the moved row was set aside");
}

#[test]
fn an_unsent_value_that_decides_whether_a_row_is_there_is_fetched_first() {
    let readers = need!(Readers::ready());
    for (format, batch) in runs(&[1, 3, 1_000]) {
        let pipeline = docs(
            format,
            "SELECT id, body FROM t WHERE char_length(body) > 100",
            "",
        );
        pipeline.run(batch).expect_code(0);
        let rows = pipeline.rows(&readers, "id");
        let keys: Vec<&str> = rows.keys().map(String::as_str).collect();
        assert_eq!(keys, ["20"], "batches of {batch}, {format:?}");
    }
}
