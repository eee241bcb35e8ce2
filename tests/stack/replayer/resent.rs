//! Events that a killed connector sent again, where applying them again exchanges rows: kept from a real run, and made anew.

use std::time::Duration;

use serde_json::{Value, json};
use tests::capture::{self, Record};
use tests::connect::{self, OFTEN, RARELY, Worker};
use tests::judge::{self, Case, Complaint, Figures, Replay, Resends, Subject};
use tests::kafka::Broker;
use tests::need;
use tests::postgres::Server;
use tests::python::Readers;

use super::engine::written;
use super::{columns, fixture};

const TOPIC: &str = "again.public.docs";
const SEEN: Duration = Duration::from_secs(120);

/// The file that [`rows_change_places_and_their_events_come_again`] writes its records to, to be `fixtures/swap.jsonl`.
const KEEP: &str = "ENGINE_KEEP_SWAP";

/// `body` is stored out of line, so that an update of another column does not send it.
const TABLE: &str = "
CREATE TABLE docs (id int PRIMARY KEY, body text NOT NULL, n int NOT NULL);
ALTER TABLE docs ALTER COLUMN body SET STORAGE EXTERNAL;
INSERT INTO docs SELECT id, repeat(chr(64 + id), 2500), 0 FROM generate_series(1, 3) id;
";

/// 1 and 2 change places, 3 becomes 30 and then 31. 13 events and 5 tombstones.
const SWAP: &str = "
UPDATE docs SET n = n + 1;
BEGIN;
UPDATE docs SET id = 11 WHERE id = 1;
UPDATE docs SET id = 1 WHERE id = 2;
UPDATE docs SET id = 2 WHERE id = 11;
COMMIT;
UPDATE docs SET id = 30 WHERE id = 3;
UPDATE docs SET id = 31 WHERE id = 30;
";

fn subject() -> Subject {
    Subject {
        topic: TOPIC.to_owned(),
        columns: columns("id INT, body TEXT, n INT"),
        key: vec!["id".to_owned()],
        before_image_full: false,
    }
}

/// What `SELECT *` says afterwards.
fn truth() -> Vec<Value> {
    let row =
        |id: i32, letter: &str, n: i32| json!({"id": id, "body": letter.repeat(2500), "n": n});
    vec![
        row(1, "B", 1),
        row(2, "A", 1),
        row(31, "C", 1),
        json!({"id": 99, "body": "end".repeat(2500), "n": 0}),
    ]
}

/// 3 rows of the snapshot, 18 records twice, a row after them.
const FIGURES: Figures = Figures {
    records: 40,
    events: 30,
    rows: 30,
    tombstones: 10,
    controls: 0,
    rejects: 0,
    resends: 13,
    unavailable: 16,
    keys: 4,
};

#[test]
fn rows_change_places_and_their_events_come_again() {
    let readers = need!(Readers::ready());
    let server = need!(Server::given_or_start());
    let broker = need!(Broker::given_or_start());
    let mut worker = need!(Worker::start(&broker));
    server.execute(TABLE);
    worker.capture_postgres(&server, "again", "public.docs", &[]);
    broker.wait_for(TOPIC, 3, SEEN);
    worker.stop();
    worker.restart(RARELY);
    worker.wait_running(&connect::connector("again"));
    server.execute(SWAP);
    broker.wait_for(TOPIC, 3 + 18, SEEN);
    worker.kill9();
    worker.restart(OFTEN);
    worker.wait_running(&connect::connector("again"));
    broker.wait_for(TOPIC, 3 + 18 + 18, SEEN);
    server.execute("INSERT INTO docs VALUES (99, repeat('end', 2500), 0)");
    let records = broker.wait_for(TOPIC, 40, SEEN);
    if let Some(file) = std::env::var_os(KEEP) {
        capture::write(file.as_ref(), TOPIC, &records);
    }
    assert_eq!(server.rows("SELECT * FROM docs ORDER BY id"), truth());
    let replay = Replay::of(&readers, &subject(), &records, Resends::Keep);
    let figures = judge::judge_replay(&subject(), &replay, &truth());
    assert_eq!(figures.expect("the replayer is right"), FIGURES);
}

/// The kept records.
fn kept() -> Vec<Record> {
    let (subject, records) = fixture("swap.jsonl", &["id"]);
    assert_eq!(subject.topic, TOPIC);
    records
}

