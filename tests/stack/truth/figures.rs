//! The figures of a run, as a table that can be pasted.

use std::time::Duration;

use tests::note;
use tests::workload::Workload;

use super::job::{DIALECTS, short};
use super::schedule::Dealt;
use super::stage::Stage;
use super::verdict::Verdict;
use super::watch::{MOST_MEMORY, Watch};

/// Everything that is told.
pub(super) struct Figures<'a> {
    pub(super) minutes: u64,
    pub(super) seed: u64,
    pub(super) took: Duration,
    pub(super) stage: &'a Stage,
    pub(super) workloads: &'a [Workload],
    pub(super) dealt: &'a Dealt,
    pub(super) watch: &'a Watch,
    pub(super) verdict: &'a Verdict,
}

impl Figures<'_> {
    /// Prints them, and one line of them among the figures of all tests.
    pub(super) fn print(&self) {
        println!("\n| what | figure |\n|---|---|");
        for (what, figure) in self.rows() {
            println!("| {what} | {figure} |");
        }
        println!();
        let (events, resends) = self.events();
        note::figure(&format!(
            "truth: {} faults, {} starts of the engine, {events} events of 2 databases ({resends} sent again) in {} tables: \
             {} lost, {} doubled; {} tables kept by key, {} rows: {} differences; seed {}",
            self.dealt.values().sum::<u64>(),
            self.stage.unit.lives(|lives| lives.starts),
            self.verdict.tables,
            self.verdict.lost,
            self.verdict.doubled,
            self.verdict.upserts.tables.values().sum::<usize>(),
            self.verdict.upserts.rows,
            self.verdict.upserts.differences,
            self.seed
        ));
    }

    fn events(&self) -> (usize, usize) {
        let databases = self.verdict.databases.values();
        databases.fold((0, 0), |(events, resends), sent| {
            (
                events + sent.events.values().sum::<usize>(),
                resends + sent.resends,
            )
        })
    }

    fn rows(&self) -> Vec<(String, String)> {
        let mut rows = vec![
            ("faults for".to_owned(), format!("{} minutes", self.minutes)),
            (
                "the whole run, set-up and judge included".to_owned(),
                format!("{:.0} s", self.took.as_secs_f64()),
            ),
            ("seed".to_owned(), self.seed.to_string()),
        ];
        rows.extend(self.of_databases());
        rows.extend(
            self.dealt
                .iter()
                .map(|(fault, times)| (format!("fault: {}", fault.name()), times.to_string())),
        );
        rows.extend(self.of_engine());
        rows.extend(self.of_tables());
        rows
    }

    fn of_databases(&self) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        for (workload, dialect) in self.workloads.iter().zip(DIALECTS) {
            let name = short(dialect);
            rows.push((
                format!("{name}: what the workload did"),
                workload.counts().to_string(),
            ));
        }
        for (name, sent) in &self.verdict.databases {
            let kinds: Vec<String> = sent
                .events
                .iter()
                .map(|(op, count)| format!("{count} `{op}`"))
                .collect();
            rows.push((
                format!("{name}: events, re-sent ones included"),
                kinds.join(", "),
            ));
            rows.push((format!("{name}: tombstones"), sent.tombstones.to_string()));
            rows.push((
                format!("{name}: events sent again"),
                sent.resends.to_string(),
            ));
            rows.push((format!("{name}: rows at the end"), sent.rows.to_string()));
        }
        let by_hand = self.stage.tasks_restarted;
        rows.push((
            "connector tasks that failed for good and were started by hand".to_owned(),
            by_hand.to_string(),
        ));
        rows
    }

    fn of_engine(&self) -> Vec<(String, String)> {
        self.stage.unit.lives(|lives| {
            let mut rows = vec![("engine: starts".to_owned(), lives.starts.to_string())];
            rows.extend(
                lives
                    .ends
                    .iter()
                    .map(|(how, times)| (format!("engine: ended, {how}"), times.to_string())),
            );
            let (batches, left_out) = lives.freshness.batches();
            let seconds = |share| {
                lives
                    .freshness
                    .quantile(share)
                    .map_or("none".to_owned(), |s| format!("{s:.2} s"))
            };
            rows.push(("freshness p50, outages included".to_owned(), seconds(0.5)));
            rows.push(("freshness p99, outages included".to_owned(), seconds(0.99)));
            rows.push((
                "batches that the freshness is of".to_owned(),
                format!("{batches} ({left_out} more were committed while the clock was wrong)"),
            ));
            rows.push((
                "engine: most memory (VmHWM)".to_owned(),
                mebibytes(lives.peak_memory),
            ));
            rows.push((
                format!(
                    "services: most memory together, below {}",
                    mebibytes(MOST_MEMORY)
                ),
                mebibytes(self.watch.services),
            ));
            rows
        })
    }

    fn of_tables(&self) -> Vec<(String, String)> {
        let verdict = self.verdict;
        let mut rows = vec![
            (
                "tables that were appended to".to_owned(),
                verdict.tables.to_string(),
            ),
            ("commits".to_owned(), verdict.commits.to_string()),
        ];
        rows.extend(
            verdict
                .rows
                .iter()
                .map(|(mode, count)| (format!("rows, `resends: {mode}`"), count.to_string())),
        );
        let (files, bytes) = verdict.files;
        rows.push((
            "files under the warehouse".to_owned(),
            format!("{files}, {}", mebibytes(bytes)),
        ));
        rows.push((
            "records in quarantines".to_owned(),
            verdict.rejects.to_string(),
        ));
        rows.push((
            "**events lost**".to_owned(),
            format!("**{}**", verdict.lost),
        ));
        rows.push((
            "**events doubled**".to_owned(),
            format!("**{}**", verdict.doubled),
        ));
        if verdict.unsent > 0 {
            rows.push((
                "topics that lack events of their database, whose tables were compared with the topic only"
                    .to_owned(),
                verdict.unsent.to_string(),
            ));
        }
        let upserts = &verdict.upserts;
        if upserts.tables.is_empty() {
            return rows;
        }
        let formats = upserts.tables.iter();
        let formats: Vec<String> = formats
            .map(|(format, tables)| format!("{tables} {format}"))
            .collect();
        rows.push((
            "tables kept by key (`mode: upsert`), each read by two readers".to_owned(),
            formats.join(", "),
        ));
        rows.push((
            "their rows, compared with `SELECT *`".to_owned(),
            upserts.rows.to_string(),
        ));
        rows.push((
            "**differences**".to_owned(),
            format!("**{}**", upserts.differences),
        ));
        rows
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
