//! The judge is told lies and finds them.

use serde_json::{Value, json};
use tests::capture::Record;
use tests::judge::{self, Case, Complaint, Fate, Replay, Resends, Subject};
use tests::need;
use tests::python::Readers;

use super::{DOCS, columns, fixture};

/// A true table and its quarantine, which tests then spoil.
struct Bench {
    readers: Readers,
    subject: Subject,
    records: Vec<Record>,
    rows: Vec<Value>,
    rejects: Vec<Value>,
    truth: Vec<Value>,
}

impl Bench {
    fn new(readers: Readers) -> Self {
        let (subject, mut records) = fixture("docs.jsonl", &["id"]);
        let subject = Subject {
            columns: columns(DOCS),
            ..subject
        };
        // The last event once more, with a number that does not fit.
        let mut odd = records.last().expect("records").clone();
        odd.offset += 1;
        odd.payload = odd
            .payload
            .map(|text| text.replace("\"after\":{\"id\":4", "\"after\":{\"id\":4.5"));
        records.push(odd);
        let replay = Replay::of(&readers, &subject, &records, Resends::Keep);
        let rows = replay
            .log
            .values()
            .filter_map(|line| line.row.clone())
            .collect();
        let rejects = replay.log.values().filter(|line| line.fate == Fate::Reject);
        let rejects = rejects
            .map(|line| json!({"partition": line.place.0, "offset": line.place.1, "column": line.column}))
            .collect();
        let truth = replay.last.iter().map(|last| last.row.clone()).collect();
        Self {
            readers,
            subject,
            records,
            rows,
            rejects,
            truth,
        }
    }

    fn judge(&self) -> Result<judge::Figures, Box<Complaint>> {
        judge::judge(
            &self.readers,
            &Case {
                subject: &self.subject,
                records: &self.records,
                resends: Resends::Keep,
                rows: &self.rows,
                rejects: &self.rejects,
                truth: Some(&self.truth),
            },
        )
    }

    /// What the judge says of a spoilt bench.
    fn complaint(&self, spoil: impl FnOnce(&mut Self)) -> String {
        let mut spoilt = Self {
            readers: self.readers.clone(),
            subject: self.subject.clone(),
            records: self.records.clone(),
            rows: self.rows.clone(),
            rejects: self.rejects.clone(),
            truth: self.truth.clone(),
        };
        spoil(&mut spoilt);
        match spoilt.judge() {
            Ok(figures) => panic!("nothing was found: {figures:?}"),
            Err(complaint) => complaint.to_string(),
        }
    }
}

#[test]
fn each_lie_is_found_and_told_where_it_is() {
    let bench = Bench::new(need!(Readers::ready()));
    let figures = bench.judge().expect("the truth is true");
    assert_eq!(
        (
            figures.rows,
            figures.tombstones,
            figures.rejects,
            figures.unavailable
        ),
        (9, 2, 1, 2)
    );
    let says = |complaint: String, words: &[&str]| {
        for word in words {
            assert!(complaint.contains(word), "{word}\nis not in\n{complaint}");
        }
    };
    says(
        bench.complaint(|b| b.rows[1]["title"] = json!("sec0nd")),
        &[
            "cdc.postgres.public.docs (12 records):",
            "1 rows that differ from what was sent:\n  0@1: `c` of key {\"id\":2}\n    title: \"sec0nd\" instead of \"second\"",
        ],
    );
    says(
        bench.complaint(|b| drop(b.rows.remove(3))),
        &[
            "1 events without a row in the table:\n  0@3: `d` of key {\"id\":2}",
            "rows of our table, folded, that the source does not have",
        ],
    );
    says(
        bench.complaint(|b| b.rows.push(b.rows[0].clone())),
        &["1 records that are in the table more than once:\n  0@0: `c` of key {\"id\":1}"],
    );
    says(
        bench.complaint(|b| {
            let mut row = b.rows[0].clone();
            row["_offset"] = json!(4);
            b.rows.push(row);
        }),
        &["1 rows of records that make no row:\n  0@4: tombstone of key {\"id\":2}"],
    );
    says(
        bench.complaint(|b| {
            let mut row = b.rows[0].clone();
            row["_offset"] = json!(400);
            b.rows.push(row);
        }),
        &["1 rows of records that the topic does not have:\n    0@400"],
    );
    says(
        bench.complaint(|b| b.rows[4]["_unavailable_columns"] = Value::Null),
        &["_unavailable_columns: null instead of [\"body\"]"],
    );
}

#[test]
fn lies_about_the_quarantine_and_the_source_are_found() {
    let bench = Bench::new(need!(Readers::ready()));
    let says = |complaint: String, words: &[&str]| {
        for word in words {
            assert!(complaint.contains(word), "{word}\nis not in\n{complaint}");
        }
    };
    says(
        bench.complaint(|b| b.rejects.clear()),
        &["1 records that cannot be decoded and are not in the quarantine:\n  0@11:"],
    );
    says(
        bench.complaint(|b| b.rejects[0]["column"] = json!("title")),
        &[
            "1 rejects that blame another column:",
            "expected Some(\"id\")",
        ],
    );
    says(
        bench.complaint(|b| {
            b.rejects
                .push(json!({"partition": 0, "offset": 2, "reason": "malformed"}))
        }),
        &["1 quarantined records that can be decoded:\n  0@2: `u` of key {\"id\":1}"],
    );
    says(
        bench.complaint(|b| b.truth[0]["body"] = json!("other")),
        &[
            "1 rows of the replayed topic that are others in the source:\n  0@5: `c` of key {\"id\":20}\n    body: ",
            "1 rows of our table, folded, that are others in the source:",
            "instead of \"other\"",
        ],
    );
    says(
        bench.complaint(|b| drop(b.truth.remove(1))),
        &[
            "1 rows of the replayed topic that the source does not have:\n  0@9: `u` of key {\"id\":3}",
        ],
    );
    says(
        bench.complaint(|b| {
            let mut row = b.truth[0].clone();
            row["id"] = json!(2);
            b.truth.push(row);
        }),
        &[
            "1 rows of the source that the replayed topic does not have:\n  0@4: tombstone of key {\"id\":2}",
        ],
    );
}