/// What is said of a replay that is wrong on purpose.
fn mistaken(
    readers: &Readers,
    records: &[Record],
    mistake: &str,
) -> (Vec<(i64, String)>, Box<Complaint>) {
    let replay = Replay::wrong(readers, &subject(), records, mistake);
    let first = |row: &Value| {
        row["body"]
            .as_str()
            .and_then(|body| body.get(..1))
            .unwrap_or("?")
            .to_owned()
    };
    let mut ends: Vec<_> = replay
        .last
        .iter()
        .map(|last| (last.row["id"].as_i64().expect("a key"), first(&last.row)))
        .collect();
    ends.sort();
    let complaint = judge::judge_replay(&subject(), &replay, &truth());
    (ends, complaint.expect_err(mistake))
}

fn ends(rows: &[(i64, &str)]) -> Vec<(i64, String)> {
    rows.iter()
        .map(|(id, body)| (*id, (*body).to_owned()))
        .collect()
}

#[test]
fn applying_events_again_exchanges_rows() {
    let readers = need!(Readers::ready());
    let records = kept();
    let replay = Replay::of(&readers, &subject(), &records, Resends::Keep);
    let figures = judge::judge_replay(&subject(), &replay, &truth());
    assert_eq!(figures.expect("the truth is true"), FIGURES);

    let dropping = Replay::of(&readers, &subject(), &records, Resends::Drop);
    assert_eq!(replay.dropping(), dropping);

    let (rows, complaint) = mistaken(&readers, &records, "resends");
    assert_eq!(rows, ends(&[(1, "A"), (2, "B"), (31, "?"), (99, "e")]));
    assert_eq!(complaint.count("others in the source"), 3);
    let said = complaint.to_string();
    for words in [
        "of key {\"id\":1}, first sent as 0@",
        "body: \"AAAA",
        "instead of \"BBBB",
        "body: never sent",
    ] {
        assert!(said.contains(words), "{words}\nis not in\n{said}");
    }
}

#[test]
fn a_key_change_without_its_old_row_loses_what_was_not_sent() {
    let readers = need!(Readers::ready());
    let (rows, complaint) = mistaken(&readers, &kept(), "carry");
    assert_eq!(rows, ends(&[(1, "?"), (2, "?"), (31, "?"), (99, "e")]));
    assert_eq!(complaint.count("others in the source"), 3);
}

#[test]
fn an_lsn_is_no_order() {
    let readers = need!(Readers::ready());
    // The insert half of a key change has the lsn of its delete.
    let (rows, complaint) = mistaken(&readers, &kept(), "lsn");
    assert_eq!(rows, ends(&[(99, "e")]));
    assert_eq!(
        complaint.count("the source that the replayed topic does not have"),
        3
    );
}

#[test]
fn a_tombstone_may_be_all_that_is_left_of_a_delete() {
    let readers = need!(Readers::ready());
    // Before the kill, and as the unwrap transformation leaves deletes: only their tombstones.
    let mut records: Vec<Record> = kept().into_iter().take(21).collect();
    records.retain(|record| record.event()["op"] != "d");
    let truth = &truth()[..3];
    let replay = Replay::of(&readers, &subject(), &records, Resends::Keep);
    judge::judge_replay(&subject(), &replay, truth).expect("a tombstone deletes");
    let replay = Replay::wrong(&readers, &subject(), &records, "tombstones");
    let complaint = judge::judge_replay(&subject(), &replay, truth).expect_err("rows stay");
    assert_eq!(
        complaint.count("the replayed topic that the source does not have"),
        3
    );
}

#[test]
fn what_the_engine_writes_folds_to_the_truth() {
    let readers = need!(Readers::ready());
    let records = kept();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (rows, rejects) = written(&readers, folder.path(), &subject(), &records, true);
    let truth = truth();
    let mut case = Case {
        subject: &subject(),
        records: &records,
        resends: Resends::Keep,
        rows: &rows,
        rejects: &rejects,
        truth: Some(&truth),
    };
    assert_eq!(judge::assert_true(&readers, &case), FIGURES);

    // A pipeline that was to drop what was sent again, and did not.
    case.resends = Resends::Drop;
    let complaint = judge::judge(&readers, &case).expect_err("13 events are doubled");
    assert_eq!(
        complaint.count("events sent again that were not dropped"),
        13
    );
    let again = |row: &Value| (21..39).contains(&row["_offset"].as_i64().unwrap_or(0));
    let dropped: Vec<Value> = rows.iter().filter(|row| !again(row)).cloned().collect();
    case.rows = &dropped;
    let figures = judge::assert_true(&readers, &case);
    assert_eq!((figures.rows, figures.resends), (17, 13));
}
