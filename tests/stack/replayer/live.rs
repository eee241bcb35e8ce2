//! The replayer against real databases: random traffic, connectors that are killed, incremental snapshots.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tests::connect::{self, OFTEN, RARELY, WITH_SCHEMAS, Worker};
use tests::judge::{self, Figures, Replay, Resends, Subject};
use tests::kafka::Broker;
use tests::need;
use tests::python::Readers;
use tests::sql::Sql;
use tests::workload::{self, Dialect, Options, Table, Workload};
use tests::{mariadb, note, postgres, wait};

const SEEN: Duration = Duration::from_secs(240);
const SEED: u64 = 0x5EED;

/// Transactions before the first kill, and after each.
const STEPS: [u32; 4] = [150, 150, 100, 60];

/// A database whose every change is captured.
struct Stage {
    dialect: Dialect,
    prefix: &'static str,
    sql: Arc<dyn Sql>,
    broker: Broker,
    worker: Worker,
    workload: Workload,
    sentinels: u32,
}

impl Stage {
    fn topic_of(&self, name: &str) -> String {
        workload::table(self.dialect, "customers")
            .topic(self.prefix)
            .replace("customers", name)
    }

    /// Waits until everything that was committed is in the topics: a connector sends in the order of commits. Twice,
    /// because what was sent before the first sentinel may still wait in the producer.
    fn settle(&mut self) {
        let topic = self.topic_of("sentinels");
        for _ in 0..2 {
            self.sentinels += 1;
            let number = self.sentinels;
            let table = workload::table(self.dialect, "customers").qualified();
            let table = table.replace("customers", "sentinels");
            self.sql
                .execute(&format!("INSERT INTO {table} VALUES ({number})"));
            let said = format!("\"after\":{{\"id\":{number}}}");
            let connector = connect::connector(self.prefix);
            let seen = wait::until(SEEN, || {
                let state = self.worker.task_state(&connector);
                assert_ne!(state.as_deref(), Some("FAILED"), "the connector's task");
                let records = self.broker.read(&topic);
                let is_there = |text: &String| text.contains(&said);
                records
                    .iter()
                    .filter_map(|r| r.payload.as_ref())
                    .any(is_there)
                    .then_some(())
            });
            assert!(
                seen.is_some(),
                "the connector did not come to sentinel {number}"
            );
        }
    }

    fn steps(&mut self, count: u32) {
        for _ in 0..count {
            self.workload.step();
        }
    }

    fn kill_worker(&mut self, flush: Duration) {
        self.worker.kill9();
        self.worker.restart(flush);
        self.worker.wait_running(&connect::connector(self.prefix));
    }

    fn stop_worker(&mut self, flush: Duration) {
        self.worker.stop();
        self.worker.restart(flush);
        self.worker.wait_running(&connect::connector(self.prefix));
    }

    fn traffic(&mut self) {
        self.settle();
        self.steps(STEPS[0]);
        self.settle();
        // From here on nothing is stored until the next orderly stop: each kill has everything sent again.
        self.stop_worker(RARELY);
        self.steps(STEPS[1]);
        self.workload.incremental_snapshot();
        self.steps(STEPS[2] / 2);
        self.kill_worker(RARELY);
        self.steps(STEPS[2] / 2);
        self.workload.bulk(500);
        self.kill_worker(OFTEN);
        self.steps(STEPS[3]);
        self.workload.incremental_snapshot();
        self.settle();
    }

    /// The tables that `SELECT *` is compared with, and what was counted.
    fn judge(&self, readers: &Readers, tables: &[Table]) -> Figures {
        let mut sum = Figures::default();
        let mut wrong = Vec::new();
        for table in tables {
            let subject = Subject::of(table, self.prefix);
            let records = self.broker.read(&subject.topic);
            let truth = table.rows(self.sql.as_ref());
            let replay = Replay::of(readers, &subject, &records, Resends::Drop);
            match judge::judge_replay(&subject, &replay, &truth) {
                Ok(figures) => {
                    note::figure(&format!("{:?} {}: {figures:?}", self.dialect, table.name));
                    sum = add(sum, figures);
                }
                Err(complaint) => wrong.push(complaint.to_string()),
            }
        }
        assert!(
            wrong.is_empty(),
            "seed {}: {}",
            self.workload.seed(),
            wrong.join("\n")
        );
        sum
    }
}

