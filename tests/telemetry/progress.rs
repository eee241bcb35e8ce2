//! The progress line and the summary, to the letter.

use std::time::Duration;

use engine::sink::Receipt;
use engine::telemetry::{BatchReport, PipelineNames, Progress, Totals};

use super::{Captured, full_report, names};

const SECOND: Duration = Duration::from_secs(1);

/// `rows` rows in version `version`, with nothing else to tell.
fn plain(pipeline: &str, rows: u64, version: i64, lag: Option<u64>) -> BatchReport {
    BatchReport {
        names: PipelineNames {
            pipeline: pipeline.to_owned(),
            ..names()
        },
        output_rows: rows,
        records: rows,
        lag_records: lag,
        receipt: Some(Receipt {
            version,
            ..Receipt::default()
        }),
        ..BatchReport::default()
    }
}

#[test]
fn the_line_tells_everything_where_there_is_room() {
    let out = Captured::default();
    let mut progress = Progress::new(out.clone(), 120);
    progress.batch(&full_report(), SECOND * 2).unwrap();
    assert_eq!(
        out.take(),
        "\rcustomers  600 rows/s  1,201 rows  version 7  2,500 records behind  3 rejects"
    );
}

#[test]
fn the_line_is_written_over_and_what_it_left_is_blanked() {
    let out = Captured::default();
    let mut progress = Progress::new(out.clone(), 120);
    progress
        .batch(&plain("c", 1_000, 7, Some(1)), SECOND)
        .unwrap();
    assert_eq!(
        out.take(),
        "\rc  1,000 rows/s  1,000 rows  version 7  1 record behind"
    );
    progress
        .batch(&plain("c", 1, 8, Some(0)), SECOND * 2)
        .unwrap();
    assert_eq!(
        out.take(),
        "\rc  500 rows/s  1,001 rows  version 8  caught up        "
    );
    progress.message("a warning").unwrap();
    assert_eq!(out.take(), format!("\r{:47}\ra warning\n", ""));
    progress.message("another").unwrap();
    assert_eq!(out.take(), "another\n");
}

#[test]
fn the_rate_is_that_of_the_last_ten_seconds() {
    let out = Captured::default();
    let mut progress = Progress::new(out.clone(), 120);
    progress
        .batch(&plain("c", 1_000_000, 1, None), SECOND)
        .unwrap();
    out.take();
    progress
        .batch(&plain("c", 50, 2, None), SECOND * 100)
        .unwrap();
    assert!(
        out.take()
            .starts_with("\rc  5 rows/s  1,000,050 rows  version 2")
    );
}

#[test]
fn a_narrow_terminal_gets_what_matters_most() {
    for (width, expected) in [
        (
            80,
            "customers  600 rows/s  1,201 rows  version 7  2,500 records behind  3 rejects",
        ),
        (
            78,
            "customers  600 rows/s  1,201 rows  version 7  2,500 records behind  3 rejects",
        ),
        (
            77,
            "customers  600 rows/s  1,201 rows  2,500 records behind  3 rejects",
        ),
        (60, "customers  600 rows/s  1,201 rows  3 rejects"),
        (40, "customers  1,201 rows  3 rejects"),
        (25, "customers  3 rejects"),
        (12, "customers"),
        (6, "custo"),
        (0, ""),
    ] {
        let out = Captured::default();
        let mut progress = Progress::new(out.clone(), width);
        progress.batch(&full_report(), SECOND * 2).unwrap();
        assert_eq!(out.text().trim_start_matches('\r'), expected, "{width}");
    }
}

#[test]
fn several_pipelines_share_the_line() {
    let out = Captured::default();
    let mut progress = Progress::new(out.clone(), 120);
    progress
        .batch(&plain("a", 100, 1, Some(2)), SECOND)
        .unwrap();
    out.take();
    progress
        .batch(&plain("b", 200, 9, Some(3)), SECOND)
        .unwrap();
    assert!(
        out.take()
            .starts_with("\r2 pipelines  300 rows/s  300 rows  5 records behind")
    );
    progress.batch(&plain("b", 0, 10, None), SECOND).unwrap();
    assert!(
        !out.take().contains("behind"),
        "a lag that is not known is not told"
    );
}

#[test]
fn the_summary_takes_the_line_s_place() {
    let out = Captured::default();
    let mut progress = Progress::new(out.clone(), 40);
    progress.batch(&full_report(), SECOND).unwrap();
    out.take();
    progress
        .finish("customers", "delta table /data/customers", SECOND * 2)
        .unwrap();
    let expected = "\
customers: delta table /data/customers, version 7
  rows      1,201 rows written out of 1,241 records in 2.0 s (600 rows/s)
  read      1,000 snapshot rows, 150 inserts, 40 updates, 13 deletes
  skipped   12 tombstones, 23 control records
  rejects   2 malformed, 1 out_of_range, 5 rows written to quarantine
  rules     4 rows against has_email
  commits   1 commit, 2 data files, 1.5 MiB, 1 conflict
";
    assert_eq!(out.take(), format!("\r{:32}\r{expected}", ""));
}

#[test]
fn a_run_without_anything_to_do_says_so() {
    let out = Captured::default();
    let mut progress = Progress::new(out.clone(), 80);
    progress
        .finish("customers", "/data/customers", Duration::from_millis(340))
        .unwrap();
    assert_eq!(
        out.take(),
        "customers: /data/customers, nothing committed\n  \
         rows      no rows written out of no records in 0.3 s (0 rows/s)\n  rejects   none\n"
    );
}

#[test]
fn totals_are_sums_and_the_latest_state() {
    let mut totals = Totals::default();
    totals.add(&full_report());
    totals.add(&BatchReport {
        receipt: None,
        lag_records: None,
        ..full_report()
    });
    assert_eq!(totals.records, 2_482);
    assert_eq!(totals.rows.total(), 2_406);
    assert_eq!(totals.rejected(), 6);
    assert_eq!(totals.rules["has_email"], 8);
    assert_eq!(
        (totals.quarantined, totals.tombstones, totals.control),
        (10, 24, 46)
    );
    assert_eq!((totals.commits, totals.files, totals.conflicts), (1, 2, 1));
    assert_eq!((totals.version, totals.lag_records), (Some(7), None));
}

#[test]
fn sizes_read_well() {
    for (bytes, expected) in [
        (1, "1 commit, 1 B"),
        (1_023, "1 commit, 1023 B"),
        (1_024, "1 commit, 1.0 KiB"),
        (5 << 30, "1 commit, 5.0 GiB"),
        (3 << 50, "1 commit, 3072.0 TiB"),
    ] {
        let totals = Totals {
            commits: 1,
            bytes,
            ..Totals::default()
        };
        let summary = totals.summary("c", "t", SECOND);
        assert!(
            summary.ends_with(&format!("  commits   {expected}\n")),
            "{summary}"
        );
    }
}
