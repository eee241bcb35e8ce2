//! Metrics, health, logs, progress, and the policy of errors.

mod http;
mod logs;
mod metrics;
mod names;
mod policy;
mod progress;
mod report;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::sink::Receipt;
use engine::telemetry::{BatchReport, OpCounts, PipelineNames, SourceTimes, StageTimes};
use sql::change::Op;

fn names() -> PipelineNames {
    PipelineNames {
        pipeline: "customers".to_owned(),
        source: "changes".to_owned(),
        sink: "delta".to_owned(),
    }
}

/// A batch with something of everything, committed 5 s after its oldest and 2 s after its newest row.
fn full_report() -> BatchReport {
    let mut rows = OpCounts::default();
    rows.add(Op::Read, 1_000);
    rows.add(Op::Create, 150);
    rows.add(Op::Update, 40);
    rows.add(Op::Delete, 13);
    BatchReport {
        names: names(),
        span: "postgres.public.customers/0@5..1246".to_owned(),
        records: 1_241,
        bytes: 500_000,
        rows,
        source_version: Some(41),
        output_rows: 1_201,
        rejects: BTreeMap::from([("malformed", 2), ("out_of_range", 1)]),
        rules: BTreeMap::from([("has_email".to_owned(), 4)]),
        quarantined: 5,
        tombstones: 12,
        control: 23,
        resends: 0,
        jumps: Vec::new(),
        again: 0,
        receipt: Some(Receipt {
            version: 7,
            rows: 1_201,
            files: 2,
            bytes: 1_572_864,
            conflicts: 1,
            already_landed: false,
        }),
        committed_micros: 1_704_067_205_000_000,
        stages: StageTimes {
            fetch: Duration::from_millis(200),
            decode: Duration::from_millis(30),
            transform: Duration::from_millis(7),
            write: Duration::from_millis(50),
            commit: Duration::from_millis(11),
        },
        source_times: Some(SourceTimes {
            oldest_micros: 1_704_067_200_000_000,
            newest_micros: 1_704_067_203_000_000,
        }),
        lag_records: Some(2_500),
    }
}

/// What was written, kept for a look at it.
#[derive(Debug, Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// What was written since the last look.
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