fn add(one: Figures, other: Figures) -> Figures {
    Figures {
        records: one.records + other.records,
        events: one.events + other.events,
        rows: one.rows + other.rows,
        tombstones: one.tombstones + other.tombstones,
        controls: one.controls + other.controls,
        rejects: one.rejects + other.rejects,
        resends: one.resends + other.resends,
        unavailable: one.unavailable + other.unavailable,
        keys: one.keys + other.keys,
    }
}

fn proves(mut stage: Stage, readers: &Readers) {
    let tables = workload::tables(stage.dialect);
    stage.traffic();
    let sum = stage.judge(readers, &tables);
    let names: BTreeSet<&str> = tables.iter().map(|table| table.name).collect();
    note::figure(&format!("{:?}, tables {names:?}: {sum:?}", stage.dialect));
    assert!(
        sum.resends > 30,
        "kills had {} events sent again",
        sum.resends
    );
    assert_eq!(sum.rejects, 0, "every value of these tables can be held");
    if stage.dialect == Dialect::Postgres {
        assert!(
            sum.unavailable > 20,
            "{} values were not sent",
            sum.unavailable
        );
    }
}

fn stage(
    dialect: Dialect,
    sql: Arc<dyn Sql>,
    broker: Broker,
    worker: Worker,
    prefix: &'static str,
) -> Stage {
    let options = Options {
        ancient: false,
        ..Options::default()
    };
    let mut workload = Workload::with(dialect, SEED, Arc::clone(&sql), options);
    workload.create();
    workload.snapshot_rows(100);
    let sentinels = workload::table(dialect, "customers").qualified();
    let sentinels = sentinels.replace("customers", "sentinels");
    sql.execute(&format!("CREATE TABLE {sentinels} (id int PRIMARY KEY)"));
    Stage {
        dialect,
        prefix,
        sql,
        broker,
        worker,
        workload,
        sentinels: 0,
    }
}

fn more(
    dialect: Dialect,
    converters: &[(&'static str, &'static str)],
) -> Vec<(&'static str, String)> {
    let mut options = workload::connector_options(dialect);
    let converters = converters
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    options.extend(converters);
    options
}

fn borrowed<'o>(options: &'o [(&'static str, String)]) -> Vec<(&'static str, &'o str)> {
    options
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

#[test]
fn replayed_topics_are_the_tables_of_postgres() {
    let readers = need!(Readers::ready());
    let server = Arc::new(need!(postgres::Server::given_or_start()));
    let broker = need!(Broker::given_or_start());
    let worker = need!(Worker::start(&broker));
    let sql: Arc<dyn Sql> = Arc::clone(&server) as _;
    let stage = stage(Dialect::Postgres, sql, broker, worker, "pg");
    let tables = workload::include_list(stage.dialect) + ",public.sentinels";
    let options = more(stage.dialect, &[]);
    stage
        .worker
        .capture_postgres(&server, "pg", &tables, &borrowed(&options));
    proves(stage, &readers);
}

#[test]
fn replayed_topics_are_the_tables_of_mariadb() {
    let readers = need!(Readers::ready());
    let server = Arc::new(need!(mariadb::Server::given_or_start()));
    let broker = need!(Broker::given_or_start());
    let worker = need!(Worker::start(&broker));
    let sql: Arc<dyn Sql> = Arc::clone(&server) as _;
    let stage = stage(Dialect::MariaDb, sql, broker, worker, "maria");
    let tables = workload::include_list(stage.dialect) + ",shop.sentinels";
    let options = more(stage.dialect, &WITH_SCHEMAS);
    stage
        .worker
        .capture_mariadb(&server, "maria", &tables, &borrowed(&options));
    proves(stage, &readers);
}
