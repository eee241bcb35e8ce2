//! What a report takes from a batch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use engine::telemetry::{BatchReport, SourceTimes};
use sql::change::{
    BatchCounts, ChangeBatch, Op, Partition, Position, RawRecord, Reject, RejectReason, RowMeta,
    Span,
};

use super::{full_report, names};

fn reject(offset: i64, reason: RejectReason) -> Reject {
    Reject {
        record: RawRecord {
            partition: Partition::new("t", 0),
            offset,
            timestamp_ms: None,
            key: None,
            value: None,
            headers: Vec::new(),
        },
        reason,
        column: None,
        detail: "bad".to_owned(),
    }
}

fn batch() -> ChangeBatch {
    let ids = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let rows = RecordBatch::try_from_iter([("id", ids as _)]).unwrap();
    let meta = RowMeta {
        ops: vec![Op::Create, Op::Delete, Op::Create],
        partition: vec![0; 3],
        offsets: vec![5, 6, 7],
        partitions: vec![Partition::new("t", 0)],
        commit_micros: vec![30, i64::MIN, 20],
        ..RowMeta::default()
    };
    let rejects = vec![
        reject(8, RejectReason::Malformed),
        reject(9, RejectReason::OutOfRange),
        reject(10, RejectReason::Malformed),
    ];
    let after: Position = [(Partition::new("t", 0), 5)].into_iter().collect();
    let to = [(Partition::new("t", 0), 14), (Partition::new("t", 1), 3)];
    let span = Span::try_new(&after, &to.into_iter().collect()).unwrap();
    let counts = BatchCounts {
        records: 12,
        bytes: 900,
        tombstones: 1,
        control: 2,
        resends: 3,
    };
    ChangeBatch::try_new(rows, meta, rejects, span, counts).unwrap()
}

#[test]
fn a_batch_s_numbers_are_in_its_report() {
    let report = BatchReport::read(&names(), &batch());
    let mut expected = BatchReport {
        names: names(),
        span: "t/0@5..14, t/1@..3".to_owned(),
        records: 12,
        bytes: 900,
        rejects: BTreeMap::from([("malformed", 2), ("out_of_range", 1)]),
        tombstones: 1,
        control: 2,
        resends: 3,
        source_times: Some(SourceTimes {
            oldest_micros: 20,
            newest_micros: 30,
        }),
        ..BatchReport::default()
    };
    expected.rows.add(Op::Create, 2);
    expected.rows.add(Op::Delete, 1);
    assert_eq!(report, expected);
    assert_eq!((report.rows.total(), report.rejected()), (3, 3));
}

#[test]
fn freshness_is_the_oldest_row_s_age_and_lag_the_newest_s() {
    let report = full_report();
    assert_eq!(report.freshness(), Some(Duration::from_secs(5)));
    assert_eq!(report.lag(), Some(Duration::from_secs(2)));
}

#[test]
fn a_source_clock_that_is_ahead_gives_no_negative_age() {
    let report = BatchReport {
        committed_micros: 0,
        ..full_report()
    };
    assert_eq!(report.freshness(), Some(Duration::ZERO));
    assert_eq!(report.lag(), Some(Duration::ZERO));
}

#[test]
fn unknown_times_are_unknown() {
    assert_eq!(SourceTimes::of(&[]), None);
    assert_eq!(SourceTimes::of(&[i64::MIN, i64::MIN]), None);
    let report = BatchReport {
        source_times: None,
        ..full_report()
    };
    assert_eq!((report.freshness(), report.lag()), (None, None));
}
